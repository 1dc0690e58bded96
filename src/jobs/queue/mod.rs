//! The durable job queue: what is to be done after the answer, each at least once, one owner at a time.
//!
//! Jobs are born in the journal, in the record of their cause; [`Births`] brings them here. `jobs.redb` keeps where
//! each one is in its life. One thread writes ([`clerk`](self)), all else asks it or reads beside it. The state machine
//! and what happens when files are lost stand in `docs/jobs.md`.
//!
//! Promise: a job whose birth is durable runs to an end, however often the process is killed; no two owners' ends of
//! one job both count; nobody who answers a request waits for any of it.

mod backoff;
mod change;
mod clerk;
mod desk;
mod ended;
mod file;
mod handler;
mod intake;
mod job;
mod row;
mod schedule;
mod tables;
mod upkeep;
mod view;
mod workers;

#[cfg(test)]
pub(in crate::jobs) mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender, TrySendError, bounded, unbounded};
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;

pub use backoff::Backoff;
pub use change::Refusal;
pub use desk::Now;
pub use ended::ENDED_FILE;
pub use file::{DAMAGED_FILE, JOBS_FILE, QueueError};
pub use handler::{Ctl, Handler, KindLimits, Outcome, Work};
pub use intake::Births;
pub use job::{Birth, Job, JobId, Lease, Order, Progress, STATUSES, Status};
pub use schedule::{DATES, Schedule, ScheduleError, dated, firings};
pub use view::{JobFilter, JobPage, KindCount, QueueStats, WorkerCount};

use clerk::Clerk;
use desk::{Ask, Board, Desk};
use file::QueueFile;
use schedule::Schedules;

use crate::config::{JOB_KIND_BYTES_MAX, JOBS_ASKS_WAITING_MAX};
use crate::disk::Disk;
use crate::domain::ids::{Moment, Seq};

/// What a queue works with.
pub struct QueueOptions {
    /// Handlers, one a kind. Jobs of other kinds become dead letters.
    pub handlers: Vec<Arc<dyn Handler>>,
    /// Jobs that come by the calendar.
    pub schedules: Vec<Schedule>,
    /// The books' time zone, in which schedules are meant.
    pub zone: TimeZone,
    /// The journal.
    pub births: Arc<dyn Births>,
    /// Where handlers run that do not block; its time must be enabled. It must outlive the queue.
    pub runtime: tokio::runtime::Handle,
    /// The books' clock.
    pub now: Now,
    /// What the waits of retries are drawn from.
    pub seed: u64,
}

