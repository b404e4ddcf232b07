use std::cell::RefCell;

use super::document::Entry;
use super::field::Field;
use super::problems::suggest;
use crate::model::Problem;

/// The settings below one key.
pub(super) struct Section<'a> {
    field: Field<'a>,
    entries: &'a [Entry],
    known: RefCell<Vec<&'static str>>,
    /// Of a later version; never suggested.
    later: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn new(field: Field<'a>, entries: &'a [Entry]) -> Self {
        Self { field, entries, known: RefCell::default(), later: RefCell::default() }
    }

    /// A setting that may be there.
    pub(super) fn optional(&self, key: &'static str) -> Option<Field<'a>> {
        self.known.borrow_mut().push(key);
        let mut same = self.entries.iter().filter(|entry| entry.key == key);
        let first = same.next()?;
        same.for_each(|entry| self.field.repeated(entry));
        Some(self.field.below(first))
    }

    /// A setting that must be there.
    pub(super) fn required(&self, key: &'static str, why: &str) -> Option<Field<'a>> {
        let field = self.optional(key);
        if field.is_none() {
            self.missing(&format!("`{key}` is missing"), why);
        }
        field
    }

    /// Notes that something must be there.
    pub(super) fn missing(&self, what: &str, why: &str) {
        if self.field.may_be_a_section() {
            let message = format!("{what} in {}", self.field.name());
            let problem = Problem::error("config::missing-key", message).label("this is not complete");
            self.field.note_at_key(problem.hint(why));
        }
    }

    /// A setting of a later version: better refused than silently not done.
    pub(super) fn not_built_yet(&self, key: &'static str, what: &str) {
        self.later.borrow_mut().push(key);
        for entry in self.entries.iter().filter(|entry| entry.key == key) {
            self.field.below(entry).note_at_key(not_built_yet(&format!("`{key}`"), what));
        }
    }

    /// Notes every key that was not asked for.
    pub(super) fn note_unknown_keys(&self) {
        let (known, later) = (self.known.borrow(), self.later.borrow());
        let is_unknown = |entry: &&Entry| !known.contains(&entry.key.as_str()) && !later.contains(&entry.key.as_str());
        for entry in self.entries.iter().filter(is_unknown) {
            let message = format!("there is no key {} in {}", self.field.below(entry).key_word().shown(), self.field.name());
            let mut problem = Problem::error("config::unknown-key", message).label("unknown key");
            problem.hint = suggest(&entry.key, &known);
            self.field.below(entry).note_at_key(problem);
        }
    }
}

/// The problem of something that a later version will have.
pub(super) fn not_built_yet(what: &str, why: &str) -> Problem {
    Problem::error("config::not-built-yet", format!("{what} is not built yet: {why}")).label("not in this version")
}
