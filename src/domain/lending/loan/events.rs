//! What happened to a loan. Amounts are paise, never negative. An event has been decided: applying it refuses nothing.

use rust_decimal::Decimal;

use crate::domain::lending::terms::{Keep, Moratorium};
use crate::domain::time::Day;

/// How money came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Notes and coins.
    Cash,
    /// UPI.
    Upi,
    /// IMPS.
    Imps,
    /// NEFT.
    Neft,
    /// RTGS.
    Rtgs,
    /// By mandate.
    Nach,
    /// A cheque, once realised.
    Cheque,
}

/// What a charge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeKind {
    /// Statements, visits, whatever was disclosed.
    Fee,
    /// A mandate or cheque came back.
    Bounce,
    /// A penal charge by hand: without tax, income when it is received.
    Penal,
}

/// What a disbursal was reduced by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deducted {
    /// The lender's fees, net of tax.
    pub fee: i64,
    /// Tax on them.
    pub gst: i64,
    /// Collected for others, with their tax.
    pub third_party: i64,
}

impl Deducted {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.fee + self.gst + self.third_party
    }
}

/// What is let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiver {
    /// Interest that fell due.
    pub interest: i64,
    /// Penal charges.
    pub penal: i64,
    /// Fees, with their tax.
    pub fee: i64,
    /// The part of the fees that is tax and is given back by a credit note.
    pub gst: i64,
}

/// Other terms for what has not fallen due. What has, stays due, and the class with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPlan {
    /// Per cent a year.
    pub annual_rate_pct: Decimal,
    /// Rows from here on, those of the moratorium too.
    pub instalments: u32,
    /// The next due date, after the day of the event.
    pub first_due_on: Day,
    /// Rows without principal at the beginning.
    pub moratorium: Option<Moratorium>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoanEvent {
    /// A loan was asked for, by terms that are kept beside the events.
    Applied { principal: i64 },
    /// It was sanctioned.
    Approved,
    /// It was not.
    Declined,
    /// A key facts statement was given out.
    KfsIssued { version: u32, valid_through: Day },
    /// It was accepted.
    KfsAccepted { version: u32 },
    /// Money reached the borrower, on the value date: all of it, or a tranche, before deductions.
    Disbursed { amount: i64, deducted: Deducted, mode: Mode },
    /// It came back: the disbursal with that order number never was.
    DisbursalReturned { of: u64 },
    /// A payment came, and tax that the borrower kept back from interest.
    Received { amount: i64, tds: i64, mode: Mode },
    /// It came back, or was entered wrongly: the payment (or prepayment, or foreclosure) with that order number never
    /// was.
    ReceiptReversed { of: u64 },
    /// A payment came that pays what is due, and then principal ahead.
    Prepaid { amount: i64, keep: Keep, mode: Mode },
    /// A charge fell due. Tax on top of it.
    Charged { kind: ChargeKind, amount: i64, gst: i64 },
    /// Dues were let go.
    Waived(Waiver),
    /// Another rate, from the value date on.
    RateReset { annual_rate_pct: Decimal, keep: Keep },
    /// Other terms, from the value date on.
    Rescheduled(NewPlan),
    /// The books gave it up; the claim stays.
    WrittenOff,
    /// Something came of it nevertheless.
    Recovered { amount: i64, mode: Mode },
    /// Advance was paid back.
    Refunded { amount: i64, mode: Mode },
    /// All was paid before its time, with a charge on it and tax on that.
    Foreclosed { amount: i64, charge: i64, gst: i64, mode: Mode },
    /// The borrower left within the cooling-off days, and paid everything.
    Cancelled { amount: i64, mode: Mode },
    /// Nothing is owed any more.
    Closed,
    /// The lender took this much for all of it, and let the rest go: so much was owed beside it then.
    Settled { amount: i64, given_up: i64, mode: Mode },
    /// Nobody calls the borrower for this loan through a day. It changes nothing of what is owed.
    Paused { until: Day },
    /// The loan is watched, or is not any more.
    Watched { on: bool },
    /// Another loan of the borrower is non-performing, and so is this one.
    BorrowerFell { since: Day },
    /// All arrears of all loans of the borrower are paid.
    BorrowerRose,
}

/// An event, when it counts, and its number among those of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// When it counts.
    pub value_date: Day,
    /// Grows with every event of a loan; unique.
    pub order: u64,
    /// What happened.
    pub event: LoanEvent,
}
