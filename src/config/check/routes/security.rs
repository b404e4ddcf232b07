use http::{HeaderName, HeaderValue, header};

use super::edits::value;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::SecurityHeaders;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// `security_headers`: `true`, `false` or which.
pub(super) fn lower(field: Field<'_>) -> Option<SecurityHeaders> {
    if !field.is_mapping() {
        return field.yes_or_no()?.then(|| SecurityHeaders { fields: usual(), replaces: false });
    }
    field.section(|section| {
        let mut fields = Vec::new();
        if section.optional("nosniff").and_then(Field::yes_or_no).unwrap_or(true) {
            fields.push((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        }
        let frames = [("deny", Some("DENY")), ("sameorigin", Some("SAMEORIGIN")), ("any", None)];
        let frame = section.optional("frame").map_or(Some(Some("DENY")), |field| field.one_of(&frames)).flatten();
        fields.extend(frame.map(|frame| (header::X_FRAME_OPTIONS, HeaderValue::from_static(frame))));
        let own = section.optional("content_security_policy");
        if let Some(field) = own {
            fields.extend(text(field).map(|value| (header::CONTENT_SECURITY_POLICY, value)));
        } else {
            fields.extend(ancestors(frame).map(|value| (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(value))));
        }
        fields.extend(word_or(section, "referrer_policy", header::REFERRER_POLICY, Some(REFERRER)));
        fields.extend(word_or(section, "permissions_policy", PERMISSIONS_POLICY, Some(PERMISSIONS)));
        fields.extend(word_or(section, "opener_policy", OPENER_POLICY, Some(OPENER)));
        let replaces = section.optional("replace").and_then(Field::yes_or_no).unwrap_or(false);
        if fields.is_empty() {
            let problem = Problem::error("config::conflict", "every security header is switched off");
            section.optional("nosniff").into_iter().for_each(|field| {
                field.note_at_key(problem.clone().label("nothing is left").hint("write security_headers: false"))
            });
        }
        Some(SecurityHeaders { fields, replaces })
    })
}

const REFERRER: &str = "strict-origin-when-cross-origin";
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=()";
const OPENER: &str = "same-origin";

fn usual() -> Vec<(HeaderName, HeaderValue)> {
    vec![
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
        (header::REFERRER_POLICY, HeaderValue::from_static(REFERRER)),
        (PERMISSIONS_POLICY, HeaderValue::from_static(PERMISSIONS)),
        (OPENER_POLICY, HeaderValue::from_static(OPENER)),
    ]
}

/// What `X-Frame-Options` says, for browsers that read only the newer header.
fn ancestors(frame: Option<&str>) -> Option<&'static str> {
    match frame? {
        "DENY" => Some("frame-ancestors 'none'"),
        _ => Some("frame-ancestors 'self'"),
    }
}

fn word_or(
    section: &Section<'_>,
    key: &'static str,
    name: HeaderName,
    usual: Option<&'static str>,
) -> Option<(HeaderName, HeaderValue)> {
    let value = match section.optional(key) {
        Some(field) if field.is_word_that(|text| text == "off" || text == "false") => None,
        Some(field) => text(field),
        None => usual.map(HeaderValue::from_static),
    };
    value.map(|value| (name, value))
}

fn text(field: Field<'_>) -> Option<HeaderValue> {
    field.word().and_then(value)
}
