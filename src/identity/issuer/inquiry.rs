use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fetch::whole;
use crate::identity::claims::Said;
use crate::identity::json;
use crate::model::settings::{Inquiry, Introspection, Issuer};
use crate::model::{Moment, Name};

/// Questions under way at one issuer.
const AT_ONCE: usize = 16;
/// Requests that wait for their turn to ask one issuer.
const WAITING: usize = 256;
/// Questions on their way from the proxy's runtimes to the one that asks.
pub(super) const QUEUE: usize = 64;
/// What is said of a token is about as long as the token.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// After so many failures in a row nobody asks for a while.
const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(5);
/// Between two lines of the log about the same issuer.
const QUIET: Duration = Duration::from_secs(10);

/// Asks one issuer about tokens that cannot be verified here, as seldom as it can: made-up tokens must not make a flood of questions.
pub(in crate::identity) struct Asker {
    issuer: Name,
    pub(in crate::identity) settings: Introspection,
    desk: mpsc::Sender<Question>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    course: Mutex<Course>,
    asked: Arc<Asked>,
}

/// How asking went so far, on the steady clock.
#[derive(Default)]
struct Course {
    /// When the questions so far would have been asked at an even pace.
    paced_until: Duration,
    failures: u32,
    paused_until: Duration,
    logged_at: Option<Duration>,
}

/// How often an issuer was asked, for operators; it outlives reloads.
#[derive(Debug, Default)]
pub(super) struct Asked([AtomicU64; 4]);

/// What came of wanting to ask.
#[derive(Clone, Copy)]
enum Came {
    Active,
    Inactive,
    Failed,
    NotAsked,
}

