use std::time::Duration;

use http::{HeaderName, Uri};

use super::identity::{discovery_url, is_loopback};
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;

use crate::model::settings::{Callback, Identity, Issuer, Login, SameSite, Secret, SessionStore, Sessions};
use crate::model::{Name, Problem, local_page};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// The name that browsers hold to `Secure`, `Path=/` and no domain.
const PREFIX: &str = "__Host-";

/// `identity.login` and `identity.session`, which belong together.
pub(super) fn lower(section: &Section<'_>, issuers: &[Issuer]) -> Option<Login> {
    let (login, session) = (section.optional("login"), section.optional("session"));
    let Some(login) = login else {
        if let Some(session) = session {
            let problem = Problem::error("config::conflict", "there are sessions only where people log in");
            session.note_at_key(problem.label("without `login`").hint("add `identity.login`, or remove it"));
        }
        return None;
    };
    if session.is_none() {
        section.missing("`session` is missing", "it holds the `keys` that seal what browsers keep of a login");
    }
    let mut lowered = login.section(|section| read(section, issuers));
    let secure = lowered.callbacks.first().is_none_or(|callback| callback.url.starts_with("https:"));
    if let Some(session) = session {
        lowered.session = session.section(|section| sessions(section, secure));
    }
    Some(lowered)
}

fn read(section: &Section<'_>, issuers: &[Issuer]) -> Login {
    let text = |field: Option<Field<'_>>| field.and_then(parameter);
    let client_id_field = section.required("client_id", "the id of the FusionAuth application that people log in to");
    let client_id = text(client_id_field);
    let secret = section.required("client_secret", "FusionAuth: Applications → your application → OAuth → Client secret");
    let previous = section.optional("previous_client_secret");
    let issuer_field = section.optional("issuer");
    let issuer = issuer(section, issuer_field, issuers);
    let known = issuers.iter().find(|known| Some(&known.name) == issuer.as_ref());
    if let (Some(known), Some(client_id)) = (known, &client_id)
        && !known.audiences.contains(client_id)
        && let Some(field) = client_id_field
    {
        let message = "the tokens of those who log in would be refused: their audience is the client id";
        let problem = Problem::error("config::conflict", message).label("not among the issuer's `audiences`");
        field.note(problem.hint("add it there"));
    }
    let scopes = section.optional("scopes").map(|field| field.some_items("leave it out for the usual ones"));
    let scopes = scopes.map(scopes_of);
    let after_login = section.optional("after_login").and_then(|field| {
        let word = field.word()?;
        local_page(word.text).or_else(|| word.unusable("a page of this site", "for example / or /dashboard?from=login"))
    });
    let max_age = section.optional("max_age").and_then(|field| field.duration(Duration::ZERO..=365 * DAY));
    Login {
        issuer: issuer.unwrap_or_else(|| Name::from("")),
        client_id: client_id.unwrap_or_default(),
        client_secret: secret.and_then(Field::word).map_or_else(|| Secret::new(""), |word| Secret::new(word.text)),
        previous_client_secret: previous
            .and_then(Field::possibly_empty)
            .filter(|w| !w.text.is_empty())
            .map(|w| Secret::new(w.text)),
        callbacks: section
            .required(
                "callback",
                "where FusionAuth sends browsers back to; also among its Authorized redirect URLs, letter by letter",
            )
            .map(callbacks)
            .unwrap_or_default(),
        public_url: section
            .optional("public_url")
            .and_then(|field| discovery_url(field, "passwords are typed there without TLS")),
        scopes: scopes.unwrap_or_else(|| ["openid", "offline_access", "profile", "email"].map(str::to_owned).into()),
        idp_hint: text(section.optional("idp_hint")),
        prompt: section
            .optional("prompt")
            .and_then(|field| field.one_of(&[("login", "login"), ("consent", "consent")]))
            .map(str::to_owned),
        max_age,
        after_login: after_login.unwrap_or_else(|| "/".to_owned()),
        session: nothing(),
    }
}

pub(super) fn issuer(section: &Section<'_>, field: Option<Field<'_>>, issuers: &[Issuer]) -> Option<Name> {
    match (field.and_then(Field::word), issuers) {
        (Some(word), _) => {
            let found = issuers.iter().find(|issuer| *issuer.name == *word.text).map(|issuer| issuer.name.clone());
            if found.is_none() {
                let names: Vec<&str> = issuers.iter().map(|issuer| &*issuer.name).collect();
                word.unknown("issuer", "not in `identity.issuers`", &names);
            }
            found
        }
        (None, [only]) => Some(only.name.clone()),
        (None, []) => {
            section.missing("an issuer is missing", "add it to `identity.issuers`: somebody must know the passwords");
            None
        }
        (None, _) => {
            section.missing("`issuer` is missing", "there are several `identity.issuers`: name the one that people log in at");
            None
        }
    }
}

fn scopes_of(fields: Vec<Field<'_>>) -> Vec<String> {
    let first = fields.first().copied();
    let scopes: Vec<String> = fields.into_iter().filter_map(parameter).collect();
    if let Some(first) = first
        && !scopes.iter().any(|scope| scope == "openid")
    {
        let problem = Problem::error("config::bad-value", "without `openid` nobody says who logged in");
        first.note(problem.label("`openid` is missing").hint("add it, and `offline_access` for sessions longer than a token"));
    }
    scopes
}

/// RFC 6749 appendix A: visible ASCII without blanks.
pub(super) fn parameter(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    if word.text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(word.text.to_owned());
    }
    word.unusable("a word of visible ASCII characters", "without blanks")
}

