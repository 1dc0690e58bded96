//! How often memory is allocated: for `munim bench`, in a binary built with the feature
//! `count-allocations`, since a count on every allocation is not free.
//!
//! Each thread counts in a cell of its own cache line; the sum is taken when somebody asks.

#![cfg_attr(feature = "count-allocations", expect(unsafe_code, reason = "an allocator is unsafe by its contract"))]

use super::families::Reading;

/// Adds the count, where there is one.
#[cfg(not(feature = "count-allocations"))]
pub(super) fn read_into(_: &mut Vec<Reading>) {}

/// Adds the count.
#[cfg(feature = "count-allocations")]
pub(super) fn read_into(readings: &mut Vec<Reading>) {
    readings.push(Reading::count(&super::families::ALLOCATIONS, counting::total()));
}

#[cfg(feature = "count-allocations")]
pub use counting::Counting;

#[cfg(feature = "count-allocations")]
mod counting {
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    /// Threads share the cells beyond this many.
    const CELLS: usize = 64;

    #[repr(align(64))]
    struct Line(AtomicU64);

    static COUNTS: [Line; CELLS] = [const { Line(AtomicU64::new(0)) }; CELLS];
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        // Without a destructor and made at compile time: it can be used while a thread ends, and
        // using it allocates nothing.
        static CELL: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    fn count() {
        let cell = CELL.with(|cell| {
            if cell.get() == usize::MAX {
                cell.set(NEXT.fetch_add(1, Ordering::Relaxed) % CELLS);
            }
            cell.get()
        });
        COUNTS[cell].0.fetch_add(1, Ordering::Relaxed);
    }

    /// Allocations since the start.
    pub(in super::super) fn total() -> u64 {
        COUNTS.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }

    /// An allocator that counts what it passes on.
    #[derive(Debug)]
    pub struct Counting<A>(pub A);

    // SAFETY: every call is passed on as it came; counting touches nothing that the allocator owns.
    unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count();
            // SAFETY: the caller's promise is passed on.
            unsafe { self.0.alloc(layout) }
        }
        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the caller's promise is passed on.
            unsafe { self.0.dealloc(pointer, layout) }
        }
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            count();
            // SAFETY: the caller's promise is passed on.
            unsafe { self.0.alloc_zeroed(layout) }
        }
        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            count();
            // SAFETY: the caller's promise is passed on.
            unsafe { self.0.realloc(pointer, layout, size) }
        }
    }
}
