//! Lanes: how much work of each kind is let in at once.
//!
//! Single commands are counted; batches queue for threads of their own. Both are bounded, and what
//! does not fit is refused at once, never queued without bound.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::config::{BULK_QUEUE_MAX, INTERACTIVE_MAX};

use super::Core;
use super::command::{Command, Origin};
use super::history::Reach;
use super::submit::{NotYet, Pending};
use super::view::Unavailable;

type Job = Box<dyn FnOnce(&Arc<Core>) + Send>;

/// How full a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLoad {
    /// Its name.
    pub name: &'static str,
    /// Commands inside, or batches that wait.
    pub busy: usize,
    /// How many it takes.
    pub capacity: usize,
}

/// Both lanes.
pub struct Lanes {
    interactive: Arc<AtomicUsize>,
    /// `None` once closed.
    bulk: Mutex<Option<crossbeam::channel::Sender<Job>>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("interactive", &self.interactive).finish_non_exhaustive()
    }
}

/// A place in the interactive lane; dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    lane: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lane.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lanes {
    /// Starts the batch threads; they end when the lane is closed.
    #[must_use]
    pub fn start(core: &Arc<Core>, threads: usize) -> Lanes {
        let (sender, receiver) = crossbeam::channel::bounded::<Job>(BULK_QUEUE_MAX);
        let start = |number: usize| {
            let (core, receiver) = (Arc::clone(core), receiver.clone());
            let run = move || receiver.iter().for_each(|job| job(&core));
            let thread = std::thread::Builder::new().name(format!("bulk-{number}"));
            thread.spawn(run).expect("a thread can be started while the process is small")
        };
        let threads = (0..threads.max(1)).map(start).collect();
        Lanes { interactive: Arc::default(), bulk: Mutex::new(Some(sender)), threads: Mutex::new(threads) }
    }

    /// A place in the interactive lane.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when it is full.
    pub fn enter(&self) -> Result<Place, Unavailable> {
        let before = self.interactive.fetch_add(1, Ordering::AcqRel);
        let place = Place { lane: Arc::clone(&self.interactive) };
        if before >= INTERACTIVE_MAX { Err(Unavailable::Overloaded("interactive")) } else { Ok(place) }
    }

    /// How full both are.
    #[must_use]
    pub fn loads(&self) -> [LaneLoad; 2] {
        let waiting = self.bulk.lock().as_ref().map_or(0, crossbeam::channel::Sender::len);
        [
            LaneLoad {
                name: "interactive",
                busy: self.interactive.load(Ordering::Relaxed),
                capacity: INTERACTIVE_MAX,
            },
            LaneLoad { name: "bulk", busy: waiting, capacity: BULK_QUEUE_MAX },
        ]
    }

    /// Runs a job on a batch thread.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when the queue is full; `ShuttingDown` when the lane is closed.
    pub async fn run_bulk<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Core>) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (done, answer) = oneshot::channel();
        let boxed: Job = Box::new(move |core| {
            // The caller may have gone away; the work was done all the same.
            let _ = done.send(job(core));
        });
        let sender = self.bulk.lock().clone().ok_or(Unavailable::ShuttingDown)?;
        sender.try_send(boxed).map_err(|_| Unavailable::Overloaded("bulk"))?;
        drop(sender);
        answer.await.map_err(|_| Unavailable::OutcomeUnknown)
    }

    /// No more batches; those that wait are done first.
    pub fn close(&self) {
        *self.bulk.lock() = None;
        for thread in self.threads.lock().drain(..) {
            // A batch thread that panicked has told its caller by dropping the answer's channel.
            let _ = thread.join();
        }
    }
}

/// Executes a command on a thread that may wait.
///
/// # Errors
/// [`Unavailable`].
pub fn execute_blocking(core: &Core, command: &Command, origin: &Origin) -> Result<Pending, Unavailable> {
    loop {
        match core.execute(command, origin, Reach::Disk) {
            Ok(pending) => return Ok(pending),
            Err(NotYet::Unavailable(cause)) => return Err(cause),
            Err(NotYet::WaitFor(seq)) => {
                if !core.watermark().wait_blocking(seq) {
                    return Err(Unavailable::JournalUnavailable(core.journal().state().to_string()));
                }
            }
            Err(NotYet::NotCached) => return Err(Unavailable::HistoryUnreadable("no such block".into())),
        }
    }
}
