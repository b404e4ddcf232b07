use http::{HeaderName, HeaderValue, header};

use crate::config::field::Field;
use crate::config::word::Word;
use crate::model::Problem;
use crate::model::settings::{HeaderEdits, Identity};

/// Which way the message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

/// `request_headers`
pub(super) fn request(field: Field<'_>, identity: &Identity) -> HeaderEdits {
    let mut edits = edits(field, Direction::Request);
    for (_, value) in edits.set.iter_mut().chain(&mut edits.add) {
        // Often a key for the upstream: HTTP/2 then keeps it out of its tables, and `Debug` does not show it.
        value.set_sensitive(true);
    }
    let claimed = |name: &HeaderName| identity.withheld().any(|withheld| withheld == name);
    let named = edits.remove.iter().chain(edits.set.iter().chain(&edits.add).map(|(name, _)| name));
    for name in named.filter(|name| claimed(name)) {
        let problem = Problem::error("config::conflict", format!("`{name}` is a header of `identity`'s"));
        field.note_at_key(
            problem.label("edits it").hint("clients cannot send it to upstreams, which trust it: choose another header"),
        );
    }
    edits
}

/// `response_headers`
pub(super) fn response(field: Field<'_>) -> HeaderEdits {
    edits(field, Direction::Response)
}

fn edits(field: Field<'_>, direction: Direction) -> HeaderEdits {
    field.section(|section| {
        let remove = section.optional("remove").map(|field| field.some_items("leave it out to remove nothing"));
        let remove = remove.into_iter().flatten().filter_map(Field::word);
        HeaderEdits {
            remove: remove.filter_map(|word| name(word, direction)).collect(),
            set: section.optional("set").map(|field| fields(field, direction)).unwrap_or_default(),
            add: section.optional("add").map(|field| fields(field, direction)).unwrap_or_default(),
        }
    })
}

/// Names with their values.
pub(super) fn fields(field: Field<'_>, direction: Direction) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for field in field.named() {
        let name = name(field.key_word(), direction);
        let value = field.possibly_empty().and_then(value);
        if let (Some(name), Some(value)) = (name, value) {
            if fields.iter().any(|(taken, _)| *taken == name) {
                // Differently written; the same spelling was noted already.
                let problem = Problem::error("config::duplicate-name", format!("the header `{name}` is there twice"));
                field.note_at_key(problem.label("again").hint("header names do not tell capitals apart"));
            }
            fields.push((name, value));
        }
    }
    fields
}

/// A whole field value as it will be sent: there are no placeholders in it.
pub(super) fn value(word: Word<'_>) -> Option<HeaderValue> {
    match HeaderValue::from_str(word.text) {
        Ok(value) if word.text.trim() == word.text => Some(value),
        _ => word.unusable("the value of a header", "visible ASCII characters and single spaces, on one line"),
    }
}

/// A header that routes may edit.
fn name(word: Word<'_>, direction: Direction) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(word.text.as_bytes()) else {
        return word.unusable("the name of a header", "letters, digits and `-`, as in x-frame-options");
    };
    if direction == Direction::Request && !name.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return word.unusable("a header for upstreams", "some servers read `_` and `.` as `-`: write letters, digits and `-`");
    }
    if let Some(why) = belongs_to_the_gateway(&name, direction) {
        let problem = Problem::error("config::bad-value", format!("the header `{name}` cannot be edited"));
        word.note(problem.label("belongs to the gateway").hint(why));
        return None;
    }
    Some(name)
}

fn belongs_to_the_gateway(name: &HeaderName, direction: Direction) -> Option<&'static str> {
    // RFC 9110 §7.6.1 and §8.6.
    const FRAMING: [&str; 10] = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if FRAMING.contains(&name.as_str()) {
        return Some("it frames the message or concerns one connection only");
    }
    if *name == "x-request-id" {
        return Some("it names the request in every log");
    }
    match direction {
        Direction::Request if *name == header::HOST => Some("it says which host was judged"),
        Direction::Request if *name == "forwarded" || name.as_str().starts_with("x-forwarded-") => {
            Some("it says where the request came from")
        }
        Direction::Response if *name == header::CONTENT_ENCODING => Some("it says how the body is coded: see `compress`"),
        Direction::Response if name.as_str().starts_with("access-control-") => Some("see `cors`"),
        Direction::Request | Direction::Response => None,
    }
}
