//! The rules of the queue against a naive model: a list of jobs, and sentences about them.
//!
//! Promise: whatever is asked in whatever order, with transactions that are lost and processes that end in between, no
//! job is lost or doubled, urgency and `run_at` are respected, and the end of a job counts only from whoever has the
//! newest lease on it.

use std::sync::Arc;

use proptest::prelude::*;
use redb::ReadableTable;

use super::super::change::{Change, LeaseAsk, Memory, Refusal, Verdict};
use super::super::file::QueueFile;
use super::super::job::{Job, JobId, Order, Progress, Status};
use super::super::tables::{ENDED, LEASES, READY, STATE};
use super::super::view;
use super::memory_folder;
use crate::config::JOB_VOIDED_MAX;
use crate::domain::ids::{Moment, Seq};

const KINDS: [&str; 2] = ["mail", "document"];
const ATTEMPTS_MAX: u32 = 3;
const LEASE: i64 = 100;

#[derive(Clone, Debug)]
enum Op {
    /// A birth: kind, priority, delay.
    Birth(usize, u8, i64),
    /// The last births again.
    BirthsAgain,
    /// Leases: kind, priority, how many.
    Lease(usize, u8, usize),
    /// The end of an attempt: which lease of all that were ever given, and how.
    Finish(usize, End),
    Renew(usize),
    Cancel(usize),
    Retry(usize),
    Expire,
    Pass(i64),
    /// The process ends; the next one opens the file.
    Kill,
    /// The process ends in the middle of what the next operation would have done.
    KillInside(Box<Op>),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Failed(i64),
    Dead,
    GivenBack,
}

fn op() -> impl Strategy<Value = Op> {
    let end = prop_oneof![
        4 => Just(End::Done),
        4 => (0..150_i64).prop_map(End::Failed),
        1 => Just(End::Dead),
        1 => Just(End::GivenBack)
    ];
    let plain = prop_oneof![
        8 => (0..2_usize, 0..10_u8, prop_oneof![Just(0), 0..200_i64]).prop_map(|(k, p, d)| Op::Birth(k, p, d)),
        1 => Just(Op::BirthsAgain),
        8 => (0..2_usize, 0..10_u8, 1..4_usize).prop_map(|(k, p, n)| Op::Lease(k, p, n)),
        8 => (any::<usize>(), end).prop_map(|(at, end)| Op::Finish(at, end)),
        2 => any::<usize>().prop_map(Op::Renew),
        1 => any::<usize>().prop_map(Op::Cancel),
        2 => any::<usize>().prop_map(Op::Retry),
        2 => Just(Op::Expire),
        4 => (0..120_i64).prop_map(Op::Pass),
        1 => Just(Op::Kill),
    ];
    plain.prop_flat_map(|op| prop_oneof![19 => Just(op.clone()), 1 => Just(Op::KillInside(Box::new(op)))])
}

/// What the model knows of a job.
#[derive(Clone, Debug, PartialEq)]
struct Naive {
    id: JobId,
    kind: usize,
    priority: u8,
    run_at: i64,
    status: Status,
    attempts: u32,
    voided: u16,
    /// Token and end of the newest lease.
    lease: (u64, i64),
    is_cancel_asked: bool,
}

#[derive(Clone, Debug, Default)]
struct Model {
    jobs: Vec<Naive>,
    /// Every lease that was ever given: place of the job, token.
    leases: Vec<(usize, u64)>,
    ends_counted: Vec<usize>,
    now: i64,
}

impl Model {
    /// What is due of a kind and priority: by run_at, then number.
    fn due(&self, kind: usize, priority: u8) -> Vec<usize> {
        let mut due: Vec<usize> = (0..self.jobs.len())
            .filter(|at| {
                let job = &self.jobs[*at];
                job.status == Status::Queued && job.kind == kind && job.priority == priority && job.run_at <= self.now
            })
            .collect();
        due.sort_by_key(|at| (self.jobs[*at].run_at, self.jobs[*at].id));
        due
    }

