use super::PathPattern;
use crate::model::CanonicalPath;
use crate::model::settings::{Redirect, Rewrite};

/// Makes other paths of those that a pattern matched, without looking at anything but the path that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    pattern: PathPattern,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// A segment of the path.
    Segment(usize),
    /// What `**` stands for, with its slash.
    Rest,
    /// The same without its slash.
    BareRest,
    /// The whole path without its slash.
    BarePath,
}

impl PathTemplate {
    /// For the upstream's path; `config` has checked that every name exists.
    pub fn rewriting(pattern: &str, rewrite: &Rewrite) -> Self {
        let pattern = PathPattern::new(pattern);
        let pieces = match rewrite {
            Rewrite::Prefix(prefix) => vec![Piece::Literal(prefix.clone()), Piece::Rest],
            Rewrite::Path(text) => {
                let (text, is_open) = text.strip_suffix("/**").map_or((text.as_str(), false), |text| (text, true));
                let mut pieces = pieces(&pattern, text);
                pieces.extend(is_open.then_some(Piece::Rest));
                pieces
            }
        };
        Self { pattern, pieces }
    }

    /// For the `Location` of a redirect.
    pub fn redirecting(pattern: &str, redirect: &Redirect) -> Self {
        let pattern = PathPattern::new(pattern);
        let pieces = pieces(&pattern, &redirect.to);
        Self { pattern, pieces }
    }

    /// The text for a path that the pattern matched.
    pub fn fill(&self, path: &CanonicalPath) -> String {
        let path = path.as_str();
        let mut out = String::with_capacity(path.len() + 64);
        for piece in &self.pieces {
            let rest = self.pattern.rest(path);
            out.push_str(match piece {
                Piece::Literal(text) => text,
                Piece::Segment(at) => path.split('/').nth(at + 1).unwrap_or_default(),
                Piece::Rest => rest,
                Piece::BareRest => rest.strip_prefix('/').unwrap_or(rest),
                Piece::BarePath => path.strip_prefix('/').unwrap_or(path),
            });
        }
        out
    }

    /// The path for the upstream. `None` never happens to a configuration that was checked: canonical segments between canonical
    /// ones are a canonical path.
    pub fn path(&self, path: &CanonicalPath) -> Option<CanonicalPath> {
        let filled = self.fill(path);
        CanonicalPath::parse(if filled.is_empty() { "/" } else { &filled }).ok()
    }
}

fn pieces(pattern: &PathPattern, text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        pieces.push(Piece::Literal(before.to_owned()));
        pieces.push(match name {
            "path" => Piece::BarePath,
            "rest" => Piece::BareRest,
            name => pattern.position(name).map_or_else(|| Piece::Literal(String::new()), Piece::Segment),
        });
        rest = after;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(pattern: &str, rewrite: &Rewrite, path: &str) -> String {
        let path = CanonicalPath::parse(path).unwrap();
        assert!(PathPattern::new(pattern).matches(path.as_str()));
        PathTemplate::rewriting(pattern, rewrite).path(&path).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_prefix_is_what_stands_before_the_stars() {
        for (pattern, prefix, path, expected) in [
            ("/api/**", "/internal", "/api/a/b", "/internal/a/b"),
            ("/api/**", "/internal", "/api", "/internal"),
            ("/api/**", "/internal", "/api/", "/internal/"),
            ("/api/**", "", "/api/a", "/a"),
            ("/api/**", "", "/api", "/"),
            ("/api/**", "", "/api/", "/"),
            ("/**", "/v2", "/a", "/v2/a"),
            ("/**", "/v2", "/", "/v2/"),
            ("/t/{tenant}/**", "/x", "/t/acme/a%20b", "/x/a%20b"),
        ] {
            assert_eq!(rewritten(pattern, &Rewrite::Prefix(prefix.into()), path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_template_takes_segments_by_name() {
        for (pattern, template, path, expected) in [
            ("/v1/{org}/users/{id}", "/users/{id}/of/{org}", "/v1/acme/users/7", "/users/7/of/acme"),
            ("/v1/{id}/**", "/v2/{id}/**", "/v1/7/a/b", "/v2/7/a/b"),
            ("/v1/{id}/**", "/v2/{id}/**", "/v1/7", "/v2/7"),
            ("/v1/{id}/**", "/v2/{id}/**", "/v1/7/", "/v2/7/"),
            ("/v1/{id}/**", "/one", "/v1/7/a", "/one"),
            ("/**", "/**", "/a/b", "/a/b"),
            ("/a/**", "/**", "/a", "/"),
        ] {
            assert_eq!(rewritten(pattern, &Rewrite::Path(template.into()), path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_redirect_takes_the_path_or_parts_of_it() {
        let to = |pattern: &str, to: &str, path: &str| {
            let redirect = Redirect { status: 308, to: to.into(), keeps_query: true };
            PathTemplate::redirecting(pattern, &redirect).fill(&CanonicalPath::parse(path).unwrap())
        };
        assert_eq!(to("/**", "https://new.example/{path}", "/a/b"), "https://new.example/a/b");
        assert_eq!(to("/old/**", "/new/{rest}", "/old/a/b"), "/new/a/b");
        assert_eq!(to("/old/**", "/{rest}", "/old"), "/");
        assert_eq!(to("/u/{id}", "https://x.example/{id}?from={id}", "/u/7"), "https://x.example/7?from=7");
    }

    proptest! {
        #[test]
        fn what_was_rewritten_is_canonical(path in "/[a-z%0-9A-F./]{0,30}", prefix in prop::sample::select(vec!["", "/x", "/x/y"])) {
            if let Ok(path) = CanonicalPath::parse(&format!("/v1{path}")) {
                let template = PathTemplate::rewriting("/v1/**", &Rewrite::Prefix(prefix.into()));
                if PathPattern::new("/v1/**").matches(path.as_str()) {
                    let made = template.path(&path).unwrap();
                    prop_assert_eq!(CanonicalPath::parse(made.as_str()), Ok(made.clone()));
                }
            }
        }
    }
}
