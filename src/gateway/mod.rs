//! The flow itself: what a configuration compiles to ([`Snapshot`]), what outlives it ([`Lasting`]), and the one function every
//! request goes through ([`judge`]) before it may leave, and the one it goes through ([`settle`]) when it is over.
//!
//! Nothing here knows pingora: the proxy, `tollgate explain` and `tollgate test` call the same two functions.

mod access_log;
mod body;
pub mod clock;
mod doors;
mod endpoints;
mod identify;
mod judge;
mod lasting;
mod live;
mod permit;
mod report;
mod route;
mod settle;
mod settler;
mod snapshot;
pub mod traces;
mod trail;

pub use access_log::AccessLog;
pub use body::BodySource;
pub use doors::{Doors, Doorway};
pub use judge::judge;
pub use lasting::Lasting;
pub use live::{FailedReload, Gateway};
pub use permit::{Permit, UpstreamEntry};
pub use report::Faults;
pub use route::MirrorEntry;
pub use settle::{owed, settle};
pub use settler::{Settlement, Settler};
pub use snapshot::{Identification, RouteEntry, Snapshot};
pub use trail::Trail;
