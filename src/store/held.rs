//! The store on a full disk: held as it is, so that the books can be read.
//!
//! Promise: a store that a full disk does not let open is opened over a copy-on-write overlay in
//! memory: redb's repair after a hard end, or the tables of a new file, happen there. From then on every
//! write is refused like the disk refused it, so that nothing is believed stored that is not; whoever
//! wants to write opens the store again first and finds the disk with room, or full.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

/// A file over which an opening may write in memory, and nobody afterwards.
#[derive(Debug)]
pub(super) struct HeldFile {
    overlay: Box<dyn StorageBackend>,
    is_held: Arc<AtomicBool>,
}

impl HeldFile {
    /// `overlay` keeps changes in memory; they are refused once `is_held`.
    pub(super) fn over(overlay: Box<dyn StorageBackend>, is_held: &Arc<AtomicBool>) -> HeldFile {
        HeldFile { overlay, is_held: Arc::clone(is_held) }
    }

    fn check(&self) -> io::Result<()> {
        if self.is_held.load(Ordering::Acquire) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for HeldFile {
    fn len(&self) -> io::Result<u64> {
        self.overlay.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.overlay.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.overlay.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.overlay.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.overlay.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.overlay.close()
    }
}
