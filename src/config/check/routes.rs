use http::Method;

use super::pattern::Pattern;
use super::{count, name, repeated};
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::settings::{Auth, Issuer, Mode, Route, RouteDefault, Rules, Target, Upstream};
use crate::model::{Name, Problem};

/// A lowered route with what later checks need.
pub(super) struct Draft<'a> {
    pub(super) route: Route,
    name: Option<Word<'a>>,
    /// `None` if what it matches is not known for certain.
    pattern: Option<Pattern>,
    auth: Option<Field<'a>>,
}

/// `routes:`
pub(super) fn lower<'a>(top: &Section<'a>, upstreams: &[Upstream], issuers: &[Issuer]) -> Vec<Draft<'a>> {
    let Some(field) = top.required("routes", "a request that no route matches is answered with 404") else { return Vec::new() };
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    for item in field.some_items("a request that no route matches is answered with 404") {
        let draft = item.section(|section| draft(section, upstreams));
        if let Some(word) = draft.name {
            if drafts.iter().any(|earlier| earlier.route.name == draft.route.name) {
                repeated(word, "route");
            }
            if let Some(earlier) = drafts.iter().find(|earlier| earlier.covers(&draft)) {
                let above = earlier.name.map_or_else(String::new, |name| name.shown_or("another one"));
                let message = format!("no request ever reaches this route: {above} above matches all of them");
                let problem = Problem::warning("config::unreachable-route", message).label("never reached");
                word.note(problem.hint("the first route that matches wins: put the narrower one first"));
            }
        }
        drafts.push(draft);
    }
    let asks = |draft: &&Draft<'_>| matches!(draft.route.auth, Auth::Required | Auth::Optional | Auth::OptionalLenient);
    if issuers.is_empty()
        && let Some(draft) = drafts.iter().find(asks)
        && let Some(field) = draft.auth
    {
        let problem = Problem::error("config::missing-key", "this route asks for tokens, but no issuer is configured");
        field.note(problem.label("whose tokens?").hint("add one to `identity.issuers`, or say `auth: none`"));
    }
    drafts
}

/// Looks at the routes together with the rules, and lets go of the text.
pub(super) fn settle(drafts: Vec<Draft<'_>>, rules: &Rules) -> Vec<Route> {
    for draft in drafts.iter().filter(|draft| draft.route.default == RouteDefault::Deny) {
        let applies = |routes: &[Name]| routes.is_empty() || routes.contains(&draft.route.name);
        if !rules.entries.iter().any(|rule| rule.mode == Mode::Enforce && applies(&rule.routes))
            && let Some(word) = draft.name
        {
            let problem = Problem::warning("config::never-allowed", "this route denies by default, and no rule applies to it");
            word.note(problem.label("always 403").hint("name it in the `routes` of a rule that calls allow()"));
        }
    }
    drafts.into_iter().map(|draft| draft.route).collect()
}

impl Draft<'_> {
    /// The name, if messages may repeat it.
    pub(super) fn shown_name(&self) -> Option<&str> {
        self.name.filter(Word::is_written).map(|word| word.text)
    }

    fn covers(&self, other: &Self) -> bool {
        let paths = match (&self.pattern, &other.pattern) {
            (Some(mine), Some(theirs)) => mine.covers(theirs),
            _ => false,
        };
        let hosts = match (self.route.host.as_deref(), other.route.host.as_deref()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => {
                mine == theirs
                    || mine.strip_prefix('*').is_some_and(|suffix| theirs.ends_with(suffix) && theirs.len() > suffix.len())
            }
        };
        let (mine, theirs) = (&self.route.methods, &other.route.methods);
        let methods = mine.is_empty() || (!theirs.is_empty() && theirs.iter().all(|method| mine.contains(method)));
        paths && hosts && methods
    }
}

fn draft<'a>(section: &Section<'a>, upstreams: &[Upstream]) -> Draft<'a> {
    let name_word = section.required("name", "logs, metrics and rules call it by its name").and_then(Field::word);
    let route_name = name_word.and_then(name);
    let matched = section.optional("match").map(|field| field.section(matched));
    let matched = matched.unwrap_or(Some(Matched::default()));
    let auth_field = section.required("auth", "required, optional or none: what is open is visible where it is open");
    let auth = auth(section, auth_field);
    let default = section.optional("default");
    let default = default.and_then(|field| field.one_of(&[("allow", RouteDefault::Allow), ("deny", RouteDefault::Deny)]));
    let target = target(section, upstreams);
    let pattern = matched.as_ref().and_then(|matched| Pattern::parse(matched.path()).ok());
    let matched = matched.unwrap_or_default();
    Draft {
        pattern,
        route: Route {
            name: route_name.clone().unwrap_or_else(|| Name::from("")),
            path: matched.path().to_owned(),
            host: matched.host,
            methods: matched.methods,
            auth: auth.unwrap_or(Auth::None),
            default: default.unwrap_or(RouteDefault::Allow),
            target: target.unwrap_or(Target::Respond { status: 200, body: Name::from("") }),
        },
        name: route_name.and(name_word),
        auth: auth_field,
    }
}

