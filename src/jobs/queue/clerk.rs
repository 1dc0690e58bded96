//! The one thread that writes: it takes whatever has gathered, and commits it as one.
//!
//! Steps of a turn:
//! 1. wait for a question, or for the moment at which something is due; take all questions that are there;
//! 2. in one transaction: carry them out, renew the leases of jobs that run, take back those that have run out, fire
//!    schedules, bury what nobody handles, give out leases, sweep;
//! 3. commit, if anything changed. One fsync for all of it: nobody waits for one of his own;
//! 4. only then answer, and hand leased jobs to workers: an attempt is on disk before it begins, so that a job that
//!    ends the process cannot do so for ever.
//!
//! After a failed write nothing of the turn has happened. Every lease is void then: the file is opened again under a
//! new epoch, and those who work are told to stop.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::RecvTimeoutError;

use super::change::{Change, LeaseAsk, Refusal, Verdict};
use super::desk::{Ask, Desk, IntakeAnswer, Registered, Running};
use super::ended::{Ended, EndedLog};
use super::file::{QueueError, guarded};
use super::handler::{Ctl, KindLimits, Outcome};
use super::job::{Birth, Job, JobId, Status};
use super::workers::{Attempt, Sizing, Threads, spawn};
use crate::config::{
    JOB_LEASE_US, JOB_PRIORITY_MAX, JOB_PROGRESS_US, JOB_RENEWAL_US, JOB_TASKS, JOB_THREADS, JOBS_OPEN_MAX,
    JOBS_SWEPT_AT_ONCE, JOBS_TURN_ASKS,
};
use crate::domain::ids::{Moment, Seq};

/// Longest wait with nothing to do: clocks may jump.
const REST: Duration = Duration::from_secs(1);

/// Waits between tries to open the file again.
const REOPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Leases that one turn takes back.
const EXPIRED_AT_ONCE: usize = 1_024;

/// What is done when the transaction is on disk.
#[derive(Default)]
struct After {
    replies: Vec<Box<dyn FnOnce() + Send>>,
    leased: Vec<(usize, Job)>,
    next_at: Option<i64>,
    has_more: bool,
}

/// The thread's state.
pub(super) struct Clerk {
    desk: Desk,
    registry: Vec<Registered>,
    running: HashMap<JobId, Running>,
    tasks: Sizing,
    sizing: Sizing,
    threads: Threads,
    /// Tokens of threads whose job was given to another.
    stuck: BTreeSet<u64>,
    log: EndedLog,
    /// While births are taken in again.
    rebuild: Option<Ended>,
    renewed_at: Moment,
    progress_at: Moment,
    next_at: Option<i64>,
    has_more: bool,
    rotation: usize,
    worker: u32,
    drain_by: Option<Instant>,
    /// The file failed: when to open it again, and the wait after that.
    broken: Option<(Instant, Duration)>,
}

impl Clerk {
    /// Ready to [`Clerk::run`].
    pub fn new(desk: Desk) -> Result<Clerk, QueueError> {
        let rebuild = match desk.memory.is_rebuilding {
            true => Some(Ended::read(&**desk.file.disk())?),
            false => None,
        };
        let registry = desk.handlers.iter().map(|handler| Registered {
            handler: Arc::clone(handler),
            kind: handler.kind(),
            limits: handler.limits(),
            running: 0,
        });
        let mut clerk = Clerk {
            registry: registry.collect(),
            running: HashMap::new(),
            tasks: Sizing::new(JOB_TASKS),
            sizing: Sizing::new(JOB_THREADS),
            threads: Threads::new(desk.runtime.clone(), desk.asks.0.clone(), JOB_THREADS.0),
            stuck: BTreeSet::new(),
            log: EndedLog::new(Arc::clone(desk.file.disk())),
            rebuild,
            renewed_at: Moment(0),
            progress_at: Moment(0),
            next_at: None,
            has_more: true,
            rotation: 0,
            worker: 0,
            drain_by: None,
            broken: None,
            desk,
        };
        clerk.show(None);
        Ok(clerk)
    }

    /// Works until it is drained.
    pub fn run(mut self) {
        loop {
            let asks = self.gather();
            if let Some((at, wait)) = self.broken {
                // Nobody is answered, so that everybody knows that nothing was done.
                drop(asks);
                if Instant::now() >= at {
                    self.reopen(wait);
                }
            } else if let Err(error) = self.turn(asks) {
                self.fail(&error);
            }
            if let Some(by) = self.drain_by
                && (self.running.is_empty() || self.broken.is_some() || Instant::now() >= by)
            {
                break;
            }
        }
        self.end();
    }

