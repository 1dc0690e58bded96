//! The smallest books that `decide` can look at, for the tests of the domain.

use munim::domain::account::{Account, AccountType, BalanceRule, GlNo, Status};
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::money::Currency;
use munim::domain::time::Day;
use munim::domain::transfer::{Rules, View};

/// The business date of the tests.
pub const TODAY: Day = Day(20_000);

/// Accounts by number, and nothing else.
#[derive(Clone)]
pub struct Accounts(pub Vec<Account>);

impl View for Accounts {
    fn account(&self, no: AccountNo) -> Option<&Account> {
        self.0.get(no.0 as usize)
    }
}

/// Rupees: two decimals.
pub fn inr() -> Currency {
    Currency::INR
}

/// Yen: no decimals.
pub fn jpy() -> Currency {
    Currency::from_code("JPY").unwrap()
}

/// Nothing is closed, it is some moment of [`TODAY`].
pub fn rules() -> Rules {
    Rules { now: Moment(1_728_000_000_000_000), business_date: TODAY, closed_through: None, amount_limit: None }
}

/// An open, empty asset account without a balance rule.
pub fn account(currency: Currency) -> Account {
    Account {
        debits_posted: 0,
        credits_posted: 0,
        debits_pending: 0,
        credits_pending: 0,
        last_seq: Seq(1),
        cold_seq: Seq(1),
        gl: GlNo(0),
        version: 1,
        day: TODAY,
        previous_day: Day(0),
        currency,
        account_type: AccountType::Asset,
        balance_rule: BalanceRule::None,
        status: Status::Open,
    }
}
