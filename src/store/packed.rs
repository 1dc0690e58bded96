//! Packed chunks: many small rows in one stored value, in order of their place.
//!
//! A row of its own costs redb some twenty bytes and a search; packed, a resolution costs five.
//! A chunk is `count · (place − previous place · rest)…`; the key of the chunk holds the high bits.

use super::facts::{OffDateRow, ResolutionKind};
use super::row::{Body, Fields};
use super::tables::{
    ANCHOR_BITS, ANCHORS, HOLD_BITS, HOLDS, MARK_BITS, MARKS, OFFDATE_DAYS, OFFDATES, RESOLUTIONS, SEQ_BITS, Table,
};
use crate::domain::account::{Side, Status};
use crate::domain::apply::{Anchor, Mark};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::time::Day;
use crate::domain::transfer::Hold;

/// A row that lives in packed chunks.
pub(super) trait Packed: Copy {
    /// Its table.
    const TABLE: Table;
    /// Key of its chunk.
    fn chunk(&self) -> u128;
    /// Its place in the chunk. Rows with the same place are the same row.
    fn place(&self) -> u64;
    /// Writes what chunk and place do not say.
    fn write_rest(&self, body: &mut Body);
    /// Reads a row back. `None` when it is no such row.
    fn read(chunk: u128, place: u64, fields: &mut Fields<'_>) -> Option<Self>;
}

/// The chunk as a value. Rows ascend by place, without repetition.
pub(super) fn encode_chunk<R: Packed>(rows: &[R]) -> Body {
    let mut body = Body::with_capacity(rows.len() * 24);
    body.put_varint(rows.len() as u64);
    let mut before = 0;
    for row in rows {
        let place = row.place();
        debug_assert!(place >= before, "rows of a chunk ascend");
        body.put_varint(place - before);
        row.write_rest(&mut body);
        before = place;
    }
    body
}

/// The rows of a chunk.
pub(super) fn decode_chunk<R: Packed>(chunk: u128, body: &[u8]) -> Option<Vec<R>> {
    let mut fields = Fields::new(body);
    let count = fields.narrow::<usize>()?;
    // A row takes at least a byte: the count of a good chunk cannot exceed its length.
    let mut rows = Vec::with_capacity(count.min(body.len()));
    let mut before = 0u64;
    for _ in 0..count {
        let place = before.checked_add(fields.varint()?)?;
        rows.push(R::read(chunk, place, &mut fields)?);
        before = place;
    }
    fields.end()?;
    Some(rows)
}

/// An open hold and its seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HoldRow {
    /// The entry that opened it.
    pub seq: Seq,
    /// What it holds.
    pub hold: Hold,
}

const HAS_EXPIRY: u64 = 1;

impl Packed for HoldRow {
    const TABLE: Table = HOLDS;

    fn chunk(&self) -> u128 {
        u128::from(self.seq.0 >> HOLD_BITS)
    }

    fn place(&self) -> u64 {
        self.seq.0 & ((1 << HOLD_BITS) - 1)
    }

    fn write_rest(&self, body: &mut Body) {
        let hold = &self.hold;
        body.put_varint(u64::from(hold.debit.0));
        body.put_varint(u64::from(hold.credit.0));
        body.put_varint(hold.amount);
        body.put_varint(u64::from(hold.code));
        body.put_day(hold.effective);
        body.put_varint(if hold.expires_at.is_some() { HAS_EXPIRY } else { 0 });
        if let Some(expires_at) = hold.expires_at {
            body.put(&expires_at.0.to_le_bytes());
        }
    }

    fn read(chunk: u128, place: u64, fields: &mut Fields<'_>) -> Option<HoldRow> {
        let seq = seq_of(chunk, place, HOLD_BITS)?;
        let debit = AccountNo(fields.narrow()?);
        let credit = AccountNo(fields.narrow()?);
        let amount = fields.varint()?;
        let code = fields.narrow()?;
        let effective = fields.day()?;
        let expires_at = match fields.varint()? {
            0 => None,
            HAS_EXPIRY => Some(Moment(i64::from_le_bytes(fields.array()?))),
            _ => return None,
        };
        Some(HoldRow { seq, hold: Hold { debit, credit, amount, expires_at, code, effective } })
    }
}

