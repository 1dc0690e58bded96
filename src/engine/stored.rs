//! What the engine asks the store, in the engine's own words.
//!
//! Rows move from memory into the store and never back, so every look-up here comes after the one
//! in memory.

use crate::domain::account::Side;
use crate::domain::apply::{Anchor, Mark};
use crate::domain::gl::GlTotals;
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::time::Day;
use crate::store::{NeedsDisk, OffDateKind, OffDateRow, StoreError};

use super::Core;
use super::history::{Reach, ReadError};
use super::holds::Fate;
use super::keys::{KeyHash, KeyKind};
use super::shard::OffDate;
use super::statement::Snapshot;

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> ReadError {
        ReadError::Store(error.to_string())
    }
}

/// Σ of debits and Σ of credits, minor units.
pub type Sums = (u128, u128);

/// What the store would have to be read for, on a thread that may not wait.
fn on_disk(reach: Reach) -> Result<(), ReadError> {
    if reach == Reach::Memory { Err(ReadError::NotCached) } else { Ok(()) }
}

/// Some off-date postings of an account: those of a day by one date or the other, from a seq on.
#[derive(Clone, Copy, Debug)]
pub struct OffDatePart {
    /// By which date.
    pub kind: OffDateKind,
    /// The day.
    pub day: Day,
    /// The first seq.
    pub from: Seq,
}

impl Core {
    /// The number of a key that lies in a key table.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read: then nobody can tell whether the key is new.
    pub(super) fn stored_key(&self, kind: KeyKind, hash: &KeyHash, reach: Reach) -> Result<Option<u64>, ReadError> {
        let kind = match kind {
            KeyKind::Idempotency => crate::store::KeyKind::Idempotency,
            KeyKind::External => crate::store::KeyKind::External,
        };
        let found = match reach {
            Reach::Memory => self.store.find_key_in_memory(kind, hash).map_err(|NeedsDisk| ReadError::NotCached)?,
            Reach::Disk | Reach::Far => self.store.find_key(kind, hash)?,
        };
        Ok(found.map(|seq| seq.0))
    }

    /// Fates of a transfer that are in the store. Asked after memory: rows go from there to here.
    pub(super) fn stored_fates(&self, seq: Seq, reach: Reach) -> Result<Vec<(Seq, Fate)>, ReadError> {
        if seq > self.stored_through() {
            return Ok(Vec::new());
        }
        let rows = match reach {
            Reach::Memory => self.store.resolution_in_memory(seq).map_err(|NeedsDisk| ReadError::NotCached)?,
            Reach::Disk | Reach::Far => self.store.resolution(seq)?,
        };
        let fate = |kind| Fate::from_number(kind as u8).expect("both enums count alike; a test holds it");
        Ok(rows.into_iter().map(|(by, kind)| (by, fate(kind))).collect())
    }

    /// The closing of an account's day that is in the store.
    pub(super) fn stored_anchor(&self, no: AccountNo, day: Day, reach: Reach) -> Result<Option<Anchor>, ReadError> {
        on_disk(reach)?;
        Ok(self.store.anchor(no, day)?)
    }

    /// The first mark of an account from a place on, from memory and the store.
    pub(super) fn mark_from(&self, no: AccountNo, at: Seq, reach: Reach) -> Result<Option<Mark>, ReadError> {
        on_disk(reach)?;
        // Memory first: rows go from there to the store, never back.
        let recent = self.shards.lock_one(no).mark_from(no, at);
        let stored = self.store.mark_from(no, at)?;
        Ok(recent.into_iter().chain(stored).min_by_key(|mark| mark.at))
    }

    /// Off-date postings of an account up to a day: booked by then, and effective by then.
    pub(super) fn off_date_sums(&self, snapshot: &Snapshot, day: Day, reach: Reach) -> Result<(Sums, Sums), ReadError> {
        on_disk(reach)?;
        let view = self.store.off_date_view()?;
        let stored = snapshot.check(view.checkpoint_seq())?;
        let mut sums = [(0, 0), (0, 0)];
        for (sum, kind) in sums.iter_mut().zip([OffDateKind::Booked, OffDateKind::Effective]) {
            let net = view.net(snapshot.no, kind, day)?;
            *sum = (net.debits, net.credits);
            for row in snapshot.off_dates.iter().filter(|row| row.seq > stored && row.date(kind) <= day) {
                row.add_to(sum);
            }
            snapshot.later.iter().filter(|row| row.date(kind) <= day).for_each(|row| row.take_from(sum));
        }
        Ok((sums[0], sums[1]))
    }

