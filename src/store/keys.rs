//! Key tables: which seq belongs to a hash, for ranges of entries.
//!
//! Promise: a hash that was written is found, or an error says that its table is damaged. Steps of a look-up:
//! 1. From the newest table to the oldest, ask the filter in memory (four reads each).
//! 2. Where it passes, the fences in memory (the first hash of every chunk) name the one chunk.
//! 3. The chunk comes from the cache or from disk, its seal checked once; a binary search ends it.
//!
//! A table is written once, whole, in the order of its hashes; there is no table of all keys, since
//! random inserts into one are what makes keyed writes slow as a ledger grows. Small ones are merged (see `merge`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::chain::{Reader, Writer};
use super::filter::{Builder, Filter};
use super::row::{Body, Fields, corrupt};
use super::tables::{FILTER_PIECE_BYTES, KEY_FILTERS, KEY_HEADS, KEY_ROWS, KEYS_PER_CHUNK};
use super::{KeyKind, NeedsDisk, Store, StoreError};
use crate::config::KEY_CHUNK_CACHE_IDLE_S;
use crate::domain::ids::{Moment, Seq};

pub(super) const ROW_BYTES: usize = 24;

/// Key tables, ascending by their first entries.
pub(super) type KeyTables = Vec<Arc<KeyTable>>;

/// What tells a key table from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Of which keys.
    pub kind: KeyKind,
    /// How often its rows were merged: 0 for a table that the engine wrote.
    pub level: u8,
    /// The first entry whose keys it has.
    pub first: Seq,
}

impl Name {
    fn of_head(key: u128) -> Option<Name> {
        let kind = match key >> 64 & 0xff {
            0 => KeyKind::Idempotency,
            1 => KeyKind::External,
            _ => return None,
        };
        let level = u8::try_from(key >> 72).ok()?;
        Some(Name { kind, level, first: Seq(u64::try_from(key & u128::from(u64::MAX)).ok()?) })
    }

    fn head(self) -> u128 {
        u128::from(self.level) << 72 | (self.kind as u128) << 64 | u128::from(self.first.0)
    }

    /// Key of a chunk of its rows, or of a piece of its filter.
    pub(super) fn part(self, part: u32) -> u128 {
        u128::from(self.level) << 104 | (self.kind as u128) << 96 | u128::from(self.first.0) << 32 | u128::from(part)
    }
}

/// Chunks of `key_rows` by table and place, without version and seal; and what the cache does.
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
pub(super) struct KeyTable {
    /// Its chunks in the cache go by it: another table may come under the same name.
    id: u64,
    pub(super) name: Name,
    /// The last entry whose keys it has.
    pub(super) last: Seq,
    pub(super) rows: u64,
    pub(super) newest_moment: Moment,
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

/// No two tables of a process have the same.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Reads heads and filters of all key tables.
pub(super) fn load_tables(reader: &Reader) -> Result<KeyTables, StoreError> {
    let mut tables = Vec::new();
    for key in reader.keys_down(KEY_HEADS, u128::MAX) {
        let key = key?;
        let head = reader.require(KEY_HEADS, key, |body| Head::decode(key, body))?;
        let mut bytes = Vec::new();
        for piece in 0..head.filter_pieces() {
            reader.require(KEY_FILTERS, head.name.part(piece), |body| {
                bytes.extend_from_slice(body);
                Some(())
            })?;
        }
        let filter = Filter::from_bytes(&bytes)
            .filter(|filter| filter.bytes() == head.filter_bytes)
            .ok_or_else(|| corrupt(KEY_FILTERS, key, "the filter has another length"))?;
        let Head { name, last, rows, newest_moment, fences, .. } = head;
        tables.push(Arc::new(KeyTable { id: next_id(), name, last, rows, newest_moment, fences, filter }));
    }
    tables.sort_by_key(|table| (table.name.first, table.name.level));
    Ok(tables)
}

impl Store {
    /// Writes (or replaces) the table of a range of entries in a transaction of its own. `rows` ascend
    /// by (hash, seq); of several rows with one hash the last counts. They are taken one after the other: no more
    /// memory is needed than for the filter, its next part and what redb's cache holds.
    ///
    /// # Errors
    /// As redb fails, or [`StoreError::Corrupt`] where the table that is replaced is damaged.
    pub fn write_key_table(
        &self,
        (first, last): (Seq, Seq),
        kind: KeyKind,
        rows: impl ExactSizeIterator<Item = ([u8; 16], Seq)>,
        newest_moment: Moment,
    ) -> Result<(), StoreError> {
        let is_same = |table: &&Arc<KeyTable>| (table.name.kind, table.name.first, table.last) == (kind, first, last);
        let level = self.key_tables().iter().find(is_same).map_or(0, |table| table.name.level);
        let name = Name { kind, level, first };
        let table = self.write_table(name, last, rows.len(), &mut rows.map(Ok), newest_moment)?;
        self.change_tables(|tables| {
            tables.retain(|old| old.name != name);
            tables.push(table);
        });
        Ok(())
    }

