/// A word of JavaScript, as far as assignments are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word {
        text: String,
        starts_line: bool,
    },
    /// `None` if only an engine could say what it is.
    Text {
        value: Option<String>,
        starts_line: bool,
    },
    Number {
        whole: bool,
        starts_line: bool,
    },
    Sign {
        text: &'static str,
        starts_line: bool,
    },
}

/// The longest first.
const SIGNS: [&str; 53] = [
    ">>>=", "===", "!==", "**=", "<<=", ">>=", ">>>", "&&=", "||=", "??=", "...", "=>", "==", "!=", "<=", ">=", "+=", "-=", "*=",
    "/=", "%=", "&=", "|=", "^=", "++", "--", "&&", "||", "??", "?.", "**", "<<", ">>", "{", "}", "(", ")", "[", "]", ";", ",",
    "<", ">", "+", "-", "*", "/", "%", "=", "?", ":", ".", "!",
];

const CHANGES: [&str; 17] =
    [">>>=", "**=", "<<=", ">>=", "&&=", "||=", "??=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "++", "--"];

impl Token {
    pub(super) fn word(&self) -> Option<&str> {
        if let Self::Word { text, .. } = self { Some(text) } else { None }
    }

    pub(super) fn is_word(&self, wanted: &str) -> bool {
        self.word() == Some(wanted)
    }

    pub(super) fn is_sign(&self, wanted: &str) -> bool {
        matches!(self, Self::Sign { text, .. } if *text == wanted)
    }

    pub(super) fn is_any_sign(&self) -> bool {
        matches!(self, Self::Sign { .. })
    }

    /// Whether it changes what stands before it.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::Sign { text, .. } if CHANGES.contains(text))
    }

    pub(super) fn starts_line(&self) -> bool {
        match self {
            Self::Word { starts_line, .. }
            | Self::Text { starts_line, .. }
            | Self::Number { starts_line, .. }
            | Self::Sign { starts_line, .. } => *starts_line,
        }
    }

    /// Whether a `/` behind it divides; otherwise a regular expression begins there.
    fn is_value(&self) -> bool {
        const NO_VALUES: [&str; 8] = ["return", "typeof", "case", "in", "of", "delete", "void", "throw"];
        match self {
            Self::Word { text, .. } => !NO_VALUES.contains(&&**text),
            Self::Text { .. } | Self::Number { .. } => true,
            // Behind the `)` of an `if` it would be a regular expression, so that does not count.
            Self::Sign { text, .. } => *text == "]",
        }
    }
}

/// `None` where only a parser of the whole language would know how to go on: regular expressions, and what is never closed.
pub(super) fn split(text: &str) -> Option<Vec<Token>> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = text;
    let mut starts_line = true;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            starts_line |= first == '\n';
            rest = rest.get(first.len_utf8()..)?;
        } else if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| rest.get(end..).unwrap_or_default());
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let (inside, after) = comment.split_once("*/")?;
            starts_line |= inside.contains('\n');
            rest = after;
        } else {
            let (token, after) = if matches!(first, '"' | '\'' | '`') {
                quoted(rest.get(1..)?, first, starts_line)?
            } else if first.is_ascii_digit() {
                number(rest, starts_line)
            } else if is_of_word(first) {
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                (Token::Word { text: rest.get(..end)?.to_owned(), starts_line }, rest.get(end..)?)
            } else {
                if first == '/' && !tokens.last().is_some_and(Token::is_value) {
                    return None;
                }
                let text = SIGNS.into_iter().find(|sign| rest.starts_with(sign)).unwrap_or("~");
                (Token::Sign { text, starts_line }, rest.get(if text == "~" { first.len_utf8() } else { text.len() }..)?)
            };
            tokens.push(token);
            starts_line = false;
            rest = after;
        }
    }
    Some(tokens)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn number(rest: &str, starts_line: bool) -> (Token, &str) {
    // An exponent, a radix or a suffix makes it something else than a plain whole number.
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    (Token::Number { whole: text.chars().all(|c| c.is_ascii_digit() || c == '_'), starts_line }, after)
}

/// The rest behind the quote that `rest` is inside of. Escapes and `${…}` are passed over, not understood.
fn quoted(rest: &str, quote: char, starts_line: bool) -> Option<(Token, &str)> {
    let mut is_plain = true;
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            (escaped, is_plain) = (true, false);
        } else if c == quote {
            let inside = rest.get(..at)?;
            // A template inside of a template would end elsewhere.
            if quote == '`' && inside.contains("${") {
                is_plain = false;
                if inside.matches("${").count() != inside.matches('}').count() {
                    return None;
                }
            }
            let value = is_plain.then(|| inside.to_owned());
            return Some((Token::Text { value, starts_line }, rest.get(at + 1..)?));
        } else if c == '\n' && quote != '`' {
            return None;
        }
    }
    None
}
