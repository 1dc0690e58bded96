//! What the routes of loan products, loans and the business day take, field by field.

use crate::config::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::domain::lending::day_count::DAY_COUNTS;
use crate::domain::lending::due_dates::{FREQUENCIES, HOLIDAY_SHIFTS};
use crate::domain::lending::loan::contract::PARTS;
use crate::domain::lending::product::ACCOUNT_PLANS;
use crate::domain::lending::terms::{BROKEN_PERIODS, HOLIDAYS_MAX, LIST_MAX, METHODS, ROWS_MAX};
use crate::domain::objects::JOBS_PER_COMMAND_MAX;

use super::super::json::REFERENCE_CHARS_MAX;
use super::super::lending::names::{ACROSS, CHARGE_KINDS, MODES};
use super::lending::{KEEP, LOAN_CHARGE, MORATORIUM, ROUNDING, ROW, STEP};
use super::schemas::{Field, Kind, NEW_JOB, Schema, always, sometimes, takes};

pub(super) const MODE_NAMES: Kind = Kind::OneOf(|| MODES.iter().map(|(_, name)| *name).collect());
pub(super) const CHARGE_KIND: Kind = Kind::OneOf(|| CHARGE_KINDS.iter().map(|(_, name)| *name).collect());
pub(super) const ORDER: Kind = Kind::Order(|| PARTS.iter().map(|(_, name)| *name).collect());
pub(super) const ACROSS_NAMES: Kind = Kind::OneOf(|| ACROSS.iter().map(|(_, name)| *name).collect());
const DPD: Kind = Kind::Whole { min: 1, max: 3_660 };
const DAYS: Kind = Kind::Whole { min: 0, max: 365 };
pub(super) const KFS_DAYS: Kind = Kind::Whole { min: 1, max: 365 };
const REFERENCE: Kind = Kind::Filled(REFERENCE_CHARS_MAX);
const REASON: Kind = Kind::Filled(DESCRIPTION_CHARS_MAX);

const REFERENCE_FIELD: Field =
    sometimes("reference", REFERENCE, "What the rail calls the payment, unique with its mode; only cash needs none.");
const JOBS_FIELD: Field =
    sometimes("jobs", Kind::List(&NEW_JOB, JOBS_PER_COMMAND_MAX), "Work after the answer, born with it.");
const LATER_DATE: Field = sometimes("value_date", Kind::Date, "When it counts; the business date when absent.");
const VALUE_DATE: Field = always("value_date", Kind::Date, "When it counts: not after the business date.");

/// A field for each role.
const ACCOUNT_FIELDS: [Field; ACCOUNT_PLANS.len()] = {
    let mut fields = [REFERENCE_FIELD; ACCOUNT_PLANS.len()];
    let mut place = 0;
    while place < fields.len() {
        fields[place] = sometimes(ACCOUNT_PLANS[place].role, Kind::AccountName, ACCOUNT_PLANS[place].name);
        place += 1;
    }
    fields
};

/// Accounts by role.
pub const PRODUCT_ACCOUNTS: Schema = takes(
    "LoanProductAccounts",
    "Accounts of a product by role; one is opened by the chart of lending for each that is left out.",
    &ACCOUNT_FIELDS,
);

/// Terms of a product.
pub const PRODUCT_TERMS: Schema = takes(
    "LoanProductTerms",
    "Terms of loans, without principal and dates.",
    &[
        always("annual_rate_pct", Kind::Amount, "Per cent a year, 0 to 1000."),
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
        sometimes("holidays", Kind::Dates(HOLIDAYS_MAX), "Days on which nothing falls due."),
        sometimes(
            "holiday_shift",
            Kind::OneOf(|| HOLIDAY_SHIFTS.iter().map(|(_, name)| *name).collect()),
            "Where a due date on a holiday goes; next when absent.",
        ),
        sometimes("charges", Kind::List(&LOAN_CHARGE, LIST_MAX), "Taken from the disbursal."),
        sometimes("apr_with_gst", Kind::Flag, "The APR counts the tax on charges; true when absent."),
        sometimes(
            "penal_pct_per_month",
            Kind::Amount,
            "Penal charge on overdue instalments for 30 days; 0 when absent.",
        ),
        sometimes("cooling_off_days", DAYS, "Days in which the borrower may leave without a penalty; 1 when absent."),
        sometimes(
            "foreclosure_charge_pct",
            Kind::Amount,
            "Charge on what is paid ahead at foreclosure; 0 when absent.",
        ),
        sometimes("charge_gst_pct", Kind::Amount, "Tax on charges, per cent; 18 when absent."),
        sometimes("sma1_dpd", DPD, "Days past due from which a loan is SMA-1; 31 when absent."),
        sometimes("sma2_dpd", DPD, "From which it is SMA-2; 61 when absent."),
        sometimes("npa_dpd", DPD, "From which it is non-performing; 91 when absent."),
    ],
);

