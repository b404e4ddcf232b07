use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::sync::watch;

/// The table of listening sockets: pingora gives it to a service when it starts, and nobody else gets it.
pub(in crate::server) struct Sockets {
    table: OnceLock<ListenFds>,
    inherited: Mutex<Option<Fds>>,
    begun: watch::Sender<usize>,
}

impl Sockets {
    /// With what a predecessor gave, or without.
    pub(in crate::server) fn new(inherited: Option<Fds>) -> Arc<Self> {
        Arc::new(Self { table: OnceLock::new(), inherited: Mutex::new(inherited), begun: watch::Sender::new(0) })
    }

    /// The table, once a service has started.
    pub(super) fn table(&self) -> Option<&ListenFds> {
        self.table.get()
    }

    /// Resolves when so many services have taken their sockets.
    pub(super) async fn taken_by(&self, services: usize) {
        let mut begun = self.begun.subscribe();
        let _ = begun.wait_for(|begun| *begun >= services).await;
    }

    fn offer(&self, table: ListenFds) {
        if let Some(inherited) = self.inherited.lock().take() {
            let (names, handles) = inherited.serialize();
            table.lock().deserialize(names, handles);
        }
        let _ = self.table.set(table);
        self.begun.send_modify(|begun| *begun += 1);
    }
}

/// Keeps of what a predecessor gave the sockets that are still configured, and closes the others: a socket that nobody accepts on
/// would swallow connections.
pub(super) fn claimed(mut given: Fds, addresses: &[String]) -> Fds {
    let keep: HashSet<String> = addresses.iter().cloned().collect();
    given.close_unclaimed(&keep);
    given
}

/// A service that starts with the sockets of a predecessor.
pub(in crate::server) struct Inheriting<S> {
    service: S,
    sockets: Arc<Sockets>,
}

impl<S> Inheriting<S> {
    pub(in crate::server) fn new(service: S, sockets: &Arc<Sockets>) -> Self {
        Self { service, sockets: Arc::clone(sockets) }
    }
}

#[async_trait]
impl<S: ServiceWithDependents> ServiceWithDependents for Inheriting<S> {
    async fn start_service(
        &mut self,
        table: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        if let Some(table) = &table {
            self.sockets.offer(Arc::clone(table));
        }
        self.service.start_service(table, shutdown, listeners_per_fd, ready).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.service.listen_addresses()
    }
}
