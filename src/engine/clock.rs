//! Time: the moment of a command, and what to believe of a wall clock that jumps.
//!
//! Promise: moments strictly increase. While running, time advances with the monotonic clock. A
//! wall clock that jumps forward by more than an hour while running, or that stands more than
//! seven days after the newest record at the start, is not adopted: the engine goes on with the
//! time it had, nothing expires, the business day does not roll, and `readyz` warns until an
//! operator accepts the clock. Small steps forward are adopted; steps back are waited out.

use std::fmt::Debug;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::domain::ids::Moment;
use crate::domain::time::Day;

/// A forward step of the wall clock while running that is not adopted, microseconds: one hour.
pub const JUMP_RUNNING_US: i64 = 3_600 * 1_000_000;

/// A gap between the newest record and the wall clock at the start that is not adopted: seven days.
pub const JUMP_STARTING_US: i64 = 7 * 86_400 * 1_000_000;

/// Where time comes from; a test gives its own.
pub trait TimeSource: Debug + Send + Sync + 'static {
    /// Microseconds since 1970 by the wall clock.
    fn wall_us(&self) -> i64;
    /// Microseconds since some fixed instant, never going back.
    fn monotonic_us(&self) -> i64;
}

/// The machine's clocks, or clocks that run faster, to see many business days in a minute.
#[derive(Debug)]
pub struct SystemTimeSource {
    start: Instant,
    started_at: SystemTime,
    speed: i64,
}

impl Default for SystemTimeSource {
    fn default() -> SystemTimeSource {
        SystemTimeSource::running(1)
    }
}

impl SystemTimeSource {
    /// Clocks that run `speed` times as fast, from now on.
    #[must_use]
    pub fn running(speed: i64) -> SystemTimeSource {
        SystemTimeSource { start: Instant::now(), started_at: SystemTime::now(), speed: speed.max(1) }
    }
}

fn since_1970_us(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl TimeSource for SystemTimeSource {
    fn wall_us(&self) -> i64 {
        if self.speed == 1 {
            return since_1970_us(SystemTime::now());
        }
        since_1970_us(self.started_at).saturating_add(self.monotonic_us())
    }

    fn monotonic_us(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX).saturating_mul(self.speed)
    }
}

/// The engine's clock.
#[derive(Debug)]
pub struct Clock {
    source: Box<dyn TimeSource>,
    zone: jiff::tz::TimeZone,
    /// Guards the reference point; held for a few additions.
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// The engine's time at `monotonic_us`.
    time_us: i64,
    monotonic_us: i64,
    suspect: bool,
}

impl Clock {
    /// Starts the clock. `newest` is the moment of the newest record, if there is one.
    #[must_use]
    pub fn start(source: Box<dyn TimeSource>, zone: jiff::tz::TimeZone, newest: Option<Moment>) -> Clock {
        let (wall, monotonic_us) = (source.wall_us(), source.monotonic_us());
        let (time_us, suspect) = match newest {
            Some(Moment(newest)) if wall > newest.saturating_add(JUMP_STARTING_US) => (newest, true),
            Some(Moment(newest)) => (wall.max(newest), false),
            None => (wall, false),
        };
        Clock { source, zone, state: Mutex::new(State { time_us, monotonic_us, suspect }) }
    }

    /// The engine's time: never before what it said last.
    #[must_use]
    pub fn now(&self) -> Moment {
        let state = self.state.lock();
        // Read under the lock, so that two callers cannot see time go back between them.
        let elapsed = self.source.monotonic_us() - state.monotonic_us;
        Moment(state.time_us + elapsed)
    }

    /// Compares with the wall clock; called about once a second. Returns whether trust changed.
    pub fn observe(&self) -> bool {
        let mut state = self.state.lock();
        let (wall, monotonic_us) = (self.source.wall_us(), self.source.monotonic_us());
        let time_us = state.time_us + (monotonic_us - state.monotonic_us);
        let ahead = wall.saturating_sub(time_us);
        let before = state.suspect;
        if ahead > JUMP_RUNNING_US {
            state.suspect = true;
        } else if !state.suspect && ahead > 0 {
            // Drift or a small correction: adopted. A step back is waited out: the monotonic clock
            // goes on, and the wall clock catches up or is set right.
            *state = State { time_us: wall, monotonic_us, suspect: false };
        } else if state.suspect && ahead.abs() <= JUMP_RUNNING_US {
            // The wall clock came back to where the engine's time is: nothing to suspect any more.
            state.suspect = false;
        }
        state.suspect != before
    }

    /// Takes the wall clock's word (`munim clock accept`). Time still never goes back.
    pub fn accept(&self) {
        let mut state = self.state.lock();
        let (wall, monotonic_us) = (self.source.wall_us(), self.source.monotonic_us());
        let time_us = state.time_us + (monotonic_us - state.monotonic_us);
        *state = State { time_us: wall.max(time_us), monotonic_us, suspect: false };
    }

