//! Pingora as it comes: its defaults and the system's allocator. What the other columns are measured against.
#![allow(clippy::expect_used, clippy::panic)]

mod proxy;

fn main() {
    proxy::serve(true);
}
