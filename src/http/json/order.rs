//! Small bodies: posting, voiding and reversing a transfer, closing and opening periods.

use crate::config::DESCRIPTION_CHARS_MAX;
use crate::domain::money::Decimal;
use crate::domain::time::Day;

use super::super::problem::{Outcome, Problem};
use super::fields::Fields;
use super::tree::Tree;
use super::{of_serde, utf8};

/// Reads an object by `read`; no body at all is an empty object.
pub(super) fn object<T>(body: &[u8], read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> Outcome<T> {
    let text = utf8(body)?.trim_ascii();
    let tree = if text.is_empty() {
        Tree::Object(Vec::new())
    } else {
        Tree::read(text).map_err(|error| of_serde(&error, ""))?
    };
    of_tree(tree, read)
}

fn of_tree<T>(tree: Tree<'_>, read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> Outcome<T> {
    let mut errors = Vec::new();
    let mut fields = Fields::of(tree, String::new(), &mut errors);
    let value = read(&mut fields);
    fields.finish();
    if errors.is_empty() { Ok(value) } else { Err(Problem::of_fields(errors)) }
}

/// The body of `/post`: all of the hold (`None`), or this much; `Some(None)` is no plain decimal.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`.
pub fn parse_post(body: &[u8]) -> Outcome<Option<Option<Decimal>>> {
    object(body, |fields| fields.amount("amount"))
}

/// A body that may only be empty or `{}`.
///
/// # Errors
/// As [`parse_post`].
pub fn parse_empty(body: &[u8]) -> Outcome<()> {
    object(body, |_| ())
}

/// The body of `/reverse`: its reason.
///
/// # Errors
/// As [`parse_post`].
pub fn parse_reversal(body: &[u8]) -> Outcome<Box<str>> {
    object(body, |fields| fields.filled_text("reason", DESCRIPTION_CHARS_MAX).into())
}

/// As [`parse_reversal`], of a body that another format has read.
///
/// # Errors
/// `unknown_field`, `validation_failed`.
pub fn reversal_of(tree: Tree<'_>) -> Outcome<Box<str>> {
    of_tree(tree, |fields| fields.filled_text("reason", DESCRIPTION_CHARS_MAX).into())
}

/// The body of `/v1/periods/close`: the last day of the period.
///
/// # Errors
/// As [`parse_post`].
pub fn parse_period_close(body: &[u8]) -> Outcome<Day> {
    object(body, required_through)
}

/// The body of `/v1/periods/reopen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodReopening {
    /// The day through which it was closed.
    pub through: Day,
    /// Why.
    pub reason: Box<str>,
}

/// Reads a [`PeriodReopening`].
///
/// # Errors
/// As [`parse_post`].
pub fn parse_period_reopen(body: &[u8]) -> Outcome<PeriodReopening> {
    object(body, |fields| PeriodReopening {
        through: required_through(fields),
        reason: fields.filled_text("reason", DESCRIPTION_CHARS_MAX).into(),
    })
}

fn required_through(fields: &mut Fields<'_, '_>) -> Day {
    fields.require("through");
    fields.day("through").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn small_bodies_are_taken_or_told_what_is_wrong() {
        let say = |result: Outcome<String>| result.unwrap_or_else(|problem| said(&problem));
        let post =
            |body: &[u8]| say(parse_post(body).map(|amount| format!("{:?}", amount.map(|amount| amount.is_some()))));
        assert_eq!(post(b""), "None");
        assert_eq!(post(b"{}"), "None");
        assert_eq!(post(br#"{"amount":"1"}"#), "Some(true)");
        assert_eq!(post(br#"{"amount":1}"#), "Some(false)");
        assert_eq!(post(br#"{"x":1}"#), "unknown_field /x=unknown_field");
        assert_eq!(say(parse_empty(b" \n").map(|()| "ok".into())), "ok");
        assert_eq!(say(parse_empty(b"{} ").map(|()| "ok".into())), "ok");
        assert_eq!(say(parse_empty(b"[]").map(|()| "ok".into())), "validation_failed =wrong_type");
        assert_eq!(say(parse_reversal(b"").map(Into::into)), "validation_failed /reason=missing");
        assert_eq!(say(parse_reversal(br#"{"reason":""}"#).map(Into::into)), "validation_failed /reason=invalid_value");
        let close = |body: &[u8]| say(parse_period_close(body).map(|day| day.to_string()));
        assert_eq!(close(br#"{"through":"2026-10-31"}"#), "2026-10-31");
        assert_eq!(close(br#"{"through":"31.10.2026"}"#), "validation_failed /through=invalid_value");
        assert_eq!(close(b"{}"), "validation_failed /through=missing");
        let reopen = parse_period_reopen(br#"{"through":"2026-10-31"}"#);
        assert_eq!(said(&reopen.unwrap_err()), "validation_failed /reason=missing");
    }
}
