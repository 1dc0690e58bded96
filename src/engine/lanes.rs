//! Lanes: how much work of each kind is let in at once.
//!
//! Single commands are counted; batches queue for threads of their own. Both are bounded, and what
//! does not fit is refused at once, never queued without bound.
//!
//! A job that panics ends alone: its thread goes on with the next one. A record that it left open has
//! poisoned the journal by then (the appender's guard does that), so that nothing half done is acknowledged.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::config::{BULK_QUEUE_MAX, BULK_WAIT_MAX};

use super::Core;
use super::admission::{Admission, FIRST_WAIT};
use super::command::{Command, Origin};
use super::expectation::{Expectation, nanos};
use super::history::Reach;
use super::submit::{NotYet, Pending};
use super::view::Unavailable;

type Job = Box<dyn FnOnce(&Arc<Core>) + Send>;

/// Nanoseconds on a batch thread for each KiB of a body, before any was measured.
const FIRST_PER_KIB: u64 = 4_000;

/// Below this weight a batch's time is not its bytes', and says nothing about a long one's.
const WEIGHED_FROM_KIB: u64 = 16;

/// What is known of a batch before its work begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct BulkWork {
    /// When its answer is no use any more.
    pub deadline: Option<Instant>,
    /// Bytes that are read for it, 0 for one that is read already.
    pub weight: usize,
}

impl BulkWork {
    fn kib(self) -> u64 {
        (self.weight as u64 / 1024).max(WEIGHED_FROM_KIB)
    }
}

/// How full a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLoad {
    /// Its name.
    pub name: &'static str,
    /// Commands inside, or batches that wait.
    pub busy: usize,
    /// How many it takes.
    pub capacity: usize,
    /// The wait that one more has to expect.
    pub wait: Duration,
    /// Refused at its door since the start; of batches only the answers tell.
    pub refused: u64,
}

/// Both lanes.
pub struct Lanes {
    interactive: Arc<Admission>,
    /// Batches that wait or run.
    bulk_in_flight: AtomicUsize,
    /// A batch's time on its thread, nanoseconds.
    bulk_each: Expectation,
    /// The same for every KiB of its weight.
    bulk_per_kib: Expectation,
    /// Its wait for the journal afterwards, nanoseconds.
    bulk_journal: Expectation,
    started: Instant,
    bulk_threads: usize,
    /// `None` once closed.
    bulk: Mutex<Option<crossbeam::channel::Sender<Job>>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("interactive", &self.interactive).finish_non_exhaustive()
    }
}

impl Lanes {
    /// Starts the batch threads; they end when the lane is closed.
    #[must_use]
    pub fn start(core: &Arc<Core>, threads: usize, interactive_max: usize) -> Lanes {
        let bulk_threads = threads.max(1);
        let (sender, receiver) = crossbeam::channel::bounded::<Job>(BULK_QUEUE_MAX);
        let start = |number: usize| {
            let (core, receiver) = (Arc::clone(core), receiver.clone());
            let run = move || receiver.iter().for_each(|job| job(&core));
            let thread = std::thread::Builder::new().name(format!("bulk-{number}"));
            thread.spawn(run).expect("a thread can be started while the process is small")
        };
        let threads = (0..bulk_threads).map(start).collect();
        Lanes {
            interactive: Arc::new(Admission::new(interactive_max)),
            bulk_in_flight: AtomicUsize::new(0),
            bulk_each: Expectation::new(0),
            bulk_per_kib: Expectation::new(FIRST_PER_KIB),
            bulk_journal: Expectation::new(nanos(FIRST_WAIT)),
            started: Instant::now(),
            bulk_threads,
            bulk: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        }
    }

    /// The interactive lane's door.
    #[must_use]
    pub fn interactive(&self) -> &Arc<Admission> {
        &self.interactive
    }

    /// Batches that wait or run, and the wait that one more has to expect.
    #[must_use]
    pub fn look_bulk(&self) -> (usize, Duration) {
        let in_flight = self.bulk_in_flight.load(Ordering::Relaxed);
        let each = Duration::from_nanos(self.bulk_each.mean());
        (in_flight, each * u32::try_from(in_flight / self.bulk_threads).unwrap_or(u32::MAX))
    }

