//! Who logged in, remembered: sealed (`seal`), in cookies (`jar`), with the tokens and times of one login (`content`). Tokens that end are
//! renewed once for all the requests that notice it at the same time (`refreshes`), on however many gateways (`shared`).

mod content;
mod ended;
mod jar;
mod refreshes;
mod seal;
mod shared;
mod store;

pub use content::{Session, Tokens};
pub use ended::Ended;
pub use refreshes::{Outcome, Refreshes};
pub use shared::Renewal;
pub use store::{Opened, Sessions};

pub(in crate::identity) use jar::Jar;
pub(in crate::identity) use seal::{Seals, random};
pub(in crate::identity) use shared::Shared;
