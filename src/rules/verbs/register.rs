use http::{HeaderName, HeaderValue};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FLOAT, INT, ImmutableString, Map, NativeCallContext, Position};

use super::arguments::{self, header_name, key, label, limit, location, log_line, period, quantity, reason};
use super::{
    ALLOW, DENY, LOG_ERROR, LOG_INFO, LOG_WARN, METER, PRINT, REDIRECT, REDIRECT_TO_LOGIN, REMOVE_HEADER, RESPOND, REWRITE_PATH,
    ROUTE_TO, SET_HEADER, TAG, THROTTLE, Verb, rollout,
};
use crate::model::{Dimensions, Draw, Effect, Line, LogLevel, Name};
use crate::rules::evaluation::{Evaluation, running};
use crate::rules::objects::failure;

type Done = Result<(), Box<EvalAltResult>>;
type Call<'c> = NativeCallContext<'c>;
type Text = ImmutableString;

/// Records what `effect` makes of the arguments. A verb that ends the rules leaves the script by Rhai's `Exit`, which no `catch` can
/// hold up and which works from inside helpers and loops.
fn record(call: &Call<'_>, verb: &Verb, effect: impl FnOnce(&mut Evaluation) -> Result<Effect, String>) -> Done {
    let ended = running(|evaluation| {
        // `check` finds this; a verb behind a function pointer can still get here.
        if !verb.works_in(evaluation.hook) {
            return Err(format!("`{}` does not work in {}", verb.name, evaluation.hook.name()));
        }
        let effect = effect(evaluation)?;
        evaluation.record(call, effect)?;
        Ok(evaluation.ended)
    })?
    .map_err(failure)?;
    if ended { Err(EvalAltResult::Exit(Dynamic::UNIT, Position::NONE).into()) } else { Ok(()) }
}

