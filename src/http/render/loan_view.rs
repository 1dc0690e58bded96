//! Loans as JSON, on the business day. All figures are those of the state; what accrues by the day is asked of the
//! domain for that day.

use serde::Serialize;

use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::loan::penal;
use crate::domain::lending::loan::quotes::foreclosure;
use crate::domain::lending::loan::state::{LoanState, LoanStatus, NEVER, Totals};
use crate::domain::time::Day;
use crate::engine::view::LoanView;

use super::super::lending::names::{CLASSES, LOAN_STATUSES, name_in};
use super::super::lending::trail::next_demand;
use super::product::plain;
use super::{Pairs, moment_text, rupees_text};

/// A loan object.
#[derive(Serialize)]
pub(in crate::http) struct ShownLoan<'a> {
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    external_id: Option<&'a str>,
    customer: String,
    product: String,
    product_version: u32,
    status: &'static str,
    class: &'static str,
    dpd: u16,
    npa_since: Option<String>,
    currency: &'static str,
    principal: String,
    annual_rate_pct: String,
    instalment: Option<String>,
    instalments_left: Option<u32>,
    principal_outstanding: String,
    principal_due: String,
    interest_due: String,
    interest_accrued: String,
    fee_due: String,
    penal_due: String,
    advance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    next_due_on: Option<String>,
    next_due_amount: Option<String>,
    oldest_due_on: Option<String>,
    disbursed_on: Option<String>,
    paused_until: Option<String>,
    watched: bool,
    as_of: String,
    kfs: Option<ShownKfs>,
    totals: ShownTotals,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_event: Option<String>,
    created_at: String,
    metadata: Pairs<'a>,
}

#[derive(Serialize)]
struct ShownKfs {
    version: u32,
    accepted: bool,
    valid_through: String,
}

#[derive(Serialize)]
struct ShownTotals {
    disbursed: String,
    received: String,
    principal: String,
    interest: String,
    fee: String,
    penal: String,
    refunded: String,
    recovered: String,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    url: &'a str,
    has_more: bool,
    data: Vec<ShownLoan<'a>>,
}

/// A loan object.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn loan(view: &LoanView) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&loan_object(view))
}

/// A page of loans, newest first.
///
/// # Errors
/// As [`loan`].
pub fn loan_page(rows: &[LoanView], has_more: bool, url: &str) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&List { object: "list", url, has_more, data: rows.iter().map(loan_object).collect() })
}

/// A loan with the figures of its business day.
pub(in crate::http) fn loan_object(view: &LoanView) -> ShownLoan<'_> {
    let LoanView { application, state, terms, .. } = view;
    let is_active = state.status == LoanStatus::Active;
    let was_paid_out = state.plan.cycle.start != Day(0);
    let next = if is_active { next_demand(state, terms) } else { None };
    let interest_due = state.interest_due();
    let at = foreclosure(state, terms, view.today);
    let rate = if was_paid_out { state.plan.annual_rate_pct } else { terms.calculation.annual_rate_pct };
    ShownLoan {
        object: "loan",
        id: view.loan.map(|number| format_id(IdKind::Loan, u64::from(number))),
        dry_run: view.last_seq.is_none().then_some(true),
        external_id: application.external_id.as_deref(),
        customer: format_id(IdKind::Customer, u64::from(application.customer)),
        product: format_id(IdKind::Product, u64::from(application.product)),
        product_version: application.product_version,
        status: name_in(&LOAN_STATUSES, &state.status),
        class: name_in(&CLASSES, &state.class),
        dpd: state.dpd,
        npa_since: npa_since(state).map(|day| day.to_string()),
        currency: "INR",
        principal: rupees_text(application.principal),
        annual_rate_pct: plain(rate),
        instalment: is_active.then(|| rupees_text(state.instalment(&terms.calculation))),
        instalments_left: if is_active { state.rows_left() } else { None },
        principal_outstanding: rupees_text(state.outstanding),
        principal_due: rupees_text(state.dues.iter().map(|due| due.principal).sum()),
        interest_due: rupees_text(interest_due),
        interest_accrued: rupees_text(at.interest - interest_due),
        fee_due: rupees_text(state.fee_due()),
        penal_due: rupees_text(penal::due_on(state, terms, view.today)),
        advance: rupees_text(state.advance),
        claim: (state.status == LoanStatus::WrittenOff).then(|| rupees_text(state.claim)),
        next_due_on: is_active.then_some(state.next_due).filter(|day| *day != NEVER).map(|day| day.to_string()),
        next_due_amount: next.map(|row| rupees_text(row.interest + row.principal)),
        oldest_due_on: state.dues.first().map(|due| due.due_on.to_string()),
        disbursed_on: was_paid_out.then(|| state.disbursed_on.to_string()),
        paused_until: state.paused_until.filter(|until| is_active && *until >= view.today).map(|day| day.to_string()),
        watched: state.is_watched,
        as_of: view.today.to_string(),
        kfs: (state.kfs_version > 0).then(|| ShownKfs {
            version: state.kfs_version,
            accepted: state.kfs_accepted == state.kfs_version,
            valid_through: state.kfs_valid_through.to_string(),
        }),
        totals: totals(&state.totals),
        version: view.events,
        last_event: view.last_seq.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
        created_at: moment_text(view.applied_at),
        metadata: Pairs(&application.metadata),
    }
}

/// Since when a loan is non-performing: by its own arrears or those of another loan of the borrower.
pub(in crate::http) fn npa_since(state: &LoanState) -> Option<Day> {
    state.npa_since.into_iter().chain(state.borrower_npa_since).min()
}

fn totals(of: &Totals) -> ShownTotals {
    ShownTotals {
        disbursed: rupees_text(of.disbursed),
        received: rupees_text(of.received),
        principal: rupees_text(of.principal),
        interest: rupees_text(of.interest),
        fee: rupees_text(of.fee),
        penal: rupees_text(of.penal),
        refunded: rupees_text(of.refunded),
        recovered: rupees_text(of.recovered),
    }
}
