//! Copy-on-write in memory: what is opened through it can be changed, and nothing changes.
//!
//! Promise: not one byte of the folder below is written, created, renamed or removed. redb opens
//! a file only by marking it as open; offline verify and sealed segments are read through this.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::StorageBackend;

use super::Disk;

/// Changes are kept in pages of this many bytes: redb's own page.
const PAGE_BYTES: u64 = 4096;

/// A file of which only the changes are kept, in memory.
#[derive(Debug)]
pub struct OverlayBackend {
    below: Box<dyn StorageBackend>,
    /// Read often, written by nobody but redb's open and close.
    changes: RwLock<Changes>,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    /// Bytes of the file below that still show through: below the shortest length ever set.
    below_len: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl OverlayBackend {
    /// Lays an empty overlay over a file.
    ///
    /// # Errors
    /// Whatever the length of the file below costs.
    pub fn over(below: Box<dyn StorageBackend>) -> io::Result<OverlayBackend> {
        let len = below.len()?;
        Ok(OverlayBackend { below, changes: RwLock::new(Changes { len, below_len: len, pages: BTreeMap::new() }) })
    }

    fn read_below(&self, below_len: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let visible = below_len.saturating_sub(offset).min(out.len() as u64) as usize;
        let (shown, zeros) = out.split_at_mut(visible);
        zeros.fill(0);
        if shown.is_empty() { Ok(()) } else { self.below.read(offset, shown) }
    }
}

impl StorageBackend for OverlayBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes.read().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        let end = offset + out.len() as u64;
        if end > changes.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(changes.below_len, offset, out)?;
        let first_page = offset / PAGE_BYTES;
        for (page, bytes) in changes.pages.range(first_page..=end / PAGE_BYTES) {
            let start = page * PAGE_BYTES;
            let (from, to) = (start.max(offset), (start + PAGE_BYTES).min(end));
            if from < to {
                out[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        if len < changes.len {
            changes.below_len = changes.below_len.min(len);
            changes.pages.split_off(&len.div_ceil(PAGE_BYTES));
            if let Some(bytes) = changes.pages.get_mut(&(len / PAGE_BYTES)) {
                bytes[(len % PAGE_BYTES) as usize..].fill(0);
            }
        }
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset + data.len() as u64;
        changes.len = changes.len.max(end);
        let below_len = changes.below_len;
        for page in offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let start = page * PAGE_BYTES;
            let bytes = match changes.pages.entry(page) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(new) => {
                    let mut bytes = vec![0; PAGE_BYTES as usize].into_boxed_slice();
                    self.read_below(below_len, start, &mut bytes)?;
                    new.insert(bytes)
                }
            };
            let (from, to) = (start.max(offset), (start + PAGE_BYTES).min(end));
            bytes[(from - start) as usize..(to - start) as usize]
                .copy_from_slice(&data[(from - offset) as usize..(to - offset) as usize]);
        }
        Ok(())
    }
}

/// A folder that can be used like any other and is not changed by it.
#[derive(Debug)]
pub struct OverlayDisk {
    below: Arc<dyn Disk>,
    /// What differs from the folder below. Files that redb holds open are shared with it.
    changes: Mutex<FolderChanges>,
}

#[derive(Debug, Default)]
struct FolderChanges {
    removed: BTreeSet<String>,
    files: BTreeMap<String, Arc<OverlayBackend>>,
}

/// An open file of an [`OverlayDisk`]: opening it again sees the same changes.
#[derive(Debug)]
struct Shared(Arc<OverlayBackend>);

impl StorageBackend for Shared {
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
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

impl OverlayDisk {
    /// Lays an empty overlay over a folder.
    #[must_use]
    pub fn over(below: Arc<dyn Disk>) -> OverlayDisk {
        OverlayDisk { below, changes: Mutex::default() }
    }

    fn file(&self, name: &str) -> io::Result<Arc<OverlayBackend>> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = changes.files.get(name) {
            return Ok(Arc::clone(file));
        }
        if changes.removed.contains(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = Arc::new(OverlayBackend::over(self.below.open_frozen(name)?)?);
        changes.files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<Arc<OverlayBackend>> {
        let file = OverlayBackend::over(Box::new(redb::backends::InMemoryBackend::new()))?;
        file.write(0, bytes)?;
        let file = Arc::new(file);
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.removed.remove(name);
        changes.files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl Disk for OverlayDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let below = self.below.list()?;
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: BTreeSet<String> = below.into_iter().filter(|name| !changes.removed.contains(name)).collect();
        names.extend(changes.files.keys().cloned());
        Ok(names.into_iter().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(Shared(self.file(name)?)))
    }

    fn create(&self, name: &str, _: u64) -> io::Result<Box<dyn StorageBackend>> {
        if self.list()?.iter().any(|there| there == name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Box::new(Shared(self.put(name, &[])?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.file(from)?;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.files.remove(from);
        changes.removed.insert(from.to_owned());
        changes.removed.remove(to);
        changes.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.file(name)?;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.files.remove(name);
        changes.removed.insert(name.to_owned());
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn make_read_only(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.file(name)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read(0, &mut bytes)?;
        Ok(bytes)
    }

    fn write_atomically(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(name, bytes).map(|_| ())
    }

    fn hash(&self, name: &str) -> io::Result<[u8; 32]> {
        super::hash_in_pieces(&*self.file(name)?)
    }

    fn allocated_bytes(&self, name: &str) -> io::Result<u64> {
        self.file(name)?.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_through_the_overlay_and_nowhere_else() {
        let below = redb::backends::InMemoryBackend::new();
        below.set_len(10_000).unwrap();
        below.write(0, &[7; 10_000]).unwrap();
        let overlay = OverlayBackend::over(Box::new(below)).unwrap();
        overlay.write(4_090, &[1; 10]).unwrap();
        let mut seen = [0; 30];
        overlay.read(4_080, &mut seen).unwrap();
        assert_eq!(seen[..10], [7; 10]);
        assert_eq!(seen[10..20], [1; 10]);
        assert_eq!(seen[20..], [7; 10]);
        overlay.set_len(4_095).unwrap();
        overlay.set_len(9_000).unwrap();
        let mut seen = [9; 20];
        overlay.read(4_085, &mut seen).unwrap();
        assert_eq!(seen[..5], [7; 5]);
        assert_eq!(seen[5..10], [1; 5]);
        assert_eq!(seen[10..], [0; 10], "what was cut off does not come back");
        assert!(overlay.read(8_990, &mut seen).is_err(), "beyond the end");
        let mut original = [0; 10];
        overlay.below.read(4_090, &mut original).unwrap();
        assert_eq!(original, [7; 10]);
    }
}
