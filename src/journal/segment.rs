//! Segments: files of blocks.
//!
//! Promise: a segment is written by one thread, read by any, and never changes once sealed. A
//! reader that comes while it is being sealed waits for the close (milliseconds) and then reads
//! the sealed file.
//!
//! ```text
//! journal-next.redb ──roll: rename──► journal-<first_seq>.redb ──next roll──► retired ──seal──► sealed
//! (made ahead)                        active: the writer appends              footer, close, read-only, manifest
//! ```

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, TableDefinition, TableError};

use super::JournalError;
use super::appender::Position;
use super::block::Block;
use super::manifest::SealedSegment;
use super::varint::{Cursor, Sink};
use crate::disk::{Ahead, AnyBackend, Disk, Guarded};
use crate::domain::ids::{Moment, Seq};
use crate::domain::time::Day;

/// Blocks by the seq of their first entry.
const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");

/// One row when sealed: [`Footer`].
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const FOOTER: &str = "footer";
/// Where the file ended when it was closed unsealed: version 1 and the last seq, little-endian.
const TAIL: &str = "tail";

/// Name of the segment that is made ahead.
pub(super) const NEXT_NAME: &str = "journal-next.redb";

/// redb's cache for the file that is written: a commit's pages pass through it.
const ACTIVE_CACHE_BYTES: usize = 8 << 20;
/// redb's cache for a file that is read: blocks are cached above the journal.
const SEALED_CACHE_BYTES: usize = 512 << 10;

/// File name of the segment that begins with a seq.
pub(super) fn segment_name(first_seq: Seq) -> String {
    format!("journal-{:020}.redb", first_seq.0)
}

/// The first seq that a file name claims; `None` when it is no segment's name.
pub(super) fn parse_segment_name(name: &str) -> Option<Seq> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".redb")?;
    let is_canonical = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_canonical.then(|| digits.parse().ok().map(Seq)).flatten()
}

/// Bytes that redb takes for a value: a power of two of its pages, with its own head.
pub(super) fn stored_bytes(block_bytes: usize) -> u64 {
    (block_bytes as u64 + 64).next_power_of_two().max(4096)
}

/// Opens or creates a database to be written by one thread.
fn open_database(file: &str, backend: AnyBackend, cache_bytes: usize) -> Result<Guarded<Database>, redb::Error> {
    let db = guarded(file, || Ok(Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?))?;
    Ok(Guarded::new(file, db))
}

/// Runs redb's reading code on a segment and turns its assertions on damaged pages into an error.
fn guarded<T>(file: &str, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    crate::disk::guarded(file, work)
        .unwrap_or_else(|_| Err(redb::Error::Corrupted("redb asserted on a damaged page".to_owned())))
}

/// A segment made ahead: tables exist, space is reserved.
#[derive(Debug)]
pub(super) struct NextSegment {
    db: Guarded<Database>,
    ahead: Arc<dyn Ahead>,
    has_failed: Arc<AtomicBool>,
}

impl NextSegment {
    /// Makes the file [`NEXT_NAME`].
    pub(super) fn create(disk: &dyn Disk, reserve_bytes: u64) -> Result<NextSegment, JournalError> {
        let doing = |source| JournalError::io("make the next segment", source);
        let (backend, ahead) = disk.create_ahead(NEXT_NAME, reserve_bytes).map_err(doing)?;
        let backend = AnyBackend::new(backend);
        let has_failed = backend.has_failed();
        let db = open_database(NEXT_NAME, backend, ACTIVE_CACHE_BYTES)?;
        let mut tx = begin_write(&db)?;
        tx.open_table(BLOCKS).map_err(redb::Error::from)?;
        tx.open_table(META).map_err(redb::Error::from)?;
        tx.set_two_phase_commit(true);
        tx.commit().map_err(redb::Error::from)?;
        disk.sync_dir().map_err(doing)?;
        Ok(NextSegment { db, ahead, has_failed })
    }

    pub(super) fn ahead(&self) -> &Arc<dyn Ahead> {
        &self.ahead
    }

