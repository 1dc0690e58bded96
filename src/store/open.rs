//! Opening the store, and what can go wrong with it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{Builder, Database, ReadableDatabase, StorageBackend};

use super::chain::{Reader, Writer, guarded};
use super::held::HeldFile;
use super::history::{ResolutionCache, resolution_cache};
use super::keys::{ChunkCache, KeyTables, chunk_cache, load_tables};
use super::row::Body;
use super::tables::FORMATS;
use crate::config::RESOLUTION_CACHE_BYTES;
use crate::disk::{Disk, Guarded, is_want};

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A wrong byte was noticed. The store must be deleted and rebuilt.
    #[error("the store is damaged: table {table}, row {key:#x}: {what}")]
    Corrupt {
        /// Table in which it was noticed; `file` for the file as a whole.
        table: &'static str,
        /// Key of the row; 0 for the file as a whole.
        key: u128,
        /// What does not fit.
        what: String,
    },
    /// The file or a value has another format's version. The store must be deleted and rebuilt.
    #[error("the store has format {found}, which this version does not read")]
    Format {
        /// The version found.
        found: u8,
    },
    /// redb could not read, write or lock.
    #[error("the store's database gave up")]
    Redb(#[source] Box<redb::Error>),
    /// The folder could not be read or written.
    #[error("could not reach the store's file")]
    Io(#[from] io::Error),
}

/// The store of one data folder.
#[derive(Debug)]
pub struct Store {
    /// `None` only while it is opened again after a failure. Guards the handle: transactions outlive it.
    pub(super) db: RwLock<Option<Guarded<Database>>>,
    /// Key tables by age. Guards the list only: readers clone the `Arc` and let go, writers swap it
    /// after their commit. Never held over a disk access.
    pub(super) key_tables: RwLock<Arc<KeyTables>>,
    /// Held while tables are merged; how many want none to be merged.
    pub(super) merging: Mutex<u32>,
    /// Chunks of key tables whose seal was checked.
    pub(super) chunks: ChunkCache,
    /// Chunks of resolutions whose seal was checked.
    pub(super) resolutions: ResolutionCache,
    /// Moves on with every checkpoint and every opening of the file: what was read before may be out of date.
    turn: AtomicU64,
    /// A full disk did not let it open: reads are answered, writes refused. See [`HeldFile`].
    is_held: AtomicBool,
}

impl StoreError {
    /// Whether deleting and rebuilding the store is the remedy (the disk itself is not to blame).
    #[must_use]
    pub fn wants_rebuild(&self) -> bool {
        matches!(self, StoreError::Corrupt { .. } | StoreError::Format { .. })
    }

    /// Whether something has run out that may come back: space, above all.
    #[must_use]
    pub fn is_want(&self) -> bool {
        match self {
            StoreError::Io(error) => is_want(error),
            StoreError::Redb(error) => matches!(error.as_ref(), redb::Error::Io(error) if is_want(error)),
            StoreError::Corrupt { .. } | StoreError::Format { .. } => false,
        }
    }

    fn file(what: impl Into<String>) -> StoreError {
        StoreError::Corrupt { table: "file", key: 0, what: what.into() }
    }
}

impl Store {
    /// Opens `name`, or creates it when it is missing or empty. `cache_bytes` bounds the memory of
    /// redb's cache and of the verified key chunks together (filters come on top: 12 bits a key).
    ///
    /// On a full disk that does not let it open, it is opened over an overlay and [`Store::is_held`].
    ///
    /// # Errors
    /// [`StoreError::wants_rebuild`] when the file is damaged or of another format; else the disk's or redb's.
    pub fn open(disk: &dyn Disk, name: &str, cache_bytes: usize) -> Result<Store, StoreError> {
        let (file, is_made) = match disk.open(name) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (disk.create(name, 0)?, true),
            Err(error) => return Err(error.into()),
        };
        let is_new = file.len()? == 0;
        let store = match Store::open_file(file, cache_bytes) {
            Err(error) if error.is_want() => {
                tracing::warn!(%error, "the disk is full: the store is held as it is, for reading");
                if is_new {
                    // Half made, it would be taken for a damaged one.
                    disk.remove(name)?;
                    return Store::hold(Box::new(redb::backends::InMemoryBackend::new()), cache_bytes);
                }
                return Store::hold(disk.open_frozen(name)?, cache_bytes);
            }
            opened => opened?,
        };
        if is_made {
            // redb never syncs the folder.
            disk.sync_dir()?;
        }
        Ok(store)
    }

    /// Opens a file whose changes are in memory, and from then on refuses to change it.
    fn hold(overlay: Box<dyn StorageBackend>, cache_bytes: usize) -> Result<Store, StoreError> {
        let is_held = Arc::new(AtomicBool::new(false));
        let file = HeldFile::over(overlay, &is_held);
        let mut store = Store::open_file(Box::new(file), cache_bytes)?;
        is_held.store(true, Ordering::Release);
        store.is_held = AtomicBool::new(true);
        Ok(store)
    }

    /// Whether it can only be read, because the disk was full when it was opened.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// Opens a file whatever it lies on.
    pub(super) fn open_file(file: Box<dyn StorageBackend>, cache_bytes: usize) -> Result<Store, StoreError> {
        let is_empty = file.len()? == 0;
        let chunk_bytes = cache_bytes / 4;
        let db = guarded(|| {
            let mut builder = Builder::new();
            builder.set_cache_size(cache_bytes - chunk_bytes);
            Ok(builder.create_with_backend(OnDisk(file))?)
        })?;
        if is_empty {
            let mut writer = Writer::new(db.begin_write()?);
            writer.create_tables()?;
            writer.put(FORMATS, 0, Body::with_capacity(0))?;
            writer.commit()?;
        }
        let reader = Reader::new(guarded(|| Ok(db.begin_read()?))?);
        reader.require(FORMATS, 0, |body| body.is_empty().then_some(()))?;
        let key_tables = load_tables(&reader)?;
        Ok(Store {
            db: RwLock::new(Some(Guarded::new(super::STORE_FILE, db))),
            key_tables: RwLock::new(Arc::new(key_tables)),
            merging: Mutex::default(),
            chunks: chunk_cache(chunk_bytes as u64),
            resolutions: resolution_cache(RESOLUTION_CACHE_BYTES),
            turn: AtomicU64::new(0),
            is_held: AtomicBool::new(false),
        })
    }

    /// Opens the file again after a failure: redb refuses everything after its first I/O error.
    /// Whether the transaction that failed is in it, the caller finds out from [`Store::meta`].
    ///
    /// # Errors
    /// As [`Store::open`]; every use fails then until a later call succeeds.
    pub fn reopen(&self, disk: &dyn Disk, name: &str, cache_bytes: usize) -> Result<(), StoreError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let old = db.take();
        // First the old one lets go of the file: two of them must never write.
        drop(old);
        let again = Store::open(disk, name, cache_bytes)?;
        self.is_held.store(again.is_held(), Ordering::Release);
        *db = again.db.into_inner().unwrap_or_else(PoisonError::into_inner);
        let tables = again.key_tables.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.key_tables.write().unwrap_or_else(PoisonError::into_inner) = tables;
        self.chunks.invalidate_all();
        self.next_turn();
        Ok(())
    }

    /// The turn of what is read from now on.
    pub(super) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    /// What was read before may be out of date.
    pub(super) fn next_turn(&self) {
        self.turn.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn with<T>(&self, begin: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or_else(|| io::Error::other("the store's file could not be opened again"))?;
        guarded(|| begin(db))
    }

    /// A short read transaction: what it sees does not change under it.
    pub(super) fn reader(&self) -> Result<Reader, StoreError> {
        self.with(|db| Ok(Reader::new(db.begin_read()?)))
    }

    /// A write transaction; waits for the one before.
    pub(super) fn writer(&self) -> Result<Writer, StoreError> {
        self.with(|db| Ok(Writer::new(db.begin_write()?)))
    }
}

