//! Loan products: versioned terms, and the accounts that their loans are kept in.

use super::loan::contract::LoanTerms;
use super::loan::roles::Role;
use crate::domain::account::AccountType;
use crate::domain::entry::Metadata;
use crate::domain::ids::{AccountNo, Moment, Seq};

/// Products at most.
pub const PRODUCTS_MAX: u32 = 1_000;

/// Versions of a product at most.
pub const VERSIONS_MAX: u32 = 1_000;

/// How many accounts a product has: one for each [`Role`], then [`PROVISION_EXPENSE`] and [`PROVISION`].
pub const ACCOUNT_COUNT: usize = 16;

/// Place of the account that provisions are charged to.
pub const PROVISION_EXPENSE: usize = 14;

/// Place of the account that provisions stand on.
pub const PROVISION: usize = 15;

/// The accounts of a product, by the number of their role.
pub type ProductAccounts = [AccountNo; ACCOUNT_COUNT];

/// What an account of a product is in the chart, where the product names none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountPlan {
    /// Name of the role in the API.
    pub role: &'static str,
    /// General-ledger code.
    pub code: u32,
    /// Type.
    pub account_type: AccountType,
    /// Name of the account.
    pub name: &'static str,
    /// Only lending posts to it: its balance is the sum over the loans ([`Role`] says of what).
    pub is_control: bool,
}

/// The chart of lending, by the number of the role. Codes lie in the ranges of `data/chart/nbfc.csv`.
pub const ACCOUNT_PLANS: [AccountPlan; ACCOUNT_COUNT] = {
    use AccountType::{Asset, Expense, Income, Liability};
    const fn plan(
        role: &'static str,
        code: u32,
        account_type: AccountType,
        name: &'static str,
        is_control: bool,
    ) -> AccountPlan {
        AccountPlan { role, code, account_type, name, is_control }
    }
    [
        plan("settlement", 1090, Asset, "Loan settlement", false),
        plan("principal", 1290, Asset, "Loans", true),
        plan("interest_receivable", 1390, Asset, "Interest accrued on loans", true),
        plan("fee_receivable", 1395, Asset, "Fees due on loans", true),
        plan("tds_receivable", 1490, Asset, "TDS receivable (26AS)", false),
        plan("advance", 2590, Liability, "Advance from borrowers", true),
        plan("third_party_payable", 2690, Liability, "Collected for third parties", false),
        plan("gst_payable", 2390, Liability, "GST payable on fees", false),
        plan("interest_suspense", 2545, Liability, "Interest suspense on NPA loans", true),
        plan("interest_income", 4090, Income, "Interest income on loans", false),
        plan("fee_income", 4190, Income, "Fee income on loans", false),
        plan("penal_income", 4290, Income, "Penal charges received", false),
        plan("write_off", 5390, Expense, "Loans written off", false),
        plan("recovery", 4390, Income, "Recovered after write-off", false),
        plan("provision_expense", 5395, Expense, "Provisions on loans", false),
        plan("provision", 2790, Liability, "Provision held on loans", false),
    ]
};

/// What a product says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductFacts {
    /// At most 200 characters.
    pub name: Box<str>,
    /// The caller's own id, unique for ever among products.
    pub external_id: Option<Box<str>>,
    /// Terms without principal and dates: `calculation.principal` is 0 and all its dates are `None`.
    pub terms: LoanTerms,
    /// Least principal of a loan, paise.
    pub principal_min: i64,
    /// Greatest principal of a loan, paise.
    pub principal_max: i64,
    /// Days for which a key facts statement holds, counted from the day after it was given out.
    pub kfs_valid_days: u16,
    /// Loans of it are secured: provisions look at that.
    pub is_secured: bool,
    /// Whoever asked for a loan of it does not pay it out: another person, by another key, looks at it before the money
    /// leaves.
    pub disbursal_by_another: bool,
    /// Where the income and expenses of its loans go when a financial year is over; nowhere where it is `None`.
    pub year_end_account: Option<AccountNo>,
    /// At most 50 pairs, sorted by key.
    pub metadata: Metadata,
}

/// A product was made, or has a new version. Loans keep the version that they were asked for under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductSaved {
    /// Its number: for a new one, one more than the product before; the first is 1.
    pub number: u32,
    /// From 1; one more than before.
    pub version: u32,
    /// The entry before it about this product.
    pub previous: Seq,
    /// When it was made.
    pub created_at: Moment,
    /// Its accounts: the same in all versions.
    pub accounts: ProductAccounts,
    /// What it says.
    pub facts: ProductFacts,
}

impl ProductSaved {
    /// The account of a role.
    #[must_use]
    pub fn account(&self, role: Role) -> AccountNo {
        self.accounts[role as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lending::loan::roles::ROLES;

    #[test]
    fn every_role_has_a_plan_of_its_own() {
        for role in ROLES {
            assert!((role as usize) < PROVISION_EXPENSE, "{role:?}");
        }
        for (place, plan) in ACCOUNT_PLANS.iter().enumerate() {
            let same = ACCOUNT_PLANS.iter().filter(|other| other.role == plan.role || other.code == plan.code);
            assert_eq!(same.count(), 1, "{}", plan.role);
            let controls = [Role::Principal, Role::InterestReceivable, Role::FeeReceivable, Role::Advance];
            let is_control = controls.iter().any(|role| *role as usize == place) || plan.role == "interest_suspense";
            assert_eq!(plan.is_control, is_control, "{}", plan.role);
        }
    }
}
