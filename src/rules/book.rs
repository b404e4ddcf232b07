use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rhai::Engine;

use super::claims::Prepared;
use super::compile::{Compiled, compile};
use super::evaluation::{self, Evaluation};
use super::machine::{Ending, Machine, Runner};
use super::program::{Body, Rule, RuleCard};
use super::recall::Recorded;
use super::vocabulary::{Vocabulary, Words};
use super::{Clock, budget, fault};
use crate::model::settings::{OnError, RuleLimits, Rules};
use crate::model::{Caller, Decision, Evaluated, Evaluation as Ran, Facts, Fault, Hook, Name, Problem, ResponseFacts, Severity};

/// All rules of a configuration, compiled and never changed; a reload makes a new one.
pub struct RuleBook {
    engine: Arc<Engine>,
    rules: Vec<Arc<Rule>>,
    cards: Vec<RuleCard>,
    words: Arc<Words>,
    nobody: Arc<Prepared>,
    limits: RuleLimits,
    clock: Clock,
    pub(super) machine: Machine,
}

/// The rules that run on one route, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    hooks: [Vec<u16>; 3],
    reads_response_headers: bool,
}

impl RuleSet {
    /// Whether any rule has this hook.
    pub fn has(&self, hook: Hook) -> bool {
        !self.of(hook).is_empty()
    }

    /// Whether any rule looks at the headers of responses; otherwise nobody needs to copy them.
    pub fn reads_response_headers(&self) -> bool {
        self.reads_response_headers
    }

    fn of(&self, hook: Hook) -> &[u16] {
        let [request, response, complete] = &self.hooks;
        match hook {
            Hook::Request => request,
            Hook::Response => response,
            Hook::Complete => complete,
        }
    }
}

