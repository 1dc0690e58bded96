//! Idempotency keys and external ids since the last sealed segment.
//!
//! Both are looked up by 128 bits of a hash. Recent ones live in key shards of their own, since two
//! requests with one key may touch different accounts. When a segment is sealed its keys move into
//! one table of the store: first the maps are set aside (in one pointer swap), then the table is
//! written, then they are dropped and the **generation** moves on. Whoever looked into the store
//! before locking compares the generation under the lock and looks again if it moved.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::domain::ids::Seq;

/// 128 bits of blake3.
pub type KeyHash = [u8; 16];

/// What the hash of an external id begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalKind {
    /// Of an account; the row's number is the account's.
    Account,
    /// Of a transfer; the row's number is its seq.
    Transfer,
    /// Of a customer; the row's number is the customer's.
    Customer,
    /// Of a loan product; the row's number is the product's.
    Product,
    /// Of a loan; the row's number is the loan's.
    Loan,
    /// Of a payment: its rail and what that calls it; the row's number is the seq of the event.
    Payment,
}

/// Hash of an external id: unique per kind.
#[must_use]
pub fn external_hash(kind: ExternalKind, text: &str) -> KeyHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(match kind {
        ExternalKind::Account => b"account:",
        ExternalKind::Transfer => b"transfer",
        ExternalKind::Customer => b"customer",
        ExternalKind::Product => b"product:",
        ExternalKind::Loan => b"loan:   ",
        ExternalKind::Payment => b"payment:",
    });
    hasher.update(text.as_bytes());
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

/// The keys are hashes already: their first eight bytes will do.
#[derive(Clone, Copy, Debug, Default)]
pub struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        let mut first = [0; 8];
        let length = bytes.len().min(8);
        first[..length].copy_from_slice(&bytes[..length]);
        self.0 ^= u64::from_le_bytes(first);
    }
    fn write_usize(&mut self, _length_prefix: usize) {}
}

/// Rows by hash. Those of idempotency keys are the most by far, and tell nothing but the seq that they begin with.
type KeyMap<V> = HashMap<KeyHash, V, BuildHasherDefault<FirstBytes>>;

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The first seq of the record with this idempotency key; or the seq of the transfer or the
    /// number of the account with this external id.
    pub number: u64,
    /// The entry that made the row: decides to which segment's table it goes. Of an idempotency key it is `number`.
    pub seq: Seq,
}

/// What is kept of a row in memory.
trait Kept: Copy {
    fn keep(row: KeyRow) -> Self;
    fn row(self) -> KeyRow;
}

impl Kept for KeyRow {
    fn keep(row: KeyRow) -> KeyRow {
        row
    }

    fn row(self) -> KeyRow {
        self
    }
}

impl Kept for Seq {
    fn keep(row: KeyRow) -> Seq {
        debug_assert_eq!(row.number, row.seq.0, "a key's record is found by its first entry");
        row.seq
    }

    fn row(self) -> KeyRow {
        KeyRow { number: self.0, seq: self }
    }
}

/// Which of the two kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Idempotency keys; dropped after their retention.
    Idempotency,
    /// External ids; kept for ever.
    External,
}

#[derive(Debug)]
struct Rows<V> {
    young: KeyMap<V>,
    retiring: Arc<KeyMap<V>>,
}

impl<V> Default for Rows<V> {
    fn default() -> Rows<V> {
        Rows { young: KeyMap::default(), retiring: Arc::default() }
    }
}

impl<V: Kept> Rows<V> {
    fn find(&self, hash: &KeyHash) -> Option<u64> {
        self.young.get(hash).or_else(|| self.retiring.get(hash)).map(|kept| kept.row().number)
    }

    fn insert(&mut self, hash: KeyHash, row: KeyRow) {
        self.young.insert(hash, V::keep(row));
    }

    /// Sets all rows aside, and hands them out.
    fn set_aside(&mut self) -> Arc<KeyMap<V>> {
        assert!(self.retiring.is_empty(), "one segment retires at a time");
        self.retiring = Arc::new(std::mem::take(&mut self.young));
        Arc::clone(&self.retiring)
    }

    fn count(&self) -> [usize; 2] {
        [self.young.len(), self.retiring.len()]
    }
}

/// One key shard.
#[derive(Debug, Default)]
pub struct KeyShard {
    /// Dropped after their retention.
    idempotency: Rows<Seq>,
    external: Rows<KeyRow>,
}

impl KeyShard {
    fn find(&self, kind: KeyKind, hash: &KeyHash) -> Option<u64> {
        match kind {
            KeyKind::Idempotency => self.idempotency.find(hash),
            KeyKind::External => self.external.find(hash),
        }
    }

