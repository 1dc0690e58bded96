//! How a loan moved through a span of days: what of it was non-performing or outstanding before, what came and went,
//! and what was left. Sums over loans are the movement reports.
//!
//! Promise: opening + what came − what went = closing, in loans and in paise, for every loan and so for every sum.
//!
//! Days between two events are one step: nothing but classes and what joins the principal changes in them, and a
//! class only gets worse. A day with events is one step, too: the class is that of its end.

use super::advance;
use super::contract::LoanTerms;
use super::events::{Dated, LoanEvent};
use super::fold::{apply, counting, open};
use super::state::{Class, LoanState, LoanStatus};
use crate::domain::time::Day;

/// Loans, and principal of them in paise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub loans: i64,
    /// Paise; 128 bits, since sums over loans are kept in it.
    pub amount: i128,
}

impl Sum {
    /// Adds another.
    pub fn add(&mut self, other: Sum) {
        self.loans += other.loans;
        self.amount += other.amount;
    }

    /// What is left without another.
    #[must_use]
    pub fn less(self, other: Sum) -> Sum {
        Sum { loans: self.loans - other.loans, amount: self.amount - other.amount }
    }

    fn put(&mut self, loans: i64, amount: i64) {
        self.add(Sum { loans, amount: i128::from(amount) });
    }
}

/// Non-performing loans: opening + new − upgraded − recovered − written off = closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NpaMovement {
    /// At the end of the day before the span.
    pub opening: Sum,
    /// Became non-performing, and what was added to those that were.
    pub new: Sum,
    /// Perform again, with what was outstanding then.
    pub upgraded: Sum,
    /// Principal that was paid; loans that ended by it.
    pub recovered: Sum,
    /// Principal that was given up; loans of which that was all that was left.
    pub written_off: Sum,
    /// At the end of the span.
    pub closing: Sum,
}

/// Active loans: opening + disbursed + capitalised − received − written off = closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortfolioMovement {
    /// At the end of the day before the span.
    pub opening: Sum,
    /// Paid out, tranches too; loans that became active.
    pub disbursed: Sum,
    /// Interest that joined the principal.
    pub capitalised: Sum,
    /// Principal that was paid; loans that ended by it.
    pub received: Sum,
    /// Principal that was given up; loans that ended by it.
    pub written_off: Sum,
    /// At the end of the span.
    pub closing: Sum,
}

/// Both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Movement {
    /// Of non-performing loans.
    pub npa: NpaMovement,
    /// Of all active loans.
    pub portfolio: PortfolioMovement,
}

impl Movement {
    /// Adds that of another loan.
    pub fn add(&mut self, other: &Movement) {
        let (npa, all) = (&mut self.npa, &mut self.portfolio);
        npa.opening.add(other.npa.opening);
        npa.new.add(other.npa.new);
        npa.upgraded.add(other.npa.upgraded);
        npa.recovered.add(other.npa.recovered);
        npa.written_off.add(other.npa.written_off);
        npa.closing.add(other.npa.closing);
        all.opening.add(other.portfolio.opening);
        all.disbursed.add(other.portfolio.disbursed);
        all.capitalised.add(other.portfolio.capitalised);
        all.received.add(other.portfolio.received);
        all.written_off.add(other.portfolio.written_off);
        all.closing.add(other.portfolio.closing);
    }
}

/// What a loan counts for at the end of a day, as non-performing and as active.
#[must_use]
pub fn standing(state: &LoanState) -> (Sum, Sum) {
    let of = |counts: bool| {
        let mut sum = Sum::default();
        if counts {
            sum.put(1, state.outstanding);
        }
        sum
    };
    let is_active = state.status == LoanStatus::Active;
    (of(is_active && state.class == Class::Npa), of(is_active))
}

/// How a loan moved from the beginning of `from` to the end of `to`, by the events that are handed in.
#[must_use]
pub fn movement(terms: &LoanTerms, events: &[Dated], from: Day, to: Day) -> Movement {
    let mut state = LoanState::new();
    let counting = counting(events, to);
    let (before, within) = counting.split_at(counting.partition_point(|dated| dated.value_date < from));
    before.iter().for_each(|dated| {
        apply(&mut state, terms, dated);
    });
    advance(&mut state, terms, Day(from.0.saturating_sub(1)));
    let mut movement = Movement::default();
    (movement.npa.opening, movement.portfolio.opening) = standing(&state);
    for day in within.chunk_by(|one, other| one.value_date == other.value_date) {
        let date = day[0].value_date;
        let mut was = state.clone();
        advance(&mut state, terms, Day(date.0.saturating_sub(1)));
        movement.step(&was, &state, 0);
        was.clone_from(&state);
        let mut written_off = 0;
        for dated in day {
            open(&mut state, terms, date);
            let (outstanding, paid) = (state.outstanding, state.totals.principal);
            apply(&mut state, terms, dated);
            if matches!(dated.event, LoanEvent::WrittenOff | LoanEvent::Settled { .. }) {
                written_off += outstanding - state.outstanding - (state.totals.principal - paid);
            }
        }
        advance(&mut state, terms, date);
        movement.step(&was, &state, written_off);
    }
    let was = state.clone();
    advance(&mut state, terms, to);
    movement.step(&was, &state, 0);
    (movement.npa.closing, movement.portfolio.closing) = standing(&state);
    movement
}

impl Movement {
    fn step(&mut self, was: &LoanState, now: &LoanState, written_off: i64) {
        let is_active = |state: &LoanState| state.status == LoanStatus::Active;
        let is_npa = |state: &LoanState| is_active(state) && state.class == Class::Npa;
        let npa = &mut self.npa;
        match (is_npa(was), is_npa(now)) {
            (false, false) => {}
            (false, true) => npa.new.put(1, now.outstanding),
            (true, stays) => {
                let left = if is_active(now) { now.outstanding } else { 0 };
                // What is less was paid or given up; what is more joined it.
                let less = was.outstanding - left - written_off;
                npa.recovered.put(0, less.max(0));
                npa.new.put(0, (-less).max(0));
                npa.written_off.put(0, written_off);
                match () {
                    () if stays => {}
                    () if is_active(now) => npa.upgraded.put(1, now.outstanding),
                    () if written_off > 0 => npa.written_off.put(1, 0),
                    () => npa.recovered.put(1, 0),
                }
            }
        }
        let all = &mut self.portfolio;
        let disbursed = now.totals.disbursed - was.totals.disbursed;
        let received = now.totals.principal - was.totals.principal;
        let [before, after] = [was, now].map(|state| if is_active(state) { state.outstanding } else { 0 });
        all.disbursed.put(0, disbursed);
        all.received.put(0, received);
        all.written_off.put(0, written_off);
        all.capitalised.put(0, after - before - disbursed + received + written_off);
        let begins = i64::from(!is_active(was) && disbursed > 0);
        let ends = i64::from((is_active(was) || disbursed > 0) && !is_active(now));
        all.disbursed.put(begins, 0);
        if written_off > 0 { all.written_off.put(ends, 0) } else { all.received.put(ends, 0) }
    }
}
