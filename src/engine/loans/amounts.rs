//! What requests and events about loans move: how much, by which rail, and under which name.

use crate::domain::lending::loan::events::{LoanEvent, Mode};
use crate::domain::lending::loan::facts::LoanPosted;
use crate::engine::command::LoanRequest;
use crate::engine::keys::{ExternalKind, KeyHash, external_hash};

/// Whether an amount in paise is more than a limit in whole units.
pub(super) fn is_above(paise: i64, limit: u64) -> bool {
    u64::try_from(paise).unwrap_or(0) > limit.saturating_mul(100)
}

/// The mode of the money in a request.
pub(super) fn mode_of(request: &LoanRequest) -> Option<Mode> {
    match request {
        LoanRequest::Disburse { mode, .. }
        | LoanRequest::Receive { mode, .. }
        | LoanRequest::Prepay { mode, .. }
        | LoanRequest::Recover { mode, .. }
        | LoanRequest::Refund { mode, .. }
        | LoanRequest::Foreclose { mode, .. }
        | LoanRequest::Settle { mode, .. }
        | LoanRequest::Cancel { mode, .. } => Some(*mode),
        _ => None,
    }
}

/// What a request brings in cash: the outer `None` is nothing, the inner one what a quote says.
pub(super) fn cash_asked(request: &LoanRequest) -> Option<Option<i64>> {
    match *request {
        LoanRequest::Receive { amount, mode: Mode::Cash, .. }
        | LoanRequest::Prepay { amount, mode: Mode::Cash, .. }
        | LoanRequest::Recover { amount, mode: Mode::Cash }
        | LoanRequest::Settle { amount, mode: Mode::Cash } => Some(Some(amount)),
        LoanRequest::Foreclose { amount, mode: Mode::Cash } | LoanRequest::Cancel { amount, mode: Mode::Cash } => {
            Some(amount)
        }
        _ => None,
    }
}

/// What a payment brought in cash.
pub(super) fn cash_of(event: &LoanEvent) -> i64 {
    match event {
        LoanEvent::Received { amount, mode: Mode::Cash, .. }
        | LoanEvent::Prepaid { amount, mode: Mode::Cash, .. }
        | LoanEvent::Recovered { amount, mode: Mode::Cash }
        | LoanEvent::Foreclosed { amount, mode: Mode::Cash, .. }
        | LoanEvent::Settled { amount, mode: Mode::Cash, .. }
        | LoanEvent::Cancelled { amount, mode: Mode::Cash } => *amount,
        _ => 0,
    }
}

/// What an event moves, for the caller's limit.
pub(super) fn amount_of(event: &LoanEvent) -> Option<i64> {
    match event {
        LoanEvent::Disbursed { amount, .. }
        | LoanEvent::Received { amount, .. }
        | LoanEvent::Prepaid { amount, .. }
        | LoanEvent::Charged { amount, .. }
        | LoanEvent::Recovered { amount, .. }
        | LoanEvent::Refunded { amount, .. }
        | LoanEvent::Foreclosed { amount, .. }
        | LoanEvent::Cancelled { amount, .. } => Some(*amount),
        LoanEvent::Waived(waiver) => Some(waiver.interest + waiver.penal + waiver.fee),
        // What is let go is moved as much as what comes.
        LoanEvent::Settled { amount, given_up, .. } => Some(*amount.max(given_up)),
        _ => None,
    }
}

/// A payment is recorded once: by its rail and what that calls it.
pub(super) fn reference_key(steps: &[LoanPosted]) -> Option<KeyHash> {
    let step = steps.last()?;
    payment_key(step)
}

/// The key of the payment in an event, if it has a reference.
#[must_use]
pub fn payment_key(posted: &LoanPosted) -> Option<KeyHash> {
    let reference = posted.texts.as_ref()?.reference.as_deref()?;
    let rail = match posted.event {
        LoanEvent::Disbursed { mode, .. }
        | LoanEvent::Received { mode, .. }
        | LoanEvent::Prepaid { mode, .. }
        | LoanEvent::Recovered { mode, .. }
        | LoanEvent::Refunded { mode, .. }
        | LoanEvent::Foreclosed { mode, .. }
        | LoanEvent::Settled { mode, .. }
        | LoanEvent::Cancelled { mode, .. } => mode as u8,
        _ => return None,
    };
    Some(external_hash(ExternalKind::Payment, &format!("{rail}:{reference}")))
}
