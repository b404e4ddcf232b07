use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap()
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

async fn page(url: String) -> Value {
    json_of(client().get(url).send().await.unwrap()).await
}

fn decode(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Header and claims of a token whose signature one of the published keys verifies.
async fn verified(issuer: &Issuer, token: &str) -> (Value, Value) {
    let [header, claims, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let (decoded, claims_json) = (decode(header), decode(claims));
    let jwks = page(format!("{}/.well-known/jwks.json", issuer.url())).await;
    let jwk = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == decoded["kid"]).expect("a published key");
    let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    RsaPublicKeyComponents { n: bytes("n"), e: bytes("e") }
        .verify(
            &RSA_PKCS1_2048_8192_SHA256,
            format!("{header}.{claims}").as_bytes(),
            &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap(),
        )
        .expect("a true signature");
    (decoded, claims_json)
}

#[tokio::test]
async fn discovery_names_an_issuer_that_is_not_its_address() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let url = issuer.url();
    let plain = page(format!("{url}/.well-known/openid-configuration")).await;
    assert_eq!(plain["issuer"], "acme.com");
    assert_eq!(plain["jwks_uri"], format!("{url}/.well-known/jwks.json"));
    assert_eq!(page(format!("{url}/{TENANT_ID}/.well-known/openid-configuration")).await, plain);
    let other = client().get(format!("{url}/{APPLICATION_ID}/.well-known/openid-configuration")).send().await.unwrap();
    assert_eq!(other.status(), 404);
    assert_eq!(issuer.discovery_requests(), 3);
    assert_eq!(issuer.jwks_requests(), 0);
}

#[tokio::test]
async fn a_minted_token_has_the_shape_of_a_fusionauth_access_token() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let request = MintRequest::of("initech", "free").role("admin").subject("u-1");
    let (header, claims) = verified(&issuer, &issuer.mint(&request).unwrap()).await;
    assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "gty": ["authorization_code"], "kid": issuer.kid() }));
    assert_eq!(issuer.kid().len(), 27);
    for (name, value) in [
        ("aud", json!(APPLICATION_ID)),
        ("iss", json!("acme.com")),
        ("sub", json!("u-1")),
        ("applicationId", json!(APPLICATION_ID)),
        ("roles", json!(["admin"])),
        ("scope", json!("offline_access profile openid")),
        ("tid", json!(TENANT_ID)),
        ("tty", json!("at")),
        ("org", json!("initech")),
        ("plan", json!("free")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert_eq!(claims["jti"].as_str().unwrap().split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
}

#[tokio::test]
async fn rfc7638_the_kid_is_the_sha1_thumbprint_of_the_key() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let jwks = page(format!("{}/.well-known/jwks.json", issuer.url())).await;
    let key = &jwks["keys"][0];
    let canonical = format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, key["e"], key["n"]);
    assert_eq!(key["kid"], BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, canonical.as_bytes())));
    assert_eq!(issuer.jwks_requests(), 1);
}

#[tokio::test]
async fn claims_and_header_can_be_replaced_and_removed() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let request = MintRequest::default()
        .claim("iss", "elsewhere")
        .claim("tid", Value::Null)
        .header("typ", "at+jwt")
        .header("gty", Value::Null)
        .expired_for(Duration::from_secs(90));
    let (header, claims) = verified(&issuer, &issuer.mint(&request).unwrap()).await;
    assert_eq!(header, json!({ "alg": "RS256", "typ": "at+jwt", "kid": issuer.kid() }));
    assert_eq!(claims["iss"], "elsewhere");
    assert_eq!(claims.get("tid"), None);
    assert_eq!(claims.get("plan"), None);
    let exp = claims["exp"].as_u64().unwrap();
    assert!(exp < token::unix_now().as_secs() && claims["iat"].as_u64().unwrap() < exp);
}

#[tokio::test]
async fn a_rotated_key_signs_and_the_old_one_stays_published_until_it_is_forgotten() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let (old_kid, old_token) = (issuer.kid(), issuer.mint(&MintRequest::default()).unwrap());
    issuer.rotate_key().unwrap();
    assert_ne!(issuer.kid(), old_kid);
    verified(&issuer, &old_token).await;
    let (header, _) = verified(&issuer, &issuer.mint(&MintRequest::default()).unwrap()).await;
    assert_eq!(header["kid"], issuer.kid());
    issuer.forget_old_keys();
    let jwks = page(format!("{}/.well-known/jwks.json", issuer.url())).await;
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1);
    assert_eq!(jwks["keys"][0]["kid"], issuer.kid());
}

