//! The books as an older entry left them, for documents that must be the same whenever they are made.
//!
//! Promise: what is said here of an entry is said for ever, whatever came later. All of it is told from the journal
//! and from totals that were recorded: nothing of it is kept for the purpose.

use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::customer::{CustomerRow, CustomerSaved};
use crate::domain::time::Day;

use super::Core;
use super::history::{Reach, ReadError, Steps};
use super::past::closing_now;
use super::shard::OffDate;
use super::statement::{Snapshot, StatementQuery};
use super::view::Statement;

/// Lines that are read at once.
const PAGE_LINES: usize = 1_000;

/// Off-date postings that are looked at, to find those that came later.
const OFF_DATES_PAGE: usize = 1_000;

impl Core {
    /// The business day on which an entry was made; the first of the books for what is older.
    #[must_use]
    pub fn day_by(&self, through: Seq) -> Day {
        let runs = self.day_runs.lock();
        let place = runs.partition_point(|(_, first)| *first <= through);
        runs.get(place.saturating_sub(1)).map_or_else(|| self.business_date(), |(day, _)| *day)
    }

    /// The entry that made the business day what it was at an entry: what is shown of a loan on that day shows it, too.
    #[must_use]
    pub fn day_began_by(&self, through: Seq) -> Seq {
        let runs = self.day_runs.lock();
        let place = runs.partition_point(|(_, first)| *first <= through);
        place.checked_sub(1).map_or(Seq::NONE, |place| runs[place].1)
    }

    /// Moment and business day of a durable entry, and the hash of the journal's block that holds it. That hash is the
    /// end of the chain up to there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entry_by(&self, seq: Seq, reach: Reach) -> Result<Option<(Moment, Day, [u8; 32])>, ReadError> {
        let Some(located) = self.history.entry(seq, reach)? else { return Ok(None) };
        let hash = self.history.block_hash(seq, reach)?;
        Ok(hash.map(|hash| (located.moment, located.date, hash)))
    }

    /// An account as the durable entry `through` left it; `None` when it did not exist then.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Moved`] where the look must be repeated.
    pub fn snapshot_by(&self, no: AccountNo, through: Seq, reach: Reach) -> Result<Option<Snapshot>, ReadError> {
        let Some(mut snapshot) = self.snapshot(no) else { return Ok(None) };
        if snapshot.account.last_seq <= through {
            return Ok(Some(snapshot));
        }
        if !self.watermark.covers(snapshot.account.last_seq) {
            // The walk back begins at the account's newest entry, which nobody may see yet.
            return Err(ReadError::Moved);
        }
        let Some(located) = self.history.entry(through, reach)? else { return Ok(None) };
        let mut steps = Steps::of(reach);
        let Some(mut row) = self.row_by(&snapshot, through, located.date, reach, &mut steps)? else { return Ok(None) };
        // The day of the row is that of its totals, so that the closings before it are found from it.
        let closing = self.closing_before(closing_now(no, &snapshot.account), located.date, reach)?;
        (row.day, row.previous_day) = (closing.day, closing.previous_day);
        snapshot.later = self.off_dates_after(&snapshot, row.last_seq, reach)?;
        snapshot.account = row;
        Ok(Some(snapshot))
    }

    /// Off-date postings of an account that came after an entry.
    fn off_dates_after(&self, snapshot: &Snapshot, through: Seq, reach: Reach) -> Result<Vec<OffDate>, ReadError> {
        let mut later = Vec::new();
        let mut below = (Day(u16::MAX), Seq(u64::MAX));
        loop {
            let (page, has_more) = self.whole_off_date_page(snapshot, below, OFF_DATES_PAGE, reach)?;
            let lowest = page.first().map(|row| (row.effective, row.seq));
            later.extend(page.into_iter().filter(|row| row.seq > through));
            match lowest {
                Some(lowest) if has_more => below = lowest,
                _ => return Ok(later),
            }
        }
    }

    /// All lines between two days, of a snapshot whose newest entry is durable; `has_more` where there are more than
    /// `lines_max`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn whole_statement(
        &self,
        snapshot: &Snapshot,
        days: (Option<Day>, Option<Day>),
        lines_max: usize,
        reach: Reach,
    ) -> Result<Statement, ReadError> {
        let mut query = StatementQuery { from: days.0, to: days.1, after: None, limit: PAGE_LINES.min(lines_max) };
        let mut whole = self.statement_page(snapshot, &query, reach)?;
        while whole.has_more && whole.lines.len() < lines_max {
            query.after = whole.next;
            query.limit = PAGE_LINES.min(lines_max - whole.lines.len());
            let page = self.statement_page(snapshot, &query, reach)?;
            whole.lines.extend(page.lines);
            (whole.opening, whole.has_more, whole.next) = (page.opening, page.has_more, page.next);
        }
        Ok(whole)
    }

    /// What was known of a customer when the entry `through` was made; `None` when it did not exist then.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn customer_by(&self, number: u32, through: Seq, reach: Reach) -> Result<Option<CustomerSaved>, ReadError> {
        let Some(mut row) = self.lending.customer(number) else { return Ok(None) };
        if !self.watermark.covers(row.last_seq) {
            return Err(ReadError::Moved);
        }
        loop {
            let saved = self.customer_saved(row, reach)?;
            if row.last_seq <= through {
                return Ok(Some(saved));
            }
            if saved.previous == Seq::NONE {
                return Ok(None);
            }
            row = CustomerRow { version: saved.version.saturating_sub(1), last_seq: saved.previous, ..row };
        }
    }
}
