//! A circuit breaker: when calls to a destination keep failing, it is left alone for a while.
//!
//! Promise: a pure state machine. Time comes as an argument (a duration since any fixed moment, never
//! running backwards), and what it does depends on nothing else. Its memory is a few hundred bytes.
//!
//! 1. **Closed**: calls go through and are counted, in a ring of [`BUCKETS`] slices of the window. It opens
//!    after so many failures in a row, or when of enough calls in the window too large a part failed.
//! 2. **Open**: calls are refused. How long doubles from opening to opening, up to a cap, and begins anew
//!    only when a probe succeeded. There is no jitter: one process calls, and nothing comes back together.
//! 3. **Half open**: one call goes through, the probe. Success closes, failure opens; a probe that was
//!    given up lets the next call probe.
//! 4. An operator may open it (for a time, or until it is reset) and close it.
//!
//! A call that began before the state changed says nothing about the state after it: each permit has the
//! number of the state that gave it.

use std::time::Duration;

/// Slices of the window: a failure is forgotten between nine and ten tenths of it.
pub const BUCKETS: usize = 10;

/// When to open and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; at least 1.
    pub consecutive_failures: u32,
    /// What the failure rate is taken over; at least 10 ms.
    pub window: Duration,
    /// Percent of the calls in the window that open it when they failed, 1 to 100.
    pub failures_pct: u32,
    /// Calls in the window below which there is no rate; at least 1.
    pub calls_min: u32,
    /// How long it is open the first time.
    pub open_base: Duration,
    /// How long at most.
    pub open_cap: Duration,
}

impl Default for BreakerSettings {
    /// Five in a row, or half of twenty in a minute; open for 5 s at first, then up to five minutes: the
    /// first two steps of the webhook schedule.
    fn default() -> BreakerSettings {
        BreakerSettings {
            consecutive_failures: 5,
            window: Duration::from_secs(60),
            failures_pct: 50,
            calls_min: 20,
            open_base: Duration::from_secs(5),
            open_cap: Duration::from_secs(300),
        }
    }
}

/// What calls meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They go through.
    Closed,
    /// They are refused until then; `None`: until it is reset.
    Open {
        /// The moment from which a probe may go through.
        until: Option<Duration>,
    },
    /// One may go through, or is on its way.
    HalfOpen,
}

impl State {
    /// For a gauge: 0 closed, 1 half open, 2 open.
    #[must_use]
    pub fn gauge(self) -> u8 {
        match self {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open { .. } => 2,
        }
    }

    /// In a word, for logs and answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half_open",
            State::Open { .. } => "open",
        }
    }
}

/// Why the state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// So many failures in a row.
    ConsecutiveFailures,
    /// Too large a part of the calls failed.
    FailureRate,
    /// The time is over; one call may try.
    TimeOver,
    /// The probe succeeded.
    ProbeSucceeded,
    /// The probe failed.
    ProbeFailed,
    /// An operator opened it.
    Tripped,
    /// An operator closed it.
    Reset,
}

/// A change of state, for whoever listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

/// How a call ended, as far as the destination is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, be it that it will not have this.
    Success,
    /// It did not answer, or it said that it is in trouble.
    Failure,
    /// Nothing was learned: the call was given up before it said anything about the destination.
    Abandoned,
}

/// A call that may go through; to be settled exactly once.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    era: u64,
    is_probe: bool,
}

impl Permit {
    /// Whether it is the one call of a half-open breaker.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }
}

/// A call that may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// When it is worth asking again; `None`: when an operator has reset it, or (half open) when the probe
    /// has come back.
    pub retry_in: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which slice of time it counts, since the fixed moment.
    slice: u64,
    successes: u32,
    failures: u32,
}

