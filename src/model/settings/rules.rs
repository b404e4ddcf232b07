use std::sync::Arc;
use std::time::Duration;

use crate::model::{Name, Source};

/// `rules:` and `rule_limits:`
#[derive(Clone, Debug)]
pub struct Rules {
    /// In the order in which they run.
    pub entries: Vec<Rule>,
    /// `rules/lib/*.rhai`: the namespace (file stem) and its text.
    pub library: Vec<(Name, Arc<Source>)>,
    /// Per hook call.
    pub limits: RuleLimits,
}

/// One entry of `rules:`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The file's stem.
    pub name: Name,
    /// The text; its name is the path as written in the configuration.
    pub source: Arc<Source>,
    /// Empty means every route.
    pub routes: Vec<Name>,
    /// Whether what it records counts.
    pub mode: Mode,
    /// What its failure means.
    pub on_error: OnError,
}

/// `rules[].mode`; a disabled rule is compiled and checked, but never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It counts.
    Enforce,
    /// Recorded and counted in metrics, never applied.
    Shadow,
    /// Not run.
    Disabled,
}

/// `rules[].on_error`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// 500, nothing billed.
    Deny,
    /// As if the rule were not there.
    Skip,
}

/// `rule_limits:`, per hook call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleLimits {
    /// Rhai operations.
    pub operations: u64,
    /// On the steady clock.
    pub time: Duration,
    /// Of one string.
    pub string_bytes: usize,
}
