use std::borrow::Cow;

use http::HeaderMap;
use rhai::{Dynamic, Engine, EvalAltResult, INT, ImmutableString, Position};

use super::certificate;
use super::evaluation::{Evaluation, running};
use crate::model::{Facts, Hook, ResponseFacts};

/// The objects that hooks can take as parameters.
///
/// The Rhai values have no size: what they show is found in the [`Evaluation`] of the running thread, so passing one costs neither
/// a copy nor a shared counter, and there is nothing a script could change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Request,
    Response,
    Claims,
}

impl Object {
    pub(super) const ALL: [Self; 3] = [Self::Request, Self::Response, Self::Claims];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Claims => "claims",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|object| object.name() == name)
    }

    /// Whether `hook` can take it: there is no response before the upstream answered.
    pub(super) const fn exists_in(self, hook: Hook) -> bool {
        !matches!((self, hook), (Self::Response, Hook::Request))
    }

    pub(super) fn value(self) -> Dynamic {
        match self {
            Self::Request => Dynamic::from(Request),
            Self::Response => Dynamic::from(Response),
            Self::Claims => Dynamic::from(Claims),
        }
    }
}

/// One property of `request` or `response`.
pub(super) struct Field {
    pub(super) object: Object,
    pub(super) name: &'static str,
    /// Known only when everything was sent.
    pub(super) only_on_complete: bool,
    read: fn(&Evaluation) -> Dynamic,
}

/// Every property there is; `claims` has whatever the token has.
pub(super) const FIELDS: [Field; 22] = [
    field(Object::Request, "path", |e| e.facts.path.as_str().into()),
    field(Object::Request, "method", |e| e.facts.method.as_str().into()),
    field(Object::Request, "host", |e| e.facts.host.as_str().into()),
    field(Object::Request, "query", |_| Dynamic::from(Query)),
    field(Object::Request, "headers", |_| Dynamic::from(RequestHeaders)),
    field(Object::Request, "cookies", |_| Dynamic::from(Cookies)),
    field(Object::Request, "client_ip", |e| e.facts.client_ip.to_string().into()),
    field(Object::Request, "client_certificate", |e| certificate::view(e.facts.client_certificate.as_deref())),
    field(Object::Request, "protocol", |e| e.facts.protocol.label().into()),
    field(Object::Request, "is_secure", |e| e.facts.is_secure.into()),
    field(Object::Request, "is_websocket", |e| e.facts.is_websocket.into()),
    field(Object::Request, "id", |e| e.facts.id.as_str().into()),
    field(Object::Request, "route", |e| (*e.route).into()),
    field(Object::Request, "body", |e| e.facts.body.text().map_or(Dynamic::UNIT, Into::into)),
    field(Object::Request, "json", |e| e.facts.body.text().map_or(Dynamic::UNIT, json)),
    late(Object::Request, "body_bytes", |e| number(e.body_bytes_in)),
    field(Object::Response, "status", |e| of_response(e, |r| INT::from(r.status).into())),
    field(Object::Response, "headers", |_| Dynamic::from(ResponseHeaders)),
    late(Object::Response, "body_bytes", |e| of_response(e, |r| number(r.body_bytes))),
    late(Object::Response, "duration_ms", |e| of_response(e, |r| number(r.duration.as_millis().try_into().unwrap_or(u64::MAX)))),
    late(Object::Response, "upstream", |e| of_response(e, |r| r.upstream.as_deref().map_or(Dynamic::UNIT, Into::into))),
    late(Object::Response, "completed", |e| of_response(e, |r| r.completed.into())),
];

const fn field(object: Object, name: &'static str, read: fn(&Evaluation) -> Dynamic) -> Field {
    Field { object, name, only_on_complete: false, read }
}

const fn late(object: Object, name: &'static str, read: fn(&Evaluation) -> Dynamic) -> Field {
    Field { object, name, only_on_complete: true, read }
}

