//! Key tables of sealed segments: which seq belongs to a hash.
//!
//! Promise: a hash that was written is found, or an error says that its table is damaged. Steps of a look-up:
//! 1. From the newest segment to the oldest, ask the filter in memory (one cache line each).
//! 2. Where it passes, the fences in memory (the first hash of every chunk) name the one chunk.
//! 3. The chunk comes from the cache or from disk, its seal checked once; a binary search ends it.
//!
//! A table is written once, whole, in the order of its hashes; there is no table of all keys, since
//! random inserts into one are what makes keyed writes slow as a ledger grows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::chain::{Reader, Writer};
use super::filter::{BLOCK_BYTES, Filter};
use super::row::{Body, Fields, corrupt};
use super::tables::{FILTER_PIECE_BYTES, KEY_FILTERS, KEY_HEADS, KEY_ROWS, KEYS_PER_CHUNK};
use super::{KeyKind, NeedsDisk, Store, StoreError};
use crate::config::KEY_CHUNK_CACHE_IDLE_S;
use crate::domain::ids::{Moment, Seq};

const ROW_BYTES: usize = 24;

/// Key tables, ascending by segment.
pub(super) type Segments = Vec<Arc<Segment>>;

/// Chunks of `key_rows` by key, without version and seal; and what the cache does.
#[derive(Debug)]
pub(super) struct ChunkCache {
    chunks: Cache<u128, Arc<[u8]>>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Arc<AtomicU64>,
}

/// The cache of key chunks now; counts are since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkCacheState {
    /// Look-ups that it answered.
    pub hits: u64,
    /// Look-ups that it did not.
    pub misses: u64,
    /// Chunks that left for want of space or use.
    pub evictions: u64,
    /// Chunks in it, roughly.
    pub entries: u64,
    /// Bytes in it, roughly.
    pub weight_bytes: u64,
    /// Bytes that it may hold.
    pub capacity_bytes: u64,
}

impl ChunkCache {
    /// Forgets all chunks: the tables may be others now.
    pub(super) fn invalidate_all(&self) {
        self.chunks.invalidate_all();
    }

    fn get(&self, key: u128) -> Option<Arc<[u8]>> {
        let found = self.chunks.get(&key);
        if found.is_some() { &self.hits } else { &self.misses }.fetch_add(1, Ordering::Relaxed);
        found
    }
}

/// What is kept in memory of a key table.
#[derive(Debug)]
pub(super) struct Segment {
    kind: KeyKind,
    first: Seq,
    newest_moment: Moment,
    /// First hash of each chunk.
    fences: Vec<[u8; 16]>,
    filter: Filter,
}