#[derive(Default)]
struct Matched {
    host: Option<String>,
    path: Option<String>,
    methods: Vec<Method>,
}

impl Matched {
    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/**")
    }
}

/// `None` if something in it is wrong: without its host, path or methods a route would seem to match more than it does.
fn matched(section: &Section<'_>) -> Option<Matched> {
    let (host_field, path_field) = (section.optional("host"), section.optional("path"));
    let methods = section.optional("methods").map(|field| field.some_items("leave it out to match every method"));
    let (host, path) = (host_field.and_then(host), path_field.and_then(path));
    let methods = methods.map(|fields| (fields.len(), fields.into_iter().filter_map(method).collect::<Vec<_>>()));
    let is_whole = host.is_some() == host_field.is_some()
        && path.is_some() == path_field.is_some()
        && methods.as_ref().is_none_or(|(written, read)| *written > 0 && *written == read.len());
    is_whole.then(|| Matched { host, path, methods: methods.map(|(_, read)| read).unwrap_or_default() })
}

fn host(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    let host = word.text.to_ascii_lowercase();
    let labels = host.strip_prefix("*.").unwrap_or(&host);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_ipv6 =
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    if is_ipv6 || (host.len() <= 253 && labels.split('.').all(is_label)) {
        return Some(host);
    }
    word.unusable("a host", "a name without scheme and port, as in api.example.com or *.example.com; leave it out for every host")
}

fn path(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    match Pattern::parse(word.text) {
        Ok(_) => Some(word.text.to_owned()),
        Err(hint) => word.unusable("a path pattern", &hint),
    }
}

fn method(field: Field<'_>) -> Option<Method> {
    let word = field.word()?;
    let method = Method::from_bytes(word.text.as_bytes()).ok().filter(|method| {
        method.as_str().chars().all(|c| c.is_ascii_uppercase() || c == '-') && ![Method::TRACE, Method::CONNECT].contains(method)
    });
    if method.is_none() {
        let hint = match word.text.to_ascii_uppercase().as_str() {
            "TRACE" | "CONNECT" => "Tollgate never lets TRACE and CONNECT through",
            _ => "in capitals, as in GET or POST",
        };
        return word.unusable("a method", hint);
    }
    method
}

fn auth(section: &Section<'_>, field: Option<Field<'_>>) -> Option<Auth> {
    let auth =
        field.and_then(|field| field.one_of(&[("required", Auth::Required), ("optional", Auth::Optional), ("none", Auth::None)]));
    let Some(field) = section.optional("invalid_token") else { return auth };
    let lenient = field.one_of(&[("reject", Auth::Optional), ("ignore", Auth::OptionalLenient)]);
    match auth {
        Some(Auth::Optional) => lenient.or(auth),
        Some(_) => {
            let problem = Problem::error("config::conflict", "`invalid_token` only means something with `auth: optional`");
            field.note_at_key(problem.label("without `auth: optional`").hint("remove it, or make the token optional"));
            auth
        }
        None => None,
    }
}

fn target(section: &Section<'_>, upstreams: &[Upstream]) -> Option<Target> {
    let (upstream, respond) = (section.optional("upstream"), section.optional("respond"));
    if let (Some(_), Some(respond)) = (upstream, respond) {
        let problem = Problem::error("config::conflict", "a route has either an `upstream` or a fixed answer, not both");
        respond.note_at_key(problem.label("the second target").hint("remove one of them"));
    }
    if let Some(field) = upstream {
        let word = field.word()?;
        if !upstreams.iter().any(|upstream| *upstream.name == *word.text) {
            let known: Vec<&str> = upstreams.iter().map(|upstream| &*upstream.name).collect();
            word.unknown("upstream", "not in `upstreams`", &known);
        }
        return Some(Target::Upstream(word.text.into()));
    }
    if let Some(field) = respond {
        return Some(field.section(answer));
    }
    section.missing(
        "`upstream` or `respond` is missing",
        "name an upstream, or give the answer: respond: { status: 200, body: ok }",
    );
    None
}

fn answer(section: &Section<'_>) -> Target {
    const LARGEST: usize = 64 << 10;
    let status = count(section.optional("status").and_then(|field| field.number(200..=599)));
    let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let body = section.optional("body").and_then(Field::possibly_empty);
    if let Some(word) = body {
        if word.text.len() > LARGEST {
            word.bad(format!("`body` is larger than {} KiB", LARGEST >> 10), "too large");
        }
        if matches!(status, 204 | 304) && !word.text.is_empty() {
            let problem = Problem::error("config::conflict", format!("an answer with status {status} has no body (RFC 9110)"));
            word.note(problem.label("not allowed here").hint("remove the body, or choose another status"));
        }
    }
    Target::Respond { status, body: body.map_or("", |word| word.text).into() }
}