fn of_response(evaluation: &Evaluation, read: fn(&ResponseFacts) -> Dynamic) -> Dynamic {
    evaluation.response.as_deref().map_or(Dynamic::UNIT, read)
}

/// What is no JSON is absent, like a body that is no text.
fn json(text: &str) -> Dynamic {
    serde_json::from_str(text).map_or(Dynamic::UNIT, |value| super::claims::dynamic(&value))
}

fn number(value: u64) -> Dynamic {
    INT::try_from(value).unwrap_or(INT::MAX).into()
}

impl Field {
    /// The name of the variable that stands for the property in a linked body: a sign and a letter, found without comparing texts.
    pub(super) fn variable(object: Object, name: &str) -> Option<String> {
        let index = FIELDS.iter().position(|field| field.object == object && field.name == name)?;
        Some(format!("#{}", char::from(b'a' + u8::try_from(index).ok()?)))
    }

    /// The property that a variable of this name stands for.
    pub(super) fn of_variable(name: &str) -> Option<&'static Self> {
        match name.as_bytes() {
            [b'#', letter] => FIELDS.get(usize::from(letter.checked_sub(b'a')?)),
            _ => None,
        }
    }

    pub(super) fn of(object: Object, name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.object == object && field.name == name)
    }

    pub(super) fn value(&self, evaluation: &Evaluation) -> Result<Dynamic, String> {
        if self.only_on_complete && evaluation.hook != Hook::Complete {
            return Err(format!("`{}.{}` is known only in on_complete", self.object.name(), self.name));
        }
        Ok((self.read)(evaluation))
    }
}

#[derive(Clone)]
struct Request;
#[derive(Clone)]
struct Response;
#[derive(Clone)]
struct Claims;
#[derive(Clone)]
struct Query;
#[derive(Clone)]
struct Cookies;
#[derive(Clone)]
struct RequestHeaders;
#[derive(Clone)]
struct ResponseHeaders;

/// Tells `engine` what can be done with the objects. `claims` are the property names that appear in any rule: each gets a getter
/// of its own, because Rhai finds an unregistered property only after it has composed an error message.
pub(super) fn register<'n>(engine: &mut Engine, claims: impl IntoIterator<Item = &'n str>) {
    engine
        .register_type_with_name::<Request>("request")
        .register_type_with_name::<Response>("response")
        .register_type_with_name::<Claims>("claims")
        .register_type_with_name::<Query>("query")
        .register_type_with_name::<Cookies>("cookies")
        .register_type_with_name::<RequestHeaders>("headers")
        .register_type_with_name::<ResponseHeaders>("headers");
    for field in &FIELDS {
        match field.object {
            Object::Request => engine.register_get(field.name, |_: &mut Request| read(field)),
            _ => engine.register_get(field.name, |_: &mut Response| read(field)),
        };
    }
    for name in claims {
        let owned: Box<str> = name.into();
        engine.register_get(name, move |_: &mut Claims| claim(&owned));
    }
    engine
        .register_indexer_get(|_: &mut Claims, name: ImmutableString| claim(&name))
        .register_fn("contains", |_: &mut Claims, name: ImmutableString| running(|e| e.claims.contains(&name)))
        .register_fn("is_empty", |_: &mut Claims| running(|e| e.claims.is_empty()))
        .register_fn("has_role", |_: &mut Claims, role: ImmutableString| running(|e| e.claims.has_role(&role)))
        .register_fn("has_scope", |_: &mut Claims, scope: ImmutableString| running(|e| e.claims.has_scope(&scope)))
        .register_fn("has_permission", |_: &mut Claims, name: ImmutableString| running(|e| e.claims.has_permission(&name)))
        .register_fn("has_permission", |_: &mut Claims, entity: ImmutableString, name: ImmutableString| {
            running(|e| e.claims.has_permission_at(&entity, &name))
        });
    engine
        .register_indexer_get(|_: &mut Query, name: ImmutableString| running(|e| text(query(&e.facts, &name))))
        .register_fn("contains", |_: &mut Query, name: ImmutableString| running(|e| query(&e.facts, &name).is_some()))
        .register_indexer_get(|_: &mut Cookies, name: ImmutableString| running(|e| text(cookie(&e.facts, &name))))
        .register_fn("contains", |_: &mut Cookies, name: ImmutableString| running(|e| cookie(&e.facts, &name).is_some()))
        .register_indexer_get(|_: &mut RequestHeaders, name: ImmutableString| running(|e| header(Some(&e.facts.headers), &name)))
        .register_fn("contains", |_: &mut RequestHeaders, name: ImmutableString| {
            running(|e| e.facts.headers.contains_key(name.as_str()))
        })
        .register_indexer_get(|_: &mut ResponseHeaders, name: ImmutableString| {
            running(|e| header(e.response.as_deref().map(|r| &r.headers), &name))
        })
        .register_fn("contains", |_: &mut ResponseHeaders, name: ImmutableString| {
            running(|e| e.response.as_deref().is_some_and(|r| r.headers.contains_key(name.as_str())))
        });
    // Without these, Rhai assigns to a copy and says nothing.
    engine
        .register_indexer_set(|_: &mut Claims, _: ImmutableString, _: Dynamic| read_only())
        .register_indexer_set(|_: &mut Query, _: ImmutableString, _: Dynamic| read_only())
        .register_indexer_set(|_: &mut Cookies, _: ImmutableString, _: Dynamic| read_only())
        .register_indexer_set(|_: &mut RequestHeaders, _: ImmutableString, _: Dynamic| read_only())
        .register_indexer_set(|_: &mut ResponseHeaders, _: ImmutableString, _: Dynamic| read_only());
    // `"admin" in claims.roles` without roles: nobody is in an absent list.
    engine.register_fn("contains", |(): (), _: Dynamic| false);
}

