use std::collections::BTreeMap;

use http::HeaderName;

use crate::config::field::Field;
use crate::model::Problem;
use crate::model::settings::{ClaimKind, ClaimType};

const KINDS: [(&str, ClaimKind); 7] = [
    ("string", ClaimKind::String),
    ("int", ClaimKind::Int),
    ("float", ClaimKind::Float),
    ("bool", ClaimKind::Bool),
    ("strings", ClaimKind::Strings),
    ("object", ClaimKind::Object),
    ("any", ClaimKind::Any),
];

/// `identity.claims`
pub(super) fn declared(field: Field<'_>) -> BTreeMap<String, ClaimType> {
    field.named().into_iter().filter_map(|field| Some((field.key.to_owned(), claim(field)?))).collect()
}

fn claim(field: Field<'_>) -> Option<ClaimType> {
    if !field.is_mapping() {
        return Some(ClaimType { kind: field.one_of(&KINDS)?, one_of: Vec::new(), required: false });
    }
    field.section(|section| {
        let kind = section.required("type", "string, int, float, bool, strings, object or any");
        let kind = kind.and_then(|field| field.one_of(&KINDS));
        let required = section.optional("required").and_then(Field::yes_or_no).unwrap_or(false);
        let mut one_of = Vec::new();
        if let Some(field) = section.optional("one_of") {
            let values = field.some_items("leave it out to accept every value");
            one_of.extend(values.into_iter().filter_map(|item| Some(item.possibly_empty()?.text.to_owned())));
            if kind.is_some_and(|kind| kind != ClaimKind::String) {
                let problem = Problem::error("config::conflict", "`one_of` is only possible for claims of `type: string`");
                field.note_at_key(problem.label("not with this type").hint("remove it, or check the value in a rule"));
            }
        }
        Some(ClaimType { kind: kind?, one_of, required })
    })
}

/// `identity.forward_claims`
pub(super) fn forwarded(field: Field<'_>) -> Vec<(HeaderName, String)> {
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    for field in field.named() {
        let claim = field.word();
        let Some(header) = header(field) else { continue };
        if headers.iter().any(|(taken, _)| *taken == header) {
            // Differently written; the same spelling was noted already.
            let problem = Problem::error("config::duplicate-name", format!("the header `{header}` is set twice")).label("again");
            field.note_at_key(problem.hint("header names do not tell capitals apart"));
        }
        headers.extend(claim.map(|claim| (header, claim.text.to_owned())));
    }
    headers
}

fn header(field: Field<'_>) -> Option<HeaderName> {
    let bad = |message: String, hint: &str| {
        field.note_at_key(Problem::error("config::bad-value", message).label("not possible here").hint(hint));
        None
    };
    let Ok(header) = HeaderName::from_bytes(field.key.as_bytes()) else {
        return bad(
            format!("{} is not a header name", field.key_word().shown()),
            "the form is `header: claim`, for example x-user-id: sub",
        );
    };
    if !header.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        // `x_user` and `x-user` are one variable for CGI and many frameworks: the client's copy could not be told apart.
        return bad(
            format!("the header `{header}` has more than letters, digits and `-`"),
            "some servers read `_` and `.` as `-`",
        );
    }
    if is_ours(header.as_str()) {
        return bad(format!("the header `{header}` has a meaning of its own"), "choose a name like x-user-id");
    }
    Some(header)
}

/// Hop-by-hop (RFC 9110 §7.6.1), framing, credentials, and what the gateway itself writes.
pub(super) fn is_ours(header: &str) -> bool {
    const OURS: [&str; 17] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "authorization",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "x-request-id",
        "via",
    ];
    OURS.contains(&header) || header.starts_with("x-forwarded-")
}
