//! `apply`: what an entry does to an account. Cannot refuse; asserts what `decide` has proved.
//!
//! One side at a time, since the two accounts of a transfer may live in different shards, and since
//! replay skips the side whose row is newer than the entry.

use super::account::{Account, GlNo, Side, Status};
use super::entry::{AccountChanged, AccountOpened, TransferEntry, TransferOp};
use super::ids::{AccountNo, Seq};
use super::money::Minor;
use super::time::Day;

/// Totals of an account at the close of a business day on which it moved, kept so that a balance
/// at a past date needs no walk from today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Whose.
    pub account: AccountNo,
    /// The business day that closed.
    pub day: Day,
    /// The business day before it on which the account moved, `Day(0)` for none: the next anchor back.
    pub previous_day: Day,
    /// Newest entry of the account on that day.
    pub last_seq: Seq,
    /// Σ of posted debits at the close, minor units.
    pub debits_posted: Minor,
    /// Σ of posted credits at the close, minor units.
    pub credits_posted: Minor,
    /// Σ of held debits at the close, minor units.
    pub debits_pending: Minor,
    /// Σ of held credits at the close, minor units.
    pub credits_pending: Minor,
}

/// An account's row at a place in its chain, kept so that a walk to a past entry is short, and so that
/// what was changed later can still be told as it was.
///
/// It stands for every place before `at` from `last_seq` on: no entry of the account lies between the
/// two, except the one at `at` itself where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub account: AccountNo,
    /// Where it is found: `last_seq` itself, or the change of the account that came next.
    pub at: Seq,
    /// Newest entry of the account then; and so on, as in its row.
    pub last_seq: Seq,
    /// Entry that held its texts.
    pub cold_seq: Seq,
    /// Its version.
    pub version: u32,
    /// Its status.
    pub status: Status,
    /// The business day of `last_seq`.
    pub day: Day,
    /// The business day before it on which the account moved, `Day(0)` for none.
    pub previous_day: Day,
    /// Σ of posted debits, minor units.
    pub debits_posted: Minor,
    /// Σ of posted credits, minor units.
    pub credits_posted: Minor,
    /// Σ of held debits, minor units.
    pub debits_pending: Minor,
    /// Σ of held credits, minor units.
    pub credits_pending: Minor,
}

impl Mark {
    /// The row of an account as it is, found at `at`.
    #[must_use]
    pub fn of(account: AccountNo, at: Seq, row: &Account) -> Mark {
        Mark {
            account,
            at,
            last_seq: row.last_seq,
            cold_seq: row.cold_seq,
            version: row.version,
            status: row.status,
            day: row.day,
            previous_day: row.previous_day,
            debits_posted: row.debits_posted,
            credits_posted: row.credits_posted,
            debits_pending: row.debits_pending,
            credits_pending: row.credits_pending,
        }
    }

    /// The row then, given any later row of the same account: currency and the like never change.
    #[must_use]
    pub fn row(&self, later: &Account) -> Account {
        Account {
            last_seq: self.last_seq,
            cold_seq: self.cold_seq,
            version: self.version,
            status: self.status,
            day: self.day,
            previous_day: self.previous_day,
            debits_posted: self.debits_posted,
            credits_posted: self.credits_posted,
            debits_pending: self.debits_pending,
            credits_pending: self.credits_pending,
            ..*later
        }
    }
}

/// An account that stood still for so many entries of the books is not marked: it has few entries.
const MARK_GAP_MAX: u64 = 1 << 15;

/// Whether an account's row is marked after the entry at `seq`; `previous` is the account's entry before
/// it. Chosen by a hash, one in `every` (a power of two): there is no room in the row for a count, and
/// a replay must choose the same.
#[inline]
#[must_use]
pub fn is_marked(account: AccountNo, seq: Seq, previous: Seq, every: u64) -> bool {
    // The finalizer of splitmix64: neighbours, and any stride through the books, fall apart.
    let mut hash = seq.0 ^ u64::from(account.0) << 40;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)) & (every - 1) == 0 && seq.0 - previous.0 < MARK_GAP_MAX
}

