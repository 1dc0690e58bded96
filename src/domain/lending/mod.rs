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
//! 7. [`product`]: what is lent, and where it stands in the books.
//! 8. [`regulation`]: what the regulator says, by date.
//! 9. [`loan`]: what became of it: a fold of its events.
//! 12. [`financial_year`]: from April to March.
//! 11. [`civil`]: dates in whole numbers.
//! 10. [`digits`]: decimals, for those who write them as bytes.

pub mod calculation;
pub mod civil;
pub mod customer;
pub mod day_count;
pub mod digits;
pub mod due_dates;
pub mod financial_year;
pub mod loan;
pub mod product;
pub mod regulation;
pub mod rounding;
pub mod schedule;
pub mod terms;
pub mod yields;
