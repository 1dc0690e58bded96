//! From a command to a pending answer: what is fetched before the locks, and what is answered after.
//!
//! `execute` runs to its end without waiting. Where it would have to wait — for a seq that is not
//! durable yet, for a block that is not in memory — it says so ([`NotYet`]) and is called again;
//! nothing has been done then.

use std::sync::Arc;

use crate::domain::access::AccessRefused;
use crate::domain::entry::{AccountOpened, Entry, TransferEntry, TransferOp};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::money::Currency;
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::time::Day;
use crate::domain::transfer::{NewTransfer, Resolution, Reversible, Rules};

use super::Core;
use super::batch::BatchProbe;
use super::command::{AccountChange, Batch, BatchItem, Command, NewAccount, NewJob, Origin};
use super::commit::{Appended, Decided, Probe, Stale};
use super::history::{Located, Reach, ReadError};
use super::holds::Fate;
use super::keys::{ExternalKind, KeyHash, KeyKind, external_hash};
use super::objects::Object;
use super::outcome::Outcome;
use super::view::{AccountView, BatchReply, Reply, TransferStatus, TransferView, Unavailable};

/// An answer that still has to become durable.
#[derive(Debug)]
pub struct Pending {
    /// What to say.
    pub said: Said,
    /// The greatest seq that it reveals.
    pub as_of: Seq,
    /// The record's request, or the asking one's when there is no record.
    pub request: u64,
}

/// What to say.
#[derive(Debug)]
pub enum Said {
    /// This.
    Now(Reply),
    /// What the record that begins at this seq said, if the fingerprint is the same.
    Again(Seq),
}

/// Why a command has not been executed; nothing was done.
#[derive(Debug)]
pub enum NotYet {
    /// It needs to read an entry that is not durable yet.
    WaitFor(Seq),
    /// It needs the disk.
    NotCached,
    /// It cannot be.
    Unavailable(Unavailable),
}

impl From<ReadError> for NotYet {
    fn from(error: ReadError) -> NotYet {
        match error {
            ReadError::NotCached | ReadError::TooFar => NotYet::NotCached,
            ReadError::NoSuchPlace | ReadError::Moved | ReadError::Store(_) | ReadError::Unreadable(_) => {
                NotYet::Unavailable(error.into())
            }
        }
    }
}

impl Core {
    /// Executes a command up to its append.
    ///
    /// # Errors
    /// [`NotYet`]; nothing was done.
    pub fn execute(&self, command: &Command, origin: &Origin, reach: Reach) -> Result<Pending, NotYet> {
        self.check_open()?;
        self.keep_day();
        loop {
            // Stale: keys moved into the store meanwhile, or the account's texts changed: fetch again.
            if let Ok(pending) = self.attempt(command, origin, reach) {
                return pending;
            }
        }
    }

