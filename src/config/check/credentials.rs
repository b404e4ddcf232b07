mod asked;
mod told;

pub(super) use asked::introspection;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::HeaderName;
use serde_json::{Map, Value};

use super::claims::is_ours;
use super::{name, repeated};
use crate::config::document;
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::problems::Problems;
use crate::config::secret;
use crate::config::section::Section;
use crate::config::variables;
use crate::config::word::Word;
use crate::model::settings::{ApiKey, ApiKeys, Dpop, Identity, TokenFrom};
use crate::model::{Problem, Source};

/// Bytes of a file of API keys.
const LARGEST: usize = 4 << 20;

/// What `identity:` says about credentials; the rest of it was read.
pub(super) fn lower(section: &Section<'_>, identity: &mut Identity, surroundings: &Surroundings<'_>) {
    if let Some(field) = section.optional("dpop") {
        let modes = [("off", Dpop::Off), ("allowed", Dpop::Allowed), ("required", Dpop::Required)];
        identity.credentials.dpop = field.one_of(&modes).unwrap_or_default();
    }
    if let Some(field) = section.optional("api_keys") {
        identity.credentials.api_keys = api_keys(field, identity, surroundings);
    }
    identity.credentials.resource_metadata = section.optional("resource_metadata").and_then(told::resource_metadata);
    if let Some(field) = section.optional("upstream_token") {
        identity.credentials.upstream_token = told::upstream_token(field, identity, surroundings);
    }
}

fn api_keys(field: Field<'_>, identity: &Identity, surroundings: &Surroundings<'_>) -> Option<ApiKeys> {
    field.section(|section| {
        let header = match section.optional("header") {
            None => Some(HeaderName::from_static("x-api-key")),
            Some(field) => field.word().and_then(|word| header_of_its_own(word, identity)),
        };
        let mut draft = Draft { identity, now: surroundings.now().as_secs(), entries: BTreeMap::new(), names: Vec::new() };
        let (file, entries) = (section.optional("file"), section.optional("entries"));
        if file.is_none() && entries.is_none() {
            section.missing("`entries` or `file` is missing", "`tollgate key new` makes a key and prints its entry");
        }
        if let Some(field) = entries {
            field.items().into_iter().for_each(|item| draft.entry(item));
        }
        if let Some(word) = file.and_then(Field::word) {
            draft.file(word, file, surroundings);
        }
        Some(ApiKeys { header: header?, entries: draft.entries })
    })
}

/// A request header that carries something of the gateway's own, so that nothing else may be in it.
fn header_of_its_own(word: Word<'_>, identity: &Identity) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(word.text.as_bytes()) else {
        return word.unusable("the name of a header", "letters, digits and `-`, as in x-api-key");
    };
    if !name.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return word.unusable("a header of a request", "some servers read `_` and `.` as `-`: write letters, digits and `-`");
    }
    if is_ours(name.as_str()) || ["dpop", "traceparent", "tracestate"].contains(&name.as_str()) {
        return word.unusable("possible here", "this header has a meaning of its own: choose a name like x-api-key");
    }
    let is_token = identity.token_from.iter().any(|place| matches!(place, TokenFrom::Header(taken) if *taken == name));
    if is_token || identity.withheld().any(|taken| *taken == name) {
        return word.unusable("possible here", "another setting of `identity` uses this header: choose another one");
    }
    Some(name)
}

/// The entries so far.
struct Draft<'a> {
    identity: &'a Identity,
    /// Unix seconds.
    now: u64,
    entries: BTreeMap<[u8; 32], ApiKey>,
    names: Vec<String>,
}

/// The text of a file of at most `limit` bytes that the configuration names.
fn named_file(word: Word<'_>, path: &Path, limit: usize, surroundings: &Surroundings<'_>) -> Option<String> {
    match surroundings.text(path, limit) {
        Ok(text) => Some(text),
        Err(fault) => {
            let message = format!("{} cannot be used: {fault}", word.shown_or("this file"));
            let problem = Problem::error("config::unreadable-file", message).label("this file");
            word.note(problem.hint("paths begin at the folder of the configuration"));
            None
        }
    }
}

