//! The one door for writes, and the place that knows what is durable.
//!
//! Reading order: [`command`] and [`view`] say what goes in and comes out; `commit` and `batch`
//! are the write path; `submit` is what happens around it; `history`, `reads` and `statement`
//! are the read path; `checkpoint` and `recovery` are how it survives; `upkeep` are the threads.
//!
//! Promises: only this folder appends to the journal; an answer leaves only when all that it
//! reveals is durable; locks are taken in the order directory, account shards, key shards,
//! sequencer, then the small ones (holds, periods, chart, clock), and nothing waits under them.

pub mod admission;
pub mod as_of;
pub mod batch;
pub mod caches;
pub mod checkpoint;
pub mod clock;
pub mod command;
pub mod commit;
mod copies;
mod expectation;
pub mod feed;
pub mod history;
pub mod holds;
pub mod hot;
pub mod keyring;
mod keyring_row;
pub mod keys;
pub mod lanes;
pub mod lending;
pub mod loans;
pub mod objects;
pub mod outcome;
pub mod past;
pub mod periods;
pub mod query;
pub mod readers;
pub mod reads;
pub mod recovery;
mod replay;
pub mod scrub;
pub mod shard;
mod stage_clock;
mod state_hash;
pub mod statement;
pub mod stored;
pub mod submit;
mod tabling;
pub mod top;
pub mod upkeep;
pub mod view;
pub mod walk;
pub mod watermark;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use crate::disk::Disk;
use crate::domain::gl::GlChart;
use crate::domain::ids::Seq;
use crate::domain::time::Day;
use crate::journal::{Block, Journal, JournalOptions, Observer, SegmentInfo};
use crate::store::Store;

use checkpoint::Staged;
use clock::{Clock, TimeSource};
use command::{Command, Origin};
use history::{History, Reach};
use holds::Holds;
use keyring::Keyring;
use keys::Keys;
use lanes::{BulkWork, Lanes};
use lending::LendingBook;
use loans::book::LoanBook;
use loans::file::LoanFiles;
use objects::ObjectBook;
use periods::PeriodBook;
use query::Counts;
use readers::{Readers, on_disk_thread};
use recovery::{OpenError, RecoveryReport};
use shard::Shards;
use stage_clock::{StageClock, micros};
use submit::{NotYet, Pending, Said};
use upkeep::Upkeep;
use view::{Answer, AsOf, EngineStatus, Unavailable};
use watermark::Watermark;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Account shards, rounded up to a power of two.
    pub shards: usize,
    /// Key shards, rounded up to a power of two.
    pub key_shards: usize,
    /// So many keys in memory become a table of the store.
    pub keys_per_table: u64,
    /// Bytes of verified journal blocks kept in memory.
    pub block_cache_bytes: u64,
    /// Bytes of account texts kept in memory.
    pub text_cache_bytes: u64,
    /// Bytes of the store's page cache.
    pub store_cache_bytes: usize,
    /// The books' time zone.
    pub zone: jiff::tz::TimeZone,
    /// New books begin on this business day, and their days end by hand; `None` is today, by the clock.
    pub first_day: Option<Day>,
    /// Days for which idempotency keys are kept.
    pub key_retention_days: u32,
    /// One entry in so many of a busy account is marked, rounded up to a power of two.
    pub mark_every: u32,
    /// A checkpoint begins when so many entries were appended since the last one …
    pub checkpoint_entries: u64,
    /// … or when so many seconds have passed and anything was.
    pub checkpoint_seconds: u64,
    /// Loans that a checkpoint writes in one transaction.
    pub loans_per_commit: usize,
    /// Threads that parse, resolve and decide batches.
    pub bulk_threads: usize,
    /// Single commands inside the engine at once, at most.
    pub interactive_max: usize,
    /// Written when the journal fails; a later start in the same boot looks for it.
    pub failure_marker: Option<PathBuf>,
    /// Where what is cached is written down for the next start.
    pub hot_set: Option<PathBuf>,
    /// The journal's own.
    pub journal: JournalOptions,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        EngineOptions {
            shards: cores,
            key_shards: crate::config::KEY_SHARDS,
            keys_per_table: crate::config::KEYS_PER_TABLE,
            block_cache_bytes: crate::config::BLOCK_CACHE_BYTES,
            text_cache_bytes: crate::config::TEXT_CACHE_BYTES,
            store_cache_bytes: crate::config::STORE_CACHE_BYTES,
            zone: clock::zone("Asia/Kolkata").expect("known without a database"),
            first_day: None,
            key_retention_days: crate::config::KEY_RETENTION_DAYS,
            mark_every: crate::config::MARK_EVERY,
            checkpoint_entries: crate::config::CHECKPOINT_ENTRIES,
            checkpoint_seconds: crate::config::CHECKPOINT_SECONDS,
            loans_per_commit: crate::config::LOANS_PER_COMMIT,
            bulk_threads: (cores / 2).max(1),
            interactive_max: crate::config::INTERACTIVE_MAX,
            failure_marker: None,
            hot_set: None,
            journal: JournalOptions::default(),
        }
    }
}

