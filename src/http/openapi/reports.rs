//! Reports of lending in the description: what they look like, and what may be asked of them.

use crate::config::LIST_LIMIT_MAX;
use crate::domain::account::ACCOUNT_TYPES;

use super::super::lending::reports::BUCKETS;
use super::super::resources::Operation;
use super::loans::{
    CLASS_NAMES, COUNT, DPD, LOAN_EVENT, LOAN_ID, PAUSED_UNTIL, REASON, STATUS_NAMES, TYPE_NAMES, WATCHED,
};
use super::operations::{AFTER, Description, Gives, LIMIT, PLAIN, Parameter, Value, parameter};
use super::schemas::{Field, Kind, Schema, always, gives, or_null, sometimes};

const REPORT: Field = always("object", Kind::Exactly("report"), "What this is.");
const ON: Field = always("on", Kind::Date, "The day.");
const AS: Field = always("as", BASIS, "By the events that were known at its seal, or by all that are known now.");
const FROM: Field = always("from", Kind::Date, "The first day.");
const TO: Field = always("to", Kind::Date, "The last day.");

/// Which events count for a day that is over.
pub(super) const BASIS: Kind = Kind::OneOf(|| vec!["recorded", "corrected"]);
const URL: Field = always("url", Kind::Text(usize::MAX), "Where it came from.");
const HAS_MORE: Field = always("has_more", Kind::Flag, "Rows follow on the next page.");

/// The day book.
pub const DAY_BOOK: Schema = gives(
    "DayBook",
    "What was recorded about loans on a day, oldest first.",
    &[
        REPORT,
        always("report", Kind::Exactly("day_book"), "Which."),
        ON,
        AS,
        URL,
        HAS_MORE,
        always("data", Kind::List(&LOAN_EVENT, LIST_LIMIT_MAX), "The events."),
    ],
);

/// A row of the call list.
pub const DUE_ROW: Schema = gives(
    "DueRow",
    "A loan with something due.",
    &[
        LOAN_ID,
        always("customer", Kind::Id("cust_"), "The borrower."),
        always("product", Kind::Id("prod_"), "The product."),
        always("class", CLASS_NAMES, "At the end of the day before, or of the day, if that is over."),
        always("dpd", DPD, "Days past due then."),
        always("bucket", Kind::OneOf(|| BUCKETS.to_vec()), "By days past due."),
        always("principal_due", Kind::Amount, "Unpaid."),
        always("interest_due", Kind::Amount, "Unpaid."),
        always("fee_due", Kind::Amount, "Unpaid, with tax."),
        always("penal_due", Kind::Amount, "Penal charges."),
        always("total_due", Kind::Amount, "All four."),
        always("advance", Kind::Amount, "Paid and not yet used."),
        or_null("oldest_due_on", Kind::Date, "The oldest due date with something unpaid."),
        or_null("next_due_on", Kind::Date, "The next due date."),
        always("instalment", Kind::Amount, "As it is asked for."),
        PAUSED_UNTIL,
        WATCHED,
    ],
);

/// The call list.
pub const DUES: Schema = gives(
    "Dues",
    "Loans with something due on the business day or overdue; of a day that is over, at its end.",
    &[
        REPORT,
        always("report", Kind::Exactly("dues"), "Which."),
        ON,
        AS,
        URL,
        HAS_MORE,
        always("data", Kind::List(&DUE_ROW, LIST_LIMIT_MAX), "The loans."),
    ],
);

/// A non-performing loan.
pub const NPA_ROW: Schema = gives(
    "NpaRow",
    "A non-performing loan.",
    &[
        LOAN_ID,
        always("customer", Kind::Id("cust_"), "The borrower."),
        always("product", Kind::Id("prod_"), "The product."),
        always("status", STATUS_NAMES, "Where it is in its life."),
        always("dpd", DPD, "Days past due at the end of the day before."),
        or_null("npa_since", Kind::Date, "Since when."),
        always("principal_outstanding", Kind::Amount, "All principal."),
        always("total_due", Kind::Amount, "What fell due and is unpaid."),
        or_null("oldest_due_on", Kind::Date, "The oldest due date with something unpaid."),
        PAUSED_UNTIL,
        WATCHED,
    ],
);

