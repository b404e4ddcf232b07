//! Which server a request goes to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tollgate::demo::MintRequest;

use crate::support::{Gateway, Setup, Upstream, answer, get, mint, wait_for};

/// Holds requests for `/hold` until it is opened.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl Door {
    fn wait(&self) {
        let (state, opened) = &*self.0;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        while !state.1 {
            state = opened.wait(state).unwrap();
        }
    }

    fn open(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }

    fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().0
    }

    /// A server behind this door.
    fn server(&self, name: &'static str) -> Upstream {
        let door = self.clone();
        Upstream::answering(move |request| {
            if request.starts_with("GET /hold") {
                door.wait();
            }
            Some(answer("200 OK", "", name))
        })
    }
}

fn url(server: &Upstream) -> String {
    format!("\"http://{}\"", server.address())
}

fn urls(servers: &[&Upstream]) -> String {
    servers.iter().map(|server| url(server)).collect::<Vec<_>>().join(", ")
}

fn hold(to: SocketAddr) -> thread::JoinHandle<u16> {
    thread::spawn(move || get(to, "/hold", "").status)
}

#[test]
fn requests_are_spread_by_weight() {
    let (heavy, light, none) = (Upstream::named("heavy"), Upstream::named("light"), Upstream::named("none"));
    let entry = |server: &Upstream, weight| format!("{{ url: {}, weight: {weight} }}", url(server));
    for balance in ["round_robin", "least_requests"] {
        let servers = [entry(&heavy, 3), entry(&light, 1), entry(&none, 0)].join(", ");
        let gateway = Setup::open_to(&format!("{{ servers: [{servers}], balance: {balance} }}")).start();
        let before = (heavy.seen().len(), light.seen().len());
        for _ in 0..20 {
            assert_eq!(gateway.get("/").status, 200);
        }
        assert_eq!((heavy.seen().len() - before.0, light.seen().len() - before.1), (15, 5), "{balance}");
        let series = |server: &Upstream| {
            format!("tollgate_upstream_server_requests_total{{server=\"{}\",upstream=\"main\"}}", server.address())
        };
        gateway.expect_metric(&series(&heavy), 15.0);
        gateway.expect_metric(&series(&light), 5.0);
    }
    assert_eq!(none.seen().len(), 0);
}

#[test]
fn a_busy_server_is_avoided_and_its_place_comes_back() {
    for balance in ["least_requests", "power_of_two"] {
        let door = Door::default();
        let (a, b) = (door.server("a"), door.server("b"));
        let gateway = Setup::open_to(&format!("{{ servers: [{}], balance: {balance} }}", urls(&[&a, &b]))).start();
        let held = hold(gateway.address());
        wait_for("the held request", || door.waiting() == 1);
        let (busy, idle) = if a.seen().is_empty() { (&b, &a) } else { (&a, &b) };
        let in_flight = format!("tollgate_upstream_requests_in_flight{{server=\"{}\",upstream=\"main\"}}", busy.address());
        gateway.expect_metric(&in_flight, 1.0);
        for _ in 0..12 {
            assert_eq!(gateway.get("/").status, 200);
        }
        assert_eq!((busy.seen().len(), idle.seen().len()), (1, 12), "{balance}");
        door.open();
        assert_eq!(held.join().unwrap(), 200);
        gateway.expect_metric(&in_flight, 0.0);
    }
}

fn owners(gateway: &Gateway, line: impl Fn(usize) -> String) -> HashMap<usize, String> {
    (0..24).map(|key| (key, get(gateway.address(), "/", &line(key)).body)).collect()
}

