//! What a product says about a loan beside the terms of its calculation. Whatever a regulator may change is a
//! field here, not a constant: who makes the terms looks it up by the date of the sanction.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::events::Deducted;
use crate::domain::lending::rounding::to_paise;
use crate::domain::lending::schedule::schedule;
use crate::domain::lending::terms::{Payee, Terms, TermsError};
use crate::domain::time::Day;

/// Greatest principal of a loan, whole units: ten thousand crore. With [`RATE_PCT_MAX`] it keeps every sum of paise
/// inside 64 bits, through all of the calendar.
pub const PRINCIPAL_MAX: i64 = 100_000_000_000;

/// Greatest rate of a loan, per cent a year.
pub const RATE_PCT_MAX: i64 = 1_000;

/// 2026-01-01: terms without dates are tried from here.
const ANY_DAY: Day = Day(20_454);

/// What a payment can pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Penal charges.
    Penal,
    /// Fees, with their tax.
    Fee,
    /// Interest that fell due.
    Interest,
    /// Principal that fell due.
    Principal,
}

/// Names of the parts, as the API has them.
pub const PARTS: [(Part, &str); 4] =
    [(Part::Penal, "penal"), (Part::Fee, "fee"), (Part::Interest, "interest"), (Part::Principal, "principal")];

/// What comes first: the row or the part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Across {
    /// All parts of the oldest due date, then the next date. Penal charges belong to no date: they are paid before
    /// all rows where the order begins with them, else after all rows.
    #[default]
    Rows,
    /// The first part of all due dates, oldest first, then the next part.
    Parts,
}

/// The order in which a payment is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appropriation {
    /// Each part once.
    pub order: [Part; 4],
    /// What comes first.
    pub across: Across,
}

impl Default for Appropriation {
    /// Oldest instalment first; inside it interest, principal, fees; penal charges last.
    fn default() -> Appropriation {
        Appropriation { order: [Part::Interest, Part::Principal, Part::Fee, Part::Penal], across: Across::Rows }
    }
}

impl Appropriation {
    /// Each part is there once.
    #[must_use]
    pub fn is_permutation(&self) -> bool {
        PARTS.iter().all(|(part, _)| self.order.contains(part))
    }
}

/// A loan's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoanTerms {
    /// How instalments and interest are worked out. `disbursed_on`, resets and prepayments of it are not looked at:
    /// they come as events.
    pub calculation: Terms,
    /// The order in which a payment is used up.
    pub appropriation: Appropriation,
    /// Penal charge, per cent of overdue instalments for 30 days.
    pub penal_pct_per_month: Decimal,
    /// Days after the disbursal in which the borrower may leave without a penalty.
    pub cooling_off_days: u16,
    /// Charge on what is paid ahead at foreclosure, per cent.
    pub foreclosure_charge_pct: Decimal,
    /// Goods and services tax on that charge, per cent.
    pub charge_gst_pct: Decimal,
    /// Days past due from which a loan is SMA-1.
    pub sma1_dpd: u16,
    /// From which it is SMA-2.
    pub sma2_dpd: u16,
    /// From which it is non-performing.
    pub npa_dpd: u16,
}

impl LoanTerms {
    /// Terms with the classes of the Directions of 2025, no penal charge, no charge on foreclosure, one day to leave.
    #[must_use]
    pub fn new(calculation: Terms) -> LoanTerms {
        LoanTerms {
            calculation,
            appropriation: Appropriation::default(),
            penal_pct_per_month: Decimal::ZERO,
            cooling_off_days: 1,
            foreclosure_charge_pct: Decimal::ZERO,
            charge_gst_pct: Decimal::from(18),
            sma1_dpd: 31,
            sma2_dpd: 61,
            npa_dpd: 91,
        }
    }

    /// What a disbursal is reduced by, each charge and its tax rounded to the paisa. Of terms that were checked:
    /// charges are less than the principal then.
    #[must_use]
    pub fn deducted(&self) -> Deducted {
        let mut deducted = Deducted::default();
        for charge in &self.calculation.charges {
            let (amount, gst) = (paise(charge.amount), paise(charge.gst()));
            match charge.payee {
                Payee::Lender => {
                    deducted.fee += amount;
                    deducted.gst += gst;
                }
                Payee::ThirdParty => deducted.third_party += amount + gst,
            }
        }
        deducted
    }

    /// Goods and services tax on a charge, paise, halves up.
    #[must_use]
    pub fn gst_on(&self, amount: i64) -> i64 {
        paise(rupees(amount) * self.charge_gst_pct / Decimal::ONE_HUNDRED)
    }

    /// What of the terms cannot be.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), TermsError> {
        let wrong = |field, what: &str| Err(TermsError::new(field, what));
        let is_pct = |pct: Decimal| pct >= Decimal::ZERO && pct <= Decimal::ONE_HUNDRED;
        // Terms of a product have no dates yet; any will do to see whether there are rows.
        let is_undated = self.calculation.disbursed_on.is_none() && self.calculation.first_due_on.is_none();
        let disbursed_on = if is_undated { Some(ANY_DAY) } else { self.calculation.disbursed_on };
        schedule(&Terms { disbursed_on, ..self.calculation.clone() })?;
        if self.calculation.principal > Decimal::from(PRINCIPAL_MAX) {
            return wrong("principal", "of a loan must be at most 100000000000");
        }
        if self.calculation.principal != to_paise(self.calculation.principal) {
            return wrong("principal", "of a loan must have at most two decimals");
        }
        if self.calculation.annual_rate_pct > Decimal::from(RATE_PCT_MAX) {
            return wrong("annual_rate_pct", "of a loan must be at most 1000");
        }
        if !self.appropriation.is_permutation() {
            return wrong("appropriation", "must name penal, fee, interest and principal once each");
        }
        if !is_pct(self.penal_pct_per_month) {
            return wrong("penal_pct_per_month", "must be 0 to 100");
        }
        if !is_pct(self.foreclosure_charge_pct) || !is_pct(self.charge_gst_pct) {
            return wrong("foreclosure_charge_pct", "and its tax must be 0 to 100");
        }
        if !(1 < self.sma1_dpd && self.sma1_dpd < self.sma2_dpd && self.sma2_dpd < self.npa_dpd) {
            return wrong("npa_dpd", "must be more than sma2_dpd, that more than sma1_dpd, that more than 1");
        }
        Ok(())
    }
}

/// Whole units as paise, halves up.
#[must_use]
pub fn paise(amount: Decimal) -> i64 {
    let paise = to_paise(amount) * Decimal::ONE_HUNDRED;
    paise.to_i64().expect("principal and rate of a loan are bounded, so that its sums fit")
}

/// Paise as whole units.
#[must_use]
pub fn rupees(paise: i64) -> Decimal {
    Decimal::new(paise, 2)
}
