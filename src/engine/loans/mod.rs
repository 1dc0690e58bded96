//! Loans: what is in memory, how commands about them are planned and committed, how days end.
//!
//! 1. [`table`] and [`book`]: loans, products and days in memory.
//! 2. [`file`]: everything that ever happened to a loan.
//! 3. [`amounts`]: what requests and events move.
//! 4. [`plan`]: what a command comes to, worked out before anything is locked.
//! 5. [`commit`]: the plan, if nothing has changed meanwhile.
//! 6. [`products`]: loan products and their accounts.
//! 7. [`day_end`]: business days open and close, and the sweep that ends them.
//! 8. [`year_end`]: income and expenses of a year that is over.
//! 9. [`query`]: what may be asked.
//! 10. [`past`]: loans at the end of days that are over.
//! 11. `rows` and `fresh`: as the store has it, and what it does not have yet.

pub mod amounts;
pub mod book;
pub mod commit;
pub mod day_end;
pub mod file;
mod fresh;
mod lines;
pub mod past;
pub mod plan;
pub mod products;
pub mod query;
mod rows;
pub mod table;
pub mod year_end;

pub(super) use rows::{decode_lending, decode_row, encode_row};
