//! The queue with its threads: handlers, workers, retries, cancel, drain, schedules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::super::*;
use crate::config::{JOB_LEASE_US, JOB_TASKS};
use crate::disk::Disk;
use crate::domain::ids::{Moment, Seq};

/// A journal of births alone.
#[derive(Default)]
pub(in crate::jobs) struct Journal {
    births: Mutex<Vec<Birth>>,
}

impl Journal {
    /// Entry `seq` asks for a job.
    pub fn bear(&self, kind: &str, priority: u8) -> JobId {
        let mut births = self.births.lock();
        let seq = Seq(births.len() as u64 + 1);
        let args = seq.0.to_le_bytes().to_vec();
        let order = Order { kind: kind.to_owned(), args, priority, run_at: None };
        births.push(Birth { seq, index: 0, order, created_at: Moment(seq.0 as i64) });
        JobId::born(seq, 0)
    }
}

impl Births for Journal {
    fn after(&self, seq: Seq, max: usize) -> Result<(Vec<Birth>, Seq), String> {
        let births = self.births.lock();
        let page: Vec<Birth> = births.iter().skip(seq.0 as usize).take(max).cloned().collect();
        let through = page.last().map_or(Seq(births.len() as u64), |birth| birth.seq);
        Ok((page, through))
    }
}

type Run = Box<dyn for<'a> Fn(&'a Job, &'a Ctl) -> Work<'a> + Send + Sync>;

/// A handler out of a closure.
pub(super) struct Does {
    kind: &'static str,
    limits: KindLimits,
    run: Run,
}

impl Handler for Does {
    fn kind(&self) -> &'static str {
        self.kind
    }
    fn limits(&self) -> KindLimits {
        self.limits
    }
    fn run<'a>(&'a self, job: &'a Job, ctl: &'a Ctl) -> Work<'a> {
        (self.run)(job, ctl)
    }
}

pub(in crate::jobs) fn limits() -> KindLimits {
    let backoff = Backoff { base: Duration::from_micros(10), max: Duration::from_millis(1) };
    KindLimits { concurrency_max: 256, attempts_max: 3, backoff, ..KindLimits::default() }
}

