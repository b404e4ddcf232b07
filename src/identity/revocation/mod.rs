//! What was taken back before it expired.
//!
//! A revocation names a user, a user in one application, an application, a session or an entity, and an instant: tokens issued up to
//! then are refused ([`Revoked`]). By `iat`, never by `exp`: who logs in again is welcome at once, however long the new token lives.
//! An entry is kept for as long as a token may live, after which there is nothing left that it could refuse.
//!
//! [`Revocations`] keeps them in a file (`file`, `sqlite`) and passes them on to other gateways (`feed`); `mark`, `order`, `filter` and `set` are pure.

mod feed;
mod file;
mod filter;
mod mark;
mod order;
mod revocations;
mod set;
mod sqlite;

pub use self::feed::FeedStatus;
pub use self::mark::marks;
pub use self::order::{Kind, Order, Target};
pub use self::revocations::{NotKept, RevocationStatus, Revocations, Source};
pub use self::set::{Inserted, Revoked, Standing};