#[tokio::test]
async fn it_can_be_down_sick_and_well_again_at_the_same_address() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let status = format!("{}/api/status", issuer.url());
    let ask = || client().get(&status).send();
    assert_eq!(ask().await.unwrap().status(), 200);
    issuer.stop();
    assert!(ask().await.unwrap_err().is_connect());
    issuer.resume().unwrap();
    assert_eq!(ask().await.unwrap().status(), 200);
    issuer.fail();
    assert_eq!(ask().await.unwrap().status(), 500);
    issuer.hang();
    let silent = client().get(&status).timeout(Duration::from_millis(40)).send().await.unwrap_err();
    assert!(silent.is_timeout());
    issuer.resume().unwrap();
    assert_eq!(ask().await.unwrap().status(), 200);
}

#[tokio::test]
async fn client_credentials_give_an_entity_token() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let url = format!("{}/oauth2/token", issuer.url());
    let client_id = CLIENTS[2].id;
    let body = format!("grant_type=client_credentials&client_id={client_id}&client_secret=demo-secret");
    let response = client().post(&url).body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let answer = json_of(response).await;
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let (header, claims) = verified(&issuer, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(header["gty"], json!(["client_credentials"]));
    let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "org", "permissions", "plan", "sub", "tid", "tty"]);
    assert_eq!((&claims["sub"], &claims["org"]), (&json!(client_id), &json!("hooli")));
    assert_eq!(claims["permissions"], json!({ APPLICATION_ID: ["read"] }));
}

#[tokio::test]
async fn a_scope_names_the_entities_that_the_token_is_for() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let body = "grant_type=client_credentials&scope=target-entity:a:read,write%20target-entity:b:read";
    let request = client().post(format!("{}/oauth2/token", issuer.url())).basic_auth(CLIENTS[0].id, Some("demo-secret"));
    let answer = json_of(request.body(body).send().await.unwrap()).await;
    assert_eq!(answer["scope"], "target-entity:a:read,write target-entity:b:read");
    let (_, claims) = verified(&issuer, answer["access_token"].as_str().unwrap()).await;
    assert_eq!(claims["aud"], json!(["a", "b"]));
    assert_eq!(claims["permissions"], json!({ "a": ["read", "write"], "b": ["read"] }));
}

#[tokio::test]
async fn token_errors_have_fusionauths_members() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let id = CLIENTS[0].id;
    for (body, status, error, reason) in [
        (String::new(), 400, "invalid_request", "missing_grant_type"),
        ("grant_type=password".to_owned(), 400, "unauthorized_client", "grant_type_disabled"),
        ("grant_type=magic".to_owned(), 400, "unsupported_grant_type", "invalid_grant_type"),
        ("grant_type=client_credentials".to_owned(), 401, "invalid_client", "missing_client_id"),
        (format!("grant_type=client_credentials&client_id={id}"), 401, "invalid_client", "client_authentication_missing"),
        (
            format!("grant_type=client_credentials&client_id={id}&client_secret=x"),
            401,
            "invalid_client",
            "invalid_client_authentication",
        ),
        (
            format!("grant_type=client_credentials&client_id={id}&client_secret=demo-secret&scope=openid"),
            400,
            "invalid_scope",
            "invalid_target_entity_scope",
        ),
    ] {
        let response = client().post(format!("{}/oauth2/token", issuer.url())).body(body.clone()).send().await.unwrap();
        assert_eq!(response.status(), status, "{body}");
        let answer = json_of(response).await;
        assert_eq!((&answer["error"], &answer["error_reason"]), (&json!(error), &json!(reason)), "{body}");
    }
}

