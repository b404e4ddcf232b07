use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::count;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::{Limits, RequestsPerIp};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// `limits:`
pub(super) fn lower(top: &Section<'_>) -> Limits {
    let defaults = Limits::default();
    let Some(field) = top.optional("limits") else { return defaults };
    field.section(|section| {
        let number = |key, range| section.optional(key).and_then(|field: Field<'_>| field.number(range));
        let size = |key, range| section.optional(key).and_then(|field: Field<'_>| field.bytes(range));
        let time = |key, range: RangeInclusive<Duration>| section.optional(key).and_then(|field| field.duration(range));
        let connections = section.optional("connections");
        let per_ip = section.optional("connections_per_ip");
        let in_total = connections.and_then(|field| field.number(1..=10_000_000));
        let of_one = per_ip.and_then(|field| field.number(1..=10_000_000));
        let limits = Limits {
            connections: count(in_total).unwrap_or(defaults.connections),
            connections_per_ip: count(of_one).unwrap_or(defaults.connections_per_ip),
            deny_ips: section.optional("deny_ips").map(networks).unwrap_or_default().into(),
            allow_ips: section.optional("allow_ips").map(|field| some_networks(field)).unwrap_or_default().into(),
            requests: count(number("requests", 1..=10_000_000)).unwrap_or(defaults.requests),
            requests_per_ip: section.optional("requests_per_ip").and_then(requests_per_ip),
            header_timeout: time("header_timeout", SECOND..=HOUR).unwrap_or(defaults.header_timeout),
            header_size: count(size("header_size", 4 << 10..=1 << 20)).unwrap_or(defaults.header_size),
            idle_timeout: time("idle_timeout", SECOND..=24 * HOUR).unwrap_or(defaults.idle_timeout),
            body_size: size("body_size", 0..=1 << 50).unwrap_or(defaults.body_size),
            body_min_rate: size("body_min_rate", 0..=1 << 30).unwrap_or(defaults.body_min_rate),
            body_grace: time("body_grace", SECOND..=HOUR).unwrap_or(defaults.body_grace),
            write_timeout: time("write_timeout", SECOND..=HOUR).unwrap_or(defaults.write_timeout),
            queue_delay: time("queue_delay", Duration::ZERO..=60 * SECOND).unwrap_or(defaults.queue_delay),
        };
        if let (Some(field), Some(_)) = (per_ip, of_one)
            && limits.connections_per_ip > limits.connections
        {
            let message = format!("one address may open more connections than all together ({})", limits.connections);
            let problem = Problem::warning("config::no-effect", message).label("never reached");
            field.note(problem.hint("`connections` is reached first, and then nobody else gets in"));
        }
        limits
    })
}

fn requests_per_ip(field: Field<'_>) -> Option<RequestsPerIp> {
    field.section(|section| {
        let requests = section.required("requests", "how many requests one address may send")?.number(1..=1_000_000_000);
        let per = section.optional("per").map_or(Some(SECOND), |field| field.duration(SECOND..=24 * HOUR));
        let burst = section.optional("burst").map(|field| field.number(1..=1_000_000_000));
        let requests = requests?;
        Some(RequestsPerIp { requests, per: per?, burst: burst.unwrap_or(Some(requests))? })
    })
}

fn networks(field: Field<'_>) -> Vec<IpNet> {
    field.items().into_iter().filter_map(network).collect()
}

fn some_networks(field: Field<'_>) -> Vec<IpNet> {
    field.some_items("an empty list would let nobody in").into_iter().filter_map(network).collect()
}

fn network(field: Field<'_>) -> Option<IpNet> {
    let word = field.word()?;
    let parsed = word.text.parse().or_else(|_| word.text.parse::<IpAddr>().map(IpNet::from));
    match parsed {
        Ok(network) => Some(network.trunc()),
        Err(_) => word.unusable("an IP address or a network", "for example 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"),
    }
}
