//! Verify: every byte that counts, from the first entry to the last.
//!
//! Promise: either all of it is as it was written and in its place, or the first seq and the file
//! that are not. Nothing is changed: give it a disk behind an overlay.
//!
//! 1. Open, which checks the manifest, the segments' footers, and the unsealed segments.
//! 2. Compare the hash of every sealed file with the manifest (unless left out: the chain alone proves the entries).
//! 3. Walk all blocks by the chain, decode every entry, and hand it to the caller's own fold.
//! 4. Compare the head of each sealed segment's chain with its footer on the way.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::reader::Item;
use super::segment::segment_name;
use super::{JournalError, JournalOptions, MANIFEST_NAME, open};
use crate::disk::Disk;
use crate::domain::ids::Seq;

/// What a walk has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainReport {
    /// Segments, the active one included.
    pub segments: usize,
    /// Records.
    pub records: u64,
    /// Entries.
    pub entries: u64,
    /// Last seq.
    pub last_seq: Seq,
    /// Hash of the last block: can be anchored outside.
    pub hash: [u8; 32],
}

/// Whether whole files are hashed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileHashes {
    /// Compare them with the manifest: finds changed bytes that no entry depends on, too.
    Check,
    /// Leave them out: half the reading.
    Skip,
}

/// Walks a whole journal and hands every record to `visit`.
///
/// # Errors
/// The first damage found, with its file and seq.
pub fn chain(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    file_hashes: FileHashes,
    visit: &mut dyn FnMut(Item<'_>),
) -> Result<ChainReport, JournalError> {
    // Opening a folder without a journal would make one.
    let names = disk.list().map_err(|source| JournalError::io("list the journal's folder", source))?;
    if !names.iter().any(|name| name == MANIFEST_NAME) {
        return Err(JournalError::Missing { file: MANIFEST_NAME.into(), seq: Seq(1) });
    }
    let opened = open(Arc::clone(&disk), options)?;
    let journal = &opened.journal;
    let sealed = journal.catalog.read().unwrap_or_else(std::sync::PoisonError::into_inner).sealed.clone();
    let mut report = ChainReport::default();
    journal.check_heads(&sealed)?;
    let _ = journal.scan(Seq(1), &mut |item| {
        match item {
            Item::Record { .. } => report.records += 1,
            Item::Entry { .. } => report.entries += 1,
            Item::End { last_seq, .. } => report.last_seq = last_seq,
        }
        visit(item);
        ControlFlow::Continue(())
    })?;
    if file_hashes == FileHashes::Check {
        journal.check_sealed_files()?;
    }
    (report.last_seq, report.hash) = journal.chain_head();
    report.segments = journal.segments().len();
    Ok(report)
}

impl super::Journal {
    /// Compares every sealed file with the hash that the manifest has of it: finds changed bytes
    /// that no entry depends on, too.
    ///
    /// # Errors
    /// The first file that differs.
    pub fn check_sealed_files(&self) -> Result<(), JournalError> {
        let sealed = self.catalog.read().unwrap_or_else(std::sync::PoisonError::into_inner).sealed.clone();
        for listed in &sealed {
            let file = segment_name(listed.first_seq);
            let hash = self.disk.hash(&file).map_err(|source| JournalError::of_sealed(listed.first_seq, source))?;
            if hash != listed.file_hash {
                let what = "file differs from the one that was sealed, though its entries are whole".into();
                return Err(JournalError::Damaged { file, seq: listed.first_seq, what });
            }
        }
        Ok(())
    }

    /// The first block of each sealed segment must continue the one before.
    fn check_heads(&self, sealed: &[super::SealedSegment]) -> Result<(), JournalError> {
        let mut before = open::origin(self.identity).hash;
        for listed in sealed {
            let block = self.load(listed.first_seq)?;
            if block.prev_hash() != before {
                let what = "segment does not continue the chain".into();
                let file = segment_name(listed.first_seq);
                return Err(JournalError::Damaged { file, seq: listed.first_seq, what });
            }
            before = listed.chain_hash;
        }
        Ok(())
    }
}
