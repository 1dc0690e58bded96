//! A loan's state, pure: a fold of its events in order of value date.
//!
//! Promise: the same terms and events give the same state to the paisa, whenever they were recorded and however
//! often the days between them were run. A receipt that was reversed was never there. Every step moves an amount
//! between two [`Role`]s, so the positions of a loan always sum to zero; what the books have to post is the
//! difference between two states ([`movements`]).
//!
//! 1. [`contract`]: the terms of the calculation, and what else a product says.
//! 2. [`events`]: what happened.
//! 3. [`roles`]: the positions, and the movements between two states of them.
//! 4. [`state`]: what a loan is.
//! 5. [`periods`]: from one due date to the next, and which part of a year lies in it.
//! 6. [`instalment`]: the base instalment, solved and solved again.
//! 7. [`accrual`]: interest of days, in closed form.
//! 8. [`penal`]: the charge on what is overdue.
//! 9. [`allocation`]: what a receipt pays.
//! 10. [`fold`]: days and events, one after the other.
//! 11. [`quotes`]: what would end the loan.
//! 12. [`decide`]: what may happen, and what may not.
//!
//! # Known oddities
//! Found by the properties with other seeds, to be mended before the engine uses this:
//! - A moratorium whose interest joins the principal, then a default: what was capitalised before the loan became
//!   non-performing is income day by day and suspense in one step (2 paise on 100.00 at 0.06 %).
//! - A broken first period of several whole periods under Act/365 with parts of 30/360, prepaid on its last day:
//!   interest may differ from the schedule's by a paisa, since a part may be dearer than the whole.

pub mod accrual;
pub mod allocation;
pub mod contract;
pub mod decide;
pub mod events;
pub mod fold;
pub mod instalment;
pub mod penal;
pub mod periods;
pub mod quotes;
pub mod roles;
pub mod state;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use fold::{advance, apply, fold};
pub use roles::{Role, movements};
pub use state::LoanState;
