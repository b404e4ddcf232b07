use std::path::Path;
use std::time::Duration;

use http::{HeaderName, Uri};
use openssl::ec::EcKey;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use serde_json::{Map, Value};

use super::{header_of_its_own, named_file};
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::word::Word;
use crate::model::Problem;
use crate::model::settings::{Identity, ResourceMetadata, Secret, UpstreamToken};

/// Bytes of a key file.
const LARGEST: usize = 64 << 10;

/// What the gateway says itself, which nothing can be copied over.
const OWN_CLAIMS: [&str; 6] = ["iss", "aud", "iat", "exp", "nbf", "jti"];

/// `identity.resource_metadata`
pub(super) fn resource_metadata(field: Field<'_>) -> Option<ResourceMetadata> {
    field.section(|section| {
        let resource =
            section.required("resource", "the URL by which clients know this gateway, for example https://api.example.com");
        let resource = resource.and_then(Field::word).and_then(|word| url(word, "resource"));
        let mut members = Map::new();
        for (key, member) in [("name", "resource_name"), ("documentation", "resource_documentation")] {
            if let Some(word) = section.optional(key).and_then(Field::word) {
                members.insert(member.into(), word.text.into());
            }
        }
        if let Some(field) = section.optional("scopes_supported") {
            let scopes = field.some_items("leave it out if scopes mean nothing here").into_iter().filter_map(Field::word);
            members.insert("scopes_supported".into(), scopes.map(|word| Value::from(word.text)).collect());
        }
        Some(ResourceMetadata { resource: resource?, members })
    })
}

/// RFC 9728 1.2: https, without a fragment, better without a query. Plain http works for whoever tries it out on one machine.
fn url(word: Word<'_>, what: &str) -> Option<String> {
    let hint = "for example https://api.example.com or https://api.example.com/v1";
    let Ok(uri) = word.text.parse::<Uri>() else { return word.unusable("a URL", hint) };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return word.unusable("an http or https URL", hint);
    };
    // It ends up between quotes in a header.
    let is_plain = word.text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte));
    if uri.query().is_some() || word.text.contains('#') || authority.as_str().contains('@') || !is_plain {
        return word.unusable(format!("a {what} URL"), "without user name, `?` and `#`");
    }
    Some(word.text.to_owned())
}

/// `identity.upstream_token`
pub(super) fn upstream_token(field: Field<'_>, identity: &Identity, surroundings: &Surroundings<'_>) -> Option<UpstreamToken> {
    field.section(|section| {
        let header = match section.optional("header") {
            None => Some(HeaderName::from_static("x-tollgate-token")),
            Some(field) => field.word().and_then(|word| header_of_its_own(word, identity)),
        };
        let keys = section.optional("keys").map(|field| field.some_items("leave it out for a key that is made at the start"));
        let keys: Vec<Option<Secret>> =
            keys.into_iter().flatten().map(|item| item.word().and_then(|word| key(word, surroundings))).collect();
        let issuer = section.required("issuer", "what `iss` says: upstreams hold it against what they expect");
        let audience = section.required("audience", "what `aud` says: upstreams hold it against what they expect");
        let ttl = section.optional("ttl");
        let ttl = ttl.and_then(|field| field.duration(Duration::from_secs(5)..=Duration::from_secs(3600)));
        let claims = section.optional("claims").map(Field::items).unwrap_or_default();
        let (issuer, audience) = (issuer.and_then(Field::word)?, audience.and_then(Field::word)?);
        Some(UpstreamToken {
            header: header?,
            // With another key than the operator meant, upstreams would verify nothing.
            keys: keys.into_iter().collect::<Option<_>>()?,
            issuer: issuer.text.to_owned(),
            audience: audience.text.to_owned(),
            ttl: ttl.unwrap_or(Duration::from_secs(60)),
            claims: claims.into_iter().filter_map(claim).collect(),
        })
    })
}

fn claim(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    if OWN_CLAIMS.contains(&word.text) {
        return word.unusable("a claim to copy", "the gateway says this one itself");
    }
    Some(word.text.to_owned())
}

/// A file, lowered to the one form that is read later.
fn key(word: Word<'_>, surroundings: &Surroundings<'_>) -> Option<Secret> {
    let path = surroundings.resolve(Path::new(word.text));
    let text = named_file(word, &path, LARGEST, surroundings)?;
    if surroundings.is_open_to_everybody(&path) {
        let problem = Problem::warning("config::readable-secret", "every account of this machine can read this private key");
        word.note(problem.label("world-readable").hint("chmod o-r"));
    }
    // A passphrase would be asked for on the terminal.
    let key = PKey::private_key_from_pem_callback(text.as_bytes(), |_| Ok(0)).ok().filter(is_signer);
    let pem = key.and_then(|key| String::from_utf8(key.private_key_to_pem_pkcs8().ok()?).ok());
    if pem.is_none() {
        let message = format!("{} is no private key that can sign for upstreams", word.shown_or("this file"));
        let problem = Problem::error("config::bad-value", message).label("this file");
        word.note(problem.hint("P-256 or Ed25519 in PEM, without a passphrase: `openssl genpkey -algorithm ed25519`"));
    }
    pem.map(|pem| Secret::new(&pem))
}

fn is_signer(key: &PKey<Private>) -> bool {
    let is_p256 = |key: EcKey<Private>| key.group().curve_name() == Some(Nid::X9_62_PRIME256V1);
    key.id() == Id::ED25519 || key.ec_key().is_ok_and(is_p256)
}
