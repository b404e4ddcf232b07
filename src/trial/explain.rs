//! A decision in words: every rule is listed, also the ones that did nothing, and why evaluation stopped.

use std::fmt::Write;

use super::{Rehearsal, Shown};
use crate::model::settings::Mode;
use crate::model::{Caller, Decision, Draw, Effect, Ending, Entry, Evaluated, Hook, Line, Name, Rejection};

/// One decision, for a terminal.
pub fn render(rehearsal: &Rehearsal, shown: &Shown) -> String {
    let mut out = String::new();
    let facts = &shown.facts;
    let query = facts.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    line(&mut out, format_args!("{} {}{query}    {}", facts.method, facts.path, who(shown.caller.as_ref())));
    match &shown.route {
        Some(route) => line(&mut out, format_args!("route {route}")),
        None => line(&mut out, format_args!("no route matches")),
    }
    for hook in Hook::ALL {
        let decision = shown.hooks.iter().find(|(ran, _)| *ran == hook).map(|(_, decision)| &**decision);
        if let (Some(decision), Some(route)) = (decision, &shown.route) {
            line(&mut out, format_args!("\n{}", hook.name()));
            render_hook(&mut out, rehearsal, route, hook, decision);
        }
    }
    line(&mut out, format_args!("\n→ {}", verdict(shown)));
    out
}

fn render_hook(out: &mut String, rehearsal: &Rehearsal, route: &Name, hook: Hook, decision: &Decision) {
    let snapshot = rehearsal.snapshot();
    for (index, (card, entry)) in snapshot.rules.rules().iter().zip(&snapshot.config.rules.entries).enumerate() {
        if !card.hooks.contains(&hook) || !(entry.routes.is_empty() || entry.routes.contains(route)) {
            continue;
        }
        let name = &*card.name;
        let ran = decision.evaluations.iter().find(|evaluation| usize::from(evaluation.rule) == index);
        let Some(ran) = ran else {
            let why = if card.mode == Mode::Disabled { "disabled" } else { "not reached" };
            line(out, format_args!("  · {name:<24} {why}"));
            continue;
        };
        let micros = ran.took.as_micros();
        let entries: Vec<&Entry> = decision.entries.iter().filter(|entry| *entry.place.rule == *name).collect();
        let (mark, note) = match (ran.result, card.mode, entries.is_empty()) {
            (Evaluated::Error | Evaluated::Limit, ..) => ("✗", "failed"),
            (_, Mode::Shadow, _) => ("◌", "shadow: recorded, not applied"),
            (_, _, true) => ("○", "no effect"),
            _ => ("●", &*card.description),
        };
        line(out, format_args!("  {mark} {name:<24} {micros:>4} µs  {note}"));
        for entry in entries {
            line(out, format_args!("      {}   {}", effect(&entry.effect), entry.place));
        }
        if let Some(fault) = decision.failed.as_ref().filter(|fault| *fault.place.rule == *name) {
            for text in fault.text.lines() {
                line(out, format_args!("      {text}"));
            }
        }
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into memory cannot fail.
    let _ = writeln!(out, "{text}");
}

fn who(caller: Option<&Caller>) -> String {
    match caller {
        Some(Caller::Known(identity)) => {
            let subject = identity.claims.text("sub").unwrap_or("somebody");
            match &identity.account {
                Some(account) => format!("as {subject} (account {account})"),
                None => format!("as {subject}"),
            }
        }
        Some(Caller::Anonymous(_)) | None => "without a token".to_owned(),
    }
}

/// One verb with its arguments, as `explain` and failing tests show it.
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Deny { status, reason } => format!("deny {status} {reason}"),
        Effect::Allow => "allow".to_owned(),
        Effect::RouteTo(upstream) => format!("route_to {upstream}"),
        Effect::RouteShare(share) => {
            let key = share.key.as_deref().unwrap_or("(no key)");
            let verdict = if share.is_in { "in" } else { "not in" };
            format!("route_to {}  {}% of keys: {key} is {verdict}", share.upstream, percent(share.weight))
        }
        Effect::RewritePath(path) => format!("rewrite_path {path}"),
        Effect::Throttle(draw) => format!("throttle {}", limit(draw)),
        Effect::Meter(line) => format!("meter {}", usage(line)),
        Effect::SetHeader(name, value) => format!("set_header {name}: {}", String::from_utf8_lossy(value.as_bytes())),
        Effect::RemoveHeader(name) => format!("remove_header {name}"),
        Effect::Redirect { status, location } => format!("redirect {status} {}", String::from_utf8_lossy(location.as_bytes())),
        Effect::RedirectToLogin { return_to: None } => "redirect_to_login".to_owned(),
        Effect::RedirectToLogin { return_to: Some(page) } => format!("redirect_to_login, back to {page}"),
        Effect::Respond { status, body } => format!("respond {status} {body:?}"),
        Effect::Tag(key, value) => format!("tag {key}={value}"),
        Effect::Log(level, text) => format!("log {level:?} {text:?}"),
    }
}

/// Hundredths of a percent as people write them.
fn percent(hundredths: u64) -> String {
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => whole.to_string(),
        (whole, part) => format!("{whole}.{part:02}").trim_end_matches('0').to_owned(),
    }
}

pub(super) fn limit(draw: &Draw) -> String {
    let key = draw.key.as_deref().unwrap_or("(no key: everybody without one shares this limit)");
    let burst = draw.burst.map(|burst| format!(", burst {burst}")).unwrap_or_default();
    format!("{key}  {} per {}{burst}", draw.limit, span(draw.per))
}

/// `60 s` as people write it in a rule.
pub(super) fn span(per: std::time::Duration) -> String {
    let seconds = per.as_secs();
    match seconds {
        _ if per.subsec_nanos() > 0 || seconds == 0 => format!("{}ms", per.as_millis()),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

pub(super) fn usage(line: &Line) -> String {
    let dimensions: String = line.dimensions.iter().map(|(name, value)| format!("  {name}={value}")).collect();
    format!("{} +{}{dimensions}", line.meter, line.quantity)
}

/// How it ended, in one line.
pub fn verdict(shown: &Shown) -> String {
    match (&shown.ending, &shown.upstream) {
        (None, Some(upstream)) => match &shown.path {
            Some(path) => format!("proxied to {upstream} as {path}"),
            None => format!("proxied to {upstream}"),
        },
        (Some(Ending::Fixed(answer)), _) => {
            format!("responded: {} {:?}", answer.status, String::from_utf8_lossy(&answer.body))
        }
        (Some(Ending::Login { .. }), _) => "sent to the login".to_owned(),
        (Some(Ending::Preflight), _) => "responded: 204 to a CORS preflight".to_owned(),
        (Some(Ending::Rejected(Rejection::Throttled(throttled))), _) => format!(
            "throttled: 429, over {} per {} of rule {}; retry in {} s",
            throttled.limit,
            span(throttled.per),
            throttled.rule,
            Rejection::Throttled(throttled.clone()).retry_after().unwrap_or(1),
        ),
        (Some(Ending::Rejected(rejection)), _) => {
            format!("{}: {} {}", rejection.kind().label(), rejection.status(), rejection.reason())
        }
        (Some(Ending::Redirect { status, location }), _) => {
            format!("redirected: {status} {}", String::from_utf8_lossy(location.as_bytes()))
        }
        (Some(Ending::Respond { status, body }), _) => format!("responded: {status} {body:?}"),
        (None, None) => "not judged".to_owned(),
    }
}
