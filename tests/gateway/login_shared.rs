//! Two gateways, one Redis, and sessions whose one-time refresh tokens must survive both of them at once.

use std::time::Duration;

use tollgate::demo::MintRequest;

use super::support::{Browser, Gateway, Provider, RedisServer, Reply, Upstream, as_json, login_setup, short_lived, wait_for};

fn two(provider: &Provider, upstream: &Upstream, redis: &RedisServer) -> [Gateway; 2] {
    let gateways = [(); 2].map(|()| login_setup(provider, upstream.address()).with(&redis.section()).start());
    for gateway in &gateways {
        wait_for("Redis", || gateway.admin("/status").unwrap().json()["redis"]["state"] == "up");
    }
    gateways
}

/// Many requests with the same cookies at both gateways at once.
fn ask_both(gateways: &[Gateway; 2], browser: &Browser) -> Vec<Reply> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..40)
            .map(|turn| {
                let mut tab = browser.clone();
                scope.spawn(move || tab.fetch(&gateways[turn % 2], "/api"))
            })
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn d15_two_gateways_renew_the_tokens_of_a_session_once() {
    let (provider, upstream, redis) = (Provider::start(), Upstream::named("app"), RedisServer::start());
    let gateways = two(&provider, &upstream, &redis);
    provider.person(short_lived("ann"));
    let mut browser = Browser::new();
    browser.log_in(&gateways[0], &provider, "/page");
    provider.person(MintRequest::default().subject("ann"));
    provider.token_answer(|good| {
        std::thread::sleep(Duration::from_millis(300));
        Some(as_json("200 OK", &good))
    });
    let replies = ask_both(&gateways, &browser);
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(provider.refreshes(), 1);
    // Both gateways gave the same tokens: whichever cookie the browser kept, it goes on.
    for reply in [&replies[0], &replies[1]] {
        let mut tab = browser.clone();
        tab.keep(reply);
        for gateway in &gateways {
            assert_eq!(tab.fetch(gateway, "/api").status, 200);
        }
    }
    assert_eq!(provider.refreshes(), 1);
    let counted = |result: &str| -> f64 {
        gateways.iter().map(|it| it.metric(&format!("tollgate_session_refreshes_total{{result=\"{result}\"}}"))).sum()
    };
    assert_eq!((counted("renewed"), counted("shared")), (1.0, 1.0));
    // Who reads Redis reads no token.
    let keys = redis.ask("KEYS *").unwrap();
    let key = keys.lines().find(|line| line.ends_with(":result")).unwrap_or_else(|| panic!("{keys}"));
    let value = redis.ask(&format!("GET {key}")).unwrap();
    assert!(value.len() > 500 && !value.contains("eyJ") && !value.contains("refresh-") && !value.contains("ann"), "{value}");
}

#[test]
fn d15_a_no_of_the_issuer_is_everybodys_and_without_redis_each_gateway_asks_for_itself() {
    let (provider, upstream, mut redis) = (Provider::start(), Upstream::named("app"), RedisServer::start());
    let gateways = two(&provider, &upstream, &redis);
    provider.person(short_lived("ann"));
    let mut browser = Browser::new();
    browser.log_in(&gateways[0], &provider, "/page");
    let mut other = Browser::new();
    other.log_in(&gateways[1], &provider, "/page");
    provider.outage(|| Some(as_json("400 Bad Request", &serde_json::json!({ "error": "invalid_grant" }))));
    assert!(ask_both(&gateways, &browser).iter().all(|reply| reply.status == 401));
    assert_eq!(provider.refreshes(), 1);
    provider.behave();
    redis.stop();
    let before = provider.refreshes();
    assert_eq!(other.fetch(&gateways[0], "/api").status, 200);
    assert_eq!(other.fetch(&gateways[1], "/api").status, 200);
    assert_eq!(provider.refreshes(), before + 2);
}
