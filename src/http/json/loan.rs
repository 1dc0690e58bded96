//! Terms of a loan.

use rust_decimal::Decimal;

use crate::domain::lending::day_count::DAY_COUNTS;
use crate::domain::lending::due_dates::{FREQUENCIES, HOLIDAY_SHIFTS};
use crate::domain::lending::rounding::MODES;
use crate::domain::lending::terms::{
    BROKEN_PERIODS, Charge, HOLIDAYS_MAX, KEEPS, LIST_MAX, METHODS, MORATORIUM_INTERESTS, Moratorium, PAYEES,
    Prepayment, RateReset, Rounding, Step, Terms,
};
use crate::domain::time::Day;

use super::super::problem::{FieldError, Outcome, Problem};
use super::fields::Fields;
use super::order::object;

/// Rows and places of rows, as the body may name them; the terms' own check knows what they may be.
const ROWS: std::ops::RangeInclusive<i64> = 0..=100_000;

/// Multiples that instalments and interest may be rounded to.
const INSTALMENT_UNITS: [(Option<u32>, &str); 4] =
    [(None, "none"), (Some(1), "0.01"), (Some(100), "1"), (Some(1_000), "10")];
const INTEREST_UNITS: [(Option<u32>, &str); 3] = [(None, "none"), (Some(1), "0.01"), (Some(100), "1")];
const DISPLAY_UNITS: [(u32, &str); 2] = [(1, "0.01"), (100, "1")];

/// The body of `POST /v1/loan_calculations`: terms that make a loan.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`.
pub fn parse_loan_terms(body: &[u8]) -> Outcome<Terms> {
    let terms = object(body, terms)?;
    terms.check().map_err(|error| refused(&error))?;
    Ok(terms)
}

/// Terms that make no loan, as the fields of the body have it.
pub fn refused(error: &crate::domain::lending::terms::TermsError) -> Box<Problem> {
    let pointer = format!("/{}", error.field.replace('.', "/"));
    let detail = format!("`{}` {}.", error.field, error.what);
    Problem::of_fields(vec![FieldError { pointer, code: "invalid_value", detail: detail.into() }])
}

fn terms(fields: &mut Fields<'_, '_>) -> Terms {
    fields.require("principal");
    let undated = undated_terms(fields);
    Terms {
        principal: fields.decimal("principal").unwrap_or_default(),
        disbursed_on: fields.day("disbursed_on"),
        first_due_on: fields.day("first_due_on"),
        rate_resets: fields.objects("rate_resets", LIST_MAX, reset),
        prepayments: fields.objects("prepayments", LIST_MAX, prepayment),
        foreclose_on: fields.day("foreclose_on"),
        ..undated
    }
}

/// Terms without principal and dates: what a product says. The principal is zero.
pub(super) fn undated_terms(fields: &mut Fields<'_, '_>) -> Terms {
    let bare = Terms::default();
    fields.require("annual_rate_pct");
    let mut holidays: Vec<Day> = Vec::new();
    for text in fields.texts("holidays", HOLIDAYS_MAX, 10).unwrap_or_default() {
        match Day::parse(&text) {
            Some(day) => holidays.push(day),
            None => fields.refuse("holidays", "invalid_value", "`holidays` are dates YYYY-MM-DD from 1970 to 2149."),
        }
    }
    holidays.sort_unstable();
    holidays.dedup();
    Terms {
        principal: Decimal::ZERO,
        annual_rate_pct: fields.decimal("annual_rate_pct").unwrap_or_default(),
        instalments: rows(fields, "instalments"),
        frequency: fields.name_of("frequency", &FREQUENCIES).unwrap_or(bare.frequency),
        method: fields.name_of("method", &METHODS).unwrap_or(bare.method),
        day_count: fields.name_of("day_count", &DAY_COUNTS).unwrap_or(bare.day_count),
        broken_period: fields.name_of("broken_period", &BROKEN_PERIODS),
        rounding: fields.object("rounding", rounding).unwrap_or_default(),
        instalment_fixed: fields.decimal("instalment_fixed"),
        principal_fixed: fields.decimal("principal_fixed"),
        balloon: fields.decimal("balloon"),
        moratorium: fields.object("moratorium", moratorium).filter(|moratorium| moratorium.periods > 0),
        steps: fields.objects("steps", LIST_MAX, step),
        holidays,
        holiday_shift: fields.name_of("holiday_shift", &HOLIDAY_SHIFTS).unwrap_or_default(),
        charges: fields.objects("charges", LIST_MAX, charge),
        apr_with_gst: !fields.has("apr_with_gst") || fields.flag("apr_with_gst"),
        ..bare
    }
}

pub(super) fn rows(fields: &mut Fields<'_, '_>, name: &str) -> Option<u32> {
    fields.whole(name, ROWS).and_then(|rows| u32::try_from(rows).ok())
}

fn unit(paise: u32) -> Decimal {
    Decimal::new(i64::from(paise), 2).normalize()
}

fn rounding(fields: &mut Fields<'_, '_>) -> Rounding {
    let bare = Rounding::default();
    Rounding {
        instalment: match fields.name_of("instalment", &INSTALMENT_UNITS) {
            Some(paise) => paise.map(unit),
            None => bare.instalment,
        },
        interest: match fields.name_of("interest", &INTEREST_UNITS) {
            Some(paise) => paise.map(unit),
            None => bare.interest,
        },
        mode: fields.name_of("mode", &MODES).unwrap_or(bare.mode),
        display: fields.name_of("display", &DISPLAY_UNITS).map_or(bare.display, unit),
    }
}

pub(super) fn moratorium(fields: &mut Fields<'_, '_>) -> Moratorium {
    fields.require("periods");
    Moratorium {
        periods: rows(fields, "periods").unwrap_or_default(),
        interest: fields.name_of("interest", &MORATORIUM_INTERESTS).unwrap_or_default(),
    }
}

fn step(fields: &mut Fields<'_, '_>) -> Step {
    fields.require("from");
    fields.require("instalment_pct");
    Step {
        from: rows(fields, "from").unwrap_or_default(),
        instalment_pct: fields.decimal("instalment_pct").unwrap_or_default(),
    }
}

fn reset(fields: &mut Fields<'_, '_>) -> RateReset {
    fields.require("on");
    fields.require("annual_rate_pct");
    RateReset {
        on: fields.day("on").unwrap_or_default(),
        annual_rate_pct: fields.decimal("annual_rate_pct").unwrap_or_default(),
        keep: fields.name_of("keep", &KEEPS).unwrap_or_default(),
    }
}

fn prepayment(fields: &mut Fields<'_, '_>) -> Prepayment {
    fields.require("on");
    fields.require("amount");
    Prepayment {
        on: fields.day("on").unwrap_or_default(),
        amount: fields.decimal("amount").unwrap_or_default(),
        keep: fields.name_of("keep", &KEEPS).unwrap_or_default(),
    }
}

pub(super) fn charge(fields: &mut Fields<'_, '_>) -> Charge {
    fields.require("amount");
    Charge {
        name: fields.filled_text("name", crate::config::NAME_CHARS_MAX).into(),
        amount: fields.decimal("amount").unwrap_or_default(),
        payee: fields.name_of("payee", &PAYEES).unwrap_or_default(),
        gst_pct: fields.decimal("gst_pct").unwrap_or_default(),
    }
}
