use std::borrow::Cow;

use form_urlencoded::{Serializer, parse};

use crate::identity::login::Wishes;

/// Longer ones are nobody's.
const LONGEST: usize = 1024;
/// What pages may pass on to the login page beside scopes (`authParams` of the SDKs).
const PASSED_ON: [&str; 7] = ["acr_values", "idp_hint", "locale", "login_hint", "max_age", "prompt", "ui_locales"];

/// A request for one of the endpoints of the contract.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `login`, `register`, `callback`, `refresh`, `me` or `logout`.
    pub endpoint: &'a str,
    /// FusionAuth has the application's id in the path, its SDKs have it in the query.
    in_path: Option<&'a str>,
    query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Asked<'a> {
    pub(super) fn read(path: &'a str, query: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/app/")?;
        let (endpoint, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let id = rest.strip_suffix('/').unwrap_or(rest);
        let takes_id = matches!(endpoint, "login" | "register" | "refresh" | "logout");
        if id.contains('/') || !(takes_id || matches!(endpoint, "callback" | "me") && id.is_empty()) {
            return None;
        }
        Some(Self { endpoint, in_path: Some(id).filter(|id| !id.is_empty()), query: parse(query.as_bytes()).collect() })
    }

    /// Whether the application is this one, wherever it says so, and nowhere another.
    pub(super) fn is_for(&self, client_id: &str) -> bool {
        let in_query = self.query.iter().filter(|(name, _)| name == "client_id").map(|(_, value)| &**value);
        let mut all = self.in_path.into_iter().chain(in_query).peekable();
        all.peek().is_some() && all.all(|id| id == client_id)
    }

    /// Where the page is to be sent after a login: one of `allowed`, with the page's own `state`.
    pub(super) fn target(&self, allowed: &[String]) -> Option<String> {
        let target = one_of(self.only("redirect_uri")?, allowed)?;
        let Some(state) = self.only("state")? else { return Some(target.to_owned()) };
        if state.len() > LONGEST {
            return None;
        }
        let joint = if target.contains('?') { '&' } else { '?' };
        Some(format!("{target}{joint}{}", Serializer::new(String::new()).append_pair("state", state).finish()))
    }

    /// Where the page is to be sent after a logout: FusionAuth's documentation and its SDKs have two names for it.
    pub(super) fn after_logout(&self, allowed: &[String]) -> Option<String> {
        match (self.only("post_logout_redirect_uri")?, self.only("redirect_uri")?) {
            (Some(_), Some(_)) => None,
            (named, other) => one_of(named.or(other), allowed).map(str::to_owned),
        }
    }

    /// Scopes, with `openid` because somebody must say who logged in, and what else is passed on.
    pub(super) fn wishes(&self, registers: bool) -> Option<Wishes> {
        let is_scope = |c: char| c == ' ' || c.is_ascii_graphic() && c != '"' && c != '\\';
        let scope = match self.only("scope")? {
            None => None,
            Some(scope) if scope.len() > LONGEST || !scope.chars().all(is_scope) => return None,
            Some(scope) if scope.split(' ').any(|scope| scope == "openid") => Some(scope.to_owned()),
            Some(scope) => Some(format!("openid {scope}")),
        };
        let mut parameters = Vec::new();
        for name in PASSED_ON {
            if let Some(value) = self.only(name)? {
                if value.len() > LONGEST {
                    return None;
                }
                parameters.push((name.to_owned(), value.to_owned()));
            }
        }
        Some(Wishes { scope: scope.map(|scope| scope.trim_end().to_owned()), parameters, registers })
    }

    /// `None` if it is there twice, which two readers may understand differently.
    fn only(&self, name: &str) -> Option<Option<&str>> {
        let mut found = self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
        let first = found.next();
        if found.next().is_some() { None } else { Some(first.filter(|value| !value.is_empty())) }
    }
}

