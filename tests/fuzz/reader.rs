use std::fmt;

/// A request as RFC 9112 reads it.
#[derive(Clone, Default)]
pub struct Reading {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub is_complete: bool,
}

/// Why bytes are no request.
#[derive(Debug)]
pub enum Unread {
    /// There should be more; with what there is, if the head is there.
    Incomplete(Reading),
    /// They never will be one.
    Wrong(&'static str),
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_complete { "whole" } else { "cut off" };
        write!(f, "{} {} ({end}) {:?}", self.method, self.target, String::from_utf8_lossy(&self.body))?;
        for (name, value) in self.fields.iter().filter(|(name, _)| name != "authorization") {
            write!(f, " [{name}: {}]", String::from_utf8_lossy(value).escape_debug())?;
        }
        Ok(())
    }
}

impl Reading {
    pub fn values(&self, name: &str) -> Vec<String> {
        let same = self.fields.iter().filter(|(field, _)| field == name);
        same.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// Path and query of an absolute-form target.
    pub fn origin_form(&self) -> String {
        match self.target.split_once("://") {
            Some((_, rest)) => match rest.find('/') {
                Some(at) => rest[at..].to_owned(),
                None => "/".to_owned(),
            },
            None => self.target.clone(),
        }
    }
}

/// Escapes of characters that need none are the same character (RFC 3986 §6.2.2), and their digits have no case.
pub fn plain(target: &str) -> String {
    let bytes = target.as_bytes();
    let (mut plain, mut at) = (String::new(), 0);
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                plain.push(byte as char);
                at += 3;
            }
            Some(byte) => {
                plain.push_str(&format!("%{byte:02X}"));
                at += 3;
            }
            None => {
                plain.push(bytes[at] as char);
                at += 1;
            }
        }
    }
    plain
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// One request from the beginning of the bytes, and what follows it. Empty lines before it are skipped (RFC 9112 §2.2).
pub fn read(bytes: &[u8]) -> Result<(Reading, &[u8]), Unread> {
    let mut rest = bytes;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    let mut reading = Reading::default();
    let line = line(&mut rest)?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target @ .., version] = &words[..] else { return Err(Unread::Wrong("no request line")) };
    // A space or a control character in the target should be refused (RFC 9112 §3.2). Pingora escapes it, and what else needs it in
    // such a target, before anybody can see it; that spelling is judged and passed on, so nobody reads it in two ways.
    let mut target = target.join(&b' ');
    if target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        let escaped = |byte: u8| if byte.is_ascii_graphic() { vec![byte] } else { format!("%{byte:02X}").into_bytes() };
        target = target.into_iter().flat_map(escaped).collect();
    }
    if !is_token(method) {
        return Err(Unread::Wrong("no method"));
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Unread::Wrong("no target"));
    }
    let is_11 = match *version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Unread::Wrong("no version")),
    };
    reading.method = String::from_utf8_lossy(method).into_owned();
    reading.target = String::from_utf8_lossy(&target).into_owned();
    loop {
        let line = self::line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Err(Unread::Wrong("no colon")) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) {
            return Err(Unread::Wrong("no field name"));
        }
        if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(Unread::Wrong("control character in a value"));
        }
        reading.fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
    }
    body(&mut reading, &mut rest, is_11)?;
    reading.is_complete = true;
    Ok((reading, rest))
}

fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Unread> {
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Err(Unread::Wrong("the head does not end")) };
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    line.strip_suffix(b"\r").ok_or(Unread::Wrong("a bare LF"))
}

fn body(reading: &mut Reading, rest: &mut &[u8], is_11: bool) -> Result<(), Unread> {
    let (lengths, codings) = (reading.values("content-length"), reading.values("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(()),
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| Unread::Wrong("a huge length"))?;
            reading.body = rest[..length.min(rest.len())].to_vec();
            if rest.len() < length {
                return Err(Unread::Incomplete(reading.clone()));
            }
            *rest = &rest[length..];
            Ok(())
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && is_11 => chunks(reading, rest),
        _ => Err(Unread::Wrong("ambiguous framing")),
    }
}

fn chunks(reading: &mut Reading, rest: &mut &[u8]) -> Result<(), Unread> {
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return Err(Unread::Incomplete(reading.clone()));
        };
        let size = rest[..end].split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
        // An empty size should be refused, too. Pingora takes it for the last chunk and writes chunks of its own, so the backend is
        // told that the body ends here, as we are.
        let size = if end == 0 { b"0" } else { size };
        let size = std::str::from_utf8(size).ok().filter(|size| !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit()));
        // The head is out already when a chunk turns out to be wrong: the backend gets no end.
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return Err(Unread::Incomplete(reading.clone()));
        };
        *rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        reading.body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size || !rest[size..].starts_with(b"\r\n") {
            return Err(Unread::Incomplete(reading.clone()));
        }
        *rest = &rest[size + 2..];
    }
    // Trailers.
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return Err(Unread::Incomplete(reading.clone()));
        };
        *rest = &rest[end + 2..];
        if end == 0 {
            return Ok(());
        }
    }
}
