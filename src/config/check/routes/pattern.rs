use crate::model::{CanonicalPath, PathProblem};

/// A path pattern, taken apart to find out what it matches. `*` and `{name}` are one segment, a final `**` any number of them, also
/// none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
    tail: Tail,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Exactly(String),
    Any,
    /// Any, with a name for `rewrite` and `redirect`.
    Named(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Closed,
    Open,
}

impl Pattern {
    /// Takes a pattern apart; the error is a hint.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // Braces are no characters of a path; for its spelling a name is as good as a star.
        let bare: Vec<&str> = text.split('/').map(|segment| if name(segment).is_some() { "*" } else { segment }).collect();
        let bare = bare.join("/");
        let canonical = CanonicalPath::parse(&bare).map_err(|problem| reason(problem).to_owned())?;
        if canonical.as_str() != bare {
            // Requests are matched in their canonical spelling, so another one would never match.
            return Err(format!("requests are matched in one spelling: write `{canonical}`"));
        }
        let mut texts: Vec<&str> = text.split('/').skip(1).collect();
        let tail = if texts.last() == Some(&"**") { Tail::Open } else { Tail::Closed };
        if tail == Tail::Open {
            texts.pop();
        }
        let segments = texts.into_iter().map(|segment| match segment {
            "*" => Ok(Segment::Any),
            segment if name(segment).is_some() => Ok(Segment::Named(name(segment).unwrap_or_default().to_owned())),
            "**" => Err("`**` can only be the last segment".to_owned()),
            text if text.contains('*') => Err("`*` stands for a whole segment, as in /a/*/c".to_owned()),
            text => Ok(Segment::Exactly(text.to_owned())),
        });
        let pattern = Self { segments: segments.collect::<Result<_, _>>()?, tail };
        let names = pattern.names();
        if let Some(name) = names.iter().enumerate().find_map(|(i, name)| names.iter().skip(i + 1).find(|other| *other == name)) {
            return Err(format!("{{{name}}} is there twice"));
        }
        match names.iter().find(|name| ["path", "rest"].contains(name)) {
            Some(name) => Err(format!("{{{name}}} has a meaning of its own in redirects: choose another name")),
            None => Ok(pattern),
        }
    }

    /// The names of segments.
    pub(super) fn names(&self) -> Vec<&str> {
        self.segments
            .iter()
            .filter_map(|segment| if let Segment::Named(name) = segment { Some(name.as_str()) } else { None })
            .collect()
    }

    /// Whether a segment is any one, but has no name.
    pub(super) fn has_anonymous(&self) -> bool {
        self.segments.contains(&Segment::Any)
    }

    /// Whether it ends in `/**`.
    pub(super) fn is_open(&self) -> bool {
        self.tail == Tail::Open
    }

    /// Whether this can stand in braces.
    pub(super) fn is_placeholder(name: &str) -> bool {
        name.len() <= 32
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    }

    /// Whether this matches every path that `other` matches.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let long_enough = match (self.tail, other.tail) {
            (Tail::Open, _) => self.segments.len() <= other.segments.len(),
            (Tail::Closed, Tail::Closed) => self.segments.len() == other.segments.len(),
            (Tail::Closed, Tail::Open) => false,
        };
        long_enough
            && self.segments.iter().zip(&other.segments).all(|(mine, theirs)| match mine {
                // An empty segment is a final slash, for which `*` does not stand.
                Segment::Any | Segment::Named(_) => *theirs != Segment::Exactly(String::new()),
                exactly @ Segment::Exactly(_) => exactly == theirs,
            })
    }
}

/// The name in a segment like `{id}`.
fn name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}').filter(|name| Pattern::is_placeholder(name))
}

fn reason(problem: PathProblem) -> &'static str {
    match problem {
        PathProblem::NotAbsolute => "a path begins with `/`",
        PathProblem::DotSegment => "requests with `.` or `..` segments are refused, so this would never match",
        PathProblem::EmptySegment => "requests with `//` are refused, so this would never match",
        PathProblem::Forbidden => {
            "only characters of a URL path; `*` and `{name}` match one segment, a final `**` all that follow"
        }
        PathProblem::BadEscape => "requests with such an escape are refused, so this would never match",
        PathProblem::NotUtf8 => "requests whose escapes are not UTF-8 are refused, so this would never match",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars_for_whole_segments_only() {
        for fine in ["/", "/a", "/a/*/c", "/a/**", "/**", "/a/", "/*", "/v1/caf%C3%A9", "/{id}", "/a/{b_2}/{c}/**"] {
            assert!(Pattern::parse(fine).is_ok(), "{fine}");
        }
        for bad in [
            "",
            "a",
            "/a*",
            "/**/a",
            "/a/***",
            "/a/../b",
            "//a",
            "/{Id}",
            "/{}",
            "/a{b}",
            "/{a}/{a}",
            "/{path}",
            "/{",
            "/a?b",
            "/%2f",
            "/%61",
            "/caf%c3%a9",
            "/a b",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_broader_pattern_covers_a_narrower_one() {
        let covers = |a: &str, b: &str| Pattern::parse(a).unwrap().covers(&Pattern::parse(b).unwrap());
        for (a, b) in [
            ("/**", "/"),
            ("/**", "/a/*/c"),
            ("/a/**", "/a/b/**"),
            ("/a/**", "/a"),
            ("/a/*", "/a/b"),
            ("/*/b", "/a/b"),
            ("/{x}", "/*"),
            ("/*", "/{x}"),
        ] {
            assert!(covers(a, b), "{a} covers {b}");
        }
        for (a, b) in
            [("/a", "/**"), ("/a/b", "/a/*"), ("/a/**", "/b/**"), ("/a/*", "/a/**"), ("/a/b/**", "/a/**"), ("/a/*", "/a/")]
        {
            assert!(!covers(a, b), "{a} does not cover {b}");
        }
    }
}
