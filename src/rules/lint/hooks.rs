use super::anatomy::Function;
use super::{Subject, is_named};
use crate::model::{Hook, Problem};
use crate::rules::objects::Object;
use crate::rules::text::{closest, suggestion};

const HOOKS: [&str; 3] = [Hook::Request.name(), Hook::Response.name(), Hook::Complete.name()];

/// Hooks exist by their names and take what they ask for by its name: a wrong name would be a function that nobody calls.
pub(super) fn check(subject: &Subject<'_>, problems: &mut Vec<Problem>) {
    let named: Vec<_> = subject.functions.iter().filter(|function| is_named(function)).collect();
    for function in &named {
        match Hook::ALL.into_iter().find(|hook| hook.name() == function.name) {
            Some(hook) => parameters(subject, hook, function, problems),
            None => misspelt(subject, function, problems),
        }
    }
    for hook in HOOKS {
        let mut same = named.iter().filter(|function| function.name == hook);
        if let (Some(_), Some(second)) = (same.next(), same.next()) {
            let problem = Problem::error("rule::unknown-hook", format!("`{hook}` is written twice"))
                .label("a second one")
                .hint("one hook of each kind: merge the two");
            problems.push(subject.files.before(second.body, &second.name, problem));
        }
    }
    if !named.iter().any(|function| HOOKS.contains(&function.name.as_str())) && problems.is_empty() {
        let problem = Problem::error("rule::unknown-hook", "the rule has no hook, so it would never run")
            .hint(format!("hooks: {}", HOOKS.join(", ")));
        problems.push(subject.files.at(rhai::Position::new(1, 1), problem));
    }
}

fn misspelt(subject: &Subject<'_>, function: &Function, problems: &mut Vec<Problem>) {
    let called = subject.functions.iter().flat_map(|other| &other.calls).any(|call| call.name == function.name);
    let near = closest(&function.name, HOOKS);
    if !function.name.starts_with("on_") && (called || near.is_none()) {
        return;
    }
    let problem = Problem::error("rule::unknown-hook", format!("there is no hook `{}`", function.name))
        .label("nobody calls this")
        .hint(suggestion(&function.name, HOOKS, "hooks"));
    problems.push(subject.files.before(function.body, &function.name, problem));
}

fn parameters(subject: &Subject<'_>, hook: Hook, function: &Function, problems: &mut Vec<Problem>) {
    let possible: Vec<_> = Object::ALL.into_iter().filter(|object| object.exists_in(hook)).map(Object::name).collect();
    for parameter in &function.parameters {
        if possible.contains(&parameter.as_str()) {
            continue;
        }
        let problem = match Object::named(parameter) {
            Some(_) => Problem::error("rule::wrong-phase", format!("`{parameter}` does not exist in {}", hook.name()))
                .label("not available yet")
                .hint(format!("{} can take: {}", hook.name(), possible.join(", "))),
            None => Problem::error("rule::unknown-parameter", format!("{} cannot take `{parameter}`", hook.name()))
                .label("not known")
                .hint(match closest(parameter, possible.iter().copied()) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("{} can take: {}", hook.name(), possible.join(", ")),
                }),
        };
        problems.push(subject.files.before(function.body, parameter, problem));
    }
}
