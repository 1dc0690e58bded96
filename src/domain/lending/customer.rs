//! Customers: who borrows.
//!
//! What the law wants secret (PAN, account numbers) arrives here sealed by the edge and leaves sealed: neither
//! the journal nor the store nor this folder ever has it in clear.

use crate::domain::entry::Metadata;
use crate::domain::ids::{Moment, Seq};
use crate::domain::time::Day;

/// What a customer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CustomerKind {
    /// A person.
    #[default]
    Individual = 0,
    /// A firm, company, trust or other body.
    Business = 1,
}

/// Names of the kinds, in order of their numbers.
pub const CUSTOMER_KINDS: [(CustomerKind, &str); 2] =
    [(CustomerKind::Individual, "individual"), (CustomerKind::Business, "business")];

impl CustomerKind {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        CUSTOMER_KINDS[self as usize].1
    }

    /// A number read from disk, or `None` when this version does not know it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<CustomerKind> {
        CUSTOMER_KINDS.get(usize::from(number)).map(|(kind, _)| *kind)
    }
}

/// Something secret, sealed: nonce, ciphertext and tag, as the edge made them.
pub type Sealed = Box<[u8]>;

/// What is known of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerFacts {
    /// What it is.
    pub kind: CustomerKind,
    /// 1 to 200 characters, as on the proof of identity.
    pub name: Box<str>,
    /// The caller's own id, unique for ever among customers.
    pub external_id: Option<Box<str>>,
    /// Birth, or incorporation.
    pub born_on: Option<Day>,
    /// At most 20 characters.
    pub phone: Option<Box<str>>,
    /// At most 200 characters.
    pub email: Option<Box<str>>,
    /// At most 500 characters.
    pub address: Option<Box<str>>,
    /// Permanent account number of the income-tax department, sealed.
    pub pan: Option<Sealed>,
    /// Number of the bank account that loans are paid to, sealed.
    pub bank_account: Option<Sealed>,
    /// Code of that account's branch.
    pub ifsc: Option<Box<str>>,
    /// At most 50 pairs, sorted by key.
    pub metadata: Metadata,
}

/// A customer was made or changed: all that is known of it after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerSaved {
    /// Its number: for a new one, one more than the customer before; the first is 1.
    pub number: u32,
    /// From 1; one more than before.
    pub version: u32,
    /// The entry before it about this customer.
    pub previous: Seq,
    /// When it was made.
    pub created_at: Moment,
    /// What is known of it.
    pub facts: CustomerFacts,
}

/// A customer in memory: where its facts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomerRow {
    /// Newest version.
    pub version: u32,
    /// Newest entry about it.
    pub last_seq: Seq,
    /// When it was made.
    pub created_at: Moment,
}

impl CustomerRow {
    /// The row after an entry.
    #[must_use]
    pub fn after(saved: &CustomerSaved, seq: Seq) -> CustomerRow {
        CustomerRow { version: saved.version, last_seq: seq, created_at: saved.created_at }
    }
}

/// Whether a text has the shape of a PAN: five letters, four digits, a letter; capitals.
#[must_use]
pub fn is_pan(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            5..=8 => byte.is_ascii_digit(),
            _ => byte.is_ascii_uppercase(),
        })
}

/// Whether a text has the shape of an IFSC: four letters, a zero, six letters or digits; capitals.
#[must_use]
pub fn is_ifsc(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 11
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            0..=3 => byte.is_ascii_uppercase(),
            4 => *byte == b'0',
            _ => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        })
}

/// Whether a text has the shape of a bank account's number in India: 9 to 18 digits.
#[must_use]
pub fn is_bank_account(text: &str) -> bool {
    (9..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A secret as those may see it who need not know it: the last four characters.
#[must_use]
pub fn masked(text: &str) -> String {
    let shown = text.len().saturating_sub(4);
    text.char_indices().map(|(place, letter)| if place < shown { '*' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_checked_and_masks_hide() {
        assert!(is_pan("ABCDE1234F") && is_ifsc("HDFC0001234") && is_bank_account("123456789"));
        for bad in ["", "abcde1234f", "ABCDE12345", "ABCD1234EF", "ABCDE1234FG", "ABCDÉ1234"] {
            assert!(!is_pan(bad), "{bad}");
        }
        for bad in ["HDFC1001234", "HDF00001234", "HDFC000123", "hdfc0001234"] {
            assert!(!is_ifsc(bad), "{bad}");
        }
        assert!(
            !is_bank_account("12345678") && !is_bank_account("12345678x") && !is_bank_account("1234567890123456789")
        );
        assert_eq!(masked("ABCDE1234F"), "******234F");
        assert_eq!(masked("12"), "12");
    }
}
