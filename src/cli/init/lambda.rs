//! What a JWT-populate lambda puts into tokens, as far as its text says so for certain.
//!
//! This is not a JavaScript engine: it finds `jwt.name = value`, and wherever the text could mean more than that, the claim is `any`. A
//! claim with a wrong type would make the gateway refuse good tokens, a claim without one costs only a check.

mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use tokens::Token;

/// The type of a claim, in the words of `identity.claims`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Int,
    Float,
    Bool,
    Strings,
    Object,
    Any,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Strings => "strings",
            Self::Object => "object",
            Self::Any => "any",
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (one, same) if one == same => one,
            (Self::Int | Self::Float, Self::Int | Self::Float) => Self::Float,
            _ => Self::Any,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) kind: Kind,
    /// Every value that the text names, if it names them all.
    pub(super) values: Option<BTreeSet<String>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) claims: BTreeMap<String, Claim>,
    /// Whether these are all the claims that the lambda sets.
    pub(super) is_complete: bool,
}

/// Reads the text of a lambda.
pub(super) fn read(text: &str) -> Reading {
    let Some(tokens) = tokens::split(text) else { return Reading::default() };
    let Some((names, body)) = parameters(&tokens) else { return Reading::default() };
    let mut reading = Reading { is_complete: true, ..Reading::default() };
    let mut changed_otherwise = BTreeSet::new();
    let mut rest = body;
    let mut before: Option<&Token> = None;
    while let Some((token, after)) = rest.split_first() {
        let is_jwt = token.is_word(&names.jwt) && !before.is_some_and(|token| token.is_sign(".") || token.is_sign("?."));
        before = Some(token);
        rest = after;
        if !is_jwt {
            continue;
        }
        let Some((name, after)) = member(rest) else {
            // Handed to a function, copied, or indexed by what is only known at run time.
            reading.is_complete = false;
            continue;
        };
        rest = after;
        match rest.first() {
            Some(sign) if sign.is_sign("=") => {
                let value = expression(rest.get(1..).unwrap_or_default());
                let claim = names.judge(value);
                let known = reading.claims.remove(name);
                reading.claims.insert(name.to_owned(), known.map_or(claim.clone(), |known| merge(known, claim)));
            }
            Some(sign) if sign.is_change() || sign.is_sign(".") || sign.is_sign("[") => {
                changed_otherwise.insert(name.to_owned());
            }
            _ => {}
        }
    }
    for name in changed_otherwise {
        let claim = reading.claims.entry(name).or_insert(Claim { kind: Kind::Any, values: None });
        // What is changed inside an object leaves it one.
        *claim = Claim { kind: if claim.kind == Kind::Object { Kind::Object } else { Kind::Any }, values: None };
    }
    if !reading.is_complete {
        reading.claims.values_mut().for_each(|claim| *claim = Claim { kind: Kind::Any, values: None });
    }
    reading
}

fn merge(one: Claim, other: Claim) -> Claim {
    let values = one.values.zip(other.values).map(|(one, other)| one.into_iter().chain(other).collect());
    Claim { kind: one.kind.or(other.kind), values }
}

/// `function populate(jwt, user, registration)`, by whatever names.
struct Names {
    jwt: String,
    user: String,
    registration: String,
}

fn parameters(tokens: &[Token]) -> Option<(Names, &[Token])> {
    let start = tokens.windows(2).position(|pair| matches!(pair, [a, b] if a.is_word("function") && b.is_word("populate")))?;
    let header = tokens.get(start + 2..)?;
    let end = header.iter().position(|token| token.is_sign(")"))?;
    let (list, body) = header.split_at(end);
    let mut words = list.iter().filter_map(Token::word).map(str::to_owned);
    let jwt = words.next()?;
    Some((Names { jwt, user: words.next().unwrap_or_default(), registration: words.next().unwrap_or_default() }, body))
}

/// `.name` or `["name"]`.
fn member(tokens: &[Token]) -> Option<(&str, &[Token])> {
    match tokens {
        [dot, name, rest @ ..] if dot.is_sign(".") => Some((name.word()?, rest)),
        [open, Token::Text { value: Some(name), .. }, close, rest @ ..] if open.is_sign("[") && close.is_sign("]") => {
            Some((name, rest))
        }
        _ => None,
    }
}

