//! The body of a request, read before it is known whether the request may pass.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::prelude::Session;

use crate::gateway::BodySource;
use crate::model::{Body, Malformed, Rejection};

/// How long a body may take that rules wait for.
const LONGEST: Duration = Duration::from_secs(10);

/// The body on the wire.
///
/// Pingora keeps what was read in its retry buffer and sends it to the upstream from there; beyond 64 KiB that buffer forgets
/// everything. So only a body is read whose declared length fits: of another one the end would have to be guessed, and what was
/// read of it could get lost.
pub(super) struct Wire<'s>(pub(super) &'s mut Session);

impl BodySource for Wire<'_> {
    async fn read(&mut self, most: usize) -> Result<Body, Rejection> {
        let session = self.0.as_mut();
        if session.is_body_empty() {
            return Ok(Body::Text("".into()));
        }
        let length = session.req_header().headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let Some(length) = length.filter(|length| *length <= most) else { return Ok(Body::NotRead) };
        session.enable_retry_buffering();
        let read = tokio::time::timeout(LONGEST, async {
            if session.req_header().headers.contains_key(header::EXPECT) {
                session.write_continue_response().await?;
            }
            let mut body = Vec::with_capacity(length);
            while let Some(piece) = session.read_request_body().await? {
                body.extend_from_slice(&piece);
            }
            Ok::<_, Box<pingora::Error>>(body)
        });
        match read.await {
            Ok(Ok(body)) if body.len() == length => {
                Ok(String::from_utf8(body).map_or(Body::NotText, |text| Body::Text(text.into())))
            }
            Ok(_) => Err(Rejection::BadRequest(Malformed::Framing)),
            Err(_) => Err(Rejection::BadRequest(Malformed::BodyTooSlow)),
        }
    }

    async fn take(&mut self, most: usize) -> Result<Bytes, Rejection> {
        let session = self.0.as_mut();
        let length = session.req_header().headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(Rejection::BadRequest(Malformed::BodyTooLarge));
        }
        let read = tokio::time::timeout(LONGEST, async {
            if session.req_header().headers.contains_key(header::EXPECT) {
                session.write_continue_response().await.map_err(|_| Malformed::Framing)?;
            }
            let mut body = BytesMut::new();
            while let Some(piece) = session.read_request_body().await.map_err(|_| Malformed::Framing)? {
                if body.len() + piece.len() > most {
                    return Err(Malformed::BodyTooLarge);
                }
                body.extend_from_slice(&piece);
            }
            Ok(body.freeze())
        });
        match read.await {
            Ok(body) => body.map_err(Rejection::BadRequest),
            Err(_) => Err(Rejection::BadRequest(Malformed::BodyTooSlow)),
        }
    }
}
