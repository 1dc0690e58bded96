//! Reading a checkpoint back, whole tables at a time: recovery and `verify`.

use super::{Meta, OffDateRow, ResolutionKind, Store, StoreError};
use crate::domain::account::Account;
use crate::domain::apply::Anchor;
use crate::domain::gl::GlTotals;
use crate::domain::ids::Seq;
use crate::domain::time::Day;
use crate::domain::transfer::Hold;

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Store {
    /// Where the newest checkpoint stands; `None` in a new store.
    pub fn meta(&self) -> Result<Option<Meta>, StoreError> {
        todo!()
    }
    /// Gives every chunk of accounts in order; together exactly `meta.accounts` rows.
    pub fn load_accounts(&self, give: &mut dyn FnMut(u32, Vec<Account>)) -> Result<(), StoreError> {
        todo!()
    }
    /// Gives every open hold, newest chunk first, ascending inside a chunk.
    pub fn load_holds(&self, give: &mut dyn FnMut(Seq, Hold)) -> Result<(), StoreError> {
        todo!()
    }
    /// Gives every day's totals of the general ledger, newest day first.
    pub fn load_gl_days(&self, give: &mut dyn FnMut(Day, Vec<GlTotals>)) -> Result<(), StoreError> {
        todo!()
    }
    /// Gives every (original, by, kind).
    pub fn load_resolutions(&self, give: &mut dyn FnMut(Seq, Seq, ResolutionKind)) -> Result<(), StoreError> {
        todo!()
    }
    /// Gives every anchor, newest day first.
    pub fn load_anchors(&self, give: &mut dyn FnMut(Anchor)) -> Result<(), StoreError> {
        todo!()
    }
    /// Gives every off-date row.
    pub fn load_offdates(&self, give: &mut dyn FnMut(OffDateRow)) -> Result<(), StoreError> {
        todo!()
    }
}
