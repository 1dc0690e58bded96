//! The key facts statement: the rows of Annex A (RBI/2024-25/18), worked out by the domain.
//!
//! It is that of the day on which its version was given out, as if all were paid out then; before the first one
//! it is a draft of today. What a lender says in words (recovery agents, grievances, a floating rate) are pairs of the
//! product's metadata that begin with `kfs_`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::entry::Metadata;
use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::calculation::{Calculation, calculate};
use crate::domain::lending::due_dates::FREQUENCIES;
use crate::domain::lending::loan::contract::rupees;
use crate::domain::lending::loan::events::LoanEvent;
use crate::domain::lending::terms::{Charge, Payee, Terms, TermsError};
use crate::domain::time::Day;
use crate::engine::view::{LoanHistory, LoanView};

use super::super::render::loan::{ShownRow, fixed, shown_row};
use super::super::render::product::plain;
use super::names::name_in;

/// Clauses of part 2, each a pair `kfs_<name>` of the product's metadata.
const CLAUSES: [&str; 7] = [
    "recovery_agents",
    "grievance_redressal",
    "grievance_officer",
    "transferable",
    "co_lending",
    "lending_service_provider",
    "other",
];

#[derive(Serialize)]
struct Shown {
    object: &'static str,
    loan: String,
    version: u32,
    status: &'static str,
    issued_on: String,
    valid_through: Option<String>,
    part_1: Value,
    part_2: Value,
    computation: Value,
    schedule: Vec<ShownRow>,
}

/// A version that was given out, and when.
struct Issue {
    version: u32,
    on: Day,
    valid_through: Option<Day>,
}

/// The last key facts statement of a loan, or a draft.
///
/// # Errors
/// Terms that make no loan on that day.
pub fn key_facts(history: &LoanHistory) -> Result<Result<Vec<u8>, serde_json::Error>, TermsError> {
    let view = &history.view;
    let issue = last_issue(history);
    let terms = terms_of(view, issue.on);
    let made = calculate(&terms)?;
    let state = &view.state;
    let status = match issue.version {
        0 => "draft",
        version if state.kfs_accepted == version => "accepted",
        _ if issue.valid_through.is_some_and(|day| day < view.today) => "expired",
        _ => "issued",
    };
    Ok(serde_json::to_vec(&Shown {
        object: "key_facts_statement",
        loan: view.loan.map(|loan| format_id(IdKind::Loan, u64::from(loan))).unwrap_or_default(),
        version: issue.version,
        status,
        issued_on: issue.on.to_string(),
        valid_through: issue.valid_through.map(|day| day.to_string()),
        part_1: part_1(view, &terms, &made),
        part_2: part_2(view),
        computation: computation(&terms, &made),
        schedule: made.schedule.rows.iter().map(|row| shown_row(row, &made)).collect(),
    }))
}

/// The terms as if all were paid out on a day.
fn terms_of(view: &LoanView, day: Day) -> Terms {
    let calculation = &view.terms.calculation;
    Terms { principal: rupees(view.application.principal), disbursed_on: Some(day), ..calculation.clone() }
}

fn last_issue(history: &LoanHistory) -> Issue {
    let mut last = Issue { version: 0, on: history.view.today, valid_through: None };
    for step in history.events.iter().filter(|step| step.event.undone_by.is_none()) {
        if let LoanEvent::KfsIssued { version, valid_through } = step.event.posted.event {
            last = Issue { version, on: step.event.posted.value_date, valid_through: Some(valid_through) };
        }
    }
    last
}

/// A pair of the product's metadata; `null` where it says nothing.
fn said(metadata: &Metadata, name: &str) -> Value {
    let key = format!("kfs_{name}");
    metadata.iter().find(|(known, _)| **known == *key).map_or(Value::Null, |(_, value)| Value::from(&**value))
}

