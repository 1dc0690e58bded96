//! Loans, products and the end of days, in memory.
//!
//! Promise: a loan here is as the entries up to its newest say; it changes under all account locks only, by entries
//! that were appended. A row that a checkpoint copied later than an entry leaves that entry alone, sums of a day that
//! is being ended take each entry once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::domain::entry::Entry;
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::loan::advance;
use crate::domain::lending::loan::events::{Dated, LoanEvent};
use crate::domain::lending::loan::facts::{DayEnded, LoanPosted, LoansSwept, ProductTotals, SweptRow};
use crate::domain::lending::loan::packed::unpack;
use crate::domain::lending::loan::roles::ROLE_COUNT;
use crate::domain::lending::loan::state::LoanState;
use crate::domain::lending::product::{ACCOUNT_PLANS, ProductSaved};
use crate::domain::time::Day;

use super::fresh::FreshEvents;
use super::rows::encode_lending;
use super::table::{LoanRow, LoanTable};

/// Loans that are marked as stored under one lock: a tenth of a millisecond.
const MARKED_AT_ONCE: usize = 500;

/// A version of a product, and the entry that made it.
#[derive(Clone, Debug)]
pub struct ProductVersion {
    /// Its entry.
    pub seq: Seq,
    /// What it says.
    pub saved: Arc<ProductSaved>,
}

/// What the days before the open one came to, as far as they are not in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayBook {
    /// Days end by hand only.
    pub by_hand: bool,
    /// The last day that is over; 0 while there are no loan products.
    pub closed: Day,
    /// The last day whose end is done.
    pub ended: Day,
    /// The entry that says so.
    pub ended_seq: Seq,
    /// Every day whose end is done, ascending, with the entry that says so: some 16 bytes a day.
    pub ends: Vec<(Day, Seq)>,
    /// The first loan that was not looked at for the day after `ended`.
    pub next_loan: u32,
    /// By day and product.
    pub sums: BTreeMap<(Day, u32), DaySums>,
    /// Positions of all loans, by product. In no checkpoint: loans there may be newer than this book is.
    pub positions: BTreeMap<u32, [i64; ROLE_COUNT]>,
    /// What the ledger holds against losses, paise, by product.
    pub provisions: BTreeMap<u32, i64>,
}

/// What loans of a product moved at the end of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaySums {
    /// Signed paise by role.
    pub moved: [i64; ROLE_COUNT],
    /// What they were.
    pub totals: ProductTotals,
}

impl DayBook {
    /// The day that is being ended.
    #[must_use]
    pub fn ending(&self) -> Option<Day> {
        (self.ended < self.closed).then(|| Day(self.ended.0 + 1))
    }

    /// The entry that ended a day.
    #[must_use]
    pub fn end_of(&self, date: Day) -> Option<Seq> {
        let place = self.ends.binary_search_by_key(&date, |(day, _)| *day).ok()?;
        self.ends.get(place).map(|(_, seq)| *seq)
    }

    /// What the loans of a product have moved and the ledger does not have yet.
    #[must_use]
    pub fn unposted(&self, product: u32) -> [i64; ROLE_COUNT] {
        let mut all = [0; ROLE_COUNT];
        for ((_, of), sums) in &self.sums {
            if *of == product {
                all.iter_mut().zip(sums.moved).for_each(|(sum, moved)| *sum += moved);
            }
        }
        all
    }

    /// What the ledger holds against losses of a product, paise.
    #[must_use]
    pub fn provided(&self, product: u32) -> i64 {
        self.provisions.get(&product).copied().unwrap_or(0)
    }

    fn add(&mut self, date: Day, product: u32, row: &SweptRow) {
        let sums = self.sums.entry((date, product)).or_default();
        sums.moved.iter_mut().zip(row.moved).for_each(|(sum, moved)| *sum += moved);
        self.add_positions(product, &row.moved);
    }

    fn add_positions(&mut self, product: u32, moved: &[i64; ROLE_COUNT]) {
        let positions = self.positions.entry(product).or_default();
        positions.iter_mut().zip(moved).for_each(|(sum, moved)| *sum += moved);
    }

    fn add_totals(&mut self, date: Day, totals: &ProductTotals) {
        let sums = &mut self.sums.entry((date, totals.product)).or_default().totals;
        sums.product = totals.product;
        sums.provision += totals.provision;
        for class in 0..totals.loans.len() {
            sums.loans[class] += totals.loans[class];
            sums.outstanding[class] += totals.outstanding[class];
        }
    }
}

/// What an entry found that it should not have found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch(pub String);

/// Loans, products, days.
#[derive(Debug, Default)]
pub struct LoanBook {
    /// Products by number − 1, versions by version − 1.
    products: RwLock<Vec<Vec<ProductVersion>>>,
    loans: RwLock<LoanTable>,
    day: Mutex<DayBook>,
    /// Events that are not in the store yet; changes with the loans.
    fresh: FreshEvents,
}

