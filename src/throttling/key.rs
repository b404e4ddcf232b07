use std::hash::{BuildHasher, Hasher, RandomState};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::model::Draw;

/// Which bucket a draw is for: 128 bits of a keyed hash, so that no two principals share one, whatever is in their claims, and
/// nobody can choose claims that meet in one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    low: u64,
    high: u64,
}

impl Key {
    /// For the table of a shard.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.high) << 64) | u128::from(self.low)).to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        // Cut to the two halves on purpose.
        Self { low: both as u64, high: (both >> 64) as u64 }
    }

    pub(super) fn hash(self) -> u64 {
        self.low
    }

    /// One of `count` shards.
    pub(super) fn shard(self, count: usize) -> usize {
        usize::try_from(self.high >> 32).unwrap_or(0) % count
    }

    /// Where this key's slots begin.
    pub(super) fn phase(self) -> u32 {
        (self.high & 0xffff_ffff) as u32
    }
}

/// Makes keys with a secret of this process.
pub(super) struct Keys {
    sip: SipHasher13,
    secret: [u64; 2],
}

impl Keys {
    pub(super) fn new() -> Self {
        // The standard library's hasher is keyed from the system's random numbers; a crate for 16 bytes is not needed.
        let half = || RandomState::new().hash_one(0_u8);
        Self::of(half(), half())
    }

    pub(super) fn of(first: u64, second: u64) -> Self {
        Self { sip: SipHasher13::new_with_keys(first, second), secret: [first, second] }
    }

    pub(super) fn secret(&self) -> [u64; 2] {
        self.secret
    }

    /// The draw's own bucket. The limit and the burst are not in it: when a plan changes, the calls so far still count.
    pub(super) fn own(&self, draw: &Draw, per: u64) -> Key {
        self.key(draw, per, draw.key.as_deref().map_or((Owner::Everybody, ""), |key| (Owner::One, key)))
    }

    /// The bucket that the rule's new keys share when there is no room for their own.
    pub(super) fn overflow(&self, draw: &Draw, per: u64) -> Key {
        self.key(draw, per, (Owner::Overflow, ""))
    }

    fn key(&self, draw: &Draw, per: u64, (owner, text): (Owner, &str)) -> Key {
        let mut sip = self.sip;
        // Lengths first, so that no text can run into the next.
        sip.write_u64(draw.rule.len() as u64);
        sip.write_u64((text.len() as u64) << 3 | u64::from(draw.burst.is_some()) << 2 | owner as u64);
        sip.write_u64(per);
        sip.write(draw.rule.as_bytes());
        sip.write(text.as_bytes());
        let hash = sip.finish128();
        Key { low: hash.h1, high: hash.h2 }
    }
}

#[derive(Clone, Copy)]
enum Owner {
    Everybody = 0,
    One = 1,
    Overflow = 2,
}
