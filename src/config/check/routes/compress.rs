use crate::config::field::Field;
use crate::model::settings::{Coding, Compression};

/// Types whose bodies shrink. No `text/event-stream`: an encoder would hold events back.
const TYPES: [&str; 13] = [
    "text/html",
    "text/css",
    "text/plain",
    "text/xml",
    "text/csv",
    "text/javascript",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/problem+json",
    "application/xml",
    "application/wasm",
    "image/svg+xml",
];

/// `compress`: `true`, `false` or how.
pub(super) fn lower(field: Field<'_>) -> Option<Compression> {
    let usual = || Compression {
        algorithms: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
        minimum: 1 << 10,
        types: TYPES.map(str::to_owned).into(),
    };
    if !field.is_mapping() {
        return field.yes_or_no()?.then(usual);
    }
    field.section(|section| {
        let known = [("gzip", Coding::Gzip), ("br", Coding::Brotli), ("zstd", Coding::Zstd)];
        let algorithms = section.optional("algorithms").map(|field| field.some_items("leave it out for zstd, br and gzip"));
        let algorithms = algorithms.map(|fields| fields.into_iter().filter_map(|field| field.one_of(&known)).collect::<Vec<_>>());
        let minimum = section.optional("minimum").and_then(|field| field.bytes(0..=1 << 30));
        let types = section.optional("types").map(|field| field.some_items("leave it out for the usual types of text"));
        let types = types.map(|fields| fields.into_iter().filter_map(media_type).collect());
        let usual = usual();
        Some(Compression {
            algorithms: algorithms.unwrap_or(usual.algorithms),
            minimum: minimum.unwrap_or(usual.minimum),
            types: types.unwrap_or(usual.types),
        })
    })
}

fn media_type(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    let text = word.text.to_ascii_lowercase();
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    match text.split_once('/') {
        Some(("text", "event-stream")) => word.unusable("possible here", "an encoder would hold events back"),
        Some((main, sub)) if is_token(main) && (sub == "*" || is_token(sub)) => Some(text),
        _ => word.unusable("a media type", "for example application/json or text/*"),
    }
}
