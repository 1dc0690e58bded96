//! Period closings: small state that changes a few times a month, under all locks.

use crate::domain::ids::{Moment, Seq};
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::time::Day;

use super::view::{PeriodEvent, Periods};

/// All closings and re-openings, oldest first. Twelve a year: it may grow with history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeriodBook {
    events: Vec<PeriodEvent>,
}

impl PeriodBook {
    /// A book read from a checkpoint.
    #[must_use]
    pub fn load(events: Vec<PeriodEvent>) -> PeriodBook {
        PeriodBook { events }
    }

    /// All events, oldest first.
    #[must_use]
    pub fn events(&self) -> &[PeriodEvent] {
        &self.events
    }

    /// Effective dates up to here are closed.
    #[must_use]
    pub fn closed_through(&self) -> Option<Day> {
        self.events.last().and_then(|event| event.through)
    }

    /// Decides a closing.
    ///
    /// # Errors
    /// `period_invalid` for a day that is closed already or lies after the business date.
    pub fn check_close(&self, through: Day, business_date: Day) -> Result<(), Reject> {
        let is_new = self.closed_through().is_none_or(|closed| through > closed);
        if is_new && through <= business_date { Ok(()) } else { Err(Reject::of(RejectCode::PeriodInvalid)) }
    }

    /// Decides a re-opening: through which day the books stay closed after it.
    ///
    /// # Errors
    /// `period_invalid` for a day that is open.
    pub fn check_reopen(&self, through: Day) -> Result<Option<Day>, Reject> {
        if self.closed_through().is_none_or(|closed| through > closed) {
            return Err(Reject::of(RejectCode::PeriodInvalid));
        }
        // The closings in force, oldest first: a re-opening takes back those after its day.
        let mut in_force: Vec<Day> = Vec::new();
        for event in &self.events {
            match (event.through, event.reopened_because.is_some()) {
                (Some(day), false) => in_force.push(day),
                (remains, _) => in_force.retain(|day| remains.is_some_and(|remains| *day <= remains)),
            }
        }
        Ok(in_force.into_iter().rfind(|day| *day < through))
    }

    /// Applies a closing or re-opening.
    pub fn apply(&mut self, seq: Seq, at: Moment, through: Option<Day>, reopened_because: Option<Box<str>>) {
        if self.events.last().is_none_or(|event| event.seq < seq) {
            self.events.push(PeriodEvent { seq, at, through, reopened_because });
        }
    }

    /// The view: newest first, bounded.
    #[must_use]
    pub fn view(&self) -> Periods {
        let newest = self.events.iter().rev().take(crate::config::PERIOD_EVENTS_MAX);
        Periods { closed_through: self.closed_through(), events: newest.cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reopening_goes_back_to_the_closing_before_it() {
        let mut book = PeriodBook::default();
        let today = Day(100);
        let close = |book: &mut PeriodBook, day: u16| {
            book.check_close(Day(day), today).map(|()| book.apply(Seq(u64::from(day)), Moment(0), Some(Day(day)), None))
        };
        assert!(close(&mut book, 30).is_ok());
        assert!(close(&mut book, 60).is_ok());
        assert!(close(&mut book, 60).is_err(), "closed already");
        assert!(close(&mut book, 101).is_err(), "the future");
        assert!(close(&mut book, 90).is_ok());
        assert!(book.check_reopen(Day(91)).is_err(), "open already");
        assert_eq!(book.check_reopen(Day(90)), Ok(Some(Day(60))));
        assert_eq!(book.check_reopen(Day(31)), Ok(Some(Day(30))));
        assert_eq!(book.check_reopen(Day(5)), Ok(None));
        book.apply(Seq(200), Moment(0), Some(Day(30)), Some("audit".into()));
        assert_eq!(book.closed_through(), Some(Day(30)));
        assert_eq!(book.check_reopen(Day(30)), Ok(None), "the closing through 60 is not in force any more");
    }
}
