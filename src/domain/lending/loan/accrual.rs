//! Interest of days, in closed form: what has accrued since the period began is rounded as a whole, and what is
//! posted is that less what was posted before. So it does not matter how often somebody asks.
//!
//! 1. A period is cut where the balance or rate changes; each part is rounded by itself (V24: 6.58 + 37.17).
//! 2. Interest of a day counts at its end: up to day `d` means without `d`.
//! 3. With method flat the row's share grows by days, whatever is outstanding, until nothing is.

use super::contract::LoanTerms;
use super::instalment::flat_interest_of;
use super::roles::{Credit, Debit, Role};
use super::state::{LoanState, LoanStatus};
use super::whole;
use crate::domain::lending::day_count::actual_days;
use crate::domain::lending::terms::Method;
use crate::domain::time::Day;

/// Interest of the period that falls due next, up to a day, without what was deferred.
#[must_use]
pub fn accrued(state: &LoanState, terms: &LoanTerms, until: Day) -> i64 {
    let earns = state.status == LoanStatus::Active && state.outstanding > 0;
    let calendar = state.calendar(terms);
    let Some(period) = calendar.period(state.next_row).filter(|_| earns) else { return state.interest_fixed };
    if terms.calculation.method == Method::Flat {
        let share = flat_interest_of(&state.plan, state.next_row);
        if until >= period.to && state.segment_from <= period.from {
            return state.interest_fixed + share;
        }
        let days = actual_days(state.segment_from.min(period.to), until.min(period.to)).max(0);
        let of = actual_days(period.from, period.to).max(1);
        return state.interest_fixed + whole::part(&terms.calculation, share, days, of);
    }
    let fraction = calendar.fraction(&period, state.segment_from, until);
    // Where a holiday has put two due dates onto one day, the first is paid when the second begins.
    let balance = if period.to <= period.from { state.not_due() } else { state.outstanding };
    state.interest_fixed + whole::interest(&terms.calculation, balance, state.plan.annual_rate_pct, fraction)
}

/// Closes a part of the period, before the balance or rate changes.
pub(super) fn cut(state: &mut LoanState, terms: &LoanTerms, day: Day) {
    state.interest_fixed = accrued(state, terms, day);
    state.segment_from = state.segment_from.max(day);
}

/// Principal goes down by an amount that was paid or given up; the interest of the days before stays.
pub(super) fn reduce(state: &mut LoanState, terms: &LoanTerms, day: Day, amount: i64) {
    let is_flat = terms.calculation.method == Method::Flat;
    if amount > 0 && (!is_flat || state.outstanding == amount) {
        cut(state, terms, day);
    }
    state.outstanding -= amount;
}

/// Posts interest up to a day.
pub(super) fn post(state: &mut LoanState, terms: &LoanTerms, until: Day) {
    let accrued = accrued(state, terms, until);
    debug_assert!(accrued >= state.interest_posted, "interest only grows");
    state.shift(Debit(Role::InterestReceivable), Credit(Role::InterestIncome), accrued - state.interest_posted);
    state.interest_posted = accrued;
}
