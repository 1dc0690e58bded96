//! Opening a data folder for a command: the lock, the marker of a storage failure, the options.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;

use crate::disk::{Disk, DiskError, FolderDisk, OverlayDisk, mark_damage_of};
use crate::domain::time::Day;
use crate::engine::clock::{SystemTimeSource, zone};
use crate::engine::recovery::{OpenError, Parts, STORE_FILE};
use crate::engine::{EngineOptions, recovery};
use crate::journal::is_journal_file;

/// How the engine of a data folder is set up.
#[derive(Clone, Debug, Args)]
pub struct EngineArgs {
    /// Account shards, rounded up to a power of two (default: the number of cores).
    #[arg(long, env = "MUNIM_SHARDS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// Key shards, rounded up to a power of two (default: 64).
    #[arg(long, env = "MUNIM_KEY_SHARDS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub key_shards: Option<u16>,
    /// The books' time zone.
    #[arg(long, env = "MUNIM_ZONE", default_value = "Asia/Kolkata")]
    pub zone: String,
    /// New books begin on this business day, and days end by hand.
    #[arg(long, env = "MUNIM_FIRST_DAY", value_name = "DATE", value_parser = first_day)]
    pub first_day: Option<Day>,
    /// MiB of verified journal blocks kept in memory.
    #[arg(long, env = "MUNIM_BLOCK_CACHE_MIB", default_value_t = crate::config::BLOCK_CACHE_BYTES / (1024 * 1024))]
    pub block_cache_mib: u64,
    /// MiB of account texts kept in memory.
    #[arg(long, env = "MUNIM_TEXT_CACHE_MIB", default_value_t = crate::config::TEXT_CACHE_BYTES / (1024 * 1024))]
    pub text_cache_mib: u64,
    /// MiB of a journal segment.
    #[arg(long, env = "MUNIM_SEGMENT_MIB", value_parser = clap::value_parser!(u64).range(1..=4096), default_value_t = 240)]
    pub segment_mib: u64,
    /// Days for which idempotency keys are answered again.
    #[arg(long, env = "MUNIM_KEY_RETENTION_DAYS", value_parser = clap::value_parser!(u32).range(1..=3650), default_value_t = crate::config::KEY_RETENTION_DAYS)]
    pub key_retention_days: u32,
    /// Entries between two checkpoints.
    #[arg(long, env = "MUNIM_CHECKPOINT_ENTRIES", value_parser = clap::value_parser!(u64).range(1..), default_value_t = crate::config::CHECKPOINT_ENTRIES)]
    pub checkpoint_entries: u64,
    /// Delay every sync by so many milliseconds: for measuring what a slow disk does to answers.
    #[arg(long, hide = true, default_value_t = 0)]
    pub sync_delay_ms: u64,
    /// Let the clock run so many times as fast: for measuring books of many business days.
    #[arg(long, hide = true, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub clock_speed: i64,
    /// Threads that parse and decide batches (default: half the cores).
    #[arg(long, env = "MUNIM_BULK_THREADS", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub bulk_threads: Option<u16>,
    /// Single commands inside the engine at once; what exceeds it is refused at once with 503.
    #[arg(long, env = "MUNIM_INTERACTIVE_MAX", value_parser = clap::value_parser!(u32).range(1..=1_000_000), default_value_t = crate::config::INTERACTIVE_MAX as u32)]
    pub interactive_max: u32,
}

/// Why a folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("a server holds {0}; stop it, or ask it with --url")]
    Held(PathBuf),
    /// There is nothing to look at.
    #[error("there are no books in {0}: neither a MANIFEST nor a journal segment nor a store.redb")]
    NoBooks(PathBuf),
    /// The journal is gone: nothing of it is left but what was derived from it.
    #[error("{0} has a store.redb, but neither a MANIFEST nor a journal segment: the journal is gone")]
    NoJournal(PathBuf),
    /// The storage failed earlier in this boot.
    #[error(
        "the storage under {folder} failed in this boot ({cause}); check the disk, run `munim verify --data {folder}`, then start with --accept-storage-failure"
    )]
    StorageFailed {
        /// Which folder.
        folder: PathBuf,
        /// What the marker says.
        cause: String,
    },
    /// The folder cannot be opened.
    #[error(transparent)]
    Disk(DiskError),
    /// The books cannot be opened.
    #[error("could not open the books in {folder}")]
    Open {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: Box<OpenError>,
    },
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
}

impl EngineArgs {
    /// The engine's options for a folder.
    ///
    /// # Errors
    /// [`FolderError::Setting`].
    pub fn options(&self, folder: &Path) -> Result<EngineOptions, FolderError> {
        let mut options = EngineOptions {
            zone: zone(&self.zone).map_err(FolderError::Setting)?,
            first_day: self.first_day,
            block_cache_bytes: self.block_cache_mib * 1024 * 1024,
            text_cache_bytes: self.text_cache_mib * 1024 * 1024,
            key_retention_days: self.key_retention_days,
            checkpoint_entries: self.checkpoint_entries,
            failure_marker: Some(marker_of(folder)),
            hot_set: Some(folder.join("hot-set.txt")),
            ..EngineOptions::default()
        };
        options.shards = self.shards.map_or(options.shards, usize::from);
        options.key_shards = self.key_shards.map_or(options.key_shards, usize::from);
        options.interactive_max = self.interactive_max as usize;
        options.bulk_threads = self.bulk_threads.map_or(options.bulk_threads, usize::from);
        options.journal.segment_bytes = self.segment_mib * 1024 * 1024;
        options.journal.journal_id = new_journal_id();
        Ok(options)
    }
}

