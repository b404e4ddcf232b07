use rhai::{ASTNode, EvalAltResult, Expr, FnCallExpr, Position};

use super::budget::Exceeded;
use super::claims::Prepared;
use super::program::{Body, Rule};
use crate::model::{Evaluated, Fault, Place};

/// What Rhai's error means to the rule's author, with the line and a way out.
pub(super) fn explain(error: &EvalAltResult, rule: &Rule, body: &Body, claims: &Prepared) -> (Evaluated, Fault) {
    let inner = error.unwrap_inner();
    let position = match inner {
        // The bytecode machine does not say which turn of which loop was one too many.
        EvalAltResult::ErrorTerminated(..) => body.position,
        _ => inner.position(),
    };
    let (message, hint) = message(inner, body, claims);
    let place = rule.place(position);
    let mut text = format!("{message}\n{}", excerpt(rule, &place, position));
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    (result(inner), Fault { place, text })
}

/// A panic has no place but the rule.
pub(super) fn panicked(rule: &Rule) -> Fault {
    let place = Place { line: 0, ..rule.place(Position::NONE) };
    Fault {
        text: format!("{}: the rule made a function of the gateway panic; this is a bug, please report it", place.file),
        place,
    }
}

fn excerpt(rule: &Rule, place: &Place, position: Position) -> String {
    let called = if place.file == rule.card.file { String::new() } else { format!("\ncalled by {}", rule.card.file) };
    match position.line().and_then(|line| rule.files.line(line)) {
        Some(line) => format!("{}:{} | {}{called}", place.file, place.line, line.trim()),
        None => place.file.to_string(),
    }
}

fn result(error: &EvalAltResult) -> Evaluated {
    match error {
        EvalAltResult::ErrorTerminated(..)
        | EvalAltResult::ErrorTooManyOperations(_)
        | EvalAltResult::ErrorTooManyVariables(_)
        | EvalAltResult::ErrorStackOverflow(_)
        | EvalAltResult::ErrorDataTooLarge(..) => Evaluated::Limit,
        _ => Evaluated::Error,
    }
}

fn message(error: &EvalAltResult, body: &Body, claims: &Prepared) -> (String, Option<String>) {
    let missing = missing_claim(body, error.position(), claims);
    match (error, missing) {
        (EvalAltResult::ErrorFunctionNotFound(signature, _), missing) => {
            let name = signature.split(' ').next().unwrap_or_default();
            let is_operator = !name.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            match missing {
                Some(claim) => (
                    format!("{claim} is missing in this token, so `{name}` cannot be computed"),
                    Some(if is_operator {
                        format!("write `({claim} ?? 0)`, or another value to take instead")
                    } else {
                        instead(&claim)
                    }),
                ),
                None => (format!("`{name}` cannot take {}", arguments(signature)), None),
            }
        }
        (EvalAltResult::ErrorMismatchDataType(expected, actual, _), missing) => match missing {
            Some(claim) if expected == "bool" => (
                format!("{claim} is missing in this token, so there is nothing to decide on"),
                Some(format!("write `{claim} ?? false`, or compare it with ==")),
            ),
            _ => (format!("{} is needed here, and this is {}", words(expected), words(actual)), None),
        },
        (EvalAltResult::ErrorDotExpr(text, _) | EvalAltResult::ErrorIndexingType(text, _), Some(claim)) => {
            let member = text.split('\'').nth(1).unwrap_or("[…]");
            (format!("{claim} is missing in this token, so it has no `{member}`"), Some(format!("write `{claim}?.{member}`")))
        }
        (EvalAltResult::ErrorDotExpr(text, _), None) if text.ends_with("'()'") => {
            let member = text.split('\'').nth(1).unwrap_or_default();
            (format!("`{member}` is asked of something that is absent"), Some("`?.` gives () instead of an error".into()))
        }
        (EvalAltResult::ErrorRuntime(value, _), missing) => {
            let text = value.as_immutable_string_ref().map_or_else(|_| format!("thrown: {value}"), |text| text.to_string());
            match missing {
                Some(claim) if text.contains("absent") => {
                    (format!("{claim} is missing in this token: {text}"), Some(instead(&claim)))
                }
                _ => (text, None),
            }
        }
        (EvalAltResult::ErrorTerminated(token, _), _) => match Exceeded::from_token(token) {
            Some(Exceeded::Time) => ("takes longer than `rule_limits.time` allows".into(), None),
            _ => ("needs more steps than `rule_limits.operations` allows".into(), None),
        },
        (EvalAltResult::ErrorDataTooLarge(what, _), _) => (format!("a value is too large ({})", what.to_lowercase()), None),
        (EvalAltResult::ErrorStackOverflow(_), _) => ("functions call each other too deeply".into(), None),
        (EvalAltResult::ErrorTooManyVariables(_), _) => ("too many variables".into(), None),
        (EvalAltResult::ErrorFor(_), _) => ("`for` needs a list, a range or a text".into(), None),
        (other, _) => (without_position(&other.to_string()), None),
    }
}

