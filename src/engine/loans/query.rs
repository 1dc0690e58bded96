//! Questions about lending.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::entry::Entry;
use crate::domain::ids::{IdKind, Moment, Seq, parse_id};
use crate::domain::lending::loan::allocation::Split;
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::facts::{DayEnded, LoanApplication};
use crate::domain::lending::loan::fold::{open, refold};
use crate::domain::lending::loan::packed::unpack;
use crate::domain::lending::loan::penal;
use crate::domain::lending::loan::state::{LoanState, LoanStatus, NEVER};
use crate::domain::lending::product::ProductSaved;
use crate::domain::time::Day;
use crate::engine::history::{Reach, ReadError};
use crate::engine::keys::{ExternalKind, KeyKind, external_hash};
use crate::engine::readers::Place;
use crate::engine::view::{
    AsOf, BusinessDay, DayEnd, LoanEventView, LoanFilter, LoanHistory, LoanLine, LoanStep, LoanView, Page, ProductView,
    Unavailable,
};
use crate::engine::{Core, Engine};

use super::book::DayBook;
use super::file::LoanFile;
use super::table::LoanRow;

/// Loans that are looked at for one page: who filters for what is rare gets short pages.
const LOOK_AT_MAX: u32 = 20_000;

/// Entries that are looked at for one page of events.
pub(super) const ENTRIES_MAX: u64 = 200_000;

/// A loan's row as the store has it; `None` where it is not understood.
#[must_use]
pub fn read_row(bytes: &[u8]) -> Option<LoanRow> {
    super::rows::decode_row(bytes)
}

/// Products (by the seqs of their entries) and days as the store has them; `None` where they are not understood.
#[must_use]
pub fn read_lending(bytes: &[u8]) -> Option<(Vec<Seq>, DayBook)> {
    super::rows::decode_lending(bytes)
}

/// What of a loan does not change.
#[derive(Clone, Debug)]
pub struct LoanBase {
    /// How many events it has.
    pub events: u32,
    /// When it was asked for.
    pub applied_at: Moment,
    /// As it was asked for.
    pub application: Arc<LoanApplication>,
    /// The version of the product.
    pub product: Arc<ProductSaved>,
    /// The terms of both.
    pub terms: Arc<LoanTerms>,
}

impl LoanBase {
    /// The loan on a day that has not ended, from its packed state.
    #[must_use]
    pub fn view(self, loan: Option<u32>, last_seq: Option<Seq>, packed: &[u8], today: Day) -> LoanView {
        let mut state = unpack(packed).expect("what was packed here is understood here");
        bring_to(&mut state, &self.terms, today);
        let LoanBase { events, applied_at, application, product, terms } = self;
        LoanView { loan, last_seq, events, applied_at, application, product, terms, state: Box::new(state), today }
    }
}

/// Runs a loan up to a day, and begins that. One that has ended only forgets what was overdue.
pub(super) fn bring_to(state: &mut LoanState, terms: &LoanTerms, today: Day) {
    if state.status != LoanStatus::Unknown {
        open(state, terms, today);
    }
}

/// What the answer to a command about days says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayReply {
    /// The business date after it.
    pub date: Day,
    /// Days end by hand only.
    pub by_hand: bool,
    /// The last day whose end was done then.
    pub ended: Option<(Day, Seq)>,
    /// Of the day that was being ended: loans looked at, and loans.
    pub looked_at: Option<(u32, u32)>,
}

impl DayReply {
    /// The same as an answer.
    #[must_use]
    pub fn view(self) -> BusinessDay {
        let first = self.ended.map_or(Day(self.date.0.saturating_sub(1)), |(day, _)| Day(day.0 + 1));
        let ending = self.looked_at.map(|(done, of)| (first, done, of));
        let ended = self.ended.filter(|(_, seq)| *seq != Seq::NONE);
        BusinessDay { date: self.date, by_hand: self.by_hand, ended, ending, seal: None }
    }
}

impl Core {
    /// Loans, products and days, to read.
    #[must_use]
    pub fn loans(&self) -> &super::book::LoanBook {
        &self.loans
    }

