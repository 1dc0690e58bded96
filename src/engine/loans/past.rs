//! Loans as they were at the end of a day that is over.
//!
//! Nothing of that is kept: a loan is folded again from its events, those that were known then or those that are known
//! now. What was known at the seal of a day is what was recorded before its cut-over, and what the sweep of that day
//! did to loans of a borrower; a sweep's event carries the day that it belongs to, or a later one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::account::AccountType;
use crate::domain::entry::{Entry, TransferOp};
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::events::{Dated, LoanEvent};
use crate::domain::lending::loan::facts::{MonthLine, ProductTotals};
use crate::domain::lending::loan::fold::fold;
use crate::domain::lending::loan::movement::{Movement, Sum, movement, standing};
use crate::domain::money::Currency;
use crate::domain::time::Day;
use crate::engine::history::{Reach, ReadError};
use crate::engine::readers::Place;
use crate::engine::view::{AsOf, LoanEventView, LoanFilter, LoanLine, Page, TrialBalance, Unavailable};
use crate::engine::{Core, Engine};

use super::query::line_of;
use super::table::LoanRow;

/// Loans that are folded for one page: some 20 µs each, more where their events lie on the disk.
const LOOK_AT_MAX: u32 = 2_000;

/// Entries that are looked at for a trial balance as it was sealed: a second or two of them.
const ENTRIES_MAX: u64 = 2_000_000;

/// Which events count for a day that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Those that were known when it was sealed.
    Recorded,
    /// All that are known now and count by then.
    Corrected,
}

/// A loan's events as far as they are durable, and its terms.
struct PastLoan {
    row: LoanRow,
    events: Vec<Dated>,
    terms: Arc<LoanTerms>,
}

impl PastLoan {
    /// Events that count on a day, where those recorded from `cut` on were not known.
    fn known(&self, on: Day, cut: Seq) -> Vec<Dated> {
        let is_known = |dated: &&Dated| {
            let of_sweep = matches!(dated.event, LoanEvent::BorrowerFell { .. } | LoanEvent::BorrowerRose);
            dated.value_date <= on && (dated.order < cut.0 || of_sweep)
        };
        self.events.iter().filter(is_known).copied().collect()
    }
}

/// How the loans of a product moved, and what late events have changed of where they stood before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From the end of the day before the span to its end.
    pub movement: Movement,
    /// Non-performing loans before the span, as far as they were not known when that day was sealed.
    pub npa_restated: Sum,
    /// The same of all active loans.
    pub portfolio_restated: Sum,
}

/// What a month came to, as its last day was sealed.
#[derive(Clone, Debug)]
pub struct MonthEnd {
    /// The last day of the month, and the entry that sealed it.
    pub ended: (Day, Seq),
    /// What the active loans were, by product.
    pub products: Vec<ProductTotals>,
    /// The general ledger by effective date, through the month and before it.
    pub lines: Vec<MonthLine>,
    /// The same as the month before was sealed; `None` where that has no such seal.
    pub earlier: Option<Vec<MonthLine>>,
}

/// A page of movements: by product, and the last loan looked at while there are more.
pub type MovedPage = (BTreeMap<u32, Moved>, Option<u32>);

impl Engine {
    /// Loans as rows of reports at the end of a day that is over, ascending by number, above `after`. A page may be
    /// short: the cursor says where the next begins.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn past_loan_lines(
        &self,
        filter: LoanFilter,
        (on, basis): (Day, Basis),
        after: u32,
        limit: usize,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Page<LoanLine>>, Unavailable> {
        let top = self.core().watermark.durable();
        let lines = move |core: &Arc<Core>, _| core.past_lines(filter, (on, basis), (after, limit), top);
        Ok(AsOf { value: self.read_at(place, Reach::Disk, lines).await?, seq: top })
    }