/// The body of `POST /v1/loan_products`.
pub const NEW_LOAN_PRODUCT: Schema = takes(
    "NewLoanProduct",
    "A loan product to make.",
    &[
        always("name", Kind::Filled(NAME_CHARS_MAX), "For people, and on the key facts statement."),
        sometimes("external_id", Kind::ExternalId, "Your own id, unique for ever among products."),
        always("terms", Kind::Object(&PRODUCT_TERMS), "Terms of its loans."),
        sometimes(
            "appropriation",
            ORDER,
            "In which order a payment is used up; interest, principal, fee, penal when absent.",
        ),
        sometimes(
            "appropriation_across",
            ACROSS_NAMES,
            "What comes first: the oldest due date, or the part; rows when absent.",
        ),
        sometimes(
            "accounts",
            Kind::Object(&PRODUCT_ACCOUNTS),
            "Its accounts by role, where they are not to be opened for it.",
        ),
        sometimes("principal_min", Kind::Amount, "Least principal of a loan; 1 when absent."),
        sometimes("principal_max", Kind::Amount, "Greatest principal of a loan; 100000000000 when absent."),
        sometimes("kfs_valid_days", KFS_DAYS, "Days for which a key facts statement holds; 5 when absent."),
        sometimes("is_secured", Kind::Flag, "Loans of it are secured: provisions look at that."),
        sometimes("disbursal_by_another", Kind::Flag, "Whoever asks for a loan of it does not pay it out."),
        YEAR_END_ACCOUNT,
        sometimes("metadata", Kind::Metadata, "Your own pairs; `kfs_…` are clauses of the key facts statement."),
    ],
);

const YEAR_END_ACCOUNT: Field = sometimes(
    "year_end_account",
    Kind::AccountName,
    "An equity account that income and expenses of its loans are moved to after 31 March, with that date; without it they \
     stay where they are.",
);

/// The body of `PATCH /v1/loan_products/{id}`.
pub const LOAN_PRODUCT_CHANGE: Schema = Schema { needs_one: true, ..PRODUCT_CHANGE };

const PRODUCT_CHANGE: Schema = takes(
    "LoanProductChange",
    "What to change of a product; at least one field. Loans keep the version that they were asked for under.",
    &[
        sometimes("name", Kind::Filled(NAME_CHARS_MAX), "Never `null`."),
        sometimes(
            "terms",
            Kind::Object(&PRODUCT_TERMS),
            "All terms: what is left out has its default, not what it was.",
        ),
        sometimes("appropriation", ORDER, "In which order a payment is used up."),
        sometimes("appropriation_across", ACROSS_NAMES, "What comes first."),
        sometimes("principal_min", Kind::Amount, "Least principal of a loan."),
        sometimes("principal_max", Kind::Amount, "Greatest principal of a loan."),
        sometimes("kfs_valid_days", KFS_DAYS, "Days for which a key facts statement holds."),
        sometimes("disbursal_by_another", Kind::Flag, "Whoever asks for a loan of it does not pay it out."),
        YEAR_END_ACCOUNT,
        sometimes("metadata", Kind::Metadata, "Replaces all pairs; `null` removes them."),
    ],
);

/// The body of `POST /v1/loans`.
pub const NEW_LOAN: Schema = takes(
    "NewLoan",
    "A loan to ask for. What is left out is what the product says.",
    &[
        always("customer", Kind::Named("cust_"), "The borrower."),
        always("product", Kind::Named("prod_"), "The product; the loan keeps its newest version."),
        always("principal", Kind::Amount, "What is asked for."),
        sometimes("instalments", ROW, "Rows."),
        sometimes("annual_rate_pct", Kind::Amount, "Per cent a year."),
        sometimes("first_due_on", Kind::Date, "One period after the disbursal when absent."),
        sometimes("charges", Kind::List(&LOAN_CHARGE, LIST_MAX), "Taken from the disbursal, instead of the product's."),
        sometimes("external_id", Kind::ExternalId, "Your own id, unique for ever among loans."),
        sometimes("metadata", Kind::Metadata, "Your own pairs."),
    ],
);