    /// Days and products (by the seqs of their entries) at one moment, and the newest entry then.
    #[must_use]
    pub fn copy_days(&self) -> (Seq, DayBook, Vec<Seq>) {
        // Under all locks everything that has a seq is applied.
        let _locked = self.shards.lock_all();
        let products = self.loans.all_products().iter().map(|version| version.seq).collect();
        (self.journal.appended_seq(), self.loans.day(), products)
    }

    /// Rows of loans above a number at one moment, at most so many: for `verify`.
    #[must_use]
    pub fn copy_loans(&self, after: u32, count: u32) -> Vec<LoanRow> {
        let _locked = self.shards.lock_all();
        let loans = self.loans.loans();
        (after + 1..=after.saturating_add(count)).map_while(|loan| loans.get(loan).cloned()).collect()
    }

    pub(in crate::engine) fn base_of(
        &self,
        application: &LoanApplication,
        applied_at: Moment,
        events: u32,
    ) -> LoanBase {
        let product = self.loans.product(application.product, Some(application.product_version));
        let product = product.expect("a loan's product came before it").saved;
        let terms = Arc::new(application.terms(&product.facts));
        LoanBase { events, applied_at, application: Arc::new(application.clone()), product, terms }
    }

    /// The entry that made the business date what it is: whoever shows a loan on it shows that, too.
    pub(super) fn day_seq(&self) -> Seq {
        self.day_runs.lock().last().map_or(Seq::NONE, |(_, first)| *first)
    }

    /// The business day now, and an entry that is not before any that made it so.
    #[must_use]
    pub fn day_now(&self) -> (DayReply, Seq) {
        // What is applied has a seq, but is appended only when its locks are given back: without them the end of a day
        // could be shown before anybody can wait for it.
        let _locked = self.shards.lock_all();
        (self.day_reply(), self.journal.appended_seq())
    }

    /// Needs all account locks, or shows nobody what it says.
    pub(in crate::engine) fn day_reply(&self) -> DayReply {
        let loans = self.loans.loans().count();
        let (by_hand, ended, next, ending) =
            self.loans.with_day(|day| (day.by_hand, (day.ended, day.ended_seq), day.next_loan, day.ending()));
        DayReply {
            date: self.business_date(),
            by_hand,
            ended: (ended.0 != Day(0)).then_some(ended),
            looked_at: ending.map(|_| (next.saturating_sub(1), loans)),
        }
    }

    /// The number of the loan product that `prod_…` or `ext:…` names; existence of a `prod_…` is not checked.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read, or only by another reach.
    pub fn resolve_product(&self, text: &str, reach: Reach) -> Result<Option<u32>, ReadError> {
        self.resolve_number(text, IdKind::Product, ExternalKind::Product, reach)
    }

    /// The number of the loan that `loan_…` or `ext:…` names; existence of a `loan_…` is not checked.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read, or only by another reach.
    pub fn resolve_loan(&self, text: &str, reach: Reach) -> Result<Option<u32>, ReadError> {
        self.resolve_number(text, IdKind::Loan, ExternalKind::Loan, reach)
    }

    fn resolve_number(
        &self,
        text: &str,
        id: IdKind,
        kind: ExternalKind,
        reach: Reach,
    ) -> Result<Option<u32>, ReadError> {
        let number = match text.strip_prefix("ext:") {
            None => parse_id(id, text),
            Some(external) => self.find_key(KeyKind::External, &external_hash(kind, external), reach)?,
        };
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    fn loan_view(&self, loan: u32, row: &LoanRow, today: Day, reach: Reach) -> Result<LoanView, ReadError> {
        let base = self.base_of(&self.application(row, reach)?, row.applied_at, row.events);
        Ok(base.view(Some(loan), Some(row.last_seq), &row.state, today))
    }

    /// A loan with everything that ever happened to it, as it is in memory now; its newest event must be durable.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn loan_history_now(&self, loan: u32, reach: Reach) -> Result<Option<LoanHistory>, ReadError> {
        let Some(row) = self.loans.loans().get(loan).cloned() else { return Ok(None) };
        self.loan_history(loan, &row, self.business_date(), reach).map(Some)
    }

