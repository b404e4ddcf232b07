use std::time::Duration;

use tokio::time::Instant;

use super::Line;
use super::line::Stage;
use super::pace::Pace;
use crate::model::settings::Limits;

/// What a client owes on an HTTP/1 connection: the rest of a head, the rest of a body.
#[derive(Debug)]
pub(super) struct Head {
    timeout: Duration,
    size: usize,
    rate: u64,
    grace: Duration,
    began: Option<Instant>,
    bytes: usize,
    pace: Pace,
    /// The origin of the pace's time.
    epoch: Option<Instant>,
}

/// What did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Anything at all, so there is nothing to answer.
    Silence,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
}

impl Head {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            timeout: limits.header_timeout,
            size: limits.header_size,
            rate: limits.body_min_rate,
            grace: limits.body_grace,
            began: None,
            bytes: 0,
            pace: Pace::default(),
            epoch: None,
        }
    }

    /// Whether a head has become too large, asked before more of it is read.
    pub(super) fn is_too_large(&mut self, line: &Line) -> bool {
        match line.stage() {
            Stage::Next => {
                self.began = None;
                self.bytes = 0;
                self.pace = Pace::default();
                line.reach(Stage::Head);
                false
            }
            Stage::First | Stage::Head => self.bytes > self.size,
            Stage::Body | Stage::Free => false,
        }
    }

    /// Bytes have come.
    pub(super) fn read(&mut self, bytes: usize, line: &Line) {
        match line.stage() {
            Stage::First | Stage::Next | Stage::Head => self.bytes += bytes,
            Stage::Body => {
                let epoch = *self.epoch.get_or_insert_with(Instant::now);
                self.pace.take(bytes, || epoch.elapsed());
            }
            Stage::Free => {}
        }
    }

    /// Nothing comes: until when something must, if anything is awaited. Clocks are read here only, so a connection on which
    /// everything is there at once never reads one.
    pub(super) fn due(&mut self, line: &Line) -> Option<(Instant, Overdue)> {
        match line.stage() {
            // Between two requests a connection is idle, for which pingora has a timer already.
            Stage::Next | Stage::Head if self.bytes == 0 => None,
            Stage::First | Stage::Next | Stage::Head => {
                let began = *self.began.get_or_insert_with(Instant::now);
                Some((began + self.timeout, if self.bytes == 0 { Overdue::Silence } else { Overdue::Head }))
            }
            Stage::Body => {
                let epoch = *self.epoch.get_or_insert_with(Instant::now);
                self.pace.wait(epoch.elapsed());
                let due = self.pace.deadline(self.rate, self.grace)?;
                Some((epoch + due, Overdue::Body))
            }
            Stage::Free => None,
        }
    }

    /// Whether this is between two requests.
    pub(super) fn is_idle(&self, line: &Line) -> bool {
        matches!(line.stage(), Stage::Next | Stage::Head) && self.bytes == 0
    }
}
