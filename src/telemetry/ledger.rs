//! Sums over all threads: since the start for `/metrics`, over the last minutes for `/v1/latency`.
//!
//! Promise: a gathering holds a thread's lock only to swap what it recorded for an empty one.
//!
//! 1. Swap a thread's shard for a spare one, and add it up outside the lock.
//! 2. Counts since the start go to fixed buckets; the histograms go to one of two windows of 150
//!    seconds each, shown together, so that percentiles cover the last 2.5 to 5 minutes.
//! 3. The slowest requests of the last 5 minutes are kept with their stages, eight a route.
//! 4. Once a second, what was slow or failed is logged: one line a route in ten seconds at most.

use std::sync::Arc;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::families::{self, Reading};
use super::openmetrics::{Buckets, Exemplar, Exposition};
use super::plan::{Plan, RoutePlan};
use super::recorder::{REFUSALS, Sample, Shard, Slot, Times, histogram};
use super::slo::{BurnRates, Objective};

/// Seconds of one of the two windows.
const WINDOW_S: u64 = 150;

/// Slow requests kept of a route, and for how long.
const SLOWEST_KEPT: usize = 8;
const SLOWEST_US: u64 = 300 * 1_000_000;

/// Seconds between two log lines about one route.
const LOG_EVERY_S: u64 = 10;

/// A percentile of fewer requests than this is one of them.
const VERDICT_COUNT_MIN: u64 = 100;

const TOTAL_BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const STAGE_BOUNDS: [f64; 9] = [0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.1, 1.0];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How a place stands against its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody came, or no budget is set.
    Idle,
    /// Too few requests to tell.
    Few,
    /// 99 of 100 were within the budget.
    Ok,
    /// They were not.
    Over,
}

impl Verdict {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Idle => "idle",
            Verdict::Few => "few",
            Verdict::Ok => "ok",
            Verdict::Over => "over",
        }
    }

    fn of(quantiles: &Quantiles, budget_us: u64) -> Verdict {
        if quantiles.count == 0 || budget_us == 0 {
            Verdict::Idle
        } else if quantiles.count < VERDICT_COUNT_MIN {
            Verdict::Few
        } else if quantiles.p99_us <= budget_us as f64 {
            Verdict::Ok
        } else {
            Verdict::Over
        }
    }
}

/// Times of the last minutes, microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// Half were faster.
    pub p50_us: f64,
    /// 99 of 100 were.
    pub p99_us: f64,
    /// 999 of 1,000 were.
    pub p99_9_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// One stage of a route.
#[derive(Clone, Debug)]
pub struct StageView {
    /// Its name.
    pub name: &'static str,
    /// Its share in microseconds; 0 where none is set.
    pub budget_us: u64,
    /// Its times.
    pub times: Quantiles,
    /// How it stands.
    pub verdict: Verdict,
}

/// One route.
#[derive(Clone, Debug)]
pub struct RouteView {
    /// Its name, kind, budget and objective.
    pub plan: RoutePlan,
    /// Requests since the start.
    pub count: u64,
    /// Of them, slower than the budget.
    pub over: u64,
    /// Of them, slower than the budget or failed by our fault.
    pub bad: u64,
    /// Times from start to end.
    pub total: Quantiles,
    /// How it stands.
    pub verdict: Verdict,
    /// Stages that occurred, in order.
    pub stages: Vec<StageView>,
    /// How fast its error budget burns.
    pub burn: BurnRates,
    /// The slowest of the last 5 minutes, slowest first.
    pub slowest: Vec<Sample>,
}

/// Counts since the start.
#[derive(Debug)]
struct Totals {
    counts: Box<[u64]>,
    sum_ns: u64,
}

impl Totals {
    fn new(bounds: &[f64]) -> Totals {
        Totals { counts: vec![0; bounds.len() + 1].into(), sum_ns: 0 }
    }

    fn add(&mut self, times: &Times, bounds: &[f64]) {
        for step in times.histogram.iter_recorded() {
            let seconds = step.value_iterated_to() as f64 / 1e9;
            self.counts[bounds.partition_point(|bound| *bound < seconds)] += step.count_since_last_iteration();
        }
        self.sum_ns += times.sum_ns;
    }
}

