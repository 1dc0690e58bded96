//! The figures of documents about a loan, from its history as an entry left it.

use serde_json::Value;

use crate::domain::ids::{IdKind, Seq, format_id};
use crate::domain::lending::loan::events::LoanEvent;
use crate::domain::lending::loan::state::LoanStatus;
use crate::domain::money::{Currency, Decimal};
use crate::engine::Core;
use crate::engine::history::ReadError;
use crate::engine::view::{LoanHistory, LoanStep};
use crate::jobs::documents::content::Document;
use crate::jobs::documents::papers::Issue;
use crate::jobs::documents::papers::loan::{
    LoanHead, LoanLine, LoanStatement, Receipt, Schedule, ScheduleRow, key_facts as key_facts_paper, loan_statement,
    no_dues, receipt, schedule as schedule_paper,
};
use crate::jobs::documents::reference::Kind;

use super::super::lending::key_facts::key_facts;
use super::super::lending::names::{MODES, event_type, is_receipt, mode_of, name_in};
use super::super::lending::schedule::schedule;
use super::super::lending::statement::{Line, owed, statement};
use super::super::render::product::plain;
use super::{Ask, DocumentError, REACH, Subject, facts, name_of};

/// A loan, as far as documents need it.
pub struct Found {
    /// The newest entry that is shown: the loan's, or the one that made the business day what it is.
    pub seq: Seq,
    history: LoanHistory,
    head: LoanHead,
}

/// The loan as the asked entry left it.
pub fn find(core: &Core, loan: u32, ask: &Ask) -> Result<Found, DocumentError> {
    // The seq first: what comes later is left out, and what was durable then is whole.
    let through = ask.as_of.unwrap_or_else(|| core.journal().durable_seq());
    let history = core.loan_history_by(loan, through, REACH)?.ok_or(DocumentError::NotFound)?;
    let view = &history.view;
    let seq = view.last_seq.unwrap_or(Seq::NONE).max(core.day_began_by(through));
    let customer = view.application.customer;
    let saved = core.customer_by(customer, seq, REACH)?.ok_or(DocumentError::NotFound)?;
    let rate = match view.state.status {
        LoanStatus::Active | LoanStatus::Closed | LoanStatus::WrittenOff => view.state.plan.annual_rate_pct,
        _ => view.terms.calculation.annual_rate_pct,
    };
    let head = LoanHead {
        loan: format_id(IdKind::Loan, u64::from(loan)),
        external_id: view.application.external_id.as_deref().map(str::to_owned),
        borrower: saved.facts.name.to_string(),
        customer: format_id(IdKind::Customer, customer.into()),
        product: view.product.facts.name.to_string(),
        principal: view.application.principal,
        annual_rate_pct: plain(rate),
        status: name_of(view.state.status).replace('_', " "),
    };
    Ok(Found { seq, history, head })
}

/// The document that was asked for.
pub fn document(issue: Issue, found: &Found, ask: &Ask) -> Result<Document, DocumentError> {
    let Found { history, head, .. } = found;
    match (ask.kind, ask.subject) {
        (Kind::LoanStatement, _) => Ok(loan_statement(issue, head, &lines(history, ask))),
        (Kind::Schedule, _) => Ok(schedule_paper(issue, head, &plan(history, ask.version)?)),
        (Kind::KeyFacts, _) => {
            let made = key_facts(history).map_err(DocumentError::Terms)?;
            Ok(key_facts_paper(issue, head, &facts::in_words(&read(made)?)))
        }
        (Kind::Receipt, Subject::LoanEvent(_, event)) => Ok(receipt(issue, head, &receipt_of(history, event)?)),
        (Kind::NoDues, _) => {
            let closed_on = closed_on(history)?;
            Ok(no_dues(issue, head, closed_on))
        }
        _ => Err(DocumentError::NotFound),
    }
}

/// What the route answers, as a tree.
fn read(made: Result<Vec<u8>, serde_json::Error>) -> Result<Value, DocumentError> {
    let read = made.and_then(|bytes| serde_json::from_slice(&bytes));
    read.map_err(|error| ReadError::Unreadable(format!("an answer of ours is no JSON: {error}")).into())
}

fn lines(history: &LoanHistory, ask: &Ask) -> LoanStatement {
    let of = statement(history, ask.from, ask.to);
    let line = |line: &Line| LoanLine {
        date: line.date,
        narration: line.narration.clone(),
        reference: line.reference.clone(),
        amount: line.amount,
        balance: line.balance,
    };
    LoanStatement { opening: of.opening, closing: of.closing, lines: of.lines.iter().map(line).collect() }
}

