//! Statements and balances at a past date.
//!
//! Two streams make a statement, both newest first by (effective date, seq): the account's chain
//! for entries effective on their business date, and the off-date rows for the others. The chain is
//! entered at the nearest **anchor**, so a statement of last March does not walk through today.
//!
//! 1. Under the account's lock: copy the row and the off-date rows that the store does not have yet.
//! 2. Wait until the row's newest seq is durable (the caller does).
//! 3. Closing balance at `to` = recorded closing of that business day − off-date postings booked by
//!    then + off-date postings effective by then.
//! 4. Merge the streams downwards from `to`, taking each line off the balance.

use crate::domain::account::{Account, Side};
use crate::domain::apply::Anchor;
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::time::Day;
use crate::domain::transfer::View;

use super::Core;
use super::history::{Located, Reach, ReadError};
use super::shard::OffDate;
use super::view::{PastBalance, Statement, StatementLine};

/// The account as it was when the query looked, with what the store does not know yet.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Whose.
    pub no: AccountNo,
    /// The row.
    pub account: Account,
    /// Off-date rows in memory; some may be in the store too.
    pub off_dates: Vec<OffDate>,
    /// The newest seq when the snapshot was taken.
    pub appended: Seq,
}

/// What a statement asks for.
#[derive(Clone, Copy, Debug)]
pub struct StatementQuery {
    /// First effective date.
    pub from: Option<Day>,
    /// Last effective date.
    pub to: Option<Day>,
    /// The line after which the page starts.
    pub before: Option<Seq>,
    /// Lines of the page.
    pub limit: usize,
}

impl Core {
    /// Step 1. `None` when there is no such account.
    #[must_use]
    pub fn snapshot(&self, no: AccountNo) -> Option<Snapshot> {
        let locked = self.shards.lock_one(no);
        let account = *locked.account(no)?;
        let off_dates = locked.off_dates(no);
        Some(Snapshot { no, account, off_dates, appended: self.journal.appended_seq() })
    }

