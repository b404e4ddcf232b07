use http::{HeaderMap, HeaderValue};

use crate::identity::carried::cookies;
use crate::model::settings::{SameSite, Sessions};

/// A cookie's name, value and attributes: RFC 6265 6.1 asks browsers for no more.
const ONE_COOKIE: usize = 4096;
/// A session is never in more cookies than this: what the intake lets through in one `Cookie` field has room for little more.
pub(super) const MOST_CHUNKS: usize = 4;
/// What FusionAuth's own browser libraries keep for FusionAuth, and nobody else.
const REFRESH_TOKEN_COOKIE: &[u8] = b"app.rt";

/// Names, attributes and pieces of the cookies that the gateway keeps in browsers.
#[derive(Clone, Debug)]
pub(in crate::identity) struct Jar {
    /// Of the first cookie of a session.
    name: String,
    /// What names of the others begin with.
    further: String,
    /// What names of logins that are under way begin with.
    login: String,
    attributes: String,
}

/// What of a session was in a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No cookie of this name.
    Nothing,
    /// Pieces that do not belong together, or are missing, or too many.
    Broken,
    /// The sealed text.
    Whole(Vec<u8>),
}

impl Jar {
    pub(in crate::identity) fn new(settings: &Sessions) -> Self {
        let name = settings.cookie.clone();
        let secure = if settings.secure { "; Secure" } else { "" };
        // `None` without `Secure` is refused by every browser.
        let same_site = if settings.secure { settings.same_site } else { SameSite::Lax };
        Self {
            further: format!("{name}."),
            login: format!("{name}-login."),
            attributes: format!("; Path=/{secure}; HttpOnly; SameSite={}", same_site.label()),
            name,
        }
    }

    /// What a session's cookie is sealed for.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name of the cookie of one login.
    pub(in crate::identity) fn login(&self, word: &str) -> String {
        format!("{}{word}", self.login)
    }

