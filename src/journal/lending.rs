//! Lending as bytes of a record. docs/format.md draws them.
//!
//! Promise: as in `record.rs`, what is decoded equals what was encoded, and anything else is `None`.

use super::record::{put_metadata, put_optional_text, take_metadata, take_optional_text};
use super::varint::{Cursor, Sink};
use crate::domain::ids::{Moment, Seq};
use crate::domain::lending::customer::{CustomerFacts, CustomerKind, CustomerSaved, Sealed};
use crate::domain::time::Day;

/// Appends a customer whose entry before it lies `back` seqs earlier, 0 for none.
pub(super) fn put_customer(sink: &mut Sink, saved: &CustomerSaved, back: u64) {
    let facts = &saved.facts;
    sink.put_varint(u64::from(saved.number));
    sink.put_varint(u64::from(saved.version));
    sink.put_varint(back);
    sink.put(&saved.created_at.0.to_le_bytes());
    sink.put_u8(facts.kind as u8);
    sink.put_text(&facts.name);
    sink.put_varint(facts.born_on.map_or(0, |day| u64::from(day.0) + 1));
    for text in [&facts.external_id, &facts.phone, &facts.email, &facts.address, &facts.ifsc] {
        put_optional_text(sink, text.as_deref());
    }
    for secret in [&facts.pan, &facts.bank_account] {
        sink.put_varint(secret.as_ref().map_or(0, |secret| secret.len() as u64 + 1));
        sink.put(secret.as_deref().unwrap_or_default());
    }
    put_metadata(sink, &facts.metadata);
}

/// Reads a customer; `at` gives the seq at a distance.
pub(super) fn take_customer(cursor: &mut Cursor<'_>, at: impl Fn(u64) -> Option<Seq>) -> Option<CustomerSaved> {
    let number = u32::try_from(cursor.take_varint()?).ok()?;
    let version = u32::try_from(cursor.take_varint()?).ok()?;
    let previous = at(cursor.take_varint()?)?;
    let created_at = Moment(i64::from_le_bytes(cursor.take_array()?));
    let kind = CustomerKind::from_number(cursor.take_u8()?)?;
    let name = cursor.take_text()?;
    let born_on = match cursor.take_varint()? {
        0 => None,
        day => Some(Day(u16::try_from(day - 1).ok()?)),
    };
    let external_id = take_optional_text(cursor)?;
    let phone = take_optional_text(cursor)?;
    let email = take_optional_text(cursor)?;
    let address = take_optional_text(cursor)?;
    let ifsc = take_optional_text(cursor)?;
    let pan = take_sealed(cursor)?;
    let bank_account = take_sealed(cursor)?;
    let metadata = take_metadata(cursor)?;
    let facts =
        CustomerFacts { kind, name, external_id, born_on, phone, email, address, pan, bank_account, ifsc, metadata };
    Some(CustomerSaved { number, version, previous, created_at, facts })
}

fn take_sealed(cursor: &mut Cursor<'_>) -> Option<Option<Sealed>> {
    match cursor.take_varint()? {
        0 => Some(None),
        length => Some(Some(cursor.take(usize::try_from(length - 1).ok()?)?.into())),
    }
}
