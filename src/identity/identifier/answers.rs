use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, EntryAction, EntryResult, PlaceholderGuard};

use crate::identity::credentials::Binding;
use crate::model::{Identity, Moment, TokenFault};

/// An answer counts as so many bytes at least, and the memory holds so many bytes for each token that `cache_tokens` allows.
const BYTES_PER_ANSWER: u64 = 4096;

/// How long a token is refused without asking again. Short: a token may be asked about an instant before the issuer knows it.
const REFUSED_FOR: Duration = Duration::from_secs(5);

type Digest = [u8; 32];

/// What issuers said about tokens, so that they are asked once for many requests, and once for many at the same time.
///
/// By SHA-256, so that no token is kept. Refusals are in it, too: made-up tokens can push each other out, and hardly what is used,
/// because the cache prefers what was asked for twice.
pub(super) struct Answers(Cache<Digest, Arc<Answer>, Weight>);

/// A place for an answer, which others may wait for. Dropped without one, the next of them asks.
pub(super) type Vacancy<'a> = PlaceholderGuard<
    'a,
    Digest,
    Arc<Answer>,
    Weight,
    quick_cache::DefaultHashBuilder,
    quick_cache::sync::DefaultLifecycle<Digest, Arc<Answer>>,
>;

/// Who an issuer says a token belongs to.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) verdict: Result<(Arc<Identity>, Binding), TokenFault>,
    /// Since 1970.
    until: Duration,
}

impl Answer {
    /// Used for `cache`, and never after the token's end.
    pub(super) fn vouching(identity: Arc<Identity>, binding: Binding, dies_at: Duration, cache: Duration, now: Moment) -> Self {
        Self { verdict: Ok((identity, binding)), until: dies_at.min(now.unix() + cache) }
    }

    pub(super) fn refusing(fault: TokenFault, cache: Duration, now: Moment) -> Self {
        Self { verdict: Err(fault), until: now.unix() + cache.min(REFUSED_FOR) }
    }
}

#[derive(Clone)]
pub(super) struct Weight;

impl Weighter<Digest, Arc<Answer>> for Weight {
    fn weight(&self, _: &Digest, answer: &Arc<Answer>) -> u64 {
        let headers: usize = match &answer.verdict {
            Ok((identity, _)) => identity.forwarded.iter().map(|(_, value)| value.len()).sum(),
            Err(_) => 0,
        };
        (headers as u64).saturating_add(BYTES_PER_ANSWER)
    }
}

impl Answers {
    pub(super) fn new(tokens: usize) -> Self {
        // Room for a few is made at once; most gateways ask nobody.
        Self(Cache::with_weighter(tokens.min(64), tokens.max(64) as u64 * BYTES_PER_ANSWER, Weight))
    }

    /// What was said about this exact token, or the place for it. Waits if somebody is asking.
    pub(super) async fn find(&self, token: &str, now: Moment) -> Result<Arc<Answer>, Vacancy<'_>> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        loop {
            let found = self.0.entry_async(&key, |_, answer| match now.unix() < answer.until {
                true => EntryAction::Retain(Arc::clone(answer)),
                false => EntryAction::ReplaceWithGuard,
            });
            match found.await {
                EntryResult::Retained(answer) => return Ok(answer),
                EntryResult::Vacant(vacancy) | EntryResult::Replaced(vacancy, _) => return Err(vacancy),
                EntryResult::Removed(..) | EntryResult::Timeout => {}
            }
        }
    }
}
