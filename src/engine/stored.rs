//! What the engine asks the store, in the engine's own words.
//!
//! Rows move from memory into the store and never back, so every look-up here comes after the one
//! in memory.

use std::sync::Arc;

use crate::domain::apply::Anchor;
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::time::Day;
use crate::store::{OffDateKind, StoreError};

use super::Core;
use super::history::ReadError;
use super::holds::Fate;
use super::keys::{KeyHash, KeyKind};
use super::shard::OffDate;
use super::statement::Snapshot;
use super::view::Unavailable;

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> ReadError {
        ReadError::Store(error.to_string())
    }
}

/// Σ of debits and Σ of credits, minor units.
pub type Sums = (u128, u128);

impl Core {
    /// The number of a key that lies in a sealed segment.
    ///
    /// # Errors
    /// [`Unavailable`] when the store cannot be read: then nobody can tell whether the key is new.
    pub(super) fn stored_key(&self, kind: KeyKind, hash: &KeyHash) -> Result<Option<u64>, Unavailable> {
        let kind = match kind {
            KeyKind::Idempotency => crate::store::KeyKind::Idempotency,
            KeyKind::External => crate::store::KeyKind::External,
        };
        let found = self.store.find_key(kind, hash).map_err(ReadError::from)?;
        Ok(found.map(|seq| seq.0))
    }

    /// Fates of a transfer that are in the store.
    pub(super) fn stored_fates(&self, seq: Seq) -> Result<Vec<(Seq, Fate)>, ReadError> {
        let rows = self.store.resolution(seq)?;
        let fate = |kind| Fate::from_number(kind as u8).expect("both enums count alike; a test holds it");
        Ok(rows.into_iter().map(|(by, kind)| (by, fate(kind))).collect())
    }

    /// The closing of an account's day that is in the store.
    pub(super) fn stored_anchor(&self, no: AccountNo, day: Day) -> Result<Option<Anchor>, ReadError> {
        Ok(self.store.anchor(no, day)?)
    }

    /// Off-date postings of an account up to a day: booked by then, and effective by then.
    pub(super) fn off_date_sums(&self, snapshot: &Snapshot, day: Day) -> Result<(Sums, Sums), ReadError> {
        let view = self.store.off_date_view()?;
        let stored = snapshot.check(view.checkpoint_seq())?;
        let mut sums = [(0, 0), (0, 0)];
        for (sum, kind) in sums.iter_mut().zip([OffDateKind::Booked, OffDateKind::Effective]) {
            let net = view.net(snapshot.no, kind, day)?;
            *sum = (net.debits, net.credits);
            for row in snapshot.off_dates.iter().filter(|row| row.seq > stored) {
                let date = if kind == OffDateKind::Booked { row.booked } else { row.effective };
                if date <= day {
                    let side = if row.side == crate::domain::account::Side::Debit { &mut sum.0 } else { &mut sum.1 };
                    *side += u128::from(row.amount);
                }
            }
        }
        Ok((sums[0], sums[1]))
    }

    /// A page of off-date postings of an account below a place, newest first, and whether the
    /// store has more: from the store and from the snapshot.
    pub(super) fn off_date_page(
        &self,
        snapshot: &Snapshot,
        below: (Day, Seq),
        limit: usize,
    ) -> Result<(Vec<OffDate>, bool), ReadError> {
        let view = self.store.off_date_view()?;
        let stored = snapshot.check(view.checkpoint_seq())?;
        let rows = view.entries(snapshot.no, Day(0)..=below.0, Some(below), limit)?;
        let has_more = rows.len() == limit;
        let floor = if has_more { rows.last().map(|row| (row.effective, row.seq)) } else { None };
        let off_date = |row: &crate::store::OffDateRow| OffDate {
            side: row.side,
            effective: row.effective,
            booked: row.booked,
            seq: row.seq,
            amount: row.amount,
        };
        let mut page: Vec<OffDate> = rows.iter().map(off_date).collect();
        page.extend(snapshot.off_dates.iter().filter(|row| {
            let place = (row.effective, row.seq);
            row.seq > stored && place < below && floor.is_none_or(|floor| place > floor)
        }));
        page.sort_unstable_by_key(|row| (row.effective, row.seq));
        Ok((page, has_more))
    }

    /// The newest off-date transfer below `limit` that is effective on a day, of any account.
    pub(super) fn off_date_before(&self, day: Day, limit: Seq) -> Result<Option<Seq>, ReadError> {
        let recent = {
            let mut locked = self.shards.lock_all();
            let newest = |map: &super::shard::OffDateMap| {
                let rows = map.values().flatten().filter(|row| row.effective == day && row.seq < limit);
                rows.map(|row| row.seq).max()
            };
            let of_shard = |shard: &mut super::shard::Shard| {
                shard.off_dates_frozen.iter().map(Arc::as_ref).chain([&shard.off_dates]).filter_map(newest).max()
            };
            locked.shards_mut().filter_map(of_shard).max()
        };
        let stored = self.store.offdate_on(day, Some(limit), 1)?.first().copied();
        Ok(recent.max(stored))
    }

    /// First and last seq of a business day; the last is `None` while the day is open.
    pub(super) fn run_of_day(&self, day: Day) -> Option<(Seq, Option<Seq>)> {
        let runs = self.day_runs.lock();
        let place = runs.iter().rposition(|(started, _)| *started == day)?;
        Some((runs[place].1, runs.get(place + 1).map(|(_, next)| Seq(next.0 - 1))))
    }
}

impl Snapshot {
    /// The store's checkpoint, if it is not newer than this snapshot; else sums would count what
    /// the snapshot has not seen.
    fn check(&self, checkpoint: Seq) -> Result<Seq, ReadError> {
        if checkpoint > self.appended { Err(ReadError::Moved) } else { Ok(checkpoint) }
    }
}