    /// A loan as the entry `through` left it, on the business day of then; `None` when it was not asked for by then. The
    /// entry must be durable.
    ///
    /// Days that were run since are run back by running those up to then again, from the state after the loan's newest
    /// event: in one step or in many, the loan is the same.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn loan_history_by(&self, loan: u32, through: Seq, reach: Reach) -> Result<Option<LoanHistory>, ReadError> {
        let Some(row) = self.loans.loans().get(loan).cloned() else { return Ok(None) };
        if !self.watermark.covers(row.last_seq) {
            // Nobody has been told of its newest event: who was, waits.
            return Err(ReadError::Moved);
        }
        let file = self.loan_file(loan, &row, reach)?;
        let count = file.events.partition_point(|event| event.seq <= through);
        let Some(last) = count.checked_sub(1).map(|place| &file.events[place]) else { return Ok(None) };
        let (today, applied_at) = (self.day_by(through), file.events[0].moment);
        let base = self.base_of(file.application(), applied_at, count as u32);
        let terms = Arc::clone(&base.terms);
        let view = base.view(Some(loan), Some(last.seq), &last.posted.state, today);
        let file = LoanFile { events: file.events[..count].to_vec() };
        Ok(Some(LoanHistory { view, events: steps(&file, &terms, today) }))
    }

    /// What a day's end came to, with its moment and entry; `None` while it has not ended, and where its end is too far
    /// from the day's beginning to be looked for.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn ended_day(&self, date: Day, reach: Reach) -> Result<Option<(Seq, Moment, DayEnded)>, ReadError> {
        let first = {
            let runs = self.day_runs.lock();
            let place = runs.partition_point(|(day, _)| *day <= date);
            // It ends after it was cut over to the next.
            runs.get(place).map(|(_, first)| *first)
        };
        let Some(first) = first else { return Ok(None) };
        let end = Seq(first.0.saturating_add(ENTRIES_MAX)).min(self.watermark.durable());
        let mut next = first;
        while next <= end {
            let Some(located) = self.history.entry(next, reach)? else { break };
            match located.entry {
                Entry::DayEnded(ended) if ended.date == date => return Ok(Some((next, located.moment, *ended))),
                _ => next = next.next(),
            }
        }
        Ok(None)
    }

    /// A product's newest version, by its number; its entry must be durable.
    #[must_use]
    pub fn product_by(&self, number: u32, through: Seq) -> Option<Arc<ProductSaved>> {
        let versions = self.loans.all_products();
        let known = versions.iter().filter(|version| version.saved.number == number && version.seq <= through);
        known.max_by_key(|version| version.seq).map(|version| Arc::clone(&version.saved))
    }

    fn loan_history(&self, loan: u32, row: &LoanRow, today: Day, reach: Reach) -> Result<LoanHistory, ReadError> {
        let file = self.loan_file(loan, row, reach)?;
        let applied = file.events.first().expect("a loan begins with its application");
        let base = self.base_of(file.application(), applied.moment, row.events);
        let terms = Arc::clone(&base.terms);
        let events = steps(&file, &terms, today);
        let view = base.view(Some(loan), Some(row.last_seq), &row.state, today);
        Ok(LoanHistory { view, events })
    }
}

/// Every event with the loan before and after it.
fn steps(file: &LoanFile, terms: &LoanTerms, today: Day) -> Vec<LoanStep> {
    let mut shown: HashMap<u64, (Split, LoanState)> = HashMap::new();
    let _ = refold(terms, &file.dated(), today, |dated, split, state| {
        shown.insert(dated.order, (split, state.clone()));
    });
    let mut order: Vec<usize> = (0..file.events.len()).collect();
    order.sort_by_key(|place| (file.events[*place].posted.value_date, file.events[*place].seq));
    let mut state = LoanState::new();
    let mut steps = Vec::with_capacity(order.len());
    for place in order {
        let recorded = &file.events[place];
        bring_to(&mut state, terms, recorded.posted.value_date);
        let before = Box::new(state.clone());
        let (split, after) = shown.remove(&recorded.seq.0).unwrap_or((Split::default(), state.clone()));
        state = after;
        let event = LoanEventView {
            seq: Some(recorded.seq),
            recorded_at: recorded.moment,
            booked_on: recorded.date,
            posted: recorded.posted.clone(),
            split,
            undone_by: file.undone_by(recorded.seq),
        };
        steps.push(LoanStep { event, before, after: Box::new(state.clone()) });
    }
    steps
}