    /// Gives the file its name; it becomes the active segment that begins with `first_seq`.
    pub(super) fn activate(self, disk: &dyn Disk, first_seq: Seq) -> Result<LiveSegment, JournalError> {
        let doing = |source| JournalError::io("name the next segment", source);
        disk.rename(NEXT_NAME, &segment_name(first_seq)).map_err(doing)?;
        disk.sync_dir().map_err(doing)?;
        Ok(LiveSegment::new(first_seq, self))
    }
}

fn begin_write(db: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut tx = db.begin_write()?;
    tx.set_durability(redb::Durability::Immediate).map_err(redb::Error::from)?;
    tx.set_two_phase_commit(true);
    Ok(tx)
}

/// A segment that is open for writing: the active one, or a retired one that is not yet sealed.
#[derive(Debug)]
pub(super) struct LiveSegment {
    pub(super) first_seq: Seq,
    pub(super) ahead: Arc<dyn Ahead>,
    has_failed: Arc<AtomicBool>,
    /// The database until it is sealed. Readers and the writer share it; the write side is taken once, to close.
    db: RwLock<Option<Guarded<Database>>>,
    /// First seqs of its durable blocks. Grows by one line a block; held for a binary search only.
    index: RwLock<Vec<u64>>,
    last_seq: AtomicU64,
    stored: AtomicU64,
}

impl LiveSegment {
    fn new(first_seq: Seq, made: NextSegment) -> LiveSegment {
        let NextSegment { mut db, ahead, has_failed } = made;
        db.rename(&segment_name(first_seq));
        LiveSegment {
            first_seq,
            ahead,
            has_failed,
            db: RwLock::new(Some(db)),
            index: RwLock::default(),
            last_seq: AtomicU64::new(first_seq.0 - 1),
            stored: AtomicU64::new(0),
        }
    }

    /// Opens an existing file, which redb repairs when it has to. The index is empty.
    pub(super) fn open(disk: &dyn Disk, first_seq: Seq) -> Result<LiveSegment, JournalError> {
        let name = segment_name(first_seq);
        let (backend, ahead) = disk.open_ahead(&name).map_err(|source| JournalError::io("open a segment", source))?;
        let unreadable = |source| JournalError::Unreadable { file: name.clone(), source };
        let backend = AnyBackend::new(backend);
        let has_failed = backend.has_failed();
        let db = open_database(&name, backend, ACTIVE_CACHE_BYTES).map_err(unreadable)?;
        Ok(LiveSegment::new(first_seq, NextSegment { db, ahead, has_failed }))
    }

    /// Seq of its last durable entry; the one before its first when it has none.
    pub(super) fn last_seq(&self) -> Seq {
        Seq(self.last_seq.load(Ordering::Acquire))
    }

