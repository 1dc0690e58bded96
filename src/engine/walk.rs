//! Walks over transfers, newest first: along an account, through a voucher, over a day.
//!
//! Each step looks at a bounded number of entries. Where a walk has looked at all it may and found no
//! end, it says the place that it reached ([`Step::Tired`]): a page ends there, and the next goes on.
//!
//! A day has two streams, merged by seq: the run of seqs booked on it, looked through one by one, and the
//! off-date entries effective on it, which the shards and the store list by day. A hold that was posted stands
//! in them twice, by its own entry and by the posting: the reader shows it at one of them ([`Core::listed_on`]).

use crate::domain::entry::{Entry, TransferOp};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::time::Day;

use super::Core;
use super::history::{Located, Reach, ReadError, Steps};
use super::view::TransferScope;

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// An entry of the set; it may still be no transfer.
    Entry(Located),
    /// Nothing more.
    End,
    /// No end within what one walk may look at; everything from this seq on was looked at.
    Tired(Seq),
}

/// A walk.
#[derive(Debug)]
pub struct Walk<'a> {
    core: &'a Core,
    reach: Reach,
    steps: Steps,
    /// The entry given last.
    last: Option<Seq>,
    way: Way,
}

/// Where it leads.
#[derive(Debug)]
enum Way {
    /// Down an account's chain from an entry.
    Account { no: AccountNo, next: Seq },
    /// Down a record to its first seq.
    Voucher { first: Seq, next: Seq },
    /// Over a day.
    Day(DayWalk),
}

/// Both streams of a day.
#[derive(Debug)]
struct DayWalk {
    day: Day,
    /// The run of the day: its first seq, and the next one to look at.
    first: Seq,
    next: Seq,
    on_date: Option<Located>,
    /// The entry at which the look through the run ended before its end.
    tired: Option<Seq>,
    /// Off-date entries, the newest last, and where the next page of them begins.
    off_dates: Vec<Seq>,
    off_below: Option<Seq>,
}

/// Off-date entries fetched at once.
const OFF_DATE_PAGE: usize = 256;

impl<'a> Walk<'a> {
    /// A walk over a set, from `newest` down, or from below `before`.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::NoSuchPlace`] when `before` is no place of the set.
    pub fn open(
        core: &'a Core,
        scope: TransferScope,
        newest: Seq,
        before: Option<Seq>,
        reach: Reach,
    ) -> Result<Walk<'a>, ReadError> {
        if before.is_some_and(|before| before == Seq::NONE || before > core.journal().appended_seq()) {
            return Err(ReadError::NoSuchPlace);
        }
        let way = match scope {
            TransferScope::Account(no) => {
                let next = match before {
                    None => newest,
                    Some(before) => {
                        let last = core.history.entry(before, reach)?;
                        last.and_then(|last| last.previous_of(no)).ok_or(ReadError::NoSuchPlace)?
                    }
                };
                Way::Account { no, next }
            }
            TransferScope::Voucher(first) => {
                let record = core.history.record(first, reach)?;
                let entries = record.map(|record| record.entries).unwrap_or_default();
                let next = entries.iter().rfind(|located| before.is_none_or(|before| located.seq < before));
                Way::Voucher { first, next: next.map_or(Seq::NONE, |located| located.seq) }
            }
            TransferScope::Date(day) => Way::Day(DayWalk::open(core, day, newest, before)),
        };
        Ok(Walk { core, reach, steps: Steps::of(reach), last: None, way })
    }

    /// The next entry of the set.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn step(&mut self) -> Result<Step, ReadError> {
        let seq = match &self.way {
            Way::Account { next, .. } | Way::Voucher { next, .. } => *next,
            Way::Day(_) => return self.next_of_day(),
        };
        if seq == Seq::NONE {
            return Ok(Step::End);
        }
        if let Some(last) = self.is_tired()? {
            return Ok(Step::Tired(last));
        }
        let Some(located) = self.core.history.entry(seq, self.reach)? else { return Ok(Step::End) };
        self.last = Some(seq);
        match &mut self.way {
            Way::Account { no, next } => *next = located.previous_of(*no).unwrap_or(Seq::NONE),
            Way::Voucher { first, next } => *next = if seq == *first { Seq::NONE } else { Seq(seq.0 - 1) },
            Way::Day(_) => {}
        }
        Ok(Step::Entry(located))
    }

    /// The entry given last, when no more may be looked at. The first one is always given: a page that
    /// ends where it began would never end the list.
    fn is_tired(&mut self) -> Result<Option<Seq>, ReadError> {
        Ok(if self.steps.take()? { None } else { self.last })
    }

    fn next_of_day(&mut self) -> Result<Step, ReadError> {
        let Way::Day(date) = &mut self.way else { unreachable!("only the walk over a day comes here") };
        date.look(self.core, self.reach, &mut self.steps)?;
        date.fetch(self.core, self.reach)?;
        let on = date.on_date.as_ref().map(|located| located.seq).or(date.tired);
        let off = date.off_dates.last().copied();
        if let Some(seq) = off.filter(|_| off > on) {
            date.off_dates.pop();
            if let Some(last) = self.is_tired()? {
                return Ok(Step::Tired(last));
            }
            self.last = Some(seq);
            let unreadable = || ReadError::Unreadable(format!("entry seq={seq} is not there"));
            return Ok(Step::Entry(self.core.history.entry(seq, self.reach)?.ok_or_else(unreadable)?));
        }
        Ok(match (date.on_date.take(), date.tired) {
            (Some(located), _) => {
                self.last = Some(located.seq);
                Step::Entry(located)
            }
            (None, Some(last)) => Step::Tired(last),
            (None, None) => Step::End,
        })
    }
}

