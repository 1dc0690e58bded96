//! Breaker and bulkhead of each destination: whoever calls takes a pass first.
//!
//! Promise: a destination that hangs holds at most so many calls and so many waiters, whatever else goes
//! on; one that fails is left alone. No lock is held over an await; the number of destinations is bounded.
//!
//! 1. An open breaker refuses at once: a job that waits for nothing only holds a worker.
//! 2. Of the calls at a time there is a greatest number; a few more wait for their turn, and not for long.
//! 3. The breaker is asked again when the turn has come: it may have opened in the meantime.
//! 4. A pass that is dropped without [`Pass::settle`] (its task was cancelled) says nothing about the
//!    destination, and frees what it held.
//!
//! When the table is full, the destination that was unused for longest goes, if its breaker is closed and
//! nobody calls it; after ten minutes also one that failed. What an operator opened stays.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, timeout};

use super::breaker::{Breaker, BreakerSettings, Cause, Change, Outcome, Permit, State};
use super::guard::Destination;
use crate::config::OUTBOUND_DESTINATIONS_MAX;

/// Changes of state that a slow listener may be behind. It is told how many it lost.
const CHANGES_KEPT: usize = 256;

/// What a failure says about a destination that nobody has called for so long: nothing. An operator's word stays.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// How many at a time, and when to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationSettings {
    /// When the breaker opens and for how long.
    pub breaker: BreakerSettings,
    /// Calls at a time to one destination; at least 1.
    pub concurrent_max: usize,
    /// Calls that may wait for their turn, to one destination.
    pub waiting_max: usize,
    /// How long a call may wait for its turn.
    pub wait_max: Duration,
    /// Destinations that are known at a time.
    pub destinations_max: usize,
}

impl Default for DestinationSettings {
    /// Eight at a time, 32 waiting for at most 2 s: with answers in 200 ms that is what they need.
    fn default() -> DestinationSettings {
        DestinationSettings {
            breaker: BreakerSettings::default(),
            concurrent_max: 8,
            waiting_max: 32,
            wait_max: Duration::from_secs(2),
            destinations_max: OUTBOUND_DESTINATIONS_MAX,
        }
    }
}

/// Why a call may not go through. Each is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPass {
    /// The breaker is open; with the time until a probe, if it is known.
    #[error("the destination is left alone, since calls to it failed")]
    Open(Option<Duration>),
    /// As many as may wait, do.
    #[error("as many calls to the destination wait as may")]
    QueueFull,
    /// Its turn did not come in time.
    #[error("the call's turn did not come in time")]
    WaitedTooLong,
    /// Every destination of the table is in use or in trouble.
    #[error("calls go to as many destinations as may be")]
    TooManyDestinations,
}

/// A change of a destination's breaker, for whoever listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose.
    pub destination: Destination,
    /// What changed.
    pub change: Change,
}

/// A destination as it stands, for gauges and lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose.
    pub destination: Destination,
    /// Its breaker; an open one's `until` counts from the start of this table.
    pub state: State,
    /// How long until a probe, of an open one that was not opened for good.
    pub retry_in: Option<Duration>,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Calls in the window.
    pub window_calls: u32,
    /// Of those, failures.
    pub window_failures: u32,
    /// Calls on their way.
    pub running: usize,
    /// Calls that wait for their turn.
    pub waiting: usize,
}

struct Entry {
    /// Held for a few nanoseconds: ask, or tell how it ended.
    breaker: Mutex<Breaker>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

struct Slot {
    entry: Arc<Entry>,
    used_at: Instant,
}

/// All destinations.
pub struct Destinations {
    settings: DestinationSettings,
    /// What the breakers' moments count from.
    origin: Instant,
    /// Held to find or make an entry; never over an await.
    slots: Mutex<HashMap<Destination, Slot>>,
    changes: broadcast::Sender<Event>,
}

impl fmt::Debug for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destinations").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Destinations {
    /// Nobody known yet.
    #[must_use]
    pub fn new(settings: DestinationSettings) -> Arc<Destinations> {
        Arc::new(Destinations {
            settings,
            origin: Instant::now(),
            slots: Mutex::new(HashMap::new()),
            changes: broadcast::channel(CHANGES_KEPT).0,
        })
    }

