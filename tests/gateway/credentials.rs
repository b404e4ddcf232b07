//! What a caller may show beside a bearer token in its usual place.

use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate::demo::MintRequest;

use crate::support::{Setup, Upstream, get, mint, wait_for};

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A client with a key of its own.
struct Client {
    key: EcdsaKeyPair,
    token: String,
}

impl Client {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let mut client = Self { key, token: String::new() };
        let thumbprint = base64url(digest(&SHA256, client.jwk().to_string().as_bytes()));
        client.token = mint(&MintRequest::of("acme", "pro").claim("cnf", json!({ "jkt": thumbprint })));
        client
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
    }

    fn proof(&self, name: &str, url: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() });
        let ath = base64url(digest(&SHA256, self.token.as_bytes()));
        let body = json!({ "jti": name, "htm": "GET", "htu": url, "iat": now, "ath": ath });
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(body.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(signature))
    }

    fn headers(&self, proof: &str) -> String {
        format!("Authorization: DPoP {}\r\nDPoP: {proof}\r\n", self.token)
    }
}

const ALGS: &str = "algs=\"ES256 ES384 ES512 Ed25519 RS256 RS384 RS512 PS256 PS384 PS512\"";

#[test]
fn rfc9449_7_1_bound_tokens_pass_with_a_proof_for_the_url_that_the_client_saw() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).route("open", "/open", "none", "main").start();
    let client = Client::new();
    // The tests' client says `Host: localhost`, without the port: as behind a proxy on port 80.
    let reply = get(gateway.address(), "/v1/orders?page=2", &client.headers(&client.proof("1", "http://localhost/v1/orders")));
    assert_eq!(reply.status, 200);
    let seen = upstream.last().to_lowercase();
    assert!(seen.contains("authorization: dpop ") && !seen.contains("\r\ndpop:"), "{seen}");

    for (proof, error) in [
        (client.proof("1", "http://localhost/v1/orders"), "invalid_dpop_proof"),
        (client.proof("2", "http://localhost/v1/other"), "invalid_dpop_proof"),
        (client.proof("3", "https://localhost/v1/orders"), "invalid_dpop_proof"),
        ("nonsense".to_owned(), "invalid_dpop_proof"),
    ] {
        let reply = get(gateway.address(), "/v1/orders", &client.headers(&proof));
        assert_eq!((reply.status, reply.reason().as_str()), (401, "invalid_token"));
        assert_eq!(reply.header("www-authenticate"), Some(format!("DPoP error=\"{error}\", {ALGS}").as_str()));
    }
    let two = format!(
        "{}DPoP: {}\r\n",
        client.headers(&client.proof("4", "http://localhost/v1/orders")),
        client.proof("5", "http://localhost/v1/orders")
    );
    assert_eq!(get(gateway.address(), "/v1/orders", &two).status, 401);
    assert_eq!(gateway.get_with("/v1/orders", &client.token).header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"bad_proof\"}", 5.0);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"wrong_kind\"}", 1.0);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn rfc9449_4_3_behind_a_proxy_that_ends_tls_the_url_is_the_public_one() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).server(", trusted_proxies: [127.0.0.0/8]").start();
    let client = Client::new();
    let lines = |name: &str, url: &str| format!("X-Forwarded-Proto: https\r\n{}", client.headers(&client.proof(name, url)));
    assert_eq!(get(gateway.address(), "/", &lines("1", "https://localhost/")).status, 200);
    assert_eq!(get(gateway.address(), "/", &lines("2", "http://localhost/")).status, 401);
}

#[test]
fn rfc9449_4_3_over_http2_the_url_is_that_of_the_pseudo_headers() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).listener("    protocols: [http1, http2]\n").start();
    let client = Client::new();
    let authorization = format!("Authorization: DPoP {}", client.token);
    for (name, url, expected) in
        [("1", "http://api.example:8443/v1", 200), ("2", "http://api.example/v1", 401), ("3", "http://api.example:80/v1", 401)]
    {
        let proof = format!("DPoP: {}", client.proof(name, url));
        let arguments = ["--http2-prior-knowledge", "-H", &authorization, "-H", &proof];
        let reply = gateway.curl("http://api.example:8443/v1", &arguments);
        assert_eq!((reply.status, reply.version.as_str()), (expected, "2"), "{url}");
    }
}

#[test]
fn dpop_may_be_required_and_then_bearer_tokens_are_refused() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).identity("  dpop: required\n").route("open", "/open", "none", "main").start();
    let none = gateway.get("/");
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some(format!("DPoP {ALGS}").as_str())));
    let bearer = gateway.get_as("/", &MintRequest::of("acme", "pro"));
    assert_eq!(bearer.status, 401);
    assert_eq!(bearer.header("www-authenticate"), Some(format!("DPoP error=\"invalid_token\", {ALGS}").as_str()));
    let client = Client::new();
    assert_eq!(get(gateway.address(), "/", &client.headers(&client.proof("1", "http://localhost/"))).status, 200);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"not_bound\"}", 1.0);
}

#[test]
fn a_proof_passes_where_the_gateway_does_not_look_at_tokens() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new().upstream("main", &[upstream.address()]).route("open", "/**", "none", "main").start();
    assert_eq!(get(gateway.address(), "/", "DPoP: theirs\r\n").status, 200);
    assert!(upstream.last().to_lowercase().contains("\r\ndpop: theirs"));
}

