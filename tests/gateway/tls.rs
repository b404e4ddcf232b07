//! TLS at the listener: which certificate, which version, whose, and how they change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tollgate::demo::MintRequest;

use crate::support::{Authority, Setup, Upstream, mint, wait_for};

const TLS: &str = "    tls: { certificate: a.pem, private_key: a.key }\n";

fn open(upstream: &Upstream) -> Setup {
    Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main")
}

fn encrypted(upstream: &Upstream, authority: &Authority) -> Setup {
    open(upstream).certificate("a", &authority.server(&["a.example"])).file("ca.pem", &authority.pem())
}

/// What `openssl s_client` says.
fn s_client(to: std::net::SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &to.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl, which `make test` installs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_request_over_tls_is_proxied_and_says_so() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let gateway = encrypted(&upstream, &authority).listener(TLS).start();
    let reply = gateway.curl("https://a.example/x", &["--http1.1"]);
    assert_eq!((reply.status, reply.version.as_str(), reply.body.as_str()), (200, "1.1", "main"));
    assert!(upstream.last().to_ascii_lowercase().contains("\r\nx-forwarded-proto: https\r\n"), "{}", upstream.last());
    assert_eq!(reply.header("strict-transport-security"), None);
    let listener = gateway.address();
    gateway.expect_metric(&format!("tollgate_tls_handshakes_total{{listener=\"{listener}\",result=\"ok\"}}"), 1.0);
    gateway.expect_metric(&format!("tollgate_tls_handshake_duration_seconds_count{{listener=\"{listener}\"}}"), 1.0);
    gateway.expect_metric(&format!("tollgate_connections_total{{listener=\"{listener}\"}}"), 1.0);
    let expiry = gateway
        .metric(&format!("tollgate_tls_certificate_expiry_timestamp_seconds{{listener=\"{listener}\",name=\"a.example\"}}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((expiry - now - 86_400.0 * 365.0).abs() < 600.0, "{expiry}");
    let status = gateway.admin("/status").unwrap().json();
    assert_eq!(status["listeners"][0]["certificates"][0]["names"][0], "a.example", "{status}");
    assert!(gateway.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_none());
    gateway.expect_metric(&format!("tollgate_tls_handshakes_total{{listener=\"{listener}\",result=\"not_tls\"}}"), 1.0);
}

#[test]
fn rfc6066_the_certificate_follows_the_name() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let gateway = open(&upstream)
        .certificate("a", &authority.server(&["a.example", "also-a.example"]))
        .certificate("wild", &authority.server(&["*.wild.example"]))
        .certificate("exact", &authority.server(&["exact.wild.example"]))
        .file("ca.pem", &authority.pem())
        .listener(
            "    tls:\n      certificates:\n        - { certificate: a.pem, private_key: a.key }\n        \
             - { certificate: wild.pem, private_key: wild.key }\n        - { certificate: exact.pem, private_key: exact.key }\n",
        )
        .start();
    for (name, subject) in [
        ("a.example", "CN = a.example"),
        ("also-a.example", "CN = a.example"),
        ("x.wild.example", "CN = *.wild.example"),
        ("X.Wild.Example", "CN = *.wild.example"),
        ("exact.wild.example", "CN = exact.wild.example"),
        ("x.y.wild.example", "CN = a.example"),
        ("unknown.example", "CN = a.example"),
    ] {
        let said = s_client(gateway.address(), &["-servername", name]);
        assert!(said.contains(&format!("{subject}\n")), "{name}: {said}");
    }
    let said = s_client(gateway.address(), &["-noservername"]);
    assert!(said.contains("CN = a.example\n"), "{said}");
    for name in ["a.example", "x.wild.example", "exact.wild.example"] {
        assert_eq!(gateway.curl(&format!("https://{name}/"), &[]).status, 200, "{name}");
    }
}

#[test]
fn rfc9110_a_connection_for_one_host_is_not_used_for_another() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let leaf = authority.server(&["a.example", "b.example", "*.c.example"]);
    let setup = open(&upstream).certificate("a", &leaf).file("ca.pem", &authority.pem());
    let gateway = setup.listener(TLS).start();
    for http in ["--http2", "--http1.1"] {
        for (host, status) in
            [("a.example", 200), ("b.example", 200), ("x.c.example", 200), ("c.example", 421), ("evil.example", 421)]
        {
            let reply = gateway.curl("https://a.example/", &[http, "-H", &format!("Host: {host}")]);
            assert_eq!(reply.status, status, "{http} {host}: {reply:?}");
            if status == 421 {
                assert_eq!(reply.reason(), "misdirected_request");
            }
        }
    }
    let by_address = gateway.curl(&format!("https://127.0.0.1:{}/", gateway.address().port()), &["-k"]);
    assert_eq!(by_address.status, 200, "no name was asked for, so none was contradicted");
}

