//! Names of lending in the API, where the domain has none.

use crate::domain::lending::loan::contract::Across;
use crate::domain::lending::loan::events::{ChargeKind, LoanEvent, Mode};
use crate::domain::lending::loan::state::{Class, LoanStatus};

/// Where a loan is in its life.
pub const LOAN_STATUSES: [(LoanStatus, &str); 9] = [
    (LoanStatus::Unknown, "unknown"),
    (LoanStatus::Applied, "applied"),
    (LoanStatus::Approved, "approved"),
    (LoanStatus::Declined, "declined"),
    (LoanStatus::Active, "active"),
    (LoanStatus::Closed, "closed"),
    (LoanStatus::Cancelled, "cancelled"),
    (LoanStatus::WrittenOff, "written_off"),
    (LoanStatus::Settled, "settled"),
];

/// The regulator's classes, the best first.
pub const CLASSES: [(Class, &str); 5] = [
    (Class::Standard, "standard"),
    (Class::Sma0, "sma_0"),
    (Class::Sma1, "sma_1"),
    (Class::Sma2, "sma_2"),
    (Class::Npa, "npa"),
];

/// How money comes and goes.
pub const MODES: [(Mode, &str); 7] = [
    (Mode::Cash, "cash"),
    (Mode::Upi, "upi"),
    (Mode::Imps, "imps"),
    (Mode::Neft, "neft"),
    (Mode::Rtgs, "rtgs"),
    (Mode::Nach, "nach"),
    (Mode::Cheque, "cheque"),
];

/// What a charge is for.
pub const CHARGE_KINDS: [(ChargeKind, &str); 3] =
    [(ChargeKind::Fee, "fee"), (ChargeKind::Bounce, "bounce"), (ChargeKind::Penal, "penal")];

/// What comes first when a payment is used up.
pub const ACROSS: [(Across, &str); 2] = [(Across::Rows, "rows"), (Across::Parts, "parts")];

/// Kinds of events.
pub const EVENT_TYPES: [&str; 25] = [
    "application",
    "approval",
    "refusal",
    "kfs_issue",
    "kfs_acceptance",
    "disbursal",
    "disbursal_return",
    "repayment",
    "repayment_reversal",
    "prepayment",
    "charge",
    "waiver",
    "rate_reset",
    "reschedule",
    "write_off",
    "recovery",
    "refund",
    "foreclosure",
    "cancellation",
    "closure",
    "borrower_fell",
    "borrower_rose",
    "settlement",
    "pause",
    "watch",
];

/// The kind of an event.
#[must_use]
pub fn event_type(event: &LoanEvent) -> &'static str {
    let place = match event {
        LoanEvent::Applied { .. } => 0,
        LoanEvent::Approved => 1,
        LoanEvent::Declined => 2,
        LoanEvent::KfsIssued { .. } => 3,
        LoanEvent::KfsAccepted { .. } => 4,
        LoanEvent::Disbursed { .. } => 5,
        LoanEvent::DisbursalReturned { .. } => 6,
        LoanEvent::Received { .. } => 7,
        LoanEvent::ReceiptReversed { .. } => 8,
        LoanEvent::Prepaid { .. } => 9,
        LoanEvent::Charged { .. } => 10,
        LoanEvent::Waived(_) => 11,
        LoanEvent::RateReset { .. } => 12,
        LoanEvent::Rescheduled(_) => 13,
        LoanEvent::WrittenOff => 14,
        LoanEvent::Recovered { .. } => 15,
        LoanEvent::Refunded { .. } => 16,
        LoanEvent::Foreclosed { .. } => 17,
        LoanEvent::Cancelled { .. } => 18,
        LoanEvent::Closed => 19,
        LoanEvent::BorrowerFell { .. } => 20,
        LoanEvent::BorrowerRose => 21,
        LoanEvent::Settled { .. } => 22,
        LoanEvent::Paused { .. } => 23,
        LoanEvent::Watched { .. } => 24,
    };
    EVENT_TYPES[place]
}

/// The name of a value in a table that has all values.
#[must_use]
pub fn name_in<T: PartialEq>(table: &[(T, &'static str)], value: &T) -> &'static str {
    table.iter().find(|(known, _)| known == value).map_or("", |(_, name)| *name)
}

/// The value of a name.
#[must_use]
pub fn value_in<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|(_, known)| *known == name).map(|(value, _)| *value)
}

/// How the money of an event came or went.
#[must_use]
pub fn mode_of(event: &LoanEvent) -> Option<Mode> {
    match event {
        LoanEvent::Disbursed { mode, .. }
        | LoanEvent::Received { mode, .. }
        | LoanEvent::Prepaid { mode, .. }
        | LoanEvent::Recovered { mode, .. }
        | LoanEvent::Refunded { mode, .. }
        | LoanEvent::Foreclosed { mode, .. }
        | LoanEvent::Settled { mode, .. }
        | LoanEvent::Cancelled { mode, .. } => Some(*mode),
        _ => None,
    }
}

/// The amount of an event, where it is about one.
#[must_use]
pub fn amount_of(event: &LoanEvent) -> Option<i64> {
    match event {
        LoanEvent::Applied { principal } => Some(*principal),
        LoanEvent::Disbursed { amount, .. }
        | LoanEvent::Received { amount, .. }
        | LoanEvent::Prepaid { amount, .. }
        | LoanEvent::Charged { amount, .. }
        | LoanEvent::Recovered { amount, .. }
        | LoanEvent::Refunded { amount, .. }
        | LoanEvent::Foreclosed { amount, .. }
        | LoanEvent::Settled { amount, .. }
        | LoanEvent::Cancelled { amount, .. } => Some(*amount),
        LoanEvent::Waived(waiver) => Some(waiver.interest + waiver.penal + waiver.fee),
        _ => None,
    }
}

/// Whether it is a payment of the borrower.
#[must_use]
pub fn is_receipt(event: &LoanEvent) -> bool {
    matches!(
        event,
        LoanEvent::Received { .. }
            | LoanEvent::Prepaid { .. }
            | LoanEvent::Recovered { .. }
            | LoanEvent::Foreclosed { .. }
            | LoanEvent::Settled { .. }
            | LoanEvent::Cancelled { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lending::loan::events::Waiver;

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(event_type(&LoanEvent::Applied { principal: 1 }), "application");
        assert_eq!(event_type(&LoanEvent::Waived(Waiver::default())), "waiver");
        assert_eq!(event_type(&LoanEvent::BorrowerRose), "borrower_rose");
        assert_eq!(name_in(&CLASSES, &Class::Npa), "npa");
        assert_eq!(value_in(&LOAN_STATUSES, "written_off"), Some(LoanStatus::WrittenOff));
        let mut types = EVENT_TYPES.to_vec();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), EVENT_TYPES.len());
    }
}
