//! The connection to Redis, against a real server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate::model::settings;
use tollgate::redis::{Redis, RedisError, RedisState};

use crate::support::{RedisServer, Setup, wait_for};

const MINUTE: Duration = Duration::from_secs(60);

fn settings(server: &RedisServer) -> settings::Redis {
    settings::Redis {
        host: "127.0.0.1".into(),
        port: server.address().port(),
        tls: false,
        database: 0,
        username: None,
        password: None,
        timeout: Duration::from_millis(300),
        prefix: "t:".into(),
    }
}

/// Runs with a connection that is kept.
fn with_redis<F: Future<Output = ()>>(settings: Option<settings::Redis>, test: impl FnOnce(Arc<Redis>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let redis = Arc::new(Redis::default());
        redis.follow(settings.as_ref());
        let keeper = tokio::spawn({
            let redis = Arc::clone(&redis);
            async move { redis.keep_connected().await }
        });
        test(redis).await;
        keeper.abort();
    });
}

async fn becomes(redis: &Redis, state: RedisState) {
    let mut states = redis.state();
    let waited = tokio::time::timeout(Duration::from_secs(10), states.wait_for(|now| *now == state)).await;
    assert!(waited.is_ok(), "{state:?} did not come, it is {:?}", redis.status());
}

#[test]
fn commands_do_what_they_say() {
    let server = RedisServer::start();
    with_redis(Some(settings(&server)), |redis| async move {
        assert_eq!(redis.get("a").await, Ok(None), "the first command waits for the connection");
        redis.set("a", b"\x00\xff", MINUTE).await.unwrap();
        assert_eq!(redis.get("a").await, Ok(Some(vec![0, 255])));
        assert_eq!(redis.claim("a", b"x", MINUTE).await, Ok(false));
        assert_eq!(redis.claim("b", b"x", Duration::from_millis(30)).await, Ok(true));
        assert_eq!(redis.delete(&["a", "none"]).await, Ok(1));
        let script = "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])";
        assert_eq!(redis.eval::<Vec<u8>>(script, &["c"], &[b"v"]).await, Ok(b"v".to_vec()));
        assert_eq!(redis.eval::<i64>("return 'text'", &[], &[]).await, Err(RedisError::Unexpected));
        assert!(matches!(redis.eval::<i64>("return nonsense(", &[], &[]).await, Err(RedisError::Refused(_))));
        assert_eq!(redis.publish("news", b"x").await, Ok(0));
        assert_eq!(*redis.state().borrow(), RedisState::Up, "what the server refuses is no broken connection");
    });
    assert!(server.ask("GET t:c").unwrap().contains("v"), "keys have the prefix");
    assert!(server.ask("PTTL t:c").unwrap().starts_with(":-1"));
}

#[test]
fn a_stream_is_followed_from_any_place() {
    let server = RedisServer::start();
    with_redis(Some(settings(&server)), |redis| async move {
        let add = "return redis.call('XADD', KEYS[1], '*', 'v', ARGV[1])";
        let mut follower = redis.follower("s").await.unwrap();
        let nothing = follower.next("0-0", Duration::from_millis(20), 10).await.unwrap();
        assert_eq!(nothing, []);
        for value in [b"1", b"2"] {
            redis.eval::<String>(add, &["s"], &[value]).await.unwrap();
        }
        let both = follower.next("0-0", MINUTE, 10).await.unwrap();
        assert_eq!(both.iter().map(|entry| &entry.value[..]).collect::<Vec<_>>(), [b"1", b"2"]);
        let rest = follower.next(&both[0].position, MINUTE, 10).await.unwrap();
        assert_eq!(rest, both[1..]);
        let later = tokio::spawn({
            let (redis, after) = (Arc::clone(&redis), both[1].position.clone());
            async move { redis.follower("s").await.unwrap().next(&after, MINUTE, 10).await }
        });
        redis.eval::<String>(add, &["s"], &[b"3"]).await.unwrap();
        assert_eq!(later.await.unwrap().unwrap()[0].value, b"3");
    });
}

#[test]
fn a_server_that_is_away_is_not_waited_for_and_found_again() {
    let mut server = RedisServer::start();
    with_redis(Some(settings(&server)), |redis| async move {
        becomes(&redis, RedisState::Up).await;
        server.stop();
        becomes(&redis, RedisState::Down).await;
        let began = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(redis.get("a").await, Err(RedisError::Down));
        }
        assert!(began.elapsed() < Duration::from_millis(300), "a thousand commands took {:?}", began.elapsed());
        assert!(redis.status().last_error.is_some());
        server.resume();
        let began = Instant::now();
        becomes(&redis, RedisState::Up).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(redis.get("a").await, Ok(None));
        assert_eq!(redis.status().last_error, None);
    });
}

#[test]
fn a_server_that_hangs_is_waited_for_once() {
    let server = RedisServer::start();
    with_redis(Some(settings(&server)), |redis| async move {
        becomes(&redis, RedisState::Up).await;
        server.hang();
        let began = Instant::now();
        assert_eq!(redis.get("a").await, Err(RedisError::Late));
        assert!(began.elapsed() >= Duration::from_millis(300));
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(redis.get("a").await, Err(RedisError::Down));
        }
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
        server.wake();
        let began = Instant::now();
        while redis.get("a").await != Ok(None) {
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", redis.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn passwords_are_used_and_changed_while_it_runs() {
    let server = RedisServer::with(&["--requirepass", "open sesame"]);
    let wrong = settings::Redis { password: Some(settings::Secret::new("wrong")), ..settings(&server) };
    let right = settings::Redis { password: Some(settings::Secret::new("open sesame")), ..settings(&server) };
    with_redis(Some(wrong), |redis| async move {
        becomes(&redis, RedisState::Down).await;
        let status = format!("{:?}", redis.status());
        assert!(status.contains("AuthenticationFailed"), "{status}");
        redis.follow(Some(&right));
        assert_eq!(*redis.state().borrow(), RedisState::Connecting);
        becomes(&redis, RedisState::Up).await;
        assert_eq!(redis.get("a").await, Ok(None));
        redis.follow(None);
        assert_eq!(redis.get("a").await, Err(RedisError::Off));
        assert!(!format!("{:?}", settings(&server)).contains("sesame"));
    });
}

#[test]
fn a_gateway_serves_without_its_redis_and_says_so() {
    let mut server = RedisServer::start();
    server.stop();
    let gateway = Setup::open_to("{ servers: [\"http://127.0.0.1:9\"] }").with(&server.section()).start();
    let state = || gateway.admin("/status").unwrap().json()["redis"]["state"].as_str().unwrap().to_owned();
    wait_for("the first attempt", || state() == "down");
    server.resume();
    wait_for("the connection", || state() == "up");
    gateway.expect_metric("tollgate_redis_up", 1.0);
    assert_eq!(gateway.admin("/status").unwrap().json()["redis"]["server"], server.address().to_string());
    gateway.reload(|text| text.replace(&server.section(), ""));
    assert!(gateway.admin("/status").unwrap().json()["redis"].is_null());
}
