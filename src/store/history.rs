//! Look-ups of the past: resolutions, anchors, off-date rows.
//!
//! Promise: an answer is complete. Where a row could not be read, or a neighbour of an absent row
//! does not vouch for its absence, the answer is an error.

use std::ops::RangeInclusive;
use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::chain::Reader;
use super::checkpoint::sums_key;
use super::packed::{
    DayRow, ResolutionRow, anchor_chunk, day_chunk, decode_chunk, mark_chunk, offdate_chunk, resolution_chunk,
};
use super::row::{decode_meta, decode_sums};
use super::tables::{ANCHORS, MARKS, META, OFFDATE_DAYS, OFFDATE_SUMS, OFFDATES, RESOLUTIONS};
use super::{NeedsDisk, OffDateKind, OffDateRow, ResolutionKind, Store, StoreError};
use crate::domain::account::Side;
use crate::domain::apply::{Anchor, Mark};
use crate::domain::gl::GlTotals;
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::time::Day;

/// All methods fail with [`StoreError::Corrupt`] on damage, or as redb fails.
impl Store {
    /// What later entries did to the transfer at `original`, ascending by seq: none, one, or two
    /// (posted, then reversed).
    ///
    /// # Errors
    /// See above.
    pub fn resolution(&self, original: Seq) -> Result<Vec<(Seq, ResolutionKind)>, StoreError> {
        if let Ok(found) = self.resolution_in_memory(original) {
            return Ok(found);
        }
        let key = resolution_chunk(original);
        // Before the transaction begins: what is read may be newer than its turn says, never older.
        let turn = self.turn();
        let rows =
            self.reader()?.get(RESOLUTIONS, key, |body| decode_chunk::<ResolutionRow>(key, body))?.unwrap_or_default();
        let rows: Arc<[ResolutionRow]> = rows.into();
        self.resolutions.insert(key, (turn, Arc::clone(&rows)));
        Ok(resolutions_of(original, &rows))
    }

    /// As [`Store::resolution`], where the chunk was read since the last checkpoint.
    ///
    /// # Errors
    /// [`NeedsDisk`] where it was not.
    pub fn resolution_in_memory(&self, original: Seq) -> Result<Vec<(Seq, ResolutionKind)>, NeedsDisk> {
        let (turn, rows) = self.resolutions.get(&resolution_chunk(original)).ok_or(NeedsDisk)?;
        if turn == self.turn() { Ok(resolutions_of(original, &rows)) } else { Err(NeedsDisk) }
    }

    /// The totals of an account at the close of a day on which it moved.
    ///
    /// # Errors
    /// See above.
    pub fn anchor(&self, account: AccountNo, day: Day) -> Result<Option<Anchor>, StoreError> {
        let key = anchor_chunk(account, day);
        let rows = self.reader()?.get(ANCHORS, key, |body| decode_chunk::<Anchor>(key, body))?.unwrap_or_default();
        Ok(rows.into_iter().find(|row| row.account == account))
    }

    /// The first mark of an account at or above a place.
    ///
    /// # Errors
    /// See above.
    pub fn mark_from(&self, account: AccountNo, at: Seq) -> Result<Option<Mark>, StoreError> {
        let reader = self.reader()?;
        let first = |rows: Vec<Mark>| rows.into_iter().find(|mark| mark.at >= at);
        let key = mark_chunk(account, at);
        let found = reader.get(MARKS, key, |body| decode_chunk::<Mark>(key, body))?.and_then(first);
        if found.is_some() {
            return Ok(found);
        }
        match reader.key_above(MARKS, key)? {
            Some(next) if next >> 64 == u128::from(account.0) => {
                Ok(first(reader.require(MARKS, next, |body| decode_chunk::<Mark>(next, body))?))
            }
            _ => Ok(None),
        }
    }

    /// A consistent look at off-date rows and at the checkpoint that they belong to.
    ///
    /// # Errors
    /// See above.
    pub fn off_date_view(&self) -> Result<OffDateView, StoreError> {
        let reader = self.reader()?;
        let meta = reader.get(META, 0, decode_meta)?;
        Ok(OffDateView { reader, checkpoint_seq: meta.map_or(Seq::NONE, |meta| meta.checkpoint_seq) })
    }

    /// Σ of an account's off-date rows up to and including `through`, by effective or by booking date.
    ///
    /// # Errors
    /// See above.
    pub fn offdate_net(&self, account: AccountNo, kind: OffDateKind, through: Day) -> Result<GlTotals, StoreError> {
        self.off_date_view()?.net(account, kind, through)
    }

    /// An account's off-date rows with effective dates in `days`, newest (effective, seq) first, only
    /// those below `before` when given, at most `limit`.
    ///
    /// # Errors
    /// See above.
    pub fn offdate_entries(
        &self,
        account: AccountNo,
        days: RangeInclusive<Day>,
        before: Option<(Day, Seq)>,
        limit: usize,
    ) -> Result<Vec<OffDateRow>, StoreError> {
        self.off_date_view()?.entries(account, days, before, limit)
    }

