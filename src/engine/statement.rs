//! Statements and balances at a past date.
//!
//! Two streams make a statement, both newest first by (effective date, seq): the account's chain
//! for entries effective on their business date, and the off-date rows for the others. The chain is
//! entered at the nearest **anchor**, so a statement of last March does not walk through today; and in
//! the middle of a day at the nearest **mark** or at the place where the page before ended, so that a
//! page costs what it shows and not what stands above it.
//!
//! 1. Under the account's lock: copy the row and the off-date rows that the store does not have yet.
//! 2. Wait until the row's newest seq is durable (the caller does).
//! 3. Closing balance at `to` = recorded closing of that business day − off-date postings booked by
//!    then + off-date postings effective by then.
//! 4. For a page that starts after a line: less what was posted on that day from that line on, which is
//!    a difference of two recorded totals and two sums of off-date rows (`top.rs`).
//! 5. Merge the streams downwards from there, taking each line off the balance.

use crate::domain::account::{Account, Side};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::time::Day;
use crate::domain::transfer::View;

use super::Core;
use super::history::{Located, Reach, ReadError, Steps};
use super::past::{Posted, take_back};
use super::shard::OffDate;
use super::top::{Place, Top};
use super::view::{Statement, StatementLine};

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
    /// Where the account is shown as an older entry left it: off-date postings after that, which the sums have and the
    /// account had not.
    pub later: Vec<OffDate>,
}

/// The place after which a page of a statement starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// A line: its place is by effective date.
    Line(Seq),
    /// An entry of the account at which a walk ended: its place is by booking, whatever line it is elsewhere.
    Booked(Seq),
}