impl Draft<'_> {
    /// A file of its own can be written by another program, and be kept out of version control.
    fn file(&mut self, word: Word<'_>, field: Option<Field<'_>>, surroundings: &Surroundings<'_>) {
        let path = surroundings.resolve(Path::new(word.text));
        let Some(text) = named_file(word, &path, LARGEST, surroundings) else { return };
        let source = Arc::new(Source { name: path.display().to_string(), text });
        let problems = Problems::new(&source);
        let mask = match document::read(&source) {
            Ok(mut root) => {
                variables::fill(&mut root, surroundings, &problems);
                Field::root(&root, &problems).section(|section| {
                    if let Some(field) = section.required("entries", "the file is a list of keys under `entries:`") {
                        field.items().into_iter().for_each(|item| self.entry(item));
                    }
                });
                secret::mask_nodes(&source.text, &root)
            }
            Err(problem) => {
                problems.note(problem);
                secret::mask_lines(&source.text)
            }
        };
        if let Some(field) = field {
            field.note_elsewhere(problems.finish(mask));
        }
    }

    fn entry(&mut self, item: Field<'_>) {
        item.section(|section| {
            let name_word =
                section.required("name", "what operators call the key, for example billing-job").and_then(Field::word);
            let hash = section.required("hash", "SHA-256 of the key: `tollgate key new` makes a key and prints its entry");
            let hash_word = hash.and_then(Field::word);
            let digest = hash_word.and_then(digest);
            let claims_field = section.optional("claims");
            let mut claims = claims_field.map(object).unwrap_or_default();
            let expires = section.optional("expires").and_then(|field| self.expires(field));
            let Some(name) = name_word.and_then(name) else { return };
            if self.names.iter().any(|taken| **taken == *name)
                && let Some(word) = name_word
            {
                repeated(word, "API key");
            }
            self.names.push(name.to_string());
            claims.entry("sub").or_insert_with(|| name.to_string().into());
            let place = claims_field.unwrap_or(item);
            if claims.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) {
                let problem = Problem::error("config::bad-value", "`sub` must be a text: it says who calls");
                place.note_at_key(problem.label("no subject").hint("leave it out to use the key's name"));
            }
            if let Some(unmet) = self.identity.unmet_claim(&claims) {
                let message = format!("the claim `{unmet}` of this key is not what `identity.claims` declares");
                let problem = Problem::error("config::bad-value", message).label("rules rely on it");
                place.note_at_key(problem.hint("add it, with the declared type and one of the declared values"));
            }
            let Some(digest) = digest else { return };
            if self.entries.insert(digest, ApiKey { claims, expires }).is_some()
                && let Some(word) = hash_word
            {
                let problem = Problem::error("config::duplicate-name", "two entries for one key");
                word.note(problem.label("again").hint("which one is meant?"));
            }
        });
    }

    fn expires(&self, field: Field<'_>) -> Option<u64> {
        let word = field.word()?;
        let Some(at) = word.text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_second()).ok()) else {
            return word.unusable("a time", "as in 2027-01-31T12:00:00Z");
        };
        if at <= self.now {
            let problem = Problem::warning("config::expired-key", "this key is refused: it has expired").label("in the past");
            word.note(problem.hint("remove the entry when nobody uses the key any more"));
        }
        Some(at)
    }
}

fn digest(word: Word<'_>) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let is_hex = word.text.len() == 64 && word.text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = word.text.get(place * 2..place * 2 + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    if is_hex {
        return Some(digest);
    }
    // Not repeated: it may be the key itself.
    let problem =
        Problem::error("config::bad-value", "this is not the SHA-256 of a key in hexadecimal").label("not 64 hex digits");
    word.note(problem.hint("never write the key itself here: `printf %s KEY | sha256sum`, or `tollgate key new`"));
    None
}

fn object(field: Field<'_>) -> Map<String, Value> {
    field.named().into_iter().map(|field| (field.key.to_owned(), field.json())).collect()
}