/// Tells `engine` the verbs. Where a verb takes any type, the usual types are registered as well: Rhai tries the exact types first
/// and every combination of wildcards only then.
pub(in crate::rules) fn register(engine: &mut Engine) {
    engine
        .register_fn("deny", |call: Call<'_>, why: Text| deny(&call, 403, &why))
        .register_fn("deny", |call: Call<'_>, status: INT, why: Text| deny(&call, status, &why))
        .register_fn("allow", |call: Call<'_>| record(&call, &ALLOW, |_| Ok(Effect::Allow)))
        .register_fn("route_to", |call: Call<'_>, upstream: Text| route_to(&call, &upstream, None))
        .register_fn("route_to", |call: Call<'_>, upstream: Text, share: Map| route_to(&call, &upstream, Some(&share)))
        .register_fn("rewrite_path", |call: Call<'_>, path: Text| rewrite_path(&call, &path))
        .register_fn("redirect", |call: Call<'_>, url: Text| redirect(&call, 302, &url))
        .register_fn("redirect", |call: Call<'_>, status: INT, url: Text| redirect(&call, status, &url))
        .register_fn("redirect_to_login", |call: Call<'_>| redirect_to_login(&call, None))
        .register_fn("redirect_to_login", |call: Call<'_>, page: Text| redirect_to_login(&call, Some(&page)))
        .register_fn("respond", |call: Call<'_>, status: INT, body: Text| respond(&call, status, &body));
    engine
        .register_fn("throttle", |call: Call<'_>, who: Text, most: INT, per: Text| {
            throttle(&call, &who.into(), &most.into(), &per, None)
        })
        .register_fn("throttle", |call: Call<'_>, who: Dynamic, most: Dynamic, per: Text| {
            throttle(&call, &who, &most, &per, None)
        })
        .register_fn("throttle", |call: Call<'_>, who: Dynamic, most: Dynamic, per: Text, options: Map| {
            throttle(&call, &who, &most, &per, Some(&options))
        });
    engine
        .register_fn("meter", |call: Call<'_>, name: Text| meter(&call, &name, &Dynamic::ONE, None))
        .register_fn("meter", |call: Call<'_>, name: Text, n: INT| meter(&call, &name, &n.into(), None))
        .register_fn("meter", |call: Call<'_>, name: Text, n: Dynamic| meter(&call, &name, &n, None))
        .register_fn("meter", |call: Call<'_>, name: Text, n: INT, dims: Map| meter(&call, &name, &n.into(), Some(&dims)))
        .register_fn("meter", |call: Call<'_>, name: Text, n: Dynamic, dims: Map| meter(&call, &name, &n, Some(&dims)));
    engine
        .register_fn("set_header", |call: Call<'_>, name: Text, value: Text| set_header(&call, &name, &value.into()))
        .register_fn("set_header", |call: Call<'_>, name: Text, value: Dynamic| set_header(&call, &name, &value))
        .register_fn("remove_header", |call: Call<'_>, name: Text| set_header(&call, &name, &Dynamic::UNIT))
        .register_fn("tag", |call: Call<'_>, key: Text, value: Text| tag(&call, &key, &value.into()))
        .register_fn("tag", |call: Call<'_>, key: Text, value: Dynamic| tag(&call, &key, &value));
    engine
        .register_fn("in_rollout", |_: Call<'_>, key: Text, percent: INT| rollout::in_rollout(&key.into(), &percent.into()))
        .register_fn("in_rollout", |_: Call<'_>, key: Dynamic, percent: Dynamic| rollout::in_rollout(&key, &percent))
        .register_fn("in_cidr", |address: Text, network: Text| in_cidr(&address, &network));
    for (verb, level) in [(&LOG_INFO, LogLevel::Info), (&LOG_WARN, LogLevel::Warn), (&LOG_ERROR, LogLevel::Error)] {
        engine.register_fn(verb.name, move |call: Call<'_>, text: Text| log(&call, verb, level, &text.into()));
        engine.register_fn(verb.name, move |call: Call<'_>, text: Dynamic| log(&call, verb, level, &text));
    }
    // Rhai's own `print` knows each type, so each is replaced; it must give the text back.
    engine
        .register_fn("print", |call: Call<'_>, text: Text| print(&call, &text.into()))
        .register_fn("print", |call: Call<'_>, number: INT| print(&call, &number.into()))
        .register_fn("print", |call: Call<'_>, number: FLOAT| print(&call, &number.into()))
        .register_fn("print", |call: Call<'_>, answer: bool| print(&call, &answer.into()))
        .register_fn("print", |call: Call<'_>, letter: char| print(&call, &letter.into()))
        .register_fn("print", |call: Call<'_>, (): ()| print(&call, &Dynamic::UNIT))
        .register_fn("print", |call: Call<'_>, list: Array| print(&call, &Dynamic::from_array(list)))
        .register_fn("print", |call: Call<'_>, map: Map| print(&call, &Dynamic::from_map(map)))
        .register_fn("print", |call: Call<'_>, value: Dynamic| print(&call, &value));
}

fn deny(call: &Call<'_>, status: INT, why: &str) -> Done {
    record(call, &DENY, |_| {
        reason(why)?;
        Ok(Effect::Deny { status: arguments::status(status)?, reason: why.into() })
    })
}

fn route_to(call: &Call<'_>, upstream: &str, share: Option<&Map>) -> Done {
    record(call, &ROUTE_TO, |evaluation| match (evaluation.words.upstream(upstream), share) {
        (Some(name), None) => Ok(Effect::RouteTo(Name::clone(name))),
        (Some(name), Some(options)) => rollout::share(evaluation.rule.name(), name, options).map(Effect::RouteShare),
        (None, _) => Err(format!("there is no upstream `{upstream}`")),
    })
}

fn rewrite_path(call: &Call<'_>, path: &str) -> Done {
    record(call, &REWRITE_PATH, |_| arguments::path(path).map(Effect::RewritePath))
}

fn redirect(call: &Call<'_>, status: INT, url: &str) -> Done {
    record(call, &REDIRECT, |_| Ok(Effect::Redirect { status: arguments::redirect_status(status)?, location: location(url)? }))
}

fn redirect_to_login(call: &Call<'_>, page: Option<&str>) -> Done {
    record(call, &REDIRECT_TO_LOGIN, |_| Ok(Effect::RedirectToLogin { return_to: page.map(arguments::page).transpose()? }))
}

fn respond(call: &Call<'_>, status: INT, body: &str) -> Done {
    record(call, &RESPOND, |_| {
        arguments::body(body)?;
        Ok(Effect::Respond { status: arguments::response_status(status)?, body: body.into() })
    })
}

fn throttle(call: &Call<'_>, who: &Dynamic, most: &Dynamic, per: &str, options: Option<&Map>) -> Done {
    record(call, &THROTTLE, |evaluation| {
        Ok(Effect::Throttle(Draw {
            rule: Name::clone(evaluation.rule.name()),
            key: key(who)?,
            limit: limit(most)?,
            per: period(per)?,
            burst: options.map(arguments::burst).transpose()?,
        }))
    })
}

fn meter(call: &Call<'_>, name: &str, n: &Dynamic, given: Option<&Map>) -> Done {
    record(call, &METER, |evaluation| {
        let Some(meter) = evaluation.words.meter(name) else { return Err(format!("there is no meter `{name}`")) };
        let dimensions = given.map_or_else(|| Ok(Dimensions::default()), |given| arguments::dimensions(meter, given))?;
        Ok(Effect::Meter(Line { meter: Name::clone(&meter.name), quantity: quantity(n)?, dimensions }))
    })
}

fn set_header(call: &Call<'_>, name: &str, value: &Dynamic) -> Done {
    let edit = |name: HeaderName, value: Option<HeaderValue>| match value {
        Some(value) => Effect::SetHeader(name, value),
        None => Effect::RemoveHeader(name),
    };
    let verb = if value.is_unit() { &REMOVE_HEADER } else { &SET_HEADER };
    record(call, verb, |_| Ok(edit(header_name(name)?, arguments::header_value(value)?)))
}

fn tag(call: &Call<'_>, key: &str, value: &Dynamic) -> Done {
    record(call, &TAG, |_| {
        reason(key)?;
        Ok(Effect::Tag(key.into(), label(value)?))
    })
}

fn log(call: &Call<'_>, verb: &Verb, level: LogLevel, text: &Dynamic) -> Done {
    record(call, verb, |_| Ok(Effect::Log(level, log_line(text))))
}

fn print(call: &Call<'_>, text: &Dynamic) -> Result<Text, Box<EvalAltResult>> {
    log(call, &PRINT, LogLevel::Info, text).map(|()| Text::new())
}

fn in_cidr(address: &str, network: &str) -> Result<bool, Box<EvalAltResult>> {
    let network: ipnet::IpNet = network
        .parse()
        .or_else(|_| network.parse::<std::net::IpAddr>().map(ipnet::IpNet::from))
        .map_err(|_| failure(format!("`{network}` is no network; write for example 10.0.0.0/8")))?;
    let address: std::net::IpAddr = address.parse().map_err(|_| failure(format!("`{address}` is no address")))?;
    // `::ffff:10.0.0.1` is 10.0.0.1 on a socket that speaks both protocols.
    Ok(network.contains(&address.to_canonical()))
}