/// Histograms of one window.
#[derive(Debug, Default)]
struct Window {
    total: Option<Histogram<u32>>,
    stages: Vec<Option<Histogram<u32>>>,
}

impl Window {
    fn add(&mut self, slot: &Slot) {
        let sum = |into: &mut Option<Histogram<u32>>, times: &Times| {
            // Both have the bounds of `histogram`, so it fits.
            let _ = into.get_or_insert_with(histogram).add(&times.histogram);
        };
        sum(&mut self.total, &slot.total);
        self.stages.resize(slot.stages.len(), None);
        for (into, times) in self.stages.iter_mut().zip(&slot.stages) {
            if let Some(times) = times.as_deref().filter(|times| !times.histogram.is_empty()) {
                sum(into, times);
            }
        }
    }

    fn clear(&mut self) {
        self.total.iter_mut().chain(self.stages.iter_mut().flatten()).for_each(Histogram::reset);
    }
}

#[derive(Debug)]
struct RouteLedger {
    classes: [u64; 5],
    over: u64,
    bad: u64,
    totals: Totals,
    stages: Vec<Option<Totals>>,
    windows: [Window; 2],
    objective: Objective,
    /// Slowest first.
    slowest: Vec<Sample>,
    exemplars: Vec<Option<Exemplar>>,
    logged_s: Option<u64>,
    /// What the next log line is about.
    unlogged: Option<Sample>,
    unlogged_bad: u64,
}

impl RouteLedger {
    fn new(stages: usize) -> RouteLedger {
        RouteLedger {
            classes: [0; 5],
            over: 0,
            bad: 0,
            totals: Totals::new(&TOTAL_BOUNDS),
            stages: (0..stages).map(|_| None).collect(),
            windows: Default::default(),
            objective: Objective::new(),
            slowest: Vec::new(),
            exemplars: vec![None; TOTAL_BOUNDS.len() + 1],
            logged_s: None,
            unlogged: None,
            unlogged_bad: 0,
        }
    }

    fn add(&mut self, slot: &Slot, plan: &RoutePlan, window: usize, now_s: u64) {
        for (sum, count) in self.classes.iter_mut().zip(slot.classes) {
            *sum += count;
        }
        self.over += slot.over;
        self.bad += slot.bad;
        self.totals.add(&slot.total, &TOTAL_BOUNDS);
        for (totals, times) in self.stages.iter_mut().zip(&slot.stages) {
            if let Some(times) = times.as_deref().filter(|times| !times.histogram.is_empty()) {
                totals.get_or_insert_with(|| Totals::new(&STAGE_BOUNDS)).add(times, &STAGE_BOUNDS);
            }
        }
        self.windows[window].add(slot);
        self.objective.add(now_s, slot.classes.iter().sum(), slot.bad);
        for sample in &slot.slow {
            let seconds = sample.total_ns as f64 / 1e9;
            let place = TOTAL_BOUNDS.partition_point(|bound| *bound < seconds);
            let (request_id, trace_id) = (sample.detail.request_id.clone(), sample.detail.trace_id.clone());
            self.exemplars[place] = Some(Exemplar { request_id, trace_id, seconds, at_s: sample.at_us as f64 / 1e6 });
        }
        self.slowest.extend(slot.slow.iter().cloned());
        self.unlogged_bad += slot.bad;
        let slow = slot.slow.iter().filter(|sample| sample.total_ns > plan.budget_us * 1000);
        // A failure says more than a delay; of delays, the longest.
        let worst = slot.failed.iter().chain(slow).max_by_key(|sample| (sample.status >= 500, sample.total_ns));
        if let Some(worst) = worst
            && self.unlogged.as_ref().is_none_or(|kept| kept.total_ns < worst.total_ns)
        {
            self.unlogged = Some(worst.clone());
        }
    }

    fn settle(&mut self, now_s: u64) {
        self.slowest.sort_by_key(|sample| std::cmp::Reverse(sample.total_ns));
        let newest = self.slowest.iter().map(|sample| sample.at_us).max().unwrap_or_default();
        self.slowest.retain(|sample| sample.at_us + SLOWEST_US > newest);
        self.slowest.truncate(SLOWEST_KEPT);
        let may_log = self.logged_s.is_none_or(|logged| now_s >= logged + LOG_EVERY_S);
        if !may_log {
            return;
        }
        if self.unlogged.is_some() {
            self.logged_s = Some(now_s);
        }
    }

