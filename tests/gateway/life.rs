//! Start, reload, stop.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tollgate::demo::MintRequest;

use crate::support::{Setup, Upstream, answer, free_port, mint, wait_for};

const DENY: &str = "fn on_request() { deny(\"closed\"); }";
const OPEN: &str = "fn on_request() { }";

#[test]
fn a_changed_rule_is_in_use_at_once_and_a_broken_one_never() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).rule("gate", OPEN).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    assert_eq!(gateway.get_with("/", &token).status, 200);

    gateway.write("rules/gate.rhai", DENY);
    wait_for("the new rule", || gateway.get_with("/", &token).status == 403);

    gateway.write("rules/gate.rhai", "fn on_request() { denny(\"typo\"); }");
    wait_for("the refused reload", || gateway.metric("tollgate_config_last_reload_successful") == 0.0);
    assert_eq!(gateway.get_with("/", &token).status, 403, "the rules before stay in use");
    let status = gateway.admin("/status").unwrap().json();
    assert!(status["config"]["failed_reload"]["problems"].as_str().unwrap().contains("denny"), "{status}");

    gateway.write("rules/gate.rhai", OPEN);
    wait_for("the mended rule", || gateway.get_with("/", &token).status == 200);
    gateway.expect_metric("tollgate_config_last_reload_successful", 1.0);
    assert!(gateway.admin("/status").unwrap().json()["config"]["failed_reload"].is_null());
}

#[test]
fn sighup_loads_a_changed_configuration_all_or_nothing() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let config = gateway.config();
    gateway.write("config.yaml", &config.replace("path: \"/**\"", "path: \"/only/**\""));
    gateway.signal("HUP");
    wait_for("the new route", || gateway.get_with("/", &token).status == 404);
    assert_eq!(gateway.get_with("/only/this", &token).status, 200);
    gateway.write("config.yaml", &config.replace("upstream: main", "upstream: mian"));
    gateway.signal("HUP");
    wait_for("the refusal", || gateway.metric("tollgate_config_reloads_total{result=\"failure\"}") >= 1.0);
    assert_eq!(gateway.get_with("/only/this", &token).status, 200);
    assert!(gateway.log().contains("did you mean"), "{}", gateway.log());
}

#[test]
fn reloading_under_load_fails_no_request() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).rule("gate", OPEN).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let done = AtomicBool::new(false);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut statuses = Vec::new();
            while !done.load(Ordering::Relaxed) {
                statuses.push(gateway.get_with("/", &token).status);
            }
            statuses
        });
        for round in 0..20 {
            let text = if round % 5 == 4 { "fn on_request() { broken(".to_owned() } else { format!("{OPEN} // {round}") };
            gateway.write("rules/gate.rhai", &text);
            std::thread::sleep(Duration::from_millis(40));
        }
        done.store(true, Ordering::Relaxed);
        calls.join().unwrap()
    });
    assert!(statuses.len() > 50 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    wait_for("reloads", || gateway.metric("tollgate_config_reloads_total{result=\"success\"}") >= 5.0);
}

#[test]
fn limits_and_the_bill_outlive_a_reload() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(claims) { throttle(claims.org, 2, \"1h\"); meter(\"calls\"); }";
    let gateway = Setup::to(upstream.address()).rule("limits", rule).billed().start();
    let token = mint(&MintRequest::of("acme", "pro"));
    assert_eq!(gateway.get_with("/", &token).status, 200);
    gateway.write("rules/limits.rhai", &format!("{rule} // changed"));
    wait_for("the reload", || gateway.metric("tollgate_config_reloads_total{result=\"success\"}") >= 2.0);
    assert_eq!(gateway.get_with("/", &token).status, 200);
    assert_eq!(gateway.get_with("/", &token).status, 429);
    wait_for("the ledger", || gateway.used("calls") == 2);
}

#[test]
fn sigterm_lets_a_running_request_finish() {
    let upstream = Upstream::answering(|_| {
        std::thread::sleep(Duration::from_millis(700));
        Some(answer("200 OK", "", "late"))
    });
    let mut gateway = Setup::to(upstream.address()).start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    wait_for("the request", || upstream.seen().len() == 1);
    gateway.signal("TERM");
    wait_for("draining", || gateway.admin("/readyz").is_none_or(|reply| reply.status == 503));
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    assert!(received.starts_with("HTTP/1.1 200") && received.ends_with("late"), "{received}");
    let (status, took) = gateway.wait();
    assert!(status.success());
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_busy_port_stops_the_start_with_its_name() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = gateway.config().replace(&gateway.address().to_string(), &address);
    std::fs::write(gateway.path("second.yaml"), config).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["run", "-c"]).arg(gateway.path("second.yaml")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("listeners[].address"), "{said}");
}

#[test]
fn a_broken_configuration_stops_the_start_with_every_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let text = format!(
        "version: 1\nlisteners: [{{ address: 127.0.0.1:{} }}]\nidentity:\n  issuers: [{{ url: http://localhost:9011, issuer: acme.com, audiences: [a] }}]\n\
         upstreams:\n  app: {{ servers: [http://127.0.0.1:3000] }}\nroutes:\n  - {{ name: app, match: {{ path: /** }}, auth: requird, upstream: ap }}\nrulez: []\n",
        free_port()
    );
    std::fs::write(&path, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["run", "-c"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    for word in ["requird", "`app`", "rulez", "rules"] {
        assert!(said.contains(word), "{word} is missing in\n{said}");
    }
}
