//! Interest and charges in whole numbers: what is run for a million loans a day takes one division, not a dozen of
//! decimals. To the paisa it is what the decimals give ([`round_to`](crate::domain::lending::rounding::round_to)),
//! or [`Ratio::rounded`] says that it does not know.
//!
//! Why that is so. A figure is a quotient `n / d` of whole numbers, in multiples of what it is rounded to.
//! 1. The decimals multiply exactly while `n` is below 2⁹⁶ ([`NUMERATOR_MAX`]), and their two divisions have 28 digits:
//!    below 10¹³ multiples ([`MULTIPLES_MAX`]) they are wrong by less than 10⁻¹⁴, and not at all where the quotient
//!    ends, as a half and a whole number do.
//! 2. Then they round to twelve decimals, which moves a figure by at most 5·10⁻¹³, and halves and whole numbers not.
//! 3. A quotient that is no half and no whole number is at least `1 / 2d` away from the next one. With `d` up to
//!    5·10¹¹ ([`DENOMINATOR_MAX`]) that is 10⁻¹²: more than 1 and 2 together, so the decimals are on the same side of it.

use rust_decimal::Decimal;

use super::contract::rupees;
use super::instalment::rounded_interest;
use crate::domain::lending::day_count::YearFraction;
use crate::domain::lending::rounding::Mode;
use crate::domain::lending::terms::Terms;

const NUMERATOR_MAX: u128 = (1 << 96) - 1;
const DENOMINATOR_MAX: u64 = 500_000_000_000;
const MULTIPLES_MAX: u64 = 10_000_000_000_000;

/// Scale of a rate up to which its power of ten is at hand.
const SCALE_MAX: u32 = 9;

/// Paise as a quotient, each part of it not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    numerator: u128,
    denominator: u64,
}

impl Ratio {
    /// `amount × pct × times / (100 × parts)`; `None` where numbers are too large or below zero.
    pub(super) fn new(amount: i64, pct: Decimal, times: i64, parts: i64) -> Option<Ratio> {
        let scale = pct.scale();
        if scale > SCALE_MAX {
            return None;
        }
        let pct = u64::try_from(pct.mantissa()).ok()?;
        let factor = u128::from(pct) * u128::from(u64::try_from(times).ok()?);
        let numerator = u128::from(u64::try_from(amount).ok()?).checked_mul(factor)?;
        let denominator = u64::try_from(parts).ok()?.checked_mul(100 * 10_u64.pow(scale))?;
        Some(Ratio { numerator, denominator })
    }

    /// Rounded to a multiple of `unit`, which is a decimal of whole currency units; `None` rounds to the paisa, halves
    /// up. The result is paise; `None` where it might not be what the decimals give.
    pub(super) fn rounded(self, unit: Option<Decimal>, mode: Mode) -> Option<i64> {
        let (unit, mode) = match unit {
            Some(unit) => (paise_of(unit)?, mode),
            None => (1, Mode::HalfUp),
        };
        let denominator = self.denominator.checked_mul(unit)?;
        if denominator == 0 || denominator > DENOMINATOR_MAX || self.numerator > NUMERATOR_MAX {
            return None;
        }
        let (whole, rest) = match u64::try_from(self.numerator) {
            Ok(narrow) => (narrow / denominator, narrow % denominator),
            Err(_) => {
                let whole = u64::try_from(self.numerator / u128::from(denominator)).ok()?;
                (whole, (self.numerator % u128::from(denominator)) as u64)
            }
        };
        if whole > MULTIPLES_MAX {
            return None;
        }
        let is_more = match mode {
            Mode::HalfUp => 2 * rest >= denominator,
            Mode::HalfEven => 2 * rest > denominator || (2 * rest == denominator && whole % 2 == 1),
            Mode::Up => rest > 0,
            Mode::Down => false,
        };
        i64::try_from((whole + u64::from(is_more)).checked_mul(unit)?).ok()
    }
}

/// A positive decimal of whole currency units in paise, where it is a whole number of them.
fn paise_of(unit: Decimal) -> Option<u64> {
    let mantissa = u64::try_from(unit.mantissa()).ok().filter(|mantissa| *mantissa > 0)?;
    match unit.scale() {
        scale @ 0..=2 => mantissa.checked_mul(10_u64.pow(2 - scale)),
        _ => None,
    }
}

/// Interest on a balance for a part of a year, as the terms round it.
pub(super) fn interest(terms: &Terms, balance: i64, annual_rate_pct: Decimal, time: YearFraction) -> i64 {
    let (times, parts) = time.ratio();
    let ratio = Ratio::new(balance, annual_rate_pct, times, parts);
    let rounded = ratio.and_then(|ratio| ratio.rounded(terms.rounding.interest, terms.rounding.mode));
    rounded.unwrap_or_else(|| rounded_interest(terms, time.interest(rupees(balance), annual_rate_pct)))
}