/// What a statement asks for.
#[derive(Clone, Copy, Debug)]
pub struct StatementQuery {
    /// First effective date.
    pub from: Option<Day>,
    /// Last effective date.
    pub to: Option<Day>,
    /// Where the page starts; the newest line by default.
    pub after: Option<After>,
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
        let appended = self.journal.appended_seq();
        Some(Snapshot { no, account, off_dates, appended, later: Vec::new() })
    }

    /// A page of the statement. The snapshot's newest seq must be durable.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::NoSuchPlace`] for a cursor that is no entry of the account.
    pub fn statement_page(
        &self,
        snapshot: &Snapshot,
        query: &StatementQuery,
        reach: Reach,
    ) -> Result<Statement, ReadError> {
        let account = &snapshot.account;
        let mut steps = Steps::of(reach);
        let top = self.top_of(snapshot, query, reach, &mut steps)?;
        let mut balance = top.balance;
        let mut lines = Lines::open(self, snapshot, query.from, &top, reach, steps)?;
        let mut statement = Statement {
            account: snapshot.no,
            currency: account.currency,
            from: query.from,
            to: query.to,
            opening: 0,
            closing: balance,
            has_more: false,
            next: None,
            lines: Vec::with_capacity(query.limit.min(64)),
            version: account.version,
            last_seq: account.last_seq,
        };
        loop {
            let line = match lines.next()? {
                Next::Line(line) => line,
                Next::End => break,
                Next::Tired(seq) => {
                    (statement.has_more, statement.next) = (true, Some(After::Booked(seq)));
                    break;
                }
            };
            if query.from.is_some_and(|from| line.effective < from) {
                break;
            }
            if statement.lines.len() == query.limit {
                (statement.has_more, statement.next) = (true, statement.lines.last().map(|line| After::Line(line.seq)));
                break;
            }
            let amount = signed(account, line.side, line.amount);
            statement.lines.push(self.line(&line, amount, balance, reach)?);
            balance -= amount;
            if statement.lines.len() == query.limit
                && let Some(below) = line.below
            {
                self.history.remember_place(snapshot.no, line.seq, below);
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

/// In the account's normal direction.
fn signed(account: &Account, side: Side, amount: u64) -> i128 {
    match side {
        Side::Debit => account.signed(amount.into(), 0),
        Side::Credit => account.signed(0, amount.into()),
    }
}

/// One posting of the account, from either stream.
struct Posting {
    seq: Seq,
    effective: Day,
    side: Side,
    amount: u64,
    located: Option<Located>,
    /// For one of the chain: where the chain goes on, and the totals recorded there.
    below: Option<Posted>,
}

/// What comes next in a statement.
enum Next {
    Line(Posting),
    /// Nothing more.
    End,
    /// No line for a long while: the last entry looked at, after whose booking a further page starts.
    Tired(Seq),
}

/// Both streams, merged: newest first by (effective date, seq).
struct Lines<'a> {
    core: &'a Core,
    snapshot: &'a Snapshot,
    reach: Reach,
    steps: Steps,
    /// Nothing below this date is wanted.
    from: Option<Day>,
    chain: Posted,
    /// The entry of the chain looked at last.
    looked: Option<(Day, Seq)>,
    on_date: Option<Posting>,
    /// Where the walk along the chain ended before its end.
    tired: Option<(Day, Seq)>,
    off_date: Option<OffDate>,
    /// Off-date rows are fetched in pages; the newest of a page last.
    off_page: Vec<OffDate>,
    off_done: bool,
}

/// Off-date rows fetched at once.
const OFF_DATE_PAGE: usize = 256;

impl<'a> Lines<'a> {
    fn open(
        core: &'a Core,
        snapshot: &'a Snapshot,
        from: Option<Day>,
        top: &Top,
        reach: Reach,
        steps: Steps,
    ) -> Result<Lines<'a>, ReadError> {
        let mut lines = Lines {
            core,
            snapshot,
            reach,
            steps,
            from,
            chain: top.chain,
            looked: None,
            on_date: None,
            tired: None,
            off_date: None,
            off_page: Vec::new(),
            off_done: false,
        };
        lines.step_on_date()?;
        lines.fetch_off_dates(top.below)?;
        lines.off_date = lines.off_page.pop();
        Ok(lines)
    }

    fn next(&mut self) -> Result<Next, ReadError> {
        let on = self.on_date.as_ref().map(|posting| (posting.effective, posting.seq)).or(self.tired);
        let off = self.off_date.map(|row| (row.effective, row.seq));
        if on.is_none() && off.is_none() {
            return Ok(Next::End);
        }
        if on > off {
            let Some(posting) = self.on_date.take() else {
                let (_, seq) = self.tired.expect("the chain is ahead, by a line or by where it ended");
                return Ok(Next::Tired(seq));
            };
            self.step_on_date()?;
            return Ok(Next::Line(posting));
        }
        let row = self.off_date.take().expect("the off-date stream is ahead, so it has a row");
        if self.off_page.is_empty() && !self.off_done {
            self.fetch_off_dates((row.effective, row.seq))?;
        }
        self.off_date = self.off_page.pop();
        let OffDate { side, effective, seq, amount, .. } = row;
        Ok(Next::Line(Posting { seq, effective, side, amount, located: None, below: None }))
    }

    /// Walks the chain to the next posting that is effective on its business date. At least one entry is
    /// looked at: a page that ended where it began would never end the statement.
    fn step_on_date(&mut self) -> Result<(), ReadError> {
        while self.chain.last_seq != Seq::NONE {
            if !self.steps.take()? && self.looked.is_some() {
                self.tired = self.looked;
                return Ok(());
            }
            let seq = self.chain.last_seq;
            let unreadable = || ReadError::Unreadable(format!("entry seq={seq} is not there"));
            let located = self.core.history.entry(seq, self.reach)?.ok_or_else(unreadable)?;
            self.chain = take_back(self.chain, self.snapshot.no, &located).ok_or_else(unreadable)?;
            self.looked = Some((located.date, seq));
            if self.from.is_some_and(|from| located.date < from) {
                // What is booked before the first date wanted is effective then, or in the other stream.
                self.chain.last_seq = Seq::NONE;
                return Ok(());
            }
            let Some((side, entry)) = located.side_of(self.snapshot.no) else { continue };
            let amount = entry.posts();
            if amount > 0 && entry.effective.is_none() {
                let below = Some(self.chain);
                let effective = located.date;
                self.on_date = Some(Posting { seq, effective, side, amount, located: Some(located), below });
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next page of off-date rows below a position: from the store and from the snapshot.
    fn fetch_off_dates(&mut self, below: Place) -> Result<(), ReadError> {
        let (rows, has_more) = self.core.off_date_page(self.snapshot, below, OFF_DATE_PAGE, self.reach)?;
        self.off_done = !has_more;
        self.off_page = rows;
        Ok(())
    }
}
