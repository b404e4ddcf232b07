use crate::gateway::{Gateway, Identification, clock};
use crate::identity::revocation::Revocations;
use crate::metrics::{Observed, RedisObserved, RevocationsObserved};
use crate::redis::{Redis, RedisState};

/// Reads what is counted elsewhere, for one scrape.
pub(super) fn observe(gateway: &Gateway) -> Observed {
    let lasting = &gateway.lasting;
    let snapshot = gateway.snapshot();
    let usage = lasting.ledger.as_ref().map(|ledger| ledger.status());
    let cached_tokens = match snapshot.identification() {
        Identification::Tokens(identifier) => identifier.cached_tokens() as u64,
        Identification::Given(_) => 0,
    };
    let pools = lasting.pools.all();
    let servers = pools.values().flat_map(|pool| {
        pool.servers().into_iter().map(|(server, known)| (pool.name().clone(), server.authority.clone(), known))
    });
    let rings = lasting.keys.status();
    Observed {
        introspections: rings.iter().map(|ring| (ring.name.clone(), ring.asked)).collect(),
        issuers: rings
            .into_iter()
            .map(|ring| (ring.name, ring.refreshes_ok, ring.refreshes_failed, ring.fetched_at.unwrap_or(0), ring.keys as u64))
            .collect(),
        cached_tokens,
        throttle_keys: lasting.throttling.keys() as u64,
        throttle_overflows: lasting.throttling.overflowed(),
        usage_pending: usage.as_ref().map_or(0, |usage| usage.pending.lines),
        usage_written: usage.as_ref().map_or(0, |usage| usage.committed.lines),
        usage_dropped: usage.as_ref().map_or(0, |usage| usage.unbilled.lines),
        usage_last_success: usage.as_ref().and_then(|usage| usage.last_commit_ms).map_or(0.0, |ms| ms as f64 / 1e3),
        access_log_dropped: lasting.access_log.dropped(),
        spans: lasting.spans.as_ref().map_or([0; 3], |spans| spans.counts()),
        servers: servers.collect(),
        redis: redis(&lasting.redis),
        revocations: revocations(&lasting.revocations),
        upstreams: super::upstreams::observe(gateway),
    }
}

fn revocations(revocations: &Revocations) -> RevocationsObserved {
    RevocationsObserved {
        entries: revocations.set().len() as u64,
        revocations: revocations
            .counts()
            .into_iter()
            .map(|(source, kind, count)| (source.label(), kind.label(), count))
            .collect(),
        feed: revocations.status(clock::now()).and_then(|status| status.feed).map(|feed| {
            let state = u64::from(feed.has_begun && !feed.is_stale);
            (state, feed.age.as_secs_f64(), feed.received, feed.sent)
        }),
        events: revocations.inbox.counts().map(|(outcome, count)| (outcome.label(), count)).collect(),
    }
}

fn redis(redis: &Redis) -> RedisObserved {
    let status = redis.status();
    let answered = status.commands.saturating_sub(status.failures);
    RedisObserved { is_up: status.state == RedisState::Up, commands: [answered, status.failures] }
}
