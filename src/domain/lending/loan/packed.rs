//! A loan's state as bytes: for memory, where a million loans are kept, and for the store. docs/format.md draws them.
//!
//! Promise: [`unpack`] gives back, bit for bit, what [`pack`] was given. Of bytes that are none of its own it gives
//! `None`, or another state: whether they are damaged is for the seal of who keeps them to say. It never panics, nor
//! reserves more than the bytes at hand.
//!
//! 1. A version byte.
//! 2. Eight bytes, little endian: a bit for each field that is not zero, in the order of [`pack`].
//! 3. Those fields. Days take two bytes; numbers seven bits a byte, least significant first, the high bit says that
//!    more follow; amounts the same, with the sign as the lowest bit.
//! 4. What is due, by date.

use rust_decimal::Decimal;

use super::roles::{Positions, ROLE_COUNT};
use super::state::{Change, Class, Due, LoanState, LoanStatus};
use crate::domain::lending::digits::Digits;
use crate::domain::lending::terms::MoratoriumInterest;
use crate::domain::time::Day;

/// First byte. Another layout gets another number, and this one is read for ever.
const VERSION: u8 = 1;

/// Version and mask.
const HEAD_BYTES: usize = 9;

/// Amounts beside the positions.
const AMOUNTS: usize = 19;

/// Numbers of rows and versions; with them go the kinds, the days past due and the count of dues.
const NUMBERS: usize = 7;

/// Days, and days that may not be.
const DAYS: usize = 8;
const OPTIONAL_DAYS: usize = 3;

/// Bits of the mask: two decimals follow the days, and the end of a pause is the last. A field is added behind all
/// others, where it is zero in bytes from before it was there.
const FIELDS: usize = ROLE_COUNT + AMOUNTS + NUMBERS + 3 + DAYS + OPTIONAL_DAYS + 2 + 1;
const _: () = assert!(FIELDS <= 64, "each field has a bit of the mask");

/// Greatest length of everything but the dues: no field takes more than thirteen bytes.
const FIXED_BYTES_MAX: usize = HEAD_BYTES + 13 * FIELDS;

/// Least length of what fell due on a day: the day and three amounts.
const DUE_BYTES_MIN: usize = 5;

/// The bit of a decimal's first byte that says: twelve bytes follow, no number.
const DECIMAL_WIDE: u8 = 0x40;

/// Appends a state.
pub fn pack(state: &LoanState, out: &mut Vec<u8>) {
    let mut to = Packer { bytes: [0; FIXED_BYTES_MAX], at: HEAD_BYTES, mask: 0, bit: 0 };
    for amount in state.positions.raw() {
        to.amount(*amount);
    }
    for amount in amounts(state) {
        to.amount(amount);
    }
    for number in numbers(state) {
        to.number(u64::from(number));
    }
    to.number(kinds(state));
    to.number(u64::from(state.dpd));
    to.number(state.dues.len() as u64);
    for day in days(state) {
        to.day(day);
    }
    for day in optional_days(state) {
        to.number(day.map_or(0, |day| u64::from(day.0) + 1));
    }
    to.decimal(state.plan.base);
    to.decimal(state.plan.annual_rate_pct);
    to.number(state.paused_until.map_or(0, |day| u64::from(day.0) + 1));
    debug_assert_eq!(to.bit as usize, FIELDS, "every field has its bit");
    to.bytes[0] = VERSION;
    to.bytes[1..HEAD_BYTES].copy_from_slice(&to.mask.to_le_bytes());
    out.extend_from_slice(&to.bytes[..to.at]);
    for due in &state.dues {
        to.at = 0;
        to.due(due);
        out.extend_from_slice(&to.bytes[..to.at]);
    }
}