#[test]
fn versions_and_ciphers_are_the_configured_ones() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let gateway = encrypted(&upstream, &authority).listener(TLS).start();
    for (version, works) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        let said = s_client(gateway.address(), &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert_eq!(said.contains("Cipher is TLS_") || said.contains("Cipher is ECDHE"), works, "{version}: {said}");
    }
    let said = s_client(gateway.address(), &["-tls1_2", "-cipher", "AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"]);
    assert!(said.contains("Cipher is (NONE)"), "{said}");
    let said = s_client(gateway.address(), &["-tls1_2"]);
    for line in ["Compression: NONE", "Secure Renegotiation IS supported"] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let listener = gateway.address();
    assert!(gateway.metric(&format!("tollgate_tls_handshakes_total{{listener=\"{listener}\",result=\"unsupported\"}}")) >= 3.0);

    let only =
        "    tls: { certificate: a.pem, private_key: a.key, minimum_version: \"1.3\", ciphers: [TLS_AES_256_GCM_SHA384] }\n";
    let gateway = encrypted(&upstream, &authority).listener(only).start();
    assert!(s_client(gateway.address(), &["-tls1_2"]).contains("Cipher is (NONE)"));
    assert!(s_client(gateway.address(), &["-tls1_3"]).contains("Cipher is TLS_AES_256_GCM_SHA384"));
    let said = s_client(gateway.address(), &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]);
    assert!(said.contains("Cipher is (NONE)"), "{said}");
    assert_eq!(gateway.curl("https://a.example/", &[]).status, 200);
}

#[test]
fn sessions_are_resumed_and_early_data_is_not_taken() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let gateway = encrypted(&upstream, &authority).listener(TLS).start();
    let session = gateway.path("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let connect = |more: &[&str]| {
            let mut child = Command::new("openssl")
                .args(["s_client", "-connect", &gateway.address().to_string(), "-servername", "a.example", version, "-ign_eof"])
                .args(more)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Tickets of TLS 1.3 come after the handshake: the answer is waited for.
            child.stdin.take().unwrap().write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").unwrap();
            String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
        };
        let first = connect(&["-sess_out", &session]);
        assert!(first.contains("New, TLSv1.") && first.contains("HTTP/1.1 200"), "{first}");
        let second = connect(&["-sess_in", &session]);
        assert!(second.contains("Reused, TLSv1.") && second.contains("HTTP/1.1 200"), "{version}: {second}");
        assert!(version == "-tls1_2" || first.contains("Max Early Data: 0"), "{first}");
    }
}

#[test]
fn a_handshake_that_never_ends_is_cut() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let gateway = encrypted(&upstream, &authority).listener(TLS).start();
    let mut silent = TcpStream::connect(gateway.address()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    silent.write_all(b"\x16\x03\x01").unwrap();
    let began = std::time::Instant::now();
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0, "nothing but the end comes");
    assert!((9..25).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let listener = gateway.address();
    gateway.expect_metric(&format!("tollgate_tls_handshakes_total{{listener=\"{listener}\",result=\"timeout\"}}"), 1.0);
}

