//! People log in with a foreign implementation of OpenID Connect as FusionAuth, by its real pages, forms and cookies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, redirect};
use serde_json::{Value, json};
use tollgate::demo::Services;

use super::gateway::{Gateway, free_ports};
use super::{Provider, anywhere, json_of};

const CONFIG: &str = r#"version: 1
listeners:
  - address: 127.0.0.1:@PORT
admin:
  address: 127.0.0.1:@ADMIN
server: { grace: 1s, drain_wait: 0s }
identity:
  issuers:
    - name: third-party
      url: @URL
      issuer: @ISSUER
      tenant: @TENANT
      audiences: [basic-application]
  forward_claims: { x-user-id: sub, x-org: org }
  login:
    client_id: basic-application
    client_secret: super-secret-secret-that-should-be-regenerated-for-production
    callback: http://localhost:@PORT/oauth2/callback
  session:
    keys: ["a key for sessions that has enough letters"]
upstreams:
  app: { servers: ["http://@ORDERS"] }
routes:
  - { name: app, auth: required, upstream: app }
"#;

/// A browser: cookies for each server, and every step visible.
#[derive(Clone)]
struct Browser {
    client: Client,
    cookies: BTreeMap<u16, BTreeMap<String, String>>,
}

impl Browser {
    fn new() -> Self {
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(Duration::from_secs(20));
        Self { client: client.build().unwrap(), cookies: BTreeMap::new() }
    }

    async fn ask(&mut self, url: &str, form: Option<&str>) -> Response {
        let url = reqwest::Url::parse(url).unwrap();
        let port = url.port().unwrap();
        let mut request = match form {
            None => self.client.get(url),
            Some(form) => {
                let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded");
                request.body(form.to_owned())
            }
        };
        let jar = self.cookies.entry(port).or_default();
        if !jar.is_empty() {
            let pairs: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        let response = request.header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
        let jar = self.cookies.entry(port).or_default();
        for field in response.headers().get_all("set-cookie") {
            let field = field.to_str().unwrap();
            let (name, value) = field.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }

    /// Follows redirects until a page is there: its address and the page.
    async fn open(&mut self, url: &str) -> (String, Response) {
        let mut url = url.to_owned();
        for _ in 0..20 {
            let response = self.ask(&url, None).await;
            let Some(location) = response.headers().get("location") else { return (url, response) };
            url = reqwest::Url::parse(&url).unwrap().join(location.to_str().unwrap()).unwrap().into();
        }
        panic!("too many redirects, the last one to {url}");
    }

    /// Types a name and a password into the login page at `url`, and goes where that leads.
    async fn sign_in(&mut self, url: &str) -> (String, Response) {
        let response = self.ask(url, Some("loginId=monica%40example.com&password=password")).await;
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let next: String = reqwest::Url::parse(url).unwrap().join(&location).unwrap().into();
        self.open(&next).await
    }
}

async fn start(options: Value) -> (Provider, Gateway, String, Services) {
    let ports: [u16; 2] = free_ports();
    let site = format!("http://localhost:{}", ports[0]);
    let mut options = options;
    options["redirectUris"] = json!([format!("{site}/oauth2/callback")]);
    let provider = Provider::with(&options);
    let services = Services::start([anywhere(); 3]).unwrap();
    let gateway = Gateway::with(CONFIG, ports, &provider.url, &services).await;
    (provider, gateway, site, services)
}

async fn counts(client: &Client, provider: &Provider) -> Value {
    json_of(client.get(format!("{}/test/counts", provider.url)).send().await.unwrap()).await
}

async fn logs_in_with(options: Value) {
    let (provider, _gateway, site, _services) = start(options).await;
    let mut browser = Browser::new();
    let (page, response) = browser.open(&format!("{site}/v1/orders?page=2")).await;
    assert!(page.starts_with(&format!("{}/interaction/", provider.url)), "{page}");
    assert!(response.text().await.unwrap().contains("<title>Login</title>"));
    let (page, response) = browser.sign_in(&page).await;
    assert_eq!((page, response.status().as_u16()), (format!("{site}/v1/orders?page=2"), 200));
    let seen = json_of(response).await;
    assert_eq!((&seen["x-org"], &seen["x-user-id"]), (&json!("hooli"), &json!("00000000-0000-0000-0000-222222222222")), "{seen}");
    // Another browser of the same person is asked again; this one is not, also in another tab.
    let (page, _) = browser.open(&format!("{site}/v1/other")).await;
    assert_eq!(page, format!("{site}/v1/other"));
    assert_eq!(counts(&browser.client, &provider).await["authorization_code"], 1);
}

#[tokio::test]
async fn a_person_logs_in_with_an_id_token_that_the_client_secret_signed() {
    logs_in_with(json!({})).await;
}

#[tokio::test]
async fn a_person_logs_in_with_an_id_token_that_a_published_key_signed() {
    logs_in_with(json!({ "idTokenAlg": "RS256", "userStatus": true })).await;
}

// Several threads: requests at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_parallel_requests_survive_one_time_refresh_tokens() {
    let (provider, _gateway, site, _services) = start(json!({ "accessTokenTtl": 2 })).await;
    let mut browser = Browser::new();
    let (page, _) = browser.open(&format!("{site}/v1/orders")).await;
    let (_, response) = browser.sign_in(&page).await;
    assert_eq!(response.status(), 200);
    let port = reqwest::Url::parse(&site).unwrap().port().unwrap();
    for round in 1..=3 {
        // Until the access token is due: the first one that finds out renews it, all the others of this round share the result.
        let began = Instant::now();
        while counts(&browser.client, &provider).await["refresh_token"] != round {
            assert!(began.elapsed() < Duration::from_secs(20), "no renewal");
            let asked = (0..20).map(|_| {
                let (mut tab, url) = (browser.clone(), format!("{site}/v1/orders"));
                tokio::spawn(async move { (tab.ask(&url, None).await.status(), tab.cookies) })
            });
            for one in asked.collect::<Vec<_>>() {
                let (status, cookies) = one.await.unwrap();
                assert_eq!(status, 200, "round {round}");
                browser.cookies.insert(port, cookies[&port].clone());
            }
        }
    }
    assert_eq!(counts(&browser.client, &provider).await["authorization_code"], 1, "nobody had to log in again");
}
