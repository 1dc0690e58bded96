//! Opening: from a folder of files to a journal that goes on where it ended.
//!
//! Promise: whatever was acknowledged is there, or the journal does not open and says which seq
//! and which file is wrong. Nothing is repaired away: redb finishes or undoes its last commit,
//! everything else is left as found.
//!
//! 1. Read the manifest; a folder without one is new (or its very first start was cut short).
//! 2. Check that every listed segment is there, has its length, and says of itself what is listed.
//! 3. Open the files after them: those before the last are retired and still to be sealed, the last is active.
//! 4. Check their blocks and the chain from the last listed hash on.
//! 5. Compare with what the store knows to have been durable.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, OnceLock, RwLock};

use super::ahead::{BLOCKS_BEFORE, ahead};
use super::appender::{Appender, Position};
use super::block::Identity;
use super::maintenance::{Maintenance, Upkeep};
use super::manifest::{Manifest, SealedSegment};
use super::poison::Poison;
use super::reader::Chain;
use super::segment::{LiveSegment, NEXT_NAME, NextSegment, OpenSealed, SealedFiles};
use super::segment::{parse_segment_name, segment_name};
use super::writer::Writer;
use super::{Catalog, Journal, JournalError, JournalOptions};
use crate::disk::Disk;
use crate::domain::ids::{Moment, Seq};
use crate::domain::time::Day;

/// A journal and its two workers. The caller gives each a thread, or drives them by hand.
#[derive(Debug)]
pub struct Opened {
    /// For everyone.
    pub journal: Arc<Journal>,
    /// For the writer's thread.
    pub writer: Writer,
    /// For the maintenance thread.
    pub maintenance: Maintenance,
}

/// Opens the journal of a folder, or makes it.
///
/// # Errors
/// Damage, missing or foreign files, a journal that lacks what was durable, or the disk.
pub fn open(disk: Arc<dyn Disk>, options: JournalOptions) -> Result<Opened, JournalError> {
    let mut names = disk.list().map_err(|source| JournalError::io("list the journal's folder", source))?;
    if names.iter().any(|name| name == NEXT_NAME) {
        // It was made ahead and never used.
        disk.remove(NEXT_NAME).map_err(|source| JournalError::io("remove an unused segment", source))?;
        names.retain(|name| name != NEXT_NAME);
    }
    let files: Vec<Seq> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    let manifest = Manifest::read(&*disk).map_err(|source| JournalError::io("read the manifest", source))?;
    let (manifest, files) = match manifest {
        Some(manifest) => (manifest, files),
        None => begin(&*disk, &options, &files)?,
    };
    let identity = Identity { journal_id: manifest.journal_id, epoch: options.epoch };
    let sealed_end = check_sealed(&*disk, &manifest.sealed, &files, identity)?;
    let unsealed: Vec<Seq> = files.into_iter().filter(|first| *first > sealed_end.last_seq).collect();
    let (live, ends) = open_live(&*disk, &unsealed, &sealed_end, identity)?;
    let journal = assemble(disk, options, identity, Catalog { sealed: manifest.sealed, live }, &ends)?;
    journal.check_expected()?;
    let active = journal.active().ok_or(JournalError::Closed)?;
    if let Err(error) = active.ahead.reserve(journal.options.reserve_bytes()) {
        if error.kind() != std::io::ErrorKind::StorageFull {
            return Err(JournalError::io("reserve space for the journal", error));
        }
        journal.upkeep.set_unreserved();
        journal.poison.set_full(true);
        // Without a reservation nothing may be appended: the segment counts as ended.
        journal.active_stored.store(u64::MAX / 2, std::sync::atomic::Ordering::Release);
    }
    let position = *ends.last().unwrap_or(&sealed_end);
    let writer = Writer::new(Arc::clone(&journal), active, position);
    Ok(Opened { maintenance: Maintenance::new(Arc::clone(&journal)), journal, writer })
}

