//! Loans, folded: products, loans and days from the entries alone.
//!
//! Promise: what a loan is comes from its events and the terms of its product by the rules of the domain, never from
//! what an entry says that it is; each entry is compared with that. The fold goes on from what it found itself, so
//! one wrong entry is named once.
//!
//! 1. Products and loans have numbers without gaps, versions and links that follow one another.
//! 2. An event is applied to the loan, or all its events are folded anew where its day has ended or it undoes
//!    another; they are read from the journal then, so that memory grows with loans and not with what happened.
//! 3. A sweep runs the loans that it has to run, one after the other.
//! 4. The legs of a record are what its positions moved (`days`).
//! 5. Whenever a day has ended, and at the end, each control account is the sum of its loans, less what waits.

mod days;
mod events;
mod rows;
mod sweep;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::account::Status;
use crate::domain::entry::{Entry, TransferEntry};
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{IdKind, Moment, Seq, format_id};
use crate::domain::lending::financial_year::{is_month_end, month_before};
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::events::Dated;
use crate::domain::lending::loan::facts::MonthLine;
use crate::domain::lending::loan::roles::{Positions, ROLE_COUNT};
use crate::domain::lending::loan::state::{LoanState, LoanStatus};
use crate::domain::lending::loan::{pack, unpack};
use crate::domain::lending::product::{ACCOUNT_PLANS, ProductAccounts, ProductFacts, ProductSaved};
use crate::domain::money::Currency;
use crate::domain::time::Day;

pub use days::{FoldedDays, Moved};
pub use rows::{SaidDays, SaidLoans, said};

use days::{Legs, add_moved};
use events::OwnTerms;

use super::fold::{Fold, Line};

/// What the fold, or whoever is compared with it, knows of a loan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedLoan {
    /// The loan, packed.
    pub state: Box<[u8]>,
    /// Newest event.
    pub last_seq: u64,
    /// Its application.
    pub applied_seq: u64,
    /// When that was recorded.
    pub applied_at: i64,
    /// The borrower.
    pub customer: u32,
    /// Number of the product.
    pub product: u32,
    /// Its version.
    pub product_version: u32,
    /// How many events it has.
    pub events: u32,
    /// The last day that was run for it.
    pub through: Day,
    /// It is paid out and has not ended.
    pub is_active: bool,
    /// Its application has neither texts nor terms of its own.
    pub is_plain: bool,
}

impl FoldedLoan {
    /// The loan, to work with. What is folded here was packed here.
    #[must_use]
    pub fn unpacked(&self) -> LoanState {
        unpack(&self.state).unwrap_or_default()
    }

    /// Puts in what the loan has become; `bytes` is room to pack it.
    fn set(&mut self, state: &LoanState, bytes: &mut Vec<u8>) {
        bytes.clear();
        pack(state, bytes);
        if self.state.len() == bytes.len() {
            self.state.copy_from_slice(bytes);
        } else {
            self.state = bytes.as_slice().into();
        }
        self.through = state.advanced_through;
        self.is_active = state.status == LoanStatus::Active;
    }
}

/// What the fold knows of a product.
#[derive(Debug)]
pub struct FoldedProduct {
    made_at: i64,
    accounts: ProductAccounts,
    /// By version − 1: its entry, and what it says.
    versions: Vec<(u64, ProductFacts)>,
}

/// Where an entry stands, and what is around it.
pub struct At<'a> {
    /// Its seq.
    pub seq: Seq,
    /// Moment of its record.
    pub moment: Moment,
    /// Business date of its record.
    pub date: Day,
    /// Accounts and customers up to it.
    pub books: &'a Fold,
    /// An earlier entry of the journal.
    pub read: &'a dyn Fn(Seq) -> Result<Entry, String>,
}