/// The non-performing loans.
pub const NPA_LIST: Schema = gives(
    "NpaList",
    "Loans that are non-performing.",
    &[
        REPORT,
        always("report", Kind::Exactly("npa"), "Which."),
        ON,
        AS,
        URL,
        HAS_MORE,
        always("data", Kind::List(&NPA_ROW, LIST_LIMIT_MAX), "The loans."),
    ],
);

/// Sums of a portfolio.
pub const PORTFOLIO_SUMS: Schema = gives(
    "PortfolioSums",
    "Sums over active loans.",
    &[
        always("loans", COUNT, "How many."),
        always("principal_outstanding", Kind::Amount, "All principal."),
        always("total_due", Kind::Amount, "What fell due and is unpaid."),
    ],
);

/// A share of a portfolio.
pub const PORTFOLIO_RISK: Schema = gives(
    "PortfolioRisk",
    "Loans with more than so many days past due.",
    &[
        always("loans", COUNT, "How many."),
        always("principal_outstanding", Kind::Amount, "Their principal."),
        always("pct", Kind::Amount, "Of all principal outstanding."),
    ],
);

/// A part of a portfolio.
pub const PORTFOLIO_GROUP: Schema = gives(
    "PortfolioGroup",
    "Active loans of one product and class.",
    &[
        always("product", Kind::Id("prod_"), "The product."),
        always("class", CLASS_NAMES, "The class."),
        always("loans", COUNT, "How many."),
        always("principal_outstanding", Kind::Amount, "All principal."),
        always("total_due", Kind::Amount, "What fell due and is unpaid."),
    ],
);

/// The portfolio.
pub const PORTFOLIO: Schema = gives(
    "Portfolio",
    "Active loans, added up.",
    &[
        REPORT,
        always("report", Kind::Exactly("portfolio"), "Which."),
        ON,
        AS,
        always("totals", Kind::Object(&PORTFOLIO_SUMS), "Of all."),
        always("par_30", Kind::Object(&PORTFOLIO_RISK), "More than 30 days past due."),
        always("par_60", Kind::Object(&PORTFOLIO_RISK), "More than 60."),
        always("par_90", Kind::Object(&PORTFOLIO_RISK), "More than 90."),
        always("data", Kind::List(&PORTFOLIO_GROUP, usize::MAX), "By product and class."),
    ],
);

/// A row of the tax register.
pub const GST_ROW: Schema = gives(
    "GstRow",
    "A fee with tax; what a credit note gives back is negative.",
    &[
        or_null("event", Kind::Id("evt_"), "The event."),
        LOAN_ID,
        always("booked_on", Kind::Date, "The business date of its record."),
        always("type", TYPE_NAMES, "What happened."),
        always("taxable", Kind::SignedAmount, "Net of tax."),
        always("gst", Kind::SignedAmount, "Tax."),
        or_null("reason", REASON, "What for."),
        or_null("undone_by", Kind::Id("evt_"), "The event that undid it."),
    ],
);

/// The tax register.
pub const GST_REGISTER: Schema = gives(
    "GstRegister",
    "Fees with tax that were recorded on a day. A page may be short or empty and still have a next one.",
    &[
        REPORT,
        always("report", Kind::Exactly("gst"), "Which."),
        or_null("on", Kind::Date, "The day; `null` where it is a span of days."),
        AS,
        FROM,
        TO,
        URL,
        HAS_MORE,
        always("data", Kind::List(&GST_ROW, LIST_LIMIT_MAX), "The rows."),
    ],
);

const fn sum(name: &'static str, about: &'static str) -> Field {
    always(name, Kind::Object(&MOVEMENT_SUM), about)
}

