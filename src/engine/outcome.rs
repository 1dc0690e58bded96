//! What a record's trailer keeps of the reply, so that its idempotency key can be answered again.
//!
//! Most of a reply stands in the record's entries already; the outcome says what kind it was and
//! keeps only what the entries do not have. First byte: version. Any later version must be able to
//! rebuild the same [`Reply`](super::view::Reply) from version 1, for ever.

use crate::domain::access::ApiKey;
use crate::domain::account::{Account, AccountType, BalanceRule, GlNo, Status};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::money::Currency;
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::time::Day;

use super::keyring_row;

const VERSION: u8 = 1;

/// What a command came to, as its record keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new transfer: the record's last entry.
    TransferCreated,
    /// A hold was posted or voided by the record's last entry.
    HoldResolved,
    /// A new account: the record's entry.
    AccountOpened,
    /// Accounts were opened; these items were refused.
    AccountsOpened { items: u32, rejected: Vec<(u32, Reject)> },
    /// An account was changed; this is its row after the change, and its code.
    AccountChanged { account: Box<Account>, code: u32 },
    /// A batch; these items were refused.
    Batch { atomic: bool, minimal: bool, items: u32, rejected: Vec<(u32, Reject)> },
    /// A period was closed or opened by the record's entry.
    PeriodChanged,
    /// The clock was accepted.
    ClockAccepted,
    /// Refused.
    Refused(Reject),
    /// An atomic batch was refused because of these items.
    BatchRefused(Vec<(u32, Reject)>),
    /// An API key after the record's entry.
    ApiKey { key: Box<ApiKey>, created: bool },
    /// A refusal was noted.
    Noted,
    /// A customer was made or changed by the record's entry.
    CustomerSaved,
    /// A loan product was made or changed by the record's last entry.
    ProductSaved,
    /// Something happened to a loan: the record's entries about it.
    LoanPosted,
    /// An object was made or changed by the record's last entry.
    ObjectSaved,
    /// Jobs were born: the record's entries.
    JobsBorn,
    /// The business day was opened or closed.
    BusinessDay { by_hand: bool, ended: Option<(Day, Seq)>, looked_at: Option<(u32, u32)> },
}

