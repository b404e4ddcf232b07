//! HTTP/2 frames that cost the gateway something and carry nothing: each kind has an end, and another client does not notice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Gateway, Setup, Upstream, answer, wait_for};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `:method: GET`, `:path: /`, `:scheme: http`, `:authority: a` (RFC 7541 §6).
const GET: [u8; 6] = [0x82, 0x84, 0x86, 0x41, 1, b'a'];
const POST: [u8; 6] = [0x83, 0x84, 0x86, 0x41, 1, b'a'];

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113 §7
const ENHANCE_YOUR_CALM: u32 = 11;

fn gateway(limits: &str, upstream: &Upstream) -> Gateway {
    let setup = Setup::new().upstream("main", &[upstream.address()]).route("all", "/**", "none", "main");
    setup.listener("    protocols: [http1, http2]\n").with(&format!("limits: {{ {limits} }}\n")).start()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A connection that has said hello, with these settings.
fn open(gateway: &Gateway, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(4, 0, 0, settings)).unwrap();
    stream
}

/// What the gateway sent until it closed: frames as kind, stream and payload.
fn read_to_end(mut stream: TcpStream) -> Vec<(u8, u32, Vec<u8>)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 65_536]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the gateway did not close");
                break;
            }
        }
    }
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while rest.len() >= 9 {
        let length = usize::try_from(u32::from_be_bytes([0, rest[0], rest[1], rest[2]])).unwrap();
        let stream = u32::from_be_bytes(rest[5..9].try_into().unwrap());
        let Some(payload) = rest.get(9..9 + length) else { break };
        frames.push((rest[3], stream, payload.to_vec()));
        rest = &rest[9 + length..];
    }
    frames
}

/// Sends all of it, whether it is wanted or not, and returns the code of the GOAWAY that came.
fn goodbye(mut stream: TcpStream, bytes: Vec<u8>) -> Option<u32> {
    let mut writer = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        // Little by little, so that the gateway can get a word in before it closes on unread bytes.
        for piece in bytes.chunks(1_400) {
            if writer.write_all(piece).is_err() {
                break;
            }
        }
    });
    stream.flush().unwrap();
    let frames = read_to_end(stream);
    sender.join().unwrap();
    let goaway = frames.iter().find(|(kind, _, _)| *kind == 7)?;
    Some(u32::from_be_bytes(goaway.2[4..8].try_into().unwrap()))
}

fn cut(gateway: &Gateway, kind: &str) -> f64 {
    gateway.metric(&format!("tollgate_connections_cut_total{{reason=\"{kind}\"}}"))
}

#[test]
fn rfc9113_floods_of_each_kind_end_with_goaway() {
    let upstream = Upstream::named("main");
    let gateway = gateway("", &upstream);
    let head = |stream| frame(1, END_HEADERS, stream, &POST);
    let floods: [(&str, Vec<u8>, Vec<u8>, usize); 7] = [
        ("h2_priority", vec![], frame(2, 0, 1, &[0, 0, 0, 0, 1]), 400),
        ("h2_settings", vec![], frame(4, 0, 0, &[]), 200),
        ("h2_ping", vec![], frame(6, 0, 0, &[7; 8]), 1_000),
        ("h2_window_update", vec![], frame(8, 0, 0, &[0, 0, 0, 1]), 10_000),
        ("h2_empty_data", head(1), frame(0, 0, 1, &[]), 400),
        ("h2_other", vec![], frame(0x10, 0, 0, &[0, 0, 0, 1, b'u', b'1']), 400),
        ("h2_other", vec![], frame(0xfa, 0xff, 9, &[0; 300]), 400),
    ];
    for (kind, first, flood, count) in floods {
        let before = cut(&gateway, kind);
        let bytes = [first, flood.repeat(count)].concat();
        assert_eq!(goodbye(open(&gateway, &[]), bytes), Some(ENHANCE_YOUR_CALM), "{kind}");
        assert_eq!(cut(&gateway, kind), before + 1.0, "{kind}");
        assert_eq!(gateway.get("/").status, 200, "{kind}: others are served");
    }
    gateway.expect_metric("tollgate_connections", 0.0);
}

