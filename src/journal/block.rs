//! Blocks: the unit that is hashed, chained, stored and cached.
//!
//! Promise: a [`Block`] exists only after its hash, its version and its lengths were checked, so
//! an entry of it can be found without decoding the others, and no reader meets torn bytes.
//!
//! ```text
//! 0    version u8 · flags u8 (0) · run_count u16 · epoch u32
//! 8    journal_id u64
//! 16   first_seq u64 · last_seq u64
//! 32   body_end u32 · base_date u16 · reserved u16 (0)
//! 40   base_moment i64
//! 48   prev_hash [32]
//! 80   hash [32]          blake3 of everything else: bytes 0..80, then 112..
//! 112  body: runs         head · entries · trailer where the record ends
//! …    footer: run_count × (first entry's ordinal u16, offset u16), then for every 16th entry its offset u16
//! ```

use std::fmt;

use super::record::{RUN_FIRST, RUN_LAST, RunBase, RunHead, Trailer, put_run_head, put_trailer, take_entry};
use super::record::{take_run_head, take_trailer};
use super::varint::{Cursor, Sink};
use crate::domain::entry::Entry;
use crate::domain::ids::{Moment, Seq};
use crate::domain::time::Day;

/// A block of several entries is cut before it exceeds this many bytes; a single long entry or reply may.
/// redb rounds a value with its page overhead up to a power of two: 16,300 still fits 16 KiB.
///
/// Whoever reads one entry reads and hashes its whole block: a statement of 50 entries over a long
/// history meets 50 blocks. A quarter of 64 KiB costs the writer three more inserts per 64 KiB and
/// takes three quarters off every such read (docs/benchmarks.md has both).
pub const BLOCK_BYTES_MAX: usize = 16_300;

/// Entries leave this much room, so that the small trailers of single commands need no new block.
const TRAILER_ROOM_BYTES: usize = 320;

/// Every how many entries the footer notes an offset.
const MARK_EVERY: usize = 16;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 112;
const HASH_AT: usize = 80;
const HASH_END: usize = HASH_AT + 32;

/// Which journal, and which tenure of its writer, a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) journal_id: u64,
    pub(super) epoch: u32,
}

/// A run's line in the footer.
#[derive(Clone, Copy, Debug)]
struct RunMark {
    ordinal: u16,
    offset: u16,
}

/// A block that is being filled.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    sink: Sink,
    first_seq: Seq,
    base: RunBase,
    entries: usize,
    last_entry_at: usize,
    runs: Vec<RunMark>,
    marks: Vec<u16>,
}

