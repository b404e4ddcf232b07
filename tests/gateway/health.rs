//! Servers that go out and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use crate::support::{H2Answer, H2Server, Setup, Upstream, answer, wait_for};

/// A server whose answers have a status that can be changed: of probes, and of everything else.
struct Patient {
    server: Upstream,
    probes: Arc<AtomicU16>,
    requests: Arc<AtomicU16>,
    served: Arc<AtomicUsize>,
}

impl Patient {
    fn new() -> Self {
        let (probes, requests) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(200)));
        let served = Arc::new(AtomicUsize::new(0));
        let (theirs, others, count) = (Arc::clone(&probes), Arc::clone(&requests), Arc::clone(&served));
        let server = Upstream::answering(move |request| {
            let status = if request.starts_with("GET /healthz") {
                theirs.load(Ordering::SeqCst)
            } else {
                count.fetch_add(1, Ordering::SeqCst);
                others.load(Ordering::SeqCst)
            };
            Some(answer(&format!("{status} Whatever"), "", "hello"))
        });
        Self { server, probes, requests, served }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

fn settings(patients: &[&Patient], more: &str) -> String {
    let urls: Vec<String> = patients.iter().map(|patient| format!("\"http://{}\"", patient.server.address())).collect();
    format!("{{ servers: [{}], {more} }}", urls.join(", "))
}

const CHECK: &str = "health_check: { path: /healthz, interval: 100ms, expect: [200..299], host: probe.internal }";

#[test]
fn probes_take_a_server_out_and_back_and_a_reload_forgets_nothing() {
    let (sick, well) = (Patient::new(), Patient::new());
    let gateway = Setup::open_to(&settings(&[&sick, &well], CHECK)).start();
    let address = sick.server.address();
    wait_for("the first probe", || gateway.state(address) == "up");
    assert!(
        sick.server.seen()[0].contains("\r\nhost: probe.internal\r\n")
            || sick.server.seen()[0].contains("\r\nHost: probe.internal\r\n")
    );

    sick.probes.store(500, Ordering::SeqCst);
    wait_for("the failed probes", || gateway.state(address) == "down");
    assert!(gateway.servers()[0]["why"].as_str().unwrap().contains("500"));
    let before = sick.served();
    for _ in 0..10 {
        assert_eq!(gateway.get("/").status, 200);
    }
    assert_eq!(sick.served(), before, "no request goes there");

    // An hour between probes: what is known now is known from before the reload, or not at all.
    gateway.reload(|text| text.replace("interval: 100ms", "interval: 1h"));
    for _ in 0..10 {
        assert_eq!(gateway.get("/").status, 200);
    }
    assert_eq!(sick.served(), before, "nor after a reload");
    assert_eq!(gateway.state(address), "down");

    sick.probes.store(204, Ordering::SeqCst);
    gateway.reload(|text| text.replace("interval: 1h", "interval: 100ms"));
    wait_for("the good probes", || gateway.state(address) == "up");
    wait_for("requests", || gateway.get("/").status == 200 && sick.served() > before);
}

