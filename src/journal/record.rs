//! Records as bytes: entries, run heads, trailers.
//!
//! Promise: what is decoded equals what was encoded, bit for bit; whatever else is found in the
//! bytes is `None`, never a panic. docs/format.md draws all of it.
//!
//! An entry begins with a control word of two bytes (little endian):
//!
//! | bits | transfer | other |
//! |---|---|---|
//! | 0–1, 2–3 | bytes of debit − 1, of credit − 1 | bits 0–12: kind |
//! | 4–6 | bytes of the amount − 1 | |
//! | 7–9, 10–12 | bytes of seq − previous_debit, of seq − previous_credit (0: none) | |
//! | 13–15 | op, see `OP_*` | 7 |
//!
//! All five numbers of a plain transfer are stored by one eight-byte write each, whose unused
//! bytes the next write covers: no loops, no branches on sizes, 12–17 bytes a transfer.

use super::access;
use super::lending;
use super::loans;
use super::objects;
use super::sweeps;
use super::varint::{Cursor, ROOM_BYTES, Sink, keep, width};
use crate::domain::account::{AccountType, BalanceRule, Status};
use crate::domain::entry::{
    AccountChanged, AccountCold, AccountOpened, Entry, Metadata, TransferCold, TransferEntry, TransferOp,
};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::money::Currency;
use crate::domain::time::Day;

/// Head of a run, as a reader sees it: which record an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunHead {
    /// First seq of the record; the run may begin later when the record began in an earlier block.
    pub first_seq: Seq,
    /// Moment of the record.
    pub moment: Moment,
    /// Business date of the record.
    pub date: Day,
    /// Whether the record begins in this run.
    pub is_first: bool,
    /// Whether the record ends in this run: a trailer follows the entries.
    pub is_last: bool,
}

/// An idempotency key as the journal keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMark {
    /// Hash of owner, route and key.
    pub hash: [u8; 16],
    /// Hash of the request's body.
    pub fingerprint: [u8; 16],
}

/// What stands once at the end of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailer<'a> {
    /// The idempotency key, when the command had one.
    pub key: Option<KeyMark>,
    /// Who asked; 0 is nobody in particular.
    pub owner: u64,
    /// Number of the request; 0 is none.
    pub request: u64,
    /// The reply for replays, opaque, ≤ [`REPLY_BYTES_MAX`]; the first byte is its renderer's version.
    pub reply: &'a [u8],
}

/// Longest reply that a trailer takes, in bytes: one block of its own, with headers, stays below 64 KiB.
pub const REPLY_BYTES_MAX: usize = 60_000;

/// Seqs stay below this: a distance between two of them then fits seven bytes.
pub(super) const SEQ_MAX: u64 = 1 << 56;

const OP_PLAIN: u16 = 0;
const OP_POSTED: u16 = 1;
const OP_PENDING: u16 = 2;
const OP_POST: u16 = 3;
const OP_VOID: u16 = 4;
const OP_EXPIRE: u16 = 5;
const OP_REVERSAL: u16 = 6;
const OP_OTHER: u16 = 7;

/// Bits of the byte that follows the numbers of every transfer that is not plain.
const HAS_CODE: u8 = 1;
const HAS_EFFECTIVE: u8 = 2;
const HAS_COLD: u8 = 4;
const HAS_EXPIRY: u8 = 8;

/// Kinds of entries that are no transfer. Numbers are never reused.
const KIND_ACCOUNT_OPENED: u16 = 0;
const KIND_ACCOUNT_CHANGED: u16 = 1;
const KIND_PERIOD_CLOSED: u16 = 2;
const KIND_PERIOD_REOPENED: u16 = 3;
const KIND_DAY_ROLLED: u16 = 4;
const KIND_CLOCK_ACCEPTED: u16 = 5;
const KIND_REFUSED: u16 = 6;
const KIND_API_KEY_MADE: u16 = 7;
const KIND_API_KEY_CHANGED: u16 = 8;
const KIND_ACCESS_REFUSED: u16 = 9;
const KIND_CUSTOMER_SAVED: u16 = 10;
const KIND_PRODUCT_SAVED: u16 = 11;
const KIND_LOAN_POSTED: u16 = 12;
const KIND_DAY_CLOSED: u16 = 13;
const KIND_LOANS_SWEPT: u16 = 14;
const KIND_DAY_ENDED: u16 = 15;
const KIND_MONTH_ENDED: u16 = 16;
const KIND_OBJECT_SAVED: u16 = 20;
const KIND_JOB_BORN: u16 = 21;

