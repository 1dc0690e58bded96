//! API keys and refusals as bytes of a record. docs/format.md draws them.
//!
//! Promise: as in `record.rs`, what is decoded equals what was encoded, and anything else is `None`.

use super::varint::{Cursor, Sink};
use crate::domain::access::{AccessRefused, ApiKeyChanged, ApiKeyMade, KeyChange, KeyLimits, KeyTerms, Role};
use crate::domain::ids::Moment;

/// Bits of the byte that says which optional fields of a new key follow.
const HAS_AMOUNT_LIMIT: u8 = 1;
const HAS_EXPIRY: u8 = 2;
const HAS_CERTIFICATE: u8 = 4;

/// How a key changed. Numbers are never reused.
const CHANGE_ROTATED: u8 = 0;
const CHANGE_REVOKED: u8 = 1;

/// Appends a new key.
pub(super) fn put_key_made(sink: &mut Sink, made: &ApiKeyMade) {
    let terms = &made.terms;
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    sink.put_varint(made.number);
    sink.put_varint(made.made_by);
    sink.put_u8(terms.role as u8);
    sink.put_u8(
        flag(terms.amount_limit.is_some(), HAS_AMOUNT_LIMIT)
            | flag(terms.expires_at.is_some(), HAS_EXPIRY)
            | flag(terms.certificate.is_some(), HAS_CERTIFICATE),
    );
    sink.put_text(&terms.name);
    sink.put_varint(terms.scopes.len() as u64);
    for scope in &terms.scopes {
        sink.put_text(scope);
    }
    let KeyLimits { rate_per_s, burst, concurrency } = terms.limits;
    for limit in [rate_per_s, burst, concurrency] {
        sink.put_varint(u64::from(limit));
    }
    if let Some(limit) = terms.amount_limit {
        sink.put_varint(limit);
    }
    if let Some(at) = terms.expires_at {
        sink.put(&at.0.to_le_bytes());
    }
    if let Some(certificate) = &terms.certificate {
        sink.put(certificate);
    }
    sink.put(&made.hash);
}

/// Reads a new key.
pub(super) fn take_key_made(cursor: &mut Cursor<'_>) -> Option<ApiKeyMade> {
    let number = cursor.take_varint()?;
    let made_by = cursor.take_varint()?;
    let role = Role::from_number(cursor.take_u8()?)?;
    let flags = cursor.take_u8()?;
    if flags > 7 {
        return None;
    }
    let name = cursor.take_text()?;
    let count = usize::try_from(cursor.take_varint()?).ok()?;
    // A scope takes at least a byte: a count beyond that is damage, and must not reserve memory.
    if count > cursor.bytes.len().saturating_sub(cursor.at) {
        return None;
    }
    let scopes = (0..count).map(|_| cursor.take_text()).collect::<Option<Vec<_>>>()?;
    let mut limit = || u32::try_from(cursor.take_varint()?).ok();
    let limits = KeyLimits { rate_per_s: limit()?, burst: limit()?, concurrency: limit()? };
    let amount_limit = if flags & HAS_AMOUNT_LIMIT != 0 { Some(cursor.take_varint()?) } else { None };
    let expires_at =
        if flags & HAS_EXPIRY != 0 { Some(Moment(i64::from_le_bytes(cursor.take_array()?))) } else { None };
    let certificate = if flags & HAS_CERTIFICATE != 0 { Some(cursor.take_array()?) } else { None };
    let terms = KeyTerms { name, role, scopes, amount_limit, limits, expires_at, certificate };
    Some(ApiKeyMade { number, made_by, terms, hash: cursor.take_array()? })
}

/// Appends a change of a key.
pub(super) fn put_key_changed(sink: &mut Sink, changed: &ApiKeyChanged) {
    sink.put_varint(changed.number);
    match &changed.change {
        KeyChange::Rotated { hash, old_until } => {
            sink.put_u8(CHANGE_ROTATED);
            sink.put(hash);
            sink.put(&old_until.0.to_le_bytes());
        }
        KeyChange::Revoked => sink.put_u8(CHANGE_REVOKED),
    }
}

/// Reads a change of a key.
pub(super) fn take_key_changed(cursor: &mut Cursor<'_>) -> Option<ApiKeyChanged> {
    let number = cursor.take_varint()?;
    let change = match cursor.take_u8()? {
        CHANGE_ROTATED => {
            let hash = cursor.take_array()?;
            KeyChange::Rotated { hash, old_until: Moment(i64::from_le_bytes(cursor.take_array()?)) }
        }
        CHANGE_REVOKED => KeyChange::Revoked,
        _ => return None,
    };
    Some(ApiKeyChanged { number, change })
}

/// Appends a refusal.
pub(super) fn put_refusal(sink: &mut Sink, refused: &AccessRefused) {
    sink.put_text(&refused.operation);
    sink.put_text(&refused.code);
    sink.put_varint(u64::from(refused.suppressed));
}

/// Reads a refusal.
pub(super) fn take_refusal(cursor: &mut Cursor<'_>) -> Option<AccessRefused> {
    let (operation, code) = (cursor.take_text()?, cursor.take_text()?);
    Some(AccessRefused { operation, code, suppressed: u32::try_from(cursor.take_varint()?).ok()? })
}
