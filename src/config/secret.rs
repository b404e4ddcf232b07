//! Reports show lines of the configuration, and a line may hold a secret. Blackened texts are byte for byte as long as the
//! original, so every place in them stays true.

use super::document::{Node, Value};
use super::problems::nearest;
use crate::model::Span;

/// The text without its secrets, also those in its comments; `None` if there are none.
pub(super) fn mask_nodes(text: &str, root: &Node) -> Option<String> {
    let mut spans = in_lines(&comments(text));
    collect(text, root, Exposure::Shown, &mut spans);
    blacken(text, &spans)
}

/// The same for a text that is not YAML, line by line.
pub(super) fn mask_lines(text: &str) -> Option<String> {
    let mut spans = in_lines(&comments(text));
    spans.extend(in_lines(text));
    blacken(text, &spans)
}

/// What follows a telling key on its line, and the lines that are indented below it.
fn in_lines(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut below: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let is_item = line.trim_start().starts_with('-');
        if below.is_some_and(|key| indent > key || (is_item && indent == key)) {
            spans.push(Span { start: start + indent, length: line.len() - indent });
        } else if !line.trim().is_empty() {
            below = None;
        }
        for (colon, _) in line.match_indices(':') {
            let before = line.get(..colon).unwrap_or_default().trim_end().trim_end_matches(['"', '\'']);
            let key = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).next().unwrap_or_default();
            if is_telling(key) {
                spans.push(Span { start: start + colon + 1, length: line.len() - colon - 1 });
                below = below.or(Some(indent));
                break;
            }
        }
        spans.extend(credentials(line).map(|span| Span { start: start + span.start, ..span }));
        start += line.len();
    }
    spans
}

/// The text as long as before, with blanks for everything that is not a comment.
fn comments(text: &str) -> String {
    let mut view = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let begins = |(at, _): &(usize, &str)| *at == 0 || line.get(..*at).is_some_and(|before| before.ends_with([' ', '\t']));
        let end = line.trim_end_matches(['\r', '\n']).len();
        let sign = line.match_indices('#').find(begins).map_or(end, |(at, _)| at + 1);
        view.push_str(&" ".repeat(sign.min(line.len())));
        view.push_str(line.get(sign..).unwrap_or_default());
    }
    view
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Exposure {
    Shown,
    Masked,
}

fn collect(text: &str, node: &Node, exposure: Exposure, spans: &mut Vec<Span>) {
    match &node.value {
        Value::Nothing => {}
        Value::List(items) => items.iter().for_each(|item| collect(text, item, exposure, spans)),
        Value::Mapping(entries) => {
            for entry in entries {
                if exposure == Exposure::Masked {
                    spans.push(entry.key_span);
                }
                let exposure = if is_telling(&entry.key) { Exposure::Masked } else { exposure };
                collect(text, &entry.node, exposure, spans);
            }
        }
        Value::Text(_) | Value::Unknown => {
            let written = text.get(node.span.start..node.span.start + node.span.length).unwrap_or_default();
            if exposure == Exposure::Masked && !is_mere_reference(written) {
                spans.push(node.span);
            }
            let shift = |span: Span| Span { start: node.span.start + span.start, ..span };
            spans.extend(credentials(written).map(shift));
            if written.contains('\n') {
                // A forgotten quote makes a text of many lines that were meant to be settings.
                spans.extend(in_lines(written).into_iter().map(shift));
            }
        }
    }
}

/// `${NAME}` names a secret without showing it; a default behind `:-` shows it.
fn is_mere_reference(written: &str) -> bool {
    let written = written.trim_matches('"');
    written.starts_with("${") && written.find('}') == Some(written.len() - 1) && !written.contains(":-")
}

/// Whether what follows this key, or the key that it was meant to be, is a secret.
fn is_telling(key: &str) -> bool {
    const PARTS: [&str; 7] = ["secret", "password", "passphrase", "passwd", "credential", "private_key", "api_key"];
    const WHOLE: [&str; 5] = ["token", "keys", "hmac", "authorization", "hash"];
    let key = key.to_lowercase();
    PARTS.iter().any(|part| key.contains(part))
        || WHOLE.contains(&key.as_str())
        || nearest(&key, ["hmac_secrets", "client_secret", "password"]).is_some()
}