    /// The recorded totals of an account at the end of a business day, and the entry to walk back
    /// from. Follows the anchors backwards.
    fn closing_of(&self, snapshot: &Snapshot, day: Day) -> Result<Anchor, ReadError> {
        let Snapshot { no, account, .. } = snapshot;
        let mut anchor = Anchor {
            account: *no,
            day: account.day,
            previous_day: account.previous_day,
            last_seq: account.last_seq,
            debits_posted: account.debits_posted,
            credits_posted: account.credits_posted,
            debits_pending: account.debits_pending,
            credits_pending: account.credits_pending,
        };
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
            anchor = self.anchor(*no, anchor.previous_day)?;
        }
        Ok(anchor)
    }

    fn anchor(&self, no: AccountNo, day: Day) -> Result<Anchor, ReadError> {
        let recent = self.shards.lock_one(no).anchor(no, day);
        let found = match recent {
            Some(anchor) => Some(anchor),
            None => self.stored_anchor(no, day)?,
        };
        found.ok_or_else(|| ReadError::Unreadable(format!("the closing of {no} on {day} is not there")))
    }

    /// Totals by effective date at the end of a day; pending as recorded at the end of that business day.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn balance_on(&self, snapshot: &Snapshot, day: Day) -> Result<PastBalance, ReadError> {
        let mut totals = self.closing_of(snapshot, day)?;
        let (booked, effective) = self.off_date_sums(snapshot, day)?;
        let settle = |recorded: u64, booked: u128, effective: u128| {
            u64::try_from(u128::from(recorded) + effective - booked)
                .map_err(|_| ReadError::Unreadable(format!("off-date sums of {} do not add up", snapshot.no)))
        };
        totals.debits_posted = settle(totals.debits_posted, booked.0, effective.0)?;
        totals.credits_posted = settle(totals.credits_posted, booked.1, effective.1)?;
        totals.day = day;
        Ok(PastBalance { totals })
    }

    /// Totals as recorded by an instant; `None` when the account did not exist then.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn balance_at(&self, snapshot: &Snapshot, at: Moment, reach: Reach) -> Result<Option<PastBalance>, ReadError> {
        let day = self.clock.day_of(at);
        let mut totals = self.closing_of(snapshot, day)?;
        // Entries of the same business day, but after the instant, are taken back one by one.
        let mut seq = totals.last_seq;
        while seq != Seq::NONE {
            let unreadable = || ReadError::Unreadable(format!("entry seq={seq} is not there"));
            let located = self.history.entry(seq, reach)?.ok_or_else(unreadable)?;
            if located.moment <= at {
                totals.last_seq = seq;
                return Ok(Some(PastBalance { totals }));
            }
            take_back(&mut totals, snapshot.no, &located);
            seq = located.previous_of(snapshot.no).unwrap_or(Seq::NONE);
        }
        Ok(None)
    }

    /// A page of the statement. The snapshot's newest seq must be durable.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn statement_page(
        &self,
        snapshot: &Snapshot,
        query: &StatementQuery,
        reach: Reach,
    ) -> Result<Statement, ReadError> {
        let account = &snapshot.account;
        let cursor = match query.before {
            Some(seq) => self.history.entry(seq, reach)?.map(|located| (effective_day(&located), seq)),
            None => None,
        };
        // A page in the middle starts at the top of its cursor's day and passes over what was shown.
        let top = match (cursor, query.to) {
            (Some((day, _)), Some(to)) => day.min(to),
            (Some((day, _)), None) => day,
            (None, to) => to.unwrap_or(Day(u16::MAX)),
        };
        let totals = self.balance_on(snapshot, top)?.totals;
        let mut balance = account.signed(totals.debits_posted.into(), totals.credits_posted.into());
        let mut lines = Lines::open(self, snapshot, top, reach)?;
        let mut statement = Statement {
            account: snapshot.no,
            currency: account.currency,
            from: query.from,
            to: query.to,
            opening: 0,
            closing: balance,
            has_more: false,
            lines: Vec::new(),
            version: account.version,
            last_seq: account.last_seq,
        };
        while let Some(line) = lines.next()? {
            if query.from.is_some_and(|from| line.effective < from) {
                break;
            }
            let shown = cursor.is_none_or(|cursor| (line.effective, line.seq) < cursor);
            if shown && statement.lines.len() == query.limit {
                statement.has_more = true;
                break;
            }
            let amount = match line.side {
                Side::Debit => account.signed(line.amount.into(), 0),
                Side::Credit => account.signed(0, line.amount.into()),
            };
            if shown {
                if statement.lines.is_empty() {
                    statement.closing = balance;
                }
                statement.lines.push(self.line(&line, amount, balance, reach)?);
            }
            balance -= amount;
            if statement.lines.is_empty() {
                statement.closing = balance;
            }
        }
        statement.opening = balance;
        Ok(statement)
    }

    fn line(&self, line: &Posting, amount: i128, balance: i128, reach: Reach) -> Result<StatementLine, ReadError> {
        let unreadable = || ReadError::Unreadable(format!("entry seq={} is not there", line.seq));
        let located = match &line.located {
            Some(located) => located.clone(),
            None => self.history.entry(line.seq, reach)?.ok_or_else(unreadable)?,
        };
        let entry = located.transfer().ok_or_else(unreadable)?;
        let transfer = entry.resolves().unwrap_or(line.seq);
        // A posted hold shows the hold's own description.
        let description = if transfer == line.seq {
            entry.cold.as_ref().and_then(|cold| cold.description.clone())
        } else {
            let hold = self.history.entry(transfer, reach)?.ok_or_else(unreadable)?;
            hold.transfer().and_then(|entry| entry.cold.as_ref()).and_then(|cold| cold.description.clone())
        };
        Ok(StatementLine {
            seq: line.seq,
            transfer,
            effective_date: line.effective,
            created_at: located.moment,
            amount,
            balance,
            description,
        })
    }
}

