//! The demo's lending branch: borrowers over months of business days, through the public API.
//!
//! Promise: what is asked of the server depends on the seed and on its own earlier answers, and on nothing else: no
//! clock, no reads, no order between threads. Each request has a key of its own made from the borrower's number and
//! the number of the request. So a demo that was cut off, or is run twice, asks the same again, is answered the same,
//! and changes nothing.
//!
//! 1. [`products`]: what the branch lends, and its accounts.
//! 2. [`temper`]: how a borrower pays.
//! 3. [`borrower`]: one borrower, day by day: applies, is approved, pays, or does not.
//! 4. [`desk`]: the counter at which requests are made: a client for each role.
//! 5. [`days`]: all borrowers at once, and the ends of their days.

pub mod borrower;
pub mod days;
pub mod desk;
pub mod products;
pub mod temper;

use crate::domain::time::Day;

/// The day after the last one: the month of the transfers is over then.
pub const END: jiff::civil::Date = jiff::civil::date(2026, 11, 1);

/// How large the branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Customers who borrow.
    pub borrowers: u32,
    /// Months before [`END`] in which the branch was open.
    pub months: u32,
}

impl Size {
    /// The first business day of the branch.
    #[must_use]
    pub fn first_day(self) -> Day {
        let months = i32::try_from(self.months).expect("the command line takes a few years at most");
        let first = END.checked_sub(jiff::Span::new().months(months)).expect("a few years before 2026 are dates");
        Day::from_date(first).expect("after 1970")
    }

    /// The business day on which the books stand when the branch is built.
    #[must_use]
    pub fn end(self) -> Day {
        Day::from_date(END).expect("after 1970")
    }
}

/// Whether the branch is closed on a day. 1 January 1970 was a Thursday.
#[must_use]
pub fn is_sunday(day: Day) -> bool {
    day.0 % 7 == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eighteen_months_end_with_the_month_of_the_transfers() {
        let size = Size { borrowers: 1, months: 18 };
        assert_eq!((size.first_day().to_string().as_str(), size.end().0 - size.first_day().0), ("2025-05-01", 549));
        assert!(is_sunday(size.end()) && !is_sunday(size.first_day()), "1 November 2026 is a Sunday");
    }
}
