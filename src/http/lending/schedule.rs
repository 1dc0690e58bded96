//! The rows of a loan: as they stand today, or as a version of the plan had them.
//!
//! Version 1 is that of the first disbursal. A later disbursal, principal paid ahead, another rate and other terms
//! make the next: rows that fell due before stay, those to come are asked of the domain again. Without a version
//! the rows that fell due are those that were asked for, and the others follow from today's state.

use serde::Serialize;

use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::loan::accrual::accrued;
use crate::domain::lending::loan::events::LoanEvent;
use crate::domain::lending::loan::state::{LoanState, LoanStatus};
use crate::domain::time::Day;
use crate::engine::view::{LoanHistory, LoanStep, LoanView};

use super::super::render::rupees_text;
use super::names::event_type;
use super::trail::{Row, Turn, paid_out, row_between, to_come, walk};

#[derive(Serialize)]
struct Shown {
    object: &'static str,
    loan: String,
    version: u32,
    versions: Vec<ShownVersion>,
    basis: &'static str,
    as_of: String,
    principal_to_come: String,
    interest_to_come: String,
    rows: Vec<ShownRow>,
}

#[derive(Serialize)]
struct ShownVersion {
    version: u32,
    made_by: Option<String>,
    made_on: String,
    because: &'static str,
}

#[derive(Serialize)]
struct ShownRow {
    n: u32,
    due_on: String,
    opening: String,
    principal: String,
    interest: String,
    instalment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prepaid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disbursed: Option<String>,
    closing: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unpaid: Option<String>,
}

/// What rows are shown by.
enum Basis {
    /// What happened, and today's state.
    Today,
    /// A version of the plan.
    Version,
    /// Nothing is paid out: as if it were today.
    Assumed,
}

/// The schedule object; `None` where the loan has no such version.
#[must_use]
pub fn schedule(history: &LoanHistory, version: Option<u32>) -> Option<Result<Vec<u8>, serde_json::Error>> {
    let view = &history.view;
    let turns = walk(history);
    let makers = makers(&turns);
    let last = u32::try_from(makers.len()).unwrap_or(u32::MAX);
    let number = version.unwrap_or(last);
    if number > last || (version == Some(0)) {
        return None;
    }
    let is_before = matches!(view.state.status, LoanStatus::Applied | LoanStatus::Approved);
    let (basis, rows) = match version {
        Some(number) => (Basis::Version, of_version(&makers[..number as usize], view)),
        None if is_before && last == 0 => {
            let state = paid_out(&view.terms, view.application.principal, view.today);
            (Basis::Assumed, to_come(&state, &view.terms))
        }
        None => (Basis::Today, as_it_stands(&turns, view)),
    };
    let shown = Shown {
        object: "loan_schedule",
        loan: view.loan.map(|loan| format_id(IdKind::Loan, u64::from(loan))).unwrap_or_default(),
        version: number,
        versions: makers.iter().zip(1..).map(|(step, version)| shown_version(step, version)).collect(),
        basis: match basis {
            Basis::Today => "today",
            Basis::Version => "version",
            Basis::Assumed => "assumed",
        },
        as_of: view.today.to_string(),
        principal_to_come: rupees_text(sum(&rows, view.today, |row| row.principal)),
        interest_to_come: rupees_text(sum(&rows, view.today, |row| row.interest)),
        rows: rows.iter().map(|row| shown_row(row, &basis, view)).collect(),
    };
    Some(serde_json::to_vec(&shown))
}

fn sum(rows: &[Row], today: Day, part: impl Fn(&Row) -> i64) -> i64 {
    rows.iter().filter(|row| row.due_on > today).map(part).sum()
}

/// The events that made a version each.
fn makers<'h>(turns: &[Turn<'h>]) -> Vec<&'h LoanStep> {
    let made = turns.iter().filter_map(|turn| match turn {
        Turn::Event(step) => Some(*step),
        _ => None,
    });
    made.filter(|step| match step.event.posted.event {
        LoanEvent::Disbursed { .. } | LoanEvent::RateReset { .. } | LoanEvent::Rescheduled(_) => true,
        LoanEvent::Prepaid { .. } => step.event.split.prepaid > 0,
        _ => false,
    })
    .collect()
}

