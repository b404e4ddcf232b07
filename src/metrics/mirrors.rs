use prometheus::IntCounter;

use super::Metrics;
use crate::model::Name;

/// What is counted for the mirror of one route.
#[derive(Debug)]
pub struct MirrorHandles([IntCounter; 4]);

/// The `result` label of `tollgate_mirrored_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirrored {
    /// The mirror answered, whatever it said.
    Answered,
    /// It did not.
    Failed,
    /// Too many copies were under way.
    Dropped,
    /// The body was larger than the route's mirror takes.
    TooLarge,
}

impl Mirrored {
    const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::Dropped, Self::TooLarge];

    const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::TooLarge => "too_large",
        }
    }
}

impl Metrics {
    /// The handles of one route's mirror.
    pub fn mirror(&self, route: &Name, upstream: &Name) -> MirrorHandles {
        MirrorHandles(Mirrored::ALL.map(|result| self.mirrored.with_label_values(&[&**route, &**upstream, result.label()])))
    }
}

impl MirrorHandles {
    /// A copy came to its end.
    pub fn ended(&self, result: Mirrored) {
        if let Some(counter) = self.0.get(result as usize) {
            counter.inc();
        }
    }
}
