use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::Shown;
use super::cases::{Denied, Expect, Throttle, Units};
use super::explain;
use crate::model::{Decision, Effect, Ending, Entry, Hook, Line, OutcomeKind, Plan, Rejection};

/// One expectation that did not hold.
#[derive(Debug)]
pub(super) struct Mismatch {
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) got: String,
    /// The entries that made it so, with their places.
    pub(super) because: Vec<String>,
}

/// Compares what was expected with what happened.
pub(super) fn compare(expect: &Expect, shown: &Shown) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let mut hold = |what: &str, expected: Option<String>, got: String, because: Vec<String>| {
        if let Some(expected) = expected
            && expected != got
        {
            found.push(Mismatch { what: what.to_owned(), expected, got, because });
        }
    };
    let outcome = shown.ending.as_ref().map_or(OutcomeKind::Proxied, Ending::kind).label().to_owned();
    let ended = because(shown, |effect| effect.ends_rules());
    hold("outcome", expect.outcome.clone(), outcome, ended.clone());
    hold("route", expect.route.clone(), text(shown.route.as_deref()), Vec::new());
    let routed = because(shown, |effect| matches!(effect, Effect::RouteTo(_) | Effect::RouteShare(_)) || effect.ends_rules());
    let destination = match &shown.ending {
        None => text(shown.upstream.as_deref()),
        Some(_) => explain::verdict(shown),
    };
    hold("route_to", expect.route_to.clone(), destination, routed);
    let rewritten = because(shown, |effect| matches!(effect, Effect::RewritePath(_)) || effect.ends_rules());
    let path = match (&shown.ending, &shown.path) {
        (Some(_), _) => explain::verdict(shown),
        (None, path) => path.as_ref().unwrap_or(&shown.facts.path).to_string(),
    };
    hold("path", expect.path.clone(), path, rewritten);
    let status = shown.ending.as_ref().map(|ending| ending.status().to_string());
    hold("status", expect.status.map(|status| status.to_string()), text(status.as_deref()), ended.clone());
    let denied = expect.denied.as_ref().map(|denied| match denied {
        Denied::Reason(reason) => reason.clone(),
        Denied::Both { status, reason } => format!("{status} {reason}"),
    });
    let refusal = match (&shown.ending, &expect.denied) {
        (Some(Ending::Rejected(rejection)), Some(Denied::Reason(_))) => rejection.reason().to_owned(),
        (Some(Ending::Rejected(rejection)), _) => format!("{} {}", rejection.status(), rejection.reason()),
        _ => explain::verdict(shown),
    };
    hold("denied", denied, refusal, ended.clone());
    let location = match &shown.ending {
        Some(Ending::Redirect { location, .. }) => String::from_utf8_lossy(location.as_bytes()).into_owned(),
        _ => explain::verdict(shown),
    };
    hold("redirect", expect.redirect.clone(), location, ended);
    for expected in expect.throttles.iter().flatten() {
        let drawn = because(shown, |effect| matches!(effect, Effect::Throttle(_)));
        if !draws(shown).any(|entry| is_drawn(expected, &entry.effect)) {
            let got = if drawn.is_empty() { "no limit".to_owned() } else { format!("{} other", drawn.len()) };
            hold("throttles", Some(wanted(expected)), got, drawn);
        }
    }
    if let Some(meters) = &expect.meters {
        let metered = because(shown, |effect| matches!(effect, Effect::Meter(_)));
        hold("meters", Some(expected_usage(meters)), actual_usage(meters, &shown.usage), metered);
    }
    for (what, expected, plan) in
        [("headers", &expect.headers, &shown.plan), ("response_headers", &expect.response_headers, &shown.response_plan)]
    {
        for (name, value) in expected.iter().flatten() {
            let edits = because(shown, |effect| matches!(effect, Effect::SetHeader(..) | Effect::RemoveHeader(_)));
            let expected = value.clone().unwrap_or_else(|| "removed".to_owned());
            hold(&format!("{what}.{name}"), Some(expected), edited(plan, name), edits);
        }
    }
    for (key, value) in expect.tags.iter().flatten() {
        let tag = entries(shown).filter_map(|entry| match &entry.effect {
            Effect::Tag(tagged, value) if **tagged == **key => Some(value.to_string()),
            _ => None,
        });
        let tagged = because(shown, |effect| matches!(effect, Effect::Tag(..)));
        hold(&format!("tags.{key}"), Some(value.clone()), text(tag.last().as_deref()), tagged);
    }
    found
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or("nothing").to_owned()
}

