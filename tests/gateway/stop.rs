//! A stop that nobody notices who looks at `/readyz` and `Connection`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tollgate::demo::MintRequest;

use crate::support::{Kept, Setup, Upstream, answer, mint, wait_for};

#[test]
fn a_stop_under_load_fails_no_request_of_clients_that_listen() {
    let upstream = Upstream::answering(|_| {
        thread::sleep(Duration::from_millis(3));
        Some(answer("200 OK", "", "main"))
    });
    let metering = "fn on_request() { meter(\"calls\"); }";
    let mut gateway = Setup::to(upstream.address()).rule("metering", metering).billed().server(", drain_wait: 1500ms").start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let (unready, answered, told) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for keeps in [true, true, true, false] {
            let (gateway, token, unready, answered, told) = (&gateway, &token, &unready, &answered, &told);
            scope.spawn(move || {
                // What a load balancer does: new connections only while the gateway says that it is ready, and connections are kept
                // until their end is announced.
                while !unready.load(Ordering::Acquire) {
                    let mut kept = Kept::to(gateway.address()).expect("a connection while it is ready");
                    loop {
                        let (status, closes) = kept.ask(token).expect("an answer on a connection that was not said to close");
                        assert_eq!(status, 200);
                        answered.fetch_add(1, Ordering::AcqRel);
                        if closes {
                            told.fetch_add(1, Ordering::AcqRel);
                        }
                        if closes || !keeps {
                            break;
                        }
                    }
                }
            });
        }
        wait_for("load", || answered.load(Ordering::Acquire) > 200);
        assert_eq!(told.load(Ordering::Acquire), 0);
        gateway.signal("TERM");
        wait_for("unreadiness", || gateway.admin("/readyz").is_some_and(|reply| reply.status == 503));
        unready.store(true, Ordering::Release);
    });
    assert!(told.load(Ordering::Acquire) >= 3, "each kept connection was told");
    let (status, took) = gateway.wait();
    assert!(status.success());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(gateway.used("calls"), answered.load(Ordering::Acquire));
}

#[test]
fn while_it_drains_new_connections_are_served() {
    let upstream = Upstream::named("main");
    let mut gateway = Setup::to(upstream.address()).server(", drain_wait: 2s").start();
    let token = mint(&MintRequest::of("acme", "pro"));
    let began = Instant::now();
    gateway.signal("TERM");
    wait_for("unreadiness", || gateway.admin("/readyz").is_some_and(|reply| reply.status == 503));
    let (status, closes) = Kept::to(gateway.address()).unwrap().ask(&token).unwrap();
    assert_eq!((status, closes), (200, true));
    assert!(gateway.wait().0.success());
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_second_signal_of_a_person_ends_the_waiting() {
    let upstream = Upstream::named("main");
    let mut gateway = Setup::to(upstream.address()).server(", drain_wait: 4s").start();
    gateway.signal("TERM");
    wait_for("unreadiness", || gateway.admin("/readyz").is_some_and(|reply| reply.status == 503));
    gateway.signal("INT");
    let (status, took) = gateway.wait();
    assert!(status.success());
    assert!(took < Duration::from_secs(3), "{took:?}");
}
