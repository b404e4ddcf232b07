use std::time::Duration;

use clap::{ArgGroup, Args};
use reqwest::Method;
use serde_json::{Map, Value};

use super::console::Console;
use super::{Failure, terminal};

/// Refuse tokens that were issued until now, in the running gateway and all that share its Redis or its file.
///
/// A user who logs in again gets in: deactivate him in FusionAuth to keep him out.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["user", "application", "session", "entity", "list"]).required(true).multiple(true))]
pub(super) struct Revoke {
    #[command(flatten)]
    console: Console,
    /// All tokens of a user (`sub`); with --application only those for it
    #[arg(long, value_name = "ID", conflicts_with_all = ["session", "entity", "list"])]
    user: Option<String>,
    /// All tokens for an application, of every user
    #[arg(long, value_name = "ID", conflicts_with_all = ["session", "entity", "list"])]
    application: Option<String>,
    /// The tokens of one login (`sid` of the access token, which is the id of the refresh token)
    #[arg(long, value_name = "ID", conflicts_with_all = ["entity", "list"])]
    session: Option<String>,
    /// All tokens of an entity (client credentials)
    #[arg(long, value_name = "ID", conflicts_with = "list")]
    entity: Option<String>,
    /// Of this tenant only [default: of every tenant]
    #[arg(long, value_name = "ID", conflicts_with = "list")]
    tenant: Option<String>,
    /// Say how many revocations there are, and where they come from
    #[arg(long)]
    list: bool,
    /// Print what the gateway answers, as JSON
    #[arg(long)]
    json: bool,
}

impl Revoke {
    pub(super) fn execute(self) -> Result<(), Failure> {
        if self.list {
            return self.list();
        }
        let mut asked = Map::new();
        let members = [
            ("user", &self.user),
            ("application", &self.application),
            ("session", &self.session),
            ("entity", &self.entity),
            ("tenant", &self.tenant),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                asked.insert(name.to_owned(), value.as_str().into());
            }
        }
        let body = Value::Object(asked).to_string();
        let (status, answer) = self.console.post("/revoke", ("tollgate-revoke", "1"), body, Duration::from_secs(15))?;
        if self.json {
            terminal::print(&serde_json::to_string_pretty(&answer).unwrap_or_default());
        }
        match (status, answer.get("error").and_then(Value::as_str)) {
            (200, _) if self.json => Ok(()),
            (200, _) => {
                terminal::print("revoked: tokens issued until now are refused from the next request on");
                Ok(())
            }
            (_, Some(error)) => Err(Failure::new(error)),
            _ => Err(Failure::new("the gateway gave an answer that this version does not understand")),
        }
    }

    fn list(&self) -> Result<(), Failure> {
        let (_, status) = self.console.ask(Method::GET, "/status", Duration::from_secs(5))?;
        let revocations = status.get("revocations").unwrap_or(&Value::Null);
        if self.json {
            terminal::print(&serde_json::to_string_pretty(revocations).unwrap_or_default());
        } else {
            terminal::print(&super::status::revocations(revocations));
        }
        Ok(())
    }
}