pub(in crate::jobs) fn handler<F>(kind: &'static str, limits: KindLimits, run: F) -> Arc<dyn Handler>
where
    F: for<'a> Fn(&'a Job, &'a Ctl) -> Work<'a> + Send + Sync + 'static,
{
    Arc::new(Does { kind, limits, run: Box::new(run) })
}

/// What a queue in a test needs.
pub(in crate::jobs) struct Rig {
    pub journal: Arc<Journal>,
    pub runtime: tokio::runtime::Runtime,
    /// Microseconds that the books' clock is ahead.
    pub ahead: Arc<AtomicI64>,
    pub disk: Arc<dyn Disk>,
    _folder: super::MemoryFolder,
}

impl Rig {
    pub fn new() -> Rig {
        let folder = super::memory_folder();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let disk = Arc::clone(&folder.disk);
        Rig { journal: Arc::default(), runtime, ahead: Arc::default(), disk, _folder: folder }
    }

    pub fn start(&self, handlers: Vec<Arc<dyn Handler>>) -> Queue {
        self.start_with(handlers, Vec::new()).unwrap()
    }

    pub fn start_with(&self, handlers: Vec<Arc<dyn Handler>>, schedules: Vec<Schedule>) -> Result<Queue, StartError> {
        let (begun, ahead) = (Instant::now(), Arc::clone(&self.ahead));
        let now: Now = Arc::new(move || {
            Moment(1_800_000_000_000_000 + begun.elapsed().as_micros() as i64 + ahead.load(Ordering::Acquire))
        });
        let births = Arc::clone(&self.journal) as Arc<dyn Births>;
        let runtime = self.runtime.handle().clone();
        let options = QueueOptions { handlers, schedules, zone: TimeZone::UTC, births, runtime, now, seed: 1 };
        Queue::start(Arc::clone(&self.disk), options)
    }
}

/// Waits until something is so, for at most half a minute.
pub(in crate::jobs) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub(super) fn total(queue: &Queue, status: Status) -> u64 {
    queue.stats().unwrap().total(status)
}

pub(super) fn job(queue: &Queue, id: JobId) -> Job {
    queue.get(id).unwrap().unwrap()
}

#[test]
fn every_birth_runs_once_the_most_urgent_first_and_not_again_after_a_restart() {
    let rig = Rig::new();
    let seen: Arc<Mutex<Vec<JobId>>> = Arc::default();
    let handlers = || {
        let seen = Arc::clone(&seen);
        let one = KindLimits { concurrency_max: 1, ..limits() };
        vec![handler("mail", one, move |job, _| {
            assert_eq!(job.birth_seq().unwrap().0.to_le_bytes().as_slice(), job.args);
            seen.lock().push(job.id);
            Box::pin(async { Outcome::Done })
        })]
    };
    let ids: Vec<JobId> = (0..50).map(|at| rig.journal.bear("mail", at % 10)).collect();
    let queue = rig.start(handlers());
    queue.wake();
    eventually("all are done", || total(&queue, Status::Done) == 50);
    // All of them were taken in before the first lease: births of one page are one transaction.
    let mut wanted: Vec<JobId> = ids.clone();
    wanted.sort_by_key(|id| (std::cmp::Reverse((id.birth_seq().unwrap().0 - 1) % 10), *id));
    assert_eq!(*seen.lock(), wanted);
    queue.drain(Duration::from_secs(5));
    queue.drain(Duration::from_secs(5));
    assert!(queue.get(ids[0]).is_err(), "the file is closed");
    let again = rig.start(handlers());
    let last = rig.journal.bear("mail", 0);
    again.wake();
    eventually("the new one is done", || total(&again, Status::Done) == 51);
    assert_eq!(seen.lock().len(), 51);
    assert_eq!(job(&again, last).attempts, 1);
    assert_eq!(again.stats().unwrap().epoch, 2);
    let page = again.list(&JobFilter::default(), None, 10).unwrap();
    assert_eq!((page.jobs.len(), page.jobs[0].id), (10, last));
    let next = again.list(&JobFilter::default(), page.next_before, 1_000).unwrap();
    assert_eq!((next.jobs.len(), next.next_before), (41, None));
}

#[test]
fn failures_are_tried_again_and_die_at_last() {
    let rig = Rig::new();
    let short = KindLimits { timeout: Duration::from_millis(5), ..limits() };
    let handlers = vec![
        handler("panics", limits(), |_, _| Box::pin(async { panic!("a bad day") })),
        handler("panics_early", limits(), |_, _| panic!("before the first await")),
        handler("hangs", short, |_, _| Box::pin(std::future::pending())),
        handler("never", limits(), |_, _| Box::pin(async { Outcome::Dead { why: "no such address".to_owned() } })),
        handler("third_time", limits(), |job, _| {
            let why = "x".repeat(1_000);
            let outcome = if job.attempts < 3 { Outcome::Retry { after: None, why } } else { Outcome::Done };
            Box::pin(async { outcome })
        }),
        handler("later", limits(), |_, _| {
            let after = Some(Duration::from_secs(3_600));
            Box::pin(async move { Outcome::Retry { after, why: "busy".to_owned() } })
        }),
        handler("panics_in_thread", KindLimits { is_blocking: true, ..limits() }, |_, _| panic!("in a thread")),
    ];
    let table = [
        ("panics", Status::Dead, 3, "it panicked: a bad day"),
        ("panics_early", Status::Dead, 3, "it panicked: before the first await"),
        ("hangs", Status::Dead, 3, "it took longer than"),
        ("never", Status::Dead, 1, "no such address"),
        ("third_time", Status::Done, 3, "xxx"),
        ("later", Status::Queued, 1, "busy"),
        ("panics_in_thread", Status::Dead, 3, "it panicked: in a thread"),
        ("stranger", Status::Dead, 0, "nobody handles jobs of kind \"stranger\""),
    ];
    let ids: Vec<JobId> = table.iter().map(|row| rig.journal.bear(row.0, 5)).collect();
    let queue = rig.start(handlers);
    for (id, (kind, status, attempts, error)) in ids.iter().zip(table) {
        eventually(kind, || {
            queue.get(*id).unwrap().is_some_and(|job| job.status == status && job.attempts == attempts)
        });
        let job = job(&queue, *id);
        assert!(job.last_error.starts_with(error) && job.last_error.len() <= 500, "{kind}: {}", job.last_error);
        assert_eq!(job.ended_at.is_some(), status.is_ended());
    }
    let later = job(&queue, ids[5]);
    assert!(later.run_at.0 - later.started_at.unwrap().0 >= 3_600_000_000, "what was asked for is waited for");
    assert_eq!(queue.list(&JobFilter { status: Some(Status::Dead), kind: None }, None, 10).unwrap().jobs.len(), 6);
    rig.runtime.block_on(async {
        assert_eq!(queue.retry(ids[4]).await, Err(Refusal::WrongStatus(Status::Done).into()));
        assert_eq!(queue.retry(JobId(99)).await, Err(Refusal::Unknown.into()));
        assert_eq!(queue.retry(ids[3]).await, Ok(()));
        assert_eq!(queue.cancel(ids[5]).await, Ok(Status::Cancelled));
    });
    eventually("it dies again", || job(&queue, ids[3]).status == Status::Dead);
}

#[test]
fn a_kind_never_has_more_at_once_than_it_may_and_workers_grow_and_block_apart() {
    let rig = Rig::new();
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let few = KindLimits { concurrency_max: 3, ..limits() };
    let handlers = vec![
        handler("few", few, {
            let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
            move |_, _| {
                let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
                Box::pin(async move {
                    most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    at_once.fetch_sub(1, Ordering::SeqCst);
                    Outcome::Done
                })
            }
        }),
        handler("many", limits(), {
            let gate = Arc::clone(&gate);
            move |_, _| {
                let gate = Arc::clone(&gate);
                Box::pin(async move {
                    gate.acquire().await.unwrap().forget();
                    Outcome::Done
                })
            }
        }),
        handler("document", KindLimits { is_blocking: true, ..limits() }, |_, _| {
            let is_apart = std::thread::current().name() == Some("munim-job");
            Box::pin(async move { if is_apart { Outcome::Done } else { Outcome::Dead { why: "no".to_owned() } } })
        }),
    ];
    (0..60).for_each(|_| _ = rig.journal.bear("few", 5));
    (0..20).for_each(|_| _ = rig.journal.bear("document", 5));
    (0..100).for_each(|_| _ = rig.journal.bear("many", 1));
    let queue = rig.start(handlers);
    eventually("the quick ones are done", || total(&queue, Status::Done) == 80);
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    // A hundred wait at the gate: more workers than at the start are needed for all of them to run.
    eventually("workers have grown", || total(&queue, Status::Running) == 100);
    eventually("the figures say so", || queue.stats().unwrap().tasks.busy == 100);
    let tasks = queue.stats().unwrap().tasks;
    assert!(tasks.size >= 100 && tasks.size > JOB_TASKS.0, "{tasks:?}");
    gate.add_permits(100);
    eventually("all are done", || total(&queue, Status::Done) == 180);
    eventually("nobody is busy", || queue.stats().unwrap().tasks.busy == 0);
}

#[test]
fn a_running_job_is_told_of_its_cancel_and_its_progress_is_seen() {
    let rig = Rig::new();
    let stops = handler("stops", limits(), |_, ctl| {
        ctl.progress(Progress { done: 3, total: 10 });
        Box::pin(async {
            ctl.stopped().await;
            assert!(ctl.is_cancelled());
            Outcome::GivenBack
        })
    });
    let id = rig.journal.bear("stops", 5);
    let queue = rig.start(vec![stops]);
    eventually("progress", || {
        queue.get(id).unwrap().is_some_and(|job| job.progress == Progress { done: 3, total: 10 })
    });
    let running = job(&queue, id);
    assert!(running.lease.is_some_and(|lease| lease.token > 0 && lease.epoch == 1));
    assert_eq!(rig.runtime.block_on(queue.cancel(id)), Ok(Status::Running));
    eventually("cancelled", || job(&queue, id).status == Status::Cancelled);
    assert_eq!(rig.runtime.block_on(queue.cancel(id)), Ok(Status::Cancelled), "again is no mistake");
}

#[test]
fn a_drain_gives_leases_back_and_the_attempt_is_not_counted() {
    let rig = Rig::new();
    let id = rig.journal.bear("long", 5);
    let queue = rig.start(vec![handler("long", limits(), |_, _| Box::pin(std::future::pending()))]);
    eventually("it runs", || queue.get(id).unwrap().is_some_and(|job| job.status == Status::Running));
    queue.drain(Duration::from_millis(20));
    assert_eq!(rig.runtime.block_on(queue.cancel(id)), Err(AskError::Unavailable));
    let queue = rig.start(vec![handler("long", limits(), |_, ctl| {
        Box::pin(async {
            ctl.stopped().await;
            Outcome::GivenBack
        })
    })]);
    eventually("it runs again", || job(&queue, id).status == Status::Running);
    assert_eq!((job(&queue, id).attempts, job(&queue, id).voided), (1, 0));
    // This one hears that the process ends, and the drain does not wait for its whole patience.
    let begun = Instant::now();
    queue.drain(Duration::from_secs(25));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn who_lost_his_lease_is_refused_by_his_token_and_the_job_is_done_by_another() {
    let rig = Rig::new();
    let (tell, told) = unbounded::<u64>();
    let (let_go, hold) = bounded::<()>(0);
    let limits = KindLimits { is_blocking: true, timeout: Duration::from_secs(60), ..limits() };
    let blocks = handler("blocks", limits, move |job, _| {
        let (tell, hold, attempt) = (tell.clone(), hold.clone(), job.attempts);
        let token = job.lease.unwrap().token;
        Box::pin(async move {
            tell.send(token).unwrap();
            if attempt == 1 {
                // A thread that does not come back in time: it blocks, and cannot be stopped.
                let _ = hold.recv();
                return Outcome::Dead { why: "too late".to_owned() };
            }
            Outcome::Done
        })
    });
    let id = rig.journal.bear("blocks", 5);
    let queue = rig.start(vec![blocks]);
    let patience = Duration::from_secs(30);
    let first = told.recv_timeout(patience).unwrap();
    // The books' clock passes the handler's time, and the lease that is not renewed any more.
    rig.ahead.fetch_add(61_000_000, Ordering::AcqRel);
    eventually("the lease runs out", || {
        rig.ahead.fetch_add(JOB_LEASE_US / 10, Ordering::AcqRel);
        queue.wake();
        job(&queue, id).attempts == 2
    });
    let second = told.recv_timeout(patience).unwrap();
    assert!(second > first);
    eventually("it is done", || job(&queue, id).status == Status::Done);
    let_go.send_timeout((), patience).unwrap();
    let after = rig.journal.bear("blocks", 5);
    drop(let_go);
    queue.wake();
    eventually("the queue goes on", || queue.get(after).unwrap().is_some_and(|job| job.attempts > 0));
    let done = job(&queue, id);
    assert_eq!((done.status, done.attempts), (Status::Done, 2), "what came too late changed nothing: {done:?}");
}

#[test]
fn a_schedule_fires_once_a_time_and_missed_firings_run_once() {
    let rig = Rig::new();
    let fired: Arc<Mutex<BTreeMap<JobId, Moment>>> = Arc::default();
    let start = || {
        let fired = Arc::clone(&fired);
        let report = handler("report", limits(), move |job, _| {
            assert!(fired.lock().insert(job.id, job.created_at).is_none(), "a firing is one job");
            if job.birth_seq().is_none() {
                let day = jiff::Timestamp::from_microsecond(job.created_at.0).unwrap().strftime("%Y-%m-%d");
                assert_eq!(job.args, day.to_string().as_bytes(), "the date is the firing's");
            }
            Box::pin(async { Outcome::Done })
        });
        let order = Order { kind: "report".to_owned(), args: b"{today}".to_vec(), priority: 5, run_at: None };
        let hourly = Schedule { name: "hourly".to_owned(), cron: "0 * * * *".to_owned(), order };
        rig.start_with(vec![report], vec![hourly]).unwrap()
    };
    let hour = 3_600_000_000;
    let queue = start();
    // A birth shows that a turn is over, and with it that the schedule has been seen.
    let birth = rig.journal.bear("report", 5);
    queue.wake();
    eventually("the birth ran", || fired.lock().remove(&birth).is_some());
    rig.ahead.fetch_add(hour, Ordering::AcqRel);
    eventually("it fired", || fired.lock().len() == 1);
    queue.drain(Duration::from_secs(5));
    rig.ahead.fetch_add(5 * hour, Ordering::AcqRel);
    let queue = start();
    eventually("it fired for those that were missed", || fired.lock().len() == 2);
    rig.ahead.fetch_add(hour, Ordering::AcqRel);
    eventually("and goes on", || fired.lock().len() == 3);
    let moments: Vec<i64> = fired.lock().values().map(|at| at.0).collect();
    assert!(moments.iter().all(|at| at % hour == 0));
    assert_eq!((moments[1] - moments[0], moments[2] - moments[1]), (5 * hour, hour));
    drop(queue);
    let twice = || handler("report", limits(), |_, _| Box::pin(async { Outcome::Done }));
    assert!(matches!(rig.start_with(vec![twice(), twice()], Vec::new()), Err(StartError::BadKind("report"))));
}

#[test]
fn what_is_asked_for_under_one_key_is_one_job() {
    let rig = Rig::new();
    let queue = rig.start(vec![handler("alert", limits(), |_, _| Box::pin(async { Outcome::Done }))]);
    let order = Order { kind: "alert".to_owned(), args: vec![1], priority: 9, run_at: None };
    rig.runtime.block_on(async {
        let first = queue.enqueue(order.clone(), b"disk_full").await.unwrap();
        assert_eq!(queue.enqueue(order.clone(), b"disk_full").await, Ok(first));
        assert_ne!(queue.enqueue(order.clone(), b"disk_slow").await, Ok(first));
        let bad = Order { priority: 10, ..order.clone() };
        let refused = queue.enqueue(bad, b"x").await;
        assert_eq!(refused, Err(Refusal::BadOrder("the priority is beyond 9").into()));
    });
    eventually("both are done", || total(&queue, Status::Done) == 2);
}