    /// Bytes that its blocks take in the file.
    pub(super) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    /// Notes a durable block.
    pub(super) fn note(&self, block: &Block) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).push(block.first_seq().0);
        self.stored.fetch_add(stored_bytes(block.bytes().len()), Ordering::AcqRel);
        self.last_seq.store(block.last_seq().0, Ordering::Release);
    }

    /// Commits blocks in one two-phase transaction.
    pub(super) fn commit(&self, blocks: &[Arc<Block>]) -> Result<(), JournalError> {
        let guard = self.db().ok_or(JournalError::Closed)?;
        let db = guard.as_ref().ok_or(JournalError::Closed)?;
        let write = || {
            let mut tx = begin_write(db)?;
            {
                let mut table = tx.open_table(BLOCKS)?;
                for block in blocks {
                    table.insert(block.first_seq().0, block.bytes())?;
                }
            }
            tx.set_two_phase_commit(true);
            Ok(tx.commit()?)
        };
        Ok(guarded(&segment_name(self.first_seq), write)?)
    }

    fn db(&self) -> Option<RwLockReadGuard<'_, Option<Guarded<Database>>>> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        db.is_some().then_some(db)
    }

    /// First seqs of its blocks, from the one that holds `from`.
    pub(super) fn blocks_from(&self, from: Seq) -> Vec<u64> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        tail_of(&index, from)
    }

    /// First seq of the block that holds a durable seq.
    pub(super) fn locate(&self, seq: Seq) -> Option<Seq> {
        if seq > self.last_seq() {
            return None;
        }
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        locate_in(&index, seq)
    }

    /// Reads a block; `None` when this segment has been sealed since.
    pub(super) fn load(&self, first_seq: Seq) -> Option<Result<Block, JournalError>> {
        let guard = self.db()?;
        let db = guard.as_ref()?;
        let read = || -> Result<Option<Box<[u8]>>, redb::Error> {
            let table = db.begin_read()?.open_table(BLOCKS)?;
            Ok(table.get(first_seq.0)?.map(|value| value.value().into()))
        };
        Some(parse_loaded(guarded(&segment_name(self.first_seq), read), self.first_seq, first_seq))
    }

    /// Gives its blocks as the file has them, neither parsed nor checked, from a key on: at most so many, or until
    /// `give` breaks. Returns the key after the last one given, where there may be more.
    pub(super) fn each_raw(
        &self,
        from: u64,
        most: usize,
        give: &mut dyn FnMut(u64, Box<[u8]>) -> ControlFlow<()>,
    ) -> Result<Option<u64>, JournalError> {
        let guard = self.db().ok_or(JournalError::Closed)?;
        let db = guard.as_ref().ok_or(JournalError::Closed)?;
        let read = || -> Result<Option<Option<u64>>, redb::Error> {
            let table = match db.begin_read()?.open_table(BLOCKS) {
                // The tables are made before the file gets its name: without them it is not ours.
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                other => other?,
            };
            for (row, given) in table.range(from..)?.zip(1..) {
                let (key, value) = row?;
                let (key, next) = (key.value(), key.value().saturating_add(1));
                if give(key, value.value().into()).is_break() || given == most {
                    return Ok(Some(Some(next)));
                }
            }
            Ok(Some(None))
        };
        guarded(&segment_name(self.first_seq), read)?.ok_or_else(|| self.foreign())
    }

    /// A block that [`LiveSegment::each_raw`] gave.
    pub(super) fn parse(&self, key: u64, bytes: Box<[u8]>) -> Result<Block, JournalError> {
        parse_loaded(Ok(Some(bytes)), self.first_seq, Seq(key))
    }

    fn foreign(&self) -> JournalError {
        JournalError::Foreign { file: segment_name(self.first_seq) }
    }

    /// Writes the footer and closes the file. Readers wait meanwhile, then find it gone from here.
    pub(super) fn close_sealed(&self, end: &Position) -> Result<(), JournalError> {
        let mut guard = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = guard.take() else { return Ok(()) };
        let footer = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            Footer::encode(self.first_seq, end, &index)
        };
        let write = || {
            let tx = begin_write(&db)?;
            tx.open_table(META)?.insert(FOOTER, &*footer)?;
            Ok(tx.commit()?)
        };
        guarded(&segment_name(self.first_seq), write)?;
        drop(db);
        self.check_closed()
    }

    /// redb's close writes and syncs too, and has nobody to tell when that fails; here it is told.
    pub(super) fn check_closed(&self) -> Result<(), JournalError> {
        if self.has_failed.load(Ordering::Acquire) {
            let failed = std::io::Error::other("a write or sync failed at the close");
            return Err(JournalError::io("close a segment", failed));
        }
        Ok(())
    }

    /// Closes the file without sealing it, and writes down where it ends. After a hard end redb checks every page
    /// itself; after this close it trusts them, and a bit that flips while the file rests could make it look
    /// emptier than it is.
    pub(super) fn close(&self) {
        let mut guard = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = guard.take() else { return };
        if self.last_seq() >= self.first_seq {
            let tail = Tail(self.last_seq()).encode();
            let write = || {
                let tx = begin_write(&db)?;
                tx.open_table(META)?.insert(TAIL, tail.as_slice())?;
                Ok(tx.commit()?)
            };
            if let Err(error) = guarded(&segment_name(self.first_seq), write) {
                // Its blocks are as durable as they were; the next start checks every page.
                tracing::warn!(%error, "could not write down where the journal ends");
            }
        }
        drop(db);
    }

    /// Where the file ended when it was last closed, if it was.
    pub(super) fn tail(&self) -> Result<Option<Seq>, JournalError> {
        let guard = self.db().ok_or(JournalError::Closed)?;
        let db = guard.as_ref().ok_or(JournalError::Closed)?;
        let read = || -> Result<Option<Option<Tail>>, redb::Error> {
            let table = db.begin_read()?.open_table(META)?;
            Ok(table.get(TAIL)?.map(|value| Tail::decode(value.value())))
        };
        match guarded(&segment_name(self.first_seq), read)? {
            None => Ok(None),
            Some(Some(Tail(seq))) => Ok(Some(seq)),
            Some(None) => Err(JournalError::Damaged {
                file: segment_name(self.first_seq),
                seq: self.first_seq,
                what: "the note of where it ends is not understood".into(),
            }),
        }
    }
}