/// What the current record has, as far as it is of lending.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the record, in any mixture")]
struct InRecord {
    /// Something of lending is in it: transfers that follow are its legs.
    is_lending: bool,
    /// Its end has to be looked at.
    is_open: bool,
    has_closed: bool,
    has_rolled: bool,
    has_ended: bool,
    /// It is of another day than the record before.
    is_of_new_day: bool,
    /// The day that it ends, and the general ledger as it says that it is then.
    ended: Option<Day>,
    month: Option<(Day, Vec<MonthLine>)>,
}

/// Products, loans and days so far.
#[derive(Debug, Default)]
pub struct LoanFold {
    products: Vec<FoldedProduct>,
    loans: Vec<FoldedLoan>,
    /// By number of the loan − 1: the borrower's loan before it.
    before: Vec<u32>,
    /// By number of the customer − 1: the newest loan.
    newest: Vec<u32>,
    own: HashMap<u32, Box<OwnTerms>>,
    days: FoldedDays,
    positions: BTreeMap<u32, Moved>,
    legs: Legs,
    record: InRecord,
    /// Loans that were named: the first wrong entry of each is enough.
    named: HashSet<u32>,
    /// Events of loans that were folded anew lately, and how many those are.
    kept: HashMap<u32, (u64, Vec<Dated>)>,
    kept_events: usize,
    bytes: Vec<u8>,
    /// What is wrong and does not keep the fold from going on.
    pub problems: Vec<(Seq, String)>,
}

impl LoanFold {
    /// All loans, by number − 1.
    #[must_use]
    pub fn loans(&self) -> &[FoldedLoan] {
        &self.loans
    }

    /// Days.
    #[must_use]
    pub fn days(&self) -> &FoldedDays {
        &self.days
    }