fn first_day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| format!("{text} is not a day such as 2025-05-01"))
}

/// A number that no other journal has, for a folder that has none yet; drawn from the system's
/// randomness, with which the standard library seeds its hash maps.
fn new_journal_id() -> u64 {
    RandomState::new().hash_one((SystemTime::now(), std::process::id()))
}

/// Where a failure of the storage under a folder is noted: in a place that survives the process
/// and not a reboot.
pub(super) fn marker_of(folder: &Path) -> PathBuf {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from);
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let hash = blake3::hash(whole.as_os_str().as_encoded_bytes()).to_hex();
    runtime.join(format!("munim-storage-failed-{}", &hash[..16]))
}

/// Locks a folder for writing; makes it where it is missing.
///
/// # Errors
/// [`FolderError`].
pub fn open_to_write(folder: &Path, accept_storage_failure: bool) -> Result<Arc<dyn Disk>, FolderError> {
    let disk = FolderDisk::open(folder).map_err(held)?;
    let marker = marker_of(folder);
    if let Ok(cause) = std::fs::read_to_string(&marker) {
        if !accept_storage_failure {
            return Err(FolderError::StorageFailed { folder: folder.to_path_buf(), cause });
        }
        std::fs::remove_file(&marker)
            .map_err(|error| FolderError::Setting(format!("could not remove {}: {error}", marker.display())))?;
    }
    set_damaged_store_aside(folder)?;
    Ok(Arc::new(disk))
}

/// A store that ended the process at the last start would end it at every start: it is moved away,
/// and the books build a new one from the journal. Only one such file is kept.
fn set_damaged_store_aside(folder: &Path) -> Result<(), FolderError> {
    let mark = folder.join("store.damaged");
    if let Ok(cause) = std::fs::read_to_string(&mark) {
        let aside = folder.join("store.damaged.redb");
        let failed =
            |error| FolderError::Setting(format!("could not move {STORE_FILE} to {}: {error}", aside.display()));
        match std::fs::rename(folder.join(STORE_FILE), &aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::remove_file(&mark).map_err(failed)?;
        tracing::warn!(
            cause = cause.trim(),
            aside = %aside.display(),
            "the store ended the last start: it is rebuilt from the journal"
        );
    }
    mark_damage_of(STORE_FILE, mark);
    Ok(())
}

/// Whether there are books in a folder: a mistyped one must not get new ones.
///
/// # Errors
/// [`FolderError::NoBooks`], also where there is no folder.
pub fn require_books(folder: &Path) -> Result<(), FolderError> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    if names.any(|name| is_journal_file(&name)) { Ok(()) } else { Err(FolderError::NoBooks(folder.to_path_buf())) }
}

/// Opens the books of a folder without changing a byte of it: all writes stay in memory.
///
/// # Errors
/// [`FolderError`].
pub fn open_to_look(folder: &Path) -> Result<Parts, FolderError> {
    let below = FolderDisk::open_to_read(folder).map_err(held)?;
    let names =
        below.list().map_err(|source| FolderError::Disk(DiskError::Io { path: folder.to_path_buf(), source }))?;
    // Without them new books would be made, in memory, and found to be in order.
    if !names.iter().any(|name| is_journal_file(name)) {
        let folder = folder.to_path_buf();
        let has_store = names.iter().any(|name| name == STORE_FILE);
        return Err(if has_store { FolderError::NoJournal(folder) } else { FolderError::NoBooks(folder) });
    }
    let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::over(Arc::new(below)));
    let options = EngineOptions::default();
    recovery::open(&disk, &options, Box::new(SystemTimeSource::default()))
        .map_err(|source| FolderError::Open { folder: folder.to_path_buf(), source: Box::new(source) })
}

fn held(error: DiskError) -> FolderError {
    match error {
        DiskError::Held(folder) => FolderError::Held(folder),
        other => FolderError::Disk(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_storage_failed_in_this_boot_is_opened_only_when_that_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(marker_of(folder.path()), "could not sync").unwrap();
        let refused = open_to_write(folder.path(), false).unwrap_err();
        assert!(matches!(&refused, FolderError::StorageFailed { cause, .. } if cause == "could not sync"), "{refused}");
        assert!(open_to_write(folder.path(), true).is_ok());
        assert!(open_to_write(folder.path(), false).is_ok(), "accepted once, forgotten");
    }

    #[test]
    fn a_store_that_ended_the_last_start_is_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(STORE_FILE), "rotten").unwrap();
        drop(open_to_write(folder.path(), false).unwrap());
        assert!(folder.path().join(STORE_FILE).exists(), "without a mark nothing is moved");
        std::fs::write(folder.path().join("store.damaged"), "unwrap of a page").unwrap();
        drop(open_to_write(folder.path(), false).unwrap());
        assert!(!folder.path().join(STORE_FILE).exists());
        assert_eq!(std::fs::read(folder.path().join("store.damaged.redb")).unwrap(), b"rotten");
        assert!(!folder.path().join("store.damaged").exists());
    }

    #[test]
    fn a_held_folder_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let _held = open_to_write(folder.path(), false).unwrap();
        assert!(matches!(open_to_write(folder.path(), false), Err(FolderError::Held(_))));
        assert!(matches!(open_to_look(folder.path()), Err(FolderError::Held(_))));
    }

    #[test]
    fn two_new_journals_have_two_numbers() {
        assert_ne!(new_journal_id(), new_journal_id());
    }
}
