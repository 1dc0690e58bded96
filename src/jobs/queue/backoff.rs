//! How long a failed job waits: exponential backoff with full jitter.
//!
//! The wait is drawn evenly from nothing to the exponential bound, so that jobs that failed together (a mail server
//! that was down) do not come back together.

use std::time::Duration;

use rand::RngCore;

/// Bounds of the waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait after the first failed attempt; it doubles with each further one.
    pub base: Duration,
    /// No wait is longer.
    pub max: Duration,
}

impl Default for Backoff {
    /// Two seconds, doubled up to an hour: ten attempts are spread over half an hour on average.
    fn default() -> Backoff {
        Backoff { base: Duration::from_secs(2), max: Duration::from_secs(3_600) }
    }
}

impl Backoff {
    /// The longest wait after failed attempt number `attempt`, counted from 1; microseconds.
    #[must_use]
    pub fn bound_us(&self, attempt: u32) -> u64 {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let doubled = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        us(self.base).saturating_mul(doubled).min(us(self.max))
    }

    /// The wait after failed attempt number `attempt`, counted from 1; microseconds.
    pub fn draw_us(&self, attempt: u32, rng: &mut dyn RngCore) -> i64 {
        let bound = self.bound_us(attempt).min(i64::MAX as u64);
        // The upper half of a 128-bit product is even up to one part in 2^64 of the bound.
        let drawn = (u128::from(rng.next_u64()) * (u128::from(bound) + 1)) >> 64;
        drawn as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn waits_double_up_to_their_bound_and_are_drawn_from_all_of_it() {
        let backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(60) };
        let second = 1_000_000;
        for (attempt, bound) in
            [(0, 2), (1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60), (64, 60), (65, 60), (u32::MAX, 60)]
        {
            assert_eq!(backoff.bound_us(attempt), bound * second, "{attempt}");
        }
        let mut rng = SmallRng::seed_from_u64(5);
        let drawn: Vec<i64> = (0..10_000).map(|_| backoff.draw_us(3, &mut rng)).collect();
        assert!(drawn.iter().all(|wait| (0..=8 * second as i64).contains(wait)));
        let mean = drawn.iter().sum::<i64>() / 10_000;
        assert!((3_800_000..4_200_000).contains(&mean), "full jitter is half the bound on average: {mean}");
        assert!(drawn.iter().any(|wait| *wait < 100_000) && drawn.iter().any(|wait| *wait > 7_900_000));
        let nothing = Backoff { base: Duration::ZERO, max: Duration::ZERO };
        assert_eq!(nothing.draw_us(9, &mut rng), 0);
        let for_ever = Backoff { base: Duration::MAX, max: Duration::MAX };
        assert!(for_ever.draw_us(9, &mut rng) >= 0);
    }
}