/// Bits of a run head's first byte.
pub(super) const RUN_FIRST: u8 = 1;
pub(super) const RUN_LAST: u8 = 2;
const RUN_DATE: u8 = 4;

/// Bits of a trailer's first byte.
const TRAILER_KEY: u8 = 1;
const TRAILER_OWNER: u8 = 2;
const TRAILER_REQUEST: u8 = 4;
const TRAILER_REPLY: u8 = 8;

/// Appends any entry whose seq is `seq`.
pub(super) fn put_entry(sink: &mut Sink, seq: Seq, entry: &Entry) {
    let other = |sink: &mut Sink, kind: u16| sink.put_u16((OP_OTHER << 13) | kind);
    match entry {
        Entry::Transfer(transfer) => put_transfer(sink, seq, transfer),
        Entry::AccountOpened(opened) => {
            other(sink, KIND_ACCOUNT_OPENED);
            put_account_opened(sink, opened);
        }
        Entry::AccountChanged(changed) => {
            other(sink, KIND_ACCOUNT_CHANGED);
            sink.put_varint(u64::from(changed.account.0));
            sink.put_u8(changed.status as u8);
            sink.put_varint(u64::from(changed.version));
            sink.put_varint(distance(seq, changed.previous));
            put_account_cold(sink, &changed.cold);
        }
        Entry::PeriodClosed { through } => {
            other(sink, KIND_PERIOD_CLOSED);
            sink.put_u16(through.0);
        }
        Entry::PeriodReopened { through, reason } => {
            other(sink, KIND_PERIOD_REOPENED);
            sink.put_u8(u8::from(through.is_some()));
            sink.put_u16(through.unwrap_or_default().0);
            sink.put_text(reason);
        }
        Entry::DayRolled { date } => {
            other(sink, KIND_DAY_ROLLED);
            sink.put_u16(date.0);
        }
        Entry::ClockAccepted => other(sink, KIND_CLOCK_ACCEPTED),
        Entry::Refused => other(sink, KIND_REFUSED),
        Entry::ApiKeyMade(made) => {
            other(sink, KIND_API_KEY_MADE);
            access::put_key_made(sink, made);
        }
        Entry::ApiKeyChanged(changed) => {
            other(sink, KIND_API_KEY_CHANGED);
            access::put_key_changed(sink, changed);
        }
        Entry::AccessRefused(refused) => {
            other(sink, KIND_ACCESS_REFUSED);
            access::put_refusal(sink, refused);
        }
        Entry::ObjectSaved(saved) => {
            other(sink, KIND_OBJECT_SAVED);
            objects::put_object(sink, seq, saved);
        }
        Entry::JobBorn(born) => {
            other(sink, KIND_JOB_BORN);
            objects::put_job(sink, born);
        }
        lending => put_lending(sink, seq, lending),
    }
}

/// Appends an entry about lending; there are no others left.
fn put_lending(sink: &mut Sink, seq: Seq, entry: &Entry) {
    let other = |sink: &mut Sink, kind: u16| sink.put_u16((OP_OTHER << 13) | kind);
    match entry {
        Entry::CustomerSaved(saved) => {
            other(sink, KIND_CUSTOMER_SAVED);
            lending::put_customer(sink, saved, distance(seq, saved.previous));
        }
        Entry::ProductSaved(saved) => {
            other(sink, KIND_PRODUCT_SAVED);
            loans::put_product(sink, saved, distance(seq, saved.previous));
        }
        Entry::LoanPosted(posted) => {
            other(sink, KIND_LOAN_POSTED);
            loans::put_loan(sink, posted, seq, distance(seq, posted.previous));
        }
        Entry::DayClosed(closed) => {
            other(sink, KIND_DAY_CLOSED);
            sweeps::put_day_closed(sink, closed);
        }
        Entry::LoansSwept(swept) => {
            other(sink, KIND_LOANS_SWEPT);
            sweeps::put_swept(sink, swept);
        }
        Entry::DayEnded(ended) => {
            other(sink, KIND_DAY_ENDED);
            sweeps::put_day_ended(sink, ended);
        }
        Entry::MonthEnded(ended) => {
            other(sink, KIND_MONTH_ENDED);
            sweeps::put_month_ended(sink, ended);
        }
        _ => unreachable!("all other entries are put by the caller"),
    }
}

/// `seq − earlier`, 0 when there is none.
#[inline]
fn distance(seq: Seq, earlier: Seq) -> u64 {
    debug_assert!(earlier < seq, "a chain points backwards");
    if earlier == Seq::NONE { 0 } else { seq.0 - earlier.0 }
}

