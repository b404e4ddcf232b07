use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::mpsc;

use super::succession::{Dismissal, Succession};
use super::{Reloaded, certificates, reload, supervisor};
use crate::admin::{ReloadReport, ReloadRequest};
use crate::config::watch::Watch;
use crate::gateway::{Gateway, clock};
use crate::identity::webhook::keep_caught_up;
use crate::model::settings::EventLog;
use crate::proxy::probe::keep_probed;
use crate::traffic::keep_resolved;

/// The one background service: fetches keys, resolves names, probes servers, forgets idle limits, reloads. Pingora gives each such service a
/// thread of its own, so there is only this one.
pub(super) struct Caretaker {
    pub(super) gateway: Arc<Gateway>,
    /// The configuration file, and what else is watched; `None` for a gateway that does not reload (the tests').
    pub(super) source: Option<(PathBuf, Vec<PathBuf>)>,
    /// Who may come after this process.
    pub(super) succession: Arc<Succession>,
    /// Who was before it, until it leaves.
    pub(super) predecessor: Option<Dismissal>,
    /// Who asks for a reload through the operators' listener.
    pub(super) asked: tokio::sync::Mutex<mpsc::Receiver<ReloadRequest>>,
}

#[async_trait]
impl BackgroundService for Caretaker {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let lasting = &self.gateway.lasting;
        if let Some(predecessor) = &self.predecessor {
            predecessor.send(&self.succession).await;
        }
        self.succession.listeners_began().await;
        supervisor::ready(self.state());
        tokio::select! {
            () = Arc::clone(&lasting.keys).keep_fresh() => {}
            () = lasting.revocations.keep(clock::now) => {}
            () = keep_caught_up(&lasting.revocations, || self.event_log(), clock::now) => {}
            () = lasting.redis.keep_connected() => {}
            () = keep_resolved(&lasting.pools, clock::steady) => {}
            () = keep_probed(&lasting.pools) => {}
            () = certificates::keep_fresh(&self.gateway) => {}
            () = self.keep_tidy() => {}
            () = self.keep_current() => {}
            () = self.succession.offer() => {}
            // Requests that still run may need a key; the process ends soon enough.
            _ = async { let _ = shutdown.changed().await; tokio::time::sleep(Duration::from_secs(3_600)).await } => {}
        }
    }
}

impl Caretaker {
    /// In a word, for `systemctl status`.
    fn state(&self) -> &'static str {
        if self.gateway.is_ready() { "serving" } else { "waiting for the keys of an issuer; routes without a token are served" }
    }

    fn event_log(&self) -> Option<EventLog> {
        self.gateway.snapshot().config.identity.revocation.as_ref()?.event_log.clone()
    }

    async fn keep_tidy(&self) {
        let mut was_ready = self.gateway.is_ready();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.gateway.is_ready() != was_ready && !self.gateway.is_draining() {
                was_ready = !was_ready;
                supervisor::status(self.state());
            }
            self.gateway.lasting.throttling.evict(clock::now());
        }
    }

    /// Reloads when a file changes and on SIGHUP.
    async fn keep_current(&self) {
        let Some((path, watched)) = &self.source else { return std::future::pending().await };
        let mut hangup = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                tracing::error!(%error, "SIGHUP cannot be listened to");
                return std::future::pending().await;
            }
        };
        let mut watch = begin_watching(watched);
        let mut asked = self.asked.lock().await;
        loop {
            let mut asking = None;
            tokio::select! {
                _ = hangup.recv() => {}
                () = changed(&mut watch) => {}
                Some(request) = asked.recv() => asking = Some(request),
            }
            supervisor::reloading();
            let (gateway, path) = (Arc::clone(&self.gateway), path.clone());
            // A thread of its own: compiling rules would keep the key fetches on this runtime waiting.
            let Ok(outcome) = tokio::task::spawn_blocking(move || reload(&gateway, &path)).await else {
                tracing::error!("reloading panicked; the configuration in use stays");
                supervisor::ready(self.state());
                continue;
            };
            if let (Reloaded::Yes { watched, .. }, Some(watch)) = (&outcome, &watch) {
                watch.follow(watched);
            }
            tell(&outcome);
            supervisor::ready(self.state());
            if let Some(asking) = asking {
                let _ = asking.send(report(outcome));
            }
        }
    }
}

fn begin_watching(paths: &[PathBuf]) -> Option<Watch> {
    Watch::start(paths).inspect_err(|error| tracing::warn!(%error, "files cannot be watched; use SIGHUP to reload")).ok()
}

async fn changed(watch: &mut Option<Watch>) {
    if let Some(watch) = watch
        && watch.changed().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

fn report(outcome: Reloaded) -> ReloadReport {
    match outcome {
        Reloaded::Same => ReloadReport::Unchanged,
        Reloaded::Yes { needs_restart, warnings, .. } => ReloadReport::Loaded { needs_restart, warnings },
        Reloaded::No { problems } => ReloadReport::Refused(problems),
    }
}

fn tell(outcome: &Reloaded) {
    match outcome {
        Reloaded::Same => tracing::info!("reload: nothing changed"),
        Reloaded::Yes { needs_restart, warnings, .. } => {
            tracing::info!(warnings, "reload: the new configuration is in use");
            for key in needs_restart {
                tracing::warn!(key, "reload: this change needs a restart");
            }
        }
        Reloaded::No { problems } => tracing::error!("reload: not loaded, the configuration before stays in use\n{problems}"),
    }
}
