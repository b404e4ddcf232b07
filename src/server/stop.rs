use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::succession::Succession;
use crate::gateway::Gateway;

/// How the process ends: SIGTERM when the requests that run are done, or the grace period is over; SIGINT likewise, but it waits for
/// them a moment only.
pub(super) struct Signals {
    pub(super) gateway: Arc<Gateway>,
    pub(super) grace: Duration,
    pub(super) drain_wait: Duration,
    pub(super) succession: Arc<Succession>,
}

/// How long SIGINT waits; a person at a terminal waits with it.
const MOMENT: Duration = Duration::from_millis(700);

/// What happens to requests that outlive the patience.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtLast {
    /// They are cut off, and are not billed.
    Exit,
    /// Pingora drops them, and they settle as they are dropped.
    LetPingora,
}

/// After a signal the listeners close; requests that are on their way into the process get this long to be seen.
const SETTLE: Duration = Duration::from_millis(150);

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            // Without signals the process can still be killed, and the ledger holds.
            return std::future::pending().await;
        };
        tokio::select! {
            // Not `FastShutdown`: it does not tell the accepting tasks, and one that is just accepting while its runtime ends gets an
            // error for each try, tries for ever, and keeps the process alive.
            _ = interrupt.recv() => self.leave_early(MOMENT.min(self.grace), AtLast::Exit),
            _ = terminate.recv() => self.terminate(&mut interrupt).await,
            () = self.succession.happened() => self.hand_over(),
        }
        ShutdownSignal::GracefulTerminate
    }
}

impl Signals {
    /// `/readyz` fails and answers announce the end of their connections first; the listeners close after that.
    async fn terminate(&self, interrupt: &mut Signal) {
        self.gateway.drain();
        tokio::select! {
            () = tokio::time::sleep(self.drain_wait) => self.leave_early(self.grace.saturating_sub(self.drain_wait), AtLast::LetPingora),
            _ = interrupt.recv() => self.leave_early(MOMENT.min(self.grace), AtLast::Exit),
        }
    }

    /// A successor accepts on the same sockets, so this process closes its handles at once. Idle connections stay a moment, and their
    /// clients are told with the next answer.
    fn hand_over(&self) {
        self.gateway.announce();
        let rest = self.grace.saturating_sub(self.drain_wait);
        let told = self.drain_wait.min(rest / 2);
        self.leave(told, rest.saturating_sub(told), AtLast::LetPingora);
    }

    /// Pingora sleeps through the whole grace period, also when nothing is left to wait for.
    fn leave_early(&self, patience: Duration, at_last: AtLast) {
        self.gateway.drain();
        self.gateway.close();
        self.leave(Duration::ZERO, patience, at_last);
    }

    fn leave(&self, told: Duration, patience: Duration, at_last: AtLast) {
        let gateway = Arc::clone(&self.gateway);
        thread::spawn(move || {
            thread::sleep(told);
            gateway.close();
            let began = Instant::now();
            let mut idle_since = None;
            while began.elapsed() < patience {
                thread::sleep(Duration::from_millis(10));
                match (gateway.in_flight(), idle_since) {
                    (0, None) => idle_since = Some(Instant::now()),
                    (0, Some(since)) if since.elapsed() >= SETTLE => {
                        close(&gateway);
                        std::process::exit(0);
                    }
                    (0, Some(_)) => {}
                    _ => idle_since = None,
                }
            }
            if at_last == AtLast::Exit {
                close(&gateway);
                std::process::exit(0);
            }
        });
    }
}

/// Writes down what is left. True if everything is on disk.
pub(super) fn close(gateway: &Gateway) -> bool {
    gateway.settler.close();
    let written = match &gateway.lasting.ledger {
        Some(ledger) => ledger.close(Duration::from_secs(5)),
        None => true,
    };
    if !written {
        tracing::error!("the ledger could not be closed in 5 s; usage of the last moments may be lost");
    }
    gateway.lasting.access_log.close();
    written
}
