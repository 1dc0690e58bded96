//! The statement of account of a loan: every line that changed what the borrower owes, oldest first.
//!
//! What is owed is principal, and interest, fees and penal charges that were debited, less the advance. Interest
//! is debited when it falls due, penal charges when what is overdue changes. A payment that came back stays where it
//! was, and the line that takes it back stands on the day of that; interest is that of a loan which it never paid,
//! since that is what the books have.
//!
//! 1. Each turn of the history becomes lines; what a turn debits as interest is what its other lines leave.
//! 2. Lines before the first day add up to the opening balance, lines up to the last day to the closing one.

use serde::Serialize;

use crate::domain::ids::{IdKind, Seq, format_id, write_id};
use crate::domain::lending::loan::events::{LoanEvent, Waiver};
use crate::domain::lending::loan::fold::undoes;
use crate::domain::lending::loan::quotes::foreclosure;
use crate::domain::lending::loan::state::{LoanState, LoanStatus};
use crate::domain::money::{Currency, write_minor};
use crate::domain::time::Day;
use crate::engine::view::{LoanHistory, LoanStep};
use crate::jobs::documents::money::amount as shown;

use super::super::render::{rupees_text, write_cell, write_day};
use super::names::{MODES, event_type, mode_of, name_in};
use super::trail::{Turn, walk};

/// A line. Paise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The day that it counts for.
    pub date: Day,
    /// Business date of its record; of what fell due by itself the day itself.
    pub booked_on: Day,
    /// What it is.
    pub kind: &'static str,
    /// For people.
    pub narration: String,
    /// What the rail calls the payment.
    pub reference: Option<String>,
    /// The event, if one made it.
    pub event: Option<Seq>,
    /// Signed: what is owed more.
    pub amount: i64,
    /// What is owed after it.
    pub balance: i64,
}

/// Lines between two days. Paise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoanStatement {
    /// The loan.
    pub loan: u32,
    /// First day, if bounded.
    pub from: Option<Day>,
    /// Last day: that of the books at most.
    pub to: Day,
    /// What was owed before the first line.
    pub opening: i64,
    /// What was owed after the last.
    pub closing: i64,
    /// Oldest first.
    pub lines: Vec<Line>,
}

/// The lines of a loan from one day to another, both included.
#[must_use]
pub fn statement(history: &LoanHistory, from: Option<Day>, to: Option<Day>) -> LoanStatement {
    let to = to.unwrap_or(history.view.today).min(history.view.today);
    let lines = lines(history);
    let first = from.map_or(0, |from| lines.partition_point(|line| line.date < from));
    let end = lines.partition_point(|line| line.date <= to).max(first);
    let balance_before = |place: usize| place.checked_sub(1).map_or(0, |last: usize| lines[last].balance);
    let (opening, closing) = (balance_before(first), balance_before(end));
    let lines = lines[first..end].to_vec();
    LoanStatement { loan: history.view.loan.unwrap_or(0), from, to, opening, closing, lines }
}

/// What the borrower owes, as far as it was debited.
#[must_use]
pub fn owed(state: &LoanState) -> i64 {
    state.outstanding + state.interest_due() + state.fee_due() + state.penal_due - state.advance
}

/// All lines of a loan up to its business day.
#[must_use]
pub fn lines(history: &LoanHistory) -> Vec<Line> {
    let mut lines = Vec::new();
    for turn in walk(history) {
        let from = lines.len();
        match &turn {
            Turn::Due { day, row, before, after } => {
                let interest = owed(after) - owed(before) - penal_debited(before, after, 0);
                push_penal(&mut lines, *day, penal_debited(before, after, 0), *day);
                push_interest(&mut lines, *day, *day, interest, &format!("Interest due with instalment {row}"));
            }
            Turn::Event(step) => push_event(&mut lines, step, history, false),
            Turn::Undone(step) => push_event(&mut lines, step, history, true),
        }
        debug_assert!(lines[from..].iter().all(|line| line.date == turn.day()), "a turn's lines are of its day");
    }
    let mut balance = 0;
    for line in &mut lines {
        balance += line.amount;
        line.balance = balance;
    }
    lines
}

/// Penal charges that became due between two states; `let_go` of them were waived or charged by hand.
fn penal_debited(before: &LoanState, after: &LoanState, let_go: i64) -> i64 {
    after.penal_due + after.totals.penal + let_go - before.penal_due - before.totals.penal
}

fn push_penal(lines: &mut Vec<Line>, day: Day, amount: i64, booked_on: Day) {
    if amount != 0 {
        lines.push(line(day, booked_on, "penal", format!("Penal charges up to {day}"), amount));
    }
}

