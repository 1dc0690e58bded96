//! What happened, in order: the durable entries after a place, for whoever follows the books.
//!
//! An event is an entry of the journal, seen from outside: its number is the entry's seq, its kind one of
//! [`KINDS`]. Nothing is written for an event, and nobody who follows is waited for: a follower has a place in
//! the journal, and reads on from there.
//!
//! Promise: what is given out is durable, and complete between the place asked from and the place answered.

use crate::domain::access::KeyChange;
use crate::domain::entry::{Entry, TransferOp};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::lending::loan::events::LoanEvent;

use super::history::{Located, Reach, ReadError};
use super::view::Unavailable;
use super::watermark::JournalFailed;
use super::{Core, Engine};

/// The kind of an event: its place in [`KINDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKind(u8);

/// All kinds, by the names that they have in the API. Names are for ever.
pub const KINDS: [&str; 54] = [
    "transfer.posted",
    "transfer.pending",
    "transfer.hold_posted",
    "transfer.hold_voided",
    "transfer.hold_expired",
    "transfer.reversed",
    "account.opened",
    "account.updated",
    "period.closed",
    "period.reopened",
    "business_day.rolled",
    "business_day.closed",
    "business_day.swept",
    "business_day.ended",
    "clock.accepted",
    "api_key.created",
    "api_key.rotated",
    "api_key.revoked",
    "access.refused",
    "customer.created",
    "customer.updated",
    "loan_product.created",
    "loan_product.updated",
    "loan.applied",
    "loan.approved",
    "loan.declined",
    "loan.kfs_issued",
    "loan.kfs_accepted",
    "loan.disbursed",
    "loan.disbursal_returned",
    "loan.repaid",
    "loan.repayment_reversed",
    "loan.prepaid",
    "loan.charged",
    "loan.waived",
    "loan.rate_reset",
    "loan.rescheduled",
    "loan.written_off",
    "loan.recovered",
    "loan.refunded",
    "loan.foreclosed",
    "loan.cancelled",
    "loan.closed",
    "loan.borrower_fell",
    "loan.borrower_rose",
    "webhook_endpoint.saved",
    "schedule.saved",
    "sync_target.saved",
    "job.born",
    "month.ended",
    "loan.settled",
    "loan.paused",
    "loan.watched",
    // Never an entry: what an endpoint is sent to try it.
    "webhook.test",
];

impl EventKind {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS[usize::from(self.0)]
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<EventKind> {
        KINDS.iter().position(|known| *known == name).map(|place| EventKind(place as u8))
    }

    /// What an entry is from outside; `None` for one that says nothing of the books, a kept refusal.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<EventKind> {
        let place = match entry {
            Entry::Transfer(transfer) => match transfer.op {
                TransferOp::Posted => 0,
                TransferOp::Pending { .. } => 1,
                TransferOp::PostPending { .. } => 2,
                TransferOp::VoidPending { .. } => 3,
                TransferOp::ExpirePending { .. } => 4,
                TransferOp::Reversal { .. } => 5,
            },
            Entry::AccountOpened(_) => 6,
            Entry::AccountChanged(_) => 7,
            Entry::PeriodClosed { .. } => 8,
            Entry::PeriodReopened { .. } => 9,
            Entry::DayRolled { .. } => 10,
            Entry::DayClosed(_) => 11,
            Entry::LoansSwept(_) => 12,
            Entry::DayEnded(_) => 13,
            Entry::ClockAccepted => 14,
            Entry::ApiKeyMade(_) => 15,
            Entry::ApiKeyChanged(changed) => match changed.change {
                KeyChange::Rotated { .. } => 16,
                KeyChange::Revoked => 17,
            },
            Entry::AccessRefused(_) => 18,
            Entry::CustomerSaved(saved) => 19 + u8::from(saved.version > 1),
            Entry::ProductSaved(saved) => 21 + u8::from(saved.version > 1),
            Entry::LoanPosted(posted) => 23 + loan_place(&posted.event),
            Entry::ObjectSaved(saved) => 45 + saved.collection as u8,
            Entry::JobBorn(_) => 48,
            Entry::MonthEnded(_) => 49,
            Entry::Refused => return None,
        };
        Some(EventKind(place))
    }

    /// Whether it is about who may do what: only for those who see to that.
    #[must_use]
    pub fn is_about_access(self) -> bool {
        (15..=18).contains(&self.0)
    }
}

