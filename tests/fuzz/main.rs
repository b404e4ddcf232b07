//! What the client sent is what the backend saw, or the backend saw nothing.
//!
//! Requests are made from a model, most of them are then damaged, and each goes over a real socket through the gateway to a backend
//! that writes down every byte. A strict reader of RFC 9112 of our own says what the damaged bytes mean: if they mean something and
//! were passed on, the backend must have read the same; if they mean nothing, they must not have been passed on. A request that
//! nobody judged never reaches the backend.
//!
//! `TOLLGATE_FUZZ_REQUESTS` is the number of requests, `TOLLGATE_FUZZ_SEED` repeats a run; a failure prints the seed and the bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs
)]

mod backend;
mod damage;
mod model;
mod reader;
#[path = "../gateway/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tollgate::demo::MintRequest;

use backend::Backend;
use model::Request;
use reader::{Reading, Unread};
use support::{Setup, mint};

const WORKERS: usize = 2;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[test]
fn what_the_client_sent_is_what_the_backend_saw() {
    let requests = setting("TOLLGATE_FUZZ_REQUESTS", 100_000);
    let seed = setting("TOLLGATE_FUZZ_SEED", fastrand::u64(..u64::MAX / 2));
    eprintln!("TOLLGATE_FUZZ_SEED={seed} TOLLGATE_FUZZ_REQUESTS={requests}");
    let token = mint(&MintRequest::of("acme", "pro"));
    let totals: Vec<Totals> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS as u64)
            .map(|worker| {
                let token = &token;
                scope.spawn(move || run(seed + worker, requests / WORKERS as u64, token))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for total in &totals {
        eprintln!("{total:?}");
        // A gateway that refuses everything would pass, too; and so would a damage that never hurts.
        assert!(total.whole * 10 > total.sent && total.refused * 10 > total.sent, "{total:?}");
        assert!(total.passed_on > total.whole, "no damaged request was harmless: {total:?}");
    }
}

#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    /// Undamaged, hence passed on.
    whole: u64,
    /// Passed on, damaged or not.
    passed_on: u64,
    refused: u64,
    /// The connection ended without an answer.
    silent: u64,
}

fn run(seed: u64, requests: u64, token: &str) -> Totals {
    let backend = Backend::start();
    let gateway = Setup::to(backend.address()).start();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut totals = Totals::default();
    let mut client = Client { to: gateway.address(), kept: None };
    // A damaged request whose head may still be on its way to the backend when the client is told that its body is wrong.
    let mut late: Vec<Vec<u8>> = Vec::new();
    for number in 0..requests {
        let request = Request::random(&mut random, number);
        let whole = request.bytes(token);
        let is_damaged = random.u8(..10) < 7;
        let bytes = if is_damaged { damage::damage(&whole, &mut random) } else { whole };
        let before = backend.count();
        let answer = client.exchange(&bytes, !is_damaged);
        let mut seen = backend.since(before);
        seen.retain(|seen| {
            let Ok(seen) = seen else { return true };
            let of = late.iter().position(|late| judge(late, seen).is_ok());
            of.map(|at| late.remove(at)).is_none()
        });
        let story =
            || format!("seed {seed}, request {number}\nsent: {:?}\nanswer: {answer:?}\nbackend: {seen:#?}", show(&bytes, token));
        totals.sent += 1;
        totals.passed_on += u64::from(!seen.is_empty());
        match answer {
            Some(status) if (400..500).contains(&status) => totals.refused += 1,
            Some(200) => assert_eq!(seen.len(), 1, "answered without the backend\n{}", story()),
            // The upstream was waiting for the rest, as the gateway was.
            Some(502 | 504) => assert!(is_damaged, "{}", story()),
            Some(status) => panic!("unexpected status {status}\n{}", story()),
            None => totals.silent += 1,
        }
        assert!(seen.len() <= 1, "one request became several\n{}", story());
        if !is_damaged {
            totals.whole += 1;
            assert_eq!(answer, Some(200), "a whole request was refused\n{}", story());
        }
        if let Some(seen) = seen.first() {
            let seen = seen.as_ref().unwrap_or_else(|problem| panic!("the backend cannot read it: {problem}\n{}", story()));
            judge(&bytes, seen).unwrap_or_else(|problem| panic!("{problem}\n{}", story()));
            assert!(seen.is_complete || answer != Some(200), "half a request was answered\n{}", story());
        } else if answer != Some(200) {
            late.push(bytes);
            if late.len() > 100 {
                late.remove(0);
            }
        }
    }
    gateway.expect_metric("tollgate_http_requests_in_flight{route=\"all\"}", 0.0);
    totals
}

