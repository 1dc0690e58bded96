//! Loans as bytes of a record. docs/format.md draws them.
//!
//! Promise: as in `record.rs`, what is decoded equals what was encoded, and anything else is `None`.

use super::record::{put_metadata, put_optional_text, take_metadata, take_optional_text};
use super::terms::{
    numbered, put_amount, put_charges, put_day, put_decimal, put_flag, put_keep, put_loan_terms, put_moratorium,
    put_option, take_amount, take_charges, take_day, take_decimal, take_flag, take_keep, take_loan_terms,
    take_moratorium, take_option, take_u32,
};
use super::varint::{Cursor, Sink};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::loan::allocation::Split;
use crate::domain::lending::loan::events::{ChargeKind, Dated, Deducted, LoanEvent, Mode, NewPlan, Waiver};
use crate::domain::lending::loan::facts::{LoanApplication, LoanPosted, LoanTexts};
use crate::domain::lending::product::{ACCOUNT_COUNT, ProductFacts, ProductSaved};

numbered!(Mode, put_mode, take_mode, Cash = 0, Upi = 1, Imps = 2, Neft = 3, Rtgs = 4, Nach = 5, Cheque = 6);
numbered!(ChargeKind, put_charge_kind, take_charge_kind, Fee = 0, Bounce = 1, Penal = 2);

/// Bits of a product's flags.
const IS_SECURED: u8 = 1;
const DISBURSAL_BY_ANOTHER: u8 = 2;
const HAS_YEAR_END_ACCOUNT: u8 = 4;
const PRODUCT_FLAGS: u8 = IS_SECURED | DISBURSAL_BY_ANOTHER | HAS_YEAR_END_ACCOUNT;

/// Bits of the byte that says what follows an event.
const HAS_SETTLEMENT: u8 = 1;
const HAS_TEXTS: u8 = 2;
const HAS_APPLICATION: u8 = 4;

/// Numbers of events. They are never reused.
const APPLIED: u8 = 0;
const APPROVED: u8 = 1;
const DECLINED: u8 = 2;
const KFS_ISSUED: u8 = 3;
const KFS_ACCEPTED: u8 = 4;
const DISBURSED: u8 = 5;
const DISBURSAL_RETURNED: u8 = 6;
const RECEIVED: u8 = 7;
const RECEIPT_REVERSED: u8 = 8;
const PREPAID: u8 = 9;
const CHARGED: u8 = 10;
const WAIVED: u8 = 11;
const RATE_RESET: u8 = 12;
const RESCHEDULED: u8 = 13;
const WRITTEN_OFF: u8 = 14;
const RECOVERED: u8 = 15;
const REFUNDED: u8 = 16;
const FORECLOSED: u8 = 17;
const CANCELLED: u8 = 18;
const CLOSED: u8 = 19;
const BORROWER_FELL: u8 = 20;
const BORROWER_ROSE: u8 = 21;
const SETTLED: u8 = 22;
const PAUSED: u8 = 23;
const WATCHED: u8 = 24;

/// Appends a product whose entry before it lies `back` seqs earlier, 0 for none.
pub(super) fn put_product(sink: &mut Sink, saved: &ProductSaved, back: u64) {
    let facts = &saved.facts;
    sink.put_varint(u64::from(saved.number));
    sink.put_varint(u64::from(saved.version));
    sink.put_varint(back);
    sink.put(&saved.created_at.0.to_le_bytes());
    for account in saved.accounts {
        sink.put_varint(u64::from(account.0));
    }
    sink.put_text(&facts.name);
    put_optional_text(sink, facts.external_id.as_deref());
    put_loan_terms(sink, &facts.terms);
    put_amount(sink, facts.principal_min);
    put_amount(sink, facts.principal_max);
    sink.put_u16(facts.kfs_valid_days);
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    sink.put_u8(
        flag(facts.is_secured, IS_SECURED)
            | flag(facts.disbursal_by_another, DISBURSAL_BY_ANOTHER)
            | flag(facts.year_end_account.is_some(), HAS_YEAR_END_ACCOUNT),
    );
    if let Some(account) = facts.year_end_account {
        sink.put_varint(u64::from(account.0));
    }
    put_metadata(sink, &facts.metadata);
}

