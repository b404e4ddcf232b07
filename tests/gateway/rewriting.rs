//! What routes change on the way: paths, headers, redirects, fixed answers.

use tollgate::demo::MintRequest;

use crate::support::{Setup, Upstream, answer, get};

/// The first line that reached the upstream, without the version.
fn target(upstream: &Upstream) -> String {
    let request = upstream.last();
    request.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned()
}

fn lines_of(request: &str, name: &str) -> Vec<String> {
    let is_it = |line: &&str| line.split(':').next().unwrap().eq_ignore_ascii_case(name);
    request.lines().skip(1).filter(is_it).map(|line| line.split_once(':').unwrap().1.trim().to_owned()).collect()
}

#[test]
fn the_upstream_gets_another_path_and_everybody_else_the_judged_one() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text(
            "  - name: prefix\n    match: { path: /api/** }\n    auth: none\n    upstream: main\n    rewrite: { prefix: /internal }\n",
        )
        .route_text(
            "  - name: template\n    match: { path: \"/v1/{org}/users/{id}/**\" }\n    auth: none\n    upstream: main\n    rewrite: { path: \"/users/{id}/of/{org}/**\" }\n",
        )
        .route_text("  - name: root\n    match: { path: /app/** }\n    auth: none\n    upstream: main\n    rewrite: { prefix: / }\n")
        .route("rest", "/**", "none", "main")
        .start();
    for (path, expected) in [
        ("/api/a/b?x=1", "GET /internal/a/b?x=1"),
        ("/api", "GET /internal"),
        ("/api/%41", "GET /internal/A"),
        ("/v1/acme/users/7/a%20b?q", "GET /users/7/of/acme/a%20b?q"),
        ("/v1/acme/users/7", "GET /users/7/of/acme"),
        ("/app", "GET /"),
        ("/app/x/", "GET /x/"),
        ("/other", "GET /other"),
    ] {
        assert_eq!(gateway.get(path).status, 200);
        assert_eq!(target(&upstream), expected, "{path}");
    }
    let line = &gateway.access_lines(8)[0];
    assert_eq!((line["path"].as_str(), line["route"].as_str()), (Some("/api/a/b"), Some("prefix")));
}

#[test]
fn what_cannot_be_judged_is_not_rewritten_either() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text(
            "  - name: prefix\n    match: { path: /api/** }\n    auth: none\n    upstream: main\n    rewrite: { prefix: / }\n",
        )
        .start();
    for path in ["/api/../admin", "/api/%2e%2e/admin", "/api//admin", "/api/..%2fadmin"] {
        let reply = gateway.get(path);
        assert_eq!((reply.status, reply.reason().as_str()), (400, "ambiguous_path"), "{path}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn a_rule_rewrites_the_path_and_wins_over_the_route() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text(
            "  - name: prefix\n    match: { path: /api/** }\n    auth: required\n    upstream: main\n    rewrite: { prefix: /internal }\n",
        )
        .rule(
            "move",
            r#"fn on_request(request, claims) {
                let org = claims.org ?? "none";
                let query = "/a?b";
                if request.path == "/api/mine" { rewrite_path("/orgs/" + org); }
                if request.path == "/api/bad" { rewrite_path("/orgs/../" + org); }
                if request.path == "/api/query" { rewrite_path(query); }
            }"#,
        )
        .start();
    let ask = |path: &str, org: &str| gateway.get_as(path, &MintRequest::of(org, "pro"));
    assert_eq!(ask("/api/mine?x=1", "acme").status, 200);
    assert_eq!(target(&upstream), "GET /orgs/acme?x=1");
    assert_eq!(ask("/api/other", "acme").status, 200);
    assert_eq!(target(&upstream), "GET /internal/other");
    // A claim that is no segment makes no path: the rule fails, and nothing is sent.
    for (path, org) in [("/api/bad", "acme"), ("/api/query", "acme"), ("/api/mine", "../admin"), ("/api/mine", "a/../../b")] {
        let reply = ask(path, org);
        assert_eq!((reply.status, reply.reason().as_str()), (500, "rule_error"), "{path} {org}");
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_share_of_the_customers_goes_elsewhere_and_stays_there() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let gateway = Setup::new()
        .upstream("stable", &[stable.address()])
        .upstream("canary", &[canary.address()])
        .route("all", "/**", "required", "stable")
        .rule(
            "share",
            r#"fn on_request(claims) {
                tag("in", in_rollout(claims.org, 50));
                route_to("canary", #{ weight: 50, key: claims.org });
            }"#,
        )
        .start();
    let mut answers = std::collections::BTreeSet::new();
    for n in 0..16 {
        let token = MintRequest::of(&format!("org-{n}"), "pro");
        let (first, second) = (gateway.get_as("/", &token).body, gateway.get_as("/", &token).body);
        assert_eq!(first, second, "org-{n}");
        answers.insert(first);
    }
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), ["canary", "stable"]);
    for line in gateway.access_lines(32) {
        let is_canary = line["upstream"] == "canary";
        assert_eq!(line["tags"]["in"].as_str(), Some(if is_canary { "true" } else { "false" }), "the same as in_rollout: {line}");
    }
}

