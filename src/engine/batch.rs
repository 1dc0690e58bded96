//! Batches: many items, one record, one turn under all locks.
//!
//! Independent items are decided, appended and applied one after the other, so that each sees what
//! those before it did. An atomic batch is decided first against a scratch copy of the accounts
//! that it touches; only when every item stands is it appended and applied.

use std::collections::{HashMap, HashSet};

use crate::domain::account::{Account, Side};
use crate::domain::apply::apply_side;
use crate::domain::entry::{Entry, TransferEntry};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::transfer::{Resolution, Rules, View, decide_resolution, decide_transfer};
use crate::journal::AppenderGuard;

use super::Core;
use super::command::{Batch, BatchItem, NewAccount, Origin};
use super::commit::{Appended, Decided, Probe, Stale, opening};
use super::keys::{ExternalKind, KeyHash, KeyKind, KeyRow, LockedKeys, external_hash};
use super::outcome::{Outcome, bounded};
use super::shard::Locked;
use super::view::BatchReply;

/// What the store said about a batch before the locks were taken.
#[derive(Debug, Default)]
pub struct BatchProbe {
    /// As for a single command; `external_taken` is unused.
    pub probe: Probe,
    /// Hashes of the items' external ids, by index; empty when no item has one.
    pub external: Vec<Option<KeyHash>>,
    /// Items whose external id is taken in a key table.
    pub taken: HashSet<u32>,
    /// Refusals that only the journal could tell: items that name no transfer, or no hold.
    pub unresolvable: HashMap<u32, RejectCode>,
}

/// Everything that is locked while a batch runs. Fields are dropped in their order: the sequencer first, which publishes
/// the record's last seq. Whoever has the account locks then knows of all that was applied, and a checkpoint that did not
/// would count a batch twice in the general ledger after a crash.
struct Turn<'a> {
    sequencer: AppenderGuard<'a>,
    keys: LockedKeys<'a>,
    locked: Locked<'a>,
    core: &'a Core,
    rules: Rules,
    probe: &'a BatchProbe,
    /// First seq of the record, once it has begun.
    first: Option<Seq>,
}

/// What a batch came to: the reply, or the items that refused it.
pub type BatchResult = Result<BatchReply, Vec<(u32, Reject)>>;

impl Core {
    /// Several transfers, posts and voids.
    pub(super) fn commit_batch(
        &self,
        batch: &Batch,
        origin: &Origin,
        probe: &BatchProbe,
    ) -> Result<Decided<BatchResult>, Stale> {
        let locked = self.shards.lock_all();
        let mut keys = self.keys.lock_all();
        if let Some(replay) = self.check_probe(&mut keys, origin, &probe.probe)? {
            return Ok(Decided::Replay(replay));
        }
        // The sequencer first: scratch and turn must see one moment, or a deadline between the two
        // would refuse what the scratch has accepted.
        let sequencer = self.journal.lock();
        let (moment, _) = self.next_moment(&sequencer);
        let rules = Rules { now: moment, ..self.rules(origin) };
        if origin.dry_run || batch.atomic || rules.amount_limit.is_some() {
            let scratch = Scratch::decide(self, &locked, &mut keys, rules, batch, probe);
            // One item above the caller's limit refuses the batch, of either mode: it is the caller who is refused.
            let is_above = |(_, reject): &&(u32, Reject)| reject.code == RejectCode::AmountLimitExceeded;
            if let Some((_, reject)) = scratch.rejected.iter().find(is_above) {
                return Ok(Decided::Refused(*reject, None));
            }
            if origin.dry_run {
                return Ok(Decided::Dry(scratch.dry_reply(batch), rules));
            }
            if batch.atomic && !scratch.rejected.is_empty() {
                drop(sequencer);
                let rejected = bounded(scratch.rejected);
                let outcome = Outcome::BatchRefused(rejected.clone());
                return Ok(match self.append_refusal(&mut keys, origin, &outcome) {
                    Some(appended) => Decided::Done(Err(rejected), appended),
                    None => Decided::Dry(Err(rejected), rules),
                });
            }
        }
        let turn = Turn { core: self, locked, keys, sequencer, rules, probe, first: None };
        Ok(turn.run(batch, origin))
    }

