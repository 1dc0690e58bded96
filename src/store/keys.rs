//! Key tables of sealed segments.

use super::{KeyKind, Store, StoreError};
use crate::domain::ids::{Moment, Seq};

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Store {
    /// Writes (or replaces) the table of a sealed segment in a transaction of its own. `rows` ascend by (hash, seq).
    pub fn write_key_table(
        &self,
        segment_first: Seq,
        kind: KeyKind,
        rows: &[([u8; 16], Seq)],
        newest_moment: Moment,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// The newest seq stored for a hash; newest segment first.
    pub fn find_key(&self, kind: KeyKind, hash: &[u8; 16]) -> Result<Option<Seq>, StoreError> {
        todo!()
    }
    /// Drops idempotency tables whose newest key is older; how many.
    pub fn drop_key_tables(&self, older_than: Moment) -> Result<usize, StoreError> {
        todo!()
    }
    /// First seqs of the segments that have a table of this kind, ascending.
    #[must_use]
    pub fn key_segments(&self, kind: KeyKind) -> Vec<Seq> {
        todo!()
    }
    /// Memory held by the filters, bytes.
    #[must_use]
    pub fn filter_bytes(&self) -> usize {
        todo!()
    }
}
