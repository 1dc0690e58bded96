//! The write path. Nothing else appends to the journal.
//!
//! 1. What needs the disk was fetched before (`submit.rs`); a generation tells whether it still holds.
//! 2. Locks, ascending: directory, account shards, key shards, sequencer.
//! 3. Idempotency look-up, then `decide`: a reject, or entries.
//! 4. Still under the locks: the sequencer gives the seqs, the record goes to the open block, `apply`, unlock.
//!    No lock is held over an fsync, a disk read or an await.
//! 5. The writer thread makes it durable; the answer waits for the watermark outside.

use crate::domain::access::ApiKey;
use crate::domain::account::{Account, Status};
use crate::domain::apply::{Mark, apply_change, open_account};
use crate::domain::entry::{AccountChanged, AccountCold, AccountOpened, Entry, TransferEntry};
use crate::domain::gl::GlKey;
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::objects::JobBorn;
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::time::Day;
use crate::domain::transfer::{
    Hold, NewTransfer, Resolution, Reversible, Rules, View, decide_resolution, decide_reversal, decide_transfer,
};
use crate::journal::{AppenderGuard, KeyMark, Trailer};

use super::Core;
use super::command::{AccountChange, NewAccount, NewJob, Origin};
use super::keys::{ExternalKind, KeyHash, KeyKind, KeyRow, LockedKeys, external_hash};
use super::outcome::Outcome;
use super::shard::Locked;

/// A record that was appended: where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// First seq.
    pub first: Seq,
    /// Last seq.
    pub last: Seq,
    /// Its moment.
    pub moment: Moment,
    /// Its business date.
    pub date: Day,
}

/// What became of a command under the locks.
#[derive(Debug)]
pub enum Decided<T> {
    /// A record was appended.
    Done(T, Appended),
    /// A dry run: what would have been.
    Dry(T, Rules),
    /// Refused; `Some` when the refusal was appended for its key.
    Refused(Reject, Option<Appended>),
    /// The key was used before: the first seq of its record.
    Replay(Seq),
}

/// What the store said about keys before the locks were taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    /// [`super::keys::Keys::generation`] when the store was asked.
    pub generation: u64,
    /// The newest checkpoint when the store was asked.
    pub checkpoint: Seq,
    /// The record of the idempotency key, if it lies in a key table.
    pub replay: Option<Seq>,
    /// The external id is taken in a key table.
    pub external_taken: bool,
}

/// Retry: what was fetched before locking does not hold any more.
#[derive(Clone, Copy, Debug)]
pub struct Stale;

impl Core {
    /// One transfer or hold.
    pub(super) fn commit_transfer(
        &self,
        command: &NewTransfer,
        jobs: &[NewJob],
        external: Option<KeyHash>,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<TransferEntry>, Stale> {
        let mut locked = self.lock_sides(command);
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), external.as_ref());
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        let taken = probe.external_taken || external.is_some_and(|hash| keys.find(KeyKind::External, &hash).is_some());
        let rules = self.rules(origin);
        let mut entry = match decide_transfer(&locked, &rules, command, taken) {
            Ok(entry) => entry,
            Err(reject) => return Ok(self.refuse(&mut keys, reject, origin)),
        };
        if origin.dry_run {
            return Ok(Decided::Dry(entry, rules));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        // Before the transfer: the record's last entry is what the answer is about.
        if !jobs.is_empty() {
            bear(&mut sequencer, jobs, origin);
        }
        locked.link(&mut entry);
        let seq = sequencer.push_transfer(&entry);
        self.end(&mut sequencer, &mut keys, first, origin, &Outcome::TransferCreated);
        drop(sequencer);
        self.apply_transfer(&mut locked, &entry, seq, date);
        if let Some(hash) = external {
            keys.insert(KeyKind::External, hash, KeyRow { number: seq.0, seq });
        }
        Ok(Decided::Done(entry, Appended { first, last: seq, moment, date }))
    }

