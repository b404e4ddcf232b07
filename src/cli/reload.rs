use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::console::Console;
use super::{Failure, terminal};

/// Make a running gateway load its configuration again, and say what became of it; exit code 3 when it was refused.
#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    console: Console,
    /// Print what the gateway answers, as JSON
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let (_, answer) = self.console.ask(Method::POST, "/reload", Duration::from_secs(35))?;
        if self.json {
            terminal::print(&serde_json::to_string_pretty(&answer).unwrap_or_default());
        }
        match answer.get("result").and_then(Value::as_str) {
            Some("loaded") if !self.json => terminal::print(&loaded(&answer)),
            Some("unchanged") if !self.json => terminal::print("nothing changed"),
            Some("loaded" | "unchanged") => {}
            Some("refused") => {
                let problems = answer.get("problems").and_then(Value::as_str).unwrap_or_default();
                let text = if self.json {
                    String::new()
                } else {
                    format!("{problems}\nnot loaded; the configuration before stays in use")
                };
                return Err(Failure::with_code(3, text));
            }
            _ => return Err(Failure::new("the gateway gave an answer that this version does not understand")),
        }
        Ok(())
    }
}

fn loaded(answer: &Value) -> String {
    let mut text = "loaded; the new configuration is in use".to_owned();
    match answer.get("warnings").and_then(Value::as_u64) {
        Some(1) => text.push_str(", with a warning (see `tollgate check`)"),
        Some(warnings) if warnings > 1 => text.push_str(&format!(", with {warnings} warnings (see `tollgate check`)")),
        _ => {}
    }
    for key in answer.get("needs_restart").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!("\n  {key} changes only with a restart or `tollgate run --upgrade`"));
    }
    text
}
