//! The scrub: re-reads sealed segments slowly, so that rot is found while a backup still exists.
//!
//! A few blocks in each step of the keeper: about 0.6 MB/s, a gigabyte in half an hour. The first
//! damage is shown by `/readyz` as a warning and in the log as an error; nothing is repaired.

use crate::domain::ids::Seq;

use super::Core;

/// Blocks read in one step: 64 KiB.
const BLOCKS_PER_STEP: usize = 4;

/// Where the scrub stands.
#[derive(Clone, Debug, Default)]
pub struct Scrub {
    next: u64,
    /// Whole passes over all sealed segments.
    pub passes: u64,
    /// Blocks read since the start.
    pub blocks: u64,
    /// First damage found: its seq and what is wrong.
    pub damage: Option<(Seq, String)>,
}

impl Core {
    /// Reads and checks the next few blocks of sealed segments, past every cache of ours.
    pub fn scrub_step(&self) {
        for _ in 0..BLOCKS_PER_STEP {
            self.scrub_block();
        }
    }

    fn scrub_block(&self) {
        let sealed_end = self.journal.segments().iter().filter(|segment| segment.is_sealed).map(|s| s.last_seq).max();
        let Some(sealed_end) = sealed_end else { return };
        let mut scrub = self.scrub.lock();
        let next = Seq(scrub.next.max(1));
        if next > sealed_end {
            scrub.passes += 1;
            scrub.next = 1;
            return;
        }
        let found = self.journal.locate(next).and_then(|first| first.map(|first| self.journal.load(first)).transpose());
        scrub.blocks += 1;
        scrub.next = match found {
            Ok(Some(block)) => block.last_seq().0 + 1,
            Ok(None) => sealed_end.0 + 1,
            Err(error) => {
                let seq = error.first_bad_seq().unwrap_or(next);
                if scrub.damage.is_none() {
                    tracing::error!(seq = seq.0, %error, "the scrub found damage in a sealed segment; restore it from a backup");
                    scrub.damage = Some((seq, error.to_string()));
                }
                // On to the next segment: this one needs a person.
                let after =
                    |segment: &&crate::journal::SegmentInfo| segment.first_seq <= next && next <= segment.last_seq;
                self.journal.segments().iter().find(after).map_or(sealed_end.0 + 1, |segment| segment.last_seq.0 + 1)
            }
        };
    }

    /// Where the scrub stands.
    #[must_use]
    pub fn scrub_state(&self) -> Scrub {
        self.scrub.lock().clone()
    }
}