    /// Opens several accounts, each on its own.
    pub(super) fn commit_accounts(
        &self,
        accounts: &[NewAccount],
        origin: &Origin,
        probe: &BatchProbe,
    ) -> Result<Decided<BatchReply>, Stale> {
        let mut directory = self.directory.lock();
        let mut locked = self.shards.lock_all();
        let mut keys = self.keys.lock_all();
        if let Some(replay) = self.check_probe(&mut keys, origin, &probe.probe)? {
            return Ok(Decided::Replay(replay));
        }
        let items = u32::try_from(accounts.len()).expect("the edge bounds batches");
        let mut reply = BatchReply { items, ..BatchReply::default() };
        let mut seen = HashSet::new();
        let mut accepted = Vec::with_capacity(accounts.len());
        for (index, account) in (0..).zip(accounts) {
            let hash = account.external_id.as_deref().map(|text| external_hash(ExternalKind::Account, text));
            let mut is_taken = |hash: KeyHash, keys: &mut LockedKeys<'_>| {
                probe.taken.contains(&index) || keys.find(KeyKind::External, &hash).is_some() || !seen.insert(hash)
            };
            if hash.is_some_and(|hash| is_taken(hash, &mut keys)) {
                reply.rejected.push((index, Reject::of(RejectCode::ExternalIdExists)));
            } else {
                accepted.push((account, hash));
            }
        }
        reply.accepted = items - u32::try_from(reply.rejected.len()).expect("no more than items");
        if origin.dry_run {
            reply.dry_run = true;
            return Ok(Decided::Dry(reply, self.rules(origin)));
        }
        let outcome = Outcome::AccountsOpened { items, rejected: reply.rejected.clone() };
        if accepted.is_empty() {
            return Ok(match self.append_refusal(&mut keys, origin, &outcome) {
                Some(appended) => Decided::Done(reply, appended),
                None => Decided::Dry(reply, self.rules(origin)),
            });
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        for (account, hash) in accepted {
            let no = AccountNo(directory.accounts);
            directory.accounts += 1;
            let (row, _) = self.open(&mut sequencer, &mut locked, opening(no, account, moment), date);
            if let Some(hash) = hash {
                keys.insert(KeyKind::External, hash, KeyRow { number: u64::from(no.0), seq: row.last_seq });
            }
            reply.ids.push(u64::from(no.0));
        }
        let last = self.end(&mut sequencer, &mut keys, first, origin, &outcome);
        (reply.first, reply.last) = (reply.ids.first().copied(), reply.ids.last().copied());
        Ok(Decided::Done(reply, Appended { first, last, moment, date }))
    }
}

impl Turn<'_> {
    fn run(mut self, batch: &Batch, origin: &Origin) -> Decided<BatchResult> {
        let items = u32::try_from(batch.items.len()).expect("the edge bounds batches");
        let mut reply = BatchReply { atomic: batch.atomic, minimal: batch.minimal, items, ..BatchReply::default() };
        if !batch.minimal {
            reply.ids.reserve(batch.items.len());
        }
        for (index, item) in (0..).zip(&batch.items) {
            match self.item(index, item) {
                Ok(id) => {
                    reply.accepted += 1;
                    reply.first = reply.first.or(Some(id));
                    reply.last = Some(id);
                    if !batch.minimal {
                        reply.ids.push(id);
                    }
                }
                Err(reject) => reply.rejected.push((index, reject)),
            }
        }
        reply.rejected = bounded(reply.rejected);
        assert!(!batch.atomic || reply.rejected.is_empty(), "the scratch decided every item of an atomic batch");
        let outcome =
            Outcome::Batch { atomic: batch.atomic, minimal: batch.minimal, items, rejected: reply.rejected.clone() };
        let Some(first) = self.first else {
            // Nothing was accepted: the record, if there is one, only keeps the reply.
            drop(self.sequencer);
            let appended = self.core.append_refusal(&mut self.keys, origin, &outcome);
            return match appended {
                Some(appended) => Decided::Done(Ok(reply), appended),
                None => Decided::Dry(Ok(reply), self.rules),
            };
        };
        let last = self.core.end(&mut self.sequencer, &mut self.keys, first, origin, &outcome);
        let (moment, date) = (self.rules.now, self.rules.business_date);
        Decided::Done(Ok(reply), Appended { first, last, moment, date })
    }

    /// Decides, appends and applies one item; the id to show.
    fn item(&mut self, index: u32, item: &BatchItem) -> Result<u64, Reject> {
        match item {
            BatchItem::New(command) => {
                let hash = self.probe.external.get(index as usize).copied().flatten();
                let taken = hash.is_some_and(|hash| {
                    self.probe.taken.contains(&index) || self.keys.find(KeyKind::External, &hash).is_some()
                });
                let mut entry = decide_transfer(&self.locked, &self.rules, command, taken)?;
                let seq = self.append(&mut entry);
                if let Some(hash) = hash {
                    self.keys.insert(KeyKind::External, hash, KeyRow { number: seq.0, seq });
                }
                Ok(seq.0)
            }
            BatchItem::Post { transfer, amount } => {
                self.resolve(index, *transfer, Resolution::Post { amount: *amount })
            }
            BatchItem::Void { transfer } => self.resolve(index, *transfer, Resolution::Void),
        }
    }

    fn resolve(&mut self, index: u32, transfer: Option<Seq>, resolution: Resolution) -> Result<u64, Reject> {
        let seq = transfer.ok_or(Reject::of(RejectCode::TransferNotFound))?;
        let Some(hold) = self.core.holds.get(seq) else {
            let known = self.probe.unresolvable.get(&index).copied();
            return Err(Reject::of(known.unwrap_or(RejectCode::TransferNotPending)));
        };
        match decide_resolution(&self.locked, &self.rules, seq, &hold, resolution) {
            Ok(mut entry) => {
                self.append(&mut entry);
                Ok(seq.0)
            }
            Err(reject) => {
                if hold.is_expired(self.rules.now) {
                    let expiry = decide_resolution(&self.locked, &self.rules, seq, &hold, Resolution::Expire);
                    self.append(&mut expiry.expect("an expired hold can always expire"));
                }
                Err(reject)
            }
        }
    }

    #[inline]
    fn append(&mut self, entry: &mut TransferEntry) -> Seq {
        if self.first.is_none() {
            self.first = Some(self.sequencer.begin(self.rules.now, self.rules.business_date));
        }
        self.locked.link(entry);
        let seq = self.sequencer.push_transfer(entry);
        self.core.apply_transfer(&mut self.locked, entry, seq, self.rules.business_date);
        seq
    }
}

