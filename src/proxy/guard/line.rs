use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::worker::Worker;
use super::{Entry, Guard};

/// What the hooks of a request and the bytes of its connection tell each other. A connection stays on one thread, but pingora wants
/// everything to be shareable, hence atomics.
#[derive(Debug)]
pub(in crate::proxy) struct Line {
    entry: Entry,
    pub(super) worker: Arc<Worker>,
    stage: AtomicU8,
    is_too_slow: AtomicBool,
}

/// Where HTTP/1 is on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// The head of the first request is awaited.
    First = 0,
    /// An exchange is over, and nothing has been read since.
    Next = 1,
    /// The head of another request is awaited.
    Head = 2,
    /// The body of a request is awaited.
    Body = 3,
    /// Nothing is awaited from the client, or an upgraded connection has no end that one could wait for.
    Free = 4,
}

impl Line {
    pub(super) fn new(entry: Entry, worker: Arc<Worker>) -> Self {
        Self { entry, worker, stage: AtomicU8::new(Stage::First as u8), is_too_slow: AtomicBool::new(false) }
    }

    pub(super) fn guard(&self) -> &Arc<Guard> {
        &self.entry.guard
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::First,
            1 => Stage::Next,
            2 => Stage::Head,
            3 => Stage::Body,
            _ => Stage::Free,
        }
    }

    pub(super) fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Another request may begin.
    pub(super) fn next(&self) {
        if matches!(self.stage(), Stage::Body | Stage::Free) {
            self.reach(Stage::Next);
        }
    }

    /// The request's body is no longer awaited: it is there, or the upstream answered without it.
    pub(super) fn release(&self) {
        if self.stage() == Stage::Body {
            self.reach(Stage::Free);
        }
    }

    /// The body came too slowly.
    pub(super) fn give_up(&self) {
        self.is_too_slow.store(true, Ordering::Relaxed);
    }

    /// Whether the body came too slowly.
    pub(super) fn is_too_slow(&self) -> bool {
        self.is_too_slow.load(Ordering::Relaxed)
    }
}
