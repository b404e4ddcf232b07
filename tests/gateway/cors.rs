//! The CORS protocol of the Fetch standard, as a browser speaks it.

use crate::support::{Reply, Setup, Upstream, answer, get, mint};

const ROUTE: &str = "  - name: api\n    match: { path: /api/**, methods: [GET, PUT] }\n    auth: required\n    upstream: main\n    \
     cors: { origins: [\"https://app.example.com\", \"https://*.example.org\"], methods: [GET, PUT], headers: [authorization, x-a], \
     expose: [x-request-id], credentials: true, max_age: 2m }\n  \
     - name: public\n    match: { path: /public/** }\n    auth: none\n    upstream: main\n    cors: { origins: [\"*\"] }\n";

fn setup(upstream: &Upstream) -> Setup {
    Setup::new().upstream("main", &[upstream.address()]).route_text(ROUTE)
}

fn varies(reply: &Reply) -> Vec<&str> {
    let lines = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
    lines.flat_map(|(_, value)| value.split(',')).map(str::trim).collect()
}

fn cors_fields(reply: &Reply) -> usize {
    reply.headers.iter().filter(|(name, _)| name.to_ascii_lowercase().starts_with("access-control-")).count()
}

#[test]
fn a_preflight_is_answered_without_a_token_and_without_the_upstream() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    let ask = |path: &str, origin: &str, method: &str| {
        let request = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: x-a\r\nConnection: close\r\n\r\n"
        );
        gateway.send(&request).unwrap()
    };
    for origin in ["https://app.example.com", "https://a.b.example.org"] {
        let reply = ask("/api/x", origin, "PUT");
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some(origin)));
        assert_eq!(reply.header("access-control-allow-methods"), Some("GET, PUT"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("authorization, x-a"));
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(reply.header("access-control-max-age"), Some("120"));
        assert_eq!(reply.header("access-control-expose-headers"), None);
        assert_eq!(varies(&reply), ["Origin"]);
    }
    let strange = ask("/api/x", "https://evil.example", "PUT");
    assert_eq!((strange.status, cors_fields(&strange)), (204, 0));
    assert_eq!(varies(&strange), ["Origin"]);
    // A method that the route does not match is another route's business, and there is none.
    assert_eq!(ask("/api/x", "https://app.example.com", "DELETE").status, 404);
    let public = ask("/public/x", "https://whoever.example", "POST");
    assert_eq!(public.header("access-control-allow-origin"), Some("*"));
    assert_eq!(public.header("access-control-allow-headers"), Some("x-a"));
    assert_eq!(public.header("access-control-allow-credentials"), None);
    assert_eq!(varies(&public), ["Access-Control-Request-Headers"]);
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gateway.access_lines(5)[0]["outcome"], "responded");
}

#[test]
fn an_options_request_that_is_no_preflight_goes_its_way() {
    let upstream = Upstream::named("main");
    let gateway = setup(&upstream).start();
    let reply = gateway.send("OPTIONS /public/x HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\nConnection: close\r\n\r\n");
    assert_eq!(reply.unwrap().body, "main");
    let reply = gateway
        .send("GET /public/x HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: PUT\r\nOrigin: https://a.example\r\nConnection: close\r\n\r\n");
    assert_eq!(reply.unwrap().body, "main");
}

#[test]
fn answers_and_refusals_can_be_read_by_the_page() {
    let upstream = Upstream::answering(|_| {
        let theirs = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Private-Network: true\r\nVary: Accept-Language\r\n";
        Some(answer("200 OK", theirs, "ok"))
    });
    let gateway = setup(&upstream).start();
    let token = mint(&tollgate::demo::MintRequest::of("acme", "pro"));
    let authorized = format!("Origin: https://app.example.com\r\nAuthorization: Bearer {token}\r\n");
    let reply = get(gateway.address(), "/api/x", &authorized);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("https://app.example.com")));
    assert_eq!(reply.header("access-control-expose-headers"), Some("x-request-id"));
    assert_eq!(reply.header("access-control-allow-private-network"), None, "the gateway's policy is the only one");
    assert_eq!(varies(&reply), ["Accept-Language", "Origin"]);
    let refused = get(gateway.address(), "/api/x", "Origin: https://app.example.com\r\n");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some("https://app.example.com")));
    let stranger = get(gateway.address(), "/api/x", "Origin: https://evil.example\r\n");
    assert_eq!((stranger.status, cors_fields(&stranger)), (401, 0));
    assert_eq!(varies(&stranger), ["Origin"]);
    let nobody = get(gateway.address(), "/api/x", "");
    assert_eq!((cors_fields(&nobody), varies(&nobody)), (0, vec!["Origin"]));
}
