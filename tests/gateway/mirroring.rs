//! Copies of requests, which nobody may notice but their mirror.

use std::time::{Duration, Instant};

use crate::support::{Setup, Upstream, answer, free_port, wait_for};

fn route(keys: &str) -> String {
    format!(
        "  - name: all\n    match: {{ path: /api/** }}\n    auth: none\n    upstream: main\n    rewrite: {{ prefix: /v2 }}\n    \
         request_headers: {{ set: {{ X-Env: prod }} }}\n    mirror: {{ upstream: shadow{keys} }}\n"
    )
}

fn count(result: &str) -> String {
    format!("tollgate_mirrored_requests_total{{result=\"{result}\",route=\"all\",upstream=\"shadow\"}}")
}

#[test]
fn a_mirror_gets_what_the_upstream_gets_and_its_answer_is_thrown_away() {
    let (main, shadow) = (Upstream::named("main"), Upstream::answering(|_| Some(answer("500 Oops", "", "shadow"))));
    let gateway = Setup::new()
        .upstream("main", &[main.address()])
        .upstream("shadow", &[shadow.address()])
        .route_text(&route(", body: 1KiB"))
        .start();
    assert_eq!(gateway.get("/api/a?x=1").body, "main");
    wait_for("the copy", || shadow.seen().len() == 1);
    let copy = shadow.last();
    assert!(copy.starts_with("GET /v2/a?x=1 HTTP/1.1\r\n"), "{copy}");
    assert!(
        copy.to_ascii_lowercase().contains("x-env: prod\r\n") && copy.to_ascii_lowercase().contains("x-forwarded-for:"),
        "{copy}"
    );
    let post = "POST /api/b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert_eq!(gateway.send(post).unwrap().body, "main");
    wait_for("the copy", || shadow.seen().len() == 2);
    assert!(shadow.last().ends_with("\r\n\r\nhello"), "{}", shadow.last());
    let chunked = "POST /api/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(gateway.send(chunked).unwrap().body, "main");
    wait_for("the copy", || shadow.seen().len() == 3);
    assert!(shadow.last().ends_with("\r\n\r\nabcde"), "{}", shadow.last());
    gateway.expect_metric(&count("answered"), 3.0);
    let large =
        format!("POST /api/b HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n{}", "x".repeat(2000));
    assert_eq!(gateway.send(&large).unwrap().body, "main");
    gateway.expect_metric(&count("too_large"), 1.0);
    assert_eq!((main.seen().len(), shadow.seen().len()), (4, 3));
}

#[test]
fn a_mirror_that_is_away_or_asleep_delays_nobody() {
    let main = Upstream::named("main");
    let asleep = Upstream::answering(|_| {
        std::thread::sleep(Duration::from_secs(3));
        None
    });
    let dead = ([127, 0, 0, 1], free_port()).into();
    for (shadow, is_dead) in [(asleep.address(), false), (dead, true)] {
        let gateway =
            Setup::new().upstream("main", &[main.address()]).upstream("shadow", &[shadow]).route_text(&route("")).start();
        let began = Instant::now();
        for _ in 0..5 {
            let reply = gateway.get("/api/x");
            assert_eq!((reply.status, reply.body.as_str()), (200, "main"));
        }
        assert!(is_dead || began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        wait_for("the failures", || gateway.metric(&count("failed")) == 5.0);
    }
}

#[test]
fn only_so_many_copies_are_under_way() {
    let main = Upstream::named("main");
    let (open, asleep) = std::sync::mpsc::channel::<()>();
    let asleep = std::sync::Mutex::new(asleep);
    let shadow = Upstream::answering(move |_| {
        let _ = asleep.lock().unwrap().recv();
        None
    });
    let gateway =
        Setup::new().upstream("main", &[main.address()]).upstream("shadow", &[shadow.address()]).route_text(&route("")).start();
    wait_for("a full house", || {
        for _ in 0..50 {
            assert_eq!(gateway.get("/api/x").status, 200);
        }
        gateway.metric(&count("dropped")) > 0.0
    });
    drop(open);
}

#[test]
fn a_share_of_the_requests_is_copied_once_even_if_they_are_tried_twice() {
    let (main, shadow) = (Upstream::named("main"), Upstream::named("shadow"));
    let dead = ([127, 0, 0, 1], free_port()).into();
    let gateway = Setup::new()
        .upstream("main", &[dead, main.address()])
        .upstream("shadow", &[shadow.address()])
        .route_text(&route(""))
        .start();
    for _ in 0..4 {
        assert_eq!(gateway.get("/api/x").status, 200);
    }
    gateway.expect_metric(&count("answered"), 4.0);
    let config = gateway.config().replace("upstream: shadow }", "upstream: shadow, share: 50% }");
    gateway.write("config.yaml", &config);
    wait_for("the reload", || gateway.log().contains("the new configuration is in use"));
    for _ in 0..100 {
        assert_eq!(gateway.get("/api/x").status, 200);
    }
    wait_for("some copies", || gateway.metric(&count("answered")) > 14.0);
    assert!(gateway.metric(&count("answered")) < 94.0);
}

#[test]
fn a_mirror_may_speak_http2() {
    let (main, origin) = (Upstream::named("main"), Upstream::named("origin"));
    let shadow = Setup::new()
        .upstream("origin", &[origin.address()])
        .route("all", "/**", "none", "origin")
        .listener("    protocols: [http2]\n")
        .start();
    let gateway = Setup::new()
        .upstream("main", &[main.address()])
        .upstream_text("shadow", &format!("{{ servers: [\"http://{}\"], protocol: http2 }}", shadow.address()))
        .route_text(&route(", body: 1KiB"))
        .start();
    let post = "POST /api/b?x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert_eq!(gateway.send(post).unwrap().body, "main");
    gateway.expect_metric(&count("answered"), 1.0);
    assert_eq!(gateway.get("/api/c").body, "main");
    gateway.expect_metric(&count("answered"), 2.0);
    let seen = origin.seen();
    assert!(seen[0].starts_with("POST /v2/b?x HTTP/1.1\r\n") && seen[0].ends_with("\r\n\r\nhello"), "{seen:?}");
    assert!(seen[1].starts_with("GET /v2/c HTTP/1.1\r\n"), "{seen:?}");
    let lines = shadow.access_lines(2);
    assert_eq!((lines[0]["protocol"].as_str(), lines[0]["host"].as_str()), (Some("h2"), Some("a.example")));
}
