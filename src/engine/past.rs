//! An account as it was: at an instant, at a place of its chain, at the end of a day.
//!
//! Rows of the past are not kept, but totals at some places are: the closing of each day (**anchors**)
//! and rows within a day (**marks**, one in about a thousand entries, and one before each change of the
//! account). A question is answered from the first of them at or after its place:
//! 1. the first mark from the place on, else the row of now: status, version and texts are those of that
//!    row, since a change in between would have left a mark;
//! 2. the closing of the place's day, if that is nearer;
//! 3. from there back along the chain, taking each entry off the totals.

use crate::domain::account::{Account, Side};
use crate::domain::apply::{Anchor, Mark};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::money::Minor;
use crate::domain::time::Day;

use super::Core;
use super::history::{Located, Reach, ReadError, Steps};
use super::statement::Snapshot;
use super::view::PastBalance;

/// A place in an account's chain and the totals recorded there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The entry after which they stood; [`Seq::NONE`] before the first.
    pub last_seq: Seq,
    /// Σ of posted debits, minor units.
    pub debits: Minor,
    /// Σ of posted credits, minor units.
    pub credits: Minor,
}

impl Posted {
    /// What a day's closing says.
    #[must_use]
    pub fn of(closing: &Anchor) -> Posted {
        let Anchor { last_seq, debits_posted: debits, credits_posted: credits, .. } = *closing;
        Posted { last_seq, debits, credits }
    }
}

/// The place before an entry. `None` when the entry does not touch the account.
#[must_use]
pub fn take_back(after: Posted, no: AccountNo, located: &Located) -> Option<Posted> {
    let mut before = Posted { last_seq: located.previous_of(no)?, ..after };
    match located.side_of(no) {
        Some((Side::Debit, entry)) => before.debits -= entry.posts(),
        Some((Side::Credit, entry)) => before.credits -= entry.posts(),
        None => {}
    }
    Some(before)
}

/// A row as if it were a day's closing: where a walk over anchors begins.
pub(super) fn closing_now(no: AccountNo, row: &Account) -> Anchor {
    Anchor {
        account: no,
        day: row.day,
        previous_day: row.previous_day,
        last_seq: row.last_seq,
        debits_posted: row.debits_posted,
        credits_posted: row.credits_posted,
        debits_pending: row.debits_pending,
        credits_pending: row.credits_pending,
    }
}

impl Core {
    /// The recorded totals of an account at the end of a business day, and the entry to walk back
    /// from. Follows the anchors backwards.
    pub(super) fn closing_of(&self, snapshot: &Snapshot, day: Day, reach: Reach) -> Result<Anchor, ReadError> {
        self.closing_before(closing_now(snapshot.no, &snapshot.account), day, reach)
    }

    pub(super) fn closing_before(&self, later: Anchor, day: Day, reach: Reach) -> Result<Anchor, ReadError> {
        let mut anchor = later;
        while anchor.day > day {
            if anchor.previous_day == Day(0) {
                return Ok(Anchor {
                    day,
                    last_seq: Seq::NONE,
                    debits_posted: 0,
                    credits_posted: 0,
                    debits_pending: 0,
                    credits_pending: 0,
                    ..anchor
                });
            }
            anchor = self.anchor(anchor.account, anchor.previous_day, reach)?;
        }
        Ok(anchor)
    }

    fn anchor(&self, no: AccountNo, day: Day, reach: Reach) -> Result<Anchor, ReadError> {
        let recent = self.shards.lock_one(no).anchor(no, day);
        let found = match recent {
            Some(anchor) => Some(anchor),
            None => self.stored_anchor(no, day, reach)?,
        };
        found.ok_or_else(|| ReadError::Unreadable(format!("the closing of {no} on {day} is not there")))
    }

    /// Totals by effective date at the end of a day; pending as recorded at the end of that business day.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn balance_on(&self, snapshot: &Snapshot, day: Day, reach: Reach) -> Result<PastBalance, ReadError> {
        let mut totals = self.closing_of(snapshot, day, reach)?;
        let (booked, effective) = self.off_date_sums(snapshot, day, reach)?;
        let settle = |recorded: u64, booked: u128, effective: u128| {
            u64::try_from(u128::from(recorded) + effective - booked)
                .map_err(|_| ReadError::Unreadable(format!("off-date sums of {} do not add up", snapshot.no)))
        };
        totals.debits_posted = settle(totals.debits_posted, booked.0, effective.0)?;
        totals.credits_posted = settle(totals.credits_posted, booked.1, effective.1)?;
        totals.day = day;
        Ok(PastBalance { totals })
    }

    /// The row of an account as recorded by an instant; `None` when it did not exist then.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn row_at(&self, snapshot: &Snapshot, at: Moment, reach: Reach) -> Result<Option<Account>, ReadError> {
        match self.history.newest_by(at, snapshot.account.last_seq, reach)? {
            Some((place, date)) => self.row_by(snapshot, place, date, reach, &mut Steps::of(reach)),
            None => Ok(None),
        }
    }

    /// The row of an account after its newest entry up to `place`, an entry of the books made on the
    /// business day `date`; `None` when it did not exist then. Its days are those of the totals it was made from.
    pub(super) fn row_by(
        &self,
        snapshot: &Snapshot,
        place: Seq,
        date: Day,
        reach: Reach,
        steps: &mut Steps,
    ) -> Result<Option<Account>, ReadError> {
        let now = &snapshot.account;
        if place >= now.last_seq {
            return Ok(Some(*now));
        }
        let no = snapshot.no;
        // A mark beyond the snapshot is not durable for sure; the row is nearer then.
        let mark = self.mark_from(no, place.next(), reach)?.filter(|mark| mark.at <= now.last_seq);
        let mut row = mark.map_or(*now, |mark: Mark| mark.row(now));
        let closing = self.closing_before(closing_now(no, &row), date, reach)?;
        if closing.last_seq < row.last_seq {
            row.last_seq = closing.last_seq;
            row.debits_posted = closing.debits_posted;
            row.credits_posted = closing.credits_posted;
            row.debits_pending = closing.debits_pending;
            row.credits_pending = closing.credits_pending;
        }
        while row.last_seq > place {
            // Marks make this short nearly always; it is never given up half way.
            let _ = steps.take()?;
            let seq = row.last_seq;
            let unreadable = || ReadError::Unreadable(format!("entry seq={seq} is not there"));
            let located = self.history.entry(seq, reach)?.ok_or_else(unreadable)?;
            take_off(&mut row, no, &located);
            row.last_seq = located.previous_of(no).ok_or_else(unreadable)?;
        }
        Ok((row.last_seq != Seq::NONE).then_some(row))
    }
}

/// Takes an entry's effect on an account off its totals.
fn take_off(row: &mut Account, no: AccountNo, located: &Located) {
    let Some((side, entry)) = located.side_of(no) else { return };
    let (posted, pending) = match side {
        Side::Debit => (&mut row.debits_posted, &mut row.debits_pending),
        Side::Credit => (&mut row.credits_posted, &mut row.credits_pending),
    };
    *posted -= entry.posts();
    *pending = *pending + entry.releases() - entry.holds();
}