const REQUIRED: &str =
    "    tls: { certificate: a.pem, private_key: a.key, client_certificates: { mode: required, ca: clients.pem } }\n";

const READS: &str = r#"
fn on_request(request) {
    let certificate = request.client_certificate;
    if certificate == () { deny("no_certificate"); return; }
    set_header("x-subject", certificate.subject);
    set_header("x-issuer", certificate.issuer);
    set_header("x-fingerprint", certificate.fingerprint);
    set_header("x-serial", certificate.serial);
    set_header("x-dns", certificate.dns_names[0]);
    set_header("x-uri", certificate.uris[0]);
    set_header("x-email", certificate.emails[0]);
    set_header("x-ip", certificate.ips[0]);
    set_header("x-protocol", request.protocol);
    set_header("x-secure", `${request.is_secure}`);
    set_header("x-websocket", `${request.is_websocket}`);
}
"#;

#[test]
fn client_certificates_are_verified_and_rules_read_them() {
    let (upstream, authority, clients) = (Upstream::named("main"), Authority::new("ca"), Authority::new("clients"));
    let setup = || {
        encrypted(&upstream, &authority)
            .file("clients.pem", &clients.pem())
            .certificate("client", &clients.client("worker"))
            .certificate("stranger", &Authority::new("clients").client("worker"))
            .rule("certificate", READS)
    };
    let gateway = setup().listener(REQUIRED).start();
    let at = |name: &str| gateway.path(name).display().to_string();
    let with = |name: &str| {
        let (certificate, key) = (at(&format!("{name}.pem")), at(&format!("{name}.key")));
        gateway.curl("https://a.example/", &["--cert", &certificate, "--key", &key])
    };
    let listener = gateway.address();
    let handshakes = |result: &str| format!("tollgate_tls_handshakes_total{{listener=\"{listener}\",result=\"{result}\"}}");
    assert_eq!(with("client").status, 200);
    let seen = upstream.last().to_ascii_lowercase();
    for line in [
        "x-subject: cn=worker,o=acme\\, inc.",
        "x-issuer: cn=clients,o=acme\\, inc.",
        "x-dns: client.example",
        "x-uri: spiffe://acme/worker",
        "x-email: worker@acme.example",
        "x-ip: 192.0.2.9",
        "x-protocol: h2",
        "x-secure: true",
        "x-websocket: false",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} in {seen}");
    }
    let openssl =
        Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &at("client.pem")]).output().unwrap();
    let fingerprint = String::from_utf8_lossy(&openssl.stdout).trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert!(seen.contains(&format!("\r\nx-fingerprint: {fingerprint}\r\n")), "{fingerprint} in {seen}");
    let count = upstream.seen().len();
    assert_eq!(gateway.curl("https://a.example/", &[]).status, 0);
    gateway.expect_metric(&handshakes("no_certificate"), 1.0);
    assert_eq!(with("stranger").status, 0);
    gateway.expect_metric(&handshakes("bad_certificate"), 1.0);
    assert_eq!(upstream.seen().len(), count);

    let gateway = setup().listener(&REQUIRED.replace("required", "optional")).start();
    let at = |name: &str| gateway.path(name).display().to_string();
    let anonymous = gateway.curl("https://a.example/", &[]);
    assert_eq!((anonymous.status, anonymous.reason().as_str()), (403, "no_certificate"));
    let with = |name: &str| {
        let (certificate, key) = (at(&format!("{name}.pem")), at(&format!("{name}.key")));
        gateway.curl("https://a.example/", &["--cert", &certificate, "--key", &key]).status
    };
    assert_eq!(with("client"), 200);
    assert_eq!(with("stranger"), 0);
}