/// Kinds of loans' events that came later, as a distance from the first of them all.
const LATER: u8 = 50 - 23;

fn loan_place(event: &LoanEvent) -> u8 {
    match event {
        LoanEvent::Applied { .. } => 0,
        LoanEvent::Approved => 1,
        LoanEvent::Declined => 2,
        LoanEvent::KfsIssued { .. } => 3,
        LoanEvent::KfsAccepted { .. } => 4,
        LoanEvent::Disbursed { .. } => 5,
        LoanEvent::DisbursalReturned { .. } => 6,
        LoanEvent::Received { .. } => 7,
        LoanEvent::ReceiptReversed { .. } => 8,
        LoanEvent::Prepaid { .. } => 9,
        LoanEvent::Charged { .. } => 10,
        LoanEvent::Waived(_) => 11,
        LoanEvent::RateReset { .. } => 12,
        LoanEvent::Rescheduled(_) => 13,
        LoanEvent::WrittenOff => 14,
        LoanEvent::Recovered { .. } => 15,
        LoanEvent::Refunded { .. } => 16,
        LoanEvent::Foreclosed { .. } => 17,
        LoanEvent::Cancelled { .. } => 18,
        LoanEvent::Closed => 19,
        LoanEvent::BorrowerFell { .. } => 20,
        LoanEvent::BorrowerRose => 21,
        LoanEvent::Settled { .. } => LATER,
        LoanEvent::Paused { .. } => LATER + 1,
        LoanEvent::Watched { .. } => LATER + 2,
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKinds(u64);

const _: () = assert!(KINDS.len() <= 64, "a set of kinds is 64 bits");

impl EventKinds {
    /// No kind.
    pub const NONE: EventKinds = EventKinds(0);

    /// Every kind.
    #[must_use]
    pub fn all() -> EventKinds {
        EventKinds((1 << KINDS.len()) - 1)
    }

    /// Every kind but those about who may do what.
    #[must_use]
    pub fn of_the_books() -> EventKinds {
        let kinds = (0..KINDS.len() as u8).map(EventKind).filter(|kind| !kind.is_about_access());
        kinds.fold(EventKinds::NONE, EventKinds::with)
    }

    /// This set and one kind.
    #[must_use]
    pub fn with(self, kind: EventKind) -> EventKinds {
        EventKinds(self.0 | 1 << kind.0)
    }

    /// What is in one of both.
    #[must_use]
    pub fn or(self, other: EventKinds) -> EventKinds {
        EventKinds(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: EventKinds) -> EventKinds {
        EventKinds(self.0 & other.0)
    }

    /// Whether a kind is in it.
    #[must_use]
    pub fn has(self, kind: EventKind) -> bool {
        self.0 >> kind.0 & 1 == 1
    }

    /// What a pattern names: a kind, or all kinds of a resource (`loan.*`); `None` when it names nothing.
    #[must_use]
    pub fn named(pattern: &str) -> Option<EventKinds> {
        let Some(resource) = pattern.strip_suffix(".*") else {
            return EventKind::from_name(pattern).map(|kind| EventKinds::NONE.with(kind));
        };
        let of = |name: &str| name.split_once('.').is_some_and(|(first, _)| first == resource);
        let kinds = (0..KINDS.len() as u8).map(EventKind).filter(|kind| of(kind.name()));
        Some(kinds.fold(EventKinds::NONE, EventKinds::with)).filter(|set| *set != EventKinds::NONE)
    }

    /// The names of its kinds.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        (0..KINDS.len() as u8).map(EventKind).filter(|kind| self.has(*kind)).map(EventKind::name).collect()
    }
}

/// What a follower wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Of these kinds …
    pub kinds: EventKinds,
    /// … and about this account, if one is named …
    pub account: Option<AccountNo>,
    /// … and about this loan.
    pub loan: Option<u32>,
}

/// What an event is about, enough to choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its kind.
    pub kind: EventKind,
    /// Accounts that it touches.
    pub accounts: [Option<AccountNo>; 2],
    /// The loan that it is about.
    pub loan: Option<u32>,
}