    fn attempt(&self, command: &Command, origin: &Origin, reach: Reach) -> Result<Result<Pending, NotYet>, Stale> {
        let probed = |external: Option<KeyHash>| self.probe(origin, external, reach);
        Ok(match command {
            Command::Transfer(transfer) => self.execute_transfer(transfer, &[], origin, reach)?,
            Command::TransferWithJobs(both) => self.execute_transfer(&both.0, &both.1, origin, reach)?,
            Command::BearJobs(jobs) => match probed(None) {
                Ok(probe) => {
                    Ok(self.say(self.commit_jobs(jobs, origin, &probe)?, origin, |_, born, _| Reply::Jobs(born)))
                }
                Err(not_yet) => Err(not_yet),
            },
            Command::Batch(batch) => match self.probe_batch(batch, origin, reach) {
                Ok(probe) => Ok(self.say_batch(self.commit_batch(batch, origin, &probe)?, origin)),
                Err(not_yet) => Err(not_yet),
            },
            Command::PostHold { transfer, amount } => {
                self.execute_resolution(*transfer, Resolution::Post { amount: *amount }, origin, reach)?
            }
            Command::VoidHold { transfer } => self.execute_resolution(*transfer, Resolution::Void, origin, reach)?,
            Command::Reverse { transfer, reason } => self.execute_reversal(*transfer, reason.clone(), origin, reach)?,
            Command::OpenAccount(account) => {
                let external = account.external_id.as_deref().map(|text| external_hash(ExternalKind::Account, text));
                match probed(external) {
                    Ok(probe) => Ok(self.say_account(self.commit_account(account, origin, &probe)?, origin)),
                    Err(not_yet) => Err(not_yet),
                }
            }
            Command::OpenAccounts(accounts) => match self.probe_accounts(accounts, origin, reach) {
                Ok(probe) => Ok(self.say_accounts(self.commit_accounts(accounts, origin, &probe)?, origin)),
                Err(not_yet) => Err(not_yet),
            },
            Command::ChangeAccount(change) => self.execute_change(change, origin, reach)?,
            Command::MakeCustomer(new) => {
                let external = new.facts.external_id.as_deref().map(|text| external_hash(ExternalKind::Customer, text));
                match probed(external) {
                    Ok(probe) => Ok(self.say_customer(self.commit_customer(new, external, origin, &probe)?, origin)),
                    Err(not_yet) => Err(not_yet),
                }
            }
            Command::ChangeCustomer(change) => self.execute_customer_change(change, origin, reach)?,
            Command::MakeProduct(new) => self.execute_product(new, origin, reach)?,
            Command::ChangeProduct(change) => self.execute_product_change(change, origin, reach)?,
            Command::Apply(application) => self.execute_application(application, origin, reach)?,
            Command::ActOnLoan(action) => self.execute_loan(action, origin, reach)?,
            Command::OpenDay { .. } | Command::CloseDay => match probed(None) {
                Ok(probe) => Ok(self.execute_day(command, origin, &probe)?),
                Err(not_yet) => Err(not_yet),
            },
            Command::ClosePeriod { .. }
            | Command::ReopenPeriod { .. }
            | Command::AcceptClock
            | Command::MakeApiKey(_)
            | Command::RotateApiKey { .. }
            | Command::RevokeApiKey { .. }
            | Command::SaveObject(_)
            | Command::NoteRefusal { .. } => match probed(None) {
                Ok(probe) => Ok(self.execute_general(command, origin, &probe)?),
                Err(not_yet) => Err(not_yet),
            },
        })
    }