/// Reads a state; `None` where the bytes are those of none, or of a version that is not known.
#[must_use]
pub fn unpack(bytes: &[u8]) -> Option<LoanState> {
    if *bytes.first()? != VERSION {
        return None;
    }
    let mask = u64::from_le_bytes(*bytes[1..].first_chunk()?);
    let mut from = Unpacker { bytes: &bytes[HEAD_BYTES..], mask };
    let mut positions = [0; ROLE_COUNT];
    for amount in &mut positions {
        *amount = from.amount()?;
    }
    let mut state = LoanState { positions: Positions::from_raw(positions)?, ..LoanState::default() };
    for amount in amounts_mut(&mut state) {
        *amount = from.amount()?;
    }
    for number in numbers_mut(&mut state) {
        *number = u32::try_from(from.number()?).ok()?;
    }
    set_kinds(&mut state, from.number()?)?;
    state.dpd = u16::try_from(from.number()?).ok()?;
    let dues = usize::try_from(from.number()?).ok()?;
    for day in days_mut(&mut state) {
        *day = from.day()?;
    }
    for day in optional_days_mut(&mut state) {
        *day = from.optional_day()?;
    }
    state.plan.base = from.decimal()?;
    state.plan.annual_rate_pct = from.decimal()?;
    state.paused_until = from.optional_day()?;
    if from.mask != 0 || dues > from.bytes.len() / DUE_BYTES_MIN {
        return None;
    }
    if dues > 0 {
        state.dues.reserve_exact(dues);
        for _ in 0..dues {
            state.dues.push(from.due()?);
        }
    }
    from.bytes.is_empty().then_some(state)
}

fn amounts(state: &LoanState) -> [i64; AMOUNTS] {
    let (plan, totals) = (&state.plan, &state.totals);
    [
        state.sanctioned,
        state.outstanding,
        state.interest_fixed,
        state.interest_posted,
        state.interest_deferred,
        state.capitalised_unearned,
        state.penal_due,
        state.advance,
        state.claim,
        plan.flat_share,
        plan.flat_total,
        totals.received,
        totals.penal,
        totals.fee,
        totals.interest,
        totals.principal,
        totals.refunded,
        totals.recovered,
        totals.disbursed,
    ]
}

fn amounts_mut(state: &mut LoanState) -> [&mut i64; AMOUNTS] {
    let (plan, totals) = (&mut state.plan, &mut state.totals);
    [
        &mut state.sanctioned,
        &mut state.outstanding,
        &mut state.interest_fixed,
        &mut state.interest_posted,
        &mut state.interest_deferred,
        &mut state.capitalised_unearned,
        &mut state.penal_due,
        &mut state.advance,
        &mut state.claim,
        &mut plan.flat_share,
        &mut plan.flat_total,
        &mut totals.received,
        &mut totals.penal,
        &mut totals.fee,
        &mut totals.interest,
        &mut totals.principal,
        &mut totals.refunded,
        &mut totals.recovered,
        &mut totals.disbursed,
    ]
}

fn numbers(state: &LoanState) -> [u32; NUMBERS] {
    let plan = &state.plan;
    [
        plan.last_row,
        plan.projected_row,
        plan.moratorium_through,
        plan.cycle.rows_before,
        state.next_row,
        state.kfs_version,
        state.kfs_accepted,
    ]
}

fn numbers_mut(state: &mut LoanState) -> [&mut u32; NUMBERS] {
    let plan = &mut state.plan;
    [
        &mut plan.last_row,
        &mut plan.projected_row,
        &mut plan.moratorium_through,
        &mut plan.cycle.rows_before,
        &mut state.next_row,
        &mut state.kfs_version,
        &mut state.kfs_accepted,
    ]
}

fn days(state: &LoanState) -> [Day; DAYS] {
    [
        state.kfs_valid_through,
        state.next_due,
        state.segment_from,
        state.penal_from,
        state.disbursed_on,
        state.advanced_through,
        state.begun,
        state.plan.cycle.start,
    ]
}

fn days_mut(state: &mut LoanState) -> [&mut Day; DAYS] {
    [
        &mut state.kfs_valid_through,
        &mut state.next_due,
        &mut state.segment_from,
        &mut state.penal_from,
        &mut state.disbursed_on,
        &mut state.advanced_through,
        &mut state.begun,
        &mut state.plan.cycle.start,
    ]
}

