use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::Client;
use serde_json::{Value, json};

/// oidc-provider with FusionAuth's paths, see `provider/provider.mjs`.
pub(crate) struct Provider {
    pub(crate) url: String,
    child: Child,
}

impl Provider {
    pub(crate) fn start() -> Self {
        Self::with(&json!({}))
    }

    /// The options are `options` and `changeable` of `provider.mjs`, such as `redirectUris`.
    pub(crate) fn with(options: &Value) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/provider");
        assert!(folder.join("node_modules/oidc-provider").is_dir(), "the provider is not installed: run `make test`");
        let mut child = Command::new("node")
            .args(["provider.mjs", &options.to_string()])
            .current_dir(folder)
            // It ends when its input does, so also when this test is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is not installed: run `make test`");
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "the provider did not start: run `node tests/e2e/provider/provider.mjs`");
        Self { url: url.trim().to_owned(), child }
    }

    /// RFC 6749, 4.4: client credentials.
    pub(crate) async fn token(&self, client: &Client, id: &str, secret: &str) -> String {
        let request = client
            .post(format!("{}/oauth2/token", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .basic_auth(id, Some(secret))
            .body("grant_type=client_credentials");
        let answer = request.send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
