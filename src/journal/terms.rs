//! Terms of loans as bytes of a record, and the numbers of everything in them. docs/format.md draws them.
//!
//! Promise: as in `record.rs`, what is decoded equals what was encoded, and anything else is `None`. Decimals keep
//! their scale. Numbers of enums are written out here and never reused: the order of an enum may change, its
//! numbers may not.

use super::varint::{Cursor, Sink};
use crate::domain::lending::day_count::DayCount;
use crate::domain::lending::digits::{Decimal, Digits};
use crate::domain::lending::due_dates::{Frequency, HolidayShift};
use crate::domain::lending::loan::contract::{Across, Appropriation, LoanTerms, Part};
use crate::domain::lending::rounding::Mode;
use crate::domain::lending::terms::{
    BrokenPeriod, Charge, Keep, Method, Moratorium, MoratoriumInterest, Payee, Prepayment, RateReset, Rounding, Step,
    Terms,
};
use crate::domain::time::Day;

/// First byte of terms. Another layout gets another number.
const TERMS_VERSION: u8 = 1;

/// The bit of a decimal's first byte that says: twelve bytes follow, no varint.
const DECIMAL_WIDE: u8 = 0x40;

/// Writes the numbers of an enum once, and makes both ways of them.
macro_rules! numbered {
    ($type:ty, $put:ident, $take:ident, $($case:ident = $number:literal),+) => {
        pub(super) fn $put(sink: &mut Sink, value: $type) {
            sink.put_u8(match value { $(<$type>::$case => $number),+ });
        }
        pub(super) fn $take(cursor: &mut Cursor<'_>) -> Option<$type> {
            Some(match cursor.take_u8()? { $($number => <$type>::$case,)+ _ => return None })
        }
    };
}
pub(super) use numbered;

numbered!(Method, put_method, take_method, Reducing = 0, Flat = 1, EqualPrincipal = 2);
numbered!(DayCount, put_day_count, take_day_count, Thirty360 = 0, Act365 = 1, Act360 = 2, ActAct = 3);
numbered!(BrokenPeriod, put_broken_period, take_broken_period, Act365 = 0, PeriodFraction = 1, Thirty360 = 2);
numbered!(Mode, put_mode, take_mode, HalfUp = 0, HalfEven = 1, Up = 2, Down = 3);
numbered!(MoratoriumInterest, put_interest, take_interest, Serviced = 0, Deferred = 1, Capitalised = 2);
numbered!(HolidayShift, put_shift, take_shift, Next = 0, Previous = 1, Stay = 2);
numbered!(Keep, put_keep, take_keep, Term = 0, Instalment = 1);
numbered!(Payee, put_payee, take_payee, Lender = 0, ThirdParty = 1);
numbered!(Part, put_part, take_part, Penal = 0, Fee = 1, Interest = 2, Principal = 3);
numbered!(Across, put_across, take_across, Rows = 0, Parts = 1);
numbered!(
    Frequency,
    put_frequency,
    take_frequency,
    Daily = 0,
    Weekly = 1,
    Fortnightly = 2,
    Monthly = 3,
    Quarterly = 4,
    HalfYearly = 5,
    Yearly = 6
);

/// Appends what a product says of its loans.
pub(super) fn put_loan_terms(sink: &mut Sink, terms: &LoanTerms) {
    sink.put_u8(TERMS_VERSION);
    put_calculation(sink, &terms.calculation);
    for part in terms.appropriation.order {
        put_part(sink, part);
    }
    put_across(sink, terms.appropriation.across);
    put_decimal(sink, terms.penal_pct_per_month);
    put_decimal(sink, terms.foreclosure_charge_pct);
    put_decimal(sink, terms.charge_gst_pct);
    for days in [terms.cooling_off_days, terms.sma1_dpd, terms.sma2_dpd, terms.npa_dpd] {
        sink.put_u16(days);
    }
}

/// Reads it.
pub(super) fn take_loan_terms(cursor: &mut Cursor<'_>) -> Option<LoanTerms> {
    if cursor.take_u8()? != TERMS_VERSION {
        return None;
    }
    Some(LoanTerms {
        calculation: take_calculation(cursor)?,
        appropriation: Appropriation {
            order: [take_part(cursor)?, take_part(cursor)?, take_part(cursor)?, take_part(cursor)?],
            across: take_across(cursor)?,
        },
        penal_pct_per_month: take_decimal(cursor)?,
        foreclosure_charge_pct: take_decimal(cursor)?,
        charge_gst_pct: take_decimal(cursor)?,
        cooling_off_days: cursor.take_u16()?,
        sma1_dpd: cursor.take_u16()?,
        sma2_dpd: cursor.take_u16()?,
        npa_dpd: cursor.take_u16()?,
    })
}

