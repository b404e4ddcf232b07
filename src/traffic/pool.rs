use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::budget::RetryBudget;
use super::list::{Ask, List, Slot, mix};
use super::{Member, Prepared, Ticket, Tried};
use crate::model::Name;
use crate::model::settings::{Family, Server, Timeouts, Upstream};

/// The servers of one upstream, and whose turn it is.
///
/// Outlives a reload as long as its settings stay the same. A pool with other settings takes over what is known of the servers that
/// stay: addresses, health, requests under way.
#[derive(Debug)]
pub struct Pool {
    settings: Upstream,
    list: ArcSwap<List>,
    /// By position in the configuration: the addresses of each server. Written by the resolver only.
    known: Mutex<Vec<Vec<SocketAddr>>>,
    tally: Arc<Tally>,
    prepared: Prepared,
}

/// What is counted for an upstream, whatever its settings.
#[derive(Debug)]
pub struct Tally {
    turn: AtomicU64,
    budget: RetryBudget,
    checks: [AtomicU64; 2],
    refused_retries: AtomicU64,
}

/// The server whose turn it is.
#[derive(Debug)]
pub struct Pick {
    /// The server, taken until this is dropped.
    pub ticket: Ticket,
    /// Position in the configuration.
    pub server: usize,
}

/// Why no server was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoServer {
    /// None is up, or every one was tried.
    Down,
    /// Those that are up have as many requests as they may.
    Busy,
}

/// Addresses of one name; more than any sane answer has.
const MOST_ADDRESSES: usize = 64;
/// A ticket may be snatched away between choosing and taking: so often it is worth to choose again.
const MOST_CHOICES: usize = 4;

impl Pool {
    /// A pool whose servers are known by address where the configuration gives one; names wait for [`Pool::learn`].
    pub fn new(settings: Upstream, before: Option<&Self>, now: Duration) -> Self {
        let literal = |server: &Server| -> Vec<SocketAddr> {
            server.host.parse().map(|ip| vec![SocketAddr::new(ip, server.port)]).unwrap_or_default()
        };
        let earlier = |server: &Server| -> Vec<SocketAddr> {
            let Some(before) = before else { return Vec::new() };
            let same = before.settings.servers.iter().position(|old| (&old.host, old.port) == (&server.host, server.port));
            same.and_then(|index| before.known.lock().get(index).cloned()).unwrap_or_default()
        };
        let addresses = |server: &Server| {
            let known = literal(server);
            if known.is_empty() { of_family(earlier(server), settings.dns.family) } else { known }
        };
        let known: Vec<Vec<SocketAddr>> = settings.servers.iter().map(addresses).collect();
        let old_list = before.map(|before| before.list.load_full());
        let list = assemble(&settings, &known, old_list.as_deref(), before.map(|_| now));
        for slot in list.slots() {
            if settings.health_check.is_none() {
                slot.member.forget_probes();
            }
            if settings.outliers.is_none() {
                slot.member.forget_failures();
            }
        }
        let tally = before.map_or_else(|| Arc::new(Tally::new()), |before| Arc::clone(&before.tally));
        Self { settings, list: ArcSwap::from_pointee(list), known: Mutex::new(known), tally, prepared: Prepared::default() }
    }

    /// What the operator configured.
    pub fn settings(&self) -> &Upstream {
        &self.settings
    }

    /// The upstream's name.
    pub fn name(&self) -> &Name {
        &self.settings.name
    }

    /// Time limits for its servers.
    pub fn timeouts(&self) -> &Timeouts {
        &self.settings.timeouts
    }

    /// What is counted for it.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What the proxy makes of the settings, once for all requests.
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The next server that is up and was not `tried`; it counts as tried from now on, and as busy until the pick is dropped.
    ///
    /// # Errors
    /// If there is none.
    pub fn pick(&self, tried: &mut Tried, key: Option<&[u8]>, now: Duration) -> Result<Pick, NoServer> {
        let list = self.list.load();
        let most = self.settings.most_requests;
        for _ in 0..MOST_CHOICES {
            let turn = self.turn(tried);
            let ask = Ask { balance: &self.settings.balance, turn, key, slow_start: self.settings.slow_start, now };
            let usable = |slot: &Slot| {
                !tried.has(slot.member.id())
                    && slot.member.standing(now).is_up()
                    && most.is_none_or(|most| slot.member.in_flight() < most)
            };
            let Some(slot) = list.choose(&ask, &usable) else { break };
            if let Some(ticket) = slot.member.enter(most) {
                tried.add(slot.member.id());
                return Ok(Pick { ticket, server: slot.server });
            }
        }
        let is_up = |slot: &Slot| slot.weight > 0 && !tried.has(slot.member.id()) && slot.member.standing(now).is_up();
        Err(if list.slots().iter().any(is_up) { NoServer::Busy } else { NoServer::Down })
    }

    /// Second attempts take no turn: with two servers, one of them sick, every request would otherwise begin at the sick one.
    fn turn(&self, tried: &Tried) -> u64 {
        match tried.count() as u64 {
            0 => self.tally.turn.fetch_add(1, Ordering::Relaxed),
            again => mix(self.tally.turn.load(Ordering::Relaxed) ^ (again << 56)),
        }
    }