/// A cache of this many bytes at most.
pub(super) fn chunk_cache(bytes_max: u64) -> ChunkCache {
    let evictions = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&evictions);
    let chunks = Cache::builder()
        .max_capacity(bytes_max)
        .weigher(|_, chunk: &Arc<[u8]>| u32::try_from(chunk.len()).unwrap_or(u32::MAX))
        .eviction_policy(EvictionPolicy::lru())
        .time_to_idle(Duration::from_secs(KEY_CHUNK_CACHE_IDLE_S))
        .eviction_listener(move |_, _, cause| {
            if cause.was_evicted() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build();
    ChunkCache { chunks, hits: AtomicU64::new(0), misses: AtomicU64::new(0), evictions }
}

/// Reads heads and filters of all key tables.
pub(super) fn load_segments(reader: &Reader) -> Result<Segments, StoreError> {
    let mut segments = Vec::new();
    for key in reader.keys_down(KEY_HEADS, u128::MAX) {
        let key = key?;
        let head = reader.require(KEY_HEADS, key, |body| Head::decode(key, body))?;
        let mut bytes = Vec::new();
        for piece in 0..head.filter_pieces() {
            let key = part_key(head.kind, head.first, piece);
            reader.require(KEY_FILTERS, key, |body| {
                bytes.extend_from_slice(body);
                Some(())
            })?;
        }
        let filter = Filter::from_bytes(&bytes)
            .filter(|filter| filter.bytes() == head.filter_bytes)
            .ok_or_else(|| corrupt(KEY_FILTERS, key, "the filter has another length"))?;
        let Head { kind, first, newest_moment, fences, .. } = head;
        segments.push(Arc::new(Segment { kind, first, newest_moment, fences, filter }));
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

impl Store {
    /// Writes (or replaces) the table of a sealed segment in a transaction of its own. `rows` ascend
    /// by (hash, seq); of several rows with one hash the last counts.
    ///
    /// # Errors
    /// As redb fails, or [`StoreError::Corrupt`] where the table that is replaced is damaged.
    pub fn write_key_table(
        &self,
        segment_first: Seq,
        kind: KeyKind,
        rows: &[([u8; 16], Seq)],
        newest_moment: Moment,
    ) -> Result<(), StoreError> {
        assert!(rows.is_sorted(), "a key table is written in the order of its hashes");
        let filter = Filter::of(rows.len(), rows.iter().map(|(hash, _)| hash));
        let head = Head {
            kind,
            first: segment_first,
            newest_moment,
            filter_bytes: filter.bytes(),
            fences: rows.chunks(KEYS_PER_CHUNK).map(|chunk| chunk[0].0).collect(),
        };
        let mut writer = self.writer()?;
        head.remove_old(&mut writer)?;
        for (chunk, rows) in (0u32..).zip(rows.chunks(KEYS_PER_CHUNK)) {
            let mut body = Body::with_capacity(rows.len() * ROW_BYTES);
            for (hash, seq) in rows {
                body.put(hash);
                body.put(&seq.0.to_le_bytes());
            }
            writer.put(KEY_ROWS, part_key(kind, segment_first, chunk), body)?;
        }
        for (piece, bytes) in (0u32..).zip(filter.to_bytes().chunks(FILTER_PIECE_BYTES)) {
            let mut body = Body::with_capacity(bytes.len());
            body.put(bytes);
            writer.put(KEY_FILTERS, part_key(kind, segment_first, piece), body)?;
        }
        writer.put(KEY_HEADS, head.key(), head.encode())?;
        writer.commit()?;
        let Head { fences, .. } = head;
        let segment = Arc::new(Segment { kind, first: segment_first, newest_moment, fences, filter });
        self.change_segments(|segments| {
            for chunk in 0..segment.chunks() {
                self.chunks.chunks.invalidate(&part_key(kind, segment_first, chunk));
            }
            segments.retain(|old| (old.kind, old.first) != (kind, segment_first));
            segments.push(segment);
            segments.sort_by_key(|segment| segment.first);
        });
        Ok(())
    }

    /// The newest seq stored for a hash; newest segment first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] on damage, or as redb fails.
    pub fn find_key(&self, kind: KeyKind, hash: &[u8; 16]) -> Result<Option<Seq>, StoreError> {
        search(
            || self.segments(),
            |segments| {
                for segment in segments.iter().rev().filter(|segment| segment.kind == kind) {
                    if segment.filter.may_contain(hash)
                        && let Some(place) = segment.chunk_of(hash)
                        && let Some(seq) = find_in(&self.load_chunk(segment, place)?, hash)
                    {
                        return Ok(Some(seq));
                    }
                }
                Ok(None)
            },
        )
    }

    /// As [`Store::find_key`], from filters, fences and cached chunks alone.
    ///
    /// # Errors
    /// [`NeedsDisk`] when a chunk would have to be read.
    pub fn find_key_in_memory(&self, kind: KeyKind, hash: &[u8; 16]) -> Result<Option<Seq>, NeedsDisk> {
        let segments = self.segments();
        for segment in segments.iter().rev().filter(|segment| segment.kind == kind) {
            if segment.filter.may_contain(hash)
                && let Some(place) = segment.chunk_of(hash)
            {
                let chunk = self.chunks.get(part_key(kind, segment.first, place)).ok_or(NeedsDisk)?;
                if let Some(seq) = find_in(&chunk, hash) {
                    return Ok(Some(seq));
                }
            }
        }
        // A list that was replaced meanwhile proves nothing.
        if Arc::ptr_eq(&segments, &self.segments()) { Ok(None) } else { Err(NeedsDisk) }
    }

    /// Drops idempotency tables whose newest key is older; how many. External ids stay for ever.
    ///
    /// # Errors
    /// As redb fails, or [`StoreError::Corrupt`] where a table to be dropped is damaged.
    pub fn drop_key_tables(&self, older_than: Moment) -> Result<usize, StoreError> {
        let is_old = |segment: &Segment| segment.kind == KeyKind::Idempotency && segment.newest_moment < older_than;
        let old: Vec<Arc<Segment>> = self.segments().iter().filter(|segment| is_old(segment)).cloned().collect();
        if old.is_empty() {
            return Ok(0);
        }
        // Out of sight first: a look-up must not run into a table that is half gone.
        self.change_segments(|segments| segments.retain(|segment| !is_old(segment)));
        let mut writer = self.writer()?;
        for segment in &old {
            let key = head_key(segment.kind, segment.first);
            if let Some(head) = writer.get(KEY_HEADS, key, |body| Head::decode(key, body))? {
                head.remove_old(&mut writer)?;
                writer.remove(KEY_HEADS, key)?;
            }
        }
        writer.commit()?;
        Ok(old.len())
    }

    /// Gives every row of a segment's table, ascending by hash: (hash, seq); `false` when there is no such
    /// table, or none any more. For `verify`, so a row must also be one that a look-up would find.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] on damage and where filter or fences hide a row, or as redb fails.
    pub fn load_key_table(
        &self,
        kind: KeyKind,
        segment_first: Seq,
        give: &mut dyn FnMut([u8; 16], Seq),
    ) -> Result<bool, StoreError> {
        let segments = self.segments();
        let found = segments.iter().find(|segment| (segment.kind, segment.first) == (kind, segment_first));
        let Some(segment) = found else { return Ok(false) };
        for place in 0..segment.chunks() {
            let key = part_key(kind, segment_first, place);
            let is_whole = |body: &[u8]| !body.is_empty() && body.len().is_multiple_of(ROW_BYTES);
            // Past the cache: a table read once from end to end would drive out what others look up.
            let body: Result<Vec<u8>, StoreError> =
                self.reader()?.require(KEY_ROWS, key, |body| is_whole(body).then(|| body.to_vec()));
            let body = match body {
                Err(_) if !self.key_segments(kind).contains(&segment_first) => return Ok(false),
                body => body?,
            };
            for row in body.as_chunks::<ROW_BYTES>().0 {
                let hash: [u8; 16] = *row.first_chunk().expect("a row is 24 bytes");
                if !segment.filter.may_contain(&hash) || segment.chunk_of(&hash) != Some(place) {
                    return Err(corrupt(KEY_ROWS, key, "a look-up would not find a row of it"));
                }
                give(hash, Seq(u64::from_le_bytes(*row.last_chunk().expect("a row is 24 bytes"))));
            }
        }
        Ok(true)
    }

    /// Whether the table of an older segment has a hash with this seq.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] on damage, or as redb fails.
    pub fn is_key_before(
        &self,
        kind: KeyKind,
        segment_first: Seq,
        hash: &[u8; 16],
        seq: Seq,
    ) -> Result<bool, StoreError> {
        let segments = self.segments();
        for segment in segments.iter().filter(|segment| segment.kind == kind && segment.first < segment_first) {
            if segment.filter.may_contain(hash)
                && let Some(place) = segment.chunk_of(hash)
                && find_in(&self.load_chunk(segment, place)?, hash) == Some(seq)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// First seqs of the segments that have a table of this kind, ascending.
    #[must_use]
    pub fn key_segments(&self, kind: KeyKind) -> Vec<Seq> {
        self.segments().iter().filter(|segment| segment.kind == kind).map(|segment| segment.first).collect()
    }

    /// Memory held by filters and fences, bytes.
    #[must_use]
    pub fn filter_bytes(&self) -> usize {
        self.segments().iter().map(|segment| segment.filter.bytes() + segment.fences.len() * 16).sum()
    }

    /// What the cache of key chunks does.
    #[must_use]
    pub fn chunk_cache_state(&self) -> ChunkCacheState {
        let cache = &self.chunks;
        ChunkCacheState {
            hits: cache.hits.load(Ordering::Relaxed),
            misses: cache.misses.load(Ordering::Relaxed),
            evictions: cache.evictions.load(Ordering::Relaxed),
            entries: cache.chunks.entry_count(),
            weight_bytes: cache.chunks.weighted_size(),
            capacity_bytes: cache.chunks.policy().max_capacity().unwrap_or_default(),
        }
    }

    fn load_chunk(&self, segment: &Segment, place: u32) -> Result<Arc<[u8]>, StoreError> {
        let key = part_key(segment.kind, segment.first, place);
        if let Some(body) = self.chunks.get(key) {
            return Ok(body);
        }
        let is_whole = |body: &[u8]| !body.is_empty() && body.len().is_multiple_of(ROW_BYTES);
        let body: Arc<[u8]> = self.reader()?.require(KEY_ROWS, key, |body| is_whole(body).then(|| body.into()))?;
        self.chunks.chunks.insert(key, Arc::clone(&body));
        Ok(body)
    }

    fn segments(&self) -> Arc<Segments> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_segments(&self, change: impl FnOnce(&mut Segments)) {
        let mut guard = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let mut segments = Segments::clone(&guard);
        change(&mut segments);
        *guard = Arc::new(segments);
    }
}

/// The newest seq of a hash in a chunk.
fn find_in(chunk: &[u8], hash: &[u8; 16]) -> Option<Seq> {
    let (rows, _) = chunk.as_chunks::<ROW_BYTES>();
    let after = rows.partition_point(|row| row[..16] <= hash[..]);
    let found = after.checked_sub(1).map(|last| &rows[last]).filter(|row| row[..16] == hash[..]);
    found.map(|row| Seq(u64::from_le_bytes(*row.last_chunk().expect("a row is 24 bytes"))))
}

impl Segment {
    /// The one chunk in which a hash can stand.
    fn chunk_of(&self, hash: &[u8; 16]) -> Option<u32> {
        let place = self.fences.partition_point(|fence| fence <= hash).checked_sub(1)?;
        Some(u32::try_from(place).expect("a table has at most 2^32 chunks: its keys are 32 bits wide"))
    }

    fn chunks(&self) -> u32 {
        u32::try_from(self.fences.len()).expect("a table has at most 2^32 chunks: its keys are 32 bits wide")
    }
}

/// Looks something up in a list that may be replaced meanwhile. What was read through an old list
/// proves nothing about absence: a table may be gone because it was dropped or written anew, or the
/// whole file because it was opened again after a failure. A miss and an error both count only if
/// the list is still the same; else the look-up begins again. An error is never "not there".
fn search<L, T>(
    list: impl Fn() -> Arc<L>,
    look: impl Fn(&L) -> Result<Option<T>, StoreError>,
) -> Result<Option<T>, StoreError> {
    loop {
        let before = list();
        match look(&before) {
            Ok(Some(found)) => return Ok(Some(found)),
            done if Arc::ptr_eq(&before, &list()) => return done,
            _ => {}
        }
    }
}

/// The row of a table in `key_heads`.
#[derive(Debug)]
struct Head {
    kind: KeyKind,
    first: Seq,
    newest_moment: Moment,
    filter_bytes: usize,
    fences: Vec<[u8; 16]>,
}

impl Head {
    fn key(&self) -> u128 {
        head_key(self.kind, self.first)
    }

    fn filter_pieces(&self) -> u32 {
        u32::try_from(self.filter_bytes.div_ceil(FILTER_PIECE_BYTES)).unwrap_or(u32::MAX)
    }

    fn encode(&self) -> Body {
        let mut body = Body::with_capacity(32 + self.fences.len() * 16);
        body.put(&self.newest_moment.0.to_le_bytes());
        body.put_varint((self.filter_bytes / BLOCK_BYTES) as u64);
        for fence in &self.fences {
            body.put(fence);
        }
        body
    }

    fn decode(key: u128, body: &[u8]) -> Option<Head> {
        let kind = match key >> 64 {
            0 => KeyKind::Idempotency,
            1 => KeyKind::External,
            _ => return None,
        };
        let first = Seq(u64::try_from(key & u128::from(u64::MAX)).ok()?);
        let mut fields = Fields::new(body);
        let newest_moment = Moment(i64::from_le_bytes(fields.array()?));
        let filter_bytes = fields.narrow::<usize>()?.checked_mul(BLOCK_BYTES)?;
        let mut fences = Vec::new();
        while !fields.is_empty() {
            fences.push(fields.array()?);
        }
        Some(Head { kind, first, newest_moment, filter_bytes, fences })
    }

    /// Removes chunks and pieces of the table that stands under this head's key now.
    fn remove_old(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let key = self.key();
        let Some(old) = writer.get(KEY_HEADS, key, |body| Head::decode(key, body))? else { return Ok(()) };
        for chunk in (0u32..).take(old.fences.len()) {
            writer.remove(KEY_ROWS, part_key(old.kind, old.first, chunk))?;
        }
        for piece in 0..old.filter_pieces() {
            writer.remove(KEY_FILTERS, part_key(old.kind, old.first, piece))?;
        }
        Ok(())
    }
}

fn head_key(kind: KeyKind, first: Seq) -> u128 {
    (kind as u128) << 64 | u128::from(first.0)
}

fn part_key(kind: KeyKind, first: Seq, part: u32) -> u128 {
    (kind as u128) << 96 | u128::from(first.0) << 32 | u128::from(part)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn broken() -> StoreError {
        corrupt(KEY_ROWS, 0, "the row is missing")
    }

    /// Each step: whether the list is replaced during the look-up, and what the look-up says.
    fn run(steps: Vec<(bool, Result<Option<u8>, StoreError>)>) -> (Result<Option<u8>, StoreError>, usize) {
        let list = RefCell::new(Arc::new(0));
        let mut steps = steps;
        steps.reverse();
        let steps = RefCell::new(steps);
        let found = search(
            || Arc::clone(&list.borrow()),
            |_| {
                let (is_replaced, said) = steps.borrow_mut().pop().expect("no look-up beyond what is needed");
                if is_replaced {
                    list.replace_with(|before| Arc::new(**before + 1));
                }
                said
            },
        );
        let left = steps.borrow().len();
        (found, left)
    }

    #[test]
    fn a_lookup_that_met_a_replaced_list_begins_again_and_never_says_not_there() {
        let (found, left) = run(vec![(true, Err(broken())), (true, Ok(None)), (false, Ok(Some(7)))]);
        assert_eq!((found.unwrap(), left), (Some(7), 0));
        let (found, left) = run(vec![(true, Err(broken())), (false, Err(broken()))]);
        assert!(found.is_err() && left == 0, "an error of the list in force is an error");
        let (found, left) = run(vec![(false, Ok(None)), (false, Ok(Some(7)))]);
        assert_eq!((found.unwrap(), left), (None, 1));
    }
}
