//! Choosing servers, as far as it can be said without sockets. Time is an argument.

mod health;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::settings::{Balance, HashKey, HealthCheck, Outliers, Probe, Server, Upstream};

const NOW: Duration = Duration::from_secs(86_400);

fn check() -> HealthCheck {
    let second = Duration::from_secs(1);
    HealthCheck { probe: Probe::Tcp, interval: second, timeout: second, healthy_after: 2, unhealthy_after: 3 }
}

fn settings(weights: &[u32]) -> Upstream {
    let server = |(i, weight): (usize, &u32)| Server {
        authority: format!("10.0.0.{i}:80").into(),
        host: format!("10.0.0.{i}"),
        port: 80,
        weight: *weight,
    };
    Upstream { health_check: Some(check()), ..Upstream::plain("test".into(), weights.iter().enumerate().map(server).collect()) }
}

fn pool(weights: &[u32], balance: Balance) -> Pool {
    Pool::new(Upstream { balance, ..settings(weights) }, None, NOW)
}

fn pick(pool: &Pool) -> usize {
    pool.pick(&mut Tried::default(), None, NOW).unwrap().server
}

fn counts(pool: &Pool, rounds: usize) -> Vec<usize> {
    let mut counts = vec![0; pool.settings().servers.len()];
    (0..rounds).for_each(|_| counts[pick(pool)] += 1);
    counts
}

/// Takes a server out, as a first probe does.
fn take_down(pool: &Pool, index: usize) {
    let (member, ..) = pool.members().into_iter().find(|(_, server, _)| *server == index).unwrap();
    let _ = member.probed(Err("no".into()), &check(), NOW);
    for _ in 0..3 {
        let _ = member.probed(Err("no".into()), &check(), NOW);
    }
}

const BALANCES: [Balance; 4] =
    [Balance::RoundRobin, Balance::LeastRequests, Balance::PowerOfTwo, Balance::Hash(HashKey::ClientIp)];

