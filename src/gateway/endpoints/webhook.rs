use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};

use crate::gateway::{BodySource, Lasting, Snapshot, Trail};
use crate::identity::webhook::Outcome;
use crate::model::settings::FixedAnswer;
use crate::model::{Ending, Malformed, Rejection};

/// FusionAuth reads for two seconds; it shall hear of a failure, not of nothing.
const PATIENCE: Duration = Duration::from_millis(900);

/// Takes events of FusionAuth on their path.
///
/// Who cannot show that he is FusionAuth gets 401, whatever is wrong, and changes nothing. Who can is told what became of the event.
pub(super) async fn answer<B: BodySource>(
    snapshot: &Snapshot,
    lasting: &Lasting,
    trail: &Trail,
    body: &mut B,
) -> Result<(), Ending> {
    let Some(webhooks) = &snapshot.webhooks else { return Ok(()) };
    let facts = trail.facts();
    if facts.path.as_str() != webhooks.path() {
        return Ok(());
    }
    if facts.method != Method::POST {
        return Err(fixed(405, "only POST", Some((header::ALLOW, HeaderValue::from_static("POST")))));
    }
    let outcome = if webhooks.knows(&facts.headers) {
        match body.take(webhooks.max_body()).await {
            Ok(body) => {
                let received = webhooks.receive(&facts.headers, &body, &lasting.revocations, facts.received_at);
                tokio::time::timeout(PATIENCE, received).await.unwrap_or(Outcome::Unavailable)
            }
            // It has to be read as a whole before anybody knows whose it is.
            Err(Rejection::BadRequest(Malformed::BodyTooLarge)) => Outcome::Refused,
            Err(rejection) => return Err(rejection.into()),
        }
    } else {
        Outcome::Refused
    };
    lasting.revocations.inbox.count(outcome);
    Err(fixed(outcome.status(), outcome.label(), None))
}

fn fixed(status: u16, result: &'static str, header: Option<(HeaderName, HeaderValue)>) -> Ending {
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ending::Fixed(Arc::new(FixedAnswer {
        status,
        content_type: HeaderValue::from_static("application/json"),
        body: Bytes::from(format!("{{\"result\":\"{result}\"}}\n")),
        headers: [no_store].into_iter().chain(header).collect(),
    }))
}
