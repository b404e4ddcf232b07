use super::anatomy::{Call, Function};
use super::{Library, Subject};
use crate::model::{Hook, Problem};
use crate::rules::text::{closest, suggestion};
use crate::rules::verbs::{NOT_BUILT, VERBS};

/// Rhai's own words that look like functions.
const KEYWORDS: [&str; 3] = ["call", "curry", "type_of"];

/// Rhai looks for functions only when it calls them, so a misspelt one would be found by the first request that needs it.
pub(super) fn check(subject: &Subject<'_>, function: &Function, problems: &mut Vec<Problem>) {
    for call in function.calls.iter().filter(|call| !call.is_operator && !KEYWORDS.contains(&call.name.as_str())) {
        let problem = match &call.namespace {
            Some(namespace) => in_library(subject, namespace, call),
            None => here(subject, call),
        };
        problems.extend(problem.map(|problem| subject.files.at(call.position, problem)));
    }
    for (namespace, name, position) in &function.constants {
        let Some(library) = subject.known.libraries.get(namespace) else { continue };
        if !library.constants.contains(name) {
            let problem = Problem::error("rule::unknown-constant", format!("the library `{namespace}` has no constant `{name}`"))
                .label("not defined")
                .hint(suggestion(name, library.constants.iter().map(String::as_str), "constants"));
            problems.push(subject.files.at(*position, problem));
        }
    }
}

fn here(subject: &Subject<'_>, call: &Call) -> Option<Problem> {
    let given = call.arguments.len();
    let is_hook = Hook::ALL.iter().any(|hook| hook.name() == call.name);
    let own: Vec<_> = subject.functions.iter().filter(|function| function.name == call.name && !is_hook).collect();
    if own.iter().any(|function| function.parameters.len() == given) {
        return None;
    }
    // The value before the dot is the first argument of a native function.
    let native = given + usize::from(call.is_method);
    let natives = subject.known.natives.get(&call.name);
    if natives.is_some_and(|possible| possible.contains(&native)) {
        return None;
    }
    if NOT_BUILT.contains(&call.name.as_str()) {
        return Some(
            Problem::error("rule::unknown-function", format!("`{}` is not built yet", call.name)).label("not in this version"),
        );
    }
    if own.is_empty() && natives.is_none() {
        return Some(unknown(subject, call));
    }
    let own = own.iter().map(|function| function.parameters.len());
    let natives = natives.into_iter().flatten().map(|count| count - usize::from(call.is_method && *count > 0));
    Some(wrong_count(&call.name, given, own.chain(natives).collect()))
}

fn in_library(subject: &Subject<'_>, namespace: &str, call: &Call) -> Option<Problem> {
    let library: &Library = subject.known.libraries.get(namespace)?;
    let same: Vec<_> = library.functions.iter().filter(|function| function.name == call.name).collect();
    let given = call.arguments.len();
    if same.iter().any(|function| function.parameters.len() == given) {
        return None;
    }
    if same.is_empty() {
        let names = library.functions.iter().map(|function| function.name.as_str()).filter(|name| !name.starts_with("anon$"));
        return Some(
            Problem::error("rule::unknown-function", format!("the library `{namespace}` has no function `{}`", call.name))
                .label("not defined")
                .hint(suggestion(&call.name, names, "functions")),
        );
    }
    Some(wrong_count(&call.name, given, same.iter().map(|function| function.parameters.len()).collect()))
}

fn unknown(subject: &Subject<'_>, call: &Call) -> Problem {
    let own = subject.functions.iter().map(|function| function.name.as_str()).filter(|name| !name.starts_with("anon$"));
    let natives =
        subject.known.natives.keys().map(String::as_str).filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    let verbs: Vec<_> = VERBS.iter().map(|verb| verb.name).collect();
    // A verb before a helper before one of Rhai's two hundred functions.
    let close = closest(&call.name, verbs.iter().copied())
        .or_else(|| closest(&call.name, own))
        .or_else(|| closest(&call.name, natives.filter(|name| !name.contains('$'))));
    let problem = Problem::error("rule::unknown-function", format!("there is no function `{}`", call.name)).label("not defined");
    match close {
        Some(close) => problem.hint(format!("did you mean `{close}`?")),
        None => problem.hint(format!("verbs: {}", verbs.join(", "))),
    }
}

fn wrong_count(name: &str, given: usize, mut possible: Vec<usize>) -> Problem {
    possible.sort_unstable();
    possible.dedup();
    let counts: Vec<_> = possible.iter().map(ToString::to_string).collect();
    let arguments = if counts == ["1"] { "argument" } else { "arguments" };
    Problem::error("rule::wrong-arguments", format!("`{name}` takes {} {arguments}, and {given} are given", counts.join(" or ")))
        .label("does not fit")
}
