//! What a job is: its number, its status, what it was born of, and what is known of it.

use std::fmt;

use crate::config::{JOB_ARGS_BYTES_MAX, JOB_KIND_BYTES_MAX, JOB_PRIORITY_MAX};
use crate::domain::ids::{IdKind, Moment, Seq, format_id, parse_id};

/// Number of a job: made of what the job is about, so that taking the same births in again gives the same numbers.
///
/// | bits | of what |
/// |---|---|
/// | `0`, 55 of seq, 8 of index | a birth in the journal |
/// | `10`, 31 of minute since 1970, 31 of the schedule's hash | one firing of a schedule |
/// | `11`, 62 of the hash of kind and key | what somebody asked for, once per key |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

const SCHEDULED: u64 = 1 << 63;
const ASKED: u64 = 3 << 62;

impl JobId {
    /// The job that is number `index` of the entry at `seq`.
    #[must_use]
    pub fn born(seq: Seq, index: u8) -> JobId {
        debug_assert!(seq.0 < 1 << 55, "three million a second reach that in 380 years");
        JobId((seq.0 << 8 | u64::from(index)) & (SCHEDULED - 1))
    }

    /// The firing of a schedule at a moment, to the minute.
    #[must_use]
    pub fn scheduled(schedule: &str, fire_at: Moment) -> JobId {
        let minute = (fire_at.0 / 60_000_000) as u64 & ((1 << 31) - 1);
        JobId(SCHEDULED | minute << 31 | hash(&[schedule.as_bytes()]) >> 33)
    }

    /// What was asked for under a key; the same key of the same kind is the same job.
    #[must_use]
    pub fn asked(kind: &str, key: &[u8]) -> JobId {
        JobId(ASKED | hash(&[kind.as_bytes(), key]) >> 2)
    }

    /// Seq of the entry that it was born of; `None` for schedules' jobs and those asked for.
    #[must_use]
    pub fn birth_seq(self) -> Option<Seq> {
        (self.0 & SCHEDULED == 0).then_some(Seq(self.0 >> 8))
    }

    /// The number in `job_…`, or `None` when the text is no such id.
    #[must_use]
    pub fn parse(text: &str) -> Option<JobId> {
        parse_id(IdKind::Job, text).map(JobId)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_id(IdKind::Job, self.0))
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let bytes: [u8; 32] = hasher.finalize().into();
    u64::from_le_bytes(bytes[..8].try_into().expect("eight of 32 bytes"))
}

/// Where a job is in its life. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// It waits: for its time, for a worker, or for its next attempt.
    Queued = 0,
    /// Somebody has a lease on it.
    Running = 1,
    /// It was done.
    Done = 2,
    /// A dead letter: it failed for good, and waits for a human.
    Dead = 3,
    /// Somebody did not want it any more.
    Cancelled = 4,
}

/// All of them, in order of their numbers.
pub const STATUSES: [Status; 5] = [Status::Queued, Status::Running, Status::Done, Status::Dead, Status::Cancelled];

impl Status {
    /// The word that API and CLI use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Running => "running",
            Status::Done => "done",
            Status::Dead => "dead",
            Status::Cancelled => "cancelled",
        }
    }

    /// The status of a word, or `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Status> {
        STATUSES.into_iter().find(|status| status.name() == text)
    }

    /// Whether nothing will happen to it by itself.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Status::Done | Status::Dead | Status::Cancelled)
    }
}

/// How far a job is, in units of its own; 0 of 0 says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Units that are done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
}

/// The right to work on a job until a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Opening of the queue's file under which it was given: leases of earlier ones are void.
    pub epoch: u32,
    /// Which of the workers of that time has it.
    pub worker: u32,
    /// The fencing token: greater than that of every lease before it.
    pub token: u64,
    /// When it runs out, unless it is renewed.
    pub until: Moment,
}