impl DayWalk {
    fn open(core: &Core, day: Day, newest: Seq, before: Option<Seq>) -> DayWalk {
        let below = before.map_or(newest.next(), |before| before.min(newest.next()));
        let (first, last) = core.run_of_day(day).unwrap_or((Seq(1), Some(Seq::NONE)));
        let next = Seq(last.unwrap_or(newest).0.min(below.0 - 1));
        DayWalk { day, first, next, on_date: None, tired: None, off_dates: Vec::new(), off_below: Some(below) }
    }

    /// Looks through the run for the next entry that is shown.
    fn look(&mut self, core: &Core, reach: Reach, steps: &mut Steps) -> Result<(), ReadError> {
        while self.on_date.is_none() && self.tired.is_none() && self.next >= self.first {
            if !steps.take()? {
                self.tired = Some(self.next.next());
                break;
            }
            let unreadable = || ReadError::Unreadable(format!("entry seq={} is not there", self.next));
            let located = core.history.entry(self.next, reach)?.ok_or_else(unreadable)?;
            self.next = Seq(self.next.0 - 1);
            self.on_date = Some(located).filter(is_shown);
        }
        Ok(())
    }

    /// Fetches more off-date entries when there are none left.
    fn fetch(&mut self, core: &Core, reach: Reach) -> Result<(), ReadError> {
        if let Some(below) = self.off_below.filter(|_| self.off_dates.is_empty()) {
            let seqs = core.off_dates_on(self.day, below, OFF_DATE_PAGE, reach)?;
            self.off_below = seqs.last().copied().filter(|_| seqs.len() == OFF_DATE_PAGE);
            self.off_dates = seqs;
            self.off_dates.reverse();
        }
        Ok(())
    }
}

/// Whether an entry booked on a day may be listed under it: a transfer effective on that day, or a posting of
/// a hold.
fn is_shown(located: &Located) -> bool {
    match &located.entry {
        Entry::Transfer(entry) => {
            let is_posting = matches!(entry.op, TransferOp::PostPending { .. });
            entry.effective.is_none() && (is_posting || entry.resolves().is_none())
        }
        _ => false,
    }
}
