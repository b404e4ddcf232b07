use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use reqwest::{Client, Url};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::RingStatus;
use super::fetch::{self, Fetched};
use super::inquiry::Asked;
use crate::identity::keys::KeySet;
use crate::identity::seen::Trust;
use crate::model::settings::Issuer;
use crate::model::{Moment, Name};

/// Between two fetches that the issuer asks for; also the time for all its nodes to know the new key.
const BETWEEN_NEWS: Duration = Duration::from_millis(200);

/// The keys of one issuer: read by requests, written by the one task that fetches.
pub(in crate::identity) struct KeyRing {
    name: Name,
    issuer: ArcSwap<Issuer>,
    keys: ArcSwapOption<KeySet>,
    /// Shared with what the keys vouched for.
    pub(in crate::identity) trust: Arc<Trust>,
    /// Fetches that have ended, well or badly: whoever waits for one waits for the next number.
    ended: watch::Sender<u64>,
    /// A request asks for a fetch, or the settings changed.
    nudge: Notify,
    diary: Mutex<Diary>,
    /// How often it was asked about tokens.
    pub(super) asked: Arc<Asked>,
}

/// What happened so far. Locked for a few instructions at a time, and never on the path of a known key.
#[derive(Default)]
struct Diary {
    under_way: bool,
    /// The issuer itself says that its keys changed.
    changed: bool,
    /// The number of the fetch that some request waits for.
    wanted: Option<u64>,
    /// Steady time at which the last fetch ended.
    ended_at: Option<Duration>,
    /// Steady time and unix seconds of the last good one.
    good_at: Option<(Duration, u64)>,
    /// Steady time of the first failure in a row, and how many there are.
    failing: Option<(Duration, u32)>,
    last_error: Option<String>,
    warnings: Vec<String>,
    /// Where the keys were found the last time.
    location: Option<Url>,
    ok: u64,
    failed: u64,
}

impl KeyRing {
    pub(super) fn new(issuer: &Issuer) -> Self {
        Self {
            name: issuer.name.clone(),
            issuer: ArcSwap::from_pointee(issuer.clone()),
            keys: ArcSwapOption::empty(),
            trust: Arc::default(),
            ended: watch::Sender::new(0),
            nudge: Notify::new(),
            diary: Mutex::default(),
            asked: Arc::default(),
        }
    }

    /// The issuer's new settings.
    pub(super) fn adopt(&self, issuer: &Issuer) {
        self.issuer.store(Arc::new(issuer.clone()));
        let diary = self.diary.lock();
        self.renew_trust(&diary);
        self.nudge.notify_one();
    }

    /// The keys, if there are any that may still be used.
    pub(in crate::identity) fn keys(&self, now: Moment) -> Option<Arc<KeySet>> {
        self.keys.load_full().filter(|_| self.trust.lasts(now))
    }

    /// Waits for the fetch that is under way, or for one that begins now if the cooldown is over; at most as long as one document may
    /// take. Whoever comes back has to look again: this says nothing about success.
    pub(in crate::identity) async fn renewed(&self, now: Moment) {
        let issuer = self.issuer.load_full();
        let mut ended = {
            let mut diary = self.diary.lock();
            let ended = self.ended.subscribe();
            if !diary.under_way {
                // By time alone: whether the last one was good or brought nothing makes no difference, or a flood would get through.
                let is_cooling = diary.ended_at.is_some_and(|at| now.steady().saturating_sub(at) < issuer.cooldown);
                if is_cooling {
                    return;
                }
                diary.wanted = Some(*ended.borrow() + 1);
                self.nudge.notify_one();
            }
            ended
        };
        let _ = timeout(issuer.timeout, ended.changed()).await;
    }

    /// Fetches again at once, and not because a request asks: the cooldown is there for those who may ask for anything.
    pub(in crate::identity) fn renew(&self) {
        self.diary.lock().changed = true;
        self.nudge.notify_one();
    }

    /// Fetches for ever: at once, when due, and when asked.
    pub(super) async fn tend(self: Arc<Self>, client: Client, clock: fn() -> Moment) {
        let mut is_due = true;
        loop {
            let fetch = Fetch::begin(&self, clock);
            let issuer = self.issuer.load_full();
            // A request that waits gets the short way: no discovery when the place is known.
            let known = self.diary.lock().location.clone().filter(|_| !is_due);
            let result = fetch::keys(&client, &issuer, known, self.keys.load_full().as_deref()).await;
            self.record(result, clock());
            drop(fetch);
            is_due = self.next(clock).await;
        }
    }

    /// Returns when there is reason to fetch again: true if it is due, false if a request asks.
    async fn next(&self, clock: fn() -> Moment) -> bool {
        loop {
            let until_due = self.until_due(clock());
            // What was fetched while the news came may be what was before it.
            if std::mem::take(&mut self.diary.lock().changed) {
                sleep(BETWEEN_NEWS).await;
                return true;
            }
            tokio::select! {
                () = sleep(until_due) => return true,
                () = self.nudge.notified() => {
                    // Two requests may ask for the same fetch, the second when it is over already.
                    if self.diary.lock().wanted == Some(*self.ended.borrow() + 1) {
                        return false;
                    }
                }
            }
        }
    }