    /// Whether another server is left for this request, with room for it.
    pub fn has_untried(&self, tried: &Tried, now: Duration) -> bool {
        let most = self.settings.most_requests;
        let is_left = |slot: &Slot| {
            let has_room = most.is_none_or(|most| slot.member.in_flight() < most);
            slot.weight > 0 && has_room && !tried.has(slot.member.id()) && slot.member.standing(now).is_up()
        };
        self.list.load().slots().iter().any(is_left)
    }

    /// A request came in that may be tried again later.
    pub fn entered(&self) {
        self.tally.budget.deposit(self.settings.retries.budget_percent);
    }

    /// Whether the retry budget has room for one more attempt; takes it if so.
    pub fn may_retry(&self, now: Duration) -> bool {
        let granted = self.tally.budget.withdraw(now);
        if !granted {
            self.tally.refused_retries.fetch_add(1, Ordering::Relaxed);
        }
        granted
    }

    /// A request failed because of its server. Returns for how long the server gets no others, if that was one too many.
    pub fn failed(&self, member: &Member, why: &str, now: Duration) -> Option<Duration> {
        let outliers = self.settings.outliers.as_ref()?;
        if !member.failed(outliers) {
            return None;
        }
        let list = self.list.load();
        let servers = list.slots().iter().filter(|slot| slot.weight > 0);
        let (all, out) =
            servers.fold((0_u64, 0_u64), |(all, out), slot| (all + 1, out + u64::from(!slot.member.standing(now).is_up())));
        if (out + 1) * 100 > all * u64::from(outliers.most_ejected_percent) {
            return None;
        }
        member.eject(outliers, why, now)
    }

    /// Takes over what a name resolved to; an empty answer keeps the last good one. Returns whether that changed anything.
    pub fn learn(&self, index: usize, addresses: Vec<SocketAddr>, now: Duration) -> bool {
        let mut addresses = of_family(addresses, self.settings.dns.family);
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MOST_ADDRESSES);
        if addresses.is_empty() {
            return false;
        }
        let mut known = self.known.lock();
        let had_any = known.iter().any(|addresses| !addresses.is_empty());
        let Some(slot) = known.get_mut(index).filter(|slot| **slot != addresses) else { return false };
        *slot = addresses;
        // The first servers of all start at full speed: there is nobody else.
        let list = assemble(&self.settings, &known, Some(&self.list.load()), had_any.then_some(now));
        self.list.store(Arc::new(list));
        true
    }

    /// Servers that need resolving: index, host, port.
    pub fn named_servers(&self) -> impl Iterator<Item = (usize, &str, u16)> {
        let servers = self.settings.servers.iter().enumerate();
        servers.filter(|(_, s)| s.host.parse::<IpAddr>().is_err()).map(|(i, s)| (i, s.host.as_str(), s.port))
    }

    /// Servers as configured, and whether an address is known for them.
    pub fn servers(&self) -> Vec<(&Server, bool)> {
        let known = self.known.lock();
        let is_known = |index| known.get(index).is_some_and(|addresses: &Vec<_>| !addresses.is_empty());
        self.settings.servers.iter().enumerate().map(|(index, server)| (server, is_known(index))).collect()
    }

    /// Every server by address, with its position in the configuration and its weight.
    pub fn members(&self) -> Vec<(Arc<Member>, usize, u32)> {
        self.list.load().slots().iter().map(|slot| (Arc::clone(&slot.member), slot.server, slot.weight)).collect()
    }
}

impl Tally {
    fn new() -> Self {
        Self {
            turn: AtomicU64::new(0),
            budget: RetryBudget::new(),
            checks: [AtomicU64::new(0), AtomicU64::new(0)],
            refused_retries: AtomicU64::new(0),
        }
    }

    /// A probe ended.
    pub fn checked(&self, is_fine: bool) {
        let [failed, fine] = &self.checks;
        (if is_fine { fine } else { failed }).fetch_add(1, Ordering::Relaxed);
    }

    /// Probes that failed, and that did not.
    pub fn checks(&self) -> (u64, u64) {
        let [failed, fine] = &self.checks;
        (failed.load(Ordering::Relaxed), fine.load(Ordering::Relaxed))
    }

    /// Retries for which the budget had no room.
    pub fn refused_retries(&self) -> u64 {
        self.refused_retries.load(Ordering::Relaxed)
    }
}

fn of_family(mut addresses: Vec<SocketAddr>, family: Family) -> Vec<SocketAddr> {
    addresses.retain(|address| match family {
        Family::Any => true,
        Family::Ipv4 => address.is_ipv4(),
        Family::Ipv6 => address.is_ipv6(),
    });
    addresses
}

/// Every address is a server of its own. An address that two names share belongs to the first of them.
fn assemble(settings: &Upstream, known: &[Vec<SocketAddr>], before: Option<&List>, since: Option<Duration>) -> List {
    let mut taken = HashSet::new();
    let mut slots = Vec::new();
    for (index, (server, addresses)) in settings.servers.iter().zip(known).enumerate() {
        for address in addresses.iter().filter(|address| taken.insert(**address)) {
            let same = |slot: &&Slot| slot.member.address() == *address;
            let earlier = before.and_then(|list| list.slots().iter().find(same)).map(|slot| Arc::clone(&slot.member));
            let member = earlier.unwrap_or_else(|| Arc::new(Member::new(*address, since)));
            slots.push(Slot { member, weight: server.weight, server: index });
        }
    }
    List::new(slots, &settings.balance)
}
