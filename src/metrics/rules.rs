use prometheus::{Histogram, IntCounter};

use super::Metrics;
use crate::model::{Evaluated, Evaluation, Hook, Name};

/// What is counted for one rule.
#[derive(Debug)]
pub struct RuleHandles {
    name: Name,
    hooks: Vec<HookHandles>,
    enforced: Vec<IntCounter>,
    shadowed: Vec<IntCounter>,
    allowed: IntCounter,
    rejected: IntCounter,
}

#[derive(Debug)]
struct HookHandles {
    hook: Hook,
    results: [IntCounter; 3],
    seconds: Histogram,
}

/// The `action` label of `tollgate_rule_actions_total`: what [`crate::model::Effect::verb`] says.
const ACTIONS: [&str; 13] = [
    "deny",
    "allow",
    "route_to",
    "rewrite_path",
    "throttle",
    "meter",
    "set_header",
    "remove_header",
    "redirect",
    "redirect_to_login",
    "respond",
    "tag",
    "log",
];

impl Metrics {
    /// The handles of one rule that has these hooks; all its series exist from now on.
    pub fn rule(&self, name: &Name, hooks: &[Hook], shadow: bool) -> RuleHandles {
        let of_hook = |hook: &Hook| HookHandles {
            hook: *hook,
            results: Evaluated::ALL.map(|r| self.rule_evaluations.with_label_values(&[&**name, hook.name(), r.label()])),
            seconds: self.rule_seconds.with_label_values(&[&**name, hook.name()]),
        };
        let actions = |mode: &str| ACTIONS.iter().map(|a| self.rule_actions.with_label_values(&[&**name, a, mode])).collect();
        let (enforced, shadowed) = if shadow { (Vec::new(), actions("shadow")) } else { (actions("enforce"), Vec::new()) };
        RuleHandles {
            name: name.clone(),
            hooks: hooks.iter().map(of_hook).collect(),
            enforced,
            shadowed,
            allowed: self.throttle_decisions.with_label_values(&[&**name, "allowed"]),
            rejected: self.throttle_decisions.with_label_values(&[&**name, "rejected"]),
        }
    }

    /// Drops the series of a rule that no longer exists.
    pub fn forget_rule(&self, gone: &RuleHandles) {
        let name = &*gone.name;
        for hook in &gone.hooks {
            let hook = hook.hook.name();
            let _ = self.rule_seconds.remove_label_values(&[name, hook]);
            for result in Evaluated::ALL {
                let _ = self.rule_evaluations.remove_label_values(&[name, hook, result.label()]);
            }
        }
        for action in ACTIONS {
            for mode in ["enforce", "shadow"] {
                let _ = self.rule_actions.remove_label_values(&[name, action, mode]);
            }
        }
        for result in ["allowed", "rejected"] {
            let _ = self.throttle_decisions.remove_label_values(&[name, result]);
        }
    }
}

impl RuleHandles {
    /// The rule.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// A hook was run.
    pub fn evaluated(&self, hook: Hook, evaluation: &Evaluation) {
        if let Some(handles) = self.hooks.iter().find(|h| h.hook == hook) {
            if let Some(counter) = handles.results.get(evaluation.result as usize) {
                counter.inc();
            }
            // A hook that was recalled and not run took no time; counted as one it would make the others look fast.
            if !evaluation.took.is_zero() {
                handles.seconds.observe(evaluation.took.as_secs_f64());
            }
        }
    }

    /// A verb was recorded.
    pub fn recorded(&self, verb: &str, shadow: bool) {
        let counters = if shadow { &self.shadowed } else { &self.enforced };
        if let Some(counter) = ACTIONS.iter().position(|a| *a == verb).and_then(|i| counters.get(i)) {
            counter.inc();
        }
    }

    /// A limit of this rule let a request through.
    pub fn admitted(&self) {
        self.allowed.inc();
    }

    /// A limit of this rule refused a request.
    pub fn refused(&self) {
        self.rejected.inc();
    }
}
