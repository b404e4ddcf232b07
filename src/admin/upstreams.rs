use serde_json::{Value, json};

use crate::gateway::{Gateway, clock};
use crate::metrics::{ServerObserved, UpstreamObserved};
use crate::traffic::Pool;

/// Every upstream's servers, for one scrape.
pub(super) fn observe(gateway: &Gateway) -> Vec<UpstreamObserved> {
    let now = clock::steady();
    let pools = gateway.lasting.pools.all();
    let server = |pool: &Pool| {
        pool.members()
            .into_iter()
            .map(|(member, ..)| ServerObserved {
                server: member.label().clone(),
                is_up: member.standing(now).is_up(),
                in_flight: member.in_flight() as u64,
                requests: member.requests(),
                ejections: member.ejections(),
            })
            .collect()
    };
    let observed = |pool: &Pool| {
        let (checks_failed, checks_fine) = pool.tally().checks();
        let retries_refused = pool.tally().refused_retries();
        UpstreamObserved { upstream: pool.name().clone(), checks_failed, checks_fine, retries_refused, servers: server(pool) }
    };
    pools.values().map(|pool| observed(pool)).collect()
}

/// Every server with its state and why, for people.
pub(super) fn status(gateway: &Gateway) -> Value {
    let pools = gateway.lasting.pools.all();
    let snapshot = gateway.snapshot();
    let upstreams = snapshot.config.upstreams.iter().filter_map(|upstream| pools.get(&upstream.name));
    upstreams.map(|pool| json!({ "name": &**pool.name(), "servers": servers(pool) })).collect()
}

fn servers(pool: &Pool) -> Vec<Value> {
    let now = clock::steady();
    let members = pool.members();
    let mut rows = Vec::new();
    for (index, (server, _)) in pool.servers().into_iter().enumerate() {
        let before = rows.len();
        for (member, _, weight) in members.iter().filter(|(_, position, _)| *position == index) {
            let standing = member.standing(now);
            rows.push(json!({
                "server": &*server.authority,
                "address": &**member.label(),
                "state": standing.label(),
                "why": member.why().filter(|_| !standing.is_up()),
                "weight": weight,
                "requests_in_flight": member.in_flight(),
                "requests": member.requests(),
                "ejections": member.ejections(),
            }));
        }
        if rows.len() == before {
            let why = "the name has not resolved yet, or another server has its address";
            rows.push(json!({ "server": &*server.authority, "state": "unresolved", "why": why, "weight": server.weight }));
        }
    }
    rows
}
