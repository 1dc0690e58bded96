//! Maintenance: what must not delay a commit.
//!
//! Promise: the next segment stands ready before it is needed, retired ones are sealed one after
//! the other, and a full disk is tried again within a second or so. Nothing here touches the active
//! segment's data.
//!
//! 1. Make the next segment, with its space. No space: the journal is full at the segment's end.
//! 2. Seal the oldest retired segment: footer, clean close, file hash, manifest, read-only.
//! 3. Fill a piece of the space ahead with zeros.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::appender::Position;
use super::manifest::{Manifest, SealedSegment};
use super::segment::{LiveSegment, NextSegment, segment_name};
use super::writer::describe;
use super::{Journal, JournalError, sealed_info};
use crate::disk::Ahead;

/// A full disk is tried again this often; the promise is five seconds.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// What the maintenance works on, shared with the writer.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Held for moving a line in or out.
    work: Mutex<Work>,
    wake: Condvar,
    /// Whether `next` is there; changed with it, under its lock, and read without.
    has_next: AtomicBool,
}

#[derive(Debug, Default)]
struct Work {
    next: Option<NextSegment>,
    /// The writer has taken `next` and has not given its file another name yet: none may be made meanwhile.
    is_next_taken: bool,
    retired: VecDeque<(Arc<LiveSegment>, Position)>,
    /// The active segment has no reservation yet.
    is_unreserved: bool,
    is_woken: bool,
}

impl Upkeep {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn offer(&self, next: NextSegment) {
        let mut work = self.work();
        work.next = Some(next);
        self.has_next.store(true, Ordering::Release);
    }

    pub(super) fn take_next(&self) -> Option<NextSegment> {
        let mut work = self.work();
        self.has_next.store(false, Ordering::Release);
        let next = work.next.take();
        work.is_next_taken = next.is_some();
        next
    }

    /// The segment that was taken has its own name now.
    pub(super) fn next_is_named(&self) {
        self.work().is_next_taken = false;
    }

    pub(super) fn has_next(&self) -> bool {
        self.has_next.load(Ordering::Acquire)
    }

    /// Queues a segment for sealing, with the position after its last entry.
    pub(super) fn retire(&self, segment: Arc<LiveSegment>, end: Position) {
        self.work().retired.push_back((segment, end));
        self.wake();
    }

    pub(super) fn set_unreserved(&self) {
        self.work().is_unreserved = true;
    }

    pub(super) fn wake(&self) {
        self.work().is_woken = true;
        self.wake.notify_all();
    }
}

/// The one who prepares and seals. Tests drive it by hand with [`Maintenance::step`].
#[derive(Debug)]
pub struct Maintenance {
    journal: Arc<Journal>,
    /// A sealed segment whose line in the manifest is still to be written.
    unlisted: Option<SealedSegment>,
    /// The disk was full at the last try: only time helps.
    is_waiting_for_space: bool,
    /// Where the next and the active segment were filled up to, or beyond.
    filled_next: u64,
    filled_active: u64,
}

impl Maintenance {
    pub(super) fn new(journal: Arc<Journal>) -> Maintenance {
        Maintenance { journal, unlisted: None, is_waiting_for_space: false, filled_next: 0, filled_active: 0 }
    }

    /// Works until the journal is closed or poisoned.
    pub fn run(mut self) {
        loop {
            while self.step() {
                if self.journal.is_closed.load(Ordering::Acquire) {
                    return;
                }
            }
            let upkeep = &self.journal.upkeep;
            let mut work = upkeep.work();
            while !work.is_woken {
                if self.is_waiting_for_space {
                    let (guard, waited) =
                        upkeep.wake.wait_timeout(work, FULL_RETRY).unwrap_or_else(PoisonError::into_inner);
                    work = guard;
                    if waited.timed_out() {
                        break;
                    }
                } else {
                    work = upkeep.wake.wait(work).unwrap_or_else(PoisonError::into_inner);
                }
            }
            work.is_woken = false;
            drop(work);
            let is_closed = self.journal.is_closed.load(Ordering::Acquire);
            if is_closed || self.journal.poison.is_poisoned() {
                return;
            }
        }
    }

    /// Does one piece of work. False when nothing is to be done now.
    pub fn step(&mut self) -> bool {
        if self.journal.poison.is_poisoned() {
            return false;
        }
        match self.work() {
            Ok(has_worked) => has_worked,
            Err(error) if error.is_want() => {
                if !self.is_waiting_for_space {
                    let cause = describe(&error);
                    tracing::warn!(cause, "no space or files for the next segment: writes stop at this one's end");
                }
                self.is_waiting_for_space = true;
                self.journal.poison.set_full(true);
                false
            }
            Err(error) => {
                self.journal.fail(&describe(&error));
                false
            }
        }
    }

    fn work(&mut self) -> Result<bool, JournalError> {
        Ok(self.reserve_active()? || self.make_next()? || self.seal()? || self.fill())
    }

