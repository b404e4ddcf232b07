//! Who is calling?
//!
//! [`Identifier::identify`] finds the token of a request, reads it strictly (`token`), holds its claims against the policy (`claims`),
//! and checks its signature (`verify`) with a key that the issuer publishes (`keys`) or a configured secret. Verified tokens are
//! remembered (`seen`). What their claims become for others is in `forward`. [`KeyRings`] fetches the keys (`issuer`).
//!
//! Not every caller brings such a token. Bound tokens, opaque ones and API keys are in `credentials`; people who log in here in `login`
//! and `session`; applications with FusionAuth's browser SDKs in `hosted`. What was taken back before it expired is in [`revocation`],
//! and who says so in [`webhook`].
//!
//! Pure are those without an edge to the world, which `tests/architecture.rs` lists: no I/O, no clock.

mod carried;
mod claims;
mod credentials;
mod examination;
mod forward;
mod hosted;
mod identifier;
mod issuer;
mod json;
mod keys;
mod login;
pub mod revocation;
mod roca;
mod seen;
mod session;
mod token;
mod verify;
pub mod webhook;

pub use carried::take_from_query;
pub use credentials::challenge;
pub use examination::{Examination, Finding, Verdict};
pub use forward::{account, withheld_proof};
pub use hosted::{Asked, Hosted, Refreshed};
pub use identifier::Identifier;
pub use issuer::{KeyRings, RingStatus};
pub use login::{Failed, Logins, Metadata, Provider, ProviderFault, RelyingParty, Sent, TokenAnswer};
pub use session::{Ended, Opened, Outcome, Refreshes, Renewal, Session, Sessions, Tokens};
