use http::Version;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, HttpPeer, Result};

/// `GET path`: the status of the answer, once all of it is there.
pub(super) async fn ask(connector: &Connector, peer: &HttpPeer, path: &str, host: &str) -> Result<u16, Box<Error>> {
    let mut request = RequestHeader::build("GET", path.as_bytes(), Some(2))?;
    request.set_version(Version::HTTP_11);
    request.insert_header("Host", host)?;
    request.insert_header("User-Agent", concat!("tollgate/", env!("CARGO_PKG_VERSION"), " (health check)"))?;
    let (mut session, _) = connector.get_http_session(peer).await?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.set_read_timeout(peer.options.read_timeout);
    let mut interim = 0;
    let status = loop {
        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |head| head.status.as_u16());
        interim += 1;
        if !(100..200).contains(&status) || interim > 16 {
            break status;
        }
    };
    while session.read_response_body().await?.is_some() {}
    Ok(status)
}
