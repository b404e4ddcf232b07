use serde_json::{Value, json};

use super::upstreams;
use crate::gateway::{Gateway, clock};
use crate::model::Moment;
use crate::model::settings::{Certificate, Listener};

/// What runs now, for people and for `tollgate status`: no secret, no customer.
pub(super) fn status(gateway: &Gateway) -> Vec<u8> {
    let snapshot = gateway.snapshot();
    let lasting = &gateway.lasting;
    let config = &snapshot.config;
    let last_reload = gateway
        .last_failure()
        .map_or(Value::Null, |failure| json!({ "result": "failure", "at": instant(failure.at), "problems": failure.problems }));
    let protection = &lasting.metrics.protection;
    let [refused, cut, shed] = protection.totals();
    let document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "started_at": instant(gateway.started_at),
        "now": instant(clock::now()),
        "ready": gateway.is_ready(),
        "draining": gateway.is_draining(),
        "requests_in_flight": gateway.in_flight(),
        "requests_shed": shed,
        "connections": { "open": protection.connections(), "refused": refused, "cut": cut },
        "config": {
            "loaded_at": instant(snapshot.loaded_at),
            "config_sha256": config.config_sha256,
            "rules_sha256": config.rules_sha256,
            "failed_reload": last_reload,
        },
        "listeners": config.listeners.iter().map(listener).collect::<Vec<_>>(),
        "routes": config.routes.iter().map(|route| &*route.name).collect::<Vec<_>>(),
        "issuers": lasting.keys.status().into_iter().map(|ring| json!({
            "name": &*ring.name,
            "keys": ring.keys,
            "keys_not_admitted": ring.skipped,
            "fetched_at": ring.fetched_at,
            "stale": ring.stale,
            "last_error": ring.last_error,
        })).collect::<Vec<_>>(),
        "upstreams": upstreams::status(gateway),
        "rules": snapshot.rules.rules().iter().map(|card| json!({
            "name": &*card.name,
            "file": &*card.file,
            "description": card.description,
            "mode": format!("{:?}", card.mode).to_lowercase(),
            "hooks": card.hooks.iter().map(|hook| hook.name()).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "revocations": lasting.revocations.status(clock::now()).map(|status| json!({
            "entries": status.entries,
            "last": status.last.map(|(source, at)| json!({
                "source": source.label(),
                "at": instant(Moment::new(at, std::time::Duration::ZERO)),
            })),
            "file_error": status.file_error,
            "feed": status.feed.map(|feed| json!({
                "state": if feed.is_stale { "stale" } else if feed.has_begun { "following" } else { "beginning" },
                "age_seconds": feed.age.as_secs_f64(),
                "received": feed.received,
                "sent": feed.sent,
            })),
            "event_log": config.identity.revocation.as_ref().and_then(|revocation| revocation.event_log.as_ref()).map(|_| {
                let reading = lasting.revocations.inbox.reading.status();
                json!({ "read_at": reading.read_at, "last_error": reading.last_error })
            }),
        })),
        "redis": lasting.redis.is_configured().then(|| {
            let redis = lasting.redis.status();
            json!({ "server": redis.server, "state": redis.state.label(), "last_error": redis.last_error })
        }),
        "throttling": { "keys": lasting.throttling.keys(), "overflowed": lasting.throttling.overflowed() },
        "usage": lasting.ledger.as_ref().map(|ledger| {
            let usage = ledger.status();
            json!({
                "state": usage.state.label(),
                "pending_lines": usage.pending.lines,
                "committed_lines": usage.committed.lines,
                "unbilled_lines": usage.unbilled.lines,
                "last_commit_ms": usage.last_commit_ms,
                "last_error": usage.last_error,
            })
        }),
    });
    let mut text = serde_json::to_vec_pretty(&document).unwrap_or_default();
    text.push(b'\n');
    text
}

fn listener(listener: &Listener) -> Value {
    let mut protocols = Vec::new();
    protocols.extend(listener.protocols.http1.then_some("http1"));
    protocols.extend(listener.protocols.http2.then_some("http2"));
    let certificates = listener.tls.as_ref().map(|tls| {
        let entry = |certificate: &Certificate| {
            let end = Moment::new(certificate.not_after, std::time::Duration::ZERO);
            json!({ "names": certificate.names, "not_after": instant(end) })
        };
        tls.certificates.iter().map(entry).collect::<Vec<_>>()
    });
    json!({ "address": listener.address.to_string(), "protocols": protocols, "certificates": certificates })
}

fn instant(moment: Moment) -> String {
    format!("{:.3}", clock::date(moment))
}