    fn until_due(&self, now: Moment) -> Duration {
        let diary = self.diary.lock();
        let Some(ended_at) = diary.ended_at else { return Duration::ZERO };
        let pause = match diary.failing {
            Some((since, times)) => retry_after(now.steady().saturating_sub(since), times),
            None => self.issuer.load().refresh.max(Duration::from_millis(10)),
        };
        (ended_at + pause).saturating_sub(now.steady())
    }

    fn record(&self, result: Result<Fetched, String>, now: Moment) {
        let mut diary = self.diary.lock();
        match result {
            Ok(fetched) => {
                if let Some(error) = diary.last_error.take() {
                    tracing::info!(issuer = %self.name, keys = fetched.keys.len(), "keys fetched again after: {error}");
                }
                if fetched.warnings != diary.warnings {
                    fetched.warnings.iter().for_each(|warning| tracing::warn!(issuer = %self.name, "{warning}"));
                }
                let keys = Arc::new(fetched.keys);
                if let Some(old) = self.keys.swap(Some(Arc::clone(&keys))) {
                    old.withdraw_missing(&keys);
                }
                diary.good_at = Some((now.steady(), now.unix_seconds()));
                diary.failing = None;
                diary.warnings = fetched.warnings;
                diary.location = Some(fetched.location);
                diary.ok += 1;
                self.renew_trust(&diary);
            }
            Err(error) => {
                if diary.last_error.as_ref() != Some(&error) {
                    tracing::warn!(issuer = %self.name, "keys not fetched: {error}");
                }
                let (since, times) = diary.failing.unwrap_or((now.steady(), 0));
                diary.failing = Some((since, times.saturating_add(1)));
                diary.last_error = Some(error);
                diary.location = None;
                diary.failed += 1;
            }
        }
    }

    /// Keys are due for renewal after `refresh`; from then on `max_stale` runs.
    fn renew_trust(&self, diary: &Diary) {
        if let Some((good_at, _)) = diary.good_at {
            let issuer = self.issuer.load();
            self.trust.extend(good_at.saturating_add(issuer.refresh).saturating_add(issuer.max_stale));
        }
    }

    pub(super) fn is_ready(&self, now: Moment) -> bool {
        self.keys(now).is_some() || !self.issuer.load().hmac_secrets.is_empty()
    }

    pub(super) fn status(&self, now: Moment) -> RingStatus {
        let diary = self.diary.lock();
        let keys = self.keys(now);
        RingStatus {
            name: self.name.clone(),
            keys: keys.as_ref().map_or(0, |keys| keys.len()),
            fetched_at: diary.good_at.map(|(_, unix)| unix),
            last_error: diary.last_error.clone(),
            warnings: diary.warnings.clone(),
            skipped: keys.as_ref().map_or_else(Vec::new, |keys| keys.skipped.clone()),
            refreshes_ok: diary.ok,
            refreshes_failed: diary.failed,
            stale: diary.failing.is_some() && keys.is_some(),
            asked: self.asked.counts(),
            ready: self.is_ready(now),
        }
    }
}

/// A fetch under way. Dropped when it ends, also when it is cancelled, so that nobody waits for one that never comes.
struct Fetch<'a> {
    ring: &'a KeyRing,
    clock: fn() -> Moment,
}

impl<'a> Fetch<'a> {
    fn begin(ring: &'a KeyRing, clock: fn() -> Moment) -> Self {
        ring.diary.lock().under_way = true;
        Self { ring, clock }
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        let mut diary = self.ring.diary.lock();
        diary.under_way = false;
        diary.wanted = None;
        diary.ended_at = Some((self.clock)().steady());
        self.ring.ended.send_modify(|ended| *ended += 1);
    }
}

/// How long to wait after the last of `times` failures in a row. At most 5 s in the first minute, since most issuers that are down are
/// restarting; then doubling to 30 s, so that one which is down for long is left in peace.
fn retry_after(failing_for: Duration, times: u32) -> Duration {
    let doubled = Duration::from_secs(1 << times.saturating_sub(1).min(5));
    let longest = if failing_for < Duration::from_secs(60) { 5 } else { 30 };
    doubled.min(Duration::from_secs(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b6_retries_are_quick_in_the_first_minute_and_then_every_half_minute() {
        let mut at = Duration::ZERO;
        let mut pauses = Vec::new();
        for times in 1..20 {
            let pause = retry_after(at, times);
            pauses.push(pause.as_secs());
            at += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 30, 30, 30, 30, 30]);
        assert_eq!(retry_after(Duration::MAX, u32::MAX), Duration::from_secs(30));
    }
}