/// Loans of a movement.
pub const MOVEMENT_SUM: Schema = gives(
    "MovementSum",
    "Loans, and principal of them. What late events have changed of the opening may be negative.",
    &[
        always("loans", Kind::Whole { min: i64::MIN, max: i64::MAX }, "How many."),
        always("principal", Kind::SignedAmount, "Principal."),
    ],
);

const RESTATED: Field = sum("restated", "What was not known of the opening when that day was sealed.");
const WRITTEN_OFF: Field = sum("written_off", "Principal that was given up; loans that ended by it.");
const CLOSING: Field = sum("closing", "At the end of `to`.");
const OPENING: Field =
    sum("opening", "At the end of the day before `from`, as it was sealed where `as` is `recorded`.");

/// How non-performing loans moved.
pub const NPA_MOVEMENT_ROW: Schema = gives(
    "NpaMovementRow",
    "opening + restated + new − upgraded − recovered − written_off = closing",
    &[
        or_null("product", Kind::Id("prod_"), "The product; `null` for all."),
        OPENING,
        RESTATED,
        sum("new", "Became non-performing, and what was added to those that were."),
        sum("upgraded", "Perform again, with what was outstanding then."),
        sum("recovered", "Principal that was paid; loans that ended by it."),
        WRITTEN_OFF,
        CLOSING,
    ],
);

/// How active loans moved.
pub const PORTFOLIO_MOVEMENT_ROW: Schema = gives(
    "PortfolioMovementRow",
    "opening + restated + disbursed + capitalised − received − written_off = closing",
    &[
        or_null("product", Kind::Id("prod_"), "The product; `null` for all."),
        OPENING,
        RESTATED,
        sum("disbursed", "Paid out, tranches too; loans that became active."),
        sum("capitalised", "Interest that joined the principal."),
        sum("received", "Principal that was paid; loans that ended by it."),
        WRITTEN_OFF,
        CLOSING,
    ],
);

/// The movement of non-performing loans.
pub const NPA_MOVEMENT: Schema = gives(
    "NpaMovement",
    "How non-performing loans moved through a span of days.",
    &[
        REPORT,
        always("report", Kind::Exactly("npa_movement"), "Which."),
        FROM,
        TO,
        AS,
        always("totals", Kind::Object(&NPA_MOVEMENT_ROW), "Of all."),
        always("data", Kind::List(&NPA_MOVEMENT_ROW, usize::MAX), "By product."),
    ],
);

/// The movement of the portfolio.
pub const PORTFOLIO_MOVEMENT: Schema = gives(
    "PortfolioMovement",
    "How active loans moved through a span of days.",
    &[
        REPORT,
        always("report", Kind::Exactly("portfolio_movement"), "Which."),
        FROM,
        TO,
        AS,
        always("totals", Kind::Object(&PORTFOLIO_MOVEMENT_ROW), "Of all."),
        always("data", Kind::List(&PORTFOLIO_MOVEMENT_ROW, usize::MAX), "By product."),
    ],
);

/// A line of the general ledger of a month.
pub const MONTH_LINE: Schema = gives(
    "MonthLine",
    "Income and expenses of a month, or a balance at its end, in the normal direction of the type.",
    &[
        always("currency", Kind::Currency, "The currency."),
        always("code", COUNT, "General-ledger code, 0 for none."),
        always("type", Kind::OneOf(|| ACCOUNT_TYPES.iter().map(|(_, name)| *name).collect()), "The type."),
        always("amount", Kind::SignedAmount, "How much."),
        sometimes(
            "late",
            Kind::SignedAmount,
            "Of income and expenses: what was recorded in the month for earlier ones, the closing of a year included.",
        ),
    ],
);

/// Loans of a product and class at the end of a month.
pub const MONTH_CLASS: Schema = gives(
    "MonthClass",
    "Active loans of a class.",
    &[
        always("class", CLASS_NAMES, "The class."),
        always("loans", COUNT, "How many."),
        always("principal_outstanding", Kind::Amount, "All principal."),
    ],
);