/// What a later entry did to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResolutionRow {
    /// The earlier one.
    pub original: Seq,
    /// The later one.
    pub by: Seq,
    /// What it did.
    pub kind: ResolutionKind,
}

/// The key of the chunk of resolutions in which an original stands.
pub(super) fn resolution_chunk(original: Seq) -> u128 {
    u128::from(original.0 >> SEQ_BITS)
}

impl Packed for ResolutionRow {
    const TABLE: Table = RESOLUTIONS;

    fn chunk(&self) -> u128 {
        resolution_chunk(self.original)
    }

    fn place(&self) -> u64 {
        (self.original.0 & ((1 << SEQ_BITS) - 1)) << 2 | self.kind as u64
    }

    fn write_rest(&self, body: &mut Body) {
        body.put_varint(self.by.0 - self.original.0);
    }

    fn read(chunk: u128, place: u64, fields: &mut Fields<'_>) -> Option<ResolutionRow> {
        let original = seq_of(chunk, place >> 2, SEQ_BITS)?;
        let kind = match place & 3 {
            0 => ResolutionKind::Posted,
            1 => ResolutionKind::Voided,
            2 => ResolutionKind::Expired,
            _ => ResolutionKind::Reversed,
        };
        Some(ResolutionRow { original, by: Seq(original.0.checked_add(fields.varint()?)?), kind })
    }
}

/// The key of the chunk in which an account's anchor of a day stands.
pub(super) fn anchor_chunk(account: AccountNo, day: Day) -> u128 {
    u128::from(day.0) << 32 | u128::from(account.0 >> ANCHOR_BITS)
}

impl Packed for Anchor {
    const TABLE: Table = ANCHORS;

    fn chunk(&self) -> u128 {
        anchor_chunk(self.account, self.day)
    }

    fn place(&self) -> u64 {
        u64::from(self.account.0 & ((1 << ANCHOR_BITS) - 1))
    }

    fn write_rest(&self, body: &mut Body) {
        body.put_varint(u64::from(self.previous_day.0));
        body.put_varint(self.last_seq.0);
        for sum in [self.debits_posted, self.credits_posted, self.debits_pending, self.credits_pending] {
            body.put_varint(sum);
        }
    }

    fn read(chunk: u128, place: u64, fields: &mut Fields<'_>) -> Option<Anchor> {
        let day = Day(u16::try_from(chunk >> 32).ok()?);
        let high = u32::try_from(chunk & u128::from(u32::MAX)).ok()?;
        if place >> ANCHOR_BITS != 0 || high >> (32 - ANCHOR_BITS) != 0 {
            return None;
        }
        Some(Anchor {
            account: AccountNo(high << ANCHOR_BITS | u32::try_from(place).ok()?),
            day,
            previous_day: Day(fields.narrow()?),
            last_seq: Seq(fields.varint()?),
            debits_posted: fields.varint()?,
            credits_posted: fields.varint()?,
            debits_pending: fields.varint()?,
            credits_pending: fields.varint()?,
        })
    }
}

/// The key of the chunk in which an account's mark at a place stands.
pub(super) fn mark_chunk(account: AccountNo, at: Seq) -> u128 {
    u128::from(account.0) << 64 | u128::from(at.0 >> MARK_BITS)
}

impl Packed for Mark {
    const TABLE: Table = MARKS;

    fn chunk(&self) -> u128 {
        mark_chunk(self.account, self.at)
    }

    fn place(&self) -> u64 {
        self.at.0 & ((1 << MARK_BITS) - 1)
    }

    fn write_rest(&self, body: &mut Body) {
        body.put_varint(self.at.0 - self.last_seq.0);
        body.put_varint(self.last_seq.0 - self.cold_seq.0);
        body.put_varint(u64::from(self.version));
        body.put_varint(self.status as u64);
        body.put_varint(u64::from(self.day.0));
        body.put_varint(u64::from(self.previous_day.0));
        for sum in [self.debits_posted, self.credits_posted, self.debits_pending, self.credits_pending] {
            body.put_varint(sum);
        }
    }

