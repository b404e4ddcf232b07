use rhai::{Dynamic, INT, Position};

use super::Subject;
use super::anatomy::{Argument, Call, Function};
use crate::model::Problem;
use crate::rules::text::suggestion;
use crate::rules::verbs;

/// Arguments of verbs that are written down: names that the configuration must have, and values that the verb would refuse.
pub(super) fn check(subject: &Subject<'_>, function: &Function, problems: &mut Vec<Problem>) {
    for call in function.calls.iter().filter(|call| call.namespace.is_none() && !call.is_method) {
        let mut finder = Finder { subject, problems };
        finder.verb(call);
    }
}

struct Finder<'f, 's> {
    subject: &'f Subject<'s>,
    problems: &'f mut Vec<Problem>,
}

impl Finder<'_, '_> {
    fn verb(&mut self, call: &Call) {
        match (call.name.as_str(), call.arguments.as_slice()) {
            ("deny", [why]) => self.text(why, verbs::reason),
            ("deny", [status, why]) => {
                self.whole(status, |status| verbs::status(status).map(|_| ()));
                self.text(why, verbs::reason);
            }
            ("route_to", [upstream]) => self.upstream(upstream),
            ("route_to", [upstream, share]) => {
                self.upstream(upstream);
                for (key, position) in &share.keys {
                    self.tell_at(*position, verbs::option(key));
                }
            }
            ("rewrite_path", [path]) => self.text(path, |path| verbs::path(path).map(|_| ())),
            ("throttle", [_, limit, per, options @ ..]) => {
                self.value(limit, |limit| verbs::limit(limit).map(|_| ()));
                self.text(per, |per| verbs::period(per).map(|_| ()));
                options.iter().for_each(|options| self.value(options, burst));
            }
            ("meter", [name, rest @ ..]) => self.meter(name, rest),
            ("set_header", [name, _]) | ("remove_header", [name]) => self.text(name, |name| verbs::header_name(name).map(|_| ())),
            ("redirect", [status, _]) => self.whole(status, |status| verbs::redirect_status(status).map(|_| ())),
            ("redirect_to_login", pages) => {
                self.login(call.position);
                pages.iter().for_each(|page| self.text(page, |page| verbs::page(page).map(|_| ())));
            }
            ("respond", [status, body]) => {
                self.whole(status, |status| verbs::response_status(status).map(|_| ()));
                self.text(body, verbs::body);
            }
            ("tag", [key, _]) => self.text(key, verbs::reason),
            ("in_rollout", [_, percent]) => self.value(percent, |percent| verbs::in_percent(percent).map(|_| ())),
            ("==" | "!=", [left, right]) => self.route(left, right),
            _ => {}
        }
    }

    /// `request.route == "…"` with a route that does not exist.
    fn route(&mut self, left: &Argument, right: &Argument) {
        let is_route = |argument: &Argument| argument.field.as_deref() == Some("route");
        let compared = if is_route(left) { right } else { left };
        let (true, Some(name)) = (is_route(left) || is_route(right), text_of(compared)) else { return };
        let routes = &self.subject.vocabulary.routes;
        if !routes.iter().any(|route| **route == *name) {
            let problem = Problem::warning("rule::unknown-route", format!("there is no route \"{name}\" in the configuration"))
                .label("never true")
                .hint(suggestion(&name, routes.iter().map(|route| &**route), "routes"));
            self.problems.push(self.subject.files.at(compared.position, problem));
        }
    }

    fn login(&mut self, position: Position) {
        if !self.subject.vocabulary.login {
            let problem =
                Problem::error("rule::no-login", "nobody can log in: there is no `identity.login` in the configuration")
                    .label("leads nowhere")
                    .hint("configure it, or write `deny(401, \"login_required\")`");
            self.problems.push(self.subject.files.at(position, problem));
        }
    }

    fn upstream(&mut self, argument: &Argument) {
        let Some(name) = text_of(argument) else { return };
        let upstreams = &self.subject.vocabulary.upstreams;
        if !upstreams.iter().any(|upstream| **upstream == *name) {
            let problem =
                Problem::error("rule::unknown-upstream", format!("there is no upstream \"{name}\" in the configuration"))
                    .label("not defined")
                    .hint(suggestion(&name, upstreams.iter().map(|upstream| &**upstream), "upstreams"));
            self.problems.push(self.subject.files.at(argument.position, problem));
        }
    }

    fn meter(&mut self, argument: &Argument, rest: &[Argument]) {
        if let Some(quantity) = rest.first() {
            self.value(quantity, |quantity| verbs::quantity(quantity).map(|_| ()));
        }
        let Some(name) = text_of(argument) else { return };
        let meters = &self.subject.vocabulary.meters;
        let Some(meter) = meters.iter().find(|meter| *meter.name == *name) else {
            let problem = Problem::error("rule::unknown-meter", format!("there is no meter \"{name}\" in the configuration"))
                .label("not declared")
                .hint(suggestion(&name, meters.iter().map(|meter| &*meter.name), "meters"));
            self.problems.push(self.subject.files.at(argument.position, problem));
            return;
        };
        for (key, position) in rest.get(1).into_iter().flat_map(|dimensions| &dimensions.keys) {
            if !meter.dimensions.iter().any(|dimension| **dimension == **key) {
                let problem = Problem::error("rule::unknown-dimension", format!("the meter `{name}` has no dimension `{key}`"))
                    .label("not declared")
                    .hint(suggestion(key, meter.dimensions.iter().map(|dimension| &**dimension), "dimensions"));
                self.problems.push(self.subject.files.at(*position, problem));
            }
        }
    }

    fn text(&mut self, argument: &Argument, check: impl FnOnce(&str) -> Result<(), String>) {
        if let Some(text) = text_of(argument) {
            self.tell(argument, check(&text));
        }
    }

    fn whole(&mut self, argument: &Argument, check: impl FnOnce(INT) -> Result<(), String>) {
        if let Some(number) = argument.literal.as_ref().and_then(|literal| literal.as_int().ok()) {
            self.tell(argument, check(number));
        }
    }

    fn value(&mut self, argument: &Argument, check: impl FnOnce(&Dynamic) -> Result<(), String>) {
        if let Some(literal) = &argument.literal {
            self.tell(argument, check(literal));
        }
    }

    fn tell(&mut self, argument: &Argument, result: Result<(), String>) {
        self.tell_at(argument.position, result);
    }

    fn tell_at(&mut self, position: Position, result: Result<(), String>) {
        if let Err(message) = result {
            let problem = Problem::error("rule::wrong-literal", message).label("cannot work");
            self.problems.push(self.subject.files.at(position, problem));
        }
    }
}

fn text_of(argument: &Argument) -> Option<String> {
    argument.literal.as_ref()?.as_immutable_string_ref().ok().map(|text| text.to_string())
}

fn burst(options: &Dynamic) -> Result<(), String> {
    match options.as_map_ref() {
        Ok(map) => verbs::burst(&map).map(|_| ()),
        Err(_) => Err("the options of `throttle` are `#{ burst: n }`".into()),
    }
}
