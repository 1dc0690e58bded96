//! What a payment pays: what is due, by the order of the product and oldest first; the rest waits as advance, for
//! the next due date. Nothing goes to principal that has not fallen due, unless the borrower asked for it.

use super::accrual;
use super::contract::{Across, LoanTerms, Part};
use super::penal;
use super::roles::{Credit, Debit, Role};
use super::state::LoanState;
use crate::domain::time::Day;

/// What a payment paid, as the receipt shows it. Paise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Penal charges.
    pub penal: i64,
    /// Fees, with tax.
    pub fee: i64,
    /// Interest.
    pub interest: i64,
    /// Principal that had fallen due.
    pub principal: i64,
    /// Principal ahead.
    pub prepaid: i64,
    /// Kept for later; negative where more was used than came.
    pub advance: i64,
}

impl Split {
    /// All of it: what came in.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.penal + self.fee + self.interest + self.principal + self.prepaid + self.advance
    }

    pub(super) fn plus(self, other: Split) -> Split {
        Split {
            penal: self.penal + other.penal,
            fee: self.fee + other.fee,
            interest: self.interest + other.interest,
            principal: self.principal + other.principal,
            prepaid: self.prepaid + other.prepaid,
            advance: self.advance + other.advance,
        }
    }
}

/// Where the money is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purse {
    /// What is debited.
    pub(super) source: Role,
    /// Paise.
    pub(super) amount: i64,
}

/// Pays what is due, with at most what is in the purse; what is left in it is the caller's.
pub(super) fn pay_dues(state: &mut LoanState, terms: &LoanTerms, day: Day, purse: &mut Purse) -> Split {
    penal::cut(state, terms, day);
    let order = terms.appropriation.order;
    let mut split = Split::default();
    let rows = state.dues.len();
    match terms.appropriation.across {
        Across::Parts => {
            for part in order {
                for row in 0..rows {
                    pay(state, terms, day, part, row, purse, &mut split);
                }
                // Penal charges may be due where no row is.
                if part == Part::Penal {
                    pay_penal(state, purse, &mut split);
                }
            }
        }
        Across::Rows => {
            if order[0] == Part::Penal {
                pay_penal(state, purse, &mut split);
            }
            for row in 0..rows {
                for part in order {
                    pay(state, terms, day, part, row, purse, &mut split);
                }
            }
            pay_penal(state, purse, &mut split);
        }
    }
    state.drop_paid();
    split
}

/// Pays interest alone: what a borrower kept back as tax is a part of nothing else.
pub(super) fn pay_interest(state: &mut LoanState, terms: &LoanTerms, day: Day, purse: &mut Purse) -> Split {
    penal::cut(state, terms, day);
    let mut split = Split::default();
    for row in 0..state.dues.len() {
        pay(state, terms, day, Part::Interest, row, purse, &mut split);
    }
    state.drop_paid();
    split
}

/// Lets what is left in a purse wait.
pub(super) fn keep_rest(state: &mut LoanState, purse: Purse) -> Split {
    debug_assert!(purse.source != Role::Advance, "what is in the advance stays there");
    state.shift(Debit(purse.source), Credit(Role::Advance), purse.amount);
    state.advance += purse.amount;
    Split { advance: purse.amount, ..Split::default() }
}

/// Uses up the advance, as far as something is due.
pub(super) fn use_advance(state: &mut LoanState, terms: &LoanTerms, day: Day) -> Split {
    if state.advance == 0 {
        return Split::default();
    }
    let mut purse = Purse { source: Role::Advance, amount: state.advance };
    let mut split = pay_dues(state, terms, day, &mut purse);
    split.advance = purse.amount - state.advance;
    state.advance = purse.amount;
    split
}

fn pay(
    state: &mut LoanState,
    terms: &LoanTerms,
    day: Day,
    part: Part,
    row: usize,
    purse: &mut Purse,
    split: &mut Split,
) {
    let due = &mut state.dues[row];
    let (left, paid, total, role) = match part {
        Part::Penal => return,
        Part::Fee => (&mut due.fee, &mut split.fee, &mut state.totals.fee, Role::FeeReceivable),
        Part::Interest => {
            (&mut due.interest, &mut split.interest, &mut state.totals.interest, Role::InterestReceivable)
        }
        Part::Principal => (&mut due.principal, &mut split.principal, &mut state.totals.principal, Role::Principal),
    };
    let amount = purse.amount.min(*left);
    purse.amount -= amount;
    *left -= amount;
    *paid += amount;
    *total += amount;
    if part == Part::Principal {
        accrual::reduce(state, terms, day, amount);
    }
    state.shift(Debit(purse.source), Credit(role), amount);
}

fn pay_penal(state: &mut LoanState, purse: &mut Purse, split: &mut Split) {
    let amount = purse.amount.min(state.penal_due);
    purse.amount -= amount;
    state.penal_due -= amount;
    split.penal += amount;
    state.totals.penal += amount;
    state.shift(Debit(purse.source), Credit(Role::PenalIncome), amount);
}
