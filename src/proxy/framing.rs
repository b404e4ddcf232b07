//! What only the raw bytes of a request head can tell.
//!
//! Pingora repairs some ambiguities before its first hook: it drops `Content-Length` beside `Transfer-Encoding`, cuts a fragment
//! off the target, and takes a bare line feed for a line end. Another server on the way may have read the same bytes differently,
//! which is how requests are smuggled; so the head is looked at once more and refused. (A raw space in the target cannot be seen
//! here: pingora has already written `%20` over it, and that spelling is what is judged and forwarded.)

use crate::model::Malformed;

/// Checks the head of an HTTP/1 request as it was on the wire, up to and including the empty line.
pub(super) fn check(head: &[u8]) -> Result<(), Malformed> {
    let mut lines = lines(head);
    let request_line = lines.next().and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed::Framing)?;
    check_target(request_line)?;
    let (mut lengths, mut encodings) = (0, 0);
    let mut ended = false;
    for line in lines {
        if ended {
            // After the empty line nothing but the end of the split is left.
            if line.is_empty() { break } else { return Err(Malformed::Framing) }
        }
        // Every line ends with CR LF (RFC 9112 §2.2 lets a server take a bare LF, and so makes two readings possible).
        let line = line.strip_suffix(b"\r").ok_or(Malformed::Framing)?;
        let Some(colon) = memchr::memchr(b':', line) else {
            ended = line.is_empty();
            if ended {
                continue;
            } else {
                return Err(Malformed::Framing);
            };
        };
        match line.get(..colon) {
            Some(name) if name.eq_ignore_ascii_case(b"content-length") => {
                lengths += 1;
                let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
                if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
                    return Err(Malformed::Framing);
                }
            }
            Some(name) if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                encodings += 1;
                let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed::Framing);
                }
            }
            _ => {}
        }
    }
    if lengths + encodings > 1 { Err(Malformed::Framing) } else { Ok(()) }
}

/// What stands between line feeds. A token makes a head of a kilobyte, so it is searched sixteen and more bytes at a time.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    memchr::memchr_iter(b'\n', head).chain([head.len()]).filter_map(move |end| {
        let line = head.get(from..end);
        from = end + 1;
        line
    })
}

/// `method SP target SP version`, the target in visible ASCII without a fragment.
fn check_target(request_line: &[u8]) -> Result<(), Malformed> {
    let mut parts = request_line.split(|byte| *byte == b' ');
    let (Some(_), Some(target), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Malformed::Target);
    };
    let is_plain = target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    if is_plain && !target.is_empty() { Ok(()) } else { Err(Malformed::Target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Vec<u8> {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
    }

    #[test]
    fn rfc9112_one_framing_passes() {
        for lines in ["", "Content-Length: 3\r\n", "Transfer-Encoding: Chunked\r\n", "content-length:0\r\n"] {
            assert_eq!(check(&head(lines)), Ok(()), "{lines:?}");
        }
    }

    #[test]
    fn rfc9112_two_readings_are_refused() {
        for lines in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "X: y\n",
            "no colon\r\n",
        ] {
            assert_eq!(check(&head(lines)), Err(Malformed::Framing), "{lines:?}");
        }
    }

    #[test]
    fn rfc9112_targets_are_visible_ascii() {
        for (line, expected) in [
            ("GET /a?b HTTP/1.1", Ok(())),
            ("GET /a#b HTTP/1.1", Err(Malformed::Target)),
            ("GET /\u{e9} HTTP/1.1", Err(Malformed::Target)),
            ("GET /a\tb HTTP/1.1", Err(Malformed::Target)),
            ("GET  HTTP/1.1", Err(Malformed::Target)),
        ] {
            assert_eq!(check(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), expected, "{line}");
        }
    }
}