/// The body of `/approve`, `/kfs` and `/close`.
pub const LOAN_DECISION: Schema =
    takes("LoanDecision", "Nothing but what follows from it; an empty object, or no body at all.", &[JOBS_FIELD]);

/// The body of `/decline`.
pub const NEW_REFUSAL: Schema =
    takes("NewRefusal", "Why a loan is not given.", &[always("reason", REASON, "Why."), JOBS_FIELD]);

/// The body of `/accept_kfs`.
pub const KFS_ACCEPTANCE: Schema = takes(
    "KfsAcceptance",
    "Which key facts statement the borrower accepts.",
    &[always("version", Kind::Whole { min: 1, max: u32::MAX as i64 }, "The last one."), JOBS_FIELD],
);

/// The body of `/disburse`.
pub const NEW_DISBURSAL: Schema = takes(
    "NewDisbursal",
    "Money that reached the borrower.",
    &[
        always("credited_on", Kind::Date, "The day on which it did: interest runs from it."),
        REFERENCE_FIELD,
        sometimes("mode", MODE_NAMES, "How it went; neft when absent."),
        sometimes("amount", Kind::Amount, "A tranche, before charges; all that is left of the sanction when absent."),
        sometimes(
            "from_account",
            Kind::AccountName,
            "The account that paid; the product's settlement account when absent.",
        ),
        JOBS_FIELD,
    ],
);

/// The body of `/return_disbursal`.
pub const DISBURSAL_RETURN: Schema = takes(
    "DisbursalReturn",
    "A payment that did not reach the borrower: it never was.",
    &[
        sometimes("disbursal", Kind::Id("evt_"), "Which; the last one when absent."),
        sometimes("reason", REASON, "Why."),
        JOBS_FIELD,
    ],
);

/// The body of `/repayments`.
pub const NEW_REPAYMENT: Schema = takes(
    "NewRepayment",
    "Money that came from the borrower.",
    &[
        always("amount", Kind::Amount, "How much came."),
        VALUE_DATE,
        always("mode", MODE_NAMES, "How it came."),
        REFERENCE_FIELD,
        sometimes("tds", Kind::Amount, "Tax that the borrower kept back from interest, beside the amount."),
        sometimes(
            "to_account",
            Kind::AccountName,
            "The account that it came to; the product's settlement account when absent.",
        ),
        JOBS_FIELD,
    ],
);

/// The body of `/prepayments`.
pub const NEW_PREPAYMENT: Schema = takes(
    "NewPrepayment",
    "Money that pays what is due, and then principal ahead.",
    &[
        always("amount", Kind::Amount, "More than what is due."),
        VALUE_DATE,
        always("keep", KEEP, "What stays as it is."),
        sometimes("mode", MODE_NAMES, "How it came; neft when absent."),
        REFERENCE_FIELD,
        sometimes("to_account", Kind::AccountName, "The account that it came to."),
        JOBS_FIELD,
    ],
);

/// The body of `/foreclose`.
pub const FORECLOSURE: Schema = takes(
    "Foreclosure",
    "Money that ends the loan before its time.",
    &[
        VALUE_DATE,
        REFERENCE_FIELD,
        sometimes("mode", MODE_NAMES, "How it came; neft when absent."),
        sometimes("amount", Kind::Amount, "What the quote says, which is taken when absent."),
        sometimes("to_account", Kind::AccountName, "The account that it came to."),
        JOBS_FIELD,
    ],
);

/// The body of `/charges`.
pub const NEW_DUE: Schema = takes(
    "NewLoanDue",
    "A charge that falls due.",
    &[
        always("name", Kind::Filled(NAME_CHARS_MAX), "What for."),
        always("amount", Kind::Amount, "Net of tax, which is the product's; a penal charge bears none."),
        sometimes("kind", CHARGE_KIND, "A fee when absent."),
        LATER_DATE,
        JOBS_FIELD,
    ],
);

/// The body of `/waive`.
pub const NEW_WAIVER: Schema = takes(
    "NewWaiver",
    "Dues that are let go, at least one.",
    &[
        sometimes("interest", Kind::Amount, "Of the interest that fell due."),
        sometimes("penal", Kind::Amount, "Of the penal charges."),
        sometimes("fee", Kind::Amount, "Of the fees, with their tax."),
        sometimes("gst", Kind::Amount, "The part of the fee that is tax, given back by a credit note."),
        always("reason", REASON, "Why."),
        LATER_DATE,
        JOBS_FIELD,
    ],
);

