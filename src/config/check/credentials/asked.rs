use std::time::Duration;

use crate::config::check::identity::discovery_url;
use crate::config::field::Field;
use crate::model::Problem;
use crate::model::settings::{Inquiry, Introspection, Secret};

/// `introspection` of the issuer whose keys are at `issuer_url`.
pub(in crate::config::check) fn introspection(field: Field<'_>, issuer_url: &str) -> Option<Introspection> {
    field.section(|section| {
        let via =
            section.required("via", "`introspect` (RFC 7662) or `validate` (FusionAuth's /api/jwt/validate, for JWTs alone)");
        let is_introspect = via.and_then(|field| field.one_of(&[("introspect", true), ("validate", false)]));
        let url = section
            .optional("url")
            .map(|field| discovery_url(field, "tokens are sent there without TLS, and whoever is in between can vouch for any"));
        let (id, secret) = (section.optional("client_id"), section.optional("client_secret"));
        let limit = |key, range, default| section.optional(key).and_then(|field| field.duration(range)).unwrap_or(default);
        let cache = limit("cache", Duration::from_secs(1)..=Duration::from_secs(3600), Duration::from_secs(30));
        let timeout = limit("timeout", Duration::from_millis(100)..=Duration::from_secs(30), Duration::from_secs(2));
        let per_second = section.optional("per_second").and_then(|field| field.number(1..=10_000)).unwrap_or(200);
        let at = |path: &str| match url.clone() {
            Some(url) => url,
            None => Some(format!("{issuer_url}{path}")),
        };
        let via = if is_introspect? {
            for (field, key) in [(id, "client_id"), (secret, "client_secret")] {
                if field.is_none() {
                    let why = "of the application whose tokens are asked about; FusionAuth answers nobody else";
                    section.missing(&format!("`{key}` is missing"), why);
                }
            }
            Inquiry::Introspect {
                url: at("/oauth2/introspect")?,
                client_id: id?.word()?.text.to_owned(),
                client_secret: Secret::new(secret?.word()?.text),
            }
        } else {
            for field in [id, secret].into_iter().flatten() {
                let problem = Problem::error("config::conflict", "`via: validate` needs no client").label("not used");
                field.note_at_key(problem.hint("remove it, or write `via: introspect`"));
            }
            Inquiry::Validate { url: at("/api/jwt/validate")? }
        };
        Some(Introspection { via, cache, timeout, per_second: u32::try_from(per_second).unwrap_or(u32::MAX) })
    })
}
