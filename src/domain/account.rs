//! The account as the engine keeps it in memory: one cache line, no texts.

use super::ids::Seq;
use super::money::{Currency, Minor};
use super::time::Day;

/// What an account is in the chart; decides its normal direction. Stored on disk by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AccountType {
    /// Grows by debits: cash, bank, loans given.
    Asset = 0,
    /// Grows by credits: deposits, payables.
    Liability = 1,
    /// Grows by credits: capital, reserves.
    Equity = 2,
    /// Grows by credits: interest earned.
    Income = 3,
    /// Grows by debits: rent, salaries.
    Expense = 4,
}

/// All account types with their API names, in order of their numbers.
pub const ACCOUNT_TYPES: [(AccountType, &str); 5] = [
    (AccountType::Asset, "asset"),
    (AccountType::Liability, "liability"),
    (AccountType::Equity, "equity"),
    (AccountType::Income, "income"),
    (AccountType::Expense, "expense"),
];

/// Which balances an account refuses. Stored on disk by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BalanceRule {
    /// Any balance.
    None = 0,
    /// Debits, posted and pending, may not exceed posted credits.
    NoDebitBalance = 1,
    /// Credits, posted and pending, may not exceed posted debits.
    NoCreditBalance = 2,
}

/// All balance rules with their API names, in order of their numbers.
pub const BALANCE_RULES: [(BalanceRule, &str); 3] = [
    (BalanceRule::None, "none"),
    (BalanceRule::NoDebitBalance, "no_debit_balance"),
    (BalanceRule::NoCreditBalance, "no_credit_balance"),
];

/// Whether an account takes new business. Stored on disk by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// Takes everything.
    Open = 0,
    /// Refuses new transfers, posts and reversals; void and expiry always work.
    Frozen = 1,
    /// Empty, and refuses like a frozen one. May be opened again.
    Closed = 2,
    /// Only lending posts to it: its balance is the sum over loans.
    Control = 3,
}

/// All statuses with their API names, in order of their numbers.
pub const STATUSES: [(Status, &str); 4] =
    [(Status::Open, "open"), (Status::Frozen, "frozen"), (Status::Closed, "closed"), (Status::Control, "control")];

/// The statuses that a caller may give: that of a control account comes from a loan product.
pub const GIVEN_STATUSES: [(Status, &str); 3] = [STATUSES[0], STATUSES[1], STATUSES[2]];

macro_rules! named_enum {
    ($kind:ident, $table:ident) => {
        impl $kind {
            /// The name in the API.
            #[must_use]
            pub fn name(self) -> &'static str {
                $table[self as usize].1
            }

            /// Looks an API name up.
            #[must_use]
            pub fn from_name(name: &str) -> Option<$kind> {
                $table.iter().find(|(_, n)| *n == name).map(|(kind, _)| *kind)
            }

            /// A number read from disk, or `None` when this version does not know it.
            #[must_use]
            pub fn from_number(number: u8) -> Option<$kind> {
                $table.get(usize::from(number)).map(|(kind, _)| *kind)
            }
        }
    };
}
named_enum!(AccountType, ACCOUNT_TYPES);
named_enum!(BalanceRule, BALANCE_RULES);
named_enum!(Status, STATUSES);

impl AccountType {
    /// Whether debits make the balance grow.
    #[must_use]
    pub fn is_debit_normal(self) -> bool {
        matches!(self, AccountType::Asset | AccountType::Expense)
    }
}

/// Place of a (currency, code) pair in the general ledger: dense, in order of first use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlNo(pub u32);

/// Which side of an entry an account stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The left one.
    Debit,
    /// The right one.
    Credit,
}

/// Hot state of an account: 64 bytes, one cache line.
///
/// Sums are gross, so a balance is a difference of two of them; they are unsigned 64-bit and
/// `decide` refuses (`balance_overflow`) what would overflow posted + pending of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Account {
    /// Σ of posted debits, minor units.
    pub debits_posted: Minor,
    /// Σ of posted credits, minor units.
    pub credits_posted: Minor,
    /// Σ of held debits, minor units.
    pub debits_pending: Minor,
    /// Σ of held credits, minor units.
    pub credits_pending: Minor,
    /// Newest entry that touched this account; head of its chain.
    pub last_seq: Seq,
    /// The entry that holds its texts: its opening or its newest change.
    pub cold_seq: Seq,
    /// Its place in the general ledger.
    pub gl: GlNo,
    /// Counts changes of name, status and metadata; 1 when opened.
    pub version: u32,
    /// Newest business day on which an entry touched it.
    pub day: Day,
    /// The business day before that one on which an entry touched it; 0 for none. Its closing is an anchor.
    pub previous_day: Day,
    /// Currency of all amounts.
    pub currency: Currency,
    /// Normal direction.
    pub account_type: AccountType,
    /// Refused balances.
    pub balance_rule: BalanceRule,
    /// Open, frozen or closed.
    pub status: Status,
}

const _: () = assert!(size_of::<Account>() == 64, "an account is one cache line");

impl Account {
    /// Whether debits make the balance grow.
    #[must_use]
    pub fn is_debit_normal(&self) -> bool {
        self.account_type.is_debit_normal()
    }

    /// Balance in the normal direction, minor units.
    #[must_use]
    pub fn posted(&self) -> i128 {
        self.signed(i128::from(self.debits_posted), i128::from(self.credits_posted))
    }

    /// What holds would add to the balance, in the normal direction, minor units.
    #[must_use]
    pub fn pending(&self) -> i128 {
        self.signed(i128::from(self.debits_pending), i128::from(self.credits_pending))
    }

    /// Posted balance minus pending outflow (holds against the normal direction), minor units.
    #[must_use]
    pub fn available(&self) -> i128 {
        let outflow = if self.is_debit_normal() { self.credits_pending } else { self.debits_pending };
        self.posted() - i128::from(outflow)
    }

    /// `debits − credits` or the mirror image, in the account's normal direction.
    #[must_use]
    pub fn signed(&self, debits: i128, credits: i128) -> i128 {
        if self.is_debit_normal() { debits - credits } else { credits - debits }
    }
}
