//! Merging of key tables: few of them have to be asked, however long keys are kept.
//!
//! Promise: whoever looks a key up meanwhile finds it, in the small tables or in the one that they became. Steps:
//! 1. Eight neighbours that were merged equally often, and are not too many rows together.
//! 2. The merged table is written under a name of its own, in one transaction.
//! 3. It takes their place in the list in memory, in one swap.
//! 4. They are removed, in another transaction. A power cut before that leaves both: the next merge removes what a
//!    wider table has.

use std::sync::{Arc, PoisonError};

use super::chain::Reader;
use super::keys::{KeyTable, Name, ROW_BYTES, split_row};
use super::row::corrupt;
use super::tables::KEY_ROWS;
use super::{KeyKind, Store, StoreError};
use crate::config::MERGED_KEYS_MAX;
use crate::domain::ids::Seq;

/// Tables that become one.
const FAN_IN: usize = 8;

/// While it lives, tables stay as they are: whoever audits them compares one after the other.
#[derive(Debug)]
pub struct MergePause<'a>(&'a Store);

impl Drop for MergePause<'_> {
    fn drop(&mut self) {
        *self.0.merging.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

impl Store {
    /// No tables are merged until it is dropped; waits for a merge that is on its way.
    #[must_use]
    pub fn pause_merging(&self) -> MergePause<'_> {
        *self.merging.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        MergePause(self)
    }

    /// Merges one group of tables of a kind, if there is one; whether it did. Tables whose newest keys are further
    /// apart than `span_max` microseconds are left: they are dropped by their age.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] on damage, where a table lacks rows or has them in another order, or as redb fails: then
    /// nothing was merged, or what was is still to be removed.
    pub fn merge_key_tables(&self, kind: KeyKind, span_max: i64) -> Result<bool, StoreError> {
        let pauses = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        if *pauses > 0 {
            return Ok(false);
        }
        self.remove_merged(kind)?;
        let tables: Vec<Arc<KeyTable>> =
            self.key_tables().iter().filter(|table| table.name.kind == kind).cloned().collect();
        let Some(group) = group_of(&tables, span_max) else { return Ok(false) };
        let (oldest, newest) = (&group[0], &group[FAN_IN - 1]);
        let name = Name { level: oldest.name.level + 1, ..oldest.name };
        let count = group.iter().map(|table| table.rows).sum::<u64>();
        let newest_moment = group.iter().map(|table| table.newest_moment).max().unwrap_or(newest.newest_moment);
        let mut rows = Merged::of(self.reader()?, group);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let merged = self.write_table(name, newest.last, count, &mut rows, newest_moment)?;
        self.change_tables(|tables| {
            tables.retain(|table| !group.iter().any(|gone| gone.name == table.name));
            tables.push(merged);
        });
        self.remove_tables(group)?;
        Ok(true)
    }

    /// Step 4 of a merge that was cut off.
    fn remove_merged(&self, kind: KeyKind) -> Result<(), StoreError> {
        let tables = self.key_tables();
        let is_gone = |table: &KeyTable| table.name.kind == kind && tables.iter().any(|wider| wider.covers(table));
        let gone: Vec<Arc<KeyTable>> = tables.iter().filter(|table| is_gone(table)).cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.change_tables(|now| now.retain(|table| !gone.iter().any(|gone| gone.name == table.name)));
        self.remove_tables(&gone)
    }
}

/// The first neighbours that may become one table.
fn group_of(tables: &[Arc<KeyTable>], span_max: i64) -> Option<&[Arc<KeyTable>]> {
    tables.windows(FAN_IN).find(|group| {
        let (oldest, newest) = (&group[0], &group[FAN_IN - 1]);
        group.iter().all(|table| table.name.level == oldest.name.level)
            && group.windows(2).all(|pair| pair[0].last.next() == pair[1].name.first)
            && group.iter().map(|table| table.rows).sum::<u64>() <= MERGED_KEYS_MAX
            && newest.newest_moment.0.saturating_sub(oldest.newest_moment.0) <= span_max
    })
}

