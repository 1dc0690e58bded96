//! The base instalment, solved when the loan is paid out and again when its balance, rate or dates change:
//! E = (B − L·dₘ) / Σ wₖ·dₖ over the rows that are left, as in [`schedule`](crate::domain::lending::schedule).
//! B is what has not fallen due: arrears are paid beside it.
//!
//! A change inside a period counts from the row after it; one on the day of a due date from the next row.

use rust_decimal::Decimal;

use super::contract::{LoanTerms, paise, rupees};
use super::events::NewPlan;
use super::periods::{Calendar, Period};
use super::state::{Change, Cycle, LoanState, Plan};
use super::whole;
use crate::domain::lending::day_count::YearFraction;
use crate::domain::lending::rounding::round_to;
use crate::domain::lending::terms::{BALANCE_MAX, Keep, Method, MoratoriumInterest, ROWS_MAX, Terms};
use crate::domain::time::Day;

/// Begins the plan of the terms on the day of the first disbursal. `state.outstanding` is what was paid out.
pub(super) fn begin(state: &mut LoanState, terms: &LoanTerms, start: Day) {
    let calculation = &terms.calculation;
    state.plan = Plan {
        annual_rate_pct: calculation.annual_rate_pct,
        cycle: Cycle { start, first_due_on: calculation.first_due_on, rows_before: 0 },
        last_row: calculation.instalments.unwrap_or(0),
        moratorium_through: calculation.moratorium.map_or(0, |moratorium| moratorium.periods),
        moratorium_interest: calculation.moratorium.map_or_else(Default::default, |moratorium| moratorium.interest),
        ..Plan::default()
    };
    state.next_row = 1;
    let first = state.plan.moratorium_through + 1;
    state.plan.base = match calculation.method {
        Method::Flat => flat_base(state, terms, first),
        Method::EqualPrincipal => calculation.principal_fixed.unwrap_or_else(|| solve(state, terms, first)),
        Method::Reducing => calculation.instalment_fixed.unwrap_or_else(|| solve(state, terms, first)),
    };
}

/// Interest of all rows by the first principal, and equal shares of both.
fn flat_base(state: &mut LoanState, terms: &LoanTerms, first: u32) -> Decimal {
    let calendar = state.calendar(terms);
    let rows = state.plan.last_row.max(1);
    let mut time = YearFraction::ZERO;
    for row in 1..=rows {
        if let Some(period) = calendar.period(row) {
            time = time.plus(calendar.fraction(&period, period.from, period.to));
        }
    }
    let principal = rupees(state.outstanding);
    let interest = time.interest(principal, state.plan.annual_rate_pct);
    let share = interest / Decimal::from(rows);
    state.plan.flat_total = rounded_interest(&terms.calculation, interest);
    state.plan.flat_share = rounded_interest(&terms.calculation, share);
    let payers = Decimal::from(paying_rows(state, terms, first, rows));
    let of_principal = (principal - balloon(state, terms)) / payers;
    terms.calculation.instalment_fixed.unwrap_or(of_principal + share)
}

/// Begins another plan for what has not fallen due. Interest of the period so far stays in it.
pub(super) fn begin_again(state: &mut LoanState, terms: &LoanTerms, start: Day, new: &NewPlan) {
    let rows_before = state.next_row - 1;
    state.plan = Plan {
        annual_rate_pct: new.annual_rate_pct,
        cycle: Cycle { start, first_due_on: Some(new.first_due_on), rows_before },
        last_row: rows_before + new.instalments,
        moratorium_through: rows_before + new.moratorium.map_or(0, |moratorium| moratorium.periods),
        moratorium_interest: new.moratorium.map_or_else(Default::default, |moratorium| moratorium.interest),
        is_rescheduled: true,
        ..Plan::default()
    };
    let first = state.plan.moratorium_through + 1;
    state.plan.base = solve(state, terms, first);
}

/// Before a change of the balance or rate: where the term follows from the instalment, the row that would have been
/// the last.
pub(super) fn project(state: &mut LoanState, terms: &LoanTerms) {
    if state.plan.last_row == 0 && state.plan.projected_row == 0 {
        state.plan.projected_row = state.next_row - 1 + rows_left(state, terms);
    }
}

/// After it: what it does, at once or after the row that it lies in.
pub(super) fn change(state: &mut LoanState, terms: &LoanTerms, day: Day, keep: Keep) {
    state.plan.change = match (keep, state.plan.change) {
        (Keep::Term, _) | (_, Change::Resolve) => Change::Resolve,
        (Keep::Instalment, _) => Change::KeepInstalment,
    };
    let period = state.calendar(terms).period(state.next_row);
    if period.is_some_and(|period| day <= period.from) {
        adapt(state, terms);
    }
}

/// Other instalments, or another term, from the next row on.
pub(super) fn adapt(state: &mut LoanState, terms: &LoanTerms) {
    match std::mem::take(&mut state.plan.change) {
        Change::None => {}
        Change::KeepInstalment => {
            state.plan.last_row = 0;
            state.plan.projected_row = 0;
        }
        Change::Resolve if state.not_due() == 0 => {}
        Change::Resolve => {
            let first = state.next_row.max(state.plan.moratorium_through + 1);
            if state.plan.last_row == 0 {
                state.plan.last_row = state.plan.projected_row;
            }
            if first <= state.plan.last_row {
                state.plan.base = solve(state, terms, first);
            }
        }
    }
}

