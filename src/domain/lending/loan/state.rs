//! What a loan is, after its events up to a day. Small: a branch keeps all of its loans in memory.

use rust_decimal::Decimal;

use super::contract::{LoanTerms, paise};
use super::periods::Calendar;
use super::roles::{Credit, Debit, Positions, Role};
use crate::domain::lending::terms::{MoratoriumInterest, Terms};
use crate::domain::time::Day;

/// No such day: nothing falls due any more.
pub const NEVER: Day = Day(u16::MAX);

/// Where a loan is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoanStatus {
    /// No application yet, or its event lies later.
    #[default]
    Unknown,
    /// Asked for.
    Applied,
    /// Sanctioned; nothing is paid out, or it came back.
    Approved,
    /// Not sanctioned.
    Declined,
    /// Paid out.
    Active,
    /// Nothing is owed any more.
    Closed,
    /// Left within the cooling-off days.
    Cancelled,
    /// Given up in the books.
    WrittenOff,
    /// The lender took less for all of it. The class stays what it was, for the bureau.
    Settled,
}

/// The regulator's classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing is overdue.
    #[default]
    Standard,
    /// Overdue for 1 to 30 days.
    Sma0,
    /// 31 to 60.
    Sma1,
    /// 61 to 90.
    Sma2,
    /// For longer, or once for longer and not paid up since.
    Npa,
}

/// What fell due on a day, as far as it is unpaid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub due_on: Day,
    /// Of it.
    pub interest: i64,
    /// Of it.
    pub principal: i64,
    /// Of it, with tax.
    pub fee: i64,
}

impl Due {
    /// Nothing of it is left.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.interest == 0 && self.principal == 0 && self.fee == 0
    }
}

/// Where the row of due dates begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cycle {
    /// Interest of its first row runs from here.
    pub start: Day,
    /// Its first due date; `None` is one period after the start.
    pub first_due_on: Option<Day>,
    /// Rows before it.
    pub rows_before: u32,
}

/// What a change of the balance or rate does once the row that it lies in has fallen due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    #[default]
    None,
    /// The instalment is solved again.
    Resolve,
    /// The instalment stays, the term follows from it.
    KeepInstalment,
}

/// How the rest of the loan falls due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Base instalment, or share of principal; exact.
    pub base: Decimal,
    /// Per cent a year.
    pub annual_rate_pct: Decimal,
    /// Due dates.
    pub cycle: Cycle,
    /// The row that takes what is left; 0 while the term follows from the instalment.
    pub last_row: u32,
    /// The row that would have been the last, where a change came while `last_row` is 0.
    pub projected_row: u32,
    /// Rows up to this one have no principal.
    pub moratorium_through: u32,
    /// What becomes of their interest.
    pub moratorium_interest: MoratoriumInterest,
    /// Interest of a row with method flat.
    pub flat_share: i64,
    /// Of all rows.
    pub flat_total: i64,
    /// What comes after the next demand.
    pub change: Change,
    /// Steps and balloon of the first terms do not count any more.
    pub is_rescheduled: bool,
}

/// What was paid since the beginning, by what it paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Came in, taxes that were kept back too; not what came after a write-off.
    pub received: i64,
    /// Paid penal charges.
    pub penal: i64,
    /// Paid fees.
    pub fee: i64,
    /// Paid interest.
    pub interest: i64,
    /// Paid principal, what was paid ahead too.
    pub principal: i64,
    /// Went back.
    pub refunded: i64,
    /// Came after the write-off.
    pub recovered: i64,
    /// Paid out, before deductions.
    pub disbursed: i64,
}

/// A loan. At the end of `advanced_through`, or inside the day after it, whose dues are raised then (`begun`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoanState {
    /// Signed paise by role.
    pub positions: Positions,
    /// How the rest falls due.
    pub plan: Plan,
    /// What was paid.
    pub totals: Totals,
    /// Oldest first; what is paid is not in it.
    pub dues: Vec<Due>,
    /// Sanctioned principal.
    pub sanctioned: i64,
    /// Principal, what fell due and is unpaid too.
    pub outstanding: i64,
    /// Interest of this period up to `segment_from`, rounded wherever the balance or rate changed.
    pub interest_fixed: i64,
    /// Interest of this period that is in the positions.
    pub interest_posted: i64,
    /// Interest of a moratorium that falls due after it.
    pub interest_deferred: i64,
    /// Interest that joined the principal while the loan was non-performing: in suspense until it performs again.
    pub capitalised_unearned: i64,
    /// Penal charges due up to `penal_from`.
    pub penal_due: i64,
    /// Paid and not yet used.
    pub advance: i64,
    /// What was given up, as a claim.
    pub claim: i64,
    /// The row that falls due next, from 1.
    pub next_row: u32,
    /// Last version of the key facts statement; 0 for none.
    pub kfs_version: u32,
    /// The version that was accepted; 0 for none.
    pub kfs_accepted: u32,
    /// The last day on which that version holds.
    pub kfs_valid_through: Day,
    /// When it falls due.
    pub next_due: Day,
    /// Balance and rate have been what they are since this day.
    pub segment_from: Day,
    /// What is overdue has been what it is since this day.
    pub penal_from: Day,
    /// The first day with interest.
    pub disbursed_on: Day,
    /// The last day that ended.
    pub advanced_through: Day,
    /// The last day that began.
    pub begun: Day,
    /// Days past due at the end of `advanced_through`.
    pub dpd: u16,
    /// Since when its own arrears have made it non-performing.
    pub npa_since: Option<Day>,
    /// Since when another loan of the borrower has done so.
    pub borrower_npa_since: Option<Day>,
    /// Nobody calls the borrower for it through this day.
    pub paused_until: Option<Day>,
    /// Somebody wants to see it in lists.
    pub is_watched: bool,
    /// At the end of `advanced_through`.
    pub class: Class,
    /// Where it is in its life.
    pub status: LoanStatus,
}

