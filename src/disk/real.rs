//! A folder of a file system.
//!
//! Promise: one process at a time writes here; what was synced stays; a full disk is told apart
//! from a broken one (`StorageFull`).
//!
//! A file may be physically longer than redb knows: space ahead of it is reserved and filled with
//! zeros, and redb's growth then only moves a number. Measured on ext4: a two-phase commit into
//! filled space takes half the time of one that allocates. The rules that keep this safe:
//! 1. `len()` is the **logical** length while open; it begins as the file's and is what redb set last.
//! 2. What lies between logical and physical length is zero, or is made zero before the logical
//!    length grows over it. `dirty_end` bounds what can be anything else.
//! 3. A clean close cuts the file to the logical length. After a crash the file is longer than
//!    redb's layout: redb then repairs, as it would have to anyway, and takes the longer layout.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::{Ahead, Disk, OverlayBackend};

/// Name of the file whose lock says who owns the folder.
/// The file of a folder that says who has it.
pub const LOCK_NAME: &str = "LOCK";

/// Zeros are written in pieces of this size, each synced before the next: a sync that the
/// journal's writer waits for then never has more than this ahead of it.
const FILL_PIECE_BYTES: u64 = 1 << 20;

/// Zeros of one write: the kernel copies them without a pause, and a core that does is not a commit's.
const ZEROS_AT_ONCE_BYTES: u64 = 128 << 10;

/// Zeros are given back in holes of this size: smaller ones would cost the file system more than they free.
const HOLE_BYTES: u64 = 64 << 10;

/// Why a folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process owns it.
    #[error("folder {0} is held by another process")]
    Held(PathBuf),
    /// The file system said no.
    #[error("could not open folder {path}")]
    Io {
        /// Which folder.
        path: PathBuf,
        /// What was said.
        source: io::Error,
    },
}

/// A folder of a file system.
#[derive(Debug)]
pub struct FolderDisk {
    path: PathBuf,
    /// The folder itself, open for its sync: at that moment there may be no descriptor left.
    dir: File,
    /// Held for its lock, which ends with the process whatever happens to it.
    _lock: Option<File>,
}

impl FolderDisk {
    /// Opens a folder for writing, makes it where it is missing, and locks it.
    ///
    /// # Errors
    /// [`DiskError::Held`] when another process has it.
    pub fn open(path: impl AsRef<Path>) -> Result<FolderDisk, DiskError> {
        let path = path.as_ref().to_owned();
        let lock = || {
            std::fs::create_dir_all(&path)?;
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_NAME))?;
            match file.try_lock() {
                Ok(()) => Ok(Some((file, File::open(&path)?))),
                Err(std::fs::TryLockError::WouldBlock) => Ok(None),
                Err(std::fs::TryLockError::Error(error)) => Err(error),
            }
        };
        match lock() {
            Ok(Some((file, dir))) => Ok(FolderDisk { path, dir, _lock: Some(file) }),
            Ok(None) => Err(DiskError::Held(path)),
            Err(source) => Err(DiskError::Io { path, source }),
        }
    }

    /// Opens an existing folder that nobody else has, to read it. Makes and changes nothing: no
    /// lock file is created, an existing one is tried. Put an [`super::OverlayDisk`] over it.
    ///
    /// # Errors
    /// [`DiskError::Held`] when a process has it open for writing.
    pub fn open_to_read(path: impl AsRef<Path>) -> Result<FolderDisk, DiskError> {
        let path = path.as_ref().to_owned();
        let dir = match std::fs::read_dir(&path).and_then(|_| File::open(&path)) {
            Ok(dir) => dir,
            Err(source) => return Err(DiskError::Io { path, source }),
        };
        // A shared lock keeps writers out while we read, and lets other readers in.
        let lock = match File::open(path.join(LOCK_NAME)) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => Some(file),
                Err(std::fs::TryLockError::WouldBlock) => return Err(DiskError::Held(path)),
                Err(std::fs::TryLockError::Error(source)) => return Err(DiskError::Io { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(DiskError::Io { path, source }),
        };
        Ok(FolderDisk { path, dir, _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> io::Result<FileBackend> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        FileBackend::to_write(file)
    }

    fn new_file(&self, name: &str, reserve_bytes: u64) -> io::Result<FileBackend> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let backend = FileBackend::to_write(file)?;
        if let Err(error) = backend.0.reserve(reserve_bytes) {
            drop(backend);
            std::fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(backend)
    }
}

impl Disk for FolderDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
                && name != LOCK_NAME
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.file(name)?))
    }

    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.new_file(name, reserve_bytes)?))
    }

    fn open_frozen(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = File::open(self.path.join(name))?;
        Ok(Box::new(OverlayBackend::over(Box::new(FileBackend::to_read(file)?))?))
    }

    fn open_ahead(&self, name: &str) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        let backend = self.file(name)?;
        backend.0.find_dirty_end()?;
        let ahead = Arc::clone(&backend.0);
        Ok((Box::new(backend), ahead))
    }

    fn create_ahead(&self, name: &str, reserve_bytes: u64) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        let backend = self.new_file(name, reserve_bytes)?;
        let ahead = Arc::clone(&backend.0);
        Ok((Box::new(backend), ahead))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    fn make_read_only(&self, name: &str) -> io::Result<()> {
        std::fs::set_permissions(self.path.join(name), std::fs::Permissions::from_mode(0o440))
    }

    fn release_zeros(&self, name: &str) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        let len = file.metadata()?.len();
        let mut piece = vec![0u8; HOLE_BYTES as usize];
        let mut at = 0;
        while at + HOLE_BYTES <= len {
            file.read_exact_at(&mut piece, at)?;
            if piece.iter().all(|byte| *byte == 0) {
                let mode = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE;
                match fallocate(&file, mode, at, HOLE_BYTES) {
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
                    result => result?,
                }
            }
            at += HOLE_BYTES;
        }
        file.sync_all()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path.join(name))
    }

    fn write_atomically(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = format!("{name}.new");
        let file = File::create(self.path.join(&beside))?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        self.rename(&beside, name)?;
        self.sync_dir()
    }

    fn hash(&self, name: &str) -> io::Result<[u8; 32]> {
        super::hash_in_pieces(&FileBackend::to_read(File::open(self.path.join(name))?)?)
    }

    fn allocated_bytes(&self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.path.join(name))?.blocks() * 512)
    }
}

