//! One finished request, recorded on the thread that served it.
//!
//! Promise: a request costs one lock that nobody else wants, one histogram cell a stage, and no
//! allocation once its route was seen. A histogram is made when its route and stage first occur:
//! 64 ns to 60 s at 1 % takes 12 KiB, and most routes meet a third of the stages.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::plan::Plan;

/// Finest difference kept, nanoseconds.
const FINEST_NS: u64 = 64;

/// Longest time told apart from longer ones, nanoseconds: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// Slow requests kept of a route between two gatherings.
const SLOW_KEPT: usize = 4;

/// Statuses of refusals that are counted one by one.
pub const REFUSALS: [u16; 4] = [401, 403, 429, 503];

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Its route's place in the plan.
    pub route: usize,
    /// HTTP status.
    pub status: u16,
    /// Time of each stage by place, nanoseconds; 0 where it did not go through.
    pub stages_ns: &'a [u64],
    /// From start to end, nanoseconds.
    pub total_ns: u64,
    /// Its number.
    pub request: u64,
}

/// What is kept beside the times of a request that is kept.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Its id as the caller saw it.
    pub request_id: Box<str>,
    /// The caller's own id, where it is short and visible.
    pub client_request_id: Option<Box<str>>,
    /// Trace id in hex, if it belongs to a trace.
    pub trace_id: Option<Box<str>>,
}

/// A request that was slow or failed.
#[derive(Clone, Debug)]
pub struct Sample {
    /// HTTP status.
    pub status: u16,
    /// Microseconds since 1970 at its end.
    pub at_us: u64,
    /// From start to end, nanoseconds.
    pub total_ns: u64,
    /// By place.
    pub stages_ns: Arc<[u64]>,
    /// Ids.
    pub detail: Detail,
}

impl Sample {
    fn of(seen: &Observation<'_>, detail: Detail) -> Sample {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Sample {
            status: seen.status,
            at_us: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
            total_ns: seen.total_ns,
            stages_ns: seen.stages_ns.into(),
            detail,
        }
    }
}

/// A histogram of nanoseconds.
pub(super) fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(FINEST_NS, LONGEST_NS, 2).expect("the bounds are constants that fit together")
}

/// Times of one place and their sum.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) histogram: Histogram<u32>,
    pub(super) sum_ns: u64,
}

impl Times {
    fn new() -> Box<Times> {
        Box::new(Times { histogram: histogram(), sum_ns: 0 })
    }

    #[inline]
    fn add(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.sum_ns += ns;
    }

    fn clear(&mut self) {
        self.histogram.reset();
        self.sum_ns = 0;
    }
}

/// One route on one thread.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) total: Box<Times>,
    pub(super) stages: Box<[Option<Box<Times>>]>,
    /// Answers by the hundreds of their status, from 1xx.
    pub(super) classes: [u64; 5],
    /// Slower than the budget.
    pub(super) over: u64,
    /// Slower than the budget, or a fault of ours.
    pub(super) bad: u64,
    /// The slowest, in no order.
    pub(super) slow: Vec<Sample>,
    /// A new sample is slower than this, or there is room.
    slow_floor_ns: u64,
    /// The newest that failed by our fault.
    pub(super) failed: Option<Sample>,
}

impl Slot {
    fn new(stages: usize) -> Box<Slot> {
        Box::new(Slot {
            total: Times::new(),
            stages: (0..stages).map(|_| None).collect(),
            classes: [0; 5],
            over: 0,
            bad: 0,
            slow: Vec::with_capacity(SLOW_KEPT),
            slow_floor_ns: 0,
            failed: None,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total.histogram.is_empty()
    }

    fn clear(&mut self) {
        self.total.clear();
        self.stages.iter_mut().flatten().for_each(|times| times.clear());
        self.classes = [0; 5];
        self.over = 0;
        self.bad = 0;
        self.slow.clear();
        self.slow_floor_ns = 0;
        self.failed = None;
    }

    fn keep(&mut self, sample: Sample) {
        if self.slow.len() == SLOW_KEPT {
            let fastest = (0..SLOW_KEPT).min_by_key(|place| self.slow[*place].total_ns).unwrap_or_default();
            self.slow.swap_remove(fastest);
        }
        self.slow.push(sample);
        if self.slow.len() == SLOW_KEPT {
            self.slow_floor_ns = self.slow.iter().map(|sample| sample.total_ns).min().unwrap_or_default();
        }
    }
}

/// Everything that one thread has recorded since the last gathering.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) slots: Box<[Option<Box<Slot>>]>,
    pub(super) refusals: [u64; REFUSALS.len()],
}

impl Shard {
    pub(super) fn new(routes: usize) -> Shard {
        Shard { slots: (0..routes).map(|_| None).collect(), refusals: [0; REFUSALS.len()] }
    }

    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().flatten().filter(|slot| !slot.is_empty()).for_each(|slot| slot.clear());
        self.refusals = [0; REFUSALS.len()];
    }

