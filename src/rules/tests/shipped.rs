use super::*;

const SHIPPED: [(&str, &str); 5] = [
    ("plan-routing", include_str!("../../../rules/plan-routing.rhai")),
    ("throttling", include_str!("../../../rules/throttling.rhai")),
    ("admin-only", include_str!("../../../rules/admin-only.rhai")),
    ("reports-need-a-plan", include_str!("../../../rules/reports-need-a-plan.rhai")),
    ("metering", include_str!("../../../rules/metering.rhai")),
];

/// The shipped rules as the shipped configuration lists them.
fn files() -> Files {
    let library = Files::new().library("plans", include_str!("../../../rules/lib/plans.rhai"));
    SHIPPED.iter().fold(library, |files, (name, text)| {
        let routes: &[&str] = if *name == "admin-only" { &["admin"] } else { &[] };
        files.entry(name, text, routes, Mode::Enforce, OnError::Deny)
    })
}

fn on(hook: Hook, request: &Request) -> Vec<String> {
    told(&files().run(hook, request)).iter().map(|line| line.split(" @").next().unwrap().to_owned()).collect()
}

#[test]
fn nothing_is_wrong_with_the_shipped_rules() {
    assert_eq!(files().problems().iter().map(line_of).collect::<Vec<_>>(), Vec::<String>::new());
    let book = files().book();
    for card in book.rules() {
        assert!(card.description.ends_with('.') && card.description.len() > 20, "{}: {:?}", card.name, card.description);
    }
    assert_eq!(book.rules()[1].claims, ["org", "plan", "sub"]);
    assert_eq!(book.rules()[2].claims, ["roles"]);
    assert_eq!(book.rules()[4].hooks, [Hook::Complete]);
    assert!(!book.select("orders").reads_response_headers());
}

#[test]
fn each_plan_has_its_limit_and_its_servers() {
    let with = |claims: Value| on(Hook::Request, &Request::by(&claims));
    assert_eq!(with(json!({ "sub": "u", "org": "initech", "plan": "free" })), ["throttle initech 60 per 60s"]);
    assert_eq!(with(json!({ "sub": "u", "org": "initech", "plan": "pro" })), ["throttle initech 600 per 60s"]);
    assert_eq!(
        with(json!({ "sub": "u", "org": "acme", "plan": "enterprise" })),
        ["route_to dedicated", "throttle acme 6000 per 60s"]
    );
    assert_eq!(with(json!({ "sub": "u" })), ["throttle u 60 per 60s"]);
    assert_eq!(with(json!({ "sub": "u", "plan": "platinum" })), ["throttle u 60 per 60s"]);
}

#[test]
fn only_administrators_get_in() {
    let mut request = Request::by(&json!({ "sub": "u", "roles": ["user"] }));
    request.route = "admin".into();
    assert_eq!(on(Hook::Request, &request), ["throttle u 60 per 60s", "deny 403 admin_role_required"]);
    let mut request = Request::by(&json!({ "sub": "u", "roles": ["user", "admin"] }));
    request.route = "admin".into();
    assert_eq!(on(Hook::Request, &request), ["throttle u 60 per 60s", "allow"]);
}

#[test]
fn reports_need_a_plan() {
    let free = Request::by(&json!({ "sub": "u", "plan": "free" }));
    assert_eq!(on(Hook::Request, &free.clone().to("POST", "/v1/reports")).last().unwrap(), "deny 403 plan_upgrade_required");
    assert_eq!(on(Hook::Request, &free.clone().to("GET", "/v1/reports")), ["throttle u 60 per 60s"]);
    assert_eq!(on(Hook::Request, &free.to("POST", "/v1/orders")), ["throttle u 60 per 60s"]);
    let pro = Request::by(&json!({ "sub": "u", "plan": "pro" })).to("POST", "/v1/reports");
    assert_eq!(on(Hook::Request, &pro), ["throttle u 600 per 60s"]);
}

#[test]
fn answers_are_billed_and_failures_are_free() {
    let pro = Request::by(&ann());
    assert_eq!(
        on(Hook::Complete, &pro.clone().answered(200, 51_200)),
        ["meter api_calls +1 endpoint=orders plan=pro", "meter egress_bytes +51200 endpoint=orders plan=pro"]
    );
    assert_eq!(on(Hook::Complete, &pro.clone().answered(404, 10)).len(), 2);
    assert!(on(Hook::Complete, &pro.clone().answered(503, 90)).is_empty());
    let mut refused = pro.answered(429, 90);
    refused.response.upstream = None;
    assert!(on(Hook::Complete, &refused).is_empty());
    assert_eq!(
        on(Hook::Complete, &Request::by(&Value::Null).answered(200, 0))[0],
        "meter api_calls +1 endpoint=orders plan=free"
    );
}
