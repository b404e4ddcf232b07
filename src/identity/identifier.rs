mod answers;
mod examine;
mod inquire;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use self::answers::Answers;
use super::carried::{self, Credential};
use super::claims::{self, CHECKS, Said};
use super::credentials::{self, ApiKeyRing, Binding, FirstUse, Proof, Proofs, Scheme, Signing, is_opaque};
use super::forward;
use super::issuer::{Asker, KeyRing, KeyRings};
use super::keys::Key;
use super::revocation::{self, Revoked, Standing};
use super::seen::{Entry, Seen, Voucher};
use super::token::Token;
use super::verify::{Algorithm, VerificationKey};
use crate::model::settings::{self, Auth, FixedAnswer};
use crate::model::{Absence, Caller, Claims, Facts, Identity, Moment, Name, Rejection, TokenFault};

/// Says who is calling. One per configuration: its policy never changes, and it remembers the tokens that it verified.
pub struct Identifier {
    policy: settings::Identity,
    /// As `policy.issuers`.
    issuers: Vec<Issuer>,
    seen: Seen,
    /// What issuers said about tokens that cannot be verified here.
    answers: Answers,
    api_keys: ApiKeyRing,
    proofs: Arc<Proofs>,
    /// Signs for upstreams.
    signing: Option<Signing>,
    /// Documents that everybody may read, by path.
    published: Vec<(String, Arc<FixedAnswer>)>,
    revoked: Arc<Revoked>,
}

/// Where the keys of one configured issuer come from.
struct Issuer {
    ring: Arc<KeyRing>,
    /// One per secret and algorithm that it is long enough for.
    secrets: Vec<Arc<Key>>,
    asker: Option<Asker>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    For(TokenFault),
    /// Nobody can say: the issuer's keys are missing.
    WithoutKeys,
    /// Nobody can say whether a proof was used before.
    WithoutMemory,
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
            Refused::WithoutMemory => Self::Overloaded,
        }
    }
}

impl Identifier {
    /// Takes the policy, and the rings of its issuers from `keys` (let them [`KeyRings::follow`] the same issuers first).
    pub fn new(settings: &settings::Identity, keys: &KeyRings) -> Self {
        let issuer = |issuer| Issuer { ring: keys.ring(issuer), secrets: secrets(issuer), asker: keys.asker(issuer) };
        let issuers = settings.issuers.iter().map(issuer).collect();
        let signing = settings.credentials.upstream_token.as_ref();
        let signing = signing.and_then(|token| Signing::of(token, || keys.generated_key()));
        Self {
            issuers,
            published: credentials::documents(settings, signing.as_ref()),
            signing,
            seen: Seen::new(settings.cache_tokens),
            answers: Answers::new(settings.cache_tokens),
            api_keys: ApiKeyRing::of(settings),
            proofs: keys.proofs(),
            policy: settings.clone(),
            revoked: Arc::default(),
        }
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
        let refused = match carried::find(facts, &self.policy) {
            Ok(Some(credential)) => match self.accept(credential, facts).await {
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

    /// What everybody may read at this path.
    pub fn published(&self, path: &str) -> Option<&Arc<FixedAnswer>> {
        self.published.iter().find(|(published, _)| published == path).map(|(_, document)| document)
    }

    /// The header by which the gateway itself vouches for a caller, if upstreams get one.
    pub fn upstream_token(&self, identity: &Identity, now: Moment) -> Option<(HeaderName, HeaderValue)> {
        self.signing.as_ref()?.header(identity, now)
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
        Ok(self.vouch(token, Scheme::Kept, now).await?.0)
    }

    async fn accept(&self, credential: Credential<'_>, facts: &Facts) -> Result<Arc<Identity>, Refused> {
        let now = facts.received_at;
        match credential {
            Credential::Bearer(token) => Ok(self.vouch(token, Scheme::Bearer, now).await?.0),
            Credential::ApiKey(key) => Ok(self.api_keys.identity(key, now)?),
            Credential::Dpop { token, proof } => {
                let (identity, binding) = self.vouch(token, Scheme::Dpop, now).await?;
                let Binding::Key(thumbprint) = &binding else { return Err(TokenFault::NotBound.into()) };
                let proof = Proof::parse(proof)?;
                let name = proof.proves(facts, token, thumbprint)?;
                // Last, so that only what is right takes room.
                match self.proofs.first_use(thumbprint, name, now.steady()) {
                    FirstUse::Yes => Ok(identity),
                    FirstUse::No => Err(TokenFault::BadProof.into()),
                    FirstUse::Full => Err(Refused::WithoutMemory),
                }
            }
        }
    }

    /// Every way of a token to an identity passes here.
    async fn vouch(&self, text: &str, scheme: Scheme, now: Moment) -> Result<(Arc<Identity>, Binding), Refused> {
        let (identity, binding) = match self.seen.recall(text, now) {
            Some(entry) => (Arc::clone(&entry.identity), entry.binding),
            // In a box: most requests need none of it.
            None => Box::pin(self.find_out(text, scheme, now)).await?,
        };
        binding.admits(scheme, self.policy.credentials.dpop)?;
        match self.revoked.judge(|| identity.claims.marks(revocation::marks)) {
            Standing::Clear => Ok((identity, binding)),
            Standing::Revoked => Err(TokenFault::Revoked.into()),
            Standing::Unknown => Err(Refused::WithoutKeys),
        }
    }

    /// Who a token names that is not remembered.
    async fn find_out(&self, text: &str, scheme: Scheme, now: Moment) -> Result<(Arc<Identity>, Binding), Refused> {
        let token = match Token::parse(text) {
            Ok(token) => token,
            Err(TokenFault::Malformed) if self.knows_opaque_tokens() && is_opaque(text) => {
                return self.inquire(text, None, now).await;
            }
            Err(fault) => return Err(fault.into()),
        };
        for check in &CHECKS {
            (check.judge)(&self.policy, &token.claims, now)?;
        }
        let binding = Binding::of(&token.claims)?;
        // Now, because it costs nothing yet.
        binding.admits(scheme, self.policy.credentials.dpop)?;
        let (issuer, voucher) = match self.signer(&token, now).await {
            // Signed with a secret that we do not have: FusionAuth's default key, for one.
            Err(Refused::For(TokenFault::WrongAlgorithm))
                if token.algorithm.is_symmetric() && self.can_ask_about(&token.claims) =>
            {
                return self.inquire(text, Some(&token.claims), now).await;
            }
            signer => signer?,
        };
        let dies_at = claims::dies_at(&self.policy, &token.claims)?;
        let identity = self.identity(issuer, token.claims, dies_at);
        let entry = Entry { token: text.into(), identity: Arc::clone(&identity), voucher, binding, dies_at };
        self.seen.remember(Arc::new(entry));
        Ok((identity, binding))
    }

    fn identity(&self, issuer: Name, said: Said, dies_at: Duration) -> Arc<Identity> {
        Arc::new(Identity {
            issuer,
            expires_at: dies_at.as_secs(),
            account: forward::account(&said, &self.policy.account),
            forwarded: forward::headers(&said, &self.policy.forward_claims),
            claims: Claims::new(said),
        })
    }

    /// Which issuer signed, with which key. If the key is not known, its issuer is asked once.
    async fn signer(&self, token: &Token<'_>, now: Moment) -> Result<(Name, Voucher), Refused> {
        let mut worst = Refused::For(TokenFault::UnknownKey);
        for index in claims::candidates(&self.policy, &token.claims) {
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
