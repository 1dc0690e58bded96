//! Opening the store, and what can go wrong with it.

use redb::Database;

use crate::disk::Disk;

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
    Io(#[from] std::io::Error),
}

/// The store of one data folder.
#[derive(Debug)]
pub struct Store {
    #[expect(dead_code, reason = "signatures first")]
    db: Database,
}

impl StoreError {
    /// Whether deleting and rebuilding the store is the remedy (the disk itself is not to blame).
    #[must_use]
    pub fn wants_rebuild(&self) -> bool {
        matches!(self, StoreError::Corrupt { .. } | StoreError::Format { .. })
    }
}

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Store {
    /// Opens `name`, or creates it when it is missing or empty. `cache_bytes` bounds the memory of
    /// redb's cache and of the verified key chunks together (filters come on top: 12 bits a key).
    ///
    /// # Errors
    /// [`StoreError::wants_rebuild`] when the file is damaged or of another format; else the disk's or redb's.
    pub fn open(disk: &dyn Disk, name: &str, cache_bytes: usize) -> Result<Store, StoreError> {
        todo!()
    }
}
