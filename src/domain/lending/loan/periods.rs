//! From one due date to the next, and which part of a year lies in it.
//!
//! The same rules as [`schedule`](crate::domain::lending::schedule), asked for one row at a time: a loan in the books
//! runs through them for decades, by the day, and past its last row. With 30/360 a period is a whole one wherever a
//! holiday has put its ends, and its parts are counted between the dates that were meant.

use crate::domain::lending::day_count::{DayCount, YearFraction, actual_days, days_30_360};
use crate::domain::lending::due_dates::DueDates;
use crate::domain::lending::terms::{BrokenPeriod, Terms};
use crate::domain::time::Day;

use super::state::Cycle;

/// Due dates of a cycle.
#[derive(Clone, Copy, Debug)]
pub struct Calendar<'a> {
    terms: &'a Terms,
    cycle: Cycle,
    /// `None` where they lie outside the calendar (1970 to 2149).
    dates: Option<DueDates>,
    first_is_whole: bool,
}

/// What a row takes its interest for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Of the cycle, from 1.
    index: u32,
    /// First day with interest.
    pub from: Day,
    /// The day on which it falls due: the first one without.
    pub to: Day,
    /// The same two as they are counted.
    counted: (Day, Day),
}

impl<'a> Calendar<'a> {
    /// Of terms, from the beginning of a cycle.
    #[must_use]
    pub fn new(terms: &'a Terms, cycle: Cycle) -> Calendar<'a> {
        let dates = match cycle.first_due_on.filter(|first| *first > cycle.start) {
            Some(first) => Some(DueDates::from_first(terms.frequency, Some(cycle.start), first)),
            None => DueDates::after(terms.frequency, cycle.start),
        };
        let first_is_whole = dates.is_none_or(|dates| dates.nth(0) == Some(cycle.start));
        Calendar { terms, cycle, dates, first_is_whole }
    }

    /// The period of a row; `None` outside the calendar.
    #[must_use]
    pub fn period(&self, row: u32) -> Option<Period> {
        let index = row.checked_sub(self.cycle.rows_before).filter(|index| *index > 0)?;
        let dates = self.dates?;
        let shifted = |day: Day| self.terms.holiday_shift.apply(day, &self.terms.holidays);
        let meant_to = dates.nth(i64::from(index))?;
        let meant_from = if index == 1 { self.cycle.start } else { dates.nth(i64::from(index) - 1)? };
        let from = if index == 1 { self.cycle.start } else { shifted(meant_from) };
        let to = shifted(meant_to);
        let counted = match self.terms.day_count {
            DayCount::Thirty360 => (meant_from, meant_to),
            _ => (from, to),
        };
        Some(Period { index, from, to, counted })
    }

    /// What lies between two days of a period, as a part of a year.
    #[must_use]
    pub fn fraction(&self, period: &Period, from: Day, to: Day) -> YearFraction {
        let (first, last) = period.counted;
        // What begins with the period or ends with it does so wherever a holiday has put that.
        let begins = if from <= period.from { first } else { from.clamp(first, last) };
        let ends = match to {
            _ if to >= period.to => last,
            _ if to <= period.from => first,
            _ => to.clamp(first, last),
        };
        if begins >= ends {
            return YearFraction::ZERO;
        }
        let is_broken = period.index == 1 && !self.first_is_whole;
        match self.terms.day_count {
            DayCount::Thirty360 => self.parts(period, begins, ends),
            _ if is_broken && self.terms.broken_period.is_some() => self.parts(period, begins, ends),
            counted => counted.between(begins, ends),
        }
    }

    /// What a row's period counts when instalments are solved.
    #[must_use]
    pub fn nominal(&self, row: u32) -> YearFraction {
        let is_first = row == self.cycle.rows_before + 1;
        match self.period(row).filter(|_| is_first && !self.first_is_whole) {
            Some(period) => self.fraction(&period, period.from, period.to),
            None => self.whole(),
        }
    }

    /// A whole period's part of a year.
    fn whole(&self) -> YearFraction {
        match (self.terms.frequency.fixed_days(), self.terms.day_count) {
            (Some(days), DayCount::Act365 | DayCount::ActAct) => YearFraction::new(days, 365),
            (Some(days), DayCount::Act360) => YearFraction::new(days, 360),
            _ => self.terms.frequency.nominal(),
        }
    }

    /// Whole periods as their share of a year, parts of periods by the rule.
    fn parts(&self, period: &Period, from: Day, to: Day) -> YearFraction {
        let Some(dates) = self.dates else { return DayCount::Act365.between(from, to) };
        let mut n = i64::from(period.index);
        while dates.nth(n - 1).is_some_and(|day| day > from) {
            n -= 1;
        }
        let mut sum = YearFraction::ZERO;
        let mut at = from;
        while at < to {
            let (Some(begins), Some(ends)) = (dates.nth(n - 1), dates.nth(n)) else {
                return sum.plus(DayCount::Act365.between(at, to));
            };
            let until = ends.min(to);
            let part = match self.terms.broken_period {
                _ if at == begins && until == ends => self.whole(),
                Some(BrokenPeriod::Act365) => DayCount::Act365.between(at, until),
                Some(BrokenPeriod::Thirty360) => YearFraction::new(days_30_360(at, until), 360),
                Some(BrokenPeriod::PeriodFraction) | None => {
                    let periods = i64::from(self.terms.frequency.per_year());
                    YearFraction::new(actual_days(at, until), periods * actual_days(begins, ends))
                }
            };
            // 15 days of 360 are more than a fortnight's 26th of a year: nothing shrinks where the fortnight ends.
            let is_inside = at == begins && until != period.counted.1;
            let part = if is_inside && part.exceeds(self.whole()) { self.whole() } else { part };
            sum = sum.plus(part);
            at = until;
            n += 1;
        }
        sum
    }
}
