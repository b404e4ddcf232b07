use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An HTTP/2 client that sends what it is told, valid or not.
pub struct Frames {
    stream: TcpStream,
}

/// What a server made of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered with this status.
    Status(u16),
    /// It reset the stream, with this code of RFC 9113 §7.
    Reset(u32),
    /// It gave the connection up.
    GoAway(u32),
    /// It closed it without a word.
    Closed,
}

impl Frames {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const GO_AWAY: u8 = 7;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    /// Connects and says the preface.
    pub fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut frames = Self { stream };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames.send(Self::SETTINGS, 0, 0, &[]);
        frames
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        // A server that gave up may have closed already; what it said is still there to read.
        let _ = self.stream.write_all(&[head.as_slice(), payload].concat());
    }

    /// The next frame: kind, flags, stream, payload.
    pub fn receive(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]), payload))
    }

    /// Sends one request on stream 1 and reads what becomes of it.
    pub fn ask(to: SocketAddr, fields: &[(&str, &str)], body: Option<&str>) -> Verdict {
        let mut frames = Self::open(to);
        let end = if body.is_none() { Self::END_STREAM } else { 0 };
        frames.send(Self::HEADERS, Self::END_HEADERS | end, 1, &block(fields));
        if let Some(body) = body {
            frames.send(Self::DATA, Self::END_STREAM, 1, body.as_bytes());
        }
        frames.verdict()
    }

    /// What becomes of stream 1.
    pub fn verdict(&mut self) -> Verdict {
        loop {
            match self.receive() {
                None => return Verdict::Closed,
                Some((Self::HEADERS, _, 1, payload)) => return Verdict::Status(status(&payload)),
                Some((Self::RESET, _, 1, payload)) => return Verdict::Reset(number(&payload[..4])),
                Some((Self::GO_AWAY, _, _, payload)) => return Verdict::GoAway(number(&payload[4..8])),
                Some(_) => {}
            }
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// A header block of literals (RFC 7541 §6.2.2), which needs no table and hides nothing.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(length as u8);
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// The status is the first field of an answer: one of the static table, or its name with a literal of three digits.
fn status(block: &[u8]) -> u16 {
    match block {
        // A change of the table's size.
        [size, rest @ ..] if size >> 5 == 1 => status(rest),
        [index @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)],
        [0x48 | 0x08 | 0x18, 3, rest @ ..] => std::str::from_utf8(&rest[..3]).unwrap().parse().unwrap(),
        [0x48 | 0x08 | 0x18, length, rest @ ..] => huffman_digits(&rest[..usize::from(length & 0x7f)]),
        other => panic!("no status in {other:?}"),
    }
}

/// The codes of digits (RFC 7541, appendix B): 0, 1 and 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let take = |count: usize| bits[at..at + count].iter().fold(0, |code, bit| code << 1 | u16::from(*bit));
        let (digit, length) = if take(5) < 3 { (take(5), 5) } else { (take(6) - 0b01_1001 + 3, 6) };
        number = number * 10 + digit;
        at += length;
    }
    number
}
