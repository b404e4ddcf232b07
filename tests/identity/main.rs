//! Who is calling? Real keys, real tokens, and an issuer behind a real socket; the rows of the attack checklist by their numbers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod claims;
mod dpop;
mod foreign;
mod identity;
mod idp;
mod issuer;
mod keys;
#[path = "../ports/mod.rs"]
mod ports;
mod signatures;
mod support;
