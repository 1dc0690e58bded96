//! The store: checkpoint and look-up tables in a second redb file, **disposable**.
//!
//! Promise: deleting the store costs time, never data. It never reads the journal; whatever it holds
//! was handed to it by the engine, and the engine can hand it over again. A wrong byte in it is
//! noticed ([`StoreError::Corrupt`]) and never becomes an answer: values are sealed with a hash over
//! table, key and content, and the absence of a row is proved by its neighbours.
//!
//! All reads are `&self` and open a short read transaction, for which they may wait for the disk, except
//! those called `…_in_memory`. redb has one
//! writer at a time: [`Store::begin`], [`Store::write_key_table`], [`Store::merge_key_tables`] and
//! [`Store::drop_key_tables`] wait for each other.

mod audit;
mod chain;
mod checkpoint;
mod facts;
mod filter;
mod held;
mod history;
mod keys;
mod load;
mod merge;
mod open;
mod packed;
mod row;
mod tables;

#[cfg(test)]
mod tests;

pub use checkpoint::Checkpoint;
pub use facts::{KeyKind, Meta, NeedsDisk, OffDateKind, OffDateRow, PeriodEventRow, ResolutionKind};
pub use history::OffDateView;
pub use keys::ChunkCacheState;
pub use merge::MergePause;
pub use open::{Store, StoreError};

/// The store's file in a data folder.
pub const STORE_FILE: &str = "store.redb";

/// Accounts in one chunk of a checkpoint: chunk `n` holds the numbers `1,000 n ..= 1,000 n + 999`.
pub const ACCOUNTS_PER_CHUNK: u32 = tables::ACCOUNTS_PER_CHUNK;

/// Customers in a chunk of a checkpoint.
pub const CUSTOMERS_PER_CHUNK: usize = tables::CUSTOMERS_PER_CHUNK;