    /// Waits for something to do, and takes the questions that are there.
    fn gather(&mut self) -> Vec<Ask> {
        let mut wait = REST;
        if let Some((at, _)) = self.broken {
            wait = wait.min(at.saturating_duration_since(Instant::now()));
        } else if self.has_more {
            wait = Duration::ZERO;
        } else if let Some(next_at) = self.next_at {
            let us = next_at.saturating_sub((self.desk.now)().0).max(0);
            wait = wait.min(Duration::from_micros(us as u64));
        }
        if let Some(by) = self.drain_by {
            wait = wait.min(by.saturating_duration_since(Instant::now()));
        }
        let mut asks = Vec::new();
        match self.desk.asks.1.recv_timeout(wait) {
            Ok(ask) => asks.push(ask),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        asks.extend(self.desk.asks.1.try_iter().take(JOBS_TURN_ASKS - 1));
        let outside =
            asks.iter().filter(|ask| matches!(ask, Ask::Enqueue { .. } | Ask::Cancel { .. } | Ask::Retry { .. }));
        self.desk.waiting.fetch_sub(outside.count(), Ordering::AcqRel);
        if let Some(Ask::Drain { patience }) = asks.iter().find(|ask| matches!(ask, Ask::Drain { .. })) {
            self.begin_drain(*patience);
        }
        asks
    }

    /// One transaction and what follows from it.
    fn turn(&mut self, asks: Vec<Ask>) -> Result<(), QueueError> {
        let now = (self.desk.now)();
        let mut memory = self.desk.memory.clone();
        let mut after = After::default();
        let (ended, is_reopened, ahead) = guarded(|| {
            let tx = self.desk.file.write()?;
            let mut change = Change::begin(&tx, &mut memory)?;
            for ask in asks {
                self.carry_out(&mut change, ask, now, &mut after)?;
            }
            self.renew(&mut change, now)?;
            self.take_back(&mut change, now)?;
            let fires_at = self.desk.schedules.fire(&mut change, now)?;
            let has_strays = self.bury_strays(&mut change, now)?;
            if self.drain_by.is_none() {
                self.grant(&mut change, now, &mut after)?;
            }
            after.has_more = change.sweep(now, JOBS_SWEPT_AT_ONCE)? || has_strays;
            let ahead = change.look_ahead(now)?;
            after.next_at = fires_at.map(|at| at.0).into_iter().chain(ahead.next_at).min();
            let is_changed = change.finish()?;
            let said = (std::mem::take(&mut change.ended), change.is_reopened, ahead);
            drop(change);
            if is_changed {
                tx.commit()?;
            } else {
                tx.abort()?;
            }
            Ok(said)
        })?;
        self.desk.memory = memory;
        self.note_ended(&ended, is_reopened, now)?;
        for reply in after.replies {
            reply();
        }
        for (handler, job) in after.leased {
            self.begin(handler, job, now);
        }
        let wait = ahead.oldest_due.map(|due| now.0.saturating_sub(due));
        let (tasks, threads) = (self.busy(false), self.busy(true));
        let grows_at = [self.tasks.observe(now.0, wait, tasks), self.sizing.observe(now.0, wait, threads)];
        let ticks = (!self.running.is_empty()).then(|| now.0 + JOB_PROGRESS_US);
        self.next_at = after.next_at.into_iter().chain(ticks).chain(grows_at.into_iter().flatten()).min();
        self.has_more = after.has_more;
        self.show(ahead.oldest_due);
        Ok(())
    }

    fn carry_out(
        &mut self,
        change: &mut Change<'_>,
        ask: Ask,
        now: Moment,
        after: &mut After,
    ) -> Result<(), QueueError> {
        match ask {
            Ask::Births { births, after: from, through, reply } => {
                let answer = self.take_in(change, &births, from, through, now)?;
                after.replies.push(Box::new(move || {
                    // Intake is gone only when the queue is drained.
                    let _ = reply.send(answer);
                }));
            }
            Ask::Enqueue { id, order, reply } => {
                let is_full = change.memory.kind(&order.kind).is_none()
                    && change.memory.kinds.len() >= crate::config::JOB_KINDS_MAX;
                let answer = if is_full { Err(Refusal::TooManyKinds) } else { Ok(id) };
                if answer.is_ok() {
                    change.insert(id, &order, now, now)?;
                }
                after.replies.push(Box::new(move || drop(reply.send(answer))));
            }
            Ask::Finish { id, token, outcome } => self.finish(change, id, token, outcome, now)?,
            Ask::Cancel { id, reply } => {
                let answer = change.cancel(id, now)?;
                if answer == Ok(Status::Running)
                    && let Some(running) = self.running.get(&id)
                {
                    running.ctl.cancel();
                }
                after.replies.push(Box::new(move || drop(reply.send(answer))));
            }
            Ask::Retry { id, reply } => {
                let answer = change.retry(id, now)?;
                after.replies.push(Box::new(move || drop(reply.send(answer))));
            }
            Ask::Drain { .. } => {}
        }
        Ok(())
    }

    fn take_in(
        &mut self,
        change: &mut Change<'_>,
        births: &[Birth],
        from: Seq,
        through: Seq,
        now: Moment,
    ) -> Result<IntakeAnswer, QueueError> {
        if from.0 != change.memory.position {
            // The file was lost meanwhile, or an answer was: begin where the file is.
            return Ok(IntakeAnswer::At(Seq(change.memory.position)));
        }
        if change.memory.total(Status::Queued) + change.memory.total(Status::Running) >= JOBS_OPEN_MAX {
            return Ok(IntakeAnswer::Full);
        }
        for birth in births {
            let id = JobId::born(birth.seq, birth.index);
            if self.rebuild.as_ref().is_some_and(|ended| ended.contains(id)) {
                continue;
            }
            change.insert(id, &birth.order, birth.created_at, now)?;
        }
        change.memory.position = through.0;
        change.is_changed = true;
        if self.rebuild.as_ref().is_some_and(|ended| through.0 >= ended.last_seq()) {
            change.memory.is_rebuilding = false;
        }
        Ok(IntakeAnswer::At(through))
    }

    fn finish(
        &mut self,
        change: &mut Change<'_>,
        id: JobId,
        token: u64,
        outcome: Outcome,
        now: Moment,
    ) -> Result<(), QueueError> {
        let limits = match self.running.get(&id).filter(|running| running.token == token) {
            Some(running) => {
                let limits = self.registry[running.handler].limits;
                if let Some(progress) = running.ctl.take_progress() {
                    // Whether the lease is still his is looked at below.
                    let _ = change.renew(id, token, None, Some(progress))?;
                }
                self.let_go(id);
                limits
            }
            None => {
                // It comes too late: its token is refused below. If it blocked a thread, that one is free again.
                self.stuck.remove(&token);
                KindLimits::default()
            }
        };
        let verdict = match outcome {
            Outcome::Done => Verdict::Done,
            Outcome::Dead { why } => Verdict::Dead { error: why },
            Outcome::GivenBack => Verdict::GivenBack,
            Outcome::Retry { after, why } => {
                let attempt = change.attempts_of(id)?;
                let wait = match after {
                    Some(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
                    None => limits.backoff.draw_us(attempt, &mut self.desk.rng),
                };
                let retry_at = Moment(now.0.saturating_add(wait));
                Verdict::Failed { error: why, retry_at, attempts_max: limits.attempts_max }
            }
        };
        match change.end_attempt(id, token, verdict, now)? {
            Ok(Status::Dead) => tracing::warn!(job.id = %id, "the job is a dead letter"),
            Ok(_) => {}
            Err(refusal) => tracing::warn!(job.id = %id, job.token = token, %refusal, "an attempt's end was refused"),
        }
        Ok(())
    }

    /// Renews leases, and writes how far jobs are.
    fn renew(&mut self, change: &mut Change<'_>, now: Moment) -> Result<(), QueueError> {
        let is_renewal = now.0 - self.renewed_at.0 >= JOB_RENEWAL_US;
        if !is_renewal && now.0 - self.progress_at.0 < JOB_PROGRESS_US {
            return Ok(());
        }
        self.progress_at = now;
        let mut lost = Vec::new();
        for (id, running) in &self.running {
            let until = (is_renewal && now < running.ends_by).then_some(Moment(now.0 + JOB_LEASE_US));
            let progress = running.ctl.take_progress();
            if until.is_none() && progress.is_none() {
                continue;
            }
            match change.renew(*id, running.token, until, progress)? {
                Ok(true) => running.ctl.cancel(),
                Ok(false) => {}
                Err(_) => lost.push(*id),
            }
        }
        lost.into_iter().for_each(|id| self.lose(id));
        if is_renewal {
            self.renewed_at = now;
        }
        Ok(())
    }

    fn take_back(&mut self, change: &mut Change<'_>, now: Moment) -> Result<(), QueueError> {
        let kinds = change.memory.kinds.clone();
        let attempts_max = |kind: u16| {
            let name = kinds.get(usize::from(kind));
            let registered = self.registry.iter().find(|handler| name.is_some_and(|name| **name == *handler.kind));
            registered.map_or(KindLimits::default().attempts_max, |handler| handler.limits.attempts_max)
        };
        for id in change.expire(now, EXPIRED_AT_ONCE, attempts_max)? {
            tracing::warn!(job.id = %id, "the job's lease ran out");
            self.lose(id);
        }
        Ok(())
    }

    /// Makes dead letters of jobs that nobody handles. Whether there may be more of them.
    fn bury_strays(&mut self, change: &mut Change<'_>, now: Moment) -> Result<bool, QueueError> {
        let mut has_strays = false;
        for number in 0..change.memory.kinds.len() as u16 {
            let name = &change.memory.kinds[usize::from(number)];
            let is_handled = self.registry.iter().any(|handler| **name == *handler.kind);
            if !is_handled && change.memory.count(number, Status::Queued) > 0 {
                tracing::error!(job.kind = %name, "nobody handles jobs of this kind: they are dead letters");
                change.bury_kind(number, JOBS_SWEPT_AT_ONCE, now)?;
                has_strays |= change.memory.count(number, Status::Queued) > 0;
            }
        }
        Ok(has_strays)
    }

    /// Gives out leases: the most urgent first, kinds in turn, as many as there are workers.
    fn grant(&mut self, change: &mut Change<'_>, now: Moment, after: &mut After) -> Result<(), QueueError> {
        let count = self.registry.len();
        let mut free =
            [self.tasks.size().saturating_sub(self.busy(false)), self.sizing.size().saturating_sub(self.busy(true))];
        let mut room: Vec<usize> =
            self.registry.iter().map(|kind| kind.limits.concurrency_max.max(1).saturating_sub(kind.running)).collect();
        self.rotation = self.rotation.wrapping_add(1);
        let mut leased = Vec::new();
        for priority in (0..=JOB_PRIORITY_MAX).rev() {
            for turn in 0..count {
                let place = (turn + self.rotation) % count;
                let registered = &self.registry[place];
                let pool = usize::from(registered.limits.is_blocking);
                let count_max = free[pool].min(room[place]);
                let Some(kind) = change.memory.kind(registered.kind).filter(|_| count_max > 0) else { continue };
                if change.memory.count(kind, Status::Queued) == 0 {
                    continue;
                }
                let until = Moment(now.0.saturating_add(JOB_LEASE_US));
                let ask = LeaseAsk { kind, priority, count_max, worker: self.worker, until };
                change.lease(&ask, now, &mut leased)?;
                self.worker = self.worker.wrapping_add(leased.len() as u32);
                free[pool] -= leased.len();
                room[place] -= leased.len();
                after.leased.extend(leased.drain(..).map(|job| (place, job)));
            }
        }
        Ok(())
    }

    /// Hands a leased job to a worker.
    fn begin(&mut self, place: usize, job: Job, now: Moment) {
        let registered = &mut self.registry[place];
        registered.running += 1;
        let limits = registered.limits;
        let timeout_us = i64::try_from(limits.timeout.as_micros()).unwrap_or(i64::MAX);
        let ctl = Ctl::default();
        let (id, token) = (job.id, job.lease.map_or(0, |lease| lease.token));
        let handler = Arc::clone(&registered.handler);
        let attempt = Attempt { handler, timeout: limits.timeout, job, ctl: ctl.clone() };
        let wanted = self.busy(true) + self.stuck.len().min(JOB_THREADS.1);
        let abort = match limits.is_blocking {
            false => Some(spawn(&self.desk.runtime, self.desk.asks.0.clone(), attempt)),
            true => {
                self.threads.begin(attempt, wanted);
                None
            }
        };
        let running = Running {
            token,
            handler: place,
            ctl,
            abort,
            ends_by: Moment(now.0.saturating_add(timeout_us)),
            is_blocking: limits.is_blocking,
        };
        self.running.insert(id, running);
    }

    fn busy(&self, is_blocking: bool) -> usize {
        self.registry.iter().filter(|kind| kind.limits.is_blocking == is_blocking).map(|kind| kind.running).sum()
    }

    fn let_go(&mut self, id: JobId) -> Option<Running> {
        let running = self.running.remove(&id)?;
        self.registry[running.handler].running -= 1;
        Some(running)
    }

    /// Tells whoever works on a job that it is his no more.
    fn lose(&mut self, id: JobId) {
        let Some(running) = self.let_go(id) else { return };
        running.ctl.lose();
        if running.is_blocking {
            self.stuck.insert(running.token);
        }
        if let Some(abort) = running.abort {
            abort.abort();
        }
    }

    /// Keeps the record of ended jobs.
    fn note_ended(&mut self, ended: &[u64], is_reopened: bool, now: Moment) -> Result<(), QueueError> {
        if self.desk.memory.is_rebuilding {
            return Ok(());
        }
        self.rebuild = None;
        self.log.append(ended, now);
        if is_reopened {
            self.log.forget();
        }
        if self.log.wants_snapshot(now) {
            self.write_snapshot(now)?;
        }
        self.log.sync(now, false);
        Ok(())
    }

    fn write_snapshot(&mut self, now: Moment) -> Result<(), QueueError> {
        let mut memory = self.desk.memory.clone();
        let open = guarded(|| {
            let tx = self.desk.file.write()?;
            let open = Change::begin(&tx, &mut memory)?.open_births()?;
            tx.abort()?;
            Ok(open)
        })?;
        self.log.write_snapshot(self.desk.memory.position, &open, now);
        Ok(())
    }

    fn begin_drain(&mut self, patience: Duration) {
        let by = Instant::now().checked_add(patience);
        self.drain_by = Some(by.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600)));
        self.desk.board.is_draining.store(true, Ordering::Release);
        for running in self.running.values() {
            running.ctl.begin_drain();
        }
    }