/// The books in memory, and the journal and store behind them. All methods are synchronous and
/// never wait; [`Engine`] adds threads and waiting.
#[derive(Debug)]
pub struct Core {
    journal: Arc<Journal>,
    store: Store,
    disk: Arc<dyn Disk>,
    store_cache_bytes: usize,
    loans_per_commit: usize,
    /// The store refused something: it is opened again before it is next written.
    store_failed: AtomicBool,
    shards: Shards,
    keys: Keys,
    holds: Holds,
    history: History,
    watermark: Watermark,
    clock: Clock,
    /// Guards the number of accounts; the first lock of whoever opens one.
    directory: Mutex<Directory>,
    /// Lines of the general ledger; written under the sequencer, read anywhere.
    chart: RwLock<GlChart>,
    periods: Mutex<PeriodBook>,
    /// Changes under all account locks only; read anywhere.
    keyring: Keyring,
    /// Changes under all account locks only; read anywhere.
    lending: LendingBook,
    /// Changes under all account locks only; read anywhere.
    objects: ObjectBook,
    /// Changes under all account locks only; read anywhere.
    loans: LoanBook,
    loan_files: LoanFiles,
    /// First seq of each business day; ten years are 30 KB.
    day_runs: Mutex<Vec<(Day, Seq)>>,
    /// The end of this day was followed by a look at the year before: nothing is left to be closed.
    years_looked_at: Mutex<Day>,
    /// Changes under all account locks only, so it is stable under any of them.
    business_date: AtomicU32,
    /// The first moment after the business date, microseconds: whoever comes later rolls the day first.
    day_ends: AtomicI64,
    /// `Day` + 1, 0 for none; changes under all account locks only.
    closed_through: AtomicU32,
    checkpoint_seq: AtomicU64,
    /// The store has nothing about entries after this one.
    stored_through: AtomicU64,
    staged: Mutex<Staged>,
    /// Taken before the key shards and never while one of them is held.
    tabling: Mutex<tabling::Tabling>,
    keys_per_table: u64,
    key_retention_days: u32,
    /// The last entry of the newest segment that has ended.
    rolled_through: AtomicU64,
    is_closing: AtomicBool,
    failure_marker: Option<PathBuf>,
    hot_set: Option<PathBuf>,
    /// Blocks and texts read ahead.
    warmed: AtomicU64,
    /// Touched by the keeper and by status.
    scrub: Mutex<scrub::Scrub>,
    segment_rolls: AtomicU64,
    checkpoints: AtomicU64,
}

/// How many accounts there are.
#[derive(Debug, Default)]
struct Directory {
    accounts: u32,
}

