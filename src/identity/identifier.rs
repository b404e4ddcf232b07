use std::sync::Arc;

use super::carried;
use super::claims::{self, CHECKS};
use super::examination::{Examination, Finding, Verdict};
use super::forward;
use super::issuer::{KeyRing, KeyRings};
use super::keys::Key;
use super::revocation::{self, Revoked, Standing};
use super::seen::{Entry, Seen, Voucher};
use super::token::Token;
use super::verify::{Algorithm, VerificationKey};
use crate::model::settings::{self, Auth};
use crate::model::{Absence, Caller, Claims, Facts, Identity, Moment, Name, Rejection, TokenFault};

/// Says who is calling. One per configuration: its policy never changes, and it remembers the tokens that it verified.
pub struct Identifier {
    policy: settings::Identity,
    /// As `policy.issuers`.
    issuers: Vec<Issuer>,
    seen: Seen,
    revoked: Arc<Revoked>,
}

/// Where the keys of one configured issuer come from.
struct Issuer {
    ring: Arc<KeyRing>,
    /// One per secret and algorithm that it is long enough for.
    secrets: Vec<Arc<Key>>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    For(TokenFault),
    /// Nobody can say: the issuer's keys are missing.
    WithoutKeys,
}

impl From<TokenFault> for Refused {
    fn from(fault: TokenFault) -> Self {
        Self::For(fault)
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::For(fault) => Self::Unauthenticated(fault),
            Refused::WithoutKeys => Self::KeysUnavailable,
        }
    }
}

impl Identifier {
    /// Takes the policy, and the rings of its issuers from `keys` (let them [`KeyRings::follow`] the same issuers first).
    pub fn new(settings: &settings::Identity, keys: &KeyRings) -> Self {
        let issuers =
            settings.issuers.iter().map(|issuer| Issuer { ring: keys.ring(issuer), secrets: secrets(issuer) }).collect();
        Self { policy: settings.clone(), issuers, seen: Seen::new(settings.cache_tokens), revoked: Arc::default() }
    }

    /// Refuses what is in the set, too.
    #[must_use]
    pub fn unless(self, revoked: &Arc<Revoked>) -> Self {
        Self { revoked: Arc::clone(revoked), ..self }
    }

    /// Who sent this request, as far as the route wants to know.
    ///
    /// Does not wait for anything if the token was seen before or its key is known; otherwise for at most one fetch of the issuer's
    /// keys. A token that cannot be judged because keys are missing is `KeysUnavailable` on every route that looks at tokens, also where
    /// bad ones are ignored: a known customer must not become an anonymous one because FusionAuth restarts.
    pub async fn identify(&self, facts: &Facts, auth: Auth) -> Result<Caller, Rejection> {
        if auth == Auth::None {
            return Ok(Caller::Anonymous(Absence::NotAsked));
        }
        let refused = match carried::find(&facts.headers, &self.policy.token_from) {
            Ok(Some(token)) => match self.vouch(token, facts.received_at).await {
                Ok(identity) => return Ok(Caller::Known(identity)),
                Err(refused) => refused,
            },
            Ok(None) if auth == Auth::Required => TokenFault::Missing.into(),
            Ok(None) => return Ok(Caller::Anonymous(Absence::NoToken)),
            Err(fault) => fault.into(),
        };
        match refused {
            Refused::For(fault) if auth == Auth::OptionalLenient => Ok(Caller::Anonymous(Absence::Ignored(fault))),
            refused => Err(refused.into()),
        }
    }

    /// Every check on this token with its result, for `tollgate token verify`. Waits for keys as a request would.
    pub async fn examine(&self, token: &str, now: Moment) -> Examination {
        let parsed = match Token::parse(token) {
            Ok(parsed) => parsed,
            Err(fault) => {
                let finding = Finding { subject: "form", fault: Some(fault), text: "not a token that could be read".into() };
                return Examination { verdict: Verdict::Refused(fault), findings: vec![finding] };
            }
        };
        let mut findings = Vec::with_capacity(CHECKS.len() + 1);
        for check in CHECKS {
            let fault = (check.judge)(&self.policy, &parsed, now).err();
            findings.push(Finding { subject: check.subject, fault, text: (check.show)(&parsed, now) });
        }
        let signer = self.signer(&parsed, now).await;
        let kid = parsed.kid.as_deref().map_or_else(|| "no kid".into(), |kid| format!("kid {kid:?}"));
        let text = match &signer {
            Ok(_) => "the signature is right",
            Err(Refused::WithoutKeys) => "the issuer's keys could not be fetched",
            Err(Refused::For(TokenFault::BadSignature)) => "the signature is wrong",
            Err(Refused::For(TokenFault::UnknownKey)) => "the issuer has no such key",
            Err(Refused::For(_)) if parsed.algorithm.is_symmetric() => {
                "no hmac_secrets of this issuer fits; better give the application an asymmetric key in FusionAuth"
            }
            Err(Refused::For(_)) => "that key is for another algorithm",
        };
        let fault = match &signer {
            Err(Refused::For(fault)) => Some(*fault),
            _ => None,
        };
        findings.push(Finding { subject: "signature", fault, text: format!("{} {kid}: {text}", parsed.algorithm.name()) });
        let verdict = match (findings.iter().find_map(|finding| finding.fault), signer) {
            (Some(fault), _) => Verdict::Refused(fault),
            (None, Err(_)) => Verdict::KeysUnavailable,
            (None, Ok(_)) => Verdict::Accepted,
        };
        Examination { verdict, findings }
    }