#[test]
fn a_key_stays_with_its_server_and_only_the_keys_of_a_lost_server_move() {
    let lost = Arc::new(Mutex::new(""));
    let server = |name: &'static str| {
        let lost = Arc::clone(&lost);
        Upstream::answering(move |request| {
            let is_lost = request.starts_with("GET /healthz") && *lost.lock().unwrap() == name;
            Some(answer(if is_lost { "503 Gone" } else { "200 OK" }, "", name))
        })
    };
    let servers = [server("a"), server("b"), server("c")];
    let all = urls(&[&servers[0], &servers[1], &servers[2]]);
    let check = "{ path: /healthz, interval: 100ms, unhealthy_after: 1, healthy_after: 1 }";
    for balance in ["hash:header:x-tenant", "hash:cookie:tenant"] {
        let gateway = Setup::open_to(&format!("{{ servers: [{all}], balance: \"{balance}\", health_check: {check} }}")).start();
        let line = |key: usize| {
            if balance.contains("cookie") { format!("Cookie: x=1; tenant=t{key}\r\n") } else { format!("X-Tenant: t{key}\r\n") }
        };
        let before = owners(&gateway, line);
        assert_eq!(before, owners(&gateway, line), "the same key, the same server");
        for name in ["a", "b", "c"] {
            assert!(before.values().any(|owner| owner == name), "{name} owns nothing: {before:?}");
        }
        *lost.lock().unwrap() = "b";
        wait_for("the loss", || gateway.state(servers[1].address()) == "down");
        for (key, owner) in owners(&gateway, line) {
            assert_ne!(owner, "b");
            assert!(before[&key] == "b" || before[&key] == owner, "{key} moved from {} to {owner}", before[&key]);
        }
        *lost.lock().unwrap() = "";
        wait_for("the return", || gateway.state(servers[1].address()) == "up");
        assert_eq!(before, owners(&gateway, line), "everybody is back");
    }
}

#[test]
fn a_claim_chooses_the_server() {
    let (a, b) = (Upstream::named("a"), Upstream::named("b"));
    let gateway = Setup::new()
        .upstream_text("main", &format!("{{ servers: [{}], balance: \"hash:claim:org\" }}", urls(&[&a, &b])))
        .route("all", "/**", "required", "main")
        .start();
    let mut owners = Vec::new();
    for org in 0..12 {
        let token = mint(&MintRequest::of(&format!("org{org}"), "pro"));
        let owner = gateway.get_with("/", &token).body;
        for _ in 0..3 {
            assert_eq!(gateway.get_with("/", &token).body, owner);
        }
        // Another token of the same customer: the claim counts, not the token.
        assert_eq!(gateway.get_as("/", &MintRequest::of(&format!("org{org}"), "free")).body, owner);
        owners.push(owner);
    }
    assert!(owners.iter().any(|owner| owner == "a") && owners.iter().any(|owner| owner == "b"), "{owners:?}");
}

