use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};

/// RFC 6455 §1.3: what a server appends to the key to show that it knows what it agrees to.
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a 101 answers this handshake (§4.2.2).
pub(super) fn is_answered(request: &HeaderMap, response: &HeaderMap) -> bool {
    let (Some(key), Some(answer)) = (request.get(SEC_WEBSOCKET_KEY), response.get(SEC_WEBSOCKET_ACCEPT)) else { return false };
    let is_websocket = response.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let expected = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes().trim_ascii(), SUFFIX].concat());
    is_websocket && answer.as_bytes().trim_ascii() == STANDARD.encode(expected).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_1_3_a_101_answers_the_key() {
        let fields = |fields: &[(&'static str, &'static str)]| -> HeaderMap {
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let request = fields(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
        let right = [("upgrade", "WebSocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];
        assert!(is_answered(&request, &fields(&right)));
        assert!(!is_answered(&HeaderMap::new(), &fields(&right)));
        assert!(!is_answered(&request, &fields(&right[..1])));
        assert!(!is_answered(&request, &fields(&right[1..])));
        assert!(!is_answered(&request, &fields(&[right[0], ("sec-websocket-accept", "x3pPLMBiTxaQ9kYGzzhZRbK+xOo=")])));
    }
}
