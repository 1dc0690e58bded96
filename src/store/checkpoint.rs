//! Writing a checkpoint: one transaction, everything or nothing.
//!
//! Promise: after [`Checkpoint::commit`] the store is exactly as it was before plus what was handed
//! over; after a crash or a drop it is exactly as it was before. Handing rows over twice is harmless,
//! so the engine may copy chunks while the books move on.

use std::collections::BTreeMap;

use super::chain::Writer;
use super::load::loan_events_key;
use super::packed::{DayRow, HoldRow, Packed, ResolutionRow, decode_chunk, encode_chunk};
use super::row::{
    ACCOUNT_BYTES, Body, CUSTOMER_BYTES, decode_sums, encode_account, encode_customer, encode_lines, encode_meta,
    encode_sums,
};
use super::tables::{
    ACCOUNTS, ACCOUNTS_PER_CHUNK, CUSTOMERS, CUSTOMERS_PER_CHUNK, GL_DAYS, HOLD_BITS, HOLDS, LOAN_EVENTS, LOANS, META,
    OFFDATE_SUMS,
};
use super::{Meta, OffDateKind, OffDateRow, ResolutionKind, Store, StoreError};
use crate::domain::account::{Account, GlNo, Side};
use crate::domain::apply::{Anchor, Mark};
use crate::domain::gl::GlTotals;
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::lending::customer::CustomerRow;
use crate::domain::time::Day;
use crate::domain::transfer::Hold;

/// An open checkpoint. Dropping it without [`Checkpoint::commit`] leaves the store as it was.
#[derive(Debug)]
pub struct Checkpoint<'s> {
    writer: Writer,
    /// The database outlives its transaction.
    store: &'s Store,
}

impl Store {
    /// Begins a checkpoint; waits while another writer of the store is at work.
    ///
    /// # Errors
    /// redb's, when an earlier write failed.
    pub fn begin(&self) -> Result<Checkpoint<'_>, StoreError> {
        Ok(Checkpoint { writer: self.writer()?, store: self })
    }
}