    /// Off-date entries effective on `day`, newest first, only those below `before` when given, at most `limit`.
    ///
    /// # Errors
    /// See above.
    pub fn offdate_on(&self, day: Day, before: Option<Seq>, limit: usize) -> Result<Vec<Seq>, StoreError> {
        let top = before.unwrap_or(Seq(u64::MAX));
        let lowest = day_chunk(day, Seq(0));
        let reader = self.reader()?;
        let mut found = Vec::new();
        for key in reader.keys_down(OFFDATE_DAYS, day_chunk(day, top)) {
            let key = key?;
            if key < lowest || found.len() >= limit {
                break;
            }
            let rows = reader.require(OFFDATE_DAYS, key, |body| decode_chunk::<DayRow>(key, body))?;
            let wanted = rows.into_iter().rev().map(|row| row.seq).filter(|seq| before.is_none_or(|top| *seq < top));
            found.extend(wanted.take(limit - found.len()));
        }
        Ok(found)
    }
}

/// Chunks of resolutions and the turn of the store in which they were read.
pub(super) type ResolutionCache = Cache<u128, (u64, Arc<[ResolutionRow]>)>;

/// A cache of this many bytes at most.
pub(super) fn resolution_cache(bytes_max: u64) -> ResolutionCache {
    /// What moka and the value itself take of an empty chunk, about.
    const CHUNK_BYTES: usize = 128;
    Cache::builder()
        .max_capacity(bytes_max)
        .weigher(|_, (_, rows): &(u64, Arc<[ResolutionRow]>)| {
            u32::try_from(CHUNK_BYTES + size_of_val::<[ResolutionRow]>(rows)).unwrap_or(u32::MAX)
        })
        .eviction_policy(EvictionPolicy::lru())
        .build()
}

fn resolutions_of(original: Seq, rows: &[ResolutionRow]) -> Vec<(Seq, ResolutionKind)> {
    let first = rows.partition_point(|row| row.original < original);
    let rows = rows[first..].iter().take_while(|row| row.original == original);
    let mut found: Vec<(Seq, ResolutionKind)> = rows.map(|row| (row.by, row.kind)).collect();
    found.sort_unstable();
    found
}

/// Off-date rows as of one checkpoint: what it shows does not change while it is held.
#[derive(Debug)]
pub struct OffDateView {
    reader: Reader,
    checkpoint_seq: Seq,
}

/// All methods fail with [`StoreError::Corrupt`] on damage, or as redb fails.
impl OffDateView {
    /// Rows up to here are in the store; later ones are in the engine's memory.
    #[must_use]
    pub fn checkpoint_seq(&self) -> Seq {
        self.checkpoint_seq
    }

    /// As [`Store::offdate_net`].
    ///
    /// # Errors
    /// See above.
    pub fn net(&self, account: AccountNo, kind: OffDateKind, through: Day) -> Result<GlTotals, StoreError> {
        let sums = self.reader.get(OFFDATE_SUMS, sums_key(account, kind), decode_sums)?.unwrap_or_default();
        let mut total = GlTotals::default();
        for (_, totals) in sums.into_iter().take_while(|(day, _)| *day <= through) {
            total.add(totals);
        }
        Ok(total)
    }

    /// Σ of an account's off-date rows with effective dates in `days` that are `wanted`.
    ///
    /// # Errors
    /// See above.
    pub fn sum(
        &self,
        account: AccountNo,
        days: RangeInclusive<Day>,
        wanted: impl Fn(&OffDateRow) -> bool,
    ) -> Result<GlTotals, StoreError> {
        let lowest = offdate_chunk(account, *days.start(), Seq(0));
        let mut total = GlTotals::default();
        for key in self.reader.keys_down(OFFDATES, offdate_chunk(account, *days.end(), Seq(u64::MAX))) {
            let key = key?;
            if key < lowest {
                break;
            }
            let rows = self.reader.require(OFFDATES, key, |body| decode_chunk::<OffDateRow>(key, body))?;
            for row in rows.iter().filter(|row| wanted(row)) {
                let amount = u128::from(row.amount);
                let (debits, credits) = if row.side == Side::Debit { (amount, 0) } else { (0, amount) };
                total.add(GlTotals { debits, credits });
            }
        }
        Ok(total)
    }

    /// As [`Store::offdate_entries`].
    ///
    /// # Errors
    /// See above.
    pub fn entries(
        &self,
        account: AccountNo,
        days: RangeInclusive<Day>,
        before: Option<(Day, Seq)>,
        limit: usize,
    ) -> Result<Vec<OffDateRow>, StoreError> {
        let (first, last) = (*days.start(), *days.end());
        let wanted = |row: &OffDateRow| {
            days.contains(&row.effective) && before.is_none_or(|before| (row.effective, row.seq) < before)
        };
        let top = before.map_or((last, Seq(u64::MAX)), |before| before.min((last, Seq(u64::MAX))));
        let lowest = offdate_chunk(account, first, Seq(0));
        let mut found = Vec::new();
        for key in self.reader.keys_down(OFFDATES, offdate_chunk(account, top.0, top.1)) {
            let key = key?;
            if key < lowest || found.len() >= limit {
                break;
            }
            let rows = self.reader.require(OFFDATES, key, |body| decode_chunk::<OffDateRow>(key, body))?;
            found.extend(rows.into_iter().rev().filter(wanted).take(limit - found.len()));
        }
        Ok(found)
    }
}
