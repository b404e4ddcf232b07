use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::model::{Draw, Moment, Name, Throttled};

use super::bucket::{Bucket, Left, MAX_SPAN, span};
use super::heritage::{self, Heritage};
use super::key::{Key, Keys};
use super::shard::Shard;

/// Enough that two requests seldom meet, and that a table that grows stops few of them for long.
const SHARDS: usize = 256;
/// Buckets that one call of [`Throttling::evict`] looks at in each shard.
const EVICT_PER_SHARD: usize = 1024;
/// Buckets that a request looks at to make room for its own.
const EVICT_FOR_ROOM: usize = 16;
/// Overflow buckets beyond the cap on keys: one per rule and span.
const MAX_OVERFLOW: usize = 1024;

/// The limits of all keys. Shared by all requests; outlives reloads.
pub struct Throttling {
    keys: Keys,
    shards: Box<[Mutex<Shard>]>,
    /// For the keys that found no room. Locked after any shard.
    overflow: Mutex<Shard>,
    /// Added to the steady clock, so that it goes on where a predecessor's was; wraps.
    clock_offset: u64,
    max_keys: AtomicUsize,
    key_count: AtomicUsize,
    overflow_count: AtomicUsize,
    overflowed: AtomicU64,
}

/// Proof that every limit of a request had room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    tightest: Option<Standing>,
}

impl Admission {
    /// The limit with the fewest calls left, for the rate-limit headers; `None` if the request had no limit.
    pub fn tightest(&self) -> Option<Standing> {
        self.tightest.clone()
    }
}

/// How a key stands with one limit after a draw from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The rule that set the limit.
    pub rule: Name,
    /// At most this many …
    pub limit: u64,
    /// … in any span of this length.
    pub per: Duration,
    /// Calls that would be admitted now.
    pub remaining: u64,
    /// Until `remaining` grows, if nobody draws in between.
    pub reset: Duration,
}

impl Throttling {
    /// Room for `max_keys` keys.
    pub fn new(max_keys: usize) -> Self {
        Self::with(max_keys, Keys::new(), 0)
    }

    /// Goes on where a predecessor is; its buckets follow by [`Self::take_over`]. `now` is when the heritage arrived.
    pub fn succeeding(max_keys: usize, heritage: Heritage, now: Moment) -> Self {
        let [first, second] = heritage.secret;
        Self::with(max_keys, Keys::of(first, second), heritage.clock.wrapping_sub(now.steady_nanos()))
    }