/// The seq at a stored distance; `None` when it would lie before the first one.
#[inline]
fn at_distance(seq: Seq, distance: u64) -> Option<Seq> {
    if distance == 0 { Some(Seq::NONE) } else { seq.0.checked_sub(distance).filter(|s| *s > 0).map(Seq) }
}

/// Appends a transfer whose seq is `seq`. Allocates nothing.
#[inline]
pub(super) fn put_transfer(sink: &mut Sink, seq: Seq, transfer: &TransferEntry) {
    let op = match transfer.op {
        TransferOp::Posted => {
            let plain = transfer.code == 0 && transfer.effective.is_none() && transfer.cold.is_none();
            if plain { OP_PLAIN } else { OP_POSTED }
        }
        TransferOp::Pending { .. } => OP_PENDING,
        TransferOp::PostPending { .. } => OP_POST,
        TransferOp::VoidPending { .. } => OP_VOID,
        TransferOp::ExpirePending { .. } => OP_EXPIRE,
        TransferOp::Reversal { .. } => OP_REVERSAL,
    };
    let (debit, credit) = (u64::from(transfer.debit.0), u64::from(transfer.credit.0));
    let previous_debit = distance(seq, transfer.previous_debit);
    let previous_credit = distance(seq, transfer.previous_credit);
    let widths = [
        width(debit | 1),
        width(credit | 1),
        width(transfer.amount | 1),
        width(previous_debit),
        width(previous_credit),
    ];
    let control = (widths[0] - 1) | (widths[1] - 1) << 2 | (widths[2] - 1) << 4 | widths[3] << 7 | widths[4] << 10;
    let room = sink.room();
    room[..2].copy_from_slice(&((control as u16) | op << 13).to_le_bytes());
    let mut at = 2;
    for (value, width) in [debit, credit, transfer.amount, previous_debit, previous_credit].into_iter().zip(widths) {
        // At most 2 + 4 × 8 + 8 bytes are touched: the room is larger than that.
        room[at..at + 8].copy_from_slice(&value.to_le_bytes());
        at += width;
    }
    sink.claim(at);
    if op != OP_PLAIN {
        put_transfer_rest(sink, seq, transfer);
    }
}

const _: () = assert!(2 + 5 * 8 <= ROOM_BYTES, "a plain transfer fits the room of a sink");

fn put_transfer_rest(sink: &mut Sink, seq: Seq, transfer: &TransferEntry) {
    let expires_at = if let TransferOp::Pending { expires_at } = transfer.op { expires_at } else { None };
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    sink.put_u8(
        flag(transfer.code != 0, HAS_CODE)
            | flag(transfer.effective.is_some(), HAS_EFFECTIVE)
            | flag(transfer.cold.is_some(), HAS_COLD)
            | flag(expires_at.is_some(), HAS_EXPIRY),
    );
    match transfer.op {
        TransferOp::Posted | TransferOp::Pending { .. } => {}
        TransferOp::PostPending { hold, held } => {
            sink.put_varint(distance(seq, hold));
            sink.put_varint(held);
        }
        TransferOp::VoidPending { hold } | TransferOp::ExpirePending { hold } => sink.put_varint(distance(seq, hold)),
        TransferOp::Reversal { of } => sink.put_varint(distance(seq, of)),
    }
    if transfer.code != 0 {
        sink.put_varint(u64::from(transfer.code));
    }
    if let Some(day) = transfer.effective {
        sink.put_u16(day.0);
    }
    if let Some(moment) = expires_at {
        sink.put(&moment.0.to_le_bytes());
    }
    if let Some(cold) = &transfer.cold {
        put_optional_text(sink, cold.external_id.as_deref());
        put_optional_text(sink, cold.description.as_deref());
        put_metadata(sink, &cold.metadata);
    }
}

/// 0 for none, else length + 1 and the text.
pub(super) fn put_optional_text(sink: &mut Sink, text: Option<&str>) {
    sink.put_varint(text.map_or(0, |text| text.len() as u64 + 1));
    sink.put(text.unwrap_or_default().as_bytes());
}

pub(super) fn put_metadata(sink: &mut Sink, metadata: &Metadata) {
    sink.put_varint(metadata.len() as u64);
    for (key, value) in metadata {
        sink.put_text(key);
        sink.put_text(value);
    }
}

fn put_account_opened(sink: &mut Sink, opened: &AccountOpened) {
    sink.put_varint(u64::from(opened.account.0));
    sink.put(&[opened.currency.0, opened.account_type as u8, opened.balance_rule as u8]);
    sink.put_varint(u64::from(opened.code));
    put_account_cold(sink, &opened.cold);
}

