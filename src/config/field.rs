use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Entry, Node, Origin, Value};
use super::duration;
use super::problems::{Problems, suggest};
use super::secret::mask_credentials;
use crate::model::{Problem, Span};

/// One setting as it was written. Its readers answer `None` after they noted what is wrong, so a caller goes on with a
/// placeholder and finds the next mistake.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// Its key; of an item in a list, the key of the list.
    pub(super) key: &'a str,
    /// Where the key (of an item: the item) stands.
    pub(super) key_span: Span,
    rank: Rank,
    node: &'a Node,
    problems: &'a Problems,
}

/// What a field is called in a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Root,
    Named,
    Item,
}

/// A scalar that was read.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    origin: Origin,
    span: Span,
    problems: &'a Problems,
}

impl<'a> Field<'a> {
    /// The whole document as a field.
    pub(super) fn root(node: &'a Node, problems: &'a Problems) -> Self {
        Self { key: "", key_span: node.span, rank: Rank::Root, node, problems }
    }

    /// The place of the value, or of the key if there is no value.
    pub(super) fn span(self) -> Span {
        if matches!(self.node.value, Value::Nothing) { self.key_span } else { self.node.span }
    }

    /// What messages call it.
    pub(super) fn name(self) -> String {
        match self.rank {
            Rank::Root => "the configuration".into(),
            Rank::Named => format!("`{}`", self.key),
            Rank::Item => format!("an entry of `{}`", self.key),
        }
    }

    /// Notes a problem at the value.
    pub(super) fn note(self, problem: Problem) {
        self.problems.note_at(self.span(), problem);
    }

    /// Notes a problem at the key.
    pub(super) fn note_at_key(self, problem: Problem) {
        self.problems.note_at(self.key_span, problem);
    }

    /// A scalar with at least one character.
    pub(super) fn word(self) -> Option<Word<'a>> {
        let word = self.possibly_empty()?;
        if word.text.is_empty() {
            word.bad(format!("{} is empty", self.name()), "empty");
            return None;
        }
        Some(word)
    }

    /// A scalar.
    pub(super) fn possibly_empty(self) -> Option<Word<'a>> {
        match &self.node.value {
            Value::Text(text) => {
                Some(Word { text: &text.text, origin: text.origin, span: self.node.span, problems: self.problems })
            }
            _ => self.wrong_type("one value"),
        }
    }

    /// A whole number.
    pub(super) fn number(self, range: RangeInclusive<u64>) -> Option<u64> {
        let word = self.word()?;
        match word.text.parse::<u64>() {
            Ok(number) => self.within(word, number, range, |n| n.to_string()),
            Err(_) => word.unusable("a whole number", "digits only"),
        }
    }

    /// `5s`, `500ms`, `1h30m`.
    pub(super) fn duration(self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let word = self.word()?;
        match duration::parse(word.text) {
            Some(value) => self.within(word, value, range, duration::written),
            None => word.unusable("a duration", "a number with its unit: 500ms, 5s, 1m, 24h"),
        }
    }

    /// `16KiB`, or a bare number of bytes.
    pub(super) fn bytes(self, range: RangeInclusive<u64>) -> Option<u64> {
        let word = self.word()?;
        let digits = word.text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match word.text.get(digits.len()..).unwrap_or_default().trim_start() {
            "" | "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        match unit.and_then(|unit: u64| digits.parse::<u64>().ok()?.checked_mul(unit)) {
            Some(bytes) => self.within(word, bytes, range, |n| format!("{n} bytes")),
            None => word.unusable("a size", "a number of bytes, or with KiB, MiB or GiB: 16KiB"),
        }
    }

    /// `true` or `false`.
    pub(super) fn yes_or_no(self) -> Option<bool> {
        self.one_of(&[("true", true), ("false", false)])
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(self, words: &[(&'a str, T)]) -> Option<T> {
        let word = self.word()?;
        if let Some((_, meaning)) = words.iter().find(|(known, _)| *known == word.text) {
            return Some(*meaning);
        }
        let known: Vec<_> = words.iter().map(|(known, _)| *known).collect();
        let message = format!("{} is not a value of {}", word.shown(), self.name());
        word.note_with_suggestion(Problem::error("config::bad-value", message).label("not known"), &known);
        None
    }

    /// The items of a list; nothing behind the key is an empty one.
    pub(super) fn items(self) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::Nothing => Vec::new(),
            Value::List(items) => items.iter().map(|node| Self { key_span: node.span, rank: Rank::Item, node, ..self }).collect(),
            _ => self.wrong_type("a list").unwrap_or_default(),
        }
    }

    /// The items of a list that makes no sense without any.
    pub(super) fn some_items(self, why: &str) -> Vec<Field<'a>> {
        let items = self.items();
        if items.is_empty() && matches!(self.node.value, Value::Nothing | Value::List(_)) {
            self.note(Problem::error("config::bad-value", format!("{} is an empty list", self.name())).label("empty").hint(why));
        }
        items
    }

    /// The values of a mapping whose keys are names that the operator chose.
    pub(super) fn named(self) -> Vec<Field<'a>> {
        let entries = self.entries();
        let mut seen: Vec<&str> = Vec::new();
        for entry in entries {
            if seen.contains(&entry.key.as_str()) {
                self.repeated(entry);
            }
            seen.push(&entry.key);
        }
        entries.iter().map(|entry| self.below(entry)).collect()
    }

    /// The settings of a section, read by `lower`. Whatever `lower` did not ask for is an unknown key.
    pub(super) fn section<T>(self, lower: impl FnOnce(&Section<'a>) -> T) -> T {
        let section = Section { field: self, entries: self.entries(), known: RefCell::default(), later: RefCell::default() };
        let lowered = lower(&section);
        section.note_unknown_keys();
        lowered
    }

    /// The key, as a word with its place.
    pub(super) fn key_word(self) -> Word<'a> {
        Word { text: self.key, origin: Origin::Written, span: self.key_span, problems: self.problems }
    }

    /// Whether this is a scalar that `fits`; notes nothing.
    pub(super) fn is_word_that(self, fits: impl FnOnce(&str) -> bool) -> bool {
        matches!(&self.node.value, Value::Text(text) if fits(&text.text))
    }

    /// Whether this is a mapping and not a short form.
    pub(super) fn is_mapping(self) -> bool {
        matches!(self.node.value, Value::Mapping(_))
    }

    fn entries(self) -> &'a [Entry] {
        match &self.node.value {
            Value::Nothing => &[],
            Value::Mapping(entries) => entries,
            _ => self.wrong_type("a section with keys").unwrap_or_default(),
        }
    }

    fn below(self, entry: &'a Entry) -> Self {
        Self { key: &entry.key, key_span: entry.key_span, rank: Rank::Named, node: &entry.node, problems: self.problems }
    }

    fn repeated(self, entry: &Entry) {
        let message = format!("`{}` is there twice", entry.key);
        let problem = Problem::error("config::duplicate-key", message).label("the second one");
        self.problems.note_at(entry.key_span, problem.hint("keep one of them"));
    }

    fn wrong_type<T>(self, expected: &str) -> Option<T> {
        let found = match self.node.value {
            Value::Unknown => return None,
            Value::Nothing => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Mapping(_) => "a section with keys",
        };
        let message = format!("{} must be {expected}, but there is {found}", self.name());
        self.note(Problem::error("config::wrong-type", message).label(format!("expected {expected}")));
        None
    }

    fn within<T: PartialOrd>(self, word: Word<'_>, value: T, range: RangeInclusive<T>, show: impl Fn(T) -> String) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let (least, most) = range.into_inner();
        word.bad(format!("{} must be from {} to {}", self.name(), show(least), show(most)), "out of range");
        None
    }
}

