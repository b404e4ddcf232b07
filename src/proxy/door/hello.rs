use std::io;

use pingora::protocols::l4::stream::Stream as Socket;
use tokio::io::AsyncReadExt;

use crate::tls::Challenges;

/// The head of a TLS record, and the longest one (RFC 8446 §5.1).
const HEAD: usize = 5;
const LONGEST: usize = HEAD + (16 << 10) + 256;

/// Whether a connection comes from an ACME server that wants to see a proof. What was read is put back. Asked only while there is one to
/// show, because which certificate a handshake needs depends on a protocol that OpenSSL tells only after it has chosen.
pub(super) async fn asks_for_proof(socket: &mut Socket) -> io::Result<bool> {
    let mut seen = Vec::with_capacity(2048);
    loop {
        let needed = match seen.as_slice() {
            [_, _, _, high, low, ..] => (HEAD + usize::from(u16::from_be_bytes([*high, *low]))).min(LONGEST),
            _ => HEAD,
        };
        if seen.len() >= needed && needed > HEAD {
            break;
        }
        let from = seen.len();
        seen.resize(needed.max(from + 1), 0);
        let read = socket.read(seen.get_mut(from..).unwrap_or_default()).await?;
        seen.truncate(from + read);
        if read == 0 {
            break;
        }
    }
    socket.rewind(&seen);
    Ok(Challenges::is_asked_in(&seen))
}
