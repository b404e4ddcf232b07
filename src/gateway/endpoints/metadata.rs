use std::sync::Arc;

use http::Method;

use crate::gateway::{Identification, Snapshot, Trail};
use crate::model::Ending;

/// Documents about the gateway itself: its protected resource metadata (RFC 9728), and the keys of its own tokens. Other methods than
/// those that read are left to the routes.
pub(super) fn answer(snapshot: &Snapshot, trail: &Trail) -> Result<(), Ending> {
    let Identification::Tokens(identifier) = snapshot.identification() else { return Ok(()) };
    let facts = trail.facts();
    match identifier.published(facts.path.as_str()) {
        Some(document) if matches!(facts.method, Method::GET | Method::HEAD) => Err(Ending::Fixed(Arc::clone(document))),
        _ => Ok(()),
    }
}
