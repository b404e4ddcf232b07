use std::collections::BTreeSet;

use rhai::Position;

use super::Subject;
use super::anatomy::{Call, Function};
use crate::model::{Hook, Problem};
use crate::rules::objects::Field;
use crate::rules::text::suggestion;
use crate::rules::verbs::Verb;

/// What is used where it has no meaning yet, or no more: `deny` after the response was sent. Helpers and library functions have the
/// phases of the hooks that reach them.
pub(super) fn check(subject: &Subject<'_>, problems: &mut Vec<Problem>) {
    let mut told = BTreeSet::new();
    for hook in Hook::ALL {
        for function in reachable(subject, hook) {
            let calls = function.calls.iter().filter(|call| call.namespace.is_none() && !call.is_operator);
            for (call, verb) in calls.filter_map(|call| Some((call, Verb::named(&call.name)?))) {
                if !verb.works_in(hook) && told.insert((place(call.position), hook.name())) {
                    problems.push(subject.files.at(call.position, verb_problem(verb, hook, function)));
                }
            }
            for read in &function.reads {
                let Some(field) = Field::of(read.object, &read.name) else { continue };
                if field.only_on_complete && hook != Hook::Complete && told.insert((place(read.position), hook.name())) {
                    let name = format!("{}.{}", read.object.name(), read.name);
                    let problem = Problem::error("rule::wrong-phase", format!("`{name}` does not exist in {}", hook.name()))
                        .label("not known yet")
                        .hint("it is known in on_complete");
                    problems.push(subject.files.at(read.position, problem));
                }
            }
        }
    }
    unknown_fields(subject, problems);
}

/// The functions that run when `hook` runs, closures and library functions included.
pub(in crate::rules) fn reachable<'s>(subject: &Subject<'s>, hook: Hook) -> Vec<&'s Function> {
    let own = subject.functions;
    let mut found: Vec<&Function> = own.iter().filter(|function| function.name == hook.name()).collect();
    // Which functions a function can reach depends on its file: bare names mean the file's own.
    let mut files: Vec<&'s [Function]> = vec![own; found.len()];
    let mut at = 0;
    while let (Some(function), Some(file)) = (found.get(at).copied(), files.get(at).copied()) {
        at += 1;
        let called = function.calls.iter().flat_map(|call| targets(subject, file, call));
        let closures =
            function.closures.iter().flat_map(|name| file.iter().filter(move |f| f.name == *name).map(move |f| (f, file)));
        for (target, of) in called.chain(closures) {
            if !found.iter().any(|present| std::ptr::eq(*present, target)) {
                found.push(target);
                files.push(of);
            }
        }
    }
    found
}

fn targets<'s>(subject: &Subject<'s>, file: &'s [Function], call: &Call) -> Vec<(&'s Function, &'s [Function])> {
    let file = match &call.namespace {
        Some(namespace) => subject.known.libraries.get(namespace).map_or(&[][..], |library| &library.functions),
        None => file,
    };
    let arguments = call.arguments.len();
    file.iter().filter(|f| f.name == call.name && f.parameters.len() == arguments).map(|f| (f, file)).collect()
}

fn place(position: Position) -> (usize, usize) {
    (position.line().unwrap_or(0), position.position().unwrap_or(0))
}

fn verb_problem(verb: &Verb, hook: Hook, function: &Function) -> Problem {
    let works: Vec<_> = verb.hooks.iter().map(|hook| hook.name()).collect();
    let way = if function.name == hook.name() || function.name.starts_with("anon$") {
        String::new()
    } else {
        format!(", and {} reaches `{}`", hook.name(), function.name)
    };
    Problem::error("rule::wrong-phase", format!("`{}` does not work in {}{way}", verb.name, hook.name()))
        .label("too late")
        .hint(format!("`{}` works in {}", verb.name, works.join(" and ")))
}

/// Properties that `request` and `response` do not have, in every function that takes them under these names.
fn unknown_fields(subject: &Subject<'_>, problems: &mut Vec<Problem>) {
    use crate::rules::objects::{FIELDS, Object};
    for read in subject.functions.iter().flat_map(|function| &function.reads) {
        if read.object == Object::Request && ["body", "json"].contains(&&*read.name) && subject.vocabulary.read_bodies.is_empty()
        {
            let problem = Problem::error(
                "rule::unread-body",
                format!("no route lets rules read bodies: `request.{}` is always ()", read.name),
            )
            .label("never read")
            .hint("say `rule_body: 16KiB` in the routes that need it");
            problems.push(subject.files.at(read.position, problem));
        }
        if read.object == Object::Claims || Field::of(read.object, &read.name).is_some() {
            continue;
        }
        let names: Vec<_> = FIELDS.iter().filter(|field| field.object == read.object).map(|field| field.name).collect();
        let problem = Problem::error("rule::unknown-field", format!("`{}` has no `{}`", read.object.name(), read.name))
            .label("does not exist")
            .hint(suggestion(&read.name, names, read.object.name()));
        problems.push(subject.files.at(read.position, problem));
    }
}