/// Whether what was sent may be read, and the backend read it so.
fn judge(bytes: &[u8], seen: &Reading) -> Result<(), String> {
    match reader::read(bytes) {
        // The body stops in the middle: the head was passed on, and what there was of the body.
        Ok((sent, _)) | Err(Unread::Incomplete(sent)) => compare(&sent, seen),
        Err(Unread::Wrong(problem)) => Err(format!("{problem}, and yet it was passed on")),
    }
}

/// Whether the backend read what was sent.
fn compare(sent: &Reading, seen: &Reading) -> Result<(), String> {
    if sent.method != seen.method {
        return Err(format!("method {} became {}", sent.method, seen.method));
    }
    if reader::plain(&sent.origin_form()) != reader::plain(&seen.target) {
        return Err(format!("target {} became {}", sent.target, seen.target));
    }
    // A body that was cut off, on either side, never ends with the backend believing that it was whole.
    let is_body_same =
        if seen.is_complete { sent.is_complete && sent.body == seen.body } else { sent.body.starts_with(&seen.body) };
    if !is_body_same {
        return Err("the bodies differ".into());
    }
    let named = sent.values("connection").join(",").to_ascii_lowercase();
    let is_hop = |name: &str| named.split(',').any(|option| option.trim() == name);
    let marked = |reading: &Reading| -> Vec<(String, Vec<u8>)> {
        let fields = reading.fields.iter().filter(|(name, _)| name.starts_with("x-fuzz"));
        fields.filter(|(name, _)| !is_hop(name)).cloned().collect()
    };
    // pingora groups fields of one name; their order among themselves is what counts (RFC 9110 §5.3).
    let (mut mine, mut theirs) = (marked(sent), marked(seen));
    mine.sort_by(|a, b| a.0.cmp(&b.0));
    theirs.sort_by(|a, b| a.0.cmp(&b.0));
    if mine != theirs {
        return Err(format!("fields differ: {mine:?} became {theirs:?}"));
    }
    for (name, expected) in [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")] {
        if seen.values(name) != [expected] {
            return Err(format!("{name} is {:?}", seen.values(name)));
        }
    }
    match seen.values("authorization").len() {
        1 => Ok(()),
        count => Err(format!("{count} authorizations")),
    }
}

struct Client {
    to: SocketAddr,
    kept: Option<TcpStream>,
}

impl Client {
    /// The status of the answer. A damaged request gets a connection of its own, which ends after it.
    fn exchange(&mut self, bytes: &[u8], keep: bool) -> Option<u16> {
        if keep && let Some(mut stream) = self.kept.take() {
            stream.write_all(bytes).ok()?;
            let status = answer(&mut stream);
            self.kept = Some(stream);
            return status;
        }
        let mut stream = TcpStream::connect(self.to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        // The gateway may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        if reader::read(bytes).is_err() {
            // Nothing more will come; to go on waiting for it is right, but takes long.
            let _ = stream.shutdown(Shutdown::Write);
        }
        let status = answer(&mut stream);
        if keep {
            self.kept = Some(stream);
        }
        status
    }
}

/// Reads one answer, whose body has a length.
fn answer(stream: &mut TcpStream) -> Option<u16> {
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
            let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
            if status == 100 {
                received.drain(..end + 4);
                continue;
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            if received.len() >= end + 4 + length.unwrap_or(0) {
                return Some(status);
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => received.extend_from_slice(&chunk[..count]),
        }
    }
}

fn show(bytes: &[u8], token: &str) -> String {
    String::from_utf8_lossy(bytes).replace(token, "TOKEN")
}
