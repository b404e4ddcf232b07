use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora_ketama::{Bucket, Continuum};

use super::Member;
use super::schedule::schedule;
use crate::model::settings::Balance;

/// The servers of an upstream at one moment. Made anew when a name resolves to something else, read without a lock by every request.
pub(super) struct List {
    slots: Vec<Slot>,
    /// Positions in `slots` in the order in which they take turns.
    order: Vec<u16>,
    ring: Option<Ring>,
}

/// One server and its part.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) member: Arc<Member>,
    pub(super) weight: u32,
    /// Position in the configuration.
    pub(super) server: usize,
}

struct Ring {
    continuum: Continuum,
    positions: HashMap<SocketAddr, usize>,
}

/// What a choice depends on besides the servers.
pub(super) struct Ask<'a> {
    pub(super) balance: &'a Balance,
    /// Goes up by one with every choice.
    pub(super) turn: u64,
    /// What `hash:` is about, if the request has it.
    pub(super) key: Option<&'a [u8]>,
    pub(super) slow_start: Duration,
    pub(super) now: Duration,
}

/// More points on the ring would only cost memory.
const MOST_WEIGHT_ON_RING: u32 = 1_000;
/// Another chance for the same turn.
const SECOND: u64 = 1 << 63;
/// So many points in a row that all belong to servers that are down: the rest is left to chance.
const MOST_POINTS: usize = 4_096;

impl List {
    pub(super) fn new(slots: Vec<Slot>, balance: &Balance) -> Self {
        let weights: Vec<u32> = slots.iter().map(|slot| slot.weight).collect();
        let ring = matches!(balance, Balance::Hash(_)).then(|| Ring::new(&slots));
        Self { order: schedule(&weights), slots, ring }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The server for a request among those that are `usable`.
    pub(super) fn choose(&self, ask: &Ask<'_>, usable: &dyn Fn(&Slot) -> bool) -> Option<&Slot> {
        let usable = |slot: &Slot| slot.weight > 0 && usable(slot);
        match ask.balance {
            Balance::RoundRobin => self.in_turn(ask, &usable),
            Balance::LeastRequests => self.least(ask, &usable),
            Balance::PowerOfTwo => self.two(ask, &usable),
            Balance::Hash(_) => match (ask.key, &self.ring) {
                (Some(key), Some(ring)) => self.on_ring(ring, key, ask, &usable),
                // Nothing to go by: spread, instead of sending everybody without the claim to one server.
                _ => self.in_turn(ask, &usable),
            },
        }
    }

    fn in_turn(&self, ask: &Ask<'_>, usable: &dyn Fn(&Slot) -> bool) -> Option<&Slot> {
        self.whose_turn(ask)
            .filter(|slot| usable(slot) && self.is_warm(slot, ask))
            .or_else(|| self.draw(mix(ask.turn), ask, usable))
    }

    fn whose_turn(&self, ask: &Ask<'_>) -> Option<&Slot> {
        let position = usize::try_from(ask.turn).unwrap_or_default().checked_rem(self.order.len())?;
        self.slots.get(usize::from(*self.order.get(position)?))
    }

    /// Whether a server that starts slowly takes this turn.
    fn is_warm(&self, slot: &Slot, ask: &Ask<'_>) -> bool {
        let ramp = slot.member.ramp(ask.slow_start, ask.now);
        ramp >= 1_000 || mix(ask.turn ^ SECOND) % 1_000 < ramp
    }

    /// One by chance, by weight: at first sight if nothing speaks against it.
    fn any(&self, chance: u64, ask: &Ask<'_>, usable: &dyn Fn(&Slot) -> bool) -> Option<&Slot> {
        let by_chance = Ask { turn: chance, ..*ask };
        self.whose_turn(&by_chance)
            .filter(|slot| usable(slot) && self.is_warm(slot, &by_chance))
            .or_else(|| self.draw(mix(chance), ask, usable))
    }

    /// One by chance, by weight, among those that are left. Also what a server leaves behind that is down: it goes to all others and not to its neighbour.
    fn draw(&self, chance: u64, ask: &Ask<'_>, usable: &dyn Fn(&Slot) -> bool) -> Option<&Slot> {
        let share = |slot: &Slot| u64::from(slot.weight) * slot.member.ramp(ask.slow_start, ask.now);
        let total: u64 = self.slots.iter().filter(|slot| usable(slot)).map(share).sum();
        let mut left = chance.checked_rem(total)?;
        let mut last = None;
        for slot in self.slots.iter().filter(|slot| usable(slot)) {
            last = Some(slot);
            match left.checked_sub(share(slot)) {
                Some(rest) => left = rest,
                None => break,
            }
        }
        // `last` without a `break` if a server came or went between the two passes.
        last
    }

    /// Requests under way, in proportion to the weight. Who is first among equals takes turns.
    fn least(&self, ask: &Ask<'_>, usable: &dyn Fn(&Slot) -> bool) -> Option<&Slot> {
        let first = self.in_turn(ask, usable)?;
        let mut best = (load(first, ask), first);
        for slot in self.slots.iter().filter(|slot| usable(slot)) {
            let load = load(slot, ask);
            if load < best.0 {
                best = (load, slot);
            }
        }
        Some(best.1)
    }

    fn two(&self, ask: &Ask<'_>, usable: &dyn Fn(&Slot) -> bool) -> Option<&Slot> {
        let one = self.any(mix(ask.turn), ask, usable)?;
        let is_other = |slot: &Slot| usable(slot) && !Arc::ptr_eq(&slot.member, &one.member);
        let Some(two) = self.any(mix(ask.turn ^ SECOND), ask, &is_other) else { return Some(one) };
        Some(if load(two, ask) < load(one, ask) { two } else { one })
    }

    fn on_ring(&self, ring: &Ring, key: &[u8], ask: &Ask<'_>, usable: &dyn Fn(&Slot) -> bool) -> Option<&Slot> {
        let slot_of = |address| self.slots.get(*ring.positions.get(address)?);
        let found = ring.continuum.node_iter(key).take(MOST_POINTS).filter_map(slot_of).find(|slot| usable(slot));
        found.or_else(|| self.draw(ring.continuum.node_idx(key) as u64, ask, usable))
    }
}

/// Comparable between servers of different weight.
fn load(slot: &Slot, ask: &Ask<'_>) -> u64 {
    const SCALE: u64 = 1_000_000_000;
    let share = (u64::from(slot.weight) * slot.member.ramp(ask.slow_start, ask.now)).max(1);
    (slot.member.in_flight() as u64).saturating_mul(SCALE) / share
}

/// Spreads neighbouring numbers over all of them (SplitMix64).
pub(super) fn mix(turn: u64) -> u64 {
    let z = turn.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Ring {
    fn new(slots: &[Slot]) -> Self {
        let weighted = || slots.iter().enumerate().filter(|(_, slot)| slot.weight > 0);
        let total = weighted().map(|(_, slot)| slot.weight).sum::<u32>().max(1);
        let scaled =
            |weight: u32| if total > MOST_WEIGHT_ON_RING { (weight * MOST_WEIGHT_ON_RING / total).max(1) } else { weight };
        let buckets: Vec<Bucket> = weighted().map(|(_, slot)| Bucket::new(slot.member.address(), scaled(slot.weight))).collect();
        let positions = weighted().map(|(position, slot)| (slot.member.address(), position)).collect();
        Self { continuum: Continuum::new(&buckets), positions }
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("List").field("slots", &self.slots).finish_non_exhaustive()
    }
}