    /// How full both are.
    #[must_use]
    pub fn loads(&self) -> [LaneLoad; 2] {
        let (busy, capacity, wait, refused) = self.interactive.look();
        let (waiting, bulk_wait) = self.look_bulk();
        [
            LaneLoad { name: "interactive", busy, capacity, wait, refused },
            LaneLoad { name: "bulk", busy: waiting, capacity: BULK_QUEUE_MAX, wait: bulk_wait, refused: 0 },
        ]
    }

    /// Time that a batch of this weight has to expect from its turn on: on its thread and for the journal.
    fn expected_from_turn(&self, work: BulkWork, now: Instant) -> Duration {
        let now = self.since_start(now);
        let on_thread = self.bulk_per_kib.value(now).saturating_mul(work.kib());
        Duration::from_nanos(on_thread.saturating_add(self.bulk_journal.value(now)).min(u64::MAX / 4))
    }

    fn since_start(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.started))
    }

    /// Takes in how long a batch was on its thread.
    fn count_bulk(&self, work: BulkWork, now: Instant, took: Duration) {
        let now = self.since_start(now);
        self.bulk_each.count(now, nanos(took));
        self.bulk_per_kib.count(now, nanos(took) / work.kib());
    }

    /// Takes in how long a batch waited for the journal after its thread was done with it.
    pub fn count_bulk_journal(&self, wait: Duration) {
        self.bulk_journal.count(self.since_start(Instant::now()), nanos(wait));
    }

    /// Runs a job on a batch thread.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when the queue is full or long, `DeadlineUnmeetable` when by the batches before
    /// it the work would not be durable by its deadline, at the door or when its turn comes, `ShuttingDown` when
    /// the lane is closed. In each case nothing was done. `OutcomeUnknown` when the job panicked.
    pub async fn run_bulk<T: Send + 'static>(
        &self,
        work: BulkWork,
        job: impl FnOnce(&Arc<Core>) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let now = Instant::now();
        let (_, wait) = self.look_bulk();
        let from_turn = work.deadline.map_or(Duration::ZERO, |_| self.expected_from_turn(work, now));
        if work.deadline.is_some_and(|deadline| deadline < now + wait + from_turn) {
            return Err(Unavailable::DeadlineUnmeetable);
        }
        if wait > BULK_WAIT_MAX {
            return Err(Unavailable::Overloaded("bulk"));
        }
        let _counted = Counted::one(&self.bulk_in_flight);
        let (done, answer) = oneshot::channel();
        let boxed: Job = Box::new(move |core| {
            let started = Instant::now();
            let result = match work.deadline {
                Some(deadline) if deadline < started + from_turn => Err(Unavailable::DeadlineUnmeetable),
                // What a panic leaves half done under the locks is the journal's to refuse; the rest is the job's own.
                _ => catch_unwind(AssertUnwindSafe(|| job(core))).map_err(|_| {
                    let state = core.journal().state();
                    tracing::error!(journal = %state, "a batch panicked");
                    Unavailable::OutcomeUnknown
                }),
            };
            // The caller may have gone away; the work was done all the same.
            let _ = done.send((result, started.elapsed()));
        });
        let sender = self.bulk.lock().clone().ok_or(Unavailable::ShuttingDown)?;
        sender.try_send(boxed).map_err(|_| Unavailable::Overloaded("bulk"))?;
        drop(sender);
        let (result, took) = answer.await.map_err(|_| Unavailable::OutcomeUnknown)?;
        // One that was not begun took no time, and would make the lane look faster than it is.
        if result.is_ok() {
            self.count_bulk(work, Instant::now(), took);
        }
        result
    }

    /// No more batches; those that wait are done first.
    pub fn close(&self) {
        *self.bulk.lock() = None;
        for thread in self.threads.lock().drain(..) {
            // Jobs do not panic out of their threads.
            let _ = thread.join();
        }
    }
}

