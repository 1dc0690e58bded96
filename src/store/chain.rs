//! Rows of the store, and the proof that a row is **not** there.
//!
//! Promise: [`Reader`] and [`Writer`] give a row whose seal was checked, or the proof of its absence,
//! or an error; a search led astray by a damaged page is an error too. How:
//! 1. Each chained table has a list in `links`, in order of keys, from a head to an end. A link says
//!    which key comes next and is sealed like any value.
//! 2. A row that is found proves itself by its seal, which covers table and key.
//! 3. For a row that is not found, the greatest link at or below its key is read. That link must be
//!    below the key, and its next key above: so the writer has seen nothing between the two.
//! 4. The greatest key at or below a bound is found and proved in the same way: so lists have no holes.
//!
//! redb asserts on pages that make no sense. Those panics are caught here and reported as damage:
//! bits rot on disks, and the store is the part that can be rebuilt.

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::row::{Body, check_value, corrupt};
use super::tables::{LINKS, TABLES, Table};
use super::{STORE_FILE, StoreError};

const END: u128 = u128::MAX;

/// Runs redb's code and turns its panics into an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    crate::disk::guarded(STORE_FILE, work).unwrap_or_else(|_| {
        Err(StoreError::Corrupt { table: "file", key: 0, what: "the database asserted on a page".to_owned() })
    })
}

/// A short read transaction.
#[derive(Debug)]
pub(super) struct Reader {
    tx: ReadTransaction,
}

impl Reader {
    /// Reads what `tx` sees.
    pub fn new(tx: ReadTransaction) -> Reader {
        Reader { tx }
    }

    /// The row at `key`, decoded, or the proof that there is none.
    pub fn get<T>(
        &self,
        table: Table,
        key: u128,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        guarded(|| {
            let found = find(&self.tx.open_table(table.definition())?, table, key, decode)?;
            if found.is_none() && table.is_chained {
                check_absent(&self.tx.open_table(LINKS.definition())?, table, key)?;
            }
            Ok(found)
        })
    }

    /// The row at `key` of a dense table, where it must be.
    pub fn require<T>(
        &self,
        table: Table,
        key: u128,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, StoreError> {
        self.get(table, key, decode)?.ok_or_else(|| corrupt(table, key, "the row is missing"))
    }

    /// The greatest key at or below `bound` of a chained table, or the proof that there is none.
    pub fn key_at_or_below(&self, table: Table, bound: u128) -> Result<Option<u128>, StoreError> {
        guarded(|| {
            let link = link_around(&self.tx.open_table(LINKS.definition())?, table, bound)?;
            Ok(link.key())
        })
    }

    /// The smallest key above `bound` of a chained table, or the proof that there is none.
    pub fn key_above(&self, table: Table, bound: u128) -> Result<Option<u128>, StoreError> {
        guarded(|| {
            let link = link_around(&self.tx.open_table(LINKS.definition())?, table, bound)?;
            if link.next == END {
                return Ok(None);
            }
            let next = Link { at: link.next, next: END };
            if next.at >> 120 != u128::from(table.tag) {
                return Err(corrupt(LINKS, link.at, "the link leads out of its table"));
            }
            Ok(next.key())
        })
    }

    /// All keys of a chained table, descending, starting at or below `bound`.
    pub fn keys_down(&self, table: Table, bound: u128) -> impl Iterator<Item = Result<u128, StoreError>> + use<'_> {
        let mut next = Some(bound);
        std::iter::from_fn(move || {
            let found = self.key_at_or_below(table, next?);
            next = found.as_ref().ok().copied().flatten().and_then(|key| key.checked_sub(1));
            found.transpose()
        })
    }
}

/// A write transaction. Dropped without commit, it changes nothing.
pub(super) struct Writer {
    /// `None` only after commit.
    tx: Option<WriteTransaction>,
}

impl Writer {
    /// Two-phase and with the allocator's state: after kill -9 the file opens without a walk.
    pub fn new(mut tx: WriteTransaction) -> Writer {
        tx.set_two_phase_commit(true);
        tx.set_quick_repair(true);
        Writer { tx: Some(tx) }
    }

    /// Makes all tables of a new file and the heads of their chains.
    pub fn create_tables(&mut self) -> Result<(), StoreError> {
        let tx = self.tx();
        guarded(|| {
            for table in TABLES {
                drop(tx.open_table(table.definition())?);
            }
            let mut links = tx.open_table(LINKS.definition())?;
            for table in TABLES.into_iter().filter(|table| table.is_chained) {
                write_link(&mut links, Link { at: head(table), next: END })?;
            }
            Ok(())
        })
    }

    /// As [`Reader::get`].
    pub fn get<T>(
        &self,
        table: Table,
        key: u128,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let tx = self.tx();
        guarded(|| {
            let found = find(&tx.open_table(table.definition())?, table, key, decode)?;
            if found.is_none() && table.is_chained {
                check_absent(&tx.open_table(LINKS.definition())?, table, key)?;
            }
            Ok(found)
        })
    }

