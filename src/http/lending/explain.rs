//! What each shown figure of a loan comes from: events, parameters and rows, with the numbers themselves.
//!
//! Each figure is a node: its value, the rule, and the parts that the rule is about; the parts of a sum add up to
//! the value. Nothing is told that was not read from the history, and whoever doubts a figure can work it out.

use serde_json::{Value, json};

use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::day_count::{DAY_COUNTS, actual_days};
use crate::domain::lending::loan::accrual::accrued;
use crate::domain::lending::loan::contract::PARTS;
use crate::domain::lending::loan::events::LoanEvent;
use crate::domain::lending::loan::penal;
use crate::domain::lending::loan::state::{Due, LoanState, LoanStatus};
use crate::domain::lending::terms::METHODS;
use crate::domain::time::Day;
use crate::engine::view::{LoanHistory, LoanStep};

use super::super::render::loan_event::split;
use super::super::render::loan_view::npa_since;
use super::super::render::product::{plain, terms};
use super::super::render::rupees_text;
use super::names::{ACROSS, CLASSES, event_type, is_receipt, name_in};
use super::trail::{Piece, RowInterest, Turn, next_demand, pieces, walk};

/// Figures that can be explained, in the order of the answer.
pub const FIGURES: [&str; 12] = [
    "principal_outstanding",
    "principal_due",
    "interest_due",
    "interest_accrued",
    "fee_due",
    "penal_due",
    "advance",
    "instalment",
    "next_due_amount",
    "dpd",
    "class",
    "split",
];

/// What the figures are explained from.
struct Sources<'h> {
    history: &'h LoanHistory,
    turns: Vec<Turn<'h>>,
    interest: Vec<RowInterest>,
}

/// The explanation of one figure, or of all.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn explanation(history: &LoanHistory, figure: Option<&str>) -> Result<Vec<u8>, serde_json::Error> {
    let view = &history.view;
    let turns = walk(history);
    let interest = pieces(&turns, &view.terms, view.today);
    let sources = Sources { history, turns, interest };
    let wanted = FIGURES.iter().filter(|known| figure.is_none_or(|figure| figure == **known));
    let figures: Vec<Value> = wanted.map(|figure| sources.node(figure)).collect();
    serde_json::to_vec(&json!({
        "object": "loan_explanation",
        "loan": view.loan.map(|loan| format_id(IdKind::Loan, u64::from(loan))),
        "as_of": view.today.to_string(),
        "product": format_id(IdKind::Product, u64::from(view.application.product)),
        "product_version": view.application.product_version,
        "parameters": terms(&view.terms),
        "figures": figures,
    }))
}

