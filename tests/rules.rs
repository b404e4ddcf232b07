//! Hostile rules against the public interface: whatever a file contains, it ends as an error, soon, and with the memory it began
//! with.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::model::settings::{ClaimKind, ClaimType, Mode, OnError, Rule, RuleLimits, Rules};
use tollgate::model::{
    Caller, CanonicalPath, Claims, Decision, Facts, Hook, Identity, Moment, Name, RequestId, Severity, Source,
};
use tollgate::rules::{RuleBook, Vocabulary};

fn clock() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

fn rules(files: &[(&str, &str)]) -> Rules {
    let rule = |(name, text): &(&str, &str)| Rule {
        name: Name::from(*name),
        source: Arc::new(Source { name: format!("rules/{name}.rhai"), text: (*text).to_owned() }),
        routes: Vec::new(),
        mode: Mode::Enforce,
        on_error: OnError::Deny,
    };
    let limits = RuleLimits { operations: 50_000, time: Duration::from_millis(5), string_bytes: 16_384 };
    Rules { entries: files.iter().map(rule).collect(), library: Vec::new(), limits }
}

fn decide(book: &RuleBook, claims: &Value) -> Decision {
    let at = Moment::new(Duration::from_secs(1_800_000_000), Duration::ZERO);
    let facts = Arc::new(Facts {
        host: "api.example.com".into(),
        path: CanonicalPath::parse("/v1/orders").unwrap(),
        client_ip: [127, 0, 0, 1].into(),
        ..Facts::unknown(RequestId::new(at, 1), at)
    });
    let caller = Caller::Known(Arc::new(Identity {
        issuer: "test".into(),
        claims: Claims::new(claims.as_object().unwrap().clone()),
        expires_at: u64::MAX,
        account: None,
        forwarded: Vec::new(),
    }));
    book.decide(&book.select("orders"), &facts, &"orders".into(), &caller)
}

/// The tests measure the memory and the time of the whole process, so they go one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By how many MiB the memory of this process grows at most while `work` runs.
fn growth(work: impl FnOnce()) -> u64 {
    let mib = |name: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    // Forgets the peak so far (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = mib("VmRSS:");
    work();
    mib("VmHWM:").saturating_sub(before)
}

/// What became of a script.
enum Fate {
    /// Not compiled, for this reason.
    Refused(String),
    /// Failed while it ran, for this reason.
    Failed(String),
    /// Ran to its end.
    Survived,
}

fn fate(text: &str) -> (Fate, Duration) {
    let vocabulary = Vocabulary { upstreams: vec!["api".into()], ..Vocabulary::default() };
    let began = clock();
    let (book, problems) = RuleBook::compile(&rules(&[("hostile", text)]), &vocabulary, clock);
    let Some(book) = book else {
        let error = problems.iter().find(|problem| problem.severity == Severity::Error).unwrap();
        return (Fate::Refused(format!("{} {}", error.code, error.message)), clock() - began);
    };
    let began = clock();
    let decision = decide(&book, &json!({ "sub": "u-1", "code": "`${deny(\"x\")}`; allow();" }));
    let took = clock() - began;
    match decision.failed {
        Some(fault) => {
            assert!(decision.entries.is_empty(), "{text}: a failed rule leaves nothing behind");
            (Fate::Failed(fault.text), took)
        }
        None => (Fate::Survived, took),
    }
}

