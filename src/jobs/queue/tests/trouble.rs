//! Disks that fail, files that are lost or damaged, rows that make no sense, and files of released formats.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redb::StorageBackend;

use super::super::file::QueueFile;
use super::super::tables::{BORN, STATE};
use super::super::*;
use super::running::{Rig, eventually, handler, job, limits, total};
use crate::disk::{Disk, FolderDisk};
use crate::domain::ids::Moment;

/// A disk whose writes and syncs fail while it is told to.
#[derive(Debug)]
struct Faulty {
    below: Arc<dyn Disk>,
    fails: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn StorageBackend>,
    fails: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

impl FaultyFile {
    fn check(&self) -> io::Result<()> {
        if self.fails.load(Ordering::Acquire) { Err(io::Error::other("the disk is in a bad mood")) } else { Ok(()) }
    }
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.syncs.fetch_add(1, Ordering::AcqRel);
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

impl Faulty {
    fn over(below: &Arc<dyn Disk>) -> Faulty {
        Faulty { below: Arc::clone(below), fails: Arc::default(), syncs: Arc::default() }
    }
    fn file(&self, file: Box<dyn StorageBackend>) -> Box<dyn StorageBackend> {
        Box::new(FaultyFile { file, fails: Arc::clone(&self.fails), syncs: Arc::clone(&self.syncs) })
    }
}

impl Disk for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        self.below.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(self.file(self.below.open(name)?))
    }
    fn create(&self, name: &str, reserve_bytes: u64) -> io::Result<Box<dyn StorageBackend>> {
        Ok(self.file(self.below.create(name, reserve_bytes)?))
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
        match self.fails.load(Ordering::Acquire) {
            true => Err(io::Error::other("the disk is in a bad mood")),
            false => self.below.write_atomically(name, bytes),
        }
    }
    fn hash(&self, name: &str) -> io::Result<[u8; 32]> {
        self.below.hash(name)
    }
    fn allocated_bytes(&self, name: &str) -> io::Result<u64> {
        self.below.allocated_bytes(name)
    }
}

type Effects = Arc<Mutex<BTreeMap<JobId, u32>>>;

/// Handlers that count effects: `mail` is done, `bad` dies, `later` waits for an hour.
fn handlers(effects: &Effects) -> Vec<Arc<dyn Handler>> {
    ["mail", "bad", "later"]
        .map(|kind| {
            let effects = Arc::clone(effects);
            handler(kind, limits(), move |job, _| {
                *effects.lock().entry(job.id).or_default() += 1;
                Box::pin(async move {
                    match kind {
                        "mail" => Outcome::Done,
                        "bad" => Outcome::Dead { why: "no".to_owned() },
                        _ => Outcome::Retry { after: Some(Duration::from_secs(3_600)), why: "busy".to_owned() },
                    }
                })
            })
        })
        .into()
}

#[test]
fn a_turn_that_could_not_be_written_has_not_happened_and_the_queue_resumes_with_the_disk() {
    let mut rig = Rig::new();
    let faulty = Arc::new(Faulty::over(&rig.disk));
    let fails = Arc::clone(&faulty.fails);
    rig.disk = faulty;
    let effects = Effects::default();
    let queue = rig.start(handlers(&effects));
    for _ in 0..3 {
        let ids: Vec<JobId> = (0..200).map(|_| rig.journal.bear("mail", 5)).collect();
        queue.wake();
        eventually("some are done", || effects.lock().contains_key(&ids[20]));
        fails.store(true, Ordering::Release);
        rig.journal.bear("mail", 5);
        queue.wake();
        eventually("the trouble is seen", || queue.stats().is_err() || queue.stats().unwrap().file_trouble.is_some());
        let asked = rig.runtime.block_on(queue.cancel(ids[0]));
        assert!(matches!(asked, Err(AskError::Unavailable)), "{asked:?}");
        fails.store(false, Ordering::Release);
        let born = effects.lock().len();
        eventually("it goes on", || queue.stats().is_ok_and(|stats| stats.file_trouble.is_none()));
        assert!(effects.lock().len() >= born);
    }
    eventually("all are done", || total(&queue, Status::Done) == 603);
    assert_eq!(effects.lock().len(), 603);
    let stats = queue.stats().unwrap();
    assert!(stats.epoch > 3 && stats.total(Status::Queued) == 0 && stats.total(Status::Running) == 0);
}

