//! What the clerk is given and asked, and what it shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::change::{Memory, Refusal};
use super::file::QueueFile;
use super::handler::{Ctl, Handler, KindLimits, Outcome};
use super::job::{Birth, JobId, Order, Status};
use super::schedule::Schedules;
use crate::domain::ids::{Moment, Seq};

/// Where the time comes from: the books' clock.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// A question to the clerk. Where a reply is never sent, the commit failed.
pub(super) enum Ask {
    /// Take births in.
    Births { births: Vec<Birth>, after: Seq, through: Seq, reply: Sender<IntakeAnswer> },
    /// Take in a job that was not born of the books.
    Enqueue { id: JobId, order: Order, reply: oneshot::Sender<Result<JobId, Refusal>> },
    /// An attempt came to an end.
    Finish { id: JobId, token: u64, outcome: Outcome },
    /// See [`Change::cancel`].
    Cancel { id: JobId, reply: oneshot::Sender<Result<Status, Refusal>> },
    /// See [`Change::retry`].
    Retry { id: JobId, reply: oneshot::Sender<Result<(), Refusal>> },
    /// Give no more leases, wait so long for those who work, and end.
    Drain { patience: Duration },
}

/// How intake goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntakeAnswer {
    /// Births up to here have been taken in.
    At(Seq),
    /// There are too many open jobs.
    Full,
}

/// What the clerk shows of itself.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) position: AtomicU64,
    pub(super) epoch: AtomicU64,
    /// `i64::MAX`: no job is due.
    pub oldest_due: AtomicI64,
    pub(super) tasks_size: AtomicUsize,
    pub(super) tasks_busy: AtomicUsize,
    pub(super) threads_size: AtomicUsize,
    pub(super) threads_busy: AtomicUsize,
    pub(super) is_draining: AtomicBool,
    /// (what keeps births away, what keeps the file from being written). Held for a copy of a short text.
    pub trouble: Mutex<(Option<String>, Option<String>)>,
}

impl Board {
    /// Says, and logs once, what keeps births from being taken in.
    pub fn say_intake(&self, why: Option<String>) {
        let mut trouble = self.trouble.lock();
        if let Some(why) = why.as_ref().filter(|_| trouble.0 != why) {
            tracing::warn!(why, "births of jobs could not be taken in");
        }
        trouble.0 = why;
    }
}

/// What a clerk begins with.
pub(super) struct Desk {
    pub(super) file: QueueFile,
    pub(super) memory: Memory,
    pub(super) handlers: Vec<Arc<dyn Handler>>,
    pub(super) schedules: Schedules,
    pub(super) now: Now,
    pub(super) rng: SmallRng,
    pub(super) runtime: Handle,
    pub(super) board: Arc<Board>,
    pub(super) asks: (Sender<Ask>, Receiver<Ask>),
    /// Questions from outside that wait; counted down when they are taken.
    pub waiting: Arc<AtomicUsize>,
}

/// A handler, and how many of its jobs run.
pub(super) struct Registered {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) kind: &'static str,
    pub(super) limits: KindLimits,
    pub(super) running: usize,
}

/// A job that runs in this process.
pub(super) struct Running {
    pub(super) token: u64,
    pub(super) handler: usize,
    pub(super) ctl: Ctl,
    pub(super) abort: Option<AbortHandle>,
    /// Its lease is not renewed beyond.
    pub(super) ends_by: Moment,
    /// A thread that does not come back is waited for no longer, but is still there.
    pub(super) is_blocking: bool,
}
