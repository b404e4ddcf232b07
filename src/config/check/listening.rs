use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;

use super::{count, lifecycle};
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::{Lifecycle, Listener, Protocols, ProxyProtocol};

const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// `listeners:` and `admin:`
pub(super) fn lower(top: &Section<'_>, surroundings: &Surroundings<'_>) -> (Vec<Listener>, SocketAddr) {
    let mut taken: Vec<SocketAddr> = Vec::new();
    let mut listeners = Vec::new();
    if let Some(field) = top.required("listeners", "for example `listeners: [{ address: 127.0.0.1:8080 }]`") {
        for item in field.some_items("without a listener nobody can call") {
            listeners.extend(item.section(|section| listener(section, surroundings, &mut taken)));
        }
    }
    let admin = top.optional("admin").and_then(|field| {
        field.section(|admin| {
            let field = admin.optional("address")?;
            let address = address(field, &mut taken)?;
            if !address.ip().is_loopback() {
                let message = "the admin listener can be reached from other machines, and asks nobody who they are";
                let problem = Problem::warning("config::public-admin", message).label("not a loopback address");
                field.note(problem.hint("use 127.0.0.1 unless a firewall or a network policy stands before it"));
            }
            Some(address)
        })
    });
    (listeners, admin.unwrap_or(ADMIN))
}

fn listener(section: &Section<'_>, surroundings: &Surroundings<'_>, taken: &mut Vec<SocketAddr>) -> Option<Listener> {
    let address = section.required("address", "an IP address and a port, for example 0.0.0.0:8080");
    let address = address.and_then(|field| self::address(field, taken));
    let tls = section.optional("tls");
    let protocols = section.optional("protocols").and_then(protocols);
    let protocols = protocols.unwrap_or(Protocols { http1: true, http2: tls.is_some() });
    let hsts = section.optional("hsts");
    let redirect = section.optional("redirect_to_https");
    for (field, is_possible, with) in [(hsts, tls.is_some(), "only with `tls`"), (redirect, tls.is_none(), "only without `tls`")]
    {
        if let Some(field) = field.filter(|_| !is_possible) {
            let message = format!("{} is possible {with}", field.name());
            field.note_at_key(Problem::error("config::bad-value", message).label("does nothing here"));
        }
    }
    let modes = [("optional", ProxyProtocol::Optional), ("required", ProxyProtocol::Required)];
    let listener = Listener {
        address: address.unwrap_or(ADMIN),
        protocols,
        hsts: hsts.and_then(strict_transport_security),
        redirect_to_https: redirect.and_then(redirect_to_https),
        proxy_protocol: section.optional("proxy_protocol").and_then(|field| field.one_of(&modes)).unwrap_or_default(),
        tls: match tls {
            Some(field) => Some(super::tls::lower(field, protocols, surroundings)?),
            None => None,
        },
    };
    address.map(|_| listener)
}

fn protocols(field: Field<'_>) -> Option<Protocols> {
    let mut protocols = Protocols { http1: false, http2: false };
    for item in field.some_items("`http1`, `http2` or both") {
        match item.one_of(&[("http1", false), ("http2", true)])? {
            true => protocols.http2 = true,
            false => protocols.http1 = true,
        }
    }
    (protocols.http1 || protocols.http2).then_some(protocols)
}

/// `true`, or a port.
fn redirect_to_https(field: Field<'_>) -> Option<u16> {
    if field.is_word_that(|text| text == "true") {
        return Some(443);
    }
    if field.is_word_that(|text| text == "false") {
        return None;
    }
    field.number(1..=65_535).and_then(|port| u16::try_from(port).ok())
}

/// `hsts:` as the value of its header field (RFC 6797 §6.1).
fn strict_transport_security(field: Field<'_>) -> Option<HeaderValue> {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    field.section(|section| {
        let max_age = section.optional("max_age").and_then(|field| field.duration(Duration::ZERO..=10 * YEAR)).unwrap_or(YEAR);
        let mut text = format!("max-age={}", max_age.as_secs());
        let subdomains = section.optional("include_subdomains").and_then(Field::yes_or_no) == Some(true);
        if subdomains {
            text.push_str("; includeSubDomains");
        }
        if let Some(preload) = section.optional("preload").filter(|field| field.yes_or_no() == Some(true)) {
            if !subdomains || max_age < YEAR {
                let problem = Problem::error(
                    "config::bad-value",
                    "browsers preload only with `include_subdomains` and a year of `max_age`",
                );
                preload.note(problem.label("not enough for this"));
            }
            text.push_str("; preload");
        }
        HeaderValue::try_from(text).ok()
    })
}

/// `server.trusted_proxies:`
fn trusted_proxies(section: &Section<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for word in section.optional("trusted_proxies").map(Field::items).unwrap_or_default().into_iter().filter_map(Field::word) {
        let network = word.text.parse::<IpNet>().ok().or_else(|| word.text.parse::<IpAddr>().ok().map(IpNet::from));
        match network {
            Some(network) if network.prefix_len() == 0 => {
                let problem = Problem::error(
                    "config::bad-value",
                    "everybody would be believed to be a proxy: any client could choose its address",
                );
                word.note(problem.label("the whole internet").hint("name the networks of your load balancers"));
            }
            Some(network) => networks.push(network.trunc()),
            None => {
                word.unusable::<()>("a network or an IP address", "for example 10.0.0.0/8, 192.0.2.7 or fd00::/8");
            }
        }
    }
    networks
}

/// `server:` as threads (0: one for each core), grace and what happens within it, and whose word about clients is believed.
pub(super) fn server(
    top: &Section<'_>,
    listeners: &[Listener],
    surroundings: &Surroundings<'_>,
) -> (usize, Duration, Lifecycle, Vec<IpNet>) {
    const GRACE: Duration = Duration::from_secs(10);
    let (threads, grace, lifecycle, proxies) = top.optional("server").map_or((None, GRACE, None, Vec::new()), |field| {
        field.section(|server| {
            let threads = server.optional("threads").and_then(|field| field.number(0..=1024));
            let grace = server.optional("grace").and_then(|field| field.duration(Duration::ZERO..=Duration::from_secs(3600)));
            let grace = grace.unwrap_or(GRACE);
            (threads, grace, Some(lifecycle::lower(server, grace, surroundings)), trusted_proxies(server))
        })
    });
    if proxies.is_empty() && listeners.iter().any(|listener| listener.proxy_protocol != ProxyProtocol::Off) {
        top.missing("`server.trusted_proxies` is missing", "`proxy_protocol` is read only from the proxies that it names");
    }
    (count(threads).unwrap_or(0), grace, lifecycle.unwrap_or_else(|| Lifecycle::within(grace)), proxies)
}

fn address(field: Field<'_>, taken: &mut Vec<SocketAddr>) -> Option<SocketAddr> {
    let word = field.word()?;
    let Ok(address) = word.text.parse::<SocketAddr>() else {
        return word.unusable("an IP address with a port", "for example 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080");
    };
    // Port 0 lets the system choose, each time another one.
    if address.port() != 0 && taken.contains(&address) {
        word.note(Problem::error("config::duplicate-name", "another listener has this address").label("taken"));
    }
    taken.push(address);
    Some(address)
}
