use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Session;
use crate::model::Moment;

/// How long the result stands for requests that still bring the session from before it: those that were under way, and browsers whose
/// answer with the new cookie comes late or never.
const GRACE: Duration = Duration::from_secs(60);
/// How long after the issuer did not answer it is not asked again for the same session.
const PAUSE: Duration = Duration::from_secs(2);
/// Requests that wait for one renewal.
const MOST_WAITERS: usize = 256;
/// Renewals that are under way or remembered.
const MOST: usize = 16_384;
const SHARDS: usize = 16;

/// A session, and which of its tokens.
type Key = ([u8; 16], u64);

/// Renewals of sessions' tokens, one at a time for each session: FusionAuth's one-time refresh tokens do not survive two at once, and may
/// take the whole session with them. It outlives reloads.
pub struct Refreshes {
    clock: fn() -> Moment,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Key, Entry>,
    /// When renewals ended, in order.
    ended: VecDeque<(Duration, Key)>,
}

enum Entry {
    UnderWay(watch::Sender<Option<Outcome>>),
    Ended(Duration, Outcome),
}

/// What became of a renewal.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// New tokens.
    Renewed(Arc<Session>),
    /// The issuer says no: the session is over.
    Refused,
    /// The issuer did not answer, or too many wait.
    Unavailable,
}

enum Turn {
    Mine(watch::Sender<Option<Outcome>>),
    Wait(watch::Receiver<Option<Outcome>>),
    Known(Outcome),
}

impl Refreshes {
    /// None yet. `clock` must be the clock that `Facts::received_at` is read from.
    pub fn new(clock: fn() -> Moment) -> Self {
        Self { clock, shards: Default::default() }
    }

    /// What the session became, if its tokens were renewed a short while ago and the browser does not know yet.
    pub fn successor(&self, session: &Session, now: Moment) -> Option<Arc<Session>> {
        let shard = self.shard(&session.id)?.lock();
        match shard.entries.get(&(session.id, session.generation)) {
            Some(Entry::Ended(at, Outcome::Renewed(next))) if now.steady() < *at + GRACE => Some(Arc::clone(next)),
            _ => None,
        }
    }

    /// Runs `renewal`, unless it runs already or has just ended: then its result is everybody's.
    ///
    /// It runs on its own, so that a client who leaves does not take new tokens with it. `patience` bounds the waiting.
    pub async fn refresh<F>(self: &Arc<Self>, session: &Session, now: Moment, patience: Duration, renewal: F) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let key = (session.id, session.generation);
        let mut result = match self.turn(key, now) {
            Turn::Known(outcome) => return outcome,
            Turn::Wait(result) => result,
            Turn::Mine(sender) => {
                let result = sender.subscribe();
                let running = Running { refreshes: Arc::clone(self), key, sender, outcome: Outcome::Unavailable };
                tokio::spawn(async move {
                    let mut running = running;
                    running.outcome = renewal.await;
                });
                result
            }
        };
        match timeout(patience, result.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Outcome::Unavailable),
            Ok(Err(_)) | Err(_) => Outcome::Unavailable,
        }
    }

    fn turn(&self, key: Key, now: Moment) -> Turn {
        let Some(mut shard) = self.shard(&key.0).map(Mutex::lock) else { return Turn::Known(Outcome::Unavailable) };
        shard.forget_before(now.steady());
        match shard.entries.get(&key) {
            Some(Entry::UnderWay(sender)) if sender.receiver_count() >= MOST_WAITERS => Turn::Known(Outcome::Unavailable),
            Some(Entry::UnderWay(sender)) => Turn::Wait(sender.subscribe()),
            Some(Entry::Ended(at, outcome)) if now.steady() < *at + outcome.stands() => Turn::Known(outcome.clone()),
            _ if shard.entries.len() >= MOST / SHARDS && !shard.entries.contains_key(&key) => Turn::Known(Outcome::Unavailable),
            _ => {
                let sender = watch::Sender::new(None);
                shard.entries.insert(key, Entry::UnderWay(sender.clone()));
                Turn::Mine(sender)
            }
        }
    }

    fn shard(&self, id: &[u8; 16]) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::from(id[0]) % SHARDS)
    }
}

impl Outcome {
    fn stands(&self) -> Duration {
        match self {
            Self::Renewed(_) | Self::Refused => GRACE,
            Self::Unavailable => PAUSE,
        }
    }
}

