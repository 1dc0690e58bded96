//! What others may see of the queue: a job, a page of jobs, and figures. Every look is bounded.

use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable};

use super::change::{Memory, job_of};
use super::file::{QueueError, QueueFile, guarded};
use super::job::{Job, JobId, STATUSES, Status};
use super::row::{Born, State};
use super::tables::{BORN, COUNTS, DEAD, KINDS, LEASES, STATE};
use crate::config::{LIST_LIMIT_MAX, SCAN_ROWS_MAX};
use crate::domain::ids::Moment;

/// Which jobs are wanted.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only those in this status.
    pub status: Option<Status>,
    /// Only those of this kind.
    pub kind: Option<String>,
}

/// Part of a list, by number, the greatest first: what was asked for, then schedules' jobs, then births, each newest
/// first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs; fewer than were asked for where many had to be passed over.
    pub jobs: Vec<Job>,
    /// Where the next page begins; `None` when there is none.
    pub next_before: Option<JobId>,
}

/// How many jobs of one kind there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindCount {
    /// The kind.
    pub kind: String,
    /// Jobs by status, in the order of [`STATUSES`].
    pub counts: [u64; STATUSES.len()],
}

/// How many workers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCount {
    /// That may work now.
    pub size: usize,
    /// That work.
    pub busy: usize,
}

/// Figures of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Jobs of every kind that was ever seen, at most 256.
    pub kinds: Vec<KindCount>,
    /// How long the oldest due job has been due, microseconds; 0 when none is.
    pub oldest_wait_us: u64,
    /// Births up to this seq have been taken in.
    pub position: u64,
    /// Which opening of the file this is.
    pub epoch: u32,
    /// Tasks on the runtime.
    pub tasks: WorkerCount,
    /// Threads of handlers that block.
    pub threads: WorkerCount,
    /// No new leases are given: the process ends.
    pub is_draining: bool,
    /// What keeps births from being taken in, for the operator.
    pub intake_trouble: Option<String>,
    /// What keeps the queue from writing, for the operator.
    pub file_trouble: Option<String>,
}

impl QueueStats {
    /// Jobs of all kinds in a status.
    #[must_use]
    pub fn total(&self, status: Status) -> u64 {
        self.kinds.iter().map(|kind| kind.counts[status as usize]).sum()
    }
}

/// A job by its number; `None` when there is none.
pub(super) fn get(file: &QueueFile, id: JobId) -> Result<Option<Job>, QueueError> {
    guarded(|| {
        let look = Look::begin(file)?;
        look.job(id.0)
    })
}

/// Jobs below a number (all, where none is given), the greatest number first; at most `limit`, and 1,000.
pub(super) fn list(
    file: &QueueFile,
    filter: &JobFilter,
    before: Option<JobId>,
    limit: usize,
) -> Result<JobPage, QueueError> {
    let limit = limit.clamp(1, LIST_LIMIT_MAX);
    guarded(|| {
        let look = Look::begin(file)?;
        let end = before.map_or(u64::MAX, |before| before.0);
        let mut page = JobPage::default();
        let mut last = None;
        for (looked, id) in look.candidates(filter.status, end)?.enumerate() {
            let id = id?;
            if looked >= SCAN_ROWS_MAX || page.jobs.len() == limit {
                page.next_before = last.map(JobId);
                break;
            }
            last = Some(id);
            let Some(state) = look.state(id)? else { continue };
            let is_status = filter.status.is_none_or(|status| status == state.status);
            let is_kind = filter.kind.as_deref().is_none_or(|kind| look.kind(state.kind) == kind);
            if is_status && is_kind {
                page.jobs.extend(look.job(id)?);
            }
        }
        Ok(page)
    })
}

/// Jobs by kind and status.
pub(super) fn counts(file: &QueueFile) -> Result<Vec<KindCount>, QueueError> {
    guarded(|| {
        let look = Look::begin(file)?;
        let kinds = &look.memory.kinds;
        let counts = kinds.iter().enumerate().map(|(number, kind)| KindCount {
            kind: kind.to_string(),
            counts: STATUSES.map(|status| look.memory.count(number as u16, status)),
        });
        Ok(counts.collect())
    })
}

type Ids<'t> = Box<dyn Iterator<Item = Result<u64, QueueError>> + 't>;

/// One read transaction, with the names of kinds.
struct Look {
    tx: ReadTransaction,
    born: redb::ReadOnlyTable<u64, &'static [u8]>,
    state: redb::ReadOnlyTable<u64, &'static [u8]>,
    memory: Memory,
}

impl Look {
    fn begin(file: &QueueFile) -> Result<Look, QueueError> {
        let tx = file.read()?;
        let mut memory = Memory::default();
        for row in tx.open_table(KINDS)?.iter()? {
            memory.kinds.push(Arc::from(row?.1.value()));
        }
        for row in tx.open_table(COUNTS)?.iter()? {
            let (key, count) = row?;
            memory.counts.insert(key.value(), count.value());
        }
        Ok(Look { born: tx.open_table(BORN)?, state: tx.open_table(STATE)?, tx, memory })
    }

    fn kind(&self, number: u16) -> &str {
        self.memory.kinds.get(usize::from(number)).map_or("unknown", |name| name)
    }

    /// Numbers below `end`, descending, of all jobs that may have a status.
    fn candidates(&self, status: Option<Status>, end: u64) -> Result<Ids<'_>, QueueError> {
        Ok(match status {
            Some(Status::Running) => {
                // Bounded by the number of workers.
                let mut ids = Vec::new();
                for row in self.tx.open_table(LEASES)?.iter()? {
                    ids.push(row?.0.value().1);
                }
                ids.sort_unstable();
                Box::new(ids.into_iter().rev().filter(move |id| *id < end).map(Ok))
            }
            Some(Status::Dead) => {
                let dead = self.tx.open_table(DEAD)?.range(..end)?;
                Box::new(dead.rev().map(|row| Ok(row?.0.value())))
            }
            _ => Box::new(self.state.range(..end)?.rev().map(|row| Ok(row?.0.value()))),
        })
    }

    fn state(&self, id: u64) -> Result<Option<State>, QueueError> {
        Ok(self.state.get(id)?.map(|bytes| State::decode(bytes.value()).unwrap_or_else(unreadable)))
    }

    fn job(&self, id: u64) -> Result<Option<Job>, QueueError> {
        let Some(state) = self.state(id)? else { return Ok(None) };
        let bytes = self.born.get(id)?;
        let bytes = bytes.as_ref().map_or(&[][..], |bytes| bytes.value());
        let (state, born) = match Born::decode(bytes) {
            Some(born) => (state, born),
            None => (unreadable(), Born { kind: state.kind, created_at: Moment(0), args: bytes.to_vec() }),
        };
        Ok(Some(job_of(id, &state, born, &self.memory)))
    }
}

/// What is shown of a row that makes no sense and has not been buried yet.
fn unreadable() -> State {
    let mut state = State::new(0, 0, Moment(0));
    state.status = Status::Dead;
    state.is_unreadable = true;
    "its row could not be read".clone_into(&mut state.last_error);
    state
}