/// Why a queue was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its file.
    #[error(transparent)]
    File(#[from] QueueError),
    /// A schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Two handlers have one kind, or a kind's name is empty or longer than 64 bytes.
    #[error("the handlers' kind {0:?} is there twice, empty or too long")]
    BadKind(&'static str),
    /// No thread.
    #[error("could not start a thread of the job queue")]
    Thread(#[from] std::io::Error),
}

/// Why a question was not carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The queue says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many questions wait; nothing was done.
    #[error("too many questions to the job queue wait")]
    Busy,
    /// The queue's file is in trouble, or the process ends; the question may be asked again.
    #[error("the job queue is not available")]
    Unavailable,
}

/// A running queue. Dropped, it is drained without patience.
pub struct Queue {
    file: QueueFile,
    asks: Sender<Ask>,
    waiting: Arc<AtomicUsize>,
    board: Arc<Board>,
    now: Now,
    /// Guards what ends the threads; taken once, by whoever drains.
    threads: Mutex<Option<QueueThreads>>,
    /// Wakes intake; `None` once it is to end.
    wake: Mutex<Option<Sender<()>>>,
}

struct QueueThreads {
    clerk: JoinHandle<()>,
    intake: JoinHandle<()>,
}

impl Queue {
    /// Opens or creates the files in the folder and starts to work. Leases of the process before are void.
    ///
    /// # Errors
    /// A schedule or a kind that is none; a file that can be neither opened nor set aside.
    pub fn start(disk: Arc<dyn Disk>, options: QueueOptions) -> Result<Queue, StartError> {
        let mut kinds = BTreeSet::new();
        for kind in options.handlers.iter().map(|handler| handler.kind()) {
            if kind.is_empty() || kind.len() > JOB_KIND_BYTES_MAX || !kinds.insert(kind) {
                return Err(StartError::BadKind(kind));
            }
        }
        let schedules = Schedules::new(options.schedules, options.zone)?;
        let (file, memory) = QueueFile::open(disk, (options.now)())?;
        let (asks, waiting, board) = (unbounded(), Arc::<AtomicUsize>::default(), Arc::<Board>::default());
        let start = Seq(memory.position);
        let clerk = Clerk::new(Desk {
            file: file.clone(),
            memory,
            handlers: options.handlers,
            schedules,
            now: Arc::clone(&options.now),
            rng: SmallRng::seed_from_u64(options.seed),
            runtime: options.runtime,
            board: Arc::clone(&board),
            asks: asks.clone(),
            waiting: Arc::clone(&waiting),
        })?;
        let clerk = std::thread::Builder::new().name("munim-jobs".to_owned()).spawn(move || clerk.run())?;
        let (wake, woken) = bounded(1);
        let (births, ask, shown) = (options.births, asks.0.clone(), Arc::clone(&board));
        let intake = std::thread::Builder::new()
            .name("munim-births".to_owned())
            .spawn(move || intake::run(&*births, start, &ask, &woken, &shown));
        let intake = match intake {
            Ok(intake) => intake,
            Err(error) => {
                let _ = asks.0.send(Ask::Drain { patience: Duration::ZERO });
                return Err(error.into());
            }
        };
        Ok(Queue {
            file,
            asks: asks.0,
            waiting,
            board,
            now: options.now,
            threads: Mutex::new(Some(QueueThreads { clerk, intake })),
            wake: Mutex::new(Some(wake)),
        })
    }

    /// There may be births: looks at once. Costs a try at a channel; without it they are looked for twice a second.
    pub fn wake(&self) {
        if let Some(wake) = &*self.wake.lock() {
            match wake.try_send(()) {
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }

    /// Takes in a job that no entry of the journal asks for (an alert): it is there once per kind and key, and lives in
    /// `jobs.redb` alone. Its number is the same for the same kind and key.
    ///
    /// # Errors
    /// [`Refusal::BadOrder`], [`Refusal::TooManyKinds`]; see [`AskError`].
    pub async fn enqueue(&self, order: Order, key: &[u8]) -> Result<JobId, AskError> {
        if let Some(fault) = order.fault() {
            return Err(Refusal::BadOrder(fault).into());
        }
        let id = JobId::asked(&order.kind, key);
        self.ask(|reply| Ask::Enqueue { id, order, reply }).await
    }

    /// Cancels a job: at once if it is queued or dead, else its handler is asked to stop. Its status then; a cancelled
    /// one stays so.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Refusal::WrongStatus`] when it is done, [`Refusal::Unreadable`]; see [`AskError`].
    pub async fn cancel(&self, id: JobId) -> Result<Status, AskError> {
        self.ask(|reply| Ask::Cancel { id, reply }).await
    }

    /// Queues a dead or cancelled job again, with all attempts before it.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Refusal::WrongStatus`], [`Refusal::Unreadable`]; see [`AskError`].
    pub async fn retry(&self, id: JobId) -> Result<(), AskError> {
        self.ask(|reply| Ask::Retry { id, reply }).await
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Ask) -> Result<T, AskError> {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= JOBS_ASKS_WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(AskError::Busy);
        }
        let (reply, answer) = oneshot::channel();
        self.asks.send(make(reply)).map_err(|_| AskError::Unavailable)?;
        Ok(answer.await.map_err(|_| AskError::Unavailable)??)
    }

    /// A job; `None` when there is none, or it ended so long ago that it was swept away. Reads the disk.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        view::get(&self.file, id)
    }

    /// Jobs below a number, the greatest first; `limit` is 1 to 1,000. Reads the disk.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self, filter: &JobFilter, before: Option<JobId>, limit: usize) -> Result<JobPage, QueueError> {
        view::list(&self.file, filter, before, limit)
    }

    /// Figures. Reads the disk for the counts.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stats(&self) -> Result<QueueStats, QueueError> {
        let board = &self.board;
        let oldest_due = Some(board.oldest_due.load(Ordering::Acquire)).filter(|due| *due != i64::MAX);
        let Moment(now) = (self.now)();
        let (intake_trouble, file_trouble) = board.trouble.lock().clone();
        let count = |size: &AtomicUsize, busy: &AtomicUsize| WorkerCount {
            size: size.load(Ordering::Acquire),
            busy: busy.load(Ordering::Acquire),
        };
        Ok(QueueStats {
            kinds: view::counts(&self.file)?,
            oldest_wait_us: oldest_due.map_or(0, |due| now.saturating_sub(due).max(0) as u64),
            position: board.position.load(Ordering::Acquire),
            epoch: board.epoch.load(Ordering::Acquire) as u32,
            tasks: count(&board.tasks_size, &board.tasks_busy),
            threads: count(&board.threads_size, &board.threads_busy),
            is_draining: board.is_draining.load(Ordering::Acquire),
            intake_trouble,
            file_trouble,
        })
    }

    /// Gives no more leases, waits at most so long for the jobs that run, gives their leases back, and closes the
    /// files. Blocks; a second call does nothing. Handlers are told by [`Ctl::is_stopped`] at once.
    pub fn drain(&self, patience: Duration) {
        let Some(threads) = self.threads.lock().take() else { return };
        self.wake.lock().take();
        let _ = self.asks.send(Ask::Drain { patience });
        if threads.clerk.join().is_err() {
            tracing::error!("the job queue's thread panicked: its leases are void at the next start");
        }
        let _ = threads.intake.join();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}