/// The text without the credentials of its URLs, for a message.
pub(super) fn mask_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    let mut spans: Vec<_> = credentials(text).collect();
    spans.sort_by_key(|span| span.start);
    for span in spans.iter().filter(|span| span.length > 0) {
        shown.push_str(text.get(end..span.start).unwrap_or_default());
        shown.push('…');
        end = end.max(span.start + span.length);
    }
    shown.push_str(text.get(end..).unwrap_or_default());
    shown
}

/// The `user:password` of URLs, and what follows `password=`.
fn credentials(text: &str) -> impl Iterator<Item = Span> {
    const PARAMETERS: [&str; 5] = ["password=", "passwd=", "secret=", "token=", "key="];
    let word_at =
        |start: usize| text.get(start..).and_then(|rest| rest.split(|c: char| c.is_whitespace() || "\"'".contains(c)).next());
    let users = text.match_indices("://").filter_map(move |(at, separator)| {
        let start = at + separator.len();
        // Up to the last `@`: a password may hold a `/` although it should not.
        Some(Span { start, length: word_at(start)?.rfind('@')? })
    });
    let parameters = PARAMETERS.into_iter().flat_map(move |name| {
        text.match_indices(name).filter_map(move |(at, name)| {
            let start = at + name.len();
            Some(Span { start, length: word_at(start)?.split('&').next()?.len() })
        })
    });
    users.chain(parameters)
}

fn blacken(text: &str, spans: &[Span]) -> Option<String> {
    if spans.is_empty() {
        return None;
    }
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        for byte in bytes.iter_mut().skip(span.start).take(span.length) {
            // Line ends stay, so that lines are counted as before.
            if !matches!(*byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    // A span that cuts a character in half would leave half of it; show nothing at all then.
    Some(String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telling_keys_are_recognised_also_when_misspelt() {
        for key in ["hmac_secrets", "hmac_secret", "hmac_sercets", "Client_Secret", "password", "redis_password", "token"] {
            assert!(is_telling(key), "{key}");
        }
        for key in ["token_from", "account", "issuer", "audiences", "file", "address"] {
            assert!(!is_telling(key), "{key}");
        }
    }

    #[test]
    fn a_text_that_is_not_yaml_is_blackened_line_by_line() {
        let text = "a: 1\n  hmac_secrets: [one,\n    two]\n  hmac_secret:\n  - three\n  url: http://u:pw@h/\nb: [\n";
        let masked = mask_lines(text).unwrap();
        assert_eq!(masked.len(), text.len());
        for secret in ["one", "two", "three", "u:pw"] {
            assert!(!masked.contains(secret), "{secret} in {masked}");
        }
        assert!(masked.contains("url: http://****@h/\nb: ["), "{masked}");
        assert_eq!(mask_lines("a: 1\n"), None);
    }

    #[test]
    fn comments_are_read_for_secrets_too() {
        let text = "a: 1 # password: one\n# hmac_secrets:\n#   - two\n# fine\nb: \"#\"\r\n";
        let view = comments(text);
        assert_eq!(view.len(), text.len());
        let masked = blacken(text, &in_lines(&view)).unwrap();
        assert_eq!(masked, "a: 1 # password:****\n# hmac_secrets:\n#   *****\n# fine\nb: \"#\"\r\n");
    }

    #[test]
    fn messages_show_urls_without_their_credentials() {
        for (text, shown) in [
            ("http://u:p/w@h:1/x", "http://…@h:1/x"),
            ("postgres://h/db?password=abc&x=1", "postgres://h/db?password=…&x=1"),
            ("redis://:a@h?token=b", "redis://…@h?token=…"),
            ("http://h/", "http://h/"),
        ] {
            assert_eq!(mask_credentials(text), shown);
        }
    }
}
