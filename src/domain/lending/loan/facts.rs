//! What the journal remembers of loans.

use rust_decimal::Decimal;

use super::allocation::Split;
use super::contract::{LoanTerms, rupees};
use super::events::LoanEvent;
use super::roles::ROLE_COUNT;
use super::state::{Class, LoanState};
use crate::domain::entry::Metadata;
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::lending::product::ProductFacts;
use crate::domain::lending::terms::Charge;
use crate::domain::time::Day;

/// Loans of one customer at most.
pub const LOANS_PER_CUSTOMER_MAX: usize = 1_000;

/// Events of one loan at most: some thirty years of daily payments.
pub const LOAN_EVENTS_MAX: u32 = 10_000;

/// A loan as it was asked for. With the version of its product it gives its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoanApplication {
    /// The borrower.
    pub customer: u32,
    /// Number of the product.
    pub product: u32,
    /// Its version.
    pub product_version: u32,
    /// Paise.
    pub principal: i64,
    /// Rows, where they are not the product's.
    pub instalments: Option<u32>,
    /// Per cent a year, where it is not the product's.
    pub annual_rate_pct: Option<Decimal>,
    /// First due date, where it is not one period after the disbursal.
    pub first_due_on: Option<Day>,
    /// What is taken from the disbursal, where it is not what the product says.
    pub charges: Option<Vec<Charge>>,
    /// The caller's own id, unique for ever among loans.
    pub external_id: Option<Box<str>>,
    /// At most 50 pairs, sorted by key.
    pub metadata: Metadata,
}

impl LoanApplication {
    /// The terms of the loan: those of the product's version, and what the application says otherwise.
    ///
    /// Another number of rows than the product's ends what the product fixes for its own: an instalment by contract
    /// (or share of principal) is solved anew then. Kept, it would leave the last row what it does not pay in these
    /// rows. The same number says nothing new, and what is fixed stays. Another rate or principal leaves it too: the
    /// last row takes the difference, as a contract with a fixed instalment has it.
    #[must_use]
    pub fn terms(&self, product: &ProductFacts) -> LoanTerms {
        let mut terms = product.terms.clone();
        let calculation = &mut terms.calculation;
        calculation.principal = rupees(self.principal);
        if self.instalments.is_some() && self.instalments != calculation.instalments {
            calculation.instalments = self.instalments;
            calculation.instalment_fixed = None;
            calculation.principal_fixed = None;
        }
        if let Some(rate) = self.annual_rate_pct {
            calculation.annual_rate_pct = rate;
        }
        if self.first_due_on.is_some() {
            calculation.first_due_on = self.first_due_on;
        }
        if let Some(charges) = &self.charges {
            calculation.charges.clone_from(charges);
        }
        terms
    }
}

/// Texts of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoanTexts {
    /// What the rail calls the payment; unique for ever with its mode.
    pub reference: Option<Box<str>>,
    /// Why: of a refusal, a reversal, a waiver; what a charge is for.
    pub reason: Option<Box<str>>,
}

/// Something happened to a loan. The legs that it needed follow in the same record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoanPosted {
    /// Its number: for a new one, one more than the loan before; the first is 1.
    pub loan: u32,
    /// The entry before it about this loan.
    pub previous: Seq,
    /// Events before it: 0 for an application.
    pub events_before: u32,
    /// When it counts.
    pub value_date: Day,
    /// What happened. Its order number is the seq of the entry.
    pub event: LoanEvent,
    /// Who asked: the number of the API key.
    pub by: u64,
    /// The account of the money, where it is not the product's.
    pub settlement: Option<AccountNo>,
    /// Texts, when there are any.
    pub texts: Option<Box<LoanTexts>>,
    /// Of an application.
    pub application: Option<Box<LoanApplication>>,
    /// What a payment paid.
    pub split: Split,
    /// The loan after it, packed: at the end of the day before the record's, or inside that day.
    pub state: Box<[u8]>,
}

/// The days up to the end of `date` were run for loans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoansSwept {
    /// The day that ended.
    pub date: Day,
    /// First loan that was looked at.
    pub first: u32,
    /// Last loan that was looked at; 0 where a command ran `first` alone. A loan that had been run through that day
    /// already has no row.
    pub last: u32,
    /// What became of each, ascending by loan.
    pub rows: Vec<SweptRow>,
    /// What all of them that are active were then, by product, ascending.
    pub totals: Vec<ProductTotals>,
}

/// What loans of a product were at the end of a day. By class, in the order of [`Class`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProductTotals {
    /// Number of the product.
    pub product: u32,
    /// How many.
    pub loans: [u32; 5],
    /// Principal outstanding, paise.
    pub outstanding: [i64; 5],
    /// What has to be held against losses, paise.
    pub provision: i64,
}

/// A loan at the end of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweptRow {
    /// Which loan.
    pub loan: u32,
    /// Its class then.
    pub class: Class,
    /// Days past due then.
    pub dpd: u16,
    /// What changed of its positions, signed paise by role; the sum is zero.
    pub moved: [i64; ROLE_COUNT],
}

impl SweptRow {
    /// What became of a loan; `None` where its positions, class and days past due are what they were.
    #[must_use]
    pub fn between(loan: u32, before: &LoanState, after: &LoanState) -> Option<SweptRow> {
        let is_same = before.positions == after.positions && before.class == after.class && before.dpd == after.dpd;
        let row =
            || SweptRow { loan, class: after.class, dpd: after.dpd, moved: after.positions.minus(&before.positions) };
        (!is_same).then(row)
    }
}

