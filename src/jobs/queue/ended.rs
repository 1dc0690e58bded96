//! The record of ended jobs, beside the queue's file: what need not run again if that file is lost.
//!
//! `jobs.ended` has a snapshot and what came after it:
//!
//! ```text
//! "MUNJOBE" 1 │ position u64 │ count u32 │ count × number u64: births up to the position that have not ended │ hash 32
//! count u32 │ count × number u64: births that have ended since │ the first 8 bytes of their hash      (any number of these)
//! ```
//!
//! Promise: a birth that this record calls ended has ended. The other way round it may lag: it is written after the
//! queue's commit and synced once a second, so that jobs of the last second repeat when both files are cut by one
//! power failure, and all of the journal's jobs repeat when both files are lost. Whoever gets their effects tells
//! repeats by the job's id, which the same birth always has.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::job::JobId;
use crate::config::{JOBS_ENDED_LOG_MIN, JOBS_ENDED_SYNC_US};
use crate::disk::Disk;
use crate::domain::ids::Moment;

/// Name of the record in the data folder.
pub const ENDED_FILE: &str = "jobs.ended";

const MAGIC: [u8; 8] = *b"MUNJOBE\x01";

/// What the record says, read for taking births in again.
#[derive(Debug, Default)]
pub(super) struct Ended {
    position: u64,
    /// Born up to the position, and not ended when the snapshot was made.
    open: HashSet<u64>,
    /// Ended since.
    since: HashSet<u64>,
    /// Beyond this seq the record says nothing.
    last_seq: u64,
}

impl Ended {
    /// Reads the record; a missing one, or one whose snapshot makes no sense, says nothing. The log is read up to the
    /// first piece that makes no sense.
    pub fn read(disk: &dyn Disk) -> io::Result<Ended> {
        let bytes = match disk.read(ENDED_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ended::default()),
            Err(error) => return Err(error),
        };
        let Some((mut ended, mut rest)) = snapshot_of(&bytes) else {
            tracing::warn!("{ENDED_FILE} makes no sense: jobs whose births are taken in again repeat");
            return Ok(Ended::default());
        };
        while let Some((numbers, further)) = piece_of(rest) {
            ended.since.extend(numbers);
            rest = further;
        }
        let logged = ended.since.iter().filter_map(|id| JobId(*id).birth_seq()).map(|seq| seq.0).max();
        ended.last_seq = ended.position.max(logged.unwrap_or(0));
        Ok(ended)
    }

    /// Whether the job has ended, as far as the record knows.
    pub fn contains(&self, id: JobId) -> bool {
        let Some(seq) = id.birth_seq() else { return false };
        self.since.contains(&id.0) || seq.0 <= self.position && !self.open.contains(&id.0)
    }

    /// Beyond this seq it says nothing.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }
}

fn numbers_of(bytes: &[u8]) -> Option<(Vec<u64>, usize)> {
    let count = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let end = count.checked_mul(8)?.checked_add(4)?;
    let numbers = bytes.get(4..end)?.chunks_exact(8);
    Some((numbers.map(|number| u64::from_le_bytes(number.try_into().expect("chunks of eight"))).collect(), end))
}

fn snapshot_of(bytes: &[u8]) -> Option<(Ended, &[u8])> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let position = u64::from_le_bytes(*rest.first_chunk()?);
    let (open, len) = numbers_of(&rest[8..])?;
    let end = MAGIC.len() + 8 + len;
    let hash = bytes.get(end..end + 32)?;
    (blake3::hash(&bytes[..end]).as_bytes() == hash)
        .then(|| (Ended { position, open: open.into_iter().collect(), ..Ended::default() }, &bytes[end + 32..]))
}

