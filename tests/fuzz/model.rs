use fastrand::Rng;

/// A well-formed request.
pub struct Request {
    method: &'static str,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<Body>,
}

enum Body {
    Length(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

const SEGMENTS: [&str; 10] = ["orders", "7", "a-b", "x.y", "%C3%A9", "~me", "v1", "a:b", "@", "A"];

/// What is in bodies: also what would be a request if the body ended too early.
const PIECES: [&str; 6] = ["hello", "0\r\n\r\n", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", "{\"a\": 1}", "x"];

fn pick<'a>(random: &mut Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

impl Request {
    pub fn random(random: &mut Rng, number: u64) -> Self {
        let method = pick(random, &["GET", "GET", "POST", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]);
        let mut target: String = (0..random.usize(1..5)).map(|_| format!("/{}", pick(random, &SEGMENTS))).collect();
        if random.bool() {
            target.push_str(&format!("?n={number}&{}", pick(random, &["a=/../", "b=%2F", "c=?", "d", "=&="])));
        }
        let mut fields = vec![("X-Fuzz-Number".into(), number.to_string())];
        for _ in 0..random.usize(..4) {
            let name = pick(random, &["X-Fuzz-A", "x-fuzz-b", "X-FUZZ-A", "X-Fuzz-C"]).to_owned();
            fields.push((name, pick(random, &["1", "a, b", "\"quoted; text\"", "", "caf\u{e9}", "a:b"]).to_owned()));
        }
        let bytes =
            |random: &mut Rng| -> Vec<u8> { (0..random.usize(..4)).flat_map(|_| pick(random, &PIECES).bytes()).collect() };
        let body = match (method, random.u8(..3)) {
            ("POST" | "PUT" | "PATCH", 0 | 1) | ("DELETE" | "OPTIONS", 0) => {
                if random.bool() {
                    Some(Body::Length(bytes(random)))
                } else {
                    Some(Body::Chunked((0..random.usize(..4)).map(|_| bytes(random)).filter(|chunk| !chunk.is_empty()).collect()))
                }
            }
            ("POST" | "PUT" | "PATCH", _) => Some(Body::Length(Vec::new())),
            _ => None,
        };
        Self { method, target, fields, body }
    }

    pub fn bytes(&self, token: &str) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            None => bytes.push_str("\r\n"),
            Some(Body::Length(body)) => bytes.push_str(&format!("Content-Length: {}\r\n\r\n", body.len())),
            Some(Body::Chunked(_)) => bytes.push_str("Transfer-Encoding: chunked\r\n\r\n"),
        }
        let mut bytes = bytes.into_bytes();
        match &self.body {
            Some(Body::Length(body)) => bytes.extend_from_slice(body),
            Some(Body::Chunked(chunks)) => {
                for chunk in chunks {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
            None => {}
        }
        bytes
    }
}
