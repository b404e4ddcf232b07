use bytes::{BufMut, Bytes, BytesMut};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, HttpPeer};
use pingora::protocols::http::client::HttpSession;

use super::told;

/// A frame of gRPC: not compressed, four bytes of length.
const FRAME_HEAD: usize = 5;
/// An answer is two bytes; one that is much longer is none.
const MOST_BYTES: usize = 1_024;
/// `HealthCheckResponse.ServingStatus`
const SERVING: u64 = 1;

/// Asks `grpc.health.v1.Health/Check` about a service, as <https://github.com/grpc/grpc/blob/master/doc/health-checking.md> says.
pub(super) async fn ask(connector: &Connector, peer: &HttpPeer, service: &str, host: &str) -> Result<(), String> {
    let (message, trailers) = call(connector, peer, service, host).await.map_err(|error| told(&error))?;
    match trailers.as_deref() {
        None | Some("0") => {}
        Some(status) => return Err(format!("grpc-status {status}")),
    }
    match serving_status(&message) {
        Some(SERVING) => Ok(()),
        Some(status) => Err(format!("serving status {status}")),
        None => Err("not an answer of a health service".to_owned()),
    }
}

async fn call(connector: &Connector, peer: &HttpPeer, service: &str, host: &str) -> Result<(Bytes, Option<String>), Box<Error>> {
    let (HttpSession::H2(mut session), _) = connector.get_http_session(peer).await? else {
        return Err(Error::explain(pingora::ErrorType::H2Error, "the server does not speak HTTP/2"));
    };
    let scheme = if peer.is_tls() { "https" } else { "http" };
    let mut request = RequestHeader::build("POST", b"/grpc.health.v1.Health/Check", Some(4))?;
    request.set_version(http::Version::HTTP_2);
    let uri = format!("{scheme}://{host}/grpc.health.v1.Health/Check");
    request.set_uri(uri.parse().map_err(|_| Error::explain(pingora::ErrorType::InvalidHTTPHeader, "an unusable host"))?);
    request.insert_header("content-type", "application/grpc")?;
    request.insert_header("te", "trailers")?;
    session.write_request_header(Box::new(request), false)?;
    session.write_request_body(frame(service), true).await?;
    session.read_response_header().await?;
    let status_of = |headers: &http::HeaderMap| headers.get("grpc-status").and_then(|v| v.to_str().ok()).map(str::to_owned);
    // Without a message the status is in the head.
    let early = session.response_header().and_then(|head| status_of(&head.headers));
    let mut message = BytesMut::new();
    while let Some(chunk) = session.read_response_body().await? {
        message.put(chunk);
        if message.len() > MOST_BYTES {
            break;
        }
    }
    let trailers = session.read_trailers().await?;
    Ok((message.freeze(), early.or_else(|| trailers.as_ref().and_then(status_of))))
}

/// `HealthCheckRequest { service }`: field 1, a string.
fn frame(service: &str) -> Bytes {
    let service = service.as_bytes();
    let length = service.len().min(127);
    let mut message = BytesMut::new();
    if length > 0 {
        message.put_u8(0x0a);
        message.put_u8(u8::try_from(length).unwrap_or(0));
        message.put_slice(service.get(..length).unwrap_or_default());
    }
    let mut frame = BytesMut::with_capacity(FRAME_HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(0));
    frame.put(message);
    frame.freeze()
}

/// Field 1, a number; 0 (`UNKNOWN`) if it is left out.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let message = frame.get(FRAME_HEAD..)?;
    match message {
        [] => Some(0),
        [0x08, status, ..] if *status < 0x80 => Some(u64::from(*status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_frame_with_one_field() {
        assert_eq!(&frame("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&frame("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    }

    #[test]
    fn an_answer_is_one_number() {
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 2]), Some(2));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(b"<html>"), None);
        assert_eq!(serving_status(&[]), None);
    }
}