    /// Whether the wall clock jumped and was not adopted.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.state.lock().suspect
    }

    /// The first moment after a day in the books' zone.
    #[must_use]
    pub fn end_of(&self, day: Day) -> Moment {
        let next = day.date().tomorrow().and_then(|next| next.to_zoned(self.zone.clone()));
        Moment(next.map_or(i64::MAX, |next| next.timestamp().as_microsecond()))
    }

    /// The calendar day of a moment in the books' zone, clamped to what [`Day`] holds.
    #[must_use]
    pub fn day_of(&self, moment: Moment) -> Day {
        let timestamp = jiff::Timestamp::from_microsecond(moment.0).unwrap_or_default();
        let date = timestamp.to_zoned(self.zone.clone()).date();
        Day::from_date(date).unwrap_or(Day(if moment.0 < 0 { 0 } else { u16::MAX }))
    }
}

/// The zone of a name. Asia/Kolkata is known without a time-zone database: India has had no
/// summer time since 1945, and a bare edge box may lack the database.
///
/// # Errors
/// The name, when no database on this machine knows it.
pub fn zone(name: &str) -> Result<jiff::tz::TimeZone, String> {
    if name == "Asia/Kolkata" {
        let offset = jiff::tz::Offset::from_seconds(19_800).expect("five and a half hours are an offset");
        return Ok(jiff::tz::TimeZone::fixed(offset));
    }
    jiff::tz::TimeZone::get(name).map_err(|error| format!("unknown time zone {name:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Clone, Debug, Default)]
    struct Hands {
        wall: Arc<AtomicI64>,
        monotonic: Arc<AtomicI64>,
    }
    impl TimeSource for Hands {
        fn wall_us(&self) -> i64 {
            self.wall.load(Ordering::SeqCst)
        }
        fn monotonic_us(&self) -> i64 {
            self.monotonic.load(Ordering::SeqCst)
        }
    }
    impl Hands {
        fn pass(&self, us: i64) {
            self.wall.fetch_add(us, Ordering::SeqCst);
            self.monotonic.fetch_add(us, Ordering::SeqCst);
        }
        fn jump(&self, us: i64) {
            self.wall.fetch_add(us, Ordering::SeqCst);
        }
        fn clock(&self, newest: Option<i64>) -> Clock {
            let zone = zone("Asia/Kolkata").expect("known without a database");
            Clock::start(Box::new(self.clone()), zone, newest.map(Moment))
        }
    }
    const HOUR: i64 = JUMP_RUNNING_US;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn a_small_step_forward_is_adopted_and_a_step_back_is_waited_out() {
        let hands = Hands::default();
        hands.pass(100 * DAY);
        let clock = hands.clock(None);
        hands.jump(HOUR / 2);
        assert!(!clock.observe());
        assert_eq!(clock.now(), Moment(100 * DAY + HOUR / 2));
        hands.jump(-5 * DAY);
        clock.observe();
        hands.pass(10);
        assert_eq!(clock.now(), Moment(100 * DAY + HOUR / 2 + 10));
        assert!(!clock.is_suspect());
    }

    #[test]
    fn a_jump_of_more_than_an_hour_is_suspect_until_accepted() {
        let hands = Hands::default();
        hands.pass(100 * DAY);
        let clock = hands.clock(None);
        hands.jump(HOUR + 1);
        assert!(clock.observe());
        assert!(clock.is_suspect());
        hands.pass(7);
        assert_eq!(clock.now(), Moment(100 * DAY + 7));
        clock.accept();
        assert!(!clock.is_suspect());
        assert_eq!(clock.now(), Moment(100 * DAY + 7 + HOUR + 1));
    }

    #[test]
    fn a_start_more_than_a_week_after_the_newest_record_is_suspect() {
        for (gap, suspect) in [(7 * DAY, false), (7 * DAY + 1, true), (-3 * DAY, false)] {
            let hands = Hands::default();
            hands.pass(100 * DAY);
            let clock = hands.clock(Some(100 * DAY - gap));
            assert_eq!(clock.is_suspect(), suspect, "{gap}");
            assert!(clock.now() >= Moment(100 * DAY - gap), "time does not go back behind the newest record");
        }
    }

    #[test]
    fn business_days_are_those_of_the_books_zone() {
        let hands = Hands::default();
        let clock = hands.clock(None);
        let half_past_six_utc = 18 * HOUR + HOUR / 2;
        assert_eq!(clock.day_of(Moment(half_past_six_utc - 1)), Day(0));
        assert_eq!(clock.day_of(Moment(half_past_six_utc)), Day(1));
    }
}
