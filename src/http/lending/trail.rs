//! A loan's history turn by turn: its events, and between them the due dates, which no event tells.
//!
//! Due dates are found as the books find them: by running the domain's days from the state after one event to the
//! day of the next. So what is shown here is what was posted, to the paisa.
//!
//! 1. [`walk`]: all turns, in order.
//! 2. [`pieces`]: of which stretches of days, balances and rates the interest of each row is made.
//! 3. [`to_come`]: the rows that follow a state, if everything is paid when it falls due.

use rust_decimal::Decimal;

use crate::domain::lending::day_count::actual_days;
use crate::domain::lending::loan::accrual::accrued;
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::events::{Dated, Deducted, LoanEvent, Mode};
use crate::domain::lending::loan::fold::open;
use crate::domain::lending::loan::state::{LoanState, LoanStatus, NEVER};
use crate::domain::lending::loan::{apply, penal};
use crate::domain::lending::terms::ROWS_MAX;
use crate::domain::time::Day;
use crate::engine::view::{LoanHistory, LoanStep};

/// Something that raised or changed what is owed.
#[derive(Debug)]
pub enum Turn<'h> {
    /// A row fell due, or several that a holiday has put onto one day.
    Due {
        /// When.
        day: Day,
        /// The first of them.
        row: u32,
        /// The loan since the turn before.
        before: Box<LoanState>,
        /// The loan then.
        after: Box<LoanState>,
    },
    /// An event that counts.
    Event(&'h LoanStep),
    /// An event that was undone later: it never was, but the books have it.
    Undone(&'h LoanStep),
}

impl Turn<'_> {
    /// When it counts.
    #[must_use]
    pub fn day(&self) -> Day {
        match self {
            Turn::Due { day, .. } => *day,
            Turn::Event(step) | Turn::Undone(step) => step.event.posted.value_date,
        }
    }

    /// The loan before and after it; `None` where it never was.
    #[must_use]
    pub fn states(&self) -> Option<(&LoanState, &LoanState)> {
        match self {
            Turn::Due { before, after, .. } => Some((before, after)),
            Turn::Event(step) => Some((&step.before, &step.after)),
            Turn::Undone(_) => None,
        }
    }
}

/// All turns of a loan up to its business day, in order.
#[must_use]
pub fn walk(history: &LoanHistory) -> Vec<Turn<'_>> {
    let terms = &history.view.terms;
    let mut turns = Vec::with_capacity(history.events.len() * 2);
    let mut at = LoanState::new();
    for step in &history.events {
        fall_due(&mut turns, &mut at, terms, step.event.posted.value_date);
        if step.event.undone_by.is_some() {
            turns.push(Turn::Undone(step));
            continue;
        }
        at = (*step.after).clone();
        turns.push(Turn::Event(step));
    }
    fall_due(&mut turns, &mut at, terms, history.view.today);
    turns
}

/// Raises what falls due up to a day.
fn fall_due(turns: &mut Vec<Turn<'_>>, at: &mut LoanState, terms: &LoanTerms, through: Day) {
    while at.next_due <= through && at.next_due != NEVER {
        let day = at.next_due.max(at.today());
        let (row, before) = (at.next_row, Box::new(at.clone()));
        open(at, terms, day);
        turns.push(Turn::Due { day, row, before, after: Box::new(at.clone()) });
    }
}

/// A row as it fell due or will. Paise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// From 1.
    pub n: u32,
    /// When.
    pub due_on: Day,
    /// Principal that had not fallen due, before.
    pub opening: i64,
    /// Principal in it; negative where interest joins the principal.
    pub principal: i64,
    /// Interest in it.
    pub interest: i64,
    /// What is asked for.
    pub instalment: i64,
    /// Paid ahead in its period.
    pub prepaid: i64,
    /// Paid out in its period, after the first disbursal.
    pub disbursed: i64,
    /// Principal that has not fallen due, after.
    pub closing: i64,
}

/// What was asked for between two states, whether the advance has paid it or not.
#[must_use]
pub fn row_between(n: u32, due_on: Day, before: &LoanState, after: &LoanState) -> Row {
    let principal_of = |state: &LoanState| state.outstanding - state.not_due() + state.totals.principal;
    let interest = after.interest_due() + after.totals.interest - before.interest_due() - before.totals.interest;
    let principal = principal_of(after) - principal_of(before);
    let capitalised = after.outstanding + after.totals.principal - before.outstanding - before.totals.principal;
    Row {
        n,
        due_on,
        opening: before.not_due(),
        principal: principal - capitalised,
        interest: interest + capitalised,
        instalment: interest + principal,
        prepaid: 0,
        disbursed: 0,
        closing: after.not_due(),
    }
}

