use std::ops::RangeInclusive;
use std::time::Duration;

use super::retries::percent;
use super::{DAY, HOUR, TICK, not_possible};
use crate::config::check::count;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::model::Problem;
use crate::model::settings::{HealthCheck, Outliers, Probe, UpstreamProtocol};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Tcp,
    Grpc,
}

/// `health_check`
pub(super) fn check(field: Field<'_>, protocol: UpstreamProtocol) -> Option<HealthCheck> {
    let second = Duration::from_secs(1);
    Some(field.section(|section| {
        let kinds = [("http", Kind::Http), ("tcp", Kind::Tcp), ("grpc", Kind::Grpc)];
        let kind = section.optional("type").and_then(|field| field.one_of(&kinds)).unwrap_or(Kind::Http);
        let interval = section.optional("interval").and_then(|field| field.duration(Duration::from_millis(100)..=HOUR));
        let interval = interval.unwrap_or(10 * second);
        let timeout_field = section.optional("timeout");
        let timeout = timeout_field.and_then(|field| field.duration(TICK..=60 * second)).unwrap_or(2 * second);
        if let Some(field) = timeout_field.filter(|_| timeout > interval) {
            let problem = Problem::warning("config::contradiction", "a probe may take longer than the time until the next one");
            field.note(problem.label("longer than `interval`").hint("the next round waits until all probes of this one ended"));
        }
        let times = |key, default| {
            let number = section.optional(key).and_then(|field: Field<'_>| field.number(1..=100));
            number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
        };
        let (healthy_after, unhealthy_after) = (times("healthy_after", 2), times("unhealthy_after", 3));
        HealthCheck { probe: probe(section, kind, protocol), interval, timeout, healthy_after, unhealthy_after }
    }))
}

fn probe(section: &Section<'_>, kind: Kind, protocol: UpstreamProtocol) -> Probe {
    let path = section.optional("path");
    let host = section.optional("host");
    let expect = section.optional("expect");
    let service = section.optional("service");
    let only = |field: Option<Field<'_>>, wanted: Kind, word: &str| {
        if let Some(field) = field.filter(|_| kind != wanted) {
            let problem = Problem::error("config::conflict", format!("{} is for probes of `type: {word}`", field.name()));
            field.note_at_key(problem.label("without effect here"));
        }
    };
    only(path, Kind::Http, "http");
    only(expect, Kind::Http, "http");
    only(service, Kind::Grpc, "grpc");
    if kind == Kind::Tcp {
        only(host, Kind::Http, "http` or `grpc");
    }
    let host = host.and_then(authority);
    match kind {
        Kind::Tcp => Probe::Tcp,
        Kind::Grpc => {
            if protocol != UpstreamProtocol::Http2 {
                section.missing(
                    "no `protocol: http2` for the gRPC probe",
                    "gRPC is spoken over HTTP/2: set it beside `health_check`",
                );
            }
            Probe::Grpc { service: service.and_then(service_name).unwrap_or_default(), host }
        }
        Kind::Http => {
            if path.is_none() {
                section.missing("`path` is missing", "for example `path: /healthz`");
            }
            let ranges = expect.map(|field| field.items().into_iter().filter_map(statuses).collect::<Vec<_>>());
            Probe::Http {
                path: path.and_then(path_of).unwrap_or_else(|| "/".to_owned()),
                host,
                expect: ranges.filter(|ranges| !ranges.is_empty()).unwrap_or_else(|| vec![200..=299]),
            }
        }
    }
}

fn path_of(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    let is_good = word.text.starts_with('/') && word.text.len() <= 1_024 && word.text.parse::<http::Uri>().is_ok();
    if is_good && !word.text.contains('#') {
        return Some(word.text.to_owned());
    }
    word.unusable("a path", "it begins with `/`, for example /healthz")
}

fn authority(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    match word.text.parse::<http::uri::Authority>() {
        Ok(authority) if !authority.as_str().contains('@') => Some(word.text.to_owned()),
        _ => word.unusable("a host", "for example api.internal or api.internal:8080"),
    }
}

fn service_name(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    // What fits into one byte of length.
    if word.text.len() <= 127 && word.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte)) {
        return Some(word.text.to_owned());
    }
    word.unusable("the name of a gRPC service", "for example shop.v1.Orders, at most 127 characters")
}

/// `200` or `200..299`
fn statuses(field: Field<'_>) -> Option<RangeInclusive<u16>> {
    let word = field.word()?;
    let (first, last) = word.text.split_once("..").unwrap_or((word.text, word.text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if (100..=599).contains(&first) && (first..=599).contains(&last) => Some(first..=last),
        _ => word.unusable("a status or a range of them", "for example 200 or 200..299"),
    }
}

/// `outlier_detection`; `false` switches it off.
pub(super) fn outliers(field: Field<'_>) -> Option<Outliers> {
    if field.is_word_that(|text| text == "false") {
        return None;
    }
    let defaults = Outliers::default();
    Some(field.section(|section| {
        let failures = section.optional("consecutive_failures").and_then(|field| field.number(1..=1_000));
        let ejection_field = section.optional("ejection");
        let ejection = ejection_field.and_then(|field| field.duration(Duration::from_millis(100)..=HOUR));
        let ejection = ejection.unwrap_or(defaults.ejection);
        let longest = section.optional("max_ejection").and_then(|field| field.duration(Duration::from_millis(100)..=DAY));
        let longest = longest.unwrap_or(ejection.saturating_mul(10));
        if let Some(field) = ejection_field.filter(|_| longest < ejection) {
            let problem = Problem::warning("config::contradiction", "`max_ejection` is shorter than `ejection`");
            field.note(problem.label("never that long"));
        }
        Outliers {
            consecutive_failures: failures.and_then(|n| u32::try_from(n).ok()).unwrap_or(defaults.consecutive_failures),
            ejection,
            longest_ejection: longest,
            most_ejected_percent: section
                .optional("max_ejected_percent")
                .and_then(percent)
                .unwrap_or(defaults.most_ejected_percent),
        }
    }))
}

/// `circuit_breaker`
pub(super) fn circuit_breaker(field: Field<'_>) -> Option<usize> {
    field.section(|section| {
        not_possible(section, "pending", "nothing waits for a place", "a request that finds none is refused with 503 at once");
        count(section.required("requests", "at most this many at once on one server")?.number(1..=1_000_000))
    })
}
