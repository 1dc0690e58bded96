//! Objects of lending, field by field: what the routes take and give.

use crate::config::NAME_CHARS_MAX;
use crate::domain::lending::customer::CUSTOMER_KINDS;
use crate::domain::lending::day_count::DAY_COUNTS;
use crate::domain::lending::due_dates::{FREQUENCIES, HOLIDAY_SHIFTS};
use crate::domain::lending::rounding::MODES;
use crate::domain::lending::terms::{
    BROKEN_PERIODS, HOLIDAYS_MAX, KEEPS, LIST_MAX, METHODS, MORATORIUM_INTERESTS, PAYEES, ROWS_MAX,
};
use crate::domain::reject::RejectCode as R;

use super::super::problem::Code;
use super::super::resources::Operation;
use super::operations::{AFTER, DRY_RUN, Description, Gives, LIMIT, PLAIN};
use super::schemas::{Kind, Schema, always, gives, or_null, sometimes, takes};

pub(super) const ROW: Kind = Kind::Whole { min: 1, max: ROWS_MAX as i64 };
pub(super) const KEEP: Kind = Kind::OneOf(|| KEEPS.iter().map(|(_, name)| *name).collect());
const PAYEE: Kind = Kind::OneOf(|| PAYEES.iter().map(|(_, name)| *name).collect());

const KINDS: Kind = Kind::OneOf(|| CUSTOMER_KINDS.iter().map(|(_, name)| *name).collect());

/// The body of `POST /v1/customers`.
pub const NEW_CUSTOMER: Schema = takes(
    "NewCustomer",
    "A customer to make.",
    &[
        always("kind", KINDS, "A person, or a firm, company, trust or other body."),
        always("name", Kind::Filled(NAME_CHARS_MAX), "As on the proof of identity."),
        sometimes("external_id", Kind::ExternalId, "Your own id, unique for ever among customers."),
        sometimes("born_on", Kind::Date, "Birth, or incorporation."),
        sometimes("phone", Kind::Text(20), "Telephone number."),
        sometimes("email", Kind::Text(254), "Address for mail."),
        sometimes("address", Kind::Text(500), "Postal address."),
        sometimes("pan", Kind::Text(32), "Permanent account number; kept sealed."),
        sometimes("bank_account", Kind::Text(32), "Number of the bank account, 9 to 18 digits; kept sealed."),
        sometimes("ifsc", Kind::Text(32), "Code of that account's branch."),
        sometimes("metadata", Kind::Metadata, "Your own pairs."),
    ],
);

/// The body of `PATCH /v1/customers/{id}`.
pub const CUSTOMER_CHANGE: Schema = Schema { needs_one: true, ..CHANGE };

const CHANGE: Schema = takes(
    "CustomerChange",
    "What to change of a customer; at least one field. `null` removes what is not needed.",
    &[
        sometimes("name", Kind::Filled(NAME_CHARS_MAX), "Never `null`."),
        sometimes("born_on", Kind::Date, "Birth, or incorporation."),
        sometimes("phone", Kind::Text(20), "Telephone number."),
        sometimes("email", Kind::Text(254), "Address for mail."),
        sometimes("address", Kind::Text(500), "Postal address."),
        sometimes("pan", Kind::Text(32), "Permanent account number; kept sealed."),
        sometimes("bank_account", Kind::Text(32), "Number of the bank account, 9 to 18 digits; kept sealed."),
        sometimes("ifsc", Kind::Text(32), "Code of that account's branch."),
        sometimes("metadata", Kind::Metadata, "Replaces all pairs; `null` removes them."),
    ],
);

