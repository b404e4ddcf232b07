use std::sync::Arc;

use rhai::Position;

use super::program::Files;
use crate::model::{Problem, Source, Span};

impl Files {
    /// Where a Rhai position is: the file and the bytes of the token that begins there.
    pub(super) fn span(&self, position: Position) -> Option<(&Arc<Source>, Span)> {
        let (_, source, line) = self.locate(position.line()?)?;
        let start = line_start(&source.text, line)?;
        let rest = source.text.get(start..)?;
        let column = position.position().unwrap_or(1).saturating_sub(1);
        let within: usize = rest.chars().take(column).take_while(|c| *c != '\n').map(char::len_utf8).sum();
        let length = rest.get(within..).map_or(0, token_length);
        Some((source, Span { start: start + within, length }))
    }

    /// `problem` with its place.
    pub(super) fn at(&self, position: Position, problem: Problem) -> Problem {
        match self.span(position) {
            Some((source, span)) => problem.at(source, span),
            None => problem,
        }
    }

    /// `problem` at the last mention of `word` before `position`: the name of a function, whose body's brace is all that Rhai tells.
    pub(super) fn before(&self, position: Position, word: &str, problem: Problem) -> Problem {
        let found = self.span(position).and_then(|(source, span)| {
            let start = source.text.get(..span.start)?.rfind(word)?;
            Some((source, Span { start, length: word.len() }))
        });
        match found {
            Some((source, span)) => problem.at(source, span),
            None => self.at(position, problem),
        }
    }
}

fn line_start(text: &str, line: usize) -> Option<usize> {
    if line <= 1 {
        return Some(0);
    }
    text.match_indices('\n').nth(line - 2).map(|(at, _)| at + 1)
}

/// Bytes of the token at the beginning of `text`: a word, a string, or a run of operator characters.
fn token_length(text: &str) -> usize {
    let mut chars = text.char_indices();
    let Some((_, first)) = chars.next() else { return 0 };
    let until = |end: &dyn Fn(char) -> bool| text.char_indices().skip(1).find(|(_, c)| end(*c)).map_or(text.len(), |(at, _)| at);
    match first {
        '\n' => 0,
        '"' | '`' => {
            let mut escaped = false;
            for (at, c) in chars {
                match c {
                    '\n' if first == '"' => return at,
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    _ if c == first => return at + 1,
                    _ => {}
                }
            }
            text.len()
        }
        c if c.is_alphanumeric() || c == '_' => until(&|c| !c.is_alphanumeric() && c != '_'),
        '!' | '=' | '<' | '>' | '&' | '|' | '+' | '-' | '*' | '/' | '%' | '?' | ':' | '.' => {
            until(&|c| !"!=<>&|+*?:.".contains(c)).min(2)
        }
        c => c.len_utf8(),
    }
}

/// The candidate that was probably meant.
pub(super) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let near = candidates.into_iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    near.filter(|(distance, candidate)| *distance > 0 && *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min()
        .map(|(_, c)| c)
}

/// "did you mean `x`?", or what there is.
pub(super) fn suggestion<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str> + Clone, kind: &str) -> String {
    match closest(word, candidates.clone()) {
        Some(close) => format!("did you mean `{close}`?"),
        None => {
            let all: Vec<_> = candidates.into_iter().take(12).collect();
            if all.is_empty() { format!("no {kind} is declared") } else { format!("{kind}: {}", all.join(", ")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_covers_the_token() {
        let text = "fn on_request(claims) {\n    route_to(\"api\");  // é\n    é != claims.x;\n}";
        let source = Arc::new(Source { name: "rules/a.rhai".into(), text: text.into() });
        let files = Files::new(&source, &[]);
        let at = |line, column| {
            let (_, span) = files.span(Position::new(line, column)).unwrap();
            &text[span.start..span.start + span.length]
        };
        assert_eq!(at(1, 4), "on_request");
        assert_eq!(at(2, 14), "\"api\"");
        assert_eq!(at(3, 7), "!=");
        assert_eq!(at(3, 10), "claims");
        assert_eq!(at(4, 1), "}");
    }

    #[test]
    fn only_near_words_are_suggested() {
        assert_eq!(closest("api-canry", ["api-canary", "api"]), Some("api-canary"));
        assert_eq!(closest("denny", ["deny", "allow"]), Some("deny"));
        assert_eq!(closest("xyz", ["deny", "allow"]), None);
        assert_eq!(suggestion("xyz", ["deny", "allow"], "verbs"), "verbs: deny, allow");
    }
}
