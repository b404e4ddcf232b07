use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table;
use parking_lot::RwLock;

use super::filter::Filter;
use super::mark::{is_anywhere, seconds};
use super::order::{Order, Record};
use crate::model::{Mark, Marks};

/// Locks over which entries are spread; writers hold one for a moment, readers share it.
const SHARDS: usize = 64;

/// What is revoked. Read by every request with a token.
///
/// With nothing in it a reader loads one atomic. A token that was looked up is looked up again only after something was added.
#[derive(Debug)]
pub struct Revoked {
    shards: [RwLock<HashTable<Entry>>; SHARDS],
    filter: Filter,
    /// Entries that were dropped since the filter was made afresh.
    dropped: AtomicUsize,
    /// Whether anybody has to look: there is an entry, or the set is blind.
    is_watching: AtomicBool,
    /// Grows with every entry that is added; begins with 1.
    generation: AtomicU64,
    len: AtomicUsize,
    /// Entries that name no tenant.
    anywhere: AtomicUsize,
    most: AtomicUsize,
    is_blind: AtomicBool,
}

/// 20 bytes, so that the tables of a million entries take 44 MB with the room that they need.
#[derive(Clone, Copy, Debug)]
struct Entry {
    mark: Mark,
    cutoff: u32,
}

/// What the set says about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known against it.
    Clear,
    /// It was taken back.
    Revoked,
    /// Nobody can say: revocations may be missing, and the operator wants none to be missed.
    Unknown,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is new, or reaches further than before.
    Yes,
    /// It was known.
    Known,
    /// There is no room.
    Full,
}

impl Default for Revoked {
    fn default() -> Self {
        Self::new(1_000_000)
    }
}

