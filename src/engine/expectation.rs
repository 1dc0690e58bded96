//! How long something will take, by how long it took lately.
//!
//! Promise: an estimate never refuses for ever. It stands for [`KEPT`] after its last sample and is
//! halved every [`HALVED_EVERY`] from then on, so that sooner or later one is let in and measured; the
//! first sample after such a silence is taken whole. Lock-free: two samples at once may lose one of
//! them, which a moving mean does not mind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long an estimate stands without a new sample.
const KEPT: Duration = Duration::from_secs(5);

/// How often it is halved from then on.
const HALVED_EVERY: Duration = Duration::from_secs(1);

/// Share of a new sample in the mean, as a power of two: an eighth.
const MEAN_SHIFT: u32 = 3;

/// Share of a new sample in the mean distance from the mean, as a power of two: a quarter.
const SPREAD_SHIFT: u32 = 2;

/// A moving estimate. `now` is nanoseconds since whatever moment its owner counts from.
#[derive(Debug)]
pub struct Expectation {
    mean: AtomicU64,
    /// Mean distance of a sample from the mean.
    spread: AtomicU64,
    /// Of the last sample; 0 before the first one.
    counted_at: AtomicU64,
}

impl Expectation {
    /// Begins with a guess, in the unit of the samples.
    #[must_use]
    pub fn new(guess: u64) -> Expectation {
        Expectation { mean: AtomicU64::new(guess), spread: AtomicU64::new(0), counted_at: AtomicU64::new(0) }
    }

    /// What the next one has to expect: the mean and one mean distance on top, since half of all
    /// samples are above the mean.
    #[must_use]
    pub fn value(&self, now: u64) -> u64 {
        let value = self.mean.load(Ordering::Relaxed).saturating_add(self.spread.load(Ordering::Relaxed));
        let silence = now.saturating_sub(self.counted_at.load(Ordering::Relaxed));
        let halvings = silence.saturating_sub(nanos(KEPT)) / nanos(HALVED_EVERY);
        value.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0)
    }

    /// The mean as it was left by the last sample.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.mean.load(Ordering::Relaxed)
    }

    /// Takes a sample in; returns the new mean.
    pub fn count(&self, now: u64, sample: u64) -> u64 {
        let counted_at = self.counted_at.swap(now.max(1), Ordering::Relaxed);
        let is_after_silence = counted_at == 0 || now.saturating_sub(counted_at) > nanos(KEPT);
        let old = self.mean.load(Ordering::Relaxed);
        let (mean, spread) = if is_after_silence {
            (sample, 0)
        } else {
            let spread = self.spread.load(Ordering::Relaxed);
            let distance = sample.abs_diff(old);
            let mean = old - (old >> MEAN_SHIFT) + (sample >> MEAN_SHIFT);
            (mean, spread - (spread >> SPREAD_SHIFT) + (distance >> SPREAD_SHIFT))
        };
        self.mean.store(mean, Ordering::Relaxed);
        self.spread.store(spread, Ordering::Relaxed);
        mean
    }
}

/// A duration as whole nanoseconds; half of the greatest number stands for all that is longer.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2).min(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_guess_stands_until_the_first_sample_which_is_taken_whole() {
        let wait = Expectation::new(2_000);
        assert_eq!((wait.value(0), wait.value(5 * SECOND)), (2_000, 2_000));
        wait.count(3, 800);
        assert_eq!((wait.mean(), wait.value(4)), (800, 800));
    }

    #[test]
    fn samples_move_the_mean_and_their_distance_is_expected_on_top() {
        let wait = Expectation::new(0);
        for at in 1..=200 {
            wait.count(at, 8_000);
        }
        assert!((7_990..=8_000).contains(&wait.value(200)), "{}", wait.value(200));
        wait.count(201, 16_000);
        assert!((8_990..=9_000).contains(&wait.mean()), "{}", wait.mean());
        assert!((10_980..=11_000).contains(&wait.value(201)), "{}", wait.value(201));
    }

    #[test]
    fn an_old_estimate_fades_until_somebody_is_let_in_and_measured() {
        let wait = Expectation::new(0);
        wait.count(1, 4_096);
        for (age, expected) in [(0, 4_096), (5, 4_096), (6, 2_048), (7, 1_024), (17, 1), (18, 0), (1_000_000, 0)] {
            assert_eq!(wait.value(1 + age * SECOND), expected, "after {age} s");
        }
        wait.count(20 * SECOND, 64);
        assert_eq!(wait.value(20 * SECOND), 64, "what was before the silence says nothing any more");
        wait.count(20 * SECOND + 1, u64::MAX / 2);
        assert!(wait.value(20 * SECOND + 2) > 64, "extremes do not overflow");
    }
}
