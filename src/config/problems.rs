use std::cell::RefCell;
use std::sync::Arc;

use crate::model::{Problem, Source, Span};

/// Everything found wrong with one text so far.
///
/// A `RefCell` and not `&mut`: a section reports while its fields, which point here too, are still being read.
pub(super) struct Problems {
    source: Arc<Source>,
    found: RefCell<Vec<Problem>>,
}

impl Problems {
    pub(super) fn new(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), found: RefCell::default() }
    }

    /// Takes a problem that knows its place. Each severity has its own bound: many warnings must not hide the first error.
    pub(super) fn note(&self, problem: Problem) {
        const MOST: usize = 500;
        let mut found = self.found.borrow_mut();
        if found.iter().filter(|known| known.severity == problem.severity).count() < MOST {
            found.push(problem);
        }
    }

    /// Takes a problem of this text, unless it is known: what an alias stands for is read each time it is used.
    pub(super) fn note_at(&self, span: Span, problem: Problem) {
        let same = |known: &Problem| {
            known.code == problem.code && known.message == problem.message && known.at.as_ref().is_some_and(|(_, at)| *at == span)
        };
        if !self.found.borrow().iter().any(same) {
            self.note(problem.at(&self.source, span));
        }
    }

    /// All of them in the order of the text. `masked` replaces the text in which they are shown, byte for byte as long.
    pub(super) fn finish(self, masked: Option<String>) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|problem| problem.at.as_ref().map_or(0, |(_, span)| span.start));
        if let Some(text) = masked {
            let shown = Arc::new(Source { name: self.source.name.clone(), text });
            for problem in &mut found {
                if let Some((source, _)) = &mut problem.at
                    && Arc::ptr_eq(source, &self.source)
                {
                    *source = Arc::clone(&shown);
                }
            }
        }
        found
    }
}

/// The word that was probably meant.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&written.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// What to do about a word that is not known: the nearest one, or all there are if they are few.
pub(super) fn suggest(written: &str, known: &[&str]) -> Option<String> {
    const FEW: usize = 12;
    if let Some(word) = nearest(written, known.iter().copied()) {
        return Some(format!("did you mean `{word}`?"));
    }
    (!known.is_empty() && known.len() <= FEW).then(|| format!("known here: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        assert_eq!(nearest("listeners", ["listeners", "routes"]), Some("listeners"));
        assert_eq!(nearest("Requred", ["required", "optional", "none"]), Some("required"));
        assert_eq!(nearest("zebra", ["required", "optional", "none"]), None);
        assert_eq!(suggest("zebra", &["a", "b"]).as_deref(), Some("known here: a, b"));
    }
}