/// All that is known of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its kind: which handler it is for. At most 64 bytes.
    pub kind: String,
    /// What the handler is told, at most 16 KiB.
    pub args: Vec<u8>,
    /// 0–9; 9 is the most urgent.
    pub priority: u8,
    /// Not before this moment.
    pub run_at: Moment,
    /// Where it is in its life.
    pub status: Status,
    /// Attempts that were begun since it was born, or since it was last brought back from the dead.
    pub attempts: u32,
    /// How often the process ended in the middle of it; such attempts are not counted.
    pub voided: u16,
    /// What the last failed attempt said, at most 500 characters; empty if none failed.
    pub last_error: String,
    /// How far it is.
    pub progress: Progress,
    /// Who works on it; only while it runs.
    pub lease: Option<Lease>,
    /// Somebody asked the running handler to stop.
    pub is_cancel_asked: bool,
    /// Its row made no sense; `args` are the row's bytes, and it cannot be retried.
    pub is_unreadable: bool,
    /// Moment of the entry that it was born of, or of its firing or its asking.
    pub created_at: Moment,
    /// When the last attempt began.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub ended_at: Option<Moment>,
}

impl Job {
    /// Seq of the entry that it was born of. With the id it is what a handler repeats itself by.
    #[must_use]
    pub fn birth_seq(&self) -> Option<Seq> {
        self.id.birth_seq()
    }
}

/// A job that an entry of the journal asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Seq of the entry.
    pub seq: Seq,
    /// Which of the entry's jobs it is.
    pub index: u8,
    /// What is to be done.
    pub order: Order,
    /// Moment of the entry.
    pub created_at: Moment,
}

/// What is to be done, how urgent it is, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which handler it is for, 1–64 bytes.
    pub kind: String,
    /// What the handler is told, at most 16 KiB.
    pub args: Vec<u8>,
    /// 0–9; 9 is the most urgent.
    pub priority: u8,
    /// Not before this moment; `None` is at once.
    pub run_at: Option<Moment>,
}

impl Order {
    /// What is wrong with it, if anything is.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        match () {
            () if self.kind.is_empty() => Some("the kind is empty"),
            () if self.kind.len() > JOB_KIND_BYTES_MAX => Some("the kind's name is longer than 64 bytes"),
            () if self.args.len() > JOB_ARGS_BYTES_MAX => Some("the arguments are longer than 16 KiB"),
            () if self.priority > JOB_PRIORITY_MAX => Some("the priority is beyond 9"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_what_the_job_was_born_of() {
        for (seq, index) in [(1, 0), (1, 255), (77, 3), ((1 << 55) - 1, 255)] {
            let id = JobId::born(Seq(seq), index);
            assert_eq!(id.birth_seq(), Some(Seq(seq)));
            assert_eq!(JobId::parse(&id.to_string()), Some(id));
        }
        assert!(JobId::born(Seq(1), 255) < JobId::born(Seq(2), 0));
        let minute = 60_000_000;
        let fired = JobId::scheduled("nightly", Moment(90 * minute));
        assert_eq!(fired, JobId::scheduled("nightly", Moment(90 * minute + 59_999_999)), "one firing, one job");
        assert_ne!(fired, JobId::scheduled("nightly", Moment(91 * minute)));
        assert_ne!(fired, JobId::scheduled("monthly", Moment(90 * minute)));
        let asked = JobId::asked("mail", b"1");
        assert_eq!(asked, JobId::asked("mail", b"1"));
        assert_ne!(asked, JobId::asked("mail1", b""), "kind and key do not run together");
        assert!(fired.birth_seq().is_none() && asked.birth_seq().is_none() && fired < asked);
    }

    #[test]
    fn orders_beyond_their_bounds_are_named() {
        let order = |kind: &str, args: usize, priority| Order {
            kind: kind.to_owned(),
            args: vec![0; args],
            priority,
            run_at: None,
        };
        for (order, fault) in [
            (order("mail", 0, 0), None),
            (order(&"k".repeat(64), JOB_ARGS_BYTES_MAX, 9), None),
            (order("", 0, 0), Some("the kind is empty")),
            (order(&"k".repeat(65), 0, 0), Some("the kind's name is longer than 64 bytes")),
            (order("mail", JOB_ARGS_BYTES_MAX + 1, 0), Some("the arguments are longer than 16 KiB")),
            (order("mail", 0, 10), Some("the priority is beyond 9")),
        ] {
            assert_eq!(order.fault(), fault);
        }
        assert!(STATUSES.iter().enumerate().all(|(at, status)| *status as usize == at));
        assert!(STATUSES.iter().all(|status| Status::parse(status.name()) == Some(*status)));
    }
}
