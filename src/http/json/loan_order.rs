//! Orders about loans: asking for one, and everything that can happen to one.

use crate::config::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::domain::ids::{IdKind, Seq, parse_id};
use crate::domain::lending::loan::events::{ChargeKind, Mode, NewPlan, Waiver};
use crate::domain::lending::loan::facts::{LoanApplication, LoanTexts};
use crate::domain::lending::terms::{KEEPS, LIST_MAX};
use crate::domain::objects::JOBS_PER_COMMAND_MAX;
use crate::domain::time::Day;
use crate::engine::command::{LoanAction, LoanRequest};

use super::super::lending::names::{CHARGE_KINDS, MODES};
use super::super::problem::Outcome;
use super::super::resources::Operation;
use super::fields::Fields;
use super::job::job;
use super::loan::{charge, moratorium, rows};
use super::order::object;
use super::product::known;
use super::{Resolver, account_ref};

/// Characters of what a rail calls a payment: a UPI transaction has 35.
pub const REFERENCE_CHARS_MAX: usize = 64;

/// Looks up what bodies of lending name.
pub trait LendingResolver {
    /// The number of the customer that `cust_…` or `ext:…` names.
    ///
    /// # Errors
    /// [`crate::engine::view::Unavailable`].
    fn customer_named(&self, text: &str) -> Result<Option<u32>, crate::engine::view::Unavailable>;

    /// The number of the product that `prod_…` or `ext:…` names.
    ///
    /// # Errors
    /// [`crate::engine::view::Unavailable`].
    fn product_named(&self, text: &str) -> Result<Option<u32>, crate::engine::view::Unavailable>;
}

/// The body of `POST /v1/loans`. A customer or product that does not exist is number 0, for the books to refuse.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`, and what the resolver meets.
pub fn parse_application(body: &[u8], resolver: &impl LendingResolver) -> Outcome<LoanApplication> {
    let (customer, product, application) = object(body, |fields| {
        let customer = fields.filled_text("customer", 256).into_owned();
        let product = fields.filled_text("product", 256).into_owned();
        let has_charges = fields.has("charges");
        let charges = fields.objects("charges", LIST_MAX, charge);
        let application = LoanApplication {
            customer: 0,
            product: 0,
            product_version: 0,
            principal: fields.required_paise("principal"),
            instalments: rows(fields, "instalments"),
            annual_rate_pct: fields.decimal("annual_rate_pct"),
            first_due_on: fields.day("first_due_on"),
            charges: has_charges.then_some(charges),
            external_id: fields.external_id("external_id"),
            metadata: fields.metadata("metadata").unwrap_or_default(),
        };
        (customer, product, application)
    })?;
    let customer = resolver.customer_named(&customer)?.unwrap_or(0);
    let product = resolver.product_named(&product)?.unwrap_or(0);
    Ok(LoanApplication { customer, product, ..application })
}

/// What a body asks for, before its account is looked up.
struct Order {
    request: LoanRequest,
    value_date: Option<Day>,
    account: Option<String>,
    texts: LoanTexts,
}

impl Order {
    fn of(request: LoanRequest) -> Order {
        Order { request, value_date: None, account: None, texts: LoanTexts::default() }
    }
}

/// The body of an order about a loan, which the path names. `event` is the event that the path names, if one.
///
/// # Errors
/// As [`parse_application`].
pub fn parse_loan_order(
    operation: Operation,
    (loan, event): (u32, Seq),
    body: &[u8],
    resolver: &impl Resolver,
) -> Outcome<LoanAction> {
    let (Order { request, value_date, account, texts }, jobs) =
        object(body, |fields| (order_of(operation, event, fields), fields.objects("jobs", JOBS_PER_COMMAND_MAX, job)))?;
    let settlement = match account {
        None => None,
        Some(text) => Some(known(account_ref(&text, resolver)?)),
    };
    Ok(LoanAction { loan, request, value_date, settlement, texts, jobs })
}