impl LoanBook {
    /// Events of a loan up to a seq that are not in the store for sure, oldest first.
    #[must_use]
    pub fn fresh_events(&self, loan: u32, up_to: Seq) -> Vec<Dated> {
        let mut events = self.fresh.of(loan);
        events.retain(|dated| dated.order <= up_to.0);
        events
    }

    /// Loans, to read. Whoever holds it for long keeps commands waiting.
    pub fn loans(&self) -> parking_lot::RwLockReadGuard<'_, LoanTable> {
        self.loans.read()
    }

    /// A copy of the state of days.
    #[must_use]
    pub fn day(&self) -> DayBook {
        self.day.lock().clone()
    }

    /// A look at the state of days.
    pub fn with_day<T>(&self, look: impl FnOnce(&DayBook) -> T) -> T {
        look(&self.day.lock())
    }

    /// A product's newest version, or the one asked for.
    #[must_use]
    pub fn product(&self, number: u32, version: Option<u32>) -> Option<ProductVersion> {
        let products = self.products.read();
        let versions = products.get((number as usize).checked_sub(1)?)?;
        match version {
            None => versions.last().cloned(),
            Some(version) => versions.get((version as usize).checked_sub(1)?).cloned(),
        }
    }

    /// How many products there are.
    #[must_use]
    pub fn product_count(&self) -> u32 {
        self.products.read().len() as u32
    }

    /// All versions of all products, in the order in which they were made.
    #[must_use]
    pub fn all_products(&self) -> Vec<ProductVersion> {
        let mut all: Vec<ProductVersion> = self.products.read().iter().flatten().cloned().collect();
        all.sort_unstable_by_key(|version| version.seq);
        all
    }

    /// Whether an account is one to which only lending posts.
    #[must_use]
    pub fn is_control(&self, no: AccountNo) -> bool {
        let products = self.products.read();
        products.iter().filter_map(|versions| versions.first()).any(|version| {
            let accounts = version.saved.accounts.iter().zip(&ACCOUNT_PLANS);
            accounts.into_iter().any(|(account, plan)| plan.is_control && *account == no)
        })
    }

    /// Whether an account belongs to a product.
    #[must_use]
    pub fn is_used(&self, no: AccountNo) -> bool {
        let products = self.products.read();
        products.iter().filter_map(|versions| versions.first()).any(|version| version.saved.accounts.contains(&no))
    }

    /// Puts in what a checkpoint has; rows ascending by number.
    pub fn load_loan(&self, row: LoanRow) {
        self.loans.write().push(row);
    }

    /// Puts in the state of days that a checkpoint has, and runs the days that its rows have not seen.
    pub fn load_day(&self, day: DayBook) {
        let mut loans = self.loans.write();
        for number in 1..=loans.count() {
            let looked_at = day.ending().filter(|_| number < day.next_loan);
            let through = looked_at.unwrap_or(day.ended);
            let row = loans.get_mut(number).expect("counted above");
            if row.is_active && row.through < through {
                let product = self.product(row.product, Some(row.product_version));
                let product = product.expect("a loan's product came before it");
                let mut state = row.unpacked();
                advance(&mut state, &product.saved.facts.terms, through);
                row.set(&state);
            }
        }
        *self.day.lock() = day;
    }

    /// Products and days as a checkpoint keeps them.
    #[must_use]
    pub fn packed_lending(&self) -> Box<[u8]> {
        let products: Vec<Seq> = self.all_products().iter().map(|version| version.seq).collect();
        encode_lending(&products, &self.day.lock())
    }

    /// Puts in a version of a product; versions in the order in which they were made.
    pub fn load_product(&self, version: ProductVersion) {
        let mut products = self.products.write();
        let place = version.saved.number as usize - 1;
        if place == products.len() {
            products.push(Vec::new());
        }
        products[place].push(version);
    }

    /// Sums up the positions of all loans: after recovery, whose rows are of several moments.
    pub fn sum_positions(&self) {
        let loans = self.loans.read();
        let mut all: BTreeMap<u32, [i64; ROLE_COUNT]> = BTreeMap::new();
        for loan in (1..=loans.count()).filter_map(|loan| loans.get(loan)) {
            let sums = all.entry(loan.product).or_default();
            sums.iter_mut().zip(loan.unpacked().positions.raw()).for_each(|(sum, position)| *sum += position);
        }
        self.day.lock().positions = all;
    }

    /// Applies an entry; one that was applied before changes nothing.
    ///
    /// # Errors
    /// [`Mismatch`] when a loan comes out otherwise than the entry says.
    pub fn apply(&self, entry: &Entry, seq: Seq, moment: Moment, date: Day) -> Result<(), Mismatch> {
        match entry {
            Entry::ProductSaved(saved) => self.apply_product(saved, seq, date),
            Entry::LoanPosted(posted) => return self.apply_posted(posted, seq, moment),
            Entry::LoansSwept(swept) => return self.apply_swept(swept),
            Entry::DayClosed(closed) => {
                let mut day = self.day.lock();
                day.by_hand = closed.by_hand;
                // Before there are products nothing has to be run, and no day has an end of its own.
                if day.closed != Day(0) {
                    day.closed = day.closed.max(closed.through);
                }
            }
            Entry::DayEnded(ended) => self.apply_ended(ended, seq),
            _ => {}
        }
        Ok(())
    }

    fn apply_product(&self, saved: &ProductSaved, seq: Seq, date: Day) {
        let mut products = self.products.write();
        let place = saved.number as usize - 1;
        if place == products.len() {
            products.push(Vec::new());
        }
        let versions = &mut products[place];
        if versions.len() + 1 == saved.version as usize {
            versions.push(ProductVersion { seq, saved: Arc::new(saved.clone()) });
        }
        let mut day = self.day.lock();
        if day.closed == Day(0) {
            let before = Day(date.0.saturating_sub(1));
            (day.closed, day.ended, day.next_loan) = (before, before, 1);
        }
    }

    fn apply_posted(&self, posted: &LoanPosted, seq: Seq, moment: Moment) -> Result<(), Mismatch> {
        let mut loans = self.loans.write();
        let wrong = |what: &str| Err(Mismatch(format!("loan {} {what}", posted.loan)));
        let Some(state) = unpack(&posted.state) else { return wrong("is packed in a way that is not known here") };
        if posted.loan == loans.count() + 1 {
            let Some(application) = &posted.application else { return wrong("begins without an application") };
            self.remember(posted, seq);
            let is_plain = application.external_id.is_none()
                && application.metadata.is_empty()
                && application.instalments.is_none()
                && application.annual_rate_pct.is_none()
                && application.first_due_on.is_none()
                && application.charges.is_none();
            loans.push(LoanRow {
                state: posted.state.clone(),
                last_seq: seq,
                applied_seq: seq,
                applied_at: moment,
                customer: application.customer,
                before_of_customer: 0,
                product: application.product,
                product_version: application.product_version,
                events: 1,
                through: state.advanced_through,
                is_active: false,
                is_plain,
                is_stored: false,
            });
            return Ok(());
        }
        let Some(row) = loans.get_mut(posted.loan) else { return wrong("does not exist") };
        if row.last_seq < seq {
            let before = row.unpacked();
            let moved = state.positions.minus(&before.positions);
            self.day.lock().add_positions(row.product, &moved);
            self.remember(posted, seq);
            row.put(posted.state.clone(), &state);
            (row.last_seq, row.events, row.is_stored) = (seq, posted.events_before + 1, false);
        }
        Ok(())
    }

    fn remember(&self, posted: &LoanPosted, seq: Seq) {
        let dated = Dated { value_date: posted.value_date, order: seq.0, event: posted.event };
        self.fresh.push(posted.loan, dated);
    }

    /// Runs the days that an entry says were run, and compares.
    fn apply_swept(&self, swept: &LoansSwept) -> Result<(), Mismatch> {
        let mut loans = self.loans.write();
        let mut rows = swept.rows.iter().peekable();
        // Loans of the range without a row may have run, too, and changed nothing.
        let last = swept.last.max(swept.first);
        let others = swept.rows.iter().map(|row| row.loan).filter(|loan| *loan > last);
        let range: Vec<u32> = (swept.first..=last).chain(others).collect();
        for loan in range {
            let said = rows.next_if(|row| row.loan == loan);
            let Some(row) = loans.get_mut(loan).filter(|row| row.is_active && row.through < swept.date) else {
                continue;
            };
            let product = self.product(row.product, Some(row.product_version));
            let product = product.ok_or_else(|| Mismatch(format!("loan {loan} has no product")))?;
            let before = row.unpacked();
            let mut after = before.clone();
            advance(&mut after, &product.saved.facts.terms, swept.date);
            let found = SweptRow::between(loan, &before, &after);
            if found.as_ref() != said {
                let date = swept.date;
                return Err(Mismatch(format!("loan {loan} came to {found:?} at the end of {date}, not to {said:?}")));
            }
            row.is_stored &= is_same_but_for_days(&before, &after);
            row.set(&after);
        }
        self.add_swept(swept, &loans);
        Ok(())
    }

    /// What an entry says was run, which was worked out before it: the loans as they are now.
    pub fn put_swept(&self, swept: &LoansSwept, states: Vec<SweptState>) {
        let mut loans = self.loans.write();
        for SweptState { loan, packed, state, is_stored } in states {
            let row = loans.get_mut(loan).expect("loans are never removed");
            row.is_stored &= is_stored;
            row.put(packed, &state);
        }
        self.add_swept(swept, &loans);
    }

    fn add_swept(&self, swept: &LoansSwept, loans: &LoanTable) {
        let mut day = self.day.lock();
        if swept.date <= day.ended {
            return;
        }
        for row in &swept.rows {
            let product = loans.get(row.loan).map_or(0, |loan| loan.product);
            day.add(swept.date, product, row);
        }
        for totals in &swept.totals {
            day.add_totals(swept.date, totals);
        }
        // A command that ran its loan alone has not looked at the borrower's other loans.
        if day.ending() == Some(swept.date) && swept.first <= day.next_loan && swept.last > 0 {
            day.next_loan = day.next_loan.max(swept.last + 1);
        }
    }

    fn apply_ended(&self, ended: &DayEnded, seq: Seq) {
        let mut day = self.day.lock();
        if ended.date > day.ended {
            (day.ended, day.ended_seq, day.next_loan) = (ended.date, seq, 1);
            day.ends.push((ended.date, seq));
            day.provisions = ended.totals.iter().map(|totals| (totals.product, totals.provision)).collect();
            day.sums.retain(|(date, _), _| *date > ended.date);
        }
    }

    /// Everything in memory in order: equal for equal books.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        let loans = self.loans.read();
        for row in (1..=loans.count()).filter_map(|loan| loans.get(loan)) {
            hasher.update(&row.state);
            let numbers = [row.last_seq.0, row.applied_seq.0, u64::from(row.customer), u64::from(row.product)];
            numbers.into_iter().for_each(|number| {
                hasher.update(&number.to_le_bytes());
            });
            hasher.update(&row.events.to_le_bytes());
        }
        for version in self.all_products() {
            hasher.update(format!("{} {:?}", version.seq, version.saved).as_bytes());
        }
        hasher.update(format!("{:?}", self.day.lock()).as_bytes());
    }

    /// Rows that are not in the store as they are, ascending by number, at most so many above a number; the number of
    /// the last row looked at. With each row its events that the store does not have.
    #[must_use]
    pub fn unstored_after(&self, after: u32, look_at: u32) -> (Vec<Unstored>, u32) {
        let loans = self.loans.read();
        let last = after.saturating_add(look_at).min(loans.count());
        let rows = (after + 1..=last).filter_map(|loan| loans.get(loan).map(|row| (loan, row)));
        let unstored = |(loan, row): (u32, &LoanRow)| Unstored { loan, row: row.clone(), events: self.fresh.of(loan) };
        (rows.filter(|(_, row)| !row.is_stored).map(unstored).collect(), last)
    }

    /// The store has rows as they were copied. In pieces: whoever pays meanwhile waits for one of them.
    pub fn mark_stored(&self, copied: &[(u32, Seq, Day)]) {
        for piece in copied.chunks(MARKED_AT_ONCE) {
            let mut loans = self.loans.write();
            for (loan, last_seq, through) in piece {
                self.fresh.forget_through(*loan, *last_seq);
                let row = loans.get_mut(*loan).expect("loans are never removed");
                row.is_stored = row.last_seq == *last_seq && row.through == *through;
            }
        }
    }
}

