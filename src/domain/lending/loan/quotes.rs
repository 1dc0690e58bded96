//! What would end a loan on a day.

use rust_decimal::Decimal;

use super::accrual;
use super::contract::{LoanTerms, paise, rupees};
use super::fold::open;
use super::penal;
use super::state::LoanState;
use crate::domain::lending::day_count::actual_days;
use crate::domain::time::Day;

/// What has to be paid, in paise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// All principal.
    pub principal: i64,
    /// Interest, due and accrued up to the day.
    pub interest: i64,
    /// Fees due, with tax.
    pub fees: i64,
    /// Penal charges.
    pub penal: i64,
    /// Charge for paying before time, net of tax.
    pub charge: i64,
    /// Tax on it.
    pub gst: i64,
    /// What the borrower has paid ahead: taken off.
    pub advance: i64,
    /// What is to be paid; 0 where the advance is enough.
    pub total: i64,
    /// What a day more costs.
    pub per_day_interest: i64,
}

impl Quote {
    /// Fees, penal charges, the charge for paying before time, and tax.
    #[must_use]
    pub fn charges(&self) -> i64 {
        self.fees + self.penal + self.charge + self.gst
    }
}

/// What ends the loan on a day that has not ended: with the product's charge on what has not fallen due.
#[must_use]
pub fn foreclosure(state: &LoanState, terms: &LoanTerms, on: Day) -> Quote {
    let at = on_day(state, terms, on);
    let part = |amount: Decimal, pct: Decimal| paise(amount * pct / Decimal::ONE_HUNDRED);
    let charge = part(rupees(at.not_due()), terms.foreclosure_charge_pct);
    quote(&at, terms, on, charge, part(rupees(charge), terms.charge_gst_pct))
}

/// What the borrower pays who leaves within the cooling-off days: no penalty. `None` after them.
#[must_use]
pub fn cooling_off(state: &LoanState, terms: &LoanTerms, on: Day) -> Option<Quote> {
    let days = actual_days(state.disbursed_on, on);
    let is_within = (0..=i64::from(terms.cooling_off_days)).contains(&days);
    is_within.then(|| quote(&on_day(state, terms, on), terms, on, 0, 0))
}

/// The state as a day finds it.
pub(super) fn on_day(state: &LoanState, terms: &LoanTerms, on: Day) -> LoanState {
    let mut at = state.clone();
    open(&mut at, terms, on);
    at
}

fn quote(at: &LoanState, terms: &LoanTerms, on: Day, charge: i64, gst: i64) -> Quote {
    let accrued = accrual::accrued(at, terms, on);
    let tomorrow = accrual::accrued(at, terms, Day(on.0.saturating_add(1)));
    let interest = at.interest_due() + at.interest_deferred + accrued;
    let (fees, penal) = (at.fee_due(), penal::due_on(at, terms, on));
    let owed = at.outstanding + interest + fees + penal + charge + gst;
    Quote {
        principal: at.outstanding,
        interest,
        fees,
        penal,
        charge,
        gst,
        advance: at.advance,
        total: (owed - at.advance).max(0),
        per_day_interest: tomorrow - accrued,
    }
}