/// Reads a product; `at` gives the seq at a distance.
pub(super) fn take_product(cursor: &mut Cursor<'_>, at: impl Fn(u64) -> Option<Seq>) -> Option<ProductSaved> {
    let number = take_u32(cursor)?;
    let version = take_u32(cursor)?;
    let previous = at(cursor.take_varint()?)?;
    let created_at = Moment(i64::from_le_bytes(cursor.take_array()?));
    let mut accounts = [AccountNo::default(); ACCOUNT_COUNT];
    for account in &mut accounts {
        *account = AccountNo(take_u32(cursor)?);
    }
    let name = cursor.take_text()?;
    let external_id = take_optional_text(cursor)?;
    let terms = take_loan_terms(cursor)?;
    let (principal_min, principal_max) = (take_amount(cursor)?, take_amount(cursor)?);
    let kfs_valid_days = cursor.take_u16()?;
    // Before there was a second flag, this byte was the first alone.
    let flags = cursor.take_u8().filter(|flags| *flags <= PRODUCT_FLAGS)?;
    let has_year_end_account = flags & HAS_YEAR_END_ACCOUNT != 0;
    let year_end_account = if has_year_end_account { Some(AccountNo(take_u32(cursor)?)) } else { None };
    let facts = ProductFacts {
        name,
        external_id,
        terms,
        principal_min,
        principal_max,
        kfs_valid_days,
        is_secured: flags & IS_SECURED != 0,
        disbursal_by_another: flags & DISBURSAL_BY_ANOTHER != 0,
        year_end_account,
        metadata: take_metadata(cursor)?,
    };
    Some(ProductSaved { number, version, previous, created_at, accounts, facts })
}

/// Events of a loan as the store keeps them, ascending by their order numbers, which are the seqs of their entries.
#[must_use]
pub fn pack_loan_events(events: &[Dated]) -> Vec<u8> {
    let mut sink = Sink::default();
    let mut before = 0;
    for dated in events {
        sink.put_varint(dated.order - before);
        before = dated.order;
        put_day(&mut sink, dated.value_date);
        put_event(&mut sink, &dated.event, Seq(dated.order));
    }
    sink.filled().to_vec()
}

/// What [`pack_loan_events`] wrote; `None` for anything else.
#[must_use]
pub fn unpack_loan_events(bytes: &[u8]) -> Option<Vec<Dated>> {
    let mut cursor = Cursor::new(bytes, 0);
    let (mut events, mut before) = (Vec::new(), 0u64);
    while cursor.at < bytes.len() {
        let order = before.checked_add(cursor.take_varint()?)?;
        before = order;
        let value_date = take_day(&mut cursor)?;
        let at = |back: u64| if back == 0 { Some(Seq::NONE) } else { order.checked_sub(back).map(Seq) };
        events.push(Dated { value_date, order, event: take_event(&mut cursor, at)? });
    }
    Some(events)
}

/// Appends what happened to a loan; the entry's seq is `seq`, the loan's entry before it lies `back` earlier.
pub(super) fn put_loan(sink: &mut Sink, posted: &LoanPosted, seq: Seq, back: u64) {
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    sink.put_varint(u64::from(posted.loan));
    sink.put_varint(back);
    sink.put_varint(u64::from(posted.events_before));
    put_day(sink, posted.value_date);
    sink.put_varint(posted.by);
    sink.put_u8(
        flag(posted.settlement.is_some(), HAS_SETTLEMENT)
            | flag(posted.texts.is_some(), HAS_TEXTS)
            | flag(posted.application.is_some(), HAS_APPLICATION),
    );
    put_event(sink, &posted.event, seq);
    if let Some(account) = posted.settlement {
        sink.put_varint(u64::from(account.0));
    }
    if let Some(texts) = &posted.texts {
        put_optional_text(sink, texts.reference.as_deref());
        put_optional_text(sink, texts.reason.as_deref());
    }
    if let Some(application) = &posted.application {
        put_application(sink, application);
    }
    let Split { penal, fee, interest, principal, prepaid, advance } = posted.split;
    let split = [penal, fee, interest, principal, prepaid, advance];
    put_flag(sink, posted.split != Split::default());
    if posted.split != Split::default() {
        split.into_iter().for_each(|amount| put_amount(sink, amount));
    }
    sink.put_varint(posted.state.len() as u64);
    sink.put(&posted.state);
}