    fn fail(&mut self, at: usize, retry_at: i64) {
        let job = &mut self.jobs[at];
        if job.is_cancel_asked {
            job.status = Status::Cancelled;
            if job.attempts < ATTEMPTS_MAX {
                job.run_at = retry_at;
            }
        } else if job.attempts >= ATTEMPTS_MAX {
            job.status = Status::Dead;
        } else {
            job.status = Status::Queued;
            job.run_at = retry_at;
        }
    }
}

/// The queue's file and the memory that goes with it.
struct Bench {
    file: QueueFile,
    memory: Memory,
    model: Model,
}

impl Bench {
    /// Does something in a transaction, which is then committed or lost.
    fn change<T>(&mut self, is_kept: bool, work: impl FnOnce(&mut Change<'_>, &mut Model) -> T) -> T {
        let mut memory = self.memory.clone();
        let mut model = self.model.clone();
        let tx = self.file.write().unwrap();
        let mut change = Change::begin(&tx, &mut memory).unwrap();
        let result = work(&mut change, &mut model);
        let is_changed = change.finish().unwrap();
        drop(change);
        if is_kept {
            if is_changed {
                tx.commit().unwrap();
            } else {
                tx.abort().unwrap();
            }
            self.memory = memory;
            self.model = model;
        } else {
            drop(tx);
        }
        result
    }

    fn act(&mut self, op: &Op, is_kept: bool) {
        match op {
            Op::Pass(time) => self.model.now += time,
            Op::Kill => self.kill(),
            Op::KillInside(op) => {
                // What was not committed has not happened.
                self.act(op, false);
                self.kill();
            }
            op => self.change(is_kept, |change, model| act(change, model, op)),
        }
    }

    fn kill(&mut self) {
        let epoch = self.memory.epoch;
        self.memory = self.file.reopen(Moment(self.model.now)).unwrap();
        assert_eq!(self.memory.epoch, epoch + 1);
        for job in self.model.jobs.iter_mut().filter(|job| job.status == Status::Running) {
            job.voided += 1;
            let is_dead = job.voided >= JOB_VOIDED_MAX;
            job.attempts -= u32::from(!is_dead);
            job.status = match (job.is_cancel_asked, is_dead) {
                (true, _) => Status::Cancelled,
                (false, true) => Status::Dead,
                (false, false) => Status::Queued,
            };
        }
    }

    /// Compares every job, and the indexes with the jobs.
    fn check(&self) {
        let mut wanted = self.model.jobs.clone();
        wanted.sort_by_key(|job| std::cmp::Reverse(job.id));
        let page = view::list(&self.file, &view::JobFilter::default(), None, 1_000).unwrap();
        assert_eq!(page.jobs.len(), wanted.len(), "nothing is lost, nothing doubled");
        for (job, naive) in page.jobs.iter().zip(&wanted) {
            assert_eq!(naive_of(job, naive), *naive, "{job:?}");
            assert_eq!(job.args, job.id.0.to_le_bytes());
        }
        for status in super::super::job::STATUSES {
            let count = wanted.iter().filter(|job| job.status == status).count();
            assert_eq!(self.memory.total(status), count as u64, "count of {status:?}");
            let filter = view::JobFilter { status: Some(status), kind: None };
            assert_eq!(view::list(&self.file, &filter, None, 1_000).unwrap().jobs.len(), count, "list of {status:?}");
        }
        let tx = self.file.read().unwrap();
        use redb::ReadableTableMetadata;
        let of = |is: fn(Status) -> bool| wanted.iter().filter(|job| is(job.status)).count() as u64;
        assert_eq!(tx.open_table(READY).unwrap().len().unwrap(), of(|status| status == Status::Queued));
        assert_eq!(tx.open_table(LEASES).unwrap().len().unwrap(), of(|status| status == Status::Running));
        assert_eq!(tx.open_table(ENDED).unwrap().len().unwrap(), of(Status::is_ended));
        assert_eq!(tx.open_table(STATE).unwrap().iter().unwrap().count(), wanted.len());
        for at in 0..wanted.len() {
            let ends = self.model.ends_counted.iter().filter(|ended| **ended == at).count();
            assert!(ends <= 1, "no two owners' ends of one job both count");
        }
    }
}

/// The view of a job in the model's words; what only one of them knows is taken from the other.
fn naive_of(job: &Job, naive: &Naive) -> Naive {
    Naive {
        id: job.id,
        kind: KINDS.iter().position(|kind| *kind == job.kind).unwrap(),
        priority: job.priority,
        run_at: job.run_at.0,
        status: job.status,
        attempts: job.attempts,
        voided: job.voided,
        lease: job.lease.map_or(naive.lease, |lease| (lease.token, lease.until.0)),
        is_cancel_asked: job.is_cancel_asked,
    }
}

fn order(kind: usize, id: JobId, priority: u8, run_at: i64) -> Order {
    let kind = KINDS[kind].to_owned();
    Order { kind, args: id.0.to_le_bytes().to_vec(), priority, run_at: Some(Moment(run_at)) }
}

fn birth(change: &mut Change<'_>, model: &mut Model, (kind, priority, delay): (usize, u8, i64)) {
    let now = Moment(model.now);
    let id = JobId::born(Seq(model.jobs.len() as u64 + 1), 0);
    let run_at = model.now + delay;
    assert!(change.insert(id, &order(kind, id, priority, run_at), now, now).unwrap());
    model.jobs.push(Naive {
        id,
        kind,
        priority,
        run_at,
        status: Status::Queued,
        attempts: 0,
        voided: 0,
        lease: (0, 0),
        is_cancel_asked: false,
    });
}

fn act(change: &mut Change<'_>, model: &mut Model, op: &Op) {
    let now = Moment(model.now);
    match op {
        Op::Birth(kind, priority, delay) => birth(change, model, (*kind, *priority, *delay)),
        Op::BirthsAgain => {
            for job in &model.jobs {
                let order = order(1 - job.kind, job.id, 9, 0);
                assert!(!change.insert(job.id, &order, now, now).unwrap(), "a job is taken in once");
            }
        }
        Op::Lease(kind, priority, count) => lease(change, model, (*kind, *priority, *count)),
        Op::Finish(at, end) => finish(change, model, *at, *end),
        Op::Renew(at) => {
            let Some((at, token)) = pick(&model.leases, *at).copied() else { return };
            let progress = Progress { done: 1, total: 2 };
            let until = Moment(model.now + LEASE);
            let renewed = change.renew(model.jobs[at].id, token, Some(until), Some(progress)).unwrap();
            let job = &mut model.jobs[at];
            match job.status == Status::Running && job.lease.0 == token {
                true => {
                    assert_eq!(renewed, Ok(job.is_cancel_asked));
                    job.lease.1 = until.0;
                }
                false => assert_eq!(renewed, Err(Refusal::Stale)),
            }
        }
        Op::Cancel(at) => {
            let Some(job) = pick_mut(&mut model.jobs, *at) else { return };
            let wanted = match job.status {
                Status::Done => Err(Refusal::WrongStatus(Status::Done)),
                Status::Running => {
                    job.is_cancel_asked = true;
                    Ok(Status::Running)
                }
                _ => {
                    job.status = Status::Cancelled;
                    Ok(Status::Cancelled)
                }
            };
            assert_eq!(change.cancel(job.id, now).unwrap(), wanted);
        }
        Op::Retry(at) => {
            let Some(job) = pick_mut(&mut model.jobs, *at) else { return };
            let wanted = match job.status {
                Status::Dead | Status::Cancelled => {
                    job.status = Status::Queued;
                    (job.attempts, job.voided, job.run_at, job.is_cancel_asked) = (0, 0, now.0, false);
                    Ok(())
                }
                status => Err(Refusal::WrongStatus(status)),
            };
            assert_eq!(change.retry(job.id, now).unwrap(), wanted);
        }
        Op::Expire => {
            let lost = change.expire(now, 1_000, |_| ATTEMPTS_MAX).unwrap();
            let runs_out = |job: &Naive| job.status == Status::Running && job.lease.1 <= now.0;
            let wanted: Vec<usize> = (0..model.jobs.len()).filter(|at| runs_out(&model.jobs[*at])).collect();
            assert_eq!(lost.len(), wanted.len());
            for at in wanted {
                assert!(lost.contains(&model.jobs[at].id));
                model.fail(at, now.0);
            }
        }
        Op::Pass(_) | Op::Kill | Op::KillInside(_) => {}
    }
}

fn lease(change: &mut Change<'_>, model: &mut Model, (kind, priority, count_max): (usize, u8, usize)) {
    let Some(number) = change.memory.kind(KINDS[kind]) else { return };
    let until = Moment(model.now + LEASE);
    let ask = LeaseAsk { kind: number, priority, count_max, worker: 7, until };
    let mut leased = Vec::new();
    let token_before = change.memory.token;
    change.lease(&ask, Moment(model.now), &mut leased).unwrap();
    let wanted: Vec<usize> = model.due(kind, priority).into_iter().take(count_max).collect();
    let ids: Vec<JobId> = leased.iter().map(|job| job.id).collect();
    assert_eq!(ids, wanted.iter().map(|at| model.jobs[*at].id).collect::<Vec<_>>(), "the oldest due ones, in order");
    let mut newest = token_before;
    for (at, job) in wanted.into_iter().zip(&leased) {
        let lease = job.lease.unwrap();
        assert!(lease.token > newest, "tokens grow");
        assert!(model.leases.iter().all(|(_, token)| *token < lease.token), "over restarts, too");
        newest = lease.token;
        model.leases.push((at, lease.token));
        let naive = &mut model.jobs[at];
        naive.status = Status::Running;
        naive.attempts += 1;
        naive.lease = (lease.token, until.0);
        assert_eq!((lease.epoch, job.attempts), (change.memory.epoch, naive.attempts));
    }
}

fn finish(change: &mut Change<'_>, model: &mut Model, at: usize, end: End) {
    let Some((at, token)) = pick(&model.leases, at).copied() else { return };
    let now = Moment(model.now);
    let verdict = match end {
        End::Done => Verdict::Done,
        End::Failed(wait) => {
            Verdict::Failed { error: "e".repeat(600), retry_at: Moment(now.0 + wait), attempts_max: ATTEMPTS_MAX }
        }
        End::Dead => Verdict::Dead { error: "never".to_owned() },
        End::GivenBack => Verdict::GivenBack,
    };
    let id = model.jobs[at].id;
    let ended = change.end_attempt(id, token, verdict, now).unwrap();
    let job = &mut model.jobs[at];
    if job.status != Status::Running || job.lease.0 != token {
        assert_eq!(ended, Err(Refusal::Stale), "whoever has no lease is refused by his token");
        return;
    }
    match end {
        End::Failed(wait) => model.fail(at, now.0 + wait),
        End::Done => {
            job.status = Status::Done;
            model.ends_counted.push(at);
        }
        End::Dead => job.status = if job.is_cancel_asked { Status::Cancelled } else { Status::Dead },
        End::GivenBack => {
            job.attempts -= 1;
            job.status = if job.is_cancel_asked { Status::Cancelled } else { Status::Queued };
        }
    }
    assert_eq!(ended, Ok(model.jobs[at].status));
}

fn pick<T>(list: &[T], at: usize) -> Option<&T> {
    (!list.is_empty()).then(|| &list[at % list.len()])
}

fn pick_mut<T>(list: &mut [T], at: usize) -> Option<&mut T> {
    let len = list.len();
    (len > 0).then(|| &mut list[at % len])
}

fn bench() -> (Bench, super::MemoryFolder) {
    let folder = memory_folder();
    let (file, memory) = QueueFile::open(Arc::clone(&folder.disk), Moment(0)).unwrap();
    (Bench { file, memory, model: Model::default() }, folder)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 16 } else { 96 }, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_a_naive_one_does(ops in proptest::collection::vec(op(), 1..120)) {
        let (mut bench, _folder) = bench();
        for op in &ops {
            bench.act(op, true);
            bench.check();
        }
    }
}

