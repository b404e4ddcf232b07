use std::env::VarError;
use std::path::Path;

use super::document::{Node, Origin, Quotes, Text, Value};
use super::environment::Surroundings;
use super::problems::Problems;
use crate::model::{Problem, Span};

/// Fills in every `${…}` of the values below `node`; keys are never filled in.
///
/// Scalars and not the raw text are filled in, so that a value can add neither keys nor comments and every place stays true. Own
/// code although serde-saphyr has it: there the first unset variable hides all others, and files cannot be named.
pub(super) fn fill(node: &mut Node, surroundings: &Surroundings<'_>, problems: &Problems) {
    match &mut node.value {
        Value::Nothing | Value::Unknown => {}
        Value::List(items) => items.iter_mut().for_each(|item| fill(item, surroundings, problems)),
        Value::Mapping(entries) => entries.iter_mut().for_each(|entry| fill(&mut entry.node, surroundings, problems)),
        Value::Text(Text { quotes: Quotes::Single, .. }) => {}
        Value::Text(scalar) => {
            if !scalar.text.contains("${") {
                return;
            }
            let filler = Filler { surroundings, problems, span: node.span, origin: scalar.origin };
            match filler.expand(&scalar.text, 0) {
                Ok(text) => (scalar.text, scalar.origin) = (text, Origin::Withheld),
                Err(problem) => {
                    problems.note_at(node.span, problem);
                    node.value = Value::Unknown;
                }
            }
        }
    }
}

struct Filler<'a> {
    surroundings: &'a Surroundings<'a>,
    problems: &'a Problems,
    span: Span,
    /// Of the text with its `${…}`.
    origin: Origin,
}

impl Filler<'_> {
    fn expand(&self, text: &str, depth: usize) -> Result<String, Problem> {
        const DEEPEST: usize = 8;
        if depth > DEEPEST {
            return Err(malformed("defaults inside of defaults, too deep"));
        }
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(literal) = before.strip_suffix('$') {
                filled.push_str(literal);
                filled.push_str("${");
                rest = after;
                continue;
            }
            let (body, behind) = split_at_close(after).ok_or_else(|| malformed("`${` is never closed"))?;
            filled.push_str(before);
            filled.push_str(&self.reference(body, depth)?);
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// The value of what stands between `${` and `}`.
    fn reference(&self, body: &str, depth: usize) -> Result<String, Problem> {
        if let Some(path) = body.strip_prefix("file:") {
            return self.file(path);
        }
        let end = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(body.len());
        let (name, operator) = body.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(malformed("`${` must be followed by the name of an environment variable"));
        }
        let value = match self.surroundings.variable(name) {
            Ok(value) => Some(value),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                let message = format!("the environment variable `{name}` is not UTF-8 text");
                return Err(Problem::error("config::unset-variable", message).label("used here"));
            }
        };
        if operator.is_empty() {
            let hint = format!("set it, or give a default: ${{{name}:-…}}");
            return value.ok_or_else(|| unset(name, "is not set").hint(hint));
        }
        let present = value.filter(|value| !value.is_empty());
        if let Some(default) = operator.strip_prefix(":-") {
            return present.map_or_else(|| self.expand(default, depth + 1), Ok);
        }
        if let Some(why) = operator.strip_prefix(":?") {
            let why = if why.is_empty() || self.origin == Origin::Withheld { "the configuration requires it" } else { why };
            return present.ok_or_else(|| unset(name, "is not set or empty").hint(format!("set {name}: {why}")));
        }
        Err(malformed(&format!("`${{{name}` is followed by something that is neither `:-`, `:?` nor `}}`")))
    }

    fn file(&self, written: &str) -> Result<String, Problem> {
        const LARGEST: usize = 64 << 10;
        if written.is_empty() || written.contains(char::is_control) {
            return Err(malformed("`${file:` must be followed by a path"));
        }
        let path = self.surroundings.resolve(Path::new(written));
        let shown = if self.origin == Origin::Written { format!("`{}`", path.display()) } else { "this file".into() };
        let mut text = self.surroundings.text(&path, LARGEST).map_err(|fault| {
            Problem::error("config::unreadable-file", format!("{shown} is needed here, but {fault}")).label("used here")
        })?;
        if self.surroundings.is_open_to_everybody(&path) {
            let message = format!("every account of this machine may read {shown}");
            let problem = Problem::warning("config::readable-secret", message).label("read here");
            self.problems.note_at(self.span, problem.hint("chmod o-r, or defaultMode: 0440 in Kubernetes"));
        }
        // Editors and `echo` end a file with one, and no secret is meant to.
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// What stands before the `}` that belongs to an opened `${`, and what behind it.
fn split_at_close(text: &str) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    let mut previous = '\0';
    for (at, c) in text.char_indices() {
        match c {
            '{' if previous == '$' => open += 1,
            '}' if open == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            '}' => open -= 1,
            _ => {}
        }
        previous = c;
    }
    None
}

fn unset(name: &str, how: &str) -> Problem {
    Problem::error("config::unset-variable", format!("the environment variable `{name}` {how}")).label("used here")
}

fn malformed(message: &str) -> Problem {
    Problem::error("config::bad-variable", message)
        .label("in this value")
        .hint("the forms are ${NAME}, ${NAME:-default}, ${NAME:?why} and ${file:/path}; $${ is a literal ${")
}
