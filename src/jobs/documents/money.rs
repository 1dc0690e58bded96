//! Amounts as people in India read them: lakhs and crores, 12,34,567.00.

use crate::domain::money::{Currency, format_minor};

/// An amount of minor units with its digits in groups: of the last three, and of two before them, in rupees; of
/// three in all other currencies. A minus sign stands before it.
#[must_use]
pub fn grouped(minor: i128, currency: Currency) -> String {
    let text = format_minor(minor, currency);
    let (sign, rest) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    let beyond = if currency == Currency::INR { 2 } else { 3 };
    let mut out = String::with_capacity(text.len() + 8);
    out.push_str(sign);
    for (place, digit) in whole.bytes().enumerate() {
        let after = whole.len() - place;
        if place > 0 && (after == 3 || (after > 3 && (after - 3).is_multiple_of(beyond))) {
            out.push(',');
        }
        out.push(char::from(digit));
    }
    out.push_str(fraction);
    out
}

/// As [`grouped`], with the sign or code of the currency before it.
#[must_use]
pub fn amount(minor: i128, currency: Currency) -> String {
    let text = grouped(minor, currency);
    let (sign, rest) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    if currency == Currency::INR { format!("{sign}₹{rest}") } else { format!("{} {text}", currency.code()) }
}

/// The head of a column of amounts.
#[must_use]
pub fn titled(title: &str, currency: Currency) -> String {
    let sign = if currency == Currency::INR { "₹" } else { currency.code() };
    format!("{title} ({sign})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_indian_groups() {
        for (minor, expected) in [
            (0, "0.00"),
            (5, "0.05"),
            (99_999, "999.99"),
            (100_000, "1,000.00"),
            (123_456_700, "12,34,567.00"),
            (-10_000_000, "-1,00,000.00"),
            (1_000_000_000, "1,00,00,000.00"),
            (i128::from(i64::MAX), "92,23,37,20,36,85,47,758.07"),
        ] {
            assert_eq!(grouped(minor, Currency::INR), expected);
        }
        assert_eq!(amount(-123_456_700, Currency::INR), "-₹12,34,567.00");
    }

    #[test]
    fn other_currencies_have_their_own_groups() {
        let of = |code: &str| Currency::from_code(code).expect("a currency");
        assert_eq!(grouped(123_456_789, of("USD")), "1,234,567.89");
        assert_eq!(grouped(1_234_567, of("JPY")), "1,234,567");
        assert_eq!(grouped(1_234_567, of("KWD")), "1,234.567");
        assert_eq!(amount(-150, of("USD")), "USD -1.50");
        assert_eq!(
            (titled("Balance", Currency::INR), titled("Balance", of("USD"))),
            ("Balance (₹)".into(), "Balance (USD)".into())
        );
    }
}