impl About {
    /// What an entry is about; `None` where it is no event.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<About> {
        let kind = EventKind::of(entry)?;
        let (accounts, loan) = match entry {
            Entry::Transfer(transfer) => ([Some(transfer.debit), Some(transfer.credit)], None),
            Entry::AccountOpened(opened) => ([Some(opened.account), None], None),
            Entry::AccountChanged(changed) => ([Some(changed.account), None], None),
            Entry::LoanPosted(posted) => ([None, None], Some(posted.loan)),
            _ => ([None, None], None),
        };
        Some(About { kind, accounts, loan })
    }
}

impl Topic {
    /// Everything of some kinds.
    #[must_use]
    pub fn of(kinds: EventKinds) -> Topic {
        Topic { kinds, account: None, loan: None }
    }

    /// Whether an event belongs to it.
    #[must_use]
    pub fn has(&self, about: &About) -> bool {
        self.kinds.has(about.kind)
            && self.account.is_none_or(|account| about.accounts.contains(&Some(account)))
            && self.loan.is_none_or(|loan| about.loan == Some(loan))
    }
}

/// Events of a stretch of the journal.
#[derive(Debug)]
pub struct FeedPage {
    /// Those that were asked for, ascending.
    pub events: Vec<Located>,
    /// Everything up to here was looked at.
    pub through: Seq,
}

impl Core {
    /// Durable events after `after`, at most `events_max` of them, from at most `entries_max` entries.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn feed(
        &self,
        after: Seq,
        topic: &Topic,
        events_max: usize,
        entries_max: u64,
        reach: Reach,
    ) -> Result<FeedPage, ReadError> {
        let end = self.journal.durable_seq().0.min(after.0.saturating_add(entries_max));
        let mut page = FeedPage { events: Vec::new(), through: after };
        while page.through.0 < end && page.events.len() < events_max {
            let from = page.through.next();
            let missing = || ReadError::Unreadable(format!("entry seq={from} is not there"));
            let block = self.history.block_in_passing(from, reach)?.ok_or_else(missing)?;
            for (seq, head, entry) in block.entries_from(from) {
                if seq.0 > end || page.events.len() >= events_max {
                    break;
                }
                page.through = seq;
                if About::of(&entry).is_some_and(|about| topic.has(&about)) {
                    page.events.push(Located {
                        seq,
                        record: head.first_seq,
                        moment: head.moment,
                        date: head.date,
                        entry,
                    });
                }
            }
            if page.through < from {
                return Err(missing());
            }
        }
        Ok(page)
    }
}

impl Engine {
    /// As [`Core::feed`], from memory or from a thread that may wait for the disk.
    ///
    /// # Errors
    /// What [`ReadError`] becomes.
    pub async fn feed(
        &self,
        after: Seq,
        topic: Topic,
        events_max: usize,
        entries_max: u64,
    ) -> Result<FeedPage, Unavailable> {
        self.read(Reach::Memory, move |core, reach| core.feed(after, &topic, events_max, entries_max, reach)).await
    }

    /// Waits until something after `seq` is durable.
    ///
    /// # Errors
    /// [`JournalFailed`]: nothing ever will be.
    pub async fn grown_beyond(&self, seq: Seq) -> Result<(), JournalFailed> {
        self.core().watermark().wait(seq.next()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back_to_their_kind() {
        for (place, name) in KINDS.iter().enumerate() {
            assert_eq!(EventKind::from_name(name), Some(EventKind(place as u8)), "{name}");
            assert!(name.split_once('.').is_some());
        }
        assert_eq!(EventKind::of(&Entry::Refused), None);
        assert_eq!(EventKind::of(&Entry::ClockAccepted).map(EventKind::name), Some("clock.accepted"));
        let rose = KINDS[usize::from(23 + loan_place(&LoanEvent::BorrowerRose))];
        assert_eq!(rose, "loan.borrower_rose");
    }

    #[test]
    fn a_pattern_names_a_kind_or_a_resource() {
        let named = |pattern| EventKinds::named(pattern).map(EventKinds::names);
        assert_eq!(named("period.*"), Some(vec!["period.closed", "period.reopened"]));
        assert_eq!(named("account.opened"), Some(vec!["account.opened"]));
        for nonsense in ["", "*", ".*", "loan", "loans.*", "loan.x", "Loan.*"] {
            assert_eq!(named(nonsense), None, "{nonsense}");
        }
        let books = EventKinds::of_the_books();
        assert!(!books.has(EventKind(15)) && !books.has(EventKind(18)) && books.has(EventKind(0)));
        assert_eq!(EventKinds::all().names().len(), KINDS.len());
    }
}
