use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{Failure, terminal};
use crate::gateway::clock;

/// Make API keys for machine clients.
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key, print it once, and print its entry for the configuration
    New(New),
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// What operators call it; also its `sub`, unless the claims have one
    #[arg(long, default_value = "machine-1")]
    name: String,
    /// Whom it stands for, as a JSON object: {"org":"acme","plan":"pro"}
    #[arg(long, value_name = "JSON", default_value = "{}")]
    claims: String,
    /// From when on it is refused, for example 90d or 8h [default: never]
    #[arg(long, value_name = "DURATION")]
    expires: Option<String>,
}

impl Key {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let Self::New(new) = self;
        new.execute()
    }
}

impl New {
    fn execute(self) -> Result<(), Failure> {
        let claims: Map<String, Value> = serde_json::from_str(&self.claims)
            .map_err(|error| Failure::with_code(2, format!("--claims is no JSON object: {error}")))?;
        let is_name = self.name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && self.name.len() <= 64
            && self.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_name {
            return Err(Failure::with_code(2, "--name is at most 64 letters, digits, `-`, `_` and `.`"));
        }
        let expires = self.expires.as_deref().map(expires).transpose()?;
        let mut random = [0; 32];
        rand::fill(&mut random).map_err(|_| Failure::new("this machine gives no random numbers"))?;
        let key = format!("tgk_{}", URL_SAFE_NO_PAD.encode(random));
        terminal::talk("the key, shown this once; its holder sends it as `X-Api-Key`, and nobody else may have it:");
        terminal::print(&key);
        terminal::talk("its entry, for `identity.api_keys.entries` (JSON is YAML, so it can be pasted as it is):");
        terminal::print(&entry(&self.name, &key, &claims, expires.as_deref()));
        Ok(())
    }
}

fn entry(name: &str, key: &str, claims: &Map<String, Value>, expires: Option<&str>) -> String {
    let hash: String = digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut lines = format!("- name: {name}\n  hash: {hash}\n");
    if !claims.is_empty() {
        lines.push_str(&format!("  claims: {}\n", Value::from(claims.clone())));
    }
    if let Some(expires) = expires {
        lines.push_str(&format!("  expires: {expires}\n"));
    }
    lines
}

fn expires(text: &str) -> Result<String, Failure> {
    let wrong = || Failure::with_code(2, format!("`{text}` is no duration: write 90d, 8h or 30m"));
    // Days have no fixed length for jiff, and no other one for whoever writes `90d` here.
    let seconds = match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days)) => days.checked_mul(86_400).ok_or_else(wrong)?,
        _ => text.parse::<jiff::SignedDuration>().ok().and_then(|d| u64::try_from(d.as_secs()).ok()).ok_or_else(wrong)?,
    };
    let at = clock::now().unix().saturating_add(Duration::from_secs(seconds)).as_secs();
    let at = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok()).ok_or_else(wrong)?;
    Ok(at.to_string())
}
