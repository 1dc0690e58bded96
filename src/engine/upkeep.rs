//! The engine's own threads: the journal's writer, segment upkeep, the ticker, the keeper, and the one that ends days.
//!
//! The **ticker** wakes every 100 ms: it compares the clocks once a second, expires holds within a
//! second of their deadline, and rolls the business day. The **keeper** writes checkpoints and key tables, which may take
//! seconds; it never delays the ticker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::domain::ids::{Moment, Seq};
use crate::domain::transfer::Resolution;
use crate::journal::{Maintenance, Writer};

use super::command::Origin;
use super::commit::Probe;
use super::loans::day_end::Step;
use super::{Core, EngineOptions};

/// The store is read through so long after a start, when recovery and warming are over …
const STORE_AUDIT_FIRST: Duration = Duration::from_secs(120);

/// … and so often after that: rot is rare, and the reading takes a second a gigabyte.
const STORE_AUDIT_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// How often the ticker looks.
const TICK: Duration = Duration::from_millis(100);

/// A slice of a day's end beside others who post is followed by a rest of so many times what it took. With 3 a day took 8 s
/// beside 200 clients at full speed, and they did not answer sooner.
const RESTS_PER_SLICE: u32 = 1;

/// Holds expired in one tick: 10,000 take about 10 ms, and the next tick takes the rest.
const EXPIRE_AT_ONCE: usize = 10_000;

/// How often what is hot is written down: a power cut costs the warmth of so many minutes.
const HOT_SET_EVERY: Duration = Duration::from_secs(300);

/// How long the keeper rests after the store refused.
const STORE_RETRY: Duration = Duration::from_secs(5);

/// How long tables are not merged after they could not be: nothing is lost but the time to ask more of them.
const MERGE_RETRY: Duration = Duration::from_secs(600);

/// The running threads.
#[derive(Debug)]
pub struct Upkeep {
    stop: Sender<()>,
    keepers: Vec<JoinHandle<()>>,
    journal: Vec<JoinHandle<()>>,
}

impl Upkeep {
    /// Starts all threads.
    #[must_use]
    pub fn start(core: &Arc<Core>, writer: Writer, maintenance: Maintenance, options: &EngineOptions) -> Upkeep {
        let (stop, stopped) = bounded(0);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_string());
            thread.spawn(run).expect("a thread can be started while the process is small")
        };
        let journal = vec![
            spawn("journal-writer", Box::new(move || writer.run())),
            spawn("journal-upkeep", Box::new(move || maintenance.run())),
        ];
        let stopped_too = stopped.clone();
        let ticker = (Arc::clone(core), stopped.clone());
        let keeper = (Arc::clone(core), stopped, options.clone());
        let sweeper = (Arc::clone(core), stopped_too);
        let keepers = vec![
            spawn("day-end", Box::new(move || run_day_end(&sweeper.0, &sweeper.1))),
            spawn("ticker", Box::new(move || run_ticker(&ticker.0, &ticker.1))),
            spawn("keeper", Box::new(move || run_keeper(&keeper.0, &keeper.1, &keeper.2))),
        ];
        Upkeep { stop, keepers, journal }
    }

    /// Stops the threads: ticker and keeper first (a running checkpoint ends), then the journal,
    /// which writes what was appended and closes its files cleanly.
    pub fn stop(self, core: &Core) {
        drop(self.stop);
        for thread in self.keepers {
            let _ = thread.join();
        }
        core.save_hot_set();
        core.journal.close();
        for thread in self.journal {
            let _ = thread.join();
        }
        core.journal.close_files();
    }
}

fn run_ticker(core: &Core, stopped: &Receiver<()>) {
    let mut observed = Instant::now();
    while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if observed.elapsed() >= Duration::from_secs(1) {
            observed = Instant::now();
            if core.clock.observe() {
                let suspect = core.clock.is_suspect();
                tracing::warn!(clock.suspect = suspect, "trust in the wall clock changed");
            }
        }
        core.tick();
    }
}

/// Ends the days that are over, slice by slice; beside those who post, since nobody waits for it.
///
/// It rests beside them and has the priority of them: a thread of a lower one that is stopped with locks held gets
/// no processor back from those who are busy with something else, and all who post wait for it.
fn run_day_end(core: &Core, stopped: &Receiver<()>) {
    let mut rest = TICK;
    while stopped.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
        let started = Instant::now();
        let ending = core.loans().with_day(super::loans::book::DayBook::ending);
        let mut newest = Seq::NONE;
        rest = loop {
            let (began, mut slice) = (Instant::now(), None);
            match core.end_days_noting(&mut slice) {
                Step::Idle => break TICK,
                Step::Stuck => break STORE_RETRY,
                Step::More if core.is_closing.load(Ordering::Acquire) => break TICK,
                Step::More => {}
            }
            match slice {
                // Others posted since the slice before.
                Some((first, last)) if first.0 != newest.0 + 1 => {
                    newest = last;
                    std::thread::sleep(began.elapsed().min(TICK) * RESTS_PER_SLICE);
                }
                Some((_, last)) => newest = last,
                None => {}
            }
            // A thread that has a time slice keeps it, whoever wakes up, and one who posts wakes up four threads in turn.
            std::thread::yield_now();
        };
        if let Some(first) = ending {
            let ended = core.loans().with_day(|day| day.ended);
            let ms = started.elapsed().as_millis() as u64;
            if ended >= first {
                tracing::info!(from = %first, through = %ended, ms, "days were ended");
            }
        }
    }
}

