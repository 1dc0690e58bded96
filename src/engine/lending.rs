//! Lending in memory, and the commands about it.
//!
//! Promise: a customer's row says where its facts stand; they live in the journal and are read from there, as
//! the texts of accounts are. Rows change under all account locks only, by the entry that was appended.

use parking_lot::RwLock;

use crate::domain::entry::Entry;
use crate::domain::ids::Seq;
use crate::domain::lending::customer::{CustomerFacts, CustomerRow, CustomerSaved};
use crate::domain::reject::{Reject, RejectCode};

use super::Core;
use super::command::{CustomerChange, NewCustomer, Origin};
use super::commit::{Decided, Probe, Stale};
use super::history::{Reach, ReadError};
use super::keys::KeyHash;
use super::submit::{NotYet, Pending};
use super::view::{CustomerView, Reply};

/// All of lending that is in memory.
#[derive(Debug, Default)]
pub struct LendingBook {
    /// By number; number 1 comes first. Written under all account locks, read anywhere.
    customers: RwLock<Vec<CustomerRow>>,
}

impl LendingBook {
    /// A customer's row, or `None` when no customer has the number.
    #[must_use]
    pub fn customer(&self, number: u32) -> Option<CustomerRow> {
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        self.customers.read().get(place).copied()
    }

    /// How many customers there are.
    #[must_use]
    pub fn customer_count(&self) -> u32 {
        u32::try_from(self.customers.read().len()).expect("numbers of customers are 32 bits")
    }

    /// At most `limit` rows below a number, newest first.
    #[must_use]
    pub fn customers_before(&self, before: Option<u32>, limit: usize) -> Vec<(u32, CustomerRow)> {
        let rows = self.customers.read();
        let end = before.map_or(rows.len(), |before| rows.len().min(before.saturating_sub(1) as usize));
        rows[..end].iter().enumerate().rev().take(limit).map(|(place, row)| (place as u32 + 1, *row)).collect()
    }

    /// Rows from a place on, at most so many: for a checkpoint, and for `verify`.
    #[must_use]
    pub fn copy_customers(&self, place: usize, count: usize) -> Vec<CustomerRow> {
        let rows = self.customers.read();
        rows.get(place..).map_or(Vec::new(), |rest| rest[..rest.len().min(count)].to_vec())
    }

    /// Puts in what a checkpoint has.
    pub fn load_customers(&self, rows: Vec<CustomerRow>) {
        *self.customers.write() = rows;
    }

    /// Applies an entry about lending; one that was applied before changes nothing.
    pub fn apply(&self, entry: &Entry, seq: Seq) {
        if let Entry::CustomerSaved(saved) = entry {
            let mut rows = self.customers.write();
            let place = saved.number as usize - 1;
            let row = CustomerRow::after(saved, seq);
            assert!(place <= rows.len(), "customers are numbered without gaps");
            if place == rows.len() {
                rows.push(row);
            } else if rows[place].last_seq < seq {
                rows[place] = row;
            }
        }
    }
}

impl Core {
    /// Lending, to read.
    #[must_use]
    pub fn lending(&self) -> &LendingBook {
        &self.lending
    }

