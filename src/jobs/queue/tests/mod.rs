//! Tests of the queue: against a naive model, and running.

mod killed;
mod model;
pub(in crate::jobs) mod running;
mod trouble;

use std::sync::Arc;

use crate::disk::{Disk, FolderDisk, OverlayDisk};

/// A folder in memory: the folder below is only where it is laid over.
pub(super) struct MemoryFolder {
    disk: Arc<dyn Disk>,
    _below: tempfile::TempDir,
}

fn memory_folder() -> MemoryFolder {
    let below = tempfile::tempdir().unwrap();
    let folder: Arc<dyn Disk> = Arc::new(FolderDisk::open(below.path()).unwrap());
    MemoryFolder { disk: Arc::new(OverlayDisk::over(folder)), _below: below }
}
