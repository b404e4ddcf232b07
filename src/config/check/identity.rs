use std::time::Duration;

use http::{HeaderName, Uri};

use super::{claims, count, credentials, hosted, login, logout, name, repeated, revocation, upstreams};
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::settings::{HostedBackend, Identity, Issuer, Secret, TokenFrom};
use crate::model::{Name, Problem};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// `identity:`; `account` is left empty, because it is a setting of billing.
pub(super) fn lower(top: &Section<'_>, surroundings: &Surroundings<'_>) -> Identity {
    let mut identity = Identity::default();
    let Some(field) = top.optional("identity") else { return identity };
    field.section(|section| {
        if let Some(field) = section.optional("issuers") {
            identity.issuers = issuers(field);
        }
        identity.login = login::lower(section, &identity.issuers);
        identity.logout = logout::lower(section, identity.login.as_ref());
        identity.hosted = hosted::lower(section, &identity.issuers);
        let clock_skew = section.optional("clock_skew").and_then(|field| field.duration(Duration::ZERO..=5 * MINUTE));
        let max_lifetime = section.optional("max_lifetime").and_then(|field| field.duration(MINUTE..=24 * 366 * HOUR));
        let cache_tokens = section.optional("cache_tokens").and_then(|field| field.number(1..=10_000_000));
        identity.clock_skew = clock_skew.unwrap_or(identity.clock_skew);
        identity.max_lifetime = max_lifetime.unwrap_or(identity.max_lifetime);
        identity.cache_tokens = count(cache_tokens).unwrap_or(identity.cache_tokens);
        if let Some(field) = section.optional("token_from") {
            let places = field.some_items("leave it out to read the Authorization header");
            identity.token_from = places.into_iter().filter_map(token_from).collect();
        }
        let of_the_sdks = TokenFrom::Cookie(HostedBackend::COOKIES[0].to_owned());
        if identity.hosted.is_some() && !identity.token_from.contains(&of_the_sdks) {
            identity.token_from.push(of_the_sdks);
        }
        identity.revocation = revocation::lower(section, &identity.issuers, surroundings);
        identity.claims = section.optional("claims").map(claims::declared).unwrap_or_default();
        identity.forward_claims = section.optional("forward_claims").map(claims::forwarded).unwrap_or_default();
        credentials::lower(section, &mut identity, surroundings);
    });
    identity
}

fn issuers(field: Field<'_>) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for item in field.items() {
        let (issuer, words) = item.section(issuer);
        let same = |earlier: &&Issuer| earlier.issuer == issuer.issuer && !issuer.issuer.is_empty();
        let rivals: Vec<_> = issuers.iter().filter(same).collect();
        if let Some(word) = words.issuer
            && rivals.iter().any(|rival| issuer.tenant.is_none() || rival.tenant.is_none() || rival.tenant == issuer.tenant)
        {
            let problem = Problem::error(
                "config::duplicate-name",
                "two issuers with the same `issuer` text, and not two different tenants",
            );
            word.note(problem.label("which one is meant?").hint("give each of them its own `tenant`"));
        }
        if let Some(word) = words.name
            && issuers.iter().any(|earlier| earlier.name == issuer.name)
        {
            repeated(word, "issuer");
        }
        issuers.push(issuer);
    }
    name_the_nameless(&mut issuers);
    issuers
}

/// What problems between two issuers point at.
struct Words<'a> {
    name: Option<Word<'a>>,
    issuer: Option<Word<'a>>,
}

fn issuer<'a>(section: &Section<'a>) -> (Issuer, Words<'a>) {
    let name_word = section.optional("name").and_then(Field::word);
    let url = section.required("url", "where Tollgate fetches the issuer's keys, for example http://localhost:9011");
    let issuer =
        section.required("issuer", "what `iss` says, exactly; FusionAuth: Tenants → your tenant → Issuer").and_then(Field::word);
    let tenant = section.optional("tenant").and_then(Field::possibly_empty).filter(|word| !word.text.is_empty());
    let audiences = section.required("audiences", "the ids of the FusionAuth applications whose tokens are accepted");
    let audiences = audiences.map(|field| field.some_items("without an audience every application's tokens would do"));
    let url = url.and_then(|field| discovery_url(field, FORGERY)).unwrap_or_default();
    let introspection = section.optional("introspection").and_then(|field| credentials::introspection(field, &url));
    let limit = |key, range, default| section.optional(key).and_then(|field| field.duration(range)).unwrap_or(default);
    let lowered = Issuer {
        name: name_word.and_then(name).unwrap_or_else(|| Name::from("")),
        url,
        issuer: issuer.map(|word| word.text.to_owned()).unwrap_or_default(),
        tenant: tenant.map(|word| word.text.to_owned()),
        audiences: audiences.unwrap_or_default().into_iter().filter_map(|item| Some(item.word()?.text.to_owned())).collect(),
        hmac_secrets: section
            .optional("hmac_secrets")
            .map(Field::items)
            .unwrap_or_default()
            .into_iter()
            .filter_map(secret)
            .collect(),
        introspection,
        refresh: limit("refresh", Duration::from_secs(1)..=24 * HOUR, 5 * MINUTE),
        max_stale: limit("max_stale", Duration::ZERO..=7 * 24 * HOUR, HOUR),
        cooldown: limit("cooldown", Duration::from_secs(1)..=HOUR, Duration::from_secs(30)),
        timeout: limit("timeout", Duration::from_millis(100)..=MINUTE, Duration::from_secs(5)),
    };
    (lowered, Words { name: name_word, issuer })
}

