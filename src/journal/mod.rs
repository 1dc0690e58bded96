//! The write-ahead log: records in hash-chained blocks in redb files.
//!
//! Promise: `durable_seq` moves only over whole records that two syncs have put on disk; after
//! any failed write nothing is acknowledged again; what is read back was checked against its hash.
//! docs/format.md draws the bytes and says what a power cut does at each step.
//!
//! A record's way: [`Appender`] (seqs, bytes) → [`Writer`] (seal, chain, commit, sync) →
//! [`Observer`] (watermark, feed, caches) → [`Journal::load`] and [`Journal::scan`].

mod varint;

mod access;
mod ahead;
mod lending;
mod loans;
mod sweeps;
mod terms;

mod record;

mod block;

mod appender;

mod poison;

mod manifest;

mod segment;

mod open;

mod writer;

mod maintenance;
mod objects;

mod reader;

pub mod verify;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

pub use appender::Appender;
pub use block::{BLOCK_BYTES_MAX, Block, Run};
pub use loans::{pack_loan_events, unpack_loan_events};
pub use maintenance::Maintenance;
pub use manifest::{MANIFEST_NAME, SealedSegment};
pub use open::{Opened, open};
pub use poison::{JournalState, Refused};
pub use reader::{Item, NotInMemory, Visitor};
pub use record::{KeyMark, REPLY_BYTES_MAX, RunHead, Trailer};
pub use writer::{Step, Writer};

use crate::disk::Disk;
use crate::domain::ids::{Moment, Seq};
use crate::domain::time::Day;
use block::Identity;
use maintenance::Upkeep;
use poison::Poison;
use segment::{LiveSegment, SealedFiles};

/// How a journal is opened.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Number of a new journal; an existing one keeps its own. Any number that no other journal of yours has.
    pub journal_id: u64,
    /// Tenure of the writer, noted in each block; grows when a writer is replaced.
    pub epoch: u32,
    /// A segment ends when its blocks take this many bytes.
    pub segment_bytes: u64,
    /// No record begins while more than this waits for the disk, bytes.
    pub pending_bytes_max: usize,
    /// Sealed segments that stay open for reading.
    pub sealed_open_max: usize,
    /// What the store knows of this journal: a seq and the hash of the block that ends with it.
    /// A journal that does not have it refuses to open.
    pub expected: Option<(Seq, [u8; 32])>,
}

/// What is filled of a segment that is empty; redb itself takes 1 to 4 MiB then.
const FILL_AHEAD_BYTES: u64 = 16 << 20;

/// How much it is filled by at a time.
const FILL_STEP_BYTES: u64 = 1 << 20;

impl Default for JournalOptions {
    fn default() -> JournalOptions {
        JournalOptions {
            journal_id: 0,
            epoch: 1,
            // Repair after a crash reads about twice the file: 0.2 s. redb doubles a file up to
            // 257 MiB: a little below that wastes no growth.
            segment_bytes: 240 << 20,
            pending_bytes_max: 32 << 20,
            sealed_open_max: 16,
            expected: None,
        }
    }
}

impl JournalOptions {
    /// Space that is reserved for a segment: what is waiting when it ends must still fit, and one
    /// more record of the largest size, in blocks that redb rounds up; and redb's own pages.
    fn reserve_bytes(&self) -> u64 {
        let data = self.segment_bytes + 2 * self.pending_bytes_max as u64;
        data + data / 8 + (4 << 20)
    }

    /// Where a segment that holds so many bytes of blocks is to be filled with zeros up to; grows with
    /// them, a MiB at a time. redb doubles its file when it is full, and writes what it grew over itself: the fill must
    /// be past the next doubling before that comes, and further ahead it only costs. A box that starts
    /// writes 16 MiB of zeros a segment, not 256, and after a power cut reads back no more than that. In greater steps
    /// the disk and a core would belong to zeros for half a second, and commits would wait.
    fn fill_target(&self, stored: u64) -> u64 {
        let most = self.segment_bytes + self.segment_bytes / 16 + (2 << 20);
        (stored * 4).next_multiple_of(FILL_STEP_BYTES).max(FILL_AHEAD_BYTES).min(most)
    }
}