    #[inline]
    pub(super) fn record(&mut self, plan: &Plan, seen: &Observation<'_>, detail: impl FnOnce() -> Detail) {
        let route = &plan.routes[seen.route];
        let slot = self.slots[seen.route].get_or_insert_with(|| Slot::new(plan.stages.len()));
        slot.total.add(seen.total_ns);
        for (times, ns) in slot.stages.iter_mut().zip(seen.stages_ns) {
            if *ns > 0 {
                times.get_or_insert_with(Times::new).add(*ns);
            }
        }
        let class = usize::from(seen.status / 100).clamp(1, 5) - 1;
        slot.classes[class] += 1;
        let is_over = seen.total_ns > route.budget_us * 1000;
        let has_failed = seen.status >= 500 && !(route.tells_unready && seen.status == 503);
        slot.over += u64::from(is_over);
        slot.bad += u64::from(is_over || has_failed);
        if seen.status >= 400
            && let Some(place) = REFUSALS.iter().position(|status| *status == seen.status)
        {
            self.refusals[place] += 1;
        }
        let is_slow = seen.total_ns > slot.slow_floor_ns;
        if is_slow || has_failed && slot.failed.is_none() {
            let sample = Sample::of(seen, detail());
            if has_failed && slot.failed.is_none() {
                slot.failed = Some(sample.clone());
            }
            if is_slow {
                slot.keep(sample);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RoutePlan;
    use super::*;

    fn plan() -> Plan {
        let route = RoutePlan {
            name: "get_x",
            class: "read",
            budget_us: 100,
            stage_budgets_us: vec![0; 2],
            tells_unready: false,
            objective_ppm: 999_000,
        };
        Plan { stages: &["a", "b"], routes: vec![route] }
    }

    #[test]
    fn the_slowest_are_kept_and_no_more_than_there_is_room_for() {
        let plan = plan();
        let mut shard = Shard::new(1);
        let mut asked = 0;
        for total_us in [5, 90, 300, 7, 8, 400, 1, 200, 2] {
            let ns = total_us * 1000;
            let seen = Observation { route: 0, status: 200, stages_ns: &[ns, 0], total_ns: ns, request: total_us };
            shard.record(&plan, &seen, || {
                asked += 1;
                Detail::default()
            });
        }
        let slot = shard.slots[0].as_ref().unwrap();
        let mut kept: Vec<u64> = slot.slow.iter().map(|sample| sample.total_ns / 1000).collect();
        kept.sort_unstable();
        assert_eq!(kept, [90, 200, 300, 400]);
        assert_eq!((slot.over, slot.bad, slot.classes), (3, 3, [0, 9, 0, 0, 0]));
        assert!(asked < 9, "details of fast requests are not asked for");
        assert!(slot.stages[1].is_none(), "a stage that nobody went through has no histogram");
        shard.clear();
        assert!(shard.slots[0].as_ref().unwrap().is_empty());
    }

    #[test]
    fn refusals_and_failures_are_counted() {
        let plan = plan();
        let mut shard = Shard::new(1);
        for status in [200, 401, 404, 503, 503] {
            let seen = Observation { route: 0, status, stages_ns: &[1, 1], total_ns: 2, request: 1 };
            shard.record(&plan, &seen, Detail::default);
        }
        assert_eq!(shard.refusals, [1, 0, 0, 2]);
        let slot = shard.slots[0].as_ref().unwrap();
        assert_eq!((slot.bad, slot.classes), (2, [0, 1, 0, 2, 2]));
        assert_eq!(slot.failed.as_ref().unwrap().status, 503);
    }
}