#[test]
fn a18_a_token_in_the_query_is_read_only_if_configured_and_seen_by_nobody_else() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address())
        .identity("  token_from: [\"header:authorization\", \"query:access_token\"]\n")
        .rule("mark", "fn on_request(request) { set_header(\"x-token\", request.query[\"access_token\"] ?? \"none\"); }")
        .start();
    gateway.reload(|text| text.replace("file:access.log\" }", "file:access.log\", omit: [] }"));
    let token = mint(&MintRequest::of("acme", "pro"));
    let reply = get(gateway.address(), &format!("/a?x=1&access_token={token}&y=%20"), "");
    assert_eq!(reply.status, 200);
    let seen = upstream.last();
    assert!(seen.starts_with("GET /a?x=1&y=%20 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.to_lowercase().contains("x-token: none") && !seen.contains(&token), "{seen}");
    assert_eq!(get(gateway.address(), &format!("/a?access_token={token}"), "").status, 200);
    assert!(upstream.last().starts_with("GET /a HTTP/1.1\r\n"));
    assert_eq!(get(gateway.address(), &format!("/a?access_token={token}&access_token={token}"), "").status, 401);
    assert_eq!(get(gateway.address(), "/a?access_token=nonsense&z=2", "").status, 401);
    let logged: String = gateway.access_lines(4).iter().map(Value::to_string).collect();
    assert!(!logged.contains("access_token") && !logged.contains(&token) && logged.contains("z=2"), "{logged}");
}

/// What `tollgate key new` printed: the key and its entry.
fn new_key(arguments: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["key", "new"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let (key, entry) = printed.split_once('\n').unwrap();
    assert!(!entry.contains(key), "the key is not in its entry");
    (key.to_owned(), entry.to_owned())
}

#[test]
fn api_keys_stand_for_their_claims() {
    let upstream = Upstream::named("main");
    let (key, entry) = new_key(&["--name", "billing-job", "--claims", r#"{"org":"acme","plan":"pro","level":7}"#]);
    assert!(key.starts_with("tgk_") && key.len() == 47, "{key}");
    let (other, file) = new_key(&["--name", "in-file", "--claims", r#"{"sub":"robot","org":"initech"}"#]);
    let indented = |entry: &str, by: &str| entry.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
    let rule = "fn on_request(claims) { meter(\"calls\"); set_header(\"x-said\", `${claims.sub} ${claims.org} ${(claims.level ?? 0) + 1}`); }";
    let gateway = Setup::to(upstream.address())
        .identity(&format!(
            "  forward_claims: {{ x-org: org }}\n  api_keys:\n    file: keys.yaml\n    entries:\n{}",
            indented(&entry, "      ")
        ))
        .file("keys.yaml", &format!("entries:\n{}", indented(&file, "  ")))
        .rule("said", rule)
        .billed()
        .start();
    let ask = |key: &str| get(gateway.address(), "/", &format!("X-Api-Key: {key}\r\n"));
    assert_eq!(ask(&key).status, 200);
    let seen = upstream.last().to_lowercase();
    assert!(seen.contains("x-said: billing-job acme 8") && seen.contains("x-org: acme"), "{seen}");
    assert!(!seen.contains("x-api-key") && !seen.contains(&key.to_lowercase()), "the key went to the upstream: {seen}");
    assert_eq!(ask(&other).status, 200);
    assert!(upstream.last().to_lowercase().contains("x-said: robot initech 1"));
    for wrong in ["nonsense", &key[..46], &key.to_lowercase(), "tgk_"] {
        let reply = ask(wrong);
        assert_eq!((reply.status, reply.reason().as_str()), (401, "invalid_token"), "{wrong}");
    }
    assert_eq!(get(gateway.address(), "/", &format!("X-Api-Key: {key}\r\nX-Api-Key: {key}\r\n")).status, 401);
    // A token goes first, and the key does not reach the upstream then either.
    let token = mint(&MintRequest::of("umbrella", "free"));
    let both = format!("X-Api-Key: {key}\r\nAuthorization: Bearer {token}\r\n");
    assert_eq!(get(gateway.address(), "/", &both).status, 200);
    let seen = upstream.last().to_lowercase();
    assert!(seen.contains("umbrella") && !seen.contains("x-api-key"), "{seen}");
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"bad_api_key\"}", 4.0);
    gateway.expect_metric("tollgate_auth_tokens_total{result=\"valid\"}", 3.0);
    wait_for("the bill", || gateway.usage("account").as_array().unwrap().len() == 3);

    // Files are watched: a key that is taken out is refused at once.
    gateway.reload(|text| text.replace("    file: keys.yaml\n", ""));
    assert_eq!(ask(&other).status, 401);
    assert_eq!(ask(&key).status, 200);
    let log = gateway.log();
    assert!(!log.contains(&key) && !log.contains(&other));
}

#[test]
fn api_keys_follow_their_file_and_expire() {
    let upstream = Upstream::named("main");
    let (key, entry) = new_key(&["--name", "short", "--claims", r#"{"org":"acme"}"#, "--expires", "1s"]);
    let file = |entry: &str| format!("entries:\n{entry}");
    let gateway = Setup::to(upstream.address())
        .identity("  api_keys: { header: x-machine, file: keys.yaml }\n")
        .file("keys.yaml", &file(&entry))
        .start();
    let status = |key: &str| get(gateway.address(), "/", &format!("X-Machine: {key}\r\n")).status;
    wait_for("expiry", || status(&key) == 401);
    wait_for("the count", || gateway.metric("tollgate_auth_tokens_total{result=\"expired\"}") >= 1.0);
    let (next, entry) = new_key(&["--name", "next", "--expires", "30d"]);
    gateway.write("keys.yaml", &file(&entry));
    wait_for("the new key", || status(&next) == 200);
    gateway.write("keys.yaml", "entries: []\n");
    wait_for("its end", || status(&next) == 401);
}
