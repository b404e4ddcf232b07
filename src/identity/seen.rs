use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::credentials::Binding;
use super::keys::Key;
use crate::model::{Identity, Moment};

/// What an entry weighs at least; the limit of the cache is so many times its number of tokens. One bound for both: never more tokens
/// than configured, and never more bytes than this for each.
const BYTES_PER_TOKEN: u64 = 4096;

/// The tokens that were verified, so that a client's second request costs no signature.
///
/// Only good tokens are in it, so it can be filled only by those who have many. An entry answers for its exact text, for as long as the
/// token is valid, the key is published, and the issuer's keys are fresh enough to be trusted.
#[derive(Debug)]
pub(super) struct Seen {
    tokens: Cache<u64, Arc<Entry>, Weight, ahash::RandomState>,
    /// With a secret key nobody can choose texts that meet in one place. SHA-256 of a 1 KiB token alone takes longer (0.8 µs) than the
    /// whole look-up may, SipHash 0.27 µs; the text is compared as well, so nothing rests on the hash.
    hashing: ahash::RandomState,
}

/// A verified token and what its worth depends on.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) token: Box<str>,
    pub(super) identity: Arc<Identity>,
    pub(super) voucher: Voucher,
    pub(super) binding: Binding,
    /// `exp` plus the skew, since 1970.
    pub(super) dies_at: Duration,
}

/// Who says that a signature is good.
#[derive(Clone, Debug)]
pub(super) struct Voucher {
    pub(super) key: Arc<Key>,
    /// `None` for a configured secret, which does not age.
    pub(super) trust: Option<Arc<Trust>>,
}

impl Voucher {
    fn is_good(&self, now: Moment) -> bool {
        !self.key.is_withdrawn() && self.trust.as_ref().is_none_or(|trust| trust.lasts(now))
    }
}

/// Until when the fetched keys of an issuer are used, whatever happens to the issuer.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// Steady milliseconds; 0 before the first fetch.
    until: AtomicU64,
}

impl Trust {
    pub(super) fn lasts(&self, now: Moment) -> bool {
        now.steady().as_millis() < u128::from(self.until.load(Ordering::Acquire))
    }

    pub(super) fn extend(&self, until: Duration) {
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<u64, Arc<Entry>> for Weight {
    fn weight(&self, _: &u64, entry: &Arc<Entry>) -> u64 {
        let headers: usize = entry.identity.forwarded.iter().map(|(_, value)| value.len()).sum();
        // The claims as a tree take a few times their text.
        let bytes = entry.token.len() * 5 + headers;
        (bytes as u64).max(BYTES_PER_TOKEN)
    }
}

impl Seen {
    /// Remembers at most so many tokens; 0 remembers none.
    pub(super) fn new(tokens: usize) -> Self {
        Self {
            // The first number is what room is made for at the start; the second is the bound.
            tokens: Cache::with(
                tokens.min(4_096),
                tokens as u64 * BYTES_PER_TOKEN,
                Weight,
                ahash::RandomState::new(),
                DefaultLifecycle::default(),
            ),
            hashing: ahash::RandomState::new(),
        }
    }

    /// What is known about this exact token, if it is still worth something.
    pub(super) fn recall(&self, token: &str, now: Moment) -> Option<Arc<Entry>> {
        let digest = self.hashing.hash_one(token);
        let entry = self.tokens.get(&digest)?;
        if now.unix() < entry.dies_at && entry.voucher.is_good(now) && *entry.token == *token {
            return Some(entry);
        }
        if now.unix() >= entry.dies_at || entry.voucher.key.is_withdrawn() {
            self.tokens.remove(&digest);
        }
        None
    }

    pub(super) fn remember(&self, entry: Arc<Entry>) {
        self.tokens.insert(self.hashing.hash_one(&*entry.token), entry);
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::verify::{Algorithm, VerificationKey};
    use crate::model::Claims;

    fn entry(token: &str) -> Arc<Entry> {
        let verification = VerificationKey::hmac(Algorithm::Hs256, &"s".repeat(32)).unwrap();
        let claims = Claims::default();
        Arc::new(Entry {
            token: token.into(),
            identity: Arc::new(Identity { issuer: "acme".into(), claims, expires_at: 100, account: None, forwarded: Vec::new() }),
            voucher: Voucher { key: Arc::new(Key::new(None, verification, Vec::new())), trust: None },
            binding: Binding::None,
            dies_at: Duration::from_secs(100),
        })
    }

    #[test]
    fn a23_two_tokens_that_meet_in_one_place_are_not_taken_for_each_other() {
        let (seen, now) = (Seen::new(10), Moment::new(Duration::from_secs(1), Duration::ZERO));
        seen.remember(entry("one"));
        assert!(seen.recall("one", now).is_some());
        seen.tokens.insert(seen.hashing.hash_one("two"), entry("one"));
        assert!(seen.recall("two", now).is_none());
    }

    #[test]
    fn large_tokens_take_the_place_of_several() {
        let (seen, now) = (Seen::new(20), Moment::new(Duration::from_secs(1), Duration::ZERO));
        let token = |number: usize| format!("{number:08000}");
        (0..20).for_each(|number| seen.remember(entry(&token(number))));
        assert_eq!((0..20).filter(|number| seen.recall(&token(*number), now).is_some()).count(), 2);
    }
}
