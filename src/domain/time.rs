//! Business dates. Instants are [`Moment`](super::ids::Moment); this file is about calendar days.

use jiff::civil::Date;

/// A calendar day as the number of days since 1970-01-01. Covers 1970-01-01 ..= 2149-06-06.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u16);

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

impl Day {
    /// The day of a civil date, or `None` outside the range of the type.
    #[must_use]
    pub fn from_date(date: Date) -> Option<Day> {
        let days = EPOCH.until((jiff::Unit::Day, date)).ok()?.get_days();
        u16::try_from(days).ok().map(Day)
    }

    /// The civil date of this day.
    #[must_use]
    pub fn date(self) -> Date {
        EPOCH
            .checked_add(jiff::Span::new().days(i32::from(self.0)))
            .expect("every u16 of days after 1970 is a date that jiff can hold")
    }

    /// Parses `YYYY-MM-DD`, nothing else. `None` when it is no such date or out of range.
    #[must_use]
    pub fn parse(text: &str) -> Option<Day> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 10
            && bytes.iter().enumerate().all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() });
        if !shaped {
            return None;
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<i16>().ok();
        let month = i8::try_from(number(5..7)?).ok()?;
        let day = i8::try_from(number(8..10)?).ok()?;
        Day::from_date(Date::new(number(0..4)?, month, day).ok()?)
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.date().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_round_trip() {
        for (text, days) in
            [("1970-01-01", 0), ("2026-11-21", 20_778), ("2149-06-06", u16::MAX), ("2024-02-29", 19_782)]
        {
            assert_eq!(Day::parse(text), Some(Day(days)), "{text}");
            assert_eq!(Day(days).to_string(), text);
        }
    }

    #[test]
    fn only_iso_dates_parse() {
        for bad in [
            "",
            "2026-02-30",
            "2026-2-03",
            "2026-13-01",
            "1969-12-31",
            "2149-06-07",
            "2026/01/01",
            "+026-01-01",
            "2026-01-01 ",
            "２０26-01-01",
        ] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }
}
