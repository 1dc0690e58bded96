//! The hot set: which blocks and texts were cached, kept over a restart, so that the first requests
//! of a morning do not all wait for the disk.
//!
//! Promise: the file is a hint. It is small and bounded, may be missing, old or damaged, and decides
//! only what is read ahead; what is cached comes from the journal and is verified as ever.
//!
//! 1. Every few minutes and at the end, the places of what is cached are written down, newest first.
//! 2. After the start, in the background, what was written down is read, a few blocks at a time, until
//!    the cache is nearly full or the engine closes.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::{HOT_BLOCKS_MAX, HOT_TEXTS_MAX};
use crate::domain::ids::Seq;

use super::Core;

/// First line of the file.
const FORMAT: &str = "munim-hot 1";

/// Longest file read: all that may be in one, with room.
const BYTES_MAX: u64 = 1024 * 1024;

/// Blocks read between two rests.
const BLOCKS_AT_ONCE: usize = 8;

/// How long it rests: requests that wait for the same disk go first.
const REST: Duration = Duration::from_millis(2);

/// What was hot.
#[derive(Debug, Default, PartialEq, Eq)]
struct HotSet {
    /// First seqs of blocks.
    blocks: Vec<Seq>,
    /// Seqs of entries with account texts.
    texts: Vec<Seq>,
}

impl HotSet {
    fn to_text(&self) -> String {
        let mut out = format!("{FORMAT}\n");
        for (kind, seqs) in [('b', &self.blocks), ('t', &self.texts)] {
            for seq in seqs {
                let _ = writeln!(out, "{kind} {}", seq.0);
            }
        }
        out
    }

    /// Reads as much as makes sense.
    fn parse(text: &str) -> HotSet {
        let mut set = HotSet::default();
        let mut lines = text.lines();
        if lines.next() != Some(FORMAT) {
            return set;
        }
        for line in lines {
            let Some((kind, Ok(seq))) = line.split_once(' ').map(|(kind, seq)| (kind, seq.parse().map(Seq))) else {
                continue;
            };
            match kind {
                "b" if set.blocks.len() < HOT_BLOCKS_MAX => set.blocks.push(seq),
                "t" if set.texts.len() < HOT_TEXTS_MAX => set.texts.push(seq),
                _ => {}
            }
        }
        set
    }
}

impl Core {
    /// Writes down what is cached. Without a place to write, and while the folder takes nothing,
    /// nothing happens: this is a hint.
    pub fn save_hot_set(&self) {
        let Some(path) = &self.hot_set else { return };
        let newest = |mut seqs: Vec<u64>, bound: usize| -> Vec<Seq> {
            seqs.sort_unstable_by(|a, b| b.cmp(a));
            seqs.truncate(bound);
            seqs.into_iter().map(Seq).collect()
        };
        let (blocks, texts) = self.history.cached();
        let set = HotSet { blocks: newest(blocks, HOT_BLOCKS_MAX), texts: newest(texts, HOT_TEXTS_MAX) };
        if let Err(error) = replace(path, &set.to_text()) {
            tracing::debug!(%error, "could not write down what is hot");
        }
    }

    /// Reads ahead what was hot before the last stop; how many blocks and texts. Takes a while: call
    /// it on a thread of its own.
    pub fn warm(&self) -> u64 {
        let Some(text) = self.hot_set.as_deref().and_then(read) else { return 0 };
        let set = HotSet::parse(&text);
        let mut count = 0;
        for blocks in set.blocks.chunks(BLOCKS_AT_ONCE) {
            if self.is_closing.load(Ordering::Acquire) || self.history.is_nearly_full() {
                break;
            }
            count += blocks.iter().filter(|first| self.history.warm_block(**first)).count() as u64;
            std::thread::sleep(REST);
        }
        for texts in set.texts.chunks(BLOCKS_AT_ONCE * 8) {
            if self.is_closing.load(Ordering::Acquire) {
                break;
            }
            count += texts.iter().filter(|seq| self.history.warm_text(**seq)).count() as u64;
        }
        self.warmed.fetch_add(count, Ordering::Relaxed);
        tracing::info!(blocks = set.blocks.len(), texts = set.texts.len(), warmed = count, "the caches are warm");
        count
    }

    /// Blocks and texts that [`Core::warm`] has read.
    #[must_use]
    pub fn warmed(&self) -> u64 {
        self.warmed.load(Ordering::Relaxed)
    }
}

fn read(path: &Path) -> Option<String> {
    let length = fs::metadata(path).ok()?.len();
    if length > BYTES_MAX { None } else { fs::read_to_string(path).ok() }
}

/// Whole or not at all; not synced, since it may be lost.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_set_is_what_it_was_and_damage_is_skipped() {
        let set = HotSet { blocks: vec![Seq(9), Seq(1)], texts: vec![Seq(4)] };
        assert_eq!(HotSet::parse(&set.to_text()), set);
        let damaged = format!("{FORMAT}\nb 9\nb x\nq 3\n\nt 4\nb 1\n");
        assert_eq!(HotSet::parse(&damaged), set);
        assert_eq!(HotSet::parse("munim-hot 2\nb 9\n"), HotSet::default());
    }
}
