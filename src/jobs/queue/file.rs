//! The queue's file: opening it, and what can go wrong with it.
//!
//! `jobs.redb` is no book: all that it knows of births can be had from the journal again. So a file that makes no
//! sense is set aside under [`DAMAGED_FILE`], a new one is begun, and births are taken in from the start; the record
//! of ended jobs (`ended.rs`) says which of them need not run again.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};

use super::change::{Change, Memory};
use super::tables::{
    BORN, COUNTS, DEAD, ENDED, EPOCH, FORMAT, KINDS, LEASES, META, POSITION, READY, REBUILDING, SCHEDULES, STATE, TOKEN,
};
use crate::config::JOBS_CACHE_BYTES;
use crate::disk::{AnyBackend, Disk, Guarded, is_want};
use crate::domain::ids::Moment;

/// Name of the queue's file in the data folder.
pub const JOBS_FILE: &str = "jobs.redb";

/// What a damaged queue's file is set aside as. The next one replaces it.
pub const DAMAGED_FILE: &str = "jobs.redb.damaged";

const VERSION: u64 = 1;

/// Why the queue could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The file makes no sense. A new one must be begun.
    #[error("the job queue's file is damaged: {0}")]
    Corrupt(String),
    /// The file is of another version of Munim.
    #[error("the job queue's file has format {0}, which this version does not read")]
    Format(u64),
    /// redb could not read or write.
    #[error("the job queue's database gave up")]
    Redb(#[source] Box<redb::Error>),
    /// The folder could not be read or written.
    #[error("could not reach the job queue's file")]
    Io(#[from] io::Error),
    /// It failed before and has not been opened again.
    #[error("the job queue's file could not be opened again")]
    Closed,
}

impl QueueError {
    /// Whether a new file is the remedy.
    #[must_use]
    pub fn wants_rebuild(&self) -> bool {
        matches!(self, QueueError::Corrupt(_))
    }

    /// Whether something has run out that may come back: space, above all.
    #[must_use]
    pub fn is_want(&self) -> bool {
        match self {
            QueueError::Io(error) => is_want(error),
            QueueError::Redb(error) => matches!(error.as_ref(), redb::Error::Io(error) if is_want(error)),
            QueueError::Corrupt(_) | QueueError::Format(_) | QueueError::Closed => false,
        }
    }
}

/// Runs redb's code on the queue's file and turns its panics into an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, QueueError>) -> Result<T, QueueError> {
    crate::disk::guarded(JOBS_FILE, work)
        .unwrap_or_else(|_| Err(QueueError::Corrupt("the database asserted on a page".to_owned())))
}

/// The open file. Clones are the same file.
#[derive(Clone, Debug)]
pub(super) struct QueueFile {
    disk: Arc<dyn Disk>,
    /// `None` while it is opened again after a failure. Guards the handle: transactions outlive it.
    db: Arc<RwLock<Option<Guarded<Database>>>>,
}

impl QueueFile {
    /// Opens or creates the file, and voids the leases of whoever had it open before.
    ///
    /// `now` is greater than every token of a file that was lost: tokens start there.
    pub fn open(disk: Arc<dyn Disk>, now: Moment) -> Result<(QueueFile, Memory), QueueError> {
        let file = QueueFile { disk, db: Arc::default() };
        let memory = file.reopen(now)?;
        Ok((file, memory))
    }

    /// Opens the file again after a failure: redb refuses everything after its first I/O error.
    pub fn reopen(&self, now: Moment) -> Result<Memory, QueueError> {
        // First the old one lets go of the file: two of them must never write.
        drop(self.db.write().take());
        let opened = guarded(|| open_db(&*self.disk, now));
        let (db, memory) = match opened {
            Err(error) if error.wants_rebuild() => {
                self.set_aside(&error)?;
                guarded(|| open_db(&*self.disk, now))?
            }
            opened => opened?,
        };
        *self.db.write() = Some(Guarded::new(JOBS_FILE, db));
        Ok(memory)
    }

    /// Puts the file out of the way, so that the next opening begins a new one.
    pub fn set_aside(&self, error: &QueueError) -> Result<(), QueueError> {
        tracing::error!(%error, "{JOBS_FILE} is set aside as {DAMAGED_FILE}: births are taken in from the journal again");
        drop(self.db.write().take());
        self.disk.rename(JOBS_FILE, DAMAGED_FILE)?;
        self.disk.sync_dir()?;
        Ok(())
    }

    /// The folder that it lies in.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// A write transaction.
    pub fn write(&self) -> Result<WriteTransaction, QueueError> {
        let db = self.db.read();
        Ok(db.as_ref().ok_or(QueueError::Closed)?.begin_write()?)
    }

