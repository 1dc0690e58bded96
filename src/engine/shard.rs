//! Account shards: who may touch which accounts, and in which order locks are taken.
//!
//! Promise: account locks are taken in ascending order by the two functions of this file, and
//! nowhere else. Nothing under them waits for a disk or another thread.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::domain::account::{Account, Side};
use crate::domain::apply::{Anchor, apply_side};
use crate::domain::entry::TransferEntry;
use crate::domain::gl::GlBook;
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::money::Minor;
use crate::domain::time::Day;
use crate::domain::transfer::View;

/// Accounts in one allocation of a shard: 4,096 × 64 bytes = 256 KiB, so that growing never copies
/// what is there and wastes at most one piece a shard.
const PIECE_ROWS: usize = 4_096;

/// One side of a posted entry whose effective date is not its business date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffDate {
    /// On which side the account stands.
    pub side: Side,
    /// Effective date.
    pub effective: Day,
    /// Business date of the booking.
    pub booked: Day,
    /// The entry.
    pub seq: Seq,
    /// What it posted, minor units.
    pub amount: Minor,
}

/// One shard: every account whose number modulo the number of shards is this shard's.
#[derive(Debug, Default)]
pub struct Shard {
    pieces: Vec<Vec<Account>>,
    /// General-ledger totals of what was posted to this shard's accounts.
    pub gl: GlBook,
    /// Closings of days since the last checkpoint, by (account, day).
    pub anchors: AnchorMap,
    /// Anchors on their way into the store; more than one map only after the store has refused.
    pub anchors_frozen: Vec<Arc<AnchorMap>>,
    /// Off-date postings since the last checkpoint.
    pub off_dates: OffDateMap,
    /// Off-date postings on their way into the store; likewise.
    pub off_dates_frozen: Vec<Arc<OffDateMap>>,
}

/// Closings by account and day.
pub type AnchorMap = HashMap<(AccountNo, Day), Anchor>;

/// Off-date postings by account.
pub type OffDateMap = HashMap<AccountNo, Vec<OffDate>>;

impl Shard {
    fn row(&self, place: usize) -> Option<&Account> {
        self.pieces.get(place / PIECE_ROWS)?.get(place % PIECE_ROWS)
    }

    fn row_mut(&mut self, place: usize) -> Option<&mut Account> {
        self.pieces.get_mut(place / PIECE_ROWS)?.get_mut(place % PIECE_ROWS)
    }

    fn push(&mut self, account: Account) {
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE_ROWS) {
            self.pieces.push(Vec::with_capacity(PIECE_ROWS));
        }
        self.pieces.last_mut().expect("a piece was pushed when there was none").push(account);
    }

    fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE_ROWS + last.len())
    }
}

/// All account shards.
///
/// The lock of a shard guards its accounts, its share of the general ledger and its overlays. A
/// `parking_lot` mutex, because it is held for a microsecond and never across a wait; a
/// reader-writer lock costs more than it saves at that length.
#[derive(Debug)]
pub struct Shards {
    shards: Box<[Mutex<Shard>]>,
    layout: Layout,
}

/// Where an account lives. The number of shards is a power of two: two shifts instead of a division.
#[derive(Clone, Copy, Debug)]
struct Layout {
    bits: u32,
}

impl Layout {
    fn shard(self, no: AccountNo) -> usize {
        (no.0 & ((1 << self.bits) - 1)) as usize
    }

    fn place(self, no: AccountNo) -> usize {
        (no.0 >> self.bits) as usize
    }
}

impl Shards {
    /// At least `count` shards, rounded up to a power of two, at most 256.
    #[must_use]
    pub fn new(count: usize) -> Shards {
        let count = count.clamp(1, 256).next_power_of_two();
        Shards {
            shards: (0..count).map(|_| Mutex::new(Shard::default())).collect(),
            layout: Layout { bits: count.trailing_zeros() },
        }
    }

    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.len()
    }

    /// Locks the shards of two accounts (or one, when they share it), ascending.
    pub fn lock_pair(&self, a: AccountNo, b: AccountNo) -> Locked<'_> {
        let (a, b) = (self.layout.shard(a), self.layout.shard(b));
        let (low, high) = (a.min(b), a.max(b));
        let first = self.shards[low].lock();
        let second = (low != high).then(|| self.shards[high].lock());
        Locked { layout: self.layout, guards: Guards::Pair { low, first, second } }
    }

    /// Locks the shard of one account.
    pub fn lock_one(&self, no: AccountNo) -> Locked<'_> {
        self.lock_pair(no, no)
    }

    /// Locks all shards, ascending.
    pub fn lock_all(&self) -> Locked<'_> {
        Locked { layout: self.layout, guards: Guards::All(self.shards.iter().map(Mutex::lock).collect()) }
    }

    /// A copy of an account's row, or `None` when it does not exist.
    #[must_use]
    pub fn copy(&self, no: AccountNo) -> Option<Account> {
        self.shards[self.layout.shard(no)].lock().row(self.layout.place(no)).copied()
    }
}