    fn read(chunk: u128, place: u64, fields: &mut Fields<'_>) -> Option<Mark> {
        let account = AccountNo(u32::try_from(chunk >> 64).ok()?);
        let at = seq_of(chunk & u128::from(u64::MAX), place, MARK_BITS)?;
        let last_seq = Seq(at.0.checked_sub(fields.varint()?)?);
        Some(Mark {
            account,
            at,
            last_seq,
            cold_seq: Seq(last_seq.0.checked_sub(fields.varint()?)?),
            version: fields.narrow()?,
            status: Status::from_number(fields.narrow()?)?,
            day: Day(fields.narrow()?),
            previous_day: Day(fields.narrow()?),
            debits_posted: fields.varint()?,
            credits_posted: fields.varint()?,
            debits_pending: fields.varint()?,
            credits_pending: fields.varint()?,
        })
    }
}

/// The key of the chunk of an account's off-date rows of a day in which `seq` stands.
pub(super) fn offdate_chunk(account: AccountNo, effective: Day, seq: Seq) -> u128 {
    u128::from(account.0) << 80 | u128::from(effective.0) << 64 | u128::from(seq.0 >> SEQ_BITS)
}

impl Packed for OffDateRow {
    const TABLE: Table = OFFDATES;

    fn chunk(&self) -> u128 {
        offdate_chunk(self.account, self.effective, self.seq)
    }

    fn place(&self) -> u64 {
        (self.seq.0 & ((1 << SEQ_BITS) - 1)) << 1 | u64::from(self.side == Side::Credit)
    }

    fn write_rest(&self, body: &mut Body) {
        body.put_varint(u64::from(self.booked.0));
        body.put_varint(self.amount);
    }

    fn read(chunk: u128, place: u64, fields: &mut Fields<'_>) -> Option<OffDateRow> {
        let (account, effective, high) = split_offdate_chunk(chunk)?;
        Some(OffDateRow {
            account,
            side: if place & 1 == 1 { Side::Credit } else { Side::Debit },
            effective,
            booked: Day(fields.narrow()?),
            seq: seq_of(high, place >> 1, SEQ_BITS)?,
            amount: fields.varint()?,
        })
    }
}

fn split_offdate_chunk(chunk: u128) -> Option<(AccountNo, Day, u128)> {
    let account = AccountNo(u32::try_from(chunk >> 80).ok()?);
    let effective = Day(u16::try_from(chunk >> 64 & 0xffff).ok()?);
    Some((account, effective, chunk & u128::from(u64::MAX)))
}

/// An off-date entry in the list of its effective day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DayRow {
    /// The effective day.
    pub effective: Day,
    /// The entry.
    pub seq: Seq,
}

/// The key of the chunk of a day's off-date entries in which `seq` stands.
pub(super) fn day_chunk(effective: Day, seq: Seq) -> u128 {
    u128::from(effective.0) << 64 | u128::from(seq.0 >> SEQ_BITS)
}

impl Packed for DayRow {
    const TABLE: Table = OFFDATE_DAYS;

    fn chunk(&self) -> u128 {
        day_chunk(self.effective, self.seq)
    }

    fn place(&self) -> u64 {
        self.seq.0 & ((1 << SEQ_BITS) - 1)
    }

    fn write_rest(&self, _body: &mut Body) {}

    fn read(chunk: u128, place: u64, _fields: &mut Fields<'_>) -> Option<DayRow> {
        let effective = Day(u16::try_from(chunk >> 64).ok()?);
        Some(DayRow { effective, seq: seq_of(chunk & u128::from(u64::MAX), place, SEQ_BITS)? })
    }
}

/// The seq with these high and low bits, or `None` where they overlap or overflow.
fn seq_of(high: u128, low: u64, bits: u32) -> Option<Seq> {
    let high = u64::try_from(high).ok()?;
    (low >> bits == 0 && high >> (64 - bits) == 0).then_some(Seq(high << bits | low))
}