/// One URL, or one for each host.
fn callbacks(field: Field<'_>) -> Vec<Callback> {
    let fields = if field.is_word_that(|_| true) { vec![field] } else { field.some_items("one URL for each host") };
    let mut callbacks: Vec<Callback> = Vec::new();
    for field in fields {
        let Some((word, callback)) = field.word().and_then(|word| Some((word, callback(word)?))) else { continue };
        if callbacks.iter().any(|other| other.host == callback.host) {
            let problem = Problem::error("config::duplicate-name", "a second callback for this host").label("taken");
            word.note(problem.hint("cookies belong to a host, whatever its port"));
        }
        if callbacks.first().is_some_and(|first| first.url.starts_with("https:") != callback.url.starts_with("https:")) {
            let problem = Problem::error("config::conflict", "callbacks are all https, or all http on loopback");
            word.note(problem.label("another scheme than the first one"));
        }
        callbacks.push(callback);
    }
    callbacks
}

fn callback(word: Word<'_>) -> Option<Callback> {
    let hint = "for example https://www.example.com/oauth2/callback";
    let Ok(uri) = word.text.parse::<Uri>() else { return word.unusable("a URL", hint) };
    let Some(scheme @ ("http" | "https")) = uri.scheme_str() else { return word.unusable("an https URL", hint) };
    let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
        return word.unusable("a URL of this gateway", hint);
    };
    let host = authority.host().to_ascii_lowercase();
    if scheme == "http" && !is_loopback(&host) {
        return word.unusable("an https URL", "codes and cookies would be readable on their way; http is for loopback only");
    }
    if uri.query().is_some() || word.text.contains('#') || local_page(uri.path()).as_deref() != Some(uri.path()) {
        return word.unusable("a callback", "a path of its own, without `?`, `#` and escapes");
    }
    if uri.path() == "/" {
        return word.unusable("a callback", "a path of its own: nobody would see the page `/` any more");
    }
    let origin = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
    let host = host.trim_matches(['[', ']']).to_owned();
    Some(Callback { url: word.text.to_owned(), origin, host, path: uri.path().to_owned() })
}

/// What stands for sessions that could not be read.
pub(super) fn nothing() -> Sessions {
    Sessions {
        store: SessionStore::Cookie,
        keys: Vec::new(),
        idle: 30 * MINUTE,
        absolute: 12 * HOUR,
        cookie: format!("{PREFIX}tollgate"),
        same_site: SameSite::Lax,
        secure: true,
    }
}

fn sessions(section: &Section<'_>, secure: bool) -> Sessions {
    let defaults = nothing();
    let store = section
        .optional("store")
        .and_then(|field| field.one_of(&[("cookie", SessionStore::Cookie), ("redis", SessionStore::Redis)]));
    let keys = section.required("keys", "one text of at least 32 random bytes: `openssl rand -base64 48`");
    let keys = keys.map(|field| field.some_items("the first one seals, all of them open")).unwrap_or_default();
    let idle_field = section.optional("idle");
    let idle = idle_field.and_then(|field| field.duration(Duration::from_secs(1)..=365 * DAY));
    let absolute_field = section.optional("absolute");
    let absolute =
        absolute_field.and_then(|field| field.duration(Duration::from_secs(1)..=365 * DAY)).unwrap_or(defaults.absolute);
    let idle = idle.unwrap_or(defaults.idle.min(absolute));
    if idle > absolute
        && let Some(field) = idle_field
    {
        let problem = Problem::error("config::conflict", "a session cannot be idle for longer than it lasts");
        field.note(problem.label("longer than `absolute`"));
    }
    let name = section.optional("cookie").and_then(cookie).unwrap_or_else(|| "tollgate".to_owned());
    Sessions {
        store: store.unwrap_or(defaults.store),
        keys: keys.into_iter().filter_map(key).collect(),
        idle,
        absolute,
        cookie: if secure { format!("{PREFIX}{name}") } else { name },
        same_site: section.optional("same_site").and_then(same_site).unwrap_or(defaults.same_site),
        secure,
    }
}

fn same_site(field: Field<'_>) -> Option<SameSite> {
    if field.is_word_that(|text| text.eq_ignore_ascii_case("strict")) {
        let message = "with `strict`, browsers leave the cookie out when the login page leads back here, and log in for ever";
        field.note(Problem::error("config::bad-value", message).label("not possible").hint("write `lax`"));
        return None;
    }
    field.one_of(&[("lax", SameSite::Lax), ("none", SameSite::None)])
}

/// The prefix is ours to add: whether it is possible follows from the callback.
fn cookie(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    let name = word.text.strip_prefix(PREFIX).unwrap_or(word.text);
    if HeaderName::from_bytes(name.as_bytes()).is_ok() && name.len() <= 64 && !name.starts_with("__") && !name.contains('.') {
        return Some(name.to_owned());
    }
    word.unusable("a cookie name", "at most 64 letters, digits, `-` and `_`; `__Host-` is put before it")
}

pub(super) fn key(field: Field<'_>) -> Option<Secret> {
    const SHORTEST: usize = 32;
    let word = field.possibly_empty().filter(|word| !word.text.is_empty())?;
    if word.text.len() < SHORTEST {
        let problem = Problem::error("config::weak-secret", format!("a session key has at least {SHORTEST} bytes"));
        word.note(problem.label("too short").hint("for example the output of `openssl rand -base64 48`"));
        return None;
    }
    Some(Secret::new(word.text))
}

/// Sessions in Redis need one.
pub(super) fn needs_redis(top: &Section<'_>, identity: &Identity) {
    let is_wanted = identity.login.as_ref().is_some_and(|login| login.session.store == SessionStore::Redis);
    if is_wanted && top.optional("redis").is_none() {
        top.missing("`redis` is missing", "`identity.session.store: redis` keeps sessions there");
    }
}