    /// A pass for one call; waits for its turn if it must.
    ///
    /// # Errors
    /// [`NoPass`].
    pub async fn enter(self: &Arc<Self>, destination: &Destination) -> Result<Pass, NoPass> {
        let entry = self.entry(destination)?;
        self.check_open(&entry)?;
        let turn = match Arc::clone(&entry.turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => self.wait(&entry).await?,
        };
        let (permit, change) = {
            let mut breaker = entry.breaker.lock();
            let (permit, change) = breaker.admit(self.now());
            self.tell(destination, change);
            (permit, change)
        };
        log_change(destination, change);
        let permit = permit.map_err(|open| NoPass::Open(open.retry_in))?;
        Ok(Pass {
            destinations: Arc::clone(self),
            destination: destination.clone(),
            entry,
            permit: Some(permit),
            _turn: turn,
        })
    }

    /// Opens a destination's breaker by hand, for a time or (`None`) until it is reset.
    ///
    /// # Errors
    /// [`NoPass::TooManyDestinations`].
    pub fn trip(&self, destination: &Destination, span: Option<Duration>) -> Result<Change, NoPass> {
        let entry = self.entry(destination)?;
        Ok(self.by_hand(destination, &entry, |breaker, now| breaker.trip(now, span)))
    }

    /// Closes a destination's breaker by hand; `None`: it is not known, and so not open.
    pub fn reset(&self, destination: &Destination) -> Option<Change> {
        let entry = self.slots.lock().get(destination).map(|slot| Arc::clone(&slot.entry))?;
        Some(self.by_hand(destination, &entry, |breaker, _| breaker.reset()))
    }

    fn by_hand(
        &self,
        destination: &Destination,
        entry: &Entry,
        act: impl FnOnce(&mut Breaker, Duration) -> Change,
    ) -> Change {
        let change = {
            let mut breaker = entry.breaker.lock();
            let change = act(&mut breaker, self.now());
            self.tell(destination, Some(change));
            change
        };
        log_change(destination, Some(change));
        change
    }

    /// How long calls to a destination are refused from now on, by its open breaker; [`Duration::MAX`] where an operator
    /// opened it for good, and `None` where a call may be tried.
    #[must_use]
    pub fn left_alone(&self, destination: &Destination) -> Option<Duration> {
        let entry = self.slots.lock().get(destination).map(|slot| Arc::clone(&slot.entry))?;
        match self.check_open(&entry) {
            Err(NoPass::Open(wait)) => Some(wait.unwrap_or(Duration::MAX)),
            _ => None,
        }
    }

    /// Every change from now on, in the order of each destination.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.changes.subscribe()
    }

    /// All destinations as they stand, in order.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let known: Vec<(Destination, Arc<Entry>)> =
            self.slots.lock().iter().map(|(name, slot)| (name.clone(), Arc::clone(&slot.entry))).collect();
        let now = self.now();
        let stand = |(destination, entry): (Destination, Arc<Entry>)| {
            let breaker = entry.breaker.lock();
            let (window_calls, window_failures) = breaker.window(now);
            let state = breaker.state();
            let retry_in = match state {
                State::Open { until } => until.map(|until| until.saturating_sub(now)),
                _ => None,
            };
            Standing {
                destination,
                state,
                retry_in,
                failures_in_a_row: breaker.failures_in_a_row(),
                window_calls,
                window_failures,
                running: self.settings.concurrent_max.saturating_sub(entry.turns.available_permits()),
                waiting: entry.waiting.load(Ordering::Relaxed),
            }
        };
        let mut standings: Vec<Standing> = known.into_iter().map(stand).collect();
        standings.sort_by(|a, b| a.destination.cmp(&b.destination));
        standings
    }

    fn now(&self) -> Duration {
        Instant::now().duration_since(self.origin)
    }

    /// Refuses early what would be refused when its turn has come.
    fn check_open(&self, entry: &Entry) -> Result<(), NoPass> {
        let now = self.now();
        match entry.breaker.lock().state() {
            State::Open { until: None } => Err(NoPass::Open(None)),
            State::Open { until: Some(until) } if now < until => Err(NoPass::Open(Some(until.saturating_sub(now)))),
            _ => Ok(()),
        }
    }

    async fn wait(&self, entry: &Arc<Entry>) -> Result<OwnedSemaphorePermit, NoPass> {
        let room = Waiting::take(entry, self.settings.waiting_max).ok_or(NoPass::QueueFull)?;
        let turn = timeout(self.settings.wait_max, Arc::clone(&entry.turns).acquire_owned()).await;
        drop(room);
        turn.map_err(|_| NoPass::WaitedTooLong)?.map_err(|_| NoPass::WaitedTooLong)
    }

    fn entry(&self, destination: &Destination) -> Result<Arc<Entry>, NoPass> {
        let used_at = Instant::now();
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get_mut(destination) {
            slot.used_at = used_at;
            return Ok(Arc::clone(&slot.entry));
        }
        if slots.len() >= self.settings.destinations_max {
            let now = self.now();
            let may_go = |slot: &Slot| {
                // Nobody else holds it: no call is on its way, and none can begin while the table is locked.
                let is_idle = Arc::strong_count(&slot.entry) == 1;
                let breaker = slot.entry.breaker.lock();
                let is_old = used_at.duration_since(slot.used_at) >= FORGET_AFTER;
                let says_nothing = match breaker.state() {
                    State::Closed => is_old || breaker.failures_in_a_row() == 0,
                    State::HalfOpen => is_old,
                    State::Open { until } => is_old && until.is_some_and(|until| until <= now),
                };
                is_idle && says_nothing
            };
            let idle = slots.iter().filter(|(_, slot)| may_go(slot));
            let oldest = idle.min_by_key(|(_, slot)| slot.used_at).map(|(name, _)| name.clone());
            slots.remove(&oldest.ok_or(NoPass::TooManyDestinations)?);
        }
        let entry = Arc::new(Entry {
            breaker: Mutex::new(Breaker::new(self.settings.breaker)),
            turns: Arc::new(Semaphore::new(self.settings.concurrent_max)),
            waiting: AtomicUsize::new(0),
        });
        slots.insert(destination.clone(), Slot { entry: Arc::clone(&entry), used_at });
        Ok(entry)
    }

    /// Called under the breaker's lock, so that listeners hear of changes in their order; never waits.
    fn tell(&self, destination: &Destination, change: Option<Change>) {
        if let Some(change) = change {
            // Nobody listening is no trouble.
            let _ = self.changes.send(Event { destination: destination.clone(), change });
        }
    }
}