impl BlockBuilder {
    /// An empty block; `reset` says where it begins.
    pub(super) fn new() -> BlockBuilder {
        let base = RunBase { moment: Moment(0), date: Day(0) };
        BlockBuilder {
            sink: Sink::with_capacity(BLOCK_BYTES_MAX + 1024),
            first_seq: Seq::NONE,
            base,
            entries: 0,
            last_entry_at: 0,
            runs: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Bytes so far, footer included.
    pub(super) fn len(&self) -> usize {
        self.sink.len() + self.runs.len() * 4 + self.marks.len() * 2
    }

    /// Entries so far.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Opens a run whose first entry will be `seq`.
    pub(super) fn begin_run(&mut self, seq: Seq, head: &RunHead) {
        if self.runs.is_empty() {
            assert!(self.entries == 0, "entries stand in runs");
            self.sink.truncate(0);
            self.sink.put(&[0; HEADER_BYTES]);
            self.first_seq = seq;
            self.base = RunBase { moment: head.moment, date: head.date };
        }
        // Offsets fit: an entry or run never begins behind BLOCK_BYTES_MAX.
        self.runs.push(RunMark { ordinal: self.entries as u16, offset: self.sink.len() as u16 });
        put_run_head(&mut self.sink, self.base, seq, head);
    }

    /// Lets `encode` append one entry. False when the block is then too long: [`Self::move_last`] follows.
    #[inline]
    pub(super) fn push(&mut self, encode: impl FnOnce(&mut Sink)) -> bool {
        let at = self.sink.len();
        encode(&mut self.sink);
        self.note_entry(at);
        self.len() <= BLOCK_BYTES_MAX - TRAILER_ROOM_BYTES
    }

    #[inline]
    fn note_entry(&mut self, at: usize) {
        if self.entries.is_multiple_of(MARK_EVERY) {
            self.marks.push(at as u16);
        }
        self.last_entry_at = at;
        self.entries += 1;
    }

    /// Moves the last entry, and its run when that has no other, into the empty block `next`.
    pub(super) fn move_last(&mut self, next: &mut BlockBuilder, head: &RunHead) {
        assert!(self.entries > 1, "a block keeps at least one entry");
        self.entries -= 1;
        let seq = Seq(self.first_seq.0 + self.entries as u64);
        next.begin_run(seq, head);
        let at = next.sink.len();
        next.sink.put(&self.sink.filled()[self.last_entry_at..]);
        next.note_entry(at);
        self.sink.truncate(self.last_entry_at);
        if self.entries.is_multiple_of(MARK_EVERY) {
            self.marks.pop();
        }
        if let Some(run) = self.runs.pop_if(|run| usize::from(run.ordinal) == self.entries) {
            self.sink.truncate(usize::from(run.offset));
        }
    }

    /// Whether a trailer of at most `bytes` still fits.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.len() + bytes <= BLOCK_BYTES_MAX
    }

    /// Ends the record of the last run.
    pub(super) fn end_record(&mut self, trailer: &Trailer<'_>) {
        let run = self.runs.last().expect("a record that ends has begun a run in this block");
        self.sink.filled_mut()[usize::from(run.offset)] |= RUN_LAST;
        put_trailer(&mut self.sink, trailer);
    }

    /// Links the block into the chain and gives it away; the builder is empty again.
    pub(super) fn seal(&mut self, prev_hash: [u8; 32], identity: Identity) -> Block {
        assert!(self.entries > 0, "a block has entries");
        let body_end = self.sink.len();
        for run in &self.runs {
            self.sink.put_u16(run.ordinal);
            self.sink.put_u16(run.offset);
        }
        for mark in &self.marks {
            self.sink.put_u16(*mark);
        }
        let last_seq = Seq(self.first_seq.0 + self.entries as u64 - 1);
        let header = self.sink.filled_mut();
        header[0] = VERSION;
        header[2..4].copy_from_slice(&(self.runs.len() as u16).to_le_bytes());
        header[4..8].copy_from_slice(&identity.epoch.to_le_bytes());
        header[8..16].copy_from_slice(&identity.journal_id.to_le_bytes());
        header[16..24].copy_from_slice(&self.first_seq.0.to_le_bytes());
        header[24..32].copy_from_slice(&last_seq.0.to_le_bytes());
        header[32..36].copy_from_slice(&(body_end as u32).to_le_bytes());
        header[36..38].copy_from_slice(&self.base.date.0.to_le_bytes());
        header[40..48].copy_from_slice(&self.base.moment.0.to_le_bytes());
        header[48..80].copy_from_slice(&prev_hash);
        let hash = hash_of(header);
        header[HASH_AT..HASH_END].copy_from_slice(&hash);
        let block = Block {
            first_seq: self.first_seq,
            last_seq,
            prev_hash,
            hash,
            identity,
            base: self.base,
            body_end,
            runs: self.runs.len(),
            bytes: self.sink.take(),
        };
        self.entries = 0;
        self.runs.clear();
        self.marks.clear();
        block
    }
}

fn hash_of(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..HASH_AT]).update(&bytes[HASH_END..]);
    hasher.finalize().into()
}

/// A sealed block with a verified hash.
#[derive(Clone)]
pub struct Block {
    first_seq: Seq,
    last_seq: Seq,
    prev_hash: [u8; 32],
    hash: [u8; 32],
    identity: Identity,
    base: RunBase,
    body_end: usize,
    runs: usize,
    bytes: Box<[u8]>,
}

/// One run of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its head.
    pub head: RunHead,
    /// Seq of its first entry in this block.
    pub seq: Seq,
    /// Seq of its last entry in this block.
    pub last_seq: Seq,
    /// Where its first entry begins.
    offset: usize,
}

