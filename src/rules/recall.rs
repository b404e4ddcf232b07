use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::vocabulary::Words;
use crate::model::{Entry, Hook};

/// What rules recorded for one token before.
///
/// A hook that takes nothing but `claims` can know nothing else, so it records the same for every request of a token: it is run
/// once per token and rule book, and recalled after that. Kept with the token, so it is bounded and forgotten as tokens are.
#[derive(Debug, Default)]
pub(super) struct Recall(ArcSwapOption<Pages>);

/// The memory of one rule book, a slot for each rule.
#[derive(Debug)]
pub(super) struct Pages {
    /// Stands for the book: held, so that no later book can have its address.
    book: Arc<Words>,
    /// By rule and hook.
    hooks: Box<[OnceLock<Recorded>]>,
}

/// What one rule recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) entries: Box<[Entry]>,
    /// Whether later rules are not run.
    pub(super) ends: bool,
}

impl Recall {
    /// The memory of this book; the first request after a reload begins a new one.
    pub(super) fn of(&self, book: &Arc<Words>, rules: usize) -> Arc<Pages> {
        match self.0.load_full() {
            Some(pages) if Arc::ptr_eq(&pages.book, book) => pages,
            _ => {
                let hooks = (0..rules * Hook::ALL.len()).map(|_| OnceLock::new()).collect();
                let pages = Arc::new(Pages { book: Arc::clone(book), hooks });
                self.0.store(Some(Arc::clone(&pages)));
                pages
            }
        }
    }
}

impl Pages {
    /// What this hook of the rule recorded, if it ran before.
    pub(super) fn recall(&self, rule: u16, hook: Hook) -> Option<&Recorded> {
        self.slot(rule, hook)?.get()
    }

    /// Remembers it; of two threads that ran it at once, both recorded the same.
    pub(super) fn remember(&self, rule: u16, hook: Hook, recorded: Recorded) {
        if let Some(slot) = self.slot(rule, hook) {
            let _ = slot.set(recorded);
        }
    }

    fn slot(&self, rule: u16, hook: Hook) -> Option<&OnceLock<Recorded>> {
        self.hooks.get(usize::from(rule) * Hook::ALL.len() + hook as usize)
    }
}
