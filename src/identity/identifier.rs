use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::carried::{self, Credential};
use super::claims::{self, CHECKS};
use super::credentials::{self, ApiKeyRing, Binding, FirstUse, Proof, Proofs, Scheme, Signing};
use super::examination::{Examination, Finding, Verdict};
use super::forward;
use super::issuer::{KeyRing, KeyRings};
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
        let issuers =
            settings.issuers.iter().map(|issuer| Issuer { ring: keys.ring(issuer), secrets: secrets(issuer) }).collect();
        let signing = settings.credentials.upstream_token.as_ref();
        let signing = signing.and_then(|token| Signing::of(token, || keys.generated_key()));
        Self {
            issuers,
            published: credentials::documents(settings, signing.as_ref()),
            signing,
            seen: Seen::new(settings.cache_tokens),
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
            let fault = (check.judge)(&self.policy, &parsed.claims, now).err();
            findings.push(Finding { subject: check.subject, fault, text: (check.show)(&parsed.claims, now) });
        }
        findings.push(self.examine_binding(&parsed.claims));
        let signer = self.signer(&parsed, now).await;
        let kid = parsed.kid.as_deref().map_or_else(|| "no kid".into(), |kid| format!("kid {kid:?}"));
        let text = match &signer {
            Ok(_) => "the signature is right",
            Err(Refused::WithoutKeys | Refused::WithoutMemory) => "the issuer's keys could not be fetched",
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

    fn examine_binding(&self, said: &claims::Said) -> Finding {
        let binding = Binding::of(said);
        // A token that is bound will be shown with a proof; which is not here to be examined.
        let scheme = if matches!(binding, Ok(Binding::Key(_))) { Scheme::Dpop } else { Scheme::Bearer };
        let fault = binding.and_then(|binding| binding.admits(scheme, self.policy.credentials.dpop)).err();
        let text = match (binding, fault) {
            (Ok(Binding::None), None) => "to no key",
            (Ok(Binding::None), Some(_)) => "to no key, but `identity.dpop` is `required`",
            (Ok(Binding::Key(_)), None) => "to a DPoP key: each request needs a proof",
            (Ok(Binding::Key(_)), Some(_)) => "to a DPoP key, but `identity.dpop` is `off`",
            (Err(_), _) => "`cnf` asks for a check that is not known here",
        };
        Finding { subject: "binding", fault, text: text.into() }
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
        Ok(Arc::clone(&self.vouch(token, Scheme::Kept, now).await?.identity))
    }

    async fn accept(&self, credential: Credential<'_>, facts: &Facts) -> Result<Arc<Identity>, Refused> {
        let now = facts.received_at;
        match credential {
            Credential::Bearer(token) => Ok(Arc::clone(&self.vouch(token, Scheme::Bearer, now).await?.identity)),
            Credential::ApiKey(key) => Ok(self.api_keys.identity(key, now)?),
            Credential::Dpop { token, proof } => {
                let entry = self.vouch(token, Scheme::Dpop, now).await?;
                let Binding::Key(thumbprint) = &entry.binding else { return Err(TokenFault::NotBound.into()) };
                let proof = Proof::parse(proof)?;
                let name = proof.proves(facts, token, thumbprint)?;
                // Last, so that only what is right takes room.
                match self.proofs.first_use(thumbprint, name, now.steady()) {
                    FirstUse::Yes => Ok(Arc::clone(&entry.identity)),
                    FirstUse::No => Err(TokenFault::BadProof.into()),
                    FirstUse::Full => Err(Refused::WithoutMemory),
                }
            }
        }
    }

    /// Every way of a token to an identity passes here.
    async fn vouch(&self, text: &str, scheme: Scheme, now: Moment) -> Result<Arc<Entry>, Refused> {
        let entry = self.verify(text, scheme, now).await?;
        match self.revoked.judge(|| entry.identity.claims.marks(revocation::marks)) {
            Standing::Clear => Ok(entry),
            Standing::Revoked => Err(TokenFault::Revoked.into()),
            Standing::Unknown => Err(Refused::WithoutKeys),
        }
    }

    async fn verify(&self, text: &str, scheme: Scheme, now: Moment) -> Result<Arc<Entry>, Refused> {
        let dpop = self.policy.credentials.dpop;
        if let Some(entry) = self.seen.recall(text, now) {
            entry.binding.admits(scheme, dpop)?;
            return Ok(entry);
        }
        let token = Token::parse(text)?;
        for check in &CHECKS {
            (check.judge)(&self.policy, &token.claims, now)?;
        }
        let binding = Binding::of(&token.claims)?;
        binding.admits(scheme, dpop)?;
        let dies_at = claims::dies_at(&self.policy, &token.claims)?;
        let (issuer, voucher) = self.signer(&token, now).await?;
        let identity = Arc::new(Identity {
            issuer,
            expires_at: dies_at.as_secs(),
            account: forward::account(&token.claims, &self.policy.account),
            forwarded: forward::headers(&token.claims, &self.policy.forward_claims),
            claims: Claims::new(token.claims),
        });
        let entry = Arc::new(Entry { token: text.into(), identity, voucher, binding, dies_at });
        self.seen.remember(Arc::clone(&entry));
        Ok(entry)
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
