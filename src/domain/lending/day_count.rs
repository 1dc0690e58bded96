//! Day counts: which part of a year lies between two dates.

use rust_decimal::Decimal;

use super::civil::{Civil, day_of};
use crate::domain::time::Day;

/// A convention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DayCount {
    /// A whole period is its share of a year (a month 1/12); parts by the rule for broken periods.
    #[default]
    Thirty360,
    /// Days over 365, in leap years too.
    Act365,
    /// Days over 360.
    Act360,
    /// ISDA: days in leap years over 366, other days over 365.
    ActAct,
}

/// Names of the conventions, as the API has them.
pub const DAY_COUNTS: [(DayCount, &str); 4] = [
    (DayCount::Thirty360, "30/360"),
    (DayCount::Act365, "act/365"),
    (DayCount::Act360, "act/360"),
    (DayCount::ActAct, "act/act"),
];

/// A part of a year, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YearFraction {
    numerator: i64,
    denominator: i64,
}

impl YearFraction {
    /// Nothing.
    pub const ZERO: YearFraction = YearFraction { numerator: 0, denominator: 1 };

    /// `numerator / denominator`; the denominator is positive.
    #[must_use]
    pub fn new(numerator: i64, denominator: i64) -> YearFraction {
        debug_assert!(denominator > 0, "parts of a year have a positive denominator");
        YearFraction { numerator, denominator }
    }

    /// The sum of two. Denominators are small numbers of days (at most 366 × 365 × 12 × 31), so nothing overflows.
    #[must_use]
    pub fn plus(self, other: YearFraction) -> YearFraction {
        if self.denominator == other.denominator {
            return YearFraction { numerator: self.numerator + other.numerator, ..self };
        }
        let divisor = greatest_common_divisor(self.denominator, other.denominator);
        let (ours, theirs) = (other.denominator / divisor, self.denominator / divisor);
        YearFraction {
            numerator: self.numerator * ours + other.numerator * theirs,
            denominator: self.denominator * ours,
        }
    }

    /// Numerator and denominator.
    #[must_use]
    pub fn ratio(self) -> (i64, i64) {
        (self.numerator, self.denominator)
    }

    /// Whether it is more than another one.
    #[must_use]
    pub fn exceeds(self, other: YearFraction) -> bool {
        let product = |a: i64, b: i64| i128::from(a) * i128::from(b);
        product(self.numerator, other.denominator) > product(other.numerator, self.denominator)
    }

    /// As a decimal of 28 digits.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        Decimal::from(self.numerator) / Decimal::from(self.denominator)
    }

    /// Simple interest at a rate in per cent a year. Divides once, at the end, so that a figure that is exact
    /// in decimals comes out exact.
    #[must_use]
    pub fn interest(self, balance: Decimal, annual_rate_pct: Decimal) -> Decimal {
        balance * annual_rate_pct * Decimal::from(self.numerator) / Decimal::from(self.denominator * 100)
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl DayCount {
    /// The part of a year from one date to a later one, by days alone: whole periods of 30/360 are for the schedule.
    #[must_use]
    pub fn between(self, from: Day, to: Day) -> YearFraction {
        let days = actual_days(from, to);
        match self {
            DayCount::Thirty360 => YearFraction::new(days_30_360(from, to), 360),
            DayCount::Act365 => YearFraction::new(days, 365),
            DayCount::Act360 => YearFraction::new(days, 360),
            DayCount::ActAct => {
                let leap = leap_days(from, to);
                YearFraction::new(leap * 365 + (days - leap) * 366, 365 * 366)
            }
        }
    }
}

/// Calendar days from one date to another.
#[must_use]
pub fn actual_days(from: Day, to: Day) -> i64 {
    i64::from(to.0) - i64::from(from.0)
}

/// Days that lie in leap years.
fn leap_days(from: Day, to: Day) -> i64 {
    let mut leap = 0;
    let mut start = from;
    while start < to {
        let date = Civil::of(start);
        let end = day_of(date.year + 1, 1, 1).map_or(to, |next| next.min(to));
        if date.in_leap_year() {
            leap += actual_days(start, end);
        }
        start = end;
    }
    leap
}

/// Days from one date to another where every month has 30: the 30/360 bond basis of ISDA 2006 §4.16(f).
/// A first date on a 31st becomes the 30th; a second one does if the first was the 30th or later.
#[must_use]
pub fn days_30_360(from: Day, to: Day) -> i64 {
    let (from, to) = (Civil::of(from), Civil::of(to));
    let first = from.day.min(30);
    let second = if to.day == 31 && first == 30 { 30 } else { to.day };
    360 * (to.year - from.year) + 30 * (to.month - from.month) + second - first
}
