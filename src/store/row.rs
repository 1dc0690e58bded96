//! Bytes of a stored value: `version · body · seal`.
//!
//! Promise: a value that was changed, or that stands under another key or in another table than it
//! was written to, is refused. The seal is the first 8 bytes of blake3 over version, body, table and
//! key: redb checks its own checksums only after a crash, never on a read.

use super::StoreError;
use super::tables::{FORMAT, Table};
use std::collections::BTreeMap;

use crate::domain::account::{Account, AccountType, BalanceRule, GlNo, Status};
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{Moment, Seq};
use crate::domain::lending::customer::CustomerRow;
use crate::domain::money::Currency;
use crate::domain::time::Day;

use super::facts::{Meta, PeriodEventRow};

const SEAL_BYTES: usize = 8;

/// Bytes of a customer's row: version 4, last seq 8, made at 8, little-endian.
pub(super) const CUSTOMER_BYTES: usize = 20;

/// A customer's row.
pub(super) fn encode_customer(row: &CustomerRow) -> [u8; CUSTOMER_BYTES] {
    let mut bytes = [0; CUSTOMER_BYTES];
    bytes[..4].copy_from_slice(&row.version.to_le_bytes());
    bytes[4..12].copy_from_slice(&row.last_seq.0.to_le_bytes());
    bytes[12..].copy_from_slice(&row.created_at.0.to_le_bytes());
    bytes
}

/// What [`encode_customer`] wrote.
pub(super) fn decode_customer(bytes: &[u8]) -> Option<CustomerRow> {
    let mut fields = Fields::new(bytes);
    let row = CustomerRow {
        version: u32::from_le_bytes(fields.array()?),
        last_seq: Seq(u64::from_le_bytes(fields.array()?)),
        created_at: Moment(i64::from_le_bytes(fields.array()?)),
    };
    fields.end()?;
    Some(row)
}

/// Bytes of an account's row.
pub(super) const ACCOUNT_BYTES: usize = 64;

/// A value being written.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
}