#[test]
fn hsts_is_on_every_answer_of_a_tls_listener() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let hsts = "    hsts: { max_age: 365d, include_subdomains: true, preload: true }\n";
    let gateway = encrypted(&upstream, &authority).listener(TLS).listener(hsts).start();
    for path in ["/", "//"] {
        let reply = gateway.curl(&format!("https://a.example{path}"), &["--path-as-is"]);
        let expected = Some("max-age=31536000; includeSubDomains; preload");
        assert_eq!(reply.header("strict-transport-security"), expected, "{path}: {reply:?}");
    }
}

#[test]
fn a_plain_listener_can_redirect_everything() {
    let upstream = Upstream::named("main");
    for (key, port) in [("true", ""), ("8443", ":8443")] {
        let gateway = open(&upstream).listener(&format!("    redirect_to_https: {key}\n")).start();
        let reply = gateway.send("POST /%61b?x=1&y HTTP/1.1\r\nHost: API.example:8080\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert_eq!(reply.status, 308);
        assert_eq!(reply.header("location").unwrap(), format!("https://api.example{port}/ab?x=1&y"));
        assert_eq!(gateway.send("GET / HTTP/1.1\r\nHost: evil/@x\r\n\r\n").unwrap().status, 400);
        assert_eq!(gateway.get("/.well-known/acme-challenge/token").status, 200, "a certificate's proof comes without TLS");
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn certificates_are_exchanged_under_load_without_a_failed_request() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let gateway = encrypted(&upstream, &authority).listener(TLS).start();
    let port = gateway.address().port();
    let done = AtomicBool::new(false);
    let (asked, kept) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let connect = || {
        let mut builder = openssl::ssl::SslConnector::builder(openssl::ssl::SslMethod::tls()).unwrap();
        builder.set_ca_file(gateway.path("ca.pem")).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        builder.build().connect("a.example", socket).unwrap()
    };
    let ask = |stream: &mut openssl::ssl::SslStream<TcpStream>| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 1024];
        while !answer.ends_with(b"main") {
            let read = stream.read(&mut chunk).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&chunk[..read]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    };
    let serial = || {
        let said =
            Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(gateway.path("a.pem")).output().unwrap();
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    let shown = || {
        let stream = connect();
        let certificate = stream.ssl().peer_certificate().unwrap();
        format!("serial={}", certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap())
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                ask(&mut connect());
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            let mut stream = connect();
            while !done.load(Ordering::Relaxed) {
                ask(&mut stream);
                kept.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stop = Stop(&done);
        for _ in 0..5 {
            let leaf = authority.server(&["a.example"]);
            gateway.write("a.key", &leaf.key);
            gateway.write("a.pem", &leaf.certificate);
            wait_for("the new certificate", || shown() == serial());
        }
        drop(stop);
    });
    assert!(asked.into_inner() > 0 && kept.into_inner() > 0);

    let old = shown();
    gateway.expect_metric("tollgate_config_last_reload_successful", 1.0);
    gateway.write("a.key", &authority.server(&["a.example"]).key);
    wait_for("the refusal", || gateway.metric("tollgate_config_last_reload_successful") == 0.0);
    assert!(gateway.log().contains("does not belong to the certificate"), "{}", gateway.log());
    assert_eq!(shown(), old, "the pair before stays in use");
    assert_eq!(gateway.curl("https://a.example/", &[]).status, 200);
}

/// Ends the load even if the test fails, which would wait for it otherwise.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn tokens_are_checked_over_tls_like_elsewhere() {
    let (upstream, authority) = (Upstream::named("main"), Authority::new("ca"));
    let setup =
        Setup::to(upstream.address()).certificate("a", &authority.server(&["a.example"])).file("ca.pem", &authority.pem());
    let gateway = setup.listener(TLS).start();
    assert_eq!(gateway.curl("https://a.example/", &[]).status, 401);
    let token = mint(&MintRequest::of("acme", "pro"));
    assert_eq!(gateway.curl("https://a.example/", &["-H", &format!("Authorization: Bearer {token}")]).status, 200);
}