    /// Makes a customer.
    pub(super) fn commit_customer(
        &self,
        new: &NewCustomer,
        external: Option<KeyHash>,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<Entry>, Stale> {
        self.commit_fact(origin, probe, external, |rules| {
            let saved = CustomerSaved {
                number: self.lending.customer_count() + 1,
                version: 1,
                previous: Seq::NONE,
                created_at: rules.now,
                facts: new.facts.clone(),
            };
            Ok(Ok(numbered(saved)))
        })
    }

    /// Changes a customer. `before` was read before locking.
    pub(super) fn commit_customer_change(
        &self,
        change: &CustomerChange,
        before: &CustomerSaved,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<Entry>, Stale> {
        self.commit_fact(origin, probe, None, |_| {
            let row = self.lending.customer(before.number);
            let row = row.expect("customers are never removed, and it was there before");
            if row.version != before.version {
                return Err(Stale);
            }
            let is_this = |(version, seq): &(u32, Option<Seq>)| {
                *version == row.version && seq.is_none_or(|seq| seq == row.last_seq)
            };
            if change.expected.as_ref().is_some_and(|expected| !expected.iter().any(is_this)) {
                return Ok(Err(Reject::of(RejectCode::VersionMismatch)));
            }
            Ok(Ok(numbered(CustomerSaved {
                version: row.version + 1,
                previous: row.last_seq,
                facts: change.applied_to(&before.facts),
                ..before.clone()
            })))
        })
    }

    pub(super) fn say_customer(&self, decided: Decided<Entry>, origin: &Origin) -> Pending {
        self.say(decided, origin, |_, entry, placed| {
            let Entry::CustomerSaved(saved) = entry else { unreachable!("a customer was saved") };
            let saved = *saved;
            let last_seq = placed.is_real().then(|| placed.last());
            let created = saved.version == 1;
            Reply::Customer { view: Box::new(CustomerView { last_seq, saved }), created }
        })
    }

    pub(super) fn execute_customer_change(
        &self,
        change: &CustomerChange,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        let probe = match self.probe(origin, None, reach) {
            Ok(probe) => probe,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let Some(row) = self.lending.customer(change.number) else {
            return Ok(Ok(self.say_refusal(RejectCode::CustomerNotFound, origin, &probe)?));
        };
        if !self.watermark.covers(row.last_seq) {
            return Ok(Err(NotYet::WaitFor(row.last_seq)));
        }
        let before = match self.customer_saved(row, reach) {
            Ok(before) => before,
            Err(error) => return Ok(Err(error.into())),
        };
        let decided = self.commit_customer_change(change, &before, origin, &probe)?;
        Ok(Ok(self.say_customer(decided, origin)))
    }

    /// What is known of a customer, as its newest entry says. Its seq must be durable.
    pub(super) fn customer_saved(&self, row: CustomerRow, reach: Reach) -> Result<CustomerSaved, ReadError> {
        let seq = row.last_seq;
        match self.history.entry(seq, reach)?.map(|located| located.entry) {
            Some(Entry::CustomerSaved(saved)) => Ok(*saved),
            _ => Err(ReadError::Unreadable(format!("entry seq={seq} holds no customer"))),
        }
    }

    /// A customer as a row says.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn customer_view(&self, row: CustomerRow, reach: Reach) -> Result<CustomerView, ReadError> {
        Ok(CustomerView { last_seq: Some(row.last_seq), saved: self.customer_saved(row, reach)? })
    }
}

/// The entry, and the number under which its external id is kept.
fn numbered(saved: CustomerSaved) -> (Entry, u64) {
    let number = u64::from(saved.number);
    (Entry::CustomerSaved(Box::new(saved)), number)
}

impl CustomerChange {
    /// The facts after the change.
    #[must_use]
    pub fn applied_to(&self, facts: &CustomerFacts) -> CustomerFacts {
        let mut facts = facts.clone();
        if let Some(name) = &self.name {
            facts.name.clone_from(name);
        }
        if let Some(day) = self.born_on {
            facts.born_on = day;
        }
        if let Some(metadata) = &self.metadata {
            facts.metadata.clone_from(metadata);
        }
        for (field, change) in [
            (&mut facts.phone, &self.phone),
            (&mut facts.email, &self.email),
            (&mut facts.address, &self.address),
            (&mut facts.ifsc, &self.ifsc),
        ] {
            if let Some(change) = change {
                field.clone_from(change);
            }
        }
        for (field, change) in [(&mut facts.pan, &self.pan), (&mut facts.bank_account, &self.bank_account)] {
            if let Some(change) = change {
                field.clone_from(change);
            }
        }
        facts
    }
}