fn order_of(operation: Operation, event: Seq, fields: &mut Fields<'_, '_>) -> Order {
    match operation {
        Operation::DisburseLoan
        | Operation::CreateRepayment
        | Operation::CreatePrepayment
        | Operation::ForecloseLoan
        | Operation::CancelLoan
        | Operation::RecoverLoan
        | Operation::SettleLoan
        | Operation::RefundAdvance => money(operation, fields),
        Operation::CreateLoanCharge | Operation::WaiveDues | Operation::RescheduleLoan | Operation::ResetRate => {
            change(operation, fields)
        }
        _ => decision(operation, event, fields),
    }
}

/// Orders that somebody only says.
fn decision(operation: Operation, event: Seq, fields: &mut Fields<'_, '_>) -> Order {
    match operation {
        Operation::ApproveLoan => Order::of(LoanRequest::Approve),
        Operation::DeclineLoan => because(Order::of(LoanRequest::Decline), fields),
        Operation::IssueKfs => Order::of(LoanRequest::IssueKfs),
        Operation::AcceptKfs => {
            fields.require("version");
            let version = fields.whole("version", 1..=i64::from(u32::MAX)).unwrap_or_default();
            Order::of(LoanRequest::AcceptKfs { version: u32::try_from(version).unwrap_or_default() })
        }
        Operation::ReturnDisbursal => {
            let named = fields.text("disbursal", 64);
            let of = named.map(|text| parse_id(IdKind::LoanEvent, &text).map_or(Seq::NONE, Seq));
            let mut order = Order::of(LoanRequest::ReturnDisbursal { of });
            order.texts.reason = text(fields, "reason");
            order
        }
        Operation::ReverseRepayment => because(Order::of(LoanRequest::ReverseReceipt { of: event }), fields),
        Operation::WriteOffLoan => because(Order::of(LoanRequest::WriteOff), fields),
        Operation::PauseLoan => {
            let until = fields.required_day("until");
            because(Order::of(LoanRequest::Pause { until }), fields)
        }
        Operation::WatchLoan => {
            let on = !fields.has("on") || fields.flag("on");
            because(Order::of(LoanRequest::Watch { on }), fields)
        }
        _ => Order::of(LoanRequest::Close),
    }
}

/// Orders about money that comes or goes.
fn money(operation: Operation, fields: &mut Fields<'_, '_>) -> Order {
    let is_out = matches!(operation, Operation::DisburseLoan | Operation::RefundAdvance);
    let account =
        fields.text(if is_out { "from_account" } else { "to_account" }, 256).map(std::borrow::Cow::into_owned);
    let (mode, reference) = paid_by(operation, fields);
    let value_date = match operation {
        Operation::DisburseLoan => Some(fields.required_day("credited_on")),
        Operation::CreateRepayment | Operation::CreatePrepayment | Operation::ForecloseLoan | Operation::SettleLoan => {
            Some(fields.required_day("value_date"))
        }
        _ => fields.day("value_date"),
    };
    let request = match operation {
        Operation::DisburseLoan => LoanRequest::Disburse { amount: fields.paise("amount"), mode },
        Operation::CreateRepayment => LoanRequest::Receive {
            amount: fields.required_paise("amount"),
            tds: fields.paise("tds").unwrap_or_default(),
            mode,
        },
        Operation::CreatePrepayment => {
            fields.require("keep");
            let keep = fields.name_of("keep", &KEEPS).unwrap_or_default();
            LoanRequest::Prepay { amount: fields.required_paise("amount"), keep, mode }
        }
        Operation::ForecloseLoan => LoanRequest::Foreclose { amount: fields.paise("amount"), mode },
        Operation::CancelLoan => LoanRequest::Cancel { amount: fields.paise("amount"), mode },
        Operation::RecoverLoan => LoanRequest::Recover { amount: fields.required_paise("amount"), mode },
        Operation::SettleLoan => LoanRequest::Settle { amount: fields.required_paise("amount"), mode },
        _ => LoanRequest::Refund { amount: fields.required_paise("amount"), mode },
    };
    let order = Order { request, value_date, account, texts: LoanTexts { reference, reason: None } };
    if operation == Operation::SettleLoan { because(order, fields) } else { order }
}