/// What can break.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("could not {doing}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What the disk said.
        source: std::io::Error,
    },
    /// redb refused.
    #[error("could not use a journal file")]
    Redb(#[from] redb::Error),
    /// redb refused a file as a whole.
    #[error("could not read {file}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What redb said.
        source: redb::Error,
    },
    /// Bytes are not what was written.
    #[error("damage in {file} at seq={seq}: {what}")]
    Damaged {
        /// Which file.
        file: String,
        /// First seq that cannot be trusted.
        seq: Seq,
        /// What is wrong.
        what: String,
    },
    /// A segment is not there.
    #[error("{file} with seq={seq} is missing")]
    Missing {
        /// Which file.
        file: String,
        /// Its first seq.
        seq: Seq,
    },
    /// A segment's file is in no place of the sequence: it is none of ours, or those before it are gone.
    #[error(
        "{file} is in no place of the journal, which ends at seq={last} before it: either it does not belong here, or the segment with seq={} is missing",
        .last.next()
    )]
    Astray {
        /// Which file.
        file: String,
        /// Last seq of the segments before it.
        last: Seq,
    },
    /// A file that does not belong here.
    #[error("{file} does not belong to this journal or not under this name")]
    Foreign {
        /// Which file.
        file: String,
    },
    /// The store has seen more than the journal has.
    #[error("the journal ends at seq={last} but seq={expected} was durable")]
    Shorter {
        /// Last seq of the journal.
        last: Seq,
        /// Seq that the store has seen.
        expected: Seq,
    },
    /// The store has seen another journal.
    #[error("the journal differs from what was durable at seq={expected}; nearest block ends at seq={found}")]
    Differs {
        /// Seq that the store has seen.
        expected: Seq,
        /// Last seq of the block that holds it here.
        found: Seq,
    },
    /// The journal has been closed.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    fn io(doing: &'static str, source: std::io::Error) -> JournalError {
        JournalError::Io { doing, source }
    }

    /// The file of a sealed segment cannot be opened or read.
    fn of_sealed(first_seq: Seq, source: std::io::Error) -> JournalError {
        let file = segment::segment_name(first_seq);
        if source.kind() == std::io::ErrorKind::NotFound {
            JournalError::Missing { file, seq: first_seq }
        } else {
            JournalError::Unreadable { file, source: redb::Error::Io(source) }
        }
    }

    /// The first seq that cannot be trusted, where the error names one.
    #[must_use]
    pub fn first_bad_seq(&self) -> Option<Seq> {
        match self {
            JournalError::Damaged { seq, .. } | JournalError::Missing { seq, .. } => Some(*seq),
            JournalError::Astray { last, .. } | JournalError::Shorter { last, .. } => Some(last.next()),
            JournalError::Differs { expected, .. } => Some(*expected),
            _ => None,
        }
    }

    /// Whether it only says that something has run out (space, file descriptors, memory): it may be tried again.
    #[must_use]
    pub fn is_want(&self) -> bool {
        let (JournalError::Io { source, .. }
        | JournalError::Redb(redb::Error::Io(source))
        | JournalError::Unreadable { source: redb::Error::Io(source), .. }) = self
        else {
            return false;
        };
        crate::disk::is_want(source)
    }
}

/// Who is told what the journal does. Calls come from the writer's and the maintenance thread,
/// in order, and hold nothing: they may take locks, but must not wait for the journal.
pub trait Observer: Send + Sync {
    /// Everything up to `durable` is on disk; `blocks` are what was added.
    fn durable(&self, durable: Seq, blocks: &[Arc<Block>]);
    /// A segment takes no more; a new one has begun.
    fn rolled(&self, retired: &SegmentInfo);
    /// A segment is sealed and listed.
    fn sealed(&self, sealed: &SegmentInfo);
    /// Nothing is acknowledged again.
    fn poisoned(&self, cause: &str);
}

/// Whether a file of this name is a part of a journal, be it the only one left of it.
#[must_use]
pub fn is_journal_file(name: &str) -> bool {
    name == MANIFEST_NAME || segment::parse_segment_name(name).is_some()
}

/// A segment as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its file's name.
    pub file: String,
    /// Seq of its first entry.
    pub first_seq: Seq,
    /// Seq of its last entry; the one before its first when it has none.
    pub last_seq: Seq,
    /// Whether it is sealed: read-only and listed.
    pub is_sealed: bool,
    /// Bytes that its blocks take; for a sealed one, length of its file.
    pub bytes: u64,
}