    /// Verified tokens that are remembered now.
    pub fn cached_tokens(&self) -> usize {
        self.seen.len()
    }

    /// Who a token names that did not come with the request itself, such as that of a session.
    ///
    /// # Errors
    /// As [`Self::identify`].
    pub async fn recognize(&self, token: &str, now: Moment) -> Result<Arc<Identity>, Rejection> {
        self.vouch(token, now).await.map_err(Rejection::from)
    }

    async fn vouch(&self, text: &str, now: Moment) -> Result<Arc<Identity>, Refused> {
        let identity = self.verify(text, now).await?;
        match self.revoked.judge(|| identity.claims.marks(revocation::marks)) {
            Standing::Clear => Ok(identity),
            Standing::Revoked => Err(TokenFault::Revoked.into()),
            Standing::Unknown => Err(Refused::WithoutKeys),
        }
    }

    async fn verify(&self, text: &str, now: Moment) -> Result<Arc<Identity>, Refused> {
        if let Some(identity) = self.seen.recall(text, now) {
            return Ok(identity);
        }
        let token = Token::parse(text)?;
        for check in &CHECKS {
            (check.judge)(&self.policy, &token, now)?;
        }
        let dies_at = claims::dies_at(&self.policy, &token)?;
        let (issuer, voucher) = self.signer(&token, now).await?;
        let identity = Arc::new(Identity {
            issuer,
            expires_at: dies_at.as_secs(),
            account: forward::account(&token.claims, &self.policy.account),
            forwarded: forward::headers(&token.claims, &self.policy.forward_claims),
            claims: Claims::new(token.claims),
        });
        self.seen.remember(Entry { token: text.into(), identity: Arc::clone(&identity), voucher, dies_at });
        Ok(identity)
    }

    /// Which issuer signed, with which key. If the key is not known, its issuer is asked once.
    async fn signer(&self, token: &Token<'_>, now: Moment) -> Result<(Name, Voucher), Refused> {
        let mut worst = Refused::For(TokenFault::UnknownKey);
        for index in claims::candidates(&self.policy, token) {
            let (Some(settings), Some(issuer)) = (self.policy.issuers.get(index), self.issuers.get(index)) else { continue };
            let mut verified = issuer.verify(token, now);
            if matches!(verified, Err(Refused::WithoutKeys)) || (token.kid.is_some() && verified.as_ref().err() == UNKNOWN) {
                issuer.ring.renewed(now).await;
                verified = issuer.verify(token, now);
            }
            match verified {
                Ok(voucher) => return Ok((settings.name.clone(), voucher)),
                Err(Refused::For(TokenFault::UnknownKey)) => {}
                Err(refused) => worst = refused,
            }
        }
        Err(worst)
    }
}

const UNKNOWN: Option<&Refused> = Some(&Refused::For(TokenFault::UnknownKey));

impl Issuer {
    fn verify(&self, token: &Token<'_>, now: Moment) -> Result<Voucher, Refused> {
        if token.algorithm.is_symmetric() {
            // A kid of a secret names nothing we know, and a public key is never tried as a secret.
            let mut fitting = self.secrets.iter().filter(|key| key.verification.algorithm() == token.algorithm).peekable();
            if fitting.peek().is_none() {
                return Err(TokenFault::WrongAlgorithm.into());
            }
            let key = fitting.find(|key| key.verification.verifies(token.signed, token.signature));
            return key.map(|key| Voucher { key: Arc::clone(key), trust: None }).ok_or(TokenFault::BadSignature.into());
        }
        let keys = self.ring.keys(now).ok_or(Refused::WithoutKeys)?;
        let candidates = keys.candidates(token.kid.as_deref(), token.algorithm)?;
        let key = candidates.into_iter().find(|key| key.verification.verifies(token.signed, token.signature));
        key.map(|key| Voucher { key, trust: Some(Arc::clone(&self.ring.trust)) }).ok_or(TokenFault::BadSignature.into())
    }
}

fn secrets(issuer: &settings::Issuer) -> Vec<Arc<Key>> {
    let mut keys = Vec::new();
    for (place, secret) in issuer.hmac_secrets.iter().enumerate() {
        let fitting = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]
            .into_iter()
            .filter_map(|algorithm| VerificationKey::hmac(algorithm, secret.expose()))
            .map(|verification| Arc::new(Key::new(None, verification, Vec::new())));
        let before = keys.len();
        keys.extend(fitting);
        if keys.len() == before {
            let name = &issuer.name;
            tracing::warn!(issuer = %name, "hmac_secrets[{place}] has fewer than 32 bytes and is not used (RFC 7518 3.2)");
        }
    }
    keys
}