impl Asked {
    fn count(&self, came: Came) {
        if let Some(counter) = self.0.get(came as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The token was active, it was not, the question failed, and nobody asked because of a limit.
    pub(super) fn counts(&self) -> [u64; 4] {
        self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// Nobody can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) struct NoAnswer;

/// One question on its way.
pub(super) struct Question {
    via: Inquiry,
    token: Box<str>,
    timeout: Duration,
    reply: oneshot::Sender<Result<Told, String>>,
    /// Given back when the issuer has answered, whether or not somebody still waits for it.
    _turn: OwnedSemaphorePermit,
}

/// What an issuer says about a token.
enum Told {
    /// What it vouches for.
    Active(Said),
    /// It does not vouch for it; for operators, why, if that is odd.
    Inactive(Option<&'static str>),
}

impl Asker {
    pub(super) fn of(issuer: &Issuer, desk: mpsc::Sender<Question>, asked: Arc<Asked>) -> Option<Self> {
        Some(Self {
            issuer: issuer.name.clone(),
            settings: issuer.introspection.clone()?,
            desk,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
            course: Mutex::default(),
            asked,
        })
    }

    /// Whether tokens can be asked about that are no JWTs.
    pub(in crate::identity) fn knows_opaque_tokens(&self) -> bool {
        matches!(self.settings.via, Inquiry::Introspect { .. })
    }

    /// What the issuer vouches for; `None` if it does not vouch for this token.
    pub(in crate::identity) async fn ask(&self, token: &str, now: Moment) -> Result<Option<Said>, NoAnswer> {
        let now = now.steady();
        self.course.lock().admit(now, self.settings.per_second).inspect_err(|_| self.asked.count(Came::NotAsked))?;
        let told = match timeout(self.settings.timeout, self.exchange(token)).await {
            Ok(told) => told,
            Err(_) => Err(format!("no answer within {:?}", self.settings.timeout)),
        };
        let (said, odd) = match told {
            Ok(Told::Active(said)) => (Ok(Some(said)), None),
            Ok(Told::Inactive(odd)) => (Ok(None), odd.map(str::to_owned)),
            Err(error) => (Err(NoAnswer), Some(error)),
        };
        self.asked.count(match &said {
            Ok(Some(_)) => Came::Active,
            Ok(None) => Came::Inactive,
            Err(NoAnswer) => Came::Failed,
        });
        let mut course = self.course.lock();
        course.failures = if said.is_ok() { 0 } else { course.failures.saturating_add(1) };
        if course.failures >= FAILURES {
            course.paused_until = now + PAUSE;
        }
        if let Some(odd) = odd
            && course.logged_at.is_none_or(|at| now.saturating_sub(at) >= QUIET)
        {
            course.logged_at = Some(now);
            tracing::warn!(issuer = %self.issuer, "asked about a token: {odd}");
        }
        said
    }

    async fn exchange(&self, token: &str) -> Result<Told, String> {
        let gone = |_| "nobody asks questions in this process".to_owned();
        let _place = Place::take(&self.waiting).ok_or("too many requests wait for their turn to ask")?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|error| error.to_string())?;
        let (reply, told) = oneshot::channel();
        let question =
            Question { via: self.settings.via.clone(), token: token.into(), timeout: self.settings.timeout, reply, _turn: turn };
        self.desk.send(question).await.map_err(|error| error.to_string())?;
        told.await.map_err(gone)?
    }
}

impl Course {
    /// Bursts of a second's worth are fine.
    fn admit(&mut self, now: Duration, per_second: u32) -> Result<(), NoAnswer> {
        const BURST: Duration = Duration::from_secs(1);
        let paced_until = self.paced_until.max(now);
        if now < self.paused_until || paced_until.saturating_sub(now) >= BURST {
            return Err(NoAnswer);
        }
        self.paced_until = paced_until + BURST / per_second.max(1);
        Ok(())
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < WAITING + AT_ONCE).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks what requests want to know, for ever, on one runtime: connections to the issuer are kept, and belong to it.
pub(super) async fn serve(questions: Arc<tokio::sync::Mutex<mpsc::Receiver<Question>>>) {
    let Some(client) = client() else { return };
    let mut questions = questions.lock().await;
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv() => match question {
                Some(question) => drop(under_way.spawn(put(client.clone(), question))),
                None => return,
            },
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn put(client: Client, question: Question) {
    let told = match &question.via {
        Inquiry::Introspect { url, client_id, client_secret } => {
            let request = introspection(&client, url, client_id, client_secret.expose(), &question.token);
            answer(request, question.timeout).await.and_then(introspected)
        }
        Inquiry::Validate { url } => {
            let request = client.get(url).header(AUTHORIZATION, format!("Bearer {}", question.token));
            answer(request, question.timeout).await.and_then(validated)
        }
    };
    // Whoever asked may have gone.
    let _ = question.reply.send(told);
}

/// RFC 7662 2.1 with RFC 6749 2.3.1, where id and secret are form-encoded before they are base64.
fn introspection(client: &Client, url: &str, id: &str, secret: &str, token: &str) -> RequestBuilder {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", token).append_pair("token_type_hint", "access_token").append_pair("client_id", id);
    client
        .post(url)
        .header(AUTHORIZATION, format!("Basic {credentials}"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.finish())
}

async fn answer(request: RequestBuilder, limit: Duration) -> Result<(StatusCode, Vec<u8>), String> {
    let failed = |error: reqwest::Error| whole(&error.without_url());
    let mut response = request.timeout(limit).send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("the answer is larger than {MAX_ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

fn introspected((status, body): (StatusCode, Vec<u8>)) -> Result<Told, String> {
    let said = json::object(&body);
    match status {
        StatusCode::OK => {
            let mut said = said.map_err(|error| format!("the answer is not readable: {error}"))?;
            match said.remove("active") {
                Some(Value::Bool(true)) => Ok(Told::Active(said)),
                Some(Value::Bool(false)) => Ok(Told::Inactive(None)),
                _ => Err("the answer does not say whether the token is active".into()),
            }
        }
        StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => {
            let error = said.ok().and_then(|said| Some(said.get("error")?.as_str()?.to_owned())).unwrap_or_default();
            if ["invalid_client", "unauthorized_client"].contains(&error.as_str()) {
                return Err("the issuer refuses client_id and client_secret".into());
            }
            // FusionAuth: "The token provided in the request was not issued for the `client_id` provided".
            Ok(Told::Inactive(Some(
                "the issuer does not tell this client about it; FusionAuth introspects only tokens of that very application",
            )))
        }
        status => Err(format!("the issuer answered {status}")),
    }
}

fn validated((status, body): (StatusCode, Vec<u8>)) -> Result<Told, String> {
    match status {
        StatusCode::OK => match json::object(&body).map(|mut said| said.remove("jwt")) {
            Ok(Some(Value::Object(said))) => Ok(Told::Active(said)),
            _ => Err("the answer has no `jwt`".into()),
        },
        StatusCode::UNAUTHORIZED => Ok(Told::Inactive(None)),
        status => Err(format!("the issuer answered {status}")),
    }
}

/// As for keys, but with connections that are kept: this is asked for every new token.
fn client() -> Option<Client> {
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(AT_ONCE)
        .pool_idle_timeout(Duration::from_secs(30))
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
        .build();
    client.inspect_err(|error| tracing::error!("no issuer can be asked about tokens: {}", whole(error))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_come_at_a_pace_and_not_at_all_for_a_while_after_failures() {
        let at = |milliseconds: u64| Duration::from_millis(100_000 + milliseconds);
        let mut course = Course::default();
        let asked = (0..1000).filter(|_| course.admit(at(0), 100).is_ok()).count();
        assert_eq!(asked, 100);
        assert_eq!((0..1000).filter(|_| course.admit(at(500), 100).is_ok()).count(), 50);
        assert_eq!((0..1000).filter(|_| course.admit(at(60_000), 100).is_ok()).count(), 100);
        course.paused_until = at(70_000);
        assert_eq!(course.admit(at(69_999), 100), Err(NoAnswer));
        assert_eq!(course.admit(at(70_000), 100), Ok(()));
    }

    #[test]
    fn rfc7662_2_2_answers_are_understood_or_are_none() {
        let introspected =
            |status: u16, body: &str| match introspected((StatusCode::from_u16(status).unwrap(), body.as_bytes().to_vec())) {
                Ok(Told::Active(said)) => Ok(Some(Value::from(said).to_string())),
                Ok(Told::Inactive(odd)) => Ok(odd.map(|_| "odd".to_owned())),
                Err(_) => Err(()),
            };
        for (status, body, expected) in [
            (200, r#"{"active":true,"sub":"u"}"#, Ok(Some(r#"{"sub":"u"}"#))),
            (200, r#"{"active":false,"sub":"u"}"#, Ok(None)),
            (200, r#"{"active":"true"}"#, Err(())),
            (200, r#"{"active":false,"active":true}"#, Err(())),
            (200, r#"{"sub":"u"}"#, Err(())),
            (200, "", Err(())),
            (401, r#"{"error":"invalid_client"}"#, Err(())),
            (
                401,
                r#"{"error":"invalid_token","error_description":"The token … was not issued for the client_id"}"#,
                Ok(Some("odd")),
            ),
            (401, "", Ok(Some("odd"))),
            (400, "{}", Ok(Some("odd"))),
            (302, "", Err(())),
            (500, "", Err(())),
        ] {
            assert_eq!(introspected(status, body), expected.map(|text| text.map(str::to_owned)), "{status} {body}");
        }
    }
}
