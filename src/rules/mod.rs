//! What shall happen? The only home of Rhai.
//!
//! A rule is a file with functions of three names, its hooks. They see `objects` that cannot be changed and call
//! `verbs` that record what shall happen; nothing else comes out of a script. `docs/rules.md` is the reference for authors.
//!
//! In reading order: [`Vocabulary`] (the names of the configuration that rules may use), `parse`, `lint` and `compile` (texts become
//! [`RuleBook`]), `link` (what is made faster on the way), `sandbox` and `budget` (what a script cannot do), `evaluation` and
//! `machine` and `recall` (one hook of one request), `fault` (what went wrong, for operators).

mod book;
mod budget;
mod certificate;
mod claims;
mod compile;
mod evaluation;
mod fault;
mod link;
mod lint;
mod machine;
mod objects;
mod parse;
mod program;
mod recall;
mod sandbox;
mod text;
mod verbs;
mod vocabulary;

use std::time::Duration;

pub use book::{RuleBook, RuleSet};
pub use program::RuleCard;
pub use vocabulary::Vocabulary;

/// The steady clock, for deadlines and for what evaluations took: this layer does not read clocks itself.
pub type Clock = fn() -> Duration;

#[cfg(test)]
mod tests;
