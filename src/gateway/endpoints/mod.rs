//! What the gateway answers on paths of its own, before any route is looked at.

mod hosted;
mod login;
mod logout;
mod metadata;
mod webhook;

use super::{BodySource, Lasting, Snapshot, Trail};
use crate::model::Ending;

/// Answers a request for one of the gateway's own endpoints; every other request passes.
///
/// Each family of endpoints is one line here and one file beside this one.
pub(super) async fn answer<B: BodySource>(
    snapshot: &Snapshot,
    lasting: &Lasting,
    trail: &mut Trail,
    body: &mut B,
) -> Result<(), Ending> {
    metadata::answer(snapshot, trail)?;
    webhook::answer(snapshot, lasting, trail, body).await?;
    login::answer(snapshot, lasting, trail).await?;
    logout::answer(snapshot, lasting, trail).await?;
    hosted::answer(snapshot, lasting, trail).await
}
