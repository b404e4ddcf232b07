//! What FusionAuth tells by webhook: who must no longer get in, and that keys changed.
//!
//! An event counts only if everything that the configuration asks for is right ([`Webhooks::knows`] for what the head says,
//! [`Webhooks::receive`] for the signature over the body). Events may come twice and in any order: applying one again changes nothing.

mod credentials;
mod event;
mod event_log;
mod inbox;
mod signature;

use std::sync::Arc;

use http::HeaderMap;

use self::credentials::Credentials;
use self::event::{Meaning, Unreadable};
pub use self::event_log::{Reading, ReadingStatus, keep_caught_up};
pub use self::inbox::{Inbox, Outcome};
use self::signature::{Signers, Unsigned};
use super::issuer::{KeyRing, KeyRings};
use super::revocation::{NotKept, Revocations, Source};
use crate::model::{Moment, settings};

/// The receiver of one configuration.
pub struct Webhooks {
    settings: settings::Webhooks,
    credentials: Credentials,
    signers: Option<Signers>,
    /// The keys that an event may say have changed.
    rings: Vec<Arc<KeyRing>>,
}

impl Webhooks {
    /// A receiver for the events of one FusionAuth; `None` if nobody sends any.
    pub fn new(identity: &settings::Identity, keys: &KeyRings) -> Option<Self> {
        let settings = identity.revocation.as_ref()?.webhooks.clone()?;
        let own = identity.issuers.iter().find(|issuer| issuer.name == settings.issuer)?;
        let rings: Vec<_> =
            identity.issuers.iter().filter(|issuer| issuer.url == own.url).map(|issuer| keys.ring(issuer)).collect();
        let signers = settings.signature.as_ref().map(|signature| Signers::new(signature, keys.ring(own)));
        Some(Self { credentials: Credentials::new(&settings), signers, rings, settings })
    }

    /// Where events arrive.
    pub fn path(&self) -> &str {
        &self.settings.path
    }

    /// The largest body that is read.
    pub fn max_body(&self) -> usize {
        self.settings.max_body
    }

    /// Whether the head of a request is one of FusionAuth's, so that its body is worth reading.
    pub fn knows(&self, headers: &HeaderMap) -> bool {
        event::is_json(headers) && self.credentials.are_in(headers) && (self.signers.is_none() || signature::is_in(headers))
    }

    /// Applies an event, whose head is known already. Resolves when what it says is on disk.
    pub async fn receive(&self, headers: &HeaderMap, body: &[u8], revocations: &Revocations, now: Moment) -> Outcome {
        if let Some(signers) = &self.signers {
            match signers.verify(headers, body, now).await {
                Ok(()) => {}
                Err(Unsigned::Wrong) => return Outcome::Refused,
                Err(Unsigned::WithoutKeys) => return Outcome::Unavailable,
            }
        }
        let event = match event::read(body, self.settings.tenants.as_deref()) {
            Ok(event) => event,
            Err(Unreadable(reason)) => {
                tracing::warn!("an authentic event could not be read: {reason}");
                return Outcome::Unreadable;
            }
        };
        if revocations.inbox.has(&event.id) {
            return Outcome::Known;
        }
        let outcome = match event.meaning {
            Meaning::Nothing => Outcome::Ignored,
            Meaning::OtherTenant => Outcome::OtherTenant,
            Meaning::Keys if revocations.matters(event.at, now) => {
                self.rings.iter().for_each(|ring| ring.renew());
                Outcome::Applied
            }
            Meaning::Revoke(targets) if revocations.matters(event.at, now) => {
                // A clock ahead of ours must not lock out who logs in from now on.
                let until = event.at.min(now.unix());
                let orders: Vec<_> = targets.into_iter().map(|target| target.until(until)).collect();
                match revocations.revoke(&orders, Source::Webhook, now).await {
                    Ok(true) => Outcome::Applied,
                    Ok(false) => Outcome::Known,
                    Err(error) => {
                        tracing::error!("an event was not kept, FusionAuth is told so: {error}");
                        return if error == NotKept::Full { Outcome::Full } else { Outcome::Unwritten };
                    }
                }
            }
            Meaning::Keys | Meaning::Revoke(_) => Outcome::Stale,
        };
        revocations.inbox.remember(&event.id);
        outcome
    }
}
