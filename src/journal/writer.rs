//! The writer: one thread, one commit at a time.
//!
//! Promise: it waits for work, never for time; whatever gathered during a commit is the next
//! group. It acknowledges only what two syncs have put on disk, and stops for good at the first error.
//!
//! 1. Take all records gathered.
//! 2. Begin a new segment where the active one is long enough and the next one stands ready.
//! 3. Seal the blocks into the chain.
//! 4. Commit them in one two-phase redb transaction.
//! 5. Publish: index, chain head, `durable_seq`, observer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::appender::{Gathered, Position};
use super::block::Block;
use super::segment::LiveSegment;
use super::{Journal, JournalError, live_info};
use crate::domain::ids::Seq;

/// What one step of the writer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing was there to do.
    Idle,
    /// A group is durable.
    Committed {
        /// Last seq that is durable now.
        seq: Seq,
        /// Blocks of the group.
        blocks: usize,
        /// Their bytes.
        bytes: usize,
        /// Time of the commit with its syncs, microseconds.
        sync_us: u64,
    },
    /// The journal is poisoned.
    Failed,
}

/// The one writer of a journal. Tests drive it by hand with [`Writer::step`].
#[derive(Debug)]
pub struct Writer {
    journal: Arc<Journal>,
    active: Arc<LiveSegment>,
    position: Position,
}

/// Poisons the journal when the writer panics: nobody may wait for a thread that is gone.
struct PanicGuard<'a>(&'a Journal);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the writer panicked");
        }
    }
}

impl Writer {
    pub(super) fn new(journal: Arc<Journal>, active: Arc<LiveSegment>, position: Position) -> Writer {
        Writer { journal, active, position }
    }

    /// Writes until the journal is closed and everything is durable, or until it is poisoned.
    pub fn run(mut self) {
        let journal = Arc::clone(&self.journal);
        let _guard = PanicGuard(&journal);
        loop {
            match self.step() {
                Step::Committed { .. } => {}
                Step::Failed => return,
                Step::Idle => {
                    if !self.wait() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for work. False when none will come.
    fn wait(&self) -> bool {
        let journal = &*self.journal;
        let mut appender = journal.appender();
        loop {
            if appender.has_gathered() || self.wants_roll() {
                appender.writer_waits = false;
                return true;
            }
            if appender.is_closing || journal.poison.is_poisoned() {
                return false;
            }
            appender.writer_waits = true;
            appender = journal.work.wait(appender).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wants_roll(&self) -> bool {
        let is_asked = self.journal.roll_requested.load(Ordering::Acquire);
        is_asked && self.journal.upkeep.has_next() && !self.is_active_empty()
    }

    fn is_active_empty(&self) -> bool {
        self.position.last_seq < self.active.first_seq
    }

    /// Commits what has gathered.
    pub fn step(&mut self) -> Step {
        let journal = Arc::clone(&self.journal);
        let _guard = PanicGuard(&journal);
        if journal.poison.is_poisoned() {
            return Step::Failed;
        }
        let gathered = {
            let mut appender = journal.appender();
            if appender.is_record_open() {
                return Step::Failed;
            }
            let gathered = appender.take();
            let bytes =
                gathered.as_ref().map_or(0, |group| group.blocks.iter().map(super::block::BlockBuilder::len).sum());
            journal.committing_bytes.store(bytes as u64, Ordering::Relaxed);
            journal.gathered_bytes.store(0, Ordering::Relaxed);
            gathered
        };
        let result = self.roll_if_due().and_then(|()| match gathered {
            Some(gathered) => self.commit(gathered),
            None => Ok(Step::Idle),
        });
        journal.committing_bytes.store(0, Ordering::Relaxed);
        result.unwrap_or_else(|error| {
            journal.fail(&describe(&error));
            Step::Failed
        })
    }

    /// Turns to the next segment, when the active one is long enough or a roll was asked for.
    fn roll_if_due(&mut self) -> Result<(), JournalError> {
        let journal = &*self.journal;
        let is_asked = journal.roll_requested.load(Ordering::Acquire);
        if self.is_active_empty() {
            journal.roll_requested.store(false, Ordering::Release);
            return Ok(());
        }
        if !is_asked && self.active.stored() < journal.options.segment_bytes {
            return Ok(());
        }
        let Some(next) = journal.upkeep.take_next() else { return Ok(()) };
        let next = Arc::new(next.activate(&*journal.disk, self.position.last_seq.next())?);
        journal.upkeep.next_is_named();
        let retired = std::mem::replace(&mut self.active, Arc::clone(&next));
        journal.catalog.write().unwrap_or_else(PoisonError::into_inner).live.push(next);
        journal.active_stored.store(0, Ordering::Release);
        journal.roll_requested.store(false, Ordering::Release);
        journal.upkeep.retire(Arc::clone(&retired), self.position);
        if let Some(observer) = journal.observer.get() {
            observer.rolled(&live_info(&retired));
        }
        Ok(())
    }

    fn commit(&mut self, gathered: Gathered) -> Result<Step, JournalError> {
        let journal = &*self.journal;
        let Gathered { blocks: mut builders, last_moment, last_date } = gathered;
        let mut hash = self.position.hash;
        let mut blocks = Vec::with_capacity(builders.len());
        for builder in &mut builders {
            let block = builder.seal(hash, journal.identity);
            hash = block.hash();
            blocks.push(Arc::new(block));
        }
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(Step::Idle) };
        assert!(first.first_seq() == self.position.last_seq.next(), "groups follow one another");
        let last_seq = last.last_seq();

        let begun = Instant::now();
        self.active.commit(&blocks)?;
        let sync_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);

        let bytes = self.publish(&blocks);
        self.position = Position { last_seq, hash, last_moment, last_date };
        *journal.head.lock().unwrap_or_else(PoisonError::into_inner) = (last_seq, hash);
        journal.durable.store(last_seq.0, Ordering::Release);
        if let Some(observer) = journal.observer.get() {
            observer.durable(last_seq, &blocks);
        }
        journal.appender().give_back(builders);
        Ok(Step::Committed { seq: last_seq, blocks: blocks.len(), bytes, sync_us })
    }

    fn publish(&self, blocks: &[Arc<Block>]) -> usize {
        let journal = &*self.journal;
        let before = self.active.stored();
        for block in blocks {
            self.active.note(block);
        }
        let stored = self.active.stored();
        journal.active_stored.store(stored, Ordering::Release);
        if journal.options.fill_target(stored) > journal.options.fill_target(before) {
            journal.upkeep.wake();
        }
        blocks.iter().map(|block| block.bytes().len()).sum()
    }
}

/// An error with its causes, in one line for the operator.
pub(super) fn describe(error: &JournalError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
