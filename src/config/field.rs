use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Entry, Node, Origin, Value};
use super::duration;
use super::problems::Problems;
use super::section::Section;
use super::word::Word;
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
            Rank::Named => self.key_word().shown(),
            Rank::Item => format!("an entry of {}", self.key_word().shown()),
        }
    }

    /// Whether something is missing in it: a value that is no section at all has its own problem.
    pub(super) fn may_be_a_section(self) -> bool {
        matches!(self.node.value, Value::Nothing | Value::Mapping(_))
    }

    /// Notes a problem at the value.
    pub(super) fn note(self, problem: Problem) {
        self.problems.note_at(self.span(), problem);
    }

    /// Notes what is wrong with another text, which the value names.
    pub(super) fn note_elsewhere(self, problems: Vec<Problem>) {
        problems.into_iter().for_each(|problem| self.problems.note(problem));
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
            Value::Text(text) => Some(Word::new(&text.text, text.origin, self.node.span, self.problems)),
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
        let message = match self.rank {
            Rank::Item => format!("{} is not possible in {}", word.shown(), self.key_word().shown()),
            Rank::Root | Rank::Named => format!("{} is not a value of {}", word.shown(), self.name()),
        };
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
        let mut seen = HashSet::new();
        for entry in entries {
            if !seen.insert(entry.key.as_str()) {
                self.repeated(entry);
            }
        }
        entries.iter().map(|entry| self.below(entry)).collect()
    }

    /// The settings of a section, read by `lower`. Whatever `lower` did not ask for is an unknown key.
    pub(super) fn section<T>(self, lower: impl FnOnce(&Section<'a>) -> T) -> T {
        let section = Section::new(self, self.entries());
        let lowered = lower(&section);
        section.note_unknown_keys();
        lowered
    }

    /// Whatever stands there as JSON, for what has no schema: numbers and booleans are those without quotes.
    pub(super) fn json(self) -> serde_json::Value {
        match &self.node.value {
            Value::Nothing | Value::Unknown => serde_json::Value::Null,
            Value::Text(text) if text.is_typed => serde_json::from_str(&text.text).unwrap_or_else(|_| text.text.as_str().into()),
            Value::Text(text) => text.text.as_str().into(),
            Value::List(_) => self.items().into_iter().map(Self::json).collect(),
            Value::Mapping(_) => self.named().into_iter().map(|field| (field.key.to_owned(), field.json())).collect(),
        }
    }

    /// The key, as a word with its place.
    pub(super) fn key_word(self) -> Word<'a> {
        Word::new(self.key, Origin::Written, self.key_span, self.problems)
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

    /// One entry of this mapping.
    pub(super) fn below(self, entry: &'a Entry) -> Self {
        Self { key: &entry.key, key_span: entry.key_span, rank: Rank::Named, node: &entry.node, problems: self.problems }
    }

    /// Notes that a key is there again.
    pub(super) fn repeated(self, entry: &Entry) {
        let message = format!("{} is there twice", self.below(entry).key_word().shown());
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
