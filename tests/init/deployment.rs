//! `deploy/fusionauth/`: files that name each other, and FusionAuth's API as it is published.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fusionauth::{self, FusionAuth, KEY};
use crate::{assert_has, run, tollgate};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fusionauth")
}

fn kickstart() -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join("kickstart/kickstart.json")).unwrap()).unwrap()
}

fn compose() -> Value {
    serde_yaml::from_str(&fs::read_to_string(folder().join("compose.yaml")).unwrap()).unwrap()
}

/// The texts inside of `open` … `}` in all strings.
fn references(value: &Value, open: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|value| references(value, open, found)),
        Value::Array(items) => items.iter().for_each(|item| references(item, open, found)),
        Value::String(text) => found.extend(text.split(open).skip(1).map(|rest| rest.split('}').next().unwrap().to_owned())),
        _ => {}
    }
}

#[test]
fn every_request_of_the_kickstart_is_one_that_fusionauth_knows() {
    let kickstart = kickstart();
    let members: Vec<&String> = kickstart.as_object().unwrap().keys().collect();
    assert_eq!(members, ["apiKeys", "requests", "variables"]);
    let requests = kickstart["requests"].as_array().unwrap();
    for request in requests {
        let allowed = ["body", "contentType", "method", "tenantId", "url"];
        assert!(request.as_object().unwrap().keys().all(|name| allowed.contains(&&**name)), "{request}");
        let (method, url) = (request["method"].as_str().unwrap(), request["url"].as_str().unwrap());
        let known = match url.split("/#{").next().unwrap() {
            "/api/tenant" => "PATCH",
            "/api/key/generate" | "/api/lambda" | "/api/application" | "/api/user/registration" | "/api/webhook" => "POST",
            _ => "",
        };
        assert_eq!(method, known, "{url}");
        if method == "PATCH" {
            assert_eq!(request["contentType"], "application/merge-patch+json", "what happens to lists otherwise varies");
        }
        for (object, value) in request["body"].as_object().unwrap() {
            fusionauth::check(object, value).unwrap_or_else(|message| panic!("{url}: {message}"));
        }
    }
    assert_eq!(requests.len(), 8);
}

#[test]
fn everything_that_the_kickstart_names_is_there() {
    let (kickstart, compose) = (kickstart(), compose());
    let mut names = BTreeSet::new();
    references(&kickstart, "#{", &mut names);
    let environment = compose["services"]["fusionauth"]["environment"].as_object().unwrap();
    for name in &names {
        let is_there = match name.strip_prefix("ENV.") {
            Some(variable) => environment.contains_key(variable),
            None => kickstart["variables"].get(name).is_some() || name == "UUID()" || name == "FUSIONAUTH_APPLICATION_ID",
        };
        assert!(is_there, "{name}");
    }
    assert!(names.len() > 10);
    // No secret is written down.
    for secret in ["apiKey", "password"] {
        assert!(kickstart["variables"][secret].as_str().unwrap().starts_with("#{ENV."), "{secret}");
    }
    let mut files = BTreeSet::new();
    references(&kickstart, "@{", &mut files);
    assert_eq!(files.iter().collect::<Vec<_>>(), ["lambdas/claims.js"]);
    assert!(folder().join("kickstart/lambdas/claims.js").is_file());
}

#[test]
fn the_compose_file_names_what_is_there() {
    let compose = compose();
    let fusionauth = &compose["services"]["fusionauth"];
    assert_eq!(fusionauth["image"], "fusionauth/fusionauth-app:1.69.0");
    assert_eq!(fusionauth["ports"], json!(["127.0.0.1:9011:9011"]));
    let inside = fusionauth["environment"]["FUSIONAUTH_APP_KICKSTART_FILE"].as_str().unwrap();
    let mounted = fusionauth["volumes"].as_array().unwrap().iter().filter_map(Value::as_str).any(|volume| {
        let mut parts = volume.split(':');
        let (here, there) = (parts.next().unwrap(), parts.next().unwrap());
        here.starts_with("./") && inside.strip_prefix(there).is_some_and(|rest| folder().join(here).join(&rest[1..]).is_file())
    });
    assert!(mounted, "{inside}");
    for (name, service) in compose["services"].as_object().unwrap() {
        for volume in service["volumes"].as_array().unwrap() {
            let here = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(here.starts_with("./") || compose["volumes"].get(here).is_some(), "{name}: {here}");
        }
    }
    // Variables without a default are those that `make-env` writes.
    let env = fs::read_to_string(folder().join("make-env")).unwrap();
    let mut variables = BTreeSet::new();
    references(&compose, "${", &mut variables);
    for variable in variables.iter().filter(|variable| !variable.contains(":-")) {
        let name = variable.split(":?").next().unwrap();
        assert!(env.contains(&format!("\n{name}=$(random)\n")), "{name}");
    }
}

