//! Open holds, their deadlines, and what resolved or reversed a transfer lately.
//!
//! Promise: a hold is changed only while the shards of its two accounts are locked; the locks in
//! here are the innermost ones and only keep the maps whole. Memory grows with the number of
//! **open** holds and with what a checkpoint has not yet taken, never with history.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::entry::{TransferEntry, TransferOp};
use crate::domain::ids::{Moment, Seq};
use crate::domain::transfer::Hold;

/// Stripes by seq: enough that two cores seldom meet, few enough to walk.
const STRIPES: usize = 64;

/// What later happened to a transfer. Stored on disk by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Fate {
    /// The hold was posted.
    Posted = 0,
    /// The hold was voided.
    Voided = 1,
    /// The hold expired.
    Expired = 2,
    /// The transfer was reversed.
    Reversed = 3,
}

impl Fate {
    /// A number read from the store, or `None` when this version does not know it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Fate> {
        [Fate::Posted, Fate::Voided, Fate::Expired, Fate::Reversed].get(usize::from(number)).copied()
    }

    /// What a transfer entry decides about an earlier transfer: which one, and its fate.
    #[must_use]
    pub fn decided_by(entry: &TransferEntry) -> Option<(Seq, Fate)> {
        match entry.op {
            TransferOp::PostPending { hold, .. } => Some((hold, Fate::Posted)),
            TransferOp::VoidPending { hold } => Some((hold, Fate::Voided)),
            TransferOp::ExpirePending { hold } => Some((hold, Fate::Expired)),
            TransferOp::Reversal { of } => Some((of, Fate::Reversed)),
            TransferOp::Posted | TransferOp::Pending { .. } => None,
        }
    }
}

/// The original, the entry that decided its fate, and the fate.
pub type FateRow = (Seq, Seq, Fate);

#[derive(Debug, Default)]
struct Stripe {
    open: HashMap<Seq, Hold>,
    deadlines: BTreeSet<(Moment, Seq)>,
    /// Opened since the last checkpoint.
    opened: HashSet<Seq>,
    /// In the store, and resolved since the last checkpoint.
    resolved: Vec<Seq>,
    /// Fates since the last checkpoint.
    fates: FateMap,
    /// Fates on their way into the store; more than one map only after the store has refused.
    fates_frozen: Vec<Arc<FateMap>>,
}

/// By original, and whether it is a reversal: a posted hold may be reversed later, which makes two rows.
type FateMap = HashMap<(Seq, bool), (Seq, Fate)>;

/// All open holds.
#[derive(Debug)]
pub struct Holds {
    /// Each lock guards its stripe's maps. Innermost: nothing else is locked under it.
    stripes: Box<[Mutex<Stripe>]>,
}

/// What a checkpoint takes of the holds.
#[derive(Debug, Default)]
pub struct HoldChanges {
    /// New and still open.
    pub opened: Vec<(Seq, Hold)>,
    /// No longer open.
    pub resolved: Vec<Seq>,
    /// New fates, ascending by original.
    pub fates: Vec<FateRow>,
}

impl Default for Holds {
    fn default() -> Holds {
        Holds { stripes: (0..STRIPES).map(|_| Mutex::new(Stripe::default())).collect() }
    }
}

impl Holds {
    fn stripe(&self, seq: Seq) -> &Mutex<Stripe> {
        &self.stripes[(seq.0 % STRIPES as u64) as usize]
    }

    /// The open hold with this seq.
    #[must_use]
    pub fn get(&self, seq: Seq) -> Option<Hold> {
        self.stripe(seq).lock().open.get(&seq).copied()
    }