    fn quantiles(windows: [Option<&Histogram<u32>>; 2]) -> Quantiles {
        let mut both = histogram();
        for window in windows.into_iter().flatten() {
            // The same bounds: it fits.
            let _ = both.add(window);
        }
        if both.is_empty() {
            return Quantiles::default();
        }
        let us = |quantile| both.value_at_quantile(quantile) as f64 / 1e3;
        Quantiles { count: both.len(), p50_us: us(0.5), p99_us: us(0.99), p99_9_us: us(0.999), max_us: us(1.0) }
    }

    fn view(&mut self, plan: &RoutePlan, stage_names: &[&'static str], now_s: u64) -> RouteView {
        let total = Self::quantiles([self.windows[0].total.as_ref(), self.windows[1].total.as_ref()]);
        let of_stage = |place: usize| {
            let in_window = |window: &'_ Window| window.stages.get(place).and_then(Option::as_ref).cloned();
            let (one, two) = (in_window(&self.windows[0]), in_window(&self.windows[1]));
            Self::quantiles([one.as_ref(), two.as_ref()])
        };
        let stages = stage_names.iter().enumerate().filter(|(place, _)| self.stages[*place].is_some());
        let stages = stages.map(|(place, name)| {
            let (times, budget_us) = (of_stage(place), plan.stage_budgets_us[place]);
            StageView { name, budget_us, times, verdict: Verdict::of(&times, budget_us) }
        });
        RouteView {
            stages: stages.collect(),
            count: self.classes.iter().sum(),
            over: self.over,
            bad: self.bad,
            total,
            verdict: Verdict::of(&total, plan.budget_us),
            burn: self.objective.burn(now_s, plan.error_budget()),
            slowest: self.slowest.clone(),
            plan: plan.clone(),
        }
    }
}

/// Everything gathered.
#[derive(Debug)]
pub(super) struct Ledger {
    plan: Arc<Plan>,
    routes: Vec<Option<Box<RouteLedger>>>,
    refusals: [u64; REFUSALS.len()],
    /// An empty shard for each thread's.
    spares: Vec<Shard>,
    window: u64,
}

impl Ledger {
    pub(super) fn new(plan: Arc<Plan>, shards: usize) -> Ledger {
        Ledger {
            routes: plan.routes.iter().map(|_| None).collect(),
            refusals: [0; REFUSALS.len()],
            spares: (0..shards).map(|_| Shard::new(plan.routes.len())).collect(),
            window: 0,
            plan,
        }
    }

    pub(super) fn take(&mut self, place: usize, shard: &Mutex<Shard>, now_s: u64) {
        self.turn(now_s);
        std::mem::swap(&mut *shard.lock(), &mut self.spares[place]);
        let taken = &mut self.spares[place];
        let window = (self.window % 2) as usize;
        for ((slot, route), plan) in taken.slots.iter().zip(&mut self.routes).zip(&self.plan.routes) {
            if let Some(slot) = slot.as_deref().filter(|slot| !slot.is_empty()) {
                let route = route.get_or_insert_with(|| Box::new(RouteLedger::new(self.plan.stages.len())));
                route.add(slot, plan, window, now_s);
            }
        }
        for (sum, count) in self.refusals.iter_mut().zip(taken.refusals) {
            *sum += count;
        }
        taken.clear();
    }

    /// Begins a new window in the place of the older one when it is time.
    fn turn(&mut self, now_s: u64) {
        let now = now_s / WINDOW_S;
        let both_are_old = now > self.window + 1;
        while self.window < now {
            self.window = if both_are_old { now } else { self.window + 1 };
            let fresh = (self.window % 2) as usize;
            for route in self.routes.iter_mut().flatten() {
                route.windows[fresh].clear();
                if both_are_old {
                    route.windows[1 - fresh].clear();
                }
            }
        }
    }

