//! Ends of days as bytes of a record: closings, sweeps, what a day and a month came to. docs/format.md draws them.
//!
//! Promise: as in `record.rs`, what is decoded equals what was encoded, and anything else is `None`.
//!
//! Most of what lending writes are the rows of a sweep: one a loan and day. The usual one (a day's interest of a
//! loan next to the one before) is a byte and an amount.

use super::record::{put_optional_text, take_optional_text};
use super::terms::{put_amount, put_day, put_flag, take_amount, take_count, take_day, take_flag, take_u32};
use super::varint::{Cursor, Sink};
use crate::domain::account::AccountType;
use crate::domain::entry::DayClosed;
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::lending::loan::Role;
use crate::domain::lending::loan::facts::{
    DayEnded, LoansSwept, MONTH_LINES_MAX, MonthEnded, MonthLine, ProductTotals, SweptRow,
};
use crate::domain::lending::loan::roles::ROLE_COUNT;
use crate::domain::lending::loan::state::Class;
use crate::domain::money::Currency;

/// Bits 0–2 of a swept row's first byte: the class.
const ROW_CLASS: u8 = 7;

/// Bits 3–5: what moved. The numbers of [`ROW_PAIRS`] are places in it, counted from 1.
pub(super) const ROW_MOVED_SHIFT: u8 = 3;
const ROW_MOVED: u8 = 7;
const MOVED_NOTHING: u8 = 0;
const MOVED_ANYTHING: u8 = 7;

/// Bit 6: days past due follow.
const ROW_HAS_DPD: u8 = 0x40;

/// Bit 7: the loan is not the one after the row before.
const ROW_HAS_DISTANCE: u8 = 0x80;

/// One amount from one role to another, in the order of their numbers in a row. Debited, credited.
const ROW_PAIRS: [(Role, Role); 2] =
    [(Role::InterestReceivable, Role::InterestIncome), (Role::InterestReceivable, Role::InterestSuspense)];

/// Appends the cut-over of a day.
pub(super) fn put_day_closed(sink: &mut Sink, closed: &DayClosed) {
    put_day(sink, closed.through);
    put_flag(sink, closed.by_hand);
    put_optional_text(sink, closed.reason.as_deref());
}

/// Reads it.
pub(super) fn take_day_closed(cursor: &mut Cursor<'_>) -> Option<DayClosed> {
    let (through, by_hand) = (take_day(cursor)?, take_flag(cursor)?);
    Some(DayClosed { through, by_hand, reason: take_optional_text(cursor)? })
}

/// Appends what a sweep did.
pub(super) fn put_swept(sink: &mut Sink, swept: &LoansSwept) {
    put_day(sink, swept.date);
    sink.put_varint(u64::from(swept.first));
    sink.put_varint(u64::from(swept.last));
    sink.put_varint(swept.rows.len() as u64);
    let mut before = i64::from(swept.first) - 1;
    for row in &swept.rows {
        debug_assert!(i64::from(row.loan) > before && row.loan >= swept.first, "rows ascend from the first loan on");
        put_row(sink, row, (i64::from(row.loan) - before) as u64);
        before = i64::from(row.loan);
    }
    put_totals(sink, &swept.totals);
}

/// Appends what loans of products were.
fn put_totals(sink: &mut Sink, all: &[ProductTotals]) {
    sink.put_varint(all.len() as u64);
    for totals in all {
        sink.put_varint(u64::from(totals.product));
        totals.loans.iter().for_each(|count| sink.put_varint(u64::from(*count)));
        totals.outstanding.iter().for_each(|amount| put_amount(sink, *amount));
        put_amount(sink, totals.provision);
    }
}

/// Reads it.
fn take_totals(cursor: &mut Cursor<'_>) -> Option<Vec<ProductTotals>> {
    let count = take_count(cursor)?;
    let one = |cursor: &mut Cursor<'_>| {
        let mut totals = ProductTotals { product: take_u32(cursor)?, ..ProductTotals::default() };
        for count in &mut totals.loans {
            *count = take_u32(cursor)?;
        }
        for amount in &mut totals.outstanding {
            *amount = take_amount(cursor)?;
        }
        totals.provision = take_amount(cursor)?;
        Some(totals)
    };
    (0..count).map(|_| one(cursor)).collect()
}

/// Reads it.
pub(super) fn take_swept(cursor: &mut Cursor<'_>) -> Option<LoansSwept> {
    let (date, first, last) = (take_day(cursor)?, take_u32(cursor)?, take_u32(cursor)?);
    let count = take_count(cursor)?;
    let mut rows = Vec::with_capacity(count);
    // The loan after the row before: 64 bits hold one more than the last of 32.
    let mut next = u64::from(first);
    for _ in 0..count {
        let row = take_row(cursor, next, u32::MAX)?;
        next = u64::from(row.loan) + 1;
        rows.push(row);
    }
    Some(LoansSwept { date, first, last, rows, totals: take_totals(cursor)? })
}

fn class_number(class: Class) -> u8 {
    match class {
        Class::Standard => 0,
        Class::Sma0 => 1,
        Class::Sma1 => 2,
        Class::Sma2 => 3,
        Class::Npa => 4,
    }
}

/// All classes, by their numbers.
pub(super) const CLASSES: [Class; 5] = [Class::Standard, Class::Sma0, Class::Sma1, Class::Sma2, Class::Npa];

