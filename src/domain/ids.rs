//! Typed identifiers and their text forms.
//!
//! Promise: every public id is `<prefix>_` and thirteen Crockford base-32 digits of one
//! number, lower case and zero padded, so that ids sort as text in the order of creation.
//! A transfer's number **is** its seq (its place in the journal); an account's number is its
//! place in the account table. Neither needs an index to be found.

use std::fmt;

/// Place of an entry in the journal. The first entry of a journal is 1; 0 means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// No entry: before the first one.
    pub const NONE: Seq = Seq(0);

    /// The seq after this one. Seqs cannot run out: 2^64 entries take 11,000 years at 50 million a second.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// Number of an account: 0, 1, 2 … in order of creation, dense, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNo(pub u32);

impl AccountNo {
    /// No account has it: numbers are dense, and memory ends before.
    pub const MAX: AccountNo = AccountNo(u32::MAX);
}

/// Instant of a command: microseconds since 1970-01-01T00:00:00Z, strictly increasing along the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

/// What a public id names; decides its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// `acct_…`
    Account,
    /// `tr_…`
    Transfer,
    /// `je_…`, the voucher: all transfers of one command.
    JournalEntry,
    /// `op_…`, an operation that runs in the background.
    Operation,
    /// `req_…`, one request.
    Request,
    /// `key_…`, an API key.
    ApiKey,
    /// `mk_…`, the first half of an API key's token.
    Token,
    /// `cust_…`, a customer.
    Customer,
    /// `prod_…`, a loan product.
    Product,
    /// `loan_…`, a loan.
    Loan,
    /// `evt_…`, something that happened: the seq of its entry.
    LoanEvent,
    /// `we_…`, an endpoint for webhooks.
    WebhookEndpoint,
    /// `sched_…`, a schedule.
    Schedule,
    /// `sync_…`, a peer that postings are pushed to.
    SyncTarget,
    /// `job_…`, a job: the seq of its entry.
    Job,
}

impl IdKind {
    /// The text before the digits, underscore included.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            IdKind::Account => "acct_",
            IdKind::Transfer => "tr_",
            IdKind::JournalEntry => "je_",
            IdKind::Operation => "op_",
            IdKind::Request => "req_",
            IdKind::ApiKey => "key_",
            IdKind::Token => "mk_",
            IdKind::Customer => "cust_",
            IdKind::Product => "prod_",
            IdKind::Loan => "loan_",
            IdKind::LoanEvent => "evt_",
            IdKind::WebhookEndpoint => "we_",
            IdKind::Schedule => "sched_",
            IdKind::SyncTarget => "sync_",
            IdKind::Job => "job_",
        }
    }
}

/// Digits in an id: 13 × 5 bits cover 64.
pub const ID_DIGITS: usize = 13;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Value of each byte as a base-32 digit, 255 where it is none. Upper case and look-alikes are
/// refused: an id has one spelling, so that it can be compared as text.
const DIGITS: [u8; 256] = {
    let mut table = [255u8; 256];
    let mut i = 0;
    while i < 32 {
        table[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    table
};

/// Appends `prefix_` and the digits of `number` to `out`.
pub fn write_id(out: &mut Vec<u8>, kind: IdKind, number: u64) {
    out.extend_from_slice(kind.prefix().as_bytes());
    let mut digits = [0u8; ID_DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    out.extend_from_slice(&digits);
}

/// The id as a new string.
#[must_use]
pub fn format_id(kind: IdKind, number: u64) -> String {
    let mut out = Vec::with_capacity(kind.prefix().len() + ID_DIGITS);
    write_id(&mut out, kind, number);
    String::from_utf8(out).expect("the alphabet and the prefixes are ASCII")
}

/// The number in an id of this kind, or `None` when the text is no such id.
#[must_use]
pub fn parse_id(kind: IdKind, text: &str) -> Option<u64> {
    let digits = text.strip_prefix(kind.prefix())?.as_bytes();
    if digits.len() != ID_DIGITS {
        return None;
    }
    let mut number: u64 = 0;
    for (i, byte) in digits.iter().enumerate() {
        let digit = DIGITS[*byte as usize];
        // 13 digits hold 65 bits: the first one may only be 0..=15.
        if digit == 255 || (i == 0 && digit > 15) {
            return None;
        }
        number = (number << 5) | u64::from(digit);
    }
    Some(number)
}

/// Account id as text. Numbers are shown plus one, so that no id is all zeros.
#[must_use]
pub fn account_id(no: AccountNo) -> String {
    format_id(IdKind::Account, u64::from(no.0) + 1)
}

/// The account number in `acct_…`, or `None`.
#[must_use]
pub fn parse_account_id(text: &str) -> Option<AccountNo> {
    let number = parse_id(IdKind::Account, text)?.checked_sub(1)?;
    u32::try_from(number).ok().map(AccountNo)
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for AccountNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&account_id(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_sort_in_order_of_creation() {
        let numbers = [0, 1, 31, 32, 1023, 1 << 40, u64::MAX - 1, u64::MAX];
        let texts: Vec<String> = numbers.iter().map(|n| format_id(IdKind::Transfer, *n)).collect();
        for (number, text) in numbers.iter().zip(&texts) {
            assert_eq!(parse_id(IdKind::Transfer, text), Some(*number));
        }
        assert!(texts.is_sorted());
    }

    #[test]
    fn an_id_has_one_spelling() {
        for bad in [
            "",
            "tr_",
            "tr_0000000000001x",
            "acct_0000000000001",
            "tr_000000000000I",
            "tr_000000000000A",
            "tr_g000000000000",
            "tr_00000000000 1",
            "TR_0000000000001",
            "tr_000000000000é",
        ] {
            assert_eq!(parse_id(IdKind::Transfer, bad), None, "{bad}");
        }
        assert_eq!(parse_account_id("acct_0000000000000"), None);
        assert_eq!(parse_account_id("acct_0000000000001"), Some(AccountNo(0)));
        assert_eq!(parse_account_id("acct_0000004000001"), None, "beyond 32 bits");
    }
}