impl Shard {
    fn forget_before(&mut self, now: Duration) {
        while let Some((at, key)) = self.ended.front().copied().filter(|(at, _)| *at + GRACE <= now) {
            self.ended.pop_front();
            // The same key may have ended again since.
            if matches!(self.entries.get(&key), Some(Entry::Ended(last, _)) if *last == at) {
                self.entries.remove(&key);
            }
        }
    }
}

/// A renewal under way. Its end is told also when it panics or its runtime stops, so that nobody waits for one that never comes.
struct Running {
    refreshes: Arc<Refreshes>,
    key: Key,
    sender: watch::Sender<Option<Outcome>>,
    outcome: Outcome,
}

impl Drop for Running {
    fn drop(&mut self) {
        let at = (self.refreshes.clock)().steady();
        if let Some(shard) = self.refreshes.shard(&self.key.0) {
            let mut shard = shard.lock();
            shard.entries.insert(self.key, Entry::Ended(at, self.outcome.clone()));
            shard.ended.push_back((at, self.key));
        }
        self.sender.send_replace(Some(self.outcome.clone()));
    }
}

impl std::fmt::Debug for Refreshes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refreshes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::identity::session::Tokens;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), Duration::from_secs(seconds))
    }

    fn session() -> Session {
        let tokens = Tokens {
            subject: "ann".into(),
            access_token: "a".into(),
            expires: 10,
            refresh_token: Some("r".into()),
            id_token: None,
        };
        Session::begin(tokens, at(1)).unwrap()
    }

    #[tokio::test]
    async fn d15_fifty_requests_at_once_and_late_ones_share_one_renewal() {
        let (refreshes, session) = (Arc::new(Refreshes::new(|| at(100))), session());
        let calls = Arc::new(AtomicUsize::new(0));
        let next = Arc::new(Session { generation: 9, ..session.clone() });
        let ask = |now: Moment| {
            let (refreshes, session, next, calls) =
                (Arc::clone(&refreshes), session.clone(), Arc::clone(&next), Arc::clone(&calls));
            tokio::spawn(async move {
                let renewal = async move {
                    calls.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Outcome::Renewed(next)
                };
                refreshes.refresh(&session, now, Duration::from_secs(5), renewal).await
            })
        };
        let asked: Vec<_> = (0..50).map(|_| ask(at(100))).collect();
        for one in asked {
            assert!(matches!(one.await.unwrap(), Outcome::Renewed(session) if session.generation == 9));
        }
        assert!(matches!(ask(at(159)).await.unwrap(), Outcome::Renewed(_)));
        assert_eq!(refreshes.successor(&session, at(159)).map(|next| next.generation), Some(9));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        // Beyond the grace it is another story.
        assert!(refreshes.successor(&session, at(160)).is_none());
        assert!(matches!(ask(at(161)).await.unwrap(), Outcome::Renewed(_)));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn d15_a_silent_issuer_is_left_in_peace_for_a_moment_and_a_no_stands() {
        let (refreshes, session) = (Arc::new(Refreshes::new(|| at(100))), session());
        let ask = |now, outcome: Outcome| refreshes.refresh(&session, now, Duration::from_secs(5), async { outcome });
        assert!(matches!(ask(at(100), Outcome::Unavailable).await, Outcome::Unavailable));
        assert!(matches!(ask(at(101), Outcome::Refused).await, Outcome::Unavailable));
        assert!(matches!(ask(at(102), Outcome::Refused).await, Outcome::Refused));
        assert!(matches!(ask(at(150), Outcome::Unavailable).await, Outcome::Refused));
    }

    #[tokio::test]
    async fn a_renewal_that_panics_leaves_nobody_waiting_and_memory_is_bounded() {
        let refreshes = Arc::new(Refreshes::new(|| at(100)));
        let one = session();
        let outcome = refreshes.refresh(&one, at(100), Duration::from_secs(5), async { panic!("on purpose") }).await;
        assert!(matches!(outcome, Outcome::Unavailable));
        for generation in 0..MOST as u64 {
            let session = Session { id: [3; 16], generation, ..one.clone() };
            refreshes.refresh(&session, at(100), Duration::from_secs(5), async { Outcome::Refused }).await;
        }
        assert_eq!(refreshes.shard(&[3; 16]).unwrap().lock().entries.len(), MOST / SHARDS);
        let session = Session { id: [3; 16], generation: u64::MAX, ..one };
        let later = refreshes.refresh(&session, at(200), Duration::from_secs(5), async { Outcome::Refused }).await;
        assert!(matches!(later, Outcome::Refused));
        assert_eq!(refreshes.shard(&[3; 16]).unwrap().lock().entries.len(), 1);
    }
}
