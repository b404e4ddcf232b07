use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The `reason` of a problem document.
    pub fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends raw bytes on a connection of its own and reads one answer; `None` when the peer closes without one.
pub fn send(to: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    ask(connect(to), bytes)
}

/// A gateway that lives may not listen yet: pingora binds in a thread of the service.
fn connect(to: SocketAddr) -> TcpStream {
    let mut stream = None;
    super::wait_for("a connection", || {
        stream = TcpStream::connect(to).ok();
        stream.is_some()
    });
    stream.unwrap()
}

/// The same on a connection that there is already.
pub fn ask(mut stream: TcpStream, bytes: &[u8]) -> Option<Reply> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A peer that answers before it has read everything may have closed by now; its answer is still there to read.
    let _ = stream.write_all(bytes);
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(reply) = parse(&received) {
            return Some(reply);
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return parse_to_end(&received),
            Ok(count) => received.extend_from_slice(&chunk[..count]),
        }
    }
}

/// `GET` with further header lines, each ending with CR LF.
pub fn get(to: SocketAddr, path: &str, lines: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}Connection: close\r\n\r\n");
    send(to, request.as_bytes()).expect("an answer")
}

type Head<'a> = (u16, Vec<(String, String)>, &'a [u8]);

fn head(received: &[u8]) -> Option<Head<'_>> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect();
    Some((status, headers, &received[end + 4..]))
}

fn parse(received: &[u8]) -> Option<Reply> {
    let (status, headers, rest) = head(received)?;
    let length = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("content-length")).and_then(|(_, v)| v.parse().ok());
    let length: usize = length.or(matches!(status, 204 | 304).then_some(0))?;
    let body = rest.get(..length)?;
    Some(Reply { status, headers, body: String::from_utf8_lossy(body).into_owned() })
}

/// An answer that ends with the connection, or whose chunks do.
fn parse_to_end(received: &[u8]) -> Option<Reply> {
    let (status, headers, rest) = head(received)?;
    Some(Reply { status, headers, body: String::from_utf8_lossy(rest).into_owned() })
}