/// What is at stake when keys come without TLS.
const FORGERY: &str = "the issuer's keys are fetched without TLS from another machine, so who is in between can forge tokens";

/// Without a trailing slash; `danger` is what plain HTTP to another machine means.
pub(super) fn discovery_url(field: Field<'_>, danger: &str) -> Option<String> {
    let word = field.word()?;
    let hint = "for example https://auth.example.com, or http://localhost:9011/base";
    let Ok(uri) = word.text.parse::<Uri>() else { return word.unusable("a URL", hint) };
    let Some(scheme @ ("http" | "https")) = uri.scheme_str() else { return word.unusable("an http or https URL", hint) };
    let Some(authority) = uri.authority() else { return word.unusable("a URL of an issuer", hint) };
    let host = authority.host();
    if host.is_empty() || authority.as_str().contains('@') {
        return word.unusable("a URL of an issuer", "a host is needed, a user name or password is not possible");
    }
    if upstreams::port(authority, 80).is_none() {
        return word.unusable("a URL of an issuer", "the port must be from 1 to 65535");
    }
    if uri.query().is_some() || word.text.contains('#') {
        return word.unusable("a URL of an issuer", "without `?` and `#`: the paths of OpenID discovery are appended");
    }
    if scheme == "http" && !is_loopback(host) {
        word.note(Problem::warning("config::plain-http-issuer", danger).label("http, not loopback").hint("use https"));
    }
    Some(word.text.trim_end_matches('/').to_owned())
}

pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.ends_with(".localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(super) fn secret(field: Field<'_>) -> Option<Secret> {
    // RFC 7518 §3.2: a key at least as long as the hash.
    const SHORTEST: usize = 32;
    let word = field.possibly_empty().filter(|word| !word.text.is_empty())?;
    if word.text.len() < SHORTEST {
        let problem = Problem::error("config::weak-secret", format!("an HMAC secret has at least {SHORTEST} bytes"));
        word.note(problem.label("too short").hint("for example the output of `openssl rand -base64 48`"));
        return None;
    }
    Some(Secret::new(word.text))
}

fn token_from(field: Field<'_>) -> Option<TokenFrom> {
    let word = field.word()?;
    let form = "header:authorization, header:NAME, cookie:NAME or query:NAME";
    match word.text.split_once(':') {
        Some(("header", name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if name == http::header::AUTHORIZATION => Some(TokenFrom::Authorization),
            Ok(name) => Some(TokenFrom::Header(name)),
            Err(_) => word.unusable("a place where a token may be", "not a header name"),
        },
        // RFC 6265 §4.1.1: a token of RFC 9110, which is what a header name is.
        Some(("cookie", name)) if HeaderName::from_bytes(name.as_bytes()).is_ok() => Some(TokenFrom::Cookie(name.to_owned())),
        Some(("query", name)) if !name.is_empty() => Some(TokenFrom::Query(name.to_owned())),
        Some(("cookie", _)) => word.unusable("a place where a token may be", "not a cookie name"),
        _ => word.unusable("a place where a token may be", form),
    }
}

/// An issuer without a name is called after its issuer text, and after its tenant too if that name is taken.
fn name_the_nameless(issuers: &mut [Issuer]) {
    let mut taken: Vec<Name> = issuers.iter().map(|issuer| issuer.name.clone()).filter(|name| !name.is_empty()).collect();
    for issuer in issuers.iter_mut().filter(|issuer| issuer.name.is_empty()) {
        let text = issuer.issuer.rsplit("://").next().unwrap_or_default();
        let plain: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
        let plain = plain.trim_matches('-');
        let mut name = if plain.is_empty() { Name::from("issuer") } else { Name::from(plain) };
        if taken.contains(&name) {
            name = match &issuer.tenant {
                Some(tenant) => format!("{name}-{tenant}").into(),
                None => format!("{name}-{}", taken.len()).into(),
            };
        }
        taken.push(name.clone());
        issuer.name = name;
    }
}
