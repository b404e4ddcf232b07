//! People at their browsers: Debian's Chromium, driven by `browser/drive.mjs`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tollgate::demo::{APPLICATION_ID, Services};

use super::gateway::{Gateway, free_ports};
use super::{Provider, anywhere};

/// Runs a scenario of `browser/scenarios.mjs` and gives what was seen.
fn drive(scenario: &str, settings: &Value) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/browser");
    assert!(folder.join("node_modules/playwright-core").is_dir(), "the browser is not installed: run `make test`");
    let output = Command::new("node")
        .args(["drive.mjs", scenario, &settings.to_string()])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("node is not installed: run `make test`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// Hosts of one site, as auth.example.com and www.example.com are: browsers do not look at ports there.
const CONFIG: &str = r#"version: 1
listeners: [{ address: 127.0.0.1:@PORT }]
admin: { address: 127.0.0.1:@ADMIN }
server: { grace: 1s, drain_wait: 0s }
identity:
  issuers:
    - { name: third-party, url: "@URL", issuer: @ISSUER, tenant: @TENANT, audiences: [basic-application] }
  forward_claims: { x-user-id: sub, x-org: org }
  login:
    client_id: basic-application
    client_secret: super-secret-secret-that-should-be-regenerated-for-production
    callback: http://localhost:@PORT/callback
    public_url: "@PUBLIC"
  session:
    keys: ["a key for sessions that has enough letters"]
  hosted_backend:
    client_id: basic-application
    client_secret: super-secret-secret-that-should-be-regenerated-for-production
    url: http://localhost:@PORT
    public_url: "@PUBLIC"
    redirect_uris: ["http://localhost:@PAGE"]
    keys: ["a key for refresh tokens with enough letters"]
upstreams:
  app: { servers: ["http://@ORDERS"] }
routes:
  - { name: start, match: { path: / }, auth: none, respond: { status: 200, body: everybody } }
  - { name: home, match: { path: /home }, auth: required, respond: { status: 200, content_type: text/html, body: '<a href="/logout">out</a>' } }
  - name: app
    auth: required
    cors: { origins: ["http://localhost:@PAGE"], credentials: true }
    upstream: app
"#;

struct Site {
    provider: Provider,
    gateway: Gateway,
    settings: Value,
    _services: Services,
}

impl Site {
    async fn start() -> Self {
        let [port, admin, page] = free_ports();
        let (gateway, application) = (format!("http://localhost:{port}"), format!("http://localhost:{page}"));
        let provider = Provider::with(&json!({
            "redirectUris": [format!("{gateway}/callback"), format!("{gateway}/app/callback")],
            "logoutUris": [format!("{gateway}/"), application],
            "frontChannel": [format!("{gateway}/logout/frontchannel")],
            "userStatus": true,
        }));
        let public = provider.url.replace("127.0.0.1", "localhost");
        let services = Services::start([anywhere(); 3]).unwrap();
        let config = CONFIG.replace("@PUBLIC", &public).replace("@PAGE", &page.to_string());
        let settings = json!({ "gateway": gateway, "provider": public, "clientId": "basic-application", "port": page });
        let gateway = Gateway::with(&config, [port, admin], &provider.url, &services).await;
        Self { provider, gateway, settings, _services: services }
    }

    async fn see(&self, scenario: &'static str) -> Value {
        let settings = self.settings.clone();
        tokio::task::spawn_blocking(move || drive(scenario, &settings)).await.unwrap()
    }

    /// D18: nothing that opens anything is in a log or a metric.
    async fn assert_keeps_secrets(&self, seen: &Value) {
        let client = super::client();
        let metrics = client.get(format!("{}/metrics", self.gateway.admin)).send().await.unwrap().text().await.unwrap();
        let status = client.get(format!("{}/status", self.gateway.admin)).send().await.unwrap().text().await.unwrap();
        let log = self.gateway.log();
        assert!(log.contains("/callback") && metrics.contains("tollgate_logins_total"), "{log}");
        let secrets = seen["secrets"].as_array().unwrap();
        assert!(secrets.len() >= 2, "{secrets:?}");
        for secret in secrets.iter().map(|secret| secret.as_str().unwrap()) {
            for text in [&log, &metrics, &status] {
                assert!(!text.contains(secret), "{secret} is in {text}");
            }
        }
        assert!(!log.contains("eyJ") && !metrics.contains("eyJ"), "a token");
    }
}

#[test]
fn an_application_with_fusionauths_sdk_asks_for_what_the_hosted_backend_offers() {
    let seen = drive("bundle", &json!({ "clientId": APPLICATION_ID }));
    assert_eq!(seen["state"], "out");
    let asked = seen["asked"][0].as_str().unwrap();
    let wanted = format!("http://localhost:9/app/login/?client_id={APPLICATION_ID}&redirect_uri=http%3A%2F%2Flocalhost%3A");
    assert!(asked.starts_with(&wanted) && asked.ends_with("&state=the+state+of+the+application+%26+more"), "{asked}");
}

#[tokio::test]
async fn d14_d18_people_log_in_by_a_deep_link_and_out_again_and_no_other_site_does_it_for_them() {
    let site = Site::start().await;
    let seen = site.see("people").await;
    let gateway = site.settings["gateway"].as_str().unwrap();
    assert_eq!(seen["title"], "Login");
    assert_eq!(seen["deep"]["url"], format!("{gateway}/v1/orders/7?tab=items"));
    assert_eq!(seen["deep"]["page"]["x-org"], "initech");
    let expected = json!({ "domain": "localhost", "path": "/", "httpOnly": true, "secure": false, "sameSite": "Lax" });
    assert_eq!(seen["cookies"], json!({ "tollgate": expected }), "the attempt is gone, and nothing but the session is there");
    assert_eq!((&seen["afterImage"], &seen["afterLink"]), (&json!(200), &json!(200)));
    assert!(seen["question"].as_str().unwrap().contains("Do you want to log out?"), "{}", seen["question"]);
    assert_eq!(seen["after"], json!({ "shown": "everybody", "status": 401 }));
    assert_eq!(seen["askedAgain"], "Login", "the issuer's own session is over, too");
    assert_eq!(seen["byLink"], 401);
    site.assert_keeps_secrets(&seen).await;
}

#[tokio::test]
async fn d17_twenty_tabs_log_in_at_once_and_each_comes_to_its_page() {
    let site = Site::start().await;
    let seen = site.see("tabs").await;
    let gateway = site.settings["gateway"].as_str().unwrap();
    assert_eq!(seen["titles"], json!(["Login"].repeat(20)));
    let pages: Vec<_> = (0..20).map(|number| format!("{gateway}/v1/orders/{number}")).collect();
    assert_eq!(seen["urls"], json!(pages));
    assert_eq!(seen["left"], 0, "no attempt is left");
}

#[tokio::test]
async fn d14_a_logout_at_the_issuer_ends_the_gateways_session_in_a_frame() {
    let site = Site::start().await;
    assert_eq!(site.see("frames").await, json!({ "before": 200, "after": 401, "left": 0 }));
}

#[tokio::test]
async fn d18_an_application_with_fusionauths_sdk_logs_in_renews_and_logs_out() {
    let site = Site::start().await;
    let seen = site.see("application").await;
    assert_eq!(seen["problems"], json!([]));
    let expected = json!({
        "state": "the state of the application & more",
        "inside": true,
        "address": "?state=the+state+of+the+application+%26+more",
        "readable": ["app.at_exp", "app.idt"],
    });
    assert_eq!(seen["entered"], expected);
    let cookie = |hidden| json!({ "domain": "localhost", "path": "/", "httpOnly": hidden, "secure": true, "sameSite": "Lax" });
    assert_eq!(
        seen["cookies"],
        json!({ "app.at": cookie(true), "app.rt": cookie(true), "app.idt": cookie(false), "app.at_exp": cookie(false) })
    );
    assert!(seen["call"].as_str().unwrap().starts_with("200 {"), "{}", seen["call"]);
    assert_eq!((&seen["one"], &seen["all"]), (&json!(1), &json!(2)), "twenty tabs, one renewal");
    assert_eq!(seen["together"], json!([204].repeat(20)));
    assert_eq!(seen["renewedItself"], true);
    assert_eq!((&seen["left"], &seen["thief"]), (&json!([]), &json!(401)));
    assert_eq!(seen["registration"], "Register");
    site.assert_keeps_secrets(&seen).await;
    let counts = super::client().get(format!("{}/test/counts", site.provider.url)).send().await.unwrap();
    assert_eq!(super::json_of(counts).await["logout"], 1);
}
