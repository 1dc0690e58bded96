//! What may happen to a loan, and what may not. Refusals come in the order of [`LoanReject`]: state, key facts,
//! amounts, dates, cash, cooling-off. What is accepted, [`apply`](super::fold::apply) takes without a question.
//!
//! The state that is handed in is that of the value date, or the latest one before it. Where a value date has ended
//! already, the caller folds the events up to the day before it first: amounts are compared with what was due then.
//! Whether a receipt exists that is to be reversed, and who may ask, is known to the caller alone.

use super::contract::{LoanTerms, RATE_PCT_MAX, paise};
use super::events::{ChargeKind, Deducted, LoanEvent, Mode, NewPlan, Waiver};
use super::penal;
use super::quotes::{cooling_off, foreclosure, on_day};
use super::state::{LoanState, LoanStatus};
use crate::domain::lending::due_dates::DueDates;
use crate::domain::lending::terms::{Keep, Method, ROWS_MAX};
use crate::domain::reject::RejectCode;
use crate::domain::time::Day;
use rust_decimal::Decimal;

/// Why not. In the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LoanReject {
    /// The loan exists already.
    AlreadyApplied,
    /// It has been sanctioned or declined, or was never asked for.
    NotApplied,
    /// It is not sanctioned.
    NotApproved,
    /// Nothing is paid out, or it has ended.
    NotActive,
    /// It is not written off.
    NotWrittenOff,
    /// Everything that was paid out has been paid back.
    AlreadyRepaid,
    /// Interest of a flat loan does not follow its balance or rate: it is neither prepaid nor reset nor rescheduled,
    /// and is paid out at once.
    MethodFlat,
    /// No key facts statement was given out.
    KfsNotIssued,
    /// Another version of it is the last one, or the version is no new one.
    KfsVersion,
    /// It was not accepted.
    KfsNotAccepted,
    /// It does not hold any more.
    KfsExpired,
    /// Terms that make no loan ([`LoanTerms::check`] says which field).
    TermsInvalid,
    /// Nothing, or less.
    AmountNotPositive,
    /// More than was sanctioned.
    AmountAboveSanction,
    /// Charges leave nothing to pay out.
    DeductionsTooHigh,
    /// More than is due.
    AmountAboveDue,
    /// More than is in the advance.
    AmountAboveAdvance,
    /// Something is due that has to be paid first.
    ArrearsFirst,
    /// Not what the quote says.
    AmountNotQuoted,
    /// Something is owed, or an advance is there.
    BalanceLeft,
    /// Tax on a penal charge.
    PenalGst,
    /// No such rate.
    RateInvalid,
    /// No such number of rows.
    RowsInvalid,
    /// Before the money was paid out.
    DateBeforeDisbursal,
    /// Not yet.
    DateInFuture,
    /// The first due date is not after it, or lies outside the calendar.
    DateOfFirstDue,
    /// A pause ends before it begins, or lasts too long.
    PauseInvalid,
    /// As much as may not be paid out in cash.
    CashDisbursal,
    /// As much as may not be received in cash in a day.
    CashReceipts,
    /// As much as is received in cash only from somebody whose PAN is known.
    PanMissing,
    /// The cooling-off days are over.
    CoolingOffOver,
}

