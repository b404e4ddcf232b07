//! Refusals for people and for programs; closed routes.

use crate::support::{Setup, Upstream, get};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";

#[test]
fn browsers_get_a_page_and_everybody_else_a_problem_document() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).with("error_pages: { html: true }\n").start();
    let page = get(gateway.address(), "/", BROWSER);
    assert_eq!((page.status, page.header("content-type")), (401, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("www-authenticate"), Some("Bearer"));
    assert_eq!(page.header("vary"), Some("Accept"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let id = page.header("x-request-id").unwrap();
    assert!(page.body.contains("<title>401 Unauthorized</title>") && page.body.contains(id), "{}", page.body);
    assert!(page.body.contains("token_required"));
    for accept in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let reply = get(gateway.address(), "/", accept);
        assert_eq!((reply.status, reply.reason().as_str()), (401, "token_required"), "{accept}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    let head = gateway.send(&format!("HEAD / HTTP/1.1\r\nHost: a\r\n{BROWSER}Connection: close\r\n\r\n")).unwrap();
    assert_eq!((head.status, head.body.as_str()), (401, ""));
    let malformed = get(gateway.address(), "/a/../b", BROWSER);
    assert_eq!((malformed.status, malformed.reason().as_str()), (400, "ambiguous_path"), "nothing of it is trusted");
}

#[test]
fn pages_are_off_unless_asked_for() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    assert_eq!(get(gateway.address(), "/", BROWSER).header("content-type"), Some("application/problem+json"));
}

#[test]
fn an_operator_has_a_page_of_his_own_that_is_read_again() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    gateway.write("error.html", "<p>{status} {title} {reason} {request_id} p { color: red }");
    gateway.write("config.yaml", &format!("{}error_pages: {{ html: error.html }}\n", gateway.config()));
    crate::support::wait_for("the page", || get(gateway.address(), "/", BROWSER).body.starts_with("<p>401"));
    let page = get(gateway.address(), "/", BROWSER);
    let id = page.header("x-request-id").unwrap();
    assert_eq!(page.body, format!("<p>401 Unauthorized token_required {id} p {{ color: red }}"));
    gateway.write("error.html", "another");
    crate::support::wait_for("the other page", || get(gateway.address(), "/", BROWSER).body == "another");
}

#[test]
fn an_address_that_is_barred_is_refused_before_anybody_asks_who_it_is() {
    let upstream = Upstream::named("main");
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text("  - name: a\n    match: { path: /a }\n    auth: required\n    upstream: main\n    deny_ips: [127.0.0.0/8]\n")
        .route_text("  - name: b\n    match: { path: /b }\n    auth: none\n    upstream: main\n    allow_ips: [10.0.0.0/8, \"::1\"]\n")
        .route_text("  - name: c\n    match: { path: /c }\n    auth: none\n    upstream: main\n    allow_ips: [127.0.0.1]\n")
        .route_text("  - name: d\n    match: { path: /d }\n    auth: none\n    upstream: main\n    allow_ips: [127.0.0.1]\n    deny_ips: [127.0.0.0/24]\n")
        .start();
    for path in ["/a", "/b", "/d"] {
        let reply = gateway.get(path);
        assert_eq!((reply.status, reply.reason().as_str()), (403, "ip_denied"), "{path}");
    }
    assert_eq!(gateway.get("/c").status, 200);
    let outcomes: Vec<_> = gateway.access_lines(4).iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["denied", "denied", "denied", "proxied"]);
}

#[test]
fn maintenance_closes_routes_but_not_for_everybody() {
    let upstream = Upstream::named("main");
    let route = |name: &str, keys: &str| {
        format!("  - name: {name}\n    match: {{ path: /{name} }}\n    auth: required\n    upstream: main\n{keys}")
    };
    let gateway = Setup::new()
        .upstream("main", &[upstream.address()])
        .route_text(&route("closed", ""))
        .route_text(&route("open", "    maintenance: false\n"))
        .route_text(&route("staff", "    maintenance: { except: [127.0.0.0/8] }\n"))
        .route_text(&route("other", "    maintenance: { except: [10.0.0.0/8] }\n"))
        .with("maintenance: { retry_after: 2m }\n")
        .start();
    let closed = gateway.get("/closed");
    assert_eq!((closed.status, closed.reason().as_str(), closed.header("retry-after")), (503, "maintenance", Some("120")));
    let other = gateway.get("/other");
    assert_eq!((other.status, other.header("retry-after")), (503, Some("600")));
    for path in ["/open", "/staff"] {
        assert_eq!(gateway.get(path).status, 401, "{path}");
    }
    assert_eq!(gateway.access_lines(4)[0]["outcome"], "unavailable");
    assert_eq!(upstream.seen().len(), 0);
}