impl Core {
    fn new(disk: &Arc<dyn Disk>, journal: Arc<Journal>, store: Store, clock: Clock, options: &EngineOptions) -> Core {
        let durable = journal.durable_seq();
        Core {
            history: History::new(Arc::clone(&journal), options.block_cache_bytes, options.text_cache_bytes),
            watermark: Watermark::new(journal.durable_seq()),
            journal,
            store,
            disk: Arc::clone(disk),
            store_cache_bytes: options.store_cache_bytes,
            loans_per_commit: options.loans_per_commit.max(1),
            store_failed: AtomicBool::new(false),
            shards: Shards::new(options.shards, options.mark_every),
            keys: Keys::new(options.key_shards),
            holds: Holds::default(),
            clock,
            directory: Mutex::default(),
            chart: RwLock::default(),
            periods: Mutex::default(),
            keyring: Keyring::default(),
            objects: ObjectBook::default(),
            lending: LendingBook::default(),
            loans: LoanBook::default(),
            loan_files: LoanFiles::new(options.text_cache_bytes),
            day_runs: Mutex::default(),
            years_looked_at: Mutex::default(),
            business_date: AtomicU32::new(0),
            day_ends: AtomicI64::new(i64::MIN),
            closed_through: AtomicU32::new(0),
            checkpoint_seq: AtomicU64::new(0),
            // Whatever an earlier run has stored is about what it made durable.
            stored_through: AtomicU64::new(durable.0),
            staged: Mutex::default(),
            tabling: Mutex::default(),
            keys_per_table: options.keys_per_table.max(1),
            key_retention_days: options.key_retention_days,
            rolled_through: AtomicU64::new(0),
            is_closing: AtomicBool::new(false),
            failure_marker: options.failure_marker.clone(),
            hot_set: options.hot_set.clone(),
            warmed: AtomicU64::new(0),
            scrub: Mutex::default(),
            segment_rolls: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
        }
    }

    /// The journal, to read.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The store, to read.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is durable.
    #[must_use]
    pub fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The API keys.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// What operators have set up.
    #[must_use]
    pub fn objects(&self) -> &ObjectBook {
        &self.objects
    }

    /// The business date.
    #[must_use]
    pub fn business_date(&self) -> Day {
        Day(self.business_date.load(Ordering::Acquire) as u16)
    }

    fn set_business_date(&self, date: Day) {
        self.business_date.store(u32::from(date.0), Ordering::Release);
        let by_hand = self.loans.with_day(|day| day.by_hand);
        let ends = if by_hand { i64::MAX } else { self.clock.end_of(date).0 };
        self.day_ends.store(ends, Ordering::Release);
    }

    fn closed_through(&self) -> Option<Day> {
        self.closed_through.load(Ordering::Acquire).checked_sub(1).map(|day| Day(day as u16))
    }

    fn set_closed_through(&self, through: Option<Day>) {
        self.closed_through.store(through.map_or(0, |day| u32::from(day.0) + 1), Ordering::Release);
    }

    fn checkpoint_seq(&self) -> Seq {
        Seq(self.checkpoint_seq.load(Ordering::Acquire))
    }

    fn set_checkpoint_seq(&self, seq: Seq) {
        self.checkpoint_seq.store(seq.0, Ordering::Release);
    }

    fn stored_through(&self) -> Seq {
        Seq(self.stored_through.load(Ordering::Acquire))
    }

    /// Whether new work can be taken at all.
    fn check_open(&self) -> Result<(), NotYet> {
        if self.is_closing.load(Ordering::Acquire) {
            return Err(NotYet::Unavailable(Unavailable::ShuttingDown));
        }
        self.journal.admit().map_err(|refused| {
            NotYet::Unavailable(match refused {
                crate::journal::Refused::Unavailable => {
                    Unavailable::JournalUnavailable(self.journal.state().to_string())
                }
                crate::journal::Refused::Full => Unavailable::JournalFull,
                crate::journal::Refused::Busy => Unavailable::Overloaded("journal"),
            })
        })
    }

    /// State for `/readyz` and the log; its counts may be ahead of what is durable, those of [`Engine::status`] are not.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        use crate::journal::JournalState;
        let state = self.journal.state();
        let trouble = match &state {
            JournalState::Open => None,
            JournalState::Full => Some(("journal_full", state.to_string())),
            JournalState::Poisoned { .. } => Some(("journal_unavailable", state.to_string())),
        };
        let Counts { accounts, holds, business_date } = self.counts();
        let closing = self.is_closing.load(Ordering::Acquire).then(|| ("draining", "shutting down".to_string()));
        EngineStatus {
            appended_seq: self.journal.appended_seq(),
            durable_seq: self.watermark.durable(),
            checkpoint_seq: self.checkpoint_seq(),
            chain_head: self.journal.chain_head(),
            shards: self.shards.count(),
            accounts,
            holds,
            business_date,
            trouble: trouble.or(closing),
            clock_suspect: self.clock.is_suspect(),
            segments: self.journal.segments().len(),
            segment_rolls: self.segment_rolls.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            block_cache: self.history.block_counter.read(),
            text_cache: self.history.text_counter.read(),
            scrub: self.scrub_state(),
        }
    }
}

