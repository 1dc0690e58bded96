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
const SPARE_BUILDERS_MAX: usize = 32;

/// Records up to this size, bytes, count as small: their blocks end where a page of redb does.
/// A group of forty keyed singles would otherwise take 8 KiB for 4.5; measured in docs/format.md.
const SMALL_RECORD_BYTES: usize = 1024;

/// What redb adds to a value in its page, bytes: head of the leaf, key, offset; and some more.
const LEAF_BYTES: usize = 32;

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
    /// Where the open record begins in its block, bytes.
    record_at: usize,
    /// Size of the last record, bytes: the best guess for the next.
    record_bytes: usize,
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
            record_at: 0,
            record_bytes: usize::MAX,
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
        let is_full = !self.current.fits(BLOCK_BYTES_MAX / 64) || self.is_page_full();
        if self.current.entries() > 0 && is_full {
            self.turn_block();
        }
        self.record_at = self.full_bytes + self.current.len();
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

    /// Whether the next small record would push the block over the end of its page.
    fn is_page_full(&self) -> bool {
        let taken = self.current.len() + LEAF_BYTES;
        self.record_bytes <= SMALL_RECORD_BYTES && taken + self.record_bytes > taken.next_power_of_two().max(4096)
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
        self.record_bytes = self.full_bytes + self.current.len() - self.record_at;
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

#[cfg(test)]
mod tests {
    use super::super::block::{Block, Identity};
    use super::super::record::KeyMark;
    use super::*;
    use crate::domain::entry::{TransferCold, TransferOp};
    use crate::domain::ids::AccountNo;

    const IDENTITY: Identity = Identity { journal_id: 7, epoch: 1 };

    fn appender() -> Appender {
        Appender::after(&Position { last_seq: Seq::NONE, hash: [0; 32], last_moment: Moment(0), last_date: Day(0) })
    }

    fn transfer(seq: u64, description_bytes: usize) -> TransferEntry {
        let description = (description_bytes > 0).then(|| "x".repeat(description_bytes).into());
        TransferEntry {
            op: TransferOp::Posted,
            debit: AccountNo(seq as u32 % 1000),
            credit: AccountNo(seq as u32 % 777),
            amount: seq * 31 + 1,
            code: 0,
            effective: None,
            previous_debit: Seq(seq.saturating_sub(5)),
            previous_credit: Seq(seq.saturating_sub(900)),
            cold: description.map(|description| {
                Box::new(TransferCold { description: Some(description), ..TransferCold::default() })
            }),
        }
    }

    fn seal_all(appender: &mut Appender) -> Vec<Block> {
        let mut hash = [9; 32];
        let mut gathered = appender.take().unwrap();
        let blocks = gathered
            .blocks
            .iter_mut()
            .map(|builder| {
                let block = builder.seal(hash, IDENTITY);
                hash = block.hash();
                Block::parse(block.bytes().into()).unwrap()
            })
            .collect();
        appender.give_back(gathered.blocks);
        blocks
    }

    /// Record sizes, description sizes and replies that meet every way a block can end.
    fn shapes() -> Vec<(u64, usize, usize)> {
        vec![
            (1, 0, 0),
            (8_000, 0, 100),
            (1, 0, REPLY_BYTES_MAX),
            (1, 64_900, 0),
            (1, 64_900, 40_000),
            (1, 120_000, 10),
            (3, 120_000, 10),
            (1, 0, 5),
            (200, 900, REPLY_BYTES_MAX),
            (15, 0, 0),
            (17, 3_000, 300),
        ]
    }

    #[test]
    fn every_entry_and_trailer_is_found_by_its_seq_however_blocks_were_cut() {
        let mut appender = appender();
        let mut expected = Vec::new();
        let mut records = Vec::new();
        for (place, (entries, description, reply)) in shapes().into_iter().enumerate() {
            let first = appender.begin(Moment(100 + place as i64), Day(place as u16 / 3));
            for number in first.0..first.0 + entries {
                let entry = transfer(number, description);
                assert_eq!(appender.push_transfer(&entry), Seq(number));
                expected.push((first, entry));
            }
            let reply = vec![place as u8; reply];
            let key = Some(KeyMark { hash: [place as u8; 16], fingerprint: [1; 16] });
            let last = appender.end(&Trailer { key, owner: 1, request: place as u64, reply: &reply });
            records.push((first, last, place, reply));
        }
        let blocks = seal_all(&mut appender);
        let is_alone = |block: &Block| block.first_seq() == block.last_seq();
        assert!(blocks.iter().all(|block| block.bytes().len() <= BLOCK_BYTES_MAX || is_alone(block)), "{blocks:?}");
        let holder =
            |seq: Seq| blocks.iter().find(|block| block.first_seq() <= seq && seq <= block.last_seq()).unwrap();
        for (number, (first, entry)) in expected.iter().enumerate() {
            let (head, found) = holder(Seq(number as u64 + 1)).entry(Seq(number as u64 + 1)).unwrap();
            assert_eq!(found, Entry::Transfer(entry.clone()));
            assert_eq!(head.first_seq, *first);
        }
        for (first, last, place, reply) in records {
            let trailer = holder(last).trailer_of(first).unwrap();
            assert_eq!((trailer.request, trailer.reply), (place as u64, &*reply));
            let run = holder(last).runs().find(|run| run.last_seq == last).unwrap();
            assert!(run.head.is_last && run.head.moment == Moment(100 + place as i64));
            assert!(holder(first).entry(first).unwrap().0.is_first);
        }
        assert!(blocks[0].entry(Seq(0)).is_none() && blocks[0].entry(blocks[0].last_seq().next()).is_none());
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_block_is_noticed() {
        let mut appender = appender();
        for number in 1..=40 {
            appender.begin(Moment(number), Day(1));
            appender.push_transfer(&transfer(number as u64, 0));
            appender.end(&Trailer::default());
        }
        let block = seal_all(&mut appender).remove(0);
        for at in 0..block.bytes().len() {
            let mut bytes: Box<[u8]> = block.bytes().into();
            bytes[at] ^= 1 << (at % 8);
            assert!(Block::parse(bytes).is_err(), "byte {at}");
        }
        for length in 0..block.bytes().len() {
            assert!(Block::parse(block.bytes()[..length].into()).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn builders_are_reused_and_start_empty() {
        let mut appender = appender();
        for round in 0..3 {
            let first = appender.begin(Moment(round + 1), Day(1));
            for number in first.0..first.0 + 10_000 {
                appender.push(&Entry::Transfer(transfer(number, 0)));
            }
            appender.end(&Trailer::default());
            let blocks = seal_all(&mut appender);
            assert_eq!(blocks[0].first_seq(), first);
            assert_eq!(blocks.last().unwrap().last_seq(), Seq(first.0 + 9_999));
            let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
            assert!(bytes < 18 * 10_000, "{bytes}");
            assert!(appender.take().is_none());
        }
    }
}