    fn execute_transfer(
        &self,
        transfer: &NewTransfer,
        jobs: &[NewJob],
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        let text = transfer.cold.as_ref().and_then(|cold| cold.external_id.as_deref());
        let external = text.map(|text| external_hash(ExternalKind::Transfer, text));
        let probe = match self.probe(origin, external, reach) {
            Ok(probe) => probe,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let decided = self.commit_transfer(transfer, jobs, external, origin, &probe)?;
        Ok(Ok(self.say(decided, origin, |core, entry, placed| {
            let currency = core.currency(entry.debit);
            Reply::Transfer { view: Box::new(new_transfer_view(entry, placed, currency)), created: true }
        })))
    }

    fn execute_resolution(
        &self,
        seq: Seq,
        resolution: Resolution,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        let (probe, original) = match self.probe_transfer(seq, origin, reach) {
            Ok(found) => found,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let Some(original) = original else {
            return Ok(Ok(self.say_refusal(RejectCode::TransferNotFound, origin, &probe)?));
        };
        let Some(hold) = self.holds.get(seq) else {
            return Ok(Ok(self.say_refusal(RejectCode::TransferNotPending, origin, &probe)?));
        };
        let decided = self.commit_resolution(seq, &hold, resolution, origin, &probe)?;
        Ok(Ok(self.say(decided, origin, |core, entry, placed| {
            let currency = core.currency(entry.debit);
            let resolved = Located {
                seq: placed.last(),
                record: placed.first(),
                moment: placed.moment(),
                date: placed.date(),
                entry: Entry::Transfer(entry),
            };
            Reply::Transfer { view: Box::new(resolved_view(&original, &resolved, currency)), created: false }
        })))
    }

    fn execute_reversal(
        &self,
        seq: Seq,
        reason: Option<Box<str>>,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        let (probe, original) = match self.probe_transfer(seq, origin, reach) {
            Ok(found) => found,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let Some(original) = original else {
            return Ok(Ok(self.say_refusal(RejectCode::TransferNotFound, origin, &probe)?));
        };
        let reversible = match self.reversible(&original, reach) {
            Ok(reversible) => reversible,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let decided = self.commit_reversal(seq, &reversible, reason, origin, &probe)?;
        Ok(Ok(self.say(decided, origin, |core, entry, placed| {
            let currency = core.currency(entry.debit);
            Reply::Transfer { view: Box::new(new_transfer_view(entry, placed, currency)), created: true }
        })))
    }

    fn execute_change(
        &self,
        change: &AccountChange,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        let probe = match self.probe(origin, None, reach) {
            Ok(probe) => probe,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let Some(account) = self.shards.copy(change.account) else {
            return Ok(Ok(self.say_refusal(RejectCode::AccountNotFound, origin, &probe)?));
        };
        if !self.watermark.covers(account.cold_seq) {
            return Ok(Err(NotYet::WaitFor(account.cold_seq)));
        }
        let texts = match self.history.account_texts(account.cold_seq, reach) {
            Ok(texts) => texts,
            Err(error) => return Ok(Err(error.into())),
        };
        let decided = self.commit_change(change, &texts, account.cold_seq, origin, &probe)?;
        Ok(Ok(self.say(decided, origin, |core, (account, entry), _| {
            let code = core.chart.read().key(account.gl).code;
            let view = AccountView { no: Some(entry.account), account, code, cold: Arc::new(entry.cold) };
            Reply::Account { view: Box::new(view), created: false }
        })))
    }

    fn execute_general(&self, command: &Command, origin: &Origin, probe: &Probe) -> Result<Pending, Stale> {
        if let Command::NoteRefusal { operation, code, suppressed } = command {
            let (operation, code, suppressed) = (operation.clone(), code.clone(), *suppressed);
            let note = Entry::AccessRefused(Box::new(AccessRefused { operation, code, suppressed }));
            let decided = self.commit_note(&note, origin, probe)?;
            return Ok(self.say(decided, origin, |_, (), _| Reply::Noted));
        }
        let decided = self.commit_general(origin, probe, |rules| match command {
            Command::ClosePeriod { through } => {
                self.periods.lock().check_close(*through, rules.business_date)?;
                Ok((Entry::PeriodClosed { through: *through }, Outcome::PeriodChanged))
            }
            Command::ReopenPeriod { through, reason } => {
                let remains = self.periods.lock().check_reopen(*through)?;
                Ok((Entry::PeriodReopened { through: remains, reason: reason.clone() }, Outcome::PeriodChanged))
            }
            // What becomes of a key is worked out where the record's moment is known.
            Command::MakeApiKey(new) => Ok((self.keyring.check_make(new, origin.owner)?, Outcome::Noted)),
            Command::RotateApiKey { number, hash, overlap_us } => {
                let old_until = Moment(rules.now.0.saturating_add(*overlap_us));
                Ok((self.keyring.check_rotate(*number, *hash, old_until)?, Outcome::Noted))
            }
            Command::SaveObject(change) => {
                Ok((self.objects.check_save(change, origin.owner, rules.now)?, Outcome::ObjectSaved))
            }
            Command::RevokeApiKey { number } => Ok((self.keyring.check_revoke(*number, rules.now)?, Outcome::Noted)),
            _ => Ok((Entry::ClockAccepted, Outcome::ClockAccepted)),
        })?;
        Ok(self.say(decided, origin, |core, (entry, api_key), placed| match entry {
            Entry::ApiKeyMade(_) | Entry::ApiKeyChanged(_) => match api_key {
                Some(key) => Reply::ApiKey { key, created: matches!(entry, Entry::ApiKeyMade(_)) },
                None => Reply::Noted,
            },
            Entry::ObjectSaved(saved) => {
                let created = saved.version == 1;
                let object = Object { saved: *saved, last_seq: placed.last(), saved_at: placed.moment() };
                Reply::Object { object: Box::new(object), created }
            }
            Entry::ClockAccepted => {
                core.clock.accept();
                Reply::ClockAccepted
            }
            entry => Reply::Periods(super::replay::period_of(&entry, placed.last(), placed.moment())),
        }))
    }

    /// Turns a decision into what to say.
    pub(super) fn say<T>(
        &self,
        decided: Decided<T>,
        origin: &Origin,
        reply: impl FnOnce(&Core, T, Placed) -> Reply,
    ) -> Pending {
        // Read while nothing is locked any more: at least what the decision saw.
        let seen = self.journal.appended_seq();
        let (said, as_of) = match decided {
            Decided::Done(what, appended) => (Said::Now(reply(self, what, Placed::At(appended))), appended.last),
            Decided::Dry(what, rules) => (Said::Now(reply(self, what, Placed::Nowhere(rules))), seen),
            Decided::Refused(reject, appended) => {
                (Said::Now(Reply::Refused(reject)), appended.map_or(seen, |appended| appended.last))
            }
            // A record is durable whole or not at all: with its first entry, its last is. What others append
            // meanwhile is not this answer's to wait for.
            Decided::Replay(first) => (Said::Again(first), first),
        };
        Pending { said, as_of, request: origin.request }
    }

    fn say_batch(&self, decided: Decided<super::batch::BatchResult>, origin: &Origin) -> Pending {
        self.say(decided, origin, |_, result, _| match result {
            Ok(reply) => Reply::Batch(reply),
            Err(rejected) => Reply::BatchRefused(rejected),
        })
    }

    fn say_account(
        &self,
        decided: Decided<(crate::domain::account::Account, AccountOpened)>,
        origin: &Origin,
    ) -> Pending {
        self.say(decided, origin, |core, (account, entry), placed| {
            let cold = Arc::new(entry.cold);
            let no = placed.is_real().then_some(entry.account);
            if no.is_some() {
                core.history.remember_texts(account.cold_seq, Arc::clone(&cold));
            }
            Reply::Account { view: Box::new(AccountView { no, account, code: entry.code, cold }), created: true }
        })
    }

    fn say_accounts(&self, decided: Decided<BatchReply>, origin: &Origin) -> Pending {
        self.say(decided, origin, |_, reply, _| Reply::Accounts(reply))
    }

    /// A refusal that needed no account.
    pub(super) fn say_refusal(&self, code: RejectCode, origin: &Origin, probe: &Probe) -> Result<Pending, Stale> {
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), None);
        let decided: Decided<()> = match self.check_probe(&mut keys, origin, probe)? {
            Some(replay) => Decided::Replay(replay),
            None => self.refuse(&mut keys, Reject::of(code), origin),
        };
        drop(keys);
        Ok(self.say(decided, origin, |_, (), _| Reply::ClockAccepted))
    }

    /// What the store knows of the command's keys.
    pub(super) fn probe(&self, origin: &Origin, external: Option<KeyHash>, reach: Reach) -> Result<Probe, NotYet> {
        let (generation, checkpoint) = (self.keys.generation(), self.checkpoint_seq());
        let replay = match &origin.key {
            Some(key) => self.stored_key(KeyKind::Idempotency, &key.hash, reach)?.map(Seq),
            None => None,
        };
        let external_taken = match &external {
            Some(hash) => self.stored_key(KeyKind::External, hash, reach)?.is_some(),
            None => false,
        };
        Ok(Probe { generation, checkpoint, replay, external_taken })
    }

    /// As [`Core::probe`], and the transfer that the path names.
    fn probe_transfer(&self, seq: Seq, origin: &Origin, reach: Reach) -> Result<(Probe, Option<Located>), NotYet> {
        let probe = self.probe(origin, None, reach)?;
        if seq > self.journal.appended_seq() {
            return Ok((probe, None));
        }
        if !self.watermark.covers(seq) {
            return Err(NotYet::WaitFor(seq));
        }
        let original = self.history.entry(seq, reach)?;
        Ok((probe, original.filter(is_transfer)))
    }

    fn probe_batch(&self, batch: &Batch, origin: &Origin, reach: Reach) -> Result<BatchProbe, NotYet> {
        let mut found = BatchProbe { probe: self.probe(origin, None, reach)?, ..BatchProbe::default() };
        for (index, item) in (0u32..).zip(&batch.items) {
            match item {
                BatchItem::New(transfer) => {
                    let text = transfer.cold.as_ref().and_then(|cold| cold.external_id.as_deref());
                    let Some(text) = text else { continue };
                    let hash = external_hash(ExternalKind::Transfer, text);
                    found.external.resize(batch.items.len(), None);
                    found.external[index as usize] = Some(hash);
                    if self.stored_key(KeyKind::External, &hash, reach)?.is_some() {
                        found.taken.insert(index);
                    }
                }
                BatchItem::Post { transfer: Some(seq), .. } | BatchItem::Void { transfer: Some(seq) } => {
                    if self.holds.get(*seq).is_some() {
                        continue;
                    }
                    if *seq <= self.journal.appended_seq() && !self.watermark.covers(*seq) {
                        return Err(NotYet::WaitFor(*seq));
                    }
                    let known = self.history.entry(*seq, reach)?.is_some_and(|located| is_transfer(&located));
                    let code = if known { RejectCode::TransferNotPending } else { RejectCode::TransferNotFound };
                    found.unresolvable.insert(index, code);
                }
                BatchItem::Post { transfer: None, .. } | BatchItem::Void { transfer: None } => {}
            }
        }
        Ok(found)
    }

    fn probe_accounts(&self, accounts: &[NewAccount], origin: &Origin, reach: Reach) -> Result<BatchProbe, NotYet> {
        let mut found = BatchProbe { probe: self.probe(origin, None, reach)?, ..BatchProbe::default() };
        for (index, account) in (0u32..).zip(accounts) {
            let Some(text) = account.external_id.as_deref() else { continue };
            if self.stored_key(KeyKind::External, &external_hash(ExternalKind::Account, text), reach)?.is_some() {
                found.taken.insert(index);
            }
        }
        Ok(found)
    }

    /// Whether a record is one of lending: what happens to loans comes first in it, and its legs after that.
    fn is_of_lending(&self, record: Seq, reach: Reach) -> Result<bool, ReadError> {
        let first = self.history.entry(record, reach)?.map(|located| located.entry);
        Ok(matches!(first, Some(Entry::LoanPosted(_) | Entry::LoansSwept(_) | Entry::DayEnded(_))))
    }

    /// What a reversal must know of its original: is it posted, and was it reversed?
    fn reversible(&self, original: &Located, reach: Reach) -> Result<Reversible, NotYet> {
        let entry = original.transfer().expect("the caller found a transfer");
        let fates = self.fates(original.seq, reach)?;
        let resolution = fates.iter().find(|(_, fate)| *fate == Fate::Posted);
        let posted = match (entry.op, resolution) {
            (TransferOp::Posted, _) => Some(entry.amount),
            // How much was posted stands in the resolution's entry.
            (TransferOp::Pending { .. }, Some((by, _))) if !self.watermark.covers(*by) => {
                return Err(NotYet::WaitFor(*by));
            }
            (TransferOp::Pending { .. }, Some((by, _))) => {
                self.history.entry(*by, reach)?.and_then(|located| located.transfer().map(|entry| entry.amount))
            }
            _ => None,
        };
        Ok(Reversible {
            debit: entry.debit,
            credit: entry.credit,
            amount: posted.unwrap_or(0),
            code: entry.code,
            is_posted: posted.is_some(),
            is_reversed: fates.iter().any(|(_, fate)| *fate == Fate::Reversed),
            is_of_lending: self.is_of_lending(original.record, reach)?,
        })
    }

    /// The currency of an account, which never changes.
    pub fn currency(&self, no: AccountNo) -> Currency {
        self.shards.copy(no).map_or(Currency::INR, |account| account.currency)
    }

    /// The rules at this moment for whoever asks; stable while any account lock is held.
    pub(super) fn rules(&self, origin: &Origin) -> Rules {
        Rules {
            now: self.clock.now(),
            business_date: self.business_date(),
            closed_through: self.closed_through(),
            amount_limit: origin.amount_limit,
        }
    }
}

/// Where a decision stands in the books: at a record, or nowhere (a dry run).
#[derive(Clone, Copy, Debug)]
pub enum Placed {
    /// At a record.
    At(Appended),
    /// Nowhere; the rules by which it was decided.
    Nowhere(Rules),
}

impl Placed {
    pub(super) fn is_real(self) -> bool {
        matches!(self, Placed::At(_))
    }
    pub(super) fn first(self) -> Seq {
        if let Placed::At(at) = self { at.first } else { Seq::NONE }
    }
    pub(super) fn last(self) -> Seq {
        if let Placed::At(at) = self { at.last } else { Seq::NONE }
    }
    pub(super) fn moment(self) -> Moment {
        match self {
            Placed::At(at) => at.moment,
            Placed::Nowhere(rules) => rules.now,
        }
    }
    pub(super) fn date(self) -> Day {
        match self {
            Placed::At(at) => at.date,
            Placed::Nowhere(rules) => rules.business_date,
        }
    }
}

fn is_transfer(located: &Located) -> bool {
    located.transfer().is_some_and(|entry| entry.resolves().is_none())
}

/// A transfer as it was when its command was answered.
pub(super) fn new_transfer_view(entry: TransferEntry, placed: Placed, currency: Currency) -> TransferView {
    let (status, expires_at) = match entry.op {
        TransferOp::Pending { expires_at } => (TransferStatus::Pending, expires_at),
        _ => (TransferStatus::Posted, None),
    };
    TransferView {
        seq: placed.is_real().then_some(placed.last()),
        voucher: placed.is_real().then_some(placed.first()),
        debit: entry.debit,
        credit: entry.credit,
        amount: entry.amount,
        currency,
        status,
        code: entry.code,
        effective_date: entry.effective_on(placed.date()),
        created_at: placed.moment(),
        expires_at,
        posted_amount: None,
        resolved_at: None,
        reversed_by: None,
        reverses: if let TransferOp::Reversal { of } = entry.op { Some(of) } else { None },
        cold: entry.cold.map(|cold| Arc::new(*cold)),
    }
}

/// A stored transfer, before anything happened to it; `None` where the entry is no transfer.
#[must_use]
pub fn stored_view(original: &Located, currency: Currency) -> Option<TransferView> {
    let entry = original.transfer()?.clone();
    let at = Appended { first: original.record, last: original.seq, moment: original.moment, date: original.date };
    Some(new_transfer_view(entry, Placed::At(at), currency))
}

/// A hold after its resolution.
pub(super) fn resolved_view(original: &Located, resolution: &Located, currency: Currency) -> TransferView {
    let mut view = stored_view(original, currency).expect("a resolution names a hold");
    let entry = resolution.transfer().expect("a resolution is a transfer entry");
    view.resolved_at = Some(resolution.moment);
    view.status = match entry.op {
        TransferOp::PostPending { .. } => {
            view.posted_amount = Some(entry.amount);
            view.effective_date = entry.effective_on(resolution.date);
            TransferStatus::Posted
        }
        TransferOp::ExpirePending { .. } => TransferStatus::Expired,
        _ => TransferStatus::Voided,
    };
    view
}