fn optional_days(state: &LoanState) -> [Option<Day>; OPTIONAL_DAYS] {
    [state.plan.cycle.first_due_on, state.npa_since, state.borrower_npa_since]
}

fn optional_days_mut(state: &mut LoanState) -> [&mut Option<Day>; OPTIONAL_DAYS] {
    [&mut state.plan.cycle.first_due_on, &mut state.npa_since, &mut state.borrower_npa_since]
}

/// Bits 0–2 class, 3–5 status, 6–7 change, 8–9 interest of a moratorium, 10 whether rescheduled, 11 whether a closed loan
/// was settled, 12 whether watched. The numbers are never reused.
fn kinds(state: &LoanState) -> u64 {
    let class = match state.class {
        Class::Standard => 0,
        Class::Sma0 => 1,
        Class::Sma1 => 2,
        Class::Sma2 => 3,
        Class::Npa => 4,
    };
    let status = match state.status {
        LoanStatus::Unknown => 0,
        LoanStatus::Applied => 1,
        LoanStatus::Approved => 2,
        LoanStatus::Declined => 3,
        LoanStatus::Active => 4,
        LoanStatus::Closed | LoanStatus::Settled => 5,
        LoanStatus::Cancelled => 6,
        LoanStatus::WrittenOff => 7,
    };
    let change = match state.plan.change {
        Change::None => 0,
        Change::Resolve => 1,
        Change::KeepInstalment => 2,
    };
    let interest = match state.plan.moratorium_interest {
        MoratoriumInterest::Serviced => 0,
        MoratoriumInterest::Deferred => 1,
        MoratoriumInterest::Capitalised => 2,
    };
    let is_settled = state.status == LoanStatus::Settled;
    let flags = [state.plan.is_rescheduled, is_settled, state.is_watched];
    let flags = flags.into_iter().rev().fold(0, |bits, flag| bits << 1 | u64::from(flag));
    class | status << 3 | change << 6 | interest << 8 | flags << 10
}

fn set_kinds(state: &mut LoanState, kinds: u64) -> Option<()> {
    state.class = match kinds & 7 {
        0 => Class::Standard,
        1 => Class::Sma0,
        2 => Class::Sma1,
        3 => Class::Sma2,
        4 => Class::Npa,
        _ => return None,
    };
    state.status = match kinds >> 3 & 7 {
        0 => LoanStatus::Unknown,
        1 => LoanStatus::Applied,
        2 => LoanStatus::Approved,
        3 => LoanStatus::Declined,
        4 => LoanStatus::Active,
        5 => LoanStatus::Closed,
        6 => LoanStatus::Cancelled,
        _ => LoanStatus::WrittenOff,
    };
    state.plan.change = match kinds >> 6 & 3 {
        0 => Change::None,
        1 => Change::Resolve,
        2 => Change::KeepInstalment,
        _ => return None,
    };
    state.plan.moratorium_interest = match kinds >> 8 & 3 {
        0 => MoratoriumInterest::Serviced,
        1 => MoratoriumInterest::Deferred,
        2 => MoratoriumInterest::Capitalised,
        _ => return None,
    };
    state.plan.is_rescheduled = kinds >> 10 & 1 != 0;
    if kinds >> 11 & 1 != 0 {
        if state.status != LoanStatus::Closed {
            return None;
        }
        state.status = LoanStatus::Settled;
    }
    state.is_watched = kinds >> 12 & 1 != 0;
    (kinds >> 13 == 0).then_some(())
}

/// Fields on their way out. What is zero leaves no byte.
struct Packer {
    bytes: [u8; FIXED_BYTES_MAX],
    at: usize,
    mask: u64,
    /// The bit of the next field.
    bit: u32,
}

impl Packer {
    /// Whether the next field leaves bytes.
    #[inline]
    fn leaves(&mut self, is_there: bool) -> bool {
        self.mask |= u64::from(is_there) << self.bit;
        self.bit += 1;
        is_there
    }

    #[inline]
    fn amount(&mut self, amount: i64) {
        self.number(folded(amount));
    }

    #[inline]
    fn number(&mut self, number: u64) {
        if self.leaves(number != 0) {
            self.put(number);
        }
    }

