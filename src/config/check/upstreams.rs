mod health;
mod retries;
mod servers;
mod tls;

use std::time::Duration;

use super::name;
use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::settings::{Balance, Dns, Family, HashKey, Timeouts, Upstream, UpstreamProtocol};
use crate::model::{Name, Problem};

pub(super) use servers::port;

/// `upstreams:`
pub(super) fn lower(top: &Section<'_>, surroundings: &Surroundings<'_>) -> Vec<Upstream> {
    let named = top.optional("upstreams").map(Field::named).unwrap_or_default();
    named.into_iter().map(|field| upstream(field, surroundings)).collect()
}

fn upstream(field: Field<'_>, surroundings: &Surroundings<'_>) -> Upstream {
    let name = name(field.key_word()).unwrap_or_else(|| Name::from(field.key));
    field.section(|section| {
        refuse_impossible(section);
        let (servers, is_secure) = servers::lower(section);
        let (tls, tls_field) = tls::lower(section, &servers, is_secure, surroundings);
        if let Some(field) = tls_field.filter(|_| is_secure == Some(false)) {
            let problem = Problem::error("config::conflict", "`tls` is about servers that are reached by https://");
            field.note_at_key(problem.label("these are http://").hint("write https:// or leave `tls` out"));
        }
        let timeouts = section.optional("timeouts").map_or_else(Timeouts::default, timeouts);
        let protocol = section.optional("protocol").and_then(protocol);
        let protocol = protocol.unwrap_or(UpstreamProtocol::Http1);
        let plain = Upstream::plain(name, Vec::new());
        Upstream {
            balance: section.optional("balance").and_then(balance).unwrap_or(Balance::RoundRobin),
            retries: section.optional("retries").map_or(plain.retries, |field| retries::lower(field)),
            health_check: section.optional("health_check").and_then(|field| health::check(field, protocol)),
            outliers: section.optional("outlier_detection").map_or(plain.outliers, health::outliers),
            most_requests: section.optional("circuit_breaker").and_then(health::circuit_breaker),
            slow_start: section
                .optional("slow_start")
                .and_then(|field| field.duration(Duration::ZERO..=HOUR))
                .unwrap_or_default(),
            dns: section.optional("dns").map_or_else(Dns::default, dns),
            name: plain.name,
            servers,
            protocol,
            tls,
            timeouts,
        }
    })
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const TICK: Duration = Duration::from_millis(1);

/// Keys that operators know from elsewhere, with the reason why they are not here.
fn refuse_impossible(section: &Section<'_>) {
    not_possible(
        section,
        "hedge",
        "hedging is not possible",
        "a request goes to one server at a time; `retries` asks another one",
    );
    not_possible(
        section,
        "keepalive",
        "the pool of kept connections has one size for all upstreams",
        "256 for each thread; `timeouts.idle` says how long a connection is kept",
    );
}

fn not_possible(section: &Section<'_>, key: &'static str, message: &str, hint: &str) {
    if let Some(field) = section.optional(key) {
        field.note_at_key(Problem::error("config::not-supported", message).label("not possible").hint(hint));
    }
}

fn protocol(field: Field<'_>) -> Option<UpstreamProtocol> {
    field.one_of(&[("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2), ("auto", UpstreamProtocol::Auto)])
}

fn balance(field: Field<'_>) -> Option<Balance> {
    if field.is_word_that(|text| text.starts_with("hash")) {
        return hash(field).map(Balance::Hash);
    }
    let kinds = [Balance::RoundRobin, Balance::LeastRequests, Balance::PowerOfTwo];
    let words = [("round_robin", 0), ("least_requests", 1), ("power_of_two", 2), ("hash:…", 3)];
    kinds.get(field.one_of::<usize>(&words)?).cloned()
}

fn hash(field: Field<'_>) -> Option<HashKey> {
    let word = field.word()?;
    let mut parts = word.text.splitn(3, ':').skip(1);
    let key = match (parts.next(), parts.next()) {
        (Some("client_ip"), None) => Some(HashKey::ClientIp),
        (Some("claim"), Some(name)) if is_plain(name) => Some(HashKey::Claim(name.to_owned())),
        (Some("cookie"), Some(name)) if is_plain(name) => Some(HashKey::Cookie(name.to_owned())),
        (Some("header"), Some(name)) => name.to_ascii_lowercase().parse().ok().map(HashKey::Header),
        _ => None,
    };
    const FORMS: &str = "hash:claim:NAME, hash:header:NAME, hash:cookie:NAME or hash:client_ip";
    key.or_else(|| word.unusable("a way to balance", FORMS))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"=;,\"".contains(&byte))
}

fn timeouts(field: Field<'_>) -> Timeouts {
    const WHY_NOT: &str = "`read` limits every wait for bytes, the first one included, and one limit cannot be two";
    let defaults = Timeouts::default();
    field.section(|section| {
        not_possible(section, "first_byte", "the first byte has no limit of its own", WHY_NOT);
        not_possible(section, "tls", "the TLS handshake has no limit of its own", "it gets `connect`, like the TCP connection");
        let limit = |key, default| section.optional(key).and_then(|field| field.duration(TICK..=DAY)).unwrap_or(default);
        let timeouts = Timeouts {
            connect: limit("connect", defaults.connect),
            read: limit("read", defaults.read),
            write: limit("write", defaults.write),
            idle: limit("idle", defaults.idle),
            total: None,
        };
        let Some(total) = section.optional("total") else { return timeouts };
        let value = total.duration(TICK..=DAY);
        if value.is_some_and(|total| total <= timeouts.connect) {
            let problem = Problem::warning("config::contradiction", "`total` leaves no time after `connect`");
            total.note(problem.label("not longer than `connect`").hint("a server that takes its time to connect cannot answer"));
        } else if value.is_some_and(|total| total < timeouts.read) && section.optional("read").is_some() {
            let problem = Problem::warning("config::contradiction", "`read` is longer than `total`, so it never ends a request");
            total.note(problem.label("shorter than `read`"));
        }
        Timeouts { total: value, ..timeouts }
    })
}

fn dns(field: Field<'_>) -> Dns {
    let defaults = Dns::default();
    field.section(|section| {
        let second = Duration::from_secs(1);
        let refresh = section.optional("refresh").and_then(|field| field.duration(second..=DAY));
        let timeout = section.optional("timeout").and_then(|field| field.duration(Duration::from_millis(10)..=60 * second));
        let family = section
            .optional("family")
            .and_then(|field| field.one_of(&[("any", Family::Any), ("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)]));
        Dns {
            refresh: refresh.unwrap_or(defaults.refresh),
            timeout: timeout.unwrap_or(defaults.timeout),
            family: family.unwrap_or(defaults.family),
        }
    })
}
