//! The penal charge on overdue instalments: a part of them per 30 days, by days.
//!
//! It is a charge, not a rate: it never joins the principal, bears no interest, is on principal and interest that are
//! overdue and never on itself or on fees, and bears no tax (R02). It is in no book before it is received.
//! As with interest, what was charged since the overdue amount last changed is rounded as a whole.

use rust_decimal::Decimal;

use super::contract::{LoanTerms, paise, rupees};
use super::state::LoanState;
use super::whole::Ratio;
use crate::domain::lending::day_count::actual_days;
use crate::domain::lending::rounding::Mode;
use crate::domain::time::Day;

/// What is charged on an amount that was overdue for some days.
#[must_use]
pub fn charge(overdue: i64, pct_per_month: Decimal, days: i64) -> i64 {
    let ratio = Ratio::new(overdue, pct_per_month, days, 30);
    let rounded = ratio.and_then(|ratio| ratio.rounded(None, Mode::HalfUp));
    rounded.unwrap_or_else(|| paise(rupees(overdue) * pct_per_month * Decimal::from(days) / Decimal::from(3_000)))
}

/// Penal charges due on a day.
#[must_use]
pub fn due_on(state: &LoanState, terms: &LoanTerms, day: Day) -> i64 {
    let days = actual_days(state.penal_from, day).max(0);
    state.penal_due + charge(state.overdue(), terms.penal_pct_per_month, days)
}

/// Charges up to a day, before what is overdue changes.
pub(super) fn cut(state: &mut LoanState, terms: &LoanTerms, day: Day) {
    state.penal_due = due_on(state, terms, day);
    state.penal_from = state.penal_from.max(day);
}
