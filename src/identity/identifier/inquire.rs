use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::answers::Answer;
use super::{Identifier, Refused};
use crate::identity::claims::{self, CHECKS, Said};
use crate::identity::credentials::Binding;
use crate::identity::issuer::Asker;
use crate::model::{Identity, Moment, TokenFault};

impl Identifier {
    /// Whether somebody can be asked about tokens that are no JWTs.
    pub(super) fn knows_opaque_tokens(&self) -> bool {
        self.issuers.iter().filter_map(|issuer| issuer.asker.as_ref()).any(Asker::knows_opaque_tokens)
    }

    /// Whether the issuer of a token that cannot be verified here can be asked about it.
    pub(super) fn can_ask_about(&self, said: &Said) -> bool {
        self.asked_about(Some(said)).next().is_some()
    }

    /// Who an issuer says a token belongs to. `said` is what the token says about itself, if it is a JWT; every check on it was made.
    pub(super) async fn inquire(
        &self,
        text: &str,
        said: Option<&Said>,
        now: Moment,
    ) -> Result<(Arc<Identity>, Binding), Refused> {
        let longest = self.asked_about(said).map(|(_, asker)| asker.settings.timeout).max().unwrap_or(Duration::ZERO);
        // Those who wait for somebody else's answer ask themselves if he goes away without one; one after the other, hence a limit.
        let answer = match timeout(longest, self.answers.find(text, now)).await.map_err(|_| Refused::WithoutKeys)? {
            Ok(answer) => answer,
            Err(vacancy) => {
                let answer = Arc::new(self.ask(text, said, now).await?);
                // The place may be gone in the meantime, which only means to ask again.
                let _ = vacancy.insert(Arc::clone(&answer));
                answer
            }
        };
        Ok(answer.verdict.clone()?)
    }

    /// Asks one issuer after the other until one vouches for the token.
    async fn ask(&self, text: &str, said: Option<&Said>, now: Moment) -> Result<Answer, Refused> {
        let (mut cache, mut nobody_knows) = (Duration::MAX, false);
        for (index, asker) in self.asked_about(said) {
            cache = cache.min(asker.settings.cache);
            match asker.ask(text, now).await {
                Ok(Some(told)) => {
                    return Ok(match self.believe(index, told, said, now) {
                        Ok((identity, binding, dies_at)) => Answer::vouching(identity, binding, dies_at, cache, now),
                        Err(fault) => Answer::refusing(fault, cache, now),
                    });
                }
                Ok(None) => {}
                Err(_) => nobody_knows = true,
            }
        }
        if nobody_knows { Err(Refused::WithoutKeys) } else { Ok(Answer::refusing(TokenFault::Inactive, cache, now)) }
    }

    /// An issuer's word is held against the same policy as a signature: it may know tokens that are not for us.
    fn believe(
        &self,
        index: usize,
        told: Said,
        said: Option<&Said>,
        now: Moment,
    ) -> Result<(Arc<Identity>, Binding, Duration), TokenFault> {
        for check in &CHECKS {
            (check.judge)(&self.policy, &told, now)?;
        }
        if !claims::candidates(&self.policy, &told).any(|candidate| candidate == index) {
            return Err(TokenFault::WrongIssuer);
        }
        // FusionAuth repeats the claims of a JWT; if another issuer left the confirmation out, the token would be bound no more.
        if said.is_some_and(|said| said.get("cnf") != told.get("cnf")) {
            return Err(TokenFault::WrongKind);
        }
        let binding = Binding::of(&told)?;
        let dies_at = claims::dies_at(&self.policy, &told)?;
        let issuer = self.policy.issuers.get(index).map(|issuer| issuer.name.clone()).ok_or(TokenFault::WrongIssuer)?;
        Ok((self.identity(issuer, told, dies_at), binding, dies_at))
    }

    /// The issuers that may be asked, with their index: those that the claims name, or all that know opaque tokens.
    fn asked_about(&self, said: Option<&Said>) -> impl Iterator<Item = (usize, &Asker)> {
        let named: Option<Vec<usize>> = said.map(|said| claims::candidates(&self.policy, said).collect());
        let askers = self.issuers.iter().enumerate().filter_map(|(index, issuer)| Some((index, issuer.asker.as_ref()?)));
        askers.filter(move |(index, asker)| match &named {
            Some(named) => named.contains(index),
            None => asker.knows_opaque_tokens(),
        })
    }
}
