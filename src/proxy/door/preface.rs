use std::io;

use pingora::protocols::l4::stream::Stream as Socket;
use tokio::io::AsyncReadExt;

/// RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection without TLS speaks HTTP/2 from its first byte. What was read is put back.
///
/// Pingora's own look waits for 24 bytes whatever comes, and `GET / HTTP/1.0` with two line ends has 18.
pub(super) async fn is_http2(socket: &mut Socket) -> io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    let mut length = 0;
    while let Some(rest) = seen.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let read = socket.read(rest).await?;
        length += read;
        let so_far = seen.get(..length).unwrap_or_default();
        if read == 0 || !PREFACE.starts_with(so_far) {
            break;
        }
    }
    let so_far = seen.get(..length).unwrap_or_default();
    socket.rewind(so_far);
    Ok(so_far == PREFACE)
}