fn push_interest(lines: &mut Vec<Line>, day: Day, booked_on: Day, amount: i64, narration: &str) {
    if amount != 0 {
        lines.push(line(day, booked_on, "interest", narration.to_owned(), amount));
    }
}

fn line(date: Day, booked_on: Day, kind: &'static str, narration: String, amount: i64) -> Line {
    Line { date, booked_on, kind, narration, reference: None, event: None, amount, balance: 0 }
}

/// Lines of an event: interest and penal charges that it made due, then what it did itself.
fn push_event(lines: &mut Vec<Line>, step: &LoanStep, history: &LoanHistory, is_undone: bool) {
    let event = &step.event;
    let (day, booked_on) = (event.posted.value_date, event.booked_on);
    let own = own_amounts(step, history, is_undone);
    // What was undone never was, so that what undoes it changes nothing either.
    if !is_undone && undoes(&event.posted.event).is_none() {
        let (before, after) = (&step.before, &step.after);
        let is_given_up = matches!(after.status, LoanStatus::WrittenOff | LoanStatus::Settled);
        let ended = is_given_up && before.status == LoanStatus::Active;
        // What was given up is no penal charge that went by itself: its line is the write-off's.
        let penal = if ended { 0 } else { penal_debited(before, after, penal_by_hand(&event.posted.event)) };
        push_penal(lines, day, penal, booked_on);
        let known: i64 = own.iter().map(|(amount, _)| amount).sum();
        let interest = owed(after) - owed(before) - penal - known;
        let word = if ended { "Interest and penal charges" } else { "Interest" };
        push_interest(lines, day, booked_on, interest, &format!("{word} up to {day}"));
    }
    for (amount, narration) in own.into_iter().filter(|(amount, _)| *amount != 0) {
        let reference = event.posted.texts.as_ref().and_then(|texts| texts.reference.as_deref()).map(str::to_owned);
        let kind = event_type(&event.posted.event);
        lines.push(Line { reference, event: event.seq, ..line(day, booked_on, kind, narration, amount) });
    }
}

/// Penal charges that an event let go, less those that it charged.
fn penal_by_hand(event: &LoanEvent) -> i64 {
    use crate::domain::lending::loan::events::ChargeKind;
    match event {
        LoanEvent::Waived(waiver) => waiver.penal,
        LoanEvent::Charged { kind: ChargeKind::Penal, amount, .. } => -amount,
        _ => 0,
    }
}

/// What an event itself debits (positive) and credits, with its words.
fn own_amounts(step: &LoanStep, history: &LoanHistory, is_undone: bool) -> Vec<(i64, String)> {
    let event = &step.event;
    let was_active = step.before.status == LoanStatus::Active || is_undone;
    let because = event.posted.texts.as_ref().and_then(|texts| texts.reason.as_deref());
    let with_reason = |words: &str| because.map_or(words.to_owned(), |reason| format!("{words}: {reason}"));
    let by = mode_of(&event.posted.event).map_or("", |mode| name_in(&MODES, &mode));
    match event.posted.event {
        LoanEvent::Disbursed { amount, deducted, .. } if deducted.total() > 0 => {
            let rupees = |paise: i64| shown(paise.into(), Currency::INR);
            let (net, taken) = (rupees(amount - deducted.total()), rupees(deducted.total()));
            vec![(amount, format!("Disbursed: {net} by {by}, {taken} kept for charges"))]
        }
        LoanEvent::Disbursed { amount, .. } => vec![(amount, format!("Disbursed by {by}"))],
        LoanEvent::Received { amount, tds, .. } => {
            vec![(-amount, format!("Repayment by {by}")), (-tds, "Tax deducted at source".to_owned())]
        }
        LoanEvent::Prepaid { amount, .. } => vec![(-amount, format!("Prepayment by {by}"))],
        LoanEvent::Cancelled { amount, .. } => vec![(-amount, format!("Paid within the cooling-off days by {by}"))],
        LoanEvent::Foreclosed { amount, charge, gst, .. } => {
            let charged = if was_active && !is_undone { charge + gst } else { 0 };
            vec![
                (charged, "Charge for paying before time, with tax".to_owned()),
                (-amount, format!("Foreclosed by {by}")),
            ]
        }
        LoanEvent::Charged { amount, gst, .. } if was_active => vec![(amount + gst, with_reason("Charge"))],
        LoanEvent::Waived(Waiver { interest, penal, fee, .. }) => {
            vec![(-(interest + penal + fee), with_reason("Waived"))]
        }
        LoanEvent::WrittenOff if step.after.status == LoanStatus::WrittenOff && was_active && !is_undone => {
            vec![(-step.after.claim, with_reason("Written off"))]
        }
        LoanEvent::Settled { amount, .. } => {
            let paid = (-amount, format!("Settled by {by}"));
            if step.after.status != LoanStatus::Settled || !was_active || is_undone {
                return vec![paid];
            }
            let owed = foreclosure(&step.before, &history.view.terms, event.posted.value_date);
            let owed = owed.principal + owed.interest + owed.fees + owed.penal - owed.advance;
            vec![paid, (amount - owed, with_reason("Let go"))]
        }
        LoanEvent::Recovered { amount, .. } if step.before.status == LoanStatus::WrittenOff || is_undone => {
            vec![(amount, "Claim taken up again".to_owned()), (-amount, format!("Recovered by {by}"))]
        }
        LoanEvent::Recovered { amount, .. } => vec![(-amount, format!("Repayment by {by}"))],
        LoanEvent::Refunded { amount, .. } => vec![(amount, format!("Advance paid back by {by}"))],
        LoanEvent::ReceiptReversed { of } | LoanEvent::DisbursalReturned { of } => taken_back(of, history, because),
        _ => Vec::new(),
    }
}

