//! What happened to a loan, as JSON: the receipt of a payment is one of them.

use serde::Serialize;

use crate::domain::ids::{IdKind, account_id, format_id};
use crate::domain::lending::loan::allocation::Split;
use crate::domain::lending::loan::events::{Deducted, LoanEvent, NewPlan, Waiver};
use crate::domain::lending::terms::{KEEPS, MORATORIUM_INTERESTS, Moratorium};
use crate::engine::view::{LoanEventView, LoanView};

use super::super::lending::names::{CHARGE_KINDS, MODES, amount_of, event_type, mode_of, name_in};
use super::loan_view::{ShownLoan, loan_object};
use super::product::plain;
use super::{moment_text, rupees_text};

/// An event of a loan.
#[derive(Serialize)]
pub(in crate::http) struct ShownEvent<'a> {
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loan: Option<String>,
    r#type: &'static str,
    value_date: String,
    booked_on: String,
    recorded_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    amount: Option<String>,
    mode: Option<&'static str>,
    reference: Option<&'a str>,
    reason: Option<&'a str>,
    split: ShownSplit,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(flatten)]
    more: More,
    #[serde(skip_serializing_if = "Option::is_none")]
    loan_after: Option<ShownLoan<'a>>,
}

/// What a payment paid.
#[derive(Serialize)]
pub(in crate::http) struct ShownSplit {
    penal: String,
    fee: String,
    interest: String,
    principal: String,
    prepaid: String,
    advance: String,
}

/// What only some kinds have.
#[derive(Default, Serialize)]
struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    undoes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tds: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gst: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deducted: Option<ShownDeducted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waived: Option<ShownWaiver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annual_rate_pct: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instalments: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_due_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moratorium: Option<ShownMoratorium>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_through: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_up: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<bool>,
}

#[derive(Serialize)]
struct ShownDeducted {
    fee: String,
    gst: String,
    third_party: String,
}

#[derive(Serialize)]
struct ShownWaiver {
    interest: String,
    penal: String,
    fee: String,
    gst: String,
}

#[derive(Serialize)]
struct ShownMoratorium {
    periods: u32,
    interest: &'static str,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    url: &'a str,
    has_more: bool,
    data: Vec<ShownEvent<'a>>,
}

/// An event, and the loan after it.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn loan_event(event: &LoanEventView, after: &LoanView) -> Result<Vec<u8>, serde_json::Error> {
    let loan_after = Some(loan_object(after));
    serde_json::to_vec(&ShownEvent { loan_after, ..event_object(event) })
}

/// A page of events, in the order of the rows.
///
/// # Errors
/// As [`loan_event`].
pub fn loan_event_page(rows: &[LoanEventView], has_more: bool, url: &str) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&List { object: "list", url, has_more, data: rows.iter().map(event_object).collect() })
}

/// An event alone.
pub(in crate::http) fn event_object(event: &LoanEventView) -> ShownEvent<'_> {
    let posted = &event.posted;
    let texts = posted.texts.as_deref();
    ShownEvent {
        object: "loan_event",
        id: event.seq.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
        dry_run: event.seq.is_none().then_some(true),
        loan: (posted.loan > 0).then(|| format_id(IdKind::Loan, u64::from(posted.loan))),
        r#type: event_type(&posted.event),
        value_date: posted.value_date.to_string(),
        booked_on: event.booked_on.to_string(),
        recorded_at: moment_text(event.recorded_at),
        by: (posted.by > 0).then(|| format_id(IdKind::ApiKey, posted.by)),
        amount: amount_of(&posted.event).map(rupees_text),
        mode: mode_of(&posted.event).map(|mode| name_in(&MODES, &mode)),
        reference: texts.and_then(|texts| texts.reference.as_deref()),
        reason: texts.and_then(|texts| texts.reason.as_deref()),
        split: split(&event.split),
        undone_by: event.undone_by.map(|seq| format_id(IdKind::LoanEvent, seq.0)),
        account: posted.settlement.map(account_id),
        more: more(&posted.event),
        loan_after: None,
    }
}

/// What a payment paid.
pub(in crate::http) fn split(of: &Split) -> ShownSplit {
    ShownSplit {
        penal: rupees_text(of.penal),
        fee: rupees_text(of.fee),
        interest: rupees_text(of.interest),
        principal: rupees_text(of.principal),
        prepaid: rupees_text(of.prepaid),
        advance: rupees_text(of.advance),
    }
}

fn more(event: &LoanEvent) -> More {
    let evt = |order: u64| Some(format_id(IdKind::LoanEvent, order));
    let bare = More::default();
    match *event {
        LoanEvent::KfsIssued { version, valid_through } => {
            More { version: Some(version), valid_through: Some(valid_through.to_string()), ..bare }
        }
        LoanEvent::KfsAccepted { version } => More { version: Some(version), ..bare },
        LoanEvent::Disbursed { amount, deducted, .. } => {
            More { net: Some(rupees_text(amount - deducted.total())), deducted: Some(shown(deducted)), ..bare }
        }
        LoanEvent::DisbursalReturned { of } | LoanEvent::ReceiptReversed { of } => More { undoes: evt(of), ..bare },
        LoanEvent::Received { tds, .. } if tds > 0 => More { tds: Some(rupees_text(tds)), ..bare },
        LoanEvent::Prepaid { keep, .. } => More { keep: Some(name_in(&KEEPS, &keep)), ..bare },
        LoanEvent::Charged { kind, gst, .. } => {
            More { kind: Some(name_in(&CHARGE_KINDS, &kind)), gst: Some(rupees_text(gst)), ..bare }
        }
        LoanEvent::Waived(Waiver { interest, penal, fee, gst }) => {
            let [interest, penal, fee, gst] = [interest, penal, fee, gst].map(rupees_text);
            More { waived: Some(ShownWaiver { interest, penal, fee, gst }), ..bare }
        }
        LoanEvent::RateReset { annual_rate_pct, keep } => {
            More { annual_rate_pct: Some(plain(annual_rate_pct)), keep: Some(name_in(&KEEPS, &keep)), ..bare }
        }
        LoanEvent::Rescheduled(NewPlan { annual_rate_pct, instalments, first_due_on, moratorium }) => More {
            annual_rate_pct: Some(plain(annual_rate_pct)),
            instalments: Some(instalments),
            first_due_on: Some(first_due_on.to_string()),
            moratorium: moratorium.map(|Moratorium { periods, interest }| ShownMoratorium {
                periods,
                interest: name_in(&MORATORIUM_INTERESTS, &interest),
            }),
            ..bare
        },
        LoanEvent::Foreclosed { charge, gst, .. } => {
            More { charge: Some(rupees_text(charge)), gst: Some(rupees_text(gst)), ..bare }
        }
        LoanEvent::Settled { given_up, .. } => More { given_up: Some(rupees_text(given_up)), ..bare },
        LoanEvent::Paused { until } => More { until: Some(until.to_string()), ..bare },
        LoanEvent::Watched { on } => More { on: Some(on), ..bare },
        LoanEvent::BorrowerFell { since } => More { since: Some(since.to_string()), ..bare },
        _ => bare,
    }
}

fn shown(deducted: Deducted) -> ShownDeducted {
    let Deducted { fee, gst, third_party } = deducted;
    ShownDeducted { fee: rupees_text(fee), gst: rupees_text(gst), third_party: rupees_text(third_party) }
}
