//! Rounding, by name.

use rust_decimal::{Decimal, RoundingStrategy};

/// Decimals beyond which a difference is noise of the computation, not of the money.
const NOISE_DECIMALS: u32 = 12;

/// Which way what lies between two multiples goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// To the nearer one; a half goes up.
    #[default]
    HalfUp,
    /// To the nearer one; a half goes to the even one.
    HalfEven,
    /// Up.
    Up,
    /// Down.
    Down,
}

/// Names of the modes, as the API has them.
pub const MODES: [(Mode, &str); 4] =
    [(Mode::HalfUp, "half_up"), (Mode::HalfEven, "half_even"), (Mode::Up, "up"), (Mode::Down, "down")];

/// Rounds to a multiple of `unit`; `None` leaves the value as it is. `unit` is positive.
#[must_use]
pub fn round_to(value: Decimal, unit: Option<Decimal>, mode: Mode) -> Decimal {
    let Some(unit) = unit else { return value };
    let strategy = match mode {
        Mode::HalfUp => RoundingStrategy::MidpointAwayFromZero,
        Mode::HalfEven => RoundingStrategy::MidpointNearestEven,
        Mode::Up => RoundingStrategy::AwayFromZero,
        Mode::Down => RoundingStrategy::ToZero,
    };
    // Without this, 15,052 computed as 15,052 + 10⁻²⁴ would be rounded up to 15,053.
    let multiples = (value / unit).round_dp(NOISE_DECIMALS);
    multiples.round_dp_with_strategy(0, strategy) * unit
}

/// To the paisa, halves up: how money is posted.
#[must_use]
pub fn to_paise(value: Decimal) -> Decimal {
    round_to(value, Some(Decimal::new(1, 2)), Mode::HalfUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_does_what_its_name_says() {
        let cases = [
            // value, unit, half_up, half_even, up, down
            ("969.725", "0.01", "969.73", "969.72", "969.73", "969.72"),
            ("969.7251", "0.01", "969.73", "969.73", "969.73", "969.72"),
            ("304.91", "1", "305", "305", "305", "304"),
            ("302.5", "1", "303", "302", "303", "302"),
            ("15", "10", "20", "20", "20", "10"),
            ("25", "10", "30", "20", "30", "20"),
            ("20", "10", "20", "20", "20", "20"),
            ("15052.000000000000000000001", "1", "15052", "15052", "15052", "15052"),
            ("0.1249999999999999999999", "0.01", "0.13", "0.12", "0.13", "0.12"),
        ];
        for (value, unit, half_up, half_even, up, down) in cases {
            let decimal = |text: &str| text.parse::<Decimal>().expect("a decimal");
            for (expected, mode) in
                [(half_up, Mode::HalfUp), (half_even, Mode::HalfEven), (up, Mode::Up), (down, Mode::Down)]
            {
                let rounded = round_to(decimal(value), Some(decimal(unit)), mode);
                assert_eq!(rounded, decimal(expected), "{value} to {unit}, {mode:?}");
            }
            assert_eq!(round_to(decimal(value), None, Mode::Up), decimal(value));
        }
    }
}