    /// Sorts out what is kept, and logs what was bad.
    pub(super) fn settle(&mut self, now_s: u64) {
        for (route, plan) in self.routes.iter_mut().zip(&self.plan.routes) {
            let Some(route) = route else { continue };
            route.settle(now_s);
            if route.logged_s == Some(now_s)
                && let Some(sample) = route.unlogged.take()
            {
                log_sample(&sample, plan, self.plan.stages, route.unlogged_bad);
                route.unlogged_bad = 0;
            }
        }
    }

    pub(super) fn views(&mut self, now_s: u64) -> Vec<RouteView> {
        let known = self.routes.iter_mut().zip(&self.plan.routes);
        known.filter_map(|(route, plan)| Some(route.as_mut()?.view(plan, self.plan.stages, now_s))).collect()
    }

    pub(super) fn readings(&mut self, now_s: u64) -> Vec<Reading> {
        let mut readings = Vec::new();
        for (route, plan) in self.routes.iter_mut().zip(&self.plan.routes) {
            let Some(route) = route else { continue };
            for (class, count) in CLASSES.iter().zip(route.classes).filter(|(_, count)| *count > 0) {
                let labels = vec![("route", plan.name.to_owned()), ("class", (*class).to_owned())];
                readings.push(Reading { family: &families::REQUESTS, labels, value: count as f64 });
            }
            let over = route.over as f64;
            readings.push(Reading::labelled(&families::OVER_BUDGET, "route", plan.name, over));
            for (window, rate) in route.objective.burn(now_s, plan.error_budget()).windows() {
                let labels = vec![("route", plan.name.to_owned()), ("window", window.to_owned())];
                readings.push(Reading { family: &families::BURN, labels, value: rate });
            }
        }
        for (status, count) in REFUSALS.iter().zip(self.refusals) {
            readings.push(Reading::labelled(&families::REFUSALS, "status", &status.to_string(), count as f64));
        }
        readings
    }

    pub(super) fn write_histograms(&self, exposition: &mut Exposition) {
        let known = || {
            let known = self.routes.iter().zip(&self.plan.routes);
            known.filter_map(|(route, plan)| Some((route.as_deref()?, plan.name)))
        };
        if known().next().is_none() {
            return;
        }
        exposition.head(&families::REQUEST_SECONDS);
        for (route, name) in known() {
            let Totals { counts, sum_ns } = &route.totals;
            let sum = *sum_ns as f64 / 1e9;
            let buckets = Buckets { bounds: &TOTAL_BOUNDS, counts, sum, exemplars: &route.exemplars };
            exposition.histogram(&families::REQUEST_SECONDS, &[("route", name)], &buckets);
        }
        exposition.head(&families::STAGE_SECONDS);
        for (route, name) in known() {
            for (totals, stage) in route.stages.iter().zip(self.plan.stages) {
                let Some(Totals { counts, sum_ns }) = totals else { continue };
                let sum = *sum_ns as f64 / 1e9;
                let buckets = Buckets { bounds: &STAGE_BOUNDS, counts, sum, exemplars: &[] };
                exposition.histogram(&families::STAGE_SECONDS, &[("route", name), ("stage", stage)], &buckets);
            }
        }
    }
}

/// Microseconds of each stage, as `accept=12 journal=4800`.
fn breakdown(sample: &Sample, stages: &[&str]) -> String {
    let shown = stages.iter().zip(sample.stages_ns.iter()).filter(|(_, ns)| **ns >= 500);
    let shown: Vec<String> = shown.map(|(name, ns)| format!("{name}={}", (ns + 500) / 1000)).collect();
    shown.join(" ")
}

fn log_sample(sample: &Sample, plan: &RoutePlan, stages: &[&str], bad: u64) {
    let stages_us = breakdown(sample, stages);
    let (total_us, status) = (sample.total_ns / 1000, sample.status);
    let (request, client, trace) = (
        sample.detail.request_id.as_ref(),
        sample.detail.client_request_id.as_deref(),
        sample.detail.trace_id.as_deref(),
    );
    tracing::info!(
        route = plan.name,
        request.id = request,
        request.client_id = client,
        trace.id = trace,
        status,
        total_us,
        budget_us = plan.budget_us,
        stages_us,
        since_last = bad,
        "{}",
        if status >= 500 { "a request failed" } else { "a request took longer than its budget" }
    );
}