impl Word<'_> {
    /// For a message: the text itself, unless it came from outside.
    pub(super) fn shown(&self) -> String {
        const LONGEST: usize = 80;
        if self.origin == Origin::Substituted {
            return "the value that was filled in here".into();
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
}

impl Word<'_> {
    /// Notes that a name refers to nothing.
    pub(super) fn unknown(&self, what: &str, label: &str, known: &[&str]) {
        let message = format!("there is no {what} {}", self.shown());
        self.note_with_suggestion(Problem::error("config::unknown-name", message).label(label), known);
    }

    fn note_with_suggestion(&self, mut problem: Problem, known: &[&str]) {
        // The nearest word would tell a bit of a value that came from outside.
        let written = if self.origin == Origin::Written { self.text } else { "" };
        problem.hint = suggest(written, known);
        self.note(problem);
    }
}

/// The settings below one key.
pub(super) struct Section<'a> {
    field: Field<'a>,
    entries: &'a [Entry],
    known: RefCell<Vec<&'static str>>,
    /// Of a later version; never suggested.
    later: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
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
        // A value that is no section at all has its own problem.
        if matches!(self.field.node.value, Value::Nothing | Value::Mapping(_)) {
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

    fn note_unknown_keys(&self) {
        let (known, later) = (self.known.borrow(), self.later.borrow());
        let is_unknown = |entry: &&Entry| !known.contains(&entry.key.as_str()) && !later.contains(&entry.key.as_str());
        for entry in self.entries.iter().filter(is_unknown) {
            let message = format!("there is no key `{}` in {}", entry.key, self.field.name());
            let mut problem = Problem::error("config::unknown-key", message).label("unknown key");
            problem.hint = suggest(&entry.key, &known);
            self.field.problems.note_at(entry.key_span, problem);
        }
    }
}

/// The problem of something that a later version will have.
pub(super) fn not_built_yet(what: &str, why: &str) -> Problem {
    Problem::error("config::not-built-yet", format!("{what} is not built yet: {why}")).label("not in this version")
}
