use http::Method;

use super::pattern::Pattern;
use crate::config::field::Field;
use crate::config::section::Section;

/// `routes[].match`
#[derive(Default)]
pub(super) struct Matched {
    pub(super) host: Option<String>,
    pub(super) path: Option<String>,
    pub(super) methods: Vec<Method>,
}

impl Matched {
    pub(super) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/**")
    }
}

/// `None` if something in it is wrong: without its host, path or methods a route would seem to match more than it does.
pub(super) fn matched(section: &Section<'_>) -> Option<Matched> {
    let (host_field, path_field) = (section.optional("host"), section.optional("path"));
    let methods = section.optional("methods").map(|field| field.some_items("leave it out to match every method"));
    let (host, path) = (host_field.and_then(host), path_field.and_then(path));
    let methods = methods.map(|fields| (fields.len(), fields.into_iter().filter_map(method).collect::<Vec<_>>()));
    let is_whole = host.is_some() == host_field.is_some()
        && path.is_some() == path_field.is_some()
        && methods.as_ref().is_none_or(|(written, read)| *written > 0 && *written == read.len());
    is_whole.then(|| Matched { host, path, methods: methods.map(|(_, read)| read).unwrap_or_default() })
}

fn host(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    let host = word.text.to_ascii_lowercase();
    let labels = host.strip_prefix("*.").unwrap_or(&host);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_ipv6 =
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    if is_ipv6 || (host.len() <= 253 && labels.split('.').all(is_label)) {
        return Some(host);
    }
    word.unusable("a host", "a name without scheme and port, as in api.example.com or *.example.com; leave it out for every host")
}

fn path(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    match Pattern::parse(word.text) {
        Ok(_) => Some(word.text.to_owned()),
        Err(hint) => word.unusable("a path pattern", &hint),
    }
}

fn method(field: Field<'_>) -> Option<Method> {
    let word = field.word()?;
    let method = Method::from_bytes(word.text.as_bytes()).ok().filter(|method| {
        method.as_str().chars().all(|c| c.is_ascii_uppercase() || c == '-') && ![Method::TRACE, Method::CONNECT].contains(method)
    });
    if method.is_none() {
        let hint = match word.text.to_ascii_uppercase().as_str() {
            "TRACE" | "CONNECT" => "Tollgate never lets TRACE and CONNECT through",
            _ => "in capitals, as in GET or POST",
        };
        return word.unusable("a method", hint);
    }
    method
}