#[test]
fn routes_edit_headers_in_both_directions() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "Server: secret/1.0\r\nX-Powered-By: php\r\nVia: a\r\n", "ok")));
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text(
            "  - name: all\n    auth: optional\n    upstream: main\n    \
             request_headers: { set: { X-Env: prod, Authorization: Bearer upstream }, add: { X-Tag: gateway }, remove: [Cookie, X-Debug] }\n    \
             response_headers: { set: { Cache-Control: no-cache }, add: { Via: tollgate }, remove: [Server, X-Powered-By] }\n",
        )
        .start();
    let reply =
        get(gateway.address(), "/", "X-Env: mine\r\nX-Tag: client\r\nX-Debug: 1\r\nCookie: a=b\r\nX-Forwarded-For: 6.6.6.6\r\n");
    assert_eq!(reply.status, 200);
    let request = upstream.last();
    assert_eq!(lines_of(&request, "x-env"), ["prod"]);
    assert_eq!(lines_of(&request, "x-tag"), ["client", "gateway"]);
    assert_eq!(lines_of(&request, "authorization"), ["Bearer upstream"]);
    assert_eq!(lines_of(&request, "cookie"), Vec::<String>::new());
    assert_eq!(lines_of(&request, "x-debug"), Vec::<String>::new());
    assert_eq!(lines_of(&request, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!((reply.header("server"), reply.header("x-powered-by")), (None, None));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    let via: Vec<_> =
        reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("via")).map(|(_, v)| v.as_str()).collect();
    assert_eq!(via, ["a", "tollgate"]);
}

#[test]
fn rules_have_the_last_word_on_headers() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text(
            "  - name: all\n    auth: required\n    upstream: main\n    request_headers: { set: { X-Plan: route } }\n    \
             response_headers: { set: { X-Answer: route } }\n",
        )
        .rule(
            "edit",
            "fn on_request(claims) { set_header(\"x-plan\", claims.plan); } fn on_response(response) { set_header(\"x-answer\", \"rule\"); }",
        )
        .start();
    let reply = gateway.get_as("/", &MintRequest::of("acme", "pro"));
    assert_eq!(reply.header("x-answer"), Some("rule"));
    assert_eq!(lines_of(&upstream.last(), "x-plan"), ["pro"]);
}

#[test]
fn a_header_is_added_once_however_often_it_is_tried() {
    let upstream = Upstream::named("main");
    let dead = ([127, 0, 0, 1], crate::support::free_port()).into();
    let gateway = Setup::new()
        .upstream("main", &[dead, upstream.address()])
        .route_text("  - name: all\n    auth: none\n    upstream: main\n    request_headers: { add: { X-Tag: gateway } }\n")
        .start();
    for _ in 0..4 {
        assert_eq!(gateway.get("/").status, 200);
        assert_eq!(lines_of(&upstream.last(), "x-tag"), ["gateway"]);
    }
}

