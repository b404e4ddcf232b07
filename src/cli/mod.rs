//! The command line: words for humans. Results go to the standard output, talk to the standard error.
//!
//! Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 a check failed, 4 a rule test failed, 5 a gateway runs but is not
//! ready.

mod check;
mod console;
mod demo;
mod explain;
mod init;
mod key;
mod reload;
mod revoke;
mod run;
mod status;
mod terminal;
mod test;
mod token;
mod upgrade;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A programmable edge gateway for FusionAuth: tokens in, rules decide, requests routed, throttled, billed and measured.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: a FusionAuth-shaped issuer, two services and the gateway, all on this machine.
    Demo(demo::Demo),
    /// Write a configuration, from what a FusionAuth says of itself.
    Init(init::Init),
    /// Serve.
    Run(run::Run),
    /// What a running gateway does.
    Status(status::Status),
    /// Make a running gateway load its configuration again.
    Reload(reload::Reload),
    /// Refuse tokens that were issued until now.
    Revoke(revoke::Revoke),
    /// Make a running gateway hand over to a successor.
    Upgrade(upgrade::Upgrade),
    /// Validate configuration, rules and what they name in each other.
    Check(check::Check),
    /// Run the rule tests (tests/*.test.yaml beside the rules).
    Test(test::Test),
    /// Show how one request would be decided, rule by rule.
    Explain(explain::Explain),
    /// What customers used, from the ledger.
    Usage(usage::Usage),
    /// Look at tokens, or mint one for the demo.
    #[command(subcommand)]
    Token(token::Token),
    /// Make API keys for machine clients.
    #[command(subcommand)]
    Key(key::Key),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct Source {
    /// The configuration file [default: ./config.yaml, then /etc/tollgate/config.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Source {
    fn path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(crate::config::default_path)
    }
}

/// Why a command ends with another code than 0; the text, if any, is for the standard error.
#[derive(Debug)]
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    fn with_code(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(demo) => demo.execute(),
        Command::Init(init) => init.execute(),
        Command::Run(run) => run.execute(),
        Command::Status(status) => status.execute(),
        Command::Reload(reload) => reload.execute(),
        Command::Revoke(revoke) => revoke.execute(),
        Command::Upgrade(upgrade) => upgrade.execute(),
        Command::Check(check) => check.execute(),
        Command::Test(test) => test.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::Usage(usage) => usage.execute(),
        Command::Token(token) => token.execute(),
        Command::Key(key) => key.execute(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, text }) => {
            if !text.is_empty() {
                terminal::talk(text.trim_end());
            }
            ExitCode::from(code)
        }
    }
}