    /// Positions of all loans by product.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<u32, Moved> {
        &self.positions
    }

    /// Entries of all versions of all products, ascending.
    #[must_use]
    pub fn product_seqs(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> =
            self.products.iter().flat_map(|product| &product.versions).map(|(seq, _)| *seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// A record of another day than the one before begins.
    pub fn turn(&mut self) {
        self.record = InRecord { is_open: true, is_of_new_day: self.days.has_begun(), ..InRecord::default() };
    }

    /// Whether transfers of the current record are legs of lending.
    #[inline]
    #[must_use]
    pub fn is_in_record(&self) -> bool {
        self.record.is_lending
    }

    /// Whether the end of the current record has to be told.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.record.is_open
    }

    /// A leg.
    pub fn leg(&mut self, seq: Seq, leg: &TransferEntry, date: Day) {
        if let Some(what) = self.legs.take(leg, date) {
            self.problem(seq, what);
        }
    }

    fn problem(&mut self, seq: Seq, what: String) {
        self.problems.push((seq, format!("entry seq={seq}: {what}")));
    }

    /// Names a loan, unless it was.
    fn name(&mut self, seq: Seq, loan: u32, what: impl FnOnce() -> String) {
        if self.named.insert(loan) {
            let what = format!("{}: {}", loan_name(loan), what());
            self.problem(seq, what);
        }
    }

    /// Folds an entry; all but those of lending do nothing.
    ///
    /// # Errors
    /// What is wrong with it, where the fold must not go on.
    pub fn entry(&mut self, at: &At<'_>, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::ProductSaved(saved) => return self.product(at, saved),
            Entry::DayRolled { .. } => {
                (self.record.is_open, self.record.has_rolled) = (true, true);
                return Ok(());
            }
            Entry::LoanPosted(posted) => self.posted(at, posted)?,
            Entry::LoansSwept(swept) => self.swept(at, swept),
            Entry::DayClosed(closed) => {
                self.record.has_closed = true;
                let wrong = self.days.close(closed, at.date);
                wrong.into_iter().for_each(|what| self.problem(at.seq, what));
            }
            Entry::DayEnded(ended) => {
                (self.record.has_ended, self.record.ended) = (true, Some(ended.date));
                let LoanFold { products, days, legs, loans, .. } = self;
                let accounts = |product: u32| Some(products.get((product as usize).wrapping_sub(1))?.accounts);
                let wrong = days.end(at.seq.0, ended, loans.len() as u32, &accounts, legs);
                wrong.into_iter().for_each(|what| self.problem(at.seq, what));
            }
            Entry::MonthEnded(ended) => {
                let is_of_day = self.record.ended == Some(ended.date) && is_month_end(ended.date);
                let (date, lines) = self.record.month.get_or_insert_with(|| (ended.date, Vec::new()));
                let is_right = is_of_day && *date == ended.date;
                lines.extend_from_slice(&ended.lines);
                if !is_right {
                    self.problem(at.seq, format!("ends a month on {}, which its record does not end", ended.date));
                }
            }
            _ => return Ok(()),
        }
        (self.record.is_open, self.record.is_lending) = (true, true);
        if self.legs.have_begun {
            self.problem(at.seq, "comes after legs of its record".into());
        }
        Ok(())
    }

    fn product(&mut self, at: &At<'_>, saved: &ProductSaved) -> Result<(), String> {
        let place = (saved.number as usize).wrapping_sub(1);
        let version = (at.seq.0, saved.facts.clone());
        if place == self.products.len() && saved.version == 1 && saved.previous == Seq::NONE {
            if saved.created_at != at.moment {
                self.problem(at.seq, format!("product {} was made at another moment", saved.number));
            }
            for what in self.unfit_accounts(at.books, saved) {
                self.problem(at.seq, what);
            }
            let (made_at, accounts) = (saved.created_at.0, saved.accounts);
            self.products.push(FoldedProduct { made_at, accounts, versions: vec![version] });
            self.positions.insert(saved.number, [0; ROLE_COUNT]);
            self.days.begin(at.date);
            return Ok(());
        }
        let follows = |product: &&mut FoldedProduct| {
            let last = product.versions.last().map_or(0, |(seq, _)| *seq);
            (product.versions.len() as u32 + 1, last) == (saved.version, saved.previous.0)
                && (product.accounts, product.made_at) == (saved.accounts, saved.created_at.0)
        };
        let product = self.products.get_mut(place).filter(follows);
        let product = product.ok_or_else(|| format!("product {} does not follow its entry before", saved.number))?;
        product.versions.push(version);
        Ok(())
    }

    /// Accounts of a new product that are not what their roles need.
    fn unfit_accounts(&self, books: &Fold, saved: &ProductSaved) -> Vec<String> {
        let mut wrong = Vec::new();
        for (place, plan) in ACCOUNT_PLANS.iter().enumerate() {
            let no = saved.accounts[place];
            let is_rupee = books
                .get(no)
                .and_then(|account| books.line_of(account.line))
                .is_some_and(|line| line.0 == Currency::INR);
            let others = self.products.iter().flat_map(|product| &product.accounts).chain(&saved.accounts[..place]);
            let is_shared = plan.is_control && others.into_iter().any(|other| *other == no);
            let is_control = books.facts(no).is_some_and(|facts| facts.status == Status::Control);
            if !is_rupee || is_shared || (plan.is_control && !is_control) {
                wrong.push(format!("product {}: {no} is no account for {}", saved.number, plan.role));
            }
        }
        wrong
    }

    fn version(&self, loan: &FoldedLoan) -> &ProductFacts {
        &self.products[loan.product as usize - 1].versions[loan.product_version as usize - 1].1
    }

    /// The terms by which days are run for a loan.
    #[must_use]
    pub fn product_terms(&self, loan: &FoldedLoan) -> &LoanTerms {
        &self.version(loan).terms
    }

    /// The record of lending ends.
    pub fn end(&mut self, seq: Seq, books: &Fold) {
        let record = std::mem::take(&mut self.record);
        for what in self.legs.finish() {
            self.problem(seq, what);
        }
        let is_rolled = record.has_closed && record.has_rolled;
        if self.days.has_begun() && record.is_of_new_day != is_rolled {
            self.problem(seq, "another business day begins without the one before being closed, or none does".into());
        }
        if record.has_ended {
            self.check_controls(seq, books);
        }
        if let Some((date, said)) = record.month {
            let wrong = month_differences(books, date, &said);
            wrong.into_iter().for_each(|what| self.problem(seq, what));
        }
    }

    /// Whether each control account is the sum of its loans, less what waits for the end of a day.
    pub fn check_controls(&mut self, seq: Seq, books: &Fold) {
        let mut wrong = Vec::new();
        for (number, product) in (1u32..).zip(&self.products) {
            let positions = self.positions.get(&number).copied().unwrap_or_default();
            let unposted = self.days.unposted(number);
            for (place, plan) in ACCOUNT_PLANS.iter().enumerate().filter(|(_, plan)| plan.is_control) {
                let no = product.accounts[place];
                let balance = books.get(no).map_or(0, |account| account.sums[0] - account.sums[1]);
                let meant = positions[place] - unposted[place];
                if balance != meant {
                    let role = plan.role;
                    wrong.push(format!("product {number}, {role}: {no} has {balance}, its loans {meant} paise"));
                }
                if books.facts(no).is_some_and(|facts| facts.status != Status::Control) {
                    wrong.push(format!("product {number}, {}: {no} is no control account any more", plan.role));
                }
            }
        }
        wrong.into_iter().for_each(|what| self.problem(seq, what));
    }

    /// The journal ends: control accounts, and positions against the loans themselves.
    pub fn finish(&mut self, seq: Seq, books: &Fold) {
        let mut all: BTreeMap<u32, Moved> = self.positions.keys().map(|product| (*product, [0; ROLE_COUNT])).collect();
        for loan in &self.loans {
            let positions = loan.unpacked().positions;
            add_moved(all.entry(loan.product).or_default(), &moved_between(&Positions::default(), &positions));
        }
        for (product, sums) in &all {
            if Some(sums) != self.positions.get(product) || sums.iter().sum::<i128>() != 0 {
                self.problem(seq, format!("product {product}: what its loans moved is not what they have, {sums:?}"));
            }
        }
        self.check_controls(seq, books);
    }
}

