//! Transfers and batches as protobuf (`data/proto/munim.v1.proto`).
//!
//! Promise: a message means what its JSON twin means. `read` turns messages into what the JSON parser
//! turns texts into, and lets the same checks decide, so that limits, codes and pointers cannot drift
//! apart; `write` says everything that the JSON renderer says. Refusals stay problem documents in JSON.

pub mod messages;
mod read;
mod write;

pub use read::{parse_batch, parse_empty, parse_post, parse_reversal, parse_transfer};
pub use write::{transfer, transfer_page, transfers_batch};

/// The file that clients compile, as it is served and shipped.
pub const SCHEMA: &str = include_str!("../../../data/proto/munim.v1.proto");