fn plan(history: &LoanHistory, version: Option<u32>) -> Result<Schedule, DocumentError> {
    let shown = read(schedule(history, version).ok_or(DocumentError::NoVersion)?)?;
    let basis = match shown["basis"].as_str() {
        Some("version") => "as that version of the plan had them".to_owned(),
        Some("assumed") => "as if all were paid out today".to_owned(),
        _ => format!("as they stand on {}", shown["as_of"].as_str().unwrap_or_default()),
    };
    Ok(Schedule {
        version: whole(&shown["version"]),
        basis,
        principal_to_come: paise(&shown["principal_to_come"]),
        interest_to_come: paise(&shown["interest_to_come"]),
        rows: rows(&shown["rows"]),
    })
}

/// Rows of a plan, as the API shows them.
pub fn rows(shown: &Value) -> Vec<ScheduleRow> {
    let row = |row: &Value| ScheduleRow {
        n: whole(&row["n"]),
        due_on: row["due_on"].as_str().unwrap_or_default().to_owned(),
        opening: paise(&row["opening"]),
        principal: paise(&row["principal"]),
        interest: paise(&row["interest"]),
        instalment: paise(&row["instalment"]),
        closing: paise(&row["closing"]),
        status: row["status"].as_str().map(|status| status.replace('_', " ")),
    };
    shown.as_array().into_iter().flatten().map(row).collect()
}

fn whole(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

/// An amount of the API's in paise; it writes no others than this reads.
pub fn paise(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_default();
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let minor = Decimal::parse(digits).and_then(|decimal| decimal.minor(Currency::INR).ok()).unwrap_or(0);
    i64::try_from(minor).unwrap_or(i64::MAX) * sign
}

fn step_of(history: &LoanHistory, event: Seq) -> Option<&LoanStep> {
    history.events.iter().find(|step| step.event.seq == Some(event) && is_receipt(&step.event.posted.event))
}

fn receipt_of(history: &LoanHistory, event: Seq) -> Result<Receipt, DocumentError> {
    let step = step_of(history, event).ok_or(DocumentError::NoEvent)?;
    let (of, split) = (&step.event, &step.event.split);
    let (amount, tds) = match of.posted.event {
        LoanEvent::Received { amount, tds, .. } => (amount, tds),
        LoanEvent::Prepaid { amount, .. }
        | LoanEvent::Recovered { amount, .. }
        | LoanEvent::Foreclosed { amount, .. }
        | LoanEvent::Cancelled { amount, .. } => (amount, 0),
        _ => return Err(DocumentError::NoEvent),
    };
    let mut parts = vec![
        ("Penal charges", split.penal),
        ("Fees and charges, with tax", split.fee),
        ("Interest", split.interest),
        ("Principal that was due", split.principal),
        ("Principal ahead", split.prepaid),
        ("Advance (negative: used)", split.advance),
        ("Tax that the borrower kept back (TDS)", -tds),
    ];
    let rest = amount - parts.iter().map(|(_, paise)| paise).sum::<i64>();
    parts.push(("Other", rest));
    parts.retain(|(_, paise)| *paise != 0);
    let mode = mode_of(&of.posted.event).map_or("", |mode| name_in(&MODES, &mode));
    Ok(Receipt {
        event: format_id(IdKind::LoanEvent, event.0),
        what: event_type(&of.posted.event).replace('_', " "),
        value_date: of.posted.value_date,
        booked_on: of.booked_on,
        mode,
        reference: of.posted.texts.as_ref().and_then(|texts| texts.reference.as_deref()).map(str::to_owned),
        amount,
        split: parts,
        outstanding: step.after.outstanding,
        undone_by: of.undone_by.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
    })
}

/// The day on which a loan was closed, if nothing is owed on it.
fn closed_on(history: &LoanHistory) -> Result<crate::domain::time::Day, DocumentError> {
    let state = &history.view.state;
    let due = owed(state);
    if state.status != LoanStatus::Closed || due != 0 || !state.dues.is_empty() {
        return Err(DocumentError::DuesRemain { status: state.status, due });
    }
    let closing = history.events.iter().rev().find(|step| {
        step.event.undone_by.is_none()
            && step.after.status == LoanStatus::Closed
            && step.before.status != LoanStatus::Closed
    });
    Ok(closing.map_or(history.view.today, |step| step.event.posted.value_date))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_of_the_api_are_read_back() {
        for (text, expected) in [("970.00", 97_000), ("-0.05", -5), ("0.00", 0), ("12345678.90", 1_234_567_890)] {
            assert_eq!(paise(&json!(text)), expected);
        }
        assert_eq!(paise(&Value::Null), 0);
    }

    #[test]
    fn rows_are_read_back() {
        let row = json!({"n": 2, "due_on": "2026-05-01", "opening": "10.00", "principal": "-1.00", "interest": "2.00",
            "instalment": "1.00", "closing": "11.00", "status": "to_come"});
        let made = rows(&json!([row]));
        assert_eq!((made[0].n, made[0].principal, made[0].status.as_deref()), (2, -100, Some("to come")));
    }
}
