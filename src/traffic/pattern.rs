/// A path pattern: segments are literal or `*` or `{name}` (exactly one segment), and a last `**` takes whatever follows, also nothing.
///
/// `/admin/**` therefore matches `/admin` too: the opposite would leave a door beside the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    names: Vec<(String, usize)>,
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Any,
}

impl PathPattern {
    /// Reads a pattern that begins with `/`; `config` has checked its characters.
    pub fn new(text: &str) -> Self {
        let text = text.strip_prefix('/').unwrap_or(text);
        let (text, open) = match text.strip_suffix("**") {
            Some(rest) => (rest.strip_suffix('/').unwrap_or(rest), true),
            None => (text, false),
        };
        let texts: Vec<&str> = if open && text.is_empty() { Vec::new() } else { text.split('/').collect() };
        let named = |(at, text): (usize, &&str)| Some((name(text)?.to_owned(), at));
        let names = texts.iter().enumerate().filter_map(named).collect();
        Self { segments: texts.into_iter().map(Segment::new).collect(), names, open }
    }

    /// Whether a canonical path matches.
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = path.strip_prefix('/').unwrap_or(path).split('/');
        for segment in &self.segments {
            match (segment, rest.next()) {
                (Segment::Any, Some(actual)) if !actual.is_empty() => {}
                (Segment::Literal(literal), Some(actual)) if literal == actual => {}
                _ => return false,
            }
        }
        self.open || rest.next().is_none()
    }

    /// Which segment has this name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, at)| *at)
    }

    /// What the final `**` stands for in a path that matches: nothing, or a slash and what follows it.
    pub(super) fn rest<'p>(&self, path: &'p str) -> &'p str {
        let end = path.match_indices('/').nth(self.segments.len()).map_or(path.len(), |(at, _)| at);
        path.get(end..).unwrap_or_default()
    }
}

/// The name in a segment like `{id}`.
fn name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

impl Segment {
    fn new(text: &str) -> Self {
        if text == "*" || name(text).is_some() { Self::Any } else { Self::Literal(text.to_owned()) }
    }
}

/// A host pattern: a name, or `*.` and a name for everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Any host with this suffix, which begins with a dot.
    Below(String),
}

impl HostPattern {
    /// Reads a pattern; case does not matter in hosts.
    pub fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix('*') {
            Some(suffix) => Self::Below(suffix.to_owned()),
            None => Self::Exact(text),
        }
    }

    /// Whether a lower-case host matches.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_segments() {
        for (pattern, path, expected) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/", false),
            ("/healthz", "/healthzz", false),
            ("/v1/**", "/v1", true),
            ("/v1/**", "/v1/", true),
            ("/v1/**", "/v1/a/b", true),
            ("/v1/**", "/v10", false),
            ("/**", "/", true),
            ("/**", "/anything/at/all", true),
            ("/v1/*/items", "/v1/7/items", true),
            ("/v1/*/items", "/v1//items", false),
            ("/v1/*/items", "/v1/7/8/items", false),
            ("/v1/*", "/v1/", false),
            ("/V1", "/v1", false),
            ("/v1/{id}/items", "/v1/7/items", true),
            ("/v1/{id}", "/v1/", false),
            ("/v1/{id}/**", "/v1/7", true),
        ] {
            assert_eq!(PathPattern::new(pattern).matches(path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn a_wildcard_host_needs_a_label_in_front() {
        for (pattern, host, expected) in [
            ("api.example.com", "api.example.com", true),
            ("API.Example.com", "api.example.com", true),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "evilexample.com", false),
        ] {
            assert_eq!(HostPattern::new(pattern).matches(host), expected, "{pattern} on {host}");
        }
    }
}