fn piece_of(bytes: &[u8]) -> Option<(Vec<u64>, &[u8])> {
    let (numbers, len) = numbers_of(bytes)?;
    let hash = bytes.get(len..len + 8)?;
    let is_whole = !numbers.is_empty() && blake3::hash(&bytes[..len]).as_bytes()[..8] == *hash;
    is_whole.then(|| (numbers, &bytes[len + 8..]))
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    out.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

/// The record's writer. It never stops the queue: what it cannot write is warned of, and tried anew with the next
/// snapshot.
#[derive(Debug)]
pub(super) struct EndedLog {
    disk: Arc<dyn Disk>,
    /// `None` before the first snapshot, and after a failure.
    file: Option<Box<dyn StorageBackend>>,
    end: u64,
    logged: u64,
    snapshot_count: u64,
    unsynced_since: Option<Moment>,
    /// Not before this moment after a failure.
    retry_at: Moment,
}

impl EndedLog {
    /// A writer that begins with a snapshot.
    pub fn new(disk: Arc<dyn Disk>) -> EndedLog {
        EndedLog {
            disk,
            file: None,
            end: 0,
            logged: 0,
            snapshot_count: 0,
            unsynced_since: None,
            retry_at: Moment(i64::MIN),
        }
    }

    /// Whether the log has become longer than what a new snapshot would cost.
    pub fn wants_snapshot(&self, now: Moment) -> bool {
        match self.file {
            None => now >= self.retry_at,
            Some(_) => self.logged >= JOBS_ENDED_LOG_MIN.max(2 * self.snapshot_count),
        }
    }

    /// From now on no snapshot stands: what was ended may not be any more.
    pub fn forget(&mut self) {
        self.file = None;
        self.retry_at = Moment(i64::MIN);
    }

    /// Writes the record anew: of the births up to `position`, these have not ended.
    pub fn write_snapshot(&mut self, position: u64, open: &[u64], now: Moment) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&position.to_le_bytes());
        put_numbers(&mut bytes, open);
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        self.file = None;
        let written = self.disk.write_atomically(ENDED_FILE, &bytes).and_then(|()| self.disk.open(ENDED_FILE));
        match written {
            Ok(file) => {
                self.file = Some(file);
                self.end = bytes.len() as u64;
                self.logged = 0;
                self.snapshot_count = open.len() as u64;
                self.unsynced_since = None;
            }
            Err(error) => self.give_up(&error, now),
        }
    }

    /// Adds births that have ended.
    pub fn append(&mut self, numbers: &[u64], now: Moment) {
        let Some(file) = self.file.as_ref().filter(|_| !numbers.is_empty()) else { return };
        let mut bytes = Vec::with_capacity(12 + 8 * numbers.len());
        put_numbers(&mut bytes, numbers);
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(&hash.as_bytes()[..8]);
        let end = self.end + bytes.len() as u64;
        match file.set_len(end).and_then(|()| file.write(self.end, &bytes)) {
            Ok(()) => {
                self.end = end;
                self.logged += numbers.len() as u64;
                self.unsynced_since.get_or_insert(now);
            }
            Err(error) => self.give_up(&error, now),
        }
    }

    /// Syncs what was added, once a second or `at_once`.
    pub fn sync(&mut self, now: Moment, at_once: bool) {
        let is_due = self.unsynced_since.is_some_and(|since| at_once || now.0 - since.0 >= JOBS_ENDED_SYNC_US);
        let Some(file) = self.file.as_ref().filter(|_| is_due) else { return };
        match file.sync_data() {
            Ok(()) => self.unsynced_since = None,
            Err(error) => self.give_up(&error, now),
        }
    }

    fn give_up(&mut self, error: &io::Error, now: Moment) {
        tracing::warn!(%error, "{ENDED_FILE} could not be written: if {} is lost, jobs repeat", super::JOBS_FILE);
        self.file = None;
        self.unsynced_since = None;
        self.retry_at = Moment(now.0.saturating_add(30 * JOBS_ENDED_SYNC_US));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FolderDisk;
    use crate::domain::ids::Seq;

    fn born(seq: u64) -> JobId {
        JobId::born(Seq(seq), 0)
    }

    #[test]
    fn what_has_ended_is_known_and_a_torn_end_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).unwrap());
        assert!(!Ended::read(&*disk).unwrap().contains(born(1)), "no record says nothing");
        let mut log = EndedLog::new(Arc::clone(&disk));
        log.append(&[born(1).0], Moment(0));
        assert!(log.wants_snapshot(Moment(0)));
        log.write_snapshot(10, &[born(3).0, born(7).0], Moment(0));
        log.append(&[born(7).0, born(12).0], Moment(0));
        log.append(&[born(13).0], Moment(0));
        log.sync(Moment(0), true);
        let ended = Ended::read(&*disk).unwrap();
        for (seq, has_ended) in [(1, true), (3, false), (7, true), (10, true), (11, false), (12, true), (13, true)] {
            assert_eq!(ended.contains(born(seq)), has_ended, "{seq}");
        }
        assert_eq!(ended.last_seq(), 13);
        assert!(!ended.contains(JobId::asked("mail", b"1")));
        let bytes = disk.read(ENDED_FILE).unwrap();
        disk.write_atomically(ENDED_FILE, &bytes[..bytes.len() - 1]).unwrap();
        let ended = Ended::read(&*disk).unwrap();
        assert!(ended.contains(born(12)) && !ended.contains(born(13)));
        let mut wrong = bytes.clone();
        wrong[12] ^= 1;
        disk.write_atomically(ENDED_FILE, &wrong).unwrap();
        assert!(!Ended::read(&*disk).unwrap().contains(born(1)), "a wrong snapshot says nothing");
    }
}