/// redb takes a backend by value, and a box of one is none.
#[derive(Debug)]
struct OnDisk(Box<dyn StorageBackend>);

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

impl From<redb::Error> for StoreError {
    /// Sorts redb's errors: is the file wrong, or is the disk?
    fn from(error: redb::Error) -> StoreError {
        use redb::Error;
        match error {
            Error::Corrupted(what) => StoreError::file(what),
            Error::UpgradeRequired(found) => StoreError::Format { found },
            Error::RepairAborted => StoreError::file("the file could not be repaired"),
            Error::LockPoisoned(_) => StoreError::file("the database asserted on a page before"),
            Error::Io(error) if is_about_content(error.kind()) => StoreError::file(error.to_string()),
            Error::TableTypeMismatch { table, .. }
            | Error::TableIsMultimap(table)
            | Error::TableIsNotMultimap(table)
            | Error::TableDoesNotExist(table) => {
                StoreError::file(format!("table {table} is missing or of another kind"))
            }
            Error::TypeDefinitionChanged { .. } => StoreError::file("a table has other types"),
            other => StoreError::Redb(Box::new(other)),
        }
    }
}

/// redb's word for a file that is none of its own; a read beyond the end of a file cut short; and an
/// offset that makes no sense, out of a damaged page. The disk did what it was told.
fn is_about_content(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
}

macro_rules! from_redb {
    ($($kind:ident),*) => {
        $(impl From<redb::$kind> for StoreError {
            fn from(error: redb::$kind) -> StoreError {
                redb::Error::from(error).into()
            }
        })*
    };
}
from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);