/// A journal. Cheap to share.
pub struct Journal {
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    identity: Identity,
    poison: Poison,
    /// Guards seqs and gathered bytes. std: it is held for well under a microsecond a record, and
    /// the writer waits on it. No disk, no other lock, no allocation beyond a block under it.
    appender: Mutex<Appender>,
    /// Wakes the writer; goes with `appender`.
    work: Condvar,
    /// Last seq handed to the writer's queue.
    appended: AtomicU64,
    /// Last seq on disk. Always the end of a record.
    durable: AtomicU64,
    /// Bytes that wait for the disk, as of the last record's end.
    gathered_bytes: AtomicU64,
    /// Bytes that the writer is committing.
    committing_bytes: AtomicU64,
    /// Bytes that the active segment's blocks take.
    active_stored: AtomicU64,
    is_closed: AtomicBool,
    roll_requested: AtomicBool,
    /// Seq and hash of the last durable block. Held for a copy.
    head: Mutex<(Seq, [u8; 32])>,
    /// All segments, in order. Written at a roll and a seal; held for a search.
    catalog: RwLock<Catalog>,
    sealed_files: SealedFiles,
    /// What the maintenance thread prepares and cleans up.
    upkeep: Upkeep,
    observer: OnceLock<Arc<dyn Observer>>,
}

#[derive(Debug, Default)]
struct Catalog {
    sealed: Vec<SealedSegment>,
    /// Retired ones that are not listed yet, then the active one.
    live: Vec<Arc<LiveSegment>>,
}

/// The one who may append. Dropping it wakes the writer.
#[derive(Debug)]
pub struct AppenderGuard<'a> {
    journal: &'a Journal,
    appender: MutexGuard<'a, Appender>,
}

impl Journal {
    /// Sets who is told. Once, before the first record.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        assert!(self.observer.set(observer).is_ok(), "the journal has one observer");
    }

    /// Takes the sequencer. Nothing that waits may be done while it is held.
    pub fn lock(&self) -> AppenderGuard<'_> {
        AppenderGuard { journal: self, appender: self.appender() }
    }

    fn appender(&self) -> MutexGuard<'_, Appender> {
        // A thread that panicked here has left a record open, or nothing: its guard said so already.
        self.appender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record may begin now. Asked before a command is decided.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&self) -> Result<(), Refused> {
        if self.poison.is_poisoned() || self.is_closed.load(Ordering::Acquire) {
            return Err(Refused::Unavailable);
        }
        let pending = self.pending_bytes();
        if pending > self.options.pending_bytes_max as u64 {
            return Err(Refused::Busy);
        }
        if !self.upkeep.has_next() {
            let active = self.active_stored.load(Ordering::Acquire) + pending;
            if self.poison.is_full() && active >= self.options.segment_bytes {
                return Err(Refused::Full);
            }
            // The next segment is merely late: the reserve behind the segment bridges that.
            if active >= self.options.segment_bytes + self.options.pending_bytes_max as u64 {
                return Err(Refused::Busy);
            }
        }
        Ok(())
    }

    /// Bytes appended and not yet durable.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.gathered_bytes.load(Ordering::Relaxed) + self.committing_bytes.load(Ordering::Relaxed)
    }

    /// Last seq on disk; the end of a record.
    #[inline]
    #[must_use]
    pub fn durable_seq(&self) -> Seq {
        Seq(self.durable.load(Ordering::Acquire))
    }

    /// Last seq appended; the end of a record.
    #[inline]
    #[must_use]
    pub fn appended_seq(&self) -> Seq {
        Seq(self.appended.load(Ordering::Acquire))
    }

    /// Seq and hash of the last durable block. What the store notes with a checkpoint.
    #[must_use]
    pub fn chain_head(&self) -> (Seq, [u8; 32]) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moment of the newest record, durable or not.
    #[must_use]
    pub fn last_moment(&self) -> Moment {
        self.appender().last_moment()
    }

    /// Business date of the newest record, durable or not.
    #[must_use]
    pub fn last_date(&self) -> Day {
        self.appender().last_date()
    }

    /// Number of this journal, the same in all its blocks.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.identity.journal_id
    }

    /// Whether records are taken.
    #[must_use]
    pub fn state(&self) -> JournalState {
        match self.poison.state() {
            JournalState::Full if self.admit() != Err(Refused::Full) => JournalState::Open,
            state => state,
        }
    }

    /// All segments, in order.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let sealed = catalog.sealed.iter().map(sealed_info);
        sealed.chain(catalog.live.iter().map(|live| live_info(live))).collect()
    }

    /// Ends the active segment soon, if it has entries: for the close of a day.
    pub fn request_roll(&self) {
        self.roll_requested.store(true, Ordering::Release);
        self.wake_writer();
    }

    /// Ends both threads once everything appended is durable. No record begins any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.appender().is_closing = true;
        self.work.notify_all();
        self.upkeep.wake();
    }

    /// Closes the files that are open for writing, so that the next open needs no repair. Called
    /// when both threads have ended; later reads of these segments fail.
    pub fn close_files(&self) {
        if self.poison.is_poisoned() {
            return;
        }
        for live in &self.catalog.read().unwrap_or_else(PoisonError::into_inner).live {
            live.close();
        }
    }

    fn wake_writer(&self) {
        let mut appender = self.appender();
        if std::mem::take(&mut appender.writer_waits) {
            drop(appender);
            self.work.notify_one();
        }
    }

    fn fail(&self, cause: &str) {
        if self.poison.poison(cause) {
            tracing::error!(cause, "the journal is poisoned: nothing is acknowledged until a restart");
            if let Some(observer) = self.observer.get() {
                observer.poisoned(cause);
            }
        }
    }

    fn active(&self) -> Option<Arc<LiveSegment>> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).live.last().cloned()
    }
}

