//! Files as the journal and the store see them.
//!
//! Promise: everything that touches a disk goes through [`Disk`], so that a test can lose, tear,
//! delay or fail any operation, and `verify` can open files without changing a byte.

use std::fmt::Debug;
use std::io;

use redb::StorageBackend;

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
