//! The sequencer: gives seqs and gathers records for the writer.
//!
//! Promise: seqs are dense and in the order of `begin`; what the writer takes are whole records
//! only, because a record is begun and ended under one hold of the lock.
//!
//! 1. `begin` opens a run in the block being filled.
//! 2. `push` encodes an entry behind the last one; when the block becomes too long, the entry
//!    moves into a new block and the record continues there.
//! 3. `end` writes the trailer. From here on the writer may take the record.

use std::mem;

use super::block::{BLOCK_BYTES_MAX, BlockBuilder};
use super::record::{REPLY_BYTES_MAX, RunHead, SEQ_MAX, Trailer, put_entry, put_transfer};
use super::varint::Sink;
use crate::domain::entry::{Entry, TransferEntry};
use crate::domain::ids::{Moment, Seq};
use crate::domain::time::Day;

/// Emptied builders kept for reuse: as many as a large batch fills.
const SPARE_BUILDERS_MAX: usize = 8;

/// Room for the rest of a trailer beside its reply, bytes: flags, key, owner, request, length.
const TRAILER_HEAD_BYTES: usize = 1 + 32 + 10 + 8 + 5;

/// Where a journal stands: what the next record continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) last_seq: Seq,
    pub(super) hash: [u8; 32],
    pub(super) last_moment: Moment,
    pub(super) last_date: Day,
}

/// Gathers records. Reached through [`super::Journal::lock`] only.
#[derive(Debug)]
pub struct Appender {
    next: Seq,
    /// Head of the record that is open, or of the last one.
    head: RunHead,
    is_open: bool,
    current: BlockBuilder,
    full: Vec<BlockBuilder>,
    spare: Vec<BlockBuilder>,
    /// Bytes of full blocks since the writer last took them.
    full_bytes: usize,
    /// The writer sleeps and wants to be woken.
    pub(super) writer_waits: bool,
    /// No more records will come; the writer ends when all are durable.
    pub(super) is_closing: bool,
}

/// What the writer takes in one go.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) blocks: Vec<BlockBuilder>,
    pub(super) last_moment: Moment,
    pub(super) last_date: Day,
}

impl Appender {
    pub(super) fn after(position: &Position) -> Appender {
        let head = RunHead {
            first_seq: position.last_seq,
            moment: position.last_moment,
            date: position.last_date,
            is_first: true,
            is_last: true,
        };
        Appender {
            next: position.last_seq.next(),
            head,
            is_open: false,
            current: BlockBuilder::new(),
            full: Vec::new(),
            spare: Vec::new(),
            full_bytes: 0,
            writer_waits: false,
            is_closing: false,
        }
    }

    /// Seq of the newest entry, of an open record too.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        Seq(self.next.0 - 1)
    }

    /// Moment of the newest record.
    #[must_use]
    pub fn last_moment(&self) -> Moment {
        self.head.moment
    }

    /// Business date of the newest record.
    #[must_use]
    pub fn last_date(&self) -> Day {
        self.head.date
    }

    /// Begins a record and says which seq its first entry will have. Moments strictly increase.
    pub fn begin(&mut self, moment: Moment, date: Day) -> Seq {
        assert!(!self.is_open, "the record before has not ended");
        assert!(moment > self.head.moment || self.next == Seq(1), "moments strictly increase");
        assert!(self.next.0 < SEQ_MAX, "seqs fit seven bytes");
        self.head = RunHead { first_seq: self.next, moment, date, is_first: true, is_last: false };
        self.is_open = true;
        // A run must begin where its offset fits 16 bits, also behind a very long entry.
        if self.current.entries() > 0 && !self.current.fits(BLOCK_BYTES_MAX / 64) {
            self.turn_block();
        }
        self.current.begin_run(self.next, &self.head);
        self.next
    }

    /// Appends an entry to the open record.
    pub fn push(&mut self, entry: &Entry) -> Seq {
        let seq = self.next;
        self.push_with(|sink| put_entry(sink, seq, entry))
    }

    /// Appends a transfer to the open record. Allocates nothing within a block.
    #[inline]
    pub fn push_transfer(&mut self, transfer: &TransferEntry) -> Seq {
        let seq = self.next;
        self.push_with(|sink| put_transfer(sink, seq, transfer))
    }

    #[inline]
    fn push_with(&mut self, encode: impl FnOnce(&mut Sink)) -> Seq {
        debug_assert!(self.is_open, "entries belong to a record");
        let seq = self.next;
        let fits = self.current.push(encode);
        self.next = seq.next();
        if !fits && self.current.entries() > 1 {
            self.continue_record(seq);
        }
        seq
    }

    /// Moves the newest entry, `seq`, into a block of its own.
    #[cold]
    fn continue_record(&mut self, seq: Seq) {
        let head = RunHead { is_first: seq == self.head.first_seq, ..self.head };
        let mut next = self.spare.pop().unwrap_or_else(BlockBuilder::new);
        self.current.move_last(&mut next, &head);
        let full = mem::replace(&mut self.current, next);
        self.full_bytes += full.len();
        self.full.push(full);
    }

    fn turn_block(&mut self) {
        let next = self.spare.pop().unwrap_or_else(BlockBuilder::new);
        let full = mem::replace(&mut self.current, next);
        self.full_bytes += full.len();
        self.full.push(full);
    }

    /// Ends the open record, which has at least one entry, and says its last seq.
    pub fn end(&mut self, trailer: &Trailer<'_>) -> Seq {
        assert!(self.is_open && self.next > self.head.first_seq, "a record has an entry");
        assert!(trailer.reply.len() <= REPLY_BYTES_MAX, "a reply fits a block");
        if !self.current.fits(trailer.reply.len() + TRAILER_HEAD_BYTES) && self.current.entries() > 1 {
            self.continue_record(self.last_seq());
        }
        self.current.end_record(trailer);
        self.is_open = false;
        self.last_seq()
    }

    pub(super) fn is_record_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn has_gathered(&self) -> bool {
        self.current.entries() > 0
    }

    /// Bytes that wait for the writer.
    pub(super) fn gathered_bytes(&self) -> usize {
        self.full_bytes + self.current.len()
    }

    /// Takes all records; `None` when there are none.
    pub(super) fn take(&mut self) -> Option<Gathered> {
        assert!(!self.is_open, "the lock is held from begin to end");
        if !self.has_gathered() {
            return None;
        }
        self.turn_block();
        self.full_bytes = 0;
        let blocks = mem::take(&mut self.full);
        Some(Gathered { blocks, last_moment: self.head.moment, last_date: self.head.date })
    }

    /// Takes emptied builders back.
    pub(super) fn give_back(&mut self, builders: Vec<BlockBuilder>) {
        let room = SPARE_BUILDERS_MAX.saturating_sub(self.spare.len());
        self.spare.extend(builders.into_iter().take(room));
    }
}
