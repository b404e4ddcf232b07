use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::count;
use super::edits::{self, Direction};
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::FixedAnswer;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Stands for an answer that could not be read.
pub(super) fn nothing() -> Arc<FixedAnswer> {
    Arc::new(FixedAnswer { status: 200, content_type: TEXT, body: Bytes::new(), headers: Vec::new() })
}

/// `respond`
pub(super) fn lower(section: &Section<'_>) -> Arc<FixedAnswer> {
    const LARGEST: usize = 64 << 10;
    let status = count(section.optional("status").and_then(|field| field.number(200..=599)));
    let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let body = section.optional("body").and_then(Field::possibly_empty);
    if let Some(word) = body {
        if word.text.len() > LARGEST {
            word.bad(format!("`body` is larger than {} KiB", LARGEST >> 10), "too large");
        }
        if matches!(status, 204 | 304) && !word.text.is_empty() {
            let problem = Problem::error("config::conflict", format!("an answer with status {status} has no body (RFC 9110)"));
            word.note(problem.label("not allowed here").hint("remove the body, or choose another status"));
        }
    }
    let content_type = section.optional("content_type").and_then(content_type);
    let headers = section.optional("headers").map(headers).unwrap_or_default();
    let body = body.map_or_else(Bytes::new, |word| Bytes::copy_from_slice(word.text.as_bytes()));
    Arc::new(FixedAnswer { status, content_type: content_type.unwrap_or(TEXT), body, headers })
}

fn content_type(field: Field<'_>) -> Option<HeaderValue> {
    let word = field.word()?;
    let form = "type/subtype, as in application/json or text/html; charset=utf-8";
    let (kind, _) = word.text.split_once(';').unwrap_or((word.text, ""));
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    match kind.trim().split_once('/') {
        Some((main, sub)) if is_token(main) && is_token(sub) => match HeaderValue::from_str(word.text) {
            Ok(value) => Some(value),
            Err(_) => word.unusable("a media type", form),
        },
        _ => word.unusable("a media type", form),
    }
}

fn headers(field: Field<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let headers = edits::fields(field, Direction::Response);
    for (name, _) in &headers {
        if [http::header::CONTENT_TYPE, http::header::CACHE_CONTROL].contains(name) && *name == http::header::CONTENT_TYPE {
            let problem = Problem::error("config::conflict", "the media type of an answer is its `content_type`");
            field.note_at_key(problem.label("says `content-type`").hint("write it as `content_type`"));
        }
    }
    headers
}
