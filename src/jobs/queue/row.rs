//! The bytes of a job: what never changes of it, and what does.
//!
//! Two rows a job, so that an attempt does not write its arguments again. A version byte stands first in each. A row
//! that cannot be read is no error of the queue: whoever meets it makes a dead letter of it.

use crate::domain::ids::Moment;

use super::job::{Progress, STATUSES, Status};

const VERSION: u8 = 1;

/// What never changes: kind and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Born {
    /// Number of the kind in this file.
    pub(super) kind: u16,
    pub(super) created_at: Moment,
    pub(super) args: Vec<u8>,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) kind: u16,
    pub(super) priority: u8,
    pub(super) status: Status,
    pub(super) is_cancel_asked: bool,
    pub(super) is_unreadable: bool,
    pub(super) voided: u16,
    pub(super) attempts: u32,
    pub(super) run_at: Moment,
    pub(super) epoch: u32,
    pub(super) worker: u32,
    /// Token of the lease, or of the last one; 0 before the first.
    pub(super) token: u64,
    pub(super) until: Moment,
    pub(super) progress: Progress,
    /// 0: never.
    pub(super) started_at: Moment,
    /// 0: not yet.
    pub(super) ended_at: Moment,
    pub(super) last_error: String,
}

/// Reads fields off the front; `None` when there is too little.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn moment(&mut self) -> Option<Moment> {
        self.take().map(i64::from_le_bytes).map(Moment)
    }

    fn version(&mut self) -> Option<()> {
        (self.take::<1>()? == [VERSION]).then_some(())
    }
}

impl Born {
    /// version 1 · kind 2 · created_at 8 · args
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(11 + self.args.len());
        out.push(VERSION);
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.created_at.0.to_le_bytes());
        out.extend_from_slice(&self.args);
        out
    }

    /// The row, or `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<Born> {
        let mut fields = Fields(bytes);
        fields.version()?;
        Some(Born { kind: fields.u16()?, created_at: fields.moment()?, args: fields.0.to_vec() })
    }
}

impl State {
    /// A job that has just come.
    pub fn new(kind: u16, priority: u8, run_at: Moment) -> State {
        State {
            kind,
            priority,
            status: Status::Queued,
            is_cancel_asked: false,
            is_unreadable: false,
            voided: 0,
            attempts: 0,
            run_at,
            epoch: 0,
            worker: 0,
            token: 0,
            until: Moment(0),
            progress: Progress::default(),
            started_at: Moment(0),
            ended_at: Moment(0),
            last_error: String::new(),
        }
    }

    /// version 1 · kind 2 · priority 1 · status 1 · flags 1 · voided 2 · attempts 4 · run_at 8 · epoch 4 · worker 4 ·
    /// token 8 · until 8 · done 8 · total 8 · started_at 8 · ended_at 8 · last error
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(76 + self.last_error.len());
        out.push(VERSION);
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&[self.priority, self.status as u8]);
        out.push(u8::from(self.is_cancel_asked) | u8::from(self.is_unreadable) << 1);
        out.extend_from_slice(&self.voided.to_le_bytes());
        out.extend_from_slice(&self.attempts.to_le_bytes());
        out.extend_from_slice(&self.run_at.0.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.worker.to_le_bytes());
        out.extend_from_slice(&self.token.to_le_bytes());
        out.extend_from_slice(&self.until.0.to_le_bytes());
        out.extend_from_slice(&self.progress.done.to_le_bytes());
        out.extend_from_slice(&self.progress.total.to_le_bytes());
        out.extend_from_slice(&self.started_at.0.to_le_bytes());
        out.extend_from_slice(&self.ended_at.0.to_le_bytes());
        out.extend_from_slice(self.last_error.as_bytes());
        out
    }

    /// The row, or `None` when it is none.
    pub fn decode(bytes: &[u8]) -> Option<State> {
        let mut fields = Fields(bytes);
        fields.version()?;
        let kind = fields.u16()?;
        let [priority, status, flags] = fields.take()?;
        if priority > crate::config::JOB_PRIORITY_MAX || flags > 3 {
            return None;
        }
        Some(State {
            kind,
            priority,
            status: *STATUSES.get(usize::from(status))?,
            is_cancel_asked: flags & 1 == 1,
            is_unreadable: flags & 2 == 2,
            voided: fields.u16()?,
            attempts: fields.u32()?,
            run_at: fields.moment()?,
            epoch: fields.u32()?,
            worker: fields.u32()?,
            token: fields.u64()?,
            until: fields.moment()?,
            progress: Progress { done: fields.u64()?, total: fields.u64()? },
            started_at: fields.moment()?,
            ended_at: fields.moment()?,
            last_error: std::str::from_utf8(fields.0).ok()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_a_cut_or_foreign_one_is_none() {
        let mut state = State::new(7, 9, Moment(-1));
        state.status = Status::Running;
        state.is_unreadable = true;
        state.token = u64::MAX;
        state.last_error = "₹ 500".to_owned();
        let bytes = state.encode();
        assert_eq!(State::decode(&bytes), Some(state));
        let fixed = bytes.len() - "₹ 500".len();
        for cut in 0..fixed {
            assert_eq!(State::decode(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(State::decode(&bytes[..=fixed]), None, "half a character");
        for (at, wrong) in [(0, 2), (3, 10), (4, 5), (5, 4)] {
            let mut bytes = bytes.clone();
            bytes[at] = wrong;
            assert_eq!(State::decode(&bytes), None, "{at}");
        }
        let born = Born { kind: 1, created_at: Moment(5), args: vec![1, 2] };
        assert_eq!(Born::decode(&born.encode()), Some(born));
        assert_eq!(Born::decode(&[1, 0, 0]), None);
        assert_eq!(Born::decode(&[2; 11]), None);
    }
}