/// Reads it; `at` gives the seq at a distance.
pub(super) fn take_loan(cursor: &mut Cursor<'_>, _seq: Seq, at: impl Fn(u64) -> Option<Seq>) -> Option<LoanPosted> {
    let loan = take_u32(cursor)?;
    let previous = at(cursor.take_varint()?)?;
    let events_before = take_u32(cursor)?;
    let value_date = take_day(cursor)?;
    let by = cursor.take_varint()?;
    let flags = cursor.take_u8()?;
    if flags > (HAS_SETTLEMENT | HAS_TEXTS | HAS_APPLICATION) {
        return None;
    }
    let mut posted = LoanPosted {
        loan,
        previous,
        events_before,
        value_date,
        event: take_event(cursor, at)?,
        by,
        settlement: None,
        texts: None,
        application: None,
        split: Split::default(),
        state: Box::default(),
    };
    if flags & HAS_SETTLEMENT != 0 {
        posted.settlement = Some(AccountNo(take_u32(cursor)?));
    }
    if flags & HAS_TEXTS != 0 {
        let (reference, reason) = (take_optional_text(cursor)?, take_optional_text(cursor)?);
        posted.texts = Some(Box::new(LoanTexts { reference, reason }));
    }
    if flags & HAS_APPLICATION != 0 {
        posted.application = Some(Box::new(take_application(cursor)?));
    }
    if take_flag(cursor)? {
        let Split { penal, fee, interest, principal, prepaid, advance } = &mut posted.split;
        for amount in [penal, fee, interest, principal, prepaid, advance] {
            *amount = take_amount(cursor)?;
        }
    }
    let length = usize::try_from(cursor.take_varint()?).ok()?;
    posted.state = cursor.take(length)?.into();
    Some(posted)
}

fn put_application(sink: &mut Sink, application: &LoanApplication) {
    sink.put_varint(u64::from(application.customer));
    sink.put_varint(u64::from(application.product));
    sink.put_varint(u64::from(application.product_version));
    put_amount(sink, application.principal);
    put_option(sink, application.instalments, |sink, rows| sink.put_varint(u64::from(rows)));
    put_option(sink, application.annual_rate_pct, put_decimal);
    put_option(sink, application.first_due_on, put_day);
    put_option(sink, application.charges.as_deref(), put_charges);
    put_optional_text(sink, application.external_id.as_deref());
    put_metadata(sink, &application.metadata);
}

fn take_application(cursor: &mut Cursor<'_>) -> Option<LoanApplication> {
    Some(LoanApplication {
        customer: take_u32(cursor)?,
        product: take_u32(cursor)?,
        product_version: take_u32(cursor)?,
        principal: take_amount(cursor)?,
        instalments: take_option(cursor, take_u32)?,
        annual_rate_pct: take_option(cursor, take_decimal)?,
        first_due_on: take_option(cursor, take_day)?,
        charges: take_option(cursor, take_charges)?,
        external_id: take_optional_text(cursor)?,
        metadata: take_metadata(cursor)?,
    })
}