// A hundred thousand loans in 40 MB.
const _: () = assert!(size_of::<LoanState>() <= 400);

impl LoanState {
    /// A loan of which nothing is known.
    #[must_use]
    pub fn new() -> LoanState {
        LoanState { next_due: NEVER, next_row: 1, ..LoanState::default() }
    }

    /// Principal that has not fallen due.
    #[must_use]
    pub fn not_due(&self) -> i64 {
        self.outstanding - self.dues.iter().map(|due| due.principal).sum::<i64>()
    }

    /// Unpaid principal and interest of instalments: what a penal charge is on.
    #[must_use]
    pub fn overdue(&self) -> i64 {
        self.dues.iter().map(|due| due.principal + due.interest).sum()
    }

    /// Interest that fell due and is unpaid.
    #[must_use]
    pub fn interest_due(&self) -> i64 {
        self.dues.iter().map(|due| due.interest).sum()
    }

    /// Fees that fell due and are unpaid, with tax.
    #[must_use]
    pub fn fee_due(&self) -> i64 {
        self.dues.iter().map(|due| due.fee).sum()
    }

    /// Rows that are still to come; `None` while the term follows from the instalment.
    #[must_use]
    pub fn rows_left(&self) -> Option<u32> {
        (self.plan.last_row > 0).then(|| (self.plan.last_row + 1).saturating_sub(self.next_row))
    }

    /// Neither principal nor interest nor charges.
    #[must_use]
    pub fn owes_nothing(&self) -> bool {
        let interest = self.interest_fixed + self.interest_posted + self.interest_deferred;
        self.outstanding == 0 && self.dues.is_empty() && self.penal_due == 0 && interest == 0
    }

    /// The day that is being worked on: the one after the last that ended.
    #[must_use]
    pub fn today(&self) -> Day {
        Day(self.advanced_through.0.saturating_add(1))
    }

    /// The base instalment as it is asked for.
    #[must_use]
    pub fn instalment(&self, terms: &Terms) -> i64 {
        paise(super::instalment::rounded(terms, self.plan.base))
    }

    pub(super) fn calendar<'a>(&self, terms: &'a LoanTerms) -> Calendar<'a> {
        Calendar::new(&terms.calculation, self.plan.cycle)
    }

    pub(super) fn shift(&mut self, debit: Debit, credit: Credit, amount: i64) {
        self.positions.shift(debit, credit, amount);
    }

    pub(super) fn drop_paid(&mut self) {
        self.dues.retain(|due| !due.is_paid());
        if self.dues.is_empty() {
            // A healthy loan keeps no heap.
            self.dues = Vec::new();
        }
    }

    /// What must hold after every step.
    pub fn assert_whole(&self) {
        let at = |role| self.positions.of(role);
        assert_eq!(self.positions.sum(), 0, "positions balance");
        assert!(self.outstanding >= 0, "principal is never negative");
        assert!(self.not_due() >= 0, "no more principal falls due than there is");
        assert!(self.advance >= 0 && self.penal_due >= 0, "buckets are never negative");
        assert!(self.dues.iter().all(|due| due.interest >= 0 && due.principal >= 0 && due.fee >= 0), "nor are dues");
        assert!(self.dues.windows(2).all(|pair| pair[0].due_on < pair[1].due_on), "dues are by date");
        assert_eq!(at(Role::Principal), self.outstanding, "principal is in the books");
        assert_eq!(at(Role::Advance), -self.advance, "and so is the advance");
        assert_eq!(at(Role::FeeReceivable), self.fee_due(), "and so are fees");
        let interest = self.interest_due() + self.interest_posted + self.interest_deferred;
        assert_eq!(at(Role::InterestReceivable), interest, "and so is interest");
        let suspense = if self.class == Class::Npa { -interest - self.capitalised_unearned } else { 0 };
        assert_eq!(at(Role::InterestSuspense), suspense, "interest of a non-performing loan is no income");
        let Totals { received, penal, fee, interest, principal, refunded, .. } = self.totals;
        assert_eq!(received, penal + fee + interest + principal + refunded + self.advance, "what came paid something");
    }
}
