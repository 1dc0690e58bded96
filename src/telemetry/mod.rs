//! What the process knows about itself: logs, latencies with their budgets, metrics, traces, alerts.
//!
//! Promise: watching costs a request under 100 ns and no lock that another worker holds; what is
//! kept is bounded, whatever happens. Nothing of the books is in here but counts.
//!
//! Reading order: `plan` says what is expected of each route; `recorder` takes one finished request
//! on the thread that served it; `ledger` gathers what the threads recorded (once a second and when
//! asked), `slo` counts good and bad; `families` names every metric and `openmetrics` writes them;
//! `alerts` looks at the same readings; `trace` and `otlp` follow single requests; `process`,
//! `stall` and `allocations` watch the process; `upkeep` is the thread that does all that waits.

pub mod alerts;
pub mod allocations;
pub mod families;
mod ledger;
mod log;
pub mod openmetrics;
pub mod otlp;
mod plan;
mod process;
mod recorder;
mod slo;
mod stall;
pub mod trace;
mod upkeep;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use families::Reading;
use ledger::Ledger;
use recorder::Shard;

pub use ledger::{Quantiles, RouteView, StageView, Verdict};
pub use log::{LogFormat, start_log, start_log_at};
pub use openmetrics::Exposition;
pub use plan::{Plan, RoutePlan};
pub use recorder::{Detail, Observation, Sample};
pub use slo::BurnRates;
pub use stall::{Stalls, watch_worker};
pub use trace::Tracer;
pub use upkeep::{Source, Upkeep};

/// Everything that one process measures about its requests.
#[derive(Debug)]
pub struct Telemetry {
    plan: Arc<Plan>,
    started: Instant,
    /// One for each thread that serves: a lock that only a scrape contends for, held to swap a pointer.
    shards: Box<[Mutex<Shard>]>,
    /// Guards the sums; taken by the upkeep thread and by whoever asks, never by a request.
    ledger: Mutex<Ledger>,
    /// Delays of the runtime.
    pub stalls: Arc<Stalls>,
    /// Traces of single requests.
    pub tracer: Tracer,
}

/// Shards when nobody says how many threads serve.
const SHARDS_DEFAULT: usize = 8;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A small number of this thread, the same for its life.
fn thread_number() -> usize {
    THREAD.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT_THREAD.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

impl Telemetry {
    /// Measures by a plan.
    #[must_use]
    pub fn new(plan: Plan, tracer: Tracer) -> Telemetry {
        let plan = Arc::new(plan);
        let shards: Vec<_> = (0..SHARDS_DEFAULT).map(|_| Mutex::new(Shard::new(plan.routes.len()))).collect();
        Telemetry {
            ledger: Mutex::new(Ledger::new(Arc::clone(&plan), shards.len())),
            started: Instant::now(),
            shards: shards.into(),
            stalls: Arc::default(),
            tracer,
            plan,
        }
    }

    /// What is expected of each route.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes one finished request. `detail` is asked only for the few that are kept.
    #[inline]
    pub fn observe(&self, seen: &Observation<'_>, detail: impl FnOnce() -> Detail) {
        let shard = &self.shards[thread_number() % self.shards.len()];
        shard.lock().record(&self.plan, seen, detail);
    }

    /// Gathers what the threads have recorded, and logs what was slow or failed, at most one line a
    /// route in ten seconds.
    pub fn gather(&self) {
        let now_s = self.started.elapsed().as_secs();
        let mut ledger = self.ledger.lock();
        for (place, shard) in self.shards.iter().enumerate() {
            ledger.take(place, shard, now_s);
        }
        ledger.settle(now_s);
    }

    /// Every route that was asked for, with its stages, over the last minutes.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteView> {
        self.gather();
        self.ledger.lock().views(self.started.elapsed().as_secs())
    }

    /// Counters and gauges of our own, for the exposition and for the alert rules.
    #[must_use]
    pub fn readings(&self) -> Vec<Reading> {
        self.gather();
        let mut readings = self.ledger.lock().readings(self.started.elapsed().as_secs());
        self.stalls.read_into(&mut readings);
        self.tracer.read_into(&mut readings);
        process::read_into(&mut readings);
        allocations::read_into(&mut readings);
        readings
    }

    /// Writes everything: our own, and what others say about the books and the edge.
    pub fn expose(&self, others: Vec<Reading>, exposition: &mut Exposition) {
        let mut readings = self.readings();
        readings.extend(others);
        exposition.readings(&readings);
        self.ledger.lock().write_histograms(exposition);
    }
}
