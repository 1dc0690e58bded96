//! Writing a checkpoint: one transaction, everything or nothing.

use std::marker::PhantomData;

use super::{Meta, OffDateRow, ResolutionKind, Store, StoreError};
use crate::domain::account::Account;
use crate::domain::apply::Anchor;
use crate::domain::gl::GlTotals;
use crate::domain::ids::Seq;
use crate::domain::time::Day;
use crate::domain::transfer::Hold;

/// An open checkpoint. Dropping it without [`Checkpoint::commit`] leaves the store as it was.
#[derive(Debug)]
pub struct Checkpoint<'s> {
    store: PhantomData<&'s Store>,
}

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Store {
    /// Begins a checkpoint; waits while another writer of the store is at work.
    pub fn begin(&self) -> Result<Checkpoint<'_>, StoreError> {
        todo!()
    }
}

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Checkpoint<'_> {
    /// Replaces a chunk of accounts: all rows of the chunk, 1 ..= 1,000; only the last chunk may be short.
    pub fn accounts(&mut self, chunk: u32, rows: &[Account]) -> Result<(), StoreError> {
        todo!()
    }
    /// Adds opened holds, then removes resolved ones; a resolved hold that was never stored is fine.
    pub fn holds(
        &mut self,
        opened: impl Iterator<Item = (Seq, Hold)>,
        resolved: impl Iterator<Item = Seq>,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Adds (original, by, kind). Any order; adding a row again changes nothing.
    pub fn resolutions(&mut self, rows: &[(Seq, Seq, ResolutionKind)]) -> Result<(), StoreError> {
        todo!()
    }
    /// Adds anchors. Any order; an anchor of the same account and day is replaced.
    pub fn anchors(&mut self, rows: &[Anchor]) -> Result<(), StoreError> {
        todo!()
    }
    /// Adds off-date rows. Any order; adding a row again changes nothing, sums included.
    pub fn offdates(&mut self, rows: &[OffDateRow]) -> Result<(), StoreError> {
        todo!()
    }
    /// Replaces the totals of a day, by line of the general ledger.
    pub fn gl_day(&mut self, day: Day, lines: &[GlTotals]) -> Result<(), StoreError> {
        todo!()
    }
    /// Says where the checkpoint stands.
    pub fn meta(&mut self, meta: &Meta) -> Result<(), StoreError> {
        todo!()
    }
    /// Makes the checkpoint durable (two-phase, quick-repair).
    pub fn commit(self) -> Result<(), StoreError> {
        todo!()
    }
}