    /// Posts, voids or expires a hold. `hold` was looked up before; it is looked up again here.
    pub(super) fn commit_resolution(
        &self,
        hold_seq: Seq,
        hold: &Hold,
        resolution: Resolution,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<TransferEntry>, Stale> {
        let mut locked = self.shards.lock_pair(hold.debit, hold.credit);
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), None);
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        if self.holds.get(hold_seq).is_none() {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::TransferNotPending), origin));
        }
        // The sequencer first: the deadline is compared with the moment that the record will have.
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let rules = Rules { now: moment, ..self.rules(origin) };
        let decided = decide_resolution(&locked, &rules, hold_seq, hold, resolution);
        let is_late = hold.is_expired(moment) && resolution != Resolution::Expire;
        if !is_late && decided.is_err() || origin.dry_run {
            drop(sequencer);
            return Ok(match decided {
                Ok(entry) => Decided::Dry(entry, rules),
                Err(reject) => self.refuse(&mut keys, reject, origin),
            });
        }
        let first = sequencer.begin(moment, date);
        // A late post or void appends the expiry and is refused; the refusal stands in the same record.
        let (mut entry, outcome) = match decided {
            Ok(entry) => (entry, Outcome::HoldResolved),
            Err(reject) => {
                let expiry = decide_resolution(&locked, &rules, hold_seq, hold, Resolution::Expire);
                (expiry.expect("an expired hold can always expire"), Outcome::Refused(reject))
            }
        };
        locked.link(&mut entry);
        let seq = sequencer.push_transfer(&entry);
        self.end(&mut sequencer, &mut keys, first, origin, &outcome);
        drop(sequencer);
        self.apply_transfer(&mut locked, &entry, seq, date);
        let appended = Appended { first, last: seq, moment, date };
        Ok(match outcome {
            Outcome::Refused(reject) => Decided::Refused(reject, Some(appended)),
            _ => Decided::Done(entry, appended),
        })
    }

    /// Reverses a posted transfer. What is known of it was read before; whether it was reversed
    /// meanwhile is looked at again here.
    pub(super) fn commit_reversal(
        &self,
        of: Seq,
        original: &Reversible,
        reason: Option<Box<str>>,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<TransferEntry>, Stale> {
        let mut locked = self.shards.lock_pair(original.debit, original.credit);
        // A reversal in between could be in the store by now, and no longer in memory.
        if probe.checkpoint != self.checkpoint_seq() {
            return Err(Stale);
        }
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), None);
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        let recent = self.holds.recent_fates(of);
        let is_reversed = original.is_reversed || recent.iter().any(|(_, fate)| *fate == super::holds::Fate::Reversed);
        let original = Reversible { is_reversed, ..*original };
        let rules = self.rules(origin);
        let cold = reason
            .map(|text| Box::new(crate::domain::entry::TransferCold { description: Some(text), ..Default::default() }));
        let mut entry = match decide_reversal(&locked, &rules, of, &original, cold) {
            Ok(entry) => entry,
            Err(reject) => return Ok(self.refuse(&mut keys, reject, origin)),
        };
        if origin.dry_run {
            return Ok(Decided::Dry(entry, rules));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        locked.link(&mut entry);
        let seq = sequencer.push_transfer(&entry);
        self.end(&mut sequencer, &mut keys, first, origin, &Outcome::TransferCreated);
        drop(sequencer);
        self.apply_transfer(&mut locked, &entry, seq, date);
        Ok(Decided::Done(entry, Appended { first, last: seq, moment, date }))
    }

    /// Opens an account.
    pub(super) fn commit_account(
        &self,
        command: &NewAccount,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<(Account, AccountOpened)>, Stale> {
        let mut directory = self.directory.lock();
        let no = AccountNo(directory.accounts);
        let mut locked = self.shards.lock_one(no);
        let external = command.external_id.as_deref().map(|text| external_hash(ExternalKind::Account, text));
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), external.as_ref());
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        if probe.external_taken || external.is_some_and(|hash| keys.find(KeyKind::External, &hash).is_some()) {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::ExternalIdExists), origin));
        }
        let rules = self.rules(origin);
        if origin.dry_run {
            let entry = opening(no, command, rules.now);
            let account = open_account(&entry, crate::domain::account::GlNo(0), Seq::NONE, rules.business_date);
            return Ok(Decided::Dry((account, entry), rules));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        let (account, entry) = self.open(&mut sequencer, &mut locked, opening(no, command, moment), date);
        directory.accounts += 1;
        if let Some(hash) = external {
            keys.insert(KeyKind::External, hash, KeyRow { number: u64::from(no.0), seq: first });
        }
        self.end(&mut sequencer, &mut keys, first, origin, &Outcome::AccountOpened);
        Ok(Decided::Done((account, entry), Appended { first, last: first, moment, date }))
    }

    /// Appends and applies one opening.
    pub(super) fn open(
        &self,
        sequencer: &mut AppenderGuard<'_>,
        locked: &mut Locked<'_>,
        entry: AccountOpened,
        date: Day,
    ) -> (Account, AccountOpened) {
        let key = GlKey { currency: entry.currency, code: entry.code, account_type: entry.account_type };
        let gl = self.chart.write().number(key);
        let no = entry.account;
        let entry = Entry::AccountOpened(Box::new(entry));
        let seq = sequencer.push(&entry);
        let Entry::AccountOpened(entry) = entry else { unreachable!("made three lines above") };
        let account = open_account(&entry, gl, seq, date);
        locked.push_account(no, account);
        (account, *entry)
    }

    /// Changes an account. `texts` are those at `cold_seq`, read before locking.
    pub(super) fn commit_change(
        &self,
        change: &AccountChange,
        texts: &AccountCold,
        cold_seq: Seq,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<(Account, AccountChanged)>, Stale> {
        let mut locked = self.shards.lock_one(change.account);
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), None);
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        let account = *locked.account(change.account).expect("accounts are never removed, and it was there before");
        if account.cold_seq != cold_seq {
            return Err(Stale);
        }
        let is_used = self.loans.is_used(change.account);
        if let Err(reject) = check_change(change, &account, is_used) {
            return Ok(self.refuse(&mut keys, reject, origin));
        }
        let mut cold = texts.clone();
        if let Some(name) = &change.name {
            cold.name.clone_from(name);
        }
        if let Some(metadata) = &change.metadata {
            cold.metadata.clone_from(metadata);
        }
        let entry = AccountChanged {
            account: change.account,
            status: change.status.unwrap_or(account.status),
            version: account.version + 1,
            previous: account.last_seq,
            cold,
        };
        let rules = self.rules(origin);
        if origin.dry_run {
            let mut after = account;
            apply_change(&mut after, &entry, account.last_seq.next(), rules.business_date.max(account.day));
            after.last_seq = account.last_seq;
            return Ok(Decided::Dry((after, entry), rules));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        let entry = Entry::AccountChanged(Box::new(entry));
        let seq = sequencer.push(&entry);
        let Entry::AccountChanged(entry) = entry else { unreachable!("made two lines above") };
        let after = apply_changed(&mut locked, &entry, seq, date);
        let code = self.chart.read().key(after.gl).code;
        let outcome = Outcome::AccountChanged { account: Box::new(after), code };
        self.end(&mut sequencer, &mut keys, first, origin, &outcome);
        Ok(Decided::Done((after, *entry), Appended { first, last: seq, moment, date }))
    }

    /// A fact about all books (a period, the day, the clock, an API key): under all locks. With the entry
    /// comes the key as it is after it, if it is about one.
    pub(super) fn commit_general(
        &self,
        origin: &Origin,
        probe: &Probe,
        decide: impl Fn(&Rules) -> Result<(Entry, Outcome), Reject>,
    ) -> Result<Decided<(Entry, Option<Box<ApiKey>>)>, Stale> {
        let _directory = self.directory.lock();
        let _locked = self.shards.lock_all();
        let mut keys = self.keys.lock_all();
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        let rules = self.rules(origin);
        let (entry, outcome) = match decide(&rules) {
            Ok(decided) => decided,
            Err(reject) => return Ok(self.refuse(&mut keys, reject, origin)),
        };
        if origin.dry_run {
            return Ok(Decided::Dry((entry, None), rules));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        // The record that rolls the day already belongs to it.
        let date = if let Entry::DayRolled { date } = entry { date } else { date };
        let first = sequencer.begin(moment, date);
        let seq = sequencer.push(&entry);
        let api_key = self.keyring.after(&entry, seq, moment).map(Box::new);
        let outcome = match &api_key {
            None => outcome,
            Some(key) => Outcome::ApiKey { key: key.clone(), created: matches!(entry, Entry::ApiKeyMade(_)) },
        };
        // Inside the record: should it panic, the record stays open and poisons the journal.
        self.apply_general(&entry, seq, moment, date);
        self.end(&mut sequencer, &mut keys, first, origin, &outcome);
        Ok(Decided::Done((entry, api_key), Appended { first, last: seq, moment, date }))
    }

    /// A fact about an object of lending, under all account locks. `decide` is given the moment that the record will
    /// have, and gives the object's number, under which its external id is kept.
    pub(super) fn commit_fact(
        &self,
        origin: &Origin,
        probe: &Probe,
        external: Option<KeyHash>,
        decide: impl FnOnce(&Rules) -> Result<Result<(Entry, u64), Reject>, Stale>,
    ) -> Result<Decided<Entry>, Stale> {
        let _locked = self.shards.lock_all();
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), external.as_ref());
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        if probe.external_taken || external.is_some_and(|hash| keys.find(KeyKind::External, &hash).is_some()) {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::ExternalIdExists), origin));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let rules = Rules { now: moment, ..self.rules(origin) };
        let decided = decide(&rules)?;
        if decided.is_err() || origin.dry_run {
            drop(sequencer);
            return Ok(match decided {
                Ok((entry, _)) => Decided::Dry(entry, rules),
                Err(reject) => self.refuse(&mut keys, reject, origin),
            });
        }
        let (entry, number) = decided.expect("a refusal was answered above");
        let first = sequencer.begin(moment, date);
        let seq = sequencer.push(&entry);
        self.lending.apply(&entry, seq);
        if let Some(hash) = external {
            keys.insert(KeyKind::External, hash, KeyRow { number, seq });
        }
        self.end(&mut sequencer, &mut keys, first, origin, &Outcome::CustomerSaved);
        Ok(Decided::Done(entry, Appended { first, last: seq, moment, date }))
    }

    /// A note that changes nothing but the journal. One shard is locked, and only so that the business
    /// date and a checkpoint's ground stand still.
    pub(super) fn commit_note(&self, note: &Entry, origin: &Origin, probe: &Probe) -> Result<Decided<()>, Stale> {
        let _locked = self.shards.lock_one(AccountNo(0));
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), None);
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        if origin.dry_run {
            return Ok(Decided::Dry((), self.rules(origin)));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        let last = sequencer.push(note);
        self.end(&mut sequencer, &mut keys, first, origin, &Outcome::Noted);
        Ok(Decided::Done((), Appended { first, last, moment, date }))
    }

    /// Bears jobs that no other command bears.
    pub(super) fn commit_jobs(
        &self,
        jobs: &[NewJob],
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<Vec<(Seq, JobBorn)>>, Stale> {
        let _locked = self.shards.lock_one(AccountNo(0));
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), None);
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        if origin.dry_run {
            return Ok(Decided::Dry(Vec::new(), self.rules(origin)));
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        let born = bear(&mut sequencer, jobs, origin);
        self.end(&mut sequencer, &mut keys, first, origin, &Outcome::JobsBorn);
        let last = born.last().map_or(first, |(seq, _)| *seq);
        Ok(Decided::Done(born, Appended { first, last, moment, date }))
    }

    /// Under the locks: the key's earlier record, if there is one; `Stale` when the look into the
    /// store is out of date.
    pub(super) fn check_probe(
        &self,
        keys: &mut LockedKeys<'_>,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Option<Seq>, Stale> {
        if probe.generation != self.keys.generation() {
            return Err(Stale);
        }
        let Some(key) = &origin.key else { return Ok(None) };
        let recent = keys.find(KeyKind::Idempotency, &key.hash).map(Seq);
        Ok(recent.or(probe.replay))
    }

    /// A refusal: appended when it has a key, so that the key answers the same for ever. A caller whose
    /// rights do not reach so far is not answered by the books: that is not kept.
    pub(super) fn refuse<T>(&self, keys: &mut LockedKeys<'_>, reject: Reject, origin: &Origin) -> Decided<T> {
        let is_kept = reject.code != RejectCode::AmountLimitExceeded;
        let appended = is_kept.then(|| self.append_refusal(keys, origin, &Outcome::Refused(reject))).flatten();
        Decided::Refused(reject, appended)
    }

    /// Appends a refusal's record when it has a key and is no dry run.
    pub(super) fn append_refusal(
        &self,
        keys: &mut LockedKeys<'_>,
        origin: &Origin,
        outcome: &Outcome,
    ) -> Option<Appended> {
        if origin.key.is_none() || origin.dry_run {
            return None;
        }
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        sequencer.push(&Entry::Refused);
        self.end(&mut sequencer, keys, first, origin, outcome);
        Some(Appended { first, last: first, moment, date })
    }

    /// Ends a record: trailer, and the key's row.
    pub(super) fn end(
        &self,
        sequencer: &mut AppenderGuard<'_>,
        keys: &mut LockedKeys<'_>,
        first: Seq,
        origin: &Origin,
        outcome: &Outcome,
    ) -> Seq {
        let mut reply = Vec::new();
        let key = origin.key.map(|key| KeyMark { hash: key.hash, fingerprint: key.fingerprint });
        if key.is_some() {
            outcome.encode(&mut reply);
        }
        let last = sequencer.end(&Trailer { key, owner: origin.owner, request: origin.request, reply: &reply });
        if let Some(key) = &origin.key {
            keys.insert(KeyKind::Idempotency, key.hash, KeyRow { number: first.0, seq: first });
        }
        last
    }

    /// The moment and date of the next record: strictly after the one before.
    pub(super) fn next_moment(&self, sequencer: &AppenderGuard<'_>) -> (Moment, Day) {
        let now = self.clock.now();
        (Moment(now.0.max(sequencer.last_moment().0 + 1)), self.business_date())
    }

    /// What an appended transfer entry changes in memory.
    pub(super) fn apply_transfer(&self, locked: &mut Locked<'_>, entry: &TransferEntry, seq: Seq, date: Day) {
        locked.apply(entry, seq, date);
        if entry.needs_holds() {
            self.holds.apply(entry, seq);
        }
    }

    fn lock_sides(&self, command: &NewTransfer) -> Locked<'_> {
        use crate::domain::transfer::AccountRef::{No, Unknown};
        match (command.debit, command.credit) {
            (No(debit), No(credit)) => self.shards.lock_pair(debit, credit),
            (No(one), Unknown) | (Unknown, No(one)) => self.shards.lock_one(one),
            (Unknown, Unknown) => self.shards.lock_one(AccountNo(0)),
        }
    }
}