fn entries(shown: &Shown) -> impl Iterator<Item = &Entry> {
    shown.hooks.iter().flat_map(|(_, decision): &(Hook, std::sync::Arc<Decision>)| decision.enforced())
}

fn draws(shown: &Shown) -> impl Iterator<Item = &Entry> {
    entries(shown).filter(|entry| matches!(entry.effect, Effect::Throttle(_)))
}

fn because(shown: &Shown, wanted: impl Fn(&Effect) -> bool) -> Vec<String> {
    let mut lines: Vec<String> = entries(shown)
        .filter(|entry| wanted(&entry.effect))
        .map(|entry| format!("{}   {}", explain::effect(&entry.effect), entry.place))
        .collect();
    let faults = shown.hooks.iter().filter_map(|(_, decision)| decision.failed.as_ref());
    lines.extend(faults.map(|fault| format!("{}   {}", fault.text.lines().next().unwrap_or_default(), fault.place)));
    if let Some(Ending::Rejected(Rejection::Throttled(throttled))) = &shown.ending {
        lines.push(format!("over {} per {} of rule {}", throttled.limit, explain::span(throttled.per), throttled.rule));
    }
    lines
}

fn is_drawn(expected: &Throttle, effect: &Effect) -> bool {
    let Effect::Throttle(draw) = effect else { return false };
    expected.key.as_deref().is_none_or(|key| draw.key.as_deref() == Some(key))
        && expected.limit.is_none_or(|limit| draw.limit == limit)
        && expected.per.as_deref().is_none_or(|per| explain::span(draw.per) == per)
        && expected.burst.is_none_or(|burst| draw.burst == Some(burst))
}

fn wanted(expected: &Throttle) -> String {
    let limit = expected.limit.map_or_else(|| "any number".to_owned(), |limit| limit.to_string());
    let key = expected.key.as_deref().unwrap_or("any key");
    format!("{key}  {limit} per {}", expected.per.as_deref().unwrap_or("any span"))
}

fn expected_usage(meters: &BTreeMap<String, Units>) -> String {
    let mut lines = Vec::new();
    for (meter, units) in meters {
        match units {
            Units::Sum(sum) => lines.push(format!("{meter} +{sum}")),
            Units::Lines(list) => lines.extend(list.iter().map(|line| {
                let dimensions: String = line.dimensions.iter().map(|(name, value)| format!("  {name}={value}")).collect();
                format!("{meter} +{}{dimensions}", line.quantity)
            })),
        }
    }
    lines.sort();
    join(&lines)
}

/// The usage in the detail in which it is expected; zero lines count as none.
fn actual_usage(meters: &BTreeMap<String, Units>, usage: &[Line]) -> String {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for line in usage {
        let key = match meters.get(&*line.meter) {
            Some(Units::Lines(_)) => {
                let dimensions: String = line.dimensions.iter().map(|(name, value)| format!("  {name}={value}")).collect();
                format!("{}\0{dimensions}", line.meter)
            }
            Some(Units::Sum(_)) | None => format!("{}\0", line.meter),
        };
        *sums.entry(key).or_default() += line.quantity;
    }
    let mut lines: Vec<String> = sums
        .iter()
        .filter_map(|(key, sum)| key.split_once('\0').map(|(meter, dimensions)| format!("{meter} +{sum}{dimensions}")))
        .collect();
    lines.sort();
    join(&lines)
}

fn join(lines: &[String]) -> String {
    if lines.is_empty() { "nothing".to_owned() } else { lines.join(", ") }
}

fn edited(plan: &Plan, name: &str) -> String {
    let edit = |(edited, _): &&(HeaderName, Option<HeaderValue>)| edited.as_str().eq_ignore_ascii_case(name);
    match plan.header_edits.iter().rfind(edit) {
        Some((_, Some(value))) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        Some((_, None)) => "removed".to_owned(),
        None => "untouched".to_owned(),
    }
}
