use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use crate::identity::session::{Jar, Seals, random};
use crate::model::{Moment, local_page};

/// How long somebody may stay at the login page.
pub(super) const LASTS: u64 = 15 * 60;
/// Logins that one browser may have under way: twenty tabs, and some more.
const MOST: usize = 24;
/// Of all their cookies, so that they and a session fit into what the intake lets through.
const MOST_BYTES: usize = 10 * 1024;
/// Letters of `state` that name its cookie.
const WORD: usize = 10;

/// One login under way: everything that the callback is held against. The browser keeps it, sealed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Says which one it is, in the cookie and to the issuer.
    id: [u8; 16],
    /// What nonce and code verifier are made of.
    seed: [u8; 32],
    /// Unix seconds.
    began: u64,
    /// The page to come back to.
    pub(super) return_to: String,
}

impl Attempt {
    pub(super) fn begin(return_to: &str, now: Moment) -> Option<Self> {
        let return_to = local_page(return_to).unwrap_or_else(|| "/".to_owned());
        Some(Self { id: random()?, seed: random()?, began: now.unix_seconds(), return_to })
    }

    /// 22 letters with 128 random bits.
    pub(super) fn state(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.id)
    }

    /// RFC 7636 4.1: 43 letters with 256 random bits.
    pub(super) fn verifier(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.seed)
    }

    /// RFC 7636 4.2, S256.
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier().as_bytes()))
    }

    /// Nobody who sees it learns the verifier, nor the other way round without the cookie.
    pub(super) fn nonce(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &[&b"nonce "[..], &self.seed].concat()))
    }

    /// Whether it was begun so long ago that nobody waits for it.
    fn is_over(&self, now: Moment) -> bool {
        now.unix_seconds().saturating_sub(self.began) >= LASTS
    }

    /// The cookie, and the ends of the oldest ones if there are too many in this browser.
    pub(super) fn cookies(&self, jar: &Jar, seals: &Seals, headers: &HeaderMap) -> Option<Vec<HeaderValue>> {
        let name = jar.login(self.state().get(..WORD)?);
        let mut plain = Vec::with_capacity(64 + self.return_to.len());
        plain.extend_from_slice(&self.began.to_be_bytes());
        plain.extend_from_slice(&self.seed);
        plain.extend_from_slice(self.return_to.as_bytes());
        let value = seals.seal(&name, &self.id, &plain)?;
        let mut fields = vec![jar.set(&name, &value, LASTS)?];
        let mut present: Vec<(u64, &str, usize)> = jar
            .logins(headers)
            .into_iter()
            // What does not open is the first to go.
            .map(|(word, value)| (open(jar, seals, word, value).map_or(0, |attempt| attempt.began), word, value.len()))
            .collect();
        present.sort_unstable_by_key(|(began, ..)| std::cmp::Reverse(*began));
        let mut bytes = name.len() + value.len();
        let mut count = 1;
        for (_, word, length) in present {
            count += 1;
            bytes += name.len() + length;
            if (count > MOST || bytes > MOST_BYTES) && is_word(word) {
                fields.push(jar.clear(&jar.login(word))?);
            }
        }
        Some(fields)
    }

    /// The login that `state` belongs to, if this browser began it and it is not over.
    pub(super) fn find(state: &str, jar: &Jar, seals: &Seals, headers: &HeaderMap, now: Moment) -> Option<Self> {
        let word = state.get(..WORD)?;
        let mut own = jar.logins(headers).into_iter().filter(|(name, _)| *name == word);
        let (Some((_, value)), None) = (own.next(), own.next()) else { return None };
        let attempt = open(jar, seals, word, value)?;
        let is_same: bool = attempt.state().as_bytes().ct_eq(state.as_bytes()).into();
        (is_same && !attempt.is_over(now)).then_some(attempt)
    }

    /// What names the attempt, for the one list that knows which ones were used.
    pub(super) fn id(&self) -> [u8; 16] {
        self.id
    }
}

fn open(jar: &Jar, seals: &Seals, word: &str, value: &[u8]) -> Option<Attempt> {
    let (id, plain) = seals.open(&jar.login(word), value)?;
    let (began, rest) = plain.split_first_chunk::<8>()?;
    let (seed, return_to) = rest.split_first_chunk::<32>()?;
    let return_to = String::from_utf8(return_to.to_vec()).ok()?;
    Some(Attempt { id, seed: *seed, began: u64::from_be_bytes(*began), return_to })
}

/// The ends of the cookies that a callback with this `state` leaves behind; without one, of all logins of this browser.
pub(super) fn ends(state: Option<&str>, jar: &Jar, headers: &HeaderMap) -> Vec<HeaderValue> {
    let word = state.map(|state| state.get(..WORD).unwrap_or_default());
    let of_this = |name: &&str| is_word(name) && word.is_none_or(|word| word == *name);
    let names = jar.logins(headers).into_iter().map(|(name, _)| name).filter(of_this).take(MOST * 2);
    names.filter_map(|name| jar.clear(&jar.login(name))).collect()
}

