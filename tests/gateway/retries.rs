//! What is sent again, and what never is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::{Setup, Upstream, answer, free_port, get, raw_server, send};

fn request(method: &str, body: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn busy() -> Upstream {
    Upstream::answering(|_| Some(answer("503 Service Unavailable", "Retry-After: 9\r\n", "busy")))
}

#[test]
fn a_status_that_is_named_is_tried_elsewhere_unless_the_method_forbids_it() {
    let (sick, well) = (busy(), Upstream::named("well"));
    let keys = |when: &str| {
        format!(
            "{{ servers: [\"http://{}\", \"http://{}\"], outlier_detection: false, retries: {{ when: [{when}] }} }}",
            sick.address(),
            well.address()
        )
    };
    let gateway = Setup::open_to(&keys("\"503\"")).start();
    for _ in 0..4 {
        let reply = gateway.get("/");
        assert_eq!((reply.status, reply.body.as_str()), (200, "well"));
    }
    // Second attempts take no turn: half of the requests begin at each server.
    assert_eq!((sick.seen().len(), well.seen().len()), (2, 4));
    let lines = gateway.access_lines(4);
    assert_eq!(lines.iter().filter(|line| line["attempts"] == 2).count(), 2);
    assert!(lines.iter().all(|line| line["server"] == well.address().to_string()), "{lines:?}");
    gateway.expect_metric("tollgate_upstream_retries_total{upstream=\"main\"}", 2.0);
    gateway.expect_metric("tollgate_upstream_requests_total{code=\"503\",upstream=\"main\"}", 2.0);

    let mut statuses: Vec<u16> = (0..2).map(|_| gateway.send(&request("POST", "x")).unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503], "a POST gets the answer there is");

    let gateway = Setup::open_to(&keys("\"502\"")).start();
    let mut statuses: Vec<u16> = (0..2).map(|_| gateway.get("/").status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503], "503 was not named");
}

#[test]
fn a_request_is_billed_once_however_often_it_was_sent() {
    let (sick, well) = (busy(), Upstream::named("well"));
    let keys =
        format!("{{ servers: [\"http://{}\", \"http://{}\"], retries: {{ when: [\"503\"] }} }}", sick.address(), well.address());
    let gateway = Setup::open_to(&keys).rule("bill", "fn on_request() { meter(\"calls\"); }").billed().start();
    for _ in 0..4 {
        assert_eq!(gateway.get("/").status, 200);
    }
    assert_eq!(sick.seen().len(), 2);
    gateway.expect_metric("tollgate_usage_events_total{result=\"written\"}", 4.0);
    assert_eq!(gateway.used("calls"), 4);
}

#[test]
fn the_last_answer_is_passed_on_as_it_is() {
    let sick = busy();
    let gateway =
        Setup::open_to(&format!("{{ servers: [\"http://{}\"], retries: {{ attempts: 2, when: [\"503\"] }} }}", sick.address()))
            .start();
    let reply = gateway.get("/");
    assert_eq!((reply.status, reply.body.as_str(), reply.header("retry-after")), (503, "busy", Some("9")));
    assert_eq!(sick.seen().len(), 3, "the only server there is was asked again");
}

#[test]
fn a_body_is_sent_again_as_it_was_unless_it_is_too_large() {
    for (length, expected) in [(1_000, 200), (200_000, 503)] {
        let (sick, well) = (busy(), Upstream::named("well"));
        let gateway = Setup::open_to(&format!(
            "{{ servers: [\"http://{}\", \"http://{}\"], retries: {{ when: [\"503\"] }} }}",
            sick.address(),
            well.address()
        ))
        .start();
        let body = "0123456789".repeat(length / 10);
        // The first one goes to the sick server.
        let reply = gateway.send(&request("PUT", &body)).unwrap();
        assert_eq!(reply.status, expected, "{length}");
        if expected == 200 {
            assert!(well.last().ends_with(&format!("\r\n\r\n{body}")));
        } else {
            assert_eq!(well.seen().len(), 0);
        }
    }
}

