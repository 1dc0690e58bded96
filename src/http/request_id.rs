//! Numbers of requests, shown as `req_…`.
//!
//! Promise: no two requests of one data folder share a number, and they sort by arrival. A process
//! begins at its start in microseconds, times 4,096, and counts from there: one atomic add per
//! request, and no restart can catch up with the count before it (that would take four billion
//! requests a second).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Requests that a process may count in a microsecond of its life.
const PER_MICROSECOND: u64 = 4_096;

/// Gives out the numbers.
#[derive(Debug)]
pub struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    /// Numbers of this process.
    #[must_use]
    pub fn new() -> RequestIds {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(since.as_micros()).unwrap_or_default().wrapping_mul(PER_MICROSECOND);
        RequestIds { next: AtomicU64::new(start) }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Default for RequestIds {
    fn default() -> RequestIds {
        RequestIds::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_a_later_process_begins_above() {
        let ids = RequestIds::new();
        let numbers: Vec<u64> = (0..10_000).map(|_| ids.next()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        let second = 1_000_000 * PER_MICROSECOND;
        assert!(numbers[0].is_multiple_of(PER_MICROSECOND) && numbers[9_999] < numbers[0] + second);
    }
}