    /// A read transaction: what it sees does not change under it.
    pub fn read(&self) -> Result<ReadTransaction, QueueError> {
        let db = self.db.read();
        Ok(db.as_ref().ok_or(QueueError::Closed)?.begin_read()?)
    }

    /// Closes the file.
    pub fn close(&self) {
        drop(self.db.write().take());
    }
}

fn open_db(disk: &dyn Disk, now: Moment) -> Result<(Database, Memory), QueueError> {
    let (file, is_made) = match disk.open(JOBS_FILE) {
        Ok(file) => (file, false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (disk.create(JOBS_FILE, 0)?, true),
        Err(error) => return Err(error.into()),
    };
    let db = Builder::new().set_cache_size(JOBS_CACHE_BYTES).create_with_backend(AnyBackend::new(file))?;
    if is_made {
        // redb never syncs the folder.
        disk.sync_dir()?;
    }
    let tx = db.begin_write()?;
    let has_record = match disk.read(super::ended::ENDED_FILE) {
        Ok(bytes) => !bytes.is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    create_tables(&tx, now, has_record)?;
    let mut memory = load(&tx)?;
    {
        let mut change = Change::begin(&tx, &mut memory)?;
        change.memory.epoch += 1;
        change.void_all(now)?;
        change.finish()?;
    }
    tx.commit()?;
    Ok((db, memory))
}

/// Makes the tables of a new file; refuses one of another format.
fn create_tables(tx: &WriteTransaction, now: Moment, has_record: bool) -> Result<(), QueueError> {
    let mut meta = tx.open_table(META)?;
    let format = meta.get(FORMAT)?.map(|format| format.value());
    match format {
        Some(VERSION) => return Ok(()),
        Some(other) => return Err(QueueError::Format(other)),
        None => {}
    }
    meta.insert(FORMAT, VERSION)?;
    meta.insert(TOKEN, now.0.max(0) as u64)?;
    meta.insert(REBUILDING, u64::from(has_record))?;
    tx.open_table(KINDS)?.insert(0, "unknown")?;
    tx.open_table(BORN)?;
    tx.open_table(STATE)?;
    tx.open_table(READY)?;
    tx.open_table(LEASES)?;
    tx.open_table(DEAD)?;
    tx.open_table(ENDED)?;
    tx.open_table(COUNTS)?;
    tx.open_table(SCHEDULES)?;
    Ok(())
}

fn load(tx: &WriteTransaction) -> Result<Memory, QueueError> {
    let meta = tx.open_table(META)?;
    let number = |name: &str| -> Result<u64, QueueError> { Ok(meta.get(name)?.map_or(0, |number| number.value())) };
    let mut memory = Memory {
        position: number(POSITION)?,
        epoch: number(EPOCH)? as u32,
        token: number(TOKEN)?,
        is_rebuilding: number(REBUILDING)? == 1,
        ..Memory::default()
    };
    for row in tx.open_table(KINDS)?.iter()? {
        let (number, name) = row?;
        if usize::from(number.value()) != memory.kinds.len() {
            return Err(QueueError::Corrupt(format!("kind {} is out of order", number.value())));
        }
        memory.kinds.push(name.value().into());
    }
    for row in tx.open_table(COUNTS)?.iter()? {
        let (key, count) = row?;
        memory.counts.insert(key.value(), count.value());
    }
    Ok(memory)
}

impl From<redb::Error> for QueueError {
    /// Sorts redb's errors: is the file wrong, or is the disk?
    fn from(error: redb::Error) -> QueueError {
        use redb::Error;
        match error {
            Error::Corrupted(what) => QueueError::Corrupt(what),
            Error::UpgradeRequired(found) => QueueError::Format(u64::from(found)),
            Error::RepairAborted => QueueError::Corrupt("the file could not be repaired".to_owned()),
            Error::LockPoisoned(_) => QueueError::Corrupt("the database asserted on a page before".to_owned()),
            // redb's word for a file that is none of its own; a read beyond the end of a file cut short.
            Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                QueueError::Corrupt(error.to_string())
            }
            Error::TableTypeMismatch { table, .. }
            | Error::TableIsMultimap(table)
            | Error::TableIsNotMultimap(table)
            | Error::TableDoesNotExist(table) => {
                QueueError::Corrupt(format!("table {table} is missing or of another kind"))
            }
            Error::TypeDefinitionChanged { .. } => QueueError::Corrupt("a table has other types".to_owned()),
            other => QueueError::Redb(Box::new(other)),
        }
    }
}

macro_rules! from_redb {
    ($($kind:ident),*) => {
        $(impl From<redb::$kind> for QueueError {
            fn from(error: redb::$kind) -> QueueError {
                redb::Error::from(error).into()
            }
        })*
    };
}
from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);
