use super::*;

fn problems(text: &str) -> Vec<String> {
    Files::new().rule("test", text).problems().iter().map(line_of).collect()
}

/// The problems of a hook's body, without the place.
fn inside(hook: &str, statements: &str) -> Vec<String> {
    let parameters = if hook == "on_request" { "request, claims" } else { "request, response, claims" };
    problems(&format!("fn {hook}({parameters}) {{ {statements} }}"))
        .into_iter()
        .map(|line| line.split_once(' ').map_or(line.clone(), |(_, rest)| rest.to_owned()))
        .collect()
}

/// The whole of a problem: place, label and hint.
#[test]
fn a_deliberately_bad_rule() {
    let text = r#"//! A rule with something wrong on every line.

const LIMIT = 60;

fn on_request(claims, response) {
    if claims.plan != "free" { allow(); }
    route_to("api-canry");
    denny(403, "x");
    meter("api_call", 1, #{ endpoint: "x" });
    meter("api_calls", 1, #{ endpont: "x" });
    throttle(claims.tid, LIMIT, "1 minit");
    if claims.beta { log_info("beta"); }
    let tier = claims.org.tier;
    let over = claims.quota + 1;
    tag("plan", claims.paln);
    deny(200, "Not a word");
    allow();
}

fn on_complet() { }

fn helper(request) { request.pth }
"#;
    let files = Files::new().rule("bad", text);
    let shown: Vec<_> = files
        .problems()
        .iter()
        .map(|problem| {
            let (source, span) = problem.at.as_ref().unwrap();
            let caret = &source.text[span.start..span.start + span.length];
            let label = problem.label.as_deref().unwrap_or("");
            let hint = problem.hint.iter().map(|hint| format!("\n    {hint}")).collect::<String>();
            format!("{}\n    `{caret}` {label}{hint}", line_of(problem))
        })
        .collect();
    assert_eq!(shown.join("\n"), include_str!("bad.golden").trim_end());
}

#[test]
fn every_error_has_its_code() {
    for (hook, statements, expected) in [
        ("on_request", "if request.body == () { deny(\"x\"); }", vec![]),
        ("on_request", "rewrite_path(\"v2\");", vec!["rule::wrong-literal `v2` is no path: it begins with `/`"]),
        ("on_request", "rewrite_pth(\"/v2\");", vec!["rule::unknown-function there is no function `rewrite_pth`"]),
        (
            "on_request",
            "route_to(\"api\", #{ wieght: 10, key: claims.sub });",
            vec!["rule::wrong-literal `route_to` has no option `wieght`; write `#{ weight: 10, key: claims.org }`"],
        ),
        (
            "on_request",
            "route_to(\"apo\", #{ weight: 10, key: claims.sub });",
            vec!["rule::unknown-upstream there is no upstream \"apo\" in the configuration"],
        ),
        ("on_response", "rewrite_path(\"/v2\");", vec!["rule::wrong-phase `rewrite_path` does not work in on_response"]),
        ("on_request", "denny(\"x\");", vec!["rule::unknown-function there is no function `denny`"]),
        ("on_request", "deny();", vec!["rule::wrong-arguments `deny` takes 1 or 2 arguments, and 0 are given"]),
        ("on_request", "allow(1);", vec!["rule::wrong-arguments `allow` takes 0 arguments, and 1 are given"]),
        ("on_request", "request.path.starts_wth(\"/\");", vec!["rule::unknown-function there is no function `starts_wth`"]),
        ("on_request", "redirect_to_login();", vec![]),
        ("on_request", "redirect_to_login(\"/account?tab=1\");", vec![]),
        (
            "on_request",
            "redirect_to_login(\"//evil.example\");",
            vec!["rule::wrong-literal `//evil.example` is no page of this site: a path like /account, with or without a query"],
        ),
        ("on_response", "redirect_to_login();", vec!["rule::wrong-phase `redirect_to_login` does not work in on_response"]),
        ("on_request", "quota(claims.org, 5, \"1d\");", vec!["rule::unknown-function `quota` is not built yet"]),
        ("on_request", "request.pth;", vec!["rule::unknown-field `request` has no `pth`"]),
        ("on_request", "request.body_bytes;", vec!["rule::wrong-phase `request.body_bytes` does not exist in on_request"]),
        ("on_response", "response.duration_ms;", vec!["rule::wrong-phase `response.duration_ms` does not exist in on_response"]),
        ("on_response", "deny(\"x\");", vec!["rule::wrong-phase `deny` does not work in on_response"]),
        ("on_response", "[1].map(|x| route_to(\"api\"));", vec!["rule::wrong-phase `route_to` does not work in on_response"]),
        ("on_complete", "set_header(\"x\", 1);", vec!["rule::wrong-phase `set_header` does not work in on_complete"]),
        ("on_complete", "throttle(1, 1, \"1m\");", vec!["rule::wrong-phase `throttle` does not work in on_complete"]),
        (
            "on_request",
            "route_to(\"nowhere\");",
            vec!["rule::unknown-upstream there is no upstream \"nowhere\" in the configuration"],
        ),
        ("on_request", "meter(\"calls\");", vec!["rule::unknown-meter there is no meter \"calls\" in the configuration"]),
        (
            "on_request",
            "meter(\"api_calls\", 1, #{ org: 1 });",
            vec!["rule::unknown-dimension the meter `api_calls` has no dimension `org`"],
        ),
        ("on_request", "meter(\"api_calls\", 1.5);", vec!["rule::wrong-literal a quantity is a whole number, not a float"]),
        ("on_request", "throttle(1, -1, \"1m\");", vec!["rule::wrong-literal a limit cannot be negative, and this is -1"]),
        (
            "on_request",
            "throttle(1, 1, \"1m\", #{ bust: 1 });",
            vec!["rule::wrong-literal the options of `throttle` are `#{ burst: n }`"],
        ),
        ("on_request", "deny(200, \"x\");", vec!["rule::wrong-literal 200 is no status to deny with; take one from 400 to 599"]),
        ("on_request", "redirect(200, \"/\");", vec!["rule::wrong-literal 200 is no redirect; take 301, 302, 303, 307 or 308"]),
        (
            "on_request",
            "respond(100, \"x\");",
            vec!["rule::wrong-literal 100 is no status to respond with; take one from 200 to 599"],
        ),
        (
            "on_request",
            "set_header(\"Host\", \"x\");",
            vec!["rule::wrong-literal `host` belongs to the gateway and cannot be edited"],
        ),
        ("on_request", "in_rollout(1, 101);", vec!["rule::wrong-literal 101 is no percentage; take a number from 0 to 100"]),
        ("on_request", "let x = y;", vec!["rule::unknown-variable there is no variable `y` here"]),
        ("on_request", "let x = response;", vec!["rule::unknown-variable there is no variable `response` here"]),
        ("on_request", "plans::limit_for(1);", vec!["rule::unknown-library there is no library `plans`"]),
        ("on_request", "claims.plan = 1;", vec!["rule::read-only `claims` cannot be changed"]),
        ("on_request", "let claims = 1;", vec!["rule::shadowed `claims` is what hooks get as a parameter"]),
        ("on_request", "let a = [1]; a.map(|x| a.len());", vec!["rule::locked a closure uses `a` while a method of `a` runs"]),
        ("on_request", "let x = claims.package;", vec!["rule::syntax `package` is a word of the language"]),
        ("on_request", "let x = 1 +;", vec!["rule::syntax unexpected ';'"]),
        ("on_request", "import \"x\" as y;", vec!["rule::syntax there is no `import`"]),
        ("on_request", "eval(\"1\");", vec!["rule::syntax `eval` is not available in rules"]),
    ] {
        assert_eq!(inside(hook, statements), expected, "{statements}");
    }
}

#[test]
fn every_warning_has_its_code() {
    for (statements, expected) in [
        (
            "tag(\"x\", claims.plan != \"free\");",
            vec!["rule::negated-claim `claims.plan != …` is also true when the claim is missing"],
        ),
        ("tag(\"x\", claims.paln);", vec!["rule::unknown-claim nothing says that tokens have a claim `paln`"]),
        ("tag(\"x\", claims[\"paln\"]);", vec!["rule::unknown-claim nothing says that tokens have a claim `paln`"]),
        (
            "if claims.beta { }",
            vec!["rule::maybe-missing `claims.beta` is no condition when the claim is missing: the rule fails"],
        ),
        (
            "if !claims.beta { }",
            vec!["rule::maybe-missing `claims.beta` is no condition when the claim is missing: the rule fails"],
        ),
        (
            "if claims.beta && true { }",
            vec!["rule::maybe-missing `claims.beta` is no condition when the claim is missing: the rule fails"],
        ),
        ("let x = claims.quota * 2;", vec!["rule::maybe-missing `*` fails when `claims.quota` is missing"]),
        (
            "tag(\"x\", claims.level > 5);",
            vec!["rule::maybe-missing `claims.level > …` is false when the claim is missing, and so is its opposite"],
        ),
        ("let x = claims.org.tier;", vec!["rule::maybe-missing `.tier` fails when `claims.org` is missing"]),
        ("let x = claims.plan.len();", vec!["rule::maybe-missing `.len(…)` fails when `claims.plan` is missing"]),
        (
            "throttle(claims.tid, 60, \"1m\");",
            vec!["rule::tenant-key `tid` is the FusionAuth tenant: most installations have one for everybody"],
        ),
        ("deny(\"x\"); allow();", vec!["rule::unreachable this is never reached"]),
        ("if true { return; allow(); }", vec!["rule::unreachable this is never reached"]),
        ("tag(\"x\", request.route == \"oders\");", vec!["rule::unknown-route there is no route \"oders\" in the configuration"]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|line| format!("warning {line}")).collect();
        assert_eq!(inside("on_request", statements), expected, "{statements}");
    }
}

/// What is right is not complained about.
#[test]
fn careful_rules_are_left_alone() {
    for statements in [
        "if claims.plan == \"pro\" { allow(); }",
        "if claims.plan == () || claims.plan != () { allow(); }",
        "if (claims.plan ?? \"free\") != \"free\" { allow(); }",
        "if claims.beta ?? false { allow(); }",
        "if claims.beta == true { allow(); }",
        "let x = (claims.quota ?? 0) + 10;",
        "let x = claims.org?.tier;",
        "let x = claims.tier + \"x\"; if claims.tier != \"gold\" { allow(); }",
        "let x = claims.sub + \"x\";",
        "if \"admin\" in claims.roles { allow(); }",
        "throttle(`${claims.org}:reports`, 10, \"1h\");",
        "throttle(claims.org ?? claims.sub, 10, \"1h\", #{ burst: 5 });",
        "if request.route == \"orders\" { deny(\"x\"); } else { deny(\"y\"); }",
        "let seen = []; [1, 2].for_each(|x| seen.push(x)); tag(\"n\", seen.len());",
        "let f = |x| x + 1; tag(\"n\", f.call(1));",
        "let t = type_of(claims.plan); tag(\"t\", t);",
    ] {
        assert_eq!(inside("on_request", statements), Vec::<String>::new(), "{statements}");
    }
}

#[test]
fn hooks_are_known_by_name() {
    assert_eq!(problems("fn on_complet() { }"), ["rules/test.rhai:1:4 rule::unknown-hook there is no hook `on_complet`"]);
    assert_eq!(problems("fn onrequest() { }"), ["rules/test.rhai:1:4 rule::unknown-hook there is no hook `onrequest`"]);
    assert_eq!(
        problems("fn helper() { }"),
        ["rules/test.rhai:1:1 rule::unknown-hook the rule has no hook, so it would never run"]
    );
    assert_eq!(problems(""), ["rules/test.rhai:1:1 rule::unknown-hook the rule has no hook, so it would never run"]);
    assert_eq!(
        problems("fn on_request(clams) { }"),
        ["rules/test.rhai:1:15 rule::unknown-parameter on_request cannot take `clams`"]
    );
    assert_eq!(
        problems("fn on_request(response) { }"),
        ["rules/test.rhai:1:15 rule::wrong-phase `response` does not exist in on_request"]
    );
    assert_eq!(
        problems("fn on_request(claims) { } fn on_request(request, claims) { }"),
        ["rules/test.rhai:1:30 rule::unknown-hook `on_request` is written twice"]
    );
}

#[test]
fn top_levels_hold_constants_and_functions() {
    let hook = "fn on_request() { }";
    assert_eq!(
        problems(&format!("let x = 1; {hook}")),
        ["rules/test.rhai:1:1 rule::top-level only constants and functions can stand here"]
    );
    assert_eq!(
        problems(&format!("deny(\"x\"); {hook}")),
        ["rules/test.rhai:1:1 rule::top-level only constants and functions can stand here"]
    );
    assert_eq!(
        problems(&format!("const X = 1 / 0; {hook}")),
        ["rules/test.rhai:1:13 rule::constant a constant cannot be computed: division by zero: 1 / 0"]
    );
    assert_eq!(
        problems(&format!("const X = helper(); fn helper() {{ 1 }} {hook}")),
        ["rules/test.rhai:1:11 rule::constant a constant cannot be computed: function not found: helper ()"]
    );
    assert_eq!(
        problems(&format!("const X = in_rollout(1, 5); {hook}")),
        [
            "rules/test.rhai:1:11 rule::constant a constant cannot be computed: runtime error: requests, responses, claims and verbs exist only inside hooks"
        ]
    );
    assert_eq!(
        problems(&format!("const X = |x| x; {hook}")),
        [
            "rules/test.rhai:1:7 rule::constant a constant cannot be computed: the value is no text, number, boolean, list, object or range"
        ]
    );
    assert_eq!(
        problems("const X = 1; fn on_request() { let X = 2; }"),
        ["rules/test.rhai:1:36 rule::shadowed `X` is a constant of this file"]
    );
    assert_eq!(
        problems("const X = 1; fn on_request() { helper(1); } fn helper(X) { X }"),
        ["rules/test.rhai:1:55 rule::shadowed `X` is a constant of this file"]
    );
    assert_eq!(
        problems("fn deny(x) { x } fn on_request() { }"),
        ["rules/test.rhai:1:4 rule::shadowed a verb cannot be redefined"]
    );
}

/// The phase of a helper is that of whoever reaches it, through other helpers, closures and libraries.
#[test]
fn phases_are_inferred_through_calls() {
    assert_eq!(
        problems(
            "fn on_request() { helper(); }\nfn on_complete() { helper(); }\nfn helper() {\n    inner();\n}\nfn inner() {\n    deny(\"x\");\n}"
        ),
        ["rules/test.rhai:7:5 rule::wrong-phase `deny` does not work in on_complete, and on_complete reaches `inner`"]
    );
    let files = Files::new()
        .library("guard", "\nfn admins(claims) {\n    deny(\"x\");\n}\n")
        .rule("ok", "fn on_request(claims) { guard::admins(claims); }")
        .rule("late", "fn on_response(claims) { guard::admins(claims); }");
    assert_eq!(
        files.problems().iter().map(line_of).collect::<Vec<_>>(),
        ["rules/lib/guard.rhai:3:5 rule::wrong-phase `deny` does not work in on_response, and on_response reaches `admins`"]
    );
}

#[test]
fn libraries_are_checked_like_rules() {
    let with = |library: &str, rule: &str| -> Vec<String> {
        Files::new().library("plans", library).rule("test", rule).problems().iter().map(line_of).collect()
    };
    let rule = "fn on_request(claims) { tag(\"x\", plans::limit_for(claims.plan)); }";
    assert!(with("fn limit_for(plan) { 1 }", rule).is_empty());
    assert_eq!(
        with("fn limits_for(plan) { 1 }", rule),
        ["rules/test.rhai:1:41 rule::unknown-function the library `plans` has no function `limit_for`"]
    );
    assert_eq!(
        with("fn limit_for() { 1 }", rule),
        ["rules/test.rhai:1:41 rule::wrong-arguments `limit_for` takes 0 arguments, and 1 are given"]
    );
    assert_eq!(
        with("fn limit_for(plan) {\n    nothing(plan)\n}", rule),
        ["rules/lib/plans.rhai:2:5 rule::unknown-function there is no function `nothing`"]
    );
    assert_eq!(
        with("fn limit_for(plan) {\n    route_to(\"nowhere\") +\n}", rule)[0],
        "rules/lib/plans.rhai:3:1 rule::syntax unexpected '}'"
    );
    assert_eq!(
        with(
            "const LIMIT = 1;\nfn limit_for(plan) { LIMIT }",
            "const LIMIT = 2; fn on_request(claims) { tag(\"x\", plans::limit_for(1)); }"
        ),
        ["rules/test.rhai:1:7 rule::shadowed the library `plans` has a constant `LIMIT` as well"]
    );
    assert_eq!(
        with("const LIMIT = 1;", "fn on_request() { tag(\"x\", plans::LIMITS); }"),
        ["rules/test.rhai:1:35 rule::unknown-constant the library `plans` has no constant `LIMITS`"]
    );
    assert_eq!(
        with("fn on_request() { }", "fn on_request() { plans::on_request(); }"),
        ["rules/lib/plans.rhai:1:4 rule::shadowed a library has no hooks"]
    );
}

#[test]
fn all_problems_of_all_files_are_told_at_once() {
    let files = Files::new()
        .library("plans", "fn f() { nothing() }")
        .rule("one", "fn on_request() { denny(); let x = 1 +; }")
        .rule("two", "fn on_request() { denny(); alow(); }")
        .rule("three", "fn on_request() { tag(\"x\", y); denny(); }");
    let codes: Vec<_> = files.problems().iter().map(|problem| problem.code).collect();
    assert_eq!(
        codes,
        [
            "rule::syntax",
            "rule::unknown-function",
            "rule::unknown-function",
            "rule::unknown-function",
            "rule::unknown-function",
            "rule::unknown-variable",
        ]
    );
}

#[test]
fn a_body_is_read_on_routes_that_say_so() {
    let mut files =
        Files::new().rule("test", "fn on_request(request) { if request.body == \"x\" || request.json == 1 { deny(\"x\"); } }");
    assert_eq!(files.problems().len(), 0);
    files.vocabulary.read_bodies.clear();
    let lines: Vec<_> = files.problems().iter().map(line_of).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("rule::unread-body no route lets rules read bodies: `request.body` is always ()"), "{lines:?}");
}

#[test]
fn a_login_that_nobody_can_do_is_an_error() {
    let mut files = Files::new().rule("test", "fn on_request(claims) { if claims.sub == \"\" { redirect_to_login(); } }");
    files.vocabulary.login = false;
    let lines: Vec<_> = files.problems().iter().map(line_of).collect();
    assert_eq!(
        lines,
        ["rules/test.rhai:1:47 rule::no-login nobody can log in: there is no `identity.login` in the configuration"]
    );
}
