//! Parameters of the regulator, by the day from which they hold. A decision looks its row up by its own date.

use super::loan::state::{Class, LoanState};
use crate::domain::time::Day;

/// What may move in cash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CashLimits {
    /// From this on nothing is paid out in cash, paise.
    pub disbursal: i64,
    /// From this on nothing is received in cash from one person in a day, paise.
    pub receipts: i64,
    /// More than this is received in cash from one person in a day only if that person's PAN is known, paise.
    pub receipts_without_pan: i64,
}

/// Sections 269SS and 269ST of the Income-tax Act, 1961, from 2017-04-01; from 2026-04-01 sections 185 and 186 of that
/// of 2025, with the same limits. Rule 114B of the Income-tax Rules, 1962, and the rules of 2026 after it: a PAN for more
/// than 50,000 in cash in a day.
const CASH_LIMITS: [(Day, CashLimits); 1] =
    [(Day(0), CashLimits { disbursal: 2_000_000, receipts: 20_000_000, receipts_without_pan: 5_000_000 })];

/// What has to be held against losses, hundredths of a per cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvisionRates {
    /// Of standard assets.
    pub standard: i64,
    /// Of sub-standard assets.
    pub sub_standard: i64,
    /// Of what is unsecured of doubtful assets.
    pub doubtful_unsecured: i64,
    /// Of what is secured of them: in the first year, up to the third, after that.
    pub doubtful_secured: [i64; 3],
    /// Months for which a non-performing asset is sub-standard.
    pub sub_standard_months: u16,
}

/// RBI (NBFC) Directions: base layer; 0.25 % of standard assets, sub-standard for 18 months.
const PROVISION_RATES: [(Day, ProvisionRates); 1] = [(
    Day(0),
    ProvisionRates {
        standard: 25,
        sub_standard: 1_000,
        doubtful_unsecured: 10_000,
        doubtful_secured: [2_000, 3_000, 5_000],
        sub_standard_months: 18,
    },
)];

fn row<T: Copy>(rows: &[(Day, T)], day: Day) -> T {
    let after = rows.partition_point(|(from, _)| *from <= day);
    rows[after.saturating_sub(1)].1
}

/// What may move in cash on a day.
#[must_use]
pub fn cash_limits(day: Day) -> CashLimits {
    row(&CASH_LIMITS, day)
}

/// What has to be held against the loss of a loan at the end of a day, paise, halves up. Security is taken to cover
/// all of a secured loan.
#[must_use]
pub fn provision(state: &LoanState, is_secured: bool, day: Day) -> i64 {
    let rates = row(&PROVISION_RATES, day);
    let since = [state.npa_since, state.borrower_npa_since].into_iter().flatten().min();
    let rate = match since.filter(|_| state.class == Class::Npa) {
        None => rates.standard,
        Some(since) => {
            let months = months_between(since, day);
            let doubtful = months.checked_sub(rates.sub_standard_months);
            match doubtful {
                None | Some(0) => rates.sub_standard,
                Some(_) if !is_secured => rates.doubtful_unsecured,
                Some(..=12) => rates.doubtful_secured[0],
                Some(..=36) => rates.doubtful_secured[1],
                Some(_) => rates.doubtful_secured[2],
            }
        }
    };
    let product = i128::from(state.outstanding) * i128::from(rate);
    i64::try_from((product + 5_000) / 10_000).expect("a part of a loan is less than it")
}

/// Months that have begun between two days.
fn months_between(from: Day, to: Day) -> u16 {
    let (from, to) = (from.date(), to.date());
    let months = (i32::from(to.year()) - i32::from(from.year())) * 12 + i32::from(to.month()) - i32::from(from.month());
    let begun = months + i32::from(to.day() > from.day());
    u16::try_from(begun).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).expect("a date")
    }

    #[test]
    fn provisions_follow_class_age_and_security() {
        let mut state = LoanState { outstanding: 1_000_000, ..LoanState::default() };
        assert_eq!(provision(&state, false, day("2026-01-31")), 2_500);
        state.class = Class::Npa;
        state.npa_since = Some(day("2026-01-31"));
        for (on, secured, percent) in [
            ("2026-01-31", false, 10),
            ("2027-07-31", false, 10),
            ("2027-08-01", false, 100),
            ("2027-08-01", true, 20),
            ("2028-07-31", true, 20),
            ("2028-08-01", true, 30),
            ("2030-07-31", true, 30),
            ("2030-08-01", true, 50),
        ] {
            assert_eq!(provision(&state, secured, day(on)), percent * 10_000, "{on} {secured}");
        }
    }
}
