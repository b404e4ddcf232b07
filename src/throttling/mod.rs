//! May it happen now? Limits by key: a sliding window ("at most n in any minute"), or GCRA if the rule gives a burst.
//!
//! [`Throttling`] outlives reloads. It holds one small bucket per key in sharded tables of bounded size; what a bucket can say
//! and how wrong it can be is in `window` and `gcra`, and for users in `docs/throttling.md`.

mod admit;
mod bucket;
mod gcra;
pub mod headers;
mod heritage;
mod key;
mod shard;
mod window;

pub use admit::{Admission, Standing, Throttling};
pub use heritage::Heritage;