fn put_account_cold(sink: &mut Sink, cold: &AccountCold) {
    sink.put(&cold.created_at.0.to_le_bytes());
    put_optional_text(sink, cold.external_id.as_deref());
    put_optional_text(sink, cold.name.as_deref());
    put_metadata(sink, &cold.metadata);
}

/// Reads the entry whose seq is `seq`.
#[inline]
pub(super) fn take_entry(cursor: &mut Cursor<'_>, seq: Seq) -> Option<Entry> {
    let control = u16::from_le_bytes(*cursor.bytes.get(cursor.at..)?.first_chunk()?);
    if control >> 13 == OP_OTHER {
        cursor.at += 2;
        return take_other(cursor, seq, control & 0x1FFF);
    }
    take_transfer(cursor, seq).map(Entry::Transfer)
}

#[inline]
fn take_transfer(cursor: &mut Cursor<'_>, seq: Seq) -> Option<TransferEntry> {
    // The fast way loads whole words, also beyond the entry; near the end of the bytes a copy
    // with zeros behind it is read instead.
    let mut padded = [0u8; ROOM_BYTES];
    let window: &[u8; ROOM_BYTES] = if let Some(window) = cursor.bytes.get(cursor.at..)?.first_chunk() {
        window
    } else {
        let rest = &cursor.bytes[cursor.at..];
        padded[..rest.len()].copy_from_slice(rest);
        &padded
    };
    let control = usize::from(u16::from_le_bytes([window[0], window[1]]));
    let mut at = 2;
    let mut next = |width: usize| {
        let mut word = [0u8; 8];
        word.copy_from_slice(&window[at..at + 8]);
        at += width;
        keep(u64::from_le_bytes(word), width)
    };
    let debit = next((control & 3) + 1);
    let credit = next((control >> 2 & 3) + 1);
    let amount = next((control >> 4 & 7) + 1);
    let previous_debit = next(control >> 7 & 7);
    let previous_credit = next(control >> 10 & 7);
    cursor.at += at;
    if cursor.at > cursor.bytes.len() {
        return None;
    }
    let mut transfer = TransferEntry {
        op: TransferOp::Posted,
        debit: AccountNo(debit as u32),
        credit: AccountNo(credit as u32),
        amount,
        code: 0,
        effective: None,
        previous_debit: at_distance(seq, previous_debit)?,
        previous_credit: at_distance(seq, previous_credit)?,
        cold: None,
    };
    let op = (control >> 13) as u16;
    if op != OP_PLAIN {
        take_transfer_rest(cursor, seq, op, &mut transfer)?;
    }
    Some(transfer)
}

fn take_transfer_rest(cursor: &mut Cursor<'_>, seq: Seq, op: u16, transfer: &mut TransferEntry) -> Option<()> {
    let flags = cursor.take_u8()?;
    if flags > 15 || (flags & HAS_EXPIRY != 0 && op != OP_PENDING) {
        return None;
    }
    let earlier = |cursor: &mut Cursor<'_>| at_distance(seq, cursor.take_varint()?).filter(|s| *s != Seq::NONE);
    transfer.op = match op {
        OP_POSTED => TransferOp::Posted,
        OP_PENDING => TransferOp::Pending { expires_at: None },
        OP_POST => TransferOp::PostPending { hold: earlier(cursor)?, held: cursor.take_varint()? },
        OP_VOID => TransferOp::VoidPending { hold: earlier(cursor)? },
        OP_EXPIRE => TransferOp::ExpirePending { hold: earlier(cursor)? },
        OP_REVERSAL => TransferOp::Reversal { of: earlier(cursor)? },
        _ => return None,
    };
    if flags & HAS_CODE != 0 {
        transfer.code = u32::try_from(cursor.take_varint()?).ok()?;
    }
    if flags & HAS_EFFECTIVE != 0 {
        transfer.effective = Some(Day(cursor.take_u16()?));
    }
    if flags & HAS_EXPIRY != 0 {
        let expires_at = Some(Moment(i64::from_le_bytes(cursor.take_array()?)));
        transfer.op = TransferOp::Pending { expires_at };
    }
    if flags & HAS_COLD != 0 {
        transfer.cold = Some(Box::new(TransferCold {
            external_id: take_optional_text(cursor)?,
            description: take_optional_text(cursor)?,
            metadata: take_metadata(cursor)?,
        }));
    }
    Some(())
}

pub(super) fn take_optional_text(cursor: &mut Cursor<'_>) -> Option<Option<Box<str>>> {
    let Some(length) = cursor.take_varint()?.checked_sub(1) else { return Some(None) };
    let bytes = cursor.take(usize::try_from(length).ok()?)?;
    Some(Some(std::str::from_utf8(bytes).ok()?.into()))
}