/// An open file.
#[derive(Debug)]
struct FileBackend(Arc<OpenFile>);

#[derive(Debug)]
struct OpenFile {
    file: File,
    is_writable: bool,
    /// What redb believes the length to be; read on every read, so not behind the lock.
    logical: AtomicU64,
    /// End of what may be anything but zero.
    dirty_end: AtomicU64,
    /// An operation failed: nothing is tidied up at close.
    failed: AtomicBool,
    /// Guards changes of length: redb's growth, the filler and the cut at close.
    lengths: Mutex<Lengths>,
}

#[derive(Debug)]
struct Lengths {
    /// The file system's length.
    physical: u64,
    /// Up to here every block was written once: bytes, or zeros ahead.
    filled: u64,
    is_closed: bool,
}

impl FileBackend {
    fn to_write(file: File) -> io::Result<FileBackend> {
        FileBackend::new(file, true)
    }

    fn to_read(file: File) -> io::Result<FileBackend> {
        FileBackend::new(file, false)
    }

    fn new(file: File, is_writable: bool) -> io::Result<FileBackend> {
        let len = file.metadata()?.len();
        Ok(FileBackend(Arc::new(OpenFile {
            file,
            is_writable,
            logical: AtomicU64::new(len),
            dirty_end: AtomicU64::new(len),
            failed: AtomicBool::new(false),
            lengths: Mutex::new(Lengths { physical: len, filled: len, is_closed: false }),
        })))
    }
}

impl OpenFile {
    fn lengths(&self) -> MutexGuard<'_, Lengths> {
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    /// Looks from the end for the last byte that is not zero: a file that a crash left longer than
    /// its content must not be zeroed over again piece by piece inside commits.
    fn find_dirty_end(&self) -> io::Result<()> {
        let mut piece = vec![0u8; FILL_PIECE_BYTES as usize];
        let mut end = self.logical.load(Ordering::Acquire);
        while end > 0 {
            let count = FILL_PIECE_BYTES.min(end);
            let bytes = &mut piece[..count as usize];
            self.file.read_exact_at(bytes, end - count)?;
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                end = end - count + last as u64 + 1;
                break;
            }
            end -= count;
        }
        self.dirty_end.store(end, Ordering::Release);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut lengths = self.lengths();
        let logical = self.logical.load(Ordering::Acquire);
        if len > logical {
            let dirty_end = self.dirty_end.load(Ordering::Acquire).min(len);
            self.write_zeros(logical, dirty_end)?;
            if len > lengths.physical {
                self.file.set_len(len)?;
                lengths.physical = len;
            }
        }
        self.logical.store(len, Ordering::Release);
        Ok(())
    }

    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0u8; ZEROS_AT_ONCE_BYTES.min(to.saturating_sub(from)) as usize];
        let mut at = from;
        while at < to {
            let count = ZEROS_AT_ONCE_BYTES.min(to - at);
            self.file.write_all_at(&zeros[..count as usize], at)?;
            at += count;
            // Whoever commits beside it does not wait for the end of a time slice.
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Ahead for OpenFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let lengths = self.lengths();
        if bytes == 0 || lengths.is_closed {
            return Ok(());
        }
        match fallocate(&self.file, libc::FALLOC_FL_KEEP_SIZE, 0, bytes) {
            // A file system without reservations: a full disk then fails inside a commit.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            // A quota is as full as a disk.
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => Err(io::ErrorKind::StorageFull.into()),
            result => result,
        }
    }

    fn fill(&self, to: u64) -> io::Result<bool> {
        {
            let mut lengths = self.lengths();
            // redb may have grown over what was not yet filled: that is its own to write.
            let from = lengths.filled.max(self.logical.load(Ordering::Acquire));
            if lengths.is_closed || from >= to || self.failed.load(Ordering::Acquire) {
                return Ok(false);
            }
            let end = to.min(from + FILL_PIECE_BYTES);
            self.write_zeros(from, end)?;
            lengths.filled = end;
            lengths.physical = lengths.physical.max(end);
        }
        // Outside the lock: redb may grow meanwhile.
        self.file.sync_data()?;
        Ok(true)
    }
}

