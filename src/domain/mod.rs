//! The rules of the books, **pure**.
//!
//! Promise: no IO, clock, randomness, locks, async, floats or hash order. `decide` may refuse and
//! changes nothing; `apply` changes and cannot refuse. Time and ids arrive as arguments, so replay
//! after a crash lands on the same books.

pub mod access;
pub mod account;
pub mod apply;
pub mod entry;
pub mod gl;
pub mod ids;
pub mod lending;
pub mod money;
pub mod objects;
pub mod reject;
pub mod time;
pub mod transfer;
