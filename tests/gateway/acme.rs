//! Certificates from an ACME server: Pebble, which Let's Encrypt makes for such tests.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Authority, Gateway, Setup, Upstream, curl, free_port, wait_for};

/// Pebble and its name server, which says that every name is here.
struct Pebble {
    processes: [Child; 2],
    directory: String,
    authority: Authority,
    _folder: tempfile::TempDir,
}

impl Pebble {
    fn start(http: u16, tls: u16) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("pebble"));
        let (port, management, names, names_management) = (free_port(), free_port(), free_port(), free_port());
        let leaf = authority.server(&["localhost"]);
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("pebble.pem"), &leaf.certificate).unwrap();
        std::fs::write(at("pebble.key"), &leaf.key).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": at("pebble.pem"),
            "privateKey": at("pebble.key"),
            "httpPort": http,
            "tlsPort": tls,
        }});
        std::fs::write(at("pebble.json"), config.to_string()).unwrap();
        let run = |program: &str, arguments: &[String]| {
            Command::new(program)
                .args(arguments)
                .env("PEBBLE_VA_NOSLEEP", "1")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{program}, which `make test` installs: {error}"))
        };
        let resolver = format!("127.0.0.1:{names}");
        let server: Vec<String> =
            ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]
                .into_iter()
                .map(str::to_owned)
                .chain(["-dns01".to_owned(), resolver.clone(), "-management".to_owned(), format!("127.0.0.1:{names_management}")])
                .collect();
        let arguments = ["-config".to_owned(), at("pebble.json").display().to_string(), "-dnsserver".to_owned(), resolver];
        let processes = [run("pebble-challtestsrv", &server), run("pebble", &arguments)];
        wait_for("pebble", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        wait_for("its names", || std::net::TcpStream::connect(("127.0.0.1", names)).is_ok());
        Self { processes, directory: format!("https://localhost:{port}/dir"), authority, _folder: folder }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn issuer(to: SocketAddr) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &to.to_string(), "-servername", "b.example"])
        .stdin(Stdio::null())
        .output()
        .expect("openssl, which `make test` installs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().find_map(|line| line.strip_prefix("issuer=")).unwrap_or_default().to_owned()
}

/// Longer than other waits: two programs, several round trips and signatures.
fn wait_long(gateway: &Gateway, what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come true in 60 s:\n{}", gateway.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn setup(upstream: &Upstream, directory: &str, challenge: &str, http: u16, tls: u16) -> Setup {
    let listeners = format!(
        "  - address: 127.0.0.1:{http}\n    redirect_to_https: {tls}\n  - address: 127.0.0.1:{tls}\n    tls:\n      acme:\n        \
         directory: {directory}\n        agree_to_terms: true\n        contacts: [\"mailto:ops@example.com\"]\n        \
         names: [a.example, b.example]\n        challenge: {challenge}\n        ca: pebble.pem\n"
    );
    Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main").listener(&listeners)
}

#[test]
fn rfc8555_certificates_are_issued_used_and_kept() {
    let upstream = Upstream::named("main");
    for challenge in ["http-01", "tls-alpn-01"] {
        let (http, tls) = (free_port(), free_port());
        let pebble = Pebble::start(http, tls);
        let mut gateway =
            setup(&upstream, &pebble.directory, challenge, http, tls).file("pebble.pem", &pebble.authority.pem()).start();
        let listener = SocketAddr::from(([127, 0, 0, 1], tls));
        wait_long(&gateway, challenge, || issuer(listener).contains("Pebble Intermediate"));
        gateway.expect_metric("tollgate_acme_orders_total{name=\"a.example\",result=\"success\"}", 1.0);
        gateway.expect_metric("tollgate_acme_orders_total{name=\"a.example\",result=\"failure\"}", 0.0);
        assert_eq!(curl(listener, "https://b.example/", &["-k"]).status, 200);
        for file in std::fs::read_dir(gateway.path("acme")).unwrap().map(|entry| entry.unwrap()) {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
        let issued = std::fs::read_to_string(gateway.path("acme/a.example.pem")).unwrap();
        drop(pebble);
        gateway.signal("TERM");
        gateway.wait();
        gateway.restart();
        assert!(issuer(listener).contains("Pebble Intermediate"), "the one of the cache is used at once");
        assert_eq!(std::fs::read_to_string(gateway.path("acme/a.example.pem")).unwrap(), issued);
        gateway.expect_metric("tollgate_acme_orders_total{name=\"a.example\",result=\"failure\"}", 0.0);
    }
}

#[test]
fn a_server_that_is_not_there_stops_nobody_else() {
    let upstream = Upstream::named("main");
    let (http, tls) = (free_port(), free_port());
    let directory = format!("https://localhost:{}/dir", free_port());
    let gateway = setup(&upstream, &directory, "http-01", http, tls).file("pebble.pem", &Authority::new("nobody").pem()).start();
    wait_long(&gateway, "the failure", || {
        gateway.metric("tollgate_acme_orders_total{name=\"a.example\",result=\"failure\"}") == 1.0
    });
    assert_eq!(gateway.get("/").status, 200);
    let listener = SocketAddr::from(([127, 0, 0, 1], tls));
    assert_eq!(curl(listener, "https://a.example/", &[]).status, 0, "nobody trusts what stands in");
    assert_eq!(curl(listener, "https://a.example/", &["-k"]).status, 200);
    let answer = crate::support::get(SocketAddr::from(([127, 0, 0, 1], http)), "/.well-known/acme-challenge/x", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "main"), "an unknown token is a path like any other");
}
