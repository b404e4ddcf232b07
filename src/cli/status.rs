use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::console::Console;
use super::{Failure, terminal};

/// What a running gateway does; exit code 5 when it runs but is not ready.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    console: Console,
    /// Print what the gateway answers, as JSON
    #[arg(long)]
    json: bool,
}

/// Runs, but is not ready.
const NOT_READY: u8 = 5;

impl Status {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let (_, status) = self.console.ask(Method::GET, "/status", Duration::from_secs(5))?;
        if self.json {
            terminal::print(&serde_json::to_string_pretty(&status).unwrap_or_default());
        } else {
            terminal::print(&page(&status, Pen { color: terminal::has_color() }));
        }
        match status.get("ready").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            _ => Err(Failure::with_code(NOT_READY, "")),
        }
    }
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Pen {
    color: bool,
}

impl Pen {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn title(self, text: &str) -> String {
        self.paint("1", &format!("{text:<11}"))
    }
}

/// One screen for people.
fn page(status: &Value, pen: Pen) -> String {
    let mut page = String::new();
    let now = instant(status, "now");
    let state = match (flag(status, "ready"), flag(status, "draining")) {
        (true, _) => pen.good("ready"),
        (false, true) => pen.bad("stopping"),
        (false, false) => pen.bad("not ready"),
    };
    let up = age(now, instant(status, "started_at"));
    let _ = writeln!(
        page,
        "{} {} · {state} · up {up} · pid {}",
        pen.title("tollgate"),
        text(status, "version"),
        number(status, "pid")
    );

    let config = status.get("config").unwrap_or(&Value::Null);
    let short = |hash: &str| hash.chars().take(8).collect::<String>();
    let loaded = age(now, instant(config, "loaded_at"));
    let _ = writeln!(page, "{} {} · loaded {loaded} ago", pen.title("config"), short(text(config, "config_sha256")));
    if let Some(failure) = config.get("failed_reload").filter(|failure| !failure.is_null()) {
        let when = age(now, instant(failure, "at"));
        let _ = writeln!(page, "{:11} {}", "", pen.bad(&format!("a reload {when} ago was refused; `tollgate check` says why")));
    }
    let rules = list(status, "rules");
    let shadows = rules.iter().filter(|rule| text(rule, "mode") == "shadow").count();
    let names: Vec<&str> = rules.iter().map(|rule| text(rule, "name")).collect();
    let shadows = if shadows > 0 { format!(" ({shadows} in shadow)") } else { String::new() };
    let _ = writeln!(page, "{} {}{shadows}{}", pen.title("rules"), rules.len(), joined(&names));
    let listeners: Vec<String> = list(status, "listeners").iter().map(listener).collect();
    let _ = writeln!(page, "{} {}", pen.title("listeners"), listeners.join(", "));
    let _ = writeln!(page, "{} {} in flight", pen.title("requests"), number(status, "requests_in_flight"));

    let mut title = "issuers";
    for issuer in list(status, "issuers") {
        let _ = writeln!(page, "{} {}", pen.title(title), issuer_line(issuer, now, pen));
        title = "";
    }
    title = "upstreams";
    for upstream in list(status, "upstreams") {
        let _ = writeln!(page, "{} {}", pen.title(title), upstream_line(upstream, pen));
        title = "";
    }
    if let Some(entries) = status.get("revocations").filter(|revocations| !revocations.is_null()) {
        let _ = writeln!(page, "{} {}", pen.title("revoked"), revocations_line(entries, pen));
    }
    let throttling = status.get("throttling").unwrap_or(&Value::Null);
    let _ = writeln!(page, "{} {} keys", pen.title("limits"), grouped(number(throttling, "keys")));
    match status.get("usage").filter(|usage| !usage.is_null()) {
        Some(usage) => {
            let _ = writeln!(page, "{} {}", pen.title("ledger"), ledger_line(usage, now, pen));
        }
        None => {
            let _ = writeln!(page, "{} none", pen.title("ledger"));
        }
    }
    page
}

fn listener(listener: &Value) -> String {
    let scheme = if listener.get("certificates").is_some_and(Value::is_array) { "https" } else { "http" };
    format!("{scheme}://{}", text(listener, "address"))
}

fn issuer_line(issuer: &Value, now: f64, pen: Pen) -> String {
    let (name, keys) = (text(issuer, "name"), number(issuer, "keys"));
    match issuer.get("fetched_at").and_then(Value::as_u64) {
        Some(at) => {
            let when = age(now, at as f64);
            let line = format!("{name} · {keys} keys · fetched {when} ago");
            if flag(issuer, "stale") { pen.bad(&format!("{line} · too old: {}", text(issuer, "last_error"))) } else { line }
        }
        None => pen.bad(&format!("{name} · no keys yet: {}", text(issuer, "last_error"))),
    }
}