/// All methods fail as redb fails, or with [`StoreError::Corrupt`] where a row that they extend is damaged.
impl Checkpoint<'_> {
    /// Replaces a chunk of accounts: all rows of the chunk, 1 ..= 1,000; only the last chunk may be short.
    ///
    /// # Errors
    /// See the type.
    pub fn accounts(&mut self, chunk: u32, rows: &[Account]) -> Result<(), StoreError> {
        assert!(!rows.is_empty() && rows.len() <= ACCOUNTS_PER_CHUNK as usize, "a chunk has 1 ..= 1,000 accounts");
        let mut body = Body::with_capacity(rows.len() * ACCOUNT_BYTES);
        for account in rows {
            body.put(&encode_account(account));
        }
        self.writer.put(ACCOUNTS, u128::from(chunk), body)
    }

    /// Replaces a chunk of customers: all rows of the chunk, 1 ..= 3,000; only the last chunk may be short.
    ///
    /// # Errors
    /// See the type.
    pub fn customers(&mut self, chunk: u32, rows: &[CustomerRow]) -> Result<(), StoreError> {
        assert!(!rows.is_empty() && rows.len() <= CUSTOMERS_PER_CHUNK, "a chunk has 1 ..= 3,000 customers");
        let mut body = Body::with_capacity(rows.len() * CUSTOMER_BYTES);
        for row in rows {
            body.put(&encode_customer(row));
        }
        self.writer.put(CUSTOMERS, u128::from(chunk), body)
    }

    /// Replaces a loan's row, which is opaque here.
    ///
    /// # Errors
    /// See the type.
    pub fn loan(&mut self, number: u32, row: &[u8]) -> Result<(), StoreError> {
        let mut body = Body::with_capacity(row.len());
        body.put(row);
        self.writer.put(LOANS, u128::from(number), body)
    }

    /// A chunk of a loan's events as it is, empty where there is none.
    ///
    /// # Errors
    /// See the type.
    pub fn loan_events(&self, number: u32, chunk: u32) -> Result<Vec<u8>, StoreError> {
        let found = self.writer.get(LOAN_EVENTS, loan_events_key(number, chunk), |body| Some(body.to_vec()))?;
        Ok(found.unwrap_or_default())
    }

    /// Replaces a chunk of a loan's events, which are opaque here.
    ///
    /// # Errors
    /// See the type.
    pub fn put_loan_events(&mut self, number: u32, chunk: u32, events: &[u8]) -> Result<(), StoreError> {
        let mut body = Body::with_capacity(events.len());
        body.put(events);
        self.writer.put(LOAN_EVENTS, loan_events_key(number, chunk), body)
    }

    /// Adds opened holds, then removes resolved ones; a resolved hold that was never stored is fine.
    ///
    /// # Errors
    /// See the type.
    pub fn holds(
        &mut self,
        opened: impl Iterator<Item = (Seq, Hold)>,
        resolved: impl Iterator<Item = Seq>,
    ) -> Result<(), StoreError> {
        // By seq: the hold to store, or `None` to remove it.
        let mut changes: BTreeMap<Seq, Option<Hold>> = opened.map(|(seq, hold)| (seq, Some(hold))).collect();
        changes.extend(resolved.map(|seq| (seq, None)));
        let changes: Vec<(Seq, Option<Hold>)> = changes.into_iter().collect();
        for run in changes.chunk_by(|(a, _), (b, _)| a.0 >> HOLD_BITS == b.0 >> HOLD_BITS) {
            let key = u128::from(run[0].0.0 >> HOLD_BITS);
            let before = self.writer.get(HOLDS, key, |body| decode_chunk::<HoldRow>(key, body))?.unwrap_or_default();
            let mut rows: BTreeMap<Seq, Hold> = before.iter().map(|row| (row.seq, row.hold)).collect();
            for (seq, change) in run {
                match change {
                    Some(hold) => rows.insert(*seq, *hold),
                    None => rows.remove(seq),
                };
            }
            if rows.is_empty() {
                self.writer.remove(HOLDS, key)?;
                continue;
            }
            let rows: Vec<HoldRow> = rows.into_iter().map(|(seq, hold)| HoldRow { seq, hold }).collect();
            self.writer.put(HOLDS, key, encode_chunk(&rows))?;
        }
        Ok(())
    }

    /// Adds (original, by, kind); `by` is later than `original`. Any order; adding a row again changes nothing.
    ///
    /// # Errors
    /// See the type.
    pub fn resolutions(&mut self, rows: &[(Seq, Seq, ResolutionKind)]) -> Result<(), StoreError> {
        let mut rows: Vec<ResolutionRow> = rows
            .iter()
            .map(|(original, by, kind)| {
                assert!(by > original, "an entry resolves an earlier one");
                ResolutionRow { original: *original, by: *by, kind: *kind }
            })
            .collect();
        self.merge(&mut rows, |_| ())
    }

    /// Adds anchors. Any order; an anchor of the same account and day is replaced.
    ///
    /// # Errors
    /// See the type.
    pub fn anchors(&mut self, rows: &[Anchor]) -> Result<(), StoreError> {
        self.merge(&mut rows.to_vec(), |_| ())
    }

    /// Adds marks. Any order; a mark of the same account and place is replaced.
    ///
    /// # Errors
    /// See the type.
    pub fn marks(&mut self, rows: &[Mark]) -> Result<(), StoreError> {
        self.merge(&mut rows.to_vec(), |_| ())
    }

    /// Adds off-date rows. Any order; adding a row again changes nothing, sums included.
    ///
    /// # Errors
    /// See the type.
    pub fn offdates(&mut self, rows: &[OffDateRow]) -> Result<(), StoreError> {
        let mut fresh: BTreeMap<(AccountNo, OffDateKind), BTreeMap<Day, GlTotals>> = BTreeMap::new();
        self.merge(&mut rows.to_vec(), |row: &OffDateRow| {
            let amount = u128::from(row.amount);
            let totals = match row.side {
                Side::Debit => GlTotals { debits: amount, credits: 0 },
                Side::Credit => GlTotals { debits: 0, credits: amount },
            };
            for (kind, day) in [(OffDateKind::Effective, row.effective), (OffDateKind::Booked, row.booked)] {
                fresh.entry((row.account, kind)).or_default().entry(day).or_default().add(totals);
            }
        })?;
        for ((account, kind), mut sums) in fresh {
            let key = sums_key(account, kind);
            for (day, totals) in self.writer.get(OFFDATE_SUMS, key, decode_sums)?.unwrap_or_default() {
                sums.entry(day).or_default().add(totals);
            }
            let sums: Vec<(Day, GlTotals)> = sums.into_iter().collect();
            self.writer.put(OFFDATE_SUMS, key, encode_sums(&sums))?;
        }
        Ok(())
    }

    /// Adds entries under the dates that were asked for them. Any order; adding one again changes nothing.
    ///
    /// # Errors
    /// See the type.
    pub fn off_days(&mut self, entries: impl Iterator<Item = (Day, Seq)>) -> Result<(), StoreError> {
        let mut days: Vec<DayRow> = entries.map(|(effective, seq)| DayRow { effective, seq }).collect();
        self.merge(&mut days, |_| ())
    }

    /// Replaces the totals of a day, by line of the general ledger.
    ///
    /// # Errors
    /// See the type.
    pub fn gl_day(&mut self, day: Day, lines: &BTreeMap<GlNo, GlTotals>) -> Result<(), StoreError> {
        self.writer.put(GL_DAYS, u128::from(day.0), encode_lines(lines))
    }

    /// Says where the checkpoint stands.
    ///
    /// # Errors
    /// See the type.
    pub fn meta(&mut self, meta: &Meta) -> Result<(), StoreError> {
        self.writer.put(META, 0, encode_meta(meta))
    }

    /// Makes the checkpoint durable (two-phase, quick-repair).
    ///
    /// # Errors
    /// redb's. Whether the checkpoint is on disk is then unknown; either state is a good one.
    pub fn commit(self) -> Result<(), StoreError> {
        let done = self.writer.commit();
        // Before the engine drops what it still has in memory; also where the outcome is unknown.
        self.store.next_turn();
        done
    }

    /// Merges rows into their chunks. A row that is there already is replaced; `fresh` hears of the others.
    fn merge<R: Packed>(&mut self, rows: &mut [R], mut fresh: impl FnMut(&R)) -> Result<(), StoreError> {
        // Stable: of two rows with one place the later one counts.
        rows.sort_by_key(|row| (row.chunk(), row.place()));
        for run in rows.chunk_by(|a, b| a.chunk() == b.chunk()) {
            let key = run[0].chunk();
            let before = self.writer.get(R::TABLE, key, |body| decode_chunk::<R>(key, body))?.unwrap_or_default();
            let mut merged: Vec<R> = Vec::with_capacity(before.len() + run.len());
            let mut old = before.iter().peekable();
            for row in run {
                while let Some(earlier) = old.next_if(|earlier| earlier.place() < row.place()) {
                    merged.push(*earlier);
                }
                if merged.last().is_some_and(|last| last.place() == row.place()) {
                    merged.pop();
                } else if old.next_if(|same| same.place() == row.place()).is_none() {
                    fresh(row);
                }
                merged.push(*row);
            }
            merged.extend(old);
            self.writer.put(R::TABLE, key, encode_chunk(&merged))?;
        }
        Ok(())
    }
}

/// The key of an account's sums.
pub(super) fn sums_key(account: AccountNo, kind: OffDateKind) -> u128 {
    u128::from(account.0) << 1 | kind as u128
}