/// The lines of an event that was undone, the other way.
fn taken_back(of: u64, history: &LoanHistory, because: Option<&str>) -> Vec<(i64, String)> {
    let Some(undone) = history.events.iter().find(|step| step.event.seq == Some(Seq(of))) else { return Vec::new() };
    let id = format_id(IdKind::LoanEvent, of);
    let words = because.map_or(format!("{id} taken back"), |reason| format!("{id} taken back: {reason}"));
    own_amounts(undone, history, true).into_iter().map(|(amount, _)| (-amount, words.clone())).collect()
}

#[derive(Serialize)]
struct Shown<'a> {
    object: &'static str,
    loan: String,
    currency: &'static str,
    from: Option<String>,
    to: String,
    opening: String,
    closing: String,
    data: Vec<ShownLine<'a>>,
}

#[derive(Serialize)]
struct ShownLine<'a> {
    date: String,
    booked_on: String,
    r#type: &'static str,
    narration: &'a str,
    reference: Option<&'a str>,
    event: Option<String>,
    debit: Option<String>,
    credit: Option<String>,
    balance: String,
}

/// The statement object.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn statement_json(of: &LoanStatement) -> Result<Vec<u8>, serde_json::Error> {
    let line = |line: &'_ Line| {
        let side = |amount: i64| (amount > 0).then(|| rupees_text(amount));
        (side(line.amount), side(-line.amount))
    };
    let data = of.lines.iter().map(|row| {
        let (debit, credit) = line(row);
        ShownLine {
            date: row.date.to_string(),
            booked_on: row.booked_on.to_string(),
            r#type: row.kind,
            narration: &row.narration,
            reference: row.reference.as_deref(),
            event: row.event.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
            debit,
            credit,
            balance: rupees_text(row.balance),
        }
    });
    serde_json::to_vec(&Shown {
        object: "loan_statement",
        loan: format_id(IdKind::Loan, u64::from(of.loan)),
        currency: "INR",
        from: of.from.map(|day| day.to_string()),
        to: of.to.to_string(),
        opening: rupees_text(of.opening),
        closing: rupees_text(of.closing),
        data: data.collect(),
    })
}

/// The statement as CSV: a line for the opening balance, the lines, and one for the closing balance.
#[must_use]
pub fn statement_csv(of: &LoanStatement) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + of.lines.len() * 96);
    out.extend_from_slice(b"date,booked_on,type,narration,reference,event,debit,credit,balance\r\n");
    let bound = |out: &mut Vec<u8>, day: Option<Day>, kind: &str, balance: i64| {
        if let Some(day) = day {
            write_day(out, day);
        }
        out.extend_from_slice(b",,");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b",,,,,,");
        write_minor(out, balance.into(), Currency::INR);
        out.extend_from_slice(b"\r\n");
    };
    bound(&mut out, of.from, "opening", of.opening);
    for line in &of.lines {
        write_day(&mut out, line.date);
        out.push(b',');
        write_day(&mut out, line.booked_on);
        for text in [line.kind, line.narration.as_str(), line.reference.as_deref().unwrap_or_default()] {
            out.push(b',');
            write_cell(&mut out, text);
        }
        out.push(b',');
        if let Some(seq) = line.event {
            write_id(&mut out, IdKind::LoanEvent, seq.0);
        }
        for amount in [line.amount, -line.amount] {
            out.push(b',');
            if amount > 0 {
                write_minor(&mut out, amount.into(), Currency::INR);
            }
        }
        out.push(b',');
        write_minor(&mut out, line.balance.into(), Currency::INR);
        out.extend_from_slice(b"\r\n");
    }
    bound(&mut out, Some(of.to), "closing", of.closing);
    out
}