/// The rows of the last of these versions, as they were when it was made.
fn of_version(makers: &[&LoanStep], view: &LoanView) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for step in makers {
        let next = step.after.next_row;
        let of_next = rows.iter().find(|row| row.n == next);
        let carried = of_next.or(rows.last()).cloned();
        let is_same_row = carried.as_ref().is_some_and(|row| row.n == next);
        rows.retain(|row| row.n < next);
        let mut coming = to_come(&step.after, &view.terms);
        if let Some(before) = carried {
            let opening = if is_same_row { before.opening - before.prepaid + before.disbursed } else { before.closing };
            let gap = opening - step.after.not_due();
            let day = step.event.posted.value_date;
            match rows.last_mut().filter(|row| row.due_on == day) {
                Some(row) => move_closing(row, gap),
                None => {
                    if let Some(first) = coming.first_mut() {
                        first.opening = opening;
                        if is_same_row {
                            (first.opening, first.prepaid, first.disbursed) =
                                (before.opening, before.prepaid, before.disbursed);
                        }
                        move_within(first, gap);
                    }
                }
            }
        }
        rows.append(&mut coming);
    }
    rows
}

/// What was paid ahead or out on the row's own day, after it fell due.
fn move_closing(row: &mut Row, gap: i64) {
    move_within(row, gap);
    row.closing -= gap;
}

fn move_within(row: &mut Row, gap: i64) {
    row.prepaid += gap.max(0);
    row.disbursed += (-gap).max(0);
}

/// Rows that fell due as they were asked for, then those that follow from today's state.
fn as_it_stands(turns: &[Turn<'_>], view: &LoanView) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    // Paid ahead or out since the last row.
    let mut since: Vec<(Day, i64)> = Vec::new();
    for turn in turns {
        let Some((before, after)) = turn.states() else { continue };
        match turn {
            Turn::Due { day, row, .. } => push_row(&mut rows, row_between(*row, *day, before, after), &mut since),
            Turn::Event(step) if before.status == LoanStatus::Active => match step.event.posted.event {
                LoanEvent::Prepaid { .. } | LoanEvent::Disbursed { .. } => {
                    let gap = before.not_due() - after.not_due();
                    match rows.last_mut().filter(|row| row.due_on == turn.day()) {
                        Some(row) => move_closing(row, gap),
                        None => since.push((turn.day(), gap)),
                    }
                }
                LoanEvent::Foreclosed { .. }
                | LoanEvent::Cancelled { .. }
                | LoanEvent::Settled { .. }
                | LoanEvent::WrittenOff => {
                    push_row(&mut rows, all_at_once(turn.day(), before, view), &mut since);
                }
                _ => {}
            },
            Turn::Event(_) | Turn::Undone(_) => {}
        }
    }
    let mut coming = to_come(&view.state, &view.terms).into_iter();
    if let Some(first) = coming.next() {
        push_row(&mut rows, first, &mut since);
    }
    rows.extend(coming);
    rows
}

fn push_row(rows: &mut Vec<Row>, mut row: Row, since: &mut Vec<(Day, i64)>) {
    for (_, gap) in since.drain(..) {
        row.opening += gap;
        move_within(&mut row, gap);
    }
    rows.push(row);
}

/// All principal falls due on one day, with the interest up to it.
fn all_at_once(day: Day, before: &LoanState, view: &LoanView) -> Row {
    let interest = accrued(before, &view.terms, day) + before.interest_deferred;
    let principal = before.not_due();
    Row {
        n: before.next_row,
        due_on: day,
        opening: principal,
        principal,
        interest,
        instalment: principal + interest,
        prepaid: 0,
        disbursed: 0,
        closing: 0,
    }
}

fn shown_version(step: &LoanStep, version: u32) -> ShownVersion {
    ShownVersion {
        version,
        made_by: step.event.seq.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
        made_on: step.event.posted.value_date.to_string(),
        because: event_type(&step.event.posted.event),
    }
}

fn shown_row(row: &Row, basis: &Basis, view: &LoanView) -> ShownRow {
    let due = view.state.dues.iter().find(|due| due.due_on == row.due_on);
    let unpaid = due.map_or(0, |due| due.interest + due.principal);
    let status = match basis {
        Basis::Version | Basis::Assumed => None,
        // What was given up is neither due nor paid.
        Basis::Today if matches!(view.state.status, LoanStatus::WrittenOff | LoanStatus::Settled) => None,
        Basis::Today if row.due_on > view.today => Some("to_come"),
        Basis::Today if unpaid == 0 => Some("paid"),
        Basis::Today if row.due_on == view.today => Some("due"),
        Basis::Today => Some("overdue"),
    };
    let some = |amount: i64| (amount != 0).then(|| rupees_text(amount));
    ShownRow {
        n: row.n,
        due_on: row.due_on.to_string(),
        opening: rupees_text(row.opening),
        principal: rupees_text(row.principal),
        interest: rupees_text(row.interest),
        instalment: rupees_text(row.instalment),
        prepaid: some(row.prepaid),
        disbursed: some(row.disbursed),
        closing: rupees_text(row.closing),
        status,
        unpaid: status.filter(|status| ["due", "overdue"].contains(status)).map(|_| rupees_text(unpaid)),
    }
}