/// The body of `/reschedule`.
pub const NEW_PLAN: Schema = takes(
    "NewPlan",
    "Other terms for what has not fallen due.",
    &[
        always("annual_rate_pct", Kind::Amount, "Per cent a year, 0 to 1000."),
        always(
            "instalments",
            Kind::Whole { min: 1, max: ROWS_MAX as i64 },
            "Rows from here on, those of a moratorium too.",
        ),
        always("first_due_on", Kind::Date, "The next due date."),
        sometimes("moratorium", Kind::Object(&MORATORIUM), "Rows without principal."),
        LATER_DATE,
        JOBS_FIELD,
    ],
);

/// The body of `/rate_reset`.
pub const NEW_RATE: Schema = takes(
    "NewRate",
    "Another rate.",
    &[
        always("annual_rate_pct", Kind::Amount, "Per cent a year, 0 to 1000."),
        sometimes("keep", KEEP, "What stays as it is; term when absent."),
        LATER_DATE,
        JOBS_FIELD,
    ],
);

/// The body of `/write_off`, and of `/reverse` of a repayment.
pub const NEW_WRITE_OFF: Schema =
    takes("Because", "Why something is given up or taken back.", &[always("reason", REASON, "Why."), JOBS_FIELD]);

/// The body of `/settle`.
pub const SETTLEMENT: Schema = takes(
    "Settlement",
    "Money that is taken for all of a loan; the rest is let go.",
    &[
        always("amount", Kind::Amount, "Less than all that is owed."),
        always("value_date", Kind::Date, "When it came."),
        always("mode", MODE_NAMES, "How it came."),
        REFERENCE_FIELD,
        always("reason", REASON, "Why."),
        sometimes("to_account", Kind::AccountName, "The account that it came to."),
        JOBS_FIELD,
    ],
);

/// The body of `/pause`.
pub const NEW_PAUSE: Schema = takes(
    "NewPause",
    "Days on which nobody calls the borrower.",
    &[
        always("until", Kind::Date, "The last of them: the business date ends a pause with that day."),
        always("reason", REASON, "Why."),
        JOBS_FIELD,
    ],
);

/// The body of `/watch`.
pub const NEW_WATCH: Schema = takes(
    "NewWatch",
    "Whether a loan is watched.",
    &[
        sometimes("on", Kind::Flag, "`false` ends it; `true` when absent."),
        always("reason", REASON, "Why."),
        JOBS_FIELD,
    ],
);

/// The body of `/recover`.
pub const NEW_RECOVERY: Schema = takes(
    "NewRecovery",
    "Money that came after the loan was given up.",
    &[
        always("amount", Kind::Amount, "At most what is left of the claim."),
        always("mode", MODE_NAMES, "How it came."),
        REFERENCE_FIELD,
        LATER_DATE,
        sometimes("to_account", Kind::AccountName, "The account that it came to."),
        JOBS_FIELD,
    ],
);

/// The body of `/refund`.
pub const NEW_REFUND: Schema = takes(
    "NewRefund",
    "Advance that goes back to the borrower.",
    &[
        always("amount", Kind::Amount, "At most the advance."),
        always("mode", MODE_NAMES, "How it went."),
        REFERENCE_FIELD,
        LATER_DATE,
        sometimes("from_account", Kind::AccountName, "The account that paid."),
        JOBS_FIELD,
    ],
);

/// The body of `/cancel`.
pub const CANCELLATION: Schema = takes(
    "Cancellation",
    "Money with which the borrower leaves within the cooling-off days.",
    &[
        LATER_DATE,
        REFERENCE_FIELD,
        sometimes("mode", MODE_NAMES, "How it came; neft when absent."),
        sometimes("amount", Kind::Amount, "What the quote says, which is taken when absent."),
        sometimes("to_account", Kind::AccountName, "The account that it came to."),
        JOBS_FIELD,
    ],
);

/// The body of `POST /v1/business_day/open`.
pub const DAY_OPENING: Schema = takes(
    "DayOpening",
    "A business day to open.",
    &[always("date", Kind::Date, "The day."), sometimes("reason", REASON, "Why it is another day than the clock's.")],
);
