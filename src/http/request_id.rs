//! Numbers of requests, shown as `req_…`.
//!
//! Promise: no two requests of one process share a number, and two processes are very unlikely to.
//! A process draws its start at random and counts from there: that costs one atomic add per request.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Gives out the numbers.
#[derive(Debug)]
pub struct RequestIds {
    start: u64,
    count: AtomicU64,
}

/// The odd number nearest to 2^64 / φ: multiplying by it is a permutation that spreads neighbours.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl RequestIds {
    /// Numbers of this process.
    #[must_use]
    pub fn new() -> RequestIds {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        // `RandomState` is seeded by the system: the standard library's own source of randomness.
        let start = RandomState::new().hash_one((now, std::process::id()));
        RequestIds { start, count: AtomicU64::new(0) }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.start.wrapping_add(count.wrapping_mul(SPREAD))
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
    fn numbers_do_not_repeat() {
        let ids = RequestIds::new();
        let mut numbers: Vec<u64> = (0..10_000).map(|_| ids.next()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 10_000);
    }
}