fn instead(claim: &str) -> String {
    format!("write `{claim} ?? …` with a value to take instead")
}

/// `(string, ())` as it stands in Rhai's signature, in words.
fn arguments(signature: &str) -> String {
    let inside = signature.split_once('(').map_or(signature, |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    if inside.is_empty() {
        return "no arguments".into();
    }
    inside.split(", ").map(words).collect::<Vec<_>>().join(" and ")
}

fn words(kind: &str) -> &str {
    match kind {
        "()" => "nothing",
        "i64" => "an integer",
        "f64" => "a float",
        "bool" => "true or false",
        "array" => "a list",
        "map" => "an object",
        kind if kind.contains("string") || kind.contains("String") || kind.contains("str") => "a text",
        kind => kind,
    }
}

fn without_position(text: &str) -> String {
    let text = text.split(" (line ").next().unwrap_or(text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// The claim that the failing expression uses and this token lacks.
fn missing_claim(body: &Body, position: Position, claims: &Prepared) -> Option<String> {
    if position.is_none() {
        return None;
    }
    let mut found = None;
    body.tree.walk(&mut |path| {
        let Some(ASTNode::Expr(expression)) = path.last() else {
            if let Some(ASTNode::Stmt(rhai::Stmt::FnCall(call, at))) = path.last() {
                found = found.take().or_else(|| (*at == position).then(|| among(call, claims)).flatten());
            }
            return found.is_none();
        };
        found = match expression {
            Expr::FnCall(call, at) if *at == position => among(call, claims),
            Expr::Dot(chain, _, at) | Expr::Index(chain, _, at) if *at == position || first_step(&chain.rhs) == position => {
                claim(&chain.lhs, claims)
            }
            other if other.start_position() == position || other.position() == position => claim(other, claims),
            _ => None,
        };
        found.is_none()
    });
    found
}

fn first_step(expression: &Expr) -> Position {
    match expression {
        Expr::Dot(chain, ..) | Expr::Index(chain, ..) => chain.lhs.position(),
        other => other.position(),
    }
}

fn among(call: &FnCallExpr, claims: &Prepared) -> Option<String> {
    call.args.iter().find_map(|argument| claim(argument, claims))
}

/// `claims.plan`, linked or not, if the token has no such claim.
fn claim(expression: &Expr, claims: &Prepared) -> Option<String> {
    let name = match expression {
        Expr::Variable(name, ..) => name.1.strip_prefix("claims.")?.to_owned(),
        Expr::Dot(chain, ..) => match (&chain.lhs, &chain.rhs) {
            (Expr::Variable(object, ..), Expr::Property(property, _)) if object.1 == "claims" => property.2.to_string(),
            _ => return None,
        },
        _ => return None,
    };
    claims.value(&name).is_unit().then(|| format!("claims.{name}"))
}