fn parse_loaded(
    read: Result<Option<Box<[u8]>>, redb::Error>,
    segment: Seq,
    first_seq: Seq,
) -> Result<Block, JournalError> {
    let damaged = |what: &str| JournalError::Damaged { file: segment_name(segment), seq: first_seq, what: what.into() };
    let bytes = match read {
        Ok(bytes) => bytes.ok_or_else(|| damaged("block is missing"))?,
        Err(redb::Error::Corrupted(what)) => return Err(damaged(&what)),
        Err(error) => return Err(error.into()),
    };
    let block = Block::parse(bytes).map_err(damaged)?;
    if block.first_seq() != first_seq {
        return Err(damaged("block stands under another seq"));
    }
    Ok(block)
}

/// Place in a sorted index of first seqs.
fn locate_in(index: &[u64], seq: Seq) -> Option<Seq> {
    let place = index.partition_point(|first| *first <= seq.0);
    place.checked_sub(1).map(|place| Seq(index[place]))
}

fn tail_of(index: &[u64], from: Seq) -> Vec<u64> {
    index[index.partition_point(|first| *first <= from.0).saturating_sub(1)..].to_vec()
}

/// Where an unsealed segment ended when it was closed: its last seq.
struct Tail(Seq);

impl Tail {
    const VERSION: u8 = 1;

    fn encode(&self) -> [u8; 9] {
        let mut bytes = [Tail::VERSION; 9];
        bytes[1..].copy_from_slice(&self.0.0.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Tail> {
        let (version, seq) = bytes.split_first()?;
        (*version == Tail::VERSION).then(|| Some(Tail(Seq(u64::from_le_bytes(seq.try_into().ok()?)))))?
    }
}

/// What a sealed segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) first_seq: Seq,
    pub(super) end: Position,
    pub(super) index: Vec<u64>,
}

impl Footer {
    const VERSION: u8 = 1;

    fn encode(first_seq: Seq, end: &Position, index: &[u64]) -> Box<[u8]> {
        let mut sink = Sink::with_capacity(128 + index.len() * 3);
        sink.put_u8(Footer::VERSION);
        sink.put_u64(first_seq.0);
        sink.put_u64(end.last_seq.0);
        sink.put(&end.hash);
        sink.put(&end.last_moment.0.to_le_bytes());
        sink.put_u16(end.last_date.0);
        sink.put_varint(index.len() as u64);
        let mut before = 0;
        for first in index {
            sink.put_varint(first - before);
            before = *first;
        }
        let check = blake3::hash(sink.filled());
        sink.put(&check.as_bytes()[..16]);
        sink.take()
    }

