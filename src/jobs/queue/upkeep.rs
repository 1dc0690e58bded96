//! What happens to jobs without anybody asking: leases run out, rows make no sense, ended jobs are forgotten.

use redb::ReadableTable;

use super::change::{Change, Found, Verdict, find};
use super::file::QueueError;
use super::job::{JobId, Status};
use super::row::{Born, State};
use super::tables::{CLASS_DEAD, CLASS_DONE};
use crate::config::{JOB_ARGS_BYTES_MAX, JOB_PRIORITY_MAX, JOB_VOIDED_MAX, JOBS_KEPT_MAX, JOBS_KEPT_US};
use crate::domain::ids::Moment;

impl Change<'_> {
    /// Takes leases that have run out from their holders: a failed attempt, after which another may begin at once.
    /// `attempts_max` says how many a kind has. The jobs whose holders lost them.
    pub fn expire(
        &mut self,
        now: Moment,
        count_max: usize,
        attempts_max: impl Fn(u16) -> u32,
    ) -> Result<Vec<JobId>, QueueError> {
        let lost = self.leases_until(now.0, count_max)?;
        for (until, id) in &lost {
            match find(&self.state, *id, State::decode)? {
                Found::Row(state) if state.status == Status::Running => {
                    let mut after = state.clone();
                    let error = "its lease ran out before it was done".to_owned();
                    let failed = Verdict::Failed { error, retry_at: now, attempts_max: attempts_max(state.kind) };
                    self.let_go(&mut after, failed, now);
                    self.put(*id, Some(&state), &after)?;
                }
                found => self.drop_lease(*until, *id, found, now)?,
            }
        }
        Ok(lost.into_iter().map(|(_, id)| JobId(id)).collect())
    }

    /// Takes all leases from their holders, who are gone with the process before this one. The attempt is not
    /// counted, but a job that was running at [`JOB_VOIDED_MAX`] ends of the process is dead.
    pub fn void_all(&mut self, now: Moment) -> Result<(), QueueError> {
        loop {
            let lost = self.leases_until(i64::MAX, 1_024)?;
            if lost.is_empty() {
                return Ok(());
            }
            for (until, id) in lost {
                match find(&self.state, id, State::decode)? {
                    Found::Row(state) if state.status == Status::Running => {
                        let mut after = state.clone();
                        after.voided = state.voided.saturating_add(1);
                        let verdict = match after.voided >= JOB_VOIDED_MAX {
                            false => Verdict::GivenBack,
                            true => Verdict::Dead {
                                error: format!("the process ended in the middle of it {JOB_VOIDED_MAX} times"),
                            },
                        };
                        self.let_go(&mut after, verdict, now);
                        self.put(id, Some(&state), &after)?;
                    }
                    found => self.drop_lease(until, id, found, now)?,
                }
            }
        }
    }

    fn leases_until(&self, until: i64, count_max: usize) -> Result<Vec<(i64, u64)>, QueueError> {
        let mut lost = Vec::new();
        for row in self.leases.range(..=(until, u64::MAX))?.take(count_max) {
            lost.push(row?.0.value());
        }
        Ok(lost)
    }

    /// A lease on a job that makes no sense.
    fn drop_lease(&mut self, until: i64, id: u64, found: Found<State>, now: Moment) -> Result<(), QueueError> {
        self.leases.remove((until, id))?;
        self.is_changed = true;
        if let Found::Unreadable(bytes) = found {
            let kind = match find(&self.born, id, Born::decode)? {
                Found::Row(born) => born.kind,
                Found::None | Found::Unreadable(_) => 0,
            };
            self.bury_unreadable(id, kind, 0, Status::Running, bytes, now)?;
        }
        Ok(())
    }

    /// Makes a dead letter of a job whose row makes no sense; its bytes are kept as its arguments.
    pub(super) fn bury_unreadable(
        &mut self,
        id: u64,
        kind: u16,
        priority: u8,
        was: Status,
        mut bytes: Vec<u8>,
        now: Moment,
    ) -> Result<(), QueueError> {
        tracing::error!(job.id = %JobId(id), "the job's row could not be read: it is a dead letter now");
        bytes.truncate(JOB_ARGS_BYTES_MAX);
        let kind = if usize::from(kind) < self.memory.kinds.len() { kind } else { 0 };
        self.born.insert(id, Born { kind, created_at: now, args: bytes }.encode().as_slice())?;
        let mut state = State::new(kind, priority, now);
        state.status = Status::Dead;
        state.is_unreadable = true;
        state.ended_at = now;
        "its row could not be read".clone_into(&mut state.last_error);
        self.count_down(kind, was);
        self.put(id, None, &state)
    }

    /// Makes dead letters of queued jobs that nobody handles, whenever they are due.
    pub fn bury_kind(&mut self, kind: u16, count_max: usize, now: Moment) -> Result<(), QueueError> {
        let mut strays = Vec::new();
        for row in self.ready.range((kind, 0, i64::MIN, 0)..=(kind, u8::MAX, i64::MAX, u64::MAX))?.take(count_max) {
            strays.push(row?.0.value());
        }
        for (kind, urgency, run_at, id) in strays {
            match find(&self.state, id, State::decode)? {
                Found::Row(state) if state.status == Status::Queued => {
                    let mut after = state.clone();
                    let name = self.memory.kinds.get(usize::from(kind)).map_or("", |name| name);
                    let error = format!("nobody handles jobs of kind {name:?}");
                    self.let_go(&mut after, Verdict::Dead { error }, now);
                    self.put(id, Some(&state), &after)?;
                }
                found => {
                    let bytes = if let Found::Unreadable(bytes) = found { bytes } else { Vec::new() };
                    self.ready.remove((kind, urgency, run_at, id))?;
                    self.bury_unreadable(
                        id,
                        kind,
                        JOB_PRIORITY_MAX.saturating_sub(urgency),
                        Status::Queued,
                        bytes,
                        now,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Forgets jobs that ended too long ago, or of which there are too many. Whether there may be more of them.
    pub fn sweep(&mut self, now: Moment, count_max: usize) -> Result<bool, QueueError> {
        let done = self.memory.total(Status::Done) + self.memory.total(Status::Cancelled);
        let mut swept = 0;
        for (class, kept) in [(CLASS_DONE, done), (CLASS_DEAD, self.memory.total(Status::Dead))] {
            let mut surplus = kept.saturating_sub(JOBS_KEPT_MAX);
            let mut old = Vec::new();
            for row in self.ended_index.range((class, i64::MIN, 0)..=(class, i64::MAX, u64::MAX))? {
                let key = row?.0.value();
                let is_old = key.1 < now.0.saturating_sub(JOBS_KEPT_US);
                if !is_old && surplus == 0 || swept + old.len() >= count_max {
                    break;
                }
                surplus = surplus.saturating_sub(1);
                old.push(key);
            }
            swept += old.len();
            for (class, ended_at, id) in old {
                self.forget((class, ended_at, id))?;
            }
        }
        Ok(swept >= count_max)
    }

    fn forget(&mut self, key: (u8, i64, u64)) -> Result<(), QueueError> {
        let (class, _, id) = key;
        if let Found::Row(state) = find(&self.state, id, State::decode)? {
            self.count_down(state.kind, state.status);
        }
        self.is_changed = true;
        self.ended_index.remove(key)?;
        self.state.remove(id)?;
        self.born.remove(id)?;
        if class == CLASS_DEAD {
            self.dead.remove(id)?;
            // A dead letter counts as open until it is forgotten.
            self.ended.extend(JobId(id).birth_seq().map(|_| id));
        }
        Ok(())
    }
}
