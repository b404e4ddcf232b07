use super::CanonicalPath;

/// Bytes of an address to come back to: it travels in a cookie.
const LONGEST: usize = 1024;

/// The page of this site that a text names, spelt so that nobody can read another site into it: a canonical path, and a query of visible
/// ASCII. `None` for everything else.
///
/// A list of what is allowed and no list of tricks: browsers read `/\e`, `/%09/e`, `//e` and `https:e` in ways of their own, and a path that
/// the intake would take never looks like that.
pub fn local_page(text: &str) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let path = CanonicalPath::parse(path).ok()?;
    match query {
        None => Some(path.as_str().to_owned()),
        Some(query) if query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') => Some(format!("{path}?{query}")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::*;

    /// Addresses that lead elsewhere, or did in somebody's browser or library.
    const ELSEWHERE: &[&str] = &[
        "",
        "evil.example",
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "//evil.example/%2f..",
        "//evil.example/..;/css",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "/\\/evil.example",
        "//\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "\u{0}//evil.example",
        "/%09/evil.example",
        "/%0a/evil.example",
        "/%0d%0aLocation:%20//evil.example",
        "/%5cevil.example",
        "/%2fevil.example",
        "/%2f%2fevil.example",
        "/.//evil.example",
        "/./\\evil.example",
        "/..//evil.example",
        "/../..//evil.example",
        "/x/..//evil.example",
        "/%2e%2e//evil.example",
        "/;//evil.example",
        "/;@evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https://evil.example",
        "https:///evil.example",
        "HTTPS://evil.example",
        "http://evil.example",
        "http:\\\\evil.example",
        "ht\ttps://evil.example",
        "h\nttp://evil.example",
        "ftp://evil.example",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "\u{1}javascript:alert(1)",
        "/javascript:alert(1)\u{0}",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox(1)",
        "blob:https://evil.example/x",
        "file:///etc/passwd",
        "about:blank",
        "@evil.example",
        "//user@evil.example",
        "//localhost@evil.example",
        "//evil.example:80",
        "//evil.example#/",
        "//evil.example?/",
        "//[::1]/",
        "//127.0.0.1",
        "//2130706433",
        "//xn--evil",
        "/\u{2028}/evil.example",
        "/\u{ff0f}evil.example",
        "\u{3002}evil.example",
        "/\u{200b}/evil.example",
        "/a b",
        "/a\"b",
        "/<script>",
        "/a#//evil.example",
        "/a?b#c",
        "/a?b\r\nSet-Cookie: x=y",
        "/a?b c",
        "?//evil.example",
        "#//evil.example",
        "?",
        "/%zz",
        "/%c0%af/evil.example",
        "/%ff",
        "/%u2215evil.example",
        "//%65vil.example",
        "/a/%252f/evil",
    ];

    const HERE: &[&str] = &[
        "/",
        "/a",
        "/a/",
        "/orders/7?tab=items",
        "/a?next=https://evil.example//x",
        "/a?x=\\\\evil",
        "/caf%C3%A9",
        "/a:b@c",
        "/a,b=c",
        "/a?",
        "/.well-known/x",
        "/a?b?c",
    ];

    /// The judge is the WHATWG algorithm, in the library that Servo has.
    #[test]
    fn d9_every_page_is_on_this_site_as_a_browser_reads_it() {
        let here = Url::parse("https://www.example.com/oauth2/callback?code=x").unwrap();
        for text in HERE {
            let page = local_page(text).unwrap_or_else(|| panic!("{text:?}"));
            assert_eq!(page, *text);
        }
        let generated = ELSEWHERE.iter().flat_map(|text| {
            ["", "/", "//", "/.", "/..", "\\", "\t", "%09", "%5c", "%2f"].map(|before| format!("{before}{text}"))
        });
        for text in generated.chain(HERE.iter().map(|text| (*text).to_owned())) {
            let Some(page) = local_page(&text) else { continue };
            let target = here.join(&page).unwrap();
            assert_eq!(target.origin(), here.origin(), "{text:?} became {page:?}");
            assert!(page.starts_with('/') && !page.starts_with("//") && page.is_ascii(), "{page:?}");
            // What the browser asks for is what was meant: nothing in it is resolved away.
            assert_eq!(target.path(), page.split('?').next().unwrap(), "{text:?}");
        }
        for text in ELSEWHERE {
            assert_eq!(local_page(text), None, "{text:?}");
        }
        assert_eq!(local_page(&format!("/{}", "a".repeat(LONGEST))), None);
    }
}