/// Up to the end of the statement: a semicolon, the block's end, or a line end where JavaScript would put a semicolon.
fn expression(tokens: &[Token]) -> &[Token] {
    let mut depth = 0_usize;
    let mut joins = true;
    for (at, token) in tokens.iter().enumerate() {
        let closes = token.is_sign(")") || token.is_sign("]") || token.is_sign("}");
        let is_end = depth == 0 && (token.is_sign(";") || closes || (token.starts_line() && !joins && !token.is_any_sign()));
        if is_end {
            return tokens.get(..at).unwrap_or_default();
        }
        if token.is_sign("(") || token.is_sign("[") || token.is_sign("{") {
            depth += 1;
        } else if closes {
            depth -= 1;
        }
        joins = token.is_any_sign() && !closes;
    }
    tokens
}

impl Names {
    fn judge(&self, value: &[Token]) -> Claim {
        let of = |kind| Claim { kind, values: None };
        match value {
            [Token::Text { value: Some(text), .. }] => Claim { kind: Kind::String, values: Some(BTreeSet::from([text.clone()])) },
            [Token::Text { .. }] => of(Kind::String),
            [Token::Number { whole, .. }] => of(if *whole { Kind::Int } else { Kind::Float }),
            [sign, Token::Number { whole, .. }] if sign.is_sign("-") => of(if *whole { Kind::Int } else { Kind::Float }),
            [word] if word.is_word("true") || word.is_word("false") => of(Kind::Bool),
            [open, .., close] if open.is_sign("[") && close.is_sign("]") && is_one_bracket(value) => {
                let inner = value.get(1..value.len() - 1).unwrap_or_default();
                let is_texts = inner.chunks(2).all(|pair| match pair {
                    [Token::Text { .. }] => true,
                    [Token::Text { .. }, comma] => comma.is_sign(","),
                    _ => false,
                });
                of(if is_texts && !inner.is_empty() { Kind::Strings } else { Kind::Any })
            }
            [open, .., close] if open.is_sign("{") && close.is_sign("}") && is_one_bracket(value) => of(Kind::Object),
            [object, dot, name] if dot.is_sign(".") => of(self.field(object, name.word().unwrap_or_default())),
            _ => of(Kind::Any),
        }
    }

    /// Fields of FusionAuth's user and registration that always have one type, as far as they are there.
    fn field(&self, object: &Token, name: &str) -> Kind {
        const USER: [&str; 8] = ["id", "email", "username", "fullName", "firstName", "lastName", "mobilePhone", "tenantId"];
        match name {
            "id" | "username" | "applicationId" if object.is_word(&self.registration) => Kind::String,
            "roles" if object.is_word(&self.registration) => Kind::Strings,
            "verified" if object.is_word(&self.registration) || object.is_word(&self.user) => Kind::Bool,
            "active" if object.is_word(&self.user) => Kind::Bool,
            name if object.is_word(&self.user) && USER.contains(&name) => Kind::String,
            _ => Kind::Any,
        }
    }
}

