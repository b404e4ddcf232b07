use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::json;

use super::{reply, text};
use crate::gateway::{Gateway, clock};
use crate::identity::revocation::{NotKept, Order, Source, Target};

/// A header that no form and no simple request of a web page can carry.
const ASKED_FOR: &str = "tollgate-revoke";
const LONGEST: usize = 16 * 1024;
const MAX_ID_BYTES: usize = 256;
/// For the body, and for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `POST /revoke` brings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    user: Option<String>,
    application: Option<String>,
    session: Option<String>,
    entity: Option<String>,
    tenant: Option<String>,
}

/// Answers `POST /revoke`. Who may ask is settled as for `/reload`: on loopback only, and nobody whom a browser sends.
pub(super) async fn revoke(session: &mut ServerSession, is_loopback: bool, gateway: &Gateway) -> Response<Vec<u8>> {
    if !is_loopback {
        return text(StatusCode::FORBIDDEN, "only on a loopback address\n");
    }
    if !is_asked_for(&session.req_header().headers) {
        return text(StatusCode::FORBIDDEN, "send the header `Tollgate-Revoke: 1`, and no Origin\n");
    }
    let asked = match tokio::time::timeout(PATIENCE, body(session)).await {
        Ok(Some(body)) => serde_json::from_slice::<Asked>(&body).ok(),
        _ => None,
    };
    let Some(target) = asked.as_ref().and_then(target) else {
        let expected =
            "a JSON object with `user`, `application`, both, `session` or `entity`, and with `tenant` if it is for one only\n";
        return text(StatusCode::BAD_REQUEST, expected);
    };
    let now = clock::now();
    let kind = target.kind().label();
    let orders = [Order { target, tenant: asked.and_then(|asked| asked.tenant), until: now.unix() }];
    let revoked = gateway.lasting.revocations.revoke(&orders, Source::Operator, now);
    let (status, document) = match tokio::time::timeout(PATIENCE, revoked).await {
        Ok(Ok(_)) => (StatusCode::OK, json!({ "result": "revoked", "kind": kind, "until": now.unix_seconds() })),
        Ok(Err(error @ NotKept::Off)) => (StatusCode::NOT_FOUND, json!({ "result": "off", "error": error.to_string() })),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "result": "not_kept", "error": error.to_string() })),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "result": "not_kept", "error": "it was not written in time" })),
    };
    // Who was revoked is nobody's business who reads the log.
    tracing::info!(kind, status = status.as_u16(), "an operator asked for a revocation");
    let mut body = serde_json::to_vec_pretty(&document).unwrap_or_default();
    body.push(b'\n');
    reply(status, "application/json", body)
}

fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(ASKED_FOR).is_some_and(|value| value == "1") && !headers.contains_key(header::ORIGIN)
}

async fn body(session: &mut ServerSession) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = session.read_request_body().await.ok()? {
        if body.len() + piece.len() > LONGEST {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    Some(body)
}

fn target(asked: &Asked) -> Option<Target> {
    let ids = [&asked.user, &asked.application, &asked.session, &asked.entity, &asked.tenant];
    if ids.into_iter().flatten().any(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
        return None;
    }
    let target = match (asked.user.clone(), asked.application.clone(), asked.session.clone(), asked.entity.clone()) {
        (Some(user), Some(application), None, None) => Target::Member { user, application },
        (Some(user), None, None, None) => Target::User(user),
        (None, Some(application), None, None) => Target::Application(application),
        (None, None, Some(session), None) => Target::Session(session),
        (None, None, None, Some(entity)) => Target::Entity(entity),
        _ => return None,
    };
    Some(target)
}