impl Body {
    /// An empty body with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Body {
        let mut bytes = Vec::with_capacity(capacity + 1 + SEAL_BYTES);
        bytes.push(FORMAT);
        Body { bytes }
    }

    /// Appends bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a LEB128 varint: seven bits a byte, lowest first.
    pub fn put_varint(&mut self, value: u64) {
        let mut rest = value;
        while rest >= 0x80 {
            self.bytes.push(low_byte(rest) | 0x80);
            rest >>= 7;
        }
        self.bytes.push(low_byte(rest));
    }

    /// Appends 128 bits as two varints, the low half first.
    pub fn put_wide(&mut self, value: u128) {
        self.put_varint(low_half(value));
        self.put_varint(low_half(value >> 64));
    }

    /// Appends an optional number: 0 for none, else the number plus one.
    pub fn put_day(&mut self, day: Option<Day>) {
        self.put_varint(day.map_or(0, |day| u64::from(day.0) + 1));
    }

    /// Appends a text with its length.
    pub fn put_text(&mut self, text: &str) {
        self.put_varint(text.len() as u64);
        self.put(text.as_bytes());
    }

    /// The value to store under `key` of `table`.
    pub fn sealed(mut self, table: Table, key: u128) -> Vec<u8> {
        let seal = seal_of(table, key, &self.bytes);
        self.bytes.extend_from_slice(&seal);
        self.bytes
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is wanted")]
fn low_byte(value: u64) -> u8 {
    value as u8
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low_half(value: u128) -> u64 {
    value as u64
}

/// The body of a stored value, once its seal and version were checked.
pub(super) fn check_value(table: Table, key: u128, value: &[u8]) -> Result<&[u8], StoreError> {
    if value.len() < 1 + SEAL_BYTES {
        return Err(corrupt(table, key, "the value is too short"));
    }
    let (sealed, seal) = value.split_at(value.len() - SEAL_BYTES);
    if seal_of(table, key, sealed) != *seal {
        return Err(corrupt(table, key, "the value does not match its seal"));
    }
    if sealed[0] != FORMAT {
        return Err(StoreError::Format { found: sealed[0] });
    }
    Ok(&sealed[1..])
}

/// What is wrong, and where.
pub(super) fn corrupt(table: Table, key: u128, what: impl Into<String>) -> StoreError {
    StoreError::Corrupt { table: table.name, key, what: what.into() }
}

fn seal_of(table: Table, key: u128, sealed: &[u8]) -> [u8; SEAL_BYTES] {
    let mut hasher = blake3::Hasher::new();
    // The long part first: blake3 hashes it in wide lanes only from an aligned start.
    hasher.update(sealed);
    let mut place = [0u8; 17];
    place[0] = table.tag;
    place[1..].copy_from_slice(&key.to_le_bytes());
    hasher.update(&place);
    let mut seal = [0u8; SEAL_BYTES];
    seal.copy_from_slice(&hasher.finalize().as_bytes()[..SEAL_BYTES]);
    seal
}

/// A body being read. Everything is `Option`: a body that does not parse is reported as one by the caller.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of a body whose seal was checked.
    pub fn new(body: &'a [u8]) -> Fields<'a> {
        Fields { rest: body }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next LEB128 number; `None` when the bytes end or hold more than 64 bits.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The next number of 128 bits, as two varints, the low half first.
    pub fn wide(&mut self) -> Option<u128> {
        let low = u128::from(self.varint()?);
        Some(low | u128::from(self.varint()?) << 64)
    }

    /// A varint that must fit a narrower type.
    pub fn narrow<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.varint()?).ok()
    }

    /// An optional day, as [`Body::put_day`] writes it. The outer `None` is a body that does not parse.
    pub fn day(&mut self) -> Option<Option<Day>> {
        Some(match self.varint()? {
            0 => None,
            number => Some(Day(u16::try_from(number - 1).ok()?)),
        })
    }

    /// The next text; `None` when it is cut short or no UTF-8.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.narrow::<usize>()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// `Some` once everything was read: nothing may follow.
    pub fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

/// 64 bytes, little-endian: debits and credits posted, debits and credits pending, last seq, cold seq
/// (8 each), gl, version (4 each), day, previous day (2 each), currency, type, rule, status (1 each).
pub(super) fn encode_account(account: &Account) -> [u8; ACCOUNT_BYTES] {
    let mut row = [0u8; ACCOUNT_BYTES];
    let words = [
        account.debits_posted,
        account.credits_posted,
        account.debits_pending,
        account.credits_pending,
        account.last_seq.0,
        account.cold_seq.0,
    ];
    for (slot, word) in row.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    row[48..52].copy_from_slice(&account.gl.0.to_le_bytes());
    row[52..56].copy_from_slice(&account.version.to_le_bytes());
    row[56..58].copy_from_slice(&account.day.0.to_le_bytes());
    row[58..60].copy_from_slice(&account.previous_day.0.to_le_bytes());
    row[60] = account.currency.0;
    row[61] = account.account_type as u8;
    row[62] = account.balance_rule as u8;
    row[63] = account.status as u8;
    row
}

/// The account in a row, or `None` when a number in it is unknown to this version.
pub(super) fn decode_account(row: &[u8]) -> Option<Account> {
    let mut fields = Fields::new(row);
    let mut word = || fields.array().map(u64::from_le_bytes);
    let (debits_posted, credits_posted, debits_pending, credits_pending) = (word()?, word()?, word()?, word()?);
    let (last_seq, cold_seq) = (Seq(word()?), Seq(word()?));
    let gl = GlNo(u32::from_le_bytes(fields.array()?));
    let version = u32::from_le_bytes(fields.array()?);
    let day = Day(u16::from_le_bytes(fields.array()?));
    let previous_day = Day(u16::from_le_bytes(fields.array()?));
    let [currency, account_type, balance_rule, status] = fields.array()?;
    fields.end()?;
    Some(Account {
        debits_posted,
        credits_posted,
        debits_pending,
        credits_pending,
        last_seq,
        cold_seq,
        gl,
        version,
        day,
        previous_day,
        currency: Currency::from_place(currency)?,
        account_type: AccountType::from_number(account_type)?,
        balance_rule: BalanceRule::from_number(balance_rule)?,
        status: Status::from_number(status)?,
    })
}

/// Journal id (8), chain hash (32); then varints: checkpoint and chain seq, moment (8 bytes), business
/// date, closed through, accounts; count and rows of period events (seq, moment, through, has a
/// reason, reason); count and rows of day runs (day, first seq); count and rows of ledger lines
/// (currency, code, type); count and rows of API keys (length, bytes), left out when there are none, as
/// in stores from before there were any.
pub(super) fn encode_meta(meta: &Meta) -> Body {
    let mut body = Body::with_capacity(256);
    body.put(&meta.journal_id.to_le_bytes());
    body.put(&meta.chain_hash);
    body.put_varint(meta.checkpoint_seq.0);
    body.put_varint(meta.chain_seq.0);
    body.put(&meta.last_moment.0.to_le_bytes());
    body.put_varint(u64::from(meta.business_date.0));
    body.put_day(meta.closed_through);
    body.put_varint(u64::from(meta.accounts));
    body.put_varint(meta.period_events.len() as u64);
    for event in &meta.period_events {
        body.put_varint(event.seq.0);
        body.put(&event.at.0.to_le_bytes());
        body.put_day(event.through);
        body.put_varint(u64::from(event.reason.is_some()));
        body.put_text(event.reason.as_deref().unwrap_or_default());
    }
    body.put_varint(meta.day_runs.len() as u64);
    for (day, first) in &meta.day_runs {
        body.put_varint(u64::from(day.0));
        body.put_varint(first.0);
    }
    body.put_varint(meta.gl_keys.len() as u64);
    for key in &meta.gl_keys {
        body.put(&[key.currency.0]);
        body.put_varint(u64::from(key.code));
        body.put(&[key.account_type as u8]);
    }
    body.put_varint(meta.api_keys.len() as u64);
    for row in &meta.api_keys {
        body.put_varint(row.len() as u64);
        body.put(row);
    }
    body.put_varint(u64::from(meta.customers));
    body.put_varint(u64::from(meta.loans));
    body.put_varint(meta.lending.len() as u64);
    body.put(&meta.lending);
    body.put_varint(meta.objects.len() as u64);
    for row in &meta.objects {
        body.put_varint(row.len() as u64);
        body.put(row);
    }
    body
}

/// What [`encode_meta`] wrote.
pub(super) fn decode_meta(body: &[u8]) -> Option<Meta> {
    let mut fields = Fields::new(body);
    let journal_id = u64::from_le_bytes(fields.array()?);
    let chain_hash = fields.array()?;
    let checkpoint_seq = Seq(fields.varint()?);
    let chain_seq = Seq(fields.varint()?);
    let last_moment = Moment(i64::from_le_bytes(fields.array()?));
    let business_date = Day(fields.narrow()?);
    let closed_through = fields.day()?;
    let accounts = fields.narrow()?;
    let mut period_events = Vec::new();
    for _ in 0..fields.varint()? {
        let seq = Seq(fields.varint()?);
        let at = Moment(i64::from_le_bytes(fields.array()?));
        let through = fields.day()?;
        let has_reason = fields.varint()? == 1;
        let text = fields.text()?;
        period_events.push(PeriodEventRow { seq, at, through, reason: has_reason.then(|| text.into()) });
    }
    let mut day_runs = Vec::new();
    for _ in 0..fields.varint()? {
        day_runs.push((Day(fields.narrow()?), Seq(fields.varint()?)));
    }
    let mut gl_keys = Vec::new();
    for _ in 0..fields.varint()? {
        let [currency] = fields.array()?;
        let code = fields.narrow()?;
        let [account_type] = fields.array()?;
        gl_keys.push(GlKey {
            currency: Currency::from_place(currency)?,
            code,
            account_type: AccountType::from_number(account_type)?,
        });
    }
    let mut api_keys = Vec::new();
    for _ in 0..fields.varint()? {
        let length = fields.narrow()?;
        api_keys.push(fields.take(length)?.into());
    }
    let customers = fields.narrow()?;
    let loans = fields.narrow()?;
    let length = fields.narrow()?;
    let lending = fields.take(length)?.into();
    let mut objects = Vec::new();
    for _ in 0..fields.varint()? {
        let length = fields.narrow()?;
        objects.push(fields.take(length)?.into());
    }
    fields.end()?;
    Some(Meta {
        journal_id,
        checkpoint_seq,
        chain_seq,
        chain_hash,
        last_moment,
        business_date,
        closed_through,
        period_events,
        day_runs,
        gl_keys,
        accounts,
        api_keys,
        customers,
        loans,
        lending,
        objects,
    })
}

/// One pair of totals per line of the general ledger.
pub(super) fn encode_lines(lines: &BTreeMap<GlNo, GlTotals>) -> Body {
    let mut body = Body::with_capacity(lines.len() * 16);
    let mut next = 0;
    for (gl, totals) in lines {
        body.put_varint(u64::from(gl.0) - next);
        body.put_wide(totals.debits);
        body.put_wide(totals.credits);
        next = u64::from(gl.0) + 1;
    }
    body
}

/// What [`encode_lines`] wrote.
pub(super) fn decode_lines(body: &[u8]) -> Option<Vec<(GlNo, GlTotals)>> {
    let mut fields = Fields::new(body);
    let mut lines = Vec::new();
    let mut next = 0u32;
    while !fields.is_empty() {
        let gl = next.checked_add(fields.narrow()?)?;
        lines.push((GlNo(gl), GlTotals { debits: fields.wide()?, credits: fields.wide()? }));
        next = gl.checked_add(1)?;
    }
    Some(lines)
}

/// (day, totals) rows of one account, ascending.
pub(super) fn encode_sums(sums: &[(Day, GlTotals)]) -> Body {
    let mut body = Body::with_capacity(sums.len() * 16);
    for (day, totals) in sums {
        body.put_varint(u64::from(day.0));
        body.put_wide(totals.debits);
        body.put_wide(totals.credits);
    }
    body
}

/// What [`encode_sums`] wrote.
pub(super) fn decode_sums(body: &[u8]) -> Option<Vec<(Day, GlTotals)>> {
    let mut fields = Fields::new(body);
    let mut sums = Vec::new();
    while !fields.is_empty() {
        let day = Day(fields.narrow()?);
        sums.push((day, GlTotals { debits: fields.wide()?, credits: fields.wide()? }));
    }
    Some(sums)
}