#[test]
fn one_commit_serves_many_jobs() {
    let mut rig = Rig::new();
    let faulty = Arc::new(Faulty::over(&rig.disk));
    let syncs = Arc::clone(&faulty.syncs);
    rig.disk = faulty;
    let count = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
    (0..count).for_each(|_| _ = rig.journal.bear("mail", 5));
    let queue = rig.start(handlers(&Effects::default()));
    eventually("all are done", || total(&queue, Status::Done) == count);
    let syncs = syncs.load(Ordering::Acquire);
    assert!(syncs < count, "{syncs} syncs for the births, leases and ends of {count} jobs");
}

/// 20 done, 5 dead, 5 that wait, 1 cancelled; the files closed.
fn a_used_queue(rig: &Rig, effects: &Effects) -> BTreeMap<&'static str, Vec<JobId>> {
    let mut ids: BTreeMap<&'static str, Vec<JobId>> = BTreeMap::new();
    for (kind, count) in [("mail", 20), ("bad", 5), ("later", 6)] {
        ids.insert(kind, (0..count).map(|_| rig.journal.bear(kind, 5)).collect());
    }
    let queue = rig.start(handlers(effects));
    eventually("all have run", || {
        total(&queue, Status::Done) == 20
            && total(&queue, Status::Dead) == 5
            && ids["later"].iter().all(|id| job(&queue, *id).attempts == 1 && job(&queue, *id).status == Status::Queued)
    });
    let cancelled = ids.get_mut("later").unwrap().pop().unwrap();
    assert_eq!(rig.runtime.block_on(queue.cancel(cancelled)), Ok(Status::Cancelled));
    queue.drain(Duration::from_secs(5));
    ids.insert("cancelled", vec![cancelled]);
    ids
}

#[test]
fn a_lost_file_costs_time_and_no_job_and_what_has_ended_does_not_run_again() {
    let rig = Rig::new();
    let effects = Effects::default();
    let ids = a_used_queue(&rig, &effects);
    for round in 1..=2 {
        rig.disk.remove(JOBS_FILE).unwrap();
        let queue = rig.start(handlers(&effects));
        eventually("the open ones run again", || {
            ids["bad"].iter().all(|id| effects.lock()[id] == round + 1)
                && ids["later"].iter().all(|id| effects.lock()[id] == round + 1)
        });
        assert!(ids["mail"].iter().all(|id| effects.lock()[id] == 1 && queue.get(*id).unwrap().is_none()));
        assert_eq!(effects.lock()[&ids["cancelled"][0]], 1);
        let new = rig.journal.bear("mail", 5);
        queue.wake();
        eventually("new ones run", || effects.lock().get(&new) == Some(&1));
        eventually("it is rebuilt", || total(&queue, Status::Done) == 1);
        queue.drain(Duration::from_secs(5));
        let record = ended::Ended::read(&*rig.disk).unwrap();
        assert!(record.contains(new) && !record.contains(ids["bad"][0]));
    }
}

#[test]
fn with_both_files_lost_every_job_runs_again_under_its_old_number() {
    let rig = Rig::new();
    let effects = Effects::default();
    let ids = a_used_queue(&rig, &effects);
    rig.disk.remove(JOBS_FILE).unwrap();
    rig.disk.remove(ENDED_FILE).unwrap();
    let queue = rig.start(handlers(&effects));
    eventually("all run again", || effects.lock().values().all(|count| *count == 2));
    assert_eq!(effects.lock().len(), ids.values().map(Vec::len).sum::<usize>(), "by the numbers of before");
    drop(queue);
}

#[test]
fn a_damaged_file_is_set_aside_and_another_version_is_refused() {
    let rig = Rig::new();
    let effects = Effects::default();
    let ids = a_used_queue(&rig, &effects);
    let bytes = rig.disk.read(JOBS_FILE).unwrap();
    rig.disk.write_atomically(JOBS_FILE, &[7; 10_000]).unwrap();
    let queue = rig.start(handlers(&effects));
    eventually("the open ones run again", || ids["bad"].iter().all(|id| effects.lock()[id] == 2));
    assert!(ids["mail"].iter().all(|id| effects.lock()[id] == 1));
    queue.drain(Duration::from_secs(5));
    assert!(rig.disk.list().unwrap().contains(&DAMAGED_FILE.to_owned()));
    rig.disk.write_atomically(JOBS_FILE, &bytes).unwrap();
    let (file, _) = QueueFile::open(Arc::clone(&rig.disk), Moment(0)).unwrap();
    let tx = file.write().unwrap();
    tx.open_table(tables::META).unwrap().insert(tables::FORMAT, 9).unwrap();
    tx.commit().unwrap();
    file.close();
    let refused = rig.start_with(handlers(&effects), Vec::new()).map(drop).unwrap_err();
    assert!(matches!(refused, StartError::File(QueueError::Format(9))), "{refused}");
}