/// What of the principal falls due with a row whose interest is known; never more than has not fallen due.
pub(super) fn principal_of(state: &LoanState, terms: &LoanTerms, row: u32, interest: i64) -> i64 {
    let not_due = state.not_due();
    if state.plan.last_row > 0 && row >= state.plan.last_row {
        return not_due;
    }
    let rounded = paise(rounded(&terms.calculation, state.plan.base * weight(state, terms, row)));
    let principal = match terms.calculation.method {
        Method::EqualPrincipal => rounded,
        Method::Flat | Method::Reducing => rounded - interest,
    };
    let keeps = if state.plan.last_row > 0 { paise(balloon(state, terms)) } else { 0 };
    // Late payers' interest may be more than the instalment: nothing is added to the principal then.
    principal.clamp(0, (not_due - keeps).max(0))
}

/// An instalment as the terms round it.
#[must_use]
pub fn rounded(terms: &Terms, instalment: Decimal) -> Decimal {
    round_to(instalment, terms.rounding.instalment, terms.rounding.mode)
}

/// Interest as the terms round it, and to the paisa where they do not.
#[must_use]
pub fn rounded_interest(terms: &Terms, interest: Decimal) -> i64 {
    paise(round_to(interest, terms.rounding.interest, terms.rounding.mode))
}

/// Interest of a row with method flat; the last one takes what rounding left. Where rounding up has used up all of
/// it before, the rows after that have none.
pub(super) fn flat_interest_of(plan: &Plan, row: u32) -> i64 {
    let through = |row: u32| match row {
        _ if row >= plan.last_row => plan.flat_total,
        _ => plan.flat_total.min(plan.flat_share * i64::from(row)),
    };
    through(row) - through(row - 1)
}

fn balloon(state: &LoanState, terms: &LoanTerms) -> Decimal {
    if state.plan.is_rescheduled { Decimal::ZERO } else { terms.calculation.balloon.unwrap_or(Decimal::ZERO) }
}

/// Rows from `first` on that pay shares: the balloon's is none of them. At least 1.
fn paying_rows(state: &LoanState, terms: &LoanTerms, first: u32, last: u32) -> u32 {
    let has_balloon = terms.calculation.balloon.is_some() && !state.plan.is_rescheduled;
    (last + 1).saturating_sub(first + u32::from(has_balloon)).max(1)
}

fn weight(state: &LoanState, terms: &LoanTerms, row: u32) -> Decimal {
    let step = terms.calculation.steps.iter().rev().find(|step| step.from <= row && !state.plan.is_rescheduled);
    step.map_or(Decimal::ONE, |step| step.instalment_pct / Decimal::ONE_HUNDRED)
}

/// The base that pays off what has not fallen due, from row `first` on.
fn solve(state: &LoanState, terms: &LoanTerms, first: u32) -> Decimal {
    let calendar = state.calendar(terms);
    let last = state.plan.last_row.max(first);
    let balloon = if last > first { balloon(state, terms) } else { Decimal::ZERO };
    let paying_last = first + paying_rows(state, terms, first, last) - 1;
    let is_equal_principal = terms.calculation.method == Method::EqualPrincipal;
    let balance = balance_at(state, terms, &calendar, first);
    let (mut factor, mut sum) = (Decimal::ONE, Decimal::ZERO);
    for row in first..=paying_last {
        if !is_equal_principal {
            let growth = calendar.nominal(row).interest(Decimal::ONE, state.plan.annual_rate_pct);
            factor /= Decimal::ONE + growth;
        }
        sum += weight(state, terms, row) * factor;
    }
    // At rates that no checked terms have, later rows are worth nothing: all is asked for at once.
    if sum.is_zero() { balance } else { (balance - balloon * factor) / sum }
}

/// What will not have fallen due when row `first` begins, after the rest of a moratorium.
fn balance_at(state: &LoanState, terms: &LoanTerms, calendar: &Calendar, first: u32) -> Decimal {
    let mut balance = state.not_due();
    let capitalises = state.plan.moratorium_interest == MoratoriumInterest::Capitalised;
    for row in state.next_row..first {
        let Some(period) = calendar.period(row).filter(|_| capitalises) else { break };
        let interest = whole_interest(state, terms, calendar, &period, balance);
        balance += interest;
    }
    rupees(balance)
}

fn whole_interest(state: &LoanState, terms: &LoanTerms, calendar: &Calendar, period: &Period, balance: i64) -> i64 {
    let fraction = calendar.fraction(period, period.from, period.to);
    whole::interest(&terms.calculation, balance, state.plan.annual_rate_pct, fraction)
}

/// Rows that the instalment would still take, by whole periods.
fn rows_left(state: &LoanState, terms: &LoanTerms) -> u32 {
    let calendar = state.calendar(terms);
    let mut balance = rupees(state.not_due());
    for more in 1..ROWS_MAX {
        let row = state.next_row - 1 + more;
        let interest = calendar.nominal(row).interest(balance, state.plan.annual_rate_pct);
        let instalment = state.plan.base * weight(state, terms, row);
        balance -= match terms.calculation.method {
            Method::EqualPrincipal => instalment,
            Method::Flat | Method::Reducing => instalment - interest,
        };
        if balance <= Decimal::ZERO {
            return more;
        }
        if balance > Decimal::from(BALANCE_MAX) {
            break;
        }
    }
    ROWS_MAX
}
