//! Everything that ever happened to a loan, as the journal has it: its entries, newest to oldest along their chain,
//! kept in a cache by loan. What is cached is never wrong, only short: newer events are read on top of it.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::domain::entry::Entry;
use crate::domain::ids::{Moment, Seq};
use crate::domain::lending::loan::events::Dated;
use crate::domain::lending::loan::facts::{LoanApplication, LoanPosted};
use crate::domain::lending::loan::fold::undoes;
use crate::domain::time::Day;
use crate::engine::Core;
use crate::engine::history::{Located, Reach, ReadError};

use super::table::LoanRow;
use crate::engine::checkpoint::{EVENTS_PER_CHUNK, stored_events};

/// An event, and where it stands.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its entry.
    pub seq: Seq,
    /// Moment of its record.
    pub moment: Moment,
    /// Business date of its record.
    pub date: Day,
    /// What happened.
    pub posted: LoanPosted,
}

impl Recorded {
    /// An entry of a record, if something happened to a loan by it.
    #[must_use]
    pub fn of(located: &Located) -> Option<Recorded> {
        let Located { seq, moment, date, entry, .. } = located;
        let Entry::LoanPosted(posted) = entry else { return None };
        Some(Recorded { seq: *seq, moment: *moment, date: *date, posted: (**posted).clone() })
    }

    /// The event as the fold takes it.
    #[must_use]
    pub fn dated(&self) -> Dated {
        Dated { value_date: self.posted.value_date, order: self.seq.0, event: self.posted.event }
    }
}

/// A loan's events, oldest first.
#[derive(Debug)]
pub struct LoanFile {
    /// All of them.
    pub events: Vec<Arc<Recorded>>,
}

impl LoanFile {
    /// The newest.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.events.last().map_or(Seq::NONE, |event| event.seq)
    }

    /// As it was asked for.
    #[must_use]
    pub fn application(&self) -> &LoanApplication {
        let first = &self.events.first().expect("a loan begins with its application").posted;
        first.application.as_ref().expect("a loan begins with its application")
    }

    /// The events as the fold takes them.
    #[must_use]
    pub fn dated(&self) -> Vec<Dated> {
        self.events.iter().map(|event| event.dated()).collect()
    }

    /// The event that undid one.
    #[must_use]
    pub fn undone_by(&self, seq: Seq) -> Option<Seq> {
        let undoing = self.events.iter().find(|event| undoes(&event.posted.event) == Some(seq.0));
        undoing.map(|event| event.seq)
    }

    /// An event by its seq.
    #[must_use]
    pub fn event(&self, seq: Seq) -> Option<&Arc<Recorded>> {
        let place = self.events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        self.events.get(place)
    }
}

/// Files of loans that were asked for lately, and their bare events.
#[derive(Debug)]
pub struct LoanFiles {
    cache: Cache<u32, Arc<LoanFile>>,
    events: Cache<u32, Arc<Vec<Dated>>>,
}

/// Rough bytes of an event in memory.
const EVENT_BYTES: usize = 600;

/// A file that nobody asks for goes after so long.
const FILE_IDLE: Duration = Duration::from_secs(3_600);

impl LoanFiles {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> LoanFiles {
        let cache = Cache::builder()
            .max_capacity(bytes)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(FILE_IDLE)
            .weigher(|_, file: &Arc<LoanFile>| u32::try_from(file.events.len() * EVENT_BYTES).unwrap_or(u32::MAX))
            .build();
        let events = Cache::builder()
            .max_capacity(bytes)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(FILE_IDLE)
            .weigher(|_, events: &Arc<Vec<Dated>>| {
                u32::try_from(events.len() * size_of::<Dated>() + 64).unwrap_or(u32::MAX)
            })
            .build();
        LoanFiles { cache, events }
    }
}