    /// Writes a table that nobody looks into yet. `count` is what its filter is made for.
    pub(super) fn write_table(
        &self,
        name: Name,
        last: Seq,
        count: usize,
        rows: &mut dyn Iterator<Item = Result<([u8; 16], Seq), StoreError>>,
        newest_moment: Moment,
    ) -> Result<Arc<KeyTable>, StoreError> {
        let mut writer = self.writer()?;
        Head::remove(name.head(), &mut writer)?;
        let mut filter = Builder::new(count);
        let mut head = Head {
            name,
            last,
            rows: 0,
            newest_moment,
            filter_bytes: 0,
            fences: Vec::with_capacity(count / KEYS_PER_CHUNK),
        };
        let mut rows = rows.peekable();
        let mut before = None;
        while rows.peek().is_some() {
            let chunk = head.chunks();
            let mut body = Body::with_capacity(KEYS_PER_CHUNK * ROW_BYTES);
            for (place, row) in rows.by_ref().take(KEYS_PER_CHUNK).enumerate() {
                let row = row?;
                if before.replace(row) > Some(row) {
                    return Err(corrupt(KEY_HEADS, name.head(), "rows for it are not in the order of their hashes"));
                }
                let (hash, seq) = row;
                if place == 0 {
                    head.fences.push(hash);
                }
                filter.push(hash);
                body.put(&hash);
                body.put(&seq.0.to_le_bytes());
                head.rows += 1;
            }
            writer.put(KEY_ROWS, name.part(chunk), body)?;
        }
        let filter = filter.finish();
        for (piece, bytes) in (0u32..).zip(filter.to_bytes().chunks(FILTER_PIECE_BYTES)) {
            let mut body = Body::with_capacity(bytes.len());
            body.put(bytes);
            writer.put(KEY_FILTERS, name.part(piece), body)?;
        }
        head.filter_bytes = filter.bytes();
        writer.put(KEY_HEADS, name.head(), head.encode())?;
        writer.commit()?;
        let Head { rows, fences, .. } = head;
        Ok(Arc::new(KeyTable { id: next_id(), name, last, rows, newest_moment, fences, filter }))
    }

