use std::fmt;

/// A request path in its one spelling: matched, judged, billed and forwarded byte for byte.
///
/// RFC 3986 §6.2.2 as far as it cannot change the meaning: percent-encoded unreserved characters are decoded, the other escapes
/// get upper-case digits. Whatever two servers may read differently is refused instead of repaired: dot segments and empty
/// segments (also escaped), escaped slashes and backslashes, `;` parameters, double escapes, control characters, bytes that are
/// not UTF-8. Cleaning them would be friendlier, but is how a path comes to be matched in one form and served in another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath(String);

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    /// Does not begin with a slash.
    NotAbsolute,
    /// A `.` or `..` segment.
    DotSegment,
    /// `//`.
    EmptySegment,
    /// A character that RFC 3986 does not allow, or a control character.
    Forbidden,
    /// `%` without two hex digits, or an escape of something that must not be escaped.
    BadEscape,
    /// Escapes that are not UTF-8.
    NotUtf8,
}

impl CanonicalPath {
    /// Canonicalises `raw`, the path of a request target without its query.
    pub fn parse(raw: &str) -> Result<Self, PathProblem> {
        if !raw.starts_with('/') {
            return Err(PathProblem::NotAbsolute);
        }
        let mut spelled = Vec::with_capacity(raw.len());
        let mut decoded_differs = false;
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'%' => {
                    let value = escape(bytes.next(), bytes.next())?;
                    match value {
                        // A slash or backslash in disguise, a terminator, a second layer of escapes, a parameter.
                        b'/' | b'\\' | b'%' | b';' | 0..=0x1f | 0x7f => return Err(PathProblem::BadEscape),
                        value if unreserved(value) => spelled.push(value),
                        value => {
                            decoded_differs |= value >= 0x80;
                            spelled.extend([b'%', hex(value >> 4), hex(value & 15)]);
                        }
                    }
                }
                byte if unreserved(byte) || b"/!$&'()*+,=:@".contains(&byte) => spelled.push(byte),
                _ => return Err(PathProblem::Forbidden),
            }
        }
        // Only ASCII was pushed, so this cannot fail; the fallback keeps the function total.
        let spelled = String::from_utf8(spelled).map_err(|_| PathProblem::NotUtf8)?;
        if decoded_differs && std::str::from_utf8(&unescape(&spelled)).is_err() {
            return Err(PathProblem::NotUtf8);
        }
        let mut segments = spelled.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "." | ".." => return Err(PathProblem::DotSegment),
                "" if segments.peek().is_some() => return Err(PathProblem::EmptySegment),
                _ => {}
            }
        }
        Ok(Self(spelled))
    }

    /// Stands for the path of a request that was refused before its path was read; no route matches it.
    pub fn unknown() -> Self {
        Self("-".to_owned())
    }

    /// The canonical spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

const fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

fn escape(high: Option<u8>, low: Option<u8>) -> Result<u8, PathProblem> {
    let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err(PathProblem::BadEscape),
    }
}

/// Undoes the escapes of an already canonical spelling.
fn unescape(canonical: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(canonical.len());
    let mut bytes = canonical.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            out.extend(escape(bytes.next(), bytes.next()));
        } else {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc3986_equivalent_spellings_become_one() {
        for (raw, canonical) in [
            ("/", "/"),
            ("/v1/orders/", "/v1/orders/"),
            ("/%41dmin", "/Admin"),
            ("/a%2db", "/a-b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/a:b@c,d=e(f)", "/a:b@c,d=e(f)"),
            ("/...", "/..."),
            ("/a%3fb", "/a%3Fb"),
        ] {
            assert_eq!(CanonicalPath::parse(raw).unwrap().as_str(), canonical, "{raw}");
        }
    }

    #[test]
    fn ambiguous_spellings_are_refused() {
        for (raw, problem) in [
            ("", PathProblem::NotAbsolute),
            ("admin", PathProblem::NotAbsolute),
            ("/x/../admin", PathProblem::DotSegment),
            ("/x/%2e%2E/admin", PathProblem::DotSegment),
            ("/x/.%2e", PathProblem::DotSegment),
            ("/./x", PathProblem::DotSegment),
            ("/x/.", PathProblem::DotSegment),
            ("//admin", PathProblem::EmptySegment),
            ("/x//", PathProblem::EmptySegment),
            ("/a%2fb", PathProblem::BadEscape),
            ("/a%5Cb", PathProblem::BadEscape),
            ("/a%00", PathProblem::BadEscape),
            ("/a%252e", PathProblem::BadEscape),
            ("/a%", PathProblem::BadEscape),
            ("/a%g0", PathProblem::BadEscape),
            ("/a%3bx", PathProblem::BadEscape),
            ("/a;x=1", PathProblem::Forbidden),
            ("/a\\b", PathProblem::Forbidden),
            ("/a b", PathProblem::Forbidden),
            ("/é", PathProblem::Forbidden),
            ("/a#b", PathProblem::Forbidden),
            ("/a\u{0}", PathProblem::Forbidden),
            ("/%c0%af", PathProblem::NotUtf8),
            ("/%ff", PathProblem::NotUtf8),
        ] {
            assert_eq!(CanonicalPath::parse(raw), Err(problem), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn canonical_paths_are_idempotent(raw in "/[a-zA-Z0-9%./;\\\\ é~_-]{0,40}") {
            if let Ok(path) = CanonicalPath::parse(&raw) {
                prop_assert_eq!(CanonicalPath::parse(path.as_str()), Ok(path.clone()));
                prop_assert!(!path.as_str().split('/').any(|segment| segment == ".."));
                prop_assert!(!path.as_str().contains("//"));
            }
        }

        #[test]
        fn any_text_is_answered_without_a_panic(raw in any::<String>()) {
            let _ = CanonicalPath::parse(&raw);
        }
    }
}
