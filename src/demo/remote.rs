use std::io;
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;

use super::token::MintRequest;

/// Why no token came back from a running demo.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Nobody listens there, or nobody who answers.
    #[error("no demo answers at {url}; start one with `tollgate demo`")]
    Unreachable {
        /// What was called.
        url: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// Somebody else listens there: only the demo signs what it is asked to.
    #[error("{url} is not a tollgate demo: it answered {status} to POST /demo/token")]
    NotADemo {
        /// What was called.
        url: String,
        /// How it answered.
        status: u16,
    },
    /// The answer was not understood, or no client could be made.
    #[error("cannot mint a token: {0}")]
    Other(#[from] io::Error),
}

/// Asks the issuer of a running demo for a token. Blocks; not for async code.
pub fn mint_remotely(issuer_url: &str, request: &MintRequest) -> Result<String, MintError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(issuer_url, request))
}

async fn ask(issuer_url: &str, request: &MintRequest) -> Result<String, MintError> {
    let url = issuer_url.trim_end_matches('/').to_owned();
    let unreachable = |source| MintError::Unreachable { url: url.clone(), source };
    let body = serde_json::to_vec(request).map_err(io::Error::from)?;
    let client = Client::builder().timeout(Duration::from_secs(5)).no_proxy().build().map_err(unreachable)?;
    let response = client.post(format!("{url}/demo/token")).body(body).send().await.map_err(unreachable)?;
    if !response.status().is_success() {
        return Err(MintError::NotADemo { status: response.status().as_u16(), url });
    }
    let answer = response.bytes().await.map_err(unreachable)?;
    let answer: Value = serde_json::from_slice(&answer).map_err(io::Error::from)?;
    let token = answer.get("token").and_then(Value::as_str);
    token.map(str::to_owned).ok_or_else(|| io::Error::other("the answer has no token").into())
}