/// The rows of several tables, ascending; of several with one hash the one of the newest table.
struct Merged<'a> {
    reader: Reader,
    /// Oldest first.
    cursors: Vec<Cursor<'a>>,
}

struct Cursor<'a> {
    table: &'a KeyTable,
    /// The chunk after the one of `rows`.
    next: u32,
    rows: std::vec::IntoIter<([u8; 16], Seq)>,
    row: Option<([u8; 16], Seq)>,
    /// Rows that were taken out of chunks.
    taken: u64,
}

impl<'a> Merged<'a> {
    fn of(reader: Reader, tables: &'a [Arc<KeyTable>]) -> Merged<'a> {
        let cursor =
            |table: &'a Arc<KeyTable>| Cursor { table, next: 0, rows: Vec::new().into_iter(), row: None, taken: 0 };
        Merged { reader, cursors: tables.iter().map(cursor).collect() }
    }
}

impl Cursor<'_> {
    /// Makes `row` the next one, where there is none and the table has more.
    fn fill(&mut self, reader: &Reader) -> Result<(), StoreError> {
        while self.row.is_none() {
            self.row = self.rows.next();
            if self.row.is_some() {
                break;
            }
            let key = self.table.name.part(self.next);
            if self.next == self.table.chunks() {
                // It goes once its rows are in the wider one: not one may be missing.
                let is_whole = self.taken == self.table.rows;
                return if is_whole { Ok(()) } else { Err(corrupt(KEY_ROWS, key, "the table lacks rows")) };
            }
            let rows = reader.require(KEY_ROWS, key, |body| {
                let (rows, rest) = body.as_chunks::<ROW_BYTES>();
                rest.is_empty().then(|| rows.iter().map(split_row).collect::<Vec<_>>())
            })?;
            self.taken += rows.len() as u64;
            self.rows = rows.into_iter();
            self.next += 1;
        }
        Ok(())
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<([u8; 16], Seq), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        for cursor in &mut self.cursors {
            if let Err(error) = cursor.fill(&self.reader) {
                return Some(Err(error));
            }
        }
        // The last of the smallest: the newest table's.
        let smallest = self.cursors.iter().filter_map(|cursor| cursor.row.map(|(hash, _)| hash)).min()?;
        let mut newest = None;
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.row.is_some_and(|(hash, _)| hash == smallest)) {
            newest = cursor.row.take();
        }
        newest.map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Moment;

    fn hash(number: u64) -> [u8; 16] {
        blake3::hash(&number.to_le_bytes()).as_bytes()[..16].try_into().unwrap()
    }

    fn new_store() -> Store {
        Store::open_file(Box::new(redb::backends::InMemoryBackend::new()), 1 << 20).unwrap()
    }

    /// A table of 100 entries, each with a key, and one key that all tables have.
    fn write(store: &Store, kind: KeyKind, place: u64) {
        let (first, last) = (place * 100 + 1, place * 100 + 100);
        let mut rows: Vec<([u8; 16], Seq)> = (first..=last).map(|seq| (hash(seq), Seq(seq))).collect();
        rows.push((hash(0), Seq(last)));
        rows.sort_unstable();
        store.write_key_table((Seq(first), Seq(last)), kind, rows.into_iter(), Moment(place as i64)).unwrap();
    }

    fn names(store: &Store) -> Vec<(u8, u64)> {
        store.key_tables().iter().map(|table| (table.name.level, table.name.first.0)).collect()
    }

    fn check(store: &Store, kind: KeyKind, tables: u64) {
        for seq in 1..=tables * 100 {
            assert_eq!(store.find_key(kind, &hash(seq)).unwrap(), Some(Seq(seq)));
        }
        assert_eq!(store.find_key(kind, &hash(0)).unwrap(), Some(Seq(tables * 100)), "the newest table's counts");
        for seq in tables * 100 + 1..tables * 100 + 1_000 {
            assert_eq!(store.find_key(kind, &hash(seq)).unwrap(), None);
        }
    }

