use fastrand::Rng;

/// Lines that make two servers read one request differently.
const LINES: [&str; 34] = [
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: gzip, chunked",
    "Transfer_Encoding: chunked",
    "TE: trailers",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 0x5",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999999",
    "Content_Length: 5",
    "Host: evil.example.com",
    "Host: api.example.com",
    "Connection: close",
    "Connection: x-fuzz-a, host, authorization",
    "Connection: keep-alive, content-length",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Expect: 100-continue",
    "Expect: 200-ok",
    "X-Fuzz-A: folded\r\n more",
    " X-Fuzz-A: leading space",
    "X_Fuzz: underscore",
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Proto: https",
    "Authorization: Bearer x",
    "nonsense",
    ": empty name",
];

const TARGETS: [&str; 16] = [
    "/../", "/./", "//", "/%2e%2e/", "/%2f", "/%5c", "\\", "/%00", "/%zz", ";a=b", "#x", "/\u{e9}", " ", "\t", "%252e", "/%c0%af",
];

const VERSIONS: [&str; 8] = ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.1 ", " HTTP/1.1", "HTTP/11"];

/// The request with one to three things wrong with it, or looking wrong.
pub fn damage(whole: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..random.usize(1..4) {
        once(&mut bytes, random);
    }
    bytes
}

fn once(bytes: &mut Vec<u8>, random: &mut Rng) {
    match random.u8(..12) {
        0 => {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        1 => bytes.insert(random.usize(..bytes.len()), pick(random, b"\r\n\0\t :;\x0b\x0c\x7f\x80\xff,\"")),
        2 => {
            bytes.remove(random.usize(..bytes.len()));
        }
        3..=5 => {
            let line = format!("{}\r\n", LINES[random.usize(..LINES.len())]);
            insert(bytes, line_start(bytes, random), line.as_bytes());
        }
        6 => {
            // One line end, anywhere.
            let ends: Vec<usize> = find(bytes, b"\r\n");
            if let Some(at) = choose(&ends, random) {
                let other: &[u8] = [&b"\n"[..], b"\r", b"\r\r\n", b"\n\r", b" \r\n"][random.usize(..5)];
                bytes.splice(at..at + 2, other.iter().copied());
            }
        }
        7 => {
            if let Some(at) = bytes.iter().position(|byte| *byte == b'/') {
                let text = TARGETS[random.usize(..TARGETS.len())];
                insert(bytes, at, text.as_bytes());
            }
        }
        8 => {
            if let Some(at) = find(bytes, b"HTTP/1.1").first().copied() {
                bytes.splice(at..at + 8, VERSIONS[random.usize(..VERSIONS.len())].bytes());
            }
        }
        9 => {
            // Chunk framing, and whatever else looks like it.
            let lines = find(bytes, b"\r\n");
            if let Some(at) = choose(&lines, random) {
                let text: &[u8] = [&b";ext=1"[..], b";a\nb", b"0x", b" ", b"g", b"ffffffffffffffff"][random.usize(..6)];
                insert(bytes, at, text);
            }
        }
        10 => bytes.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: api.example.com\r\n\r\n"),
        _ => {
            let keep = random.usize(1..=bytes.len());
            bytes.truncate(keep);
        }
    }
    if bytes.is_empty() {
        bytes.push(b'G');
    }
}

fn pick(random: &mut Rng, from: &[u8]) -> u8 {
    from[random.usize(..from.len())]
}

fn choose(from: &[usize], random: &mut Rng) -> Option<usize> {
    (!from.is_empty()).then(|| from[random.usize(..from.len())])
}

fn insert(bytes: &mut Vec<u8>, at: usize, text: &[u8]) {
    bytes.splice(at..at, text.iter().copied());
}

fn find(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    bytes.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle).map(|(at, _)| at).collect()
}

/// Where a header line begins.
fn line_start(bytes: &[u8], random: &mut Rng) -> usize {
    let head = find(bytes, b"\r\n\r\n").first().map_or(bytes.len(), |at| at + 2);
    let starts: Vec<usize> = find(bytes, b"\r\n").into_iter().map(|at| at + 2).filter(|at| *at <= head).collect();
    choose(&starts, random).unwrap_or(0)
}
