use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Options, Spanned};

use crate::model::{Problem, Source, Span};

/// A piece of the configuration as it was written.
///
/// No `Debug`: it holds secrets that are only recognised later.
pub(super) struct Node {
    pub(super) value: Value,
    /// Of a scalar the whole of it with its quotes, of a list or mapping where it begins.
    pub(super) span: Span,
}

/// What stands there.
pub(super) enum Value {
    /// `key:` with nothing behind it, `~` or `null`.
    Nothing,
    /// A scalar; whether it is a number is decided by the setting that it is for, not by its looks.
    Text(Text),
    /// `[…]` or `- …`.
    List(Vec<Node>),
    /// `{…}` or `key: …`, in the order of the file and with its repeated keys.
    Mapping(Vec<Entry>),
    /// Could not be determined, which was reported already.
    Unknown,
}

/// A scalar.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) quotes: Quotes,
    /// Without quotes, a number or a boolean.
    pub(super) is_typed: bool,
    pub(super) origin: Origin,
}

/// How a scalar was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// Taken literally, as a shell does.
    Single,
    /// `${…}` means something.
    Other,
}

/// Whether a message may repeat a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stands in the file as it is.
    Written,
    /// It comes from an environment variable or another file; or it has several lines, where a forgotten quote may have made a
    /// secret a part of it.
    Withheld,
}

/// One `key: value`.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

/// Reads YAML. Only what is not YAML at all fails here.
pub(super) fn read(source: &Arc<Source>) -> Result<Node, Problem> {
    const LARGEST: usize = 1 << 20;
    let start = Span::default();
    if source.text.len() > LARGEST {
        return Err(Problem::error("config::too-large", format!("the configuration is larger than {} KiB", LARGEST >> 10))
            .at(source, start)
            .hint("is this the right file?"));
    }
    if source.text.starts_with('\u{feff}') {
        return Err(Problem::error("config::syntax", "the file begins with a byte order mark")
            .at(source, Span { start: 0, length: 3 })
            .label("three invisible bytes")
            .hint("save it as UTF-8 without a byte order mark"));
    }
    match serde_yaml::from_str_with_options::<Spotted>(&source.text, options()) {
        Ok(spotted) => {
            let root = spotted.into_node(&source.text);
            match key_of_many_lines(&root, &source.text) {
                None => Ok(root),
                Some(span) => Err(Problem::error("config::syntax", "a key with several lines")
                    .at(source, span)
                    .label("begins here")
                    .hint("is a quote missing before this?")),
            }
        }
        Err(error) => Err(syntax_problem(source, &error)),
    }
}

/// Far above any real configuration, far below what hurts: a reload must not be a way to use up memory.
fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_documents: 2,
            max_depth: 16,
            max_nodes: 100_000,
            max_events: 300_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 100_000,
            max_merge_keys: 1_000,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: 20_000 },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// No setting and no sensible name has one; messages repeat keys, and this one may hold anything.
fn key_of_many_lines(node: &Node, text: &str) -> Option<Span> {
    match &node.value {
        Value::List(items) => items.iter().find_map(|item| key_of_many_lines(item, text)),
        Value::Mapping(entries) => entries.iter().find_map(|entry| {
            let Span { start, length } = entry.key_span;
            let is_long = text.get(start..start + length).is_some_and(|written| written.contains('\n'));
            if is_long || entry.key.contains('\n') { Some(entry.key_span) } else { key_of_many_lines(&entry.node, text) }
        }),
        _ => None,
    }
}

fn syntax_problem(source: &Arc<Source>, error: &serde_yaml::Error) -> Problem {
    use serde_yaml::Error as E;
    let error = match error.without_snippet() {
        E::AliasError { error, .. } => error,
        error => error,
    };
    let place = error.location().unwrap_or(Location::UNKNOWN);
    let span = span_of(place, &source.text);
    let bomb = ("config::too-large", "more aliases, nodes or levels than a configuration needs");
    let (code, message) = match error {
        E::MultipleDocuments { .. } => ("config::syntax", "a second YAML document begins here".to_owned()),
        E::Budget { .. } | E::AliasReplayLimitExceeded { .. } | E::AliasExpansionLimitExceeded { .. } => {
            (bomb.0, bomb.1.to_owned())
        }
        E::RecursiveReferencesRequireWeakTypes { .. } => ("config::syntax", "an alias inside of what it stands for".to_owned()),
        E::NullIntoString { .. } => ("config::syntax", "a key needs a name".to_owned()),
        error => {
            let text = error.to_string();
            let place = format!(" at line {}, column {}", place.line(), place.column());
            ("config::syntax", text.strip_suffix(&place).unwrap_or(&text).to_owned())
        }
    };
    let hint = if message.contains("tabs") {
        Some("indent with spaces")
    } else if source.text.get(span.start.saturating_sub(1)..).is_some_and(|text| text.starts_with("${")) {
        Some("inside [ ] and { } write \"${NAME}\" with double quotes")
    } else if matches!(error, E::MultipleDocuments { .. }) {
        Some("one file holds one configuration: remove the `---`")
    } else {
        None
    };
    let problem = Problem::error(code, message).at(source, span).label("here");
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn span_of(location: Location, text: &str) -> Span {
    let number = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok());
    let known = location.span();
    let start = number(known.byte_offset()).unwrap_or_else(|| {
        // Scanner errors know only line and column.
        let line = usize::try_from(location.line()).unwrap_or(1).saturating_sub(1);
        let column = usize::try_from(location.column()).unwrap_or(1).saturating_sub(1);
        let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let within: usize = text.get(before..).unwrap_or_default().chars().take(column).map(char::len_utf8).sum();
        before + within
    });
    let start = start.min(text.len());
    Span { start, length: number(known.byte_len()).unwrap_or(0).min(text.len() - start) }
}

/// What the deserializer says, with its places.
struct Spotted {
    kind: Kind,
    place: Location,
}

enum Kind {
    Nothing,
    /// A number or a boolean: its spelling is taken from the file, because `1.10` is not `1.1` in an issuer's name.
    Typed,
    Text(String),
    List(Vec<Spotted>),
    Mapping(Vec<(Spanned<String>, Spotted)>),
}

impl Spotted {
    fn into_node(self, text: &str) -> Node {
        let span = span_of(self.place, text);
        let written = text.get(span.start..span.start + span.length).unwrap_or_default();
        let is_typed = matches!(self.kind, Kind::Typed);
        let scalar = |text: String| {
            let quotes = if written.starts_with('\'') { Quotes::Single } else { Quotes::Other };
            let origin = if written.contains('\n') { Origin::Withheld } else { Origin::Written };
            Value::Text(Text { text, quotes, is_typed, origin })
        };
        let value = match self.kind {
            Kind::Nothing => Value::Nothing,
            Kind::Typed => scalar(written.to_owned()),
            Kind::Text(text) => scalar(text),
            Kind::List(items) => Value::List(items.into_iter().map(|item| item.into_node(text)).collect()),
            Kind::Mapping(entries) => Value::Mapping(
                entries
                    .into_iter()
                    .map(|(key, node)| Entry { key_span: span_of(key.defined, text), key: key.value, node: node.into_node(text) })
                    .collect(),
            ),
        };
        Node { value, span }
    }
}

impl<'de> Deserialize<'de> for Spotted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { kind: spanned.value, place: spanned.defined })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyKind)
    }
}

struct AnyKind;

impl<'de> Visitor<'de> for AnyKind {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Kind::Mapping(mapping))
    }
}
