//! What the engine hands to the store and gets back, beside the domain's own types.

use crate::domain::account::Side;
use crate::domain::gl::GlKey;
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::money::Minor;
use crate::domain::time::Day;

/// The answer is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsDisk;

/// Where a checkpoint stands. Written last in each, in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The journal that this store belongs to: a store of another journal is of no use.
    pub journal_id: u64,
    /// Replay begins after this entry: everything up to it is in the store.
    pub checkpoint_seq: Seq,
    /// Last seq of the block whose hash stands in `chain_hash`; a journal that ends before it was shortened.
    pub chain_seq: Seq,
    /// Hash of that block.
    pub chain_hash: [u8; 32],
    /// Moment of the entry at `checkpoint_seq`.
    pub last_moment: Moment,
    /// Business date after that entry.
    pub business_date: Day,
    /// Effective dates up to here were closed.
    pub closed_through: Option<Day>,
    /// Closings and re-openings, in the engine's order.
    pub period_events: Vec<PeriodEventRow>,
    /// First seq of each business day, oldest first.
    pub day_runs: Vec<(Day, Seq)>,
    /// Lines of the general ledger, in order of their numbers.
    pub gl_keys: Vec<GlKey>,
    /// Accounts in the checkpoint: numbers 0 .. accounts.
    pub accounts: u32,
    /// API keys by number, in the engine's own bytes.
    pub api_keys: Vec<Box<[u8]>>,
    /// Customers in the checkpoint: numbers 1 ..= customers.
    pub customers: u32,
    /// Loans in the checkpoint: numbers 1 ..= loans.
    pub loans: u32,
    /// Products and days of lending, as the engine packs them.
    pub lending: Box<[u8]>,
    /// What operators have set up, in the engine's own bytes.
    pub objects: Vec<Box<[u8]>>,
}

/// One closing or re-opening of periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodEventRow {
    /// Its entry.
    pub seq: Seq,
    /// When.
    pub at: Moment,
    /// Closed through this day after it.
    pub through: Option<Day>,
    /// Why, for a re-opening; `None` for a closing.
    pub reason: Option<Box<str>>,
}

/// What a later entry did to an earlier transfer. Stored by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ResolutionKind {
    /// Posted the hold.
    Posted = 0,
    /// Voided the hold.
    Voided = 1,
    /// The hold expired.
    Expired = 2,
    /// Reversed the transfer.
    Reversed = 3,
}

/// By which date off-date rows are summed up. Stored by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OffDateKind {
    /// By effective date.
    Effective = 0,
    /// By booking date.
    Booked = 1,
}

/// One side of a posted entry whose effective date is not its booking date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffDateRow {
    /// Whose side.
    pub account: AccountNo,
    /// Which side; an account stands on one side of an entry only.
    pub side: Side,
    /// The effective date.
    pub effective: Day,
    /// The business date on which it was booked.
    pub booked: Day,
    /// The entry.
    pub seq: Seq,
    /// What it posted, minor units.
    pub amount: Minor,
}

/// What a key table's hashes are hashes of. Stored by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeyKind {
    /// Idempotency keys → the last entry of their record. Dropped after their retention.
    Idempotency = 0,
    /// External ids → an entry, or the number of an account. Never dropped.
    External = 1,
}
