//! The last line of defence: the books against themselves.
//!
//! `fold` recomputes every balance from the journal with code of its own, `loans` every loan and day; `verify` walks the whole
//! journal with it and compares what comes out with the store and with memory. `export` writes
//! what the journal holds for other programs.

mod expected;
pub mod export;
pub mod fold;
mod key_tables;
mod loans;
mod tally;
pub mod verify;
