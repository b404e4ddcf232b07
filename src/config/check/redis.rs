use std::time::Duration;

use http::Uri;

use super::{identity, upstreams};
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::Problem;
use crate::model::settings::{Redis, Secret};

const USUAL_PORT: u16 = 6379;
const PREFIX: &str = "tollgate:";

/// `redis:`
pub(super) fn lower(top: &Section<'_>) -> Option<Redis> {
    top.optional("redis")?.section(|section| {
        let url = section.required("url", "for example redis://127.0.0.1:6379, or rediss:// for TLS").and_then(Field::word);
        let username = section.optional("username").and_then(Field::word);
        let password = section.optional("password").and_then(Field::word);
        if let (Some(username), None) = (username, password) {
            let problem = Problem::error("config::missing-key", "a `username` without a `password`").label("no password");
            username.note(problem.hint("for example `password: ${file:/run/secrets/redis}`"));
        }
        let timeout = section.optional("timeout");
        let timeout = timeout.and_then(|field| field.duration(Duration::from_millis(1)..=Duration::from_secs(5)));
        let prefix = section.optional("prefix").and_then(Field::word).filter(|word| is_prefix(*word));
        let place = url.and_then(place)?;
        if let Some(word) = url.filter(|_| !place.tls && !identity::is_loopback(&place.host)) {
            let message = "sessions, revocations and the password cross the network without TLS";
            let problem = Problem::warning("config::plain-redis", message).label("redis://, not loopback");
            word.note(problem.hint("use rediss:// unless the network between is your own"));
        }
        Some(Redis {
            host: place.host,
            port: place.port,
            tls: place.tls,
            database: place.database,
            username: username.map(|word| word.text.to_owned()),
            password: password.map(|word| Secret::new(word.text)),
            timeout: timeout.unwrap_or(Duration::from_millis(50)),
            prefix: prefix.map_or(PREFIX, |word| word.text).to_owned(),
        })
    })
}

struct Place {
    host: String,
    port: u16,
    tls: bool,
    database: u16,
}

fn place(word: Word<'_>) -> Option<Place> {
    let hint = "redis://HOST:PORT or rediss://HOST:PORT for TLS, and /NUMBER for another database than 0";
    let unusable = || word.unusable("a URL of a Redis server", hint);
    let Ok(uri) = word.text.parse::<Uri>() else { return unusable() };
    let tls = match uri.scheme_str() {
        Some("redis" | "valkey") => false,
        Some("rediss" | "valkeys") => true,
        _ => return unusable(),
    };
    let Some(authority) = uri.authority() else { return unusable() };
    if authority.as_str().contains('@') {
        return word.unusable("a URL of a Redis server", "no user and password in it: they are `username` and `password`");
    }
    let Some(port) = upstreams::port(authority, USUAL_PORT) else { return unusable() };
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let database = match uri.path().trim_start_matches('/') {
        "" => Some(0),
        digits => digits.parse::<u16>().ok(),
    };
    match database {
        Some(database) if !host.is_empty() && uri.query().is_none() => Some(Place { host, port, tls, database }),
        _ => unusable(),
    }
}

/// Braces would be hash tags of a cluster, blanks make keys that nobody can type.
fn is_prefix(word: Word<'_>) -> bool {
    let fits = word.text.len() <= 64 && word.text.chars().all(|c| c.is_ascii_alphanumeric() || ":._-/".contains(c));
    if !fits {
        word.unusable::<()>("a prefix of keys", "at most 64 letters, digits and `: . _ - /`");
    }
    fits
}