impl LoanReject {
    /// The refusal as the books keep it.
    #[must_use]
    pub fn code(self) -> RejectCode {
        match self {
            LoanReject::AlreadyApplied | LoanReject::NotApplied => RejectCode::LoanNotApplied,
            LoanReject::NotApproved => RejectCode::LoanNotApproved,
            LoanReject::NotActive => RejectCode::LoanNotActive,
            LoanReject::NotWrittenOff => RejectCode::LoanNotWrittenOff,
            LoanReject::AlreadyRepaid => RejectCode::LoanAlreadyRepaid,
            LoanReject::MethodFlat => RejectCode::LoanMethodFlat,
            LoanReject::KfsNotIssued => RejectCode::KfsNotIssued,
            LoanReject::KfsVersion => RejectCode::KfsVersion,
            LoanReject::KfsNotAccepted => RejectCode::KfsNotAccepted,
            LoanReject::KfsExpired => RejectCode::KfsExpired,
            LoanReject::TermsInvalid => RejectCode::LoanTermsInvalid,
            LoanReject::AmountNotPositive => RejectCode::AmountZero,
            LoanReject::AmountAboveSanction => RejectCode::AmountAboveSanction,
            LoanReject::DeductionsTooHigh => RejectCode::DeductionsTooHigh,
            LoanReject::AmountAboveDue => RejectCode::AmountAboveDue,
            LoanReject::AmountAboveAdvance => RejectCode::AmountAboveAdvance,
            LoanReject::ArrearsFirst => RejectCode::ArrearsFirst,
            LoanReject::AmountNotQuoted => RejectCode::AmountNotQuoted,
            LoanReject::BalanceLeft => RejectCode::LoanBalanceLeft,
            LoanReject::PenalGst => RejectCode::PenalGst,
            LoanReject::RateInvalid => RejectCode::RateInvalid,
            LoanReject::RowsInvalid => RejectCode::RowsInvalid,
            LoanReject::DateBeforeDisbursal => RejectCode::DateBeforeDisbursal,
            LoanReject::DateInFuture => RejectCode::DateInFuture,
            LoanReject::DateOfFirstDue => RejectCode::DateOfFirstDue,
            LoanReject::PauseInvalid => RejectCode::PauseInvalid,
            LoanReject::CashDisbursal => RejectCode::CashDisbursal,
            LoanReject::CashReceipts => RejectCode::CashReceipts,
            LoanReject::PanMissing => RejectCode::PanMissing,
            LoanReject::CoolingOffOver => RejectCode::CoolingOffOver,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoanCommand {
    /// A loan of the terms.
    Apply,
    /// Sanction it.
    Approve,
    /// Do not.
    Decline,
    /// Give out a key facts statement.
    IssueKfs { version: u32, valid_through: Day },
    /// Accept it.
    AcceptKfs { version: u32 },
    /// Pay out.
    Disburse { amount: i64, deducted: Deducted, mode: Mode },
    /// The payment came back.
    ReturnDisbursal { of: u64 },
    /// A payment came.
    Receive { amount: i64, tds: i64, mode: Mode },
    /// It came back.
    ReverseReceipt { of: u64 },
    /// Pay ahead.
    Prepay { amount: i64, keep: Keep, mode: Mode },
    /// Charge.
    Charge { kind: ChargeKind, amount: i64, gst: i64 },
    /// Let dues go.
    Waive(Waiver),
    /// Another rate.
    ResetRate { annual_rate_pct: Decimal, keep: Keep },
    /// Other terms.
    Reschedule(NewPlan),
    /// Give it up.
    WriteOff,
    /// Something came nevertheless.
    Recover { amount: i64, mode: Mode },
    /// Pay the advance back.
    Refund { amount: i64, mode: Mode },
    /// Pay everything before its time.
    Foreclose { amount: i64, mode: Mode },
    /// Leave within the cooling-off days.
    Cancel { amount: i64, mode: Mode },
    /// Nothing is owed.
    Close,
    /// Take this much for all of it, and let the rest go.
    Settle { amount: i64, mode: Mode },
    /// Call nobody through a day.
    Pause { until: Day },
    /// Watch it, or do not any more.
    Watch { on: bool },
}

/// Days of a pause at most: a year.
pub const PAUSE_DAYS_MAX: u16 = 366;

/// What the caller knows of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The open business day.
    pub today: Day,
    /// When it is to count.
    pub value_date: Day,
    /// What the borrower has paid in cash on the value date, on all loans, in paise.
    pub cash_received: i64,
    /// From this on nothing is paid out in cash (s.185: 20,000).
    pub cash_disbursal_limit: i64,
    /// From this on nothing is received in cash from one person in a day (s.186: 2,00,000).
    pub cash_receipts_limit: i64,
    /// More than this is received in cash in a day only from somebody whose PAN is known (50,000).
    pub cash_pan_limit: i64,
    /// The borrower's PAN is known. Nobody looks where it does not matter.
    pub has_pan: bool,
}

type Decided = Result<(), LoanReject>;

/// What happens, or why not.
///
/// # Errors
/// The first reason in the order of [`LoanReject`].
pub fn decide(
    state: &LoanState,
    terms: &LoanTerms,
    command: &LoanCommand,
    day: &Circumstances,
) -> Result<LoanEvent, LoanReject> {
    check_state(state, terms, command)?;
    check_key_facts(state, command, day)?;
    check_amounts(state, terms, command, day)?;
    check_dates(state, terms, command, day)?;
    check_cash(command, day)?;
    if matches!(command, LoanCommand::Cancel { .. }) && cooling_off(state, terms, day.value_date).is_none() {
        return Err(LoanReject::CoolingOffOver);
    }
    Ok(event_of(state, terms, command, day))
}

fn check(holds: bool, otherwise: LoanReject) -> Decided {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn check_state(state: &LoanState, terms: &LoanTerms, command: &LoanCommand) -> Decided {
    let status = state.status;
    let is_active = status == LoanStatus::Active;
    let is_flat = terms.calculation.method == Method::Flat;
    match command {
        LoanCommand::Apply => check(status == LoanStatus::Unknown, LoanReject::AlreadyApplied),
        LoanCommand::Approve | LoanCommand::Decline => check(status == LoanStatus::Applied, LoanReject::NotApplied),
        LoanCommand::IssueKfs { .. } | LoanCommand::AcceptKfs { .. } => {
            check(matches!(status, LoanStatus::Applied | LoanStatus::Approved), LoanReject::NotApplied)
        }
        LoanCommand::Disburse { .. } => {
            check(is_active || status == LoanStatus::Approved, LoanReject::NotApproved)?;
            check(!is_active || state.outstanding > 0, LoanReject::AlreadyRepaid)?;
            check(!(is_active && is_flat), LoanReject::MethodFlat)
        }
        LoanCommand::Prepay { .. } | LoanCommand::ResetRate { .. } | LoanCommand::Reschedule(_) => {
            check(is_active, LoanReject::NotActive)?;
            check(!is_flat, LoanReject::MethodFlat)
        }
        LoanCommand::Recover { .. } => check(status == LoanStatus::WrittenOff, LoanReject::NotWrittenOff),
        // Money may have to go back, and a payment may turn out not to have come, whatever the loan is by then.
        LoanCommand::Refund { .. } | LoanCommand::ReverseReceipt { .. } => Ok(()),
        LoanCommand::ReturnDisbursal { .. }
        | LoanCommand::Receive { .. }
        | LoanCommand::Charge { .. }
        | LoanCommand::Waive(_)
        | LoanCommand::WriteOff
        | LoanCommand::Foreclose { .. }
        | LoanCommand::Cancel { .. }
        | LoanCommand::Settle { .. }
        | LoanCommand::Pause { .. }
        | LoanCommand::Watch { .. }
        | LoanCommand::Close => check(is_active, LoanReject::NotActive),
    }
}

fn check_key_facts(state: &LoanState, command: &LoanCommand, day: &Circumstances) -> Decided {
    match command {
        LoanCommand::IssueKfs { version, .. } => check(*version > state.kfs_version, LoanReject::KfsVersion),
        LoanCommand::AcceptKfs { version } => {
            check(state.kfs_version > 0, LoanReject::KfsNotIssued)?;
            check(*version == state.kfs_version, LoanReject::KfsVersion)?;
            check(day.value_date <= state.kfs_valid_through, LoanReject::KfsExpired)
        }
        LoanCommand::Disburse { .. } => {
            check(state.kfs_version > 0, LoanReject::KfsNotIssued)?;
            check(state.kfs_accepted == state.kfs_version, LoanReject::KfsNotAccepted)?;
            // A later tranche is paid out on what the first one was.
            let is_first = state.status != LoanStatus::Active;
            check(!is_first || day.value_date <= state.kfs_valid_through, LoanReject::KfsExpired)
        }
        _ => Ok(()),
    }
}

fn check_amounts(state: &LoanState, terms: &LoanTerms, command: &LoanCommand, day: &Circumstances) -> Decided {
    match command {
        LoanCommand::Apply => check(terms.check().is_ok(), LoanReject::TermsInvalid),
        LoanCommand::Disburse { amount, deducted, .. } => {
            is_positive(*amount)?;
            is_none_negative(&[deducted.fee, deducted.gst, deducted.third_party])?;
            let already = if state.status == LoanStatus::Active { state.totals.disbursed } else { 0 };
            check(already.saturating_add(*amount) <= state.sanctioned, LoanReject::AmountAboveSanction)?;
            check(deducted.total() < *amount, LoanReject::DeductionsTooHigh)
        }
        LoanCommand::Charge { kind, amount, gst } => {
            is_positive(*amount)?;
            is_none_negative(&[*gst])?;
            check(*gst == 0 || *kind != ChargeKind::Penal, LoanReject::PenalGst)
        }
        LoanCommand::Waive(Waiver { interest, penal, fee, gst }) => {
            is_none_negative(&[*interest, *penal, *fee, *gst])?;
            is_positive(interest.saturating_add(*penal).saturating_add(*fee))?;
            let at = on_day(state, terms, day.value_date);
            let is_due = *interest <= at.interest_due()
                && *fee <= at.fee_due()
                && *gst <= *fee
                && *penal <= penal::due_on(&at, terms, day.value_date);
            check(is_due, LoanReject::AmountAboveDue)
        }
        LoanCommand::Close => {
            let at = on_day(state, terms, day.value_date);
            check(at.owes_nothing() && at.advance == 0, LoanReject::BalanceLeft)
        }
        LoanCommand::ResetRate { annual_rate_pct, .. } => check(is_rate(*annual_rate_pct), LoanReject::RateInvalid),
        LoanCommand::Reschedule(new) => {
            check(is_rate(new.annual_rate_pct), LoanReject::RateInvalid)?;
            let free = new.moratorium.map_or(0, |moratorium| moratorium.periods);
            check(free < new.instalments && new.instalments <= ROWS_MAX, LoanReject::RowsInvalid)
        }
        _ => check_payment(state, terms, command, day),
    }
}

/// Amounts of money that comes, and of what goes back to the borrower.
fn check_payment(state: &LoanState, terms: &LoanTerms, command: &LoanCommand, day: &Circumstances) -> Decided {
    let at = || on_day(state, terms, day.value_date);
    match command {
        LoanCommand::Receive { amount, tds, .. } => {
            is_none_negative(&[*amount, *tds])?;
            is_positive(amount.saturating_add(*tds))?;
            check(*tds <= at().interest_due(), LoanReject::AmountAboveDue)
        }
        LoanCommand::Prepay { amount, .. } => {
            is_positive(*amount)?;
            let at = at();
            let due = at.overdue() + at.fee_due() + penal::due_on(&at, terms, day.value_date);
            check(*amount <= due + at.not_due(), LoanReject::AmountAboveDue)?;
            check(*amount > due, LoanReject::ArrearsFirst)
        }
        LoanCommand::Recover { amount, .. } => {
            is_positive(*amount)?;
            check(*amount <= state.claim, LoanReject::AmountAboveDue)
        }
        LoanCommand::Refund { amount, .. } => {
            is_positive(*amount)?;
            check(*amount <= at().advance, LoanReject::AmountAboveAdvance)
        }
        LoanCommand::Foreclose { amount, .. } => {
            let quoted = foreclosure(state, terms, day.value_date).total;
            check(*amount == quoted, LoanReject::AmountNotQuoted)
        }
        LoanCommand::Settle { amount, .. } => {
            is_positive(*amount)?;
            check(*amount < owed(state, terms, day.value_date), LoanReject::AmountAboveDue)
        }
        LoanCommand::Cancel { amount, .. } => {
            // After the days there is no quote: that is refused last.
            let quoted = cooling_off(state, terms, day.value_date).map_or(*amount, |quote| quote.total);
            check(*amount == quoted, LoanReject::AmountNotQuoted)
        }
        _ => Ok(()),
    }
}

/// All that is owed on a day beyond the advance, without a charge for paying before time.
fn owed(state: &LoanState, terms: &LoanTerms, on: Day) -> i64 {
    let quoted = foreclosure(state, terms, on);
    quoted.principal + quoted.interest + quoted.fees + quoted.penal - quoted.advance
}

fn is_positive(amount: i64) -> Decided {
    check(amount > 0, LoanReject::AmountNotPositive)
}

fn is_none_negative(amounts: &[i64]) -> Decided {
    check(amounts.iter().all(|amount| *amount >= 0), LoanReject::AmountNotPositive)
}

fn is_rate(annual_rate_pct: Decimal) -> bool {
    annual_rate_pct >= Decimal::ZERO && annual_rate_pct <= Decimal::from(RATE_PCT_MAX)
}

fn check_dates(state: &LoanState, terms: &LoanTerms, command: &LoanCommand, day: &Circumstances) -> Decided {
    let is_paid_out =
        matches!(state.status, LoanStatus::Active | LoanStatus::Closed | LoanStatus::WrittenOff | LoanStatus::Settled);
    check(!is_paid_out || day.value_date >= state.disbursed_on, LoanReject::DateBeforeDisbursal)?;
    check(day.value_date <= day.today, LoanReject::DateInFuture)?;
    let frequency = terms.calculation.frequency;
    match command {
        LoanCommand::Disburse { .. } if state.status == LoanStatus::Approved => {
            let first = terms.calculation.first_due_on;
            let first = first.or_else(|| DueDates::after(frequency, day.value_date).and_then(|dates| dates.nth(1)));
            check(first.is_some_and(|first| first > day.value_date), LoanReject::DateOfFirstDue)
        }
        LoanCommand::Reschedule(new) => check(new.first_due_on > day.value_date, LoanReject::DateOfFirstDue),
        LoanCommand::Pause { until } => {
            let days = until.0.checked_sub(day.value_date.0);
            check(days.is_some_and(|days| days < PAUSE_DAYS_MAX), LoanReject::PauseInvalid)
        }
        _ => Ok(()),
    }
}

fn check_cash(command: &LoanCommand, day: &Circumstances) -> Decided {
    let is_below = |amount: i64, limit: i64, otherwise| check(amount < limit, otherwise);
    match command {
        LoanCommand::Disburse { amount, deducted, mode: Mode::Cash } => {
            is_below(*amount - deducted.total(), day.cash_disbursal_limit, LoanReject::CashDisbursal)
        }
        LoanCommand::Refund { amount, mode: Mode::Cash } => {
            is_below(*amount, day.cash_disbursal_limit, LoanReject::CashDisbursal)
        }
        LoanCommand::Receive { amount, mode: Mode::Cash, .. }
        | LoanCommand::Prepay { amount, mode: Mode::Cash, .. }
        | LoanCommand::Recover { amount, mode: Mode::Cash }
        | LoanCommand::Foreclose { amount, mode: Mode::Cash }
        | LoanCommand::Settle { amount, mode: Mode::Cash }
        | LoanCommand::Cancel { amount, mode: Mode::Cash } => {
            let all = day.cash_received.saturating_add(*amount);
            is_below(all, day.cash_receipts_limit, LoanReject::CashReceipts)?;
            check(day.has_pan || all <= day.cash_pan_limit, LoanReject::PanMissing)
        }
        _ => Ok(()),
    }
}

fn event_of(state: &LoanState, terms: &LoanTerms, command: &LoanCommand, day: &Circumstances) -> LoanEvent {
    match *command {
        LoanCommand::Apply => LoanEvent::Applied { principal: paise(terms.calculation.principal) },
        LoanCommand::Approve => LoanEvent::Approved,
        LoanCommand::Decline => LoanEvent::Declined,
        LoanCommand::IssueKfs { version, valid_through } => LoanEvent::KfsIssued { version, valid_through },
        LoanCommand::AcceptKfs { version } => LoanEvent::KfsAccepted { version },
        LoanCommand::Disburse { amount, deducted, mode } => LoanEvent::Disbursed { amount, deducted, mode },
        LoanCommand::ReturnDisbursal { of } => LoanEvent::DisbursalReturned { of },
        LoanCommand::Receive { amount, tds, mode } => LoanEvent::Received { amount, tds, mode },
        LoanCommand::ReverseReceipt { of } => LoanEvent::ReceiptReversed { of },
        LoanCommand::Prepay { amount, keep, mode } => LoanEvent::Prepaid { amount, keep, mode },
        LoanCommand::Charge { kind, amount, gst } => LoanEvent::Charged { kind, amount, gst },
        LoanCommand::Waive(waiver) => LoanEvent::Waived(waiver),
        LoanCommand::ResetRate { annual_rate_pct, keep } => LoanEvent::RateReset { annual_rate_pct, keep },
        LoanCommand::Reschedule(new) => LoanEvent::Rescheduled(new),
        LoanCommand::WriteOff => LoanEvent::WrittenOff,
        LoanCommand::Recover { amount, mode } => LoanEvent::Recovered { amount, mode },
        LoanCommand::Refund { amount, mode } => LoanEvent::Refunded { amount, mode },
        LoanCommand::Foreclose { amount, mode } => {
            let quoted = foreclosure(state, terms, day.value_date);
            LoanEvent::Foreclosed { amount, charge: quoted.charge, gst: quoted.gst, mode }
        }
        LoanCommand::Cancel { amount, mode } => LoanEvent::Cancelled { amount, mode },
        LoanCommand::Close => LoanEvent::Closed,
        LoanCommand::Settle { amount, mode } => {
            LoanEvent::Settled { amount, given_up: owed(state, terms, day.value_date) - amount, mode }
        }
        LoanCommand::Pause { until } => LoanEvent::Paused { until },
        LoanCommand::Watch { on } => LoanEvent::Watched { on },
    }
}
