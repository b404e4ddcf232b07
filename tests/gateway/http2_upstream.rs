//! Upstreams that speak HTTP/2.

use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;

use crate::support::{Authority, H2Answer, H2Server, Setup, answer, get, tls_server};

#[test]
fn a_server_with_prior_knowledge_gets_http2_without_tls() {
    let server = H2Server::plain(|request| H2Answer::new(200).header("x-seen", "h2").body(&request.body));
    let gateway = Setup::open_to(&format!("{{ servers: [\"http://{}\"], protocol: http2 }}", server.address())).start();
    let request =
        "POST /echo?a=1 HTTP/1.1\r\nHost: shop.example\r\nX-Mine: yes\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let reply = gateway.send(request).unwrap();
    assert_eq!((reply.status, reply.header("x-seen")), (200, Some("h2")));
    assert!(reply.body.contains("hello"), "{reply:?}");
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.scheme.as_str()), ("POST", "/echo", "http"));
    assert_eq!(seen.authority, "shop.example");
    assert_eq!((seen.header("x-mine"), seen.header("host"), seen.header("connection")), (Some("yes"), None, None));
}

#[test]
fn requests_at_the_same_time_share_a_connection() {
    let together = Arc::new(Barrier::new(4));
    let theirs = Arc::clone(&together);
    let server = H2Server::plain(move |request| {
        if request.path == "/meet" {
            // Nobody gets an answer before all four are there.
            theirs.wait();
        }
        H2Answer::new(200)
    });
    let gateway =
        Setup::open_to(&format!("{{ servers: [\"http://{}\"], protocol: http2 }}", server.address())).threads(1).start();
    assert_eq!(gateway.get("/first").status, 200);
    let address = gateway.address();
    let calls: Vec<_> = (0..4).map(|_| thread::spawn(move || get(address, "/meet", "").status)).collect();
    for call in calls {
        assert_eq!(call.join().unwrap(), 200);
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn alpn_agrees_on_http2_or_on_what_there_is() {
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, ours.pem()).unwrap();
    let new = H2Server::secure(ours.acceptor("localhost"), |_| H2Answer::new(200).body(b"new"));
    let old = tls_server(ours.acceptor("localhost"), |_, _, _| answer("200 OK", "", "old"));
    for (port, protocol, expected) in
        [(new.address().port(), "http2", "new"), (new.address().port(), "auto", "new"), (old.port(), "auto", "old")]
    {
        let tls = format!("tls: {{ ca: {}, server_name: localhost }}", ca.display());
        let gateway = Setup::open_to(&format!(
            "{{ servers: [\"https://127.0.0.1:{port}\"], protocol: {protocol}, {tls}, timeouts: {{ read: 5s }} }}"
        ))
        .start();
        let reply = gateway.get("/");
        assert_eq!(reply.status, 200, "{protocol}");
        assert!(reply.body.contains(expected), "{protocol}: {reply:?}");
    }
    assert_eq!(new.seen()[0].scheme, "https");
    assert_eq!(new.seen().len(), 2);
}

#[test]
fn statuses_and_methods_are_retried_as_over_http1() {
    let sick = H2Server::plain(|_| H2Answer::new(503));
    let well = H2Server::plain(|_| H2Answer::new(200).body(b"well"));
    let gateway = Setup::open_to(&format!(
        "{{ servers: [\"http://{}\", \"http://{}\"], protocol: http2, retries: {{ when: [\"503\"] }} }}",
        sick.address(),
        well.address()
    ))
    .start();
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!((sick.seen().len(), well.seen().len()), (1, 1));
    let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    let mut statuses: Vec<u16> = (0..2).map(|_| gateway.send(post).unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503], "a POST gets the answer there is");
    assert_eq!((sick.seen().len(), well.seen().len()), (2, 2));
}