#[test]
fn with_every_server_down_the_answer_is_503_at_once() {
    let (one, two) = (Patient::new(), Patient::new());
    one.probes.store(503, Ordering::SeqCst);
    two.probes.store(404, Ordering::SeqCst);
    let gateway = Setup::open_to(&settings(&[&one, &two], CHECK)).start();
    let states = || [one.server.address(), two.server.address()].map(|address| gateway.state(address));
    wait_for("both to be down", || states() == ["down", "down"]);
    let before = one.served() + two.served();
    let refused = gateway.get("/");
    assert_eq!((refused.status, refused.reason().as_str()), (503, "no_healthy_server"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(one.served() + two.served(), before);
    gateway.expect_metric("tollgate_upstream_errors_total{reason=\"no_healthy_server\",upstream=\"main\"}", 1.0);
}

#[test]
fn servers_of_http2_are_probed_over_http2() {
    let server = H2Server::plain(|request| {
        assert_eq!(request.path, "/healthz");
        H2Answer::new(if request.authority == "probe.internal" { 204 } else { 500 })
    });
    for (host, expected) in [(", host: probe.internal", "up"), ("", "down")] {
        let check = format!("health_check: {{ path: /healthz{host} }}");
        let keys = format!("{{ servers: [\"http://{}\"], protocol: http2, {check} }}", server.address());
        let gateway = Setup::open_to(&keys).start();
        wait_for("the first probe", || gateway.state(server.address()) == expected);
    }
    let usual = &server.seen()[1].authority;
    assert_eq!(*usual, server.address().to_string());
}

#[test]
fn a_probe_that_gets_no_answer_is_a_failed_one() {
    let silent = crate::support::raw_server(|stream| {
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    let check = "health_check: { path: /, interval: 200ms, timeout: 300ms }";
    let gateway = Setup::open_to(&format!("{{ servers: [\"http://{silent}\"], {check} }}")).start();
    wait_for("the first probe", || gateway.state(silent) == "down");
    assert!(gateway.servers()[0]["why"].as_str().unwrap().contains("no answer"), "{:?}", gateway.servers());
}

#[test]
fn failed_requests_eject_a_server_and_time_brings_it_back() {
    let (sick, well) = (Patient::new(), Patient::new());
    let more = "outlier_detection: { consecutive_failures: 3, ejection: 2s }, retries: { attempts: 0 }";
    let gateway = Setup::open_to(&settings(&[&sick, &well], more)).start();
    let address = sick.server.address();

    // An application that fails says nothing about its server: a client could make it fail.
    sick.requests.store(500, Ordering::SeqCst);
    for _ in 0..20 {
        gateway.get("/");
    }
    assert_eq!(gateway.state(address), "unchecked");

    sick.requests.store(503, Ordering::SeqCst);
    let mut failed = 0;
    wait_for("the ejection", || {
        failed += usize::from(gateway.get("/").status == 503);
        gateway.state(address) == "ejected"
    });
    assert_eq!(failed, 3, "no more than that reached clients");
    let ejections = format!("tollgate_upstream_ejections_total{{server=\"{address}\",upstream=\"main\"}}");
    gateway.expect_metric(&ejections, 1.0);
    assert!(gateway.log().contains("a server gets no requests for a while"));
    assert_eq!(gateway.servers()[0]["why"], "status 503");

    sick.requests.store(200, Ordering::SeqCst);
    wait_for("the return", || gateway.state(address) == "unchecked");
    let before = sick.served();
    wait_for("requests", || gateway.get("/").status == 200 && sick.served() > before);
}

#[test]
fn a_single_server_is_never_ejected_and_detection_can_be_switched_off() {
    for (more, servers) in [("outlier_detection: { consecutive_failures: 1 }", 1), ("outlier_detection: false", 2)] {
        let patients = [Patient::new(), Patient::new()];
        patients[0].requests.store(503, Ordering::SeqCst);
        let chosen: Vec<&Patient> = patients.iter().take(servers).collect();
        let gateway = Setup::open_to(&settings(&chosen, more)).start();
        for _ in 0..12 {
            gateway.get("/");
        }
        assert_eq!(gateway.state(patients[0].server.address()), "unchecked", "{more}");
        assert_eq!(patients[0].served(), 12 / servers, "{more}");
    }
}

#[test]
fn a_server_that_comes_back_starts_slowly() {
    let (sick, well) = (Patient::new(), Patient::new());
    sick.probes.store(503, Ordering::SeqCst);
    let gateway = Setup::open_to(&settings(&[&sick, &well], &format!("{CHECK}, slow_start: 1h"))).start();
    let address = sick.server.address();
    wait_for("the first probe", || gateway.state(address) == "down");
    sick.probes.store(200, Ordering::SeqCst);
    wait_for("the good probes", || gateway.state(address) == "up");
    let before = sick.served();
    for _ in 0..100 {
        assert_eq!(gateway.get("/").status, 200);
    }
    // Half of them would be its share; it gets a tenth of that.
    let share = sick.served() - before;
    assert!((1..20).contains(&share), "{share} of 100");
}

#[test]
fn grpc_servers_are_asked_by_their_own_protocol() {
    let status = Arc::new(AtomicU16::new(1));
    let theirs = Arc::clone(&status);
    let server = H2Server::plain(move |request| {
        assert_eq!(request.path, "/grpc.health.v1.Health/Check");
        assert_eq!(request.header("content-type"), Some("application/grpc"));
        assert_eq!(request.body, b"\0\0\0\0\x08\x0a\x06orders", "one frame, one field");
        let serving = u8::try_from(theirs.load(Ordering::SeqCst)).unwrap();
        H2Answer::new(200)
            .header("content-type", "application/grpc")
            .body(&[0, 0, 0, 0, 2, 8, serving])
            .trailer("grpc-status", "0")
    });
    let check = "health_check: { type: grpc, service: orders, interval: 100ms, unhealthy_after: 1, healthy_after: 1 }";
    let keys = format!("{{ servers: [\"http://{}\"], protocol: http2, {check} }}", server.address());
    let gateway = Setup::open_to(&keys).start();
    wait_for("the first probe", || gateway.state(server.address()) == "up");
    status.store(2, Ordering::SeqCst);
    wait_for("NOT_SERVING", || gateway.state(server.address()) == "down");
    assert_eq!(gateway.servers()[0]["why"], "serving status 2");
    status.store(1, Ordering::SeqCst);
    wait_for("SERVING", || gateway.state(server.address()) == "up");
}
