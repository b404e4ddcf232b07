use std::time::Duration;

use crate::model::Name;
use crate::traffic::{Ticket, Tried};

/// Which servers a request was sent to, and how far the last attempt came.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pub(super) made: usize,
    pub(super) tried: Tried,
    /// The server of the last attempt, busy with it until this is dropped.
    pub(super) ticket: Option<Ticket>,
    /// For logs: the address of that server.
    pub(super) server: Option<Name>,
    /// When the last attempt began, on the steady clock.
    pub(super) began: Duration,
    /// Until the head of the answer that was passed on.
    pub(super) took: Option<Duration>,
    /// When everything must be over.
    pub(super) deadline: Option<Duration>,
    /// Interim answers of the last attempt.
    pub(super) interim: usize,
    /// The head of a final answer arrived in the last attempt.
    pub(super) answered: bool,
    /// The connection became a tunnel: no deadline any more.
    pub(super) upgraded: bool,
    /// The answer was one that `retries.when` names, and another attempt was granted.
    pub(super) again: bool,
}

impl Attempts {
    /// A piece of the answer came, perhaps the last one: then the server is done, although the client may still be reading.
    pub(super) fn came_to_its_end(&mut self, is_last: bool) {
        if is_last && !self.upgraded {
            self.ticket = None;
        }
    }
}
