//! What a month came to, as the close of its last day kept it: income and expenses by line of the general ledger,
//! outstanding principal by product and class, and what is held against losses.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::account::AccountType;
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::loan::facts::MonthLine;
use crate::domain::money::format_minor;
use crate::domain::time::Day;
use crate::engine::loans::past::MonthEnd;

use super::super::render::rupees_text;
use super::names::CLASSES;
use super::reports::write_cells;

#[derive(Serialize)]
struct Shown {
    object: &'static str,
    report: &'static str,
    from: String,
    to: String,
    seq: String,
    profit_and_loss: Vec<Line>,
    balances: Vec<Line>,
    products: Vec<Product>,
}

/// A line of the general ledger. Income and expenses: of the month, and what was recorded in it for earlier ones; all
/// others: at its end.
#[derive(Serialize)]
struct Line {
    currency: &'static str,
    code: u32,
    r#type: &'static str,
    amount: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<String>,
}

#[derive(Serialize)]
struct Product {
    #[serde(rename = "product")]
    id: String,
    provision: String,
    classes: Vec<OfClass>,
}

#[derive(Serialize)]
struct OfClass {
    class: &'static str,
    loans: u32,
    principal_outstanding: String,
}

fn net(totals: GlTotals) -> i128 {
    let wide = |sum: u128| i128::try_from(sum).expect("2^32 accounts of 2^64 minor units are 2^96");
    wide(totals.debits) - wide(totals.credits)
}

/// Income and expenses, then all others.
fn lines(month: &MonthEnd) -> (Vec<Line>, Vec<Line>) {
    let earlier = month.earlier.iter().flatten();
    let sealed: BTreeMap<GlKey, GlTotals> = earlier.map(|line| (line.key, line.through)).collect();
    let (mut of_month, mut rest) = (Vec::new(), Vec::new());
    for MonthLine { key, through, before } in month.lines.iter().copied() {
        let is_of_month = matches!(key.account_type, AccountType::Income | AccountType::Expense);
        let text = |debits: i128| {
            format_minor(if key.account_type.is_debit_normal() { debits } else { -debits }, key.currency)
        };
        let late = net(before) - net(sealed.get(&key).copied().unwrap_or_default());
        let line = Line {
            currency: key.currency.code(),
            code: key.code,
            r#type: key.account_type.name(),
            amount: text(if is_of_month { net(through) - net(before) } else { net(through) }),
            late: (is_of_month && month.earlier.is_some()).then(|| text(late)),
        };
        if is_of_month { of_month.push(line) } else { rest.push(line) }
    }
    (of_month, rest)
}

/// The report as JSON.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn month_end(month: &MonthEnd, first: Day) -> Result<Vec<u8>, serde_json::Error> {
    let (profit_and_loss, balances) = lines(month);
    let products = month.products.iter().map(|totals| Product {
        id: format_id(IdKind::Product, totals.product.into()),
        provision: rupees_text(totals.provision),
        classes: CLASSES
            .iter()
            .map(|(class, name)| OfClass {
                class: name,
                loans: totals.loans[*class as usize],
                principal_outstanding: rupees_text(totals.outstanding[*class as usize]),
            })
            .collect(),
    });
    serde_json::to_vec(&Shown {
        object: "report",
        report: "month_end",
        from: first.to_string(),
        to: month.ended.0.to_string(),
        seq: month.ended.1.to_string(),
        profit_and_loss,
        balances,
        products: products.collect(),
    })
}

/// The general ledger of the report as CSV: income and expenses of the month, then balances at its end.
#[must_use]
pub fn month_end_csv(month: &MonthEnd) -> Vec<u8> {
    let (profit, balances) = lines(month);
    let mut out = b"currency,code,type,amount,late\r\n".to_vec();
    for line in profit.iter().chain(&balances) {
        let late = line.late.clone().unwrap_or_default();
        let kind = line.r#type.to_owned();
        let cells = [line.currency.to_owned(), line.code.to_string(), kind, line.amount.clone(), late];
        write_cells(&mut out, &cells);
    }
    out
}
