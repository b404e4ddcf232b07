//! People at their browsers: Debian's Chromium, driven by `browser/drive.mjs`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tollgate::demo::APPLICATION_ID;

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

#[test]
fn an_application_with_fusionauths_sdk_asks_for_what_the_hosted_backend_offers() {
    let seen = drive("bundle", &json!({ "clientId": APPLICATION_ID }));
    assert_eq!(seen["state"], "out");
    let asked = seen["asked"][0].as_str().unwrap();
    let wanted = format!("http://localhost:9/app/login/?client_id={APPLICATION_ID}&redirect_uri=http%3A%2F%2Flocalhost%3A");
    assert!(asked.starts_with(&wanted) && asked.ends_with("&state=the+state+of+the+application+%26+more"), "{asked}");
}