impl Block {
    /// Checks bytes from a disk.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse(bytes: Box<[u8]>) -> Result<Block, &'static str> {
        let mut header = Cursor::new(bytes.get(..HEADER_BYTES).ok_or("block shorter than its header")?, 0);
        let fields = (|| {
            let version = header.take_u8()?;
            let flags = header.take_u8()?;
            let runs = usize::from(header.take_u16()?);
            let epoch = header.take_u32()?;
            let identity = Identity { epoch, journal_id: header.take_u64()? };
            let seqs = (header.take_u64()?, header.take_u64()?);
            let body_end = header.take_u32()? as usize;
            let date = Day(header.take_u16()?);
            let reserved = header.take_u16()?;
            let moment = Moment(header.take_u64()? as i64);
            let hashes: ([u8; 32], [u8; 32]) = (header.take_array()?, header.take_array()?);
            Some((version, flags, reserved, runs, identity, seqs, body_end, RunBase { moment, date }, hashes))
        })();
        let (version, flags, reserved, runs, identity, (first, last), body_end, base, (prev_hash, hash)) =
            fields.ok_or("block shorter than its header")?;
        if hash_of(&bytes) != hash {
            return Err("block hash does not match its bytes");
        }
        if version != VERSION || flags != 0 || reserved != 0 {
            return Err("block of an unknown version");
        }
        let entries = last.checked_sub(first).and_then(|n| usize::try_from(n).ok()).map(|n| n + 1);
        let entries = entries.filter(|_| first > 0).ok_or("block with impossible seqs")?;
        let footer = runs * 4 + entries.div_ceil(MARK_EVERY) * 2;
        if runs == 0 || body_end < HEADER_BYTES || body_end.checked_add(footer) != Some(bytes.len()) {
            return Err("block lengths do not add up");
        }
        let (first_seq, last_seq) = (Seq(first), Seq(last));
        Ok(Block { first_seq, last_seq, prev_hash, hash, identity, base, body_end, runs, bytes })
    }

    /// Seq of its first entry: its key.
    #[must_use]
    pub fn first_seq(&self) -> Seq {
        self.first_seq
    }

    /// Seq of its last entry.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Hash of the block before it.
    #[must_use]
    pub fn prev_hash(&self) -> [u8; 32] {
        self.prev_hash
    }

    /// Its own hash: the head of the chain after it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// All its bytes, as on disk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    fn entries(&self) -> usize {
        (self.last_seq.0 - self.first_seq.0 + 1) as usize
    }

    fn body(&self) -> &[u8] {
        &self.bytes[..self.body_end]
    }

    fn footer_u16(&self, at: usize) -> usize {
        let at = self.body_end + at;
        usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    /// Ordinal of the first entry of a run; behind the last run, the number of entries.
    fn run_ordinal(&self, run: usize) -> usize {
        if run < self.runs { self.footer_u16(run * 4) } else { self.entries() }
    }

    /// Number of runs.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.runs
    }

    /// The run at a place (0 ..), `None` behind the last one or when the bytes make no sense.
    #[must_use]
    pub fn run(&self, place: usize) -> Option<Run> {
        if place >= self.runs {
            return None;
        }
        let (ordinal, next) = (self.run_ordinal(place), self.run_ordinal(place + 1));
        if next <= ordinal || next > self.entries() {
            return None;
        }
        let seq = Seq(self.first_seq.0 + ordinal as u64);
        let mut cursor = Cursor::new(self.body(), self.footer_u16(place * 4 + 2));
        let head = take_run_head(&mut cursor, self.base, seq)?;
        Some(Run { head, seq, last_seq: Seq(self.first_seq.0 + next as u64 - 1), offset: cursor.at })
    }

    /// All runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        (0..self.runs).map_while(|place| self.run(place))
    }

    /// Place of the run that holds the entry with this ordinal.
    fn place_of(&self, ordinal: usize) -> usize {
        let (mut low, mut high) = (0, self.runs);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.run_ordinal(middle) <= ordinal { low = middle } else { high = middle }
        }
        low
    }

    /// The entry with this seq and the head of its run. Decodes at most 16 entries.
    #[must_use]
    pub fn entry(&self, seq: Seq) -> Option<(RunHead, Entry)> {
        if seq < self.first_seq || seq > self.last_seq {
            return None;
        }
        let ordinal = (seq.0 - self.first_seq.0) as usize;
        let run = self.run(self.place_of(ordinal))?;
        let mark = ordinal / MARK_EVERY;
        let marked = Seq(self.first_seq.0 + (mark * MARK_EVERY) as u64);
        let (mut at, offset) =
            if marked > run.seq { (marked, self.footer_u16(self.runs * 4 + mark * 2)) } else { (run.seq, run.offset) };
        let mut cursor = Cursor::new(self.body(), offset);
        loop {
            let entry = take_entry(&mut cursor, at)?;
            if at == seq {
                return Some((run.head, entry));
            }
            at = at.next();
        }
    }

    /// The entries from this seq on, each with the head of its run; ends early where the bytes make no sense.
    pub fn entries_from(&self, from: Seq) -> impl Iterator<Item = (Seq, RunHead, Entry)> + '_ {
        let from = from.max(self.first_seq);
        let begin = self.place_of((from.0 - self.first_seq.0) as usize);
        let runs = (begin..self.runs).map_while(|place| self.run(place));
        runs.flat_map(move |run| {
            let mut cursor = Cursor::new(self.body(), run.offset);
            (run.seq.0..=run.last_seq.0)
                .map_while(move |seq| take_entry(&mut cursor, Seq(seq)).map(|entry| (Seq(seq), run.head, entry)))
        })
        .filter(move |(seq, ..)| *seq >= from)
    }

    /// Trailer of the record with this first seq, when it ends in this block.
    #[must_use]
    pub fn trailer_of(&self, record: Seq) -> Option<Trailer<'_>> {
        // Runs are in order of their records; only the first may have begun in an earlier block.
        let ordinal = record.0.checked_sub(self.first_seq.0).map_or(0, |n| n as usize);
        if ordinal >= self.entries() {
            return None;
        }
        let run = self.run(self.place_of(ordinal)).filter(|run| run.head.first_seq == record)?;
        self.trailer(&run)
    }

    /// Trailer of a run, when its record ends there.
    #[must_use]
    pub fn trailer(&self, run: &Run) -> Option<Trailer<'_>> {
        if !run.head.is_last {
            return None;
        }
        let ordinal = (run.last_seq.0 - self.first_seq.0) as usize;
        let mark = ordinal / MARK_EVERY;
        let marked = Seq(self.first_seq.0 + (mark * MARK_EVERY) as u64);
        let (mut at, offset) =
            if marked > run.seq { (marked, self.footer_u16(self.runs * 4 + mark * 2)) } else { (run.seq, run.offset) };
        let mut cursor = Cursor::new(self.body(), offset);
        while at <= run.last_seq {
            take_entry(&mut cursor, at)?;
            at = at.next();
        }
        take_trailer(&mut cursor)
    }

    /// Visits the entries of a run, then gives its trailer when the record ends there.
    /// `None` when the bytes make no sense or do not end where the next run begins.
    pub(super) fn walk<B>(
        &self,
        place: usize,
        run: &Run,
        visit: &mut impl FnMut(Seq, &Entry) -> std::ops::ControlFlow<B>,
    ) -> Option<std::ops::ControlFlow<B, Option<Trailer<'_>>>> {
        let mut cursor = Cursor::new(self.body(), run.offset);
        for number in run.seq.0..=run.last_seq.0 {
            let entry = take_entry(&mut cursor, Seq(number))?;
            if let std::ops::ControlFlow::Break(stop) = visit(Seq(number), &entry) {
                return Some(std::ops::ControlFlow::Break(stop));
            }
        }
        let trailer = if run.head.is_last { Some(take_trailer(&mut cursor)?) } else { None };
        let end = if place + 1 < self.runs { self.footer_u16((place + 1) * 4 + 2) } else { self.body_end };
        (cursor.at == end).then_some(std::ops::ControlFlow::Continue(trailer))
    }

    /// Moment and business date of its last run.
    pub(super) fn last_run(&self) -> Option<Run> {
        self.run(self.runs - 1)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}..={}, {} bytes)", self.first_seq, self.last_seq, self.bytes.len())
    }
}

const _: () = assert!(RUN_FIRST != RUN_LAST && BLOCK_BYTES_MAX <= u16::MAX as usize, "offsets are u16");
