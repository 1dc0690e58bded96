//! kill -9 at random moments with many jobs queued, in a process of its own.
//!
//! Promise: every job's effect is seen at least once, and counted once by the job's id; none is lost.
//!
//! The test runs its own binary again as a child, which works on a folder until it is killed. `MUNIM_JOBS_KILLS` says
//! how often (default 8), `MUNIM_JOBS_COUNT` how many jobs there are (default 100,000; 5,000 in a debug build).

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::RngCore;

use super::super::*;
use super::running::{handler, limits};
use crate::disk::FolderDisk;

const FOLDER: &str = "MUNIM_JOBS_CHILD_FOLDER";

fn number_from(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn job_count() -> u64 {
    number_from("MUNIM_JOBS_COUNT", if cfg!(debug_assertions) { 5_000 } else { 100_000 })
}

/// A journal in which every entry asks for a job.
struct Endless(u64);

impl Births for Endless {
    fn after(&self, seq: Seq, max: usize) -> Result<(Vec<Birth>, Seq), String> {
        let through = Seq(self.0.min(seq.0 + max as u64));
        let births = (seq.0 + 1..=through.0).map(|seq| {
            let order = Order { kind: "mail".to_owned(), args: vec![1; 40], priority: (seq % 10) as u8, run_at: None };
            Birth { seq: Seq(seq), index: 0, order, created_at: Moment(seq as i64) }
        });
        Ok((births.collect(), through))
    }
}

/// Not a test by itself: what the test below starts and kills. Each effect is one write of eight bytes.
#[test]
fn the_child_that_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let effects = OpenOptions::new().create(true).append(true).open(folder.join("effects")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let mail = handler("mail", KindLimits { concurrency_max: 256, ..limits() }, move |job, _| {
        (&effects).write_all(&job.id.0.to_le_bytes()).unwrap();
        Box::pin(async { Outcome::Done })
    });
    let begun = Instant::now();
    let options = QueueOptions {
        handlers: vec![mail],
        schedules: Vec::new(),
        zone: TimeZone::UTC,
        births: Arc::new(Endless(job_count())),
        runtime: runtime.handle().clone(),
        now: Arc::new(|| Moment(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64)),
        seed: 1,
    };
    let queue = Queue::start(Arc::new(FolderDisk::open(folder.join("books")).unwrap()), options).unwrap();
    let mut taken_in = None;
    // Not by counting what is done: the queue keeps no more than so many of those.
    let is_over = |stats: QueueStats| {
        stats.position == job_count() && stats.total(Status::Queued) + stats.total(Status::Running) == 0
    };
    while !is_over(queue.stats().unwrap()) {
        assert!(begun.elapsed() < Duration::from_secs(300), "{:?}", queue.stats());
        if taken_in.is_none() && queue.stats().unwrap().position == job_count() {
            taken_in = Some(begun.elapsed());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let took = begun.elapsed();
    queue.drain(Duration::from_secs(5));
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    std::fs::write(folder.join("figures"), format!("taken in {taken_in:?}, done {took:?}, {peak}\n")).unwrap();
}

fn start(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["jobs::queue::tests::killed::the_child_that_is_killed", "--exact"]);
    command.env(FOLDER, folder).stdout(Stdio::null()).stdin(Stdio::null()).spawn().unwrap()
}

/// Waits for the child's end, as long as one has patience. Whether it ended by itself.
fn wait(child: &mut Child, has_patience: impl Fn() -> bool) -> bool {
    while has_patience() {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the child failed: {status}");
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    false
}

#[test]
fn no_effect_is_lost_by_kill_9_and_each_is_counted_once_by_its_id() {
    let seed = number_from("MUNIM_JOBS_SEED", u64::from(std::process::id()));
    let mut rng = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("books")).unwrap();
    let mut killed = 0;
    let effects = folder.path().join("effects");
    let count = || std::fs::metadata(&effects).map_or(0, |file| file.len() / 8);
    for left in (1..=number_from("MUNIM_JOBS_KILLS", 8)).rev() {
        let (begun, seen) = (Instant::now(), count());
        // One in four while the queue opens; the others when so much of the work is done, however quick the machine is.
        let early = (rng.next_u64() % 4 == 0).then(|| Duration::from_millis(rng.next_u64() % 60));
        let until = seen + rng.next_u64() % (job_count().saturating_sub(seen) / left).max(1);
        let mut child = start(folder.path());
        if wait(&mut child, || early.map_or(count() <= until, |span| begun.elapsed() < span)) {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
    }
    assert!(killed > 0, "seed {seed}: nothing was killed");
    let (mut child, begun) = (start(folder.path()), Instant::now());
    assert!(wait(&mut child, || begun.elapsed() < Duration::from_secs(310)), "seed {seed}: the last child hangs");
    let bytes = std::fs::read(&effects).unwrap();
    let mut seen: HashMap<u64, u32> = HashMap::new();
    for id in bytes.chunks_exact(8) {
        *seen.entry(u64::from_le_bytes(id.try_into().unwrap())).or_default() += 1;
    }
    let repeated = seen.values().filter(|count| **count > 1).count();
    let figures = std::fs::read_to_string(folder.path().join("figures")).unwrap();
    println!("seed {seed}: killed {killed} times, {repeated} effects repeated; the last one: {figures}");
    for seq in 1..=job_count() {
        assert!(seen.contains_key(&JobId::born(Seq(seq), 0).0), "seed {seed}: the job of entry {seq} was lost");
    }
    assert_eq!(seen.len() as u64, job_count(), "seed {seed}: effects of jobs that nobody asked for");
    // Only what ran, or had just ended, when the process was killed may repeat.
    assert!(repeated <= 4 * crate::config::JOB_TASKS.1 * (killed + 1), "seed {seed}: {repeated} repeats");
}
