//! One file for each thing a route can say.

mod answer;
mod compress;
mod cors;
mod edits;
mod gate;
mod matched;
mod mirror;
mod pages;
mod pattern;
mod rewrite;
mod security;
mod target;

pub(super) use gate::maintenance;
pub(super) use pages::error_pages;

use matched::{Matched, matched};
use pattern::Pattern;

use super::{count, name, repeated};
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::settings::{Auth, Identity, Maintenance, Mode, Route, RouteDefault, Rules, Target, Upstream};
use crate::model::{Name, Problem};

/// A lowered route with what later checks need.
pub(super) struct Draft<'a> {
    pub(super) route: Route,
    name: Option<Word<'a>>,
    /// `None` if what it matches is not known for certain.
    pattern: Option<Pattern>,
    auth: Option<Field<'a>>,
    rule_body: Option<Field<'a>>,
}

/// What routes refer to.
struct Known<'k> {
    upstreams: &'k [Upstream],
    identity: &'k Identity,
    /// Of every route that does not say otherwise.
    maintenance: Option<Maintenance>,
}

/// `routes:`
pub(super) fn lower<'a>(top: &Section<'a>, upstreams: &[Upstream], identity: &Identity) -> Vec<Draft<'a>> {
    let known = Known { upstreams, identity, maintenance: top.optional("maintenance").and_then(maintenance) };
    let Some(field) = top.required("routes", "a request that no route matches is answered with 404") else { return Vec::new() };
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    for item in field.some_items("a request that no route matches is answered with 404") {
        let draft = item.section(|section| draft(section, &known));
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
    if identity.issuers.is_empty()
        && identity.credentials.api_keys.is_none()
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
    let longest = rules.limits.string_bytes;
    for draft in drafts.iter().filter(|draft| draft.route.rule_body.is_some_and(|most| most > longest)) {
        if let Some(field) = draft.rule_body {
            let message = format!("a text in a rule has at most {longest} bytes (`rule_limits.string_bytes`)");
            let problem = Problem::error("config::conflict", message).label("more than that");
            field.note(problem.hint("make one of them smaller or the other one larger"));
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

/// `upstream_token`
fn vouches(field: Field<'_>, identity: &Identity, auth: Option<Auth>) -> bool {
    let wanted = field.yes_or_no().unwrap_or(false);
    let hint = if identity.credentials.upstream_token.is_none() {
        Some("there is no `identity.upstream_token`, which says how it is made")
    } else if auth == Some(Auth::None) {
        Some("with `auth: none` nobody is known who could be vouched for")
    } else {
        None
    };
    if let Some(hint) = hint.filter(|_| wanted) {
        field.note(Problem::error("config::conflict", "no token can be made for this upstream").label("of what?").hint(hint));
    }
    wanted
}

fn draft<'a>(section: &Section<'a>, known: &Known<'_>) -> Draft<'a> {
    let name_word = section.required("name", "logs, metrics and rules call it by its name").and_then(Field::word);
    let route_name = name_word.and_then(name);
    let matched = section.optional("match").map(|field| field.section(matched));
    let matched = matched.unwrap_or(Some(Matched::default()));
    let auth_field = section.required("auth", "required, optional or none: what is open is visible where it is open");
    let auth = auth(section, auth_field);
    let login = login(section, auth, known.identity);
    let default = section.optional("default");
    let default = default.and_then(|field| field.one_of(&[("allow", RouteDefault::Allow), ("deny", RouteDefault::Deny)]));
    let pattern = matched.as_ref().and_then(|matched| Pattern::parse(matched.path()).ok());
    let target = target::lower(section, known, pattern.as_ref());
    let is_proxied = matches!(target, None | Some(Target::Upstream(_)));
    let of_upstream = |key| section.optional(key).filter(|field| is_proxied || only_with_upstream(*field));
    let rewrite = of_upstream("rewrite").and_then(|field| rewrite::lower(field, pattern.as_ref()));
    let request_headers = of_upstream("request_headers").map(|field| edits::request(field, known.identity));
    let response_headers = of_upstream("response_headers").map(edits::response);
    let compression = of_upstream("compress").and_then(compress::lower);
    let mirror = of_upstream("mirror").and_then(|field| mirror::lower(field, known.upstreams));
    let upstream_token = of_upstream("upstream_token").is_some_and(|field| vouches(field, known.identity, auth));
    let body_size = section.optional("body_size").and_then(|field| field.bytes(0..=1 << 40));
    let rule_body_field = section.optional("rule_body");
    let rule_body = rule_body_field.and_then(|field| field.bytes(1..=64 << 10));
    let gate = gate::lower(section, known.maintenance.as_ref());
    let cors = section.optional("cors").and_then(cors::lower);
    let security_headers = section.optional("security_headers").and_then(security::lower);
    let matched = matched.unwrap_or_default();
    Draft {
        pattern,
        route: Route {
            name: route_name.clone().unwrap_or_else(|| Name::from("")),
            path: matched.path().to_owned(),
            host: matched.host,
            methods: matched.methods,
            auth: auth.unwrap_or(Auth::None),
            login,
            default: default.unwrap_or(RouteDefault::Allow),
            target: target.unwrap_or_else(|| Target::Respond(answer::nothing())),
            gate,
            cors,
            body_size,
            rule_body: count(rule_body),
            rewrite,
            request_headers: request_headers.unwrap_or_default(),
            response_headers: response_headers.unwrap_or_default(),
            security_headers,
            compression,
            upstream_token,
            mirror,
        },
        name: route_name.and(name_word),
        auth: auth_field,
        rule_body: rule_body_field,
    }
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

/// Whether browsers are sent to the login page; where tokens are required and people can log in, unless it says `login: false`.
fn login(section: &Section<'_>, auth: Option<Auth>, identity: &Identity) -> bool {
    let is_possible = identity.login.is_some() && auth == Some(Auth::Required);
    let Some(field) = section.optional("login") else { return is_possible };
    let wanted = field.yes_or_no();
    if wanted == Some(true) && !is_possible && auth.is_some() {
        let message = "browsers can be sent to the login page only with `identity.login`, and where `auth` is `required`";
        field.note_at_key(Problem::error("config::conflict", message).label("not possible here"));
    }
    wanted.unwrap_or(is_possible) && is_possible
}

/// Notes that there is no upstream whose requests or answers it would change.
fn only_with_upstream(field: Field<'_>) -> bool {
    let message = format!("{} only means something with an `upstream`", field.name());
    field.note_at_key(Problem::error("config::conflict", message).label("nothing to change here").hint("remove it"));
    false
}
