use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, RunArgs, Server};
use pingora::services::background::background_service;
use pingora::services::listening::Service;

use tokio::sync::mpsc;

use super::caretaker::Caretaker;
use super::stop::{self, Signals};
use super::succession::{Dismissal, Inheriting, Predecessor, Sockets, Succession, SuccessionError};
use crate::admin::Console;
use crate::gateway::Gateway;
use crate::proxy::listen;
use crate::traffic::Tried;

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
    /// No hand-over.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
}

/// Serves until a signal ends it; `started` is called once, when the sockets are known to be free.
///
/// With a predecessor, its sockets and limits are taken over, and it leaves when this process serves.
///
/// Returns true if everything that was billed is on disk.
///
/// # Errors
/// [`StartError`], before anything was started.
pub fn run(
    gateway: Gateway,
    outlook: Option<Outlook>,
    predecessor: Option<Predecessor>,
    started: impl FnOnce(&Gateway),
) -> Result<bool, StartError> {
    let gateway = Arc::new(gateway);
    let snapshot = gateway.snapshot();
    let config = &snapshot.config;
    let addresses = config.listeners.iter().map(|listener| ("listeners[].address", listener.address));
    let addresses: Vec<_> = addresses.chain([("admin.address", config.admin)]).collect();

    let (inherited, predecessor) = inherit(&gateway, predecessor, &addresses)?;
    for (key, address) in addresses {
        if inherited.as_ref().is_none_or(|inherited| inherited.get(&address.to_string()).is_none()) {
            listen::probe(address).map_err(|source| StartError::Listen { key, address, source })?;
        }
    }
    let sockets = Sockets::new(inherited);
    let succession = Arc::new(Succession::new(&gateway, &sockets)?);

    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let threads = if config.threads == 0 { cores() } else { config.threads };
    // Pingora counts in seconds, and from the closing of the listeners.
    let after_drain = config.grace.saturating_sub(config.lifecycle.drain_wait).as_secs_f64().ceil();
    let conf = conf(threads, after_drain as u64);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    server.add_service(Inheriting::new(listen::service(&server.configuration, &gateway, &config.listeners), &sockets));
    // One is enough: whoever asks while another is being answered would get the same answer.
    let (reloads, asked) = mpsc::channel(1);
    let reloads = outlook.is_some().then_some(reloads);
    let mut console = Service::new("admin".to_owned(), Console::new(Arc::clone(&gateway), reloads));
    console.add_tcp(&config.admin.to_string());
    console.threads = Some(1);
    server.add_service(Inheriting::new(console, &sockets));
    let source = outlook.map(|outlook| (outlook.path, outlook.watched));
    let caretaker = Caretaker {
        gateway: Arc::clone(&gateway),
        source,
        succession: Arc::clone(&succession),
        predecessor,
        asked: asked.into(),
    };
    server.add_service(background_service("caretaker", caretaker));

    started(&gateway);
    let signals =
        Signals { gateway: Arc::clone(&gateway), grace: config.grace, drain_wait: config.lifecycle.drain_wait, succession };
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(stop::close(&gateway))
}

/// Takes over what a predecessor has, once this process could serve.
fn inherit(
    gateway: &Gateway,
    predecessor: Option<Predecessor>,
    addresses: &[(&'static str, SocketAddr)],
) -> Result<(Option<Fds>, Option<Dismissal>), StartError> {
    let Some(mut predecessor) = predecessor else { return Ok((None, None)) };
    predecessor.prepare(gateway)?;
    let addresses: Vec<String> = addresses.iter().map(|(_, address)| address.to_string()).collect();
    let inherited = predecessor.take(gateway, &addresses)?;
    Ok((Some(inherited), Some(Dismissal::new(predecessor))))
}

fn conf(threads: usize, grace_seconds: u64) -> ServerConf {
    ServerConf {
        threads,
        // One runtime per thread: a connection stays where it began. Measured, it saves more than the whole judgement costs.
        work_stealing: false,
        grace_period_seconds: Some(grace_seconds),
        graceful_shutdown_timeout_seconds: Some(1),
        // Retries are counted by the upstream's own setting; this is only the last resort.
        max_retries: Tried::MOST,
        // Per thread. As many clients as one thread serves well; with fewer, every further request of a busy gateway would connect anew.
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    }
}
