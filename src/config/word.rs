use std::fmt::Display;

use super::document::Origin;
use super::problems::{Problems, suggest};
use super::secret::mask_credentials;
use crate::model::{Problem, Span};

/// A scalar that was read.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    origin: Origin,
    span: Span,
    problems: &'a Problems,
}

impl<'a> Word<'a> {
    pub(super) fn new(text: &'a str, origin: Origin, span: Span, problems: &'a Problems) -> Self {
        Self { text, origin, span, problems }
    }

    /// Whether messages may repeat it.
    pub(super) fn is_written(&self) -> bool {
        self.origin == Origin::Written
    }

    /// For a message: the text itself if it may be repeated.
    pub(super) fn shown(&self) -> String {
        self.shown_or("this value")
    }

    /// For a message: the text itself if it may be repeated, or other words.
    pub(super) fn shown_or(&self, otherwise: &str) -> String {
        const LONGEST: usize = 80;
        if !self.is_written() {
            return otherwise.to_owned();
        }
        let masked = mask_credentials(self.text);
        let mut text: String = masked.chars().take(LONGEST).collect();
        if text.len() < masked.len() {
            text.push('…');
        }
        format!("`{text}`")
    }

    /// Notes a problem at the word.
    pub(super) fn note(&self, problem: Problem) {
        self.problems.note_at(self.span, problem);
    }

    /// Notes that the value is not a possible one.
    pub(super) fn bad(&self, message: impl Into<String>, label: &str) {
        self.note(Problem::error("config::bad-value", message).label(label));
    }

    /// Notes that the value is not a possible one, and what would be.
    pub(super) fn unusable<T>(&self, expected: impl Display, hint: &str) -> Option<T> {
        let message = format!("{} is not {expected}", self.shown());
        self.note(Problem::error("config::bad-value", message).label(format!("not {expected}")).hint(hint));
        None
    }

    /// Notes that a name refers to nothing.
    pub(super) fn unknown(&self, what: &str, label: &str, known: &[&str]) {
        let message = format!("there is no {what} {}", self.shown_or("with this name"));
        self.note_with_suggestion(Problem::error("config::unknown-name", message).label(label), known);
    }

    /// Adds what was probably meant.
    pub(super) fn note_with_suggestion(&self, mut problem: Problem, known: &[&str]) {
        // The nearest word would tell a bit of a value that is withheld.
        let written = if self.is_written() { self.text } else { "" };
        problem.hint = suggest(written, known);
        self.note(problem);
    }
}
