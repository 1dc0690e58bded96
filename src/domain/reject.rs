//! Refusals, in the order in which they are checked.
//!
//! A refusal is a decision of the books, not an error: it is final for its command, it is kept for
//! its idempotency key, and the enum, `decide` and a test hold the same order.

use super::ids::AccountNo;

/// Why the books refused. The order is the order of the checks: shape, existence, relation,
/// state, limits, overflow. Stored on disk by number: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RejectCode {
    /// The amount is no plain decimal string, or beyond 2^63−1.
    AmountMalformed = 0,
    /// The amount is zero.
    AmountZero = 1,
    /// Debit and credit name the same account.
    SameAccount = 2,
    /// An account does not exist; the debit side is looked at first.
    AccountNotFound = 3,
    /// The two accounts have different currencies.
    CurrencyMismatch = 4,
    /// More decimals than the currency has, or too many minor units.
    AmountScale = 5,
    /// An account is closed.
    AccountClosed = 6,
    /// An account is frozen.
    AccountFrozen = 7,
    /// The external id was used before.
    ExternalIdExists = 8,
    /// The effective date falls into a closed period.
    PeriodClosed = 9,
    /// A balance rule refuses the balance that would result.
    InsufficientFunds = 10,
    /// A sum would leave 64 bits.
    BalanceOverflow = 11,
    /// No transfer has this id.
    TransferNotFound = 12,
    /// The transfer is not pending (any more).
    TransferNotPending = 13,
    /// Only a posted transfer that is no reversal can be reversed.
    TransferNotPosted = 14,
    /// The transfer was reversed before.
    AlreadyReversed = 15,
    /// A post asks for more than was held.
    AmountExceedsPending = 16,
    /// An account with a balance or open holds cannot be closed.
    AccountNotEmpty = 17,
    /// The period is closed already, or lies in the future.
    PeriodInvalid = 18,
    /// The precondition (`If-Match`) names another version.
    VersionMismatch = 19,
    /// A batch was refused whole, because one of its items was.
    BatchRefused = 20,
    /// The amount lies above what the caller's key may move. Never kept for an idempotency key.
    AmountLimitExceeded = 21,
    /// No API key has this id.
    ApiKeyNotFound = 22,
    /// The API key was revoked.
    ApiKeyRevoked = 23,
    /// Without this key nobody could make keys any more.
    LastAdminKey = 24,
    /// There are as many API keys as there may be.
    TooManyApiKeys = 25,
    /// Maker and checker are the same.
    SameIdentity = 26,
    /// No customer has this id.
    CustomerNotFound = 27,
}

/// Codes with their stable API names, in order of their numbers.
pub const REJECT_CODES: [(RejectCode, &str); 28] = [
    (RejectCode::AmountMalformed, "amount_malformed"),
    (RejectCode::AmountZero, "amount_zero"),
    (RejectCode::SameAccount, "same_account"),
    (RejectCode::AccountNotFound, "account_not_found"),
    (RejectCode::CurrencyMismatch, "currency_mismatch"),
    (RejectCode::AmountScale, "amount_scale"),
    (RejectCode::AccountClosed, "account_closed"),
    (RejectCode::AccountFrozen, "account_frozen"),
    (RejectCode::ExternalIdExists, "external_id_exists"),
    (RejectCode::PeriodClosed, "period_closed"),
    (RejectCode::InsufficientFunds, "insufficient_funds"),
    (RejectCode::BalanceOverflow, "balance_overflow"),
    (RejectCode::TransferNotFound, "transfer_not_found"),
    (RejectCode::TransferNotPending, "transfer_not_pending"),
    (RejectCode::TransferNotPosted, "transfer_not_posted"),
    (RejectCode::AlreadyReversed, "already_reversed"),
    (RejectCode::AmountExceedsPending, "amount_exceeds_pending"),
    (RejectCode::AccountNotEmpty, "account_not_empty"),
    (RejectCode::PeriodInvalid, "period_invalid"),
    (RejectCode::VersionMismatch, "version_mismatch"),
    (RejectCode::BatchRefused, "batch_refused"),
    (RejectCode::AmountLimitExceeded, "amount_limit_exceeded"),
    (RejectCode::ApiKeyNotFound, "api_key_not_found"),
    (RejectCode::ApiKeyRevoked, "api_key_revoked"),
    (RejectCode::LastAdminKey, "last_admin_key"),
    (RejectCode::TooManyApiKeys, "too_many_api_keys"),
    (RejectCode::SameIdentity, "same_identity"),
    (RejectCode::CustomerNotFound, "customer_not_found"),
];

impl RejectCode {
    /// The stable name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        REJECT_CODES[self as usize].1
    }

    /// A number read from disk, or `None` when this version does not know it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<RejectCode> {
        REJECT_CODES.get(usize::from(number)).map(|(code, _)| *code)
    }
}

/// A refusal and the account that caused it, when one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub code: RejectCode,
    /// Whose balance, status or absence it was.
    pub account: Option<AccountNo>,
}

impl Reject {
    /// A refusal that no single account caused.
    #[must_use]
    pub fn of(code: RejectCode) -> Reject {
        Reject { code, account: None }
    }

    /// A refusal that `account` caused.
    #[must_use]
    pub fn by(code: RejectCode, account: AccountNo) -> Reject {
        Reject { code, account: Some(account) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_in_the_order_of_their_table() {
        for (number, (code, name)) in REJECT_CODES.iter().enumerate() {
            assert_eq!(*code as usize, number);
            assert_eq!(RejectCode::from_number(number as u8), Some(*code));
            assert_eq!(code.name(), *name);
        }
        assert_eq!(RejectCode::from_number(REJECT_CODES.len() as u8), None);
    }
}