/// The journal tells; the engine passes it on. Weak, since the core holds the journal.
#[derive(Debug)]
struct Ears(Weak<Core>);

impl Observer for Ears {
    fn durable(&self, durable: Seq, blocks: &[Arc<Block>]) {
        let Some(core) = self.0.upgrade() else { return };
        let records: usize = blocks.iter().map(|block| block.run_count()).sum();
        for block in blocks {
            core.history.remember(block);
        }
        core.watermark.advance(durable, u32::try_from(records).unwrap_or(u32::MAX));
    }

    fn rolled(&self, retired: &SegmentInfo) {
        let Some(core) = self.0.upgrade() else { return };
        core.segment_rolls.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            segment.first_seq = retired.first_seq.0,
            segment.last_seq = retired.last_seq.0,
            "a journal segment is complete"
        );
        core.rolled_through.fetch_max(retired.last_seq.0, Ordering::AcqRel);
    }

    fn sealed(&self, segment: &SegmentInfo) {
        tracing::info!(segment.first_seq = segment.first_seq.0, "a journal segment is sealed");
    }

    fn poisoned(&self, cause: &str) {
        let Some(core) = self.0.upgrade() else { return };
        tracing::error!(cause, "the journal failed: nothing more is acknowledged until a restart");
        if let Some(path) = &core.failure_marker
            && let Err(error) = std::fs::write(path, cause)
        {
            tracing::error!(%error, path = %path.display(), "could not leave the failure marker");
        }
        core.watermark.fail();
    }
}

/// The engine of one data folder: the core, its threads and its lanes. Cheap to share (`Arc`).
#[derive(Debug)]
pub struct Engine {
    core: Arc<Core>,
    lanes: Lanes,
    readers: Readers,
    upkeep: Mutex<Option<Upkeep>>,
    /// The newest counts that were durable when somebody asked; held for a copy.
    told: Mutex<AsOf<Counts>>,
    /// What recovery did.
    pub recovery: RecoveryReport,
}