/// Endless, dear, greedy, forbidden or senseless: each fails the rule or is not compiled, within 50 ms, although the build is not
/// optimised.
#[test]
fn hostile_scripts_end_as_errors() {
    let scripts = [
        // Endless, deep, many.
        "loop { }",
        "while true { }",
        "do { } while true",
        "do { } until false",
        "let n = 0; loop { n += 1; }",
        "for n in 0..9_000_000_000_000 { }",
        "for n in range(0, 9_000_000_000_000, 1) { }",
        "for a in 0..1000 { for b in 0..1000 { for c in 0..1000 { } } }",
        "fn on_request() { down(0); } fn down(n) { down(n + 1) }",
        "fn on_request() { ping(); } fn ping() { pong() } fn pong() { ping() }",
        "let f = |x| x; f = |x| { loop { } }; f.call(1)",
        "let f = |g, n| g.call(g, n + 1); f.call(f, 0)",
        "[1].for_each(|| loop { })",
        "let a = []; a.pad(1000, 1); loop { a.map(|x| a.map(|y| a.map(|z| z))); }",
        "let a = []; a.pad(1000, 0); loop { a.sort(|x, y| if x == y { 1 } else { -1 }); }",
        "let a = []; a.pad(1000, 0); loop { a.reduce(|sum, x| { for n in 0..1000 { } sum }); }",
        "loop { try { throw 1; } catch { } }",
        "try { loop { } } catch { }",
        "let s = \"\"; s.pad(16000, 'a'); loop { s.index_of(\"aaaaaaaaaaaaaaaaaaaaaaaaaaaab\"); }",
        "let s = \"\"; s.pad(16000, ','); loop { s.split(\",\"); }",
        "loop { let x = 0; switch x { 0 => (), _ => () } }",
        // Memory.
        "let s = \"a\"; loop { s += s; }",
        "let s = \"a\"; loop { s = `${s}${s}`; }",
        "let s = \"a\"; s.pad(4_000_000_000, 'x')",
        "let s = \"a\"; s.pad(4_000_000_000, \"xyz\")",
        "let s = \"\"; s.pad(16000, 'a'); s.replace(\"a\", s)",
        "let s = \"\"; s.pad(16000, 'a'); s.replace('a', s)",
        "let s = \"\"; s.pad(16000, 'a'); s.replace(\"\", s)",
        "let a = [1]; loop { a += a; }",
        "let a = [1]; loop { a.append(a); }",
        "let a = [1]; loop { a.push(a); }",
        "let a = []; a.pad(4_000_000_000, 1)",
        "let a = []; a.pad(1000, 1); a.map(|x| a).map(|x| [x, x, x]).map(|x| [x, x, x])",
        "let m = #{}; for n in 0..1_000_000 { m[`${n}`] = n; }",
        "let m = #{ a: 1 }; loop { m.a = m; }",
        "let a = []; for n in 0..900 { let s = \"\"; s.pad(16000, 'a'); a.push(s); }",
        "let b = blob(8_000_000_000);",
        "let m = #{ a: \"\" }; loop { m.a = m.to_json() + m.to_json(); }",
        "let s = \"\"; s.pad(16000, 'a'); let a = s.to_chars(); a.map(|c| a)",
        // The world outside.
        "sleep(1)",
        "sleep(9_000_000_000.0)",
        "import \"rules/plans\" as plans;",
        "eval(\"allow()\")",
        "exit(); allow();",
        "timestamp()",
        "open_file(\"/etc/passwd\")",
        "set_tag(1)",
        "debug(1)",
        "let f = Fn(\"deny\"); f.call(\"x\")",
        "parse_json(\"{}\")",
        "get_fn_metadata_list()",
        // Arithmetic.
        "let n = 9_223_372_036_854_775_807; n += 1",
        "let n = 0; 1 / n",
        "let n = 0; 1 % n",
        "let n = -9_223_372_036_854_775_807 - 1; n / -1",
        "let n = -9_223_372_036_854_775_807 - 1; -n",
        "let n = 9_223_372_036_854_775_807; n * 2",
        "let a = [1]; a[5]",
        "let a = [1]; a[-9_223_372_036_854_775_807]",
        "let s = \"a\"; s[9]",
        "let x = 10 ** 9_000_000; x",
        "let c = \"x\"; parse_int(c)",
        "for n in 9_223_372_036_854_775_800..=9_223_372_036_854_775_807 { } throw \"ended\"",
        "parse_int(\"99999999999999999999999999\")",
        // Senseless.
        "throw",
        "throw #{ status: 200 }",
        "if 1 { allow(); }",
        "let x = (); x.y.z",
        "let name = \"nowhere\"; route_to(name)",
        "let n = -1; throttle(\"k\", n, \"1m\")",
        "let f = |x| x; throttle(f, 1, \"1m\")",
        "let a = [1, 2]; let f = || a.push(1); a.map(f); a.push(a); a.some(|x| x == a); throw 1",
        "this.x = 1",
        "claims = 5",
        "claims.plan = \"enterprise\"",
        "request.headers[\"x\"] = \"y\"",
        "let deny = 1; denny(deny)",
        "let f = claims; f.plan = \"enterprise\"",
        "let f = request; f.headers[\"x\"] = \"y\"",
        // The text of a claim is never a script.
        "eval(claims.code)",
        "let f = claims.code; f.call()",
    ];
    assert!(scripts.len() >= 55);
    let _turn = alone();
    let mut survivors = Vec::new();
    let mut run = |script: &'static str| {
        let is_whole = script.contains("fn on_request");
        let text = if is_whole { script.to_owned() } else { format!("fn on_request(request, claims) {{ {script} ; }}") };
        // Somebody else may have the processor: the best of three counts.
        let tries: Vec<_> = (0..3).map(|_| fate(&text)).collect();
        let best = tries.iter().map(|(_, took)| *took).min().unwrap();
        assert!(best < Duration::from_millis(50), "{script}: {best:?}");
        match &tries[0].0 {
            Fate::Survived => survivors.push(script),
            Fate::Refused(why) | Fate::Failed(why) => assert!(!why.contains("panic"), "{script}: {why}"),
        }
    };
    for script in scripts {
        let grown = growth(|| run(script));
        assert!(grown < 32, "{script}: {grown} MiB");
    }
    assert_eq!(survivors, Vec::<&str>::new());
}

