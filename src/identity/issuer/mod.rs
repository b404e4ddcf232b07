//! The edge to the issuers: their keys, fetched and kept fresh.

pub(super) mod fetch;
mod inquiry;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

pub(super) use self::inquiry::Asker;
use self::inquiry::Question;
pub(super) use self::ring::KeyRing;
use crate::identity::credentials::{Proofs, SigningKey};
use crate::model::settings::Issuer;
use crate::model::{Moment, Name};

/// The keys of all issuers. It outlives reloads, so that a new configuration does not begin without keys.
///
/// All fetching happens in [`KeyRings::keep_fresh`], on the one runtime that runs it; requests only ask, and wait. The proxy runs many
/// single-thread runtimes, and an HTTP client belongs to the runtime that opened its connections.
pub struct KeyRings {
    clock: fn() -> Moment,
    rings: Mutex<BTreeMap<RingId, Arc<KeyRing>>>,
    /// Which DPoP proofs were used: a reload must not make them good again.
    proofs: Arc<Proofs>,
    /// Where questions about tokens are handed in, and who reads them: the one that runs [`KeyRings::keep_fresh`].
    desk: (mpsc::Sender<Question>, Arc<tokio::sync::Mutex<mpsc::Receiver<Question>>>),
    /// What signs for upstreams if no key is configured.
    generated: OnceLock<Option<Arc<SigningKey>>>,
    changed: Notify,
}

/// What makes an issuer's keys the same keys after a reload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RingId {
    url: String,
    tenant: Option<String>,
    name: Name,
}

impl RingId {
    fn of(issuer: &Issuer) -> Self {
        Self { url: issuer.url.clone(), tenant: issuer.tenant.clone(), name: issuer.name.clone() }
    }
}

/// How one issuer's keys are doing, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingStatus {
    /// The issuer's name in the configuration.
    pub name: Name,
    /// Keys that can verify tokens.
    pub keys: usize,
    /// Unix seconds of the last successful fetch.
    pub fetched_at: Option<u64>,
    /// Why the last fetch failed; `None` after a successful one.
    pub last_error: Option<String>,
    /// What is odd about the issuer, but does not keep it from working.
    pub warnings: Vec<String>,
    /// Keys that were published but not admitted, each with the reason.
    pub skipped: Vec<String>,
    /// Successful fetches.
    pub refreshes_ok: u64,
    /// Failed fetches.
    pub refreshes_failed: u64,
    /// Old keys are in use because fetching fails.
    pub stale: bool,
    /// Questions about tokens: the token was active, it was not, the question failed, and nobody asked because of a limit.
    pub asked: [u64; 4],
    /// Tokens of this issuer can be verified now.
    pub ready: bool,
}

impl KeyRings {
    /// No issuers yet. `clock` must be the clock that `Facts::received_at` is read from.
    pub fn new(clock: fn() -> Moment) -> Self {
        let (desk, questions) = mpsc::channel(inquiry::QUEUE);
        let desk = (desk, Arc::new(tokio::sync::Mutex::new(questions)));
        Self { clock, rings: Mutex::default(), proofs: Arc::default(), desk, generated: OnceLock::new(), changed: Notify::new() }
    }

    /// Adds rings for new issuers, drops those gone, keeps the others with their keys and gives them their new settings.
    pub fn follow(&self, issuers: &[Issuer]) {
        let mut rings = self.rings.lock();
        let mut followed = BTreeMap::new();
        for issuer in issuers {
            let id = RingId::of(issuer);
            let ring = match rings.remove(&id) {
                Some(ring) => {
                    ring.adopt(issuer);
                    ring
                }
                None => Arc::new(KeyRing::new(issuer)),
            };
            followed.insert(id, ring);
        }
        *rings = followed;
        self.changed.notify_one();
    }

    pub(super) fn proofs(&self) -> Arc<Proofs> {
        Arc::clone(&self.proofs)
    }

    /// Asks an issuer about tokens, if that is configured.
    pub(super) fn asker(&self, issuer: &Issuer) -> Option<Asker> {
        Asker::of(issuer, self.desk.0.clone(), Arc::clone(&self.ring(issuer).asked))
    }

    /// A private key that lives as long as the process.
    pub(super) fn generated_key(&self) -> Option<Arc<SigningKey>> {
        self.generated.get_or_init(|| SigningKey::generate().map(Arc::new)).clone()
    }

    /// The ring of a configured issuer, added if `follow` has not seen it yet.
    pub(super) fn ring(&self, issuer: &Issuer) -> Arc<KeyRing> {
        let mut rings = self.rings.lock();
        let ring = rings.entry(RingId::of(issuer)).or_insert_with(|| {
            self.changed.notify_one();
            Arc::new(KeyRing::new(issuer))
        });
        Arc::clone(ring)
    }

    /// Fetches the keys of every issuer at once, again before they grow old, and when a request asks for it. Runs until cancelled, on
    /// one runtime, once per process.
    pub async fn keep_fresh(self: Arc<Self>) {
        let Some(client) = fetch::client() else { return };
        let mut tasks = JoinSet::new();
        tasks.spawn(inquiry::serve(Arc::clone(&self.desk.1)));
        let mut tended: BTreeMap<RingId, (Arc<KeyRing>, AbortHandle)> = BTreeMap::new();
        loop {
            let rings = self.rings.lock().clone();
            tended.retain(|id, (ring, task)| {
                let stays = rings.get(id).is_some_and(|current| Arc::ptr_eq(current, ring));
                if !stays {
                    task.abort();
                }
                stays && !task.is_finished()
            });
            for (id, ring) in rings {
                tended.entry(id).or_insert_with(|| {
                    let task = tasks.spawn(Arc::clone(&ring).tend(client.clone(), self.clock));
                    (ring, task)
                });
            }
            tokio::select! {
                () = self.changed.notified() => {}
                Some(ended) = tasks.join_next() => {
                    // Nothing in there panics on purpose; if something does, keys must not grow old unnoticed.
                    if ended.is_err_and(|error| error.is_panic()) {
                        tracing::error!("fetching keys panicked; it begins again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
    }

    /// One entry per issuer, by URL.
    pub fn status(&self) -> Vec<RingStatus> {
        let now = (self.clock)();
        self.rings.lock().values().map(|ring| ring.status(now)).collect()
    }

    /// Every issuer has keys that can be used, or secrets.
    pub fn ready(&self) -> bool {
        let now = (self.clock)();
        self.rings.lock().values().all(|ring| ring.is_ready(now))
    }
}

impl std::fmt::Debug for KeyRings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rings.lock().keys()).finish()
    }
}
