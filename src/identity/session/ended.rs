use std::collections::VecDeque;

use hashbrown::HashSet;
use parking_lot::Mutex;

use crate::model::Moment;

/// The newest ones that are remembered.
const MOST: usize = 160_000;
const SHARDS: usize = 16;

/// Sessions that people ended: what is sealed in a cookie opens all the same, wherever a copy of it is. It outlives reloads, and needs to
/// remember each one only for as long as it could have lasted.
#[derive(Debug, Default)]
pub struct Ended([Mutex<List>; SHARDS]);

#[derive(Debug, Default)]
struct List {
    ids: HashSet<[u8; 16]>,
    /// In order, with the Unix seconds from which on they would have ended by themselves.
    order: VecDeque<(u64, [u8; 16])>,
}

impl Ended {
    /// This session is over.
    pub fn insert(&self, id: [u8; 16], until: u64, now: Moment) {
        let Some(list) = self.shard(&id) else { return };
        let now = now.unix_seconds();
        let mut list = list.lock();
        while let Some((oldest, id)) = list.order.front().copied() {
            if oldest > now && list.order.len() < MOST / SHARDS {
                break;
            }
            list.order.pop_front();
            list.ids.remove(&id);
        }
        if list.ids.insert(id) {
            list.order.push_back((until, id));
        }
    }

    /// Whether somebody ended it.
    pub fn contains(&self, id: &[u8; 16]) -> bool {
        self.shard(id).is_some_and(|list| list.lock().ids.contains(id))
    }

    fn shard(&self, id: &[u8; 16]) -> Option<&Mutex<List>> {
        self.0.get(usize::from(id[0]) % SHARDS)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn d14_what_was_ended_stays_ended_and_memory_is_bounded() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds), Duration::ZERO);
        let ended = Ended::default();
        ended.insert([7; 16], 1_000, at(10));
        assert!(ended.contains(&[7; 16]) && !ended.contains(&[8; 16]));
        // By then it has ended by itself.
        ended.insert([23; 16], 2_000, at(1_000));
        assert!(!ended.contains(&[7; 16]) && ended.contains(&[23; 16]));
        for number in 0..MOST as u128 {
            let mut id = number.to_be_bytes();
            id[0] = 7;
            ended.insert(id, 2_000, at(1_001));
        }
        let lists = ended.0.iter().map(|list| list.lock().ids.len()).sum::<usize>();
        assert_eq!(lists, MOST / SHARDS);
        assert!(!ended.contains(&[23; 16]), "the oldest ones are forgotten first");
    }
}