fn part_1(view: &LoanView, terms: &Terms, made: &Calculation) -> Value {
    let metadata = &view.product.facts.metadata;
    let rows = &made.schedule.rows;
    let first = rows.first().and_then(|row| row.due_on).map(|day| day.to_string());
    let money = |figure| fixed(made.shown(figure), 2);
    let or = |value: Value, otherwise: &str| if value.is_null() { Value::from(otherwise) } else { value };
    json!({
        "proposal_no": view.loan.map(|loan| format_id(IdKind::Loan, u64::from(loan))),
        "type_of_loan": view.product.facts.name,
        "sanctioned_amount": fixed(terms.principal, 2),
        "disbursal": {
            "schedule": or(said(metadata, "disbursal_schedule"), "100 % upfront"),
            "clause": said(metadata, "disbursal_clause"),
        },
        "term": { "instalments": rows.len(), "frequency": name_in(&FREQUENCIES, &terms.frequency),
                  "last_due_on": rows.last().and_then(|row| row.due_on).map(|day| day.to_string()) },
        "instalment": { "type": name_in(&FREQUENCIES, &terms.frequency), "number": rows.len(),
                        "amount": money(made.schedule.instalment), "first_due_on": first },
        "interest": { "annual_rate_pct": plain(terms.annual_rate_pct), "type": or(said(metadata, "rate_type"), "fixed") },
        "floating": floating(metadata),
        "charges": {
            "to_lender": charges(terms, Payee::Lender),
            "to_third_parties": charges(terms, Payee::ThirdParty),
        },
        "apr_pct": fixed(made.apr_pct, 2),
        "apr_method": made.apr_method,
        "contingent_charges": {
            "penal": format!("{} % of overdue instalments for 30 days, without tax", plain(view.terms.penal_pct_per_month)),
            "penal_pct_per_month": plain(view.terms.penal_pct_per_month),
            "foreclosure_pct": plain(view.terms.foreclosure_charge_pct),
            "foreclosure_gst_pct": plain(view.terms.charge_gst_pct),
            "switching": said(metadata, "switching_charge"),
            "other": said(metadata, "other_charges"),
        },
    })
}

/// Row 7; `null` where the product has no benchmark.
fn floating(metadata: &Metadata) -> Value {
    let names = ["benchmark", "benchmark_pct", "spread_pct", "reset_months"];
    let pairs: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), said(metadata, name))).collect();
    if pairs.values().all(Value::is_null) { Value::Null } else { Value::Object(pairs) }
}

/// Row 8: net of tax, as the regulator wants it; the tax stands beside it.
fn charges(terms: &Terms, payee: Payee) -> Vec<Value> {
    let shown = |charge: &Charge| {
        json!({
            "name": charge.name, "kind": "one_time", "amount": fixed(charge.amount, 2), "gst": fixed(charge.gst(), 2),
        })
    };
    terms.charges.iter().filter(|charge| charge.payee == payee).map(shown).collect()
}

fn part_2(view: &LoanView) -> Value {
    let metadata = &view.product.facts.metadata;
    let mut part: Map<String, Value> = CLAUSES.iter().map(|name| ((*name).to_owned(), said(metadata, name))).collect();
    part.insert("cooling_off_days".into(), view.terms.cooling_off_days.into());
    Value::Object(part)
}

/// Annex B: how the rate comes out.
fn computation(terms: &Terms, made: &Calculation) -> Value {
    let money = |figure| fixed(made.shown(figure), 2);
    let of = |payee: Payee| {
        let of_payee = terms.charges.iter().filter(|charge| charge.payee == payee);
        fixed(of_payee.map(|charge| charge.amount).sum(), 2)
    };
    json!({
        "sanctioned_amount": fixed(terms.principal, 2),
        "instalments": made.schedule.rows.len(),
        "instalment": money(made.schedule.instalment),
        "instalment_exact": fixed(made.schedule.instalment_exact, 10),
        "total_interest": money(made.total_interest),
        "charges_to_lender": of(Payee::Lender),
        "charges_to_third_parties": of(Payee::ThirdParty),
        "gst_on_charges": fixed(terms.charges.iter().map(Charge::gst).sum(), 2),
        "net_disbursed": fixed(made.net_disbursed, 2),
        "total_payable": money(made.total_payable),
        "apr_pct": fixed(made.apr_pct, 2),
        "effective_rate_pct": made.effective_pct.map(|rate| fixed(rate, 2)),
    })
}
