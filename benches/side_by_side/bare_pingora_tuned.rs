//! Pingora with Tollgate's settings and nothing of Tollgate: mimalloc, and no stealing between the worker threads.
#![allow(clippy::expect_used, clippy::panic)]

mod proxy;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    proxy::serve(false);
}
