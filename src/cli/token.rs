use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{Failure, Source, check, terminal};
use crate::demo::{self, MintRequest};
use crate::gateway::clock;
use crate::identity::{Examination, Finding, Identifier, KeyRings, Verdict};
use crate::model::settings::Config;

/// Look at tokens, or mint one for the demo.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Print a token of the demo's issuer, for scripts
    Mint(Mint),
    /// Say what is right and wrong with a token
    Verify(Verify),
    /// Show what a token says about itself, unverified and without its signature
    Decode(Decode),
}

#[derive(Debug, Args)]
pub(super) struct Mint {
    /// The claim `plan`: free, pro or enterprise
    #[arg(long)]
    plan: Option<String>,
    /// The claim `org`: who is limited and billed
    #[arg(long)]
    org: Option<String>,
    /// A role; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// The claim `sub`
    #[arg(long)]
    sub: Option<String>,
    /// How long it is valid, for example 1h
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    expires: String,
    /// More claims, as a JSON object
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// The demo's issuer
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9011")]
    issuer_url: String,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    source: Source,
    /// The token; `-` reads it from the standard input, where no process list shows it
    token: String,
}

#[derive(Debug, Args)]
pub(super) struct Decode {
    /// The token; `-` reads it from the standard input, where no process list shows it
    token: String,
}

impl Token {
    pub(super) fn execute(self) -> Result<(), Failure> {
        match self {
            Self::Mint(mint) => mint.execute(),
            Self::Verify(verify) => verify.execute(),
            Self::Decode(decode) => decode.execute(),
        }
    }
}

impl Mint {
    fn execute(self) -> Result<(), Failure> {
        let expires: jiff::SignedDuration = self
            .expires
            .parse()
            .map_err(|_| Failure::with_code(2, format!("`{}` is no duration: write 1h, 30m or 90s", self.expires)))?;
        let mut request = MintRequest { org: self.org, plan: self.plan, roles: self.roles, ..MintRequest::default() };
        request.expires_in = expires.as_secs();
        if let Some(sub) = self.sub {
            request.subject = sub;
        }
        if let Some(text) = &self.claims {
            request.claims = serde_json::from_str(text)
                .map_err(|error| Failure::with_code(2, format!("--claims is no JSON object: {error}")))?;
        }
        let token = demo::mint_remotely(&self.issuer_url, &request).map_err(|error| Failure::new(error.to_string()))?;
        terminal::print(&token);
        Ok(())
    }
}

impl Verify {
    fn execute(self) -> Result<(), Failure> {
        let config = check::load(&self.source.path())?.config;
        let token = named_or_piped(self.token)?;
        let examination = examine(&config, token.trim())?;
        let mut text = match examination.verdict {
            Verdict::Accepted => "✓ accepted\n".to_owned(),
            Verdict::Refused(fault) => format!("✗ refused: {}\n", fault.label()),
            Verdict::KeysUnavailable => "✗ undecided: the issuer's keys could not be fetched\n".to_owned(),
        };
        for Finding { subject, fault, text: finding } in &examination.findings {
            let mark = if fault.is_some() { "✗" } else { "✓" };
            text.push_str(&format!("  {mark} {subject:<16} {finding}\n"));
        }
        terminal::print(&text);
        if examination.verdict == Verdict::Accepted { Ok(()) } else { Err(Failure::with_code(3, "")) }
    }
}

impl Decode {
    fn execute(self) -> Result<(), Failure> {
        let token = named_or_piped(self.token)?;
        let parts: Vec<&str> = token.trim().split('.').collect();
        let (header, claims) = match parts.as_slice() {
            [header, claims, _signature] => (header, claims),
            [_, _, _, _, _] => return Err(Failure::new("an encrypted token (JWE): only its audience can read it")),
            _ => {
                return Err(Failure::new("not a JWT: an opaque token says nothing; ask its issuer with `tollgate token verify`"));
            }
        };
        let document = format!("{{\n\"header\": {},\n\"claims\": {}\n}}", shown("header", header)?, shown("claims", claims)?);
        terminal::talk("nothing of this is verified: see `tollgate token verify`");
        terminal::print(&document);
        Ok(())
    }
}

/// One part as indented JSON, with the characters escaped that a terminal would obey, or that look like others.
fn shown(what: &str, part: &str) -> Result<String, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::new(format!("the token's {what} cannot be read: {error}"));
    let text = URL_SAFE_NO_PAD.decode(part).map_err(|error| unreadable(&error))?;
    let value: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
    let text = serde_json::to_string_pretty(&value).map_err(|error| unreadable(&error))?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || (c.is_ascii() && !c.is_ascii_control()) {
            escaped.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
        }
    }
    Ok(escaped)
}

fn named_or_piped(token: String) -> Result<String, Failure> {
    if token != "-" {
        return Ok(token);
    }
    std::io::read_to_string(std::io::stdin()).map_err(|error| Failure::new(format!("standard input: {error}")))
}

/// Fetches the issuers' keys as a gateway would, and looks at the token.
fn examine(config: &Config, token: &str) -> Result<Examination, Failure> {
    let keys = Arc::new(KeyRings::new(clock::now));
    keys.follow(&config.identity.issuers);
    let identifier = Identifier::new(&config.identity, &keys);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| Failure::new(error.to_string()))?;
    Ok(runtime.block_on(async {
        tokio::select! {
            examination = identifier.examine(token, clock::now()) => examination,
            () = Arc::clone(&keys).keep_fresh() => Examination { verdict: Verdict::KeysUnavailable, findings: Vec::new() },
        }
    }))
}
