//! What the gateway tells clients about identity, and vouches for towards upstreams.

use std::fs;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate::demo::{ISSUER, MintRequest};

use crate::peers;
use crate::support::{Setup, Upstream, get, mint};

const KEYS: &str = "/.well-known/tollgate/jwks.json";

#[test]
fn rfc9728_clients_find_where_to_get_tokens() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address())
        .identity(
            "  resource_metadata:\n    resource: https://api.example.com/v1\n    name: Orders\n    scopes_supported: [\"orders:read\"]\n",
        )
        .start();
    let path = "/.well-known/oauth-protected-resource/v1";
    let reply = gateway.get(path);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let document = reply.json();
    assert_eq!(document["resource"], "https://api.example.com/v1");
    assert_eq!(document["resource_name"], "Orders");
    assert_eq!(document["scopes_supported"], json!(["orders:read"]));
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    assert_eq!(document["dpop_bound_access_tokens_required"], false);
    // The issuer's text is no URL, as in FusionAuth by default: its URL is where clients go.
    assert!(!ISSUER.starts_with("https://"));
    assert!(document["authorization_servers"][0].as_str().unwrap().starts_with("http://127.0.0.1:"), "{document}");

    let named = "resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource/v1\"";
    assert_eq!(gateway.get("/v1").header("www-authenticate"), Some(format!("Bearer {named}").as_str()));
    let bad = gateway.get_with("/v1", "nonsense");
    assert_eq!(bad.header("www-authenticate"), Some(format!("Bearer error=\"invalid_token\", {named}").as_str()));
    let preflight = format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: GET\r\nConnection: close\r\n\r\n"
    );
    let reply = gateway.send(&preflight).unwrap();
    assert_eq!((reply.status, reply.header("access-control-allow-headers")), (204, Some("*")));
    // Only reading is the gateway's; and only exactly there.
    let post = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(gateway.send(&post).unwrap().status, 401);
    assert_eq!(gateway.get("/.well-known/oauth-protected-resource").status, 401);
    assert_eq!(upstream.seen().len(), 0);
}

/// The gateway's token in a request that an upstream got.
fn token(request: &str) -> Option<&str> {
    request.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-tollgate-token").then_some(value.trim())
    })
}

fn keys(gateway: &crate::support::Gateway) -> Value {
    gateway.get(KEYS).json()["keys"].clone()
}

fn vouching(upstream: &Upstream, keys: &str) -> Setup {
    let route = |name: &str, path: &str, auth: &str, more: &str| {
        format!("  - name: {name}\n    match: {{ path: {path} }}\n    auth: {auth}\n    upstream: main\n{more}")
    };
    Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text(&route("vouched", "/vouched/**", "optional", "    upstream_token: true\n"))
        .route_text(&route("plain", "/plain/**", "required", ""))
        .identity(&format!(
            "  upstream_token:\n    issuer: https://gateway.example\n    audience: services\n    claims: [org, plan, roles]\n{keys}"
        ))
}

#[test]
fn upstreams_verify_who_called_with_a_library_of_their_own() {
    for algorithm in ["", "ed25519", "P-256"] {
        let upstream = Upstream::named("main");
        let setup = match algorithm {
            "" => vouching(&upstream, ""),
            name => {
                vouching(&upstream, "    keys: [new.pem, old.pem]\n").file("new.pem", &pem(name)).file("old.pem", &pem("P-256"))
            }
        };
        let gateway = setup.start();
        let request = MintRequest { roles: vec!["admin".into()], ..MintRequest::of("acme", "pro") };
        assert_eq!(gateway.get_as("/vouched/1", &request).status, 200);
        let (issued, url) = (upstream.last(), format!("http://{}{KEYS}", gateway.address()));
        let issued = token(&issued).expect("a token");
        let found = peers::client("jose.mjs", &["verify", &url, "https://gateway.example", "services", issued]);
        let said = &found["payload"];
        assert_eq!((&said["sub"], &said["org"], &said["plan"]), (&request.subject.clone().into(), &json!("acme"), &json!("pro")));
        assert_eq!(said["roles"], json!(["admin"]));
        assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 60);
        assert!(said.get("tid").is_none() && said.get("iss") == Some(&json!("https://gateway.example")), "{said}");
        assert_eq!(found["header"]["alg"], if algorithm == "ed25519" { "EdDSA" } else { "ES256" });
        assert_eq!(keys(&gateway)[0]["kid"], found["header"]["kid"]);
        assert_eq!(keys(&gateway).as_array().unwrap().len(), if algorithm.is_empty() { 1 } else { 2 });
        assert!(keys(&gateway).as_array().unwrap().iter().all(|key| key.get("d").is_none()));
    }
}

fn pem(algorithm: &str) -> String {
    let arguments = match algorithm {
        "ed25519" => vec!["genpkey", "-algorithm", "ed25519"],
        curve => vec!["ecparam", "-genkey", "-noout", "-name", if curve == "P-256" { "prime256v1" } else { curve }],
    };
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn one_signature_serves_many_requests_and_clients_cannot_bring_their_own() {
    let upstream = Upstream::named("main");
    let gateway = vouching(&upstream, "").start();
    let bearer = mint(&MintRequest::of("acme", "pro"));
    let ask = |path: &str, lines: &str| {
        assert_eq!(get(gateway.address(), path, lines).status, 200, "{path}");
        upstream.last()
    };
    let known = format!("Authorization: Bearer {bearer}\r\nX-Tollgate-Token: forged\r\n");
    let first = ask("/vouched/1", &known);
    let second = ask("/vouched/2", &known);
    assert!(token(&first).is_some_and(|token| token.len() > 100));
    assert_eq!(token(&first), token(&second), "signed once");
    assert_eq!(first.to_lowercase().matches("x-tollgate-token").count(), 1);
    assert_eq!(token(&ask("/vouched/1", "X-Tollgate-Token: forged\r\n")), None, "nobody is known, so nobody is vouched for");
    assert_eq!(token(&ask("/plain/1", &known)), None, "this route's upstream gets none");
    let other = mint(&MintRequest::of("initech", "pro"));
    assert_ne!(token(&ask("/vouched/1", &format!("Authorization: Bearer {other}\r\n"))), token(&first));
    // Never longer than the caller's own token.
    let brief = mint(&MintRequest::of("acme", "pro").expires_in(Duration::from_secs(20)));
    let issued = ask("/vouched/1", &format!("Authorization: Bearer {brief}\r\n"));
    let payload = token(&issued).unwrap().split('.').nth(1).unwrap();
    let said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap() <= 50, "{said}");
    // A key that was made at the start lives through reloads.
    let before = keys(&gateway);
    gateway.reload(|text| text.replace("audience: services", "audience: others"));
    assert_eq!(keys(&gateway), before);
    assert!(!fs::read_to_string(gateway.path("access.log")).unwrap_or_default().contains("eyJ"));
}
