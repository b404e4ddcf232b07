//! `tollgate explain` and `tollgate test` show what routes and rules do to paths, upstreams and bodies.

use std::fs;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = r#"version: 1
listeners: [{ address: 127.0.0.1:8080 }]
identity:
  issuers: [{ url: "https://auth.example.com", issuer: acme.com, audiences: [app] }]
  claims: { org: string }
upstreams:
  app: { servers: [http://127.0.0.1:3000] }
  canary: { servers: [http://127.0.0.1:3001] }
routes:
  - { name: old, match: { path: "/old/{id}" }, auth: none, redirect: { to: "https://new.example/{id}" } }
  - { name: closed, match: { path: /closed }, auth: none, upstream: app, maintenance: true }
  - { name: staff, match: { path: /staff }, auth: none, upstream: app, allow_ips: [10.0.0.0/8] }
  - { name: read, match: { path: /read }, auth: none, upstream: app, rule_body: 1KiB }
  - { name: api, match: { path: "/api/**" }, auth: required, upstream: app, rewrite: { prefix: /v2 } }
rules: [{ file: rules/move.rhai, routes: [api, read] }]
"#;

const RULE: &str = r#"fn on_request(request, claims) {
    if request.body == "no" { deny("word"); }
    if request.path == "/api/mine" { rewrite_path("/orgs/" + (claims.org ?? "none")); }
    route_to("canary", #{ weight: 100, key: claims.org });
    if request.path == "/api/few" { route_to("app", #{ weight: 0.5, key: "nobody" }); }
}
"#;

const TESTS: &str = r#"identities:
  ann: { sub: ann, org: acme }
tests:
  - { name: the route rewrites, request: GET /api/x, as: ann, expect: { path: /v2/x, route_to: canary } }
  - { name: the rule wins, request: GET /api/mine, as: ann, expect: { path: /orgs/acme } }
  - { name: a redirect, request: "GET /old/7?x=1", expect: { outcome: redirected, redirect: "https://new.example/7?x=1" } }
  - { name: closed, request: GET /closed, expect: { status: 503, denied: maintenance } }
  - { name: a strange address, request: GET /staff, client_ip: 192.0.2.1, expect: { denied: ip_denied } }
  - { name: a known address, request: GET /staff, client_ip: 10.1.2.3, expect: { outcome: proxied } }
  - { name: a bad word, request: POST /read, body: "no", expect: { denied: word } }
  - { name: a good word, request: POST /read, body: "yes", expect: { outcome: proxied, path: /read } }
"#;

fn run(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).current_dir(folder).env("NO_COLOR", "1").output().unwrap();
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn folder(tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("rules/tests")).unwrap();
    fs::write(folder.path().join("config.yaml"), CONFIG).unwrap();
    fs::write(folder.path().join("rules/move.rhai"), RULE).unwrap();
    fs::write(folder.path().join("rules/tests/move.test.yaml"), tests).unwrap();
    folder
}

#[test]
fn rule_tests_see_paths_shares_bodies_and_what_comes_before_the_token() {
    let folder = folder(TESTS);
    let (passed, said) = run(folder.path(), &["test"]);
    assert!(passed && said.contains("8 passed, 0 failed"), "{said}");
}

#[test]
fn a_wrong_expectation_says_what_the_path_was_and_why() {
    let wrong = TESTS.replace("path: /orgs/acme", "path: /orgs/initech").replace("denied: word", "denied: other");
    let folder = folder(&wrong);
    let (passed, said) = run(folder.path(), &["test"]);
    assert!(!passed && said.contains("6 passed, 2 failed"), "{said}");
    for line in ["expected  /orgs/initech", "got       /orgs/acme", "because   rewrite_path /orgs/acme   rules/move.rhai:3"] {
        assert!(said.contains(line), "{line}\n{said}");
    }
}

#[test]
fn explain_shows_rewrites_and_who_is_in_a_share() {
    let folder = folder(TESTS);
    let explain = |request: &str| run(folder.path(), &["explain", request, "--claims", r#"{"sub":"ann","org":"acme"}"#]).1;
    let few = explain("GET /api/few");
    for line in [
        "route_to canary  100% of keys: acme is in",
        "route_to app  0.5% of keys: nobody is not in",
        "→ proxied to canary as /v2/few",
    ] {
        assert!(few.contains(line), "{line}\n{few}");
    }
    let mine = explain("GET /api/mine");
    assert!(mine.contains("rewrite_path /orgs/acme") && mine.contains("→ proxied to canary as /orgs/acme"), "{mine}");
    assert!(explain("GET /closed").contains("→ unavailable: 503 maintenance"));
}
