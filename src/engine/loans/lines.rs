//! Rows of reports about loans, and what was recorded of them on a day, read in pieces.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::entry::Entry;
use crate::domain::ids::{Moment, Seq};
use crate::domain::lending::loan::events::LoanEvent;
use crate::domain::lending::loan::facts::LoanPosted;
use crate::domain::lending::loan::fold::undoes;
use crate::domain::lending::product::ProductSaved;
use crate::domain::time::Day;
use crate::engine::Core;
use crate::engine::history::{Located, Reach, ReadError};
use crate::engine::view::{LoanEventView, LoanFilter, LoanLine, Page};

use super::book::is_receipt;
use super::query::{ENTRIES_MAX, bring_to, line_of};
use super::table::LoanRow;

impl Core {
    /// The loans that had been paid out by a day and were still run on another before it, by number. In pieces:
    /// whoever writes does not wait for it.
    #[must_use]
    pub fn loans_that_ran(&self, from: Day, to: Day) -> Vec<u32> {
        let ran = |row: &LoanRow| {
            let state = row.unpacked();
            // Days begin for a loan until it ends.
            let is_late_enough = row.is_active || state.begun >= from;
            state.disbursed_on != Day(0) && state.disbursed_on <= to && is_late_enough
        };
        let count = self.loans.loans().count();
        let mut found = Vec::new();
        let mut next = 1;
        while next <= count {
            let loans = self.loans.loans();
            let last = count.min(next + 999);
            found.extend((next..=last).filter(|loan| loans.get(*loan).is_some_and(ran)));
            next = last + 1;
        }
        found
    }

    /// The day that an entry closed, the moment of that, and the day after it; `None` where the entry closed none.
    pub(super) fn day_closed(&self, closed: Seq, reach: Reach) -> Result<Option<(Day, Moment, Day)>, ReadError> {
        let located = self.history.entry(closed, reach)?;
        let Some(Located { moment, date: next, entry: Entry::DayClosed(entry), .. }) = located else { return Ok(None) };
        Ok(Some((entry.through, moment, next)))
    }

    /// How far the end of a closed day is: the entry that ended it (`None` where that is not known any more) once it
    /// has ended, loans looked at, and loans; and an entry that is not before any that made it so.
    pub(super) fn look_at_day(&self, date: Day) -> (Option<Option<Seq>>, (u32, u32), Seq) {
        // As in `day_now`.
        let _locked = self.shards.lock_all();
        let (by, next_loan, ending, has_begun) =
            self.loans.with_day(|day| (day.end_of(date), day.next_loan, day.ending(), day.closed != Day(0)));
        let loans = self.loans.loans().count();
        let is_over = !has_begun || ending.is_none_or(|ending| date < ending);
        let ended = (is_over || by.is_some()).then_some(by);
        let done = match ending {
            _ if ended.is_some() => loans,
            Some(ending) if ending == date => next_loan.saturating_sub(1).min(loans),
            _ => 0,
        };
        (ended, (done, loans), self.journal.appended_seq())
    }

    /// The entry and the hash of the block that it is in.
    pub(super) fn block_hash_of(&self, seq: Seq, reach: Reach) -> Result<Option<(Seq, [u8; 32])>, ReadError> {
        Ok(self.history.block_hash(seq, reach)?.map(|hash| (seq, hash)))
    }

    pub(super) fn loan_lines(&self, filter: LoanFilter, after: u32, limit: usize, today: Day) -> (Page<LoanLine>, Seq) {
        let mut products: HashMap<(u32, u32), Arc<ProductSaved>> = HashMap::new();
        let mut rows = Vec::new();
        let (mut cursor, mut has_more, mut seq) = (None, false, self.day_seq());
        let count = self.loans.loans().count();
        let mut next = after.saturating_add(1);
        // In pieces: whoever writes does not wait for a report.
        'pieces: while next <= count {
            let loans = self.loans.loans();
            for loan in next..=count.min(next + 999) {
                if rows.len() == limit {
                    has_more = true;
                    break 'pieces;
                }
                cursor = Some(u64::from(loan));
                let row = loans.get(loan).expect("counted above");
                if !filter.wants_row(row) || ((filter.has_dues || filter.class_from.is_some()) && !row.is_active) {
                    continue;
                }
                let mut state = row.unpacked();
                let product = products.entry((row.product, row.product_version)).or_insert_with(|| {
                    let version = self.loans.product(row.product, Some(row.product_version));
                    version.expect("a loan's product came before it").saved
                });
                let terms = &product.facts.terms;
                bring_to(&mut state, terms, today);
                if !filter.wants_state(&state) {
                    continue;
                }
                if filter.has_dues && state.dues.is_empty() {
                    continue;
                }
                seq = seq.max(row.last_seq);
                rows.push(line_of(loan, row, &state, terms, today));
            }
            next += 1_000;
        }
        (Page { rows, has_more, cursor }, seq)
    }

    pub(super) fn loan_events_on(
        &self,
        span: (Day, Day),
        after: u64,
        limit: usize,
        top: Seq,
        reach: Reach,
    ) -> Result<Page<LoanEventView>, ReadError> {
        let Some((from, to)) = self.entries_of(span, top) else {
            return Ok(Page { rows: Vec::new(), has_more: false, cursor: None });
        };
        let mut next = from.max(Seq(after.saturating_add(1)));
        let end = Seq(next.0.saturating_add(ENTRIES_MAX)).min(to);
        let mut rows = Vec::new();
        while next <= end && rows.len() < limit {
            let Some(located) = self.history.entry(next, reach)? else { break };
            if matches!(located.entry, Entry::LoanPosted(_)) {
                rows.push(self.event_view(next, reach)?);
            }
            next = next.next();
        }
        Ok(Page { rows, has_more: next <= to, cursor: Some(next.0 - 1) })
    }

    /// First and last entry up to a durable one that were recorded on the business days of a span.
    #[must_use]
    pub fn entries_of(&self, (first, last): (Day, Day), top: Seq) -> Option<(Seq, Seq)> {
        let runs = self.day_runs.lock();
        let from = runs.get(runs.partition_point(|(day, _)| *day < first)).filter(|(day, _)| *day <= last)?;
        let after = runs.get(runs.partition_point(|(day, _)| *day <= last));
        Some((from.1, after.map_or(top, |(_, next)| Seq(next.0 - 1)).min(top)))
    }

    /// An event of a loan, by its durable seq.
    pub(super) fn event_view(&self, seq: Seq, reach: Reach) -> Result<LoanEventView, ReadError> {
        let recorded = self.loan_event(seq, reach)?;
        let undone_by = self.undone_by(&recorded.posted, seq, reach)?;
        Ok(LoanEventView {
            seq: Some(seq),
            recorded_at: recorded.moment,
            booked_on: recorded.date,
            split: recorded.posted.split,
            posted: recorded.posted,
            undone_by,
        })
    }

    /// The event that undid one, for those that can be undone.
    pub(super) fn undone_by(&self, posted: &LoanPosted, seq: Seq, reach: Reach) -> Result<Option<Seq>, ReadError> {
        if !is_receipt(&posted.event) && !matches!(posted.event, LoanEvent::Disbursed { .. }) {
            return Ok(None);
        }
        let Some(row) = self.loans.loans().get(posted.loan).cloned() else { return Ok(None) };
        let events = self.bare_events(posted.loan, &row, reach)?;
        let undoing = events.iter().find(|dated| undoes(&dated.event) == Some(seq.0)).map(|dated| Seq(dated.order));
        Ok(undoing.filter(|by| self.watermark.covers(*by)))
    }
}