#[test]
fn servers_take_turns() {
    let pool = pool(&[1, 1, 1], Balance::RoundRobin);
    let picks: Vec<_> = (0..6).map(|_| pick(&pool)).collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn turns_follow_weights_exactly() {
    assert_eq!(counts(&pool(&[5, 3, 2, 0], Balance::RoundRobin), 1_000), [500, 300, 200, 0]);
    // Idle servers are equally busy, and equals take turns.
    assert_eq!(counts(&pool(&[5, 3, 2, 0], Balance::LeastRequests), 1_000), [500, 300, 200, 0]);
}

#[test]
fn a_server_that_is_down_leaves_its_share_to_all_others() {
    let pool = pool(&[1, 1, 1, 1], Balance::RoundRobin);
    take_down(&pool, 1);
    let counts = counts(&pool, 3_000);
    assert_eq!(counts[1], 0);
    for index in [0, 2, 3] {
        assert!((900..1_100).contains(&counts[index]), "{counts:?}");
    }
}

#[test]
fn a_tried_server_is_not_picked_again() {
    let pool = pool(&[1, 1, 1], Balance::RoundRobin);
    let mut tried = Tried::default();
    let mut picks: Vec<_> = (0..3).map(|_| pool.pick(&mut tried, None, NOW).unwrap().server).collect();
    picks.sort_unstable();
    assert_eq!(picks, [0, 1, 2]);
    assert_eq!(pool.pick(&mut tried, None, NOW).unwrap_err(), NoServer::Down);
    assert!(!pool.has_untried(&tried, NOW));
    tried.forgive();
    assert!(pool.has_untried(&tried, NOW));
}

#[test]
fn the_least_busy_server_is_picked_in_proportion_to_its_weight() {
    let pool = pool(&[1, 3], Balance::LeastRequests);
    let held: Vec<Pick> = (0..40).map(|_| pool.pick(&mut Tried::default(), None, NOW).unwrap()).collect();
    assert_eq!(held.iter().filter(|pick| pick.server == 1).count(), 30);
}

#[test]
fn two_choices_avoid_the_busy_server() {
    let pool = pool(&[1, 1, 1], Balance::PowerOfTwo);
    let mut tried = Tried::default();
    let busy = pool.pick(&mut tried, None, NOW).unwrap();
    // It loses every comparison, so it is picked only if it is drawn twice, which cannot happen.
    assert_eq!(counts(&pool, 500)[busy.server], 0);
}

#[test]
fn two_choices_follow_weights() {
    let counts = counts(&pool(&[4, 1, 1], Balance::PowerOfTwo), 6_000);
    assert!(counts[0] > counts[1] * 2 && counts[1] > 300 && counts[2] > 300, "{counts:?}");
}

#[test]
fn a_breaker_is_full_and_a_place_comes_back_on_every_way_out() {
    let pool = Pool::new(Upstream { most_requests: Some(2), ..settings(&[1, 1]) }, None, NOW);
    let held: Vec<Pick> = (0..4).map(|_| pool.pick(&mut Tried::default(), None, NOW).unwrap()).collect();
    assert_eq!(pool.pick(&mut Tried::default(), None, NOW).unwrap_err(), NoServer::Busy);
    drop(held);
    assert!(pool.pick(&mut Tried::default(), None, NOW).is_ok());
    assert!(pool.members().iter().all(|(member, ..)| member.in_flight() == 0));
    assert_eq!(pool.members().iter().map(|(member, ..)| member.requests()).sum::<u64>(), 5);
}

fn owners(pool: &Pool) -> HashMap<u32, usize> {
    let owner = |key: u32| (key, pool.pick(&mut Tried::default(), Some(&key.to_le_bytes()), NOW).unwrap().server);
    (0..2_000).map(owner).collect()
}

#[test]
fn a_key_keeps_its_server_and_only_the_keys_of_a_lost_server_move() {
    let pool = pool(&[1, 1, 1, 1], Balance::Hash(HashKey::ClientIp));
    let before = owners(&pool);
    assert_eq!(before, owners(&pool));
    for index in 0..4 {
        let share = before.values().filter(|owner| **owner == index).count();
        assert!((300..700).contains(&share), "{index} has {share} of 2000");
    }
    take_down(&pool, 2);
    for (key, owner) in owners(&pool) {
        assert!(owner != 2);
        assert!(before[&key] == 2 || before[&key] == owner, "{key} moved from {} to {owner}", before[&key]);
    }
}

#[test]
fn keys_spread_by_weight_and_a_missing_key_takes_turns() {
    let pool = pool(&[3, 1], Balance::Hash(HashKey::ClientIp));
    let share = owners(&pool).values().filter(|owner| **owner == 0).count();
    assert!((1_300..1_700).contains(&share), "{share} of 2000");
    assert_eq!(counts(&pool, 400), [300, 100]);
}

#[test]
fn a_server_that_is_new_starts_slowly() {
    let mut start = settings(&[1]);
    start.slow_start = Duration::from_secs(100);
    let before = Pool::new(start.clone(), None, NOW);
    let after = Pool::new(Upstream { servers: settings(&[1, 1]).servers, ..start }, Some(&before), NOW);
    let share_after = |seconds| {
        let now = NOW + Duration::from_secs(seconds);
        (0..2_000).filter(|_| after.pick(&mut Tried::default(), None, now).unwrap().server == 1).count()
    };
    let (first, half, whole) = (share_after(0), share_after(50), share_after(100));
    assert!((50..350).contains(&first), "{first}");
    assert!(half > first + 150 && half < 900, "{half}");
    assert_eq!(whole, 1_000);
}

#[test]
fn what_is_known_of_a_server_survives_other_settings() {
    let before = pool(&[1, 1], Balance::RoundRobin);
    take_down(&before, 0);
    let held = before.pick(&mut Tried::default(), None, NOW).unwrap();
    let after = Pool::new(Upstream { balance: Balance::LeastRequests, ..settings(&[1, 1, 1]) }, Some(&before), NOW);
    assert_eq!(counts(&after, 10)[0], 0, "still down");
    assert_eq!(after.members()[1].0.in_flight(), 1, "a request of the old settings counts");
    drop(held);
    assert_eq!(after.members()[1].0.in_flight(), 0);
    let unprobed = Pool::new(Upstream { health_check: None, ..settings(&[1, 1]) }, Some(&after), NOW);
    assert!(counts(&unprobed, 10)[0] > 0, "nobody could bring it back");
}

#[test]
fn a_name_waits_for_its_addresses_and_keeps_the_last_good_ones() {
    let mut named = settings(&[1]);
    named.servers[0] = Server { authority: "api:80".into(), host: "api".into(), port: 80, weight: 1 };
    let pool = Pool::new(named, None, NOW);
    assert_eq!(pool.pick(&mut Tried::default(), None, NOW).unwrap_err(), NoServer::Down);
    let addresses: Vec<SocketAddr> = vec!["10.1.1.1:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap()];
    assert!(pool.learn(0, addresses.clone(), NOW));
    assert!(!pool.learn(0, addresses, NOW), "nothing new");
    assert!(!pool.learn(0, Vec::new(), NOW));
    let mut labels: Vec<String> = pool.members().iter().map(|(member, ..)| member.label().to_string()).collect();
    labels.sort();
    assert_eq!(labels, ["10.1.1.1:80", "[fd00::1]:80"]);
    let kept = pool.members().into_iter().find(|(member, ..)| &**member.label() == "10.1.1.1:80").unwrap().0;
    assert!(pool.learn(0, vec!["10.1.1.1:80".parse().unwrap(), "10.1.1.2:80".parse().unwrap()], NOW));
    assert!(pool.members().iter().any(|(member, ..)| std::sync::Arc::ptr_eq(member, &kept)), "it is the same server");
}

proptest! {
    /// Whatever is down, ejected, tried or without weight is never picked, by no balance; and if anything else is left, it is.
    #[test]
    fn only_usable_servers_are_picked(
        weights in prop::collection::vec(0_u32..4, 1..12),
        down in prop::collection::vec(any::<bool>(), 12),
        ejected in prop::collection::vec(any::<bool>(), 12),
        balance in 0_usize..4,
        key in prop::option::of(any::<u64>()),
        rounds in 1_usize..40,
    ) {
        let outliers = Outliers { consecutive_failures: 1, most_ejected_percent: 100, ..Outliers::default() };
        let pool = Pool::new(
            Upstream { balance: BALANCES[balance].clone(), outliers: Some(outliers), ..settings(&weights) }, None, NOW,
        );
        for index in 0..weights.len() {
            if down[index] {
                take_down(&pool, index);
            }
            if ejected[index] {
                let _ = pool.failed(&pool.members()[index].0, "test", NOW);
            }
        }
        let is_out = |index: usize| !pool.members()[index].0.standing(NOW).is_up();
        let usable: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] > 0 && !is_out(*i)).collect();
        prop_assert!((0..weights.len()).all(|i| !down[i] || is_out(i)));
        let key = key.map(u64::to_le_bytes);
        for _ in 0..rounds {
            let mut tried = Tried::default();
            let mut left = usable.clone();
            while let Ok(pick) = pool.pick(&mut tried, key.as_ref().map(|key| &key[..]), NOW) {
                prop_assert!(left.contains(&pick.server), "{} of {:?}", pick.server, left);
                left.retain(|index| *index != pick.server);
            }
            prop_assert!(left.is_empty() || usable.len() > Tried::MOST, "{left:?} were never picked");
        }
    }
}