impl Engine {
    /// Opens a data folder and starts the engine's threads.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn start(
        disk: &Arc<dyn Disk>,
        options: &EngineOptions,
        time: Box<dyn TimeSource>,
    ) -> Result<Arc<Engine>, OpenError> {
        let parts = recovery::open(disk, options, time)?;
        let told = AsOf { value: parts.core.counts(), seq: parts.core.journal.durable_seq() };
        let upkeep = Upkeep::start(&parts.core, parts.writer, parts.maintenance, options);
        Ok(Arc::new(Engine {
            lanes: Lanes::start(&parts.core, options.bulk_threads, options.interactive_max),
            readers: Readers::new((options.shards / 2).max(1)),
            core: parts.core,
            upkeep: Mutex::new(Some(upkeep)),
            told: Mutex::new(told),
            recovery: parts.report,
        }))
    }

    /// The books.
    #[must_use]
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The lanes, for those who report on them.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Decides a command and waits until everything that the answer reveals is on disk.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn submit(self: &Arc<Self>, command: Command, origin: Origin) -> Result<Answer, Unavailable> {
        if matches!(command, Command::Batch(_) | Command::OpenAccounts(_)) {
            let work = BulkWork { deadline: origin.deadline, weight: 0 };
            let ready: Result<Result<Answer, Unavailable>, std::convert::Infallible> =
                self.submit_bulk(work, move |_| Ok((command, origin))).await;
            return ready.unwrap_or_else(|never| match never {});
        }
        let _place = self.lanes.interactive().enter(origin.deadline)?;
        let mut clock = StageClock::start();
        let pending = loop {
            match self.core.execute(&command, &origin, Reach::Memory) {
                Ok(pending) => break pending,
                Err(NotYet::Unavailable(cause)) => return Err(cause),
                Err(NotYet::WaitFor(seq)) => self.core.watermark.wait(seq).await.map_err(|_| self.failed())?,
                Err(NotYet::NotCached) => {
                    let (core, command) = (Arc::clone(&self.core), command.clone());
                    match on_disk_thread(move || core.execute(&command, &origin, Reach::Disk)).await? {
                        Ok(pending) => break pending,
                        Err(NotYet::WaitFor(seq)) => self.core.watermark.wait(seq).await.map_err(|_| self.failed())?,
                        Err(NotYet::Unavailable(cause)) => return Err(cause),
                        Err(NotYet::NotCached) => return Err(Unavailable::HistoryUnreadable("no such block".into())),
                    }
                }
            }
            clock.lap(|stages, us| stages.queue_us += us);
        };
        clock.lap(|stages, us| stages.decide_us = us);
        self.finish(pending, origin, clock).await
    }

    /// Runs `prepare` (parsing, resolving) on a batch thread, then decides there, and waits until
    /// the answer is on disk. An error of `prepare` comes back as it is.
    ///
    /// # Errors
    /// The outer one is `prepare`'s, the inner one [`Unavailable`].
    pub async fn submit_bulk<E: Send + 'static>(
        self: &Arc<Self>,
        work: BulkWork,
        prepare: impl FnOnce(&Arc<Core>) -> Result<(Command, Origin), E> + Send + 'static,
    ) -> Result<Result<Answer, Unavailable>, E> {
        let mut clock = StageClock::start();
        let job = move |core: &Arc<Core>| -> Result<Result<(Pending, Origin, u32), Unavailable>, E> {
            // Whoever asks is told apart: up to here a panic has changed nothing, from here on it may have.
            let Ok(prepared) = catch_unwind(AssertUnwindSafe(|| prepare(core))) else {
                return Ok(Err(Unavailable::BrokenOff));
            };
            let (command, origin) = prepared?;
            let started = std::time::Instant::now();
            let pending = lanes::execute_blocking(core, &command, &origin);
            Ok(pending.map(|pending| (pending, origin, micros(started))))
        };
        let (pending, origin, decide_us) = match self.lanes.run_bulk(work, job).await {
            Ok(done) => match done? {
                Ok(done) => done,
                Err(cause) => return Ok(Err(cause)),
            },
            Err(refused) => return Ok(Err(refused)),
        };
        clock.lap(|stages, us| stages.queue_us = us.saturating_sub(decide_us));
        clock.stages.decide_us = decide_us;
        let decided = std::time::Instant::now();
        let answer = self.finish(pending, origin, clock).await;
        self.lanes.count_bulk_journal(decided.elapsed());
        Ok(answer)
    }

    /// Waits until a pending answer may leave, and completes a replay.
    async fn finish(&self, pending: Pending, origin: Origin, mut clock: StageClock) -> Result<Answer, Unavailable> {
        let wait = self.core.watermark.wait(pending.as_of);
        let first = match pending.said {
            Said::Now(reply) => {
                wait.await.map_err(|_| Unavailable::OutcomeUnknown)?;
                clock.lap(|stages, us| stages.journal_us = us);
                clock.stages.group = self.core.watermark.group();
                let (as_of, request) = (pending.as_of, pending.request);
                return Ok(Answer { reply, as_of, request, replayed: false, stages: clock.stages });
            }
            Said::Again(first) => first,
        };
        // The first request with this key is appended, but not durable yet: wait, but not for ever.
        match tokio::time::timeout(crate::config::KEY_IN_FLIGHT_WAIT, wait).await {
            Err(_) => return Err(Unavailable::KeyInFlight),
            Ok(Err(_)) => return Err(Unavailable::OutcomeUnknown),
            Ok(Ok(())) => clock.lap(|stages, us| stages.journal_us = us),
        }
        let key = origin.key.ok_or(Unavailable::KeyReused)?;
        let replayed = self.read(Reach::Memory, move |core, reach| core.replay(first, &key, reach)).await?;
        let (reply, request, as_of) = replayed.map_err(|()| Unavailable::KeyReused)?;
        clock.lap(|stages, us| stages.queue_us += us);
        Ok(Answer { reply, as_of, request, replayed: true, stages: clock.stages })
    }

    /// What a failed wait means for somebody who has changed nothing.
    fn failed(&self) -> Unavailable {
        Unavailable::JournalUnavailable(self.core.journal.state().to_string())
    }

    /// How full the lanes are.
    #[must_use]
    pub fn lane_loads(&self) -> [lanes::LaneLoad; 2] {
        self.lanes.loads()
    }

    /// Stops taking work, lets what was appended become durable, and stops the threads.
    pub fn shut_down(&self) {
        self.core.is_closing.store(true, Ordering::Release);
        self.lanes.close();
        if let Some(upkeep) = self.upkeep.lock().take() {
            upkeep.stop(&self.core);
        }
    }
}
