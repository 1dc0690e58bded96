//! What can happen to jobs, inside one write transaction.
//!
//! Everything here is a function of the rows and of `now`: no clock, no threads, no randomness. A transaction takes
//! whatever has gathered and is committed as a whole by `clerk.rs`, so that births and the position up to which they
//! were taken in, or an end and the next lease, are there together or not at all.
//!
//! Promise: a job's index rows are a function of its state ([`Change::put`]), and only the holder of the token that
//! the row has can change a running job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redb::{ReadableTable, Table, WriteTransaction};

use super::file::QueueError;
use super::job::{Job, JobId, Lease, Order, Progress, Status};
use super::row::{Born, State};
use super::tables::{
    BORN, CLASS_DEAD, CLASS_DONE, COUNTS, DEAD, ENDED, EPOCH, KINDS, LEASES, META, POSITION, READY, REBUILDING,
    SCHEDULES, STATE, TOKEN,
};
use crate::config::{
    JOB_ARGS_BYTES_MAX, JOB_DELAY_US_MAX, JOB_ERROR_CHARS_MAX, JOB_KIND_BYTES_MAX, JOB_KINDS_MAX, JOB_PRIORITY_MAX,
};
use crate::domain::ids::Moment;

/// Why a job was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such job, or it ended so long ago that it was swept away.
    #[error("there is no such job")]
    Unknown,
    /// Somebody else has the job by now, or nobody; the lease with this token has run out.
    #[error("the lease has run out, and its token is stale")]
    Stale,
    /// The job's status does not allow it.
    #[error("the job is {}", .0.name())]
    WrongStatus(Status),
    /// The job's row makes no sense, so that it cannot run.
    #[error("the job's row could not be read")]
    Unreadable,
    /// The order is beyond its bounds.
    #[error("{0}")]
    BadOrder(&'static str),
    /// The file has seen as many kinds as it may.
    #[error("there are too many kinds of jobs")]
    TooManyKinds,
}

/// Small things of the file that are kept in memory. A transaction works on a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Names by number. Number 0 is `unknown`.
    pub kinds: Vec<Arc<str>>,
    /// Jobs by kind and status.
    pub counts: BTreeMap<(u16, u8), u64>,
    /// All births up to this seq have been taken in.
    pub position: u64,
    /// Last token that was given out.
    pub token: u64,
    /// Which opening of the file this is.
    pub epoch: u32,
    /// Births are being taken in again.
    pub is_rebuilding: bool,
}

impl Memory {
    /// The number of a kind that the file has seen.
    pub fn kind(&self, name: &str) -> Option<u16> {
        self.kinds.iter().position(|kind| **kind == *name).map(|number| number as u16)
    }

    /// Jobs of a kind in a status.
    pub fn count(&self, kind: u16, status: Status) -> u64 {
        self.counts.get(&(kind, status as u8)).copied().unwrap_or(0)
    }

    /// Jobs in a status.
    pub fn total(&self, status: Status) -> u64 {
        self.counts.iter().filter(|((_, of), _)| *of == status as u8).map(|(_, count)| count).sum()
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was done.
    Done,
    /// It failed, and may be tried again at `retry_at` if fewer than `attempts_max` attempts were begun.
    Failed { error: String, retry_at: Moment, attempts_max: u32 },
    /// It failed, and will always fail.
    Dead { error: String },
    /// It was not begun, or stopped because the process ends: as if it had not been given out.
    GivenBack,
}

/// A write transaction over the tables.
pub(super) struct Change<'t> {
    /// The copy that this transaction works on.
    pub memory: &'t mut Memory,
    before: Memory,
    /// Whether anything was written: else there is nothing to commit.
    pub is_changed: bool,
    /// Births that ended well in this transaction: they need not run again if the file is lost.
    pub ended: Vec<u64>,
    /// A cancelled job was brought back: the record of ended ones must be written anew.
    pub is_reopened: bool,
    pub(super) meta: Table<'t, &'static str, u64>,
    kinds: Table<'t, u16, &'static str>,
    pub(super) born: Table<'t, u64, &'static [u8]>,
    pub(super) state: Table<'t, u64, &'static [u8]>,
    pub(super) ready: Table<'t, (u16, u8, i64, u64), ()>,
    pub(super) leases: Table<'t, (i64, u64), ()>,
    pub(super) dead: Table<'t, u64, ()>,
    pub(super) ended_index: Table<'t, (u8, i64, u64), ()>,
    counts: Table<'t, (u16, u8), u64>,
    pub(super) schedules: Table<'t, &'static str, i64>,
}

