//! Good and bad requests over time, and how fast they use up the error budget.
//!
//! Promise: four windows (5 minutes, 1 hour, 6 hours, 3 days) in 3.3 KB a route, exact to one
//! minute for the short ones and to half an hour for the long ones. A burn of 1 uses the budget up
//! exactly at the end of its period; 14.4 uses a month's up in two days.

const MINUTES: usize = 60;
const HALF_HOURS: usize = 144;

/// Bad requests of a window below which nothing burns: of a handful of requests one is a large part.
const BAD_MIN: u64 = 10;

/// A ring of counts, one cell for each span of time.
#[derive(Debug)]
struct Ring {
    span_s: u64,
    newest: u64,
    cells: Box<[(u64, u64)]>,
}

impl Ring {
    fn new(span_s: u64, cells: usize) -> Ring {
        Ring { span_s, newest: 0, cells: vec![(0, 0); cells].into() }
    }

    /// Empties the cells between the newest one and the one of `now_s`.
    fn roll(&mut self, now_s: u64) {
        let now = now_s / self.span_s;
        let count = self.cells.len() as u64;
        let first = (self.newest + 1).max(now.saturating_sub(count - 1));
        for span in first..=now {
            self.cells[(span % count) as usize] = (0, 0);
        }
        self.newest = self.newest.max(now);
    }

    fn add(&mut self, now_s: u64, requests: u64, bad: u64) {
        self.roll(now_s);
        let place = (self.newest % self.cells.len() as u64) as usize;
        self.cells[place].0 += requests;
        self.cells[place].1 += bad;
    }

    /// Sums of the newest `count` cells.
    fn sum(&mut self, now_s: u64, count: usize) -> (u64, u64) {
        self.roll(now_s);
        let cells = self.cells.len() as u64;
        let spans = (self.newest + 1).saturating_sub(count as u64)..=self.newest;
        spans.map(|span| self.cells[(span % cells) as usize]).fold((0, 0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1))
    }
}

/// Good and bad requests of one route.
#[derive(Debug)]
pub(super) struct Objective {
    minutes: Ring,
    half_hours: Ring,
}

/// How many times faster than allowed the error budget is used, by window. 0 where nobody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BurnRates {
    /// The last 5 minutes.
    pub five_minutes: f64,
    /// The last hour.
    pub one_hour: f64,
    /// The last 6 hours.
    pub six_hours: f64,
    /// The last 3 days.
    pub three_days: f64,
}

impl BurnRates {
    /// Windows by name.
    #[must_use]
    pub fn windows(&self) -> [(&'static str, f64); 4] {
        [("5m", self.five_minutes), ("1h", self.one_hour), ("6h", self.six_hours), ("3d", self.three_days)]
    }
}

impl Objective {
    pub(super) fn new() -> Objective {
        Objective { minutes: Ring::new(60, MINUTES), half_hours: Ring::new(1_800, HALF_HOURS) }
    }

    pub(super) fn add(&mut self, now_s: u64, requests: u64, bad: u64) {
        self.minutes.add(now_s, requests, bad);
        self.half_hours.add(now_s, requests, bad);
    }

    pub(super) fn burn(&mut self, now_s: u64, error_budget: f64) -> BurnRates {
        let rate = |(requests, bad): (u64, u64)| match bad {
            0..BAD_MIN => 0.0,
            _ => bad as f64 / requests as f64 / error_budget,
        };
        BurnRates {
            five_minutes: rate(self.minutes.sum(now_s, 5)),
            one_hour: rate(self.minutes.sum(now_s, MINUTES)),
            six_hours: rate(self.half_hours.sum(now_s, 12)),
            three_days: rate(self.half_hours.sum(now_s, HALF_HOURS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_errors_leaves_each_window_in_its_turn() {
        let mut objective = Objective::new();
        objective.add(30, 1_000, 10);
        let burn = |objective: &mut Objective, now_s| {
            objective.burn(now_s, 0.001).windows().map(|(_, rate)| rate.round() as u64)
        };
        assert_eq!(burn(&mut objective, 59), [10, 10, 10, 10]);
        assert_eq!(burn(&mut objective, 5 * 60 + 1), [0, 10, 10, 10]);
        assert_eq!(burn(&mut objective, 61 * 60), [0, 0, 10, 10]);
        assert_eq!(burn(&mut objective, 7 * 3_600), [0, 0, 0, 10]);
        assert_eq!(burn(&mut objective, 73 * 3_600), [0, 0, 0, 0]);
    }

    #[test]
    fn good_requests_dilute_bad_ones() {
        let mut objective = Objective::new();
        objective.add(0, 1_000, 9);
        assert_eq!(objective.burn(10, 0.001), BurnRates::default(), "so few say nothing");
        objective.add(20, 0, 1);
        objective.add(120, 9_000, 0);
        assert!((objective.burn(130, 0.001).five_minutes - 1.0).abs() < 1e-9);
        assert_eq!(objective.burn(130 + 200_000_000, 0.001), BurnRates::default(), "a long silence ends at once");
    }
}