    /// The logins that are under way in this browser: names, without what all of them begin with, and values.
    pub(in crate::identity) fn logins<'h>(&self, headers: &'h HeaderMap) -> Vec<(&'h str, &'h [u8])> {
        let prefix = self.login.as_bytes();
        let own = |(name, value): (&'h [u8], &'h [u8])| Some((std::str::from_utf8(name.strip_prefix(prefix)?).ok()?, value));
        cookies(headers).filter_map(own).collect()
    }

    /// Whether no upstream may see or set a cookie of this name.
    pub(in crate::identity) fn is_ours(&self, name: &[u8]) -> bool {
        name == REFRESH_TOKEN_COOKIE
            || name.strip_prefix(self.name.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
            || name.starts_with(self.login.as_bytes())
    }

    /// A cookie that lives for so many seconds.
    pub(in crate::identity) fn set(&self, name: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{name}={value}; Max-Age={seconds}{}", self.attributes)).ok()
    }

    /// The end of a cookie.
    pub(in crate::identity) fn clear(&self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", 0)
    }

    /// Puts the pieces together. The first one says how many there are; a name that is there twice is somebody else's doing.
    pub(super) fn find(&self, headers: &HeaderMap) -> Found {
        let mut pieces: [Option<&[u8]>; MOST_CHUNKS] = [None; MOST_CHUNKS];
        for (name, value) in cookies(headers) {
            let Some(index) = self.index(name) else { continue };
            match pieces.get_mut(index) {
                Some(piece @ None) => *piece = Some(value),
                // Cookies of a higher number are nothing we ever set.
                _ => return Found::Broken,
            }
        }
        let [first, further @ ..] = pieces;
        let Some(first) = first else { return Found::Nothing };
        let Some((count @ b'1'..=b'9', [b'.', first @ ..])) = first.split_first() else { return Found::Broken };
        let count = usize::from(count - b'0');
        let mut whole = first.to_vec();
        for place in 0..count - 1 {
            let Some(Some(piece)) = further.get(place) else { return Found::Broken };
            whole.extend_from_slice(piece);
        }
        Found::Whole(whole)
    }

    /// Cuts a sealed text into cookies, and ends those of an earlier session that are not needed any more; `None` if it is too long.
    pub(super) fn pack(&self, sealed: &str, seconds: u64, headers: &HeaderMap) -> Option<Vec<HeaderValue>> {
        // The longest name, the number of pieces, and the attributes.
        let room = ONE_COOKIE.checked_sub(self.further.len() + 1 + 3 + 30 + self.attributes.len())?;
        let pieces: Vec<&str> =
            sealed.as_bytes().chunks(room).map(|piece| std::str::from_utf8(piece).unwrap_or_default()).collect();
        if pieces.is_empty() || pieces.len() > MOST_CHUNKS {
            return None;
        }
        let mut fields = Vec::with_capacity(pieces.len());
        for (place, piece) in pieces.iter().enumerate() {
            fields.push(match place {
                0 => self.set(&self.name, &format!("{}.{piece}", pieces.len()), seconds)?,
                place => self.set(&format!("{}{place}", self.further), piece, seconds)?,
            });
        }
        fields.extend(self.present(headers).filter(|index| *index >= pieces.len()).filter_map(|index| self.end(index)));
        Some(fields)
    }

    /// Ends every cookie of a session that the browser sent.
    pub(super) fn empty(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        self.present(headers).filter_map(|index| self.end(index)).collect()
    }

    fn end(&self, index: usize) -> Option<HeaderValue> {
        if index == 0 { self.clear(&self.name) } else { self.clear(&format!("{}{index}", self.further)) }
    }

    fn present(&self, headers: &HeaderMap) -> impl Iterator<Item = usize> {
        let mut there: Vec<usize> = cookies(headers).filter_map(|(name, _)| self.index(name)).filter(|i| *i < 10).collect();
        there.sort_unstable();
        there.dedup();
        there.into_iter()
    }

    /// Which piece a cookie is; a number that we never set is beyond all of them.
    fn index(&self, name: &[u8]) -> Option<usize> {
        if name == self.name.as_bytes() {
            return Some(0);
        }
        match name.strip_prefix(self.further.as_bytes())? {
            [digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')),
            _ => Some(usize::MAX),
        }
    }

    /// The `Cookie` field without what is ours, other cookies byte for byte as they came; `None` if nothing of it is ours.
    pub(in crate::identity) fn without_ours(&self, field: &[u8]) -> Option<Vec<u8>> {
        let name_of = |pair: &[u8]| {
            let pair = pair.trim_ascii();
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            pair.get(..end).is_some_and(|name| self.is_ours(name.trim_ascii()))
        };
        let pairs = || field.split(|byte| *byte == b';');
        if !pairs().any(name_of) {
            return None;
        }
        let kept: Vec<&[u8]> = pairs().filter(|pair| !name_of(pair)).collect();
        Some(kept.join(&b';').trim_ascii_start().to_vec())
    }

    /// Whether a `Set-Cookie` field is for a cookie of ours.
    pub(in crate::identity) fn sets_ours(&self, field: &[u8]) -> bool {
        let end = field.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(field.len());
        field.get(..end).is_some_and(|name| self.is_ours(name.trim_ascii()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::COOKIE;
    use proptest::prelude::*;

    use super::*;
    use crate::model::settings::SessionStore;

    fn jar() -> Jar {
        Jar::new(&Sessions {
            store: SessionStore::Cookie,
            keys: Vec::new(),
            idle: Duration::from_secs(60),
            absolute: Duration::from_secs(600),
            cookie: "__Host-tollgate".into(),
            same_site: SameSite::Lax,
            secure: true,
        })
    }

    fn sent(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::try_from(*line).unwrap())).collect()
    }

    /// What a browser sends back.
    fn kept(fields: &[HeaderValue]) -> String {
        fields.iter().map(|field| field.to_str().unwrap().split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn d11_cookies_have_exactly_these_attributes() {
        let [field] = &jar().pack("abc", 1800, &HeaderMap::new()).unwrap()[..] else { panic!() };
        assert_eq!(field, "__Host-tollgate=1.abc; Max-Age=1800; Path=/; Secure; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn a_long_session_is_cut_into_cookies_that_browsers_keep() {
        let jar = jar();
        for length in [1, 3_900, 4_100, 8_000, 15_000] {
            let text = "x".repeat(length);
            let fields = jar.pack(&text, 1800, &HeaderMap::new()).unwrap();
            assert!(fields.iter().all(|field| field.len() <= ONE_COOKIE), "{length}");
            assert_eq!(jar.find(&sent(&[&kept(&fields)])), Found::Whole(text.into_bytes()));
        }
        assert!(jar.pack(&"x".repeat(16_500), 1800, &HeaderMap::new()).is_none());
    }

    #[test]
    fn what_is_left_of_a_longer_session_is_ended() {
        let before = sent(&["__Host-tollgate=3.a; __Host-tollgate.1=b; __Host-tollgate.2=c; other=d"]);
        let fields = jar().pack("short", 60, &before).unwrap();
        let names: Vec<_> = fields.iter().map(|field| field.to_str().unwrap().split(';').next().unwrap()).collect();
        assert_eq!(names, ["__Host-tollgate=1.short", "__Host-tollgate.1=", "__Host-tollgate.2="]);
        assert_eq!(jar().empty(&before).len(), 3);
        assert!(jar().empty(&sent(&["other=d"])).is_empty());
    }

    #[test]
    fn d13_pieces_that_do_not_belong_together_are_no_session() {
        let many: String = (1..200).map(|n| format!("; __Host-tollgate.{n}=x")).collect();
        for line in [
            "__Host-tollgate=2.a",
            "__Host-tollgate=2.a; __Host-tollgate.2=b",
            "__Host-tollgate=99999999.a; __Host-tollgate.1=b",
            "__Host-tollgate=9.a; __Host-tollgate.1=b",
            "__Host-tollgate=0.a",
            "__Host-tollgate=a",
            "__Host-tollgate=",
            "__Host-tollgate",
            "__Host-tollgate=1.a; __Host-tollgate=1.a",
            "__Host-tollgate=2.a; __Host-tollgate.1=b; __Host-tollgate.1=c",
            "__Host-tollgate=1.a; __Host-tollgate.4=x",
            "__Host-tollgate=1.a; __Host-tollgate.99999999=x",
            "__Host-tollgate=1.a; __Host-tollgate.-1=x",
            &format!("__Host-tollgate=3.a{many}"),
        ] {
            assert_eq!(jar().find(&sent(&[line])), Found::Broken, "{}", &line[..line.len().min(80)]);
        }
        for line in ["", "a=b", "__Host-tollgate.1=b", "__Host-tollgatex=1.a", "__host-tollgate=1.a", "__Host-tollgate-login.x=1"]
        {
            assert_eq!(jar().find(&sent(&[line])), Found::Nothing, "{line}");
        }
        assert_eq!(jar().find(&sent(&["a=b; __Host-tollgate=2.a", "__Host-tollgate.1=b"])), Found::Whole(b"ab".to_vec()));
    }

    #[test]
    fn d20_upstreams_get_every_cookie_but_ours_byte_for_byte() {
        let jar = jar();
        for (field, left) in [
            ("a=b; __Host-tollgate=1.x;c=d ;  e", "a=b;c=d ;  e"),
            ("__Host-tollgate=1.x; a=b", "a=b"),
            ("__Host-tollgate=1.x", ""),
            ("a=\"1;__Host-tollgate=1.x\"; b", "a=\"1; b"),
            ("a=b; __Host-tollgate.1=x; __Host-tollgate-login.0f=y; app.rt=z; app.at=t", "a=b; app.at=t"),
            ("__Host-tollgate =x; a=b", "a=b"),
            ("__Host-tollgate; a=b", "a=b"),
        ] {
            assert_eq!(jar.without_ours(field.as_bytes()).as_deref(), Some(left.as_bytes()), "{field}");
        }
        for field in ["a=b; c", "__Host-tollgates=1", "x__Host-tollgate=1", "tollgate=1; app.at=x;", ""] {
            assert_eq!(jar.without_ours(field.as_bytes()), None, "{field}");
        }
        assert!(
            jar.sets_ours(b"__Host-tollgate=1; Path=/") && jar.sets_ours(b" app.rt = x") && jar.sets_ours(b"__Host-tollgate")
        );
        assert!(!jar.sets_ours(b"session=__Host-tollgate=1") && !jar.sets_ours(b""));
    }

    proptest! {
        #[test]
        fn d13_any_cookies_are_answered_without_a_panic(line in "(__Host-tollgate(\\.[0-9]{1,3})?=[0-9]?\\.?[a-z;= ]{0,5};? ?){0,6}") {
            let headers = sent(&[&line]);
            let _ = jar().find(&headers);
            let _ = jar().empty(&headers);
            let _ = jar().without_ours(line.as_bytes());
        }
    }
}
