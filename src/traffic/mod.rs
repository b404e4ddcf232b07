//! Where does it go? Which route a request matches, which servers an upstream has, and whose turn it is.

mod pattern;
mod pool;
mod resolve;
mod rewrite;
mod router;

pub use pattern::{HostPattern, PathPattern};
pub use pool::{Pick, Pool, Tried};
pub use resolve::{Pools, keep_resolved};
pub use rewrite::PathTemplate;
pub use router::Router;
