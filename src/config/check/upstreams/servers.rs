use http::Uri;
use http::uri::Authority;

use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::Server;

/// `servers`, and whether they are reached over TLS; `None` if nobody knows.
pub(super) fn lower(section: &Section<'_>) -> (Vec<Server>, Option<bool>) {
    let Some(field) = section.required("servers", "for example `servers: [http://127.0.0.1:3000]`") else {
        return (Vec::new(), None);
    };
    let items = field.some_items("an upstream needs a server");
    let mut servers: Vec<Server> = Vec::new();
    let mut is_secure = None;
    for item in items {
        let Some((server, secure)) = entry(item) else { continue };
        if *is_secure.get_or_insert(secure) != secure {
            let problem = Problem::error("config::conflict", "an upstream is reached by http:// or by https://, not by both");
            item.note(problem.label("another scheme than the first one").hint("make two upstreams of them"));
        }
        if servers.iter().any(|known| known.authority == server.authority) {
            let problem = Problem::warning("config::duplicate-name", "this server is listed twice");
            item.note(problem.label("the second one counts for nothing").hint("give the first one a `weight`"));
        }
        servers.push(server);
    }
    if !servers.is_empty() && servers.iter().all(|server| server.weight == 0) {
        let problem = Problem::warning("config::contradiction", "every server has the weight 0: nobody answers");
        field.note_at_key(problem.label("no server gets a request"));
    }
    (servers, is_secure)
}

fn entry(field: Field<'_>) -> Option<(Server, bool)> {
    if !field.is_mapping() {
        return address(field, 1);
    }
    field.section(|section| {
        let weight = section.optional("weight").and_then(|field| field.number(0..=100)).unwrap_or(1);
        let url = section.required("url", "for example `{ url: http://10.0.1.11:8080, weight: 2 }`")?;
        address(url, u32::try_from(weight).unwrap_or(1))
    })
}

fn address(field: Field<'_>, weight: u32) -> Option<(Server, bool)> {
    const FORM: &str = "for example http://10.0.1.11:8080";
    let word = field.word()?;
    let Ok(uri) = word.text.parse::<Uri>() else { return word.unusable("the address of a server", FORM) };
    let (is_secure, usual_port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return word.unusable("the address of a server", FORM),
    };
    let Some(authority) = uri.authority() else { return word.unusable("the address of a server", FORM) };
    let has_more = uri.path() != "/" || uri.query().is_some() || word.text.contains('#');
    if has_more || authority.as_str().contains('@') || authority.host().is_empty() {
        return word
            .unusable("the address of a server", "only http:// or https://, a host and a port: the path of the request is kept");
    }
    let host = authority.host();
    let Some(port) = port(authority, usual_port) else {
        return word.unusable("the address of a server", "the port must be from 1 to 65535");
    };
    let authority = format!("{host}:{port}").into();
    Some((Server { authority, host: host.trim_matches(['[', ']']).to_owned(), port, weight }, is_secure))
}

/// The port, or `default` without one. `http` takes what is too large for a port as no port at all.
pub(in crate::config::check) fn port(authority: &Authority, default: u16) -> Option<u16> {
    if authority.as_str().len() == authority.host().len() {
        Some(default)
    } else {
        authority.port_u16().filter(|port| *port != 0)
    }
}