impl Core {
    /// Everything that happened to a loan up to its row's newest event, which must be durable.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(in crate::engine) fn loan_file(
        &self,
        loan: u32,
        row: &LoanRow,
        reach: Reach,
    ) -> Result<Arc<LoanFile>, ReadError> {
        let known = self.loan_files.cache.get(&loan);
        if let Some(file) = known.as_ref().filter(|file| file.last_seq() >= row.last_seq) {
            return Ok(Arc::clone(file));
        }
        let known_to = known.as_ref().map_or(Seq::NONE, |file| file.last_seq());
        let mut newer = Vec::new();
        let mut next = row.last_seq;
        while next > known_to {
            let recorded = self.loan_event(next, reach)?;
            next = recorded.posted.previous;
            newer.push(Arc::new(recorded));
        }
        let mut events = known.map_or_else(Vec::new, |file| file.events.clone());
        events.extend(newer.into_iter().rev());
        let file = Arc::new(LoanFile { events });
        self.loan_files.cache.insert(loan, Arc::clone(&file));
        Ok(file)
    }

    /// What happened to a loan up to its row's newest event, oldest first, without texts: packed in the store, the newest
    /// in memory. Two or three reads, whatever the past of the loan.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(in crate::engine) fn bare_events(
        &self,
        loan: u32,
        row: &LoanRow,
        reach: Reach,
    ) -> Result<Arc<Vec<Dated>>, ReadError> {
        let known = self.loan_files.events.get(&loan);
        let is_whole = |events: &[Dated]| events.last().is_some_and(|last| last.order >= row.last_seq.0);
        if let Some(events) = known.as_ref().filter(|events| is_whole(events)) {
            return Ok(Arc::clone(events));
        }
        let fresh = self.loans.fresh_events(loan, row.last_seq);
        let count = row.events as usize;
        // What happened since it was read is in memory, unless a checkpoint has taken it along.
        if let Some(known) = known {
            let seen = known.last().map_or(0, |last| last.order);
            let newer = &fresh[fresh.partition_point(|dated| dated.order <= seen)..];
            if known.len() + newer.len() == count && newer.last().is_some_and(|last| last.order == row.last_seq.0) {
                let events: Arc<Vec<Dated>> = Arc::new(known.iter().chain(newer).copied().collect());
                self.loan_files.events.insert(loan, Arc::clone(&events));
                return Ok(events);
            }
        }
        let stored = count.saturating_sub(fresh.len());
        if stored > 0 && reach == Reach::Memory {
            return Err(ReadError::NotCached);
        }
        let mut events = Vec::with_capacity(count);
        for chunk in 0..stored.div_ceil(EVENTS_PER_CHUNK) {
            events.extend(stored_events(&self.store.loan_events(loan, chunk as u32)?, loan)?);
        }
        // What a checkpoint has stored since is in both.
        events.truncate(stored);
        events.extend(fresh);
        if events.len() != count || events.last().is_none_or(|last| last.order != row.last_seq.0) {
            return Err(ReadError::Unreadable(format!("the store has not all events of loan {loan}")));
        }
        let events = Arc::new(events);
        self.loan_files.events.insert(loan, Arc::clone(&events));
        Ok(events)
    }

    /// An event by its seq, which must be durable.
    pub(in crate::engine) fn loan_event(&self, seq: Seq, reach: Reach) -> Result<Recorded, ReadError> {
        let located = self.history.entry(seq, reach)?;
        match located.map(|located| (located.moment, located.date, located.entry)) {
            Some((moment, date, Entry::LoanPosted(posted))) => Ok(Recorded { seq, moment, date, posted: *posted }),
            _ => Err(ReadError::Unreadable(format!("entry seq={seq} holds no event of a loan"))),
        }
    }

    /// How a loan was asked for. Its application must be durable.
    pub(in crate::engine) fn application(&self, row: &LoanRow, reach: Reach) -> Result<LoanApplication, ReadError> {
        if row.is_plain {
            return Ok(LoanApplication {
                customer: row.customer,
                product: row.product,
                product_version: row.product_version,
                principal: row.unpacked().sanctioned,
                instalments: None,
                annual_rate_pct: None,
                first_due_on: None,
                charges: None,
                external_id: None,
                metadata: Vec::new(),
            });
        }
        let recorded = self.loan_event(row.applied_seq, reach)?;
        let application = recorded.posted.application;
        application
            .map(|application| *application)
            .ok_or_else(|| ReadError::Unreadable(format!("entry seq={} is no application", row.applied_seq)))
    }
}
