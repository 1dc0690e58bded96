//! Upkeep that runs in the very moment in which the writer gives a new segment its name.
//!
//! The other simulations step writer and upkeep in turn on one thread, which never meets the two
//! inside one roll. Here the disk itself runs a step of the upkeep before each rename.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use munim::disk::Disk;
use munim::domain::entry::Entry;
use munim::domain::ids::Moment;
use munim::domain::time::Day;
use munim::journal::{JournalOptions, JournalState, Maintenance, Opened, Trailer, open};
use redb::StorageBackend;

use super::disk::SimDisk;

#[derive(Debug)]
struct Meddler {
    below: SimDisk,
    upkeep: Mutex<Option<Maintenance>>,
    meddled: AtomicU64,
}

impl Meddler {
    fn step(&self) {
        // A rename by the upkeep itself (its manifest) meets the lock held: then it is not the writer's.
        let Ok(mut upkeep) = self.upkeep.try_lock() else { return };
        if let Some(upkeep) = upkeep.as_mut() {
            self.meddled.fetch_add(1, Ordering::Relaxed);
            while upkeep.step() {}
        }
    }
}

impl Disk for Meddler {
    fn list(&self) -> io::Result<Vec<String>> {
        self.below.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        self.below.open(name)
    }
    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Box<dyn StorageBackend>> {
        self.below.create(name, reserve_bytes)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step();
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

#[test]
fn upkeep_that_is_awake_during_a_roll_harms_nothing() {
    let disk = Arc::new(Meddler { below: SimDisk::new(3), upkeep: Mutex::default(), meddled: AtomicU64::new(0) });
    let options = JournalOptions { journal_id: 5, segment_bytes: 8_192, ..JournalOptions::default() };
    let Opened { journal, mut writer, maintenance } = open(Arc::clone(&disk) as Arc<dyn Disk>, options).unwrap();
    *disk.upkeep.lock().unwrap_or_else(PoisonError::into_inner) = Some(maintenance);
    disk.step();
    for number in 1..=400 {
        {
            let mut appender = journal.lock();
            appender.begin(Moment(number), Day(1));
            appender.push(&Entry::PeriodReopened { through: None, reason: "x".repeat(300).into() });
            appender.end(&Trailer::default());
        }
        writer.step();
        assert_eq!(journal.state(), JournalState::Open, "record {number}");
        if number % 3 == 0 {
            disk.step();
        }
    }
    assert!(journal.segments().len() > 5, "there were rolls");
    assert!(disk.meddled.load(Ordering::Relaxed) > 140);
    assert_eq!(journal.durable_seq(), journal.appended_seq());
}
