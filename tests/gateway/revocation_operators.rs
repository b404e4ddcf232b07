//! `tollgate revoke`, and who may ask for it.

use std::process::Command;

use tollgate::demo::{APPLICATION_ID, MintRequest, TENANT_ID};

use crate::revocation::{issued, now};
use crate::support::{Gateway, Setup, Upstream, ask, mint};

const USER: &str = "00000000-0000-0000-0000-111111111111";
const OTHER: &str = "00000000-0000-0000-0000-222222222222";

fn start(upstream: &Upstream) -> Gateway {
    Setup::to(upstream.address()).identity("  revocation: {}\n").start()
}

fn revoke(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args([&["revoke", "-c", "config.yaml"], arguments].concat())
        .current_dir(gateway.path(""))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

fn statuses<const N: usize>(gateway: &Gateway, tokens: [&str; N]) -> [u16; N] {
    tokens.map(|token| gateway.get_with("/", token).status)
}

#[test]
fn an_operator_takes_back_what_he_names() {
    let upstream = Upstream::named("main");
    let gateway = start(&upstream);
    let (one, two) = (mint(&issued(60).claim("sid", "s-1")), mint(&issued(60).claim("sid", "s-2")));
    let other = mint(&issued(60).subject(OTHER));
    assert_eq!(statuses(&gateway, [&one, &two, &other]), [200, 200, 200]);
    let (code, said) = revoke(&gateway, &["--session", "s-1"]);
    assert_eq!((code, said.as_str()), (0, "revoked: tokens issued until now are refused from the next request on\n"));
    assert_eq!(statuses(&gateway, [&one, &two, &other]), [401, 200, 200]);
    // FusionAuth was not told and renews the tokens of that login, which changes nothing.
    let renewed = MintRequest::of("acme", "pro").claim("sid", "s-1").claim("iat", now() + 2);
    assert_eq!(statuses(&gateway, [&mint(&renewed)]), [401]);
    // For a tenant whose token it is not, and for an application that it is not for.
    assert_eq!(revoke(&gateway, &["--user", USER, "--tenant", "00000000-0000-0000-0000-00000000ffff"]).0, 0);
    assert_eq!(revoke(&gateway, &["--user", USER, "--application", "00000000-0000-0000-0000-00000000aaaa"]).0, 0);
    assert_eq!(statuses(&gateway, [&two]), [200]);
    assert_eq!(revoke(&gateway, &["--user", &USER.to_uppercase(), "--tenant", TENANT_ID]).0, 0);
    assert_eq!(statuses(&gateway, [&two, &other]), [401, 200]);
    assert_eq!(revoke(&gateway, &["--application", APPLICATION_ID]).0, 0);
    assert_eq!(statuses(&gateway, [&other]), [401]);
    gateway.expect_metric("tollgate_revocations_total{kind=\"session\",source=\"operator\"}", 1.0);
    let (code, list) = revoke(&gateway, &["--list"]);
    assert!(code == 0 && list.starts_with("5 revocations · last by operator at 20"), "{list}");
    assert_eq!(revoke(&gateway, &["--entity", "e", "--json"]).0, 0);
    for arguments in [&[][..], &["--user", "a", "--session", "b"], &["--entity", "a", "--application", "b"], &["--tenant", "a"]] {
        assert_eq!(revoke(&gateway, arguments).0, 2, "{arguments:?}");
    }
    assert_eq!(revoke(&gateway, &["--user", ""]).0, 1);
    let without = Setup::to(upstream.address()).start();
    let (code, said) = revoke(&without, &["--user", USER]);
    assert!(code == 1 && said.contains("the configuration has no `identity.revocation`"), "{code} {said}");
}

#[test]
fn h3_no_web_page_and_nobody_from_elsewhere_can_revoke() {
    let upstream = Upstream::named("main");
    let gateway = start(&upstream);
    let body = format!("{{\"user\":\"{USER}\"}}");
    let post = |address, host: &str, headers: &str| {
        let length = body.len();
        let request = format!(
            "POST /revoke HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        ask(std::net::TcpStream::connect(address).unwrap(), request.as_bytes()).unwrap().status
    };
    let admin = gateway.admin_address();
    for (host, headers, expected) in [
        ("localhost", "", 403),
        ("localhost", "Content-Type: text/plain\r\n", 403),
        ("localhost", "Tollgate-Revoke: 1\r\nOrigin: http://localhost\r\n", 403),
        ("localhost", "Tollgate-Reload: 1\r\n", 403),
        ("rebound.example", "Tollgate-Revoke: 1\r\n", 403),
    ] {
        assert_eq!(post(admin, host, headers), expected, "{host} {headers}");
    }
    assert_eq!(post(gateway.address(), "localhost", "Tollgate-Revoke: 1\r\n"), 401, "h1: it is not on the proxy's port");
    assert_eq!(gateway.metric("tollgate_revoked_entries"), 0.0);
    assert_eq!(gateway.admin("/revoke").unwrap().status, 405);
    assert_eq!(post(admin, "localhost", "Tollgate-Revoke: 1\r\n"), 200);
    assert_eq!(gateway.metric("tollgate_revoked_entries"), 1.0);
}
