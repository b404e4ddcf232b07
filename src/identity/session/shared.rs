use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Outcome, Session, Sessions};
use crate::redis::Redis;

/// How long the result is there for gateways whose browsers bring the session from before it.
const GRACE: Duration = Duration::from_secs(60);
/// How often a gateway that did not get the turn looks for the result.
const LOOK: Duration = Duration::from_millis(20);
/// The result of a renewal that the issuer refused; a sealed session is never so short.
const REFUSED: &[u8] = b"refused";
/// What sealed sessions in Redis are sealed for.
const PURPOSE: &str = "renewed session";

/// A renewal, and whether another gateway did it.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// What became of it.
    pub outcome: Outcome,
    /// Nobody here asked the issuer.
    pub is_theirs: bool,
}

impl Renewal {
    const fn ours(outcome: Outcome) -> Self {
        Self { outcome, is_theirs: false }
    }

    const fn theirs(outcome: Outcome) -> Self {
        Self { outcome, is_theirs: true }
    }
}

impl Sessions {
    /// Runs `renewal`, unless another gateway on the same Redis runs it or has just done so: then its result is everybody's, because a
    /// one-time refresh token is worth nothing the second time.
    ///
    /// What lies in Redis is sealed like a cookie. Without a Redis, or while it is away, every gateway renews for itself.
    pub async fn renew_once<F>(&self, redis: &Redis, session: &Session, patience: Duration, renewal: F) -> Renewal
    where
        F: Future<Output = Outcome> + Send,
    {
        if !redis.is_configured() {
            return Renewal::ours(renewal.await);
        }
        let name: String = session.id.iter().map(|byte| format!("{byte:02x}")).collect();
        let result = format!("session:{name}:{:016x}", session.generation);
        let turn = format!("{result}:turn");
        let began = Instant::now();
        loop {
            match redis.get(&result).await {
                Ok(Some(found)) => return Renewal::theirs(self.outcome(&found)),
                Ok(None) => {}
                Err(_) => return Renewal::ours(renewal.await),
            }
            // It ends by itself, in case whoever has it does not live to see the end.
            match redis.claim(&turn, b"1", patience.saturating_add(Duration::from_secs(1))).await {
                Ok(true) => break,
                Ok(false) if began.elapsed() < patience => sleep(LOOK).await,
                Ok(false) => return Renewal::ours(Outcome::Unavailable),
                Err(_) => return Renewal::ours(renewal.await),
            }
        }
        // Somebody may have finished between the question and the claim.
        if let Ok(Some(found)) = redis.get(&result).await {
            let _ = redis.delete(&[&turn]).await;
            return Renewal::theirs(self.outcome(&found));
        }
        let outcome = renewal.await;
        let told = match &outcome {
            Outcome::Renewed(next) => self.seals().seal(PURPOSE, &next.id, &next.encode(true)).map(String::into_bytes),
            Outcome::Refused => Some(REFUSED.to_vec()),
            Outcome::Unavailable => None,
        };
        if let Some(told) = told
            && let Err(error) = redis.set(&result, &told, GRACE).await
        {
            tracing::warn!("other gateways do not learn of a session's new tokens: {error}");
        }
        let _ = redis.delete(&[&turn]).await;
        Renewal::ours(outcome)
    }

    /// What cannot be opened was sealed with a key that this gateway does not have: the session may be good, but nobody here can say so.
    fn outcome(&self, found: &[u8]) -> Outcome {
        if found == REFUSED {
            return Outcome::Refused;
        }
        let opened = self.seals().open(PURPOSE, found).and_then(|(id, plain)| Session::decode(id, &plain));
        opened.map_or(Outcome::Unavailable, |session| Outcome::Renewed(Arc::new(session)))
    }
}