    #[inline]
    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes[self.at] = number as u8 | 0x80;
            self.at += 1;
            number >>= 7;
        }
        self.bytes[self.at] = number as u8;
        self.at += 1;
    }

    #[inline]
    fn day(&mut self, day: Day) {
        if self.leaves(day.0 != 0) {
            self.put_bytes(day.0.to_le_bytes());
        }
    }

    fn decimal(&mut self, decimal: Decimal) {
        let Digits { head, mantissa } = Digits::of(decimal);
        if !self.leaves(head != 0 || mantissa != 0) {
            return;
        }
        match u64::try_from(mantissa) {
            Ok(narrow) => {
                self.put_bytes([head]);
                self.put(narrow);
            }
            Err(_) => {
                self.put_bytes([head | DECIMAL_WIDE]);
                self.put_bytes((mantissa as u64).to_le_bytes());
                self.put_bytes(((mantissa >> 64) as u32).to_le_bytes());
            }
        }
    }

    /// All of it, what is zero too.
    fn due(&mut self, due: &Due) {
        self.put_bytes(due.due_on.0.to_le_bytes());
        for amount in [due.interest, due.principal, due.fee] {
            self.put(folded(amount));
        }
    }

    #[inline]
    fn put_bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.at..self.at + N].copy_from_slice(&bytes);
        self.at += N;
    }
}

/// Fields on their way in.
struct Unpacker<'a> {
    /// What is left.
    bytes: &'a [u8],
    /// The lowest bit is that of the next field.
    mask: u64,
}

impl Unpacker<'_> {
    /// Whether the next field left bytes.
    #[inline]
    fn has_left(&mut self) -> bool {
        let is_there = self.mask & 1 != 0;
        self.mask >>= 1;
        is_there
    }

    #[inline]
    fn amount(&mut self) -> Option<i64> {
        self.number().map(unfolded)
    }

    #[inline]
    fn number(&mut self) -> Option<u64> {
        if self.has_left() { self.take() } else { Some(0) }
    }

    #[inline]
    fn take(&mut self) -> Option<u64> {
        let mut number = 0;
        for (place, byte) in self.bytes.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7F);
            // The tenth byte has room for one bit.
            if place == 9 && bits > 1 {
                return None;
            }
            number |= bits << (7 * place);
            if *byte < 0x80 {
                self.bytes = &self.bytes[place + 1..];
                return Some(number);
            }
        }
        None
    }

    #[inline]
    fn day(&mut self) -> Option<Day> {
        if self.has_left() { self.take_day() } else { Some(Day(0)) }
    }

    #[inline]
    fn take_day(&mut self) -> Option<Day> {
        self.take_bytes().map(|bytes| Day(u16::from_le_bytes(bytes)))
    }

    #[inline]
    fn optional_day(&mut self) -> Option<Option<Day>> {
        match self.number()?.checked_sub(1) {
            None => Some(None),
            Some(day) => u16::try_from(day).ok().map(|day| Some(Day(day))),
        }
    }

    fn decimal(&mut self) -> Option<Decimal> {
        if !self.has_left() {
            return Some(Decimal::ZERO);
        }
        let [head] = self.take_bytes()?;
        let mantissa = if head & DECIMAL_WIDE == 0 {
            u128::from(self.take()?)
        } else {
            let low = u64::from_le_bytes(self.take_bytes()?);
            u128::from(low) | u128::from(u32::from_le_bytes(self.take_bytes()?)) << 64
        };
        Digits { head: head & !DECIMAL_WIDE, mantissa }.decimal()
    }

    fn due(&mut self) -> Option<Due> {
        let due_on = self.take_day()?;
        let mut next = || self.take().map(unfolded);
        Some(Due { due_on, interest: next()?, principal: next()?, fee: next()? })
    }

    #[inline]
    fn take_bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.bytes.split_first_chunk()?;
        self.bytes = left;
        Some(*taken)
    }
}

/// Small amounts of both signs as small numbers.
#[inline]
fn folded(amount: i64) -> u64 {
    (amount << 1 ^ amount >> 63) as u64
}

