//! What can be known about a rule before it runs. Each check adds [`Problem`]s; none stops the others.

pub(super) mod anatomy;
mod calls;
mod hooks;
mod names;
mod phases;
mod values;
mod wants;

pub(super) use phases::reachable;

use std::collections::{BTreeMap, BTreeSet};

use rhai::{Engine, Position};

use self::anatomy::Function;
use super::program::Files;
use super::vocabulary::Vocabulary;
use crate::model::Problem;

/// One file under examination.
pub(super) struct Subject<'s> {
    pub(super) files: &'s Files,
    pub(super) functions: &'s [Function],
    /// Names of its constants.
    pub(super) constants: &'s [(String, Position)],
    pub(super) kind: Kind,
    pub(super) vocabulary: &'s Vocabulary,
    pub(super) known: &'s Known,
}

/// A library has no hooks: its functions are judged by the rules that call them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rule,
    Library,
}

/// The functions and constants that exist outside of the file.
#[derive(Default)]
pub(super) struct Known {
    /// Rhai's and our own: the numbers of arguments by name.
    pub(super) natives: BTreeMap<String, BTreeSet<usize>>,
    /// By namespace.
    pub(super) libraries: BTreeMap<String, Library>,
}

/// What a library file offers.
#[derive(Default)]
pub(super) struct Library {
    pub(super) functions: Vec<Function>,
    pub(super) constants: Vec<String>,
}

impl Known {
    pub(super) fn natives_of(engine: &Engine) -> BTreeMap<String, BTreeSet<usize>> {
        let all = engine.collect_fn_metadata(
            None,
            |function| Some((function.metadata.name.to_string(), function.metadata.num_params)),
            true,
        );
        let mut natives = BTreeMap::<String, BTreeSet<usize>>::new();
        for (name, arguments) in all {
            natives.entry(name).or_default().insert(arguments);
        }
        natives
    }
}

/// Everything that is wrong or doubtful with one file.
pub(super) fn examine(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if subject.kind == Kind::Rule {
        hooks::check(subject, &mut problems);
        phases::check(subject, &mut problems);
    }
    names::check(subject, &mut problems);
    for function in subject.functions {
        calls::check(subject, function, &mut problems);
        values::check(subject, function, &mut problems);
        wants::check(subject, function, &mut problems);
        for position in &function.unreachable {
            let problem = Problem::warning("rule::unreachable", "this is never reached")
                .label("never runs")
                .hint("what comes before it ends the function");
            problems.push(subject.files.at(*position, problem));
        }
    }
    problems.sort_by_key(|problem| problem.at.as_ref().map(|(source, span)| (source.name.clone(), span.start)));
    problems
}

/// A function that the author wrote, as opposed to one that Rhai made of a closure.
fn is_named(function: &Function) -> bool {
    !function.name.starts_with("anon$")
}