/// The environment that `make-env` writes.
fn environment(into: &Path) -> Vec<(String, String)> {
    fs::copy(folder().join("make-env"), into.join("make-env")).unwrap();
    for _ in 0..2 {
        assert!(std::process::Command::new("sh").arg("make-env").current_dir(into).output().unwrap().status.success());
    }
    let text = fs::read_to_string(into.join(".env")).unwrap();
    let pairs: Vec<_> =
        text.lines().map(|line| line.split_once('=').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    assert!(pairs.len() >= 5 && pairs.iter().all(|(_, value)| value.len() == 48), "the second run changes nothing");
    pairs
}

#[test]
fn the_configuration_works_and_is_the_one_of_the_kickstart() {
    let scratch = tempfile::tempdir().unwrap();
    let environment = environment(scratch.path());
    let check = run(tollgate(&folder(), &["check", "--strict"]).envs(environment.clone()));
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    let test = run(tollgate(&folder(), &["test"]).envs(environment));
    assert_eq!(test.code, 0, "{}{}", test.out, test.err);

    // `init` finds in the kickstart's FusionAuth what is written in the configuration.
    let kickstart = kickstart();
    let body = |url: &str, object: &str| {
        let requests = kickstart["requests"].as_array().unwrap();
        requests.iter().find(|request| request["url"].as_str().unwrap().starts_with(url)).unwrap()["body"][object].clone()
    };
    let mut objects = fusionauth::empty();
    let mut application = body("/api/application/", "application");
    application["id"] = kickstart["variables"]["applicationId"].clone();
    application["tenantId"] = objects["tenants"][0]["id"].clone();
    objects["applications"].as_array_mut().unwrap().push(application);
    let mut lambda = body("/api/lambda/", "lambda");
    lambda["id"] = "#{lambdaId}".into();
    lambda["body"] = fs::read_to_string(folder().join("kickstart/lambdas/claims.js")).unwrap().into();
    objects["lambdas"] = json!([lambda]);
    let mut key = body("/api/key/generate/#{tokenKeyId}", "key");
    key["id"] = "#{tokenKeyId}".into();
    objects["keys"].as_array_mut().unwrap().push(key);
    let fusionauth = FusionAuth::start(objects);
    let ran = run(tollgate(scratch.path(), &["init", "--fusionauth", &fusionauth.url]).env("FUSIONAUTH_API_KEY", KEY));
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("\n! "), "{}", ran.out);
    let written = fs::read_to_string(scratch.path().join("config.yaml")).unwrap();
    let shipped = fs::read_to_string(folder().join("config.yaml")).unwrap();
    let application = kickstart["variables"]["applicationId"].as_str().unwrap();
    for same in ["    org: any\n    plan: { type: string, one_of: [enterprise, free, pro] }\n", &format!("- {application}\n")] {
        assert_has(&written, &[same]);
        assert_has(&shipped, &[same]);
    }
    assert_has(&shipped, &[&format!("tenant: {}\n", kickstart["variables"]["defaultTenantId"].as_str().unwrap())]);
    // Where FusionAuth sends browsers and events is where the gateway is.
    let callback = "${TOLLGATE_URL:-http://localhost:8080}/callback";
    assert_has(&shipped, &[&format!("    callback: {callback}\n"), "  revocation:\n    webhooks:\n"]);
    let urls = body("/api/application/", "application")["oauthConfiguration"]["authorizedRedirectURLs"].clone();
    assert_eq!(urls, json!(["#{ENV.TOLLGATE_URL}/callback", "#{ENV.TOLLGATE_URL}/app/callback", "#{ENV.TOLLGATE_URL}/"]));
    let webhook = body("/api/webhook", "webhook");
    assert_eq!(webhook["url"], "#{ENV.TOLLGATE_WEBHOOK_URL}/.well-known/tollgate/fusionauth-events");
    assert_eq!(body("/api/tenant/", "tenant")["issuer"], "#{ENV.FUSIONAUTH_URL}");
    assert_has(&shipped, &["      issuer: ${FUSIONAUTH_URL:-http://localhost:9011}\n"]);
}
