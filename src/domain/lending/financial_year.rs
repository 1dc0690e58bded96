//! The financial year of an Indian lender, and the ends of its months.

use crate::domain::time::Day;

/// From 1 April to 31 March.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FinancialYear {
    /// The calendar year in which it begins: 1970 to 2147.
    begins: u16,
}

/// Calendar years in which a financial year may begin: all of it lies in the calendar of [`Day`].
const BEGINS: std::ops::RangeInclusive<u16> = 1970..=2147;

impl FinancialYear {
    /// Reads `2026-27`, nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<FinancialYear> {
        let (first, second) = text.split_once('-')?;
        let is_digits =
            |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(first, 4) || !is_digits(second, 2) {
            return None;
        }
        let (begins, ends): (u16, u16) = (first.parse().ok()?, second.parse().ok()?);
        (BEGINS.contains(&begins) && (begins + 1) % 100 == ends).then_some(FinancialYear { begins })
    }

    /// Its first day.
    #[must_use]
    pub fn first(self) -> Day {
        self.on(self.begins, 4, 1)
    }

    /// Its last day.
    #[must_use]
    pub fn last(self) -> Day {
        self.on(self.begins + 1, 3, 31)
    }

    fn on(self, year: u16, month: i8, day: i8) -> Day {
        let date = jiff::civil::date(year.cast_signed(), month, day);
        Day::from_date(date).expect("the years of a financial year lie in the calendar")
    }
}

impl std::fmt::Display for FinancialYear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:02}", self.begins, (self.begins + 1) % 100)
    }
}

/// Whether a day is the last of its month.
#[must_use]
pub fn is_month_end(day: Day) -> bool {
    Day(day.0.saturating_add(1)).date().day() == 1
}

/// The last day of the month before a day's.
#[must_use]
pub fn month_before(day: Day) -> Day {
    let first = day.date().first_of_month();
    Day(Day::from_date(first).unwrap_or_default().0.saturating_sub(1))
}

/// The last day of the financial year that was over at the end of a day.
#[must_use]
pub fn last_year_end(day: Day) -> Day {
    let date = day.date();
    let of_year = jiff::civil::date(date.year(), 3, 31);
    let last = if date >= of_year { of_year } else { jiff::civil::date(date.year() - 1, 3, 31) };
    // Before the first one of the calendar lies its first day.
    Day::from_date(last).unwrap_or_default()
}

/// First and last day of the month `YYYY-MM`.
#[must_use]
pub fn month(text: &str) -> Option<(Day, Day)> {
    let first = Day::parse(&format!("{text}-01"))?;
    let last = first.date().last_of_month();
    Some((first, Day::from_date(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).expect("a date")
    }

    #[test]
    fn a_year_runs_from_april_to_march() {
        let year = FinancialYear::parse("2026-27").expect("a year");
        assert_eq!((year.first(), year.last()), (day("2026-04-01"), day("2027-03-31")));
        assert_eq!(year.to_string(), "2026-27");
        assert_eq!(FinancialYear::parse("1999-00").map(|year| year.to_string()).as_deref(), Some("1999-00"));
        for wrong in
            ["", "2026", "2026-2027", "2026-28", "2026-26", "1969-70", "2148-49", "26-27", "+026-27", "2026-27 "]
        {
            assert_eq!(FinancialYear::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn months_end_on_their_last_days() {
        assert_eq!(month("2028-02"), Some((day("2028-02-01"), day("2028-02-29"))));
        assert_eq!([month("2028-13"), month("2028"), month("2028-02-01")], [None; 3]);
        for (text, is_end) in [("2027-03-31", true), ("2027-03-30", false), ("2028-02-29", true), ("2028-02-28", false)]
        {
            assert_eq!(is_month_end(day(text)), is_end, "{text}");
        }
        assert_eq!(month_before(day("2027-03-31")), day("2027-02-28"));
        assert_eq!(month_before(day("1970-01-31")), day("1970-01-01"), "the calendar begins there");
        for (text, last) in [
            ("2027-03-31", "2027-03-31"),
            ("2027-03-30", "2026-03-31"),
            ("2027-04-01", "2027-03-31"),
            ("2027-12-31", "2027-03-31"),
            ("1970-02-01", "1970-01-01"),
        ] {
            assert_eq!(last_year_end(day(text)), day(last), "{text}");
        }
    }
}