fn put_calculation(sink: &mut Sink, terms: &Terms) {
    put_decimal(sink, terms.principal);
    put_decimal(sink, terms.annual_rate_pct);
    put_option(sink, terms.instalments, |sink, rows| sink.put_varint(u64::from(rows)));
    put_frequency(sink, terms.frequency);
    put_method(sink, terms.method);
    put_day_count(sink, terms.day_count);
    put_option(sink, terms.disbursed_on, put_day);
    put_option(sink, terms.first_due_on, put_day);
    put_option(sink, terms.broken_period, put_broken_period);
    put_option(sink, terms.rounding.instalment, put_decimal);
    put_option(sink, terms.rounding.interest, put_decimal);
    put_mode(sink, terms.rounding.mode);
    put_decimal(sink, terms.rounding.display);
    put_option(sink, terms.instalment_fixed, put_decimal);
    put_option(sink, terms.principal_fixed, put_decimal);
    put_option(sink, terms.balloon, put_decimal);
    put_option(sink, terms.moratorium, put_moratorium);
    put_list(sink, &terms.steps, |sink, step| {
        sink.put_varint(u64::from(step.from));
        put_decimal(sink, step.instalment_pct);
    });
    put_list(sink, &terms.rate_resets, |sink, reset| {
        put_day(sink, reset.on);
        put_decimal(sink, reset.annual_rate_pct);
        put_keep(sink, reset.keep);
    });
    put_list(sink, &terms.prepayments, |sink, paid| {
        put_day(sink, paid.on);
        put_decimal(sink, paid.amount);
        put_keep(sink, paid.keep);
    });
    put_option(sink, terms.foreclose_on, put_day);
    put_list(sink, &terms.holidays, |sink, day| put_day(sink, *day));
    put_shift(sink, terms.holiday_shift);
    put_charges(sink, &terms.charges);
    put_flag(sink, terms.apr_with_gst);
}

fn take_calculation(cursor: &mut Cursor<'_>) -> Option<Terms> {
    Some(Terms {
        principal: take_decimal(cursor)?,
        annual_rate_pct: take_decimal(cursor)?,
        instalments: take_option(cursor, take_u32)?,
        frequency: take_frequency(cursor)?,
        method: take_method(cursor)?,
        day_count: take_day_count(cursor)?,
        disbursed_on: take_option(cursor, take_day)?,
        first_due_on: take_option(cursor, take_day)?,
        broken_period: take_option(cursor, take_broken_period)?,
        rounding: Rounding {
            instalment: take_option(cursor, take_decimal)?,
            interest: take_option(cursor, take_decimal)?,
            mode: take_mode(cursor)?,
            display: take_decimal(cursor)?,
        },
        instalment_fixed: take_option(cursor, take_decimal)?,
        principal_fixed: take_option(cursor, take_decimal)?,
        balloon: take_option(cursor, take_decimal)?,
        moratorium: take_option(cursor, take_moratorium)?,
        steps: take_list(cursor, |cursor| {
            Some(Step { from: take_u32(cursor)?, instalment_pct: take_decimal(cursor)? })
        })?,
        rate_resets: take_list(cursor, |cursor| {
            let (on, annual_rate_pct) = (take_day(cursor)?, take_decimal(cursor)?);
            Some(RateReset { on, annual_rate_pct, keep: take_keep(cursor)? })
        })?,
        prepayments: take_list(cursor, |cursor| {
            Some(Prepayment { on: take_day(cursor)?, amount: take_decimal(cursor)?, keep: take_keep(cursor)? })
        })?,
        foreclose_on: take_option(cursor, take_day)?,
        holidays: take_list(cursor, take_day)?,
        holiday_shift: take_shift(cursor)?,
        charges: take_charges(cursor)?,
        apr_with_gst: take_flag(cursor)?,
    })
}

/// Appends what is taken from a disbursal.
pub(super) fn put_charges(sink: &mut Sink, charges: &[Charge]) {
    put_list(sink, charges, |sink, charge| {
        sink.put_text(&charge.name);
        put_decimal(sink, charge.amount);
        put_payee(sink, charge.payee);
        put_decimal(sink, charge.gst_pct);
    });
}

