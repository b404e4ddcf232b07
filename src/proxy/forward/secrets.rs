use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;

/// What the gateway keeps in browsers is none of an upstream's business. Other cookies arrive byte for byte.
pub(super) fn keep_back(without_ours: impl Fn(&HeaderValue) -> Option<Option<HeaderValue>>, request: &mut HeaderMap) {
    let fields: Vec<Option<Option<HeaderValue>>> = request.get_all(COOKIE).iter().map(without_ours).collect();
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
pub(super) fn defend(sets_ours: impl Fn(&HeaderValue) -> bool, response: &mut ResponseHeader) -> Result<()> {
    if !response.headers.get_all(SET_COOKIE).iter().any(&sets_ours) {
        return Ok(());
    }
    let kept: Vec<HeaderValue> = response.headers.get_all(SET_COOKIE).iter().filter(|field| !sets_ours(field)).cloned().collect();
    response.remove_header(&SET_COOKIE);
    for field in kept {
        response.append_header(SET_COOKIE, field)?;
    }
    Ok(())
}