/// These two the h2 crate limits itself; the guard stands behind it.
#[test]
fn rfc9113_rapid_resets_and_continuations_end_with_goaway() {
    let upstream = Upstream::named("main");
    let gateway = gateway("", &upstream);
    let reset = |n: u32| {
        let stream = n * 2 + 1;
        [frame(1, END_HEADERS | END_STREAM, stream, &GET), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let resets: Vec<u8> = (0..3_000).flat_map(reset).collect();
    assert_eq!(goodbye(open(&gateway, &[]), resets), Some(ENHANCE_YOUR_CALM));
    let continuations = [frame(1, 0, 1, &GET), frame(9, 0, 1, &[]).repeat(3_000)].concat();
    assert_eq!(goodbye(open(&gateway, &[]), continuations), Some(ENHANCE_YOUR_CALM));
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_flood_that_stops_in_the_middle_of_a_frame_ends_too() {
    let upstream = Upstream::named("main");
    let gateway = gateway("header_timeout: 1s, idle_timeout: 1s", &upstream);
    let ping = frame(6, 0, 0, &[7; 8]);
    let mut bytes = ping.repeat(501);
    bytes.truncate(bytes.len() - 3);
    let mut stream = open(&gateway, &[]);
    stream.write_all(&bytes).unwrap();
    read_to_end(stream);
    gateway.expect_metric("tollgate_connections", 0.0);
}

#[test]
fn a_client_that_does_not_listen_is_closed_all_the_same() {
    let upstream = Upstream::named("main");
    let gateway = gateway("", &upstream);
    let mut stream = open(&gateway, &[]);
    stream.write_all(&frame(2, 0, 1, &[0, 0, 0, 0, 1]).repeat(400)).unwrap();
    gateway.expect_metric("tollgate_connections", 0.0);
    gateway.expect_metric("tollgate_connections_cut_total{reason=\"h2_priority\"}", 1.0);
}

#[test]
fn a_header_block_has_as_long_as_a_head() {
    let upstream = Upstream::named("main");
    let gateway = gateway("header_timeout: 1s", &upstream);
    let block = [frame(1, 0, 1, &GET), frame(9, 0, 1, &[0x40, 1, b'x', 1, b'y'])].concat();
    for bytes in [block.clone(), block[..block.len() - 2].to_vec(), frame(1, 0, 1, &GET)[..11].to_vec()] {
        let before = cut(&gateway, "header_timeout");
        let began = Instant::now();
        let mut stream = open(&gateway, &[]);
        stream.write_all(&bytes).unwrap();
        read_to_end(stream);
        let took = began.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(9)).contains(&took), "{took:?}");
        assert_eq!(cut(&gateway, "header_timeout"), before + 1.0);
    }
    // A connection between two requests may be silent for longer than a head.
    let mut stream = open(&gateway, &[]);
    thread::sleep(Duration::from_millis(1_500));
    stream.write_all(&frame(1, END_HEADERS | END_STREAM, 1, &GET)).unwrap();
    let mut upstream_saw = || upstream.seen().len() == 1;
    wait_for("the request", &mut upstream_saw);
}

#[test]
fn a_window_that_stays_shut_frees_its_streams() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "", "a body that does not fit into nothing")));
    let gateway = gateway("write_timeout: 1s", &upstream);
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let mut stream = open(&gateway, &[0, 4, 0, 0, 0, 0]);
    for n in 0..50 {
        stream.write_all(&frame(1, END_HEADERS | END_STREAM, n * 2 + 1, &GET)).unwrap();
    }
    let route = "code=\"200\",method=\"GET\",outcome=\"client_closed\",route=\"all\"";
    gateway.expect_metric(&format!("tollgate_http_requests_total{{{route}}}"), 50.0);
    assert_eq!(gateway.admin("/status").unwrap().json()["requests_in_flight"], 0);
    drop(stream);
}

#[test]
fn an_honest_client_may_work_hard() {
    let upstream = Upstream::answering(|_| Some(answer("200 OK", "", &"x".repeat(2_000))));
    let gateway = gateway("", &upstream);
    let mut stream = open(&gateway, &[]);
    let mut reader = stream.try_clone().unwrap();
    let counted = thread::spawn(move || {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 65_536]);
        let (mut ends, mut goaways) = (0, 0);
        while ends < 2_000 && goaways == 0 {
            let count = reader.read(&mut chunk).unwrap();
            assert!(count > 0, "the gateway closed after {ends} answers");
            bytes.extend_from_slice(&chunk[..count]);
            let mut at = 0;
            while let Some(head) = bytes.get(at..at + 9) {
                let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
                if bytes.len() < at + 9 + length {
                    break;
                }
                ends += usize::from(matches!(head[3], 0 | 1) && head[4] & END_STREAM != 0);
                goaways += usize::from(head[3] == 7);
                at += 9 + length;
            }
            bytes.drain(..at);
        }
        (ends, goaways)
    });
    // As a browser, a gRPC client and a small library together: for each request two priorities, a PING, two window updates.
    for n in 0..2_000 {
        let id = n * 2 + 1;
        let mut bytes = frame(1, END_HEADERS | END_STREAM, id, &GET);
        bytes.extend(frame(2, 0, id, &[0, 0, 0, 0, 1]));
        bytes.extend(frame(0x10, 0, 0, &[id.to_be_bytes().as_slice(), b"u=1"].concat()));
        bytes.extend(frame(6, 0, 0, &[7; 8]));
        bytes.extend(frame(8, 0, 0, &2_000_u32.to_be_bytes()));
        bytes.extend(frame(8, 0, id, &2_000_u32.to_be_bytes()));
        stream.write_all(&bytes).unwrap();
        if n % 50 == 49 {
            // No more than a hundred at once.
            wait_for("the answers so far", || upstream.seen().len() > usize::try_from(n).unwrap());
        }
    }
    assert_eq!(counted.join().unwrap(), (2_000, 0));
}