    fn decode(bytes: &[u8]) -> Option<Footer> {
        let (body, check) = bytes.split_at(bytes.len().checked_sub(16)?);
        if blake3::hash(body).as_bytes()[..16] != *check {
            return None;
        }
        let mut cursor = Cursor::new(body, 0);
        if cursor.take_u8()? != Footer::VERSION {
            return None;
        }
        let first_seq = Seq(cursor.take_u64()?);
        let end = Position {
            last_seq: Seq(cursor.take_u64()?),
            hash: cursor.take_array()?,
            last_moment: Moment(cursor.take_u64()? as i64),
            last_date: Day(cursor.take_u16()?),
        };
        let count = cursor.take_varint()?;
        let mut before = 0u64;
        let mut index = Vec::new();
        for _ in 0..count {
            before = before.checked_add(cursor.take_varint()?)?;
            index.push(before);
        }
        (cursor.at == body.len()).then_some(Footer { first_seq, end, index })
    }
}

/// A sealed segment, open for reading.
pub(super) struct OpenSealed {
    pub(super) footer: Footer,
    blocks: ReadOnlyTable<u64, &'static [u8]>,
    /// Behind the table, which reads through it.
    _db: Guarded<Database>,
}

impl OpenSealed {
    /// Opens a sealed file. Not a byte of it changes.
    pub(super) fn open(disk: &dyn Disk, first_seq: Seq) -> Result<OpenSealed, JournalError> {
        let file = segment_name(first_seq);
        let backend = disk.open_frozen(&file).map_err(|source| JournalError::of_sealed(first_seq, source))?;
        type Parts = (Option<Footer>, ReadOnlyTable<u64, &'static [u8]>, Guarded<Database>);
        let read = || -> Result<Parts, redb::Error> {
            let db = open_database(&file, AnyBackend::new(backend), SEALED_CACHE_BYTES)?;
            let tx = db.begin_read()?;
            let footer = tx.open_table(META)?.get(FOOTER)?.and_then(|value| Footer::decode(value.value()));
            Ok((footer, tx.open_table(BLOCKS)?, db))
        };
        let (footer, blocks, db) =
            guarded(&file, read).map_err(|source| JournalError::Unreadable { file: file.clone(), source })?;
        let unsealed = || JournalError::Damaged { file, seq: first_seq, what: "footer is missing or damaged".into() };
        Ok(OpenSealed { footer: footer.ok_or_else(unsealed)?, blocks, _db: db })
    }

    /// Whether the file is the one that the manifest means.
    pub(super) fn check(&self, listed: &SealedSegment) -> Result<(), JournalError> {
        let footer = &self.footer;
        let is_listed = footer.first_seq == listed.first_seq
            && footer.end.last_seq == listed.last_seq
            && footer.end.hash == listed.chain_hash;
        if is_listed { Ok(()) } else { Err(JournalError::Foreign { file: segment_name(listed.first_seq) }) }
    }

    pub(super) fn locate(&self, seq: Seq) -> Option<Seq> {
        if seq > self.footer.end.last_seq { None } else { locate_in(&self.footer.index, seq) }
    }

    pub(super) fn blocks_from(&self, from: Seq) -> Vec<u64> {
        tail_of(&self.footer.index, from)
    }

    pub(super) fn load(&self, first_seq: Seq) -> Result<Block, JournalError> {
        let read = || Ok(self.blocks.get(first_seq.0)?.map(|value| value.value().into()));
        parse_loaded(guarded(&segment_name(self.footer.first_seq), read), self.footer.first_seq, first_seq)
    }
}

impl std::fmt::Debug for OpenSealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenSealed({}..={})", self.footer.first_seq, self.footer.end.last_seq)
    }
}

/// The sealed segments that were read last stay open.
#[derive(Debug)]
pub(super) struct SealedFiles {
    disk: Arc<dyn Disk>,
    open_max: usize,
    /// Newest first. Held for a search of a few lines, never while a file is opened or read.
    open: Mutex<VecDeque<Arc<OpenSealed>>>,
}

impl SealedFiles {
    pub(super) fn new(disk: Arc<dyn Disk>, open_max: usize) -> SealedFiles {
        SealedFiles { disk, open_max, open: Mutex::default() }
    }

    /// The open file of a sealed segment.
    pub(super) fn get(&self, first_seq: Seq) -> Result<Arc<OpenSealed>, JournalError> {
        if let Some(found) = self.touch(first_seq) {
            return Ok(found);
        }
        let opened = Arc::new(OpenSealed::open(&*self.disk, first_seq)?);
        if let Some(found) = self.touch(first_seq) {
            return Ok(found);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_front(Arc::clone(&opened));
        open.truncate(self.open_max);
        Ok(opened)
    }

    /// The file, if it is open already.
    pub(super) fn touch(&self, first_seq: Seq) -> Option<Arc<OpenSealed>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let place = open.iter().position(|file| file.footer.first_seq == first_seq)?;
        if place > 0 {
            let file = open.remove(place)?;
            open.push_front(file);
        }
        open.front().cloned()
    }
}
