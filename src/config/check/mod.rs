//! From nodes to settings, one file for each section. What cannot be read gets a placeholder and a problem, so that the rest is
//! still looked at; the problems say whether the result may be used.

mod acme;
mod billing;
mod claims;
mod credentials;
mod hosted;
mod identity;
mod lifecycle;
mod limits;
mod listening;
mod login;
mod logout;
mod observing;
mod redis;
mod revocation;
mod routes;
mod rules;
mod tls;
mod upstreams;

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::document::Node;
use super::environment::Surroundings;
use super::field::Field;
use super::problems::Problems;
use super::section::{Section, not_built_yet};
use super::word::Word;
use crate::model::settings::{Config, Throttling};
use crate::model::{Name, Problem, Source};

/// Lowers the whole document.
pub(super) fn lower(root: &Node, source: &Arc<Source>, surroundings: &Surroundings<'_>, problems: &Problems) -> Config {
    Field::root(root, problems).section(|top| {
        version(top);
        let (listeners, admin) = listening::lower(top, surroundings);
        let (threads, grace, lifecycle, trusted_proxies) = listening::server(top, &listeners, surroundings);
        let limits = limits::lower(top);
        let billing = billing::lower(top, surroundings);
        let mut identity = identity::lower(top, surroundings);
        login::needs_redis(top, &identity);
        billing.warn_about_tenants(&identity);
        identity.account = billing.account;
        let upstreams = upstreams::lower(top, surroundings);
        let routes = routes::lower(top, &upstreams, &identity);
        let error_pages = routes::error_pages(top, surroundings);
        let rules = rules::lower(top, &routes, surroundings);
        let throttling = throttling(top);
        let (max_series_per_metric, access_log) = observing::lower(top, surroundings);
        let texts = rules.entries.iter().map(|rule| (&rule.name, &rule.source)).chain(rules.library.iter().map(|(n, s)| (n, s)));
        Config {
            listeners,
            trusted_proxies,
            admin,
            threads,
            grace,
            lifecycle,
            limits,
            identity,
            upstreams,
            routes: routes::settle(routes, &rules),
            error_pages,
            throttling,
            billing: billing.settings,
            max_series_per_metric,
            access_log,
            redis: self::redis::lower(top),
            tracing: observing::tracing(top),
            config_sha256: sha256([source.text.as_str()]),
            rules_sha256: sha256(texts.flat_map(|(name, source)| [&**name, source.text.as_str()])),
            rules,
        }
    })
}

fn version(top: &Section<'_>) {
    let Some(field) = top.required("version", "begin the file with `version: 1`") else { return };
    if let Some(word) = field.word()
        && word.text != "1"
    {
        word.unusable::<()>("a version of this format", "this Tollgate reads `version: 1`");
    }
}

fn throttling(top: &Section<'_>) -> Throttling {
    let defaults = Throttling { max_keys: 1_000_000 };
    let Some(field) = top.optional("throttling") else { return defaults };
    field.section(|section| {
        section.not_built_yet("on_store_down", "limits are kept in this process, which is never down");
        if let Some(store) = section.optional("store") {
            let is_shared = |text: &str| ["redis:", "rediss:", "valkey:"].iter().any(|scheme| text.starts_with(scheme));
            if store.is_word_that(is_shared) {
                store.note(not_built_yet("a shared store", "every gateway counts for itself; write `local`"));
            } else {
                store.one_of(&[("local", ())]);
            }
        }
        let max_keys = section.optional("max_keys").and_then(|field| field.number(1..=100_000_000));
        Throttling { max_keys: count(max_keys).unwrap_or(defaults.max_keys) }
    })
}

/// Hexadecimal. Each part is preceded by its length, so that no two lists of parts have the same digest.
fn sha256<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn count(number: Option<u64>) -> Option<usize> {
    usize::try_from(number?).ok()
}

/// A name that the operator chose and that logs, metrics and rules repeat.
fn name(word: Word<'_>) -> Option<Name> {
    if is_name(word.text) {
        return Some(word.text.into());
    }
    word.unusable("a name", "at most 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit")
}

fn is_name(text: &str) -> bool {
    const LONGEST: usize = 64;
    text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Notes that a name is taken.
fn repeated(word: Word<'_>, what: &str) {
    let problem = Problem::error("config::duplicate-name", format!("a second {what} with this name"));
    word.note(problem.label("taken").hint("names must differ: logs and metrics tell things apart by them"));
}