fn sealed_info(sealed: &SealedSegment) -> SegmentInfo {
    SegmentInfo {
        file: segment::segment_name(sealed.first_seq),
        first_seq: sealed.first_seq,
        last_seq: sealed.last_seq,
        is_sealed: true,
        bytes: sealed.bytes,
    }
}

fn live_info(live: &LiveSegment) -> SegmentInfo {
    SegmentInfo {
        file: segment::segment_name(live.first_seq),
        first_seq: live.first_seq,
        last_seq: live.last_seq(),
        is_sealed: false,
        bytes: live.stored(),
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal({:016x}, durable {}, {:?})", self.id(), self.durable_seq(), self.poison.state())
    }
}

impl std::ops::Deref for AppenderGuard<'_> {
    type Target = Appender;

    fn deref(&self) -> &Appender {
        &self.appender
    }
}

impl std::ops::DerefMut for AppenderGuard<'_> {
    fn deref_mut(&mut self) -> &mut Appender {
        &mut self.appender
    }
}

impl Drop for AppenderGuard<'_> {
    fn drop(&mut self) {
        if self.appender.is_record_open() {
            // Its caller panicked half way: memory and record may disagree, nothing after it can be trusted.
            self.journal.fail("a record was left open");
            return;
        }
        self.journal.appended.store(self.appender.last_seq().0, Ordering::Release);
        if self.appender.has_gathered() {
            let bytes = self.appender.gathered_bytes() as u64;
            self.journal.gathered_bytes.store(bytes, Ordering::Relaxed);
            if std::mem::take(&mut self.appender.writer_waits) {
                self.journal.work.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// redb's file has a power of two of bytes, and blocks fill at least half of it before it doubles.
    #[test]
    fn zeros_are_ahead_of_the_next_doubling_and_come_in_small_steps() {
        let options = JournalOptions::default();
        let most = options.fill_target(u64::MAX / 8);
        assert!(most > options.segment_bytes && most < options.reserve_bytes());
        let mut before = options.fill_target(0);
        assert_eq!(before, FILL_AHEAD_BYTES);
        for stored in (0..=options.segment_bytes).step_by(64 << 10) {
            let target = options.fill_target(stored);
            let file = (stored * 2).next_power_of_two();
            assert!(target >= file.min(most), "{stored} bytes: the file may double to {file}, zeros end at {target}");
            assert!((before..=before + FILL_STEP_BYTES).contains(&target), "{stored} bytes: from {before} to {target}");
            before = target;
        }
        assert_eq!(before, most);
    }
}