impl Outcome {
    /// The bytes for the trailer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(VERSION);
        match self {
            Outcome::TransferCreated => out.push(1),
            Outcome::HoldResolved => out.push(2),
            Outcome::AccountOpened => out.push(3),
            Outcome::AccountsOpened { items, rejected } => {
                out.push(4);
                out.extend_from_slice(&items.to_le_bytes());
                write_rejects(out, rejected);
            }
            Outcome::AccountChanged { account, code } => {
                out.push(5);
                out.extend_from_slice(&code.to_le_bytes());
                write_account(out, account);
            }
            Outcome::Batch { atomic, minimal, items, rejected } => {
                out.push(6);
                out.push(u8::from(*atomic) | u8::from(*minimal) << 1);
                out.extend_from_slice(&items.to_le_bytes());
                write_rejects(out, rejected);
            }
            Outcome::PeriodChanged => out.push(7),
            Outcome::ClockAccepted => out.push(8),
            Outcome::Refused(reject) => {
                out.push(9);
                write_rejects(out, &[(0, *reject)]);
            }
            Outcome::BatchRefused(rejected) => {
                out.push(10);
                write_rejects(out, rejected);
            }
            Outcome::ApiKey { key, created } => {
                out.push(11);
                out.push(u8::from(*created));
                keyring_row::encode(out, key);
            }
            Outcome::Noted => out.push(12),
            Outcome::CustomerSaved => out.push(13),
            Outcome::ProductSaved => out.push(14),
            Outcome::LoanPosted => out.push(15),
            Outcome::ObjectSaved => out.push(20),
            Outcome::JobsBorn => out.push(21),
            Outcome::BusinessDay { by_hand, ended, looked_at } => {
                out.push(16);
                out.push(u8::from(*by_hand) | u8::from(ended.is_some()) << 1 | u8::from(looked_at.is_some()) << 2);
                let (day, seq) = ended.unwrap_or_default();
                out.extend_from_slice(&day.0.to_le_bytes());
                out.extend_from_slice(&seq.0.to_le_bytes());
                let (done, of) = looked_at.unwrap_or_default();
                out.extend_from_slice(&done.to_le_bytes());
                out.extend_from_slice(&of.to_le_bytes());
            }
        }
    }

    /// Reads the bytes of a trailer. `None` when this version does not know them.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Outcome> {
        let mut input = Input(bytes);
        if input.u8()? != VERSION {
            return None;
        }
        let outcome = match input.u8()? {
            1 => Outcome::TransferCreated,
            2 => Outcome::HoldResolved,
            3 => Outcome::AccountOpened,
            4 => Outcome::AccountsOpened { items: input.u32()?, rejected: input.rejects()? },
            5 => {
                let code = input.u32()?;
                Outcome::AccountChanged { account: Box::new(input.account()?), code }
            }
            6 => {
                let flags = input.u8()?;
                let (atomic, minimal) = (flags & 1 != 0, flags & 2 != 0);
                Outcome::Batch { atomic, minimal, items: input.u32()?, rejected: input.rejects()? }
            }
            7 => Outcome::PeriodChanged,
            8 => Outcome::ClockAccepted,
            9 => Outcome::Refused(input.rejects()?.first()?.1),
            10 => Outcome::BatchRefused(input.rejects()?),
            11 => {
                let created = input.u8()? == 1;
                let (key, rest) = keyring_row::decode(input.0)?;
                input.0 = rest;
                Outcome::ApiKey { key: Box::new(key), created }
            }
            12 => Outcome::Noted,
            13 => Outcome::CustomerSaved,
            14 => Outcome::ProductSaved,
            15 => Outcome::LoanPosted,
            20 => Outcome::ObjectSaved,
            21 => Outcome::JobsBorn,
            16 => {
                let flags = input.u8()?;
                let ended = (Day(input.u16()?), Seq(input.u64()?));
                let looked_at = (input.u32()?, input.u32()?);
                Outcome::BusinessDay {
                    by_hand: flags & 1 != 0,
                    ended: (flags & 2 != 0).then_some(ended),
                    looked_at: (flags & 4 != 0).then_some(looked_at),
                }
            }
            _ => return None,
        };
        input.0.is_empty().then_some(outcome)
    }
}

/// Refusals beyond which a reply names codes only, not accounts.
const NAMED_REJECTS_MAX: usize = 5_000;

/// Refusals as a reply gives them. A row that names its account takes up to eight bytes, and ten
/// thousand of those would not fit a trailer: a batch with more than [`NAMED_REJECTS_MAX`]
/// refusals says only why, for the first answer and for every replay alike.
#[must_use]
pub fn bounded(mut rejected: Vec<(u32, Reject)>) -> Vec<(u32, Reject)> {
    if rejected.len() > NAMED_REJECTS_MAX {
        rejected.iter_mut().for_each(|(_, reject)| reject.account = None);
    }
    rejected
}

/// Count, then per row: index as the distance from the row before (LEB128), code, account + 1 (LEB128).
fn write_rejects(out: &mut Vec<u8>, rows: &[(u32, Reject)]) {
    write_varint(out, rows.len() as u64);
    let mut before = 0;
    for (index, reject) in rows {
        write_varint(out, u64::from(index - before));
        before = *index;
        out.push(reject.code as u8);
        write_varint(out, reject.account.map_or(0, |no| u64::from(no.0) + 1));
    }
}

pub(super) fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_account(out: &mut Vec<u8>, account: &Account) {
    let sums = [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending];
    for number in sums.into_iter().chain([account.last_seq.0, account.cold_seq.0]) {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&account.gl.0.to_le_bytes());
    out.extend_from_slice(&account.version.to_le_bytes());
    out.extend_from_slice(&account.day.0.to_le_bytes());
    out.extend_from_slice(&account.previous_day.0.to_le_bytes());
    out.extend_from_slice(&[
        account.currency.0,
        account.account_type as u8,
        account.balance_rule as u8,
        account.status as u8,
    ]);
}

