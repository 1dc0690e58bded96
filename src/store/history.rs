//! Look-ups of the past: resolutions, anchors, off-date rows.

use std::ops::RangeInclusive;

use super::{OffDateKind, OffDateRow, ResolutionKind, Store, StoreError};
use crate::domain::apply::Anchor;
use crate::domain::gl::GlTotals;
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::time::Day;

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Store {
    /// What later entries did to the transfer at `original`, ascending by seq: none, one, or two (posted, then reversed).
    pub fn resolution(&self, original: Seq) -> Result<Vec<(Seq, ResolutionKind)>, StoreError> {
        todo!()
    }
    /// The totals of an account at the close of a day on which it moved.
    pub fn anchor(&self, account: AccountNo, day: Day) -> Result<Option<Anchor>, StoreError> {
        todo!()
    }
    /// Σ of an account's off-date rows up to and including `through`, by effective or by booking date.
    pub fn offdate_net(&self, account: AccountNo, kind: OffDateKind, through: Day) -> Result<GlTotals, StoreError> {
        todo!()
    }
    /// An account's off-date rows with effective dates in `days`, newest (effective, seq) first, only
    /// those below `before` when given, at most `limit`.
    pub fn offdate_entries(
        &self,
        account: AccountNo,
        days: RangeInclusive<Day>,
        before: Option<(Day, Seq)>,
        limit: usize,
    ) -> Result<Vec<OffDateRow>, StoreError> {
        todo!()
    }
    /// Off-date entries effective on `day`, newest first, only those below `before` when given, at most `limit`.
    pub fn offdate_on(&self, day: Day, before: Option<Seq>, limit: usize) -> Result<Vec<Seq>, StoreError> {
        todo!()
    }
}
