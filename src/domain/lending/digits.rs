//! A decimal as its digits, for those who write it as bytes.
//!
//! Promise: what [`Digits::decimal`] gives has the digits, the scale and the sign that [`Digits::of`] was given, bit
//! for bit: 12.50 stays 12.50.

/// The type of rates and exact amounts, for folders that carry them and work nothing out.
pub use rust_decimal::Decimal;

/// Bits of [`Digits::head`] that hold the scale.
const SCALE: u8 = 0x1F;

/// The bit of a negative number.
const NEGATIVE: u8 = 0x20;

/// Bits that [`Digits::head`] never sets: a format may use them.
pub const HEAD_FREE: u8 = 0xC0;

/// A decimal, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits {
    /// Scale, 0 to 28, and sign.
    pub head: u8,
    /// All digits as a number of 96 bits.
    pub mantissa: u128,
}

impl Digits {
    /// Of a decimal.
    #[must_use]
    pub fn of(decimal: Decimal) -> Digits {
        let parts = decimal.unpack();
        let mantissa = u128::from(parts.hi) << 64 | u128::from(parts.mid) << 32 | u128::from(parts.lo);
        Digits { head: parts.scale as u8 | if parts.negative { NEGATIVE } else { 0 }, mantissa }
    }

    /// The decimal; `None` where these are the digits of none.
    #[must_use]
    pub fn decimal(self) -> Option<Decimal> {
        let scale = u32::from(self.head & SCALE);
        if self.head & HEAD_FREE != 0 || scale > Decimal::MAX_SCALE || self.mantissa >> 96 != 0 {
            return None;
        }
        let sign = u32::from(self.head & NEGATIVE) << 26;
        // `from_parts` would take the sign from a zero.
        let low = u128::from(scale << 16 | sign);
        Some(Decimal::deserialize((self.mantissa << 32 | low).to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back_bit_for_bit() {
        let negative_zero = Digits { head: NEGATIVE | 2, mantissa: 0 }.decimal().expect("a zero");
        let mut decimals =
            vec![Decimal::MAX, Decimal::MIN, negative_zero, Decimal::new(1_250, 2), Decimal::new(-5, 28)];
        decimals.extend((0..=28).map(|scale| Decimal::new(i64::MAX, scale)));
        for decimal in decimals {
            let again = Digits::of(decimal).decimal().expect("the same");
            assert_eq!(again.serialize(), decimal.serialize(), "{decimal}");
        }
        assert_eq!(Digits { head: 29, mantissa: 1 }.decimal(), None);
        assert_eq!(Digits { head: 0x40, mantissa: 1 }.decimal(), None);
        assert_eq!(Digits { head: 0, mantissa: 1 << 96 }.decimal(), None);
    }
}
