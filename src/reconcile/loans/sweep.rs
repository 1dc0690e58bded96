//! Days that are run for loans, folded.

use std::collections::BTreeMap;

use super::days::{Moved, add_moved};
use super::{At, LoanFold, moved_between};
use crate::domain::lending::loan::advance;
use crate::domain::lending::loan::facts::{LoansSwept, ProductTotals, SweptRow};
use crate::domain::lending::loan::roles::ROLE_COUNT;
use crate::domain::lending::loan::state::Class;
use crate::domain::lending::regulation;
use crate::domain::time::Day;

impl LoanFold {
    pub(super) fn swept(&mut self, at: &At<'_>, swept: &LoansSwept) {
        let wrong = self.days.check_turn(swept, self.loans.len() as u32);
        let is_in_turn = wrong.is_none();
        wrong.into_iter().for_each(|what| self.problem(at.seq, what));
        let run = if is_in_turn { self.to_run(swept) } else { Vec::new() };
        if swept.last == 0 && is_in_turn {
            let through = self.loans[swept.first as usize - 1].through;
            if run.is_empty() || u32::from(through.0) + 1 != u32::from(swept.date.0) {
                self.name(at.seq, swept.first, || format!("{} is run for it, which stands at {through}", swept.date));
            }
        }
        let mut rows = swept.rows.iter().peekable();
        let mut sums: BTreeMap<u32, (ProductTotals, Moved)> = BTreeMap::new();
        for number in run {
            while let Some(row) = rows.next_if(|row| row.loan < number) {
                self.name(at.seq, row.loan, || format!("{} is not its day to be run: {row:?}", swept.date));
            }
            let (found, product, moved) = self.run(number, swept.date, &mut sums);
            let said = rows.next_if(|row| row.loan == number);
            if found.as_ref() != said {
                let date = swept.date;
                self.name(at.seq, number, || format!("it came to {found:?} at the end of {date}, not to {said:?}"));
            }
            add_moved(self.positions.entry(product).or_default(), &moved);
        }
        for row in rows {
            self.name(at.seq, row.loan, || format!("{} is not its day to be run: {row:?}", swept.date));
        }
        let totals: Vec<ProductTotals> = sums.values().map(|(totals, _)| *totals).collect();
        if is_in_turn && totals != swept.totals {
            self.problem(at.seq, format!("its loans were {:?}, it says {:?}", totals, swept.totals));
        }
        for (totals, moved) in sums.values() {
            self.days.add(swept.date, totals, moved);
        }
        if swept.last > 0 {
            self.days.looked_at(swept.last);
        }
    }

    /// Loans that a sweep has to run: those of its range, and where one leads its borrower's, the others of that
    /// borrower, which are looked at together.
    fn to_run(&self, swept: &LoansSwept) -> Vec<u32> {
        let is_due = |number: u32| {
            let loan = &self.loans[number as usize - 1];
            loan.is_active && loan.through < swept.date
        };
        if swept.last == 0 {
            return Some(swept.first).filter(|number| is_due(*number)).into_iter().collect();
        }
        let mut run = Vec::with_capacity((swept.last - swept.first + 1) as usize);
        let mut has_others = false;
        for number in swept.first..=swept.last {
            let loan = &self.loans[number as usize - 1];
            if !loan.is_active {
                continue;
            }
            if is_due(number) {
                run.push(number);
            }
            let newest = self.newest[loan.customer as usize - 1];
            if newest == number && self.before[number as usize - 1] == 0 {
                continue;
            }
            let chain =
                std::iter::successors(Some(newest), |next| self.before.get((*next as usize).wrapping_sub(1)).copied());
            let all: Vec<u32> =
                chain.take_while(|next| *next != 0).filter(|next| self.loans[*next as usize - 1].is_active).collect();
            // Newest first: the last is the first. It may have been paid out after its slice, and without the others.
            let leader = match all.last() {
                Some(earlier) if *earlier < swept.first => all.iter().rev().copied().find(|other| is_due(*other)),
                leader => leader.copied(),
            };
            if leader == Some(number) {
                run.extend(all.into_iter().filter(|other| *other != number && is_due(*other)));
                has_others = true;
            }
        }
        if has_others {
            run.sort_unstable();
            run.dedup();
        }
        run
    }

    /// Runs a loan to the end of a day: its row, its product, what it moved.
    fn run(
        &mut self,
        number: u32,
        date: Day,
        sums: &mut BTreeMap<u32, (ProductTotals, Moved)>,
    ) -> (Option<SweptRow>, u32, Moved) {
        let place = number as usize - 1;
        let loan = &self.loans[place];
        let facts = self.version(loan);
        let mut state = loan.unpacked();
        let (positions, class, dpd) = (state.positions, state.class, state.dpd);
        advance(&mut state, &facts.terms, date);
        let moved = moved_between(&positions, &state.positions);
        let is_same = moved == [0; ROLE_COUNT] && (class, dpd) == (state.class, state.dpd);
        let row = (!is_same).then(|| SweptRow {
            loan: number,
            class: state.class,
            dpd: state.dpd,
            moved: std::array::from_fn(|role| state.positions.raw()[role] - positions.raw()[role]),
        });
        let (totals, sum) = sums.entry(loan.product).or_default();
        totals.product = loan.product;
        let class = place_of(state.class);
        totals.loans[class] += 1;
        totals.outstanding[class] += state.outstanding;
        totals.provision += regulation::provision(&state, facts.is_secured, date);
        add_moved(sum, &moved);
        let product = loan.product;
        self.loans[place].set(&state, &mut self.bytes);
        (row, product, moved)
    }
}

/// Place of a class in the totals of a product, as docs/format.md has it.
fn place_of(class: Class) -> usize {
    match class {
        Class::Standard => 0,
        Class::Sma0 => 1,
        Class::Sma1 => 2,
        Class::Sma2 => 3,
        Class::Npa => 4,
    }
}
