//! Where a page of a statement begins: its place in both streams, and the balance there.
//!
//! For a page that starts after the place (day `d`, seq `s`), the balance is that of the end of `d`, less
//! 1. what the chain posted on `d` from `s` on: the recorded closing of `d` − the totals recorded before
//!    `s`, of which off-date postings **booked** there are no part;
//! 2. what off-date postings **effective** on `d` posted from `s` on.
//!
//! None of them is a walk over the lines above the page.

use std::cmp::Ordering;

use crate::domain::ids::Seq;
use crate::domain::time::Day;
use crate::store::OffDateKind;

use super::Core;
use super::history::{Located, Reach, ReadError, Steps};
use super::past::{Posted, take_back};
use super::statement::{After, Snapshot, StatementQuery};
use super::stored::OffDatePart;

/// A place in a statement: lines are ordered by it.
pub type Place = (Day, Seq);

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
pub struct Top {
    /// Where the chain is entered.
    pub chain: Posted,
    /// Off-date rows below this place belong to the page.
    pub below: Place,
    /// Σ of all lines below the page's beginning, in the account's normal direction, minor units.
    pub balance: i128,
}

/// The entry that a cursor names.
struct Cursor {
    located: Located,
    /// Its day in the statement: by effective date for a line, by business date for an entry that is none,
    /// or at which a walk along the chain ended.
    day: Day,
}

impl Core {
    /// Where the page of a query begins.
    pub(super) fn top_of(
        &self,
        snapshot: &Snapshot,
        query: &StatementQuery,
        reach: Reach,
        steps: &mut Steps,
    ) -> Result<Top, ReadError> {
        let cursor = match query.after {
            Some(after) => Some(self.cursor(snapshot, after, reach)?),
            None => None,
        };
        match (cursor, query.to) {
            // A cursor after the last date wanted has nothing above it to leave out.
            (Some(cursor), to) if to.is_none_or(|to| cursor.day <= to) => {
                self.top_after(snapshot, &cursor, reach, steps)
            }
            (_, to) => {
                let day = to.unwrap_or(Day(u16::MAX));
                let chain = Posted::of(&self.closing_of(snapshot, day, reach)?);
                Ok(Top { chain, below: (day, Seq(u64::MAX)), balance: self.end_of(snapshot, day, reach)? })
            }
        }
    }

    fn cursor(&self, snapshot: &Snapshot, after: After, reach: Reach) -> Result<Cursor, ReadError> {
        let (seq, is_line) = match after {
            After::Line(seq) => (seq, true),
            After::Booked(seq) => (seq, false),
        };
        let found = if seq <= snapshot.account.last_seq { self.history.entry(seq, reach)? } else { None };
        let located = found.filter(|located| located.previous_of(snapshot.no).is_some());
        let located = located.ok_or(ReadError::NoSuchPlace)?;
        let line = located.transfer().filter(|entry| is_line && entry.posts() > 0);
        let day = line.map_or(located.date, |entry| entry.effective_on(located.date));
        Ok(Cursor { located, day })
    }

    fn top_after(
        &self,
        snapshot: &Snapshot,
        cursor: &Cursor,
        reach: Reach,
        steps: &mut Steps,
    ) -> Result<Top, ReadError> {
        let Cursor { located, day } = cursor;
        let (day, seq) = (*day, located.seq);
        let closing = Posted::of(&self.closing_of(snapshot, day, reach)?);
        let chain = match located.date.cmp(&day) {
            Ordering::Equal => self.place_below(snapshot, located, reach, steps)?,
            // Posted later with an earlier date: below all of that day's chain that there is.
            Ordering::Greater => closing,
            // Posted ahead of its date: above nothing of that day's chain.
            Ordering::Less => Posted::of(&self.closing_of(snapshot, Day(day.0 - 1), reach)?),
        };
        let mut above = (u128::from(closing.debits - chain.debits), u128::from(closing.credits - chain.credits));
        if chain.last_seq != closing.last_seq {
            let booked = OffDatePart { kind: OffDateKind::Booked, day, from: chain.last_seq.next() };
            let booked = self.off_date_part(snapshot, booked, reach)?;
            above = (above.0 - booked.0, above.1 - booked.1);
        }
        let effective = OffDatePart { kind: OffDateKind::Effective, day, from: seq };
        let effective = self.off_date_part(snapshot, effective, reach)?;
        let wide = |sum: u128| i128::try_from(sum).expect("2^64 entries of 2^63 minor units are 2^127");
        let above = snapshot.account.signed(wide(above.0 + effective.0), wide(above.1 + effective.1));
        Ok(Top { chain, below: (day, seq), balance: self.end_of(snapshot, day, reach)? - above })
    }

    /// The account's chain before one of its entries: where the page before ended, or from the nearest mark.
    fn place_below(
        &self,
        snapshot: &Snapshot,
        located: &Located,
        reach: Reach,
        steps: &mut Steps,
    ) -> Result<Posted, ReadError> {
        if let Some(place) = self.history.place(snapshot.no, located.seq) {
            return Ok(place);
        }
        let unreadable = || ReadError::Unreadable(format!("entry seq={} is in no chain", located.seq));
        let row = self.row_by(snapshot, located.seq, located.date, reach, steps)?.ok_or_else(unreadable)?;
        let after = Posted { last_seq: row.last_seq, debits: row.debits_posted, credits: row.credits_posted };
        take_back(after, snapshot.no, located).ok_or_else(unreadable)
    }

    /// The balance at the end of a day.
    fn end_of(&self, snapshot: &Snapshot, day: Day, reach: Reach) -> Result<i128, ReadError> {
        let totals = self.balance_on(snapshot, day, reach)?.totals;
        Ok(snapshot.account.signed(totals.debits_posted.into(), totals.credits_posted.into()))
    }
}