/// Only what we could have written is written back.
fn is_word(word: &str) -> bool {
    word.len() == WORD && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("began", &self.began).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::COOKIE;

    use super::*;
    use crate::model::settings::{SameSite, Secret, SessionStore, Sessions};

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), Duration::from_secs(seconds))
    }

    fn desk() -> (Jar, Seals) {
        let jar = Jar::new(&Sessions {
            store: SessionStore::Cookie,
            keys: Vec::new(),
            idle: Duration::from_secs(60),
            absolute: Duration::from_secs(600),
            cookie: "__Host-tollgate".into(),
            same_site: SameSite::Lax,
            secure: true,
        });
        (jar, Seals::new(&[Secret::new("one secret of thirty-two characters")]))
    }

    /// What a browser has after these answers.
    fn browser(before: &HeaderMap, fields: &[HeaderValue]) -> HeaderMap {
        let mut pairs: Vec<String> =
            before.get(COOKIE).map(|line| line.to_str().unwrap().split("; ").map(str::to_owned).collect()).unwrap_or_default();
        for field in fields {
            let field = field.to_str().unwrap();
            let pair = field.split(';').next().unwrap();
            let name = pair.split('=').next().unwrap();
            pairs.retain(|known| known.split('=').next() != Some(name));
            if !field.contains("Max-Age=0") {
                pairs.push(pair.to_owned());
            }
        }
        HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(pairs.join("; ")).unwrap())])
    }

    #[test]
    fn d4_each_attempt_has_secrets_of_its_own() {
        let [one, two] = [(); 2].map(|()| Attempt::begin("/a", at(9)).unwrap());
        for (one, two) in [
            (one.state(), two.state()),
            (one.verifier(), two.verifier()),
            (one.challenge(), two.challenge()),
            (one.nonce(), two.nonce()),
        ] {
            assert_ne!(one, two);
        }
        assert_eq!((one.state().len(), one.verifier().len(), one.challenge().len()), (22, 43, 43));
        assert!(!format!("{one:?}").contains(&one.verifier()));
    }

    #[test]
    fn d2_an_attempt_is_found_only_in_the_browser_that_began_it() {
        let (jar, seals) = desk();
        let attempt = Attempt::begin("/deep?x=1", at(1_000)).unwrap();
        let headers = browser(&HeaderMap::new(), &attempt.cookies(&jar, &seals, &HeaderMap::new()).unwrap());
        let found = |state: &str, headers: &HeaderMap, now| Attempt::find(state, &jar, &seals, headers, at(now));
        assert_eq!(found(&attempt.state(), &headers, 1_000 + LASTS - 1), Some(attempt.clone()));
        assert_eq!(found(&attempt.state(), &headers, 1_000 + LASTS), None);
        assert_eq!(found(&attempt.state(), &HeaderMap::new(), 1_000), None);
        let other = Attempt::begin("/", at(1_000)).unwrap();
        assert_eq!(found(&other.state(), &headers, 1_000), None);
        let mut near = attempt.state();
        near.replace_range(21.., if near.ends_with('A') { "Q" } else { "A" });
        assert_eq!(found(&near, &headers, 1_000), None);
        for state in ["", "short", "ééééééééééé"] {
            assert_eq!(found(state, &headers, 1_000), None);
        }
        // One cookie is not worth another name.
        let line = headers[COOKIE].to_str().unwrap();
        let moved = line.replace(&attempt.state()[..10], &other.state()[..10]);
        let moved = HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(moved).unwrap())]);
        assert_eq!(found(&other.state(), &moved, 1_000), None);
    }

    #[test]
    fn d16_d17_twenty_attempts_fit_and_the_oldest_of_more_are_dropped() {
        let (jar, seals) = desk();
        let mut headers = HeaderMap::new();
        let mut attempts = Vec::new();
        for number in 0..40 {
            let attempt = Attempt::begin(&format!("/orders/{number}?tab=items"), at(1_000 + number)).unwrap();
            headers = browser(&headers, &attempt.cookies(&jar, &seals, &headers).unwrap());
            attempts.push(attempt);
            assert!(jar.logins(&headers).len() <= MOST);
        }
        let alive = |attempt: &Attempt| Attempt::find(&attempt.state(), &jar, &seals, &headers, at(1_100)).is_some();
        assert!(attempts[20..].iter().all(alive));
        assert!(!attempts[..16].iter().any(alive));
        // Long addresses take the room of several.
        for number in 0..40 {
            let attempt = Attempt::begin(&format!("/{}", "x".repeat(1_000)), at(2_000 + number)).unwrap();
            headers = browser(&headers, &attempt.cookies(&jar, &seals, &headers).unwrap());
        }
        assert!(headers[COOKIE].len() <= MOST_BYTES + 2_048, "{}", headers[COOKIE].len());
        let last = ends(None, &jar, &headers);
        assert!(jar.logins(&browser(&headers, &last)).is_empty());
    }
}
