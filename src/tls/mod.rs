//! Certificates, keys and handshakes in memory: nothing here reads a file, a clock or a socket.
//!
//! Below the stages, because the configuration checks with it what the proxy uses afterwards.

mod acceptor;
mod client;
mod handshake;
mod names;
mod pair;

pub use acceptor::{Acceptor, AcceptorFault, CipherKind, cipher_kind};
pub use handshake::{Agreed, HandshakeFault};
pub use names::covers;
pub use pair::{Pair, PairFault, authorities};