    /// Writes or replaces a row.
    pub fn put(&mut self, table: Table, key: u128, body: Body) -> Result<(), StoreError> {
        let tx = self.tx();
        let value = body.sealed(table, key);
        guarded(|| {
            let is_new = tx.open_table(table.definition())?.insert(key, value.as_slice())?.is_none();
            if is_new && table.is_chained {
                let mut links = tx.open_table(LINKS.definition())?;
                let before = check_absent(&links, table, key)?;
                let at = place(table, key);
                write_link(&mut links, Link { at, next: before.next })?;
                write_link(&mut links, Link { at: before.at, next: at })?;
            }
            Ok(())
        })
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, table: Table, key: u128) -> Result<(), StoreError> {
        let tx = self.tx();
        guarded(|| {
            let was_there = tx.open_table(table.definition())?.remove(key)?.is_some();
            if was_there && table.is_chained {
                let mut links = tx.open_table(LINKS.definition())?;
                let link = link_around(&links, table, key)?;
                let at = place(table, key);
                let before = link_below(&links, at)?;
                if link.at != at || before.next != at || before.at < head(table) {
                    return Err(corrupt(LINKS, at, "the row is not linked"));
                }
                links.remove(at)?;
                write_link(&mut links, Link { at: before.at, next: link.next })?;
            }
            Ok(())
        })
    }

    /// Makes everything durable.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let tx = self.tx.take().expect("commit consumes the writer, so it was not committed before");
        guarded(|| Ok(tx.commit()?))
    }

    fn tx(&self) -> &WriteTransaction {
        self.tx.as_ref().expect("commit consumes the writer, so there is a transaction until then")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(tx) = self.tx.take() {
            // A page that redb cannot read while it rolls back must not end the process; the file
            // keeps its last commit either way.
            let _ = guarded(|| {
                drop(tx);
                Ok(())
            });
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// One link of a chain; places are `tag << 120 | key + 1`, the head's is `tag << 120`.
#[derive(Clone, Copy, Debug)]
struct Link {
    at: u128,
    next: u128,
}

impl Link {
    /// The key it stands for; `None` for a head.
    fn key(self) -> Option<u128> {
        (self.at & ((1 << 120) - 1)).checked_sub(1)
    }
}

fn head(table: Table) -> u128 {
    u128::from(table.tag) << 120
}

/// No table's keys reach 2^112, so that `key + 1` stays in its tag.
fn place(table: Table, key: u128) -> u128 {
    head(table) | (key.min((1 << 112) - 1) + 1)
}

fn find<T>(
    rows: &impl ReadableTable<u128, &'static [u8]>,
    table: Table,
    key: u128,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let Some(value) = rows.get(key)? else { return Ok(None) };
    let body = check_value(table, key, value.value())?;
    decode(body).map(Some).ok_or_else(|| corrupt(table, key, "the row does not parse"))
}

/// The link at or below `bound`, proved to be the greatest one.
fn link_around(links: &impl ReadableTable<u128, &'static [u8]>, table: Table, bound: u128) -> Result<Link, StoreError> {
    let at = place(table, bound);
    let link = link_below(links, at + 1)?;
    // Above the place it cannot be, except by a damaged page: a walk downwards would then go round for ever.
    if !(head(table)..=at).contains(&link.at) || link.next <= at {
        return Err(corrupt(LINKS, at, "a link is missing"));
    }
    Ok(link)
}

/// The key at or below a bound, by the way of every look-up.
///
/// # Errors
/// `Corrupt` where a damaged page leads astray, or the disk's.
pub(super) fn key_around(
    links: &impl ReadableTable<u128, &'static [u8]>,
    table: Table,
    bound: u128,
) -> Result<Option<u128>, StoreError> {
    Ok(link_around(links, table, bound)?.key())
}

/// Whether the search for a key's link finds it.
pub(super) fn is_linked(
    links: &impl ReadableTable<u128, &'static [u8]>,
    table: Table,
    key: u128,
) -> Result<bool, StoreError> {
    Ok(link_around(links, table, key)?.at == place(table, key))
}

/// The proof that a key is absent: the link before it, which points beyond it.
fn check_absent(links: &impl ReadableTable<u128, &'static [u8]>, table: Table, key: u128) -> Result<Link, StoreError> {
    let link = link_around(links, table, key)?;
    if link.at == place(table, key) {
        return Err(corrupt(table, key, "the row is linked but missing"));
    }
    Ok(link)
}

/// The greatest link below a place, as far as the search can tell.
fn link_below(links: &impl ReadableTable<u128, &'static [u8]>, bound: u128) -> Result<Link, StoreError> {
    let Some(entry) = links.range(..bound)?.next_back() else {
        return Err(corrupt(LINKS, bound, "the head of the chain is missing"));
    };
    let (at, value) = entry?;
    let at = at.value();
    let body = check_value(LINKS, at, value.value())?;
    let next = body.try_into().map(u128::from_le_bytes).map_err(|_| corrupt(LINKS, at, "the link does not parse"))?;
    Ok(Link { at, next })
}

fn write_link(links: &mut redb::Table<'_, u128, &'static [u8]>, link: Link) -> Result<(), StoreError> {
    let mut body = Body::with_capacity(16);
    body.put(&link.next.to_le_bytes());
    links.insert(link.at, body.sealed(LINKS, link.at).as_slice())?;
    Ok(())
}