    /// Σ of some of an account's off-date postings. The store is walked only if it has any of that day.
    pub(super) fn off_date_part(
        &self,
        snapshot: &Snapshot,
        part: OffDatePart,
        reach: Reach,
    ) -> Result<Sums, ReadError> {
        on_disk(reach)?;
        let OffDatePart { kind, day, from } = part;
        let view = self.store.off_date_view()?;
        let stored = snapshot.check(view.checkpoint_seq())?;
        let before = match day.0.checked_sub(1) {
            Some(before) => view.net(snapshot.no, kind, Day(before))?,
            None => GlTotals::default(),
        };
        let mut sum = (0, 0);
        if view.net(snapshot.no, kind, day)? != before {
            let days = match kind {
                OffDateKind::Effective => day..=day,
                OffDateKind::Booked => Day(0)..=Day(u16::MAX),
            };
            let is_of = |row: &OffDateRow| kind == OffDateKind::Effective || row.booked == day;
            let total = view.sum(snapshot.no, days, |row| row.seq >= from && is_of(row))?;
            sum = (total.debits, total.credits);
        }
        let rows = snapshot.off_dates.iter().filter(|row| row.seq > stored && row.seq >= from);
        rows.filter(|row| row.date(kind) == day).for_each(|row| row.add_to(&mut sum));
        let later = snapshot.later.iter().filter(|row| row.seq >= from && row.date(kind) == day);
        later.for_each(|row| row.take_from(&mut sum));
        Ok(sum)
    }

    /// A page of off-date postings of an account below a place, the newest last, and whether the
    /// store has more: from the store and from the snapshot.
    pub(super) fn off_date_page(
        &self,
        snapshot: &Snapshot,
        mut below: (Day, Seq),
        limit: usize,
        reach: Reach,
    ) -> Result<(Vec<OffDate>, bool), ReadError> {
        loop {
            let (mut page, has_more) = self.whole_off_date_page(snapshot, below, limit, reach)?;
            let lowest = page.first().map(|row| (row.effective, row.seq));
            page.retain(|row| row.seq <= snapshot.account.last_seq);
            match lowest {
                // All of them came later than what is shown: there may be others below.
                Some(lowest) if page.is_empty() && has_more => below = lowest,
                _ => return Ok((page, has_more)),
            }
        }
    }

    /// As [`Core::off_date_page`], with those that came later than what is shown.
    pub(super) fn whole_off_date_page(
        &self,
        snapshot: &Snapshot,
        below: (Day, Seq),
        limit: usize,
        reach: Reach,
    ) -> Result<(Vec<OffDate>, bool), ReadError> {
        on_disk(reach)?;
        let view = self.store.off_date_view()?;
        let stored = snapshot.check(view.checkpoint_seq())?;
        let rows = view.entries(snapshot.no, Day(0)..=below.0, Some(below), limit)?;
        let has_more = rows.len() == limit;
        let floor = if has_more { rows.last().map(|row| (row.effective, row.seq)) } else { None };
        let off_date = |row: &OffDateRow| OffDate {
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

    /// The newest off-date entries below `below` that are effective on a day, of any account, newest
    /// first; all there are when they are fewer than `limit`.
    pub(super) fn off_dates_on(&self, day: Day, below: Seq, limit: usize, reach: Reach) -> Result<Vec<Seq>, ReadError> {
        on_disk(reach)?;
        // Memory first: rows go from there to the store, never back.
        let mut seqs = self.shards.off_dates_on(day, below, limit);
        seqs.extend(self.store.offdate_on(day, Some(below), limit)?);
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        seqs.dedup();
        seqs.truncate(limit);
        Ok(seqs)
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

impl OffDate {
    fn date(&self, kind: OffDateKind) -> Day {
        match kind {
            OffDateKind::Booked => self.booked,
            OffDateKind::Effective => self.effective,
        }
    }

    fn add_to(&self, sums: &mut Sums) {
        let side = if self.side == Side::Debit { &mut sums.0 } else { &mut sums.1 };
        *side += u128::from(self.amount);
    }

    fn take_from(&self, sums: &mut Sums) {
        let side = if self.side == Side::Debit { &mut sums.0 } else { &mut sums.1 };
        *side -= u128::from(self.amount);
    }
}
