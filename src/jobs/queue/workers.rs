//! Who runs handlers: tasks on the runtime, and a few threads for what blocks.
//!
//! How many there may be follows the age of the oldest due job ([`Sizing`]). A task is begun for each job and costs
//! nothing when there is none; threads wait for jobs and end when there are none for a while.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::desk::Ask;
use super::handler::{Ctl, Handler, Outcome, Work};
use super::job::Job;

/// A job is due for so long before more workers are thought of, microseconds.
const GROW_AFTER_US: i64 = 50_000;

/// The number of workers doubles at most this often, microseconds.
const GROW_EVERY_US: i64 = 50_000;

/// Half of the workers are idle for so long before a quarter goes, microseconds.
const SHRINK_AFTER_US: i64 = 10_000_000;

/// A thread with nothing to do ends after this.
const THREAD_IDLE: Duration = Duration::from_secs(10);

/// How many workers there may be: between two bounds, by how long jobs wait.
#[derive(Clone, Debug)]
pub(super) struct Sizing {
    min: usize,
    max: usize,
    size: usize,
    grown_at: i64,
    idle_since: Option<i64>,
}

impl Sizing {
    /// As few as may be.
    pub fn new((min, max): (usize, usize)) -> Sizing {
        Sizing { min, max, size: min, grown_at: i64::MIN, idle_since: None }
    }

    /// How many there may be.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Looks at the queue: the moment, how long the oldest due job has been due, and how many workers are busy. When
    /// to give out leases again, or to look again, though nothing else happens.
    pub fn observe(&mut self, now: i64, oldest_wait: Option<i64>, busy: usize) -> Option<i64> {
        let mut again = None;
        if let Some(wait) = oldest_wait.filter(|_| busy >= self.size && self.size < self.max) {
            again = Some(now + GROW_EVERY_US);
            if wait >= GROW_AFTER_US && now.saturating_sub(self.grown_at) >= GROW_EVERY_US {
                self.size = (self.size * 2).min(self.max);
                self.grown_at = now;
                again = Some(now);
            }
        }
        if busy * 2 > self.size || self.size == self.min {
            self.idle_since = None;
            return again;
        }
        let since = *self.idle_since.get_or_insert(now);
        if now - since >= SHRINK_AFTER_US {
            self.size = (self.size - (self.size / 4).max(1)).max(self.min);
            self.idle_since = Some(now);
        }
        again
    }
}

/// A job with all that its attempt needs.
pub(super) struct Attempt {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) timeout: Duration,
    pub(super) job: Job,
    pub(super) ctl: Ctl,
}

impl Attempt {
    /// Runs the handler within its time; a panic is a failure.
    async fn run(&self) -> Outcome {
        if self.ctl.is_lost() {
            // It waited for a thread until the job was given to another, or the queue was drained.
            return Outcome::GivenBack;
        }
        let work = caught(Box::pin(async { self.handler.run(&self.job, &self.ctl).await }));
        match tokio::time::timeout(self.timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let why = format!("it took longer than {} s", self.timeout.as_secs_f32());
                Outcome::Retry { after: None, why }
            }
        }
    }

    /// Tells the clerk.
    fn tell(&self, clerk: &Sender<Ask>, outcome: Outcome) {
        let token = self.job.lease.map_or(0, |lease| lease.token);
        // Nobody listens after a drain: the lease was given back then.
        let _ = clerk.send(Ask::Finish { id: self.job.id, token, outcome });
    }
}

async fn caught(mut work: Work<'_>) -> Outcome {
    poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(Outcome::Retry { after: None, why: format!("it panicked: {}", said_by(&*panic)) }),
    })
    .await
}

fn said_by(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Begins an attempt on the runtime.
pub(super) fn spawn(runtime: &Handle, clerk: Sender<Ask>, attempt: Attempt) -> AbortHandle {
    let task = runtime.spawn(async move {
        let outcome = attempt.run().await;
        attempt.tell(&clerk, outcome);
    });
    task.abort_handle()
}

/// Threads for handlers that block.
#[derive(Debug)]
pub(super) struct Threads {
    runtime: Handle,
    clerk: Sender<Ask>,
    queue: (Sender<Attempt>, Receiver<Attempt>),
    live: Arc<AtomicUsize>,
    min: usize,
}

impl Threads {
    /// None yet; `min` are kept once they are there.
    pub fn new(runtime: Handle, clerk: Sender<Ask>, min: usize) -> Threads {
        Threads { runtime, clerk, queue: unbounded(), live: Arc::default(), min }
    }

    /// Threads that there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Begins an attempt, on a new thread unless there are `wanted` already. The caller bounds what waits.
    pub fn begin(&self, attempt: Attempt, wanted: usize) {
        // It cannot fail: this end holds a receiver.
        let _ = self.queue.0.send(attempt);
        if self.live() >= wanted {
            return;
        }
        self.live.fetch_add(1, Ordering::AcqRel);
        let (runtime, clerk, queue) = (self.runtime.clone(), self.clerk.clone(), self.queue.1.clone());
        let (live, min) = (Arc::clone(&self.live), self.min);
        let work = move || {
            while let Some(attempt) = next(&queue, &live, min) {
                let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(attempt.run())));
                let outcome = outcome.unwrap_or_else(|panic| Outcome::Retry {
                    after: None,
                    why: format!("the runtime gave up: {}", said_by(&*panic)),
                });
                attempt.tell(&clerk, outcome);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("munim-job".to_owned()).spawn(work) {
            // The job waits for a thread that is there, or for its lease to run out.
            tracing::warn!(%error, "no thread for a job");
            self.live.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// The next attempt for a thread, or `None` when it is to end; it has then been taken off the count.
fn next(queue: &Receiver<Attempt>, live: &AtomicUsize, min: usize) -> Option<Attempt> {
    use crossbeam::channel::RecvTimeoutError;
    loop {
        match queue.recv_timeout(THREAD_IDLE) {
            Ok(attempt) => return Some(attempt),
            Err(RecvTimeoutError::Disconnected) => {
                live.fetch_sub(1, Ordering::AcqRel);
                return None;
            }
            Err(RecvTimeoutError::Timeout) => {
                let fewer = |there: usize| (there > min).then(|| there - 1);
                if live.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).is_ok() {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_grow_with_the_age_of_the_oldest_due_job_and_shrink_when_idle() {
        let mut sizing = Sizing::new((2, 12));
        let ms = 1_000;
        // (at ms, oldest wait ms, busy) → size
        for (at, wait, busy, size) in [
            (0, None, 0, 2),
            (1, Some(49), 2, 2),
            (2, Some(50), 1, 2),
            (3, Some(50), 2, 4),
            (4, Some(90), 4, 4),
            (53, Some(90), 4, 8),
            (103, Some(90), 8, 12),
            (153, Some(90), 12, 12),
            (200, None, 7, 12),
            (300, None, 6, 12),
            (10_299, None, 6, 12),
            (10_300, None, 6, 9),
            (10_400, None, 5, 9),
            (20_300, None, 4, 9),
            (30_300, None, 4, 7),
            (40_300, None, 0, 6),
            (50_300, None, 0, 5),
            (60_300, None, 0, 4),
            (70_300, None, 0, 3),
            (80_300, None, 0, 2),
            (90_300, None, 0, 2),
        ] {
            sizing.observe(at * ms, wait.map(|wait: i64| wait * ms), busy);
            assert_eq!(sizing.size(), size, "at {at} ms");
        }
    }
}
