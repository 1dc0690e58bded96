//! Stalls of the runtime: a task that should have run and did not.
//!
//! One task a worker sleeps for 50 ms and looks how late it wakes. A worker that computes for long,
//! waits for a lock or for the disk makes every request behind it late, and nothing else shows that:
//! the stages of those requests only say `wake`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::families::{self, Reading};

/// How long the task sleeps.
const NAP: Duration = Duration::from_millis(50);

/// Later than this is a stall: ten times what a busy machine takes for a turn.
const LATE: Duration = Duration::from_millis(20);

/// Later than this is said in the log, at most once in ten seconds.
const VERY_LATE: Duration = Duration::from_millis(200);

/// For how long the worst one is remembered, seconds.
const WORST_S: u64 = 60;

/// What the tasks have seen.
#[derive(Debug)]
pub struct Stalls {
    started: Instant,
    count: AtomicU64,
    /// Worst of the current and of the previous minute, microseconds; the number of the current one.
    worst_us: [AtomicU64; 2],
    minute: AtomicU64,
    logged_s: AtomicU64,
}

impl Default for Stalls {
    fn default() -> Stalls {
        Stalls {
            started: Instant::now(),
            count: AtomicU64::new(0),
            worst_us: Default::default(),
            minute: AtomicU64::new(0),
            logged_s: AtomicU64::new(0),
        }
    }
}

impl Stalls {
    /// Notes how late a task woke; true when that is worth a line in the log.
    fn note(&self, late: Duration, now_s: u64) -> bool {
        self.turn(now_s);
        let us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.worst_us[(now_s / WORST_S % 2) as usize].fetch_max(us, Ordering::Relaxed);
        if late > LATE {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        let logged = self.logged_s.load(Ordering::Relaxed);
        late > VERY_LATE
            && now_s >= logged + 10
            && self.logged_s.compare_exchange(logged, now_s, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Forgets what is older than two minutes. Whoever sees the new minute first empties its place.
    fn turn(&self, now_s: u64) {
        let minute = now_s / WORST_S;
        let before = self.minute.fetch_max(minute, Ordering::Relaxed);
        if before < minute {
            self.worst_us[(minute % 2) as usize].store(0, Ordering::Relaxed);
            if before + 1 < minute {
                self.worst_us[((minute + 1) % 2) as usize].store(0, Ordering::Relaxed);
            }
        }
    }

    /// Stalls since the start, and the worst delay of the last minute or two.
    #[must_use]
    pub fn read(&self) -> (u64, Duration) {
        let worst = self.worst_us.iter().map(|us| us.load(Ordering::Relaxed)).max().unwrap_or_default();
        (self.count.load(Ordering::Relaxed), Duration::from_micros(worst))
    }

    pub(super) fn read_into(&self, readings: &mut Vec<Reading>) {
        self.turn(self.started.elapsed().as_secs());
        let (count, worst) = self.read();
        readings.push(Reading::count(&families::STALLS, count));
        readings.push(Reading::of(&families::STALL_WORST, worst.as_secs_f64()));
    }
}

/// Measures until it is dropped. Spawn as many as there are workers.
pub async fn watch_worker(stalls: std::sync::Arc<Stalls>) {
    loop {
        let due = tokio::time::Instant::now() + NAP;
        tokio::time::sleep_until(due).await;
        let late = due.elapsed();
        if stalls.note(late, stalls.started.elapsed().as_secs()) {
            let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(late_ms, "a worker of the runtime was held up; every request behind it waited");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_delay_is_forgotten_after_two_minutes() {
        let stalls = Stalls::default();
        assert!(!stalls.note(Duration::from_millis(30), 0));
        assert!(!stalls.note(Duration::from_millis(2), 1));
        assert_eq!(stalls.read(), (1, Duration::from_millis(30)));
        stalls.note(Duration::from_millis(1), 61);
        assert_eq!(stalls.read().1, Duration::from_millis(30));
        stalls.note(Duration::from_millis(1), 121);
        assert_eq!(stalls.read().1, Duration::from_millis(1));
    }

    #[test]
    fn the_log_hears_of_a_stall_once_in_ten_seconds() {
        let stalls = Stalls::default();
        let said: Vec<bool> = [10, 11, 19, 20].map(|now| stalls.note(Duration::from_secs(1), now)).into();
        assert_eq!(said, [true, false, false, true]);
    }
}
