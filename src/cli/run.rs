use std::io;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::{Failure, Source, check, terminal};
use crate::gateway::Gateway;
use crate::model::settings::{Config, Listener};
use crate::server::{self, Outlook, Predecessor, StartError};

/// Serve. SIGHUP or a changed file loads the configuration again, SIGTERM stops gracefully, SIGINT within a second.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    /// Take sockets and limits over from the gateway that runs with the same `server.upgrade_socket`; it leaves when this one serves
    #[arg(long)]
    upgrade: bool,
}

impl Run {
    pub(super) fn execute(self) -> Result<(), Failure> {
        // pingora tells every step of its life at `info`, and every connection that a client drops at `error`: lines that anybody can
        // make it write. Failed requests are in the access log.
        let filter =
            EnvFilter::try_from_env("TOLLGATE_LOG").unwrap_or_else(|_| EnvFilter::new("tollgate=info,pingora_proxy=off,warn"));
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(terminal::talk_has_color()).init();

        let path = self.source.path();
        let loaded = check::load(&path)?;
        let predecessor = if self.upgrade { Some(meet(&loaded.config)?) } else { None };
        let assembled = match &predecessor {
            Some(predecessor) => {
                let throttling = predecessor.throttling(loaded.config.throttling.max_keys);
                server::assemble_with(loaded.config, throttling)
            }
            None => server::assemble(loaded.config),
        };
        let (gateway, mut warnings) = assembled.map_err(|problems| check::failure(&problems))?;
        warnings.extend(loaded.warnings);
        if !warnings.is_empty() {
            terminal::talk(&check::render(&warnings));
        }
        let outlook = Outlook { path, watched: loaded.watched };
        match server::run(gateway, Some(outlook), predecessor, announce) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new("usage of the last moments may not have been written down")),
            Err(StartError::Succession(error)) => Err(Failure::new(error.to_string())),
            Err(error) => Err(Failure::new(format!(
                "{error}\nanother process may be using it: stop it, or change the address in the configuration"
            ))),
        }
    }
}

fn meet(config: &Config) -> Result<Predecessor, Failure> {
    let predecessor = Predecessor::meet(config).map_err(|error| Failure::new(error.to_string()))?;
    tracing::info!(pid = predecessor.pid, version = predecessor.version, "a gateway runs; preparing to take over from it");
    Ok(predecessor)
}

fn url(listener: &Listener) -> String {
    format!("{}://{}", if listener.tls.is_some() { "https" } else { "http" }, listener.address)
}

fn announce(gateway: &Gateway) {
    let snapshot = gateway.snapshot();
    let config = &snapshot.config;
    let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let rules = snapshot.rules.rules().iter().map(|card| card.name.to_string()).collect();
    tracing::info!(
        listening = list(config.listeners.iter().map(url).collect()),
        admin = format!("http://{}", config.admin),
        routes = config.routes.len(),
        rules = list(rules),
        "tollgate {} is up",
        env!("CARGO_PKG_VERSION")
    );
}
