//! Refusals as a page for people.

use bytes::Bytes;
use http::header::{self, HeaderMap};

use super::compress::thousandths;
use crate::model::settings::ErrorPages;

const STANDARD: &str = include_str!("page.html");

/// What a page says.
pub(super) struct Words<'a> {
    pub(super) status: u16,
    pub(super) title: &'a str,
    pub(super) reason: &'a str,
    pub(super) request_id: &'a str,
}

/// The page, if the operator has one and the client would rather have that than a problem document.
pub(super) fn page(pages: &ErrorPages, headers: &HeaderMap, words: &Words<'_>) -> Option<Bytes> {
    let template = match pages {
        ErrorPages::Off => return None,
        ErrorPages::Standard => STANDARD,
        ErrorPages::Template(text) => text,
    };
    prefers_html(headers).then(|| fill(template, words).into())
}

/// Browsers name `text/html` when they open a page, and only then; scripts and tools say `*/*` or want JSON.
fn prefers_html(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(header::ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
    let weight = |wanted: &[&str]| {
        let items = lines().flat_map(|line| line.split(','));
        let weights = items.filter_map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            wanted.iter().any(|wanted| name.trim().eq_ignore_ascii_case(wanted)).then(|| thousandths(parameters))
        });
        weights.max().unwrap_or(0)
    };
    let html = weight(&["text/html"]);
    html > 0 && html >= weight(&["application/problem+json", "application/json"])
}

fn fill(template: &str, words: &Words<'_>) -> String {
    let mut out = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        match name {
            "status" => out.push_str(&words.status.to_string()),
            "title" => escape(words.title, &mut out),
            "reason" => escape(words.reason, &mut out),
            "request_id" => escape(words.request_id, &mut out),
            _ => {
                out.push('{');
                rest = after;
                continue;
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// For text and for quoted attributes.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_who_names_html_gets_a_page() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html", true),
            ("TEXT/HTML;q=0.5", true),
            ("application/json, text/html;q=0.9", false),
            ("application/json, text/html", true),
            ("text/html;q=0", false),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers_html(&headers), expected, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    #[test]
    fn words_are_escaped_and_other_braces_stay() {
        let words = Words { status: 403, title: "<b>", reason: "a&'\"{status}", request_id: "01" };
        let page = fill("a { color: red } {status} {title} {reason} {request_id} {", &words);
        assert_eq!(page, "a { color: red } 403 &lt;b&gt; a&amp;&#39;&quot;{status} 01 {");
    }

    #[test]
    fn the_standard_page_is_complete_and_needs_nothing_else() {
        let words = Words { status: 404, title: "Not Found", reason: "no_route", request_id: "01J" };
        let page = fill(STANDARD, &words);
        for text in ["<title>404 Not Found</title>", ">no_route<", ">01J<"] {
            assert!(page.contains(text), "{text}");
        }
        for text in ["<script", "http:", "https:", "url(", "{status}", "{reason}"] {
            assert!(!page.contains(text), "{text}");
        }
    }
}