/// One posting of the account, from either stream.
struct Posting {
    seq: Seq,
    effective: Day,
    side: Side,
    amount: u64,
    located: Option<Located>,
}

/// Both streams, merged: newest first by (effective date, seq).
struct Lines<'a> {
    core: &'a Core,
    snapshot: &'a Snapshot,
    reach: Reach,
    chain: Seq,
    on_date: Option<Posting>,
    off_date: Option<OffDate>,
    /// Off-date rows are fetched in pages; the newest of a page last.
    off_page: Vec<OffDate>,
    off_done: bool,
}

/// Off-date rows fetched at once.
const OFF_DATE_PAGE: usize = 256;

impl<'a> Lines<'a> {
    fn open(core: &'a Core, snapshot: &'a Snapshot, top: Day, reach: Reach) -> Result<Lines<'a>, ReadError> {
        let chain = core.closing_of(snapshot, top)?.last_seq;
        let mut lines = Lines {
            core,
            snapshot,
            reach,
            chain,
            on_date: None,
            off_date: None,
            off_page: Vec::new(),
            off_done: false,
        };
        lines.step_on_date()?;
        lines.fetch_off_dates((top, Seq(u64::MAX)))?;
        lines.off_date = lines.off_page.pop();
        Ok(lines)
    }

    fn next(&mut self) -> Result<Option<Posting>, ReadError> {
        let on = self.on_date.as_ref().map(|posting| (posting.effective, posting.seq));
        let off = self.off_date.map(|row| (row.effective, row.seq));
        if on.is_none() && off.is_none() {
            return Ok(None);
        }
        if on > off {
            let posting = self.on_date.take();
            self.step_on_date()?;
            return Ok(posting);
        }
        let row = self.off_date.take().expect("the off-date stream is ahead, so it has a row");
        if self.off_page.is_empty() && !self.off_done {
            self.fetch_off_dates((row.effective, row.seq))?;
        }
        self.off_date = self.off_page.pop();
        let OffDate { side, effective, seq, amount, .. } = row;
        Ok(Some(Posting { seq, effective, side, amount, located: None }))
    }

    /// Walks the chain to the next posting that is effective on its business date.
    fn step_on_date(&mut self) -> Result<(), ReadError> {
        while self.chain != Seq::NONE {
            let seq = self.chain;
            let unreadable = || ReadError::Unreadable(format!("entry seq={seq} is not there"));
            let located = self.core.history.entry(seq, self.reach)?.ok_or_else(unreadable)?;
            self.chain = located.previous_of(self.snapshot.no).ok_or_else(unreadable)?;
            let Some((side, entry)) = located.side_of(self.snapshot.no) else { continue };
            let amount = entry.posts();
            if amount > 0 && entry.effective.is_none() {
                self.on_date = Some(Posting { seq, effective: located.date, side, amount, located: Some(located) });
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next page of off-date rows below a position: from the store and from the snapshot.
    fn fetch_off_dates(&mut self, below: (Day, Seq)) -> Result<(), ReadError> {
        let (rows, has_more) = self.core.off_date_page(self.snapshot, below, OFF_DATE_PAGE)?;
        self.off_done = !has_more;
        self.off_page = rows;
        Ok(())
    }
}

fn effective_day(located: &Located) -> Day {
    located.transfer().map_or(located.date, |entry| entry.effective_on(located.date))
}

/// Takes an entry's effect on an account back off its totals.
fn take_back(totals: &mut Anchor, no: AccountNo, located: &Located) {
    let Some((side, entry)) = located.side_of(no) else { return };
    let (posted, pending) = match side {
        Side::Debit => (&mut totals.debits_posted, &mut totals.debits_pending),
        Side::Credit => (&mut totals.credits_posted, &mut totals.credits_pending),
    };
    *posted -= entry.posts();
    *pending = *pending + entry.releases() - entry.holds();
}