/// How money comes or goes, and what the rail calls it. Nobody can find a payment again that has no name, so each
/// needs one but cash; where no mode is named at all it is a transfer between banks.
fn paid_by(operation: Operation, fields: &mut Fields<'_, '_>) -> (Mode, Option<Box<str>>) {
    let is_named = fields.has("mode");
    if matches!(
        operation,
        Operation::CreateRepayment | Operation::RecoverLoan | Operation::RefundAdvance | Operation::SettleLoan
    ) {
        fields.require("mode");
    }
    let mode = fields.name_of("mode", &MODES).unwrap_or(Mode::Neft);
    let reference = fields.text("reference", REFERENCE_CHARS_MAX);
    let is_asked_for = is_named || matches!(operation, Operation::DisburseLoan | Operation::ForecloseLoan);
    match reference {
        Some(text) if text.trim().is_empty() => {
            fields.refuse("reference", "invalid_value", "`reference` is empty.");
            (mode, None)
        }
        None if is_asked_for && mode != Mode::Cash => {
            let detail = "`reference` is required for every mode but cash: what the rail calls the payment.";
            fields.refuse("reference", "missing", detail);
            (mode, None)
        }
        reference => (mode, reference.map(std::borrow::Cow::into)),
    }
}

/// Orders that change what is owed.
fn change(operation: Operation, fields: &mut Fields<'_, '_>) -> Order {
    match operation {
        Operation::CreateLoanCharge => {
            let name: Box<str> = fields.filled_text("name", NAME_CHARS_MAX).into();
            let kind = fields.name_of("kind", &CHARGE_KINDS).unwrap_or(ChargeKind::Fee);
            let amount = fields.required_paise("amount");
            let value_date = fields.day("value_date");
            let texts = LoanTexts { reference: None, reason: Some(name) };
            Order { value_date, texts, ..Order::of(LoanRequest::Charge { kind, amount }) }
        }
        Operation::WaiveDues => {
            let mut part = |name| fields.paise(name).unwrap_or_default();
            let waiver =
                Waiver { interest: part("interest"), penal: part("penal"), fee: part("fee"), gst: part("gst") };
            let value_date = fields.day("value_date");
            because(Order { value_date, ..Order::of(LoanRequest::Waive(waiver)) }, fields)
        }
        Operation::RescheduleLoan => {
            fields.require("annual_rate_pct");
            fields.require("instalments");
            let plan = NewPlan {
                annual_rate_pct: fields.decimal("annual_rate_pct").unwrap_or_default(),
                instalments: rows(fields, "instalments").unwrap_or_default(),
                first_due_on: fields.required_day("first_due_on"),
                moratorium: fields.object("moratorium", moratorium).filter(|moratorium| moratorium.periods > 0),
            };
            Order { value_date: fields.day("value_date"), ..Order::of(LoanRequest::Reschedule(plan)) }
        }
        _ => {
            fields.require("annual_rate_pct");
            let annual_rate_pct = fields.decimal("annual_rate_pct").unwrap_or_default();
            let keep = fields.name_of("keep", &KEEPS).unwrap_or_default();
            let value_date = fields.day("value_date");
            Order { value_date, ..Order::of(LoanRequest::ResetRate { annual_rate_pct, keep }) }
        }
    }
}

fn text(fields: &mut Fields<'_, '_>, name: &str) -> Option<Box<str>> {
    fields.text(name, DESCRIPTION_CHARS_MAX).filter(|text| !text.is_empty()).map(std::borrow::Cow::into)
}

fn because(mut order: Order, fields: &mut Fields<'_, '_>) -> Order {
    order.texts.reason = Some(fields.filled_text("reason", DESCRIPTION_CHARS_MAX).into());
    order
}

/// The body of `POST /v1/business_day/open`: the day, and why it is another than today.
///
/// # Errors
/// As [`parse_application`].
pub fn parse_day_opening(body: &[u8]) -> Outcome<(Day, Option<Box<str>>)> {
    object(body, |fields| (fields.required_day("date"), text(fields, "reason")))
}
