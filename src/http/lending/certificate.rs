//! What a borrower paid on a loan in a financial year: the certificate that he shows to the tax office.
//!
//! Payments count by value date, and those that were taken back do not: the same figures whenever it is asked for, unless
//! something came late.

use serde::Serialize;

use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::financial_year::FinancialYear;
use crate::domain::lending::loan::events::Dated;
use crate::domain::lending::loan::fold::fold;
use crate::domain::lending::loan::state::LoanState;
use crate::domain::time::Day;
use crate::engine::view::LoanHistory;

use super::super::render::rupees_text;

#[derive(Serialize)]
struct Shown<'a> {
    object: &'static str,
    loan: Option<String>,
    external_id: Option<&'a str>,
    customer: String,
    fy: String,
    from: String,
    to: String,
    is_final: bool,
    currency: &'static str,
    opening_principal: String,
    principal_paid: String,
    interest_paid: String,
    penal_paid: String,
    fees_paid: String,
    closing_principal: String,
}

/// The certificate of a year, which must have begun. Of the current one it is as of the business date, and not final.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn certificate(history: &LoanHistory, fy: FinancialYear) -> Result<Vec<u8>, serde_json::Error> {
    let view = &history.view;
    let events: Vec<Dated> = history
        .events
        .iter()
        .map(|step| Dated {
            value_date: step.event.posted.value_date,
            order: step.event.seq.map_or(u64::MAX, |seq| seq.0),
            event: step.event.posted.event,
        })
        .collect();
    let is_over = fy.last() < view.today;
    let before = fold(&view.terms, &events, Day(fy.first().0.saturating_sub(1)));
    let after: LoanState = if is_over { fold(&view.terms, &events, fy.last()) } else { (*view.state).clone() };
    let paid = |of: fn(&LoanState) -> i64| rupees_text(of(&after) - of(&before));
    serde_json::to_vec(&Shown {
        object: "interest_certificate",
        loan: view.loan.map(|number| format_id(IdKind::Loan, number.into())),
        external_id: view.application.external_id.as_deref(),
        customer: format_id(IdKind::Customer, view.application.customer.into()),
        fy: fy.to_string(),
        from: fy.first().to_string(),
        to: fy.last().min(view.today).to_string(),
        is_final: is_over,
        currency: "INR",
        opening_principal: rupees_text(before.outstanding),
        principal_paid: paid(|state| state.totals.principal),
        interest_paid: paid(|state| state.totals.interest),
        penal_paid: paid(|state| state.totals.penal),
        fees_paid: paid(|state| state.totals.fee),
        closing_principal: rupees_text(after.outstanding),
    })
}