/// Letter by letter, as FusionAuth compares them (its policy `ExactMatch`); the first one if none is named.
fn one_of<'a>(wanted: Option<&str>, allowed: &'a [String]) -> Option<&'a str> {
    let found = match wanted {
        None => allowed.first(),
        Some(wanted) => allowed.iter().find(|allowed| *allowed == wanted),
    };
    found.map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(path: &'a str, query: &'a str) -> Asked<'a> {
        Asked::read(path, query).unwrap()
    }

    #[test]
    fn the_application_is_in_the_path_or_in_the_query() {
        for (path, query, expected) in [
            ("/app/login/", "client_id=a", true),
            ("/app/login", "client_id=a", true),
            ("/app/login/a", "", true),
            ("/app/login/a/", "client_id=a", true),
            ("/app/login/a", "client_id=b", false),
            ("/app/login/b", "client_id=a", false),
            ("/app/login/", "client_id=a&client_id=b", false),
            ("/app/login/", "", false),
            ("/app/logout/", "client_id=", false),
        ] {
            assert_eq!(asked(path, query).is_for("a"), expected, "{path}?{query}");
        }
        for path in
            ["/app/", "/app/other", "/app/login/a/b", "/application/login", "/app/me/a", "/app/callback/x", "/app", "/app/loginx"]
        {
            assert_eq!(Asked::read(path, ""), None, "{path}");
        }
        assert_eq!((asked("/app/me/", "").endpoint, asked("/app/callback", "").endpoint), ("me", "callback"));
    }

    #[test]
    fn d9_pages_are_sent_only_where_the_configuration_says() {
        let allowed = ["https://app.example.com", "https://app.example.com/x?a=1"].map(str::to_owned);
        let target = |query: &str| asked("/app/login/", query).target(&allowed);
        assert_eq!(target("").as_deref(), Some("https://app.example.com"));
        assert_eq!(
            target("redirect_uri=https%3A%2F%2Fapp.example.com&state=a+b%26c").as_deref(),
            Some("https://app.example.com?state=a+b%26c")
        );
        assert_eq!(
            target("redirect_uri=https://app.example.com/x?a%3D1&state=s").as_deref(),
            Some("https://app.example.com/x?a=1&state=s")
        );
        for query in [
            "redirect_uri=https://evil.example",
            "redirect_uri=https://app.example.com/",
            "redirect_uri=https://app.example.com.evil.example",
            "redirect_uri=https://app.example.com%40evil.example",
            "redirect_uri=https://APP.example.com",
            "redirect_uri=//app.example.com",
            "redirect_uri=/",
            "redirect_uri=javascript:alert(1)",
            "redirect_uri=https://app.example.com&redirect_uri=https://evil.example",
            "state=a&state=b",
        ] {
            assert_eq!(target(query), None, "{query}");
        }
        assert_eq!(target(&format!("state={}", "x".repeat(LONGEST + 1))), None);
        let after = |query: &str| asked("/app/logout/", query).after_logout(&allowed);
        assert_eq!(after("").as_deref(), Some("https://app.example.com"));
        assert_eq!(after("redirect_uri=https://app.example.com").as_deref(), Some("https://app.example.com"));
        assert_eq!(after("post_logout_redirect_uri=https://evil.example"), None);
        assert_eq!(after("post_logout_redirect_uri=https://app.example.com&redirect_uri=https://app.example.com"), None);
    }

    #[test]
    fn what_is_passed_on_is_what_the_sdks_document() {
        let wishes = asked("/app/login/", "scope=offline_access&idp_hint=x&nonce=evil&code_challenge=evil&state=s&locale=de")
            .wishes(false)
            .unwrap();
        assert_eq!(wishes.scope.as_deref(), Some("openid offline_access"));
        assert_eq!(wishes.parameters, [("idp_hint".into(), "x".into()), ("locale".into(), "de".into())]);
        assert!(asked("/app/login/", "scope=a%00b").wishes(false).is_none());
        assert!(asked("/app/login/", "prompt=login&prompt=none").wishes(false).is_none());
        assert!(asked("/app/login/", "").wishes(true).is_some_and(|wishes| wishes.registers && wishes.scope.is_none()));
    }
}