#[test]
fn retries_have_a_budget() {
    let sick = busy();
    let gateway =
        Setup::open_to(&format!("{{ servers: [\"http://{}\"], retries: {{ when: [\"503\"], budget: 0% }} }}", sick.address()))
            .start();
    let began = Instant::now();
    for _ in 0..40 {
        assert_eq!(gateway.get("/").status, 503);
    }
    // Ten to begin with, and one a second.
    let retries = sick.seen().len() - 40;
    let most = 10 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    assert!((10..=most).contains(&retries), "{retries}");
    gateway.expect_metric("tollgate_upstream_retries_total{upstream=\"main\"}", retries as f64);
    let refused = "tollgate_upstream_retry_budget_exhausted_total{upstream=\"main\"}";
    gateway.expect_metric(refused, (40 - retries) as f64);
}

#[test]
fn a_server_that_does_not_begin_to_answer_is_left_for_another_one() {
    let silent = raw_server(|stream| {
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    let well = Upstream::named("well");
    let keys = |retries: &str| {
        format!("{{ servers: [\"http://{silent}\", \"http://{}\"], timeouts: {{ read: 300ms }}, {retries} }}", well.address())
    };
    let gateway = Setup::open_to(&keys("retries: { when: [first_byte_timeout] }")).start();
    let reply = gateway.get("/");
    assert_eq!((reply.status, reply.body.as_str()), (200, "well"));
    assert_eq!(gateway.access_lines(1)[0]["attempts"], 2);
    assert_eq!(gateway.get("/").body, "well", "its own turn");
    let late = gateway.send(&request("POST", "x")).unwrap();
    assert_eq!((late.status, late.reason().as_str()), (504, "upstream_timeout"), "a POST may be at work there");
    let gateway = Setup::open_to(&keys("retries: {}")).start();
    assert_eq!(gateway.get("/").status, 504, "nobody asked for it");
}

#[test]
fn nothing_was_sent_so_even_a_post_goes_elsewhere() {
    let well = Upstream::named("well");
    let dead = free_port();
    let servers = format!("servers: [\"http://127.0.0.1:{dead}\", \"http://{}\"]", well.address());
    let gateway = Setup::open_to(&format!("{{ {servers} }}")).start();
    for _ in 0..2 {
        assert_eq!(gateway.send(&request("POST", "once")).unwrap().body, "well");
    }
    assert_eq!(well.seen().len(), 2);
    let gateway = Setup::open_to(&format!("{{ {servers}, retries: {{ when: [stale_connection] }} }}")).start();
    let mut statuses: Vec<u16> = (0..2).map(|_| gateway.get("/").status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502], "unless the operator does not want that");
}

/// Answers the first request of each connection and closes at the second without a word.
fn forgetful(requests: &Arc<AtomicUsize>) -> std::net::SocketAddr {
    let requests = Arc::clone(requests);
    raw_server(move |stream: TcpStream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for round in 0..2 {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            requests.fetch_add(1, Ordering::SeqCst);
            if round == 0 {
                let _ = (&stream).write_all(&answer("200 OK", "", "first"));
            }
        }
    })
}

#[test]
fn a_stale_connection_is_replaced_for_what_may_be_sent_twice_and_only_for_that() {
    let requests = Arc::new(AtomicUsize::new(0));
    let server = forgetful(&requests);
    for (method, retries, expected, sent) in
        [("GET", "{}", 200, 3), ("POST", "{}", 502, 2), ("PUT", "{}", 200, 3), ("GET", "{ when: [connect_error] }", 502, 2)]
    {
        let gateway = Setup::open_to(&format!("{{ servers: [\"http://{server}\"], retries: {retries} }}"))
            // The second request finds the connection of the first.
            .threads(1)
            .start();
        requests.store(0, Ordering::SeqCst);
        assert_eq!(get(gateway.address(), "/", "").status, 200);
        assert_eq!(send(gateway.address(), request(method, "").as_bytes()).unwrap().status, expected, "{method} {retries}");
        assert_eq!(requests.load(Ordering::SeqCst), sent, "{method} {retries}");
        assert_eq!(gateway.state(server), "unchecked");
    }
}