    /// Gives back what still runs, and closes the file.
    fn end(&mut self) {
        let now = (self.desk.now)();
        let left: Vec<(JobId, u64)> = self.running.iter().map(|(id, running)| (*id, running.token)).collect();
        for (id, _) in &left {
            self.lose(*id);
        }
        let mut memory = self.desk.memory.clone();
        let given_back = guarded(|| {
            let tx = self.desk.file.write()?;
            let mut change = Change::begin(&tx, &mut memory)?;
            for (id, token) in &left {
                // Refused only where somebody else has it by now.
                let _ = change.end_attempt(*id, *token, Verdict::GivenBack, now)?;
            }
            let is_changed = change.finish()?;
            drop(change);
            if is_changed {
                tx.commit()?;
            } else {
                tx.abort()?;
            }
            Ok(())
        });
        let noted = given_back.and_then(|()| {
            self.desk.memory = memory;
            if self.desk.memory.is_rebuilding {
                return Ok(());
            }
            self.write_snapshot(now)
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "the job queue could not be closed in order: its leases are void at the next start");
        }
        if !left.is_empty() {
            tracing::info!(jobs.count = left.len(), "jobs were given back before they were done");
        }
        self.desk.file.close();
    }

    /// Nothing of the turn has happened: everybody stops, and the file is opened again.
    fn fail(&mut self, error: &QueueError) {
        tracing::error!(%error, "the job queue could not write: jobs that run will be run again");
        self.desk.board.trouble.lock().1 = Some(error.to_string());
        let ids: Vec<JobId> = self.running.keys().copied().collect();
        ids.into_iter().for_each(|id| self.lose(id));
        self.log.forget();
        if error.wants_rebuild()
            && let Err(error) = self.desk.file.set_aside(error)
        {
            tracing::error!(%error, "the damaged file could not be set aside");
        }
        self.broken = Some((Instant::now() + REOPEN.0, REOPEN.0));
    }

