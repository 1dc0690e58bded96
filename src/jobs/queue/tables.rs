//! Every table of `jobs.redb`, on one page.
//!
//! A job is two rows; the other tables are indexes over them, a function of the job's state alone (`put` in
//! `change.rs`), and a few numbers.

use redb::TableDefinition;

/// Numbers by name: see [`FORMAT`] and those below it.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Names of kinds by their number in this file.
pub(super) const KINDS: TableDefinition<u16, &str> = TableDefinition::new("kinds");
/// What never changes of a job, by its number (`row.rs`).
pub(super) const BORN: TableDefinition<u64, &[u8]> = TableDefinition::new("born");
/// What changes of it.
pub(super) const STATE: TableDefinition<u64, &[u8]> = TableDefinition::new("state");
/// Queued jobs: kind, 9 - priority, run_at, number. The first one of a kind and priority is its next.
pub(super) const READY: TableDefinition<(u16, u8, i64, u64), ()> = TableDefinition::new("ready");
/// Running jobs: when the lease runs out, number.
pub(super) const LEASES: TableDefinition<(i64, u64), ()> = TableDefinition::new("leases");
/// Dead letters, by number.
pub(super) const DEAD: TableDefinition<u64, ()> = TableDefinition::new("dead");
/// Ended jobs, oldest first: [`CLASS_DONE`] or [`CLASS_DEAD`], moment, number. They are swept from the front.
pub(super) const ENDED: TableDefinition<(u8, i64, u64), ()> = TableDefinition::new("ended");
/// How many jobs there are, by kind and status.
pub(super) const COUNTS: TableDefinition<(u16, u8), u64> = TableDefinition::new("counts");
/// When schedules fired last, microseconds since 1970, by name.
pub(super) const SCHEDULES: TableDefinition<&str, i64> = TableDefinition::new("schedules");

/// In [`ENDED`]: done or cancelled.
pub(super) const CLASS_DONE: u8 = 0;
/// In [`ENDED`]: dead. Kept apart, so that a flood of done ones sweeps no dead letter away.
pub(super) const CLASS_DEAD: u8 = 1;

/// In [`META`]: version of the file. It covers the keys of all tables; rows have versions of their own.
pub(super) const FORMAT: &str = "format";
/// In [`META`]: all births up to this seq have been taken in.
pub(super) const POSITION: &str = "position";
/// In [`META`]: how often the file was opened.
pub(super) const EPOCH: &str = "epoch";
/// In [`META`]: the last fencing token that was given out.
pub(super) const TOKEN: &str = "token";
/// In [`META`]: 1 while births are taken in again after the file was lost, and `jobs.ended` says which have ended.
pub(super) const REBUILDING: &str = "rebuilding";
