//! What the tests start and ask.

mod certificates;
mod client;
mod curl;
mod frames;
mod gateway;
mod h2_client;
mod h2_server;
mod kept;
mod login;
#[path = "../../ports/mod.rs"]
mod ports;
mod redis;
mod tls_server;
mod upstream;
mod webhook;

pub use certificates::{Authority, Leaf};
pub use client::{Reply, ask, get, send};
pub use curl::{Curled, curl};
pub use frames::{Frames, Verdict};
pub use gateway::{Gateway, Setup, mint};
pub use h2_client::h2_ask;
pub use h2_server::{H2Answer, H2Server};
pub use kept::Kept;
pub use login::{Browser, CALLBACK, CLIENT_SECRET, Provider, as_json, hs256, login_setup, login_setup_with, short_lived};
pub(crate) use ports::free_port;
pub use redis::RedisServer;
pub use tls_server::{acceptor, demand, tls_server};
pub use upstream::{Upstream, answer, raw_server};
pub use webhook::{EVENTS, event, post, signature_of, signed, tell};

use std::time::{Duration, Instant};

/// Waits until something holds, at most ten seconds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what} did not come true in 10 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
