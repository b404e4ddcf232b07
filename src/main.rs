//! The `tollgate` command.

use std::process::ExitCode;

// Measured with the whole gateway under load, the allocator is worth more than everything that the gateway adds to a bare proxy.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tollgate::cli::main()
}
