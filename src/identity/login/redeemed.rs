use std::collections::VecDeque;

use hashbrown::HashSet;
use parking_lot::Mutex;

use super::attempt::LASTS;
use crate::model::Moment;

/// The newest ones that are remembered.
const MOST: usize = 100_000;

/// Logins that were finished. A cookie alone cannot tell: two callbacks at once bring the same one.
#[derive(Debug, Default)]
pub(super) struct Redeemed(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    ids: HashSet<[u8; 16]>,
    /// In order, with the Unix seconds after which their cookies are worth nothing.
    order: VecDeque<(u64, [u8; 16])>,
}

impl Redeemed {
    /// False if it was finished before.
    pub(super) fn insert(&self, id: [u8; 16], now: Moment) -> bool {
        let now = now.unix_seconds();
        let mut list = self.0.lock();
        while let Some((until, oldest)) = list.order.front().copied() {
            if until > now && list.order.len() < MOST {
                break;
            }
            list.order.pop_front();
            list.ids.remove(&oldest);
        }
        if !list.ids.insert(id) {
            return false;
        }
        list.order.push_back((now.saturating_add(LASTS), id));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn d6_a_login_is_finished_once() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds), Duration::ZERO);
        let redeemed = Redeemed::default();
        assert!(redeemed.insert([1; 16], at(10)));
        assert!(!redeemed.insert([1; 16], at(10 + LASTS - 1)));
        assert!(redeemed.insert([1; 16], at(10 + LASTS)), "its cookie is worth nothing by now");
        for number in 0..MOST as u128 + 10 {
            assert!(redeemed.insert((number + (1 << 100)).to_be_bytes(), at(10 + LASTS)));
        }
        assert_eq!(redeemed.0.lock().ids.len(), MOST);
    }
}
