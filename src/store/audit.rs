//! Reading every byte that counts: whether each row is what was written, in its place, and none is missing.
//!
//! A row that is never asked for is never looked at otherwise: rot in it would wait for the day on which it is
//! needed. One read transaction; the tables one after the other, memory for one row of each.

use redb::{ReadableDatabase, ReadableTable};

use super::chain::{guarded, is_linked, key_around};
use super::row::{check_value, corrupt};
use super::tables::{LINKS, TABLES, Table};
use super::{Store, StoreError};

impl Store {
    /// Checks the seal of every row of every table, and of chained tables that rows and links are the same, in the
    /// same order, from head to end. Returns how many rows there are.
    ///
    /// # Errors
    /// The first that is wrong, or the disk's.
    pub fn check_every_row(&self) -> Result<u64, StoreError> {
        let tx = self.with(|db| Ok(db.begin_read()?))?;
        let mut rows = 0;
        for table in TABLES.into_iter().filter(|table| *table != LINKS) {
            let read = || -> Result<u64, StoreError> {
                let entries = tx.open_table(table.definition())?;
                let links = tx.open_table(LINKS.definition())?;
                if table.is_chained { check_chained(table, &entries, &links) } else { check_dense(table, &entries) }
            };
            rows += guarded(read)?;
        }
        Ok(rows)
    }
}

type Rows = redb::ReadOnlyTable<u128, &'static [u8]>;

fn check_dense(table: Table, entries: &Rows) -> Result<u64, StoreError> {
    let (mut count, mut before) = (0, None);
    for entry in entries.iter()? {
        let (key, value) = entry?;
        check_value(table, key.value(), value.value())?;
        // A page that leads back would send the walk round for ever.
        if before.replace(key.value()) >= Some(key.value()) {
            return Err(corrupt(table, key.value(), "rows are out of order"));
        }
        // Also by the way of a look-up: a damaged branch of the tree leads astray what a walk through it passes.
        if entries.get(key.value())?.is_none() {
            return Err(corrupt(table, key.value(), "the row is not found by its key"));
        }
        count += 1;
    }
    Ok(count)
}

/// A key that no row has, above all that there are.
const ABSENT: u128 = 1 << 112;

/// Links in order say: head → first key → … → end; each must be the next row's.
fn check_chained(table: Table, entries: &Rows, all_links: &Rows) -> Result<u64, StoreError> {
    let head = u128::from(table.tag) << 120;
    let mut links = all_links.range(head..=head | ((1 << 120) - 1))?;
    let mut next_link = || -> Result<Option<(u128, u128)>, StoreError> {
        let Some(entry) = links.next() else { return Ok(None) };
        let (at, value) = entry?;
        let at = at.value();
        let body = check_value(LINKS, at, value.value())?;
        let next = body.try_into().map(u128::from_le_bytes);
        next.map(|next| Some((at, next))).map_err(|_| corrupt(LINKS, at, "the link does not parse"))
    };
    let first = next_link()?.filter(|(at, _)| *at == head);
    let mut expected = first.ok_or_else(|| corrupt(table, 0, "the head of the chain is missing"))?.1;
    let mut count = 0;
    for entry in entries.iter()? {
        let (key, value) = entry?;
        let key = key.value();
        check_value(table, key, value.value())?;
        let at = head | (key + 1);
        match next_link()? {
            Some((linked, next)) if linked == at && expected == at => expected = next,
            _ => return Err(corrupt(table, key, "the row and the chain of links do not agree")),
        }
        if entries.get(key)?.is_none() || !is_linked(all_links, table, key)? {
            return Err(corrupt(table, key, "the row is not found by its key"));
        }
        // A damaged branch may lead only those astray who look for what is not there, between this row and the next.
        let next_key = (expected & ((1 << 120) - 1)).checked_sub(1).filter(|_| expected != u128::MAX);
        for absent in [key + 1, next_key.unwrap_or(ABSENT) - 1] {
            if absent > key {
                key_around(all_links, table, absent)?;
            }
        }
        count += 1;
    }
    if expected != u128::MAX || next_link()?.is_some() {
        return Err(corrupt(table, 0, "the chain of links goes on where no row is"));
    }
    Ok(count)
}
