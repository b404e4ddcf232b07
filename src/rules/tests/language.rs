use super::*;

/// Each verb with each number of arguments, and what it records.
#[test]
fn verbs_record_what_they_are_asked() {
    for (statement, recorded) in [
        (r#"deny("suspended")"#, "deny 403 suspended"),
        (r#"deny(402, "plan.required")"#, "deny 402 plan.required"),
        ("allow()", "allow"),
        (r#"route_to("api")"#, "route_to api"),
        (r#"route_to("api", #{ weight: 100, key: claims.org })"#, "route_to api 10000 Some(\"initech\") true"),
        (r#"route_to("api", #{ weight: 0.5, key: claims.missing })"#, "route_to api 50 None false"),
        (r#"rewrite_path("/v2/" + claims.org)"#, "rewrite_path /v2/initech"),
        (r#"rewrite_path("/%7Ea%c3%a9")"#, "rewrite_path /~a%C3%A9"),
        (r#"throttle(claims.org, 60, "1m")"#, "throttle initech 60 per 60s"),
        (r#"throttle(claims.missing, 60, "10s")"#, "throttle - 60 per 10s"),
        (r#"throttle(7, 0, "1h")"#, "throttle 7 0 per 3600s"),
        (r#"throttle(true, 1, "1d")"#, "throttle true 1 per 86400s"),
        (r#"throttle(claims.org, 60, "1m", #{ burst: 10 })"#, "throttle initech 60 per 60s burst 10"),
        (r#"meter("api_calls")"#, "meter api_calls +1"),
        (r#"meter("api_calls", 3)"#, "meter api_calls +3"),
        (
            r#"meter("api_calls", 0, #{ plan: claims.plan, endpoint: claims.missing })"#,
            "meter api_calls +0 endpoint=_none plan=pro",
        ),
        (r#"meter("api_calls", 1, #{ plan: 7, endpoint: true })"#, "meter api_calls +1 endpoint=true plan=7"),
        (r#"set_header("X-Org", claims.org)"#, "set_header x-org: initech"),
        (r#"set_header("x-n", 7)"#, "set_header x-n: 7"),
        (r#"set_header("x-org", claims.missing)"#, "remove_header x-org"),
        (r#"remove_header("x-org")"#, "remove_header x-org"),
        (r#"redirect("/new")"#, "redirect 302 /new"),
        (r#"redirect(308, "https://example.com/")"#, "redirect 308 https://example.com/"),
        (r#"respond(503, "back at noon")"#, "respond 503 back at noon"),
        (r#"tag("canary", true)"#, "tag canary=true"),
        (r#"tag("org", claims.missing)"#, "tag org="),
        (r#"log_info("a")"#, "log info a"),
        ("log_warn(7)", "log warn 7"),
        (r#"log_error("a")"#, "log error a"),
        (r#"print("a")"#, "log info a"),
        ("print(1 + 1)", "log info 2"),
        ("print([1, 2])", "log info [1, 2]"),
    ] {
        let statements = format!("{statement};");
        assert_eq!(say(&statements, &ann()), [format!("{recorded} @rules/test.rhai:1")], "{statement}");
    }
}

/// A verb that gets what it cannot use fails the rule, and a failed rule denies.
#[test]
fn verbs_refuse_what_they_cannot_do() {
    for statement in [
        "let status = 200; deny(status, \"x\")",
        "let why = \"Not A Word\"; deny(why)",
        "let why = claims.plan + \"\\n\"; deny(why)",
        "let where = \"nowhere\"; route_to(where)",
        "route_to(claims.missing)",
        "let where = \"nowhere\"; route_to(where, #{ weight: 1, key: 1 })",
        "route_to(\"api\", #{ weight: claims.missing, key: 1 })",
        "let more = #{ weight: 1 }; route_to(\"api\", more)",
        "let more = #{ weight: 1, key: 1, sticky: 1 }; route_to(\"api\", more)",
        "let path = \"a\"; rewrite_path(path)",
        "let path = \"/a/../b\"; rewrite_path(path)",
        "let path = \"/a?b=c\"; rewrite_path(path)",
        "let path = \"/a b\"; rewrite_path(path)",
        "let path = \"/a%2fb\"; rewrite_path(path)",
        "throttle(claims.org, claims.missing, \"1m\")",
        "let n = 1.5; throttle(claims.org, n, \"1m\")",
        "let n = -1; throttle(claims.org, n, \"1m\")",
        "let per = \"1 minit\"; throttle(claims.org, 1, per)",
        "throttle([1], 1, \"1m\")",
        "throttle(1.5, 1, \"1m\")",
        "let name = \"api_call\"; meter(name)",
        "let n = 0.1; meter(\"api_calls\", n)",
        "let n = -5; meter(\"api_calls\", n)",
        "let n = 0.0 / 0.0; meter(\"api_calls\", n)",
        "meter(\"api_calls\", claims.missing)",
        "let by = #{ customer: 1 }; meter(\"api_calls\", 1, by)",
        "meter(\"api_calls\", 1, #{ plan: 1.5 })",
        "let h = \"Host\"; set_header(h, \"evil\")",
        "set_header(\"x-org\", \"a\\r\\nset-cookie: x=1\")",
        "set_header(\"x-org\", [1])",
        "let to = \"java script\"; redirect(to)",
        "let to = \"/a\\r\\nx: y\"; redirect(to)",
        "let body = \"x\"; body.pad(5000, 'x'); respond(200, body)",
        "let key = \"No Word\"; tag(key, 1)",
    ] {
        let told = say(&format!("allow(); {statement};"), &ann());
        assert!(told.len() == 1 && told[0].starts_with("failed @rules/test.rhai:1: "), "{statement}: {told:?}");
    }
}

#[test]
fn a_verb_that_ends_the_rules_leaves_loops_helpers_closures_and_catch() {
    for text in [
        "fn on_request(claims) { loop { deny(\"stop\"); } }",
        "fn on_request(claims) { helper(); allow(); } fn helper() { deny(\"stop\"); }",
        "fn on_request(claims) { try { deny(\"stop\"); } catch { allow(); } allow(); }",
        "fn on_request(claims) { for n in 0..3 { if n == 1 { deny(\"stop\"); } } allow(); }",
        "fn on_request(claims) { [1, 2].for_each(|| deny(\"stop\")); allow(); }",
        "fn on_request(claims) { let f = |x| deny(x); f.call(\"stop\"); allow(); }",
        "fn on_request(claims) { switch 1 { 1 => deny(\"stop\"), _ => allow() } allow(); }",
    ] {
        assert_eq!(told(&decide(text, &ann())), ["deny 403 stop @rules/test.rhai:1"], "{text}");
    }
}

#[test]
fn requests_show_what_arrived() {
    let request = Request::by(&ann())
        .to("POST", "/v1/reports/7?q=a+b%21&empty=&flag&q=second")
        .header("x-tenant", "first")
        .header("x-tenant", "second")
        .header("cookie", "a=1; b=\"two\"")
        .header("cookie", "c=3");
    for (expression, value) in [
        ("request.path", "/v1/reports/7"),
        ("request.method", "POST"),
        ("request.host", "api.example.com"),
        ("request.client_ip", "192.0.2.7"),
        ("request.route", "orders"),
        ("request.id", request.facts.id.as_str()),
        (r#"request.query["q"]"#, "a b!"),
        (r#"request.query["empty"]"#, ""),
        (r#"request.query["flag"]"#, ""),
        (r#"request.query["none"] ?? "absent""#, "absent"),
        (r#"request.headers["X-Tenant"]"#, "first"),
        (r#"request.headers["none"] ?? "absent""#, "absent"),
        (r#"request.cookies["a"] + request.cookies["b"] + request.cookies["c"]"#, "1two3"),
        (r#"request.cookies["none"] ?? "absent""#, "absent"),
        (r#""q" in request.query"#, "true"),
        (r#""none" in request.query"#, "false"),
        (r#""x-tenant" in request.headers"#, "true"),
        (r#""c" in request.cookies"#, "true"),
        (r#"request.path.starts_with("/v1/reports/")"#, "true"),
        (r#"request.path.split("/")[2]"#, "reports"),
        (r#"request.client_ip.in_cidr("192.0.2.0/24")"#, "true"),
        (r#"request.client_ip.in_cidr("10.0.0.0/8")"#, "false"),
        (r#"request.client_ip.in_cidr("192.0.2.7")"#, "true"),
        ("let r = request; r.path", "/v1/reports/7"),
        ("path_of(request)", "/v1/reports/7"),
        (r#"[1].map(|x| request.method)[0]"#, "POST"),
    ] {
        let text =
            format!("fn on_request(request) {{ tag(\"value\", {{ {expression} }}); }} fn path_of(request) {{ request.path }}");
        let decision = Files::new().rule("test", &text).run(Hook::Request, &request);
        assert_eq!(told(&decision), [format!("tag value={value} @rules/test.rhai:1")], "{expression}");
    }
}

#[test]
fn claims_show_what_the_token_says() {
    let claims = json!({
        "sub": "u-1", "plan": "pro", "roles": ["admin"], "scope": "a b", "package": "p", "https://acme.com/plan": "gold",
        "org": { "name": "initech", "tier": { "level": 3 } }, "beta": true, "quota": 10, "share": 0.5,
        "permissions": { "e-1": ["read"] }, "list": [{ "id": 1 }],
    });
    for (expression, value) in [
        ("claims.plan", "pro"),
        (r#"claims["plan"]"#, "pro"),
        (r#"claims["https://acme.com/plan"]"#, "gold"),
        (r#"claims["package"]"#, "p"),
        (r#"let name = "plan"; claims[name]"#, "pro"),
        ("claims.org.name", "initech"),
        ("claims.org?.tier?.level", "3"),
        (r#"claims.org["name"]"#, "initech"),
        (r#"claims["org"].name"#, "initech"),
        (r#"claims.none?.tier ?? "absent""#, "absent"),
        (r#"claims.none ?? "absent""#, "absent"),
        ("claims.beta", "true"),
        ("claims.quota + 5", "15"),
        ("claims.list[0].id", "1"),
        (r#""plan" in claims"#, "true"),
        (r#""none" in claims"#, "false"),
        (r#""admin" in claims.roles"#, "true"),
        (r#""admin" in claims.none"#, "false"),
        ("claims.is_empty()", "false"),
        (r#"claims.has_role("admin")"#, "true"),
        (r#"claims.has_role("other")"#, "false"),
        (r#"claims.has_scope("b")"#, "true"),
        (r#"claims.has_permission("read")"#, "true"),
        (r#"claims.has_permission("e-1", "read")"#, "true"),
        (r#"claims.has_permission("e-2", "read")"#, "false"),
        ("plan_of(claims)", "pro"),
        ("[1].map(|x| claims.plan)[0]", "pro"),
        ("let plans = #{ pro: #{ limit: 600 } }; plans[claims.plan].limit", "600"),
        ("`${claims.plan}:${claims.quota}`", "pro:10"),
    ] {
        let text =
            format!("fn on_request(claims) {{ tag(\"value\", {{ {expression} }}); }} fn plan_of(claims) {{ claims.plan }}");
        assert_eq!(told(&decide(&text, &claims)), [format!("tag value={value} @rules/test.rhai:1")], "{expression}");
    }
    assert_eq!(say(r#"tag("nobody", claims.is_empty())"#, &Value::Null), ["tag nobody=true @rules/test.rhai:1"]);
}

#[test]
fn responses_show_what_was_answered() {
    let mut request = Request::by(&ann()).answered(206, 1_234);
    request.body_bytes_in = 99;
    request.response.duration = Duration::from_millis(42);
    request.response.headers.insert("x-cache", HeaderValue::from_static("hit"));
    let value = |hook: Hook, expression: &str| {
        let text = format!("fn {}(request, response, claims) {{ tag(\"value\", {{ {expression} }}); }}", hook.name());
        told(&Files::new().rule("test", &text).run(hook, &request))
    };
    for hook in [Hook::Response, Hook::Complete] {
        assert_eq!(value(hook, "response.status"), ["tag value=206 @rules/test.rhai:1"]);
        assert_eq!(value(hook, r#"response.headers["x-cache"]"#), ["tag value=hit @rules/test.rhai:1"]);
        assert_eq!(value(hook, r#""x-none" in response.headers"#), ["tag value=false @rules/test.rhai:1"]);
    }
    for (expression, text) in [
        ("response.body_bytes", "1234"),
        ("response.duration_ms", "42"),
        ("response.upstream", "api"),
        ("response.completed", "true"),
        ("request.body_bytes", "99"),
    ] {
        assert_eq!(value(Hook::Complete, expression), [format!("tag value={text} @rules/test.rhai:1")], "{expression}");
    }
    request.response.upstream = None;
    let text = "fn on_complete(response) { tag(\"value\", response.upstream == ()); }";
    assert_eq!(told(&Files::new().rule("test", text).run(Hook::Complete, &request)), ["tag value=true @rules/test.rhai:1"]);
}

#[test]
fn hooks_take_parameters_by_name_in_any_order() {
    let request = Request::by(&ann()).answered(200, 5);
    for (hook, parameters) in [
        (Hook::Request, ""),
        (Hook::Request, "claims"),
        (Hook::Request, "claims, request"),
        (Hook::Response, "claims, response, request"),
        (Hook::Complete, "response"),
    ] {
        let names = parameters.split(", ").filter(|name| !name.is_empty());
        let uses: String = names.map(|name| format!("let {name}_ = {name}; ")).collect();
        let text = format!("fn {}({parameters}) {{ {uses} tag(\"ran\", {uses_count}); }}", hook.name(), uses_count = uses.len());
        let decision = Files::new().rule("test", &text).run(hook, &request);
        assert_eq!(told(&decision), [format!("tag ran={} @rules/test.rhai:1", uses.len())], "{text}");
    }
    let text =
        "fn on_request(claims, request) { tag(\"swapped\", request.path + claims.plan); let c = claims; let r = request; }";
    assert_eq!(
        told(&Files::new().rule("test", text).run(Hook::Request, &request)),
        ["tag swapped=/v1/orders/7pro @rules/test.rhai:1"]
    );
}

#[test]
fn constants_are_usable_everywhere_by_their_bare_name() {
    let text = r#"
        //! Constants.
        const PLANS = #{ free: 60, pro: 600 };
        const OFFICE = ["10.0.0.0/8", "192.0.2.0/24"];
        const FACTOR = 2;
        const DOUBLE = FACTOR * 2;
        const HOURS = 9..17;
        const greeting = "hi";

        fn on_request(request, claims) {
            tag("index", PLANS[claims.plan]);
            tag("property", PLANS.free);
            tag("closure", OFFICE.some(|net| request.client_ip.in_cidr(net)));
            tag("helper", twice(FACTOR));
            tag("computed", DOUBLE);
            tag("in", "10.0.0.0/8" in OFFICE);
            tag("range", 12 in HOURS);
            tag("lower", greeting);
            tag("text", `${FACTOR}`);
            let copy = OFFICE;
            copy.push("x");
            tag("copied", copy.len() - OFFICE.len());
            for network in OFFICE { tag("loop", network); }
        }

        fn twice(n) { n * FACTOR }
    "#;
    let decision = decide(text, &ann());
    assert!(decision.failed.is_none(), "{:?}", decision.failed);
    let told: Vec<_> = told(&decision).iter().map(|line| line.split(" @").next().unwrap().to_owned()).collect();
    assert_eq!(
        told,
        [
            "tag index=600",
            "tag property=60",
            "tag closure=true",
            "tag helper=4",
            "tag computed=4",
            "tag in=true",
            "tag range=true",
            "tag lower=hi",
            "tag text=2",
            "tag copied=1",
            "tag loop=10.0.0.0/8",
            "tag loop=192.0.2.0/24",
        ]
    );
}

#[test]
fn libraries_are_namespaces_with_places_of_their_own() {
    let files = Files::new()
        .library("plans", "const PER_MINUTE = #{ pro: 600 };\n\nfn limit_for(plan) {\n    PER_MINUTE[plan] ?? fallback()\n}\nfn fallback() { 60 }\n")
        .library("guard", "fn admins(claims) {\n    if !claims.has_role(\"admin\") {\n        deny(\"admins_only\");\n    }\n}\n")
        .rule("a", "fn on_request(claims) {\n    throttle(claims.org, plans::limit_for(claims.plan), \"1m\");\n    tag(\"c\", plans::PER_MINUTE.pro);\n    indirect(claims);\n    guard::admins(claims);\n}\nfn indirect(claims) { tag(\"i\", plans::limit_for(claims.plan)); }\n");
    assert_eq!(
        told(&files.run(Hook::Request, &Request::by(&ann()))),
        [
            "throttle initech 600 per 60s @rules/a.rhai:2",
            "tag c=600 @rules/a.rhai:3",
            "tag i=600 @rules/a.rhai:7",
            "deny 403 admins_only @rules/lib/guard.rhai:3",
        ]
    );
}

#[test]
fn a_rule_may_have_functions_named_like_a_librarys() {
    let files = Files::new().library("plans", "fn limit_for(plan) { helper() }\nfn helper() { 7 }").rule(
        "a",
        "fn on_request(claims) { tag(\"theirs\", plans::limit_for(\"x\")); tag(\"mine\", helper()); }\nfn helper() { 1 }",
    );
    assert_eq!(
        told(&files.run(Hook::Request, &Request::by(&ann()))),
        ["tag theirs=7 @rules/a.rhai:1", "tag mine=1 @rules/a.rhai:1"]
    );
}

#[test]
fn a_rollout_is_stable_and_about_as_large_as_asked() {
    let book = Files::new().rule("canary", "fn on_request(claims) { tag(\"in\", in_rollout(claims.sub, 5)); }").book();
    let is_in =
        |n: u32| told(&Request::by(&json!({ "sub": format!("u-{n}") })).through(&book, Hook::Request))[0].contains("true");
    let members: Vec<bool> = (0..4_000).map(is_in).collect();
    let share = members.iter().filter(|member| **member).count();
    assert!((140..=260).contains(&share), "{share} of 4000 at 5 %");
    assert!((0..50).all(|n| is_in(n) == members[n as usize]));
    let other = Files::new().rule("other", "fn on_request(claims) { tag(\"in\", in_rollout(claims.sub, 5)); }").book();
    let others: Vec<bool> = (0..4_000)
        .map(|n| told(&Request::by(&json!({ "sub": format!("u-{n}") })).through(&other, Hook::Request))[0].contains("true"))
        .collect();
    assert_ne!(members, others, "another rule rolls out to other people");
    assert_eq!(say("tag(\"in\", in_rollout((), 99.5))", &ann()), ["tag in=false @rules/test.rhai:1"]);
    assert_eq!(say("tag(\"in\", in_rollout((), 100))", &ann()), ["tag in=true @rules/test.rhai:1"]);
    assert_eq!(say("tag(\"in\", in_rollout(\"x\", 0))", &ann()), ["tag in=false @rules/test.rhai:1"]);
}

/// rules.md 2.7, the table: what `()` does.
#[test]
fn missing_claims() {
    let claims = json!({ "sub": "u-1" });
    for (statement, outcome) in [
        ("tag(\"is\", claims.plan == \"pro\")", "tag is=false @rules/test.rhai:1"),
        ("tag(\"is\", claims.plan != \"free\")", "tag is=true @rules/test.rhai:1"),
        ("tag(\"is\", claims.level > 5)", "tag is=false @rules/test.rhai:1"),
        ("tag(\"is\", claims.level <= 5)", "tag is=false @rules/test.rhai:1"),
        (
            "if claims.beta { allow(); }",
            "failed @rules/test.rhai:1: claims.beta is missing in this token, so there is nothing to decide on",
        ),
        (
            "let q = claims.quota + 10",
            "failed @rules/test.rhai:1: claims.quota is missing in this token, so `+` cannot be computed",
        ),
        ("let t = claims.org.tier", "failed @rules/test.rhai:1: claims.org is missing in this token, so it has no `tier`"),
        ("tag(\"is\", claims.org?.tier == ())", "tag is=true @rules/test.rhai:1"),
        ("tag(\"is\", \"admin\" in claims.roles)", "tag is=false @rules/test.rhai:1"),
        ("tag(\"is\", claims.has_role(\"admin\"))", "tag is=false @rules/test.rhai:1"),
        ("tag(\"is\", claims.plan ?? \"free\")", "tag is=free @rules/test.rhai:1"),
        ("tag(\"is\", \"10\" + 5)", "tag is=105 @rules/test.rhai:1"),
        ("tag(\"is\", 5 == \"5\")", "tag is=false @rules/test.rhai:1"),
    ] {
        assert_eq!(say(&format!("{statement};"), &claims), [outcome], "{statement}");
    }
}

#[test]
fn requests_show_how_they_came() {
    let plain = Request::by(&ann());
    let mut proved = Request::by(&ann());
    proved.facts.protocol = crate::model::Protocol::Http2;
    proved.facts.is_secure = true;
    proved.facts.is_websocket = true;
    proved.facts.client_certificate = Some(std::sync::Arc::new(crate::model::ClientCertificate {
        subject: "CN=worker".into(),
        issuer: "CN=ca".into(),
        serial: "0a".into(),
        fingerprint: "ff".into(),
        dns_names: vec!["a.example".into()],
        uris: vec!["spiffe://a".into()],
        emails: vec!["a@b".into()],
        ips: vec![[192, 0, 2, 1].into()],
    }));
    for (expression, of_plain, of_proved) in [
        ("request.protocol", "http/1.1", "h2"),
        ("request.is_secure", "false", "true"),
        ("request.is_websocket", "false", "true"),
        ("request.client_certificate == ()", "true", "false"),
        ("request.client_certificate?.subject ?? \"none\"", "none", "CN=worker"),
        ("request.client_certificate?.issuer ?? \"none\"", "none", "CN=ca"),
        ("request.client_certificate?.serial ?? \"none\"", "none", "0a"),
        ("request.client_certificate?.fingerprint ?? \"none\"", "none", "ff"),
        ("\"a.example\" in (request.client_certificate?.dns_names ?? [])", "false", "true"),
        ("\"spiffe://a\" in (request.client_certificate?.uris ?? [])", "false", "true"),
        ("\"a@b\" in (request.client_certificate?.emails ?? [])", "false", "true"),
        ("\"192.0.2.1\" in (request.client_certificate?.ips ?? [])", "false", "true"),
        ("\"x\" in (request.client_certificate?.uris ?? [])", "false", "false"),
    ] {
        let text = format!("fn on_request(request) {{ tag(\"value\", {{ {expression} }}); }}");
        for (request, value) in [(&plain, of_plain), (&proved, of_proved)] {
            let decision = Files::new().rule("test", &text).run(Hook::Request, request);
            assert_eq!(told(&decision), [format!("tag value={value} @rules/test.rhai:1")], "{expression}");
        }
    }
}
