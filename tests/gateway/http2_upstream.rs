//! Upstreams that speak HTTP/2.

use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;

use crate::support::{Authority, H2Answer, H2Server, Setup, acceptor, answer, get, h2_ask, tls_server};

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
    let new = H2Server::secure(acceptor(&ours.server(&["localhost"])), |_| H2Answer::new(200).body(b"new"));
    let old = tls_server(acceptor(&ours.server(&["localhost"])), |_, _, _| answer("200 OK", "", "old"));
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

/// What a gRPC client sends and a gRPC server answers: the status is in the trailers, or in the head if there is no message.
#[test]
fn grpc_calls_keep_their_frames_and_trailers() {
    let server = H2Server::plain(|request| match request.path.as_str() {
        "/shop.Orders/Get" => H2Answer::new(200)
            .header("content-type", "application/grpc")
            .body(b"\0\0\0\0\x02ok")
            .trailer("grpc-status", "0")
            .trailer("grpc-message", "fine"),
        _ => H2Answer::new(200).header("content-type", "application/grpc").header("grpc-status", "12"),
    });
    let gateway = Setup::open_to(&format!("{{ servers: [\"http://{}\"], protocol: http2 }}", server.address()))
        .listener("    protocols: [http1, http2]\n")
        .start();
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let reply = h2_ask(gateway.address(), "/shop.Orders/Get", &grpc, b"\0\0\0\0\x01x").unwrap();
    assert_eq!((reply.status, &reply.body[..]), (200, &b"\0\0\0\0\x02ok"[..]));
    assert_eq!(reply.trailers["grpc-status"], "0");
    assert_eq!(reply.trailers["grpc-message"], "fine");
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.authority.as_str(), &seen.body[..]), ("POST", "grpc.example", &b"\0\0\0\0\x01x"[..]));
    assert_eq!((seen.header("te"), seen.header("content-type")), (Some("trailers"), Some("application/grpc")));

    let reply = h2_ask(gateway.address(), "/shop.Orders/Nothing", &grpc, b"\0\0\0\0\0").unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(reply.headers["grpc-status"], "12");
}
