//! What the routes of loan products, loans, the business day and reports give, field by field.

use crate::config::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::domain::lending::terms::ROWS_MAX;

use super::super::json::REFERENCE_CHARS_MAX;
use super::super::lending::names::{CLASSES, EVENT_TYPES, LOAN_STATUSES};
use super::lending::{KEEP, MORATORIUM, SCHEDULE_ROW};
use super::loan_bodies::{ACROSS_NAMES, CHARGE_KIND, KFS_DAYS, MODE_NAMES, ORDER, PRODUCT_ACCOUNTS, PRODUCT_TERMS};
use super::schemas::{Field, Kind, Schema, always, gives, or_null, sometimes};

const NUMBER: Kind = Kind::Whole { min: 1, max: u32::MAX as i64 };
pub(super) const COUNT: Kind = Kind::Whole { min: 0, max: u32::MAX as i64 };
pub(super) const DPD: Kind = Kind::Whole { min: 0, max: u16::MAX as i64 };
pub(super) const REASON: Kind = Kind::Text(DESCRIPTION_CHARS_MAX);
pub(super) const STATUS_NAMES: Kind = Kind::OneOf(|| LOAN_STATUSES.iter().map(|(_, name)| *name).collect());
pub(super) const CLASS_NAMES: Kind = Kind::OneOf(|| CLASSES.iter().map(|(_, name)| *name).collect());
pub(super) const TYPE_NAMES: Kind = Kind::OneOf(|| EVENT_TYPES.to_vec());

pub(super) const PAUSED_UNTIL: Field =
    or_null("paused_until", Kind::Date, "Nobody calls the borrower for it through this day.");
pub(super) const WATCHED: Field = always("watched", Kind::Flag, "Somebody wants to see it in lists.");
pub(super) const LOAN_ID: Field = always("loan", Kind::Id("loan_"), "The loan.");

