//! One described request through the real flow, without a network: what `tollgate explain` and `tollgate test` are made of.

mod cases;
mod check;
mod connection;
pub mod explain;
mod rehearsal;
pub mod suite;

pub use connection::Connection;
pub use rehearsal::{Answer, Described, Rehearsal, Shown};
