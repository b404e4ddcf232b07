//! The PROXY protocol (haproxy.org, proxy-protocol.txt), versions 1 and 2: how a load balancer below HTTP says who the client is.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use pingora::protocols::l4::stream::Stream as Socket;
use tokio::io::AsyncReadExt;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8; 6] = b"PROXY ";

/// Bytes of a header of version 1 with its line end.
const LONGEST_V1: usize = 107;

/// Bytes of a header of version 2 with everything that follows its addresses; real ones have a few dozen.
const LONGEST_V2: usize = 4096;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// The start of a header: this many bytes at least are needed.
    Needs(usize),
    /// Something else.
    Foreign,
    /// A header of this many bytes, and whom it names; `None` stands for the connection itself (a health check).
    Header(usize, Option<SocketAddr>),
    /// A header that is none.
    Malformed,
}

/// What a connection began with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Introduction {
    /// No header; nothing is lost of what came.
    None,
    /// A header that names the client, or the peer itself.
    Client(Option<SocketAddr>),
}

/// Reads the header from the start of a connection. What follows it is left there.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a malformed header, and what the socket says.
pub(super) async fn read(socket: &mut Socket) -> io::Result<Introduction> {
    let mut seen = Vec::with_capacity(LONGEST_V1);
    loop {
        match beginning(&seen) {
            Beginning::Needs(length) => {
                let from = seen.len();
                seen.resize(length, 0);
                let read = socket.read(seen.get_mut(from..).unwrap_or_default()).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                seen.truncate(from + read);
            }
            Beginning::Foreign => {
                socket.rewind(&seen);
                return Ok(Introduction::None);
            }
            Beginning::Header(length, client) => {
                socket.rewind(seen.get(length..).unwrap_or_default());
                return Ok(Introduction::Client(client));
            }
            Beginning::Malformed => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn beginning(seen: &[u8]) -> Beginning {
    if WORD.starts_with(seen.get(..WORD.len()).unwrap_or(seen)) {
        return version_1(seen);
    }
    if SIGNATURE.starts_with(seen.get(..SIGNATURE.len()).unwrap_or(seen)) {
        return version_2(seen);
    }
    Beginning::Foreign
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n`
fn version_1(seen: &[u8]) -> Beginning {
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        // Byte by byte near the end would be polite; to read more is right, too: what is too much goes back.
        return if seen.len() < LONGEST_V1 { Beginning::Needs(LONGEST_V1) } else { Beginning::Malformed };
    };
    let line = seen.get(WORD.len()..end).and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let mut words = line.split(' ');
    let is_v6 = match words.next() {
        Some("TCP4") => false,
        Some("TCP6") => true,
        // Addresses may follow and mean nothing.
        Some("UNKNOWN") => return Beginning::Header(end + 2, None),
        _ => return Beginning::Malformed,
    };
    let mut address = || words.next()?.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv6() == is_v6);
    let (Some(source), Some(_)) = (address(), address()) else { return Beginning::Malformed };
    let mut port = || {
        // Digits only: `parse` would take a sign.
        let word = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))?;
        word.parse::<u16>().ok()
    };
    match (port(), port(), words.next()) {
        (Some(port), Some(_), None) => Beginning::Header(end + 2, Some(SocketAddr::new(source, port))),
        _ => Beginning::Malformed,
    }
}

fn version_2(seen: &[u8]) -> Beginning {
    let &[_, _, _, _, _, _, _, _, _, _, _, _, command, family, high, low, ref rest @ ..] = seen else {
        return Beginning::Needs(SIGNATURE.len() + 4);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = SIGNATURE.len() + 4 + length;
    if command >> 4 != 2 || whole > LONGEST_V2 {
        return Beginning::Malformed;
    }
    if seen.len() < whole {
        return Beginning::Needs(whole);
    }
    let client = match (command & 0xf, family) {
        // LOCAL: the proxy speaks for itself.
        (0, _) => return Beginning::Header(whole, None),
        (1, 0x11) => rest.get(..12).filter(|_| length >= 12).and_then(|bytes| match bytes {
            &[a, b, c, d, _, _, _, _, high, low, ..] => {
                Some(SocketAddr::new(IpAddr::from([a, b, c, d]), u16::from_be_bytes([high, low])))
            }
            _ => None,
        }),
        (1, 0x21) => rest.get(..36).filter(|_| length >= 36).and_then(|bytes| {
            let source: [u8; 16] = bytes.get(..16)?.try_into().ok()?;
            let port: [u8; 2] = bytes.get(32..34)?.try_into().ok()?;
            Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(source)), u16::from_be_bytes(port)))
        }),
        // UNSPEC, UDP and Unix sockets name no client of a TCP listener.
        (1, 0x00) => return Beginning::Header(whole, None),
        _ => None,
    };
    client.map_or(Beginning::Malformed, |client| Beginning::Header(whole, Some(client)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &[u8], client: Option<&str>) -> Beginning {
        Beginning::Header(text.len(), client.map(|client| client.parse().unwrap()))
    }

    #[test]
    fn version_1_is_read_to_the_letter() {
        for (text, client) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1234 443\r\n", Some("192.0.2.1:1234")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", Some("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN whatever there is\r\n", None),
        ] {
            assert_eq!(beginning(text.as_bytes()), header(text.as_bytes(), client), "{text}");
            let with_more = format!("{text}GET / HTTP/1.1\r\n\r\n");
            assert_eq!(beginning(with_more.as_bytes()), header(text.as_bytes(), client), "{text}");
        }
        for text in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 70000 2\r\n",
            "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
            "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        ] {
            assert_eq!(beginning(text.as_bytes()), Beginning::Malformed, "{text}");
        }
        assert_eq!(beginning(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat()), Beginning::Malformed);
        for text in ["", "P", "PROXY", "PROXY TCP4 1.2.3.4 1.2"] {
            assert!(matches!(beginning(text.as_bytes()), Beginning::Needs(_)), "{text}");
        }
        for text in ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\n", "\x16\x03\x01", "proxy TCP4"] {
            assert_eq!(beginning(text.as_bytes()), Beginning::Foreign, "{text}");
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [SIGNATURE.as_slice(), &[command, family], &u16::try_from(rest.len()).unwrap().to_be_bytes(), rest].concat()
    }

    #[test]
    fn version_2_is_read_with_what_follows_its_addresses() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 4, 210, 1, 187];
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 9;
        for (bytes, client) in [
            (v2(0x21, 0x11, &v4), Some("192.0.2.1:1234")),
            (v2(0x21, 0x11, &[v4.as_slice(), &[4, 0, 1, 0]].concat()), Some("192.0.2.1:1234")),
            (v2(0x21, 0x21, &v6), Some("[::1]:9")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0x00, &[]), None),
        ] {
            assert_eq!(beginning(&bytes), header(&bytes, client));
            for end in 0..bytes.len() {
                assert!(matches!(beginning(&bytes[..end]), Beginning::Needs(length) if length > end), "{end}");
            }
        }
        for bytes in [
            v2(0x11, 0x11, &v4),
            v2(0x22, 0x11, &v4),
            v2(0x21, 0x12, &v4),
            v2(0x21, 0x31, &[0; 216]),
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v4),
            v2(0x21, 0x11, &[0; 4090]),
        ] {
            assert_eq!(beginning(&bytes), Beginning::Malformed, "{:?}", &bytes[12..16]);
        }
    }
}