/// The part of an amount for some of its days, as the terms round interest.
pub(super) fn part(terms: &Terms, amount: i64, days: i64, of: i64) -> i64 {
    let ratio = Ratio::new(amount, Decimal::ONE_HUNDRED, days, of);
    let rounded = ratio.and_then(|ratio| ratio.rounded(terms.rounding.interest, terms.rounding.mode));
    rounded.unwrap_or_else(|| rounded_interest(terms, rupees(amount) * Decimal::from(days) / Decimal::from(of)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lending::loan::contract::paise;
    use crate::domain::lending::loan::penal;
    use crate::domain::lending::rounding::{MODES, round_to};
    use crate::domain::lending::terms::Rounding;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn terms(unit: Option<Decimal>, mode: Mode) -> Terms {
        Terms { rounding: Rounding { interest: unit, mode, ..Rounding::default() }, ..Terms::default() }
    }

    /// By decimals alone: what was there before whole numbers were.
    fn by_decimals(terms: &Terms, amount: i64, pct: Decimal, time: YearFraction) -> i64 {
        let exact = time.interest(rupees(amount), pct);
        paise(round_to(exact, terms.rounding.interest, terms.rounding.mode))
    }

    fn mode() -> impl Strategy<Value = Mode> {
        (0..MODES.len()).prop_map(|place| MODES[place].0)
    }

    fn unit() -> impl Strategy<Value = Option<Decimal>> {
        let units = ["0.01", "0.0100", "0.05", "0.1", "0.5", "1", "5", "10", "100", "0.001", "0.03"];
        let units: Vec<Decimal> = units.map(|unit| unit.parse().expect("a decimal")).to_vec();
        prop_oneof![1 => Just(None), 5 => proptest::sample::select(units).prop_map(Some)]
    }

    /// Parts of a year as the day counts have them.
    fn time() -> impl Strategy<Value = (i64, i64)> {
        let parts = vec![1, 2, 4, 12, 26, 52, 360, 365, 365 * 366, 12 * 31, 52 * 7, 365 * 12, 360 * 365];
        (0_i64..4_000, proptest::sample::select(parts))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, rng_seed: RngSeed::Fixed(11), ..ProptestConfig::default() })]

        #[test]
        fn whole_numbers_give_what_decimals_give(
            (amount, shift) in (0_i64..=1_000_000_000_000, 0_u32..40),
            (rate, scale) in (0_i64..=1_000_000, 0_u32..6),
            (times, parts) in time(),
            unit in unit(),
            mode in mode(),
        ) {
            let (amount, pct, terms) = (amount >> shift, Decimal::new(rate, scale), terms(unit, mode));
            let time = YearFraction::new(times, parts);
            prop_assert_eq!(interest(&terms, amount, pct, time), by_decimals(&terms, amount, pct, time));
            let by_days = rupees(amount) * Decimal::from(times) / Decimal::from(parts);
            let by_days = paise(round_to(by_days, terms.rounding.interest, mode));
            prop_assert_eq!(part(&terms, amount, times, parts), by_days);
            let by_month = paise(rupees(amount) * pct * Decimal::from(times) / Decimal::from(3_000));
            prop_assert_eq!(penal::charge(amount, pct, times), by_month);
        }

        /// Halves, whole numbers, and what lies as near to them as the denominator allows.
        #[test]
        fn near_halves_and_whole_numbers_too(
            halves in 0_i64..2_000_000,
            near in -1_i64..=1,
            days in prop_oneof![Just(365_i64), Just(360), Just(12), Just(365 * 366)],
            scale in 0_u32..5,
            unit in unit(),
            mode in mode(),
        ) {
            // amount × rate × 1 / (100 × 10^scale × days) = halves / 2 ± as little as can be.
            let denominator = 100 * 10_i64.pow(scale) * days;
            let numerator = (halves * denominator / 2 + near).max(0);
            let (pct, terms) = (Decimal::new(1, scale), terms(unit, mode));
            let time = YearFraction::new(1, days);
            prop_assert_eq!(interest(&terms, numerator, pct, time), by_decimals(&terms, numerator, pct, time));
        }
    }

    #[test]
    fn what_cannot_be_told_is_left_to_the_decimals() {
        let paisa = Some(Decimal::new(1, 2));
        let told = |amount, pct, parts, unit| {
            Ratio::new(amount, pct, 1, parts).and_then(|ratio: Ratio| ratio.rounded(unit, Mode::HalfUp))
        };
        let pct = Decimal::new(1_250, 2);
        assert_eq!(told(36_500, pct, 365, paisa), Some(13), "12.5 is a half");
        assert_eq!(told(-1, pct, 365, paisa), None, "less than nothing");
        assert_eq!(told(1, -pct, 365, paisa), None, "a rate below zero");
        assert_eq!(told(1, Decimal::new(1, 10), 365, paisa), None, "a rate of ten decimals");
        assert_eq!(told(1, Decimal::new(1, 8), 365, paisa), None, "a denominator that is too large");
        assert_eq!(told(1, pct, 365, Some(Decimal::new(1, 3))), None, "parts of a paisa");
        assert_eq!(told(i64::MAX, Decimal::from(10_000), 1, paisa), None, "too large a figure");
    }
}
