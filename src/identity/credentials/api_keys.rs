use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::identity::forward;
use crate::model::settings::{self, ApiKeys};
use crate::model::{Claims, Identity, Moment, TokenFault};

/// Longer ones are not looked at.
const MAX_BYTES: usize = 512;

/// The API keys of the configuration, each with the identity that it stands for.
#[derive(Default)]
pub(in crate::identity) struct KeyRing {
    /// By digest. Finding one takes other times than not finding it, and tells nothing: what is compared is SHA-256 of what was sent,
    /// and nobody can send what has a digest that begins like another's. A slow hash would buy nothing, because keys are not passwords:
    /// `tollgate key new` makes them of 256 random bits.
    identities: HashMap<[u8; 32], Arc<Identity>>,
}

impl KeyRing {
    pub(in crate::identity) fn of(policy: &settings::Identity) -> Self {
        let Some(keys) = &policy.credentials.api_keys else { return Self::default() };
        let identity = |key: &settings::ApiKey| {
            Arc::new(Identity {
                issuer: ApiKeys::issuer(),
                expires_at: key.expires.unwrap_or(u64::MAX),
                account: forward::account(&key.claims, &policy.account),
                forwarded: forward::headers(&key.claims, &policy.forward_claims),
                claims: Claims::new(key.claims.clone()),
            })
        };
        Self { identities: keys.entries.iter().map(|(digest, key)| (*digest, identity(key))).collect() }
    }

    /// Whom a key stands for.
    pub(in crate::identity) fn identity(&self, key: &str, now: Moment) -> Result<Arc<Identity>, TokenFault> {
        if key.len() > MAX_BYTES {
            return Err(TokenFault::BadApiKey);
        }
        let found = self.identities.get(digest(&SHA256, key.as_bytes()).as_ref()).ok_or(TokenFault::BadApiKey)?;
        if now.unix_seconds() >= found.expires_at { Err(TokenFault::Expired) } else { Ok(Arc::clone(found)) }
    }
}
