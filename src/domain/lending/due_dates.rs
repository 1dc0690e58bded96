//! Due dates: anchored, so that a 31st becomes a 28th in February and a 31st again in March.

use super::civil::Civil;
use super::day_count::YearFraction;
use crate::domain::time::Day;

/// How often something falls due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frequency {
    /// Every day.
    Daily,
    /// Every 7 days.
    Weekly,
    /// Every 14 days.
    Fortnightly,
    /// Every month.
    #[default]
    Monthly,
    /// Every 3 months.
    Quarterly,
    /// Every 6 months.
    HalfYearly,
    /// Every 12 months.
    Yearly,
}

/// Names of the frequencies, as the API has them.
pub const FREQUENCIES: [(Frequency, &str); 7] = [
    (Frequency::Daily, "daily"),
    (Frequency::Weekly, "weekly"),
    (Frequency::Fortnightly, "fortnightly"),
    (Frequency::Monthly, "monthly"),
    (Frequency::Quarterly, "quarterly"),
    (Frequency::HalfYearly, "half_yearly"),
    (Frequency::Yearly, "yearly"),
];

/// One step of a frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Days(i64),
    Months(i64),
}

impl Frequency {
    /// Periods that a year is taken to have.
    #[must_use]
    pub fn per_year(self) -> u32 {
        match self {
            Frequency::Daily => 365,
            Frequency::Weekly => 52,
            Frequency::Fortnightly => 26,
            Frequency::Monthly => 12,
            Frequency::Quarterly => 4,
            Frequency::HalfYearly => 2,
            Frequency::Yearly => 1,
        }
    }

    /// What a whole period is of a year.
    #[must_use]
    pub fn nominal(self) -> YearFraction {
        YearFraction::new(1, i64::from(self.per_year()))
    }

    /// Days of a period where all have the same number.
    #[must_use]
    pub fn fixed_days(self) -> Option<i64> {
        match self.step() {
            Step::Days(days) => Some(days),
            Step::Months(_) => None,
        }
    }

    fn step(self) -> Step {
        match self {
            Frequency::Daily => Step::Days(1),
            Frequency::Weekly => Step::Days(7),
            Frequency::Fortnightly => Step::Days(14),
            Frequency::Monthly => Step::Months(1),
            Frequency::Quarterly => Step::Months(3),
            Frequency::HalfYearly => Step::Months(6),
            Frequency::Yearly => Step::Months(12),
        }
    }
}

/// A row of dates without end, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueDates {
    frequency: Frequency,
    first: Day,
    /// Day of the month that is meant, where the month has it.
    anchor: i64,
}

impl DueDates {
    /// From the day of the disbursal: the first due date is one period after it.
    /// `None` where that lies outside the calendar.
    #[must_use]
    pub fn after(frequency: Frequency, disbursed_on: Day) -> Option<DueDates> {
        let anchor = Civil::of(disbursed_on).day;
        let first = DueDates { frequency, first: disbursed_on, anchor }.nth(2)?;
        Some(DueDates { frequency, first, anchor })
    }

    /// From a first due date. Where that is one period after the disbursal (31 January to 29 February), the
    /// disbursal's day is the one that is meant.
    #[must_use]
    pub fn from_first(frequency: Frequency, disbursed_on: Option<Day>, first: Day) -> DueDates {
        match disbursed_on.and_then(|day| DueDates::after(frequency, day)) {
            Some(dates) if dates.first == first => dates,
            _ => DueDates { frequency, first, anchor: Civil::of(first).day },
        }
    }

    /// The due date of row `n`; row 1 is the first, row 0 a period before it.
    /// `None` outside the calendar (1970 to 2149).
    #[must_use]
    pub fn nth(&self, n: i64) -> Option<Day> {
        match self.frequency.step() {
            Step::Days(days) => {
                let day = i64::from(self.first.0) + (n - 1).checked_mul(days)?;
                u16::try_from(day).ok().map(Day)
            }
            Step::Months(months) => Civil::of(self.first).plus_months((n - 1).checked_mul(months)?, self.anchor),
        }
    }

    /// How often.
    #[must_use]
    pub fn frequency(&self) -> Frequency {
        self.frequency
    }
}

/// Where a due date goes that falls on a holiday.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HolidayShift {
    /// To the next day that is none.
    #[default]
    Next,
    /// To the last day before that is none.
    Previous,
    /// Nowhere.
    Stay,
}

/// Names of the shifts, as the API has them.
pub const HOLIDAY_SHIFTS: [(HolidayShift, &str); 3] =
    [(HolidayShift::Next, "next"), (HolidayShift::Previous, "previous"), (HolidayShift::Stay, "none")];

impl HolidayShift {
    /// The day that is meant; `holidays` is sorted.
    #[must_use]
    pub fn apply(self, day: Day, holidays: &[Day]) -> Day {
        let mut day = day;
        while self != HolidayShift::Stay && holidays.binary_search(&day).is_ok() {
            let moved = match self {
                HolidayShift::Previous => day.0.checked_sub(1),
                HolidayShift::Next | HolidayShift::Stay => day.0.checked_add(1),
            };
            match moved {
                Some(moved) => day = Day(moved),
                None => break,
            }
        }
        day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).expect("a date")
    }

    fn dates(frequency: Frequency, disbursed_on: &str, count: i64) -> Vec<String> {
        let dates = DueDates::after(frequency, day(disbursed_on)).expect("inside the calendar");
        (1..=count).map(|n| dates.nth(n).expect("inside the calendar").to_string()).collect()
    }

    #[test]
    fn a_31st_comes_back_after_february() {
        assert_eq!(
            dates(Frequency::Monthly, "2024-01-31", 4),
            ["2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31"]
        );
        assert_eq!(dates(Frequency::Quarterly, "2023-11-30", 3), ["2024-02-29", "2024-05-30", "2024-08-30"]);
        assert_eq!(dates(Frequency::Yearly, "2024-02-29", 4), ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]);
        assert_eq!(dates(Frequency::Fortnightly, "2024-02-20", 2), ["2024-03-05", "2024-03-19"]);
        assert_eq!(dates(Frequency::HalfYearly, "2024-08-31", 2), ["2025-02-28", "2025-08-31"]);
    }

    #[test]
    fn a_first_due_date_one_period_on_keeps_the_anchor_of_the_disbursal() {
        let dates = DueDates::from_first(Frequency::Monthly, Some(day("2024-01-31")), day("2024-02-29"));
        assert_eq!(dates.nth(2), Some(day("2024-03-31")));
        let own = DueDates::from_first(Frequency::Monthly, Some(day("2024-01-15")), day("2024-02-01"));
        assert_eq!((own.nth(0), own.nth(2)), (Some(day("2024-01-01")), Some(day("2024-03-01"))));
    }

    #[test]
    fn holidays_push_a_date_on_or_back() {
        let holidays = [day("2026-08-15"), day("2026-08-16")];
        assert_eq!(HolidayShift::Next.apply(day("2026-08-15"), &holidays), day("2026-08-17"));
        assert_eq!(HolidayShift::Previous.apply(day("2026-08-16"), &holidays), day("2026-08-14"));
        assert_eq!(HolidayShift::Stay.apply(day("2026-08-16"), &holidays), day("2026-08-16"));
        assert_eq!(HolidayShift::Next.apply(day("2026-08-14"), &holidays), day("2026-08-14"));
    }
}
