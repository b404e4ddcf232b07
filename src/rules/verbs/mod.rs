//! What rules can ask for. Verbs only record; the gateway applies what the plan makes of the records.

mod arguments;
mod register;
mod rollout;

pub(super) use arguments::{
    body, burst, header_name, in_percent, limit, page, path, period, quantity, reason, redirect_status, response_status, status,
};
pub(super) use register::register;
pub(super) use rollout::option;

use crate::model::Hook;

/// One verb: the same table serves registration, the phase check, and the tests of the reference page.
pub(super) struct Verb {
    pub(super) name: &'static str,
    /// Where it has a meaning.
    pub(super) hooks: &'static [Hook],
    /// Nothing of the rule runs after it.
    pub(super) ends: bool,
}

const EARLY: &[Hook] = &[Hook::Request];
const BEFORE_REPLY: &[Hook] = &[Hook::Request, Hook::Response];
const ALWAYS: &[Hook] = &Hook::ALL;

pub(super) const DENY: Verb = verb("deny", EARLY, true);
pub(super) const ALLOW: Verb = verb("allow", EARLY, false);
pub(super) const ROUTE_TO: Verb = verb("route_to", EARLY, false);
pub(super) const REWRITE_PATH: Verb = verb("rewrite_path", EARLY, false);
pub(super) const THROTTLE: Verb = verb("throttle", EARLY, false);
pub(super) const METER: Verb = verb("meter", ALWAYS, false);
pub(super) const SET_HEADER: Verb = verb("set_header", BEFORE_REPLY, false);
pub(super) const REMOVE_HEADER: Verb = verb("remove_header", BEFORE_REPLY, false);
pub(super) const REDIRECT: Verb = verb("redirect", EARLY, true);
pub(super) const REDIRECT_TO_LOGIN: Verb = verb("redirect_to_login", EARLY, true);
pub(super) const RESPOND: Verb = verb("respond", EARLY, true);
pub(super) const TAG: Verb = verb("tag", ALWAYS, false);
pub(super) const LOG_INFO: Verb = verb("log_info", ALWAYS, false);
pub(super) const LOG_WARN: Verb = verb("log_warn", ALWAYS, false);
pub(super) const LOG_ERROR: Verb = verb("log_error", ALWAYS, false);
pub(super) const PRINT: Verb = verb("print", ALWAYS, false);
pub(super) const IN_ROLLOUT: Verb = verb("in_rollout", ALWAYS, false);

/// Every verb there is.
pub(super) const VERBS: [Verb; 17] = [
    DENY,
    ALLOW,
    ROUTE_TO,
    REWRITE_PATH,
    THROTTLE,
    METER,
    SET_HEADER,
    REMOVE_HEADER,
    REDIRECT,
    REDIRECT_TO_LOGIN,
    RESPOND,
    TAG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    PRINT,
    IN_ROLLOUT,
];

/// Decided, but not built yet: using one is an error that says so, not "unknown function".
pub(super) const NOT_BUILT: [&str; 3] = ["quota", "concurrent", "reserve"];

const fn verb(name: &'static str, hooks: &'static [Hook], ends: bool) -> Verb {
    Verb { name, hooks, ends }
}

impl Verb {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        VERBS.iter().find(|verb| verb.name == name)
    }

    pub(super) fn works_in(&self, hook: Hook) -> bool {
        self.hooks.contains(&hook)
    }
}
