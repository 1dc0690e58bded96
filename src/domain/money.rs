//! Money: checked integer minor units, ISO 4217 exponents, decimal text in and out without loss.
//!
//! An amount comes in as text and is kept as digits and scale ([`Decimal`]) until the account's
//! currency is known; only then it becomes minor units. Nothing is ever rounded here.

/// Amount in minor units (paise). One amount is at most [`AMOUNT_MAX`].
pub type Minor = u64;

/// The greatest single amount: 2^63−1 minor units, so that it fits every signed 64-bit column downstream.
pub const AMOUNT_MAX: Minor = i64::MAX as u64;

/// An ISO 4217 currency: a place in [`CURRENCIES`]. The place is stored on disk: append, never reorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(pub u8);

/// Code and exponent of every active ISO 4217 currency with minor units defined (list of 2024-06-25).
pub const CURRENCIES: &[(&str, u8)] = &[
    ("INR", 2),
    ("AED", 2),
    ("AFN", 2),
    ("ALL", 2),
    ("AMD", 2),
    ("ANG", 2),
    ("AOA", 2),
    ("ARS", 2),
    ("AUD", 2),
    ("AWG", 2),
    ("AZN", 2),
    ("BAM", 2),
    ("BBD", 2),
    ("BDT", 2),
    ("BGN", 2),
    ("BHD", 3),
    ("BIF", 0),
    ("BMD", 2),
    ("BND", 2),
    ("BOB", 2),
    ("BOV", 2),
    ("BRL", 2),
    ("BSD", 2),
    ("BTN", 2),
    ("BWP", 2),
    ("BYN", 2),
    ("BZD", 2),
    ("CAD", 2),
    ("CDF", 2),
    ("CHE", 2),
    ("CHF", 2),
    ("CHW", 2),
    ("CLF", 4),
    ("CLP", 0),
    ("CNY", 2),
    ("COP", 2),
    ("COU", 2),
    ("CRC", 2),
    ("CUP", 2),
    ("CVE", 2),
    ("CZK", 2),
    ("DJF", 0),
    ("DKK", 2),
    ("DOP", 2),
    ("DZD", 2),
    ("EGP", 2),
    ("ERN", 2),
    ("ETB", 2),
    ("EUR", 2),
    ("FJD", 2),
    ("FKP", 2),
    ("GBP", 2),
    ("GEL", 2),
    ("GHS", 2),
    ("GIP", 2),
    ("GMD", 2),
    ("GNF", 0),
    ("GTQ", 2),
    ("GYD", 2),
    ("HKD", 2),
    ("HNL", 2),
    ("HTG", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("IQD", 3),
    ("IRR", 2),
    ("ISK", 0),
    ("JMD", 2),
    ("JOD", 3),
    ("JPY", 0),
    ("KES", 2),
    ("KGS", 2),
    ("KHR", 2),
    ("KMF", 0),
    ("KPW", 2),
    ("KRW", 0),
    ("KWD", 3),
    ("KYD", 2),
    ("KZT", 2),
    ("LAK", 2),
    ("LBP", 2),
    ("LKR", 2),
    ("LRD", 2),
    ("LSL", 2),
    ("LYD", 3),
    ("MAD", 2),
    ("MDL", 2),
    ("MGA", 2),
    ("MKD", 2),
    ("MMK", 2),
    ("MNT", 2),
    ("MOP", 2),
    ("MRU", 2),
    ("MUR", 2),
    ("MVR", 2),
    ("MWK", 2),
    ("MXN", 2),
    ("MXV", 2),
    ("MYR", 2),
    ("MZN", 2),
    ("NAD", 2),
    ("NGN", 2),
    ("NIO", 2),
    ("NOK", 2),
    ("NPR", 2),
    ("NZD", 2),
    ("OMR", 3),
    ("PAB", 2),
    ("PEN", 2),
    ("PGK", 2),
    ("PHP", 2),
    ("PKR", 2),
    ("PLN", 2),
    ("PYG", 0),
    ("QAR", 2),
    ("RON", 2),
    ("RSD", 2),
    ("RUB", 2),
    ("RWF", 0),
    ("SAR", 2),
    ("SBD", 2),
    ("SCR", 2),
    ("SDG", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("SHP", 2),
    ("SLE", 2),
    ("SOS", 2),
    ("SRD", 2),
    ("SSP", 2),
    ("STN", 2),
    ("SVC", 2),
    ("SYP", 2),
    ("SZL", 2),
    ("THB", 2),
    ("TJS", 2),
    ("TMT", 2),
    ("TND", 3),
    ("TOP", 2),
    ("TRY", 2),
    ("TTD", 2),
    ("TWD", 2),
    ("TZS", 2),
    ("UAH", 2),
    ("UGX", 0),
    ("USD", 2),
    ("USN", 2),
    ("UYI", 0),
    ("UYU", 2),
    ("UYW", 4),
    ("UZS", 2),
    ("VED", 2),
    ("VES", 2),
    ("VND", 0),
    ("VUV", 0),
    ("WST", 2),
    ("XAF", 0),
    ("XCD", 2),
    ("XOF", 0),
    ("XPF", 0),
    ("YER", 2),
    ("ZAR", 2),
    ("ZMW", 2),
    ("ZWG", 2),
];

impl Currency {
    /// The Indian rupee, the books' home currency.
    pub const INR: Currency = Currency(0);

    /// Looks an ISO code up; upper case only, as the standard spells it.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Currency> {
        let place = CURRENCIES.iter().position(|(name, _)| *name == code)?;
        u8::try_from(place).ok().map(Currency)
    }

    /// A currency read from disk, or `None` when this version does not know its place.
    #[must_use]
    pub fn from_place(place: u8) -> Option<Currency> {
        (usize::from(place) < CURRENCIES.len()).then_some(Currency(place))
    }

    /// The ISO 4217 code.
    #[must_use]
    pub fn code(self) -> &'static str {
        CURRENCIES[usize::from(self.0)].0
    }

    /// Decimals of the minor unit: INR 2, JPY 0, KWD 3.
    #[must_use]
    pub fn exponent(self) -> u8 {
        CURRENCIES[usize::from(self.0)].1
    }
}