impl TransferEntry {
    /// What this entry posts, minor units; 0 for holds and releases.
    #[must_use]
    pub fn posts(&self) -> Minor {
        match self.op {
            TransferOp::Posted | TransferOp::PostPending { .. } | TransferOp::Reversal { .. } => self.amount,
            TransferOp::Pending { .. } | TransferOp::VoidPending { .. } | TransferOp::ExpirePending { .. } => 0,
        }
    }

    /// What this entry holds anew, minor units.
    #[must_use]
    pub fn holds(&self) -> Minor {
        if matches!(self.op, TransferOp::Pending { .. }) { self.amount } else { 0 }
    }

    /// What this entry releases of a hold, minor units.
    #[must_use]
    pub fn releases(&self) -> Minor {
        match self.op {
            TransferOp::PostPending { held, .. } => held,
            TransferOp::VoidPending { .. } | TransferOp::ExpirePending { .. } => self.amount,
            TransferOp::Posted | TransferOp::Pending { .. } | TransferOp::Reversal { .. } => 0,
        }
    }

    /// The hold that this entry resolves, if it does.
    #[must_use]
    pub fn resolves(&self) -> Option<Seq> {
        match self.op {
            TransferOp::PostPending { hold, .. }
            | TransferOp::VoidPending { hold }
            | TransferOp::ExpirePending { hold } => Some(hold),
            TransferOp::Posted | TransferOp::Pending { .. } | TransferOp::Reversal { .. } => None,
        }
    }

    /// Whether the entry opens or ends a hold or decides an earlier transfer's fate.
    #[must_use]
    pub fn needs_holds(&self) -> bool {
        !matches!(self.op, TransferOp::Posted)
    }

    /// The effective date, given the record's business date.
    #[must_use]
    pub fn effective_on(&self, business_date: Day) -> Day {
        self.effective.unwrap_or(business_date)
    }
}

/// Applies one side of a transfer entry to its account. Returns the anchor of the account's last
/// business day when this entry is the first one of a new day.
pub fn apply_side(
    account: &mut Account,
    no: AccountNo,
    side: Side,
    entry: &TransferEntry,
    seq: Seq,
    day: Day,
) -> Option<Anchor> {
    let anchor = touch(account, no, seq, day);
    let (posted, pending) = match side {
        Side::Debit => (&mut account.debits_posted, &mut account.debits_pending),
        Side::Credit => (&mut account.credits_posted, &mut account.credits_pending),
    };
    *pending = pending
        .checked_sub(entry.releases())
        .and_then(|rest| rest.checked_add(entry.holds()))
        .expect("decide releases only what is held, and checks for overflow");
    *posted = posted.checked_add(entry.posts()).expect("decide checks for overflow");
    anchor
}

/// The account that an opening entry makes.
#[must_use]
pub fn open_account(entry: &AccountOpened, gl: GlNo, seq: Seq, day: Day) -> Account {
    Account {
        debits_posted: 0,
        credits_posted: 0,
        debits_pending: 0,
        credits_pending: 0,
        last_seq: seq,
        cold_seq: seq,
        gl,
        version: 1,
        day,
        previous_day: Day(0),
        currency: entry.currency,
        account_type: entry.account_type,
        balance_rule: entry.balance_rule,
        status: Status::Open,
    }
}

/// Applies a change of status or texts.
pub fn apply_change(account: &mut Account, entry: &AccountChanged, seq: Seq, day: Day) -> Option<Anchor> {
    let anchor = touch(account, entry.account, seq, day);
    assert!(entry.version == account.version + 1, "versions count without gaps");
    account.version = entry.version;
    account.status = entry.status;
    account.cold_seq = seq;
    anchor
}

/// Moves the chain head to `seq` and the day to `day`; returns the closing of the day before.
fn touch(account: &mut Account, no: AccountNo, seq: Seq, day: Day) -> Option<Anchor> {
    assert!(seq > account.last_seq, "entries of an account are applied in order of seq");
    assert!(day >= account.day, "the business date never goes back");
    let anchor = (account.day != day).then_some(Anchor {
        account: no,
        day: account.day,
        previous_day: account.previous_day,
        last_seq: account.last_seq,
        debits_posted: account.debits_posted,
        credits_posted: account.credits_posted,
        debits_pending: account.debits_pending,
        credits_pending: account.credits_pending,
    });
    if anchor.is_some() {
        account.previous_day = account.day;
        account.day = day;
    }
    account.last_seq = seq;
    anchor
}