/// Bytes to read numbers from.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
    fn rejects(&mut self) -> Option<Vec<(u32, Reject)>> {
        let count = usize::try_from(self.varint()?).ok()?;
        let mut rows = Vec::with_capacity(count.min(crate::config::BATCH_ITEMS_MAX));
        let mut index = 0u32;
        for _ in 0..count {
            index = index.checked_add(u32::try_from(self.varint()?).ok()?)?;
            let code = RejectCode::from_number(self.u8()?)?;
            let account = match self.varint()? {
                0 => None,
                number => Some(AccountNo(u32::try_from(number - 1).ok()?)),
            };
            rows.push((index, Reject { code, account }));
        }
        Some(rows)
    }
    fn account(&mut self) -> Option<Account> {
        Some(Account {
            debits_posted: self.u64()?,
            credits_posted: self.u64()?,
            debits_pending: self.u64()?,
            credits_pending: self.u64()?,
            last_seq: Seq(self.u64()?),
            cold_seq: Seq(self.u64()?),
            gl: GlNo(self.u32()?),
            version: self.u32()?,
            day: Day(self.u16()?),
            previous_day: Day(self.u16()?),
            currency: Currency::from_place(self.u8()?)?,
            account_type: AccountType::from_number(self.u8()?)?,
            balance_rule: BalanceRule::from_number(self.u8()?)?,
            status: Status::from_number(self.u8()?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_round_trip() {
        let rejected: Vec<(u32, Reject)> = vec![
            (0, Reject::of(RejectCode::AmountZero)),
            (7, Reject::by(RejectCode::InsufficientFunds, AccountNo(u32::MAX))),
            (9_999, Reject::by(RejectCode::AccountFrozen, AccountNo(0))),
        ];
        let account = Account {
            debits_posted: 1,
            credits_posted: u64::MAX,
            debits_pending: 3,
            credits_pending: 4,
            last_seq: Seq(5),
            cold_seq: Seq(6),
            gl: GlNo(7),
            version: 8,
            day: Day(9),
            previous_day: Day(10),
            currency: Currency(11),
            account_type: AccountType::Expense,
            balance_rule: BalanceRule::NoCreditBalance,
            status: Status::Closed,
        };
        let all = [
            Outcome::TransferCreated,
            Outcome::HoldResolved,
            Outcome::AccountOpened,
            Outcome::AccountsOpened { items: 10_000, rejected: rejected.clone() },
            Outcome::AccountChanged { account: Box::new(account), code: 1010 },
            Outcome::Batch { atomic: true, minimal: false, items: 3, rejected: rejected.clone() },
            Outcome::Batch { atomic: false, minimal: true, items: 0, rejected: Vec::new() },
            Outcome::PeriodChanged,
            Outcome::ClockAccepted,
            Outcome::Refused(rejected[1].1),
            Outcome::BatchRefused(rejected),
            Outcome::ApiKey { key: Box::new(keyring_row::tests::full_key()), created: true },
            Outcome::Noted,
            Outcome::CustomerSaved,
            Outcome::ObjectSaved,
            Outcome::JobsBorn,
            Outcome::ProductSaved,
            Outcome::LoanPosted,
            Outcome::BusinessDay { by_hand: true, ended: Some((Day(7), Seq(8))), looked_at: Some((9, 10)) },
            Outcome::BusinessDay { by_hand: false, ended: None, looked_at: None },
        ];
        let mut bytes = Vec::new();
        for outcome in all {
            outcome.encode(&mut bytes);
            assert_eq!(Outcome::decode(&bytes), Some(outcome.clone()));
            bytes.push(0);
            assert_eq!(Outcome::decode(&bytes), None, "nothing may follow");
            bytes.truncate(bytes.len() - 2);
            assert_eq!(Outcome::decode(&bytes), None, "nothing may be missing");
        }
    }

    #[test]
    fn the_refusals_of_a_full_batch_fit_one_trailer() {
        for count in [NAMED_REJECTS_MAX, NAMED_REJECTS_MAX + 1, crate::config::BATCH_ITEMS_MAX] {
            let reject = Reject::by(RejectCode::InsufficientFunds, AccountNo(u32::MAX));
            let rejected = bounded((0..count as u32).map(|index| (index * 2, reject)).collect());
            let mut bytes = Vec::new();
            Outcome::BatchRefused(rejected).encode(&mut bytes);
            assert!(bytes.len() <= crate::journal::REPLY_BYTES_MAX, "{count} refusals take {}", bytes.len());
        }
    }
}