fn event_number(event: &LoanEvent) -> u8 {
    match event {
        LoanEvent::Applied { .. } => APPLIED,
        LoanEvent::Approved => APPROVED,
        LoanEvent::Declined => DECLINED,
        LoanEvent::KfsIssued { .. } => KFS_ISSUED,
        LoanEvent::KfsAccepted { .. } => KFS_ACCEPTED,
        LoanEvent::Disbursed { .. } => DISBURSED,
        LoanEvent::DisbursalReturned { .. } => DISBURSAL_RETURNED,
        LoanEvent::Received { .. } => RECEIVED,
        LoanEvent::ReceiptReversed { .. } => RECEIPT_REVERSED,
        LoanEvent::Prepaid { .. } => PREPAID,
        LoanEvent::Charged { .. } => CHARGED,
        LoanEvent::Waived(_) => WAIVED,
        LoanEvent::RateReset { .. } => RATE_RESET,
        LoanEvent::Rescheduled(_) => RESCHEDULED,
        LoanEvent::WrittenOff => WRITTEN_OFF,
        LoanEvent::Recovered { .. } => RECOVERED,
        LoanEvent::Refunded { .. } => REFUNDED,
        LoanEvent::Foreclosed { .. } => FORECLOSED,
        LoanEvent::Cancelled { .. } => CANCELLED,
        LoanEvent::Closed => CLOSED,
        LoanEvent::BorrowerFell { .. } => BORROWER_FELL,
        LoanEvent::BorrowerRose => BORROWER_ROSE,
        LoanEvent::Settled { .. } => SETTLED,
        LoanEvent::Paused { .. } => PAUSED,
        LoanEvent::Watched { .. } => WATCHED,
    }
}

fn put_event(sink: &mut Sink, event: &LoanEvent, seq: Seq) {
    let put_amounts = |sink: &mut Sink, amounts: &[i64]| amounts.iter().for_each(|amount| put_amount(sink, *amount));
    sink.put_u8(event_number(event));
    match *event {
        LoanEvent::Approved
        | LoanEvent::Declined
        | LoanEvent::WrittenOff
        | LoanEvent::Closed
        | LoanEvent::BorrowerRose => {}
        LoanEvent::Applied { principal } => put_amount(sink, principal),
        LoanEvent::KfsIssued { version, valid_through } => {
            sink.put_varint(u64::from(version));
            put_day(sink, valid_through);
        }
        LoanEvent::KfsAccepted { version } => sink.put_varint(u64::from(version)),
        LoanEvent::Disbursed { amount, deducted: Deducted { fee, gst, third_party }, mode } => {
            put_amounts(sink, &[amount, fee, gst, third_party]);
            put_mode(sink, mode);
        }
        LoanEvent::DisbursalReturned { of } | LoanEvent::ReceiptReversed { of } => {
            debug_assert!(0 < of && of < seq.0, "what is undone was recorded before");
            sink.put_varint(seq.0.wrapping_sub(of));
        }
        LoanEvent::Received { amount, tds, mode } => {
            put_amounts(sink, &[amount, tds]);
            put_mode(sink, mode);
        }
        LoanEvent::Prepaid { amount, keep, mode } => {
            put_amount(sink, amount);
            put_keep(sink, keep);
            put_mode(sink, mode);
        }
        LoanEvent::Charged { kind, amount, gst } => {
            put_charge_kind(sink, kind);
            put_amounts(sink, &[amount, gst]);
        }
        LoanEvent::Waived(Waiver { interest, penal, fee, gst }) => put_amounts(sink, &[interest, penal, fee, gst]),
        LoanEvent::RateReset { annual_rate_pct, keep } => {
            put_decimal(sink, annual_rate_pct);
            put_keep(sink, keep);
        }
        LoanEvent::Rescheduled(new) => put_plan(sink, &new),
        LoanEvent::Recovered { amount, mode }
        | LoanEvent::Refunded { amount, mode }
        | LoanEvent::Cancelled { amount, mode } => {
            put_amount(sink, amount);
            put_mode(sink, mode);
        }
        LoanEvent::Foreclosed { amount, charge, gst, mode } => {
            put_amounts(sink, &[amount, charge, gst]);
            put_mode(sink, mode);
        }
        LoanEvent::BorrowerFell { since } => put_day(sink, since),
        LoanEvent::Settled { amount, given_up, mode } => {
            put_amounts(sink, &[amount, given_up]);
            put_mode(sink, mode);
        }
        LoanEvent::Paused { until } => put_day(sink, until),
        LoanEvent::Watched { on } => put_flag(sink, on),
    }
}

