use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::Snapshot;
use crate::model::{Decision, Effect, Hook, LogLevel, Moment, Name, RequestId};

/// When each rule's failure was last logged: a broken rule under load shall not fill the disk.
#[derive(Debug, Default)]
pub struct Faults(Mutex<HashMap<Name, Duration>>);

const ONE_FAULT_EVERY: Duration = Duration::from_secs(1);

impl Faults {
    fn is_due(&self, rule: &Name, now: Moment) -> bool {
        let mut last = self.0.lock();
        let due = last.get(rule).is_none_or(|at| now.steady().saturating_sub(*at) >= ONE_FAULT_EVERY);
        if due {
            last.insert(rule.clone(), now.steady());
        }
        due
    }
}

/// Counts what a hook's rules did, and writes the log lines that they or their failures ask for.
pub(super) fn report(snapshot: &Snapshot, faults: &Faults, id: RequestId, hook: Hook, decision: &Decision, now: Moment) {
    for evaluation in &decision.evaluations {
        if let Some(handles) = snapshot.rule_handles.get(usize::from(evaluation.rule)) {
            handles.evaluated(hook, evaluation);
        }
    }
    for entry in &decision.entries {
        if let Some(handles) = snapshot.rule(&entry.place.rule) {
            handles.recorded(entry.effect.verb(), entry.shadow);
        }
        if let (Effect::Log(level, text), false) = (&entry.effect, entry.shadow) {
            let rule = &*entry.place.rule;
            match level {
                LogLevel::Info => tracing::info!(target: "tollgate::rules", rule, request_id = %id, "{text}"),
                LogLevel::Warn => tracing::warn!(target: "tollgate::rules", rule, request_id = %id, "{text}"),
                LogLevel::Error => tracing::error!(target: "tollgate::rules", rule, request_id = %id, "{text}"),
            }
        }
    }
    if let Some(fault) = &decision.failed
        && faults.is_due(&fault.place.rule, now)
    {
        let rule = &*fault.place.rule;
        tracing::error!(target: "tollgate::rules", rule, at = %fault.place, request_id = %id, hook = hook.name(), "{}", fault.text);
    }
}