impl Core {
    /// What time brings: expired holds and a new business day. Returns how many holds expired.
    pub fn tick(&self) -> usize {
        if self.clock.is_suspect() || self.check_open().is_err() {
            return 0;
        }
        self.keep_day();
        self.expire(self.clock.now())
    }

    fn expire(&self, now: Moment) -> usize {
        let due = self.holds.due(now, EXPIRE_AT_ONCE);
        let mut expired = 0;
        for (seq, hold) in due {
            if self.journal.admit().is_err() {
                break;
            }
            let probe = Probe { generation: self.keys.generation(), ..Probe::default() };
            // A hold that was resolved meanwhile, or keys that moved: the next tick looks again.
            let done = self.commit_resolution(seq, &hold, Resolution::Expire, &Origin::default(), &probe);
            expired += usize::from(matches!(done, Ok(super::commit::Decided::Done(..))));
        }
        expired
    }

    /// Whether a checkpoint is due by the number of entries.
    #[must_use]
    pub fn entries_since_checkpoint(&self) -> u64 {
        self.journal.appended_seq().0.saturating_sub(self.checkpoint_seq().0)
    }

    /// Writes one checkpoint, waiting for the watermark; logs what went wrong.
    pub fn checkpoint_now(&self) -> bool {
        let started = Instant::now();
        let mut wait = |seq: Seq| {
            if seq == Seq::NONE {
                // As in `run_day_end`.
                std::thread::yield_now();
                return true;
            }
            self.watermark.wait_blocking(seq)
        };
        match self.checkpoint(&mut wait) {
            Ok(report) => {
                self.checkpoints.fetch_add(1, Ordering::Relaxed);
                let ms = started.elapsed().as_millis() as u64;
                tracing::debug!(checkpoint.seq = report.seq.0, checkpoint.chunks = report.chunks, ms, "checkpoint");
                true
            }
            Err(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "no checkpoint; the next one takes its part along");
                false
            }
        }
    }

    /// Reads every row of the store. Damage is logged and marked, so that the next start rebuilds the store from
    /// the journal; meanwhile what does not need the damaged rows is answered as ever. Returns whether it is whole.
    pub fn audit_store(&self) -> bool {
        match self.store.check_every_row() {
            Ok(rows) => {
                tracing::debug!(rows, "the store was read through");
                true
            }
            Err(error) if error.wants_rebuild() => {
                tracing::error!(%error, "the store is damaged (the journal is not): the next start rebuilds it");
                let marked = self
                    .disk
                    .create(super::recovery::STORE_DAMAGED_FILE, 0)
                    .and_then(|_| self.disk.sync_dir())
                    .or_else(
                        |error| if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) },
                    );
                if let Err(error) = marked {
                    tracing::error!(%error, "could not leave the mark: delete store.redb before the next start");
                }
                false
            }
            Err(error) => {
                tracing::warn!(%error, "the store could not be read through; it is tried again");
                true
            }
        }
    }
}

fn run_keeper(core: &Core, stopped: &Receiver<()>, options: &EngineOptions) {
    let mut last = Instant::now();
    let mut hot_saved = Instant::now();
    let mut next_audit = Instant::now() + STORE_AUDIT_FIRST;
    let mut next_merge = Instant::now();
    let mut rest = TICK;
    while stopped.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
        rest = TICK;
        core.scrub_step();
        if Instant::now() >= next_audit {
            next_audit = Instant::now() + STORE_AUDIT_EVERY;
            core.audit_store();
        }
        if let Err(error) = core.table_keys() {
            tracing::warn!(%error, "could not write key tables; the keys stay in memory");
            rest = STORE_RETRY;
            continue;
        }
        if Instant::now() >= next_merge
            && let Err(error) = core.merge_keys()
        {
            tracing::warn!(%error, "could not merge key tables; they stay as they are");
            next_merge = Instant::now() + MERGE_RETRY;
        }
        let entries = core.entries_since_checkpoint();
        let is_due = entries >= options.checkpoint_entries
            || (entries > 0 && last.elapsed() >= Duration::from_secs(options.checkpoint_seconds));
        if is_due {
            last = Instant::now();
            if !core.checkpoint_now() {
                rest = STORE_RETRY;
            }
            if hot_saved.elapsed() >= HOT_SET_EVERY {
                hot_saved = Instant::now();
                core.save_hot_set();
            }
        }
    }
}