/// Decides a batch without touching anything: rows are copied on first touch.
struct Scratch<'a> {
    base: &'a Locked<'a>,
    rows: HashMap<AccountNo, Account>,
    rules: Rules,
    next: Seq,
    resolved: HashSet<Seq>,
    external: HashSet<KeyHash>,
    rejected: Vec<(u32, Reject)>,
}

impl View for Scratch<'_> {
    fn account(&self, no: AccountNo) -> Option<&Account> {
        self.rows.get(&no).or_else(|| self.base.account(no))
    }
}

impl<'a> Scratch<'a> {
    fn decide(
        core: &Core,
        base: &'a Locked<'a>,
        keys: &mut LockedKeys<'_>,
        rules: Rules,
        batch: &Batch,
        probe: &BatchProbe,
    ) -> Scratch<'a> {
        let mut scratch = Scratch {
            base,
            rows: HashMap::new(),
            rules,
            next: core.journal.appended_seq().next(),
            resolved: HashSet::new(),
            external: HashSet::new(),
            rejected: Vec::new(),
        };
        for (index, item) in (0..).zip(&batch.items) {
            match scratch.item(core, keys, probe, index, item) {
                Ok(entry) => scratch.apply(&entry),
                Err(reject) => scratch.rejected.push((index, reject)),
            }
        }
        scratch
    }

    fn item(
        &mut self,
        core: &Core,
        keys: &mut LockedKeys<'_>,
        probe: &BatchProbe,
        index: u32,
        item: &BatchItem,
    ) -> Result<TransferEntry, Reject> {
        let (transfer, resolution) = match item {
            BatchItem::New(command) => {
                let hash = probe.external.get(index as usize).copied().flatten();
                let taken = hash.is_some_and(|hash| {
                    probe.taken.contains(&index)
                        || keys.find(KeyKind::External, &hash).is_some()
                        || self.external.contains(&hash)
                });
                let entry = decide_transfer(self, &self.rules, command, taken)?;
                self.external.extend(hash);
                return Ok(entry);
            }
            BatchItem::Post { transfer, amount } => (*transfer, Resolution::Post { amount: *amount }),
            BatchItem::Void { transfer } => (*transfer, Resolution::Void),
        };
        let seq = transfer.ok_or(Reject::of(RejectCode::TransferNotFound))?;
        let hold = core.holds.get(seq).filter(|_| !self.resolved.contains(&seq));
        let known = probe.unresolvable.get(&index).copied().unwrap_or(RejectCode::TransferNotPending);
        let hold = hold.ok_or(Reject::of(known))?;
        let entry = decide_resolution(self, &self.rules, seq, &hold, resolution)?;
        self.resolved.insert(seq);
        Ok(entry)
    }

    fn apply(&mut self, entry: &TransferEntry) {
        for (no, side) in [(entry.debit, Side::Debit), (entry.credit, Side::Credit)] {
            let mut row = *self.account(no).expect("decide found both accounts");
            apply_side(&mut row, no, side, entry, self.next, self.rules.business_date);
            self.rows.insert(no, row);
        }
        self.next = self.next.next();
    }

    fn dry_reply(&self, batch: &Batch) -> BatchResult {
        if batch.atomic && !self.rejected.is_empty() {
            return Err(self.rejected.clone());
        }
        let items = u32::try_from(batch.items.len()).expect("the edge bounds batches");
        Ok(BatchReply {
            atomic: batch.atomic,
            minimal: batch.minimal,
            dry_run: true,
            accepted: items - u32::try_from(self.rejected.len()).expect("no more than items"),
            items,
            rejected: self.rejected.clone(),
            ..BatchReply::default()
        })
    }
}

/// Ids to show for the accepted items of a replayed record, in order: a resolution shows its hold;
/// an expiry that a late item caused belongs to a refused item and shows nothing.
#[must_use]
pub fn ids_of(entries: &[super::history::Located]) -> Vec<u64> {
    let id = |located: &super::history::Located| match &located.entry {
        Entry::Transfer(entry) => match entry.op {
            crate::domain::entry::TransferOp::ExpirePending { .. } => None,
            _ => Some(entry.resolves().unwrap_or(located.seq).0),
        },
        Entry::AccountOpened(entry) => Some(u64::from(entry.account.0)),
        _ => None,
    };
    entries.iter().filter_map(id).collect()
}