impl LoanFilter {
    pub(super) fn wants_row(&self, row: &LoanRow) -> bool {
        self.customer.is_none_or(|customer| row.customer == customer)
            && self.product.is_none_or(|product| row.product == product)
    }

    pub(super) fn wants_state(&self, state: &LoanState) -> bool {
        self.status.is_none_or(|status| state.status == status)
            && self.class_from.is_none_or(|class| state.status == LoanStatus::Active && state.class >= class)
    }
}

pub(super) fn line_of(loan: u32, row: &LoanRow, state: &LoanState, terms: &LoanTerms, today: Day) -> LoanLine {
    let is_active = state.status == LoanStatus::Active;
    LoanLine {
        loan,
        customer: row.customer,
        product: row.product,
        status: state.status,
        class: state.class,
        dpd: state.dpd,
        npa_since: [state.npa_since, state.borrower_npa_since].into_iter().flatten().min(),
        outstanding: state.outstanding,
        principal_due: state.dues.iter().map(|due| due.principal).sum(),
        interest_due: state.interest_due(),
        fee_due: state.fee_due(),
        penal_due: if is_active { penal::due_on(state, terms, today) } else { 0 },
        advance: state.advance,
        oldest_due_on: state.dues.first().map(|due| due.due_on),
        next_due_on: (state.next_due != NEVER).then_some(state.next_due),
        instalment: if is_active { state.instalment(&terms.calculation) } else { 0 },
        // A pause that is over is none any more.
        paused_until: state.paused_until.filter(|until| is_active && *until >= today),
        is_watched: state.is_watched,
    }
}

