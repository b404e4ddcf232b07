//! `/app/…`: what FusionAuth's browser SDKs call on their server.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ALLOW, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY,
};
use http::{Method, StatusCode};

use crate::gateway::identify::result_of;
use crate::gateway::snapshot::Identification;
use crate::gateway::{Lasting, Snapshot, Trail, clock};
use crate::identity::{Asked, Hosted, Identifier, Refreshed, Renewal, Sent};
use crate::metrics::LoginResult;
use crate::model::settings::FixedAnswer;
use crate::model::{Ending, Facts, LoginFault, Rejection, TokenFault};

/// Answers if the request is for one of the endpoints.
pub(super) async fn answer(snapshot: &Snapshot, lasting: &Lasting, trail: &mut Trail) -> Result<(), Ending> {
    let (Some(hosted), Identification::Tokens(identifier)) = (snapshot.hosted(), snapshot.identification()) else {
        return Ok(());
    };
    let facts = trail.facts();
    let Some(asked) = hosted.asked(&facts) else { return Ok(()) };
    let desk = Desk { hosted, identifier, lasting, facts: &facts };
    Err(Box::pin(desk.answer(&asked, trail)).await)
}

struct Desk<'a> {
    hosted: &'a Arc<Hosted>,
    identifier: &'a Arc<Identifier>,
    lasting: &'a Lasting,
    facts: &'a Facts,
}