    /// How loans moved from the beginning of a day to the end of another, which are over; for loans above `after`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn loan_movements(
        &self,
        (from, to): (Day, Day),
        basis: Basis,
        after: u32,
        place: &mut Option<Place>,
    ) -> Result<AsOf<MovedPage>, Unavailable> {
        let top = self.core().watermark.durable();
        let cuts = (self.core().cut_of(Day(from.0.saturating_sub(1)), basis), self.core().cut_of(to, basis));
        let moved = move |core: &Arc<Core>, reach| core.past_moves((from, to), cuts, after, top, reach);
        Ok(AsOf { value: self.read_at(place, Reach::Disk, moved).await?, seq: top })
    }

    /// What counts for loans on days of a span, whenever it was recorded: loan by loan, above an event (the cursor).
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn loan_events_valued(
        &self,
        span: (Day, Day),
        after: u64,
        limit: usize,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Page<LoanEventView>>, Unavailable> {
        let top = self.core().watermark.durable();
        let events = move |core: &Arc<Core>, reach| core.valued_events(span, Seq(after), limit, top, reach);
        Ok(AsOf { value: self.read_at(place, Reach::Disk, events).await?, seq: top })
    }

    /// What a month came to by the seal of its last day; `None` where that was not sealed with the month's totals.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn month_end(
        &self,
        (first, last): (Day, Day),
        place: &mut Option<Place>,
    ) -> Result<Option<AsOf<MonthEnd>>, Unavailable> {
        let before = Day(first.0.saturating_sub(1));
        let core = self.core();
        let (seal, earlier) = core.loans.with_day(|day| (day.end_of(last), day.end_of(before)));
        let Some(seal) = seal.filter(|seal| core.watermark.covers(*seal)) else { return Ok(None) };
        let read = move |core: &Arc<Core>, reach| {
            let month = core.sealed_month(seal, reach)?;
            let earlier = earlier.map(|seal| core.sealed_month(seal, reach)).transpose()?;
            Ok((month, earlier.and_then(|(_, lines)| lines)))
        };
        let ((products, lines), earlier) = self.read_at(place, Reach::Disk, read).await?;
        let Some(lines) = lines else { return Ok(None) };
        Ok(Some(AsOf { value: MonthEnd { ended: (last, seal), products, lines, earlier }, seq: seal }))
    }

    /// General-ledger totals by effective date up to a day, by what was recorded before its cut-over and what ended it; `None` where more than two million
    /// entries were recorded since.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn sealed_trial_balance(
        &self,
        on: Day,
        currency: Option<Currency>,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Option<TrialBalance>>, Unavailable> {
        let now = self.trial_balance(Some(on), currency, place).await?;
        let (cut, top) = (self.core().cut_of(on, Basis::Recorded), now.seq);
        if top.0.saturating_sub(cut.0) > ENTRIES_MAX {
            return Ok(AsOf { value: None, seq: top });
        }
        let late = move |core: &Arc<Core>, reach| core.recorded_after(on, cut, top, reach);
        let late = self.read_at(place, Reach::Disk, late).await?;
        let mut rows = now.value;
        for (key, totals) in &mut rows {
            let late = late.get(key).copied().unwrap_or_default();
            totals.debits -= late.debits;
            totals.credits -= late.credits;
        }
        rows.retain(|(_, totals)| *totals != GlTotals::default());
        Ok(AsOf { value: Some(rows), seq: top })
    }
}

impl Core {
    /// The first entry that was not known on a day.
    fn cut_of(&self, on: Day, basis: Basis) -> Seq {
        if basis == Basis::Corrected {
            return Seq(u64::MAX);
        }
        let runs = self.day_runs.lock();
        let after = runs.partition_point(|(day, _)| *day <= on);
        runs.get(after).map_or(Seq(u64::MAX), |(_, first)| *first)
    }

    /// A loan that was paid out at some time; its events up to a durable seq.
    fn past_loan(&self, loan: u32, top: Seq, reach: Reach) -> Result<Option<PastLoan>, ReadError> {
        let row = self.loans.loans().get(loan).cloned();
        let Some(row) = row.filter(|row| row.applied_seq <= top) else { return Ok(None) };
        let mut events = (*self.bare_events(loan, &row, reach)?).clone();
        events.retain(|dated| dated.order <= top.0);
        if !events.iter().any(|dated| matches!(dated.event, LoanEvent::Disbursed { .. })) {
            return Ok(None);
        }
        let terms = self.base_of(&self.application(&row, reach)?, row.applied_at, row.events).terms;
        Ok(Some(PastLoan { row, events, terms }))
    }