    fn with(max_keys: usize, keys: Keys, clock_offset: u64) -> Self {
        Self {
            keys,
            clock_offset,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            overflow: Mutex::default(),
            max_keys: AtomicUsize::new(max_keys),
            key_count: AtomicUsize::new(0),
            overflow_count: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    /// Draws one call from every limit, or from none: a refused request consumes nothing. If several limits refuse, the one
    /// with the longest wait is reported, because no earlier retry can succeed.
    pub fn admit(&self, draws: &[Draw], now: Moment) -> Result<Admission, Throttled> {
        let now = self.instant(now);
        if let [draw] = draws
            && let Some(result) = self.admit_known(draw, now)
        {
            return result;
        }
        self.admit_all(draws, now)
    }

    fn instant(&self, now: Moment) -> u64 {
        now.steady_nanos().wrapping_add(self.clock_offset).min(MAX_SPAN)
    }

    /// What a successor needs first.
    pub fn heritage(&self, now: Moment) -> Heritage {
        Heritage { secret: self.keys.secret(), clock: self.instant(now) }
    }

    /// Every bucket that has not run out, 48 bytes each; those that are shared for want of room come last.
    pub fn leave(&self, now: Moment) -> Vec<u8> {
        let now = self.instant(now);
        let mut bytes = Vec::with_capacity(self.keys() * heritage::BUCKET_BYTES);
        for (shard, is_shared) in self.shards.iter().map(|shard| (shard, false)).chain([(&self.overflow, true)]) {
            let shard = shard.lock();
            for (key, bucket) in shard.buckets().filter(|(_, bucket)| !bucket.is_spent(now)) {
                heritage::write(key, bucket, is_shared, &mut bytes);
            }
        }
        bytes
    }

    /// Takes what a predecessor left; only with its secret and its clock does it mean anything. Answers how many buckets it was.
    ///
    /// A bucket for which there is no room in the table goes to nobody: that happens only if `max_keys` was made smaller.
    pub fn take_over(&self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for (key, bucket, is_shared) in bytes.chunks_exact(heritage::BUCKET_BYTES).filter_map(heritage::read) {
            let home = if is_shared { Some(&self.overflow) } else { self.shards.get(key.shard(SHARDS)) };
            let Some(home) = home else { continue };
            let has_room = || match is_shared {
                true => reserve(&self.overflow_count, MAX_OVERFLOW),
                false => reserve(&self.key_count, self.max_keys.load(Ordering::Relaxed)),
            };
            let mut home = home.lock();
            // Drawn from already: the newer one counts.
            if home.find(key).is_none() && has_room() {
                home.insert(key, bucket);
                taken += 1;
            }
        }
        taken
    }

    /// Keys that have a bucket.
    pub fn keys(&self) -> usize {
        self.key_count.load(Ordering::Relaxed)
    }

    /// Draws that used a shared bucket because there was no room for their own.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Forgets buckets that have run out, a bounded number per call. Nothing else is ever forgotten, so no flood of new keys
    /// can give an offender a fresh start.
    pub fn evict(&self, now: Moment) {
        let now = self.instant(now);
        for shard in &self.shards {
            let gone = shard.lock().evict(now, EVICT_PER_SHARD);
            self.key_count.fetch_sub(gone, Ordering::Relaxed);
        }
        let gone = self.overflow.lock().evict(now, EVICT_PER_SHARD);
        self.overflow_count.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Changes the cap for new keys; those that are there stay until they have run out.
    pub fn set_max_keys(&self, max_keys: usize) {
        self.max_keys.store(max_keys, Ordering::Relaxed);
    }

    /// The usual case in one lock and no allocation: one limit, and its key is known.
    fn admit_known(&self, draw: &Draw, now: u64) -> Option<Result<Admission, Throttled>> {
        let key = self.keys.own(draw, span(draw));
        let mut shard = self.shards.get(key.shard(SHARDS))?.lock();
        let bucket = shard.find(key)?;
        Some(match bucket.draw(draw, now, key.phase()) {
            Ok((drawn, left)) => {
                *bucket = drawn;
                Ok(Admission { tightest: Some(standing(draw, left)) })
            }
            Err(wait) => Err(throttled(draw, wait)),
        })
    }

    fn admit_all(&self, draws: &[Draw], now: u64) -> Result<Admission, Throttled> {
        let keys: Vec<Key> = draws.iter().map(|draw| self.keys.own(draw, span(draw))).collect();
        let mut held = Held::lock(self, &keys);
        let mut claims: Vec<Claim> = Vec::with_capacity(draws.len());
        let mut tightest: Option<(&Draw, Left)> = None;
        let mut refusal: Option<(&Draw, u64)> = None;
        for (draw, key) in draws.iter().zip(&keys) {
            let Some(claim) = held.claim(draw, *key, &claims, now) else {
                refusal = later(refusal, (draw, span(draw)));
                continue;
            };
            match claim.bucket.draw(draw, now, claim.key.phase()) {
                Ok((bucket, left)) => {
                    claims.push(Claim { bucket, ..claim });
                    if tightest.is_none_or(|(_, least)| left.remaining < least.remaining) {
                        tightest = Some((draw, left));
                    }
                }
                Err(wait) => {
                    held.release(&claim);
                    refusal = later(refusal, (draw, wait));
                }
            }
        }
        if let Some((draw, wait)) = refusal {
            claims.iter().for_each(|claim| held.release(claim));
            return Err(throttled(draw, wait));
        }
        claims.into_iter().for_each(|claim| held.keep(claim));
        Ok(Admission { tightest: tightest.map(|(draw, left)| standing(draw, left)) })
    }
}

/// A bucket as a request would leave it.
#[derive(Clone, Copy)]
struct Claim {
    key: Key,
    bucket: Bucket,
    home: Home,
    is_new: bool,
}

/// Which table a bucket is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    Shard,
    Overflow,
}

/// Every shard that a request needs, locked in the order of their numbers and the overflow last, so that no two requests wait
/// for each other.
struct Held<'a> {
    throttling: &'a Throttling,
    shards: Vec<(usize, MutexGuard<'a, Shard>)>,
    overflow: Option<MutexGuard<'a, Shard>>,
}

impl<'a> Held<'a> {
    fn lock(throttling: &'a Throttling, keys: &[Key]) -> Self {
        let mut numbers: Vec<usize> = keys.iter().map(|key| key.shard(SHARDS)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let shards = numbers.into_iter().filter_map(|number| Some((number, throttling.shards.get(number)?.lock()))).collect();
        Self { throttling, shards, overflow: None }
    }

    fn shard(&mut self, key: Key) -> Option<&mut Shard> {
        let at = self.shards.binary_search_by_key(&key.shard(SHARDS), |(number, _)| *number).ok()?;
        self.shards.get_mut(at).map(|(_, shard)| &mut **shard)
    }

    fn overflow(&mut self) -> &mut Shard {
        let throttling = self.throttling;
        self.overflow.get_or_insert_with(|| throttling.overflow.lock())
    }

    /// The bucket to draw from: the key's own, else a new one, else the one that the rule's new keys share. `None` if there is
    /// no room even for that one.
    fn claim(&mut self, draw: &Draw, key: Key, earlier: &[Claim], now: u64) -> Option<Claim> {
        let twice = |key: Key| earlier.iter().rev().find(|claim| claim.key == key).map(|claim| Claim { is_new: false, ..*claim });
        if let Some(claim) = twice(key) {
            return Some(claim);
        }
        let known = |key, bucket: &Bucket, home| Claim { key, bucket: *bucket, home, is_new: false };
        if let Some(bucket) = self.shard(key)?.find(key) {
            return Some(known(key, bucket, Home::Shard));
        }
        let throttling = self.throttling;
        let has_room = reserve(&throttling.key_count, throttling.max_keys.load(Ordering::Relaxed)) || {
            let gone = self.shard(key)?.evict(now, EVICT_FOR_ROOM);
            throttling.key_count.fetch_sub(gone, Ordering::Relaxed);
            gone > 0 && reserve(&throttling.key_count, throttling.max_keys.load(Ordering::Relaxed))
        };
        if has_room {
            return Some(Claim { key, bucket: Bucket::new(draw), home: Home::Shard, is_new: true });
        }
        throttling.overflowed.fetch_add(1, Ordering::Relaxed);
        let key = throttling.keys.overflow(draw, span(draw));
        if let Some(claim) = twice(key) {
            return Some(claim);
        }
        if let Some(bucket) = self.overflow().find(key) {
            return Some(known(key, bucket, Home::Overflow));
        }
        reserve(&throttling.overflow_count, MAX_OVERFLOW).then(|| Claim {
            key,
            bucket: Bucket::new(draw),
            home: Home::Overflow,
            is_new: true,
        })
    }

    /// Gives back the room of a claim that is not kept.
    fn release(&self, claim: &Claim) {
        if claim.is_new {
            self.count(claim).fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn count(&self, claim: &Claim) -> &'a AtomicUsize {
        match claim.home {
            Home::Shard => &self.throttling.key_count,
            Home::Overflow => &self.throttling.overflow_count,
        }
    }

    fn keep(&mut self, claim: Claim) {
        let shard = match claim.home {
            Home::Shard => self.shard(claim.key),
            Home::Overflow => Some(self.overflow()),
        };
        let Some(shard) = shard else { return };
        match shard.find(claim.key) {
            Some(bucket) => *bucket = claim.bucket,
            None => {
                shard.insert(claim.key, claim.bucket);
                if !claim.is_new {
                    // It had run out, and a later limit of this very request took its room.
                    self.count(&claim).fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn reserve(count: &AtomicUsize, max: usize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1)).is_ok()
}

fn later<'a>(refusal: Option<(&'a Draw, u64)>, other: (&'a Draw, u64)) -> Option<(&'a Draw, u64)> {
    Some(refusal.filter(|(_, wait)| *wait >= other.1).unwrap_or(other))
}

fn standing(draw: &Draw, left: Left) -> Standing {
    let Draw { rule, limit, per, .. } = draw;
    Standing { rule: rule.clone(), limit: *limit, per: *per, remaining: left.remaining, reset: Duration::from_nanos(left.reset) }
}

fn throttled(draw: &Draw, wait: u64) -> Throttled {
    Throttled { rule: draw.rule.clone(), limit: draw.limit, per: draw.per, retry_after: Duration::from_nanos(wait) }
}

#[cfg(test)]
mod tests;