impl Engine {
    /// A loan product as it is now, or a version of it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn product(&self, number: u32, version: Option<u32>) -> Result<Option<AsOf<ProductView>>, Unavailable> {
        let Some(found) = self.core().loans.product(number, version) else { return Ok(None) };
        self.durable(found.seq).await?;
        let seq = found.seq;
        Ok(Some(AsOf { value: ProductView { last_seq: Some(seq), saved: found.saved }, seq }))
    }

    /// A page of products, newest first, below `before`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn products(
        &self,
        before: Option<u32>,
        limit: usize,
        _place: &mut Option<Place>,
    ) -> Result<AsOf<Page<ProductView>>, Unavailable> {
        let count = self.core().loans.product_count();
        let top = before.map_or(count, |before| before.saturating_sub(1).min(count));
        let numbers = (1..=top).rev().take(limit + 1);
        let mut rows: Vec<_> = numbers.filter_map(|number| self.core().loans.product(number, None)).collect();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let seq = rows.iter().map(|row| row.seq).max().unwrap_or(Seq::NONE);
        self.durable(seq).await?;
        let cursor = rows.last().map(|row| u64::from(row.saved.number));
        let view = |row: super::book::ProductVersion| ProductView { last_seq: Some(row.seq), saved: row.saved };
        let rows = rows.into_iter().map(view).collect();
        Ok(AsOf { value: Page { rows, has_more, cursor }, seq })
    }

    /// A loan on the business day.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn loan(&self, number: u32) -> Result<Option<AsOf<LoanView>>, Unavailable> {
        let today = self.core().business_date();
        let Some(row) = self.core().loans.loans().get(number).cloned() else { return Ok(None) };
        let seq = row.last_seq.max(self.core().day_seq());
        self.durable(seq).await?;
        let view = self.read(Reach::Memory, move |core, reach| core.loan_view(number, &row, today, reach)).await?;
        Ok(Some(AsOf { value: view, seq }))
    }

    /// A page of loans, newest first, below `before`. A page may be short: the cursor says where the next begins.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn loans(
        &self,
        filter: LoanFilter,
        before: Option<u32>,
        limit: usize,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Page<LoanView>>, Unavailable> {
        let today = self.core().business_date();
        let mut rows = Vec::new();
        let (mut cursor, mut has_more) = (None, false);
        {
            let loans = self.core().loans.loans();
            let top = before.map_or(loans.count(), |before| before.saturating_sub(1).min(loans.count()));
            for (looked_at, loan) in (1..=top).rev().enumerate() {
                if rows.len() == limit || looked_at as u32 == LOOK_AT_MAX {
                    has_more = true;
                    break;
                }
                cursor = Some(u64::from(loan));
                let row = loans.get(loan).expect("counted above");
                if !filter.wants_row(row) {
                    continue;
                }
                // Days that are being ended count: as the loan is shown, so it is looked for.
                let product = self.core().loans.product(row.product, Some(row.product_version));
                let mut state = row.unpacked();
                bring_to(&mut state, &product.expect("it came before its loans").saved.facts.terms, today);
                if filter.wants_state(&state) {
                    rows.push((loan, row.clone()));
                }
            }
        }
        let seq = rows.iter().map(|(_, row)| row.last_seq).max().unwrap_or(Seq::NONE).max(self.core().day_seq());
        self.durable(seq).await?;
        let views = move |core: &Arc<Core>, reach| {
            rows.iter().map(|(loan, row)| core.loan_view(*loan, row, today, reach)).collect()
        };
        let rows = self.read_at(place, Reach::Memory, views).await?;
        Ok(AsOf { value: Page { rows, has_more, cursor }, seq })
    }

    /// A loan with everything that ever happened to it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn loan_history(
        &self,
        number: u32,
        place: &mut Option<Place>,
    ) -> Result<Option<AsOf<LoanHistory>>, Unavailable> {
        let today = self.core().business_date();
        let Some(row) = self.core().loans.loans().get(number).cloned() else { return Ok(None) };
        let seq = row.last_seq.max(self.core().day_seq());
        self.durable(seq).await?;
        let history = move |core: &Arc<Core>, reach| core.loan_history(number, &row, today, reach);
        let history = self.read_at(place, Reach::Memory, history).await?;
        Ok(Some(AsOf { value: history, seq }))
    }

    /// Loans as rows of reports, ascending by number, above `after`, on the business day.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn loan_lines(
        &self,
        filter: LoanFilter,
        after: u32,
        limit: usize,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Page<LoanLine>>, Unavailable> {
        let today = self.core().business_date();
        let lines = move |core: &Arc<Core>, _| Ok(core.loan_lines(filter, after, limit, today));
        let (page, seq) = self.read_at(place, Reach::Memory, lines).await?;
        self.durable(seq).await?;
        Ok(AsOf { value: page, seq })
    }

    /// What was recorded about loans on the business days of a span, oldest first, above a seq (the cursor).
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn loan_events_on(
        &self,
        span: (Day, Day),
        after: u64,
        limit: usize,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Page<LoanEventView>>, Unavailable> {
        let top = self.core().watermark.durable();
        let events = move |core: &Arc<Core>, reach| core.loan_events_on(span, after, limit, top, reach);
        let page = self.read_at(place, Reach::Memory, events).await?;
        Ok(AsOf { value: page, seq: top })
    }

    /// The business day.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn business_day(&self) -> Result<AsOf<BusinessDay>, Unavailable> {
        let (reply, seq) = self.core().day_now();
        self.durable(seq).await?;
        let mut view = reply.view();
        if let Some((_, ended)) = view.ended {
            let seal = move |core: &Arc<Core>, reach| core.history.block_hash(ended, reach);
            view.seal = self.read(Reach::Memory, seal).await?;
        }
        Ok(AsOf { value: view, seq })
    }

    /// What became of the business day that an entry closed; `None` where the entry closed none.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn day_end(&self, closed: Seq) -> Result<Option<AsOf<DayEnd>>, Unavailable> {
        let core = self.core();
        if closed == Seq::NONE || closed > core.journal.appended_seq() {
            return Ok(None);
        }
        self.durable(closed).await?;
        let found = self.read(Reach::Memory, move |core: &Arc<Core>, reach| core.day_closed(closed, reach)).await?;
        let Some((day, moment, next)) = found else { return Ok(None) };
        let (ended, looked_at, seq) = core.look_at_day(day);
        self.durable(seq.max(closed)).await?;
        let hash = move |core: &Arc<Core>, reach| match ended {
            Some(Some(by)) => Ok(Some(core.block_hash_of(by, reach)?)),
            Some(None) => Ok(Some(None)),
            None => Ok(None),
        };
        let ended = self.read(Reach::Memory, hash).await?;
        let value = DayEnd { closed: Some(closed), closed_at: moment, date: day, next, ended, looked_at };
        Ok(Some(AsOf { value, seq: seq.max(closed) }))
    }
}