#[test]
fn a_full_server_is_503_and_has_room_again_when_a_request_ends() {
    let door = Door::default();
    let server = door.server("only");
    let gateway = Setup::open_to(&format!("{{ servers: [{}], circuit_breaker: {{ requests: 2 }} }}", url(&server))).start();
    let held = [hold(gateway.address()), hold(gateway.address())];
    wait_for("two held requests", || door.waiting() == 2);
    let refused = gateway.get("/");
    assert_eq!((refused.status, refused.reason().as_str()), (503, "upstream_busy"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.seen().len(), 2, "the refused request reached nobody");
    gateway.expect_metric("tollgate_upstream_errors_total{reason=\"upstream_busy\",upstream=\"main\"}", 1.0);
    door.open();
    for held in held {
        assert_eq!(held.join().unwrap(), 200);
    }
    wait_for("room", || gateway.get("/").status == 200);
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let door = Door::default();
    let server = door.server("only");
    let gateway = Setup::open_to(&format!("{{ servers: [{}], circuit_breaker: {{ requests: 1 }} }}", url(&server))).start();
    {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(gateway.address()).unwrap();
        stream.write_all(b"GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        wait_for("the held request", || door.waiting() == 1);
        assert_eq!(gateway.get("/").status, 503);
    }
    wait_for("room", || gateway.get("/").status == 200);
    door.open();
}

#[test]
fn the_whole_request_has_a_limit() {
    // Sends a head and then a byte of its body every 50 ms, for ever.
    let trickle = crate::support::raw_server(|mut stream| {
        use std::io::{Read, Write};
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let silent = crate::support::raw_server(|stream| {
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    let gateway = Setup::new()
        .upstream_text("trickle", &format!("{{ servers: [\"http://{trickle}\"], timeouts: {{ total: 1s }} }}"))
        .upstream_text("silent", &format!("{{ servers: [\"http://{silent}\"], timeouts: {{ total: 1s }} }}"))
        .route("silent", "/silent", "none", "silent")
        .route("all", "/**", "none", "trickle")
        .start();
    let began = Instant::now();
    let late = gateway.get("/silent");
    assert_eq!((late.status, late.reason().as_str()), (504, "upstream_timeout"));
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let cut = gateway.get("/");
    assert_eq!(cut.status, 200);
    assert!(cut.body.len() < 1_000_000, "it was cut off");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let lines = gateway.access_lines(2);
    assert_eq!(lines[1]["outcome"], "upstream_error");
    assert_eq!(lines[1]["cut_off"], true);
}

#[test]
fn operators_see_every_server_and_why() {
    let up = Upstream::named("up");
    let down = crate::support::free_port();
    let check = "{ type: tcp, interval: 200ms }";
    let gateway = Setup::open_to(&format!(
        "{{ servers: [{{ url: {}, weight: 7 }}, \"http://127.0.0.1:{down}\", \"http://no-such-name.invalid\"], health_check: {check} }}",
        url(&up)
    ))
    .start();
    let down: SocketAddr = ([127, 0, 0, 1], down).into();
    wait_for("the first probes", || gateway.state(up.address()) == "up" && gateway.state(down) == "down");
    let servers = gateway.servers();
    assert_eq!((&servers[0]["weight"], &servers[0]["why"]), (&7.into(), &serde_json::Value::Null));
    assert!(servers[1]["why"].as_str().unwrap().contains("Connect"), "{servers:?}");
    assert_eq!(servers[2]["state"], "unresolved");
    let healthy = |server: SocketAddr| format!("tollgate_upstream_healthy{{server=\"{server}\",upstream=\"main\"}}");
    gateway.expect_metric(&healthy(up.address()), 1.0);
    gateway.expect_metric(&healthy(down), 0.0);
    assert!(gateway.metric("tollgate_upstream_health_checks_total{result=\"failure\",upstream=\"main\"}") >= 1.0);
    assert!(gateway.metric("tollgate_upstream_health_checks_total{result=\"success\",upstream=\"main\"}") >= 1.0);
    gateway.get("/");
    let line = &gateway.access_lines(1)[0];
    assert_eq!(line["server"], up.address().to_string());
    assert!(line.get("attempts").is_none(), "{line}");
}

#[test]
fn another_balance_under_load_fails_no_request_and_loses_no_place() {
    let (a, b) = (Upstream::named("a"), Upstream::named("b"));
    let keys = |balance: &str| format!("{{ servers: [{}], balance: {balance} }}", urls(&[&a, &b]));
    let gateway = Setup::open_to(&keys("round_robin")).start();
    let done = AtomicBool::new(false);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let calls = || {
            let mut statuses = Vec::new();
            while !done.load(Ordering::Relaxed) {
                statuses.push(gateway.get("/").status);
            }
            statuses
        };
        let callers: Vec<_> = (0..3).map(|_| scope.spawn(calls)).collect();
        let mut before = "round_robin".to_owned();
        for balance in ["least_requests", "power_of_two", "hash:client_ip", "round_robin"] {
            gateway.reload(|text| text.replace(&format!("balance: {before}"), &format!("balance: {balance}")));
            before = balance.to_owned();
        }
        done.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    assert!(statuses.len() > 20 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    for server in [&a, &b] {
        let in_flight = format!("tollgate_upstream_requests_in_flight{{server=\"{}\",upstream=\"main\"}}", server.address());
        gateway.expect_metric(&in_flight, 0.0);
    }
    let sent: u64 = gateway.servers().iter().map(|server| server["requests"].as_u64().unwrap()).sum();
    assert_eq!(sent, statuses.len() as u64, "counters go on over reloads");
}