fn read(field: &Field) -> Result<Dynamic, Box<EvalAltResult>> {
    running(|evaluation| field.value(evaluation).map_err(failure))?
}

fn read_only() -> Result<(), Box<EvalAltResult>> {
    Err(failure("requests, responses and claims cannot be changed"))
}

fn claim(name: &str) -> Result<Dynamic, Box<EvalAltResult>> {
    running(|evaluation| evaluation.claims.value(name))
}

/// An error that Rhai gives its place.
pub(super) fn failure(text: impl Into<ImmutableString>) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(text.into().into(), Position::NONE).into()
}

fn text(value: Option<Cow<'_, str>>) -> Dynamic {
    value.map_or(Dynamic::UNIT, |value| value.as_ref().into())
}

/// The first value, as every server reads it; one that is not text is as good as absent.
fn header(headers: Option<&HeaderMap>, name: &str) -> Dynamic {
    headers.and_then(|headers| headers.get(name)?.to_str().ok()).map_or(Dynamic::UNIT, Into::into)
}

/// The first value of a query parameter, decoded as a form (`+` is a space).
fn query<'f>(facts: &'f Facts, name: &str) -> Option<Cow<'f, str>> {
    facts.query.as_deref()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

/// The first cookie of this name. HTTP/2 clients may split the header (RFC 9113 §8.2.3), so all lines are read.
fn cookie<'f>(facts: &'f Facts, name: &str) -> Option<Cow<'f, str>> {
    let lines = facts.headers.get_all(http::header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| Cow::Borrowed(value.trim_matches('"')))
    })
}

fn decoded(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0);
                out.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            _ => out.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded_like_a_form() {
        for (raw, text) in [("a+b", "a b"), ("a%20b", "a b"), ("%C3%a9", "é"), ("100%", "100%"), ("%zz", "%zz"), ("%2", "%2")] {
            assert_eq!(decoded(raw), text, "{raw}");
        }
        assert_eq!(decoded("%ff"), "\u{fffd}");
    }

    #[test]
    fn each_field_is_listed_once() {
        for field in &FIELDS {
            let same = FIELDS.iter().filter(|other| other.object == field.object && other.name == field.name).count();
            assert_eq!(same, 1, "{}", field.name);
        }
    }
}
