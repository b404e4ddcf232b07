//! Who is connected: how many in all, and how many from one address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Enough that two accepting threads seldom meet.
const SHARDS: usize = 64;

/// Counts of open connections. Holds an entry for each address that is connected and none for others, so it is bounded by the limit on
/// connections.
#[derive(Debug)]
pub(super) struct Census {
    total: AtomicUsize,
    shards: Box<[Mutex<HashMap<IpAddr, usize>>]>,
    /// Keyed by a secret of this process, so that nobody can choose addresses that meet in one shard.
    hasher: RandomState,
}

/// One connection among all; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Census>);

/// One connection of an address; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    census: Arc<Census>,
    block: IpAddr,
}

impl Census {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { total: AtomicUsize::new(0), shards, hasher: RandomState::new() }
    }

    /// Open connections.
    pub(super) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Lets one more in, if fewer than `max` are.
    pub(super) fn seat(self: &Arc<Self>, max: usize) -> Option<Seat> {
        let taken = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| (total < max).then_some(total + 1));
        taken.ok().map(|_| Seat(Arc::clone(self)))
    }

    /// Lets one more of an address in, if fewer than `max` of it are.
    pub(super) fn place(self: &Arc<Self>, ip: IpAddr, max: usize) -> Option<Place> {
        let block = block(ip);
        let mut shard = self.shard(block)?.lock();
        let count = shard.get(&block).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        shard.insert(block, count + 1);
        Some(Place { census: Arc::clone(self), block })
    }

    fn shard(&self, block: IpAddr) -> Option<&Mutex<HashMap<IpAddr, usize>>> {
        let hash = usize::try_from(self.hasher.hash_one(block) >> 32).unwrap_or(0);
        self.shards.get(hash % SHARDS)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.total.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(mut shard) = self.census.shard(self.block).map(Mutex::lock) else { return };
        match shard.get_mut(&self.block) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                shard.remove(&self.block);
                // A flood leaves a large table behind.
                if shard.len() < shard.capacity() / 8 {
                    let room = shard.len() * 2;
                    shard.shrink_to(room);
                }
            }
        }
    }
}

/// Whose limit an address counts for: itself, or for IPv6 its /64, which is what one customer of a provider gets at least.
pub(super) fn block(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn seats_are_given_back() {
        let census = Arc::new(Census::new());
        let seats: Vec<_> = (0..3).map(|_| census.seat(3).unwrap()).collect();
        assert!(census.seat(3).is_none());
        drop(seats);
        assert_eq!(census.total(), 0);
        assert!(census.seat(3).is_some());
    }

    #[test]
    fn addresses_have_places_of_their_own_and_ipv6_shares_them_by_64_bits() {
        let census = Arc::new(Census::new());
        let first = census.place(ip("192.0.2.1"), 1).unwrap();
        assert!(census.place(ip("192.0.2.1"), 1).is_none());
        assert!(census.place(ip("::ffff:192.0.2.1"), 1).is_none(), "the same address in IPv6's clothes");
        let _other = census.place(ip("192.0.2.2"), 1).unwrap();
        drop(first);
        assert!(census.place(ip("192.0.2.1"), 1).is_some());

        let _v6 = census.place(ip("2001:db8::1"), 1).unwrap();
        assert!(census.place(ip("2001:db8::ffff:2"), 1).is_none(), "the same /64");
        assert!(census.place(ip("2001:db8:0:1::1"), 1).is_some(), "another /64");
    }

    #[test]
    fn nothing_is_remembered_of_who_left() {
        let census = Arc::new(Census::new());
        for round in 0..3_u32 {
            let places: Vec<_> =
                (0..10_000_u32).map(|n| census.place(IpAddr::from((round * 10_000 + n).to_be_bytes()), 1).unwrap()).collect();
            drop(places);
        }
        assert!(census.shards.iter().all(|shard| shard.lock().is_empty()));
        assert!(census.shards.iter().map(|shard| shard.lock().capacity()).sum::<usize>() < 1_000);
    }
}