/// A row, if it is there and can be read.
pub(super) enum Found<T> {
    None,
    Unreadable(Vec<u8>),
    Row(T),
}

pub(super) fn find<T>(
    table: &Table<'_, u64, &'static [u8]>,
    id: u64,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Found<T>, QueueError> {
    Ok(match table.get(id)? {
        None => Found::None,
        Some(bytes) => match decode(bytes.value()) {
            None => Found::Unreadable(bytes.value().to_vec()),
            Some(row) => Found::Row(row),
        },
    })
}

/// The first so many characters of a text.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

impl<'t> Change<'t> {
    /// Opens the tables.
    pub fn begin(tx: &'t WriteTransaction, memory: &'t mut Memory) -> Result<Change<'t>, QueueError> {
        Ok(Change {
            before: memory.clone(),
            memory,
            is_changed: false,
            ended: Vec::new(),
            is_reopened: false,
            meta: tx.open_table(META)?,
            kinds: tx.open_table(KINDS)?,
            born: tx.open_table(BORN)?,
            state: tx.open_table(STATE)?,
            ready: tx.open_table(READY)?,
            leases: tx.open_table(LEASES)?,
            dead: tx.open_table(DEAD)?,
            ended_index: tx.open_table(ENDED)?,
            counts: tx.open_table(COUNTS)?,
            schedules: tx.open_table(SCHEDULES)?,
        })
    }

    /// Writes the numbers that changed. Whether there is anything to commit.
    pub fn finish(&mut self) -> Result<bool, QueueError> {
        let numbers = |memory: &Memory| {
            [
                (POSITION, memory.position),
                (EPOCH, u64::from(memory.epoch)),
                (TOKEN, memory.token),
                (REBUILDING, u64::from(memory.is_rebuilding)),
            ]
        };
        for ((name, new), (_, old)) in numbers(self.memory).into_iter().zip(numbers(&self.before)) {
            if new != old {
                self.meta.insert(name, new)?;
                self.is_changed = true;
            }
        }
        for (key, count) in &self.memory.counts {
            if self.before.counts.get(key) != Some(count) {
                self.counts.insert(key, count)?;
            }
        }
        Ok(self.is_changed)
    }

    /// The number of a kind; a new one if it is new, `None` when there are too many.
    fn kind_number(&mut self, name: &str) -> Result<Option<u16>, QueueError> {
        if let Some(number) = self.memory.kind(name) {
            return Ok(Some(number));
        }
        if self.memory.kinds.len() >= JOB_KINDS_MAX {
            return Ok(None);
        }
        let number = self.memory.kinds.len() as u16;
        self.kinds.insert(number, name)?;
        self.memory.kinds.push(name.into());
        self.is_changed = true;
        Ok(Some(number))
    }

    /// Takes a job in, unless it is there. One beyond its bounds becomes a dead letter: it must not stop those
    /// behind it. Whether it is new.
    pub fn insert(&mut self, id: JobId, order: &Order, created_at: Moment, now: Moment) -> Result<bool, QueueError> {
        if self.born.get(id.0)?.is_some() {
            return Ok(false);
        }
        let mut fault = order.fault();
        let mut name = order.kind.as_str();
        while name.len() > JOB_KIND_BYTES_MAX {
            let end = name.char_indices().next_back().map_or(0, |(at, _)| at);
            name = &name[..end];
        }
        let kind = match name {
            "" => 0,
            name => self.kind_number(name)?.unwrap_or_else(|| {
                fault = Some("there are too many kinds of jobs");
                0
            }),
        };
        let args = order.args[..order.args.len().min(JOB_ARGS_BYTES_MAX)].to_vec();
        self.born.insert(id.0, Born { kind, created_at, args }.encode().as_slice())?;
        let wanted = order.run_at.unwrap_or(created_at);
        let run_at = Moment(wanted.0.min(now.0.saturating_add(JOB_DELAY_US_MAX)));
        let mut state = State::new(kind, order.priority.min(JOB_PRIORITY_MAX), run_at);
        if let Some(fault) = fault {
            state.status = Status::Dead;
            state.ended_at = now;
            state.last_error = format!("it was born wrong: {fault}");
        }
        self.put(id.0, None, &state)?;
        Ok(true)
    }

    /// Gives out leases on due jobs of one kind and priority, oldest first.
    pub fn lease(&mut self, ask: &LeaseAsk, now: Moment, out: &mut Vec<Job>) -> Result<(), QueueError> {
        let urgency = JOB_PRIORITY_MAX - ask.priority;
        let range = (ask.kind, urgency, i64::MIN, 0)..=(ask.kind, urgency, now.0, u64::MAX);
        let mut due = Vec::new();
        for row in self.ready.range(range)?.take(ask.count_max) {
            due.push(row?.0.value());
        }
        for (kind, urgency, run_at, id) in due {
            let (state, born) = match (find(&self.state, id, State::decode)?, find(&self.born, id, Born::decode)?) {
                (Found::Row(state), Found::Row(born)) if state.status == Status::Queued => (state, born),
                (Found::Unreadable(bytes), _) | (_, Found::Unreadable(bytes)) => {
                    self.ready.remove((kind, urgency, run_at, id))?;
                    self.bury_unreadable(id, kind, JOB_PRIORITY_MAX - urgency, Status::Queued, bytes, now)?;
                    continue;
                }
                _ => {
                    self.ready.remove((kind, urgency, run_at, id))?;
                    self.bury_unreadable(id, kind, JOB_PRIORITY_MAX - urgency, Status::Queued, Vec::new(), now)?;
                    continue;
                }
            };
            let mut leased = state.clone();
            self.memory.token += 1;
            leased.status = Status::Running;
            leased.attempts = state.attempts.saturating_add(1);
            leased.epoch = self.memory.epoch;
            leased.worker = ask.worker.wrapping_add(out.len() as u32);
            leased.token = self.memory.token;
            leased.until = ask.until;
            leased.started_at = now;
            leased.progress = Progress::default();
            self.put(id, Some(&state), &leased)?;
            out.push(job_of(id, &leased, born, self.memory));
        }
        Ok(())
    }

    /// What came of the attempt with this token.
    pub fn end_attempt(
        &mut self,
        id: JobId,
        token: u64,
        verdict: Verdict,
        now: Moment,
    ) -> Result<Result<Status, Refusal>, QueueError> {
        let state = match self.held(id, token)? {
            Ok(state) => state,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut after = state.clone();
        self.let_go(&mut after, verdict, now);
        self.put(id.0, Some(&state), &after)?;
        Ok(Ok(after.status))
    }

    pub(super) fn let_go(&self, state: &mut State, verdict: Verdict, now: Moment) {
        state.until = Moment(0);
        state.status = match verdict {
            Verdict::Done => Status::Done,
            Verdict::GivenBack => {
                state.attempts = state.attempts.saturating_sub(1);
                Status::Queued
            }
            Verdict::Dead { error } => {
                state.last_error = shortened(&error, JOB_ERROR_CHARS_MAX);
                Status::Dead
            }
            Verdict::Failed { error, retry_at, attempts_max } => {
                state.last_error = shortened(&error, JOB_ERROR_CHARS_MAX);
                match state.attempts >= attempts_max {
                    true => Status::Dead,
                    false => {
                        state.run_at = Moment(retry_at.0.min(now.0.saturating_add(JOB_DELAY_US_MAX)));
                        Status::Queued
                    }
                }
            }
        };
        if state.is_cancel_asked && state.status != Status::Done {
            state.status = Status::Cancelled;
        }
        if state.status.is_ended() {
            state.ended_at = now;
        }
    }

    /// Attempts of a job that were begun; 0 when it is not there.
    pub fn attempts_of(&self, id: JobId) -> Result<u32, QueueError> {
        Ok(match find(&self.state, id.0, State::decode)? {
            Found::Row(state) => state.attempts,
            Found::None | Found::Unreadable(_) => 0,
        })
    }

    /// Lengthens a lease and writes how far the job is. Whether its holder should stop.
    pub fn renew(
        &mut self,
        id: JobId,
        token: u64,
        until: Option<Moment>,
        progress: Option<Progress>,
    ) -> Result<Result<bool, Refusal>, QueueError> {
        let state = match self.held(id, token)? {
            Ok(state) => state,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut after = state.clone();
        after.until = until.unwrap_or(state.until);
        after.progress = progress.unwrap_or(state.progress);
        if after != state {
            self.put(id.0, Some(&state), &after)?;
        }
        Ok(Ok(after.is_cancel_asked))
    }

    /// The running job whose lease has this token.
    fn held(&mut self, id: JobId, token: u64) -> Result<Result<State, Refusal>, QueueError> {
        Ok(match find(&self.state, id.0, State::decode)? {
            Found::Row(state) if state.status == Status::Running && state.token == token => Ok(state),
            Found::Row(_) => Err(Refusal::Stale),
            Found::None => Err(Refusal::Unknown),
            Found::Unreadable(_) => Err(Refusal::Unreadable),
        })
    }

    fn known(&mut self, id: JobId) -> Result<Result<State, Refusal>, QueueError> {
        Ok(match find(&self.state, id.0, State::decode)? {
            Found::Row(state) if state.is_unreadable => Err(Refusal::Unreadable),
            Found::Row(state) => Ok(state),
            Found::None => Err(Refusal::Unknown),
            Found::Unreadable(_) => Err(Refusal::Unreadable),
        })
    }

    /// A queued or dead job is cancelled at once, a running one is asked to stop. Its status then.
    pub fn cancel(&mut self, id: JobId, now: Moment) -> Result<Result<Status, Refusal>, QueueError> {
        let state = match self.known(id)? {
            Ok(state) => state,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut after = state.clone();
        match state.status {
            Status::Queued | Status::Dead => {
                after.status = Status::Cancelled;
                after.ended_at = now;
            }
            Status::Running => after.is_cancel_asked = true,
            Status::Cancelled => return Ok(Ok(Status::Cancelled)),
            Status::Done => return Ok(Err(Refusal::WrongStatus(Status::Done))),
        }
        if after != state {
            self.put(id.0, Some(&state), &after)?;
        }
        Ok(Ok(after.status))
    }

    /// A dead or cancelled job is queued again, with all its attempts before it.
    pub fn retry(&mut self, id: JobId, now: Moment) -> Result<Result<(), Refusal>, QueueError> {
        let state = match self.known(id)? {
            Ok(state) => state,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !matches!(state.status, Status::Dead | Status::Cancelled) {
            return Ok(Err(Refusal::WrongStatus(state.status)));
        }
        self.is_reopened |= state.status == Status::Cancelled;
        let mut after = state.clone();
        after.status = Status::Queued;
        after.is_cancel_asked = false;
        after.attempts = 0;
        after.voided = 0;
        after.run_at = now;
        after.ended_at = Moment(0);
        after.progress = Progress::default();
        self.put(id.0, Some(&state), &after)?;
        Ok(Ok(()))
    }

    /// Writes a job's state and brings its index rows from what they were to what they are.
    pub(super) fn put(&mut self, id: u64, before: Option<&State>, after: &State) -> Result<(), QueueError> {
        self.is_changed = true;
        self.state.insert(id, after.encode().as_slice())?;
        if let Some(before) = before {
            match before.status {
                Status::Queued => {
                    self.ready.remove((before.kind, JOB_PRIORITY_MAX - before.priority, before.run_at.0, id))?;
                }
                Status::Running => {
                    self.leases.remove((before.until.0, id))?;
                }
                Status::Done | Status::Cancelled => {
                    self.ended_index.remove((CLASS_DONE, before.ended_at.0, id))?;
                }
                Status::Dead => {
                    self.ended_index.remove((CLASS_DEAD, before.ended_at.0, id))?;
                    self.dead.remove(id)?;
                }
            }
            self.count_down(before.kind, before.status);
        }
        match after.status {
            Status::Queued => {
                self.ready.insert((after.kind, JOB_PRIORITY_MAX - after.priority, after.run_at.0, id), ())?;
            }
            Status::Running => {
                self.leases.insert((after.until.0, id), ())?;
            }
            Status::Done | Status::Cancelled => {
                self.ended_index.insert((CLASS_DONE, after.ended_at.0, id), ())?;
                self.ended.extend(JobId(id).birth_seq().map(|_| id));
            }
            Status::Dead => {
                self.ended_index.insert((CLASS_DEAD, after.ended_at.0, id), ())?;
                self.dead.insert(id, ())?;
            }
        }
        *self.memory.counts.entry((after.kind, after.status as u8)).or_default() += 1;
        Ok(())
    }

    pub(super) fn count_down(&mut self, kind: u16, status: Status) {
        let count = self.memory.counts.entry((kind, status as u8)).or_default();
        *count = count.saturating_sub(1);
    }

    /// Births that must run, or run again, if the file is lost: those that wait, run, or are dead.
    pub fn open_births(&self) -> Result<Vec<u64>, QueueError> {
        let mut open = BTreeSet::new();
        for row in self.ready.iter()? {
            open.insert(row?.0.value().3);
        }
        for row in self.leases.iter()? {
            open.insert(row?.0.value().1);
        }
        for row in self.dead.iter()? {
            open.insert(row?.0.value());
        }
        Ok(open.into_iter().filter(|id| JobId(*id).birth_seq().is_some()).collect())
    }

    /// When something will be due that is not yet, and since when the oldest due job has been waiting.
    pub fn look_ahead(&self, now: Moment) -> Result<Ahead, QueueError> {
        let mut ahead = Ahead::default();
        let mut note = |run_at: i64| match run_at <= now.0 {
            true => ahead.oldest_due = Some(ahead.oldest_due.map_or(run_at, |oldest: i64| oldest.min(run_at))),
            false => ahead.next_at = Some(ahead.next_at.map_or(run_at, |next: i64| next.min(run_at))),
        };
        for kind in 0..self.memory.kinds.len() as u16 {
            if self.memory.count(kind, Status::Queued) == 0 {
                continue;
            }
            for urgency in 0..=JOB_PRIORITY_MAX {
                let range = (kind, urgency, i64::MIN, 0)..=(kind, urgency, i64::MAX, u64::MAX);
                if let Some(row) = self.ready.range(range)?.next() {
                    note(row?.0.value().2);
                }
            }
        }
        if let Some((key, ())) = self.leases.first()?.map(|(key, _)| (key.value(), ())) {
            ahead.next_at = Some(ahead.next_at.map_or(key.0, |next| next.min(key.0)));
        }
        Ok(ahead)
    }
}

/// Which jobs are wanted, and on what terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseAsk {
    pub(super) kind: u16,
    pub(super) priority: u8,
    pub(super) count_max: usize,
    /// Number of the first worker; the next ones follow.
    pub worker: u32,
    pub(super) until: Moment,
}

/// What is coming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ahead {
    /// `run_at` of the job that has been due for longest.
    pub oldest_due: Option<i64>,
    /// The next moment at which a job is due or a lease runs out.
    pub next_at: Option<i64>,
}

/// A job as others see it.
pub(super) fn job_of(id: u64, state: &State, born: Born, memory: &Memory) -> Job {
    let kind = memory.kinds.get(usize::from(state.kind)).map_or("unknown", |name| name);
    let is_running = state.status == Status::Running;
    Job {
        id: JobId(id),
        kind: kind.to_owned(),
        args: born.args,
        priority: state.priority,
        run_at: state.run_at,
        status: state.status,
        attempts: state.attempts,
        voided: state.voided,
        last_error: state.last_error.clone(),
        progress: state.progress,
        lease: is_running.then_some(Lease {
            epoch: state.epoch,
            worker: state.worker,
            token: state.token,
            until: state.until,
        }),
        is_cancel_asked: state.is_cancel_asked,
        is_unreadable: state.is_unreadable,
        created_at: born.created_at,
        started_at: (state.started_at.0 != 0).then_some(state.started_at),
        ended_at: (state.ended_at.0 != 0).then_some(state.ended_at),
    }
}