/// A decimal as its sender wrote it: `digits / 10^scale`, before the currency is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// All digits as one number, at most [`AMOUNT_MAX`].
    pub digits: u64,
    /// Digits after the point, trailing zeros included.
    pub scale: u8,
}

/// Why a decimal did not become minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleError {
    /// More decimals than the currency has.
    TooFine,
    /// More than 2^63−1 minor units.
    TooLarge,
}

impl Decimal {
    /// Parses `123` or `123.45`: digits, at most one point with digits on both sides, no sign, no
    /// exponent, no spaces, no leading zero but a single one, at most 19 digits of value.
    /// `None` for anything else or for more than 2^63−1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Decimal> {
        let bytes = text.as_bytes();
        // 19 digits of value, a point, and no more than nine zeros of padding after it.
        if bytes.is_empty() || bytes.len() > 30 {
            return None;
        }
        let mut digits: u64 = 0;
        let mut point = None;
        for (i, byte) in bytes.iter().enumerate() {
            match byte {
                b'0'..=b'9' => digits = digits.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
                b'.' if point.is_none() && i > 0 && i + 1 < bytes.len() => point = Some(i),
                _ => return None,
            }
        }
        let whole = point.unwrap_or(bytes.len());
        let zero_led = bytes[0] == b'0' && whole > 1;
        if zero_led || digits > AMOUNT_MAX {
            return None;
        }
        let scale = u8::try_from(point.map_or(0, |p| bytes.len() - p - 1)).ok()?;
        Some(Decimal { digits, scale })
    }

    /// Minor units in a currency, never rounded.
    ///
    /// # Errors
    /// [`ScaleError::TooFine`] for more decimals than the currency has, trailing zeros counted;
    /// [`ScaleError::TooLarge`] beyond [`AMOUNT_MAX`].
    pub fn minor(self, currency: Currency) -> Result<Minor, ScaleError> {
        let exponent = currency.exponent();
        if self.scale > exponent {
            return Err(ScaleError::TooFine);
        }
        let factor = 10u64.pow(u32::from(exponent - self.scale));
        let minor = self.digits.checked_mul(factor).ok_or(ScaleError::TooLarge)?;
        if minor > AMOUNT_MAX { Err(ScaleError::TooLarge) } else { Ok(minor) }
    }
}

