//! The gateway as a process, on real sockets, with real keys, a real ledger and upstreams that write down what reached them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

mod support;

mod attacks;
mod billing;
mod http2;
mod identity;
mod life;
mod observing;
mod operators;
mod peers;
mod proxies;
mod routing;
mod rules;
mod stop;
mod streaming;
mod throttling;
mod tls;
mod traces;
mod upgrade;
mod websocket;