/// The entry that opens an account.
pub(super) fn opening(no: AccountNo, command: &NewAccount, moment: Moment) -> AccountOpened {
    AccountOpened {
        account: no,
        currency: command.currency,
        account_type: command.account_type,
        code: command.code,
        balance_rule: command.balance_rule,
        cold: AccountCold {
            created_at: moment,
            external_id: command.external_id.clone(),
            name: command.name.clone(),
            metadata: command.metadata.clone(),
        },
    }
}

fn check_change(change: &AccountChange, account: &Account, is_used: bool) -> Result<(), Reject> {
    let is_this = |(version, seq): &(u32, Option<Seq>)| {
        *version == account.version && seq.is_none_or(|seq| seq == account.last_seq)
    };
    if change.expected.as_ref().is_some_and(|expected| !expected.iter().any(is_this)) {
        return Err(Reject::by(RejectCode::VersionMismatch, change.account));
    }
    // The day's end posts to the accounts of products, and cannot be refused.
    let is_shut = change.status.is_some_and(|status| status != account.status);
    let is_control = account.status == Status::Control || change.status == Some(Status::Control);
    if is_shut && (is_used || is_control) {
        return Err(Reject::by(RejectCode::ControlAccount, change.account));
    }
    let is_empty = account.posted() == 0 && account.debits_pending == 0 && account.credits_pending == 0;
    if change.status == Some(Status::Closed) && !is_empty {
        return Err(Reject::by(RejectCode::AccountNotEmpty, change.account));
    }
    Ok(())
}

/// Pushes jobs into the record that is being made.
pub(in crate::engine) fn bear(
    sequencer: &mut AppenderGuard<'_>,
    jobs: &[NewJob],
    origin: &Origin,
) -> Vec<(Seq, JobBorn)> {
    let by = origin.owner;
    let mut bear = |job: &NewJob| {
        let NewJob { kind, args, priority, run_at } = job.clone();
        let born = JobBorn { kind, args, priority, run_at, by };
        (sequencer.push(&Entry::JobBorn(Box::new(born.clone()))), born)
    };
    jobs.iter().map(&mut bear).collect()
}

/// Applies a change to its row; the row after it.
pub(super) fn apply_changed(locked: &mut Locked<'_>, entry: &AccountChanged, seq: Seq, date: Day) -> Account {
    let account = locked.account_mut(entry.account).expect("decide found the account");
    // The row before it: a question about a moment before the change ends there.
    let mark = Mark::of(entry.account, seq, account);
    let anchor = apply_change(account, entry, seq, date);
    let after = *account;
    locked.shard_mut(entry.account).marks.entry(entry.account).or_default().push(mark);
    if let Some(anchor) = anchor {
        locked.shard_mut(entry.account).anchors.insert((entry.account, anchor.day), anchor);
    }
    after
}
