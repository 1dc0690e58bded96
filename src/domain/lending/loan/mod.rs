//! A loan's state, pure: a fold of its events in order of value date.
//!
//! Promise: the same terms and events give the same state to the paisa, whenever they were recorded and however
//! often the days between them were run. A receipt that was reversed was never there. Every step moves an amount
//! between two [`Role`]s, so the positions of a loan always sum to zero; what the books have to post is the
//! difference between two states ([`movements`]).
//!
//! 1. [`contract`]: the terms of the calculation, and what else a product says.
//! 2. [`events`]: what happened.
//! 3. [`facts`]: how the journal remembers it.
//! 4. [`roles`]: the positions, and the movements between two states of them.
//! 5. [`state`]: what a loan is.
//! 6. [`periods`]: from one due date to the next, and which part of a year lies in it.
//! 7. [`instalment`]: the base instalment, solved and solved again.
//! 8. `whole`: interest and charges in whole numbers.
//! 9. [`accrual`]: interest of days, in closed form.
//! 10. [`penal`]: the charge on what is overdue.
//! 11. [`allocation`]: what a receipt pays.
//! 12. [`fold`]: days and events, one after the other.
//! 13. [`quotes`]: what would end the loan.
//! 14. [`decide`]: what may happen, and what may not.
//! 15. [`movement`]: how it moved through a span of days.
//! 16. [`packed`]: a state as bytes.
//!
//! # Known oddities
//! - Where the term follows from the instalment, and a change on a due date keeps that term, the schedule counts the
//!   rows that are left from before the instalment of that day, a loan from after it. Where almost nothing remains for
//!   the last row (less than by how much that period's days differ from its share of a year), one has a row more. Shown
//!   by 20,000 lives of seed 2.

pub mod accrual;
pub mod allocation;
pub mod contract;
pub mod decide;
pub mod events;
pub mod facts;
pub mod fold;
pub mod instalment;
pub mod movement;
pub mod packed;
pub mod penal;
pub mod periods;
pub mod quotes;
pub mod roles;
pub mod state;
mod whole;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use fold::{advance, apply, fold};
pub use packed::{pack, unpack};
pub use roles::{Role, movements};
pub use state::LoanState;