/// Appends minor units as a decimal with the currency's full number of decimals, e.g. `-12.34`.
pub fn write_minor(out: &mut Vec<u8>, minor: i128, currency: Currency) {
    let mut buffer = [0u8; 48];
    let mut at = buffer.len();
    let mut rest = minor.unsigned_abs();
    let exponent = usize::from(currency.exponent());
    let mut written = 0;
    while rest > 0 || written <= exponent {
        if written == exponent && exponent > 0 {
            at -= 1;
            buffer[at] = b'.';
        }
        at -= 1;
        // Amounts nearly always fit 64 bits, where division is ten times cheaper than in 128.
        if let Ok(small) = u64::try_from(rest) {
            buffer[at] = b'0' + (small % 10) as u8;
            rest = u128::from(small / 10);
        } else {
            buffer[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        written += 1;
    }
    if minor < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    out.extend_from_slice(&buffer[at..]);
}

/// Minor units as a new decimal string.
#[must_use]
pub fn format_minor(minor: i128, currency: Currency) -> String {
    let mut out = Vec::with_capacity(24);
    write_minor(&mut out, minor, currency);
    String::from_utf8(out).expect("digits, a point and a minus sign are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).expect("a test names known currencies")
    }

    #[test]
    fn decimals_become_minor_units_exactly_or_not_at_all() {
        let table: &[(&str, &str, Option<Result<u64, ScaleError>>)] = &[
            ("1250.50", "INR", Some(Ok(125_050))),
            ("1250.5", "INR", Some(Ok(125_050))),
            ("1250", "INR", Some(Ok(125_000))),
            ("0.01", "INR", Some(Ok(1))),
            ("0", "INR", Some(Ok(0))),
            ("0.00", "INR", Some(Ok(0))),
            ("0.001", "INR", Some(Err(ScaleError::TooFine))),
            ("1.000", "INR", Some(Err(ScaleError::TooFine))),
            ("1.000", "KWD", Some(Ok(1_000))),
            ("7", "JPY", Some(Ok(7))),
            ("7.0", "JPY", Some(Err(ScaleError::TooFine))),
            ("92233720368547758.07", "INR", Some(Ok(AMOUNT_MAX))),
            ("92233720368547758.08", "INR", None),
            ("9223372036854775807", "JPY", Some(Ok(AMOUNT_MAX))),
            ("9223372036854775807", "INR", Some(Err(ScaleError::TooLarge))),
            ("99999999999999999999", "INR", None),
            ("-1", "INR", None),
            ("+1", "INR", None),
            ("1e3", "INR", None),
            (" 1", "INR", None),
            ("1.", "INR", None),
            (".5", "INR", None),
            ("1.2.3", "INR", None),
            ("01", "INR", None),
            ("00.5", "INR", None),
            ("", "INR", None),
            ("١", "INR", None),
            ("1,000", "INR", None),
            ("0x1", "INR", None),
            ("NaN", "INR", None),
        ];
        for (text, code, expected) in table {
            let got = Decimal::parse(text).map(|d| d.minor(currency(code)));
            assert_eq!(got, *expected, "{text} {code}");
        }
    }

    #[test]
    fn minor_units_are_written_with_all_decimals() {
        let table: &[(i128, &str, &str)] = &[
            (0, "INR", "0.00"),
            (1, "INR", "0.01"),
            (-1, "INR", "-0.01"),
            (123_456, "INR", "1234.56"),
            (100, "INR", "1.00"),
            (0, "JPY", "0"),
            (-70, "JPY", "-70"),
            (5, "KWD", "0.005"),
            (12_345, "CLF", "1.2345"),
            (i128::from(u64::MAX) * 3, "INR", "553402322211286548.45"),
        ];
        for (minor, code, expected) in table {
            assert_eq!(format_minor(*minor, currency(code)), *expected);
        }
    }

    #[test]
    fn currency_codes_are_unique() {
        for (place, (code, _)) in CURRENCIES.iter().enumerate() {
            assert_eq!(currency(code), Currency(place as u8), "{code}");
        }
        assert_eq!(Currency::from_code("inr"), None);
        assert_eq!(Currency::from_place(250), None);
    }
}
