use std::path::Path;
use std::sync::Arc;

use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::{Acme, AcmeChallenge, Certificate, Secret};
use crate::tls::{Pair, authorities};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names in one certificate; Let's Encrypt's limit.
const MOST_NAMES: usize = 100;

const LARGEST: usize = 1 << 20;

/// `acme:`
pub(super) fn lower(field: Field<'_>, surroundings: &Surroundings<'_>) -> Option<Acme> {
    field.section(|section| {
        let directory = section.optional("directory").map_or_else(|| Some(LETS_ENCRYPT.to_owned()), directory);
        let contacts = section.optional("contacts").map(contacts).unwrap_or_default();
        let agreed = agreed(section);
        let names = section.required("names", "the DNS names of the certificate").and_then(names);
        let cache = section.optional("cache").map_or(Some("acme"), |field| field.word().map(|word| word.text));
        let challenges = [("http-01", AcmeChallenge::Http01), ("tls-alpn-01", AcmeChallenge::TlsAlpn01)];
        let challenge = section.optional("challenge").map_or(Some(AcmeChallenge::default()), |field| field.one_of(&challenges));
        let ca = section.optional("ca").map_or(Some(None), |field| ca(field, surroundings).map(Some));
        Some(Acme {
            directory: directory?,
            contacts,
            names: names.filter(|_| agreed)?,
            cache: surroundings.resolve(cache?),
            challenge: challenge?,
            ca: ca?,
        })
    })
}

fn directory(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    match word.text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() => Some(word.text.to_owned()),
        _ => word.unusable("an https URL", "for example https://acme-v02.api.letsencrypt.org/directory"),
    }
}

fn contacts(field: Field<'_>) -> Vec<String> {
    let mut contacts = Vec::new();
    for word in field.items().into_iter().filter_map(Field::word) {
        if word.text.contains(':') {
            contacts.push(word.text.to_owned());
        } else {
            word.unusable::<()>("a URI", "for example mailto:ops@example.com");
        }
    }
    contacts
}

fn agreed(section: &Section<'_>) -> bool {
    let why = "`true` says that you agree to the terms of the certificate authority";
    let Some(field) = section.required("agree_to_terms", why) else { return false };
    let agreed = field.yes_or_no();
    if agreed == Some(false) {
        let problem = Problem::error("config::bad-value", "without agreeing no certificate authority issues anything");
        field.note(problem.label("not agreed"));
    }
    agreed == Some(true)
}

fn names(field: Field<'_>) -> Option<Vec<String>> {
    let items = field.some_items("a certificate needs a name");
    if items.len() > MOST_NAMES {
        field.note(Problem::error("config::bad-value", format!("more than {MOST_NAMES} names")).label("too many"));
        return None;
    }
    let mut names = Vec::new();
    for item in items {
        let word = item.word()?;
        let name = word.text.to_ascii_lowercase();
        if !is_dns_name(&name) {
            return word
                .unusable("a DNS name", "for example api.example.com; these challenges know no wildcards and no addresses");
        }
        names.push(name);
    }
    (!names.is_empty()).then_some(names)
}

fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let has_edges =
            label.starts_with(|c: char| c.is_ascii_alphanumeric()) && label.ends_with(|c: char| c.is_ascii_alphanumeric());
        has_edges && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    // A last label of digits would be an address.
    name.len() <= 253 && name.split('.').all(is_label) && !name.ends_with(|c: char| c.is_ascii_digit())
}

fn ca(field: Field<'_>, surroundings: &Surroundings<'_>) -> Option<Arc<str>> {
    let word = field.word()?;
    let shown = word.shown_or("this file");
    let problem = match surroundings.text(&surroundings.resolve(Path::new(word.text)), LARGEST) {
        Ok(text) => match authorities(&text) {
            Ok(_) => return Some(text.into()),
            Err(fault) => Problem::error("config::certificate", format!("{shown} cannot be used: {fault}")),
        },
        Err(fault) => Problem::error("config::unreadable-file", format!("{shown} cannot be used: {fault}")),
    };
    word.note(problem.label("this file"));
    None
}

/// What was issued earlier. A file that is missing or cannot be used is no mistake of the operator's: another one is ordered.
pub(super) fn cached(acme: &Acme, surroundings: &Surroundings<'_>) -> Vec<Certificate> {
    let Ok(text) = surroundings.text(&acme.file(), LARGEST) else { return Vec::new() };
    let Ok(pair) = Pair::read(&text, &text) else { return Vec::new() };
    // The key stands before the chain and must not be shown with it.
    let chain = text.find("-----BEGIN CERTIFICATE").and_then(|at| text.get(at..)).unwrap_or_default();
    vec![Certificate { chain: chain.into(), key: Secret::new(&text), names: pair.names, not_after: pair.not_after }]
}
