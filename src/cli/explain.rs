use std::net::IpAddr;

use clap::Args;
use serde_json::{Map, Value};

use super::{Failure, Source, check, terminal};
use crate::gateway::clock;
use crate::model::{Absence, Caller};
use crate::trial::{Answer, Described, Rehearsal, explain, suite};

/// Show how one request would be decided, rule by rule. Nothing is sent, drawn from a limit, or billed.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    source: Source,
    /// The request: 'GET /v1/reports/7', or with a whole URL for a route with a host
    request: String,
    /// The claims of the caller's token, as a JSON object; without it the request has no token
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// A request header, 'name: value'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// Who connects
    #[arg(long, value_name = "ADDRESS")]
    client_ip: Option<IpAddr>,
    /// How it comes, as a JSON object: protocol, is_secure, is_websocket, client_certificate
    #[arg(long, value_name = "JSON")]
    connection: Option<String>,
    /// The status that the upstream answers
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// The bytes that the upstream answers
    #[arg(long, default_value_t = 0)]
    bytes: u64,
}

impl Explain {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let config = check::load(&self.source.path())?.config;
        let claims: Option<Map<String, Value>> = (self.claims.as_deref().map(serde_json::from_str).transpose())
            .map_err(|error| Failure::with_code(2, format!("--claims is no JSON object: {error}")))?;
        let account = config.identity.account.clone();
        let caller = || match &claims {
            None => Caller::Anonymous(Absence::NoToken),
            Some(claims) => suite::caller_with(claims.clone(), &account),
        };
        let mut described = Described::new(&self.request, clock::now());
        described.client_ip = self.client_ip;
        if let Some(text) = &self.connection {
            let wrong = |error| Failure::with_code(2, format!("--connection describes no connection: {error}"));
            described.connection = serde_json::from_str(text).map_err(wrong)?;
        }
        for header in &self.headers {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| Failure::with_code(2, format!("`{header}` is no header: write 'name: value'")))?;
            described.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let answer = Answer { status: self.status, body_bytes: self.bytes, ..Answer::default() };
        let mut rehearsal = Rehearsal::new(config, caller()).map_err(|problems| check::failure(&problems))?;
        // The first call pays for what later ones find ready; the second, with a token not seen before, shows what a rule costs.
        rehearsal.show(&described, caller(), &answer).map_err(|error| Failure::with_code(2, error))?;
        rehearsal.reset_limits();
        let shown = rehearsal.show(&described, caller(), &answer).map_err(|error| Failure::with_code(2, error))?;
        terminal::print(&explain::render(&rehearsal, &shown));
        Ok(())
    }
}
