use hashbrown::HashTable;

use super::bucket::Bucket;
use super::key::Key;

/// One lock's worth of buckets.
///
/// The table holds 4-byte places in a list instead of the buckets, because a hash table is up to 56 % empty: 48 bytes a bucket
/// and at most 12 for its place stay under 64 a key whatever the number of keys. The list is also what eviction walks along.
#[derive(Default)]
pub(super) struct Shard {
    places: HashTable<u32>,
    entries: Vec<Entry>,
    cursor: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    bucket: Bucket,
}

const _: () = assert!(size_of::<Bucket>() == 32 && size_of::<Entry>() == 48);

impl Shard {
    /// The bucket of `key`, if there is one.
    pub(super) fn find(&mut self, key: Key) -> Option<&mut Bucket> {
        let entries = &self.entries;
        let place = *self.places.find(key.hash(), |place| is_at(entries, *place, key))?;
        self.entries.get_mut(place as usize).map(|entry| &mut entry.bucket)
    }

    /// Adds a bucket under a key that is not there yet.
    pub(super) fn insert(&mut self, key: Key, bucket: Bucket) {
        // 2^32 buckets in one shard are 200 GB; the cap on keys is far below.
        let Ok(place) = u32::try_from(self.entries.len()) else { return };
        if self.entries.len() == self.entries.capacity() {
            // Doubling would leave half of the list empty.
            self.entries.reserve_exact(self.entries.len() / 16 + 8);
        }
        self.entries.push(Entry { key, bucket });
        let entries = &self.entries;
        self.places.insert_unique(key.hash(), place, |place| hash_at(entries, *place));
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = (Key, &Bucket)> {
        self.entries.iter().map(|entry| (entry.key, &entry.bucket))
    }

    /// Forgets buckets that have run out among the next `count`, and says how many went.
    pub(super) fn evict(&mut self, now: u64, count: usize) -> usize {
        let mut gone = 0;
        for _ in 0..count.min(self.entries.len()) {
            if self.cursor >= self.entries.len() {
                self.cursor = 0;
            }
            match self.entries.get(self.cursor) {
                Some(entry) if entry.bucket.is_spent(now) => {
                    self.remove(self.cursor);
                    gone += 1;
                }
                Some(_) => self.cursor += 1,
                None => break,
            }
        }
        if gone > 0 && self.entries.len() < self.entries.capacity() / 4 {
            self.shrink();
        }
        gone
    }

    fn remove(&mut self, index: usize) {
        let Some(key) = self.entries.get(index).map(|entry| entry.key) else { return };
        let entries = &self.entries;
        if let Ok(found) = self.places.find_entry(key.hash(), |place| is_at(entries, *place, key)) {
            found.remove();
        }
        self.entries.swap_remove(index);
        // The last one has moved here; the table still names its old place.
        let Some(moved) = self.entries.get(index).map(|entry| entry.key) else { return };
        let old = self.entries.len();
        if let Some(place) = self.places.find_mut(moved.hash(), |place| *place as usize == old) {
            *place = u32::try_from(index).unwrap_or(u32::MAX);
        }
    }

    fn shrink(&mut self) {
        self.entries.shrink_to(self.entries.len() * 2);
        let entries = &self.entries;
        self.places.shrink_to(entries.len() * 2, |place| hash_at(entries, *place));
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.places.allocation_size() + self.entries.capacity() * size_of::<Entry>()
    }
}

fn is_at(entries: &[Entry], place: u32, key: Key) -> bool {
    entries.get(place as usize).is_some_and(|entry| entry.key == key)
}

fn hash_at(entries: &[Entry], place: u32) -> u64 {
    entries.get(place as usize).map_or(0, |entry| entry.key.hash())
}
