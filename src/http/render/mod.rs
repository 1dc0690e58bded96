//! Answers as JSON bytes, written by hand.
//!
//! Promise: view → bytes is a pure function, so that a replay gives the same bytes as the first
//! answer; the writers append to one buffer and cannot fail.

mod account;
mod api_key;
mod books;
mod business_day;
mod customer;
mod event;
pub(super) mod loan;
pub(super) mod loan_event;
pub(super) mod loan_view;
pub(super) mod product;
mod transfer;

pub use account::{account, account_page, accounts_batch, past_account};
pub use api_key::{api_key, api_key_at, api_key_page};
pub use books::{periods, statement, statement_csv, status, trial_balance, trial_balance_csv};
pub use business_day::{business_day, day_end};
pub use customer::{ShownCustomer, ShownSecrets, customer, customer_page};
pub use event::{event_page, write_event, write_sequence};
pub use loan::loan_calculation;
pub use loan_event::{loan_event, loan_event_page};
pub use loan_view::{loan, loan_page};
pub use product::{product, product_page};
pub use transfer::{transfer, transfer_page, transfers_batch, voucher};

use crate::domain::entry::Metadata;
use crate::domain::ids::{IdKind, Moment, write_id};
use crate::domain::money::{Currency, format_minor, write_minor};
use crate::domain::reject::Reject;
use crate::domain::time::Day;

use super::problem::reject_detail;

/// Paise as rupees.
#[must_use]
pub fn rupees_text(paise: i64) -> String {
    format_minor(i128::from(paise), Currency::INR)
}

/// An object of strings, in the order of the pairs.
pub(super) struct Pairs<'a>(pub(super) &'a Metadata);

impl serde::Serialize for Pairs<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Appends a JSON string.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut clean_from = 0;
    for (place, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[clean_from..place]);
        clean_from = place + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[clean_from..]);
    out.push(b'"');
}

/// Appends a JSON string, or `null`.
pub fn write_text_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_text(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a whole number.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `"…"` around an id.
fn write_quoted_id(out: &mut Vec<u8>, kind: IdKind, number: u64) {
    out.push(b'"');
    write_id(out, kind, number);
    out.push(b'"');
}

/// Appends an account's id in quotes. The public number is one more than the internal one.
fn write_account_id(out: &mut Vec<u8>, number: u64) {
    write_quoted_id(out, IdKind::Account, number + 1);
}

/// Appends an amount in quotes.
fn write_amount(out: &mut Vec<u8>, minor: i128, currency: Currency) {
    out.push(b'"');
    write_minor(out, minor, currency);
    out.push(b'"');
}

/// Appends `YYYY-MM-DD`.
pub fn write_day(out: &mut Vec<u8>, day: Day) {
    let (year, month, day) = civil(i64::from(day.0));
    write_digits::<4>(out, year);
    out.push(b'-');
    write_digits::<2>(out, month);
    out.push(b'-');
    write_digits::<2>(out, day);
}

/// Appends a day in quotes, or `null`.
fn write_day_or_null(out: &mut Vec<u8>, day: Option<Day>) {
    match day {
        Some(day) => {
            out.push(b'"');
            write_day(out, day);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// An instant as text: RFC 3339, UTC, microseconds.
#[must_use]
pub fn moment_text(moment: Moment) -> String {
    let mut out = Vec::with_capacity(27);
    write_moment(&mut out, moment);
    String::from_utf8(out).expect("digits and marks are ASCII")
}

/// Appends an instant as RFC 3339 in UTC with microseconds. Years 0 to 9999; others are held at the ends.
pub fn write_moment(out: &mut Vec<u8>, moment: Moment) {
    const DAY_US: i64 = 86_400_000_000;
    // 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: RFC 3339 has four digits for a year.
    let us = moment.0.clamp(-62_167_219_200_000_000, 253_402_300_799_999_999);
    let (year, month, day) = civil(us.div_euclid(DAY_US));
    let rest = us.rem_euclid(DAY_US);
    write_digits::<4>(out, year);
    out.push(b'-');
    write_digits::<2>(out, month);
    out.push(b'-');
    write_digits::<2>(out, day);
    out.push(b'T');
    write_digits::<2>(out, rest / 3_600_000_000);
    out.push(b':');
    write_digits::<2>(out, rest / 60_000_000 % 60);
    out.push(b':');
    write_digits::<2>(out, rest / 1_000_000 % 60);
    out.push(b'.');
    write_digits::<6>(out, rest % 1_000_000);
    out.push(b'Z');
}

/// Appends an instant in quotes.
pub fn write_quoted_moment(out: &mut Vec<u8>, moment: Moment) {
    out.push(b'"');
    write_moment(out, moment);
    out.push(b'"');
}

fn write_digits<const N: usize>(out: &mut Vec<u8>, number: i64) {
    let mut digits = [b'0'; N];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Year, month and day of a number of days since 1970-01-01, by counting from a 1 March, so that the
/// leap day is the last of its year. A calendar library's type costs ten times as much per instant.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends metadata as an object.
fn write_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    out.push(b'{');
    for (place, (key, value)) in metadata.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_text(out, key);
        out.push(b':');
        write_text(out, value);
    }
    out.push(b'}');
}

/// Appends a refused item of a batch.
fn write_rejected(out: &mut Vec<u8>, index: u32, reject: Reject) {
    out.extend_from_slice(b"{\"index\":");
    write_number(out, u64::from(index));
    out.extend_from_slice(b",\"code\":\"");
    out.extend_from_slice(reject.code.name().as_bytes());
    out.extend_from_slice(b"\",\"detail\":");
    write_text(out, &reject_detail(reject));
    out.push(b'}');
}

/// Appends `[…]` of rows.
fn write_list<T>(out: &mut Vec<u8>, rows: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (place, row) in rows.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, row);
    }
    out.push(b']');
}

/// Appends the head of a list object: everything before `data`.
fn write_list_head(out: &mut Vec<u8>, url: &str, has_more: bool) {
    out.extend_from_slice(b"{\"object\":\"list\",\"url\":");
    write_text(out, url);
    out.extend_from_slice(b",\"has_more\":");
    write_bool(out, has_more);
    out.extend_from_slice(b",\"data\":");
}

fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a CSV cell. A cell that a spreadsheet would take for a formula gets a leading quote.
pub(super) fn write_cell(out: &mut Vec<u8>, text: &str) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let needs_quotes = is_formula || text.contains(['"', ',', '\n', '\r']);
    if !needs_quotes {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    if is_formula {
        out.push(b'\'');
    }
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn instants_are_rfc_3339_in_utc() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_795_235_690_123_456, "2026-11-21T04:34:50.123456Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(written(|out| write_moment(out, Moment(us))), text);
        }
    }

    #[test]
    fn every_day_is_the_calendars_day() {
        for day in 0..=u16::MAX {
            assert_eq!(written(|out| write_day(out, Day(day))), Day(day).to_string());
        }
    }

    #[test]
    fn cells_that_look_like_formulas_are_defused() {
        for (text, cell) in [
            ("plain", "plain"),
            ("=1+1", "\"'=1+1\""),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("", ""),
        ] {
            assert_eq!(written(|out| write_cell(out, text)), cell);
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_json(text in any::<String>()) {
            let json = written(|out| write_text(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
