//! What a caller may show beside a plain access token, and what it is told when it shows nothing good.

mod api_keys;
mod binding;
mod challenge;
mod dpop;
mod opaque;
mod proofs;
mod published;
mod signing;

pub(super) use api_keys::KeyRing as ApiKeyRing;
pub(super) use binding::{Binding, Scheme};
pub use challenge::challenge;
pub(super) use dpop::Proof;
pub(super) use opaque::is_opaque;
pub(super) use proofs::{FirstUse, Proofs};
pub(super) use published::documents;
pub(super) use signing::{Signing, SigningKey};
