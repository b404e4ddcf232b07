use prometheus::IntCounter;

use super::registry::Declare;
use crate::model::LoginFault;

/// What is counted about logins and sessions.
#[derive(Debug)]
pub struct LoginCounters {
    logins: [IntCounter; 7],
    refreshes: [IntCounter; 4],
    sessions: [IntCounter; 5],
}

/// The `result` label of `tollgate_logins_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginResult {
    /// A browser was sent to the login page.
    Started,
    /// Somebody has a session.
    Completed,
    /// The callback belongs to no login.
    Invalid,
    /// The issuer says no.
    Denied,
    /// The issuer's answer is not believed.
    Untrusted,
    /// The issuer is away.
    Unavailable,
    /// The tokens do not fit into cookies.
    TooLarge,
}

/// The `result` label of `tollgate_session_refreshes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshResult {
    /// New tokens.
    Renewed,
    /// The issuer says no, or its answer is not believed.
    Refused,
    /// The issuer is away.
    Unavailable,
    /// Another gateway asked.
    Shared,
}

/// The `result` label of `tollgate_sessions_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionResult {
    /// A request by somebody who logged in.
    Valid,
    /// Idle for too long, or too old.
    Expired,
    /// Cookies that are none of ours.
    Invalid,
    /// The issuer, or a check of the token, ended it.
    Ended,
    /// Sent by another site's page.
    CrossSite,
}

impl LoginResult {
    const LABELS: [&'static str; 7] = ["started", "completed", "invalid", "denied", "untrusted", "unavailable", "too_large"];

    /// How a fault is counted.
    pub const fn of(fault: LoginFault) -> Self {
        match fault {
            LoginFault::Invalid | LoginFault::CrossSite => Self::Invalid,
            LoginFault::Denied => Self::Denied,
            LoginFault::Untrusted => Self::Untrusted,
            LoginFault::Unavailable => Self::Unavailable,
            LoginFault::TooLarge => Self::TooLarge,
        }
    }
}

impl LoginCounters {
    pub(super) fn declare(declare: &Declare<'_>) -> Result<Self, prometheus::Error> {
        let logins = declare.counters("logins_total", "Logins by what became of them.", &["result"])?;
        let refreshes = declare.counters("session_refreshes_total", "Renewals of sessions' tokens.", &["result"])?;
        let sessions = declare.counters("sessions_total", "Requests with a session's cookies.", &["result"])?;
        Ok(Self {
            logins: LoginResult::LABELS.map(|label| logins.with_label_values(&[label])),
            refreshes: ["renewed", "refused", "unavailable", "shared"].map(|label| refreshes.with_label_values(&[label])),
            sessions: ["valid", "expired", "invalid", "ended", "cross_site"].map(|label| sessions.with_label_values(&[label])),
        })
    }

    /// Counts a login.
    pub fn count(&self, result: LoginResult) {
        add(&self.logins, result as usize);
    }

    /// Counts a renewal.
    pub fn refreshed(&self, result: RefreshResult) {
        add(&self.refreshes, result as usize);
    }

    /// Counts a request with a session's cookies.
    pub fn session(&self, result: SessionResult) {
        add(&self.sessions, result as usize);
    }
}

fn add(counters: &[IntCounter], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.inc();
    }
}