fn upstream_line(upstream: &Value, pen: Pen) -> String {
    let servers = list(upstream, "servers");
    let is_up =
        |server: &&Value| server.get("state").and_then(Value::as_str).is_none_or(|state| state == "up" || state == "unchecked");
    let up = servers.iter().filter(|server| is_up(server)).count();
    let count = format!("{} · {up} of {} up", text(upstream, "name"), servers.len());
    let down: Vec<String> = servers
        .iter()
        .filter(|server| !is_up(server))
        .map(|server| format!("{} {} ({})", text(server, "server"), text(server, "state"), text(server, "why")))
        .collect();
    if down.is_empty() { count } else { format!("{count} · {}", pen.bad(&down.join(", "))) }
}

fn ledger_line(usage: &Value, now: f64, pen: Pen) -> String {
    let written = grouped(number(usage, "committed_lines"));
    let mut line =
        format!("{} · {written} lines written, {} wait", text(usage, "state"), grouped(number(usage, "pending_lines")));
    if let Some(at) = usage.get("last_commit_ms").and_then(Value::as_u64) {
        let _ = write!(line, " · last {} ago", age(now, at as f64 / 1e3));
    }
    let lost = number(usage, "unbilled_lines");
    if lost > 0 {
        let _ = write!(line, " · {}", pen.bad(&format!("{} lost", grouped(lost))));
    }
    match usage.get("last_error").and_then(Value::as_str) {
        Some(error) => format!("{line} · {}", pen.bad(error)),
        None => line,
    }
}

/// Revocations on one line.
pub(super) fn revocations(revocations: &Value) -> String {
    if revocations.is_null() {
        return "the configuration has no `identity.revocation`".to_owned();
    }
    revocations_line(revocations, Pen { color: terminal::has_color() })
}

fn revocations_line(revocations: &Value, pen: Pen) -> String {
    let mut line = format!("{} revocations", grouped(number(revocations, "entries")));
    if let Some(last) = revocations.get("last").filter(|last| !last.is_null()) {
        let _ = write!(line, " · last by {} at {}", text(last, "source"), text(last, "at"));
    }
    if let Some(feed) = revocations.get("feed").filter(|feed| !feed.is_null()) {
        let state = format!("other gateways: {}", text(feed, "state"));
        let _ = write!(line, " · {}", if text(feed, "state") == "stale" { pen.bad(&state) } else { state });
    }
    let log = revocations.get("event_log").and_then(|log| log.get("last_error")).and_then(Value::as_str);
    for error in [revocations.get("file_error").and_then(Value::as_str), log].into_iter().flatten() {
        let _ = write!(line, " · {}", pen.bad(error));
    }
    line
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or("?")
}

fn number(of: &Value, key: &str) -> u64 {
    of.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn flag(of: &Value, key: &str) -> bool {
    of.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Unix seconds of a member in RFC 3339.
fn instant(of: &Value, key: &str) -> f64 {
    let timestamp = of.get(key).and_then(Value::as_str).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    timestamp.map_or(0.0, |timestamp| timestamp.as_duration().as_secs_f64())
}

/// The two largest units: `3 h 12 min`.
fn age(now: f64, then: f64) -> String {
    let seconds = (now - then).max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn joined(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match (names.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(" · {shown}"),
        (false, more) => format!(" · {shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_says_what_matters_and_what_is_wrong() {
        let status = json!({
            "version": "0.1.0", "pid": 4711, "started_at": "2026-11-24T09:00:00Z", "now": "2026-11-24T12:12:05Z",
            "ready": false, "draining": false, "requests_in_flight": 3,
            "config": { "config_sha256": "3f9c12ab99", "loaded_at": "2026-11-24T12:10:00Z",
                        "failed_reload": { "at": "2026-11-24T12:12:00Z" } },
            "listeners": [{ "address": "0.0.0.0:443", "certificates": [] }, { "address": "0.0.0.0:80" }],
            "rules": [{ "name": "throttling", "mode": "enforce" }, { "name": "next", "mode": "shadow" }],
            "issuers": [{ "name": "acme", "keys": 0, "fetched_at": null, "last_error": "connection refused" }],
            "upstreams": [{ "name": "main", "servers": [{ "server": "a:80", "state": "up" }, { "server": "b:80", "state": "ejected", "why": "5 errors" }] }],
            "throttling": { "keys": 1234 },
            "usage": { "state": "ok", "committed_lines": 1_234_567, "pending_lines": 2, "unbilled_lines": 0, "last_commit_ms": 1_795_522_324_000_u64, "last_error": null },
        });
        let expected = "\
tollgate    0.1.0 · not ready · up 3 h 12 min · pid 4711
config      3f9c12ab · loaded 2 min 5 s ago
            a reload 5 s ago was refused; `tollgate check` says why
rules       2 (1 in shadow) · throttling, next
listeners   https://0.0.0.0:443, http://0.0.0.0:80
requests    3 in flight
issuers     acme · no keys yet: connection refused
upstreams   main · 1 of 2 up · b:80 ejected (5 errors)
limits      1,234 keys
ledger      ok · 1,234,567 lines written, 2 wait · last 1 s ago
";
        assert_eq!(page(&status, Pen { color: false }), expected);
    }
}