#[tokio::test]
async fn a_login_gives_a_token_without_grant_and_milliseconds_beside_it() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let login = |body: Value| client().post(format!("{}/api/login", issuer.url())).body(body.to_string()).send();
    let body = json!({ "loginId": "gavin@hooli.example", "password": "password", "applicationId": APPLICATION_ID });
    let answer = json_of(login(body).await.unwrap()).await;
    assert_eq!(answer["user"]["email"], "gavin@hooli.example");
    let (header, claims) = verified(&issuer, answer["token"].as_str().unwrap()).await;
    assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "kid": issuer.kid() }));
    assert_eq!((&claims["plan"], &claims["roles"]), (&json!("enterprise"), &json!(["admin"])));
    assert_eq!(claims.get("scope"), None);
    let (ms, exp) = (answer["tokenExpirationInstant"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert!(ms.abs_diff(exp * 1000) < 2000, "{ms} {exp}");

    let body = json!({ "loginId": "gavin@hooli.example", "password": "password" });
    let answer = json_of(login(body).await.unwrap()).await;
    let (_, claims) = verified(&issuer, answer["token"].as_str().unwrap()).await;
    for absent in ["aud", "applicationId", "roles", "plan", "org"] {
        assert_eq!(claims.get(absent), None, "{absent}");
    }

    let wrong = login(json!({ "loginId": "gavin@hooli.example", "password": "guess" })).await.unwrap();
    assert_eq!(wrong.status(), 404);
    let blank = login(json!({ "password": "guess" })).await.unwrap();
    assert_eq!(blank.status(), 400);
    assert_eq!(json_of(blank).await["fieldErrors"]["loginId"][0]["code"], "[blank]loginId");
}

#[tokio::test]
async fn a_token_can_be_minted_from_another_process() {
    let issuer = Issuer::start(anywhere()).unwrap();
    let url = issuer.url();
    let request = MintRequest::of("acme", "pro").role("admin").claim("beta", true);
    let token = tokio::task::spawn_blocking(move || mint_remotely(&format!("{url}/"), &request)).await.unwrap().unwrap();
    let (_, claims) = verified(&issuer, &token).await;
    assert_eq!((&claims["plan"], &claims["beta"], &claims["roles"]), (&json!("pro"), &json!(true), &json!(["admin"])));
    let typo = client().post(format!("{}/demo/token", issuer.url())).body(r#"{"plam":"pro"}"#).send().await.unwrap();
    assert_eq!(typo.status(), 400);
}

#[test]
fn minting_without_a_demo_says_how_to_start_one() {
    // A port that no system gives to anybody by itself.
    let error = mint_remotely("http://127.0.0.1:1", &MintRequest::default()).unwrap_err().to_string();
    assert_eq!(error, "no demo answers at http://127.0.0.1:1; start one with `tollgate demo`");
    let services = Services::start([anywhere(); 3]).unwrap();
    let url = format!("http://{}", services.reports());
    let error = mint_remotely(&url, &MintRequest::default()).unwrap_err().to_string();
    assert_eq!(error, format!("{url} is not a tollgate demo: it answered 404 to POST /demo/token"));
}

#[tokio::test]
async fn services_show_what_reached_them() {
    let services = Services::start([anywhere(); 3]).unwrap();
    let request = client().get(format!("http://{}/v1/orders", services.dedicated())).header("x-org", "hooli");
    let answer = json_of(request.send().await.unwrap()).await;
    assert_eq!((&answer["service"], &answer["x-org"], &answer["x-plan"]), (&json!("dedicated"), &json!("hooli"), &Value::Null));
    assert_eq!(answer["orders"].as_array().unwrap().len(), 4);
    let report = client().get(format!("http://{}/v1/reports/7", services.reports())).send().await.unwrap();
    assert!(report.bytes().await.unwrap().len() > 2048);
    let failing = client().get(format!("http://{}/v1/orders/fail", services.orders())).send().await.unwrap();
    assert_eq!(failing.status(), 500);
    let created = client().post(format!("http://{}/v1/reports", services.reports())).body("{}").send().await.unwrap();
    assert_eq!(created.status(), 201);
}

#[tokio::test]
async fn a_demo_stops_within_a_second_although_a_connection_is_open() {
    let ports = Ports { issuer: 0, orders: 0, reports: 0, dedicated: 0, gateway: 0, admin: 0 };
    let demo = Demo::start(&ports).unwrap();
    let address = demo.services.orders();
    let kept_alive = client();
    assert_eq!(kept_alive.get(format!("http://{address}/v1/orders")).send().await.unwrap().status(), 200);
    let before = Instant::now();
    drop(demo);
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(client().get(format!("http://{address}/v1/orders")).send().await.unwrap_err().is_connect());
}

#[test]
fn only_loopback_is_listened_on() {
    let error = Issuer::start("0.0.0.0:0".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the demo listens on loopback only, not on 0.0.0.0:0");
}