/// A product at the end of a month.
pub const MONTH_PRODUCT: Schema = gives(
    "MonthProduct",
    "Active loans of a product.",
    &[
        always("product", Kind::Id("prod_"), "The product."),
        always("provision", Kind::Amount, "What is held against losses."),
        always("classes", Kind::List(&MONTH_CLASS, 5), "By class, the best first."),
    ],
);

/// What a month came to.
pub const MONTH_END: Schema = gives(
    "MonthEnd",
    "What a month came to, as the close of its last day kept it.",
    &[
        REPORT,
        always("report", Kind::Exactly("month_end"), "Which."),
        FROM,
        TO,
        always("seq", Kind::Seq, "The entry that sealed the last day."),
        always("profit_and_loss", Kind::List(&MONTH_LINE, usize::MAX), "Income and expenses of the month."),
        always("balances", Kind::List(&MONTH_LINE, usize::MAX), "All other lines, at its end."),
        always("products", Kind::List(&MONTH_PRODUCT, usize::MAX), "Loans by product and class."),
    ],
);

const ON_PARAMETER: Parameter = parameter("on", Value::Date, "The business date when absent; no day that is to come.");
const AS_PARAMETER: Parameter = parameter(
    "as",
    Value::OneOf(|| vec!["recorded", "corrected"]),
    "By the events that were known when the day was sealed, which is what days that are over show when it is absent, or by \
     value date with all events that are known now.",
);
const FROM_PARAMETER: Parameter = parameter("from", Value::Date, "The first day, with `to` and without `on`.");
const TO_PARAMETER: Parameter = parameter("to", Value::Date, "The last day, at most a year after the first.");
const SPAN_ABOUT: &str = "Of days that are over, at most a year of them and 100,000 loans. What the borrower's other loans \
                          did to one counts as it was recorded.";

/// What is said about a report.
pub fn describe(operation: Operation) -> Description {
    let by_page: &[Parameter] = &[ON_PARAMETER, AS_PARAMETER, LIMIT, AFTER];
    let plain = Description { tag: "Reports", parameters: by_page, ..PLAIN };
    let about = "As CSV up to 100,000 rows at once.";
    let span = Description { about: SPAN_ABOUT, parameters: &[FROM_PARAMETER, TO_PARAMETER, AS_PARAMETER], ..plain };
    match operation {
        Operation::GetDayBook => Description {
            summary: "Lists what was recorded about loans on a day, or counts for it",
            about,
            gives: Gives::One(&DAY_BOOK),
            ..plain
        },
        Operation::GetDues => Description {
            summary: "Lists loans with something due: the call list",
            about,
            gives: Gives::One(&DUES),
            ..plain
        },
        Operation::GetNpaList => {
            Description { summary: "Lists non-performing loans", about, gives: Gives::One(&NPA_LIST), ..plain }
        }
        Operation::GetPortfolio => Description {
            summary: "Adds up active loans by product and class",
            about: "Of a day that is over for at most 100,000 loans.",
            parameters: &[ON_PARAMETER, AS_PARAMETER],
            gives: Gives::One(&PORTFOLIO),
            ..plain
        },
        Operation::GetMonthEnd => Description {
            summary: "Shows what a month came to",
            about: "Kept by the close of the month's last day, and never rewritten: what comes late is `late` in the month \
                    in which it was recorded.",
            parameters: const { &[parameter("month", Value::Text("YYYY-MM"), "The month.")] },
            gives: Gives::One(&MONTH_END),
            ..plain
        },
        Operation::GetNpaMovement => Description {
            summary: "Shows how non-performing loans moved through a span of days",
            gives: Gives::One(&NPA_MOVEMENT),
            ..span
        },
        Operation::GetPortfolioMovement => Description {
            summary: "Shows how active loans moved through a span of days",
            gives: Gives::One(&PORTFOLIO_MOVEMENT),
            ..span
        },
        _ => Description {
            summary: "Lists fees with tax of a day, or of a span of days",
            about,
            parameters: &[ON_PARAMETER, FROM_PARAMETER, TO_PARAMETER, AS_PARAMETER, LIMIT, AFTER],
            gives: Gives::One(&GST_REGISTER),
            ..plain
        },
    }
}
