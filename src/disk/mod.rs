//! Files as the journal and the store see them.
//!
//! Promise: everything that touches a disk goes through [`Disk`], so that a test can lose, tear,
//! delay or fail any operation, and `verify` can open files without changing a byte.

mod delay;
mod guard;
mod overlay;
mod real;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

pub use delay::DelayDisk;
pub use guard::{Asserted, Guarded, guarded, mark_damage_of};
pub use overlay::{OverlayBackend, OverlayDisk};
pub use real::{DiskError, FolderDisk, LOCK_NAME};

/// Whether an error only says that something has run out, which may pass: space, file descriptors, memory.
#[must_use]
pub fn is_want(error: &io::Error) -> bool {
    let is_out_of_files = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
    is_out_of_files
        || matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory
        )
}

/// Space ahead of a growing file. Kept apart from the file itself, because redb owns that.
///
/// A file system writes a block that was written before in half the time of a new one: no
/// allocation has to be made durable with it. So a file is reserved, then filled with zeros, off
/// the writer's thread.
pub trait Ahead: Debug + Send + Sync {
    /// Reserves space for the first `bytes` of the file; what is reserved stays so.
    ///
    /// # Errors
    /// `StorageFull` when there is no such space, or whatever the file system says.
    fn reserve(&self, bytes: u64) -> io::Result<()>;

    /// Fills the next piece of the file with zeros and syncs it, up to `to` bytes of file. True while more remains.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn fill(&self, to: u64) -> io::Result<bool>;
}

/// Files that need no space ahead: in memory, or for reading.
#[derive(Debug)]
pub struct NothingAhead;

impl Ahead for NothingAhead {
    fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn fill(&self, _: u64) -> io::Result<bool> {
        Ok(false)
    }
}

/// A backend behind a pointer, as redb wants to own one. Remembers whether anything failed: redb
/// closes a file when it is dropped, and then has nobody to tell.
#[derive(Debug)]
pub struct AnyBackend {
    file: Box<dyn StorageBackend>,
    has_failed: Arc<AtomicBool>,
}

impl AnyBackend {
    /// Wraps a file.
    #[must_use]
    pub fn new(file: Box<dyn StorageBackend>) -> AnyBackend {
        AnyBackend { file, has_failed: Arc::default() }
    }

    /// Becomes true with the first operation that fails, the close included.
    #[must_use]
    pub fn has_failed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_failed)
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.has_failed.store(true, Ordering::Release);
        }
        result
    }
}

impl StorageBackend for AnyBackend {
    fn len(&self) -> io::Result<u64> {
        self.note(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.note(self.file.close())
    }
}

/// One folder of files. Names are plain file names without separators.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Names of all files, sorted.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or whatever the file system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// Makes a new, empty file and reserves `reserve_bytes` of space for it (0: none).
    ///
    /// # Errors
    /// `AlreadyExists`; `StorageFull` when the reservation is refused, and then no file is left.
    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Box<dyn StorageBackend>>;

    /// Opens an existing file whose every change stays in memory.
    ///
    /// # Errors
    /// `NotFound`, or whatever the file system says.
    fn open_frozen(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(OverlayBackend::over(self.open(name)?)?))
    }

    /// [`Disk::open`], with a hand on the space ahead.
    ///
    /// # Errors
    /// As [`Disk::open`].
    fn open_ahead(&self, name: &str) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        Ok((self.open(name)?, Arc::new(NothingAhead)))
    }

    /// [`Disk::create`], with a hand on the space ahead.
    ///
    /// # Errors
    /// As [`Disk::create`].
    fn create_ahead(&self, name: &str, reserve_bytes: u64) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        Ok((self.create(name, reserve_bytes)?, Arc::new(NothingAhead)))
    }

    /// Renames a file, replacing what stood there. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the file system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the file system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes renames, creations and removals durable.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn sync_dir(&self) -> io::Result<()>;

    /// Marks a file read-only (a sealed segment): a guard against mistakes, not a promise.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn make_read_only(&self, name: &str) -> io::Result<()>;

    /// Gives back the space of long runs of zeros in a file that will not change: it reads the same.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn release_zeros(&self, name: &str) -> io::Result<()> {
        let _ = name;
        Ok(())
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// `NotFound`, or whatever the file system says.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Replaces a small file by writing another beside it, syncing, renaming, and syncing the folder.
    ///
    /// # Errors
    /// Whatever the file system says; the old content is then still there.
    fn write_atomically(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// blake3 of a whole file, read in pieces.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn hash(&self, name: &str) -> io::Result<[u8; 32]>;

    /// Length of a file in bytes on disk (allocated blocks, where the file system can tell).
    ///
    /// # Errors
    /// Whatever the file system says.
    fn allocated_bytes(&self, name: &str) -> io::Result<u64>;
}

/// Pieces in which files are hashed, bytes.
const HASH_PIECE_BYTES: u64 = 1 << 20;

/// blake3 of a whole file, read in pieces.
///
/// # Errors
/// Whatever a read says.
pub fn hash_in_pieces(file: &dyn StorageBackend) -> io::Result<[u8; 32]> {
    let len = file.len()?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; HASH_PIECE_BYTES.min(len) as usize];
    let mut at = 0;
    while at < len {
        let count = HASH_PIECE_BYTES.min(len - at) as usize;
        file.read(at, &mut piece[..count])?;
        hasher.update(&piece[..count]);
        at += count as u64;
    }
    Ok(hasher.finalize().into())
}