pub(super) fn moved_between(before: &Positions, after: &Positions) -> Moved {
    std::array::from_fn(|role| i128::from(after.raw()[role]) - i128::from(before.raw()[role]))
}

/// The first line of a month that is not what the entries before it give.
fn month_differences(books: &Fold, date: Day, said: &[MonthLine]) -> Option<String> {
    type Row = (Line, [i128; 2], [i128; 2]);
    let wide = |totals: GlTotals| [totals.debits, totals.credits].map(|sum| i128::try_from(sum).unwrap_or(i128::MAX));
    let line = |key: GlKey| (key.currency, key.code, key.account_type);
    let said: Vec<Row> = said.iter().map(|of| (line(of.key), wide(of.through), wide(of.before))).collect();
    let before: BTreeMap<Line, [i128; 2]> = books.lines_through(month_before(date)).into_iter().collect();
    let earlier = |line: &Line| before.get(line).copied().unwrap_or_default();
    let ours = books.lines_through(date).into_iter();
    let ours: Vec<Row> = ours.map(|(line, sums)| (line, sums, earlier(&line))).collect();
    if ours == said {
        return None;
    }
    let differs = ours.iter().zip(&said).find(|(ours, said)| ours != said);
    let what = differs.map_or_else(String::new, |(ours, said)| format!(": {ours:?}, not {said:?}"));
    Some(format!("the month through {date} came to {} lines, not {}{what}", ours.len(), said.len()))
}

/// How reports call a loan.
fn loan_name(number: u32) -> String {
    format_id(IdKind::Loan, u64::from(number))
}
