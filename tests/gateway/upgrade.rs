//! The binary upgrade: one process after the other, on the same sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tollgate::demo::MintRequest;

use crate::support::{Gateway, Kept, Setup, Upstream, answer, mint, wait_for};

fn successor(gateway: &Gateway, config: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "--upgrade", "-c", config])
        .current_dir(gateway.path(""))
        .output()
        .unwrap()
}

#[test]
fn an_upgrade_under_load_fails_no_request_and_counts_each() {
    let upstream = Upstream::answering(|_| {
        thread::sleep(Duration::from_millis(3));
        Some(answer("200 OK", "", "main"))
    });
    let metering = "fn on_request() { meter(\"calls\"); }";
    let mut gateway = Setup::to(upstream.address())
        .rule("metering", metering)
        .billed()
        .server(", drain_wait: 2s, upgrade_socket: private/upgrade.sock")
        .start();
    let address = gateway.address();
    let token = mint(&MintRequest::of("acme", "pro"));
    let (done, answered, told) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let first = gateway.pid();
    thread::scope(|scope| {
        for keeps in [true, true, false, false] {
            let (token, done, answered, told) = (&token, &done, &answered, &told);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    let mut kept = Kept::to(address).expect("a connection at any time");
                    loop {
                        let (status, closes) = kept.ask(token).expect("an answer on a connection that was not said to close");
                        assert_eq!(status, 200);
                        answered.fetch_add(1, Ordering::AcqRel);
                        told.fetch_add(u64::from(closes), Ordering::AcqRel);
                        if closes || !keeps || done.load(Ordering::Acquire) {
                            break;
                        }
                    }
                }
            });
        }
        for round in 1..=2 {
            let before = answered.load(Ordering::Acquire);
            wait_for("load", || answered.load(Ordering::Acquire) > before + 200);
            assert!(gateway.upgrade().success(), "round {round}");
        }
        let before = answered.load(Ordering::Acquire);
        wait_for("load on the last", || answered.load(Ordering::Acquire) > before + 200);
        done.store(true, Ordering::Release);
    });
    assert_ne!(gateway.pid(), first);
    assert!(told.load(Ordering::Acquire) >= 4, "both kept connections were told, twice");
    let answered = answered.load(Ordering::Acquire);
    wait_for("the bill", || gateway.used("calls") == answered);
    gateway.signal("TERM");
    assert!(gateway.wait().0.success());
    assert_eq!(gateway.used("calls"), answered, "no process counted what the other did");
}

#[test]
fn limits_go_on_where_they_were() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(claims) { throttle(claims.org, 3, \"1h\"); throttle(claims.sub, 100, \"1h\", #{ burst: 4 }); }";
    let mut gateway = Setup::to(upstream.address())
        .rule("limits", rule)
        .server(", drain_wait: 0s, upgrade_socket: private/upgrade.sock")
        .start();
    let token = mint(&MintRequest::of("acme", "pro"));
    assert_eq!([200, 200], [(); 2].map(|()| gateway.get_with("/", &token).status));
    assert!(gateway.upgrade().success());
    assert_eq!([200, 429], [(); 2].map(|()| gateway.get_with("/", &token).status));
    let other = mint(&MintRequest::of("initech", "pro"));
    assert_eq!([200, 429], [(); 2].map(|()| gateway.get_with("/", &other).status), "the burst is the user's, in both processes");
}

#[test]
fn a_running_request_and_an_idle_connection_outlive_the_hand_over() {
    let upstream = Upstream::answering(|request| {
        if request.contains("/slow") {
            thread::sleep(Duration::from_millis(900));
        }
        Some(answer("200 OK", "", "late"))
    });
    let mut gateway = Setup::to(upstream.address()).server(", drain_wait: 2s, upgrade_socket: private/upgrade.sock").start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let mut idle = Kept::to(gateway.address()).unwrap();
    assert_eq!(idle.ask(&token).unwrap(), (200, false));
    let mut slow = TcpStream::connect(gateway.address()).unwrap();
    let old = gateway.successor();
    wait_for("the hand-over", || gateway.log().contains("a successor serves"));
    slow.write_all(format!("GET /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(idle.ask(&token).unwrap(), (200, true), "the idle connection is told");
    let mut received = String::new();
    slow.read_to_string(&mut received).unwrap();
    assert!(received.starts_with("HTTP/1.1 200 ") && received.ends_with("late"), "{received}");
    assert!(old.wait_with_output().unwrap().status.success());
    assert_eq!(gateway.get_with("/", &token).status, 200);
}

#[test]
fn a_successor_that_cannot_serve_changes_nothing() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).server(", upgrade_socket: private/upgrade.sock").start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let config = gateway.config();

    gateway.write("broken.yaml", &config.replace("upstream: main", "upstream: mian"));
    assert_eq!(successor(&gateway, "broken.yaml").status.code(), Some(3));

    // It gets as far as the sockets, and then needs one that somebody else has.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners = format!("listeners:\n  - address: {}\n", taken.local_addr().unwrap());
    gateway.write("busy.yaml", &config.replace("listeners:\n", &listeners));
    let busy = successor(&gateway, "busy.yaml");
    assert_eq!(busy.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&busy.stderr).contains("listeners[].address"));

    wait_for("the log", || gateway.log().contains("an upgrade was given up; this process goes on"));
    assert_eq!(gateway.get_with("/", &token).status, 200);
    assert_eq!(gateway.admin("/readyz").unwrap().status, 200);
}

#[test]
fn an_upgrade_of_nothing_and_a_folder_for_everybody_are_refused() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    let plain = successor(&gateway, "config.yaml");
    assert_eq!(plain.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&plain.stderr).contains("server.upgrade_socket"));

    let config = gateway.config().replace("server: {", "server: { upgrade_socket: private/upgrade.sock,");
    gateway.write("lonely.yaml", &config);
    let lonely = successor(&gateway, "lonely.yaml");
    assert_eq!(lonely.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&lonely.stderr).contains("no gateway answers"), "{lonely:?}");

    std::fs::set_permissions(gateway.path("private"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let open = successor(&gateway, "lonely.yaml");
    assert_eq!(open.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&open.stderr).contains("mode 0700"), "{open:?}");
}
