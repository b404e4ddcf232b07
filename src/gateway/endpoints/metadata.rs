use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN};
use http::{HeaderValue, Method};

use crate::gateway::{Identification, Snapshot, Trail};
use crate::model::Ending;
use crate::model::settings::FixedAnswer;

/// Documents about the gateway itself: its protected resource metadata (RFC 9728), and the keys of its own tokens. Other methods than
/// those that read are left to the routes.
pub(super) fn answer(snapshot: &Snapshot, trail: &Trail) -> Result<(), Ending> {
    let Identification::Tokens(identifier) = snapshot.identification() else { return Ok(()) };
    let facts = trail.facts();
    match identifier.published(facts.path.as_str()) {
        Some(document) if matches!(facts.method, Method::GET | Method::HEAD) => Err(Ending::Fixed(Arc::clone(document))),
        // Some clients in browsers send a header of their own, for which the browser asks first.
        Some(_) if facts.preflight().is_some() => Err(Ending::Fixed(preflight())),
        _ => Ok(()),
    }
}

fn preflight() -> Arc<FixedAnswer> {
    Arc::new(FixedAnswer {
        status: 204,
        content_type: HeaderValue::from_static("text/plain"),
        body: Bytes::new(),
        headers: vec![
            (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD")),
            (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*")),
        ],
    })
}
