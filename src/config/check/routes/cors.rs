use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::config::field::Field;
use crate::config::word::Word;
use crate::model::Problem;
use crate::model::settings::{Cors, CorsOrigin, CorsOrigins};

/// `cors`
pub(super) fn lower(field: Field<'_>) -> Option<Arc<Cors>> {
    field.section(|section| {
        let origins = section.required("origins", "who may read the answers, for example https://app.example.com");
        let origins = origins.map(|field| (field, origins_of(field)));
        let methods = section.optional("methods").map(|field| field.some_items("leave it out for GET, HEAD and POST"));
        let methods = methods.map(|fields| fields.into_iter().filter_map(method).collect::<Vec<_>>());
        let headers = section.optional("headers").map(names);
        let expose = section.optional("expose").map(names);
        let credentials_field = section.optional("credentials");
        let credentials = credentials_field.and_then(Field::yes_or_no).unwrap_or(false);
        let range = Duration::ZERO..=Duration::from_secs(86_400);
        let max_age = section.optional("max_age").and_then(|field| field.duration(range));
        let (_, origins) = origins?;
        let origins = origins?;
        for (is_every, what) in [
            (origins == CorsOrigins::Every, "origins"),
            (headers.as_ref().is_some_and(|names| names.iter().any(|name| name == "*")), "headers"),
            (expose.as_ref().is_some_and(|names| names.iter().any(|name| name == "*")), "expose"),
        ] {
            if let Some(field) = credentials_field.filter(|_| is_every && credentials) {
                let message = format!("`credentials` cannot be allowed together with `*` in `{what}`");
                let problem = Problem::error("config::conflict", message).label("to everybody?");
                field.note_at_key(problem.hint("browsers refuse it, and it would open the route to every page: name them"));
            }
        }
        let methods = methods.map_or_else(|| "GET, HEAD, POST".to_owned(), |methods| joined(methods.iter().map(Method::as_str)));
        Some(Arc::new(Cors {
            origins,
            methods: HeaderValue::from_str(&methods).ok()?,
            headers: headers.and_then(|names| HeaderValue::from_str(&joined(names.iter().map(String::as_str))).ok()),
            expose: expose.and_then(|names| HeaderValue::from_str(&joined(names.iter().map(String::as_str))).ok()),
            credentials,
            max_age: max_age.unwrap_or(Duration::from_secs(600)),
        }))
    })
}

fn joined<'s>(texts: impl Iterator<Item = &'s str>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

/// `None` if one of them is wrong: fewer would be another policy.
fn origins_of(field: Field<'_>) -> Option<CorsOrigins> {
    let fields = field.some_items("name the pages that may read the answers, or write \"*\"");
    let words: Vec<Word<'_>> = fields.iter().copied().filter_map(Field::word).collect();
    if words.iter().any(|word| word.text == "*") {
        if let Some(other) = words.iter().find(|word| word.text != "*") {
            let problem = Problem::error("config::conflict", "`*` is every origin, this one included");
            other.note(problem.label("beside `*`").hint("name the origins, or write only \"*\""));
        }
        return Some(CorsOrigins::Every);
    }
    let origins: Vec<CorsOrigin> = words.iter().copied().filter_map(origin).collect();
    (!origins.is_empty() && origins.len() == fields.len()).then_some(CorsOrigins::Listed(origins))
}

fn origin(word: Word<'_>) -> Option<CorsOrigin> {
    const FORM: &str =
        "a scheme and a host as browsers send them: https://app.example.com, http://localhost:5173, https://*.example.com";
    let text = word.text.to_ascii_lowercase();
    let Some((scheme, authority)) = text.split_once("://") else { return word.unusable("an origin", FORM) };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let host = authority.strip_prefix("*.").unwrap_or(authority);
    let is_plain = !host.contains(['*', '/', '?', '#', '@']) && host.parse::<http::uri::Authority>().is_ok();
    if !is_scheme || !is_plain {
        return word.unusable("an origin", FORM);
    }
    let default = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "\n",
    };
    if host.ends_with(default) {
        return word.unusable("an origin", &format!("browsers leave the port {default} out"));
    }
    if authority.len() == host.len() {
        return Some(CorsOrigin::Exactly(text));
    }
    if !host.split(':').next().is_some_and(|name| name.contains('.')) {
        return word
            .unusable("an origin", "below a top-level domain is half the internet: name a domain, as in https://*.example.com");
    }
    Some(CorsOrigin::Below { scheme: format!("{scheme}://"), suffix: format!(".{host}") })
}

fn method(field: Field<'_>) -> Option<Method> {
    let word = field.word()?;
    let is_word = word.text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    match Method::from_bytes(word.text.as_bytes()) {
        Ok(method) if is_word && ![Method::TRACE, Method::CONNECT].contains(&method) => Some(method),
        _ => word.unusable("a method", "in capitals, as in GET or POST"),
    }
}

fn names(field: Field<'_>) -> Vec<String> {
    let words = field.some_items("leave it out").into_iter().filter_map(Field::word);
    words
        .filter_map(|word| match HeaderName::from_bytes(word.text.as_bytes()) {
            Ok(name) => Some(name.as_str().to_owned()),
            Err(_) => word.unusable("the name of a header", "letters, digits and `-`"),
        })
        .collect()
}