/// Reads it.
pub(super) fn take_charges(cursor: &mut Cursor<'_>) -> Option<Vec<Charge>> {
    take_list(cursor, |cursor| {
        let (name, amount) = (cursor.take_text()?, take_decimal(cursor)?);
        Some(Charge { name, amount, payee: take_payee(cursor)?, gst_pct: take_decimal(cursor)? })
    })
}

/// Appends rows without principal.
pub(super) fn put_moratorium(sink: &mut Sink, moratorium: Moratorium) {
    sink.put_varint(u64::from(moratorium.periods));
    put_interest(sink, moratorium.interest);
}

/// Reads them.
pub(super) fn take_moratorium(cursor: &mut Cursor<'_>) -> Option<Moratorium> {
    Some(Moratorium { periods: take_u32(cursor)?, interest: take_interest(cursor)? })
}

/// Appends a decimal: scale and sign, then its digits as varint, or as twelve bytes where they need more than 64 bits.
pub(super) fn put_decimal(sink: &mut Sink, decimal: Decimal) {
    let Digits { head, mantissa } = Digits::of(decimal);
    match u64::try_from(mantissa) {
        Ok(narrow) => {
            sink.put_u8(head);
            sink.put_varint(narrow);
        }
        Err(_) => {
            sink.put_u8(head | DECIMAL_WIDE);
            sink.put(&mantissa.to_le_bytes()[..12]);
        }
    }
}

/// Reads a decimal.
pub(super) fn take_decimal(cursor: &mut Cursor<'_>) -> Option<Decimal> {
    let head = cursor.take_u8()?;
    let mantissa = if head & DECIMAL_WIDE == 0 {
        u128::from(cursor.take_varint()?)
    } else {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(cursor.take(12)?);
        u128::from_le_bytes(bytes)
    };
    Digits { head: head & !DECIMAL_WIDE, mantissa }.decimal()
}

/// Appends signed paise: small numbers of both signs are short.
pub(super) fn put_amount(sink: &mut Sink, amount: i64) {
    sink.put_varint((amount << 1 ^ amount >> 63) as u64);
}

/// Reads them.
pub(super) fn take_amount(cursor: &mut Cursor<'_>) -> Option<i64> {
    let folded = cursor.take_varint()?;
    Some((folded >> 1) as i64 ^ -((folded & 1) as i64))
}

/// Appends a day.
pub(super) fn put_day(sink: &mut Sink, day: Day) {
    sink.put_u16(day.0);
}

/// Reads a day.
pub(super) fn take_day(cursor: &mut Cursor<'_>) -> Option<Day> {
    cursor.take_u16().map(Day)
}

/// Reads a varint of at most 32 bits.
pub(super) fn take_u32(cursor: &mut Cursor<'_>) -> Option<u32> {
    u32::try_from(cursor.take_varint()?).ok()
}

/// Appends yes or no.
pub(super) fn put_flag(sink: &mut Sink, flag: bool) {
    sink.put_u8(u8::from(flag));
}

/// Reads it: 0 or 1 and nothing else.
pub(super) fn take_flag(cursor: &mut Cursor<'_>) -> Option<bool> {
    match cursor.take_u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Appends whether something is there, and what.
pub(super) fn put_option<T>(sink: &mut Sink, value: Option<T>, put: impl Fn(&mut Sink, T)) {
    put_flag(sink, value.is_some());
    if let Some(value) = value {
        put(sink, value);
    }
}

/// Reads it.
pub(super) fn take_option<T>(
    cursor: &mut Cursor<'_>,
    take: impl Fn(&mut Cursor<'_>) -> Option<T>,
) -> Option<Option<T>> {
    if take_flag(cursor)? { take(cursor).map(Some) } else { Some(None) }
}

fn put_list<T>(sink: &mut Sink, list: &[T], put: impl Fn(&mut Sink, &T)) {
    sink.put_varint(list.len() as u64);
    for item in list {
        put(sink, item);
    }
}

fn take_list<T>(cursor: &mut Cursor<'_>, take: impl Fn(&mut Cursor<'_>) -> Option<T>) -> Option<Vec<T>> {
    let count = take_count(cursor)?;
    (0..count).map(|_| take(cursor)).collect()
}

/// Reads how many items follow. Each takes a byte at least: a count beyond the bytes that are left is damage, and must
/// not reserve memory.
pub(super) fn take_count(cursor: &mut Cursor<'_>) -> Option<usize> {
    let count = usize::try_from(cursor.take_varint()?).ok()?;
    (count <= cursor.bytes.len().saturating_sub(cursor.at)).then_some(count)
}
