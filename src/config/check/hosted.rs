use std::time::Duration;

use http::Uri;

use super::identity::discovery_url;
use super::login::{issuer, key, nothing, parameter};
use super::logout::{address, origin};
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::settings::{Callback, HostedBackend, Issuer, Login, Secret};
use crate::model::{Name, Problem};

const DAY: Duration = Duration::from_secs(86_400);
/// The path of FusionAuth's own.
const CALLBACK: &str = "/app/callback";

/// `identity.hosted_backend`
pub(super) fn lower(section: &Section<'_>, issuers: &[Issuer]) -> Option<HostedBackend> {
    let field = section.optional("hosted_backend")?;
    Some(field.section(|section| read(section, issuers)))
}

fn read(section: &Section<'_>, issuers: &[Issuer]) -> HostedBackend {
    let issuer_field = section.optional("issuer");
    let issuer = issuer(section, issuer_field, issuers);
    let client_id = section.required("client_id", "the id of the FusionAuth application that the pages belong to");
    let client_id = client_id.and_then(|field| {
        let id = parameter(field)?;
        let known = issuers.iter().find(|known| Some(&known.name) == issuer.as_ref());
        if known.is_some_and(|known| !known.audiences.contains(&id)) {
            let message = "the tokens of those who log in would be refused: their audience is the client id";
            let problem = Problem::error("config::conflict", message).label("not among the issuer's `audiences`");
            field.note(problem.hint("add it there"));
        }
        Some(id)
    });
    let secret = section.required("client_secret", "FusionAuth: Applications → your application → OAuth → Client secret");
    let url =
        section.required("url", "where browsers reach this gateway: the `serverUrl` of FusionAuth's SDK").and_then(callback);
    let redirects = section.required("redirect_uris", "the `redirectUri` of the applications, letter by letter");
    let redirect_uris = redirects.map(addresses).unwrap_or_default();
    let logout_uris = section.optional("post_logout_redirect_uris").map(addresses).unwrap_or_else(|| redirect_uris.clone());
    let keys = section.required("keys", "one text of at least 32 random bytes: `openssl rand -base64 48`");
    let keys = keys.map(|field| field.some_items("the first one seals, all of them open")).unwrap_or_default();
    let keys: Vec<Secret> = keys.into_iter().filter_map(key).collect();
    let host = url.as_ref().map(|url| url.host.clone()).unwrap_or_default();
    let cookie_domain = section.optional("cookie_domain").and_then(|field| domain(field.word()?, &host));
    let lifetime = section.optional("lifetime").and_then(|field| field.duration(Duration::from_secs(60)..=365 * DAY));
    let lifetime = lifetime.unwrap_or(30 * DAY);
    let mut origins: Vec<String> = redirect_uris.iter().filter_map(|uri| origin(uri)).collect();
    origins.extend(url.as_ref().map(|url| url.origin.clone()));
    origins.sort_unstable();
    origins.dedup();

    let mut session = nothing();
    session.keys = keys.clone();
    session.absolute = lifetime;
    session.idle = lifetime;
    // Of the cookies that logins under way are kept in; other names than those of `identity.login`, which may be another application.
    session.cookie = session.cookie.replace("tollgate", "tollgate-app");
    session.secure = true;
    let login = Login {
        issuer: issuer.unwrap_or_else(|| Name::from("")),
        client_id: client_id.unwrap_or_default(),
        client_secret: secret.and_then(Field::word).map_or_else(|| Secret::new(""), |word| Secret::new(word.text)),
        previous_client_secret: section
            .optional("previous_client_secret")
            .and_then(Field::possibly_empty)
            .filter(|word| !word.text.is_empty())
            .map(|word| Secret::new(word.text)),
        callbacks: url.into_iter().collect(),
        public_url: section
            .optional("public_url")
            .and_then(|field| discovery_url(field, "passwords are typed there without TLS")),
        // FusionAuth's own default, for applications that ask for nothing.
        scopes: ["openid", "offline_access"].map(str::to_owned).into(),
        idp_hint: None,
        prompt: None,
        max_age: None,
        after_login: "/".into(),
        session,
    };
    HostedBackend { login, redirect_uris, logout_uris, origins, cookie_domain, lifetime, keys }
}

fn addresses(field: Field<'_>) -> Vec<String> {
    let fields = field.some_items("the first one is where applications go that name none");
    fields.into_iter().filter_map(|field| address(field.word()?).map(str::to_owned)).collect()
}

/// `https://api.example.com`: the callback below it.
fn callback(field: Field<'_>) -> Option<Callback> {
    let word = field.word()?;
    let url = address(word)?.trim_end_matches('/');
    let uri: Uri = url.parse().ok()?;
    if !uri.path().trim_end_matches('/').is_empty() || url.contains('?') {
        return word.unusable("the address of a host", "without a path: FusionAuth's SDKs call /app/… there");
    }
    let host = uri.authority()?.host().to_ascii_lowercase();
    let host = host.trim_matches(['[', ']']).to_owned();
    Some(Callback { url: format!("{url}{CALLBACK}"), origin: origin(url)?, host, path: CALLBACK.into() })
}

/// A domain that the gateway's host is in (RFC 6265 5.1.3). Browsers refuse `com`; they know which others are like it.
fn domain(word: Word<'_>, host: &str) -> Option<String> {
    let domain = word.text.trim_start_matches('.').to_ascii_lowercase();
    let is_name = domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) && domain.contains('.');
    let is_address = domain.parse::<std::net::IpAddr>().is_ok();
    if !is_name || is_address {
        return word
            .unusable("a domain", "for example example.com, if the gateway is api.example.com and pages are app.example.com");
    }
    if host != domain && !host.ends_with(&format!(".{domain}")) {
        return word.unusable(
            "a domain that the gateway is in",
            "browsers take cookies only for the host's own domain and those above it",
        );
    }
    Some(domain)
}