pub(super) fn take_metadata(cursor: &mut Cursor<'_>) -> Option<Metadata> {
    let count = usize::try_from(cursor.take_varint()?).ok()?;
    // A pair takes at least two bytes: a count beyond that is damage, and must not reserve memory.
    if count > cursor.bytes.len().saturating_sub(cursor.at) / 2 {
        return None;
    }
    (0..count).map(|_| Some((cursor.take_text()?, cursor.take_text()?))).collect()
}

fn take_account_cold(cursor: &mut Cursor<'_>) -> Option<AccountCold> {
    Some(AccountCold {
        created_at: Moment(i64::from_le_bytes(cursor.take_array()?)),
        external_id: take_optional_text(cursor)?,
        name: take_optional_text(cursor)?,
        metadata: take_metadata(cursor)?,
    })
}

fn take_other(cursor: &mut Cursor<'_>, seq: Seq, kind: u16) -> Option<Entry> {
    let account = |cursor: &mut Cursor<'_>| u32::try_from(cursor.take_varint()?).ok().map(AccountNo);
    Some(match kind {
        KIND_ACCOUNT_OPENED => Entry::AccountOpened(Box::new(AccountOpened {
            account: account(cursor)?,
            currency: Currency::from_place(cursor.take_u8()?)?,
            account_type: AccountType::from_number(cursor.take_u8()?)?,
            balance_rule: BalanceRule::from_number(cursor.take_u8()?)?,
            code: u32::try_from(cursor.take_varint()?).ok()?,
            cold: take_account_cold(cursor)?,
        })),
        KIND_ACCOUNT_CHANGED => Entry::AccountChanged(Box::new(AccountChanged {
            account: account(cursor)?,
            status: Status::from_number(cursor.take_u8()?)?,
            version: u32::try_from(cursor.take_varint()?).ok()?,
            previous: at_distance(seq, cursor.take_varint()?)?,
            cold: take_account_cold(cursor)?,
        })),
        KIND_PERIOD_CLOSED => Entry::PeriodClosed { through: Day(cursor.take_u16()?) },
        KIND_PERIOD_REOPENED => {
            let has_through = cursor.take_u8()? != 0;
            let day = Day(cursor.take_u16()?);
            Entry::PeriodReopened { through: has_through.then_some(day), reason: cursor.take_text()? }
        }
        KIND_DAY_ROLLED => Entry::DayRolled { date: Day(cursor.take_u16()?) },
        KIND_CLOCK_ACCEPTED => Entry::ClockAccepted,
        KIND_REFUSED => Entry::Refused,
        KIND_API_KEY_MADE => Entry::ApiKeyMade(Box::new(access::take_key_made(cursor)?)),
        KIND_API_KEY_CHANGED => Entry::ApiKeyChanged(Box::new(access::take_key_changed(cursor)?)),
        KIND_ACCESS_REFUSED => Entry::AccessRefused(Box::new(access::take_refusal(cursor)?)),
        KIND_CUSTOMER_SAVED => {
            Entry::CustomerSaved(Box::new(lending::take_customer(cursor, |back| at_distance(seq, back))?))
        }
        KIND_PRODUCT_SAVED => {
            Entry::ProductSaved(Box::new(loans::take_product(cursor, |back| at_distance(seq, back))?))
        }
        KIND_LOAN_POSTED => Entry::LoanPosted(Box::new(loans::take_loan(cursor, seq, |back| at_distance(seq, back))?)),
        KIND_DAY_CLOSED => Entry::DayClosed(Box::new(sweeps::take_day_closed(cursor)?)),
        KIND_LOANS_SWEPT => Entry::LoansSwept(Box::new(sweeps::take_swept(cursor)?)),
        KIND_DAY_ENDED => Entry::DayEnded(Box::new(sweeps::take_day_ended(cursor)?)),
        KIND_MONTH_ENDED => Entry::MonthEnded(Box::new(sweeps::take_month_ended(cursor)?)),
        KIND_OBJECT_SAVED => Entry::ObjectSaved(Box::new(objects::take_object(cursor, seq)?)),
        KIND_JOB_BORN => Entry::JobBorn(Box::new(objects::take_job(cursor)?)),
        _ => return None,
    })
}

/// What a block says once for all its runs: heads store differences from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunBase {
    pub(super) moment: Moment,
    pub(super) date: Day,
}

