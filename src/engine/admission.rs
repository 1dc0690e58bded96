//! How much single work is let in: a limit that follows what the machine can do.
//!
//! Promise: a command is refused at once or let in; it is never queued without bound. Refused is
//! 1. what exceeds the lane's limit;
//! 2. what would not be done by its deadline, by the waits that those before it had: those who came into
//!    an empty lane when it is empty, all of them when it is not;
//! 3. while waits are longer than [`INTERACTIVE_WAIT_MAX`], what exceeds a limit that shrinks by a
//!    tenth every [`TURN`] and grows again by a tenth when the waits are short (additive-increase
//!    rules grow too slowly over four decades of limits; the form is TCP Vegas's: delay is the signal).
//!
//! [`INTERACTIVE_MIN`] commands are always let in, whatever was measured: without them nobody would
//! find out that the trouble is over. A wait is measured from admission to the answer's leaving,
//! wake-up included, so that a lack of processor time counts like a slow disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::config::{INTERACTIVE_MIN, INTERACTIVE_WAIT_MAX};

use super::expectation::{Expectation, nanos};
use super::view::Unavailable;

/// How often the limit may change.
const TURN: Duration = Duration::from_millis(100);

/// What one command has to expect before any was measured: a journal write on an ordinary disk.
pub const FIRST_WAIT: Duration = Duration::from_millis(2);

/// The interactive lane's door.
#[derive(Debug)]
pub struct Admission {
    started: Instant,
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    limit_max: usize,
    /// Waits of all, nanoseconds.
    wait: Expectation,
    /// Waits of those who came into an empty lane: they do not pay for a crowd that has gone.
    wait_alone: Expectation,
    /// When the limit was last looked at, nanoseconds since `started`.
    turned_ns: AtomicU64,
    refused: AtomicU64,
}

/// A place in the lane; dropped, it is free again and its wait is counted.
#[derive(Debug)]
pub struct Place {
    lane: Arc<Admission>,
    entered: Instant,
    is_alone: bool,
}

