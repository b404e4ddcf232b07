//! The whole way, with an identity provider that we did not write: token, upstream, throttle, ledger, metrics.
//!
//! `make test` installs what this needs: Node, the provider's packages and promtool.

// Its helpers are outside of any #[test], where clippy.toml's exceptions do not reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod browser;
mod demo;
mod gateway;
mod login;
#[path = "../ports/mod.rs"]
mod ports;
mod provider;

use std::net::SocketAddr;

use gateway::Gateway;
use provider::Provider;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tollgate::demo::Services;

/// What the test's `rules/throttling.rhai` says for the plan `free`.
const FREE_CALLS: u64 = 5;

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(std::time::Duration::from_secs(10)).build().unwrap()
}

async fn json_of(response: Response) -> Value {
    let body = response.bytes().await.unwrap();
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)))
}

#[tokio::test]
async fn a_token_of_a_third_party_decides_where_a_request_goes_how_often_and_what_it_costs() {
    let provider = Provider::start();
    let services = Services::start([anywhere(); 3]).unwrap();
    let mut gateway = Gateway::start(&provider.url, &services).await;
    let url = format!("{}/v1/orders", gateway.url);
    let client = client();

    let free = provider.token(&client, "free-client", "secret-of-initech").await;
    let enterprise = provider.token(&client, "enterprise-client", "secret-of-hooli").await;

    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(json_of(refused).await["reason"], "token_required");

    // Where: the plan is a claim that the provider put in from the client's own metadata.
    let answer = client.get(&url).bearer_auth(&enterprise).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = json_of(answer).await;
    assert_eq!(
        (&seen["service"], &seen["x-org"], &seen["x-user-id"]),
        (&json!("dedicated"), &json!("hooli"), &json!("enterprise-client"))
    );

    // How often.
    for call in 1..=FREE_CALLS {
        let answer = client.get(&url).bearer_auth(&free).header("x-org", "somebody-else").send().await.unwrap();
        assert_eq!(answer.status(), 200, "call {call}");
        let seen = json_of(answer).await;
        assert_eq!((&seen["service"], &seen["x-org"]), (&json!("orders"), &json!("initech")));
    }
    for _ in 0..2 {
        let refused = client.get(&url).bearer_auth(&free).send().await.unwrap();
        assert_eq!(refused.status(), 429);
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(json_of(refused).await["reason"], "rate_limited");
    }

    // What operators see. A request is counted when it is settled, which its client does not wait for.
    let began = std::time::Instant::now();
    let metrics = loop {
        let metrics = client.get(format!("{}/metrics", gateway.admin)).send().await.unwrap().text().await.unwrap();
        let throttled = gateway::sum(&metrics, "tollgate_http_requests_total", &[r#"outcome="throttled""#]);
        if throttled == 2 || began.elapsed().as_secs() > 5 {
            break metrics;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    gateway::assert_promtool_is_content(&metrics);
    assert_eq!(gateway::sum(&metrics, "tollgate_http_requests_total", &[r#"outcome="throttled""#]), 2);
    assert_eq!(gateway::sum(&metrics, "tollgate_auth_tokens_total", &[r#"result="missing""#]), 1);
    assert_eq!(gateway::sum(&metrics, "tollgate_meter_api_calls_total", &[r#"plan="free""#]), FREE_CALLS);

    // What it costs: while it runs and after it has stopped.
    let expected = json!([
        { "account": "hooli", "meter": "api_calls", "quantity": 1 },
        { "account": "initech", "meter": "api_calls", "quantity": FREE_CALLS },
    ]);
    gateway.wait_for_usage(&expected).await;
    assert_eq!(gateway.terminate(), Some(0));
    assert_eq!(gateway.usage(), expected);
}

// Several threads: waiting for the program's end blocks one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_no_line_of_an_answered_call() {
    let provider = Provider::start();
    let services = Services::start([anywhere(); 3]).unwrap();
    let mut gateway = Gateway::start(&provider.url, &services).await;
    let url = format!("{}/v1/orders", gateway.url);
    let client = client();
    let token = provider.token(&client, "enterprise-client", "secret-of-hooli").await;

    let callers = (0..8).map(|_| {
        let (client, url, token) = (client.clone(), url.clone(), token.clone());
        tokio::spawn(async move {
            let mut answered = 0_u64;
            // Until the gateway is gone: a call without an answer ends the loop.
            while let Ok(answer) = client.get(&url).bearer_auth(&token).send().await {
                if answer.status() != 200 || answer.bytes().await.is_err() {
                    break;
                }
                answered += 1;
            }
            answered
        })
    });
    let callers: Vec<_> = callers.collect();
    gateway.wait_for_calls(&client, 200).await;
    assert_eq!(gateway.terminate(), Some(0));
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    let usage = gateway.usage();
    let billed = usage[0]["quantity"].as_u64().unwrap();
    // A call may be billed although its answer no longer reached the caller, at most one for each of them.
    assert!((answered..=answered + 8).contains(&billed), "{answered} answered, {billed} billed");
}
