use super::*;
use crate::model::Evaluated;

/// The rule ends like this, on both machines; the text is what operators read.
fn fault(statements: &str) -> (Evaluated, String) {
    let text = format!("fn on_request(request, claims) {{\n    {statements}\n}}\nfn deep(n) {{ deep(n + 1) }}\n");
    let files = Files::new().rule("test", &text);
    let decision = files.run(Hook::Request, &Request::by(&json!({ "sub": "u-1", "plan": "pro" })));
    let fault = decision.failed.unwrap_or_else(|| panic!("{statements}: did not fail"));
    (decision.evaluations[0].result, fault.text)
}

#[test]
fn a_fault_says_what_is_missing_where_and_what_to_write() {
    let (result, text) = fault("let limit = claims.quota + 10;");
    assert_eq!(result, Evaluated::Error);
    assert_eq!(
        text,
        "claims.quota is missing in this token, so `+` cannot be computed\n\
         rules/test.rhai:2 | let limit = claims.quota + 10;\n\
         hint: write `(claims.quota ?? 0)`, or another value to take instead"
    );
}

#[test]
fn faults_speak_the_language_of_the_author() {
    for (statements, first_line) in [
        ("if claims.beta { allow(); }", "claims.beta is missing in this token, so there is nothing to decide on"),
        ("let t = claims.org.tier;", "claims.org is missing in this token, so it has no `tier`"),
        ("let n = claims.org.len();", "claims.org is missing in this token, so `len` cannot be computed"),
        (
            "throttle(claims.sub, claims.quota, \"1m\");",
            "claims.quota is missing in this token: a limit is a whole number, not absent",
        ),
        ("let x = request.headers - 1;", "`-` cannot take headers and an integer"),
        ("if request.path { allow(); }", "true or false is needed here, and this is a text"),
        (
            "let f = request.path; f.nothing_like_it;",
            "unknown property 'nothing_like_it' - a getter is not registered for type 'string'",
        ),
        ("throw \"out of paper\";", "out of paper"),
        ("throw 7;", "thrown: 7"),
        ("let n = 0; let x = 1 / n;", "division by zero: 1 / 0"),
        ("request.client_ip.in_cidr(\"10.0.0.0\" + \"/99\");", "`10.0.0.0/99` is no network; write for example 10.0.0.0/8"),
        ("let where = \"nowhere\"; route_to(where);", "there is no upstream `nowhere`"),
        ("let n = 5; for x in n { }", "`for` needs a list, a range or a text"),
    ] {
        let (result, text) = fault(statements);
        assert_eq!((result, text.lines().next().unwrap()), (Evaluated::Error, first_line), "{statements}");
        assert_eq!(text.lines().nth(1).unwrap(), format!("rules/test.rhai:2 | {statements}"), "{text}");
    }
}

#[test]
fn limits_are_counted_as_limits() {
    for (statements, first_line) in [
        ("for n in 0..60000 { }", "needs more steps than `rule_limits.operations` allows"),
        ("let s = \"a\"; loop { s += s; }", "a value is too large (length of string)"),
        ("deep(0);", "functions call each other too deeply"),
    ] {
        let (result, text) = fault(statements);
        assert_eq!((result, text.lines().next().unwrap()), (Evaluated::Limit, first_line), "{statements}");
    }
}

/// A clock that runs fast.
fn hasty() -> Duration {
    thread_local!(static TICKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    TICKS.set(TICKS.get() + 1);
    Duration::from_millis(TICKS.get())
}

#[test]
fn a_rule_that_takes_too_long_is_ended() {
    let rules = Files::new().rule("slow", "fn on_request() { for n in 0..1000 { } }").rules;
    let (book, _) = RuleBook::compile(&rules, &vocabulary(), hasty);
    let decision = Request::new().through(&book.unwrap(), Hook::Request);
    assert_eq!(decision.evaluations[0].result, Evaluated::Limit);
    assert!(decision.failed.unwrap().text.starts_with("takes longer than `rule_limits.time` allows\nrules/slow.rhai"));
}

#[test]
fn a_fault_in_a_library_names_the_librarys_line() {
    let files = Files::new()
        .library("plans", "\nfn limit_for(quota) {\n    quota + 1\n}\n")
        .rule("test", "fn on_request(claims) {\n    throttle(claims.sub, plans::limit_for(claims.quota), \"1m\");\n}\n");
    let fault = files.run(Hook::Request, &Request::by(&json!({ "sub": "u-1" }))).failed.unwrap();
    assert_eq!(fault.place.to_string(), "rules/lib/plans.rhai:3");
    assert_eq!(
        fault.text,
        "`+` cannot take nothing and an integer\nrules/lib/plans.rhai:3 | quota + 1\ncalled by rules/test.rhai"
    );
}

#[test]
fn a_panic_in_a_native_function_is_a_failed_rule() {
    let book = Files::new()
        .entry("one", "fn on_request() { tag(\"dropped\", 1); panic_now(); }", &[], Mode::Enforce, OnError::Skip)
        .rule("two", "fn on_request(claims) { tag(\"sub\", claims.sub); }")
        .book();
    for name in ["ann", "bob"] {
        let decision = Request::by(&json!({ "sub": name })).through(&book, Hook::Request);
        assert_eq!(decision.evaluations[0].result, Evaluated::Error);
        let told = told(&decision);
        assert!(told[0].contains("panic") && told[1] == format!("tag sub={name} @rules/two.rhai:1"), "{told:?}");
    }
    let failed = decide("fn on_request() { panic_now(); }", &ann()).failed.unwrap();
    assert!(failed.text.contains("please report it"), "{}", failed.text);
}

/// The words that a client could send never reach Rhai as a script, and Rhai's words never reach a client.
#[test]
fn the_phase_is_checked_again_while_rules_run() {
    let text = "fn on_complete() { let f = |x| deny(x); f.call(\"late\"); }";
    assert!(Files::new().rule("test", text).problems().iter().any(|problem| problem.code == "rule::wrong-phase"));
    let early = "fn on_response(request) { let r = request; tag(\"bytes\", r.body_bytes); }";
    let decision = Files::new().rule("test", early).run(Hook::Response, &Request::new().answered(200, 1));
    assert_eq!(told(&decision), ["failed @rules/test.rhai:1: `request.body_bytes` is known only in on_complete"]);
}
