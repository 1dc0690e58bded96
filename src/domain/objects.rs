//! Objects that the books keep and do not interpret, and work that is born with what caused it.
//!
//! An **object** is something an operator has set up: an endpoint for webhooks, a schedule, a peer to sync with.
//! The books keep every version of it, with who made it; what its body says is for whoever set it up. A **job** is
//! work for after the answer: it is born in the record of its cause, so that either both are durable or neither is.

use super::ids::{Moment, Seq};

/// What kind of object it is. Stored by number: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Collection {
    /// Where webhooks are sent.
    WebhookEndpoint = 0,
    /// When a job is born by itself.
    Schedule = 1,
    /// A peer to which postings are pushed.
    SyncTarget = 2,
}

/// All collections, in order of their numbers.
pub const COLLECTIONS: [Collection; 3] = [Collection::WebhookEndpoint, Collection::Schedule, Collection::SyncTarget];

impl Collection {
    /// A number read from disk, or `None` when this version does not know it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Collection> {
        COLLECTIONS.get(usize::from(number)).copied()
    }
}

/// Objects of a collection at most.
pub const OBJECTS_MAX: u32 = 256;

/// Bytes of an object's body at most.
pub const OBJECT_BYTES_MAX: usize = 16 * 1024;

/// An object was made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSaved {
    /// Its collection.
    pub collection: Collection,
    /// Its number: for a new one, one more than the object before; the first is 1.
    pub number: u32,
    /// From 1; one more than before.
    pub version: u32,
    /// The entry before it about this object.
    pub previous: Seq,
    /// When it was made.
    pub created_at: Moment,
    /// Who saved it: the number of an API key, 0 for the process itself.
    pub by: u64,
    /// What it says: for whoever set it up.
    pub body: Box<[u8]>,
}

/// Jobs that one command may bear.
pub const JOBS_PER_COMMAND_MAX: usize = 8;

/// Bytes of a job's arguments at most.
pub const JOB_ARGS_BYTES_MAX: usize = 8 * 1024;

/// Number of the job that an entry bears: the entry's seq and which of its jobs it is, always the first.
#[must_use]
pub fn job_number(seq: Seq) -> u64 {
    seq.0 << 8
}

/// Work for after the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobBorn {
    /// What is to be done, 1–64 characters.
    pub kind: Box<str>,
    /// With what: for whoever does it.
    pub args: Box<[u8]>,
    /// 0–9; 9 is the most urgent.
    pub priority: u8,
    /// Not before.
    pub run_at: Option<Moment>,
    /// Who asked for it: the number of an API key.
    pub by: u64,
}