impl Admission {
    /// Lets at most `limit_max` in at once.
    #[must_use]
    pub fn new(limit_max: usize) -> Admission {
        let limit_max = limit_max.max(1);
        Admission {
            started: Instant::now(),
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit_max),
            limit_max,
            wait: Expectation::new(0),
            wait_alone: Expectation::new(nanos(FIRST_WAIT)),
            turned_ns: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A place, if the work can be done by `deadline`.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`], [`Unavailable::DeadlineUnmeetable`].
    pub fn enter(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Place, Unavailable> {
        let entered = Instant::now();
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        // From here on dropping it gives the place back.
        let place = Place { lane: Arc::clone(self), entered, is_alone: before == 0 };
        let refusal = if before >= self.limit.load(Ordering::Relaxed) {
            Some(Unavailable::Overloaded("interactive"))
        } else if deadline.is_some_and(|deadline| deadline < entered + self.expected(entered, before)) {
            Some(Unavailable::DeadlineUnmeetable)
        } else {
            None
        };
        match refusal {
            None => Ok(place),
            Some(cause) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                place.give_up();
                Err(cause)
            }
        }
    }

    /// The wait that one who enters now behind so many others has to expect.
    fn expected(&self, now: Instant, others: usize) -> Duration {
        let wait = if others == 0 { &self.wait_alone } else { &self.wait };
        Duration::from_nanos(wait.value(self.since_start(now)))
    }

    fn since_start(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.started))
    }

    /// Commands inside, the limit, the mean wait, and how many were refused since the start.
    #[must_use]
    pub fn look(&self) -> (usize, usize, Duration, u64) {
        (
            self.in_flight.load(Ordering::Relaxed),
            self.limit.load(Ordering::Relaxed),
            Duration::from_nanos(self.wait.mean()),
            self.refused.load(Ordering::Relaxed),
        )
    }

    fn count(&self, now: Instant, wait: Duration, is_alone: bool) {
        let (now, sample) = (self.since_start(now), nanos(wait));
        if is_alone {
            self.wait_alone.count(now, sample);
        }
        let mean = self.wait.count(now, sample);
        let turned = self.turned_ns.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(turned) >= TURN.as_nanos() as u64;
        if is_due && self.turned_ns.compare_exchange(turned, now, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.turn(Duration::from_nanos(mean));
        }
    }

    fn turn(&self, mean: Duration) {
        let limit = self.limit.load(Ordering::Relaxed);
        let next = if mean > INTERACTIVE_WAIT_MAX {
            let in_flight = self.in_flight.load(Ordering::Relaxed).min(limit);
            (in_flight - in_flight / 10).max(INTERACTIVE_MIN.min(self.limit_max))
        } else if mean < INTERACTIVE_WAIT_MAX / 2 {
            (limit + limit / 10 + 1).min(self.limit_max)
        } else {
            limit
        };
        if next < limit {
            tracing::debug!(
                limit = next,
                wait.ms = mean.as_millis() as u64,
                "waits are long: fewer commands are let in"
            );
        }
        self.limit.store(next, Ordering::Relaxed);
    }
}

impl Place {
    /// Leaves without a wait worth counting.
    fn give_up(self) {
        let mut place = self;
        // A sample of nothing would make the lane look faster than it is.
        place.entered = Instant::now() + Duration::from_secs(3600);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lane.in_flight.fetch_sub(1, Ordering::AcqRel);
        let now = Instant::now();
        if now >= self.entered {
            self.lane.count(now, now - self.entered, self.is_alone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_limit_is_refused_and_a_place_left_is_free() {
        let lane = Arc::new(Admission::new(2));
        let held = (lane.enter(None).unwrap(), lane.enter(None).unwrap());
        assert!(matches!(lane.enter(None), Err(Unavailable::Overloaded(_))));
        drop(held);
        assert!(lane.enter(None).is_ok());
        let (in_flight, limit, _, refused) = lane.look();
        assert_eq!((in_flight, limit, refused), (0, 2, 1));
    }

    /// A lane whose waits were `all` for everybody and `alone` for who came into it empty, just now.
    fn measured(all: Duration, alone: Duration) -> (Arc<Admission>, Instant) {
        let lane = Arc::new(Admission::new(100));
        let now = Instant::now();
        lane.count(now, alone, true);
        for _ in 0..60 {
            lane.count(now, all, false);
        }
        (lane, now)
    }

    #[test]
    fn a_deadline_that_the_waits_before_it_would_miss_is_refused_before_work_begins() {
        let ms = Duration::from_millis;
        let (lane, _) = measured(ms(40), ms(3));
        let soon = |within| Some(Instant::now() + within);
        assert!(matches!(lane.enter(soon(ms(1))), Err(Unavailable::DeadlineUnmeetable)), "an empty lane waits too");
        assert!(lane.enter(soon(ms(500))).is_ok());
        let (lane, _) = measured(ms(40), ms(3));
        let held = lane.enter(None).unwrap();
        assert!(matches!(lane.enter(soon(ms(5))), Err(Unavailable::DeadlineUnmeetable)));
        assert!(lane.enter(soon(Duration::from_secs(5))).is_ok());
        held.give_up();
        let passed = Instant::now().checked_sub(ms(1));
        assert!(matches!(lane.enter(passed), Err(Unavailable::DeadlineUnmeetable)));
    }

    #[test]
    fn an_estimate_is_by_company_and_fades_in_silence() {
        let ms = Duration::from_millis;
        let (lane, now) = measured(ms(40), ms(4));
        let within = |wait: Duration, least, most| ms(least) <= wait && wait <= ms(most);
        for (age, others, least, most) in [(0, 0, 4, 4), (0, 1, 39, 60), (5, 0, 4, 4), (6, 0, 2, 2), (8, 9, 0, 8)] {
            let wait = lane.expected(now + Duration::from_secs(age), others);
            assert!(within(wait, least, most), "after {age} s behind {others}: {wait:?}");
        }
        assert_eq!(Admission::new(1).expected(Instant::now(), 0), FIRST_WAIT, "nothing was measured yet");
    }

    #[test]
    fn the_limit_follows_the_waits_down_and_up_again() {
        let lane = Arc::new(Admission::new(10_000));
        let held: Vec<Place> = (0..1_000).map(|_| lane.enter(None).unwrap()).collect();
        lane.turn(INTERACTIVE_WAIT_MAX * 2);
        assert_eq!(lane.look().1, 900);
        assert!(matches!(lane.enter(None), Err(Unavailable::Overloaded(_))));
        held.into_iter().for_each(Place::give_up);
        for _ in 0..100 {
            lane.turn(INTERACTIVE_WAIT_MAX * 2);
        }
        assert_eq!(lane.look().1, INTERACTIVE_MIN, "some are always let in");
        for _ in 0..100 {
            lane.turn(Duration::ZERO);
        }
        assert_eq!(lane.look().1, 10_000);
    }
}
