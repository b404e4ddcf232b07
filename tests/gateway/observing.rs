//! What operators see.

use std::process::{Command, Stdio};

use tollgate::demo::MintRequest;

use crate::support::{Authority, Setup, Upstream, free_port, mint, send};

#[test]
fn metrics_pass_promtool_and_their_labels_stay_bounded() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(request) { meter(\"calls\", 1, #{ kind: request.path }); }";
    let gateway =
        Setup::to(upstream.address()).rule("careless", rule).billed().with("metrics: { max_series_per_metric: 10 }\n").start();
    let token = mint(&MintRequest::of("acme", "pro"));
    for path in 0..30 {
        assert_eq!(gateway.get_with(&format!("/{path}"), &token).status, 200);
    }
    let exposed = gateway.admin("/metrics").unwrap();
    assert_eq!(exposed.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let series = exposed.body.lines().filter(|line| line.starts_with("tollgate_meter_calls_total{")).count();
    assert_eq!(series, 11, "ten and `_other`");
    gateway.expect_metric("tollgate_metrics_overflow_total{metric=\"tollgate_meter_calls_total\"}", 20.0);
    assert!(!exposed.body.contains("acme"), "no customer in a label");

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, which `make test` installs");
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), exposed.body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(claims) { throttle(claims.org, 1000, \"1m\"); meter(\"calls\"); }";
    // Some exist only where a listener does what they count.
    let second = format!(
        "  - address: 127.0.0.1:{}\n    tls: {{ certificate: a.pem, private_key: a.key }}\n    proxy_protocol: optional\n",
        free_port()
    );
    let gateway = Setup::to(upstream.address())
        .rule("limits", rule)
        .billed()
        .certificate("a", &Authority::new("ca").server(&["a.example"]))
        .listener(&second)
        .server(", trusted_proxies: [10.0.0.0/8]")
        .start();
    assert_eq!(gateway.get_as("/", &MintRequest::of("acme", "pro")).status, 200);
    gateway.expect_metric("tollgate_http_requests_total{code=\"200\",method=\"GET\",outcome=\"proxied\",route=\"all\"}", 1.0);
    let exposed = gateway.admin("/metrics").unwrap().body;
    let mut exposed: Vec<&str> = exposed.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    exposed.retain(|name| name.starts_with("tollgate_") && !name.starts_with("tollgate_meter_"));
    exposed.sort_unstable();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let mut documented: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `tollgate_").and_then(|_| line.split('`').nth(1))).collect();
    documented.retain(|name| !name.contains('<'));
    documented.sort_unstable();
    assert_eq!(exposed, documented);
}

#[test]
fn the_operators_listener_answers_loopback_only_and_never_through_the_proxy() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new().upstream("main", &[upstream.address()]).route("v1", "/v1/**", "none", "main").start();
    for path in ["/metrics", "/status", "/livez", "/readyz"] {
        assert_eq!(gateway.admin(path).unwrap().status, 200, "{path}");
        assert_eq!(gateway.get(path).status, 404, "{path} through the proxy");
    }
    assert_eq!(gateway.admin("/nothing").unwrap().status, 404);
    let admin: std::net::SocketAddr =
        gateway.config().lines().find_map(|line| line.strip_prefix("  address: ")).unwrap().parse().unwrap();
    let rebound = send(admin, b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(rebound.status, 403);
    let posted =
        send(admin, b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(posted.status, 405);
}

#[test]
fn the_access_log_keeps_secrets_and_names_the_rule_that_decided() {
    let upstream = Upstream::named("main");
    let rule = "fn on_request(request) { if request.path == \"/no\" { deny(\"not_here\"); } }";
    let gateway = Setup::to(upstream.address()).rule("gate", rule).start();
    let token = mint(&MintRequest::of("acme", "pro").subject("u-1"));
    assert_eq!(gateway.get_with("/no?code=secret-code", &token).status, 403);
    assert_eq!(gateway.get("/").status, 401);
    let lines = gateway.access_lines(2);
    let text = std::fs::read_to_string(gateway.path("access.log")).unwrap();
    for secret in ["secret-code", "Bearer", token.split('.').nth(1).unwrap()] {
        assert!(!text.contains(secret), "{secret} is in the access log");
    }
    let line = &lines[0];
    let words = ["method", "path", "status", "outcome", "route", "rule", "reason", "sub"].map(|member| line[member].to_string());
    assert_eq!(words, ["\"GET\"", "\"/no\"", "403", "\"denied\"", "\"all\"", "\"gate\"", "\"not_here\"", "\"u-1\""]);
    assert!(line["time"].as_str().unwrap().ends_with('Z') && line["request_id"].as_str().unwrap().len() == 26);
    assert_eq!((lines[1]["outcome"].as_str(), lines[1]["token"].as_str()), (Some("unauthenticated"), Some("missing")));
}

#[test]
fn an_idle_gateway_needs_little_memory() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).billed().start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let resident: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap();
    // A debug build maps far more of its own code than a release build, of which 40 MiB are promised.
    assert!(resident < 100 << 10, "{resident} kB");
}
