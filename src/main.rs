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

/// How long memory that was freed stays with the process before the system has it back, milliseconds. mimalloc's own
/// second keeps 20 to 25 MiB more under full load, whatever that load is, and is no faster (docs/benchmarks.md).
const PURGE_DELAY_MS: std::ffi::c_long = 100;

/// `mi_option_purge_delay` of mimalloc.h, which the binding does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Gives freed memory back sooner than mimalloc would, unless `MIMALLOC_PURGE_DELAY` says otherwise.
#[expect(unsafe_code, reason = "the allocator's options are set by a C function")]
fn give_memory_back_soon() {
    // SAFETY: checks its first argument and writes one integer that no other thread reads yet: `main` calls this first.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}

fn main() -> ExitCode {
    give_memory_back_soon();
    munim::cli::run()
}
