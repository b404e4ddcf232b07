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

mod acme;
mod attacks;
mod billing;
mod bodies;
mod compression;
mod cors;
mod credentials;
mod credentials_asked;
mod credentials_cli;
mod credentials_told;
mod floods;
mod health;
mod hosted;
mod http2;
mod http2_floods;
mod http2_upstream;
mod identity;
mod life;
mod login;
mod login_sessions;
mod login_shared;
mod logout;
mod mirroring;
mod observing;
mod operators;
mod pages;
mod peers;
mod proxies;
mod redis;
mod rehearsing;
mod retries;
mod revocation;
mod revocation_feed;
mod revocation_operators;
mod rewriting;
mod routing;
mod rules;
mod sessions_in_redis;
mod slow;
mod stop;
mod streaming;
mod throttling;
mod tls;
mod tls_upstream;
mod traces;
mod upgrade;
mod upstream_attacks;
mod upstreams;
mod websocket;