/// What moved, as the number in a row's first byte, and the amount where it is one of [`ROW_PAIRS`].
fn moved_of(moved: &[i64; ROLE_COUNT]) -> (u8, i64) {
    let others = |pair: Option<(Role, Role)>| {
        let is_of = |role: usize| pair.is_some_and(|(debit, credit)| role == debit as usize || role == credit as usize);
        moved.iter().enumerate().fold(0, |bits, (role, amount)| bits | if is_of(role) { 0 } else { *amount })
    };
    for (place, pair) in ROW_PAIRS.into_iter().enumerate() {
        let amount = moved[pair.0 as usize];
        if amount > 0 && moved[pair.1 as usize] == -amount && others(Some(pair)) == 0 {
            return (place as u8 + 1, amount);
        }
    }
    (if others(None) == 0 { MOVED_NOTHING } else { MOVED_ANYTHING }, 0)
}

#[inline]
fn put_row(sink: &mut Sink, row: &SweptRow, distance: u64) {
    let (moved, amount) = moved_of(&row.moved);
    let has_distance = if distance == 1 { 0 } else { ROW_HAS_DISTANCE };
    let has_dpd = if row.dpd == 0 { 0 } else { ROW_HAS_DPD };
    sink.put_u8(class_number(row.class) | moved << ROW_MOVED_SHIFT | has_dpd | has_distance);
    if distance != 1 {
        sink.put_varint(distance);
    }
    if row.dpd != 0 {
        sink.put_varint(u64::from(row.dpd));
    }
    match moved {
        MOVED_NOTHING => {}
        MOVED_ANYTHING => put_positions(sink, &row.moved),
        _ => sink.put_varint(amount as u64),
    }
}

fn put_positions(sink: &mut Sink, moved: &[i64; ROLE_COUNT]) {
    let mask = moved.iter().rev().fold(0u16, |mask, amount| mask << 1 | u16::from(*amount != 0));
    sink.put_u16(mask);
    for amount in moved.iter().filter(|amount| **amount != 0) {
        put_amount(sink, *amount);
    }
}

fn take_positions(cursor: &mut Cursor<'_>) -> Option<[i64; ROLE_COUNT]> {
    let mask = cursor.take_u16()?;
    let mut moved = [0; ROLE_COUNT];
    for (role, amount) in moved.iter_mut().enumerate() {
        if mask >> role & 1 != 0 {
            *amount = take_amount(cursor).filter(|amount| *amount != 0)?;
        }
    }
    (mask != 0 && mask >> ROLE_COUNT == 0).then_some(moved)
}

#[inline]
fn take_row(cursor: &mut Cursor<'_>, next: u64, last: u32) -> Option<SweptRow> {
    let tag = cursor.take_u8()?;
    let class = *CLASSES.get(usize::from(tag & ROW_CLASS))?;
    let skipped = if tag & ROW_HAS_DISTANCE == 0 { 0 } else { cursor.take_varint()?.checked_sub(1)? };
    let loan = next.checked_add(skipped).filter(|loan| *loan <= u64::from(last))? as u32;
    let dpd = if tag & ROW_HAS_DPD == 0 { 0 } else { u16::try_from(cursor.take_varint()?).ok()? };
    let moved = match tag >> ROW_MOVED_SHIFT & ROW_MOVED {
        MOVED_NOTHING => [0; ROLE_COUNT],
        MOVED_ANYTHING => take_positions(cursor)?,
        pair => {
            let (debit, credit) = *ROW_PAIRS.get(usize::from(pair) - 1)?;
            let amount = i64::try_from(cursor.take_varint()?).ok().filter(|amount| *amount > 0)?;
            let mut moved = [0; ROLE_COUNT];
            (moved[debit as usize], moved[credit as usize]) = (amount, -amount);
            moved
        }
    };
    Some(SweptRow { loan, class, dpd, moved })
}

/// Appends what a day's end came to.
pub(super) fn put_day_ended(sink: &mut Sink, ended: &DayEnded) {
    put_day(sink, ended.date);
    put_totals(sink, &ended.totals);
}

/// Reads it.
pub(super) fn take_day_ended(cursor: &mut Cursor<'_>) -> Option<DayEnded> {
    Some(DayEnded { date: take_day(cursor)?, totals: take_totals(cursor)? })
}

/// Appends what the general ledger came to.
pub(super) fn put_month_ended(sink: &mut Sink, ended: &MonthEnded) {
    put_day(sink, ended.date);
    sink.put_varint(ended.lines.len() as u64);
    for MonthLine { key, through, before } in &ended.lines {
        sink.put_u8(key.currency.0);
        sink.put_u8(key.account_type as u8);
        sink.put_varint(u64::from(key.code));
        for sum in [through.debits, through.credits, before.debits, before.credits] {
            // 64 bits hold what a lender ever moves; the rest is there for who has all accounts full.
            sink.put_varint(sum as u64);
            sink.put_varint((sum >> 64) as u64);
        }
    }
}

/// Reads it.
pub(super) fn take_month_ended(cursor: &mut Cursor<'_>) -> Option<MonthEnded> {
    let date = take_day(cursor)?;
    let count = take_count(cursor).filter(|count| *count <= MONTH_LINES_MAX)?;
    let sum = |cursor: &mut Cursor<'_>| {
        let low = u128::from(cursor.take_varint()?);
        Some(low | u128::from(cursor.take_varint()?) << 64)
    };
    let line = |cursor: &mut Cursor<'_>| {
        let currency = Currency::from_place(cursor.take_u8()?)?;
        let account_type = AccountType::from_number(cursor.take_u8()?)?;
        let code = take_u32(cursor)?;
        let through = GlTotals { debits: sum(cursor)?, credits: sum(cursor)? };
        let before = GlTotals { debits: sum(cursor)?, credits: sum(cursor)? };
        Some(MonthLine { key: GlKey { currency, code, account_type }, through, before })
    };
    Some(MonthEnded { date, lines: (0..count).map(|_| line(cursor)).collect::<Option<_>>()? })
}