    fn insert(&mut self, kind: KeyKind, hash: KeyHash, row: KeyRow) {
        match kind {
            KeyKind::Idempotency => self.idempotency.insert(hash, row),
            KeyKind::External => self.external.insert(hash, row),
        }
    }
}

/// All key shards.
#[derive(Debug)]
pub struct Keys {
    /// Each lock guards its shard's maps; taken after the account shards, ascending, before the sequencer.
    shards: Box<[Mutex<KeyShard>]>,
    generation: AtomicU64,
    /// A segment ends when it has so many rows.
    per_segment: u64,
    /// Segments that had ended when they were counted last, and the rows that are not the active one's.
    counted: Mutex<(u64, u64)>,
}

impl Keys {
    /// At least `count` shards, rounded up to a power of two, at most 256. A segment is to end when it has some
    /// `per_segment` rows.
    #[must_use]
    pub fn new(count: usize, per_segment: u64) -> Keys {
        let count = count.clamp(1, 256).next_power_of_two();
        let shards = (0..count).map(|_| Mutex::default()).collect();
        Keys { shards, generation: AtomicU64::new(0), per_segment: per_segment.max(1), counted: Mutex::default() }
    }

    /// Whether the active segment has so many rows that it is to end, as far as can be told from now and then asking:
    /// rows are in memory until their segment has ended and its table is written. `ended` segments have.
    #[must_use]
    pub fn fill_a_segment(&self, ended: u64) -> bool {
        let mut young = 0;
        for shard in &self.shards {
            let shard = shard.lock();
            young += (shard.idempotency.count()[0] + shard.external.count()[0]) as u64;
        }
        let mut counted = self.counted.lock();
        let (seen, older) = &mut *counted;
        if *seen != ended {
            (*seen, *older) = (ended, young);
        } else if young < *older {
            // Their table is being written.
            *older = 0;
        }
        young - *older >= self.per_segment
    }

    /// Moves on whenever rows have moved from memory into the store.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn place(&self, hash: &KeyHash) -> usize {
        // Not the bytes by which the maps place their rows: those would be alike within a shard.
        usize::from(hash[15]) & (self.shards.len() - 1)
    }

    /// Looks a row up without keeping the lock.
    #[must_use]
    pub fn find(&self, kind: KeyKind, hash: &KeyHash) -> Option<u64> {
        self.shards[self.place(hash)].lock().find(kind, hash)
    }

    /// Locks the shards of up to two hashes, ascending.
    pub fn lock(&self, a: Option<&KeyHash>, b: Option<&KeyHash>) -> LockedKeys<'_> {
        let (a, b) = (a.map(|hash| self.place(hash)), b.map(|hash| self.place(hash)));
        let (first, second) = match (a, b) {
            (Some(a), Some(b)) if a != b => (Some(a.min(b)), Some(a.max(b))),
            (a, b) => (a.or(b), None),
        };
        LockedKeys {
            keys: self,
            guards: [first, second].map(|at| at.map(|at| (at, self.shards[at].lock()))),
            all: Vec::new(),
        }
    }

    /// Locks all key shards, ascending.
    pub fn lock_all(&self) -> LockedKeys<'_> {
        LockedKeys { keys: self, guards: [None, None], all: self.shards.iter().map(Mutex::lock).collect() }
    }

    /// Puts a row in while recovering.
    pub fn load(&self, kind: KeyKind, hash: KeyHash, row: KeyRow) {
        self.shards[self.place(&hash)].lock().insert(kind, hash, row);
    }

    /// Sets the rows of both kinds aside for the table of a sealed segment, and returns the numbers of those with
    /// a seq up to `through`, sorted by hash, as the table has them; the rest stays young.
    #[must_use]
    pub fn retire(&self, through: Seq) -> [Vec<(KeyHash, Seq)>; 2] {
        [
            self.retire_rows(through, |shard| &mut shard.idempotency),
            self.retire_rows(through, |shard| &mut shard.external),
        ]
    }

    fn retire_rows<V: Kept>(
        &self,
        through: Seq,
        rows_of: impl Fn(&mut KeyShard) -> &mut Rows<V>,
    ) -> Vec<(KeyHash, Seq)> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            let aside = rows_of(&mut shard.lock()).set_aside();
            let mut later = Vec::new();
            for (hash, kept) in aside.iter() {
                let row = kept.row();
                if row.seq <= through {
                    rows.push((*hash, Seq(row.number)));
                } else {
                    // The few rows of the segment after: appended between its first entry and now.
                    later.push((*hash, *kept));
                }
            }
            rows_of(&mut shard.lock()).young.extend(later);
        }
        rows.sort_unstable_by_key(|(hash, _)| *hash);
        rows
    }

    /// The store has the table: drops what was set aside.
    pub fn drop_retired(&self) {
        // The generation moves first: whoever looked into the store before this looks again.
        self.generation.fetch_add(1, Ordering::AcqRel);
        for shard in &self.shards {
            // Freed when nobody waits for the lock any more.
            let gone = {
                let mut shard = shard.lock();
                (std::mem::take(&mut shard.idempotency.retiring), std::mem::take(&mut shard.external.retiring))
            };
            drop(gone);
        }
    }

    /// Rows in memory, for `/v1/status` and tests.
    #[must_use]
    pub fn len(&self) -> u64 {
        let count = |shard: &Mutex<KeyShard>| {
            let shard = shard.lock();
            [shard.idempotency.count(), shard.external.count()].as_flattened().iter().sum::<usize>()
        };
        self.shards.iter().map(|shard| count(shard) as u64).sum()
    }

    /// Whether no row is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Some key shards, locked.