/// What falls due next; `None` where nothing does any more. The instalment, interest and principal alone.
#[must_use]
pub fn next_demand(state: &LoanState, terms: &LoanTerms) -> Option<Row> {
    if state.next_due == NEVER {
        return None;
    }
    let day = state.next_due.max(state.today());
    let mut after = state.clone();
    open(&mut after, terms, day);
    Some(row_between(state.next_row, day, state, &after))
}

/// The rows that follow a state, if what is due is paid at once, and all else when it falls due.
#[must_use]
pub fn to_come(state: &LoanState, terms: &LoanTerms) -> Vec<Row> {
    let mut at = state.clone();
    let mut rows = Vec::new();
    let today = at.today();
    pay_all(&mut at, terms, today);
    while at.next_due != NEVER && rows.len() <= ROWS_MAX as usize {
        let day = at.next_due.max(at.today());
        let before = at.clone();
        open(&mut at, terms, day);
        rows.push(row_between(before.next_row, day, &before, &at));
        pay_all(&mut at, terms, day);
    }
    rows
}

fn pay_all(at: &mut LoanState, terms: &LoanTerms, day: Day) {
    let amount = at.overdue() + at.fee_due() + penal::due_on(at, terms, day);
    if amount > 0 && at.status == LoanStatus::Active {
        let event = LoanEvent::Received { amount, tds: 0, mode: Mode::Neft };
        apply(at, terms, &Dated { value_date: day, order: u64::MAX, event });
    }
}

/// A loan of these terms as if all of it were paid out on a day.
#[must_use]
pub fn paid_out(terms: &LoanTerms, principal: i64, day: Day) -> LoanState {
    let mut state = LoanState::new();
    let disbursed = LoanEvent::Disbursed { amount: principal, deducted: Deducted::default(), mode: Mode::Neft };
    let events = [LoanEvent::Applied { principal }, LoanEvent::Approved, disbursed];
    for (order, event) in events.into_iter().enumerate() {
        apply(&mut state, terms, &Dated { value_date: day, order: order as u64, event });
    }
    state
}

/// Interest of some days on one balance at one rate, rounded as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first day with interest.
    pub from: Day,
    /// The first day without.
    pub to: Day,
    /// Calendar days between them.
    pub days: i64,
    /// Principal that bore it, paise.
    pub balance: i64,
    /// Per cent a year.
    pub annual_rate_pct: Decimal,
    /// Paise.
    pub interest: i64,
}

/// Interest that fell due, and of what it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowInterest {
    /// The row.
    pub row: u32,
    /// When it fell due; `None` for what has accrued since.
    pub due_on: Option<Day>,
    /// All of it, paise.
    pub interest: i64,
    /// Its parts, by date.
    pub pieces: Vec<Piece>,
}

/// Interest of every row, by the stretches between changes of the balance or rate; the last one is what has accrued
/// up to a day.
#[must_use]
pub fn pieces(turns: &[Turn<'_>], terms: &LoanTerms, today: Day) -> Vec<RowInterest> {
    let mut rows = Vec::new();
    let mut open_pieces: Vec<Piece> = Vec::new();
    let mut at = LoanState::new();
    for turn in turns {
        let Some((_, after)) = turn.states() else { continue };
        let is_due = matches!(turn, Turn::Due { .. });
        let ends = is_due || (ends_interest(turn) && at.status == LoanStatus::Active);
        if ends || after.segment_from != at.segment_from || after.status != at.status {
            open_pieces.extend(piece(&at, terms, turn.day()));
        }
        if ends {
            let pieces = std::mem::take(&mut open_pieces);
            let interest = accrued(&at, terms, turn.day());
            rows.push(RowInterest { row: at.next_row, due_on: Some(turn.day()), interest, pieces });
        }
        at = after.clone();
    }
    open_pieces.extend(piece(&at, terms, today));
    if !open_pieces.is_empty() {
        let interest = accrued(&at, terms, today);
        rows.push(RowInterest { row: at.next_row, due_on: None, interest, pieces: open_pieces });
    }
    rows
}

/// All falls due with these.
fn ends_interest(turn: &Turn<'_>) -> bool {
    let Turn::Event(step) = turn else { return false };
    matches!(
        step.event.posted.event,
        LoanEvent::Foreclosed { .. } | LoanEvent::Cancelled { .. } | LoanEvent::Settled { .. } | LoanEvent::WrittenOff
    )
}

fn piece(at: &LoanState, terms: &LoanTerms, to: Day) -> Option<Piece> {
    let days = actual_days(at.segment_from, to);
    if at.status != LoanStatus::Active || days <= 0 {
        return None;
    }
    Some(Piece {
        from: at.segment_from,
        to,
        days,
        balance: at.outstanding,
        annual_rate_pct: at.plan.annual_rate_pct,
        interest: accrued(at, terms, to) - at.interest_fixed,
    })
}
