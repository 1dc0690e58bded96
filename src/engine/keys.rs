//! Idempotency keys and external ids since the last key table.
//!
//! Both are looked up by 128 bits of a hash. Recent ones live in key shards of their own, since two
//! requests with one key may touch different accounts. Once there are many (see `tabling`) they move into
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

/// The keys are hashes already: their last eight bytes will do. Not the first ones, by which their shard is chosen:
/// those would be alike within it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastBytes(u64);

impl Hasher for LastBytes {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        let mut last = [0; 8];
        let length = bytes.len().min(8);
        last[..length].copy_from_slice(&bytes[bytes.len() - length..]);
        self.0 ^= u64::from_le_bytes(last);
    }
    fn write_usize(&mut self, _length_prefix: usize) {}
}

/// Rows by hash. Those of idempotency keys are the most by far, and tell nothing but the seq that they begin with.
type KeyMap<V> = HashMap<KeyHash, V, BuildHasherDefault<LastBytes>>;

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The first seq of the record with this idempotency key; or the seq of the transfer or the
    /// number of the account with this external id.
    pub number: u64,
    /// The entry that made the row: decides to which table it goes. Of an idempotency key it is `number`.
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
    /// Empty, with the room of the last one that retired: a map that grows again from nothing would leave its smaller
    /// selves to the allocator, and keep those who post waiting.
    spare: KeyMap<V>,
}

impl<V> Default for Rows<V> {
    fn default() -> Rows<V> {
        Rows { young: KeyMap::default(), retiring: Arc::default(), spare: KeyMap::default() }
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
        assert!(self.retiring.is_empty(), "one table is made at a time");
        let next = std::mem::take(&mut self.spare);
        self.retiring = Arc::new(std::mem::replace(&mut self.young, next));
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
}

impl Keys {
    /// At least `count` shards, rounded up to a power of two, at most 256.
    #[must_use]
    pub fn new(count: usize) -> Keys {
        let count = count.clamp(1, 256).next_power_of_two();
        Keys { shards: (0..count).map(|_| Mutex::default()).collect(), generation: AtomicU64::new(0) }
    }

    /// Rows that were not set aside for a table.
    #[must_use]
    pub fn young(&self) -> u64 {
        let young = |shard: &Mutex<KeyShard>| {
            let shard = shard.lock();
            shard.idempotency.count()[0] + shard.external.count()[0]
        };
        self.shards.iter().map(|shard| young(shard) as u64).sum()
    }