/// The state machine of one destination.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// Moves with each change of state.
    era: u64,
    failures_in_a_row: u32,
    /// How often it opened since a probe last succeeded.
    openings: u32,
    is_probe_out: bool,
    buckets: [Bucket; BUCKETS],
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Breaker {
        Breaker {
            settings,
            state: State::Closed,
            era: 0,
            failures_in_a_row: 0,
            openings: 0,
            is_probe_out: false,
            buckets: [Bucket::default(); BUCKETS],
        }
    }

    /// The state, as it was left: an open one whose time is over says so until somebody asks to go through.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// Calls and failures in the window that ends now.
    #[must_use]
    pub fn window(&self, now: Duration) -> (u32, u32) {
        let slice = self.slice(now);
        let recent = self.buckets.iter().filter(|bucket| slice - bucket.slice.min(slice) < BUCKETS as u64);
        recent.fold((0, 0), |(calls, failures), bucket| {
            (calls + bucket.successes + bucket.failures, failures + bucket.failures)
        })
    }

    /// Asks whether a call may go through. May turn an open breaker half open.
    ///
    /// # Errors
    /// [`Open`]: it may not.
    pub fn admit(&mut self, now: Duration) -> (Result<Permit, Open>, Option<Change>) {
        match self.state {
            State::Closed => (Ok(Permit { era: self.era, is_probe: false }), None),
            State::Open { until: None } => (Err(Open { retry_in: None }), None),
            State::Open { until: Some(until) } if now < until => {
                (Err(Open { retry_in: Some(until.saturating_sub(now)) }), None)
            }
            State::Open { until: Some(_) } => {
                let change = self.change(State::HalfOpen, Cause::TimeOver);
                (Ok(self.probe()), Some(change))
            }
            State::HalfOpen if self.is_probe_out => (Err(Open { retry_in: None }), None),
            State::HalfOpen => (Ok(self.probe()), None),
        }
    }

    fn probe(&mut self) -> Permit {
        self.is_probe_out = true;
        Permit { era: self.era, is_probe: true }
    }

    /// Takes how a call ended.
    pub fn settle(&mut self, permit: Permit, outcome: Outcome, now: Duration) -> Option<Change> {
        if permit.era != self.era {
            return None;
        }
        if permit.is_probe {
            self.is_probe_out = false;
        }
        match (self.state, outcome) {
            (_, Outcome::Abandoned) | (State::Open { .. }, _) => None,
            (State::HalfOpen, Outcome::Success) => {
                self.forget();
                Some(self.change(State::Closed, Cause::ProbeSucceeded))
            }
            (State::HalfOpen, Outcome::Failure) => {
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                Some(self.open(now, Cause::ProbeFailed))
            }
            (State::Closed, Outcome::Success) => {
                self.failures_in_a_row = 0;
                let bucket = self.bucket(now);
                bucket.successes = bucket.successes.saturating_add(1);
                None
            }
            (State::Closed, Outcome::Failure) => {
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                let bucket = self.bucket(now);
                bucket.failures = bucket.failures.saturating_add(1);
                self.tripping_cause(now).map(|cause| self.open(now, cause))
            }
        }
    }

    /// Opens it by hand, for a time or (`None`) until it is reset.
    pub fn trip(&mut self, now: Duration, span: Option<Duration>) -> Change {
        self.change(State::Open { until: span.map(|span| now.saturating_add(span)) }, Cause::Tripped)
    }

    /// Closes it by hand and forgets what it counted.
    pub fn reset(&mut self) -> Change {
        self.forget();
        self.change(State::Closed, Cause::Reset)
    }

    fn tripping_cause(&self, now: Duration) -> Option<Cause> {
        if self.failures_in_a_row >= self.settings.consecutive_failures {
            return Some(Cause::ConsecutiveFailures);
        }
        let (calls, failures) = self.window(now);
        let is_too_many = u64::from(failures) * 100 >= u64::from(calls) * u64::from(self.settings.failures_pct);
        (calls >= self.settings.calls_min && is_too_many).then_some(Cause::FailureRate)
    }

    fn open(&mut self, now: Duration, cause: Cause) -> Change {
        let BreakerSettings { open_base, open_cap, .. } = self.settings;
        let doubled = 1_u32.checked_shl(self.openings).and_then(|factor| open_base.checked_mul(factor));
        let span = doubled.map_or(open_cap, |span| span.min(open_cap));
        self.openings = self.openings.saturating_add(1);
        self.change(State::Open { until: Some(now.saturating_add(span)) }, cause)
    }

    fn change(&mut self, to: State, cause: Cause) -> Change {
        let from = std::mem::replace(&mut self.state, to);
        self.era += 1;
        self.is_probe_out = false;
        Change { from, to, cause }
    }

    fn forget(&mut self) {
        self.failures_in_a_row = 0;
        self.openings = 0;
        self.buckets = [Bucket::default(); BUCKETS];
    }

    fn slice(&self, now: Duration) -> u64 {
        let width = (self.settings.window.as_millis() / BUCKETS as u128).max(1);
        u64::try_from(now.as_millis() / width).unwrap_or(u64::MAX)
    }

    fn bucket(&mut self, now: Duration) -> &mut Bucket {
        let slice = self.slice(now);
        let bucket = &mut self.buckets[(slice % BUCKETS as u64) as usize];
        if bucket.slice != slice {
            *bucket = Bucket { slice, ..Bucket::default() };
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn settings() -> BreakerSettings {
        BreakerSettings {
            consecutive_failures: 3,
            window: ms(1_000),
            failures_pct: 50,
            calls_min: 8,
            open_base: ms(100),
            open_cap: ms(350),
        }
    }

    /// One table for the machine: at a moment, somebody does something, and the state after it is that.
    /// `ok`, `no` and `lost` are a call that goes through and ends so at once; `refused` one that may not.
    fn check(title: &str, steps: &[(u64, &str, &str)]) {
        let mut breaker = Breaker::new(settings());
        let mut kept: Vec<Permit> = Vec::new();
        for (at, what, expected) in steps {
            let now = ms(*at);
            let place = format!("{title}: {what} at {at}");
            match *what {
                "ok" | "no" | "lost" => {
                    let permit = breaker.admit(now).0.expect(&place);
                    let outcome = match *what {
                        "ok" => Outcome::Success,
                        "no" => Outcome::Failure,
                        _ => Outcome::Abandoned,
                    };
                    breaker.settle(permit, outcome, now);
                }
                "refused" => drop(breaker.admit(now).0.expect_err(&place)),
                "begin" => kept.push(breaker.admit(now).0.expect(&place)),
                "end ok" => drop(breaker.settle(kept.remove(0), Outcome::Success, now)),
                "end no" => drop(breaker.settle(kept.remove(0), Outcome::Failure, now)),
                "trip" => drop(breaker.trip(now, None)),
                "trip 500" => drop(breaker.trip(now, Some(ms(500)))),
                _ => drop(breaker.reset()),
            }
            let state = match breaker.state() {
                State::Open { until: Some(until) } => format!("open {}", until.as_millis()),
                state => state.word().to_owned(),
            };
            assert_eq!(state, *expected, "{place}");
        }
    }

    #[test]
    fn failures_in_a_row_open_it_for_longer_and_longer() {
        check(
            "in a row",
            &[
                (0, "no", "closed"),
                (1, "no", "closed"),
                (2, "ok", "closed"),
                (3, "no", "closed"),
                (4, "no", "closed"),
                (5, "lost", "closed"),
                (6, "no", "open 106"),
                (105, "refused", "open 106"),
                (106, "no", "open 306"),
                (306, "no", "open 656"),
                (656, "no", "open 1006"),
                (1_006, "ok", "closed"),
                (1_007, "no", "closed"),
                (1_008, "no", "closed"),
                (1_009, "no", "open 1109"),
            ],
        );
    }

    #[test]
    fn one_probe_goes_through_and_its_loss_lets_another_try() {
        check(
            "probe",
            &[
                (0, "begin", "closed"),
                (0, "no", "closed"),
                (0, "no", "closed"),
                (0, "no", "open 100"),
                (150, "begin", "half_open"),
                (151, "refused", "half_open"),
                // A call of before the opening says nothing about now.
                (152, "end ok", "half_open"),
                (153, "end ok", "closed"),
            ],
        );
        check(
            "lost probe",
            &[
                (0, "no", "closed"),
                (0, "no", "closed"),
                (0, "no", "open 100"),
                (100, "lost", "half_open"),
                (101, "begin", "half_open"),
                (102, "refused", "half_open"),
                (103, "end no", "open 303"),
            ],
        );
    }

    #[test]
    fn a_rate_over_the_window_opens_it() {
        let mixed = ["ok", "no", "ok", "no", "ok", "no", "ok"];
        let mut steps: Vec<(u64, &str, &str)> = mixed.iter().map(|what| (0, *what, "closed")).collect();
        steps.push((950, "no", "open 1050"));
        check("half of eight", &steps);
        // The same a window later: what was at 0 is forgotten.
        steps.pop();
        steps.push((1_000, "no", "closed"));
        check("forgotten", &steps);
    }

    #[test]
    fn an_operator_opens_and_closes_it() {
        check(
            "by hand",
            &[
                (0, "trip", "open"),
                (1_000_000, "refused", "open"),
                (1_000_001, "reset", "closed"),
                (1_000_002, "trip 500", "open 1000502"),
                (1_000_502, "ok", "closed"),
                (1_000_503, "begin", "closed"),
                (1_000_504, "trip", "open"),
                (1_000_505, "end ok", "open"),
                (1_000_506, "reset", "closed"),
            ],
        );
    }

    #[test]
    fn every_change_is_told_with_its_cause() {
        let mut breaker = Breaker::new(settings());
        let mut told = Vec::new();
        for (at, outcome) in [(0, false), (0, false), (0, false), (100, false), (300, true)] {
            let (permit, change) = breaker.admit(ms(at));
            told.extend(change);
            let outcome = if outcome { Outcome::Success } else { Outcome::Failure };
            told.extend(breaker.settle(permit.unwrap(), outcome, ms(at)));
        }
        let causes: Vec<Cause> = told.iter().map(|change| change.cause).collect();
        let expected =
            [Cause::ConsecutiveFailures, Cause::TimeOver, Cause::ProbeFailed, Cause::TimeOver, Cause::ProbeSucceeded];
        assert_eq!(causes, expected);
        assert!(told.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(State::Open { until: None }.gauge(), 2);
    }

    /// A model that keeps every call with its moment and looks at all of them each time.
    #[derive(Default)]
    struct Naive {
        /// (moment, failed) since the last time it closed.
        calls: Vec<(u64, bool)>,
        open_until: Option<u64>,
        spans: Vec<u64>,
    }

    impl Naive {
        /// A call at a moment; `None` when it may not go through.
        fn call(&mut self, at: u64, failed: bool) -> Option<()> {
            if let Some(until) = self.open_until {
                if at < until {
                    return None;
                }
                if failed {
                    self.open(at);
                } else {
                    *self = Naive::default();
                }
                return Some(());
            }
            self.calls.push((at, failed));
            let streak = self.calls.iter().rev().take_while(|(_, failed)| *failed).count();
            let recent: Vec<bool> =
                self.calls.iter().filter(|(then, _)| at / 100 - then / 100 < 10).map(|(_, failed)| *failed).collect();
            let failures = recent.iter().filter(|failed| **failed).count();
            if failed && (streak >= 3 || (recent.len() >= 8 && failures * 2 >= recent.len())) {
                self.open(at);
            }
            Some(())
        }

        fn open(&mut self, at: u64) {
            let span = self.spans.last().map_or(100, |last| (last * 2).min(350));
            self.spans.push(span);
            self.open_until = Some(at + span);
        }
    }

    proptest! {
        #[test]
        fn it_does_what_the_naive_model_does(steps in prop::collection::vec((0_u64..160, prop::bool::weighted(0.45)), 1..300)) {
            let mut breaker = Breaker::new(settings());
            let mut naive = Naive::default();
            let mut at = 0;
            for (pause, failed) in steps {
                at += pause;
                let expected = naive.call(at, failed);
                let permit = breaker.admit(ms(at)).0;
                prop_assert_eq!(permit.is_ok(), expected.is_some(), "at {}", at);
                if let Ok(permit) = permit {
                    let outcome = if failed { Outcome::Failure } else { Outcome::Success };
                    breaker.settle(permit, outcome, ms(at));
                }
                let until = naive.open_until.map(ms);
                let is_open = matches!(breaker.state(), State::Open { .. });
                prop_assert_eq!(is_open, until.is_some(), "at {}", at);
                if is_open {
                    prop_assert_eq!(breaker.state(), State::Open { until });
                }
            }
        }
    }
}