/// What a day's end came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayEnded {
    /// The day that ended.
    pub date: Day,
    /// What the active loans were, by product, ascending.
    pub totals: Vec<ProductTotals>,
}

/// Lines of the general ledger in one entry at most: some 10 KB.
pub const MONTH_LINES_MAX: usize = 200;

/// What the general ledger came to at the end of a month, by effective date, with the legs of the record that it is in:
/// in the record that seals the month's last day, in as many entries as it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonthEnded {
    /// The last day of the month.
    pub date: Day,
    /// At most [`MONTH_LINES_MAX`], ascending by key over all entries of the record; those without postings are left out.
    pub lines: Vec<MonthLine>,
}

/// A line of the general ledger at the end of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthLine {
    /// Which line.
    pub key: GlKey,
    /// What is effective through the month.
    pub through: GlTotals,
    /// What of it is effective before the month, as it was known when the month ended.
    pub before: GlTotals,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lending::loan::tests::{Book, day};
    use crate::domain::lending::loan::{Role, advance, movements};
    use crate::domain::lending::terms::{Payee, Terms};

    fn product(calculation: Terms) -> ProductFacts {
        ProductFacts {
            name: "Personal".into(),
            external_id: None,
            terms: LoanTerms::new(calculation),
            principal_min: 1,
            principal_max: 10_000_000,
            kfs_valid_days: 3,
            is_secured: false,
            disbursal_by_another: false,
            year_end_account: None,
            metadata: Vec::new(),
        }
    }

    fn application() -> LoanApplication {
        LoanApplication {
            customer: 1,
            product: 1,
            product_version: 1,
            principal: 500_050,
            instalments: None,
            annual_rate_pct: None,
            first_due_on: None,
            charges: None,
            external_id: None,
            metadata: Vec::new(),
        }
    }

    fn charge(amount: &str, payee: Payee) -> Charge {
        let amount = amount.parse().expect("a decimal");
        Charge { name: "fee".into(), amount, payee, gst_pct: Decimal::from(18) }
    }

    #[test]
    fn an_application_keeps_what_it_does_not_say() {
        let fixed = Some(Decimal::from(862));
        let charges = vec![charge("50", Payee::Lender)];
        let of = Terms {
            annual_rate_pct: Decimal::from(12),
            instalments: Some(6),
            instalment_fixed: fixed,
            charges,
            ..Terms::default()
        };
        let product = product(of.clone());
        let plain = application().terms(&product);
        assert_eq!(plain.calculation, Terms { principal: Decimal::new(500_050, 2), ..of });
        assert_eq!(LoanTerms { calculation: product.terms.calculation.clone(), ..plain }, product.terms);
        let same = LoanApplication { instalments: Some(6), ..application() };
        assert_eq!(same.terms(&product).calculation.instalment_fixed, fixed, "the same number says nothing new");
    }

    #[test]
    fn an_application_has_its_own_way() {
        let fixed = Some(Decimal::from(862));
        let of = Terms { instalment_fixed: fixed, principal_fixed: fixed, ..Terms::default() };
        let asked = LoanApplication {
            instalments: Some(12),
            annual_rate_pct: Some(Decimal::new(1350, 2)),
            first_due_on: Some(day("2026-03-05")),
            charges: Some(Vec::new()),
            ..application()
        };
        let made = asked.terms(&product(Terms { charges: vec![charge("1", Payee::Lender)], ..of.clone() }));
        let expected = Terms {
            principal: Decimal::new(500_050, 2),
            instalments: Some(12),
            instalment_fixed: None,
            principal_fixed: None,
            annual_rate_pct: Decimal::new(1350, 2),
            first_due_on: Some(day("2026-03-05")),
            ..of
        };
        assert_eq!(made.calculation, expected);
    }

    #[test]
    fn charges_are_deducted_by_whom_they_are_for() {
        let charges =
            vec![charge("100.50", Payee::Lender), charge("10", Payee::Lender), charge("200.25", Payee::ThirdParty)];
        let deducted = LoanTerms::new(Terms { charges, ..Terms::default() }).deducted();
        assert_eq!((deducted.fee, deducted.gst), (11_050, 1_809 + 180));
        assert_eq!(deducted.third_party, 20_025 + 3_605, "36.045 is 36.05 to the paisa");
    }

    #[test]
    fn a_row_is_there_where_something_moved() {
        let calculation = Terms {
            principal: Decimal::from(5_000),
            annual_rate_pct: Decimal::from(12),
            instalments: Some(6),
            disbursed_on: Some(day("2026-01-05")),
            ..Terms::default()
        };
        let book = Book::paid_out(calculation);
        let before = super::super::fold(&book.terms, &book.events, day("2026-01-05"));
        assert_eq!(SweptRow::between(7, &before, &before), None);
        let mut after = before.clone();
        advance(&mut after, &book.terms, day("2026-01-06"));
        let row = SweptRow::between(7, &before, &after).expect("interest of a day");
        let legs = movements(&before.positions, &after.positions);
        assert_eq!((row.loan, row.class, row.dpd, legs.len()), (7, Class::Standard, 0, 1));
        assert_eq!(row.moved[Role::InterestReceivable as usize], legs[0].amount);
        assert_eq!(row.moved[Role::InterestIncome as usize], -legs[0].amount);
        let fallen = LoanState { dpd: 1, class: Class::Sma0, ..before.clone() };
        let row = SweptRow::between(7, &before, &fallen).expect("another class");
        assert_eq!((row.class, row.dpd, row.moved), (Class::Sma0, 1, [0; ROLE_COUNT]));
    }
}
