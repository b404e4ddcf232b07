//! Who is calling?
//!
//! [`Identifier::identify`] finds the token of a request, reads it strictly (`token`), holds its claims against the policy (`claims`),
//! and checks its signature (`verify`) with a key that the issuer publishes (`keys`) or a configured secret. Verified tokens are
//! remembered (`seen`). What their claims become for others is in `forward`. [`KeyRings`] fetches the keys (`issuer`).
//!
//! Everything but `issuer` and `identifier` is pure: no I/O, no clock.

mod carried;
mod claims;
mod examination;
mod forward;
mod identifier;
mod issuer;
mod json;
mod keys;
pub mod revocation;
mod roca;
mod seen;
mod token;
mod verify;
pub mod webhook;

pub use examination::{Examination, Finding, Verdict};
pub use forward::account;
pub use identifier::Identifier;
pub use issuer::{KeyRings, RingStatus};
