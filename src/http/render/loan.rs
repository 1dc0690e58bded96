//! What a loan would be, as JSON.

use rust_decimal::Decimal;
use serde::Serialize;

use crate::domain::lending::calculation::Calculation;
use crate::domain::lending::schedule::Row;
use crate::domain::lending::terms::{PAYEES, Terms};

#[derive(Serialize)]
struct Shown<'a> {
    object: &'static str,
    instalment: String,
    instalment_exact: String,
    instalments: usize,
    total_interest: String,
    total_payable: String,
    net_disbursed: String,
    apr_pct: String,
    apr_method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_rate_pct: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreclosure_amount: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    charges: Vec<ShownCharge<'a>>,
    schedule: Vec<ShownRow>,
}

#[derive(Serialize)]
struct ShownCharge<'a> {
    name: &'a str,
    amount: String,
    gst: String,
    total: String,
    payee: &'static str,
}

/// A row of a schedule.
#[derive(Serialize)]
pub(in crate::http) struct ShownRow {
    n: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_on: Option<String>,
    opening: String,
    principal: String,
    interest: String,
    instalment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prepaid: Option<String>,
    closing: String,
}

/// A decimal with so many places, as amounts are written.
pub(in crate::http) fn fixed(figure: Decimal, places: u32) -> String {
    let mut figure = figure.round_dp(places);
    figure.rescale(places);
    if figure.is_zero() {
        figure.set_sign_positive(true);
    }
    figure.to_string()
}

/// The answer of `POST /v1/loan_calculations`.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn loan_calculation(terms: &Terms, made: &Calculation) -> Result<Vec<u8>, serde_json::Error> {
    let money = |figure: Decimal| fixed(made.shown(figure), 2);
    let charge = |charge: &'_ crate::domain::lending::terms::Charge| {
        let payee = PAYEES.iter().find(|(payee, _)| *payee == charge.payee).map_or("lender", |(_, name)| *name);
        (fixed(charge.amount, 2), fixed(charge.gst(), 2), fixed(charge.amount + charge.gst(), 2), payee)
    };
    let shown = Shown {
        object: "loan_calculation",
        instalment: money(made.schedule.instalment),
        instalment_exact: fixed(made.schedule.instalment_exact, 10),
        instalments: made.schedule.rows.len(),
        total_interest: money(made.total_interest),
        total_payable: money(made.total_payable),
        net_disbursed: fixed(made.net_disbursed, 2),
        apr_pct: fixed(made.apr_pct, 2),
        apr_method: made.apr_method,
        effective_rate_pct: made.effective_pct.map(|rate| fixed(rate, 2)),
        foreclosure_amount: made.schedule.foreclosure_amount.map(money),
        charges: terms
            .charges
            .iter()
            .map(|of| {
                let (amount, gst, total, payee) = charge(of);
                ShownCharge { name: &of.name, amount, gst, total, payee }
            })
            .collect(),
        schedule: made.schedule.rows.iter().map(|row| shown_row(row, made)).collect(),
    };
    serde_json::to_vec(&shown)
}

/// A row as it is shown.
pub(in crate::http) fn shown_row(row: &Row, made: &Calculation) -> ShownRow {
    let money = |figure: Decimal| fixed(made.shown(figure), 2);
    ShownRow {
        n: row.n,
        due_on: row.due_on.map(|day| day.to_string()),
        opening: money(row.opening),
        principal: money(row.principal),
        interest: money(row.interest),
        instalment: money(row.instalment),
        prepaid: (!row.prepaid.is_zero()).then(|| money(row.prepaid)),
        closing: money(row.closing),
    }
}
