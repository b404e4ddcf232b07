use std::time::Duration;

use http::Uri;
use http::uri::Authority;

use super::{count, name};
use crate::config::field::Field;
use crate::config::section::{Section, not_built_yet};
use crate::model::Name;
use crate::model::settings::{Server, Timeouts, Upstream};

/// `upstreams:`
pub(super) fn lower(top: &Section<'_>) -> Vec<Upstream> {
    top.optional("upstreams").map(Field::named).unwrap_or_default().into_iter().map(upstream).collect()
}

fn upstream(field: Field<'_>) -> Upstream {
    let name = name(field.key_word()).unwrap_or_else(|| Name::from(field.key));
    field.section(|section| {
        section.not_built_yet("health_check", "a server that cannot be reached is skipped for the request only");
        section.not_built_yet("outlier_detection", "a server that cannot be reached is skipped for the request only");
        section.not_built_yet("tls", "upstreams are reached over plain HTTP");
        let mut servers = Vec::new();
        if let Some(field) = section.required("servers", "for example `servers: [http://127.0.0.1:3000]`") {
            servers.extend(field.some_items("an upstream needs a server").into_iter().filter_map(server));
        }
        if let Some(field) = section.optional("balance") {
            balance(field);
        }
        let timeouts = section.optional("timeouts").map_or(TIMEOUTS, timeouts);
        let retries = section.optional("retries").and_then(retries);
        Upstream { name, servers, timeouts, retries: count(retries).unwrap_or(1) }
    })
}

fn server(field: Field<'_>) -> Option<Server> {
    const FORM: &str = "for example http://10.0.1.11:8080";
    let word = field.word()?;
    let Ok(uri) = word.text.parse::<Uri>() else { return word.unusable("the address of a server", FORM) };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            field.note(not_built_yet("TLS towards upstreams", "upstreams are reached over plain HTTP"));
            return None;
        }
        _ => return word.unusable("the address of a server", FORM),
    }
    let Some(authority) = uri.authority() else { return word.unusable("the address of a server", FORM) };
    let has_more = uri.path() != "/" || uri.query().is_some() || word.text.contains('#');
    if has_more || authority.as_str().contains('@') || authority.host().is_empty() {
        return word.unusable("the address of a server", "only http://, a host and a port: the path of the request is kept");
    }
    let host = authority.host();
    let Some(port) = port(authority, 80) else {
        return word.unusable("the address of a server", "the port must be from 1 to 65535");
    };
    Some(Server { authority: format!("{host}:{port}").into(), host: host.trim_matches(['[', ']']).to_owned(), port })
}

/// The port, or `default` without one. `http` takes what is too large for a port as no port at all.
pub(super) fn port(authority: &Authority, default: u16) -> Option<u16> {
    if authority.as_str().len() == authority.host().len() {
        Some(default)
    } else {
        authority.port_u16().filter(|port| *port != 0)
    }
}

fn balance(field: Field<'_>) {
    if field.is_word_that(|text| text == "least_requests" || text.starts_with("hash:")) {
        field.note(not_built_yet("this way to balance", "servers take turns; write `round_robin`"));
    } else {
        field.one_of(&[("round_robin", ())]);
    }
}

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(1),
    read: Duration::from_secs(60),
    write: Duration::from_secs(30),
    idle: Duration::from_secs(60),
};

fn timeouts(field: Field<'_>) -> Timeouts {
    field.section(|section| {
        section.not_built_yet("first_byte", "`read` limits every wait for bytes, the first one included");
        let limit = |key, default| {
            let range = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
            section.optional(key).and_then(|field: Field<'_>| field.duration(range)).unwrap_or(default)
        };
        Timeouts {
            connect: limit("connect", TIMEOUTS.connect),
            read: limit("read", TIMEOUTS.read),
            write: limit("write", TIMEOUTS.write),
            idle: limit("idle", TIMEOUTS.idle),
        }
    })
}

fn retries(field: Field<'_>) -> Option<u64> {
    field.section(|section| {
        section.not_built_yet("when", "a request is tried again only if the connection could not be made");
        section.optional("attempts")?.number(0..=10)
    })
}