#[inline]
fn unfolded(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lending::loan::fold;
    use crate::domain::lending::loan::tests::{Book, day, received};
    use crate::domain::lending::terms::Terms;

    fn packed(state: &LoanState) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(state, &mut bytes);
        bytes
    }

    /// 5 lakh at 14 % over 24 months, paid for a year.
    fn healthy() -> LoanState {
        let calculation = Terms {
            principal: Decimal::from(500_000),
            annual_rate_pct: Decimal::from(14),
            instalments: Some(24),
            disbursed_on: Some(day("2025-01-05")),
            ..Terms::default()
        };
        let mut book = Book::paid_out(calculation);
        for month in 2..=12 {
            book.push(day(&format!("2025-{month:02}-05")), received(2_400_644));
        }
        fold(&book.terms, &book.events, day("2025-12-20"))
    }

    #[test]
    fn a_healthy_loan_takes_little() {
        let state = healthy();
        assert!(state.dues.is_empty() && state.interest_posted > 0);
        let bytes = packed(&state);
        assert_eq!(unpack(&bytes), Some(state));
        assert_eq!(bytes.len(), 87);
    }

    #[test]
    fn the_greatest_figures_fit() {
        let mut state = LoanState::new();
        assert_eq!(unpack(&packed(&state)).as_ref(), Some(&state), "a loan of which nothing is known");
        amounts_mut(&mut state).into_iter().for_each(|amount| *amount = i64::MIN);
        numbers_mut(&mut state).into_iter().for_each(|number| *number = u32::MAX);
        days_mut(&mut state).into_iter().for_each(|day| *day = Day(u16::MAX));
        optional_days_mut(&mut state).into_iter().for_each(|day| *day = Some(Day(u16::MAX)));
        let raw = std::array::from_fn(|role| if role % 2 == 0 { i64::MAX } else { -i64::MAX });
        state.positions = Positions::from_raw(raw).expect("they sum to zero");
        (state.plan.base, state.plan.annual_rate_pct) = (Decimal::MAX, Decimal::MIN);
        (state.class, state.status, state.dpd) = (Class::Npa, LoanStatus::WrittenOff, u16::MAX);
        (state.plan.change, state.plan.is_rescheduled) = (Change::KeepInstalment, true);
        state.plan.moratorium_interest = MoratoriumInterest::Capitalised;
        let due = Due { due_on: Day(u16::MAX), interest: i64::MIN, principal: i64::MAX, fee: i64::MIN };
        state.dues = vec![due; 500];
        assert_eq!(unpack(&packed(&state)), Some(state));
    }

    #[test]
    fn a_decimal_keeps_its_scale() {
        let mut state = LoanState::new();
        state.plan.annual_rate_pct = "0.000".parse().expect("a decimal");
        let again = unpack(&packed(&state)).expect("a state");
        assert_eq!(again.plan.annual_rate_pct.scale(), 3);
    }

    #[test]
    fn what_is_none_of_ours_is_refused() {
        let bytes = packed(&healthy());
        for cut in 0..bytes.len() {
            assert_eq!(unpack(&bytes[..cut]), None, "{cut} bytes of {}", bytes.len());
        }
        let with = |place: usize, byte: u8| {
            let mut other = bytes.clone();
            other[place] = byte;
            unpack(&other)
        };
        assert_eq!(with(0, 2), None, "a version that is not known");
        assert_eq!(with(8, 0xFF), None, "a field that is not known");
        assert_eq!(with(9, bytes[9] ^ 1), None, "positions that do not balance");
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert_eq!(unpack(&longer), None, "something behind it");
    }

    /// A count in damaged bytes must not reserve memory.
    #[test]
    fn a_count_beyond_the_bytes_is_refused() {
        let count = ROLE_COUNT + AMOUNTS + NUMBERS + 2;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&(1_u64 << count).to_le_bytes());
        bytes.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
        bytes.extend_from_slice(&[1; 100]);
        assert_eq!(unpack(&bytes), None);
    }
}