impl Desk<'_> {
    async fn answer(&self, asked: &Asked<'_>, trail: &mut Trail) -> Ending {
        let facts = self.facts;
        let allowed = if asked.endpoint == "refresh" { Method::POST } else { Method::GET };
        if facts.method == Method::OPTIONS && facts.headers.contains_key("origin") {
            return self.preflight(&allowed);
        }
        let is_confirmation = asked.endpoint == "logout" && facts.method == Method::POST;
        if facts.method != allowed && !is_confirmation {
            let allow = HeaderValue::try_from(allowed.as_str()).unwrap_or(HeaderValue::from_static("GET"));
            return self.fixed(405, TEXT, Bytes::new(), vec![(ALLOW, allow)]);
        }
        match asked.endpoint {
            "login" => self.begin(asked, false, trail).await,
            "register" => self.begin(asked, true, trail).await,
            "callback" => self.complete(trail).await,
            "refresh" => self.refresh(asked, trail).await,
            "me" => self.me().await,
            _ => self.logout(asked, trail).await,
        }
    }

    async fn begin(&self, asked: &Asked<'_>, registers: bool, trail: &mut Trail) -> Ending {
        let facts = self.facts;
        match self.hosted.begin(asked, registers, &facts.headers, &facts.host, facts.received_at).await {
            Ok(sent) => {
                self.lasting.metrics.logins.count(LoginResult::Started);
                self.send(302, sent, trail)
            }
            Err(fault) => self.failed(fault),
        }
    }

    async fn complete(&self, trail: &mut Trail) -> Ending {
        let (facts, query) = (self.facts, self.facts.query.as_deref().unwrap_or_default());
        let (hosted, logins) = (self.hosted, &self.lasting.logins);
        match hosted.complete(self.identifier, logins, query, &facts.headers, &facts.host, facts.received_at).await {
            Ok(sent) => {
                self.lasting.metrics.logins.count(LoginResult::Completed);
                self.send(303, sent, trail)
            }
            Err(failed) => {
                failed.cookies.into_iter().for_each(|cookie| trail.set_cookie(cookie));
                self.failed(failed.fault)
            }
        }
    }

    /// The body of FusionAuth's SDKs is `text/plain`, which any page may send: whose page it is must be known from elsewhere.
    async fn refresh(&self, asked: &Asked<'_>, trail: &mut Trail) -> Ending {
        if self.hosted.is_foreign(&self.facts.headers) {
            return self.refused(Rejection::Login(LoginFault::CrossSite));
        }
        if !self.hosted.is_asked_for(asked) {
            return self.refused(Rejection::Login(LoginFault::Invalid));
        }
        let (headers, logins) = (&self.facts.headers, &self.lasting.logins);
        let metrics = Arc::clone(&self.lasting.metrics);
        let count = move |renewal: &Renewal| metrics.logins.refreshed(result_of(renewal));
        let refreshed = self.hosted.refresh(self.identifier, logins, headers, self.facts.received_at, clock::now, count).await;
        match refreshed {
            Refreshed::Renewed(cookies) => {
                cookies.into_iter().for_each(|cookie| trail.set_cookie(cookie));
                self.fixed(204, TEXT, Bytes::new(), Vec::new())
            }
            Refreshed::Over(cookies) => {
                cookies.into_iter().for_each(|cookie| trail.set_cookie(cookie));
                self.refused(Rejection::Unauthenticated(TokenFault::Missing))
            }
            Refreshed::Unavailable => self.refused(Rejection::Login(LoginFault::Unavailable)),
        }
    }

    async fn me(&self) -> Ending {
        match self.hosted.me(self.identifier, &self.facts.headers, self.facts.received_at).await {
            Ok(document) => self.fixed(200, JSON, document.into(), Vec::new()),
            Err(rejection) => self.refused(rejection),
        }
    }

    /// A page of one of the applications leads here. Whoever else does asks the person first.
    async fn logout(&self, asked: &Asked<'_>, trail: &mut Trail) -> Ending {
        let facts = self.facts;
        if !self.is_wanted() {
            return match facts.method {
                Method::POST => Rejection::Login(LoginFault::CrossSite).into(),
                _ => super::logout::question(),
            };
        }
        let ended = self.hosted.end(asked, self.identifier, &self.lasting.logins, &facts.headers, facts.received_at).await;
        match ended {
            Ok((sent, who)) => {
                if let Some(identity) = who {
                    super::logout::take_back(self.lasting, &identity, facts.received_at).await;
                }
                self.send(303, sent, trail)
            }
            Err(fault) => self.failed(fault),
        }
    }

    fn is_wanted(&self) -> bool {
        let facts = self.facts;
        if facts.method == Method::POST {
            return !self.hosted.is_foreign(&facts.headers);
        }
        let is = |name: &str, value: &str| facts.header(name) == Some(value);
        let is_near = matches!(facts.header("sec-fetch-site"), Some("same-origin" | "same-site"));
        // Of the same site is also a stranger's host in the same domain, so the page must be one of the applications'.
        let referer = facts.header("referer").unwrap_or_default();
        let is_theirs = self
            .hosted
            .settings()
            .origins
            .iter()
            .any(|origin| referer.strip_prefix(origin.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        is_near && is_theirs && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
    }

    fn send(&self, status: u16, sent: Sent, trail: &mut Trail) -> Ending {
        sent.cookies.into_iter().for_each(|cookie| trail.set_cookie(cookie));
        let no_referrer = (REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        self.fixed(status, TEXT, Bytes::new(), vec![(LOCATION, sent.location), no_referrer])
    }

    fn failed(&self, fault: LoginFault) -> Ending {
        self.lasting.metrics.logins.count(LoginResult::of(fault));
        Rejection::Login(fault).into()
    }

    /// For scripts: the same words as a problem document of the gateway has, and readable for the page that asked.
    fn refused(&self, rejection: Rejection) -> Ending {
        let status = rejection.status();
        let document = serde_json::json!({
            "title": StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()),
            "status": status,
            "reason": rejection.reason(),
            "request_id": self.facts.id.as_str(),
        });
        let wait = rejection.retry_after().map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
        self.fixed(status, PROBLEM, document.to_string().into(), wait.into_iter().collect())
    }

    /// Fetch standard, "CORS-preflight request": the SDKs need none, applications that add headers do.
    fn preflight(&self, method: &Method) -> Ending {
        let method = HeaderValue::try_from(method.as_str()).unwrap_or(HeaderValue::from_static("GET"));
        let headers = HeaderValue::from_static("content-type");
        self.fixed(204, TEXT, Bytes::new(), vec![(ACCESS_CONTROL_ALLOW_METHODS, method), (ACCESS_CONTROL_ALLOW_HEADERS, headers)])
    }

    fn fixed(&self, status: u16, content_type: HeaderValue, body: Bytes, mut headers: Vec<(HeaderName, HeaderValue)>) -> Ending {
        headers.push((VARY, HeaderValue::from_static("Origin")));
        if let Some(origin) = self.facts.headers.get("origin")
            && origin.to_str().is_ok_and(|origin| self.hosted.is_ours(origin))
        {
            headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
            headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        Ending::Fixed(Arc::new(FixedAnswer { status, content_type, body, headers }))
    }
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
