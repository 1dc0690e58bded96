//! Lending, pure: what a loan costs, when it falls due, what a payment does to it.
//!
//! Amounts here are decimals of whole currency units with 28 significant digits; no floats. What differs by
//! less than 10⁻¹² is equal ([`rounding::round_to`]). Money that is posted is rounded by a named rule first.
//!
//! 1. [`day_count`], [`due_dates`]: how long is a period, and where does it end.
//! 2. [`terms`]: what a loan is asked to be.
//! 3. [`schedule`]: from terms to rows.
//! 4. [`yields`]: what it costs in a year (APR, XIRR).
//! 5. [`calculation`]: all of it, as one answer.
//! 6. [`customer`]: who borrows.
//! 7. [`loan`]: what became of it: a fold of its events.

pub mod calculation;
pub mod customer;
pub mod day_count;
pub mod due_dates;
pub mod loan;
pub mod rounding;
pub mod schedule;
pub mod terms;
pub mod yields;
