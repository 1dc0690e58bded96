//! The binary: see `munim::cli`.

use std::process::ExitCode;

/// mimalloc: the hot path allocates little, but batches allocate and free megabytes on several
/// threads, where the system allocator keeps what it should give back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    munim::cli::run()
}
