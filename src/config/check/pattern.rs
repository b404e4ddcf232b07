use crate::model::{CanonicalPath, PathProblem};

/// A path pattern, taken apart to find out what it matches. `*` is one segment, a final `**` any number of them, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
    tail: Tail,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Exactly(String),
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Closed,
    Open,
}

impl Pattern {
    /// Takes a pattern apart; the error is a hint.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let canonical = CanonicalPath::parse(text).map_err(|problem| reason(problem).to_owned())?;
        if canonical.as_str() != text {
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
            "**" => Err("`**` can only be the last segment".to_owned()),
            text if text.contains('*') => Err("`*` stands for a whole segment, as in /a/*/c".to_owned()),
            text => Ok(Segment::Exactly(text.to_owned())),
        });
        Ok(Self { segments: segments.collect::<Result<_, _>>()?, tail })
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
                Segment::Any => *theirs != Segment::Exactly(String::new()),
                exactly => exactly == theirs,
            })
    }
}

fn reason(problem: PathProblem) -> &'static str {
    match problem {
        PathProblem::NotAbsolute => "a path begins with `/`",
        PathProblem::DotSegment => "requests with `.` or `..` segments are refused, so this would never match",
        PathProblem::EmptySegment => "requests with `//` are refused, so this would never match",
        PathProblem::Forbidden => "only characters of a URL path; `*` matches one segment, a final `**` all that follow",
        PathProblem::BadEscape => "requests with such an escape are refused, so this would never match",
        PathProblem::NotUtf8 => "requests whose escapes are not UTF-8 are refused, so this would never match",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars_for_whole_segments_only() {
        for fine in ["/", "/a", "/a/*/c", "/a/**", "/**", "/a/", "/*", "/v1/caf%C3%A9"] {
            assert!(Pattern::parse(fine).is_ok(), "{fine}");
        }
        for bad in ["", "a", "/a*", "/**/a", "/a/***", "/a/../b", "//a", "/{id}", "/a?b", "/%2f", "/%61", "/caf%c3%a9", "/a b"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_broader_pattern_covers_a_narrower_one() {
        let covers = |a: &str, b: &str| Pattern::parse(a).unwrap().covers(&Pattern::parse(b).unwrap());
        for (a, b) in [("/**", "/"), ("/**", "/a/*/c"), ("/a/**", "/a/b/**"), ("/a/**", "/a"), ("/a/*", "/a/b"), ("/*/b", "/a/b")]
        {
            assert!(covers(a, b), "{a} covers {b}");
        }
        for (a, b) in
            [("/a", "/**"), ("/a/b", "/a/*"), ("/a/**", "/b/**"), ("/a/*", "/a/**"), ("/a/b/**", "/a/**"), ("/a/*", "/a/")]
        {
            assert!(!covers(a, b), "{a} does not cover {b}");
        }
    }
}
