//! What the history of a loan says, made readable: nothing here decides or changes anything.
//!
//! 1. [`names`]: words of the API.
//! 2. [`trail`]: the history turn by turn, due dates between the events included.
//! 3. [`schedule`]: rows that fell due and rows to come, by version of the plan.
//! 4. [`statement`]: the account of the borrower, line by line.
//! 5. [`explain`]: what each shown figure comes from.
//! 6. [`key_facts`]: the statement that the borrower accepts before the money is paid out.
//! 7. [`reports`]: many loans, or a day of them.
//! 8. [`movements`]: how all of them moved through a span of days.
//! 9. [`month_end`]: what a month came to.
//! 10. [`certificate`]: what was paid on a loan in a financial year.

pub mod certificate;
pub mod explain;
pub mod key_facts;
pub mod month_end;
pub mod movements;
pub mod names;
pub mod reports;
pub mod schedule;
pub mod statement;
pub mod trail;

#[cfg(test)]
mod tests;