/// Reserves or frees a range of a file; its length stays.
fn fallocate(file: &File, mode: libc::c_int, from: u64, bytes: u64) -> io::Result<()> {
    let from = libc::off_t::try_from(from).map_err(io::Error::other)?;
    let bytes = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    loop {
        #[allow(unsafe_code, reason = "std has no fallocate")]
        // SAFETY: the descriptor is open for as long as `file` is borrowed; the call takes no pointers.
        let result = unsafe { libc::fallocate(file.as_raw_fd(), mode, from, bytes) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

impl StorageBackend for FileBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.logical.load(Ordering::Acquire))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.0.logical.load(Ordering::Acquire) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.note(self.0.file.read_exact_at(out, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.note(self.0.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.note(self.0.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        self.0.dirty_end.fetch_max(end, Ordering::AcqRel);
        self.0.note(self.0.file.write_all_at(data, offset))
    }

    fn close(&self) -> io::Result<()> {
        let mut lengths = self.0.lengths();
        lengths.is_closed = true;
        let logical = self.0.logical.load(Ordering::Acquire);
        // After a failure the file is left as it is: the next open repairs it with all it has.
        // A reservation behind the end of the file is given back by the cut too.
        if self.0.is_writable && !self.0.failed.load(Ordering::Acquire) {
            self.0.file.set_len(logical)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, FolderDisk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = FolderDisk::open(folder.path()).unwrap();
        (folder, disk)
    }

    #[test]
    fn a_folder_has_one_writer_and_no_reader_beside_it() {
        let (folder, disk) = disk();
        assert!(matches!(FolderDisk::open(folder.path()), Err(DiskError::Held(_))));
        assert!(matches!(FolderDisk::open_to_read(folder.path()), Err(DiskError::Held(_))));
        drop(disk);
        let readers =
            (FolderDisk::open_to_read(folder.path()).unwrap(), FolderDisk::open_to_read(folder.path()).unwrap());
        assert!(matches!(FolderDisk::open(folder.path()), Err(DiskError::Held(_))));
        drop(readers);
        FolderDisk::open(folder.path()).unwrap();
    }

    #[test]
    fn a_file_behaves_the_same_with_space_ahead_and_without() {
        let (_folder, disk) = disk();
        let plain = disk.create("plain", 0).unwrap();
        let (ahead, filler) = disk.create_ahead("ahead", 8 << 20).unwrap();
        while filler.fill(4 << 20).unwrap() {}
        for file in [&plain, &ahead] {
            file.set_len(100_000).unwrap();
            file.write(0, &[1; 100_000]).unwrap();
            file.set_len(50_000).unwrap();
            assert!(file.read(49_999, &mut [0; 2]).is_err(), "beyond the end");
            file.set_len(120_000).unwrap();
            let mut bytes = vec![9; 120_000];
            file.read(0, &mut bytes).unwrap();
            assert!(bytes[..50_000].iter().all(|byte| *byte == 1));
            assert!(bytes[50_000..].iter().all(|byte| *byte == 0), "what was cut off does not come back");
            assert_eq!(file.len().unwrap(), 120_000);
            file.sync_data().unwrap();
            file.close().unwrap();
        }
        for name in ["plain", "ahead"] {
            assert_eq!(disk.open(name).unwrap().len().unwrap(), 120_000, "{name}");
            assert!(disk.allocated_bytes(name).unwrap() <= 128 << 10, "the space ahead is given back");
        }
        assert_eq!(disk.hash("plain").unwrap(), disk.hash("ahead").unwrap());
    }

    #[test]
    fn a_file_that_a_crash_left_with_zeros_ahead_still_reads_as_zero_where_it_regrows() {
        let (_folder, disk) = disk();
        let (file, filler) = disk.create_ahead("file", 0).unwrap();
        file.write(0, &[1; 10_000]).unwrap();
        file.set_len(10_000).unwrap();
        while filler.fill(3 << 20).unwrap() {}
        drop(file);
        let (file, _) = disk.open_ahead("file").unwrap();
        assert_eq!(file.len().unwrap(), 3 << 20, "the physical length, until redb sets another");
        file.set_len(5_000).unwrap();
        file.set_len(2 << 20).unwrap();
        let mut bytes = vec![9; 2 << 20];
        file.read(0, &mut bytes).unwrap();
        assert!(bytes[5_000..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_reservation_that_does_not_fit_is_a_full_disk_and_leaves_no_file() {
        let (_folder, disk) = disk();
        let error = disk.create("huge", 1 << 50).unwrap_err();
        // A file system may also refuse such a file as too large.
        assert!(matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge), "{error:?}");
        assert!(disk.list().unwrap().is_empty());
    }
}
