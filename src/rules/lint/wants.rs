use super::Subject;
use super::anatomy::{Function, Read, Use};
use crate::model::Problem;
use crate::rules::objects::Object;
use crate::rules::text::closest;
use crate::rules::vocabulary::FUSIONAUTH_CLAIMS;

/// Tokens that the gateway accepts always have these.
const ALWAYS_THERE: [&str; 4] = ["iss", "aud", "exp", "sub"];

/// Claims that a token may lack, used as if it had them; and claims that nobody has heard of.
pub(super) fn check(subject: &Subject<'_>, function: &Function, problems: &mut Vec<Problem>) {
    for read in function.reads.iter().filter(|read| read.object == Object::Claims) {
        let declared = subject.vocabulary.claims.get(&read.name);
        if declared.is_none() && !FUSIONAUTH_CLAIMS.contains(&read.name.as_str()) {
            problems.push(subject.files.at(read.position, unknown(subject, &read.name)));
        }
        let always_there = ALWAYS_THERE.contains(&read.name.as_str()) || declared.is_some_and(|claim| claim.required);
        if !always_there {
            problems.extend(absent(read).map(|problem| subject.files.at(read.position, problem)));
        }
    }
    for call in function.calls.iter().filter(|call| call.name == "throttle" && call.namespace.is_none()) {
        let Some(key) = call.arguments.first().filter(|key| key.claim.as_deref() == Some("tid")) else { continue };
        let problem =
            Problem::warning("rule::tenant-key", "`tid` is the FusionAuth tenant: most installations have one for everybody")
                .label("one limit for all customers")
                .hint("take the customer: `claims.org ?? claims.sub`");
        let tenant = function.reads.iter().find(|read| read.name == "tid").map_or(key.position, |read| read.position);
        problems.push(subject.files.at(tenant, problem));
    }
}

fn unknown(subject: &Subject<'_>, name: &str) -> Problem {
    let known = FUSIONAUTH_CLAIMS.into_iter().chain(subject.vocabulary.claims.keys().map(String::as_str));
    let problem =
        Problem::warning("rule::unknown-claim", format!("nothing says that tokens have a claim `{name}`")).label("not declared");
    match closest(name, known) {
        Some(close) => problem.hint(format!("did you mean `{close}`? if not, declare `{name}` under identity.claims")),
        None => problem.hint(format!("declare `{name}` under identity.claims")),
    }
}

fn absent(read: &Read) -> Option<Problem> {
    let name = format!("claims.{}", read.name);
    let maybe =
        |message: String, hint: String| Some(Problem::warning("rule::maybe-missing", message).label("may be ()").hint(hint));
    match &read.used {
        Use::Plain => None,
        Use::Negated => Some(
            Problem::warning("rule::negated-claim", format!("`{name} != …` is also true when the claim is missing"))
                .label("may be ()")
                .hint(format!("write `({name} ?? \"…\") != …`, or test for the values you accept with ==")),
        ),
        Use::Condition => maybe(
            format!("`{name}` is no condition when the claim is missing: the rule fails"),
            format!("write `{name} ?? false`, or compare it with =="),
        ),
        Use::Operand(operator @ ("<" | "<=" | ">" | ">=")) => maybe(
            format!("`{name} {operator} …` is false when the claim is missing, and so is its opposite"),
            format!("write `({name} ?? 0) {operator} …`"),
        ),
        Use::Operand(operator) => {
            maybe(format!("`{operator}` fails when `{name}` is missing"), format!("write `({name} ?? 0) {operator} …`"))
        }
        Use::Member(member) if member.ends_with(')') => maybe(
            format!("`.{member}` fails when `{name}` is missing"),
            format!("write `({name} ?? …).{member}` with a value to take instead"),
        ),
        Use::Member(member) => maybe(format!("`.{member}` fails when `{name}` is missing"), format!("write `{name}?.{member}`")),
    }
}