    /// After a restart on a full disk: the active segment's own space comes first.
    fn reserve_active(&mut self) -> Result<bool, JournalError> {
        let journal = &*self.journal;
        if !journal.upkeep.work().is_unreserved {
            return Ok(false);
        }
        let Some(active) = journal.active() else { return Ok(false) };
        let reserved = active.ahead.reserve(journal.options.reserve_bytes());
        reserved.map_err(|source| JournalError::io("reserve space for the journal", source))?;
        journal.upkeep.work().is_unreserved = false;
        journal.active_stored.store(active.stored(), Ordering::Release);
        Ok(true)
    }

    fn make_next(&mut self) -> Result<bool, JournalError> {
        let journal = &*self.journal;
        {
            let work = journal.upkeep.work();
            if work.next.is_some() || work.is_next_taken {
                return Ok(false);
            }
        }
        let next = match NextSegment::create(&*journal.disk, journal.options.reserve_bytes()) {
            Err(error) => {
                // A half-made file would stand in the way of the next try.
                let _ = journal.disk.remove(super::segment::NEXT_NAME);
                return Err(error);
            }
            Ok(next) => next,
        };
        journal.upkeep.offer(next);
        journal.poison.set_full(false);
        self.is_waiting_for_space = false;
        // The one that was next may be active now.
        (self.filled_next, self.filled_active) = (0, 0);
        // A roll that was asked for, or a writer at the segment's end, may be waiting for it.
        journal.wake_writer();
        Ok(true)
    }

    fn seal(&mut self) -> Result<bool, JournalError> {
        if self.unlisted.is_none() {
            let retired = self.journal.upkeep.work().retired.front().cloned();
            let Some((segment, end)) = retired else { return Ok(false) };
            match self.close(&segment, &end) {
                Ok(sealed) => self.unlisted = Some(sealed),
                // What comes after the close can be done again; redb itself, once it has failed, cannot.
                Err(error) if error.is_want() && segment.check_closed().is_ok() => return Err(error),
                Err(error) => {
                    self.journal.fail(&describe(&error));
                    return Ok(false);
                }
            }
        }
        let Some(sealed) = self.unlisted.take() else { return Ok(false) };
        if let Err(error) = self.list(&sealed) {
            self.unlisted = Some(sealed);
            return Err(error);
        }
        let journal = &*self.journal;
        {
            let mut catalog = journal.catalog.write().unwrap_or_else(PoisonError::into_inner);
            catalog.live.retain(|live| live.first_seq != sealed.first_seq);
            catalog.sealed.push(sealed.clone());
        }
        journal.upkeep.work().retired.pop_front();
        let name = segment_name(sealed.first_seq);
        if let Err(error) = journal.disk.make_read_only(&name) {
            // A guard against mistakes only; the hash in the manifest is what counts.
            tracing::warn!(segment.file = name, %error, "could not make a sealed segment read-only");
        }
        if let Some(observer) = journal.observer.get() {
            observer.sealed(&sealed_info(&sealed));
        }
        Ok(true)
    }

    fn close(&self, segment: &LiveSegment, end: &Position) -> Result<SealedSegment, JournalError> {
        segment.close_sealed(end)?;
        let disk = &*self.journal.disk;
        let name = segment_name(segment.first_seq);
        let doing = |source| JournalError::io("hash a segment", source);
        // redb cuts the file after its last sync: without this one, a power cut could give back
        // the longer file, which is not the one that the manifest is about to describe.
        disk.open(&name).and_then(|file| file.sync_data()).map_err(doing)?;
        // Pages that redb left unused are zeros that were written ahead.
        disk.release_zeros(&name).map_err(doing)?;
        let file_hash = disk.hash(&name).map_err(doing)?;
        let bytes = disk.open_frozen(&name).and_then(|file| file.len()).map_err(doing)?;
        Ok(SealedSegment {
            first_seq: segment.first_seq,
            last_seq: end.last_seq,
            chain_hash: end.hash,
            file_hash,
            bytes,
        })
    }

    fn list(&self, sealed: &SealedSegment) -> Result<(), JournalError> {
        let mut lines = self.journal.catalog.read().unwrap_or_else(PoisonError::into_inner).sealed.clone();
        lines.push(sealed.clone());
        Manifest { journal_id: self.journal.identity.journal_id, sealed: lines }
            .write(&*self.journal.disk)
            .map_err(|source| JournalError::io("write the manifest", source))
    }

    /// Fills one piece; the next segment first, since the active one is already being written.
    fn fill(&mut self) -> bool {
        let journal = &*self.journal;
        let next: Option<Arc<dyn Ahead>> = journal.upkeep.work().next.as_ref().map(|next| Arc::clone(next.ahead()));
        let active = journal.active();
        let stored = active.as_ref().map_or(0, |active| active.stored());
        let active = active.map(|active| Arc::clone(&active.ahead));
        let places = [
            (next, journal.options.fill_target(0), &mut self.filled_next),
            (active, journal.options.fill_target(stored), &mut self.filled_active),
        ];
        for (ahead, target, filled) in places {
            let Some(ahead) = ahead.filter(|_| *filled < target) else { continue };
            match ahead.fill(target) {
                Ok(true) => return true,
                Ok(false) => *filled = target,
                Err(error) => {
                    // It would only have made commits faster; a broken disk shows itself in a commit.
                    tracing::warn!(%error, "could not fill the space ahead of the journal");
                    *filled = u64::MAX;
                }
            }
        }
        false
    }
}
