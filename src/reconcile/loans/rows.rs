//! Loans, products and days as the store or memory has them, against the fold.
//!
//! A row may be newer than the moment that the rest was copied at, and it may not have seen the last days: where the
//! fold passes its newest event, the loan after the days that the row has seen must be what the row says, and in the
//! end those days must have been run.

use std::collections::BTreeMap;

use super::days::{FoldedDays, FoldedSums, Moved};
use super::{FoldedLoan, LoanFold, loan_name};
use crate::domain::ids::Seq;
use crate::domain::lending::loan::{advance, pack};
use crate::engine::loans::book::DayBook;
use crate::engine::loans::table::LoanRow;

/// What is said of loans.
#[derive(Debug, Default)]
pub struct SaidLoans {
    /// By number − 1.
    pub rows: Vec<FoldedLoan>,
    /// Products and days; none where the store is new.
    pub days: Option<SaidDays>,
}

/// What is said of products and days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidDays {
    /// As of this entry exactly.
    pub as_of: Seq,
    /// Days.
    pub days: FoldedDays,
    /// Entries of all versions of all products, ascending.
    pub products: Vec<u64>,
    /// Positions of all loans, by product: only memory has them.
    pub positions: Option<BTreeMap<u32, Moved>>,
}

impl SaidDays {
    /// From what the engine keeps; `has_positions` where it has those of all loans.
    #[must_use]
    pub fn of(as_of: Seq, day: &DayBook, products: &[Seq], has_positions: bool) -> SaidDays {
        let wide = |moved: [i64; _]| moved.map(i128::from);
        let sums = day.sums.iter().map(|(place, sums)| {
            let said = FoldedSums { moved: wide(sums.moved), totals: sums.totals };
            (*place, said)
        });
        let days = FoldedDays {
            by_hand: day.by_hand,
            closed: day.closed,
            ended: day.ended,
            ended_seq: day.ended_seq.0,
            ends: day.ends.iter().map(|(date, seq)| (*date, seq.0)).collect(),
            next_loan: day.next_loan,
            sums: sums.collect(),
            provisions: day.provisions.clone(),
        };
        let positions = || day.positions.iter().map(|(product, moved)| (*product, wide(*moved))).collect();
        let products = products.iter().map(|seq| seq.0).collect();
        SaidDays { as_of, days, products, positions: has_positions.then(positions) }
    }

    /// What is said otherwise than the fold, which stands at the same entry, has it.
    #[must_use]
    pub fn differences(&self, fold: &LoanFold) -> Vec<String> {
        let (said, days) = (&self.days, fold.days());
        let mut wrong = Vec::new();
        let mut compare = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                wrong.push(format!("{what}: the journal gives {ours}, not {theirs}"));
            }
        };
        let dates = |days: &FoldedDays| {
            let FoldedDays { by_hand, closed, ended, ended_seq, next_loan, .. } = days;
            format!("closed {closed}, ended {ended} by seq={ended_seq}, loan {next_loan} next, by hand {by_hand}")
        };
        compare("business days", dates(days), dates(said));
        compare("ends of days", format!("{:?}", days.ends), format!("{:?}", said.ends));
        compare("products", format!("{:?}", fold.product_seqs()), format!("{:?}", self.products));
        compare("sums of days", format!("{:?}", days.sums), format!("{:?}", said.sums));
        compare("provisions", format!("{:?}", days.provisions), format!("{:?}", said.provisions));
        if let Some(positions) = &self.positions {
            let of = |all: &BTreeMap<u32, Moved>| {
                let some: Vec<_> = all.iter().filter(|(_, moved)| moved.iter().any(|amount| *amount != 0)).collect();
                format!("{some:?}")
            };
            compare("positions of products", of(fold.positions()), of(positions));
        }
        wrong
    }
}

/// A row as the engine has it.
#[must_use]
pub fn said(row: LoanRow) -> FoldedLoan {
    FoldedLoan {
        last_seq: row.last_seq.0,
        applied_seq: row.applied_seq.0,
        applied_at: row.applied_at.0,
        customer: row.customer,
        product: row.product,
        product_version: row.product_version,
        events: row.events,
        through: row.through,
        is_active: row.is_active,
        is_plain: row.is_plain,
        state: row.state,
    }
}

impl SaidLoans {
    /// The fold has just passed an event of a loan: if it is the row's newest, what the row says otherwise.
    #[must_use]
    pub fn differences(&self, fold: &LoanFold, number: u32) -> Option<Vec<&'static str>> {
        let place = number as usize - 1;
        let (row, folded) = (self.rows.get(place)?, &fold.loans()[place]);
        if row.last_seq != folded.last_seq {
            return None;
        }
        let mut state = folded.unpacked();
        if folded.is_active && row.through > folded.through {
            advance(&mut state, fold.product_terms(folded), row.through);
        }
        let mut packed = Vec::with_capacity(row.state.len());
        pack(&state, &mut packed);
        let facts = [
            ("state", *packed == *row.state && row.through >= folded.through),
            ("customer", row.customer == folded.customer),
            ("product", (row.product, row.product_version) == (folded.product, folded.product_version)),
            ("events", row.events == folded.events),
            ("application", (row.applied_seq, row.applied_at) == (folded.applied_seq, folded.applied_at)),
            ("texts and terms of its own", row.is_plain == folded.is_plain),
            ("status", row.is_active == folded.is_active),
        ];
        Some(facts.into_iter().filter(|(_, is_same)| !is_same).map(|(what, _)| what).collect())
    }

    /// The journal has ended: rows that were not met, days that were not run, loans that are not there.
    #[must_use]
    pub fn rest(&self, fold: &LoanFold, met: &[bool], as_of: Seq) -> Vec<(Seq, String)> {
        let mut wrong = Vec::new();
        for (place, row) in self.rows.iter().enumerate() {
            let name = loan_name(place as u32 + 1);
            match fold.loans().get(place) {
                Some(folded) if met.get(place) == Some(&true) => {
                    if row.through > folded.through {
                        let what = format!("{name} was run through {}, by the journal {}", row.through, folded.through);
                        wrong.push((Seq(row.last_seq), what));
                    }
                }
                _ => {
                    let what = format!("{name} is as of seq={}, the journal has no such event of it", row.last_seq);
                    wrong.push((Seq(row.last_seq), what));
                }
            }
        }
        let more = fold.loans().iter().enumerate().skip(self.rows.len());
        for (place, loan) in more.filter(|(_, loan)| loan.applied_seq <= as_of.0) {
            wrong.push((Seq(loan.applied_seq), format!("{} is not there", loan_name(place as u32 + 1))));
        }
        wrong
    }
}
