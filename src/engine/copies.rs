//! Copies of what memory holds, for `verify`, which compares them with the journal, and for exports.
//!
//! Promise: a copy says as of which seq it holds, and nobody waits for more than the copying of the
//! general ledger's totals, which is what a trial balance costs, too.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::gl::{GlBook, GlKey, GlTotals};
use crate::domain::ids::Seq;
use crate::domain::time::Day;
use crate::domain::transfer::Hold;

use super::Core;
use super::history::{Located, Reach, ReadError};
use super::holds::FateRow;

/// The general ledger at one moment.
#[derive(Clone, Debug, Default)]
pub struct GlCopy {
    /// Everything up to here is in it, and nothing after it.
    pub as_of: Seq,
    /// Posted totals by effective date and line; lines without postings are left out.
    pub totals: BTreeMap<(Day, GlKey), GlTotals>,
}

impl Core {
    /// An entry, which is durable; `None` for one that is not there. Waits for the disk.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entry(&self, seq: Seq) -> Result<Option<Located>, ReadError> {
        if seq == Seq::NONE { Ok(None) } else { self.history.entry(seq, Reach::Disk) }
    }

    /// The general ledger, all shards at one moment.
    #[must_use]
    pub fn copy_gl(&self) -> GlCopy {
        let (as_of, books): (Seq, Vec<GlBook>) = {
            let mut locked = self.shards.lock_all();
            // Under all locks everything that has a seq is applied.
            (self.journal.appended_seq(), locked.shards_mut().map(|shard| shard.gl.clone()).collect())
        };
        let chart = self.chart.read().clone();
        let mut totals: BTreeMap<(Day, GlKey), GlTotals> = BTreeMap::new();
        let days: BTreeSet<Day> = books.iter().flat_map(GlBook::days).collect();
        for day in days {
            for (gl, more) in books.iter().flat_map(|book| book.lines(day)) {
                totals.entry((day, chart.key(gl))).or_default().add(more);
            }
        }
        GlCopy { as_of, totals }
    }

    /// Lines of the general ledger, in order of their numbers.
    #[must_use]
    pub fn chart_keys(&self) -> Vec<GlKey> {
        self.chart.read().keys().to_vec()
    }

    /// Every open hold, ascending; stripe by stripe, while others open and end.
    #[must_use]
    pub fn open_holds(&self) -> Vec<(Seq, Hold)> {
        self.holds.all()
    }

    /// Fates of transfers that may not be in the store yet; those decided before the call and not
    /// in here are in the store already.
    #[must_use]
    pub fn recent_fates(&self) -> Vec<FateRow> {
        self.holds.fates()
    }
}
