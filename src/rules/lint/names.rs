use super::{Kind, Subject, is_named};
use crate::model::{Hook, Problem};
use crate::rules::objects::Object;
use crate::rules::verbs::Verb;

/// Names that must mean one thing: constants, verbs and the hooks' objects. The engine serves constants before it looks at local
/// variables, so a local of the same name would silently have the constant's value.
pub(super) fn check(subject: &Subject<'_>, problems: &mut Vec<Problem>) {
    let used_libraries: Vec<_> = subject
        .functions
        .iter()
        .flat_map(|function| {
            let calls = function.calls.iter().filter_map(|call| call.namespace.as_deref());
            calls.chain(function.constants.iter().map(|(namespace, ..)| namespace.as_str()))
        })
        .collect();
    for (name, position) in subject.constants {
        let taken = used_libraries
            .iter()
            .find(|library| subject.known.libraries.get(**library).is_some_and(|library| library.constants.contains(name)));
        if let Some(library) = taken {
            let problem = Problem::error("rule::shadowed", format!("the library `{library}` has a constant `{name}` as well"))
                .label("two values")
                .hint("give one of them another name");
            problems.push(subject.files.at(*position, problem));
        }
        if Object::named(name).is_some() {
            problems.push(subject.files.at(*position, taken_by_object(name)));
        }
    }
    let is_constant = |name: &str| subject.constants.iter().any(|(constant, _)| constant == name);
    for function in subject.functions {
        for (name, position) in &function.declared {
            if is_constant(name) {
                problems.push(subject.files.at(*position, taken_by_constant(name)));
            }
            if Object::named(name).is_some() {
                problems.push(subject.files.at(*position, taken_by_object(name)));
            }
        }
        for (object, position) in &function.assigned {
            let problem = Problem::error("rule::read-only", format!("`{}` cannot be changed", object.name()))
                .label("read-only")
                .hint("rules look at requests, responses and claims; verbs say what shall happen");
            problems.push(subject.files.at(*position, problem));
        }
        // Rhai would find the value locked, and wait 50 ms for itself before it gives up: on a thread that serves others.
        for (name, position) in function.called_back.iter().filter(|(name, _)| function.captured.contains(name)) {
            let problem = Problem::error("rule::locked", format!("a closure uses `{name}` while a method of `{name}` runs"))
                .label("locked meanwhile")
                .hint(format!("let the closure use a copy: `let copy = {name};`"));
            problems.push(subject.files.at(*position, problem));
        }
        if !is_named(function) {
            continue;
        }
        for parameter in function.parameters.iter().filter(|parameter| is_constant(parameter)) {
            problems.push(subject.files.before(function.body, parameter, taken_by_constant(parameter)));
        }
        let is_hook = Hook::ALL.iter().any(|hook| hook.name() == function.name);
        if Verb::named(&function.name).is_some() || (is_hook && subject.kind == Kind::Library) {
            let message = if is_hook { "a library has no hooks" } else { "a verb cannot be redefined" };
            let problem = Problem::error("rule::shadowed", message).label("already taken").hint("give the function another name");
            problems.push(subject.files.before(function.body, &function.name, problem));
        }
    }
}

fn taken_by_constant(name: &str) -> Problem {
    Problem::error("rule::shadowed", format!("`{name}` is a constant of this file"))
        .label("has two meanings")
        .hint("take another name")
}

fn taken_by_object(name: &str) -> Problem {
    Problem::error("rule::shadowed", format!("`{name}` is what hooks get as a parameter"))
        .label("has two meanings")
        .hint("take another name")
}
