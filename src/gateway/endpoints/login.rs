//! The end of a login: where the issuer sends browsers back to.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{ALLOW, HeaderValue, REFERRER_POLICY};

use crate::gateway::snapshot::Identification;
use crate::gateway::{Lasting, Snapshot, Trail};
use crate::metrics::LoginResult;
use crate::model::settings::FixedAnswer;
use crate::model::{Ending, Rejection};

/// Answers if the request is for a callback.
pub(super) async fn answer(snapshot: &Snapshot, lasting: &Lasting, trail: &mut Trail) -> Result<(), Ending> {
    let facts = trail.facts();
    let (Some(party), Identification::Tokens(identifier)) = (snapshot.login(), snapshot.identification()) else {
        return Ok(());
    };
    if !party.is_callback(&facts.host, facts.path.as_str()) {
        return Ok(());
    }
    if facts.method != Method::GET {
        return Err(only_get());
    }
    let query = facts.query.as_deref().unwrap_or_default();
    let completed = party.complete(identifier, &lasting.logins, &facts.host, query, &facts.headers, facts.received_at);
    let (result, ending, cookies) = match Box::pin(completed).await {
        Ok(sent) => (LoginResult::Completed, seen_other(sent.location), sent.cookies),
        Err(failed) => (LoginResult::of(failed.fault), Rejection::Login(failed.fault).into(), failed.cookies),
    };
    lasting.metrics.logins.count(result);
    cookies.into_iter().for_each(|cookie| trail.set_cookie(cookie));
    Err(ending)
}

/// 303: whatever the browser sent here, it fetches that page. The page does not learn the address with the code in it.
fn seen_other(location: HeaderValue) -> Ending {
    Ending::Fixed(Arc::new(FixedAnswer {
        status: 303,
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
        body: Bytes::new(),
        headers: vec![(http::header::LOCATION, location), (REFERRER_POLICY, HeaderValue::from_static("no-referrer"))],
    }))
}

/// `response_mode=form_post` is not asked for: a form of another site's page comes without our cookies, or they would have to be sent with
/// every request of other sites.
fn only_get() -> Ending {
    Ending::Fixed(Arc::new(FixedAnswer {
        status: 405,
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
        body: Bytes::new(),
        headers: vec![(ALLOW, HeaderValue::from_static("GET"))],
    }))
}
