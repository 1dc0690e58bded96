//! From memory into the store: keys become tables, range by range.
//!
//! A table has the keys of all entries of a range, and the ranges follow one another without a gap from the first
//! entry on; behind the last one keys are in memory, and a start reads the journal from there. A range ends when there
//! are many keys, or with a segment of the journal. Its last entry is durable before anything of it is written: a table
//! never knows more than the journal.

use std::sync::atomic::Ordering;

use crate::domain::ids::{Moment, Seq};
use crate::store::{KeyKind, StoreError};

use super::Core;
use super::keys::Retired;

/// How far the tables reach, and what is on its way into the next one.
#[derive(Debug, Default)]
pub(super) struct Tabling {
    /// Keys of entries up to here are in tables.
    through: Seq,
    /// Where the next table ends, once that is decided.
    end: Option<Seq>,
    /// Its rows, once they are set aside.
    retired: Option<Retired>,
}

impl Core {
    /// How far the store's tables reach.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where they leave entries out.
    pub(super) fn find_tabled(&self) -> Result<(), StoreError> {
        let mut through = Seq::NONE;
        for (first, last) in self.store.key_ranges(KeyKind::External) {
            if first != through.next() || last < first {
                let what = format!("a table begins with seq={first} where one from seq={} belongs", through.next());
                return Err(StoreError::Corrupt { table: "key_heads", key: u128::from(first.0), what });
            }
            through = last;
        }
        self.tabling.lock().through = through;
        Ok(())
    }

    /// Keys of entries up to here are in tables.
    pub(super) fn tabled(&self) -> Seq {
        self.tabling.lock().through
    }

    /// Moves keys into tables of the store if there are enough, or a segment of the journal has ended, and drops tables
    /// that are older than the retention. Returns whether it did.
    ///
    /// # Errors
    /// [`StoreError`]; the keys stay in memory, and the next call tries again.
    pub fn table_keys(&self) -> Result<bool, StoreError> {
        // Whatever failed: nobody can look into a store that redb has closed.
        self.mend_store_for_keys()?;
        let mut tabling = self.tabling.lock();
        if tabling.end.is_none() {
            let ended = Seq(self.rolled_through.load(Ordering::Acquire));
            tabling.end = if self.keys.young() >= self.keys_per_table {
                // The end of a record; it becomes durable while this comes again.
                Some(self.journal.appended_seq())
            } else {
                Some(ended).filter(|ended| *ended > tabling.through)
            };
        }
        let Some(end) = tabling.end.filter(|end| self.watermark.covers(*end)) else { return Ok(false) };
        if let Err(error) = self.write_tables(&mut tabling, end) {
            self.store_failed.store(true, Ordering::Release);
            return Err(error);
        }
        if let Err(error) = self.store.drop_key_tables(Moment(self.clock.now().0 - self.key_retention())) {
            tracing::warn!(%error, "could not drop old key tables");
        }
        Ok(true)
    }

    /// Merges one group of key tables, if there is one. Returns whether it did. Tables of idempotency keys go with their
    /// newest one: only those of about one time come together.
    ///
    /// # Errors
    /// [`StoreError`]; every key is still where it was, or in the wider table.
    pub fn merge_keys(&self) -> Result<bool, StoreError> {
        let merge = |kind, span_max| self.store.merge_key_tables(kind, span_max);
        let merged = merge(KeyKind::Idempotency, self.key_retention() / 8)
            .and_then(|done| if done { Ok(true) } else { merge(KeyKind::External, i64::MAX) });
        if merged.as_ref().is_err_and(|error| !error.wants_rebuild()) {
            self.store_failed.store(true, Ordering::Release);
        }
        merged
    }

    /// How long a key is kept, microseconds.
    fn key_retention(&self) -> i64 {
        i64::from(self.key_retention_days) * 86_400 * 1_000_000
    }

    /// While replaying: the keys of entries up to the end of a record, which are all that are in memory.
    ///
    /// # Errors
    /// As [`Core::table_keys`].
    pub(super) fn table_replayed(&self, end: Seq) -> Result<(), StoreError> {
        let mut tabling = self.tabling.lock();
        let end = *tabling.end.get_or_insert(end);
        self.write_tables(&mut tabling, end)
    }

    fn write_tables(&self, tabling: &mut Tabling, end: Seq) -> Result<(), StoreError> {
        let range = (tabling.through.next(), end);
        let newest = self.clock.now();
        let rows = tabling.retired.get_or_insert_with(|| self.keys.retire(end));
        self.store.write_key_table(range, KeyKind::Idempotency, rows.idempotency(), newest)?;
        self.store.write_key_table(range, KeyKind::External, rows.external(), newest)?;
        // First this one lets go of the rows: the keys use their maps again.
        *tabling = Tabling { through: end, end: None, retired: None };
        self.keys.drop_retired();
        Ok(())
    }
}
