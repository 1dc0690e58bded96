//! Calendar dates in whole numbers, for what runs through a million loans a day: the same dates as
//! [`Day::date`](crate::domain::time::Day::date), to which a test holds every day there is.

use crate::domain::time::Day;

/// Days from 0000-03-01 to 1970-01-01: years that begin in March have their leap day at the end.
const EPOCH: u32 = 719_468;

/// Days of 400 years.
const ERA: u32 = 146_097;

/// The first and the last year that a [`Day`] has.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=2149;

/// A date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 1970 to 2149.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

impl Civil {
    /// The date of a day.
    #[must_use]
    pub fn of(day: Day) -> Civil {
        let days = u32::from(day.0) + EPOCH;
        let (era, of_era) = (days / ERA, days % ERA);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months from March on: 153 days are five of them.
        let from_march = (5 * of_year + 2) / 153;
        let date = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + 400 * era + u32::from(month <= 2);
        Civil { year: i64::from(year), month: i64::from(month), day: i64::from(date) }
    }

    /// The day of a month so many months later (or earlier); where that month is shorter, its last one. `None` outside
    /// the calendar.
    #[must_use]
    pub fn plus_months(self, months: i64, anchor: i64) -> Option<Day> {
        let month = (self.year * 12 + self.month - 1).checked_add(months)?;
        day_of(month.div_euclid(12), month.rem_euclid(12) + 1, anchor)
    }

    /// Whether it lies in a leap year.
    #[must_use]
    pub fn in_leap_year(self) -> bool {
        is_leap(self.year)
    }
}

/// The day of a month, its last one where it is shorter; `None` outside the calendar.
#[must_use]
pub fn day_of(year: i64, month: i64, day: i64) -> Option<Day> {
    if !YEARS.contains(&year) {
        return None;
    }
    let day = day.min(days_of_month(year, month));
    let (year, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year - i64::from(EPOCH);
    u16::try_from(days).ok().map(Day)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    #[test]
    fn every_day_is_the_date_that_the_library_has() {
        for number in 0..=u16::MAX {
            let (civil, date) = (Civil::of(Day(number)), Day(number).date());
            let expected = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            assert_eq!((civil.year, civil.month, civil.day), expected);
            assert_eq!(day_of(civil.year, civil.month, civil.day), Some(Day(number)));
            assert_eq!(civil.in_leap_year(), date.in_leap_year());
        }
        assert_eq!(day_of(1969, 12, 31), None);
        assert_eq!(day_of(2149, 6, 7), None);
    }

    #[test]
    fn months_are_those_that_the_library_adds() {
        for number in (0..=u16::MAX).step_by(97) {
            let date = Day(number).date();
            for months in [-500, -13, -12, -1, 0, 1, 2, 11, 12, 25, 600, 2_500] {
                let expected = date.checked_add(i64::from(months).months()).ok().and_then(Day::from_date);
                let civil = Civil::of(Day(number));
                assert_eq!(civil.plus_months(i64::from(months), civil.day), expected, "{date} and {months} months");
            }
        }
        assert_eq!(Civil::of(Day(0)).plus_months(i64::MAX, 1), None);
    }
}
