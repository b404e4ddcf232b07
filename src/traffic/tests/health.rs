use std::sync::Arc;
use std::time::Duration;

use super::{NOW, check, settings};
use crate::model::settings::{Outliers, Upstream};
use crate::traffic::{Member, Pool, Standing};

fn pool_with(outliers: Outliers, servers: usize) -> Pool {
    let settings = settings(&vec![1; servers]);
    Pool::new(Upstream { outliers: Some(outliers), health_check: None, ..settings }, None, NOW)
}

fn first(pool: &Pool) -> Arc<Member> {
    Arc::clone(&pool.members()[0].0)
}

fn outliers() -> Outliers {
    Outliers {
        consecutive_failures: 3,
        ejection: Duration::from_secs(10),
        longest_ejection: Duration::from_secs(25),
        most_ejected_percent: 50,
    }
}

#[test]
fn the_first_probe_decides_and_later_ones_need_company() {
    let pool = Pool::new(settings(&[1]), None, NOW);
    let member = first(&pool);
    let down = || Err("refused".to_owned());
    assert_eq!(member.standing(NOW), Standing::Unchecked);
    assert_eq!(member.probed(down(), &check(), NOW), Some(false));
    assert_eq!(member.standing(NOW), Standing::Down);
    assert_eq!(member.why().as_deref().map(String::as_str), Some("refused"));
    assert_eq!(member.probed(Ok(()), &check(), NOW), None);
    assert_eq!(member.probed(down(), &check(), NOW), None, "not two in a row");
    assert_eq!(member.probed(Ok(()), &check(), NOW), None);
    assert_eq!(member.probed(Ok(()), &check(), NOW), Some(true));
    assert_eq!(member.standing(NOW), Standing::Up);
    for _ in 0..2 {
        assert_eq!(member.probed(down(), &check(), NOW), None);
    }
    assert_eq!(member.standing(NOW), Standing::Up, "two failures are not three");
    assert_eq!(member.probed(down(), &check(), NOW), Some(false));
}

#[test]
fn a_server_that_was_never_looked_at_is_no_news_when_it_is_fine() {
    let pool = Pool::new(settings(&[1]), None, NOW);
    assert_eq!(first(&pool).probed(Ok(()), &check(), NOW), None);
    assert_eq!(first(&pool).standing(NOW), Standing::Up);
}

#[test]
fn failures_in_a_row_eject_for_longer_each_time() {
    let pool = pool_with(outliers(), 4);
    let member = first(&pool);
    let mut now = NOW;
    for seconds in [10, 20, 25, 25] {
        assert_eq!(pool.failed(&member, "reset", now), None);
        assert_eq!(pool.failed(&member, "reset", now), None);
        assert_eq!(pool.failed(&member, "reset", now), Some(Duration::from_secs(seconds)));
        assert_eq!(member.standing(now), Standing::Ejected);
        now += Duration::from_secs(seconds);
        assert!(member.standing(now).is_up());
    }
    now += Duration::from_secs(101);
    for _ in 0..2 {
        assert_eq!(pool.failed(&member, "reset", now), None);
    }
    assert_eq!(pool.failed(&member, "reset", now), Some(Duration::from_secs(10)), "after a quiet time it begins anew");
    assert_eq!(member.ejections(), 5);
}

#[test]
fn a_success_ends_the_row() {
    let pool = pool_with(outliers(), 4);
    let member = first(&pool);
    for _ in 0..10 {
        assert_eq!(pool.failed(&member, "reset", NOW), None);
        assert_eq!(pool.failed(&member, "reset", NOW), None);
        member.succeeded();
    }
    assert_eq!(member.ejections(), 0);
}

#[test]
fn no_more_than_the_share_is_ejected_and_a_single_server_never() {
    for (servers, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let pool = pool_with(outliers(), servers);
        for (member, ..) in pool.members() {
            for _ in 0..9 {
                let _ = pool.failed(&member, "reset", NOW);
            }
        }
        let out = pool.members().iter().filter(|(member, ..)| member.standing(NOW) == Standing::Ejected).count();
        assert_eq!(out, most, "of {servers}");
    }
}

#[test]
fn without_detection_nothing_is_ejected() {
    let pool = Pool::new(Upstream { outliers: None, ..settings(&[1, 1]) }, None, NOW);
    assert!((0..100).all(|_| pool.failed(&first(&pool), "reset", NOW).is_none()));
}
