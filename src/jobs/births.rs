//! Jobs that the books bear, for the queue to take in.

use std::fmt;
use std::sync::Arc;

use crate::domain::entry::Entry;
use crate::domain::ids::Seq;
use crate::engine::Engine;
use crate::engine::feed::{EventKinds, Topic};
use crate::engine::history::Reach;

use super::queue::{Birth, Births, Order};

/// Entries that are looked at for one page.
const LOOK_ENTRIES: u64 = 100_000;

/// The journal of an engine.
pub struct JournalBirths {
    engine: Arc<Engine>,
}

impl fmt::Debug for JournalBirths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JournalBirths")
    }
}

impl JournalBirths {
    /// Of these books.
    #[must_use]
    pub fn of(engine: Arc<Engine>) -> JournalBirths {
        JournalBirths { engine }
    }
}

impl Births for JournalBirths {
    fn after(&self, seq: Seq, max: usize) -> Result<(Vec<Birth>, Seq), String> {
        let kinds = EventKinds::named("job.born").ok_or("jobs are not born under that name any more")?;
        let page = self.engine.core().feed(seq, &Topic::of(kinds), max, LOOK_ENTRIES, Reach::Disk);
        let page = page.map_err(|error| format!("the journal cannot be read: {error:?}"))?;
        let births = page.events.into_iter().filter_map(|located| {
            let Entry::JobBorn(born) = located.entry else { return None };
            let order =
                Order { kind: born.kind.into(), args: born.args.into(), priority: born.priority, run_at: born.run_at };
            Some(Birth { seq: located.seq, index: 0, order, created_at: located.moment })
        });
        Ok((births.collect(), page.through))
    }
}