/// A place among those that wait; given back when it is dropped, even by a cancelled task.
struct Waiting<'a>(&'a Entry);

impl<'a> Waiting<'a> {
    fn take(entry: &'a Entry, waiting_max: usize) -> Option<Waiting<'a>> {
        let more = |waiting: usize| (waiting < waiting_max).then_some(waiting + 1);
        entry.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Waiting(entry))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that may go through.
#[must_use]
pub struct Pass {
    destinations: Arc<Destinations>,
    destination: Destination,
    entry: Arc<Entry>,
    permit: Option<Permit>,
    _turn: OwnedSemaphorePermit,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("destination", &self.destination).finish_non_exhaustive()
    }
}

impl Pass {
    /// Whether it is the one call of a half-open breaker.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::is_probe)
    }

    /// Tells how the call ended.
    pub fn settle(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        let Some(permit) = self.permit.take() else { return };
        let change = {
            let mut breaker = self.entry.breaker.lock();
            let change = breaker.settle(permit, outcome, self.destinations.now());
            self.destinations.tell(&self.destination, change);
            change
        };
        log_change(&self.destination, change);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.finish(Outcome::Abandoned);
    }
}

fn log_change(destination: &Destination, change: Option<Change>) {
    let Some(Change { from, to, cause }) = change else { return };
    if matches!(cause, Cause::ConsecutiveFailures | Cause::FailureRate) {
        tracing::warn!(destination = %destination, breaker.cause = ?cause, "calls to a destination keep failing: it is left alone for a while");
    } else {
        tracing::info!(destination = %destination, breaker.from = from.word(), breaker.to = to.word(), breaker.cause = ?cause, "breaker changed");
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::super::guard::{Host, Scheme};
    use super::*;

    fn destination(name: &str) -> Destination {
        Destination { scheme: Scheme::Https, host: Host::Name(name.to_owned()), port: 443, path_hash: 0 }
    }

    fn small() -> DestinationSettings {
        DestinationSettings {
            breaker: BreakerSettings { consecutive_failures: 2, ..BreakerSettings::default() },
            concurrent_max: 2,
            waiting_max: 1,
            wait_max: Duration::from_secs(2),
            destinations_max: 2,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_destination_that_hangs_holds_its_own_callers_only() {
        let all = Destinations::new(small());
        let (slow, other) = (destination("slow.example"), destination("other.example"));
        let first = all.enter(&slow).await.unwrap();
        let _second = all.enter(&slow).await.unwrap();
        let waiter = tokio::spawn({
            let (all, slow) = (Arc::clone(&all), slow.clone());
            async move { all.enter(&slow).await.map(|pass| pass.is_probe()) }
        });
        while all.standings()[0].waiting == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(all.enter(&slow).await.unwrap_err(), NoPass::QueueFull);
        assert!(all.enter(&other).await.is_ok());
        first.settle(Outcome::Success);
        assert_eq!(waiter.await.unwrap(), Ok(false));
        let standing = &all.standings()[1];
        assert_eq!((standing.running, standing.waiting, standing.window_calls), (1, 0, 1));
        let _third = all.enter(&slow).await.unwrap();
        let before = Instant::now();
        assert_eq!(all.enter(&slow).await.unwrap_err(), NoPass::WaitedTooLong);
        assert_eq!(before.elapsed(), Duration::from_secs(2));
        assert_eq!(all.standings()[1].waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_left_alone_probed_and_taken_back() {
        let all = Destinations::new(small());
        let bad = destination("bad.example");
        let mut events = all.subscribe();
        for _ in 0..2 {
            all.enter(&bad).await.unwrap().settle(Outcome::Failure);
        }
        assert_eq!(all.enter(&bad).await.unwrap_err(), NoPass::Open(Some(Duration::from_secs(5))));
        assert_eq!(all.left_alone(&bad), Some(Duration::from_secs(5)));
        advance(Duration::from_secs(5)).await;
        assert_eq!(all.left_alone(&bad), None, "a probe may be tried");
        let probe = all.enter(&bad).await.unwrap();
        assert!(probe.is_probe());
        assert_eq!(all.enter(&bad).await.unwrap_err(), NoPass::Open(None));
        drop(probe);
        let probe = all.enter(&bad).await.unwrap();
        assert!(probe.is_probe(), "a cancelled probe lets another try");
        probe.settle(Outcome::Success);
        assert_eq!(all.standings()[0].state, State::Closed);
        let mut causes = Vec::new();
        while let Ok(event) = events.try_recv() {
            assert_eq!(event.destination, bad);
            causes.push(event.change.cause);
        }
        assert_eq!(causes, [Cause::ConsecutiveFailures, Cause::TimeOver, Cause::ProbeSucceeded]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_stops_calls_that_wait_already() {
        let all = Destinations::new(small());
        let name = destination("a.example");
        let first = all.enter(&name).await.unwrap();
        let _second = all.enter(&name).await.unwrap();
        let waiter = tokio::spawn({
            let (all, name) = (Arc::clone(&all), name.clone());
            async move { all.enter(&name).await.map(|_| ()) }
        });
        while all.standings()[0].waiting == 0 {
            tokio::task::yield_now().await;
        }
        all.trip(&name, None).unwrap();
        drop(first);
        assert_eq!(waiter.await.unwrap(), Err(NoPass::Open(None)));
        advance(Duration::from_secs(1_000_000)).await;
        assert_eq!(all.enter(&name).await.unwrap_err(), NoPass::Open(None));
        assert_eq!(all.reset(&name).map(|change| change.to), Some(State::Closed));
        assert!(all.enter(&name).await.is_ok());
        assert_eq!(all.reset(&destination("unknown.example")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_table_forgets_only_what_says_nothing() {
        let all = Destinations::new(small());
        let [a, b, c] = ["a.example", "b.example", "c.example"].map(destination);
        all.enter(&a).await.unwrap().settle(Outcome::Success);
        advance(Duration::from_secs(1)).await;
        all.enter(&b).await.unwrap().settle(Outcome::Success);
        advance(Duration::from_secs(1)).await;
        all.enter(&c).await.unwrap().settle(Outcome::Success);
        let known = |all: &Destinations| -> Vec<Destination> {
            all.standings().into_iter().map(|standing| standing.destination).collect()
        };
        assert_eq!(known(&all), [b.clone(), c.clone()], "the oldest went");
        all.trip(&b, None).unwrap();
        let running = all.enter(&c).await.unwrap();
        assert_eq!(all.enter(&a).await.unwrap_err(), NoPass::TooManyDestinations);
        assert_eq!(all.trip(&a, None), Err(NoPass::TooManyDestinations));
        running.settle(Outcome::Failure);
        assert_eq!(all.enter(&a).await.unwrap_err(), NoPass::TooManyDestinations, "a failure is remembered");
        advance(FORGET_AFTER).await;
        assert!(all.enter(&a).await.is_ok());
        assert_eq!(known(&all), [a, b], "but not for ever; an operator's word is");
    }
}