    fn reopen(&mut self, wait: Duration) {
        let opened = self.desk.file.reopen((self.desk.now)()).and_then(|memory| {
            let is_rebuilding = memory.is_rebuilding;
            let rebuild = if is_rebuilding { Some(Ended::read(&**self.desk.file.disk())?) } else { None };
            Ok((memory, rebuild))
        });
        match opened {
            Ok((memory, rebuild)) => {
                tracing::info!("the job queue's file was opened again");
                self.desk.memory = memory;
                self.rebuild = rebuild;
                self.broken = None;
                self.has_more = true;
                self.desk.board.trouble.lock().1 = None;
                self.show(None);
            }
            Err(error) => {
                self.desk.board.trouble.lock().1 = Some(error.to_string());
                let wait = (wait * 2).min(REOPEN.1);
                self.broken = Some((Instant::now() + wait, wait));
            }
        }
    }

    fn show(&mut self, oldest_due: Option<i64>) {
        let board = &self.desk.board;
        board.position.store(self.desk.memory.position, Ordering::Release);
        board.epoch.store(u64::from(self.desk.memory.epoch), Ordering::Release);
        board.oldest_due.store(oldest_due.unwrap_or(i64::MAX), Ordering::Release);
        board.tasks_size.store(self.tasks.size(), Ordering::Release);
        board.tasks_busy.store(self.busy(false), Ordering::Release);
        board.threads_size.store(self.sizing.size(), Ordering::Release);
        board.threads_busy.store(self.busy(true), Ordering::Release);
    }
}