/// Appends the head of the run that begins at `seq`.
pub(super) fn put_run_head(sink: &mut Sink, base: RunBase, seq: Seq, head: &RunHead) {
    let has_date = head.date != base.date;
    let first = if head.is_first { RUN_FIRST } else { 0 };
    let last = if head.is_last { RUN_LAST } else { 0 };
    sink.put_u8(first | last | if has_date { RUN_DATE } else { 0 });
    if !head.is_first {
        sink.put_varint(seq.0 - head.first_seq.0);
    }
    debug_assert!(head.moment >= base.moment, "moments of a block do not go back behind its base");
    sink.put_varint(head.moment.0.wrapping_sub(base.moment.0) as u64);
    if has_date {
        sink.put_u16(head.date.0);
    }
}

/// Reads the head of the run that begins at `seq`.
pub(super) fn take_run_head(cursor: &mut Cursor<'_>, base: RunBase, seq: Seq) -> Option<RunHead> {
    let flags = cursor.take_u8()?;
    let is_first = flags & RUN_FIRST != 0;
    let back = if is_first { 0 } else { cursor.take_varint()? };
    let moment = Moment(base.moment.0.wrapping_add(cursor.take_varint()? as i64));
    let date = if flags & RUN_DATE != 0 { Day(cursor.take_u16()?) } else { base.date };
    let first_seq = seq.0.checked_sub(back).filter(|s| *s > 0).map(Seq)?;
    let is_known = flags <= 7 && (is_first == (back == 0));
    is_known.then_some(RunHead { first_seq, moment, date, is_first, is_last: flags & RUN_LAST != 0 })
}

/// Appends a trailer.
pub(super) fn put_trailer(sink: &mut Sink, trailer: &Trailer<'_>) {
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    sink.put_u8(
        flag(trailer.key.is_some(), TRAILER_KEY)
            | flag(trailer.owner != 0, TRAILER_OWNER)
            | flag(trailer.request != 0, TRAILER_REQUEST)
            | flag(!trailer.reply.is_empty(), TRAILER_REPLY),
    );
    if let Some(key) = &trailer.key {
        sink.put(&key.hash);
        sink.put(&key.fingerprint);
    }
    if trailer.owner != 0 {
        sink.put_varint(trailer.owner);
    }
    if trailer.request != 0 {
        sink.put_u64(trailer.request);
    }
    if !trailer.reply.is_empty() {
        sink.put_varint(trailer.reply.len() as u64);
        sink.put(trailer.reply);
    }
}

