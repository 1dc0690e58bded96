//! The binary: see `munim::cli`.

use std::process::ExitCode;

/// mimalloc: the hot path allocates little, but batches allocate and free megabytes on several
/// threads, where the system allocator keeps what it should give back.
#[cfg(not(feature = "count-allocations"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The same, counted for `munim bench`.
#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: munim::telemetry::allocations::Counting<mimalloc::MiMalloc> =
    munim::telemetry::allocations::Counting(mimalloc::MiMalloc);

fn main() -> ExitCode {
    munim::cli::run()
}