/// A loan product.
pub const LOAN_PRODUCT: Schema = gives(
    "LoanProduct",
    "What loans are like, by versions.",
    &[
        always("object", Kind::Exactly("loan_product"), "What this is."),
        sometimes("id", Kind::Id("prod_"), "Its name; absent in a dry run."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        or_null("external_id", Kind::ExternalId, "Your own id."),
        always("name", Kind::Filled(NAME_CHARS_MAX), "For people."),
        always("terms", Kind::Object(&PRODUCT_TERMS), "Terms of its loans, what was left out filled in."),
        always("appropriation", ORDER, "In which order a payment is used up."),
        always("appropriation_across", ACROSS_NAMES, "What comes first: the oldest due date, or the part."),
        sometimes("accounts", Kind::Object(&PRODUCT_ACCOUNTS), "Its accounts by role; absent in a dry run."),
        always("principal_min", Kind::Amount, "Least principal of a loan."),
        always("principal_max", Kind::Amount, "Greatest principal of a loan."),
        always("kfs_valid_days", KFS_DAYS, "Days for which a key facts statement holds."),
        always("is_secured", Kind::Flag, "Loans of it are secured."),
        always("disbursal_by_another", Kind::Flag, "Whoever asks for a loan of it does not pay it out."),
        or_null("year_end_account", Kind::Id("acct_"), "Where income and expenses go when a financial year is over."),
        always("metadata", Kind::Metadata, "Your own pairs."),
        always("version", NUMBER, "Changes, counted from 1."),
        always("created_at", Kind::Instant, "When it was made."),
    ],
);

/// The key facts statement of a loan, in short.
pub const LOAN_KFS: Schema = gives(
    "LoanKfs",
    "The last key facts statement.",
    &[
        always("version", NUMBER, "From 1."),
        always("accepted", Kind::Flag, "By the borrower."),
        always("valid_through", Kind::Date, "The last day on which it holds."),
    ],
);

/// What was paid on a loan since the beginning.
pub const LOAN_TOTALS: Schema = gives(
    "LoanTotals",
    "Sums since the beginning.",
    &[
        always("disbursed", Kind::Amount, "Paid out, before deductions."),
        always("received", Kind::Amount, "Came in, tax that was kept back too."),
        always("principal", Kind::Amount, "Of it, principal."),
        always("interest", Kind::Amount, "Of it, interest."),
        always("fee", Kind::Amount, "Of it, fees with tax."),
        always("penal", Kind::Amount, "Of it, penal charges."),
        always("refunded", Kind::Amount, "Went back."),
        always("recovered", Kind::Amount, "Came after it was given up."),
    ],
);

/// A loan.
pub const LOAN: Schema = gives(
    "Loan",
    "A loan on the business day.",
    &[
        always("object", Kind::Exactly("loan"), "What this is."),
        sometimes("id", Kind::Id("loan_"), "Its name; absent in a dry run of an application."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        or_null("external_id", Kind::ExternalId, "Your own id."),
        always("customer", Kind::Id("cust_"), "The borrower."),
        always("product", Kind::Id("prod_"), "Its product."),
        always("product_version", NUMBER, "The version that it keeps."),
        always("status", STATUS_NAMES, "Where it is in its life."),
        always("class", CLASS_NAMES, "The regulator's class at the end of the day before `as_of`."),
        always("dpd", DPD, "Days past due at that day's end; the due date is the first."),
        or_null("npa_since", Kind::Date, "Since when it is non-performing."),
        always("currency", Kind::Exactly("INR"), "Of all amounts."),
        always("principal", Kind::Amount, "Asked for, and sanctioned."),
        always("annual_rate_pct", Kind::Amount, "Per cent a year, as it is."),
        or_null("instalment", Kind::Amount, "As it is asked for; with equal_principal its share of principal."),
        or_null("instalments_left", COUNT, "Rows to come; `null` while the term follows from the instalment."),
        always("principal_outstanding", Kind::Amount, "All principal."),
        always("principal_due", Kind::Amount, "Of it, what fell due and is unpaid."),
        always("interest_due", Kind::Amount, "Interest that fell due and is unpaid."),
        always("interest_accrued", Kind::Amount, "Interest that has not fallen due, up to `as_of`."),
        always("fee_due", Kind::Amount, "Fees that fell due and are unpaid, with tax."),
        always("penal_due", Kind::Amount, "Penal charges up to `as_of`."),
        always("advance", Kind::Amount, "Paid and not yet used."),
        sometimes("claim", Kind::Amount, "What was given up in the books and is still claimed."),
        or_null("next_due_on", Kind::Date, "The next due date after `as_of`."),
        or_null("next_due_amount", Kind::Amount, "What falls due then: interest and principal."),
        or_null("oldest_due_on", Kind::Date, "The oldest due date with something unpaid."),
        or_null("disbursed_on", Kind::Date, "The first day with interest."),
        PAUSED_UNTIL,
        WATCHED,
        always("as_of", Kind::Date, "The business date."),
        or_null("kfs", Kind::Object(&LOAN_KFS), "The last key facts statement."),
        always("totals", Kind::Object(&LOAN_TOTALS), "Sums since the beginning."),
        always("version", NUMBER, "How many events it has."),
        sometimes("last_event", Kind::Id("evt_"), "The newest event; absent in a dry run."),
        always("created_at", Kind::Instant, "When it was asked for."),
        always("metadata", Kind::Metadata, "Your own pairs."),
    ],
);

/// What a payment paid.
pub const SPLIT: Schema = gives(
    "Split",
    "What a payment paid.",
    &[
        always("penal", Kind::Amount, "Penal charges."),
        always("fee", Kind::Amount, "Fees, with tax."),
        always("interest", Kind::Amount, "Interest."),
        always("principal", Kind::Amount, "Principal that had fallen due."),
        always("prepaid", Kind::Amount, "Principal ahead."),
        always("advance", Kind::SignedAmount, "Kept for later; negative where more was used than came."),
    ],
);

/// What a disbursal was reduced by.
pub const DEDUCTED: Schema = gives(
    "Deducted",
    "What a disbursal was reduced by.",
    &[
        always("fee", Kind::Amount, "The lender's fees, net of tax."),
        always("gst", Kind::Amount, "Tax on them."),
        always("third_party", Kind::Amount, "Collected for others, with their tax."),
    ],
);

/// What was let go.
pub const WAIVED: Schema = gives(
    "Waived",
    "What was let go.",
    &[
        always("interest", Kind::Amount, "Interest that fell due."),
        always("penal", Kind::Amount, "Penal charges."),
        always("fee", Kind::Amount, "Fees, with their tax."),
        always("gst", Kind::Amount, "Of them, tax that is given back."),
    ],
);

/// An event of a loan.
pub const LOAN_EVENT: Schema = gives(
    "LoanEvent",
    "Something that happened to a loan; of a payment, its receipt.",
    &[
        always("object", Kind::Exactly("loan_event"), "What this is."),
        sometimes("id", Kind::Id("evt_"), "Its name; absent in a dry run."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        sometimes("loan", Kind::Id("loan_"), "The loan."),
        always("type", TYPE_NAMES, "What happened."),
        always("value_date", Kind::Date, "When it counts."),
        always("booked_on", Kind::Date, "The business date of its record."),
        always("recorded_at", Kind::Instant, "When it was recorded."),
        sometimes("by", Kind::Id("key_"), "The key of whoever recorded it."),
        or_null("amount", Kind::Amount, "How much."),
        or_null("mode", MODE_NAMES, "How money came or went."),
        or_null("reference", Kind::Text(REFERENCE_CHARS_MAX), "What the rail calls the payment."),
        or_null("reason", REASON, "Why."),
        always("split", Kind::Object(&SPLIT), "What a payment paid."),
        sometimes("undone_by", Kind::Id("evt_"), "The event that undid it."),
        sometimes("account", Kind::Id("acct_"), "The account of the money, where it is not the product's."),
        sometimes("undoes", Kind::Id("evt_"), "The event that it undid."),
        sometimes("tds", Kind::Amount, "Tax that the borrower kept back."),
        sometimes("charge", Kind::Amount, "The charge for paying before time."),
        sometimes("gst", Kind::Amount, "Tax on it."),
        sometimes("kind", CHARGE_KIND, "What a charge is for."),
        sometimes("keep", KEEP, "What stayed as it was."),
        sometimes("deducted", Kind::Object(&DEDUCTED), "What the disbursal was reduced by."),
        sometimes("net", Kind::Amount, "What reached the borrower."),
        sometimes("waived", Kind::Object(&WAIVED), "What was let go."),
        sometimes("annual_rate_pct", Kind::Amount, "The rate from here on."),
        sometimes("instalments", COUNT, "Rows from here on."),
        sometimes("first_due_on", Kind::Date, "The next due date."),
        sometimes("moratorium", Kind::Object(&MORATORIUM), "Rows without principal."),
        sometimes("version", NUMBER, "Of the key facts statement."),
        sometimes("valid_through", Kind::Date, "The last day on which it holds."),
        sometimes("since", Kind::Date, "Since when the borrower's loans are non-performing."),
        sometimes("given_up", Kind::Amount, "What was let go by a settlement."),
        sometimes("until", Kind::Date, "The last day of a pause."),
        sometimes("on", Kind::Flag, "Whether the loan is watched from then on."),
        sometimes("loan_after", Kind::Object(&LOAN), "The loan after it."),
    ],
);

const QUOTE: [Field; 9] = [
    always("principal", Kind::Amount, "All principal."),
    always("interest", Kind::Amount, "Interest, due and accrued up to the day."),
    always("fees", Kind::Amount, "Fees due, with tax."),
    always("penal", Kind::Amount, "Penal charges."),
    always("charge", Kind::Amount, "Charge for paying before time, net of tax."),
    always("gst", Kind::Amount, "Tax on it."),
    always("advance", Kind::Amount, "Paid ahead: taken off."),
    always("total", Kind::Amount, "What is to be paid."),
    always("per_day_interest", Kind::Amount, "What a day more costs."),
];

/// What a borrower pays who leaves within the cooling-off days.
pub const LEAVING: Schema = gives("CoolingOffQuote", "What ends the loan without a penalty.", &QUOTE);

/// What ends a loan on a day.
pub const FORECLOSURE_QUOTE: Schema = gives(
    "ForeclosureQuote",
    "What ends the loan on a day.",
    &[
        QUOTE[0],
        QUOTE[1],
        QUOTE[2],
        QUOTE[3],
        QUOTE[4],
        QUOTE[5],
        QUOTE[6],
        QUOTE[7],
        QUOTE[8],
        always("object", Kind::Exactly("foreclosure_quote"), "What this is."),
        LOAN_ID,
        always("on", Kind::Date, "The day."),
        always("valid_through", Kind::Date, "The last day on which it holds."),
        always("charge_pct", Kind::Amount, "Of the product's version: charge on what has not fallen due."),
        always("charge_gst_pct", Kind::Amount, "Tax on that."),
        always("charge_is_on", Kind::Amount, "Principal that has not fallen due."),
        or_null("cooling_off", Kind::Object(&LEAVING), "Within the cooling-off days: what is to be paid instead."),
    ],
);

/// A version of a plan.
pub const PLAN_VERSION: Schema = gives(
    "PlanVersion",
    "A version of the plan.",
    &[
        always("version", NUMBER, "From 1."),
        or_null("made_by", Kind::Id("evt_"), "The event that made it."),
        always("made_on", Kind::Date, "From when on it counts."),
        always("because", TYPE_NAMES, "What made it."),
    ],
);

/// A row of a loan's schedule.
pub const PLAN_ROW: Schema = gives(
    "LoanScheduleRow",
    "What fell or falls due on a day.",
    &[
        always("n", COUNT, "From 1."),
        always("due_on", Kind::Date, "When."),
        always("opening", Kind::Amount, "Principal that had not fallen due, before."),
        always("principal", Kind::SignedAmount, "Principal in it; negative where interest joins the principal."),
        always("interest", Kind::Amount, "Interest in it."),
        always("instalment", Kind::Amount, "What is asked for."),
        sometimes("prepaid", Kind::Amount, "Paid ahead in its period."),
        sometimes("disbursed", Kind::Amount, "Paid out in its period."),
        always("closing", Kind::Amount, "Principal that has not fallen due, after."),
        sometimes("status", Kind::OneOf(|| vec!["paid", "due", "overdue", "to_come"]), "How it stands today."),
        sometimes("unpaid", Kind::Amount, "What of it is unpaid."),
    ],
);

/// A schedule of a loan.
pub const LOAN_SCHEDULE: Schema = gives(
    "LoanSchedule",
    "The rows of a loan.",
    &[
        always("object", Kind::Exactly("loan_schedule"), "What this is."),
        LOAN_ID,
        always("version", COUNT, "Of the plan; 0 while nothing is paid out."),
        always("versions", Kind::List(&PLAN_VERSION, usize::MAX), "All that there are."),
        always(
            "basis",
            Kind::OneOf(|| vec!["today", "version", "assumed"]),
            "Rows as they fell due and as they follow from today's state; as the version had them; or as if all were paid \
             out today.",
        ),
        always("as_of", Kind::Date, "The business date."),
        always("principal_to_come", Kind::SignedAmount, "Of the rows after `as_of`."),
        always("interest_to_come", Kind::Amount, "Of the rows after `as_of`."),
        always("rows", Kind::List(&PLAN_ROW, usize::MAX), "By date."),
    ],
);

/// What was paid on a loan in a financial year.
pub const INTEREST_CERTIFICATE: Schema = gives(
    "InterestCertificate",
    "What was paid on a loan from 1 April to 31 March.",
    &[
        always("object", Kind::Exactly("interest_certificate"), "What this is."),
        LOAN_ID,
        or_null("external_id", Kind::ExternalId, "Your id of the loan."),
        always("customer", Kind::Id("cust_"), "The borrower."),
        always("fy", Kind::Text(7), "The year."),
        always("from", Kind::Date, "Its first day."),
        always("to", Kind::Date, "Its last day, or the business date."),
        always("is_final", Kind::Flag, "The year is over."),
        always("currency", Kind::Currency, "INR."),
        always("opening_principal", Kind::Amount, "Outstanding before the first day."),
        always("principal_paid", Kind::Amount, "In these days."),
        always("interest_paid", Kind::Amount, "In these days, tax that was kept back included."),
        always("penal_paid", Kind::Amount, "Penal charges, in these days."),
        always("fees_paid", Kind::Amount, "Fees with tax, in these days."),
        always("closing_principal", Kind::Amount, "Outstanding at the end."),
    ],
);

/// A line of a loan's statement.
pub const LOAN_LINE: Schema = gives(
    "LoanStatementLine",
    "A line of the statement.",
    &[
        always("date", Kind::Date, "The day that it counts for."),
        always("booked_on", Kind::Date, "The business date of its record."),
        always("type", Kind::Text(32), "The event's type, or interest, or penal."),
        always("narration", Kind::Text(usize::MAX), "For people."),
        or_null("reference", Kind::Text(REFERENCE_CHARS_MAX), "What the rail calls the payment."),
        or_null("event", Kind::Id("evt_"), "The event that made it."),
        or_null("debit", Kind::Amount, "Owed more."),
        or_null("credit", Kind::Amount, "Owed less."),
        always("balance", Kind::SignedAmount, "Owed after it; negative is the borrower's."),
    ],
);

/// The statement of a loan.
pub const LOAN_STATEMENT: Schema = gives(
    "LoanStatement",
    "Every line that changed what the borrower owes, oldest first: opening + debits - credits = closing.",
    &[
        always("object", Kind::Exactly("loan_statement"), "What this is."),
        LOAN_ID,
        always("currency", Kind::Exactly("INR"), "Of all amounts."),
        or_null("from", Kind::Date, "First day."),
        always("to", Kind::Date, "Last day; the business date at most."),
        always("opening", Kind::SignedAmount, "Owed before the first line."),
        always("closing", Kind::SignedAmount, "Owed after the last."),
        always("data", Kind::List(&LOAN_LINE, usize::MAX), "The lines."),
    ],
);

/// What figures of a loan come from.
pub const LOAN_EXPLANATION: Schema = gives(
    "LoanExplanation",
    "What each shown figure comes from.",
    &[
        always("object", Kind::Exactly("loan_explanation"), "What this is."),
        LOAN_ID,
        always("as_of", Kind::Date, "The business date."),
        always("product", Kind::Id("prod_"), "The product."),
        always("product_version", NUMBER, "The version whose parameters count."),
        always("parameters", Kind::Object(&PRODUCT_TERMS), "Those parameters."),
        always("figures", Kind::Anys, "A tree for each: its value, the rule, and the parts that the rule is about."),
    ],
);

/// A key facts statement.
pub const KEY_FACTS: Schema = gives(
    "KeyFactsStatement",
    "Annex A of RBI/2024-25/18, worked out.",
    &[
        always("object", Kind::Exactly("key_facts_statement"), "What this is."),
        LOAN_ID,
        always("version", COUNT, "0 for a draft."),
        always("status", Kind::OneOf(|| vec!["draft", "issued", "accepted", "expired"]), "Where it stands."),
        always("issued_on", Kind::Date, "The day as of which it is worked out, as if all were paid out then."),
        or_null("valid_through", Kind::Date, "The last day on which it holds."),
        always("part_1", Kind::Any, "The rows of part 1."),
        always(
            "part_2",
            Kind::Any,
            "The clauses of part 2; `null` where the product's metadata has no `kfs_…` for it.",
        ),
        always("computation", Kind::Any, "Annex B: how the rate comes out."),
        always("schedule", Kind::List(&SCHEDULE_ROW, ROWS_MAX as usize + 1), "Annex C: the rows."),
    ],
);

/// A day that ended.
pub const DAY_ENDED: Schema = gives(
    "DayEnded",
    "The last day whose end is done.",
    &[always("date", Kind::Date, "The day."), always("seq", Kind::Seq, "The entry that says so.")],
);

/// What came out of the end of a day.
pub const DAY_END: Schema = gives(
    "DayEnd",
    "A business day whose end is done.",
    &[
        always("date", Kind::Date, "The day."),
        always("business_date", Kind::Date, "The day that was opened by its closing."),
        or_null("seq", Kind::Seq, "The entry that says so; without loan products a day has no end of its own."),
        or_null("seal", Kind::Text(64), "Hash of the journal up to that entry's block."),
    ],
);

/// A day that is being ended.
pub const DAY_ENDING: Schema = gives(
    "DayEnding",
    "The day that is being ended.",
    &[
        always("date", Kind::Date, "The day."),
        always("done", COUNT, "Loans that were looked at."),
        always("of", COUNT, "Loans that there are."),
    ],
);

/// The business day.
pub const BUSINESS_DAY: Schema = gives(
    "BusinessDay",
    "The business day, and the end of the days before it.",
    &[
        always("object", Kind::Exactly("business_day"), "What this is."),
        always("date", Kind::Date, "What is posted now belongs to it."),
        always("by_hand", Kind::Flag, "Days end by hand only."),
        or_null("ended", Kind::Object(&DAY_ENDED), "The last day whose end is done."),
        or_null("ending", Kind::Object(&DAY_ENDING), "The day that is being ended."),
        or_null("seal", Kind::Text(64), "Hash of the journal up to the end of the last day that ended."),
    ],
);