/// Reads a trailer.
pub(super) fn take_trailer<'a>(cursor: &mut Cursor<'a>) -> Option<Trailer<'a>> {
    let flags = cursor.take_u8()?;
    if flags > 15 {
        return None;
    }
    let mut trailer = Trailer::default();
    if flags & TRAILER_KEY != 0 {
        trailer.key = Some(KeyMark { hash: cursor.take_array()?, fingerprint: cursor.take_array()? });
    }
    if flags & TRAILER_OWNER != 0 {
        trailer.owner = cursor.take_varint()?;
    }
    if flags & TRAILER_REQUEST != 0 {
        trailer.request = cursor.take_u64()?;
    }
    if flags & TRAILER_REPLY != 0 {
        let length = usize::try_from(cursor.take_varint()?).ok()?;
        trailer.reply = cursor.take(length)?;
    }
    Some(trailer)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::access::{AccessRefused, ApiKeyChanged, ApiKeyMade, KeyChange, KeyLimits, KeyTerms, Role};
    use crate::domain::objects::{Collection, JobBorn, ObjectSaved};
    use proptest::prelude::*;

    pub(in crate::journal) fn text(max: usize) -> impl Strategy<Value = Option<Box<str>>> {
        proptest::option::of(proptest::collection::vec(any::<char>(), 0..max))
            .prop_map(|chars| chars.map(|chars| chars.into_iter().collect::<String>().into()))
    }

    pub(in crate::journal) fn metadata() -> impl Strategy<Value = Metadata> {
        proptest::collection::vec((text(5), text(20)), 0..4)
            .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.unwrap_or_default(), v.unwrap_or_default())).collect())
    }

    fn account_cold() -> impl Strategy<Value = AccountCold> {
        (any::<i64>(), text(10), text(30), metadata()).prop_map(|(created_at, external_id, name, metadata)| {
            AccountCold { created_at: Moment(created_at), external_id, name, metadata }
        })
    }

    /// Numbers of all sizes, small ones often.
    fn sized(max: u64) -> impl Strategy<Value = u64> {
        (0u32..64, any::<u64>()).prop_map(move |(shift, value)| (value >> shift) % max)
    }

    pub(in crate::journal) const SEQ: Seq = Seq(SEQ_MAX - 1);

    pub(in crate::journal) fn earlier() -> impl Strategy<Value = Seq> {
        sized(SEQ.0).prop_map(|back| Seq(SEQ.0 - 1 - back % (SEQ.0 - 1)))
    }

    fn op() -> impl Strategy<Value = TransferOp> {
        prop_oneof![
            4 => Just(TransferOp::Posted),
            1 => proptest::option::of(any::<i64>().prop_map(Moment))
                .prop_map(|expires_at| TransferOp::Pending { expires_at }),
            1 => (earlier(), any::<u64>()).prop_map(|(hold, held)| TransferOp::PostPending { hold, held }),
            1 => earlier().prop_map(|hold| TransferOp::VoidPending { hold }),
            1 => earlier().prop_map(|hold| TransferOp::ExpirePending { hold }),
            1 => earlier().prop_map(|of| TransferOp::Reversal { of }),
        ]
    }

    fn transfer() -> impl Strategy<Value = Entry> {
        let cold = (text(8), text(40), metadata()).prop_map(|(external_id, description, metadata)| TransferCold {
            external_id,
            description,
            metadata,
        });
        let accounts = (sized(1 << 32), sized(1 << 32), any::<u64>());
        let previous = (proptest::option::of(earlier()), proptest::option::of(earlier()));
        let rest = (any::<u32>(), any::<bool>(), proptest::option::of(any::<u16>()), proptest::option::of(cold));
        (op(), accounts, previous, rest).prop_map(
            |(op, (debit, credit, amount), (debit_before, credit_before), (code, has_code, effective, cold))| {
                Entry::Transfer(TransferEntry {
                    op,
                    debit: AccountNo(debit as u32),
                    credit: AccountNo(credit as u32),
                    amount,
                    code: if has_code { code } else { 0 },
                    effective: effective.map(Day),
                    previous_debit: debit_before.unwrap_or_default(),
                    previous_credit: credit_before.unwrap_or_default(),
                    cold: cold.map(Box::new),
                })
            },
        )
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let opened = (any::<u32>(), 0u8..3, 0u8..5, 0u8..3, any::<u32>(), account_cold()).prop_map(
            |(account, currency, account_type, rule, code, cold)| {
                Entry::AccountOpened(Box::new(AccountOpened {
                    account: AccountNo(account),
                    currency: Currency::from_place(currency).unwrap(),
                    account_type: AccountType::from_number(account_type).unwrap(),
                    code,
                    balance_rule: BalanceRule::from_number(rule).unwrap(),
                    cold,
                }))
            },
        );
        let changed = (any::<u32>(), 0u8..3, any::<u32>(), earlier(), account_cold()).prop_map(
            |(account, status, version, previous, cold)| {
                let status = Status::from_number(status).unwrap();
                let account = AccountNo(account);
                Entry::AccountChanged(Box::new(AccountChanged { account, status, version, previous, cold }))
            },
        );
        prop_oneof![
            6 => transfer(),
            1 => opened,
            1 => changed,
            1 => any::<u16>().prop_map(|day| Entry::PeriodClosed { through: Day(day) }),
            1 => (proptest::option::of(any::<u16>()), text(20)).prop_map(|(day, reason)| Entry::PeriodReopened {
                through: day.map(Day),
                reason: reason.unwrap_or_default(),
            }),
            1 => any::<u16>().prop_map(|day| Entry::DayRolled { date: Day(day) }),
            1 => Just(Entry::ClockAccepted),
            1 => Just(Entry::Refused),
            2 => access_entry(),
            3 => loans::tests::entry(),
            1 => object_entry(),
        ]
    }

    fn object_entry() -> impl Strategy<Value = Entry> {
        let body = || proptest::collection::vec(any::<u8>(), 0..60).prop_map(Vec::into_boxed_slice);
        let numbers = (1u32..9, 1u32..9, 0u64..SEQ.0, any::<i64>(), any::<u64>());
        let saved = (0u8..3, numbers, body()).prop_map(|(collection, (number, version, previous, at, by), body)| {
            let collection = Collection::from_number(collection).unwrap();
            let (previous, created_at) = (Seq(previous), Moment(at));
            Entry::ObjectSaved(Box::new(ObjectSaved { collection, number, version, previous, created_at, by, body }))
        });
        let born = (text(9), body(), 0u8..10, any::<Option<i64>>(), any::<u64>()).prop_map(
            |(kind, args, priority, run_at, by)| {
                let (kind, run_at) = (kind.unwrap_or_default(), run_at.map(Moment));
                Entry::JobBorn(Box::new(JobBorn { kind, args, priority, run_at, by }))
            },
        );
        prop_oneof![saved, born]
    }

    fn access_entry() -> impl Strategy<Value = Entry> {
        let texts = proptest::collection::vec(text(12), 0..5);
        let options = (any::<Option<u64>>(), any::<Option<i64>>(), any::<Option<[u8; 32]>>());
        let made = (any::<(u64, u64)>(), text(40), 0u8..6, texts, any::<[u32; 3]>(), options, any::<[u8; 32]>())
            .prop_map(
                |((number, made_by), name, role, scopes, limits, (amount_limit, expires_at, certificate), hash)| {
                    let [rate_per_s, burst, concurrency] = limits;
                    let terms = KeyTerms {
                        name: name.unwrap_or_default(),
                        role: Role::from_number(role).unwrap(),
                        scopes: scopes.into_iter().map(Option::unwrap_or_default).collect(),
                        amount_limit,
                        limits: KeyLimits { rate_per_s, burst, concurrency },
                        expires_at: expires_at.map(Moment),
                        certificate,
                    };
                    Entry::ApiKeyMade(Box::new(ApiKeyMade { number, made_by, terms, hash }))
                },
            );
        let changed = (any::<u64>(), any::<Option<([u8; 32], i64)>>()).prop_map(|(number, rotated)| {
            let change = rotated
                .map_or(KeyChange::Revoked, |(hash, until)| KeyChange::Rotated { hash, old_until: Moment(until) });
            Entry::ApiKeyChanged(Box::new(ApiKeyChanged { number, change }))
        });
        let refused = (text(30), text(20), any::<u32>()).prop_map(|(operation, code, suppressed)| {
            let (operation, code) = (operation.unwrap_or_default(), code.unwrap_or_default());
            Entry::AccessRefused(Box::new(AccessRefused { operation, code, suppressed }))
        });
        prop_oneof![made, changed, refused]
    }

    proptest! {
        #[test]
        fn every_entry_round_trips_and_ends_where_it_ended(entries in proptest::collection::vec(entry(), 1..5)) {
            let mut sink = Sink::default();
            for entry in &entries {
                put_entry(&mut sink, SEQ, entry);
            }
            let mut cursor = Cursor::new(sink.filled(), 0);
            for entry in &entries {
                prop_assert_eq!(take_entry(&mut cursor, SEQ), Some(entry.clone()));
            }
            prop_assert_eq!(cursor.at, sink.len());
        }

        #[test]
        fn cut_or_random_bytes_are_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), seq in 1u64..300) {
            let mut cursor = Cursor::new(&bytes, 0);
            while cursor.at < bytes.len() && take_entry(&mut cursor, Seq(seq)).is_some() {}
            take_trailer(&mut Cursor::new(&bytes, 0));
            let base = RunBase { moment: Moment(5), date: Day(1) };
            take_run_head(&mut Cursor::new(&bytes, 0), base, Seq(seq));
        }

        #[test]
        fn trailers_round_trip(key in any::<Option<([u8; 16], [u8; 16])>>(), owner in any::<u64>(), request in any::<u64>(),
            reply in proptest::collection::vec(any::<u8>(), 0..300)) {
            let key = key.map(|(hash, fingerprint)| KeyMark { hash, fingerprint });
            let trailer = Trailer { key, owner, request, reply: &reply };
            let mut sink = Sink::default();
            put_trailer(&mut sink, &trailer);
            prop_assert_eq!(take_trailer(&mut Cursor::new(sink.filled(), 0)), Some(trailer));
        }
    }

    #[test]
    fn a_plain_transfer_of_a_large_batch_takes_at_most_eighteen_bytes() {
        let entry = TransferEntry {
            op: TransferOp::Posted,
            debit: AccountNo(999_999),
            credit: AccountNo(999_998),
            amount: 9_999_999,
            code: 0,
            effective: None,
            previous_debit: Seq(60_000_000 - 2_000_000),
            previous_credit: Seq(60_000_000 - 900_000),
            cold: None,
        };
        let mut sink = Sink::default();
        put_transfer(&mut sink, Seq(60_000_000), &entry);
        assert_eq!(sink.len(), 17);
    }

    #[test]
    fn a_trailer_of_nothing_takes_one_byte_and_a_run_head_in_a_group_three() {
        let mut sink = Sink::default();
        put_trailer(&mut sink, &Trailer::default());
        assert_eq!(sink.len(), 1);
        let base = RunBase { moment: Moment(1_000_000), date: Day(9) };
        let head =
            RunHead { first_seq: Seq(8), moment: Moment(1_000_300), date: Day(9), is_first: true, is_last: true };
        let mut sink = Sink::default();
        put_run_head(&mut sink, base, Seq(8), &head);
        assert_eq!(sink.len(), 3);
        assert_eq!(take_run_head(&mut Cursor::new(sink.filled(), 0), base, Seq(8)), Some(head));
    }
}
