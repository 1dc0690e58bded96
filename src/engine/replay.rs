//! The answer to a key that was used before: from its record alone, so that it has the same bytes for ever.

use std::sync::Arc;

use crate::domain::entry::{AccountCold, Entry};
use crate::domain::ids::{Moment, Seq};
use crate::domain::objects::{JobBorn, ObjectSaved};

use super::Core;
use super::batch::ids_of;
use super::command::IdempotencyKey;
use super::commit::Appended;
use super::history::{Located, Reach, ReadError};
use super::loans::query::DayReply;
use super::objects::Object;
use super::outcome::Outcome;
use super::submit::{Placed, new_transfer_view, resolved_view};
use super::view::{AccountView, BatchReply, CustomerView, Periods, ProductView, Reply};

impl Core {
    /// What the record that begins at `first` answered, as a reply. Its seqs are durable.
    ///
    /// # Errors
    /// [`ReadError`]; `Ok(Err(()))` when the fingerprint is another.
    pub fn replay(
        &self,
        first: Seq,
        key: &IdempotencyKey,
        reach: Reach,
    ) -> Result<Result<(Reply, u64, Seq), ()>, ReadError> {
        let unreadable = |what: &str| ReadError::Unreadable(format!("record seq={first}: {what}"));
        let record = self.history.record(first, reach)?.ok_or_else(|| unreadable("not there"))?;
        if record.key.is_none_or(|stored| stored.fingerprint != key.fingerprint) {
            return Ok(Err(()));
        }
        let outcome = Outcome::decode(&record.reply).ok_or_else(|| unreadable("its outcome is unknown here"))?;
        let last = record.entries.last().ok_or_else(|| unreadable("it has no entries"))?;
        let at = Appended { first, last: last.seq, moment: last.moment, date: last.date };
        let reply = match (outcome, &last.entry) {
            (Outcome::TransferCreated, Entry::Transfer(entry)) => {
                let view = new_transfer_view(entry.clone(), Placed::At(at), self.currency(entry.debit));
                Reply::Transfer { view: Box::new(view), created: true }
            }
            (Outcome::HoldResolved, Entry::Transfer(entry)) => {
                let hold = entry.resolves().ok_or_else(|| unreadable("it resolves no hold"))?;
                let original = self.history.entry(hold, reach)?.ok_or_else(|| unreadable("its hold is not there"))?;
                let view = resolved_view(&original, last, self.currency(entry.debit));
                Reply::Transfer { view: Box::new(view), created: false }
            }
            (Outcome::AccountOpened, Entry::AccountOpened(entry)) => {
                // Its line in the general ledger never changes, and the entry does not name it.
                let gl = self.account_row(entry.account).map(|row| row.gl).unwrap_or_default();
                let row = crate::domain::apply::open_account(entry, gl, last.seq, last.date);
                let cold = Arc::new(entry.cold.clone());
                let view = AccountView { no: Some(entry.account), account: row, code: entry.code, cold };
                Reply::Account { view: Box::new(view), created: true }
            }
            (Outcome::AccountChanged { account, code }, Entry::AccountChanged(entry)) => {
                let cold: Arc<AccountCold> = Arc::new(entry.cold.clone());
                let view = AccountView { no: Some(entry.account), account: *account, code, cold };
                Reply::Account { view: Box::new(view), created: false }
            }
            (Outcome::AccountsOpened { items, rejected }, _) => {
                let shape = BatchReply { items, rejected, ..BatchReply::default() };
                Reply::Accounts(batch_reply(shape, &record.entries))
            }
            (Outcome::Batch { atomic, minimal, items, rejected }, _) => {
                let shape = BatchReply { atomic, minimal, items, rejected, ..BatchReply::default() };
                Reply::Batch(batch_reply(shape, &record.entries))
            }
            (Outcome::PeriodChanged, entry) => Reply::Periods(period_of(entry, last.seq, last.moment)),
            (Outcome::ClockAccepted, _) => Reply::ClockAccepted,
            (Outcome::ApiKey { key, created }, _) => Reply::ApiKey { key, created },
            (Outcome::Noted, _) => Reply::Noted,
            (Outcome::CustomerSaved, Entry::CustomerSaved(saved)) => {
                let view = CustomerView { last_seq: Some(last.seq), saved: (**saved).clone() };
                Reply::Customer { created: saved.version == 1, view: Box::new(view) }
            }
            (Outcome::ProductSaved, Entry::ProductSaved(saved)) => {
                let view = ProductView { last_seq: Some(last.seq), saved: Arc::new((**saved).clone()) };
                Reply::Product { created: saved.version == 1, view: Box::new(view) }
            }
            (Outcome::ObjectSaved, Entry::ObjectSaved(saved)) => object_reply(saved, last),
            (Outcome::JobsBorn, Entry::JobBorn(_)) => Reply::Jobs(jobs_of(&record.entries)),
            (Outcome::LoanPosted, _) => self.loan_reply(&record.entries, reach)?,
            (Outcome::BusinessDay { by_hand, ended, looked_at }, _) => {
                let day = DayReply { date: last.date, by_hand, ended, looked_at }.view();
                Reply::BusinessDay { day, recorded: Some((first, last.moment)) }
            }
            (Outcome::Refused(reject), _) => Reply::Refused(reject),
            (Outcome::BatchRefused(rejected), _) => Reply::BatchRefused(rejected),
            _ => return Err(unreadable("its outcome does not fit its entries")),
        };
        Ok(Ok((reply, record.request, last.seq)))
    }
}

fn object_reply(saved: &ObjectSaved, last: &Located) -> Reply {
    let object = Object { saved: saved.clone(), last_seq: last.seq, saved_at: last.moment };
    Reply::Object { created: saved.version == 1, object: Box::new(object) }
}

/// The jobs that a record bears.
fn jobs_of(entries: &[Located]) -> Vec<(Seq, JobBorn)> {
    let job = |located: &Located| match &located.entry {
        Entry::JobBorn(born) => Some((located.seq, (**born).clone())),
        _ => None,
    };
    entries.iter().filter_map(job).collect()
}

fn batch_reply(mut reply: BatchReply, entries: &[Located]) -> BatchReply {
    let ids = ids_of(entries);
    reply.accepted = u32::try_from(ids.len()).expect("a batch is bounded");
    (reply.first, reply.last) = (ids.first().copied(), ids.last().copied());
    reply.ids = if reply.minimal { Vec::new() } else { ids };
    reply
}

/// The periods after an entry about them.
pub(super) fn period_of(entry: &Entry, seq: Seq, at: Moment) -> Periods {
    let (through, reopened_because) = match entry {
        Entry::PeriodClosed { through } => (Some(*through), None),
        Entry::PeriodReopened { through, reason } => (*through, Some(reason.clone())),
        _ => (None, None),
    };
    let event = super::view::PeriodEvent { seq, at, through, reopened_because };
    Periods { closed_through: through, events: vec![event] }
}