/// A rule that fails in the middle of an expression leaves nothing on the thread's machine.
#[test]
fn failures_leave_no_memory_behind() {
    let _turn = alone();
    let waiting = "1, ".repeat(900);
    let text = format!("fn on_request() {{ let n = (); let list = [{waiting} n + 1]; }}");
    let (book, _) = RuleBook::compile(&rules(&[("fails", &text)]), &Vocabulary::default(), clock);
    let book = book.unwrap();
    assert!(decide(&book, &json!({})).failed.is_some());
    let grown = growth(|| {
        for _ in 0..8_000 {
            decide(&book, &json!({}));
        }
    });
    // 900 operands of 16 bytes each time would be 110 MiB.
    assert!(grown < 32, "{grown} MiB");
}

/// Texts that would be dear to parse are refused before.
#[test]
fn hostile_texts_are_refused_at_once() {
    let _turn = alone();
    let repeat = |text: &str, times: usize| text.repeat(times);
    let nested = |open: &str, close: &str, depth: usize| format!("let x = {}1{};", repeat(open, depth), repeat(close, depth));
    let interpolated = (0..2_000).fold("1".to_owned(), |inner, _| format!("`${{{inner}}}`"));
    let many_functions = (0..2_000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "fn f{n}() {{ }} ");
        text
    });
    let texts = [
        ("parentheses", nested("(", ")", 30_000)),
        ("a few parentheses too many", nested("(", ")", 99)),
        ("lists", nested("[", "]", 30_000)),
        ("maps", nested("#{a:", "}", 10_000)),
        ("negations", format!("let x = {}1;", repeat("-", 30_000))),
        ("nots", format!("let x = {}true;", repeat("!", 30_000))),
        ("sums", format!("let x = 1{};", repeat("+1", 30_000))),
        ("powers", format!("let x = 1{};", repeat("**1", 20_000))),
        ("dots", format!("let x = a{};", repeat(".a", 30_000))),
        ("indexes", format!("let x = a{};", repeat("[0]", 20_000))),
        ("closures", format!("let x = {}1;", repeat("|x|", 20_000))),
        ("else-ifs", format!("if a {{ }}{}", repeat(" else if a { }", 4_500))),
        ("blocks", format!("{}{}", repeat("{", 30_000), repeat("}", 30_000))),
        ("interpolations", format!("let x = {interpolated};")),
        ("comments", format!("{}{}", repeat("/*", 30_000), repeat("*/", 1))),
        ("functions", many_functions),
        ("bytes", repeat("let x = 1; ", 100_000)),
        ("lines", repeat("\n", 3_000)),
        ("one string", format!("let x = \"{}\";", repeat("a", 60_000))),
        ("nul", "let x = \0;".to_owned()),
        ("unbalanced", repeat("}", 1_000)),
        ("unicode", format!("let x = \"{}\u{202e}\"; é", repeat("é", 100))),
    ];
    for (what, body) in texts {
        let text =
            if what == "functions" { format!("{body} fn on_request() {{ }}") } else { format!("fn on_request() {{ {body} }}") };
        let tries: Vec<_> = (0..3).map(|_| fate(&text)).collect();
        let (Fate::Refused(_), _) = tries[0] else { panic!("{what} was compiled") };
        // 10 ms in an optimised build; this one is not.
        let best = tries.iter().map(|(_, took)| *took).min().unwrap();
        assert!(best < Duration::from_millis(100), "{what}: {best:?}");
    }
}

/// What a claim says is inert wherever it goes.
#[test]
fn claim_texts_are_inert() {
    let text = "fn on_request(claims) { tag(\"code\", claims.code); tag(\"text\", `${claims.code}`); set_header(\"x-code\", claims.code); }";
    let (book, _) = RuleBook::compile(&rules(&[("inert", text)]), &Vocabulary::default(), clock);
    let decision = decide(&book.unwrap(), &json!({ "code": "`${deny(\"x\")}`; ${allow()} \"); deny(\"y" }));
    assert!(decision.failed.is_none());
    let verbs: Vec<_> = decision.entries.iter().map(|entry| entry.effect.verb()).collect();
    assert_eq!(verbs, ["tag", "tag", "set_header"]);
}

/// Many rules are loaded within seconds, and each still has its own result.
#[test]
fn ten_thousand_rules_load() {
    let _turn = alone();
    let names: Vec<String> = (0..10_000).map(|n| format!("r{n}")).collect();
    let text = "fn on_request(claims) { if claims.plan == \"nobody\" { deny(\"x\"); } }";
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), text)).collect();
    let mut declared = Vocabulary::default();
    declared.claims.insert("plan".to_owned(), ClaimType { kind: ClaimKind::String, one_of: Vec::new(), required: true });
    let began = clock();
    let (book, problems) = RuleBook::compile(&rules(&files), &declared, clock);
    assert!(problems.is_empty());
    // 2 s in an optimised build.
    assert!(clock() - began < Duration::from_secs(40), "{:?}", clock() - began);
    let book = book.unwrap();
    assert!(book.select("orders").has(Hook::Request));
    let decision = decide(&book, &json!({ "plan": "pro" }));
    assert_eq!((decision.evaluations.len(), decision.failed.is_none()), (10_000, true));
}
