//! What does the work: handlers, and what they may ask while they work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::backoff::Backoff;
use super::job::{Job, Progress};

/// A handler's work, on its way.
pub type Work<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Does jobs of one kind.
///
/// It must be safe to run twice with the same job: a process may end, or a lease run out, after the work and before
/// its end is written. Whoever gets the effect is told the job's id and, where it was born of the books, the seq of its
/// birth; those stay the same in every attempt.
pub trait Handler: Send + Sync + 'static {
    /// The kind of jobs that it does; no two handlers have one kind. 1–64 bytes.
    fn kind(&self) -> &'static str;

    /// How many at once, how often, how long.
    fn limits(&self) -> KindLimits;

    /// Does a job. A panic is a failed attempt. The future is dropped when its time is over or its lease is lost.
    fn run<'a>(&'a self, job: &'a Job, ctl: &'a Ctl) -> Work<'a>;
}

/// Bounds of one kind of jobs.
#[derive(Clone, Copy, Debug)]
pub struct KindLimits {
    /// Jobs of this kind at once, at least 1: what whoever does the work can bear.
    pub concurrency_max: usize,
    /// Attempts before a job is dead, at least 1.
    pub attempts_max: u32,
    /// Longest time of one attempt. What blocks cannot be stopped: its job is given to another, and it is told nothing.
    pub timeout: Duration,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// It computes or blocks, and runs on one of few threads of its own; else on the runtime, and must not block.
    pub is_blocking: bool,
}

impl Default for KindLimits {
    /// Eight at once, twelve attempts (some two hours on average), a minute each, on the runtime.
    fn default() -> KindLimits {
        KindLimits {
            concurrency_max: 8,
            attempts_max: 12,
            timeout: Duration::from_secs(60),
            backoff: Backoff::default(),
            is_blocking: false,
        }
    }
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed this time: again after so long, or, where nothing is said, by the kind's backoff.
    Retry {
        /// What the other side asked for (`Retry-After`); at most a year counts.
        after: Option<Duration>,
        /// What went wrong; 500 characters are kept.
        why: String,
    },
    /// It will always fail.
    Dead {
        /// What went wrong; 500 characters are kept.
        why: String,
    },
    /// It stopped because [`Ctl::is_stopped`] said so: no failed attempt. Where nobody cancelled it, it runs again.
    GivenBack,
}

/// What a handler and the queue tell each other while a job runs. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Ctl(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_cancelled: AtomicBool,
    is_lost: AtomicBool,
    is_draining: AtomicBool,
    told: tokio::sync::Notify,
    has_progress: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
}

impl Ctl {
    /// Says how far the job is. It is written about once a second, and costs nothing in between.
    pub fn progress(&self, progress: Progress) {
        self.0.done.store(progress.done, Ordering::Relaxed);
        self.0.total.store(progress.total, Ordering::Relaxed);
        self.0.has_progress.store(true, Ordering::Release);
    }

    /// Whether somebody cancelled the job.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Acquire)
    }

    /// Whether the handler should come to an end: the job was cancelled, its lease is lost, or the process ends.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_cancelled() || self.is_lost() || self.0.is_draining.load(Ordering::Acquire)
    }

    /// Waits until [`Ctl::is_stopped`].
    pub async fn stopped(&self) {
        loop {
            let told = self.0.told.notified();
            tokio::pin!(told);
            // First registered, then looked: a word between the two is heard.
            told.as_mut().enable();
            if self.is_stopped() {
                return;
            }
            told.await;
        }
    }

    /// The progress, if it was said anew since this was last asked.
    pub(super) fn take_progress(&self) -> Option<Progress> {
        let has_progress = self.0.has_progress.swap(false, Ordering::AcqRel);
        has_progress.then(|| Progress {
            done: self.0.done.load(Ordering::Relaxed),
            total: self.0.total.load(Ordering::Relaxed),
        })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.0.is_lost.load(Ordering::Acquire)
    }

    pub(super) fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }

    pub(super) fn lose(&self) {
        self.0.is_lost.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }

    pub(super) fn begin_drain(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }
}