/// Some shards, locked.
#[derive(Debug)]
pub struct Locked<'a> {
    layout: Layout,
    guards: Guards<'a>,
}

#[derive(Debug)]
enum Guards<'a> {
    Pair { low: usize, first: MutexGuard<'a, Shard>, second: Option<MutexGuard<'a, Shard>> },
    All(Vec<MutexGuard<'a, Shard>>),
}

impl View for Locked<'_> {
    #[inline]
    fn account(&self, no: AccountNo) -> Option<&Account> {
        self.shard(no).row(self.layout.place(no))
    }
}

impl Locked<'_> {
    /// The shard of an account; it must be one of those locked.
    #[inline]
    fn shard(&self, no: AccountNo) -> &Shard {
        let at = self.layout.shard(no);
        match &self.guards {
            Guards::All(all) => &all[at],
            Guards::Pair { low, first, .. } if *low == at => first,
            Guards::Pair { second, .. } => second.as_ref().expect("the shards of both accounts were locked"),
        }
    }

    /// The shard of an account, to change it.
    #[inline]
    pub fn shard_mut(&mut self, no: AccountNo) -> &mut Shard {
        let at = self.layout.shard(no);
        match &mut self.guards {
            Guards::All(all) => &mut all[at],
            Guards::Pair { low, first, .. } if *low == at => first,
            Guards::Pair { second, .. } => second.as_mut().expect("the shards of both accounts were locked"),
        }
    }

    /// Every locked shard.
    pub fn shards_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        let (pair, all) = match &mut self.guards {
            Guards::Pair { first, second, .. } => ([Some(first), second.as_mut()], [].iter_mut()),
            Guards::All(all) => ([None, None], all.iter_mut()),
        };
        pair.into_iter().flatten().chain(all).map(|guard| &mut **guard)
    }

    /// An account's row, to change it.
    #[inline]
    pub fn account_mut(&mut self, no: AccountNo) -> Option<&mut Account> {
        let place = self.layout.place(no);
        self.shard_mut(no).row_mut(place)
    }

    /// Adds the next account of its shard.
    pub fn push_account(&mut self, no: AccountNo, account: Account) {
        let place = self.layout.place(no);
        let shard = self.shard_mut(no);
        assert!(shard.len() == place, "accounts are opened in order of their numbers");
        shard.push(account);
    }

    /// Links an entry to the chains of its accounts: what the journal keeps of them.
    #[inline]
    pub fn link(&self, entry: &mut TransferEntry) {
        entry.previous_debit = self.account(entry.debit).expect("decide found the debit account").last_seq;
        entry.previous_credit = self.account(entry.credit).expect("decide found the credit account").last_seq;
    }

    /// Applies both sides of a transfer entry; a side whose row is newer already is left alone
    /// (replay over a checkpoint), its general ledger and off-date row are not.
    #[inline]
    pub fn apply(&mut self, entry: &TransferEntry, seq: Seq, day: Day) {
        let posts = entry.posts();
        for (no, side) in [(entry.debit, Side::Debit), (entry.credit, Side::Credit)] {
            let place = self.layout.place(no);
            let shard = self.shard_mut(no);
            let account = shard.row_mut(place).expect("decide found both accounts");
            let gl = account.gl;
            if seq > account.last_seq
                && let Some(anchor) = apply_side(account, no, side, entry, seq, day)
            {
                shard.anchors.insert((no, anchor.day), anchor);
            }
            if posts == 0 {
                continue;
            }
            let (debit, credit) = if side == Side::Debit { (posts, 0) } else { (0, posts) };
            shard.gl.post(gl, entry.effective_on(day), debit, credit);
            if let Some(effective) = entry.effective {
                let row = OffDate { side, effective, booked: day, seq, amount: posts };
                shard.off_dates.entry(no).or_default().push(row);
            }
        }
    }

    /// The off-date postings of an account that are in memory; some may be in the store too.
    #[must_use]
    pub fn off_dates(&self, no: AccountNo) -> Vec<OffDate> {
        let shard = self.shard(no);
        let maps = shard.off_dates_frozen.iter().map(Arc::as_ref).chain([&shard.off_dates]);
        maps.filter_map(|map| map.get(&no)).flatten().copied().collect()
    }

    /// An anchor that may not be in the store yet.
    #[must_use]
    pub fn anchor(&self, no: AccountNo, day: Day) -> Option<Anchor> {
        let shard = self.shard(no);
        let mut maps = [&shard.anchors].into_iter().chain(shard.anchors_frozen.iter().map(Arc::as_ref));
        maps.find_map(|map| map.get(&(no, day))).copied()
    }
}
