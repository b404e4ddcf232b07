use super::*;

fn on(files: &Files) -> Vec<String> {
    told(&files.run(Hook::Request, &Request::by(&ann())))
}

#[test]
fn rules_run_in_order_until_one_ends_the_request() {
    let files = Files::new()
        .rule("one", "fn on_request() { tag(\"n\", 1); }")
        .rule("two", "fn on_request() { deny(\"two\"); }")
        .rule("three", "fn on_request() { tag(\"n\", 3); }");
    assert_eq!(on(&files), ["tag n=1 @rules/one.rhai:1", "deny 403 two @rules/two.rhai:1"]);
    let decision = files.run(Hook::Request, &Request::by(&ann()));
    assert_eq!(decision.evaluations.iter().map(|ran| ran.rule).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_rule_runs_on_its_routes_only() {
    let book = Files::new()
        .entry("orders", "fn on_request() { tag(\"at\", \"orders\"); }", &["orders"], Mode::Enforce, OnError::Deny)
        .entry("admin", "fn on_request() { tag(\"at\", \"admin\"); }", &["admin"], Mode::Enforce, OnError::Deny)
        .rule("all", "fn on_complete() { tag(\"at\", \"all\"); }")
        .book();
    assert_eq!(told(&Request::new().through(&book, Hook::Request)), ["tag at=orders @rules/orders.rhai:1"]);
    let elsewhere = book.select("elsewhere");
    assert!(!elsewhere.has(Hook::Request) && elsewhere.has(Hook::Complete) && !elsewhere.has(Hook::Response));
}

#[test]
fn a_disabled_rule_is_checked_and_never_runs() {
    let disabled = |text| Files::new().entry("off", text, &[], Mode::Disabled, OnError::Deny);
    assert!(on(&disabled("fn on_request() { deny(\"off\"); }")).is_empty());
    assert_eq!(
        line_of(&disabled("fn on_request() { denny(\"off\"); }").problems()[0]),
        "rules/off.rhai:1:19 rule::unknown-function there is no function `denny`"
    );
}

#[test]
fn a_shadow_rule_ends_only_itself() {
    let files = Files::new()
        .entry("shadow", "fn on_request() { deny(\"shadow\"); tag(\"never\", 1); }", &[], Mode::Shadow, OnError::Deny)
        .rule("next", "fn on_request() { allow(); }");
    assert_eq!(on(&files), ["shadow deny 403 shadow @rules/shadow.rhai:1", "allow @rules/next.rhai:1"]);
}

#[test]
fn a_failed_rule_denies_and_keeps_nothing() {
    let files = Files::new()
        .rule("before", "fn on_request() { tag(\"kept\", 1); }")
        .rule("fails", "fn on_request() {\n    tag(\"dropped\", 1);\n    meter(\"api_calls\");\n    throw \"no\";\n}")
        .rule("after", "fn on_request() { tag(\"never\", 1); }");
    assert_eq!(on(&files), ["tag kept=1 @rules/before.rhai:1", "failed @rules/fails.rhai:4: no"]);
    let decision = files.run(Hook::Request, &Request::by(&ann()));
    assert_eq!(decision.evaluations[1].result, crate::model::Evaluated::Error);
    assert!(decision.plan(true).is_err());
}

#[test]
fn a_failed_rule_may_be_skipped_but_leaves_a_line() {
    let fails = "fn on_request() { tag(\"dropped\", 1); throw \"no\"; }";
    for (mode, on_error) in [(Mode::Enforce, OnError::Skip), (Mode::Shadow, OnError::Deny)] {
        let files = Files::new().entry("fails", fails, &[], mode, on_error).rule("after", "fn on_request() { allow(); }");
        let told = on(&files);
        assert!(told[0].starts_with("log error no") && told[0].ends_with("@rules/fails.rhai:1"), "{told:?}");
        assert_eq!(told[1], "allow @rules/after.rhai:1");
    }
}

#[test]
fn entries_and_log_lines_are_bounded() {
    assert_eq!(on(&Files::new().rule("test", "fn on_request() { for n in 0..64 { tag(\"n\", n); } }")).len(), 64);
    assert_eq!(
        on(&Files::new().rule("test", "fn on_request() { for n in 0..65 { tag(\"n\", n); } }")),
        ["failed @rules/test.rhai:1: more than 64 entries in one hook"]
    );
    let flood = on(&Files::new().rule("test", "fn on_request() { for n in 0..1000 { print(n); } allow(); }"));
    assert_eq!((flood.len(), flood[16].as_str()), (17, "allow @rules/test.rhai:1"));
}

#[test]
fn each_rule_has_a_budget_of_its_own() {
    let busy = "fn on_request() { for n in 0..3000 { } allow(); }";
    let limits = RuleLimits { operations: 4_000, ..LIMITS };
    let files = Files::new().limits(limits).rule("one", busy).rule("two", busy).rule("three", busy);
    assert_eq!(on(&files).len(), 3);
}

/// Many threads, two tokens that differ everywhere, one book: nobody ever sees the other's values, however the script tries to keep
/// them.
#[test]
fn no_request_sees_another() {
    let text = r#"
        const SEEN = [];
        const MAP = #{ who: "nobody" };
        fn on_request(request, claims) {
            let seen = SEEN;
            seen.push(claims.sub);
            let map = MAP;
            let before = map.who;
            map.who = claims.sub;
            let roles = claims.roles;
            roles.push(claims.sub);
            let name = claims.sub;
            name += "-changed";
            let keep = || claims.sub;
            tag("sub", claims.sub);
            tag("seen", seen.len());
            tag("before", before);
            tag("roles", roles.len());
            tag("path", request.path);
            tag("kept", keep.call());
        }
    "#;
    let [bytecode, tree] = Files::new().rule("test", text).books();
    let person = |name: &str| Request::by(&json!({ "sub": name, "roles": [name] })).to("GET", &format!("/{name}"));
    let people = [person("ann"), person("bob")];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (bytecode, tree, people) = (&bytecode, &tree, &people);
            scope.spawn(move || {
                for turn in 0..150 {
                    let (request, name) = (&people[(turn + thread) % 2], ["ann", "bob"][(turn + thread) % 2]);
                    for book in [bytecode, tree] {
                        let told: Vec<_> = told(&request.through(book, Hook::Request));
                        let place = |line| format!("@rules/test.rhai:{line}");
                        let expected = [
                            format!("tag sub={name} {}", place(15)),
                            format!("tag seen=1 {}", place(16)),
                            format!("tag before=nobody {}", place(17)),
                            format!("tag roles=2 {}", place(18)),
                            format!("tag path=/{name} {}", place(19)),
                            format!("tag kept={name} {}", place(20)),
                        ];
                        assert_eq!(told, expected);
                    }
                }
            });
        }
    });
}
