//! The operators' listener of a running gateway, as the commands ask it.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

use super::{Failure, Source, terminal};
use crate::config;

/// Where the operators' listener is if nobody says.
const USUAL: &str = "127.0.0.1:9090";

/// Which gateway is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Console {
    #[command(flatten)]
    source: Source,
    /// The operators' listener, for example 127.0.0.1:9090 [default: `admin.address` of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

impl Console {
    /// The status and the JSON of one request.
    pub(super) fn ask(&self, method: Method, path: &str, patience: Duration) -> Result<(u16, Value), Failure> {
        self.send(method, path, ("tollgate-reload", "1"), String::new(), patience)
    }

    /// The same for a request with a body, and the header that says that no web page sent it.
    pub(super) fn post(
        &self,
        path: &str,
        header: (&'static str, &'static str),
        body: String,
        patience: Duration,
    ) -> Result<(u16, Value), Failure> {
        self.send(Method::POST, path, header, body, patience)
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        (name, value): (&'static str, &'static str),
        body: String,
        patience: Duration,
    ) -> Result<(u16, Value), Failure> {
        let url = format!("{}{path}", self.url());
        let unreachable = |error: &dyn std::fmt::Display| Failure::new(format!("no gateway answers at {url}: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| unreachable(&error))?;
        runtime.block_on(async {
            let client = Client::builder().timeout(patience).no_proxy().build().map_err(|error| unreachable(&root(&error)))?;
            let mut request = client.request(method, &url).header(name, value);
            if !body.is_empty() {
                request = request.body(body);
            }
            let response = request.send().await.map_err(|error| unreachable(&root(&error)))?;
            let status = response.status().as_u16();
            let body = response.bytes().await.map_err(|error| unreachable(&root(&error)))?;
            match serde_json::from_slice(&body) {
                Ok(document) => Ok((status, document)),
                Err(_) => {
                    let said = String::from_utf8_lossy(&body);
                    let said: String = said.trim().chars().filter(|c| !c.is_control()).take(200).collect();
                    Err(Failure::new(format!("{url} answered {status}: {said}")))
                }
            }
        })
    }

    /// A configuration on disk that is broken must not keep anybody from looking at the gateway that runs.
    fn url(&self) -> String {
        let address = match &self.admin {
            Some(admin) => admin.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            None => config::load(&self.source.path()).map_or_else(
                |_| {
                    terminal::talk(&format!("the configuration cannot be read, asking {USUAL}; --admin names another address"));
                    USUAL.to_owned()
                },
                |loaded| reachable(loaded.config.admin).to_string(),
            ),
        };
        format!("http://{address}")
    }
}

/// `0.0.0.0` is where it listens, not where it is.
fn reachable(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// The last cause: "connection refused" and not what it led to.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
