//! What the tests start and ask.

mod certificates;
mod client;
mod curl;
mod frames;
mod gateway;
mod h2_server;
mod kept;
mod tls_server;
mod upstream;

pub use certificates::{Authority, Leaf};
pub use client::{Reply, ask, get, send};
pub use curl::{Curled, curl};
pub use frames::{Frames, Verdict};
pub use gateway::{Gateway, Setup, mint};
pub use h2_server::{H2Answer, H2Server};
pub use kept::Kept;
pub use tls_server::tls_server;
pub use upstream::{Upstream, answer, raw_server};

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something holds, at most ten seconds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what} did not come true in 10 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