    /// Moves on whenever rows have moved from memory into the store.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The shards in their order hold the hashes in theirs, so that a table can be written shard by shard.
    fn place(&self, hash: &KeyHash) -> usize {
        usize::from(hash[0]) * self.shards.len() / 256
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

    /// Sets the rows of both kinds aside for the tables of a range, and hands out those with a seq up to
    /// `through`; the rest stays young.
    #[must_use]
    pub fn retire(&self, through: Seq) -> Retired {
        Retired {
            idempotency: self.set_aside(through, |shard| &mut shard.idempotency),
            external: self.set_aside(through, |shard| &mut shard.external),
        }
    }

    fn set_aside<V: Kept>(&self, through: Seq, rows_of: impl Fn(&mut KeyShard) -> &mut Rows<V>) -> Aside<V> {
        let mut aside = Aside { shards: Vec::with_capacity(self.shards.len()), through, count: 0 };
        for shard in &self.shards {
            let rows = rows_of(&mut shard.lock()).set_aside();
            // The few rows after the range: appended between its end and now.
            let is_later = |(_, kept): &(&KeyHash, &V)| kept.row().seq > through;
            let later: Vec<(KeyHash, V)> = rows.iter().filter(is_later).map(|(hash, kept)| (*hash, *kept)).collect();
            aside.count += rows.len() - later.len();
            rows_of(&mut shard.lock()).young.extend(later);
            aside.shards.push(rows);
        }
        aside
    }

    /// The store has the table: drops what was set aside.
    pub fn drop_retired(&self) {
        // The generation moves first: whoever looked into the store before this looks again.
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.drop_rows(|shard| &mut shard.idempotency);
        self.drop_rows(|shard| &mut shard.external);
    }

    fn drop_rows<V: Kept>(&self, rows_of: impl Fn(&mut KeyShard) -> &mut Rows<V>) {
        for shard in &self.shards {
            let gone = std::mem::take(&mut rows_of(&mut shard.lock()).retiring);
            // Emptied when nobody waits for the lock any more.
            if let Some(mut spare) = Arc::into_inner(gone) {
                spare.clear();
                rows_of(&mut shard.lock()).spare = spare;
            }
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

/// Rows that were set aside, for the tables of a range.
#[derive(Debug)]
pub struct Retired {
    idempotency: Aside<Seq>,
    external: Aside<KeyRow>,
}

impl Retired {
    /// The rows of the table of idempotency keys, ascending by hash; the memory for those of one shard at a time.
    pub fn idempotency(&self) -> impl ExactSizeIterator<Item = (KeyHash, Seq)> {
        self.idempotency.rows()
    }

    /// The same of the table of external ids: hash and number.
    pub fn external(&self) -> impl ExactSizeIterator<Item = (KeyHash, Seq)> {
        self.external.rows()
    }
}

#[derive(Debug)]
struct Aside<V> {
    shards: Vec<Arc<KeyMap<V>>>,
    through: Seq,
    /// Rows up to there.
    count: usize,
}

impl<V: Kept> Aside<V> {
    fn rows(&self) -> AsideRows<'_, V> {
        AsideRows { aside: self, next: 0, rows: Vec::new().into_iter(), left: self.count }
    }
}

struct AsideRows<'a, V> {
    aside: &'a Aside<V>,
    /// The shard after the one of `rows`.
    next: usize,
    rows: std::vec::IntoIter<(KeyHash, Seq)>,
    left: usize,
}

impl<V: Kept> Iterator for AsideRows<'_, V> {
    type Item = (KeyHash, Seq);

    fn next(&mut self) -> Option<(KeyHash, Seq)> {
        loop {
            if let Some(row) = self.rows.next() {
                self.left -= 1;
                return Some(row);
            }
            let shard = self.aside.shards.get(self.next)?;
            self.next += 1;
            let all = shard.iter().map(|(hash, kept)| (hash, kept.row()));
            let wanted = all.filter(|(_, row)| row.seq <= self.aside.through);
            let mut rows: Vec<(KeyHash, Seq)> = wanted.map(|(hash, row)| (*hash, Seq(row.number))).collect();
            rows.sort_unstable_by_key(|(hash, _)| *hash);
            self.rows = rows.into_iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<V: Kept> ExactSizeIterator for AsideRows<'_, V> {}

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
        let keys = Keys::new(4);
        let hash = |n: u8| external_hash(ExternalKind::Account, &n.to_string());
        for n in 0..100 {
            let row = KeyRow { number: u64::from(n), seq: Seq(u64::from(n)) };
            keys.lock(Some(&hash(n)), None).insert(KeyKind::External, hash(n), row);
        }
        let retired = keys.retire(Seq(59));
        assert_eq!(retired.idempotency().len(), 0);
        assert_eq!(retired.external().len(), 60);
        let rows: Vec<(KeyHash, Seq)> = retired.external().collect();
        assert_eq!(rows.len(), 60);
        assert!(rows.is_sorted());
        assert!((0..100).all(|n| keys.find(KeyKind::External, &hash(n)) == Some(u64::from(n))));
        let before = keys.generation();
        keys.drop_retired();
        assert_ne!(keys.generation(), before);
        let left = (0..100).filter(|n| keys.find(KeyKind::External, &hash(*n)).is_some());
        assert!(left.eq(60..100));
    }

    #[test]
    fn a_map_that_retired_is_used_again() {
        let keys = Keys::new(1);
        for round in 0..3u64 {
            for n in 0..1_000 {
                let seq = Seq(round * 1_000 + n);
                let hash = external_hash(ExternalKind::Payment, &seq.0.to_string());
                keys.load(KeyKind::Idempotency, hash, KeyRow { number: seq.0, seq });
            }
            assert_eq!(keys.young(), 1_000);
            let retired = keys.retire(Seq(u64::MAX));
            assert_eq!((keys.young(), keys.len()), (0, 1_000));
            assert_eq!(retired.idempotency().len(), 1_000);
            drop(retired);
            keys.drop_retired();
            assert!(keys.is_empty());
        }
        let shard = keys.shards[0].lock();
        assert!(shard.idempotency.spare.capacity() >= 1_000 && shard.idempotency.young.capacity() >= 1_000);
    }

    #[test]
    fn the_kinds_do_not_share_names() {
        assert_ne!(external_hash(ExternalKind::Account, "A"), external_hash(ExternalKind::Transfer, "A"));
    }
}
