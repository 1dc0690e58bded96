//! A disk whose syncs take longer: for measuring what a slow disk does to answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redb::StorageBackend;

use super::{Ahead, Disk};

/// Another disk, with every sync of a file delayed.
#[derive(Debug)]
pub struct DelayDisk {
    below: Arc<dyn Disk>,
    delay: Duration,
}

impl DelayDisk {
    /// Delays each sync of `below` by `delay`.
    #[must_use]
    pub fn over(below: Arc<dyn Disk>, delay: Duration) -> DelayDisk {
        DelayDisk { below, delay }
    }
}

impl DelayDisk {
    fn slow(&self, file: Box<dyn StorageBackend>) -> Box<dyn StorageBackend> {
        Box::new(SlowFile { file, delay: self.delay })
    }
}

#[derive(Debug)]
struct SlowFile {
    file: Box<dyn StorageBackend>,
    delay: Duration,
}

impl StorageBackend for SlowFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        std::thread::sleep(self.delay);
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

impl Disk for DelayDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.below.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(self.slow(self.below.open(name)?))
    }
    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Box<dyn StorageBackend>> {
        Ok(self.slow(self.below.create(name, reserve_bytes)?))
    }
    fn open_frozen(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        self.below.open_frozen(name)
    }
    fn open_ahead(&self, name: &str) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        let (file, ahead) = self.below.open_ahead(name)?;
        Ok((self.slow(file), ahead))
    }
    fn create_ahead(&self, name: &str, reserve_bytes: u64) -> io::Result<(Box<dyn StorageBackend>, Arc<dyn Ahead>)> {
        let (file, ahead) = self.below.create_ahead(name, reserve_bytes)?;
        Ok((self.slow(file), ahead))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.below.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.below.sync_dir()
    }
    fn make_read_only(&self, name: &str) -> io::Result<()> {
        self.below.make_read_only(name)
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.below.read(name)
    }
    fn write_atomically(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.below.write_atomically(name, bytes)
    }
    fn hash(&self, name: &str) -> io::Result<[u8; 32]> {
        self.below.hash(name)
    }
    fn allocated_bytes(&self, name: &str) -> io::Result<u64> {
        self.below.allocated_bytes(name)
    }
}