/// Position before the first entry of a journal: its number is the root of the chain.
pub(super) fn origin(identity: Identity) -> Position {
    let mut root = *b"munim journal 1 \0\0\0\0\0\0\0\0";
    root[16..].copy_from_slice(&identity.journal_id.to_le_bytes());
    Position { last_seq: Seq::NONE, hash: blake3::hash(&root).into(), last_moment: Moment(0), last_date: Day(0) }
}

/// The first start: the first segment, then the manifest that says there is a journal.
fn begin(disk: &dyn Disk, options: &JournalOptions, files: &[Seq]) -> Result<(Manifest, Vec<Seq>), JournalError> {
    match files {
        [] => {
            let first = NextSegment::create(disk, options.reserve_bytes())?.activate(disk, Seq(1))?;
            first.close();
            if let Err(error) = first.check_closed() {
                // What its sync should have written may be lost, and a later sync would not say so.
                let _ = disk.remove(&segment_name(Seq(1)));
                return Err(error);
            }
        }
        // The first start was cut between the two: nothing can have been written yet.
        [Seq(1)] if LiveSegment::open(disk, Seq(1))?.each_raw(0, 1, &mut |_, _| ControlFlow::Break(()))?.is_none() => {}
        [first, ..] => {
            let file = super::MANIFEST_NAME.into();
            return Err(JournalError::Missing { file, seq: *first });
        }
    }
    let manifest = Manifest { journal_id: options.journal_id, sealed: Vec::new() };
    manifest.write(disk).map_err(|source| JournalError::io("write the manifest", source))?;
    Ok((manifest, vec![Seq(1)]))
}

/// Checks the listed segments against their files and says where the last one ends.
fn check_sealed(
    disk: &dyn Disk,
    sealed: &[SealedSegment],
    files: &[Seq],
    identity: Identity,
) -> Result<Position, JournalError> {
    let mut end = origin(identity);
    for listed in sealed {
        let file = segment_name(listed.first_seq);
        let damaged =
            |what: &str| JournalError::Damaged { file: file.clone(), seq: listed.first_seq, what: what.into() };
        if listed.first_seq != end.last_seq.next() {
            return Err(damaged("the manifest has a gap before it"));
        }
        if !files.contains(&listed.first_seq) {
            return Err(JournalError::Missing { file, seq: listed.first_seq });
        }
        let unread = |source| JournalError::of_sealed(listed.first_seq, source);
        let bytes = disk.open_frozen(&file).and_then(|backend| backend.len()).map_err(unread)?;
        if bytes != listed.bytes {
            return Err(damaged("file does not have the length that the manifest says"));
        }
        let open = OpenSealed::open(disk, listed.first_seq)?;
        open.check(listed)?;
        end = open.footer.end;
    }
    let is_listed = |first: &Seq| sealed.iter().any(|listed| listed.first_seq == *first);
    match files.iter().find(|first| **first <= end.last_seq && !is_listed(first)) {
        Some(first) => Err(JournalError::Foreign { file: segment_name(*first) }),
        None => Ok(end),
    }
}

/// Opens the files behind the sealed ones, checks their blocks, and says where each ends.
fn open_live(
    disk: &dyn Disk,
    files: &[Seq],
    sealed_end: &Position,
    identity: Identity,
) -> Result<(Vec<Arc<LiveSegment>>, Vec<Position>), JournalError> {
    let mut live = Vec::new();
    let mut ends: Vec<Position> = Vec::new();
    if files.is_empty() {
        let seq = sealed_end.last_seq.next();
        return Err(JournalError::Missing { file: segment_name(seq), seq });
    }
    for first in files {
        let before = *ends.last().unwrap_or(sealed_end);
        if *first != before.last_seq.next() {
            return Err(JournalError::Astray { file: segment_name(*first), last: before.last_seq });
        }
        let segment = LiveSegment::open(disk, *first)?;
        let end = walk(&segment, &before, identity)?;
        if segment.tail()?.is_some_and(|tail| tail > end.last_seq) {
            let what = "entries are missing that were there when it was closed".into();
            return Err(JournalError::Damaged { file: segment_name(*first), seq: end.last_seq.next(), what });
        }
        ends.push(end);
        live.push(Arc::new(segment));
    }
    Ok((live, ends))
}

