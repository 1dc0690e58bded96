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
    /// No loan product has this id.
    ProductNotFound = 28,
    /// No loan has this id.
    LoanNotFound = 29,
    /// The loan has no such event, or it was undone before.
    LoanEventNotFound = 30,
    /// There are as many loan products, or versions of one, as there may be.
    TooManyProducts = 31,
    /// The customer has as many loans, or the loan as many events, as there may be.
    TooManyLoans = 32,
    /// Only lending posts to the account: its balance is the sum over the loans.
    ControlAccount = 33,
    /// The account is of another currency or type, has a balance rule, is not open, or is not empty.
    AccountUnsuitable = 34,
    /// The payment was recorded before.
    PaymentReferenceExists = 35,
    /// The business day cannot be opened or closed like that.
    BusinessDayInvalid = 36,
    /// The product lends less, or more.
    PrincipalOutOfRange = 37,
    /// The loan has been sanctioned or declined.
    LoanNotApplied = 38,
    /// The loan is not sanctioned.
    LoanNotApproved = 39,
    /// Nothing of the loan is paid out, or it has ended.
    LoanNotActive = 40,
    /// The loan is not written off.
    LoanNotWrittenOff = 41,
    /// Everything that was paid out has been paid back.
    LoanAlreadyRepaid = 42,
    /// A flat loan is neither prepaid nor reset nor rescheduled, and is paid out at once.
    LoanMethodFlat = 43,
    /// No key facts statement was given out.
    KfsNotIssued = 44,
    /// Another version of the key facts statement is the last one.
    KfsVersion = 45,
    /// The key facts statement was not accepted.
    KfsNotAccepted = 46,
    /// The key facts statement does not hold any more.
    KfsExpired = 47,
    /// The terms make no loan.
    LoanTermsInvalid = 48,
    /// More than was sanctioned.
    AmountAboveSanction = 49,
    /// Charges leave nothing to pay out.
    DeductionsTooHigh = 50,
    /// More than is due.
    AmountAboveDue = 51,
    /// More than is in the advance.
    AmountAboveAdvance = 52,
    /// Something is due that has to be paid first.
    ArrearsFirst = 53,
    /// Not what the quote says.
    AmountNotQuoted = 54,
    /// Something is owed, or an advance is there.
    LoanBalanceLeft = 55,
    /// Penal charges bear no tax.
    PenalGst = 56,
    /// No such rate.
    RateInvalid = 57,
    /// No such number of instalments.
    RowsInvalid = 58,
    /// Before the money was paid out.
    DateBeforeDisbursal = 59,
    /// The value date lies after the business date.
    DateInFuture = 60,
    /// The first due date is not after it, or lies outside the calendar.
    DateOfFirstDue = 61,
    /// As much as may not be paid out in cash (s.185).
    CashDisbursal = 62,
    /// As much as may not be received in cash from one person in a day (s.186).
    CashReceipts = 63,
    /// The cooling-off days are over.
    CoolingOffOver = 64,
    /// A pause ends before it begins, or lasts too long.
    PauseInvalid = 65,
    /// As much as is received in cash only from somebody whose PAN is known.
    PanMissing = 66,
    /// A record of lending made the transfer: only lending undoes it.
    TransferOfLending = 67,
    /// Nothing of that kind has this number.
    ObjectNotFound = 68,
    /// As many of that kind as there may be.
    TooManyObjects = 69,
}

/// Codes with their stable API names, in order of their numbers.
pub const REJECT_CODES: [(RejectCode, &str); 70] = [
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
    (RejectCode::ProductNotFound, "loan_product_not_found"),
    (RejectCode::LoanNotFound, "loan_not_found"),
    (RejectCode::LoanEventNotFound, "loan_event_not_found"),
    (RejectCode::TooManyProducts, "too_many_loan_products"),
    (RejectCode::TooManyLoans, "too_many_loans"),
    (RejectCode::ControlAccount, "control_account"),
    (RejectCode::AccountUnsuitable, "account_unsuitable"),
    (RejectCode::PaymentReferenceExists, "payment_reference_exists"),
    (RejectCode::BusinessDayInvalid, "business_day_invalid"),
    (RejectCode::PrincipalOutOfRange, "principal_out_of_range"),
    (RejectCode::LoanNotApplied, "loan_not_applied"),
    (RejectCode::LoanNotApproved, "loan_not_approved"),
    (RejectCode::LoanNotActive, "loan_not_active"),
    (RejectCode::LoanNotWrittenOff, "loan_not_written_off"),
    (RejectCode::LoanAlreadyRepaid, "loan_already_repaid"),
    (RejectCode::LoanMethodFlat, "loan_method_flat"),
    (RejectCode::KfsNotIssued, "kfs_not_issued"),
    (RejectCode::KfsVersion, "kfs_version"),
    (RejectCode::KfsNotAccepted, "kfs_not_accepted"),
    (RejectCode::KfsExpired, "kfs_expired"),
    (RejectCode::LoanTermsInvalid, "loan_terms_invalid"),
    (RejectCode::AmountAboveSanction, "amount_above_sanction"),
    (RejectCode::DeductionsTooHigh, "deductions_too_high"),
    (RejectCode::AmountAboveDue, "amount_above_due"),
    (RejectCode::AmountAboveAdvance, "amount_above_advance"),
    (RejectCode::ArrearsFirst, "arrears_first"),
    (RejectCode::AmountNotQuoted, "amount_not_quoted"),
    (RejectCode::LoanBalanceLeft, "loan_balance_left"),
    (RejectCode::PenalGst, "penal_gst"),
    (RejectCode::RateInvalid, "rate_invalid"),
    (RejectCode::RowsInvalid, "rows_invalid"),
    (RejectCode::DateBeforeDisbursal, "date_before_disbursal"),
    (RejectCode::DateInFuture, "date_in_future"),
    (RejectCode::DateOfFirstDue, "date_of_first_due"),
    (RejectCode::CashDisbursal, "cash_disbursal"),
    (RejectCode::CashReceipts, "cash_receipts"),
    (RejectCode::CoolingOffOver, "cooling_off_over"),
    (RejectCode::PauseInvalid, "pause_invalid"),
    (RejectCode::PanMissing, "pan_missing"),
    (RejectCode::TransferOfLending, "transfer_of_lending"),
    (RejectCode::ObjectNotFound, "object_not_found"),
    (RejectCode::TooManyObjects, "too_many_objects"),
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