/// A customer.
pub const CUSTOMER: Schema = gives(
    "Customer",
    "Who borrows. A cashier sees the last four characters of what is secret.",
    &[
        always("object", Kind::Exactly("customer"), "What this is."),
        sometimes("id", Kind::Id("cust_"), "Its name; absent in a dry run."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        or_null("external_id", Kind::ExternalId, "Your own id."),
        always("kind", KINDS, "A person, or a firm, company, trust or other body."),
        always("name", Kind::Filled(NAME_CHARS_MAX), "As on the proof of identity."),
        or_null("born_on", Kind::Date, "Birth, or incorporation."),
        or_null("phone", Kind::Text(20), "Telephone number."),
        or_null("email", Kind::Text(254), "Address for mail."),
        or_null("address", Kind::Text(500), "Postal address."),
        or_null("pan", Kind::Text(32), "Permanent account number."),
        or_null("bank_account", Kind::Text(32), "Number of the bank account."),
        or_null("ifsc", Kind::Text(32), "Code of that account's branch."),
        always("metadata", Kind::Metadata, "Your own pairs."),
        always("version", Kind::Whole { min: 1, max: u32::MAX as i64 }, "Changes, counted from 1."),
        always("created_at", Kind::Instant, "When it was made."),
    ],
);

/// How figures are rounded.
pub const ROUNDING: Schema = takes(
    "Rounding",
    "How figures are rounded.",
    &[
        sometimes(
            "instalment",
            Kind::OneOf(|| vec!["none", "0.01", "1", "10"]),
            "Multiple of the instalment, with equal_principal of its share of principal; 0.01 when absent.",
        ),
        sometimes(
            "interest",
            Kind::OneOf(|| vec!["none", "0.01", "1"]),
            "Multiple of each interest; 0.01 when absent.",
        ),
        sometimes(
            "mode",
            Kind::OneOf(|| MODES.iter().map(|(_, name)| *name).collect()),
            "Which way both go; half_up when absent.",
        ),
        sometimes(
            "display",
            Kind::OneOf(|| vec!["0.01", "1"]),
            "Multiple of what is shown, halves up; 0.01 when absent.",
        ),
    ],
);

/// Rows without principal.
pub const MORATORIUM: Schema = takes(
    "Moratorium",
    "Rows without principal at the beginning.",
    &[
        always("periods", Kind::Whole { min: 0, max: ROWS_MAX as i64 }, "How many of the instalments."),
        sometimes(
            "interest",
            Kind::OneOf(|| MORATORIUM_INTERESTS.iter().map(|(_, name)| *name).collect()),
            "Paid as it falls due, gathered until the first instalment, or added to the principal; serviced when absent.",
        ),
    ],
);

/// A step of the instalment.
pub const STEP: Schema = takes(
    "Step",
    "From a row on, another part of the base instalment.",
    &[
        always("from", ROW, "The first such row."),
        always("instalment_pct", Kind::Amount, "Per cent of the base, 0.01 to 10000."),
    ],
);

/// Another rate.
pub const RATE_RESET: Schema = takes(
    "RateReset",
    "Another rate from a day on.",
    &[
        always("on", Kind::Date, "The first day with it."),
        always("annual_rate_pct", Kind::Amount, "Per cent a year, 0 to 10000."),
        sometimes("keep", KEEP, "What stays as it is; term when absent."),
    ],
);

/// Principal paid ahead.
pub const PREPAYMENT: Schema = takes(
    "Prepayment",
    "Principal paid ahead, beside the instalment of that day.",
    &[
        always("on", Kind::Date, "When."),
        always("amount", Kind::Amount, "How much."),
        sometimes("keep", KEEP, "What stays as it is; term when absent."),
    ],
);

/// A charge.
pub const LOAN_CHARGE: Schema = takes(
    "LoanCharge",
    "What is taken from the disbursal.",
    &[
        always("name", Kind::Filled(NAME_CHARS_MAX), "What for."),
        always("amount", Kind::Amount, "Net of tax."),
        sometimes("payee", PAYEE, "Who gets it; the lender when absent."),
        sometimes("gst_pct", Kind::Amount, "Tax on it, per cent, 0 to 100; 0 when absent."),
    ],
);

/// The body of `POST /v1/loan_calculations`.
pub const NEW_LOAN_CALCULATION: Schema = takes(
    "NewLoanCalculation",
    "Terms of a loan.",
    &[
        always("principal", Kind::Amount, "What is lent."),
        always("annual_rate_pct", Kind::Amount, "Per cent a year, 0 to 10000."),
        sometimes("instalments", ROW, "Rows: moratorium and balloon rows too. Absent: solved from instalment_fixed."),
        sometimes(
            "frequency",
            Kind::OneOf(|| FREQUENCIES.iter().map(|(_, name)| *name).collect()),
            "Monthly when absent.",
        ),
        sometimes("method", Kind::OneOf(|| METHODS.iter().map(|(_, name)| *name).collect()), "Reducing when absent."),
        sometimes(
            "day_count",
            Kind::OneOf(|| DAY_COUNTS.iter().map(|(_, name)| *name).collect()),
            "30/360 (a whole period is its share of a year) when absent.",
        ),
        sometimes("disbursed_on", Kind::Date, "Interest runs from here. Without it rows have no dates."),
        sometimes("first_due_on", Kind::Date, "One period after the disbursal when absent."),
        sometimes(
            "broken_period",
            Kind::OneOf(|| BROKEN_PERIODS.iter().map(|(_, name)| *name).collect()),
            "How a part of a period counts; the day count's own way when absent, month_fraction with 30/360.",
        ),
        sometimes("rounding", Kind::Object(&ROUNDING), "To 0.01 everywhere when absent."),
        sometimes("instalment_fixed", Kind::Amount, "The instalment by contract."),
        sometimes("principal_fixed", Kind::Amount, "The share of principal by contract, with equal_principal."),
        sometimes("balloon", Kind::Amount, "Principal of the last row, a row of its own."),
        sometimes("moratorium", Kind::Object(&MORATORIUM), "Rows without principal."),
        sometimes("steps", Kind::List(&STEP, LIST_MAX), "Steps of the instalment, by row."),
        sometimes("rate_resets", Kind::List(&RATE_RESET, LIST_MAX), "Other rates, by date."),
        sometimes("prepayments", Kind::List(&PREPAYMENT, LIST_MAX), "Principal paid ahead, by date."),
        sometimes("foreclose_on", Kind::Date, "All is paid on this day, after what fell due up to it."),
        sometimes("holidays", Kind::Dates(HOLIDAYS_MAX), "Days on which nothing falls due."),
        sometimes(
            "holiday_shift",
            Kind::OneOf(|| HOLIDAY_SHIFTS.iter().map(|(_, name)| *name).collect()),
            "Where a due date on a holiday goes; next when absent.",
        ),
        sometimes("charges", Kind::List(&LOAN_CHARGE, LIST_MAX), "Taken from the disbursal."),
        sometimes("apr_with_gst", Kind::Flag, "The APR counts the tax on charges; true when absent."),
    ],
);

/// A charge as it is shown.
pub const CHARGE_SHOWN: Schema = gives(
    "LoanChargeShown",
    "A charge with its tax.",
    &[
        always("name", Kind::Text(NAME_CHARS_MAX), "What for."),
        always("amount", Kind::Amount, "Net of tax."),
        always("gst", Kind::Amount, "Tax on it."),
        always("total", Kind::Amount, "With tax."),
        always("payee", PAYEE, "Who gets it."),
    ],
);

/// A row of a schedule.
pub const SCHEDULE_ROW: Schema = gives(
    "ScheduleRow",
    "What falls due on a day.",
    &[
        always("n", Kind::Whole { min: 1, max: ROWS_MAX as i64 + 1 }, "From 1."),
        sometimes("due_on", Kind::Date, "When, where the terms have dates."),
        always("opening", Kind::Amount, "Principal before."),
        always("principal", Kind::SignedAmount, "Principal in it; negative where interest joins the principal."),
        always("interest", Kind::Amount, "Interest in it."),
        always("instalment", Kind::Amount, "What is to be paid: principal and interest."),
        sometimes("prepaid", Kind::Amount, "Paid ahead in this period."),
        always("closing", Kind::Amount, "Principal after."),
    ],
);

/// What a loan would be.
pub const LOAN_CALCULATION: Schema = gives(
    "LoanCalculation",
    "What a loan would be.",
    &[
        always("object", Kind::Exactly("loan_calculation"), "What this is."),
        always("instalment", Kind::Amount, "The base instalment; with equal_principal that of its first row."),
        always("instalment_exact", Kind::Amount, "The same before rounding, ten decimals."),
        always("instalments", Kind::Whole { min: 0, max: ROWS_MAX as i64 + 1 }, "Rows."),
        always("total_interest", Kind::Amount, "Of all rows."),
        always("total_payable", Kind::Amount, "All that is paid."),
        always("net_disbursed", Kind::Amount, "The principal without charges and their tax."),
        always("apr_pct", Kind::SignedAmount, "Annual percentage rate of the key facts statement."),
        always("apr_method", Kind::Text(usize::MAX), "How it was worked out."),
        sometimes("effective_rate_pct", Kind::SignedAmount, "The same payments' compounded rate in a year."),
        sometimes("foreclosure_amount", Kind::Amount, "What ends the loan on foreclose_on."),
        sometimes("charges", Kind::List(&CHARGE_SHOWN, LIST_MAX), "Charges with their tax."),
        always("schedule", Kind::List(&SCHEDULE_ROW, ROWS_MAX as usize + 1), "The rows."),
    ],
);

/// What is said about an operation of lending.
pub fn describe(operation: Operation) -> Description {
    let plain = Description { tag: "Lending", gives: Gives::One(&CUSTOMER), ..PLAIN };
    let of_one = Description { also: &[Code::CustomerNotFoundInPath], ..plain };
    match operation {
        Operation::CreateCustomer => Description {
            summary: "Makes a customer",
            about: "PAN and bank account are sealed before they reach the books.",
            parameters: &[DRY_RUN],
            body: Some(&NEW_CUSTOMER),
            statuses: &[200, 201],
            refusals: &[R::ExternalIdExists],
            ..plain
        },
        Operation::UpdateCustomer => Description {
            summary: "Changes a customer",
            about: "`If-Match` with the entity tag that was read refuses a change of what changed meanwhile.",
            parameters: &[DRY_RUN],
            body: Some(&CUSTOMER_CHANGE),
            refusals: &[R::VersionMismatch],
            also: &[Code::CustomerNotFoundInPath, Code::PreconditionMalformed],
            ..of_one
        },
        Operation::GetCustomer => Description { summary: "Shows a customer", ..of_one },
        Operation::CalculateLoan => Description {
            summary: "Works a loan out",
            about: "Terms in; schedule, totals and the figures of a key facts statement out. The books are neither asked nor \
                    changed.",
            body: Some(&NEW_LOAN_CALCULATION),
            gives: Gives::One(&LOAN_CALCULATION),
            ..plain
        },
        _ => Description {
            summary: "Lists customers, newest first",
            parameters: &[LIMIT, AFTER],
            gives: Gives::Page(&CUSTOMER),
            ..plain
        },
    }
}
