use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::time::Duration;

use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

use super::binding::Thumbprint;
use super::dpop::WINDOW;

/// Locks, so that requests that prove something at the same time seldom wait for each other.
const SHARDS: usize = 64;

/// Proofs that one shard remembers of one span: seven eighths of 2^15, the fullest that the table is without growing. With nine bytes
/// for each place of the table that makes 38 MB for all shards and both spans, and 1.8 million proofs in two minutes.
const MOST: usize = (1 << 15) / 8 * 7;

/// A proof that was good once is fresh for at most this much longer: made a minute ahead of us, and a minute old at last.
const SPAN: Duration = WINDOW.saturating_mul(2).saturating_add(Duration::from_secs(1));

/// The DPoP proofs that were used, so that none is good twice (RFC 9449 11.1). One for the process: it outlives reloads, and knows
/// nothing of what another gateway saw.
///
/// Only what is right in every other respect gets here, so the memory is filled by those who have a bound token, and by nobody else.
pub(in crate::identity) struct Proofs {
    shards: Box<[Mutex<Shard>]>,
    /// Secret keys: nobody can choose proofs that take the place of another's, or that all fall into one shard. 64 bits, because the
    /// price of a coincidence (one in 10^13) is one refused request.
    hasher: SipHasher13,
}

/// Whether a proof may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum FirstUse {
    /// It was not used before.
    Yes,
    /// It was.
    No,
    /// Nobody can say any more: too many were used within two minutes.
    Full,
}

#[derive(Default)]
struct Shard {
    /// Since when `current` is written; what is older than a span is in `previous`, what is older than two is gone.
    began: Duration,
    current: Names,
    previous: Names,
}

/// Hashed already.
type Names = HashSet<u64, BuildHasherDefault<Itself>>;

#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl Default for Proofs {
    fn default() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: SipHasher13::new_with_keys(random(), random()) }
    }
}

impl Proofs {
    /// Notes that the proof called `name`, made with the key of this thumbprint, is used at `now` on the steady clock.
    pub(in crate::identity) fn first_use(&self, key: &Thumbprint, name: &str, now: Duration) -> FirstUse {
        let mut hasher = self.hasher;
        hasher.write(key);
        hasher.write(name.as_bytes());
        let hash = hasher.finish();
        // The lower bits choose the shard, the table looks at the others.
        let place = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        match self.shards.get(place) {
            Some(shard) => shard.lock().note(hash, now),
            None => FirstUse::Full,
        }
    }
}

impl Shard {
    fn note(&mut self, name: u64, now: Duration) -> FirstUse {
        let age = now.saturating_sub(self.began);
        if age > SPAN {
            self.previous = std::mem::take(&mut self.current);
            if age > SPAN * 2 {
                self.previous = Names::default();
            }
            self.began = now;
        }
        if self.current.contains(&name) || self.previous.contains(&name) {
            return FirstUse::No;
        }
        if self.current.len() >= MOST {
            return FirstUse::Full;
        }
        self.current.insert(name);
        FirstUse::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Thumbprint = [7; 32];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rfc9449_11_1_a_proof_is_used_once_as_long_as_it_could_be_fresh() {
        let proofs = Proofs::default();
        assert_eq!(proofs.first_use(&KEY, "a", at(1000)), FirstUse::Yes);
        for later in [1000, 1060, 1119, 1120] {
            assert_eq!(proofs.first_use(&KEY, "a", at(later)), FirstUse::No, "{later}");
        }
        assert_eq!(proofs.first_use(&KEY, "b", at(1120)), FirstUse::Yes);
        assert_eq!(proofs.first_use(&[8; 32], "a", at(1120)), FirstUse::Yes, "another key's");
        assert_eq!(proofs.first_use(&KEY, "b", at(1240)), FirstUse::No, "the next span still knows what the last one saw");
    }

    #[test]
    fn what_is_forgotten_was_stale_before() {
        let mut shard = Shard::default();
        for round in 1..20_u64 {
            assert_eq!(shard.note(round, at(round * 50)), FirstUse::Yes);
            for earlier in 1..round {
                if (round - earlier) * 50 <= 120 {
                    assert_eq!(shard.note(earlier, at(round * 50)), FirstUse::No, "{earlier} at {round}");
                }
            }
        }
        assert!(shard.current.len() + shard.previous.len() < 12);
    }

    #[test]
    fn a_full_memory_refuses_and_does_not_forget() {
        let mut shard = Shard::default();
        for name in 0..MOST as u64 {
            assert_eq!(shard.note(name, at(1)), FirstUse::Yes);
        }
        assert_eq!(shard.current.capacity(), MOST, "the table has grown past what is promised");
        assert_eq!(shard.note(u64::MAX, at(1)), FirstUse::Full);
        assert_eq!(shard.note(0, at(1)), FirstUse::No);
        assert_eq!(shard.note(u64::MAX, at(200)), FirstUse::Yes);
    }
}