    /// The newest seq stored for a hash; newest table first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] on damage, or as redb fails.
    pub fn find_key(&self, kind: KeyKind, hash: &[u8; 16]) -> Result<Option<Seq>, StoreError> {
        search(
            || self.key_tables(),
            |tables| {
                for table in tables.iter().rev().filter(|table| table.name.kind == kind) {
                    if table.filter.may_contain(hash)
                        && let Some(place) = table.chunk_of(hash)
                        && let Some(seq) = self.find_in_chunk(table, place, hash)?
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
        let tables = self.key_tables();
        for table in tables.iter().rev().filter(|table| table.name.kind == kind) {
            if table.filter.may_contain(hash)
                && let Some(place) = table.chunk_of(hash)
            {
                let chunk = self.chunks.get(table.cached(place)).ok_or(NeedsDisk)?;
                if let Some(seq) = find_in(&chunk, hash) {
                    return Ok(Some(seq));
                }
            }
        }
        // A list that was replaced meanwhile proves nothing.
        if Arc::ptr_eq(&tables, &self.key_tables()) { Ok(None) } else { Err(NeedsDisk) }
    }

    /// Drops idempotency tables whose newest key is older; how many. External ids stay for ever.
    ///
    /// # Errors
    /// As redb fails, or [`StoreError::Corrupt`] where a table to be dropped is damaged.
    pub fn drop_key_tables(&self, older_than: Moment) -> Result<usize, StoreError> {
        let is_old = |table: &KeyTable| table.name.kind == KeyKind::Idempotency && table.newest_moment < older_than;
        let old: KeyTables = self.key_tables().iter().filter(|table| is_old(table)).cloned().collect();
        if old.is_empty() {
            return Ok(0);
        }
        // Out of sight first: a look-up must not run into a table that is half gone.
        self.change_tables(|tables| tables.retain(|table| !is_old(table)));
        self.remove_tables(&old)?;
        Ok(old.len())
    }

    /// Takes tables that nobody looks into any more out of the file.
    pub(super) fn remove_tables(&self, tables: &[Arc<KeyTable>]) -> Result<(), StoreError> {
        let mut writer = self.writer()?;
        for table in tables {
            Head::remove(table.name.head(), &mut writer)?;
            writer.remove(KEY_HEADS, table.name.head())?;
        }
        writer.commit()
    }

    /// Gives every row of the table that begins with an entry, ascending by hash: (hash, seq); `false` when there is no
    /// such table, or none any more. For `verify`, so a row must also be one that a look-up would find.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] on damage and where filter or fences hide a row, or as redb fails.
    pub fn load_key_table(
        &self,
        kind: KeyKind,
        first: Seq,
        give: &mut dyn FnMut([u8; 16], Seq),
    ) -> Result<bool, StoreError> {
        let tables = self.key_tables();
        // The widest, where a merge was cut off.
        let found = tables.iter().rev().find(|table| (table.name.kind, table.name.first) == (kind, first));
        let Some(table) = found else { return Ok(false) };
        for place in 0..table.chunks() {
            let key = table.name.part(place);
            let is_whole = |body: &[u8]| !body.is_empty() && body.len().is_multiple_of(ROW_BYTES);
            // Past the cache: a table read once from end to end would drive out what others look up.
            let body: Result<Vec<u8>, StoreError> =
                self.reader()?.require(KEY_ROWS, key, |body| is_whole(body).then(|| body.to_vec()));
            let body = match body {
                Err(_) if !self.key_tables().iter().any(|now| now.name == table.name) => return Ok(false),
                body => body?,
            };
            for row in body.as_chunks::<ROW_BYTES>().0 {
                let (hash, seq) = split_row(row);
                if !table.filter.may_contain(&hash) || table.chunk_of(&hash) != Some(place) {
                    return Err(corrupt(KEY_ROWS, key, "a look-up would not find a row of it"));
                }
                give(hash, seq);
            }
        }
        Ok(true)
    }

    /// First and last entries of the ranges that have a table of this kind, ascending.
    #[must_use]
    pub fn key_ranges(&self, kind: KeyKind) -> Vec<(Seq, Seq)> {
        let tables = self.key_tables();
        let of_kind = tables.iter().filter(|table| table.name.kind == kind);
        let is_merged = |table: &KeyTable| of_kind.clone().any(|wider| wider.covers(table));
        of_kind.clone().filter(|table| !is_merged(table)).map(|table| (table.name.first, table.last)).collect()
    }

    /// Memory held by filters and fences, bytes.
    #[must_use]
    pub fn filter_bytes(&self) -> usize {
        self.key_tables().iter().map(|table| table.filter.bytes() + table.fences.len() * 16).sum()
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

    /// The newest seq of a hash in a chunk. One that it is not in is not kept: nobody asks for a stranger twice, and its
    /// chunk is no likelier to be needed again than any other.
    fn find_in_chunk(&self, table: &KeyTable, place: u32, hash: &[u8; 16]) -> Result<Option<Seq>, StoreError> {
        let key = table.name.part(place);
        if let Some(body) = self.chunks.get(table.cached(place)) {
            return Ok(find_in(&body, hash));
        }
        let found = self.reader()?.require(KEY_ROWS, key, |body| {
            let is_whole = !body.is_empty() && body.len().is_multiple_of(ROW_BYTES);
            is_whole.then(|| find_in(body, hash).map(|seq| (seq, Arc::from(body))))
        })?;
        Ok(found.map(|(seq, body)| {
            self.chunks.chunks.insert(table.cached(place), body);
            seq
        }))
    }

    pub(super) fn key_tables(&self) -> Arc<KeyTables> {
        Arc::clone(&self.key_tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn change_tables(&self, change: impl FnOnce(&mut KeyTables)) {
        let mut guard = self.key_tables.write().unwrap_or_else(PoisonError::into_inner);
        let mut tables = KeyTables::clone(&guard);
        change(&mut tables);
        tables.sort_by_key(|table| (table.name.first, table.name.level));
        *guard = Arc::new(tables);
    }
}

/// Hash and seq of a row.
pub(super) fn split_row(row: &[u8; ROW_BYTES]) -> ([u8; 16], Seq) {
    let hash = *row.first_chunk().expect("a row is 24 bytes");
    (hash, Seq(u64::from_le_bytes(*row.last_chunk().expect("a row is 24 bytes"))))
}

/// The newest seq of a hash in a chunk.
fn find_in(chunk: &[u8], hash: &[u8; 16]) -> Option<Seq> {
    let (rows, _) = chunk.as_chunks::<ROW_BYTES>();
    let after = rows.partition_point(|row| row[..16] <= hash[..]);
    let found = after.checked_sub(1).map(|last| &rows[last]).filter(|row| row[..16] == hash[..]);
    found.map(|row| split_row(row).1)
}

impl KeyTable {
    /// The one chunk in which a hash can stand.
    fn chunk_of(&self, hash: &[u8; 16]) -> Option<u32> {
        let place = self.fences.partition_point(|fence| fence <= hash).checked_sub(1)?;
        Some(u32::try_from(place).expect("a table has at most 2^32 chunks: its keys are 32 bits wide"))
    }

    /// Under what a chunk of it is cached.
    fn cached(&self, place: u32) -> u128 {
        u128::from(self.id) << 32 | u128::from(place)
    }

    /// Whether it has all that the other one has, which was merged into it.
    pub(super) fn covers(&self, other: &KeyTable) -> bool {
        let (name, range) = (self.name, self.name.first..=self.last);
        name.kind == other.name.kind && name.level > other.name.level && range.contains(&other.name.first)
    }

    pub(super) fn chunks(&self) -> u32 {
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
    name: Name,
    last: Seq,
    rows: u64,
    newest_moment: Moment,
    filter_bytes: usize,
    fences: Vec<[u8; 16]>,
}

impl Head {
    fn chunks(&self) -> u32 {
        u32::try_from(self.fences.len()).expect("a table has at most 2^32 chunks: its keys are 32 bits wide")
    }

    fn filter_pieces(&self) -> u32 {
        u32::try_from(self.filter_bytes.div_ceil(FILTER_PIECE_BYTES)).unwrap_or(u32::MAX)
    }

    fn encode(&self) -> Body {
        let mut body = Body::with_capacity(48 + self.fences.len() * 16);
        body.put(&self.newest_moment.0.to_le_bytes());
        body.put_varint(self.last.0);
        body.put_varint(self.rows);
        body.put_varint(self.filter_bytes as u64);
        for fence in &self.fences {
            body.put(fence);
        }
        body
    }

    fn decode(key: u128, body: &[u8]) -> Option<Head> {
        let name = Name::of_head(key)?;
        let mut fields = Fields::new(body);
        let newest_moment = Moment(i64::from_le_bytes(fields.array()?));
        let (last, rows, filter_bytes) = (Seq(fields.varint()?), fields.varint()?, fields.narrow()?);
        let mut fences = Vec::new();
        while !fields.is_empty() {
            fences.push(fields.array()?);
        }
        Some(Head { name, last, rows, newest_moment, filter_bytes, fences })
    }

    /// Removes chunks and pieces of the table whose head stands under a key now.
    fn remove(key: u128, writer: &mut Writer) -> Result<(), StoreError> {
        let Some(old) = writer.get(KEY_HEADS, key, |body| Head::decode(key, body))? else { return Ok(()) };
        for chunk in (0u32..).take(old.fences.len()) {
            writer.remove(KEY_ROWS, old.name.part(chunk))?;
        }
        for piece in 0..old.filter_pieces() {
            writer.remove(KEY_FILTERS, old.name.part(piece))?;
        }
        Ok(())
    }
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
