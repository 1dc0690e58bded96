//! Account shards: who may touch which accounts, and in which order locks are taken.
//!
//! Promise: account locks are taken in ascending order by the two functions of this file, and
//! nowhere else. Nothing under them waits for a disk or another thread.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::domain::account::{Account, Side};
use crate::domain::apply::{Anchor, Mark, apply_side, is_marked};
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
    /// Rows at places of the past since the last checkpoint.
    pub marks: MarkMap,
    /// Marks on their way into the store; likewise.
    pub marks_frozen: Vec<Arc<MarkMap>>,
    /// Off-date postings since the last checkpoint.
    pub off_dates: OffDates,
    /// Off-date postings on their way into the store; likewise.
    pub off_dates_frozen: Vec<Arc<OffDates>>,
}

/// Closings by account and day.
pub type AnchorMap = HashMap<(AccountNo, Day), Anchor>;

/// Marks by account, ascending.
pub type MarkMap = HashMap<AccountNo, Vec<Mark>>;

/// Entries with a date of their own, as they are asked for.
#[derive(Debug, Default)]
pub struct OffDates {
    /// By account, ascending by seq.
    pub by_account: HashMap<AccountNo, Vec<OffDate>>,
    /// By effective date, ascending; each entry once, in the shard of its debit side. Holds that were asked
    /// for with another date are here, too, though they have posted nothing.
    pub by_day: HashMap<Day, Vec<Seq>>,
}

impl OffDates {
    /// Whether there is neither a posting nor a day. A shard may have either alone: days stand with the debit side.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_account.is_empty() && self.by_day.is_empty()
    }
}

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
    each: Box<[Mutex<Shard>]>,
    layout: Layout,
    mark_every: u64,
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
    /// At least `count` shards, rounded up to a power of two, at most 256; one entry in `mark_every`
    /// (rounded up likewise) of a busy account is marked.
    #[must_use]
    pub fn new(count: usize, mark_every: u32) -> Shards {
        let count = count.clamp(1, 256).next_power_of_two();
        Shards {
            each: (0..count).map(|_| Mutex::new(Shard::default())).collect(),
            layout: Layout { bits: count.trailing_zeros() },
            mark_every: u64::from(mark_every).max(1).next_power_of_two(),
        }
    }

    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.each.len()
    }

    /// Locks the shards of two accounts (or one, when they share it), ascending.
    pub fn lock_pair(&self, a: AccountNo, b: AccountNo) -> Locked<'_> {
        let (a, b) = (self.layout.shard(a), self.layout.shard(b));
        let (low, high) = (a.min(b), a.max(b));
        let first = self.each[low].lock();
        let second = (low != high).then(|| self.each[high].lock());
        Locked { layout: self.layout, mark_every: self.mark_every, guards: Guards::Pair { low, first, second } }
    }

    /// Locks the shard of one account.
    pub fn lock_one(&self, no: AccountNo) -> Locked<'_> {
        self.lock_pair(no, no)
    }

    /// Locks all shards, ascending.
    pub fn lock_all(&self) -> Locked<'_> {
        let guards = Guards::All(self.each.iter().map(Mutex::lock).collect());
        Locked { layout: self.layout, mark_every: self.mark_every, guards }
    }

    /// The newest off-date entries below `below` that are effective on a day and not yet in the store
    /// for sure, at most `limit` of each piece: unsorted, and some may be in the store too. Shard by
    /// shard: none waits for another.
    #[must_use]
    pub fn off_dates_on(&self, day: Day, below: Seq, limit: usize) -> Vec<Seq> {
        let mut found = Vec::new();
        for shard in &self.each {
            let shard = shard.lock();
            let pieces = shard.off_dates_frozen.iter().map(Arc::as_ref).chain([&shard.off_dates]);
            for seqs in pieces.filter_map(|piece| piece.by_day.get(&day)) {
                let end = seqs.partition_point(|seq| *seq < below);
                found.extend_from_slice(&seqs[end.saturating_sub(limit)..end]);
            }
        }
        found
    }

    /// A copy of an account's row, or `None` when it does not exist.
    #[must_use]
    pub fn copy(&self, no: AccountNo) -> Option<Account> {
        self.each[self.layout.shard(no)].lock().row(self.layout.place(no)).copied()
    }
}

/// Some shards, locked.
#[derive(Debug)]
pub struct Locked<'a> {
    layout: Layout,
    mark_every: u64,
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
        let mark_every = self.mark_every;
        for (no, side) in [(entry.debit, Side::Debit), (entry.credit, Side::Credit)] {
            let place = self.layout.place(no);
            let shard = self.shard_mut(no);
            let account = shard.row_mut(place).expect("decide found both accounts");
            let (gl, previous) = (account.gl, account.last_seq);
            if seq > previous {
                let anchor = apply_side(account, no, side, entry, seq, day);
                let mark = is_marked(no, seq, previous, mark_every).then(|| Mark::of(no, seq, account));
                if let Some(mark) = mark {
                    shard.marks.entry(no).or_default().push(mark);
                }
                if let Some(anchor) = anchor {
                    shard.anchors.insert((no, anchor.day), anchor);
                }
            }
            if let Some(effective) = entry.effective
                && side == Side::Debit
            {
                shard.off_dates.by_day.entry(effective).or_default().push(seq);
            }
            if posts == 0 {
                continue;
            }
            let (debit, credit) = if side == Side::Debit { (posts, 0) } else { (0, posts) };
            shard.gl.post(gl, entry.effective_on(day), debit, credit);
            if let Some(effective) = entry.effective {
                let row = OffDate { side, effective, booked: day, seq, amount: posts };
                shard.off_dates.by_account.entry(no).or_default().push(row);
            }
        }
    }

    /// The off-date postings of an account that are in memory; some may be in the store too.
    #[must_use]
    pub fn off_dates(&self, no: AccountNo) -> Vec<OffDate> {
        let shard = self.shard(no);
        let pieces = shard.off_dates_frozen.iter().map(Arc::as_ref).chain([&shard.off_dates]);
        pieces.filter_map(|piece| piece.by_account.get(&no)).flatten().copied().collect()
    }

    /// The first mark of an account at or above a place that may not be in the store yet.
    #[must_use]
    pub fn mark_from(&self, no: AccountNo, at: Seq) -> Option<Mark> {
        let shard = self.shard(no);
        let pieces = shard.marks_frozen.iter().map(Arc::as_ref).chain([&shard.marks]);
        let first = |marks: &Vec<Mark>| marks.get(marks.partition_point(|mark| mark.at < at)).copied();
        pieces.filter_map(|piece| first(piece.get(&no)?)).min_by_key(|mark| mark.at)
    }

    /// An anchor that may not be in the store yet.
    #[must_use]
    pub fn anchor(&self, no: AccountNo, day: Day) -> Option<Anchor> {
        let shard = self.shard(no);
        let mut maps = [&shard.anchors].into_iter().chain(shard.anchors_frozen.iter().map(Arc::as_ref));
        maps.find_map(|map| map.get(&(no, day))).copied()
    }
}
