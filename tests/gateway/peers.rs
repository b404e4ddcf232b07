//! WebSocket and gRPC between clients and servers that we did not write: `ws` and `@grpc/grpc-js`, which `make test` installs.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tollgate::demo::MintRequest;

use crate::support::{Gateway, Setup, mint, wait_for};

fn node(script: &str, arguments: &[&str]) -> Child {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/peers"));
    assert!(folder.join("node_modules").is_dir(), "the peers are not installed: run `make test`");
    Command::new("node")
        .arg(script)
        .args(arguments)
        .current_dir(folder)
        // A server ends when its input does, so also when this test is killed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is not installed: run `make test`")
}

/// A server on a port of its own.
struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(script: &str) -> Self {
        let mut child = node(script, &["server"]);
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let port = line(&mut said).parse::<u16>().unwrap();
        Self { child, said, address: ([127, 0, 0, 1], port).into() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// What a client found.
pub(crate) fn client(script: &str, arguments: &[&str]) -> Value {
    let output = node(script, arguments).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn url(gateway: &Gateway) -> String {
    format!("ws://{}/chat", gateway.address())
}

#[test]
fn ws_speaks_with_ws_through_the_gateway() {
    let mut server = Server::start("websocket.mjs");
    let rule = "fn on_request() { meter(\"calls\"); }\nfn on_complete(response) { meter(\"bytes\", response.body_bytes); }";
    let gateway = Setup::to(server.address).rule("metering", rule).billed().start();
    let found = client("websocket.mjs", &["client", &url(&gateway), &mint(&MintRequest::of("acme", "pro"))]);
    let sizes = json!([0, 1, 125, 126, 65_536, 3 << 20]);
    for (name, extensions) in [("plain", ""), ("deflated", "permessage-deflate")] {
        let expected = json!({
            "sizes": sizes, "text": "text", "pong": "are you there", "extensions": extensions, "closed": [4000, "done"],
        });
        assert_eq!(found[name], expected, "{name}");
    }
    assert_eq!(found["server_closes"], json!([4001, "as you wish"]));
    assert_eq!(found["refused"], 401);
    assert_eq!([(); 3].map(|()| line(&mut server.said)), ["closed 4000 done", "closed 4000 done", "closed 4001 as you wish"]);
    wait_for("the bill", || gateway.used("calls") == 3);
    assert!(gateway.used("bytes") > 3 << 20, "the bytes of the tunnels are on it");
    gateway.expect_metric("tollgate_websockets{route=\"all\"}", 0.0);
}

#[test]
fn ws_understands_why_the_gateway_closes() {
    let mut server = Server::start("websocket.mjs");
    let mut gateway = Setup::to(server.address).identity("  clock_skew: 0s\n").start();
    let brief = mint(&MintRequest { expires_in: 4, ..MintRequest::of("acme", "pro") });
    let found = node("websocket.mjs", &["stay", &url(&gateway), &brief]).wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "open\n[1008,\"token expired\"]\n");
    assert_eq!(line(&mut server.said), "closed 1008 token expired");

    let mut staying = node("websocket.mjs", &["stay", &url(&gateway), &mint(&MintRequest::of("acme", "pro"))]);
    let mut said = BufReader::new(staying.stdout.take().unwrap());
    assert_eq!(line(&mut said), "open");
    gateway.signal("TERM");
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "[1001,\"going away\"]\n");
    assert_eq!(line(&mut server.said), "closed 1001 going away");
    assert!(gateway.wait().0.success());
    staying.wait().unwrap();
}

/// A gateway that speaks HTTP/2 on both sides without TLS.
fn grpc(server: &Server) -> Setup {
    Setup::new()
        .upstream_text(
            "main",
            &format!("{{ servers: [\"http://{}\"], protocol: http2, timeouts: {{ connect: 500ms }} }}", server.address),
        )
        .route("all", "/**", "required", "main")
        .listener("    protocols: [http1, http2]\n")
}

#[test]
fn grpc_calls_of_every_kind_pass_with_their_trailers() {
    let server = Server::start("grpc.mjs");
    let gateway = grpc(&server).rule("metering", "fn on_request() { meter(\"calls\"); }").billed().start();
    let found = client("grpc.mjs", &["client", &gateway.address().to_string(), &mint(&MintRequest::of("acme", "pro"))]);
    assert_eq!(found["unary"], json!({ "code": 0, "reply": "hello", "trailer": "at-the-end" }));
    assert_eq!((&found["count"]["code"], &found["count"]["messages"]), (&json!(0), &json!(["0", "1", "2", "3", "4"])));
    assert!(found["count"]["spread"].as_u64().unwrap() >= 100, "each message when it was sent: {found}");
    assert_eq!(found["talk"], json!({ "code": 0, "heard": [1, 40_000, 80_000, 120_000] }));
    assert_eq!((&found["fail"]["code"], &found["fail"]["details"]), (&json!(9), &json!("not now")));
    assert_eq!(found["hang"]["code"], 4, "the deadline is the client's: {found}");
    wait_for("the bill", || gateway.used("calls") == 5);
}

#[test]
fn grpc_clients_understand_refusals() {
    let server = Server::start("grpc.mjs");
    let rule = "fn on_request(claims) { if claims.plan == \"free\" { throttle(claims.org, 1, \"1h\"); } \
                if claims.plan == \"old\" { deny(\"upgrade_your_plan\"); } }";
    let gateway = grpc(&server).rule("plans", rule).start();
    let address = gateway.address().to_string();
    let refused = |token: &str, code: u16, details: &str| {
        let found = client("grpc.mjs", &["client", &address, token]);
        for call in ["unary", "fail"] {
            assert_eq!((&found[call]["code"], &found[call]["details"]), (&json!(code), &json!(details)), "{call}: {found}");
        }
        for call in ["count", "talk"] {
            assert_eq!(found[call]["code"], code, "{call}: {found}");
        }
    };
    refused("", 16, "token_required");
    refused(&mint(&MintRequest::of("acme", "old")), 7, "upgrade_your_plan");
    let free = mint(&MintRequest::of("acme", "free"));
    assert_eq!(gateway.get_with("/", &free).status, 415, "a request that is no call draws from the limit, too");
    refused(&free, 8, "rate_limited");
    drop(server);
    refused(&mint(&MintRequest::of("acme", "pro")), 14, "upstream_error");
}

#[test]
fn a_browser_calls_by_grpc_web() {
    let server = Server::start("grpc.mjs");
    let gateway = grpc(&server).start();
    let call = |token: &str| {
        let lines = format!(
            "Content-Type: application/grpc-web+proto\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\nConnection: close\r\n"
        );
        gateway.send(&format!("POST /demo.Echo/Unary HTTP/1.1\r\nHost: a\r\n{lines}\r\n\0\0\0\0\x05hello")).unwrap()
    };
    let reply = call(&mint(&MintRequest::of("acme", "pro")));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/grpc-web+proto")));
    assert!(reply.body.contains("\0\0\0\0\x05hello"), "{:?}", reply.body);
    let trailers = reply.body.split('\u{fffd}').next_back().unwrap();
    assert!(trailers.contains("grpc-status:0\r\n") && trailers.contains("x-trailer:at-the-end\r\n"), "{:?}", reply.body);

    let refused = call("nonsense");
    assert_eq!((refused.status, refused.header("grpc-status")), (200, Some("16")));
    assert_eq!((refused.header("grpc-message"), refused.body.as_str()), (Some("invalid_token"), ""));
}
