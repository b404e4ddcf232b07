use std::fmt;
use std::time::Duration;

use super::seal::random;
use crate::model::Moment;

/// The time before a token's end in which it is renewed, unless a tenth of its life is less.
const EARLY: u64 = 60;

/// What is remembered of somebody who logged in.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Another one for every login, so that nobody can be given a session that somebody else knows.
    pub id: [u8; 16],
    /// Another one whenever the tokens change: what a browser sent before it learned of new tokens can be told from what it sent after.
    pub generation: u64,
    /// Unix seconds of the login.
    pub began: u64,
    /// Unix seconds of the last request that was written down.
    pub seen: u64,
    /// Unix seconds at which the tokens came.
    pub renewed: u64,
    /// Unix seconds at which the access token ends.
    pub expires: u64,
    /// Who: the `sub` of the tokens.
    pub subject: String,
    /// The access token.
    pub access_token: String,
    /// The refresh token, if `offline_access` was granted.
    pub refresh_token: Option<String>,
    /// The id_token of the login, if it fits: a hint for the issuer's logout.
    pub id_token: Option<String>,
}

/// What the issuer gave, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The `sub` of all of them.
    pub subject: String,
    /// For the gateway's own checks, and rules.
    pub access_token: String,
    /// Its end in Unix seconds.
    pub expires: u64,
    /// For the next ones.
    pub refresh_token: Option<String>,
    /// Who logged in.
    pub id_token: Option<String>,
}

impl Session {
    /// Begins with a login. `None` if the system has no random bytes.
    pub fn begin(tokens: Tokens, now: Moment) -> Option<Self> {
        let now = now.unix_seconds();
        Some(Self {
            id: random()?,
            generation: u64::from_be_bytes(random()?),
            began: now,
            seen: now,
            renewed: now,
            expires: tokens.expires,
            subject: tokens.subject,
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            id_token: tokens.id_token,
        })
    }

    /// The same session with new tokens. A refresh token or id_token that did not come anew stays.
    pub fn renewed(&self, tokens: Tokens, now: Moment) -> Option<Self> {
        Some(Self {
            id: self.id,
            generation: u64::from_be_bytes(random()?),
            began: self.began,
            seen: now.unix_seconds(),
            renewed: now.unix_seconds(),
            expires: tokens.expires,
            subject: tokens.subject,
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token.or_else(|| self.refresh_token.clone()),
            id_token: tokens.id_token.or_else(|| self.id_token.clone()),
        })
    }

    /// Whether the access token ends soon enough to be renewed before somebody notices.
    pub fn is_due(&self, now: Moment) -> bool {
        let early = EARLY.min(self.expires.saturating_sub(self.renewed) / 10);
        now.unix_seconds().saturating_add(early) >= self.expires
    }

    /// Whether it has ended, by either lifetime. A session of the future is none: somebody's clock is wrong by more than a session.
    pub fn has_ended(&self, now: Moment, idle: Duration, absolute: Duration) -> bool {
        let age = |since: u64| now.unix_seconds().saturating_sub(since);
        let ahead = self.seen.max(self.began).saturating_sub(now.unix_seconds());
        age(self.seen) >= idle.as_secs() || age(self.began) >= absolute.as_secs() || ahead > absolute.as_secs()
    }

    /// Each text after its length; none is longer than a cookie jar.
    pub(super) fn encode(&self, with_id_token: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.access_token.len() * 2 + 256);
        for number in [self.generation, self.began, self.seen, self.renewed, self.expires] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let id_token = self.id_token.as_deref().filter(|_| with_id_token);
        for text in
            [&self.subject, &self.access_token, self.refresh_token.as_deref().unwrap_or_default(), id_token.unwrap_or_default()]
        {
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    pub(super) fn decode(id: [u8; 16], plain: &[u8]) -> Option<Self> {
        let mut reader = Reader(plain);
        let mut numbers = [0; 5];
        for number in &mut numbers {
            *number = reader.number()?;
        }
        let [generation, began, seen, renewed, expires] = numbers;
        let [subject, access_token] = [reader.text()?, reader.text()?];
        let [refresh_token, id_token] = [reader.text()?, reader.text()?].map(|text| Some(text).filter(|text| !text.is_empty()));
        let session = Self { id, generation, began, seen, renewed, expires, subject, access_token, refresh_token, id_token };
        reader.0.is_empty().then_some(session)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        String::from_utf8(self.take(usize::try_from(length).ok()?)?.to_vec()).ok()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("began", &self.began).field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), Duration::from_secs(seconds))
    }

    fn session(expires: u64) -> Session {
        let tokens = Tokens {
            subject: "ann".into(),
            access_token: "a.b.c".into(),
            expires,
            refresh_token: Some("r".into()),
            id_token: Some("i.d.t".into()),
        };
        Session::begin(tokens, at(1_000)).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let session = session(4_600);
        assert_eq!(Session::decode(session.id, &session.encode(true)), Some(session.clone()));
        let without = Session { id_token: None, ..session.clone() };
        assert_eq!(Session::decode(session.id, &session.encode(false)), Some(without));
        let text = session.encode(true);
        for cut in 0..text.len() {
            assert_eq!(Session::decode(session.id, &text[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Session::decode(session.id, &[&text[..], b"x"].concat()), None);
        assert!(!format!("{session:?}").contains("a.b.c"));
    }

    #[test]
    fn tokens_are_renewed_a_minute_or_a_tenth_of_their_life_before_the_end() {
        for (lives, due) in [(3_600, 3_540), (300, 270), (60, 54), (5, 5)] {
            let session = session(1_000 + lives);
            assert!(!session.is_due(at(1_000 + due - 1)), "{lives}");
            assert!(session.is_due(at(1_000 + due)), "{lives}");
        }
    }

    #[test]
    fn a_session_ends_by_idleness_and_by_age() {
        let session = session(9_999);
        let ended = |now| session.has_ended(at(now), Duration::from_secs(100), Duration::from_secs(500));
        assert!(!ended(1_099) && ended(1_100));
        let busy = Session { seen: 1_499, ..session.clone() };
        let ended = |now| busy.has_ended(at(now), Duration::from_secs(100), Duration::from_secs(500));
        assert!(!ended(1_499) && ended(1_500));
        assert!(Session { seen: 9_000, ..session }.has_ended(at(1_000), Duration::from_secs(100), Duration::from_secs(500)));
    }
}
