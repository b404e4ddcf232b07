//! Upstreams over TLS: who is believed, and who is shown what.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::ssl::SslVersion;

use crate::support::{Authority, Setup, answer, tls_server, wait_for};

/// A folder for the files that a configuration names.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn hello(head: &str, client: &str, server_name: &str) -> Vec<u8> {
    assert!(head.starts_with("GET "), "{head}");
    answer("200 OK", "", &format!("{server_name} serves {client}"))
}

fn upstream(server: SocketAddr, tls: &str) -> String {
    format!("{{ servers: [\"https://localhost:{}\"], dns: {{ family: ipv4 }}, tls: {{ {tls} }} }}", server.port())
}

#[test]
fn a_server_is_believed_if_the_right_authority_says_so_for_the_right_name() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let files = folder(&[("ours.pem", &ours.pem()), ("others.pem", &others.pem())]);
    let at = |name: &str| files.path().join(name).display().to_string();
    let server = tls_server(ours.acceptor("localhost"), hello);
    let other_name = tls_server(ours.acceptor("api.internal"), hello);
    for (address, tls, expected) in [
        (server, format!("ca: {}", at("ours.pem")), Some("localhost serves ")),
        (server, format!("ca: {}", at("others.pem")), None),
        // The system's authorities do not know ours.
        (server, String::new(), None),
        (other_name, format!("ca: {}", at("ours.pem")), None),
        (other_name, format!("ca: {}, server_name: api.internal", at("ours.pem")), Some("api.internal serves ")),
        (server, "verify: false".to_owned(), Some("localhost serves ")),
    ] {
        let gateway = Setup::open_to(&upstream(address, &tls)).start();
        let reply = gateway.get("/");
        match expected {
            Some(body) => assert_eq!((reply.status, reply.body.as_str()), (200, body), "{tls}"),
            None => {
                assert_eq!((reply.status, reply.reason().as_str()), (502, "upstream_error"), "{tls}");
                gateway.expect_metric("tollgate_upstream_errors_total{reason=\"tls\",upstream=\"main\"}", 1.0);
            }
        }
    }
}

#[test]
fn a_client_certificate_is_shown_where_one_is_configured() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let (worker, stranger) = (clients.client("gateway-7"), ours.client("stranger"));
    let files = folder(&[
        ("ca.pem", &ours.pem()),
        ("gateway.pem", &worker.certificate),
        ("gateway.key", &worker.key),
        ("stranger.pem", &stranger.certificate),
        ("stranger.key", &stranger.key),
    ]);
    let at = |name: &str| files.path().join(name).display().to_string();
    let mut acceptor = ours.acceptor("localhost");
    clients.demand(&mut acceptor);
    let server = tls_server(acceptor, hello);
    let tls = |name: &str| {
        let ca = at("ca.pem");
        if name.is_empty() {
            return format!("ca: {ca}");
        }
        format!("ca: {ca}, certificate: {}, private_key: {}", at(&format!("{name}.pem")), at(&format!("{name}.key")))
    };
    for (name, expected) in [("gateway", 200), ("", 502), ("stranger", 502)] {
        let gateway = Setup::open_to(&upstream(server, &tls(name))).start();
        let reply = gateway.get("/");
        assert_eq!(reply.status, expected, "{name}");
        if expected == 200 {
            assert_eq!(reply.body, "localhost serves gateway-7");
        }
    }
}

#[test]
fn nothing_is_sent_over_a_version_that_is_too_old() {
    let ours = Authority::new("ours");
    let files = folder(&[("ca.pem", &ours.pem())]);
    let ca = files.path().join("ca.pem").display().to_string();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let mut acceptor = ours.acceptor("localhost");
    acceptor.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    let server = tls_server(acceptor, move |head, client, name| {
        count.fetch_add(1, Ordering::SeqCst);
        hello(head, client, name)
    });
    let gateway = Setup::open_to(&upstream(server, &format!("ca: {ca}, minimum_version: 1.3"))).start();
    assert_eq!(gateway.get("/").status, 502);
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    gateway.reload(|text| text.replace("minimum_version: 1.3", "minimum_version: 1.2"));
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_changed_authority_counts_from_the_reload_on_also_for_kept_connections() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let files = folder(&[("ca.pem", &ours.pem())]);
    let ca = files.path().join("ca.pem");
    let server = tls_server(ours.acceptor("localhost"), hello);
    let gateway = Setup::open_to(&upstream(server, &format!("ca: {}", ca.display()))).threads(1).start();
    assert_eq!(gateway.get("/").status, 200);

    let put = |text: &str| {
        fs::write(files.path().join("fresh"), text).unwrap();
        fs::rename(files.path().join("fresh"), &ca).unwrap();
    };
    put(&others.pem());
    wait_for("the other authority", || gateway.get("/").status == 502);
    put("nothing at all");
    wait_for("the refused reload", || gateway.metric("tollgate_config_last_reload_successful") == 0.0);
    assert_eq!(gateway.get("/").status, 502, "what was in use stays in use");
    put(&ours.pem());
    wait_for("our authority again", || gateway.get("/").status == 200);
}

#[test]
fn probes_check_certificates_like_requests() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let files = folder(&[("ours.pem", &ours.pem()), ("others.pem", &others.pem())]);
    let server = tls_server(ours.acceptor("localhost"), hello);
    for kind in ["type: http, path: /", "type: tcp"] {
        for (file, expected) in [("ours.pem", "up"), ("others.pem", "down")] {
            let ca = files.path().join(file).display().to_string();
            let keys = format!(
                "{{ servers: [\"https://127.0.0.1:{}\"], tls: {{ ca: {ca}, server_name: localhost }}, health_check: {{ {kind} }} }}",
                server.port()
            );
            let gateway = Setup::open_to(&keys).start();
            wait_for("the first probe", || gateway.state(([127, 0, 0, 1], server.port()).into()) == expected);
        }
    }
}
