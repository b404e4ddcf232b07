//! Traces: what upstreams, the access log and a collector are told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tollgate::demo::MintRequest;

use crate::support::{Gateway, Setup, Upstream, get, mint, wait_for};

const INCOMING: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that answers with one status and keeps what it got.
struct Collector {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn answering(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, spans) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let theirs = (Arc::clone(&heads), Arc::clone(&spans));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if reader.read_line(&mut head).unwrap() == 0 {
                        break;
                    }
                }
                let lower = head.to_lowercase();
                let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let request = ExportTraceServiceRequest::decode(&*body).unwrap();
                theirs.0.lock().unwrap().push(head);
                for resource in request.resource_spans {
                    let attributes = resource.resource.unwrap().attributes;
                    let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
                    assert_eq!(text(name.value.as_ref().unwrap().value.as_ref().unwrap()), "edge");
                    theirs.1.lock().unwrap().extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
                }
                stream
                    .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
                    .unwrap();
            }
        });
        Self { address, heads, spans }
    }

    fn spans(&self, count: usize) -> Vec<Span> {
        wait_for("spans", || self.spans.lock().unwrap().len() >= count);
        self.spans.lock().unwrap().clone()
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key).unwrap_or_else(|| panic!("no {key}: {span:?}"));
    text(found.value.as_ref().unwrap().value.as_ref().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn call(gateway: &Gateway, lines: &str) -> u16 {
    let token = mint(&MintRequest::of("acme", "pro"));
    get(gateway.address(), "/orders", &format!("Authorization: Bearer {token}\r\n{lines}")).status
}

/// The value of a header that reached the upstream.
fn sent<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

#[test]
fn a_trusted_trace_is_continued_and_exported_in_two_spans() {
    let collector = Collector::answering("200 OK");
    let upstream = Upstream::named("main");
    let tracing = format!(
        "tracing: {{ otlp: \"http://{}\", authorization: Bearer of-the-collector, sample: 0, trust_incoming: true, service_name: edge }}\n",
        collector.address
    );
    let gateway =
        Setup::to(upstream.address()).rule("tags", "fn on_request() { tag(\"tier\", \"gold\"); }").with(&tracing).start();
    assert_eq!(call(&gateway, &format!("traceparent: {INCOMING}\r\ntracestate: a=1\r\ntracestate: b=2\r\n")), 200);

    let spans = collector.spans(2);
    let own = spans.iter().find(|span| span.kind == 2).unwrap();
    let child = spans.iter().find(|span| span.kind == 3).unwrap();
    assert_eq!((hex(&own.trace_id).as_str(), hex(&own.parent_span_id).as_str()), (TRACE, "00f067aa0ba902b7"));
    assert_eq!((hex(&child.trace_id).as_str(), &child.parent_span_id), (TRACE, &own.span_id));
    assert_eq!((own.name.as_str(), child.name.as_str()), ("GET all", "upstream main"));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "all"),
        ("http.response.status_code", "200"),
        ("tollgate.outcome", "proxied"),
        ("tollgate.tag.tier", "gold"),
    ] {
        assert_eq!(attribute(own, key), value, "{key}");
    }
    assert!(own.start_time_unix_nano <= child.start_time_unix_nano && child.end_time_unix_nano <= own.end_time_unix_nano);
    let request = upstream.last();
    assert_eq!(sent(&request, "traceparent").unwrap(), format!("00-{TRACE}-{}-01", hex(&child.span_id)));
    assert_eq!(sent(&request, "tracestate"), Some("a=1,b=2"));
    assert_eq!(gateway.access_lines(1)[0]["trace_id"], TRACE);
    let head = collector.heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("post /v1/traces ") && head.contains("authorization: bearer of-the-collector\r\n"), "{head}");
    gateway.expect_metric("tollgate_trace_spans_total{result=\"exported\"}", 2.0);

    // The caller records nothing, and neither does the gateway; a refusal of a caller that does has one span.
    assert_eq!(call(&gateway, &format!("traceparent: {}0\r\n", INCOMING.strip_suffix('1').unwrap())), 200);
    assert_eq!(get(gateway.address(), "/", &format!("traceparent: {INCOMING}\r\n")).status, 401);
    let spans = collector.spans(3);
    assert_eq!((spans.len(), attribute(&spans[2], "tollgate.outcome")), (3, "unauthenticated".to_owned()));
}

#[test]
fn a_trace_of_a_stranger_is_not_continued() {
    let collector = Collector::answering("200 OK");
    let upstream = Upstream::named("main");
    let tracing = format!("tracing: {{ otlp: \"http://{}\", sample: 1, service_name: edge }}\n", collector.address);
    let gateway = Setup::to(upstream.address()).with(&tracing).start();
    assert_eq!(call(&gateway, &format!("traceparent: {INCOMING}\r\ntracestate: a=1\r\n")), 200);
    let spans = collector.spans(2);
    let own = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_ne!(hex(&own.trace_id), TRACE);
    assert_eq!(own.parent_span_id, Vec::<u8>::new());
    let request = upstream.last();
    assert!(sent(&request, "traceparent").unwrap().starts_with(&format!("00-{}-", hex(&own.trace_id))), "{request}");
    assert_eq!(sent(&request, "tracestate"), None);
    assert_eq!(gateway.access_lines(1)[0]["trace_id"], hex(&own.trace_id));
}

#[test]
fn without_a_section_the_headers_pass_as_they_came() {
    let upstream = Upstream::named("main");
    let gateway = Setup::to(upstream.address()).start();
    assert_eq!(call(&gateway, &format!("traceparent: {INCOMING}\r\ntracestate: a=1\r\n")), 200);
    assert_eq!((sent(&upstream.last(), "traceparent"), sent(&upstream.last(), "tracestate")), (Some(INCOMING), Some("a=1")));
    assert!(gateway.access_lines(1)[0]["trace_id"].is_null());
}

#[test]
fn a_collector_that_fails_harms_nobody_and_is_counted() {
    let collector = Collector::answering("400 Bad Request");
    let upstream = Upstream::named("main");
    let tracing = format!("tracing: {{ otlp: \"http://{}\", sample: 1, service_name: edge }}\n", collector.address);
    let mut gateway = Setup::to(upstream.address()).with(&tracing).start();
    assert_eq!([(); 3].map(|()| call(&gateway, "")), [200; 3]);
    gateway.expect_metric("tollgate_trace_spans_total{result=\"failed\"}", 6.0);
    gateway.signal("TERM");
    assert!(gateway.wait().0.success());
}
