use std::time::Duration;

use http::HeaderName;

use super::{count, identity};
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::settings::{EventLog, Issuer, OnStale, Revocation, Secret, WebhookSignature, Webhooks};
use crate::model::{CanonicalPath, Problem};

/// In a folder of its own, like the ledger: changes beside the configuration are looked at.
const DEFAULT_FILE: &str = "data/revocations.db";
const DEFAULT_PATH: &str = "/.well-known/tollgate/fusionauth-events";

/// `identity.revocation`
pub(super) fn lower(identity: &Section<'_>, issuers: &[Issuer], surroundings: &Surroundings<'_>) -> Option<Revocation> {
    Some(identity.optional("revocation")?.section(|section| {
        let file = section.optional("file").and_then(Field::word).map_or(DEFAULT_FILE, |word| word.text);
        let on_stale = section.optional("on_stale");
        let on_stale = on_stale.and_then(|field| field.one_of(&[("allow", OnStale::Allow), ("deny", OnStale::Deny)]));
        let stale_after = section.optional("stale_after");
        let stale_after = stale_after.and_then(|field| field.duration(Duration::from_secs(2)..=Duration::from_secs(3600)));
        let max_entries = section.optional("max_entries").and_then(|field| field.number(1_000..=50_000_000));
        Revocation {
            webhooks: section.optional("webhooks").and_then(|field| field.section(|section| webhooks(field, section, issuers))),
            event_log: section
                .optional("event_log")
                .and_then(|field| field.section(|section| event_log(field, section, issuers))),
            on_stale: on_stale.unwrap_or(OnStale::Allow),
            stale_after: stale_after.unwrap_or(Duration::from_secs(10)),
            file: surroundings.resolve(file),
            max_entries: count(max_entries).unwrap_or(1_000_000),
        }
    }))
}

fn webhooks(field: Field<'_>, section: &Section<'_>, issuers: &[Issuer]) -> Option<Webhooks> {
    let path = section.optional("path").and_then(Field::word).map_or_else(|| Some(DEFAULT_PATH.to_owned()), path);
    let issuer = issuer(field, section, issuers);
    let signature = section.optional("signature").map(|field| field.section(signature));
    let basic = section.optional("basic").and_then(|field| field.section(basic));
    let header = section.optional("header").and_then(|field| field.section(header));
    let max_body = section.optional("max_body").and_then(|field| field.bytes(64 << 10..=16 << 20));
    if field.may_be_a_section()
        && signature.is_none()
        && section.optional("basic").is_none()
        && section.optional("header").is_none()
    {
        let message = "anybody could revoke anybody: nothing says that an event is FusionAuth's";
        let problem = Problem::error("config::missing-key", message).label("not authenticated");
        field.note_at_key(
            problem.hint("add `signature: {}` and let FusionAuth sign (Webhooks → Security), or use `basic` or `header`"),
        );
    }
    let issuer = issuer?;
    Some(Webhooks {
        path: path?,
        issuer: issuer.name.clone(),
        tenants: tenants(issuer, issuers),
        signature,
        basic,
        header,
        max_body: count(max_body).unwrap_or(1 << 20),
    })
}

/// Whose events they are.
fn issuer<'a>(field: Field<'_>, section: &Section<'_>, issuers: &'a [Issuer]) -> Option<&'a Issuer> {
    match section.optional("issuer") {
        Some(field) => field.word().and_then(|word| known(word, issuers)),
        None => only(field, issuers),
    }
}

/// The tenants of one FusionAuth that are configured; `None` if one entry stands for all of them.
fn tenants(issuer: &Issuer, issuers: &[Issuer]) -> Option<Vec<String>> {
    issuers.iter().filter(|other| other.url == issuer.url).map(|other| other.tenant.clone()).collect()
}