impl Revoked {
    /// Takes at most so many entries.
    pub fn new(most: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            filter: Filter::default(),
            dropped: AtomicUsize::new(0),
            is_watching: AtomicBool::new(false),
            generation: AtomicU64::new(1),
            len: AtomicUsize::new(0),
            anywhere: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            is_blind: AtomicBool::new(false),
        }
    }

    /// Whether a token may still be used.
    pub fn judge<'a>(&self, marks: impl FnOnce() -> &'a Marks) -> Standing {
        if !self.is_watching.load(Ordering::Acquire) {
            return Standing::Clear;
        }
        // Before looking: what is added while this looks makes another generation.
        let generation = self.generation.load(Ordering::Acquire);
        let marks = marks();
        if !marks.is_clear_in(generation) {
            if self.has(marks) {
                return Standing::Revoked;
            }
            marks.clear(generation);
        }
        if self.is_blind.load(Ordering::Acquire) { Standing::Unknown } else { Standing::Clear }
    }

    /// Whether one of the marks is revoked for a token of this age; always looks.
    pub fn has(&self, marks: &Marks) -> bool {
        let hits = |mark: &Mark| self.filter.may_have(*mark) && self.cutoff(*mark).is_some_and(|cutoff| marks.born <= cutoff);
        marks.of_tenant.iter().any(hits) || (self.anywhere.load(Ordering::Acquire) > 0 && marks.anywhere.iter().any(hits))
    }

    fn cutoff(&self, mark: Mark) -> Option<u32> {
        let hash = hash(mark);
        let shard = self.shard(hash)?.read();
        shard.find(hash, |entry| entry.mark == mark).map(|entry| entry.cutoff)
    }

    /// Adds an order, in memory only.
    pub fn apply(&self, order: &Order) -> Inserted {
        self.insert(&order.record())
    }

    /// Adds an entry, or lets one reach further; none ever reaches less far.
    pub(in crate::identity) fn insert(&self, record: &Record) -> Inserted {
        let hash = hash(record.mark);
        let Some(shard) = self.shard(hash) else { return Inserted::Full };
        let mut shard = shard.write();
        match shard.entry(hash, |entry| entry.mark == record.mark, |entry| self::hash(entry.mark)) {
            hash_table::Entry::Occupied(mut known) if known.get().cutoff < record.cutoff => {
                known.get_mut().cutoff = record.cutoff
            }
            hash_table::Entry::Occupied(_) => return Inserted::Known,
            hash_table::Entry::Vacant(_) if self.len.load(Ordering::Acquire) >= self.most.load(Ordering::Acquire) => {
                return Inserted::Full;
            }
            hash_table::Entry::Vacant(place) => {
                place.insert(Entry { mark: record.mark, cutoff: record.cutoff });
                self.len.fetch_add(1, Ordering::AcqRel);
                self.anywhere.fetch_add(usize::from(is_anywhere(record.mark)), Ordering::AcqRel);
            }
        }
        self.filter.add(record.mark);
        self.is_watching.store(true, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
        Inserted::Yes
    }

    /// Drops what was revoked before an instant: no token is that old any more.
    pub(in crate::identity) fn forget_before(&self, instant: Duration) {
        let oldest = seconds(instant.as_secs());
        for shard in &self.shards {
            // Most of the time there is nothing to drop, and readers go on meanwhile.
            if shard.read().iter().all(|entry| entry.cutoff >= oldest) {
                continue;
            }
            let (mut gone, mut anywhere) = (0, 0);
            let mut shard = shard.write();
            shard.retain(|entry| {
                let stays = entry.cutoff >= oldest;
                gone += usize::from(!stays);
                anywhere += usize::from(!stays && is_anywhere(entry.mark));
                stays
            });
            if shard.len() * 4 < shard.capacity() {
                shard.shrink_to_fit(|entry| hash(entry.mark));
            }
            drop(shard);
            self.dropped.fetch_add(gone, Ordering::AcqRel);
            self.len.fetch_sub(gone, Ordering::AcqRel);
            self.anywhere.fetch_sub(anywhere, Ordering::AcqRel);
        }
        // Half of its bits stand for nothing: now it pays.
        if self.dropped.load(Ordering::Acquire) > self.len() {
            self.dropped.store(0, Ordering::Release);
            self.filter.renew(|keep| self.each(|record| keep(record.mark)));
        }
    }

    /// From now on takes at most so many entries; those that are there stay.
    pub(in crate::identity) fn limit(&self, most: usize) {
        self.most.store(most, Ordering::Release);
    }

    /// From now on [`Standing::Unknown`] is what every token gets that is not revoked; or no longer.
    pub(in crate::identity) fn set_blind(&self, is_blind: bool) {
        self.is_blind.store(is_blind, Ordering::Release);
        if is_blind {
            self.is_watching.store(true, Ordering::Release);
        }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes when something was added.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Bytes that the entries take, with the room between them.
    pub fn bytes(&self) -> usize {
        let of_one = |shard: &RwLock<HashTable<Entry>>| shard.read().allocation_size();
        self.shards.iter().map(of_one).sum::<usize>() + self.filter.bytes() + size_of::<Self>()
    }

    /// Every entry, one lock at a time.
    pub(in crate::identity) fn each(&self, mut look: impl FnMut(Record)) {
        for shard in &self.shards {
            let entries: Vec<Entry> = shard.read().iter().copied().collect();
            entries.into_iter().for_each(|entry| look(Record { mark: entry.mark, cutoff: entry.cutoff }));
        }
    }

    fn shard(&self, hash: u64) -> Option<&RwLock<HashTable<Entry>>> {
        // Bits that the tables themselves do not look at: they use the lowest and the highest.
        self.shards.get((hash >> 40) as usize % SHARDS)
    }
}

/// Marks are digests; half of one is as good a hash as any.
fn hash([a, b, ..]: Mark) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32, cutoff: u32) -> Record {
        Record { mark: mark(number), cutoff }
    }

    fn mark(number: u32) -> Mark {
        [number.wrapping_mul(0x9e37_79b9), number.wrapping_mul(0x85eb_ca6b), number, 2]
    }

    fn token(number: u32, born: u32) -> Marks {
        Marks::new(born, Box::new([mark(number)]), Box::default())
    }

    fn standing(set: &Revoked, number: u32, born: u32) -> Standing {
        let marks = token(number, born);
        set.judge(|| &marks)
    }

    #[test]
    fn the_second_of_the_event_is_the_last_that_is_refused() {
        let set = Revoked::default();
        assert_eq!(set.insert(&record(1, 100)), Inserted::Yes);
        for (born, expected) in [(0, Standing::Revoked), (100, Standing::Revoked), (101, Standing::Clear)] {
            assert_eq!(standing(&set, 1, born), expected, "{born}");
        }
        assert_eq!(standing(&set, 2, 0), Standing::Clear);
    }

    #[test]
    fn w2_events_out_of_order_and_again_never_take_anything_back() {
        let set = Revoked::default();
        assert_eq!([100, 100, 90, 110, 100].map(|cutoff| set.insert(&record(1, cutoff))), {
            use Inserted::{Known, Yes};
            [Yes, Known, Known, Yes, Known]
        });
        assert_eq!(standing(&set, 1, 110), Standing::Revoked);
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn a_token_that_was_clear_is_looked_at_again_when_something_was_added() {
        let (set, marks) = (Revoked::default(), token(1, 100));
        set.insert(&record(2, 100));
        assert_eq!(set.judge(|| &marks), Standing::Clear);
        set.insert(&record(1, 100));
        assert_eq!(set.judge(|| &marks), Standing::Revoked);
        assert_eq!(set.judge(|| &marks), Standing::Revoked, "and stays it");
    }

    #[test]
    fn entries_are_dropped_when_no_token_can_be_as_old() {
        let set = Revoked::default();
        (0..10_000).for_each(|number| {
            set.insert(&record(number, 100 + number % 2));
        });
        set.forget_before(Duration::from_secs(100));
        assert_eq!(set.len(), 10_000);
        set.forget_before(Duration::from_secs(101));
        assert_eq!(set.len(), 5_000);
        assert_eq!(standing(&set, 0, 50), Standing::Clear);
        assert_eq!(standing(&set, 1, 50), Standing::Revoked);
        assert!((1..10_000).step_by(2).all(|number| standing(&set, number, 50) == Standing::Revoked));
        set.forget_before(Duration::MAX);
        assert!(set.is_empty());
        assert_eq!(set.anywhere.load(Ordering::Acquire), 0);
    }

    #[test]
    fn revocations_without_a_tenant_hit_every_tenant() {
        let set = Revoked::default();
        let anywhere = Record { mark: [1, 2, 3, 5], cutoff: 100 };
        let marks = Marks::new(100, Box::new([[1, 2, 3, 4]]), Box::new([[1, 2, 3, 5]]));
        set.insert(&record(7, 100));
        assert_eq!(set.judge(|| &marks), Standing::Clear);
        set.insert(&anywhere);
        assert_eq!(set.judge(|| &marks), Standing::Revoked);
    }

    #[test]
    fn a_full_set_takes_no_new_entry_and_drops_none() {
        let set = Revoked::new(2);
        assert_eq!([1, 2, 3].map(|number| set.insert(&record(number, 5))), [Inserted::Yes, Inserted::Yes, Inserted::Full]);
        assert_eq!(set.insert(&record(2, 6)), Inserted::Yes, "what is there can still reach further");
        assert_eq!(standing(&set, 1, 5), Standing::Revoked);
        assert_eq!(standing(&set, 3, 5), Standing::Clear);
    }

    #[test]
    fn a_blind_set_vouches_for_nobody() {
        let set = Revoked::default();
        set.set_blind(true);
        assert_eq!(standing(&set, 1, 5), Standing::Unknown);
        set.insert(&record(1, 5));
        assert_eq!(standing(&set, 1, 5), Standing::Revoked);
        set.set_blind(false);
        assert_eq!(standing(&set, 2, 5), Standing::Clear);
    }
}