    /// What [`Engine::past_loan_lines`] answers, from entries up to a durable seq, on this thread.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn past_lines(
        &self,
        filter: LoanFilter,
        (on, basis): (Day, Basis),
        (after, limit): (u32, usize),
        top: Seq,
    ) -> Result<Page<LoanLine>, ReadError> {
        let (cut, reach) = (self.cut_of(on, basis), Reach::Far);
        let count = self.loans.loans().count();
        let mut page = Page { rows: Vec::new(), has_more: false, cursor: None };
        for loan in after.saturating_add(1)..=count {
            if page.rows.len() == limit || loan - after > LOOK_AT_MAX {
                page.has_more = true;
                break;
            }
            page.cursor = Some(u64::from(loan));
            let Some(past) = self.past_loan(loan, top, reach)?.filter(|past| filter.wants_row(&past.row)) else {
                continue;
            };
            let state = fold(&past.terms, &past.known(on, cut), on);
            let is_wanted = filter.wants_state(&state) && !(filter.has_dues && state.dues.is_empty());
            if is_wanted {
                page.rows.push(line_of(loan, &past.row, &state, &past.terms, state.today()));
            }
        }
        Ok(page)
    }

    fn past_moves(
        &self,
        (from, to): (Day, Day),
        (opening_cut, cut): (Seq, Seq),
        after: u32,
        top: Seq,
        reach: Reach,
    ) -> Result<MovedPage, ReadError> {
        let count = self.loans.loans().count();
        let last = count.min(after.saturating_add(LOOK_AT_MAX));
        let mut all: BTreeMap<u32, Moved> = BTreeMap::new();
        let before = Day(from.0.saturating_sub(1));
        for loan in after.saturating_add(1)..=last {
            let Some(past) = self.past_loan(loan, top, reach)? else { continue };
            let of_product = all.entry(past.row.product).or_default();
            let found = movement(&past.terms, &past.known(to, cut), from, to);
            of_product.movement.add(&found);
            // A receipt that was recorded in between may have undone one of before, too.
            if past.events.iter().any(|dated| dated.order >= opening_cut.0 && dated.order < cut.0) {
                let (npa, all) = standing(&fold(&past.terms, &past.known(before, opening_cut), before));
                of_product.npa_restated.add(found.npa.opening.less(npa));
                of_product.portfolio_restated.add(found.portfolio.opening.less(all));
            }
        }
        Ok((all, (last < count).then_some(last)))
    }

    fn valued_events(
        &self,
        (from, to): (Day, Day),
        after: Seq,
        limit: usize,
        top: Seq,
        reach: Reach,
    ) -> Result<Page<LoanEventView>, ReadError> {
        let first = match after {
            Seq::NONE => 1,
            after if after > top => return Err(ReadError::NoSuchPlace),
            after => match self.history.entry(after, reach)?.map(|located| located.entry) {
                Some(Entry::LoanPosted(posted)) => posted.loan,
                _ => return Err(ReadError::NoSuchPlace),
            },
        };
        let count = self.loans.loans().count();
        let mut page = Page { rows: Vec::new(), has_more: false, cursor: None };
        for loan in first..=count {
            let row = self.loans.loans().get(loan).cloned();
            let Some(row) = row.filter(|row| row.applied_seq <= top) else { continue };
            if loan - first >= LOOK_AT_MAX {
                page.has_more = true;
                break;
            }
            let events = self.bare_events(loan, &row, reach)?;
            for dated in events.iter().filter(|dated| dated.order <= top.0) {
                let is_after = loan > first || dated.order > after.0;
                let is_wanted = is_after && (from..=to).contains(&dated.value_date);
                if is_wanted && page.rows.len() == limit {
                    page.has_more = true;
                    return Ok(page);
                }
                if is_after {
                    page.cursor = Some(dated.order);
                }
                if is_wanted {
                    page.rows.push(self.event_view(Seq(dated.order), reach)?);
                }
            }
        }
        Ok(page)
    }

    /// What the record that sealed a day says of its loans, and of the general ledger where a month ended.
    fn sealed_month(&self, seal: Seq, reach: Reach) -> Result<(Vec<ProductTotals>, Option<Vec<MonthLine>>), ReadError> {
        let ended = self.history.entry(seal, reach)?;
        let Some(Entry::DayEnded(ended)) = ended.map(|located| located.entry) else {
            return Err(ReadError::Unreadable(format!("entry seq={seal} ends no day")));
        };
        let (mut lines, mut next) = (None, seal.next());
        while let Some(Entry::MonthEnded(month)) = self.history.entry(next, reach)?.map(|located| located.entry) {
            lines.get_or_insert_with(Vec::new).extend(month.lines);
            next = next.next();
        }
        Ok((ended.totals, lines))
    }

    /// What was posted with effect up to a day and was not known then, by line: everything from its cut-over on but what
    /// ended it and the days before it.
    fn recorded_after(&self, on: Day, cut: Seq, top: Seq, reach: Reach) -> Result<HashMap<GlKey, GlTotals>, ReadError> {
        let mut late: HashMap<GlKey, GlTotals> = HashMap::new();
        let mut lines: HashMap<AccountNo, GlKey> = HashMap::new();
        let mut ends_days = false;
        let mut next = cut;
        while next <= top {
            let Some(located) = self.history.entry(next, reach)? else { break };
            if located.seq == located.record {
                ends_days = is_end_through(&located.entry, on);
            }
            if let Entry::Transfer(entry) = &located.entry {
                let is_posted = matches!(
                    entry.op,
                    TransferOp::Posted | TransferOp::Reversal { .. } | TransferOp::PostPending { .. }
                );
                if is_posted && !ends_days && entry.effective_on(located.date) <= on {
                    for (no, debit, credit) in [(entry.debit, entry.amount, 0), (entry.credit, 0, entry.amount)] {
                        let key = *lines.entry(no).or_insert_with(|| self.line_of_account(no));
                        late.entry(key).or_default().add(GlTotals { debits: debit.into(), credits: credit.into() });
                    }
                }
            }
            next = next.next();
        }
        Ok(late)
    }

    fn line_of_account(&self, no: AccountNo) -> GlKey {
        let chart = self.chart.read();
        let none = GlKey { currency: Currency::INR, code: 0, account_type: AccountType::Asset };
        self.account_row(no).map_or(none, |account| chart.key(account.gl))
    }
}

/// Whether a record that begins with an entry ends a day up to another one: it is part of that day's end, though it
/// comes after its cut-over.
fn is_end_through(first: &Entry, on: Day) -> bool {
    match first {
        Entry::DayEnded(ended) => ended.date <= on,
        // With no last loan a command has run its own loan.
        Entry::LoansSwept(swept) => swept.last > 0 && swept.date <= on,
        Entry::LoanPosted(posted) => matches!(posted.event, LoanEvent::BorrowerFell { .. } | LoanEvent::BorrowerRose),
        _ => false,
    }
}