impl Sources<'_> {
    fn node(&self, figure: &str) -> Value {
        let mut node = match figure {
            "principal_outstanding" => self.principal_outstanding(),
            "principal_due" => self.dues("what fell due and is unpaid", |due| due.principal),
            "interest_due" => self.interest_due(),
            "interest_accrued" => self.interest_accrued(),
            "fee_due" => self.dues("what was charged with tax, and is unpaid", |due| due.fee),
            "penal_due" => self.penal_due(),
            "advance" => self.advance(),
            "instalment" => self.instalment(),
            "next_due_amount" => self.next_due(),
            "dpd" => self.dpd(),
            "class" => self.class(),
            _ => self.splits(),
        };
        node["figure"] = figure.into();
        node
    }

    fn state(&self) -> &LoanState {
        &self.history.view.state
    }

    /// The turns that changed something, each with the change.
    fn changes(&self, of: impl Fn(&LoanState) -> i64) -> Vec<Value> {
        let changed = self.turns.iter().filter_map(|turn| {
            let (before, after) = turn.states()?;
            let change = of(after) - of(before);
            (change != 0).then(|| {
                let mut node = cause(turn);
                node["change"] = rupees_text(change).into();
                node
            })
        });
        changed.collect()
    }

    fn principal_outstanding(&self) -> Value {
        json!({
            "value": rupees_text(self.state().outstanding),
            "rule": "sum of `parts`: paid out + interest that joined the principal - paid - given up",
            "parts": self.changes(|state| state.outstanding),
        })
    }

    fn advance(&self) -> Value {
        json!({
            "value": rupees_text(self.state().advance),
            "rule": "sum of `parts`: what came beyond what was due - what it paid since - what went back",
            "parts": self.changes(|state| state.advance),
        })
    }

    /// A part of what is due, by due date, with what fell due there first.
    fn dues(&self, rule: &str, of: impl Fn(&Due) -> i64) -> Value {
        let state = self.state();
        let parts = state.dues.iter().filter(|due| of(due) > 0).map(|due| {
            let at = |day: Day, dues: &[Due]| dues.iter().find(|due| due.due_on == day).map_or(0, &of);
            let raised: i64 = self
                .turns
                .iter()
                .filter(|turn| turn.day() == due.due_on)
                .filter_map(|turn| turn.states())
                .map(|(before, after)| (at(due.due_on, &after.dues) - at(due.due_on, &before.dues)).max(0))
                .sum();
            json!({
                "due_on": due.due_on.to_string(),
                "fell_due": rupees_text(raised.max(of(due))),
                "paid_or_waived": rupees_text(raised.max(of(due)) - of(due)),
                "unpaid": rupees_text(of(due)),
            })
        });
        let parts: Vec<Value> = parts.collect();
        let value = rupees_text(state.dues.iter().map(&of).sum());
        json!({ "value": value, "rule": format!("sum of `unpaid`: {rule}"), "parts": parts })
    }

    fn interest_due(&self) -> Value {
        let mut node = self.dues("interest of each row that fell due, rounded as a whole", |due| due.interest);
        for part in node["parts"].as_array_mut().into_iter().flatten() {
            let due_on = part["due_on"].as_str().unwrap_or_default().to_owned();
            let row = self.interest.iter().find(|row| row.due_on.is_some_and(|day| day.to_string() == due_on));
            if let Some(row) = row {
                part["row"] = row.row.into();
                part["interest_of_row"] = rupees_text(row.interest).into();
                part["pieces"] = row.pieces.iter().map(shown_piece).collect();
            }
        }
        node["day_count"] = name_in(&DAY_COUNTS, &self.history.view.terms.calculation.day_count).into();
        node["method"] = name_in(&METHODS, &self.history.view.terms.calculation.method).into();
        node
    }

    fn interest_accrued(&self) -> Value {
        let (view, state) = (&self.history.view, self.state());
        let accrued = accrued(state, &view.terms, view.today);
        let open = self.interest.last().filter(|row| row.due_on.is_none());
        json!({
            "value": rupees_text(accrued + state.interest_deferred),
            "rule": "sum of the pieces' interest since the last due date, + interest of a moratorium that falls due later; \
                     the business date itself bears interest at its end",
            "row": open.map(|row| row.row),
            "pieces": open.map(|row| row.pieces.iter().map(shown_piece).collect::<Vec<_>>()).unwrap_or_default(),
            "deferred": rupees_text(state.interest_deferred),
            "day_count": name_in(&DAY_COUNTS, &view.terms.calculation.day_count),
        })
    }

    fn penal_due(&self) -> Value {
        let (view, state) = (&self.history.view, self.state());
        let days = actual_days(state.penal_from, view.today).max(0);
        json!({
            "value": rupees_text(penal::due_on(state, &view.terms, view.today)),
            "rule": "charged before + overdue instalments x penal_pct_per_month x days / 3000; never on itself or on fees",
            "charged_before": rupees_text(state.penal_due),
            "overdue": rupees_text(state.overdue()),
            "penal_pct_per_month": plain(view.terms.penal_pct_per_month),
            "from": state.penal_from.to_string(),
            "to": view.today.to_string(),
            "days": days,
            "since_then": rupees_text(penal::charge(state.overdue(), view.terms.penal_pct_per_month, days)),
            "parts": self.changes(|state| state.penal_due),
        })
    }

    fn instalment(&self) -> Value {
        let (view, state) = (&self.history.view, self.state());
        let is_active = state.status == LoanStatus::Active;
        let solved = self
            .turns
            .iter()
            .rev()
            .find(|turn| turn.states().is_some_and(|(before, after)| before.plan.base != after.plan.base));
        json!({
            "value": is_active.then(|| rupees_text(state.instalment(&view.terms.calculation))),
            "rule": "the level amount that pays off what has not fallen due, in the rows that are left, at the rate; rounded as \
                     the product rounds",
            "exact": is_active.then(|| plain(state.plan.base)),
            "annual_rate_pct": plain(state.plan.annual_rate_pct),
            "not_fallen_due": rupees_text(state.not_due()),
            "rows_left": state.rows_left(),
            "solved_by": solved.map(cause),
        })
    }

    fn next_due(&self) -> Value {
        let (view, state) = (&self.history.view, self.state());
        let next = if state.status == LoanStatus::Active { next_demand(state, &view.terms) } else { None };
        json!({
            "value": next.as_ref().map(|row| rupees_text(row.instalment)),
            "rule": "interest of the row up to its due date + the part of the instalment that it leaves for principal",
            "row": next.as_ref().map(|row| row.n),
            "due_on": next.as_ref().map(|row| row.due_on.to_string()),
            "interest": next.as_ref().map(|row| rupees_text(row.interest)),
            "principal": next.as_ref().map(|row| rupees_text(row.principal)),
        })
    }

    /// The oldest unpaid due date at the end of the day that the days past due are of.
    fn oldest_then(&self) -> Option<Day> {
        let end = self.state().advanced_through;
        let last = self.turns.iter().rev().filter(|turn| turn.day() <= end).find_map(Turn::states);
        last.and_then(|(_, after)| after.dues.first().map(|due| due.due_on))
    }

    fn dpd(&self) -> Value {
        let state = self.state();
        json!({
            "value": state.dpd,
            "rule": "at the end of `day`: day - oldest_due_on + 1; 0 where nothing is overdue",
            "day": state.advanced_through.to_string(),
            "oldest_due_on": self.oldest_then().map(|day| day.to_string()),
        })
    }

    fn class(&self) -> Value {
        let (view, state) = (&self.history.view, self.state());
        json!({
            "value": name_in(&CLASSES, &state.class),
            "rule": "at the end of `day`: npa from npa_dpd on, until all arrears of the borrower are paid; sma_2 from sma2_dpd, \
                     sma_1 from sma1_dpd, sma_0 from 1",
            "day": state.advanced_through.to_string(),
            "dpd": state.dpd,
            "sma1_dpd": view.terms.sma1_dpd,
            "sma2_dpd": view.terms.sma2_dpd,
            "npa_dpd": view.terms.npa_dpd,
            "npa_since": npa_since(state).map(|day| day.to_string()),
            "npa_by_own_arrears_since": state.npa_since.map(|day| day.to_string()),
            "npa_by_another_loan_since": state.borrower_npa_since.map(|day| day.to_string()),
            "product_version": view.application.product_version,
        })
    }

    fn splits(&self) -> Value {
        let terms = &self.history.view.terms;
        let order = terms.appropriation.order.map(|part| name_in(&PARTS, &part));
        let receipts = self.turns.iter().filter_map(|turn| match turn {
            Turn::Event(step) if is_receipt(&step.event.posted.event) => Some(self.receipt(step)),
            _ => None,
        });
        json!({
            "value": null,
            "rule": "a payment pays what was due before it, in this order, oldest due date first; then principal ahead where it \
                     is a prepayment; the rest is the advance",
            "order": order,
            "across": name_in(&ACROSS, &terms.appropriation.across),
            "parts": receipts.collect::<Vec<_>>(),
        })
    }

    fn receipt(&self, step: &LoanStep) -> Value {
        let (before, day) = (&step.before, step.event.posted.value_date);
        let dues = before.dues.iter().map(|due| {
            json!({
                "due_on": due.due_on.to_string(),
                "interest": rupees_text(due.interest),
                "principal": rupees_text(due.principal),
                "fee": rupees_text(due.fee),
            })
        });
        let tds = if let LoanEvent::Received { tds, .. } = step.event.posted.event { tds } else { 0 };
        let mut node = event_cause(step);
        node["amount"] = rupees_text(step.event.split.total()).into();
        node["tds"] = rupees_text(tds).into();
        node["due_before"] = dues.collect();
        node["penal_before"] = rupees_text(penal::due_on(before, &self.history.view.terms, day)).into();
        node["split"] = json!(split(&step.event.split));
        node
    }
}

/// What made a change.
fn cause(turn: &Turn<'_>) -> Value {
    match turn {
        Turn::Due { day, row, .. } => json!({ "on": day.to_string(), "row": row }),
        Turn::Event(step) | Turn::Undone(step) => event_cause(step),
    }
}

fn event_cause(step: &LoanStep) -> Value {
    json!({
        "on": step.event.posted.value_date.to_string(),
        "event": step.event.seq.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
        "type": event_type(&step.event.posted.event),
    })
}

fn shown_piece(piece: &Piece) -> Value {
    json!({
        "from": piece.from.to_string(),
        "to": piece.to.to_string(),
        "days": piece.days,
        "balance": rupees_text(piece.balance),
        "annual_rate_pct": plain(piece.annual_rate_pct),
        "interest": rupees_text(piece.interest),
    })
}
