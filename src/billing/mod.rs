//! What is owed? Usage goes into a ledger: a SQLite file that is also its own journal.
//!
//! [`Ledger::settle`] folds the lines of a request in memory; one thread writes what has gathered every few milliseconds. What
//! that promises when a process or a machine dies is in `docs/billing.md`.

mod ledger;
mod meter;
pub mod report;
mod sqlite;
mod writer;

pub use ledger::{Ledger, LedgerError, LedgerState, LedgerStatus};
pub use meter::Tally;