    #[test]
    fn eight_tables_become_one_and_eight_of_those_again() {
        let store = new_store();
        let kind = KeyKind::External;
        for place in 0..65 {
            write(&store, kind, place);
            while store.merge_key_tables(kind, i64::MAX).unwrap() {}
            check(&store, kind, place + 1);
        }
        assert_eq!(names(&store), [(2, 1), (0, 6_401)]);
        assert_eq!(store.key_ranges(kind), [(Seq(1), Seq(6_400)), (Seq(6_401), Seq(6_500))]);
        let mut rows = Vec::new();
        assert!(store.load_key_table(kind, Seq(1), &mut |hash, seq| rows.push((hash, seq))).unwrap());
        assert_eq!(rows.len(), 6_401, "one of the key that all had");
        assert!(rows.is_sorted());
        assert!(store.check_every_row().is_ok());
    }

    #[test]
    fn a_merge_that_was_cut_off_is_ended_by_the_next() {
        let store = new_store();
        let kind = KeyKind::Idempotency;
        (0..8).for_each(|place| write(&store, kind, place));
        assert!(store.merge_key_tables(kind, i64::MAX).unwrap());
        // As after a power cut between the two transactions.
        (0..8).for_each(|place| write(&store, kind, place));
        assert_eq!(store.key_tables().len(), 9);
        assert_eq!(store.key_ranges(kind), [(Seq(1), Seq(800))]);
        check(&store, kind, 8);
        assert!(!store.merge_key_tables(kind, i64::MAX).unwrap());
        assert_eq!(names(&store), [(1, 1)]);
        check(&store, kind, 8);
    }

    #[test]
    fn a_table_that_lacks_rows_is_not_merged_away() {
        let store = new_store();
        let kind = KeyKind::External;
        (0..8).for_each(|place| write(&store, kind, place));
        let damaged = store.key_tables()[3].name;
        let mut rows = Vec::new();
        assert!(store.load_key_table(kind, damaged.first, &mut |hash, seq| rows.push((hash, seq))).unwrap());
        for lost in [0, 50, 100] {
            let mut body = super::super::row::Body::with_capacity(2_400);
            for (hash, seq) in rows.iter().enumerate().filter(|(place, _)| *place != lost).map(|(_, row)| row) {
                body.put(hash);
                body.put(&seq.0.to_le_bytes());
            }
            let mut writer = store.writer().unwrap();
            writer.put(KEY_ROWS, damaged.part(0), body).unwrap();
            writer.commit().unwrap();
            let refused = store.merge_key_tables(kind, i64::MAX).unwrap_err();
            assert!(refused.wants_rebuild(), "{refused:?}");
            assert_eq!(store.key_ranges(kind).len(), 8);
        }
    }

    #[test]
    fn tables_of_other_times_other_kinds_or_under_audit_stay() {
        let store = new_store();
        (0..7).for_each(|place| write(&store, KeyKind::Idempotency, place));
        (7..14).for_each(|place| write(&store, KeyKind::External, place));
        assert!(!store.merge_key_tables(KeyKind::Idempotency, i64::MAX).unwrap(), "seven are too few");
        write(&store, KeyKind::Idempotency, 7);
        assert!(!store.merge_key_tables(KeyKind::Idempotency, 6).unwrap(), "their newest keys are 7 µs apart");
        let pauses = (store.pause_merging(), store.pause_merging());
        drop(pauses.0);
        assert!(!store.merge_key_tables(KeyKind::Idempotency, 7).unwrap(), "somebody audits them");
        drop(pauses.1);
        assert!(store.merge_key_tables(KeyKind::Idempotency, 7).unwrap());
        check(&store, KeyKind::Idempotency, 8);
        // A gap: the range in between has no table yet, or none any more.
        (0..4).chain(5..9).for_each(|place| write(&store, KeyKind::External, place + 20));
        assert!(!store.merge_key_tables(KeyKind::External, i64::MAX).unwrap());
    }
}
