//! Where does it go? Which route a request matches, which servers an upstream has, how they are, and whose turn it is.

mod budget;
mod choice;
mod list;
mod member;
mod pattern;
mod pool;
mod prepared;
mod resolve;
mod rewrite;
mod router;
mod schedule;
#[cfg(test)]
mod tests;
mod tried;

pub use choice::consistent;
pub use member::{Member, Standing, Ticket};
pub use pattern::{HostPattern, PathPattern};
pub use pool::{NoServer, Pick, Pool, Tally};
pub use prepared::Prepared;
pub use resolve::{Pools, keep_resolved};
pub use rewrite::PathTemplate;
pub use router::Router;
pub use tried::Tried;
