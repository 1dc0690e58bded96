//! Correctness under fire: the real binary, real sockets, and a process that dies at any moment.
//!
//! Promise: whatever a client was told before the process died is told again, byte for byte, after it;
//! whatever it was not told is wholly there or not at all, and the same key settles which.
//!
//! Shared by the kill -9 tests (`tests/it/kill9.rs`) and the power cuts (`tests/power/`): a [`life::Life`]
//! is one data folder through many outages, and an [`life::Outage`] is a way to die.
#![allow(dead_code, reason = "two test binaries share this folder, and neither uses all of it")]

pub mod books;
pub mod history;
pub mod life;
pub mod load;
pub mod order;
pub mod server;
pub mod wire;