#[test]
fn redirects_keep_what_they_are_told_to() {
    let gateway = Setup::new()
        .upstream("main", &[([127, 0, 0, 1], 9).into()])
        .route_text(
            "  - name: host\n    match: { path: /old/** }\n    auth: none\n    redirect: { to: \"https://new.example/{rest}\", status: 301 }\n",
        )
        .route_text(
            "  - name: part\n    match: { path: \"/u/{id}\" }\n    auth: none\n    redirect: { to: \"/users/{id}?from=u\", keep_query: false }\n",
        )
        .route_text("  - name: all\n    auth: required\n    redirect: { to: \"https://www.example/{path}\" }\n")
        .start();
    let to = |path: &str| {
        let reply = gateway.get(path);
        (reply.status, reply.header("location").map(str::to_owned))
    };
    assert_eq!(to("/old/a%20b?x=1&y"), (301, Some("https://new.example/a%20b?x=1&y".into())));
    assert_eq!(to("/old"), (301, Some("https://new.example/".into())));
    assert_eq!(to("/u/7?x=1"), (308, Some("/users/7?from=u".into())));
    assert_eq!(to("/else").0, 401, "a redirect asks for a token where its route does");
    let reply = gateway.get_as("/a/b", &MintRequest::of("acme", "pro"));
    assert_eq!((reply.status, reply.header("location")), (308, Some("https://www.example/a/b")));
    assert_eq!(gateway.access_lines(5)[0]["outcome"], "redirected");
}

#[test]
fn fixed_answers_have_a_type_and_headers() {
    let gateway = Setup::new()
        .upstream("main", &[([127, 0, 0, 1], 9).into()])
        .route_text(
            "  - name: robots\n    auth: none\n    respond: { status: 418, body: '{\"a\":1}', content_type: application/json, headers: { X-A: b, Cache-Control: max-age=60 } }\n",
        )
        .start();
    let reply = gateway.get("/");
    assert_eq!((reply.status, reply.body.as_str()), (418, "{\"a\":1}"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!((reply.header("x-a"), reply.header("cache-control")), (Some("b"), Some("max-age=60")));
    let head = gateway.send("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (418, Some("7"), ""));
}

#[test]
fn security_headers_are_on_every_answer_and_override_nobody() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "X-Frame-Options: SAMEORIGIN\r\n", "ok")));
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text("  - name: strict\n    match: { path: /strict }\n    auth: none\n    upstream: main\n    security_headers: { replace: true, permissions_policy: off }\n")
        .route_text("  - name: all\n    auth: optional\n    upstream: main\n    security_headers: true\n")
        .start();
    let reply = gateway.get("/");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("x-frame-options"), Some("SAMEORIGIN"));
    assert_eq!(reply.header("referrer-policy"), Some("strict-origin-when-cross-origin"));
    let refused = get(gateway.address(), "/", "Authorization: Bearer x\r\n");
    assert_eq!((refused.status, refused.header("x-frame-options")), (401, Some("DENY")));
    let strict = gateway.get("/strict");
    assert_eq!((strict.header("x-frame-options"), strict.header("permissions-policy")), (Some("DENY"), None));
}

#[test]
fn a_fixed_answer_can_come_from_a_file_that_is_read_again() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main").start();
    gateway.write("page.html", "<p>one</p>\n");
    let answer = "    respond: { content_type: text/html, body: \"${file:page.html}\" }\n";
    gateway.write("config.yaml", &gateway.config().replace("    upstream: main\n", answer));
    crate::support::wait_for("the file", || gateway.get("/").body == "<p>one</p>");
    gateway.write("page.html", "<p>two</p>");
    crate::support::wait_for("the other file", || gateway.get("/").body == "<p>two</p>");
    assert_eq!(gateway.get("/").header("content-type"), Some("text/html"));
}