impl RuleBook {
    /// All problems of all files at once, errors and warnings; a book only if there is no error.
    pub fn compile(rules: &Rules, vocabulary: &Vocabulary, clock: Clock) -> (Option<Self>, Vec<Problem>) {
        let Compiled { engine, rules: compiled, problems } = compile(rules, vocabulary, clock);
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return (None, problems);
        }
        let book = Self {
            engine: Arc::new(engine),
            cards: compiled.iter().map(|rule| rule.card.clone()).collect(),
            rules: compiled,
            words: Arc::new(Words::new(vocabulary)),
            nobody: Arc::default(),
            limits: rules.limits,
            clock,
            machine: Machine::default(),
        };
        (Some(book), problems)
    }

    /// Every rule, in the order of the configuration; [`Ran::rule`] is an index into it.
    pub fn rules(&self) -> &[RuleCard] {
        &self.cards
    }

    /// Which rules run on `route`; asked once per reload.
    pub fn select(&self, route: &str) -> RuleSet {
        let chosen = || self.rules.iter().zip(0..=u16::MAX).filter(|(rule, _)| rule.runs_on(route));
        let hooks =
            Hook::ALL.map(|hook| chosen().filter(|(rule, _)| rule.body(hook).is_some()).map(|(_, index)| index).collect());
        RuleSet { hooks, reads_response_headers: chosen().any(|(rule, _)| rule.reads_response_headers) }
    }

    /// Runs `on_request`. Total: a rule that fails is part of the decision, and nothing panics.
    pub fn decide(&self, set: &RuleSet, facts: &Arc<Facts>, route: &Name, caller: &Caller) -> Decision {
        self.run(Hook::Request, set, facts, route, caller, None, 0)
    }

    /// Runs `on_response`.
    pub fn respond(
        &self,
        set: &RuleSet,
        facts: &Arc<Facts>,
        route: &Name,
        caller: &Caller,
        response: &Arc<ResponseFacts>,
    ) -> Decision {
        self.run(Hook::Response, set, facts, route, caller, Some(response), 0)
    }

    /// Runs `on_complete`; `body_bytes_in` are the bytes of the request's body that were read.
    pub fn complete(
        &self,
        set: &RuleSet,
        facts: &Arc<Facts>,
        route: &Name,
        caller: &Caller,
        response: &Arc<ResponseFacts>,
        body_bytes_in: u64,
    ) -> Decision {
        self.run(Hook::Complete, set, facts, route, caller, Some(response), body_bytes_in)
    }

    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        hook: Hook,
        set: &RuleSet,
        facts: &Arc<Facts>,
        route: &Name,
        caller: &Caller,
        response: Option<&Arc<ResponseFacts>>,
        body_bytes_in: u64,
    ) -> Decision {
        let mut chosen = set.of(hook).iter().filter_map(|index| {
            let rule = self.rules.get(usize::from(*index))?;
            Some((*index, rule, rule.body(hook)?))
        });
        let Some(first) = chosen.next() else { return Decision::default() };
        let claims = Prepared::of(caller, &self.nobody);
        let pages = claims.recall.of(&self.words, self.rules.len());
        let mut evaluation = Evaluation::new(hook, facts, route, Arc::clone(&claims), &self.words, first.1);
        evaluation.response = response.cloned();
        evaluation.body_bytes_in = body_bytes_in;
        evaluation::begin(evaluation);

        let mut decision = Decision { evaluations: Vec::with_capacity(set.of(hook).len()), ..Decision::default() };
        Runner::with(&self.engine, self.machine, |runner| {
            let mut now = (self.clock)();
            for (index, rule, body) in std::iter::once(first).chain(chosen) {
                if let Some(recorded) = pages.recall(index, hook).filter(|recorded| evaluation::repeat(recorded)) {
                    decision.evaluations.push(Ran { rule: index, result: Evaluated::Ok, took: Duration::ZERO });
                    if recorded.ends { break } else { continue }
                }
                budget::refill(&self.limits, now, self.clock);
                let (result, ends) = self.step(runner, rule, body, &claims, &mut decision);
                if body.knows_only_claims && result == Evaluated::Ok {
                    pages.remember(index, hook, Recorded { entries: evaluation::recorded_by_last(), ends });
                }
                let began = std::mem::replace(&mut now, (self.clock)());
                decision.evaluations.push(Ran { rule: index, result, took: now.saturating_sub(began) });
                if ends {
                    break;
                }
            }
        });
        decision.entries = evaluation::finish().map_or_else(Vec::new, |evaluation| evaluation.entries);
        decision
    }

    /// Runs one rule; says how it ended and whether later rules are not run.
    fn step(
        &self,
        runner: &mut Runner,
        rule: &Arc<Rule>,
        body: &Body,
        claims: &Prepared,
        decision: &mut Decision,
    ) -> (Evaluated, bool) {
        let before = evaluation::running(|evaluation| evaluation.turn_to(rule)).unwrap_or_default();
        let ending = runner.run(body);
        let ended = evaluation::running(|evaluation| evaluation.ended).unwrap_or_default();
        if ended || !matches!(ending, Ending::Done) {
            runner.renew();
        }
        let (result, fault) = match ending {
            Ending::Done => return (Evaluated::Ok, ended && !rule.is_shadow()),
            // The verb that ended the rule is recorded; what its script did afterwards does not matter.
            Ending::Failed(_) if ended => return (Evaluated::Ok, !rule.is_shadow()),
            Ending::Failed(error) => fault::explain(&error, rule, body, claims),
            Ending::Panicked => (Evaluated::Error, fault::panicked(rule)),
        };
        (result, fail(rule, before, fault, decision))
    }
}

/// Nothing that a failed rule recorded is kept. Says whether the failure denies.
fn fail(rule: &Rule, before: usize, fault: Fault, decision: &mut Decision) -> bool {
    let denies = rule.card.on_error == OnError::Deny && !rule.is_shadow();
    let _ = evaluation::running(|evaluation| {
        evaluation.entries.truncate(before);
        if !denies {
            evaluation.leave_word(&fault);
        }
    });
    if denies {
        decision.failed = Some(fault);
    }
    denies
}

impl fmt::Debug for RuleBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleBook").field("rules", &self.cards).finish_non_exhaustive()
    }
}