/// A loan that the store does not have as it is.
#[derive(Debug)]
pub struct Unstored {
    /// Which loan.
    pub loan: u32,
    /// Its row.
    pub row: LoanRow,
    /// Its events that the store does not have, oldest first.
    pub events: Vec<Dated>,
}

/// A loan after a day that was run before its entry was appended.
#[derive(Clone, Debug)]
pub struct SweptState {
    /// Which loan.
    pub loan: u32,
    /// As it is after.
    pub state: LoanState,
    /// The same, packed.
    pub packed: Box<[u8]>,
    /// What is in the store of it will do: nothing but days went by.
    pub is_stored: bool,
}

/// Whether days have passed without anything falling due: [`advance`] gets from the one to the other at once.
#[must_use]
pub fn is_same_but_for_days(before: &LoanState, after: &LoanState) -> bool {
    before.next_row == after.next_row && before.class == after.class && before.dues.len() == after.dues.len()
}

/// Whether an event is money that came from the borrower.
#[must_use]
pub fn is_receipt(event: &LoanEvent) -> bool {
    matches!(
        event,
        LoanEvent::Received { .. }
            | LoanEvent::Prepaid { .. }
            | LoanEvent::Foreclosed { .. }
            | LoanEvent::Settled { .. }
            | LoanEvent::Cancelled { .. }
            | LoanEvent::Recovered { .. }
    )
}