#[derive(Debug)]
pub struct LockedKeys<'a> {
    keys: &'a Keys,
    guards: [Option<(usize, MutexGuard<'a, KeyShard>)>; 2],
    all: Vec<MutexGuard<'a, KeyShard>>,
}

impl LockedKeys<'_> {
    fn shard(&mut self, hash: &KeyHash) -> &mut KeyShard {
        let at = self.keys.place(hash);
        if !self.all.is_empty() {
            return &mut self.all[at];
        }
        let mut held = self.guards.iter_mut().flatten();
        &mut held.find(|(place, _)| *place == at).expect("the shard of every hash asked for was locked").1
    }

    /// The row of a hash, young or set aside.
    pub fn find(&mut self, kind: KeyKind, hash: &KeyHash) -> Option<u64> {
        self.shard(hash).find(kind, hash)
    }

    /// Adds a row; `decide` has seen that there was none.
    pub fn insert(&mut self, kind: KeyKind, hash: KeyHash, row: KeyRow) {
        self.shard(&hash).insert(kind, hash, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retiring_keeps_every_row_findable_until_the_store_has_it() {
        let keys = Keys::new(4, 1_000);
        let hash = |n: u8| external_hash(ExternalKind::Account, &n.to_string());
        for n in 0..100 {
            let row = KeyRow { number: u64::from(n), seq: Seq(u64::from(n)) };
            keys.lock(Some(&hash(n)), None).insert(KeyKind::External, hash(n), row);
        }
        let [idempotency, external] = keys.retire(Seq(59));
        assert!(idempotency.is_empty());
        assert_eq!(external.len(), 60);
        assert!(external.is_sorted());
        assert!((0..100).all(|n| keys.find(KeyKind::External, &hash(n)) == Some(u64::from(n))));
        let before = keys.generation();
        keys.drop_retired();
        assert_ne!(keys.generation(), before);
        let left = (0..100).filter(|n| keys.find(KeyKind::External, &hash(*n)).is_some());
        assert!(left.eq(60..100));
    }

    #[test]
    fn a_segment_ends_once_for_the_rows_that_it_has() {
        let keys = Keys::new(4, 10);
        let insert = |numbers: std::ops::Range<u8>| {
            for n in numbers {
                let hash = external_hash(ExternalKind::Payment, &n.to_string());
                let row = KeyRow { number: u64::from(n), seq: Seq(u64::from(n)) };
                keys.lock(Some(&hash), None).insert(KeyKind::Idempotency, hash, row);
            }
        };
        insert(1..10);
        assert!(!keys.fill_a_segment(0));
        insert(10..12);
        assert!(keys.fill_a_segment(0));
        // It has ended, and its rows are still in memory.
        assert!(!keys.fill_a_segment(1));
        insert(12..21);
        assert!(!keys.fill_a_segment(1));
        let [retired, _] = keys.retire(Seq(11));
        assert_eq!(retired.len(), 11);
        assert!(!keys.fill_a_segment(1), "the nine of the active one are left");
        insert(21..22);
        assert!(keys.fill_a_segment(1));
        assert_eq!(keys.len(), 10 + 20);
        keys.drop_retired();
        assert_eq!(keys.len(), 10);
    }

    #[test]
    fn the_kinds_do_not_share_names() {
        assert_ne!(external_hash(ExternalKind::Account, "A"), external_hash(ExternalKind::Transfer, "A"));
    }
}
