use std::net::SocketAddr;

/// One entry of `listeners:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it is bound.
    pub address: SocketAddr,
}