#[test]
fn a_row_that_makes_no_sense_is_a_dead_letter_and_stops_nobody() {
    let rig = Rig::new();
    let ids: Vec<JobId> = (0..6).map(|_| rig.journal.bear("mail", 5)).collect();
    let all_wait = |kind: &'static str| vec![handler(kind, limits(), |_, _| Box::pin(std::future::pending()))];
    let queue = rig.start(all_wait("mail"));
    eventually("all run", || total(&queue, Status::Running) == 6);
    queue.drain(Duration::ZERO);
    let (file, _) = QueueFile::open(Arc::clone(&rig.disk), Moment(0)).unwrap();
    let tx = file.write().unwrap();
    tx.open_table(STATE).unwrap().insert(ids[0].0, [9; 100].as_slice()).unwrap();
    tx.open_table(BORN).unwrap().insert(ids[1].0, [9; 3].as_slice()).unwrap();
    tx.open_table(STATE).unwrap().remove(ids[2].0).unwrap();
    tx.commit().unwrap();
    file.close();
    let effects = Effects::default();
    let queue = rig.start(handlers(&effects));
    eventually("the others are done", || total(&queue, Status::Done) == 3);
    eventually("they are dead letters", || total(&queue, Status::Dead) == 3);
    for (id, args) in [(ids[0], vec![9; 100]), (ids[1], vec![9; 3]), (ids[2], vec![])] {
        let job = job(&queue, id);
        assert_eq!((job.status, job.is_unreadable, job.args), (Status::Dead, true, args));
        assert_eq!(job.last_error, "its row could not be read");
        assert_eq!(rig.runtime.block_on(queue.retry(id)), Err(Refusal::Unreadable.into()));
        assert!(!effects.lock().contains_key(&id));
    }
    let after = rig.journal.bear("mail", 5);
    queue.wake();
    eventually("the queue goes on", || effects.lock().contains_key(&after));
    eventually("nothing is left", || total(&queue, Status::Queued) + total(&queue, Status::Running) == 0);
}

/// `data/jobs/v1/` holds the files of a queue as version 1 wrote them; `UPDATE_FIXTURES=1 cargo test` writes them anew.
#[test]
fn files_of_version_1_are_opened_for_ever() {
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/jobs/v1");
    let mut rig = Rig::new();
    let effects = Effects::default();
    if std::env::var("UPDATE_FIXTURES").is_ok() {
        a_used_queue(&rig, &effects);
        std::fs::create_dir_all(&fixture).unwrap();
        for name in [JOBS_FILE, ENDED_FILE] {
            std::fs::write(fixture.join(name), rig.disk.read(name).unwrap()).unwrap();
        }
        redb::Database::open(fixture.join(JOBS_FILE)).unwrap().compact().unwrap();
        rig = Rig::new();
    }
    let folder = tempfile::tempdir().unwrap();
    rig.disk = Arc::new(FolderDisk::open(folder.path()).unwrap());
    for name in [JOBS_FILE, ENDED_FILE] {
        rig.disk.write_atomically(name, &std::fs::read(fixture.join(name)).unwrap()).unwrap();
    }
    // The journal of that time: 20 mails, 5 bad ones, 6 for later.
    for (kind, count) in [("mail", 20), ("bad", 5), ("later", 6)] {
        (0..count).for_each(|_| _ = rig.journal.bear(kind, 5));
    }
    let effects = Effects::default();
    let queue = rig.start(handlers(&effects));
    let new = rig.journal.bear("mail", 5);
    queue.wake();
    eventually("a new one is done", || total(&queue, Status::Done) == 21);
    let stats = queue.stats().unwrap();
    assert_eq!((stats.epoch, stats.position), (2, 32));
    assert_eq!((stats.total(Status::Dead), stats.total(Status::Queued), stats.total(Status::Cancelled)), (5, 5, 1));
    assert_eq!(effects.lock().keys().copied().collect::<Vec<_>>(), [new], "what ran then does not run again");
    let dead = queue.list(&JobFilter { status: Some(Status::Dead), kind: None }, None, 10).unwrap().jobs;
    assert!(dead.iter().all(|job| job.kind == "bad" && job.last_error == "no" && job.priority == 5));
    let record = ended::Ended::read(&*rig.disk).unwrap();
    assert!(record.contains(JobId::born(Seq(1), 0)) && !record.contains(dead[0].id));
    rig.runtime.block_on(async { assert_eq!(queue.retry(dead[0].id).await, Ok(())) });
    eventually("a dead one runs again", || effects.lock().get(&dead[0].id) == Some(&1));
}