/// Whether the first bracket is closed by the last token: `[1] + [2]` begins and ends with brackets, too.
fn is_one_bracket(value: &[Token]) -> bool {
    let mut depth = 0_usize;
    for (at, token) in value.iter().enumerate() {
        if ["(", "[", "{"].iter().any(|sign| token.is_sign(sign)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|sign| token.is_sign(sign)) {
            depth = depth.saturating_sub(1);
            if depth == 0 && at + 1 < value.len() {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(body: &str) -> Vec<String> {
        let reading = read(&format!("function populate(jwt, user, registration) {{\n{body}\n}}"));
        let mut lines: Vec<String> = reading
            .claims
            .iter()
            .map(|(name, claim)| match &claim.values {
                Some(values) => format!("{name}: {} {}", claim.kind.word(), values.iter().cloned().collect::<Vec<_>>().join("|")),
                None => format!("{name}: {}", claim.kind.word()),
            })
            .collect();
        if !reading.is_complete {
            lines.push("and more".into());
        }
        lines
    }

    #[test]
    fn values_that_are_written_down_have_a_type() {
        let body = "jwt.plan = 'free';\n  jwt.seats = 5\n  jwt.rate = 0.5; jwt.beta = true;\n  jwt.tags = [\"a\", 'b'];\n  jwt.limits = { a: [1], b: {} };";
        assert_eq!(
            kinds(body),
            ["beta: bool", "limits: object", "plan: string free", "rate: float", "seats: int", "tags: strings"]
        );
        assert_eq!(
            kinds("jwt['https://hasura.io/jwt/claims'] = { 'x-hasura-user-id': user.id }"),
            ["https://hasura.io/jwt/claims: object"]
        );
        assert_eq!(
            kinds("jwt.delta = -1; jwt.mail = user.email; jwt.all = registration.roles\njwt.ok = registration.verified"),
            ["all: strings", "delta: int", "mail: string", "ok: bool"]
        );
    }

    #[test]
    fn several_assignments_are_one_claim() {
        let body = "jwt.plan = 'free'; if (user.data.paid) { jwt.plan = 'pro'; } else if (x) jwt.plan = \"enterprise\"";
        assert_eq!(kinds(body), ["plan: string enterprise|free|pro"]);
        assert_eq!(kinds("jwt.n = 1; jwt.n = 1.5;"), ["n: float"]);
        assert_eq!(kinds("jwt.n = 1; jwt.n = 'one';"), ["n: any"]);
        assert_eq!(kinds("jwt.plan = 'free'; jwt.plan = user.email;"), ["plan: string"]);
    }

    #[test]
    fn what_could_be_anything_is_any() {
        for value in [
            "user.data.plan",
            "registration.data.plan || 'free'",
            "paid ? 'pro' : 'free'",
            "'a' +\n 'b'",
            "[]",
            "[1]",
            "[user.id]",
            "['a'] + ['b']",
            "compute()",
            "`${user.id}-x` + 1",
            "'x'.length",
            "user\n .data\n .plan",
            "user.data",
            "new Date()",
        ] {
            assert_eq!(kinds(&format!("jwt.x = {value};")), ["x: any"], "{value}");
        }
        assert_eq!(kinds("jwt.x = 'a'; jwt.x += user.id;"), ["x: any"]);
        assert_eq!(kinds("jwt.x = ['a']; jwt.x.push(5);"), ["x: any"]);
        assert_eq!(kinds("jwt.x = {}; jwt.x.y = 5; jwt.x['z'] = 1;"), ["x: object"]);
        assert_eq!(kinds("jwt.x = `${user.id}`;"), ["x: string"]);
    }

    #[test]
    fn a_text_that_may_do_more_leaves_everything_open() {
        for more in [
            "Object.assign(jwt, user.data);",
            "jwt[name] = 1;",
            "const token = jwt; token.y = 1;",
            "helper(jwt)",
            "for (k in jwt) {}",
        ] {
            assert_eq!(kinds(&format!("jwt.x = 'a'; {more}")), ["x: any", "and more"], "{more}");
        }
        // Where a regular expression may begin, everything after it could be misread.
        assert_eq!(read("function populate(jwt) { if (/'/.test(x)) { jwt.x = 'a'; } }"), Reading::default());
        assert_eq!(read("populate = (jwt) => { jwt.x = 'a'; }"), Reading::default());
        assert_eq!(read("function populate(jwt) { jwt.x = 'unclosed; }"), Reading::default());
        assert_eq!(read(""), Reading::default());
    }

    #[test]
    fn comments_comparisons_and_other_objects_set_nothing() {
        let body = "// jwt.a = 1\n/* jwt.b = 2; */ if (jwt.c == 1 && jwt.d === 2) { other.jwt.e = 1; } delete jwt.f; const s = 'jwt.g = 1'; user.h = 4 / 2;";
        assert_eq!(kinds(body), Vec::<String>::new());
        let renamed = read(
            "function populate(token, person, membership) { token.x = person.email; token.y = membership.roles; jwt.z = 1; }",
        );
        assert_eq!(
            renamed.claims.iter().map(|(name, claim)| (&**name, claim.kind)).collect::<Vec<_>>(),
            [("x", Kind::String), ("y", Kind::Strings)]
        );
        assert!(renamed.is_complete);
    }
}