    /// Records what an entry does: opens a hold, resolves one, or reverses a transfer. Safe to
    /// repeat over a checkpoint that has seen it.
    pub fn apply(&self, entry: &TransferEntry, seq: Seq) {
        if let Some(hold) = Hold::opened_by(entry) {
            let mut stripe = self.stripe(seq).lock();
            if let Some(deadline) = hold.expires_at {
                stripe.deadlines.insert((deadline, seq));
            }
            if stripe.open.insert(seq, hold).is_none() {
                stripe.opened.insert(seq);
            }
        }
        let Some((original, fate)) = Fate::decided_by(entry) else { return };
        let mut stripe = self.stripe(original).lock();
        if fate != Fate::Reversed
            && let Some(hold) = stripe.open.remove(&original)
        {
            if let Some(deadline) = hold.expires_at {
                stripe.deadlines.remove(&(deadline, original));
            }
            if !stripe.opened.remove(&original) {
                stripe.resolved.push(original);
            }
        }
        stripe.fates.insert((original, fate == Fate::Reversed), (seq, fate));
    }

    /// Puts a hold from a checkpoint back.
    pub fn load(&self, seq: Seq, hold: Hold) {
        let mut stripe = self.stripe(seq).lock();
        if let Some(deadline) = hold.expires_at {
            stripe.deadlines.insert((deadline, seq));
        }
        stripe.open.insert(seq, hold);
    }

    /// Fates of a transfer that may not be in the store yet.
    #[must_use]
    pub fn recent_fates(&self, seq: Seq) -> Vec<(Seq, Fate)> {
        let stripe = self.stripe(seq).lock();
        let maps = || stripe.fates_frozen.iter().map(Arc::as_ref).chain([&stripe.fates]);
        let find = |is_reversal: bool| maps().find_map(|map| map.get(&(seq, is_reversal)).copied());
        [false, true].into_iter().filter_map(find).collect()
    }

    /// Up to `limit` holds whose deadline has passed, the oldest deadlines of each stripe first.
    #[must_use]
    pub fn due(&self, now: Moment, limit: usize) -> Vec<(Seq, Hold)> {
        let mut due = Vec::new();
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            let passed = stripe.deadlines.iter().take_while(|(deadline, _)| *deadline <= now);
            due.extend(passed.take(limit - due.len()).map(|(_, seq)| (*seq, stripe.open[seq])));
            if due.len() >= limit {
                break;
            }
        }
        due
    }

    /// How many holds are open.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.lock().open.len() as u64).sum()
    }

    /// Whether no hold is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all changes since the last call, stripe by stripe. What is taken may be newer than the
    /// checkpoint's seq: replaying an entry over it changes nothing.
    pub fn freeze(&self) -> HoldChanges {
        let mut changes = HoldChanges::default();
        for stripe in &self.stripes {
            let mut guard = stripe.lock();
            let stripe = &mut *guard;
            let opened = std::mem::take(&mut stripe.opened);
            changes.opened.extend(opened.into_iter().map(|seq| (seq, stripe.open[&seq])));
            changes.resolved.append(&mut stripe.resolved);
            if !stripe.fates.is_empty() {
                let fates = Arc::new(std::mem::take(&mut stripe.fates));
                stripe.fates_frozen.push(Arc::clone(&fates));
                drop(guard);
                changes.fates.extend(fates.iter().map(|((original, _), (by, fate))| (*original, *by, *fate)));
            }
        }
        changes.opened.sort_unstable_by_key(|(seq, _)| *seq);
        changes.resolved.sort_unstable();
        changes.fates.sort_unstable();
        changes
    }

    /// The store has what [`Holds::freeze`] took.
    pub fn thaw(&self) {
        for stripe in &self.stripes {
            let frozen = std::mem::take(&mut stripe.lock().fates_frozen);
            drop(frozen);
        }
    }

    /// All fates that may not be in the store yet.
    #[must_use]
    pub fn fates(&self) -> Vec<FateRow> {
        let mut all = Vec::new();
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            let maps = stripe.fates_frozen.iter().map(Arc::as_ref).chain([&stripe.fates]);
            all.extend(maps.flatten().map(|((original, _), (by, fate))| (*original, *by, *fate)));
        }
        all
    }

    /// Every open hold, ascending.
    #[must_use]
    pub fn all(&self) -> Vec<(Seq, Hold)> {
        let mut all: Vec<(Seq, Hold)> = Vec::new();
        for stripe in &self.stripes {
            all.extend(stripe.lock().open.iter().map(|(seq, hold)| (*seq, *hold)));
        }
        all.sort_unstable_by_key(|(seq, _)| *seq);
        all
    }
}