/// One more in a count, until dropped: also when the caller goes away while it waits.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one(count: &'a AtomicUsize) -> Counted<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, FolderDisk};
    use crate::domain::account::{AccountType, BalanceRule};
    use crate::domain::money::Currency;
    use crate::engine::clock::SystemTimeSource;
    use crate::engine::command::NewAccount;
    use crate::engine::{Engine, EngineOptions};

    fn accounts() -> Command {
        Command::OpenAccounts(vec![NewAccount {
            external_id: None,
            name: None,
            currency: Currency::INR,
            account_type: AccountType::Asset,
            code: 0,
            balance_rule: BalanceRule::None,
            metadata: Vec::new(),
        }])
    }

    #[tokio::test]
    async fn a_batch_that_panics_ends_alone_and_one_that_leaves_a_record_open_ends_all() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).unwrap());
        let options = EngineOptions { bulk_threads: 1, ..EngineOptions::default() };
        let engine = Engine::start(&disk, &options, Box::new(SystemTimeSource::default())).unwrap();
        for _ in 0..3 {
            let said = engine.submit_bulk::<()>(BulkWork::default(), |_| panic!("while a batch is read")).await;
            assert!(matches!(said, Ok(Err(Unavailable::BrokenOff))), "{said:?}");
        }
        // Under locks, with nothing begun: what it would have done is unknown to the caller, and was not done.
        let said = engine.lanes().run_bulk(BulkWork::default(), |core| {
            let _locked = core.shards.lock_all();
            assert!(core.business_date().0 == 0, "while a batch is decided");
        });
        assert!(matches!(said.await, Err(Unavailable::OutcomeUnknown)));
        assert!(engine.submit(accounts(), Origin::default()).await.is_ok(), "the one thread goes on");
        assert_eq!(engine.lanes().look_bulk().0, 0, "nothing is counted as waiting");
        let said = engine.lanes().run_bulk(BulkWork::default(), |core| {
            let _locked = core.shards.lock_all();
            let mut sequencer = core.journal().lock();
            let (moment, date) = core.next_moment(&sequencer);
            let _ = sequencer.begin(moment, date);
            assert!(core.business_date().0 == 0, "while a record is open");
        });
        assert!(matches!(said.await, Err(Unavailable::OutcomeUnknown)));
        let said = engine.submit(accounts(), Origin::default()).await;
        assert!(matches!(said, Err(Unavailable::JournalUnavailable(_))), "{said:?}");
        assert!(matches!(core_state(&engine), crate::journal::JournalState::Poisoned { .. }));
        engine.shut_down();
    }

    #[tokio::test]
    async fn a_batch_that_its_weight_makes_late_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).unwrap());
        let options = EngineOptions { bulk_threads: 1, ..EngineOptions::default() };
        let engine = Engine::start(&disk, &options, Box::new(SystemTimeSource::default())).unwrap();
        let (lanes, ms) = (engine.lanes(), Duration::from_millis);
        let work = |kib: usize, within| BulkWork { deadline: Some(Instant::now() + within), weight: kib * 1024 };
        // Before anything was measured, by the first guesses: 4 us a KiB and 2 ms for the journal.
        let now = lanes.started;
        for (kib, expected_us) in [(0, 2_064), (1, 2_064), (16, 2_064), (1_000, 6_000)] {
            let weight = BulkWork { deadline: None, weight: kib * 1024 };
            assert_eq!(lanes.expected_from_turn(weight, now).as_micros(), expected_us, "{kib} KiB");
        }
        // Measured: 10 us a KiB and a second for the journal.
        lanes.count_bulk(work(1_000, ms(0)), Instant::now(), ms(10));
        lanes.count_bulk_journal(Duration::from_secs(1));
        let refused = lanes.run_bulk(work(1, ms(900)), |_| panic!("it must not begin")).await;
        assert!(matches!(refused, Err::<(), _>(Unavailable::DeadlineUnmeetable)));
        let refused = lanes.run_bulk(work(1_000_000, Duration::from_secs(9)), |_| panic!("it must not begin")).await;
        assert!(matches!(refused, Err::<(), _>(Unavailable::DeadlineUnmeetable)));
        assert!(lanes.run_bulk(work(1_000, Duration::from_secs(60)), |_| ()).await.is_ok());
        assert!(lanes.run_bulk(BulkWork::default(), |_| ()).await.is_ok(), "no deadline, no estimate");
        engine.shut_down();
    }

    fn core_state(engine: &Engine) -> crate::journal::JournalState {
        engine.core().journal().state()
    }
}
