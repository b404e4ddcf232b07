use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;

use crate::identity::Sessions;

/// What the gateway keeps in browsers is none of an upstream's business. Other cookies arrive byte for byte.
pub(super) fn keep_back(sessions: &Sessions, request: &mut HeaderMap) {
    let fields: Vec<Option<Option<HeaderValue>>> =
        request.get_all(COOKIE).iter().map(|field| sessions.without_ours(field)).collect();
    if fields.iter().all(Option::is_none) {
        return;
    }
    let arrived: Vec<HeaderValue> = request.get_all(COOKIE).iter().cloned().collect();
    request.remove(COOKIE);
    for (arrived, changed) in arrived.into_iter().zip(fields) {
        if let Some(left) = changed.unwrap_or(Some(arrived)) {
            request.append(COOKIE, left);
        }
    }
}

/// Nor may an upstream put anything in its place.
pub(super) fn defend(sessions: &Sessions, response: &mut ResponseHeader) -> Result<()> {
    if !response.headers.get_all(SET_COOKIE).iter().any(|field| sessions.sets_ours(field)) {
        return Ok(());
    }
    let kept: Vec<HeaderValue> =
        response.headers.get_all(SET_COOKIE).iter().filter(|field| !sessions.sets_ours(field)).cloned().collect();
    response.remove_header(&SET_COOKIE);
    for field in kept {
        response.append_header(SET_COOKIE, field)?;
    }
    Ok(())
}
