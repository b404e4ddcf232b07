use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use pingora::services::listening::Service;

use super::caretaker::Caretaker;
use super::stop::{self, Signals};
use crate::admin::Console;
use crate::gateway::Gateway;
use crate::proxy::listen;

/// Where a gateway came from, so that it can be loaded again.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The configuration file.
    pub path: PathBuf,
    /// Files and folders whose change means a reload.
    pub watched: Vec<PathBuf>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is in use or not ours.
    #[error("{key} {address} cannot be listened on: {source}")]
    Listen {
        /// The key in the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// Serves until a signal ends it; `started` is called once, when the sockets are known to be free.
///
/// Returns true if everything that was billed is on disk.
///
/// # Errors
/// [`StartError::Listen`], before anything was started.
pub fn run(gateway: Gateway, outlook: Option<Outlook>, started: impl FnOnce(&Gateway)) -> Result<bool, StartError> {
    let gateway = Arc::new(gateway);
    let snapshot = gateway.snapshot();
    let config = &snapshot.config;
    let addresses = config.listeners.iter().map(|listener| ("listeners[].address", listener.address));
    for (key, address) in addresses.chain([("admin.address", config.admin)]) {
        listen::probe(address).map_err(|source| StartError::Listen { key, address, source })?;
    }

    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let threads = if config.threads == 0 { cores() } else { config.threads };
    // Pingora counts in seconds, and from the closing of the listeners.
    let after_drain = config.grace.saturating_sub(config.lifecycle.drain_wait).as_secs_f64().ceil();
    let conf = conf(threads, after_drain as u64);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    server.add_service(listen::service(&server.configuration, &gateway, &config.listeners));
    let mut console = Service::new("admin".to_owned(), Console::new(Arc::clone(&gateway)));
    console.add_tcp(&config.admin.to_string());
    console.threads = Some(1);
    server.add_service(console);
    let source = outlook.map(|outlook| (outlook.path, outlook.watched));
    server.add_service(background_service("caretaker", Caretaker { gateway: Arc::clone(&gateway), source }));

    started(&gateway);
    let signals = Signals { gateway: Arc::clone(&gateway), grace: config.grace, drain_wait: config.lifecycle.drain_wait };
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(stop::close(&gateway))
}

fn conf(threads: usize, grace_seconds: u64) -> ServerConf {
    ServerConf {
        threads,
        // One runtime per thread: a connection stays where it began. Measured, it saves more than the whole judgement costs.
        work_stealing: false,
        grace_period_seconds: Some(grace_seconds),
        graceful_shutdown_timeout_seconds: Some(1),
        // Retries are counted by the upstream's own setting; this is only the last resort.
        max_retries: 4,
        upstream_keepalive_pool_size: 256,
        ..ServerConf::default()
    }
}