/// Checks every block of a segment and builds its index.
fn walk(segment: &LiveSegment, before: &Position, identity: Identity) -> Result<Position, JournalError> {
    let mut chain = Chain {
        identity,
        next: before.last_seq.next(),
        hash: Some(before.hash),
        open: None,
        last: Some((before.last_moment, before.last_date)).filter(|_| before.last_seq != Seq::NONE),
    };
    let mut last = (before.last_moment, before.last_date);
    let damaged =
        |seq: Seq, what: &str| JournalError::Damaged { file: segment_name(segment.first_seq), seq, what: what.into() };
    let mut take = |(key, bytes): (u64, Box<[u8]>)| {
        let block = segment.parse(key, bytes)?;
        let seq = chain.next;
        chain.follow(&block).map_err(|what| damaged(seq, what))?;
        let run = block.last_run().ok_or_else(|| damaged(seq, "run table is damaged"))?;
        last = (run.head.moment, run.head.date);
        segment.note(&block);
        Ok(ControlFlow::Continue(()))
    };
    let mut failed = None;
    let next = segment.each_raw(0, BLOCKS_BEFORE, &mut |key, bytes| match take((key, bytes)) {
        Ok(goes_on) => goes_on,
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(next) = next? {
        let read = |give: &mut dyn FnMut((u64, Box<[u8]>)) -> ControlFlow<()>| {
            segment.each_raw(next, usize::MAX, &mut |key, bytes| give((key, bytes))).map(|_| ())
        };
        let _ = ahead(read, take)?;
    }
    if let Some(open) = chain.open {
        return Err(damaged(open, "record is not whole"));
    }
    let hash = chain.hash.unwrap_or(before.hash);
    Ok(Position { last_seq: Seq(chain.next.0 - 1), hash, last_moment: last.0, last_date: last.1 })
}

fn assemble(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    identity: Identity,
    catalog: Catalog,
    ends: &[Position],
) -> Result<Arc<Journal>, JournalError> {
    let position = *ends.last().ok_or(JournalError::Closed)?;
    let upkeep = Upkeep::default();
    for (segment, end) in catalog.live.iter().zip(ends).take(ends.len() - 1) {
        upkeep.retire(Arc::clone(segment), *end);
    }
    let stored = catalog.live.last().map_or(0, |active| active.stored());
    Ok(Arc::new(Journal {
        sealed_files: SealedFiles::new(Arc::clone(&disk), options.sealed_open_max),
        disk,
        options,
        identity,
        poison: Poison::default(),
        appender: Mutex::new(Appender::after(&position)),
        work: Condvar::new(),
        appended: AtomicU64::new(position.last_seq.0),
        durable: AtomicU64::new(position.last_seq.0),
        gathered_bytes: AtomicU64::new(0),
        committing_bytes: AtomicU64::new(0),
        active_stored: AtomicU64::new(stored),
        is_closed: AtomicBool::new(false),
        roll_requested: AtomicBool::new(false),
        head: Mutex::new((position.last_seq, position.hash)),
        catalog: RwLock::new(catalog),
        upkeep,
        observer: OnceLock::new(),
    }))
}

impl Journal {
    /// Compares with what the store has seen: that much must be here, and be the same.
    fn check_expected(&self) -> Result<(), JournalError> {
        let Some((expected, hash)) = self.options.expected.filter(|(seq, _)| *seq != Seq::NONE) else {
            return Ok(());
        };
        let last = self.durable_seq();
        if last < expected {
            return Err(JournalError::Shorter { last, expected });
        }
        let missing = || JournalError::Missing { file: segment_name(expected), seq: expected };
        let block = self.load(self.locate(expected)?.ok_or_else(missing)?)?;
        if block.last_seq() == expected && block.hash() == hash {
            Ok(())
        } else {
            Err(JournalError::Differs { expected, found: block.last_seq() })
        }
    }
}