#[test]
fn a_job_that_ends_the_process_each_time_is_dead_at_last() {
    let (mut bench, _folder) = bench();
    bench.act(&Op::Birth(0, 5, 0), true);
    for voided in 1..=JOB_VOIDED_MAX {
        bench.act(&Op::Lease(0, 5, 1), true);
        bench.act(&Op::Kill, true);
        bench.check();
        let job = view::get(&bench.file, bench.model.jobs[0].id).unwrap().unwrap();
        assert_eq!(job.voided, voided);
        assert_eq!(job.status == Status::Dead, voided == JOB_VOIDED_MAX, "{job:?}");
    }
    bench.act(&Op::Retry(0), true);
    bench.check();
}

#[test]
fn ended_jobs_are_swept_by_age_in_small_steps_and_dead_ones_are_told_as_ended_then() {
    let (mut bench, _folder) = bench();
    for _ in 0..10 {
        bench.act(&Op::Birth(0, 5, 0), true);
    }
    bench.act(&Op::Lease(0, 5, 10), true);
    (0..9).for_each(|at| bench.act(&Op::Finish(at, if at == 4 { End::Dead } else { End::Done }), true));
    bench.check();
    let day = crate::config::JOBS_KEPT_US;
    let sweep = |bench: &mut Bench, now: i64, max: usize| {
        bench.change(true, |change, _| {
            let more = change.sweep(Moment(now), max).unwrap();
            (more, change.ended.clone())
        })
    };
    let now = bench.model.now;
    assert_eq!(sweep(&mut bench, now + day, 3), (false, vec![]), "none is old enough");
    let left = |bench: &Bench| view::list(&bench.file, &view::JobFilter::default(), None, 100).unwrap().jobs.len();
    assert!(sweep(&mut bench, now + day + 1, 3).0);
    assert_eq!(left(&bench), 7);
    assert!(sweep(&mut bench, now + day + 1, 3).0);
    let (more, ended) = sweep(&mut bench, now + day + 1, 4);
    assert!(!more);
    assert_eq!(ended, [bench.model.jobs[4].id.0], "the dead one");
    assert_eq!(left(&bench), 1, "the one that runs");
    assert_eq!(bench.memory.total(Status::Running), 1);
    assert_eq!(Status::Done as usize, 2);
    assert_eq!(bench.memory.total(Status::Done) + bench.memory.total(Status::Dead), 0);
}

#[test]
fn births_beyond_their_bounds_are_dead_letters_and_stop_nobody() {
    let (mut bench, _folder) = bench();
    let long = "ü".repeat(40);
    let bad = [
        Order { kind: String::new(), args: vec![1], priority: 0, run_at: None },
        Order { kind: long, args: vec![1], priority: 0, run_at: None },
        Order { kind: "mail".to_owned(), args: vec![0; 20_000], priority: 0, run_at: None },
        Order { kind: "mail".to_owned(), args: vec![1], priority: 200, run_at: Some(Moment(i64::MAX)) },
    ];
    bench.change(true, |change, _| {
        for (at, order) in bad.iter().enumerate() {
            let id = JobId::born(Seq(1), at as u8);
            assert!(change.insert(id, order, Moment(5), Moment(6)).unwrap());
        }
    });
    for at in 0..4 {
        let job = view::get(&bench.file, JobId::born(Seq(1), at)).unwrap().unwrap();
        assert_eq!(job.status, Status::Dead);
        assert!(job.last_error.starts_with("it was born wrong: "), "{}", job.last_error);
        assert!(job.args.len() <= 16_384 && job.kind.len() <= 64 && job.priority <= 9);
    }
}
