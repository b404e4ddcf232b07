use std::cell::RefCell;
use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, NativeCallContext};

use super::claims::Prepared;
use super::objects::{Field, failure};
use super::program::Rule;
use super::recall::Recorded;
use super::vocabulary::Words;
use crate::model::{Effect, Entry, Facts, Fault, Hook, LogLevel, Name, ResponseFacts};

/// Recorded entries of one hook, over all its rules.
const ENTRIES: usize = 64;
/// Log lines of one hook; further ones are dropped, because a forgotten `print` in a loop must not deny requests.
const LOG_LINES: usize = 16;

/// One hook of one request while its rules run: what they see, and what they have recorded so far.
pub(super) struct Evaluation {
    pub(super) hook: Hook,
    pub(super) facts: Arc<Facts>,
    pub(super) route: Name,
    pub(super) claims: Arc<Prepared>,
    pub(super) response: Option<Arc<ResponseFacts>>,
    pub(super) body_bytes_in: u64,
    pub(super) words: Arc<Words>,
    /// The rule that runs now.
    pub(super) rule: Arc<Rule>,
    pub(super) entries: Vec<Entry>,
    /// How many of the entries are older than the running rule.
    before: usize,
    /// How many of the entries are log lines.
    log_lines: usize,
    /// The running rule has denied, redirected or responded: whatever its script still does is not recorded.
    pub(super) ended: bool,
}

thread_local! {
    /// Rhai's variable callback gets no tag, and a tag would cost a shared counter and a lock for each verb. Filled for the time of
    /// one hook and emptied after it; a hook never leaves its thread.
    static RUNNING: RefCell<Option<Evaluation>> = const { RefCell::new(None) };
}

/// What the evaluation of this thread says; an error outside of a hook (constants are computed before there is a request).
pub(super) fn running<R>(read: impl FnOnce(&mut Evaluation) -> R) -> Result<R, Box<EvalAltResult>> {
    RUNNING.with(|slot| match slot.try_borrow_mut().as_deref_mut() {
        Ok(Some(evaluation)) => Ok(read(evaluation)),
        _ => Err(failure("requests, responses, claims and verbs exist only inside hooks")),
    })
}

/// Makes `evaluation` the running one.
pub(super) fn begin(evaluation: Evaluation) {
    RUNNING.with(|slot| slot.replace(Some(evaluation)));
}

/// Ends it.
pub(super) fn finish() -> Option<Evaluation> {
    RUNNING.with(RefCell::take)
}

/// Records once more what a rule recorded for this token before. False if there is no room for it; then the rule is run, and says so
/// itself.
pub(super) fn repeat(recorded: &Recorded) -> bool {
    running(|evaluation| {
        let has_room = evaluation.entries.len() + recorded.entries.len() <= ENTRIES;
        if has_room {
            evaluation.entries.extend_from_slice(&recorded.entries);
        }
        has_room
    })
    .unwrap_or_default()
}

/// What the rule that ran last recorded.
pub(super) fn recorded_by_last() -> Box<[Entry]> {
    running(|evaluation| evaluation.entries.get(evaluation.before..).unwrap_or_default().into()).unwrap_or_default()
}

/// What a name means that is no local variable: a constant, or a property of a hook's parameter that `link` made a variable of.
pub(super) fn lookup(name: &str) -> Result<Option<Dynamic>, Box<EvalAltResult>> {
    RUNNING.with(|slot| {
        let slot = slot.borrow();
        let Some(evaluation) = slot.as_ref() else { return Ok(None) };
        if let Some(claim) = name.strip_prefix("claims.") {
            return Ok(Some(evaluation.claims.value(claim)));
        }
        match Field::of_variable(name) {
            Some(field) => field.value(evaluation).map(Some).map_err(failure),
            None => Ok(evaluation.rule.constant(name).cloned()),
        }
    })
}

impl Evaluation {
    pub(super) fn new(
        hook: Hook,
        facts: &Arc<Facts>,
        route: &Name,
        claims: Arc<Prepared>,
        words: &Arc<Words>,
        rule: &Arc<Rule>,
    ) -> Self {
        Self {
            hook,
            facts: Arc::clone(facts),
            route: Arc::clone(route),
            claims,
            response: None,
            body_bytes_in: 0,
            words: Arc::clone(words),
            rule: Arc::clone(rule),
            entries: Vec::new(),
            before: 0,
            log_lines: 0,
            ended: false,
        }
    }

    /// Adds an entry of the running rule, with the place of the call.
    pub(super) fn record(&mut self, call: &NativeCallContext<'_>, effect: Effect) -> Result<(), String> {
        if self.ended {
            return Ok(());
        }
        if let Effect::Log(..) = effect {
            self.log_lines += 1;
            if self.log_lines > LOG_LINES {
                return Ok(());
            }
        }
        if self.entries.len() >= ENTRIES {
            return Err(format!("more than {ENTRIES} entries in one hook"));
        }
        self.ended = effect.ends_rules();
        let place = self.rule.place(call.call_position());
        self.entries.push(Entry { place, shadow: self.rule.is_shadow(), effect });
        Ok(())
    }

    /// Lets the next rule run; says how many entries there are before it.
    pub(super) fn turn_to(&mut self, rule: &Arc<Rule>) -> usize {
        if !Arc::ptr_eq(&self.rule, rule) {
            self.rule = Arc::clone(rule);
        }
        self.ended = false;
        self.before = self.entries.len();
        self.before
    }

    /// Tells operators of a failure that does not deny; shadow or not, this is never applied to the request.
    pub(super) fn leave_word(&mut self, fault: &Fault) {
        let effect = Effect::Log(LogLevel::Error, fault.text.as_str().into());
        self.entries.push(Entry { place: fault.place.clone(), shadow: false, effect });
    }
}