fn event_log(field: Field<'_>, section: &Section<'_>, issuers: &[Issuer]) -> Option<EventLog> {
    let issuer = issuer(field, section, issuers);
    let why = "a FusionAuth API key that may POST to /api/system/webhook-event-log/search";
    let api_key = section.required("api_key", why).and_then(Field::word);
    if let Some(word) = api_key.filter(|word| http::HeaderValue::from_str(word.text).is_err()) {
        return word.unusable("an API key", "visible characters only");
    }
    let every = section.optional("every").and_then(|field| field.duration(Duration::from_secs(1)..=Duration::from_secs(3600)));
    let issuer = issuer?;
    Some(EventLog {
        url: issuer.url.clone(),
        api_key: Secret::new(api_key?.text),
        every: every.unwrap_or(Duration::from_secs(60)),
        tenants: tenants(issuer, issuers),
    })
}

fn path(word: Word<'_>) -> Option<String> {
    match CanonicalPath::parse(word.text) {
        Ok(path) if path.as_str() == word.text && word.text.len() > 1 => Some(word.text.to_owned()),
        _ => word.unusable("a path", "one path in its plain spelling, for example /.well-known/tollgate/fusionauth-events"),
    }
}

fn known<'a>(word: Word<'_>, issuers: &'a [Issuer]) -> Option<&'a Issuer> {
    let found = issuers.iter().find(|issuer| *issuer.name == *word.text);
    if found.is_none() {
        let problem = Problem::error("config::unknown-name", format!("there is no issuer {}", word.shown())).label("not known");
        let names: Vec<&str> = issuers.iter().map(|issuer| &*issuer.name).collect();
        word.note_with_suggestion(problem, &names);
    }
    found
}

/// Without a name it must be clear which FusionAuth is meant.
fn only<'a>(field: Field<'_>, issuers: &'a [Issuer]) -> Option<&'a Issuer> {
    let first = issuers.first();
    if first.is_none_or(|first| issuers.iter().any(|other| other.url != first.url)) {
        let message = format!("`issuer` is missing in {}: whose events are they?", field.name());
        let problem = Problem::error("config::missing-key", message).label("this is not complete");
        field.note_at_key(problem.hint("the name of one of `identity.issuers`"));
        return None;
    }
    first
}

fn signature(section: &Section<'_>) -> WebhookSignature {
    match section.optional("hmac_secrets") {
        None => WebhookSignature::Published,
        Some(field) => {
            let items = field.some_items("leave it out to use the keys that the issuer publishes");
            WebhookSignature::Secrets(items.into_iter().filter_map(identity::secret).collect())
        }
    }
}

fn basic(section: &Section<'_>) -> Option<(String, Secret)> {
    let username = section.required("username", "as in FusionAuth: Webhooks → Security").and_then(Field::word);
    let password = section.required("password", "as in FusionAuth: Webhooks → Security").and_then(password);
    if let Some(word) = username.filter(|word| word.text.contains(':')) {
        return word.unusable("a user name", "no colon in it (RFC 7617)");
    }
    Some((username?.text.to_owned(), password?))
}

fn header(section: &Section<'_>) -> Option<(HeaderName, Secret)> {
    let name = section.required("name", "for example X-API-Key").and_then(Field::word);
    let secret = section.required("secret", "what FusionAuth sends in it").and_then(password);
    match HeaderName::from_bytes(name?.text.as_bytes()) {
        Ok(name) => Some((name, secret?)),
        Err(_) => name?.unusable("the name of a header", "letters, digits and `-`"),
    }
}

/// Guessing it revokes everybody.
fn password(field: Field<'_>) -> Option<Secret> {
    const SHORTEST: usize = 16;
    let word = field.word()?;
    if word.text.len() < SHORTEST {
        let problem = Problem::error("config::weak-secret", format!("a secret of a webhook has at least {SHORTEST} characters"));
        word.note(problem.label("too short").hint("for example the output of `openssl rand -base64 24`"));
        return None;
    }
    Some(Secret::new(word.text))
}