fn take_event(cursor: &mut Cursor<'_>, at: impl Fn(u64) -> Option<Seq>) -> Option<LoanEvent> {
    let earlier = |cursor: &mut Cursor<'_>| at(cursor.take_varint()?).filter(|of| *of != Seq::NONE).map(|of| of.0);
    let amount = take_amount;
    Some(match cursor.take_u8()? {
        APPLIED => LoanEvent::Applied { principal: amount(cursor)? },
        APPROVED => LoanEvent::Approved,
        DECLINED => LoanEvent::Declined,
        KFS_ISSUED => LoanEvent::KfsIssued { version: take_u32(cursor)?, valid_through: take_day(cursor)? },
        KFS_ACCEPTED => LoanEvent::KfsAccepted { version: take_u32(cursor)? },
        DISBURSED => {
            let of = amount(cursor)?;
            let (fee, gst, third_party) = (amount(cursor)?, amount(cursor)?, amount(cursor)?);
            let deducted = Deducted { fee, gst, third_party };
            LoanEvent::Disbursed { amount: of, deducted, mode: take_mode(cursor)? }
        }
        DISBURSAL_RETURNED => LoanEvent::DisbursalReturned { of: earlier(cursor)? },
        RECEIVED => LoanEvent::Received { amount: amount(cursor)?, tds: amount(cursor)?, mode: take_mode(cursor)? },
        RECEIPT_REVERSED => LoanEvent::ReceiptReversed { of: earlier(cursor)? },
        PREPAID => LoanEvent::Prepaid { amount: amount(cursor)?, keep: take_keep(cursor)?, mode: take_mode(cursor)? },
        CHARGED => {
            LoanEvent::Charged { kind: take_charge_kind(cursor)?, amount: amount(cursor)?, gst: amount(cursor)? }
        }
        WAIVED => {
            let (interest, penal) = (amount(cursor)?, amount(cursor)?);
            LoanEvent::Waived(Waiver { interest, penal, fee: amount(cursor)?, gst: amount(cursor)? })
        }
        RATE_RESET => LoanEvent::RateReset { annual_rate_pct: take_decimal(cursor)?, keep: take_keep(cursor)? },
        RESCHEDULED => LoanEvent::Rescheduled(take_plan(cursor)?),
        WRITTEN_OFF => LoanEvent::WrittenOff,
        RECOVERED => LoanEvent::Recovered { amount: amount(cursor)?, mode: take_mode(cursor)? },
        REFUNDED => LoanEvent::Refunded { amount: amount(cursor)?, mode: take_mode(cursor)? },
        FORECLOSED => {
            let (paid, charge, gst) = (amount(cursor)?, amount(cursor)?, amount(cursor)?);
            LoanEvent::Foreclosed { amount: paid, charge, gst, mode: take_mode(cursor)? }
        }
        CANCELLED => LoanEvent::Cancelled { amount: amount(cursor)?, mode: take_mode(cursor)? },
        CLOSED => LoanEvent::Closed,
        BORROWER_FELL => LoanEvent::BorrowerFell { since: take_day(cursor)? },
        BORROWER_ROSE => LoanEvent::BorrowerRose,
        SETTLED => {
            let (paid, given_up) = (amount(cursor)?, amount(cursor)?);
            LoanEvent::Settled { amount: paid, given_up, mode: take_mode(cursor)? }
        }
        PAUSED => LoanEvent::Paused { until: take_day(cursor)? },
        WATCHED => LoanEvent::Watched { on: take_flag(cursor)? },
        _ => return None,
    })
}

fn put_plan(sink: &mut Sink, new: &NewPlan) {
    put_decimal(sink, new.annual_rate_pct);
    sink.put_varint(u64::from(new.instalments));
    put_day(sink, new.first_due_on);
    put_option(sink, new.moratorium, put_moratorium);
}

fn take_plan(cursor: &mut Cursor<'_>) -> Option<NewPlan> {
    Some(NewPlan {
        annual_rate_pct: take_decimal(cursor)?,
        instalments: take_u32(cursor)?,
        first_due_on: take_day(cursor)?,
        moratorium: take_option(cursor, take_moratorium)?,
    })
}

#[cfg(test)]
pub(super) mod tests;
