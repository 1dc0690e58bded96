//! Accounts: opening one, several, changing one.

use std::borrow::Cow;

use crate::config::{BATCH_ITEMS_MAX, NAME_CHARS_MAX};
use crate::domain::account::{ACCOUNT_TYPES, AccountType, BALANCE_RULES, BalanceRule, GIVEN_STATUSES, Status};
use crate::domain::entry::Metadata;
use crate::domain::money::Currency;
use crate::engine::command::NewAccount;

use super::super::problem::{FieldError, Outcome, Problem};
use super::batch::raw_items;
use super::fields::{ERRORS_MAX, Fields};
use super::tree::Tree;
use super::{of_serde, utf8};

/// The body of `POST /v1/accounts`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`.
pub fn parse_account(body: &[u8]) -> Outcome<NewAccount> {
    let tree = Tree::read(utf8(body)?).map_err(|error| of_serde(&error, ""))?;
    let mut errors = Vec::new();
    let account = new_account(Fields::of(tree, String::new(), &mut errors));
    if errors.is_empty() { Ok(account) } else { Err(Problem::of_fields(errors)) }
}

/// The body of `POST /v1/accounts/batch`.
///
/// # Errors
/// As [`parse_account`].
pub fn parse_accounts(body: &[u8]) -> Outcome<Vec<NewAccount>> {
    let mut errors = Vec::new();
    let (raw, _) = raw_items(utf8(body)?, "accounts", &[], &mut errors)?;
    if errors.is_empty() && (raw.is_empty() || raw.len() > BATCH_ITEMS_MAX) {
        let detail = format!("A batch has from 1 to {BATCH_ITEMS_MAX} items.").into();
        errors.push(FieldError { pointer: "/accounts".into(), code: "invalid_value", detail });
        return Err(Problem::of_fields(errors));
    }
    let mut accounts = Vec::with_capacity(raw.len());
    for (index, value) in raw.into_iter().enumerate() {
        let pointer = format!("/accounts/{index}");
        let tree = Tree::read(value.get()).map_err(|error| of_serde(&error, &pointer))?;
        accounts.push(new_account(Fields::of(tree, pointer, &mut errors)));
        if errors.len() >= ERRORS_MAX {
            break;
        }
    }
    if errors.is_empty() { Ok(accounts) } else { Err(Problem::of_fields(errors)) }
}

fn new_account(mut fields: Fields<'_, '_>) -> NewAccount {
    let code = fields.filled_text("currency", 3);
    let currency = Currency::from_code(&code);
    if currency.is_none() && !code.is_empty() {
        fields.refuse("currency", "invalid_value", "`currency` is an ISO 4217 code in capitals.");
    }
    fields.require("type");
    let account = NewAccount {
        currency: currency.unwrap_or(Currency::INR),
        account_type: fields.name_of("type", &ACCOUNT_TYPES).unwrap_or(AccountType::Asset),
        code: fields.code("code"),
        balance_rule: fields.name_of("balance_rule", &BALANCE_RULES).unwrap_or(BalanceRule::None),
        external_id: fields.external_id("external_id"),
        name: fields.text("name", NAME_CHARS_MAX).map(Cow::into),
        metadata: fields.metadata("metadata").unwrap_or_default(),
    };
    fields.finish();
    account
}

/// What a `PATCH` of an account names; `None` leaves a part as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeFields {
    /// `Some(None)` removes the name.
    pub name: Option<Option<Box<str>>>,
    /// Replaces all pairs; `null` removes them.
    pub metadata: Option<Metadata>,
    /// New status.
    pub status: Option<Status>,
}

/// The body of `PATCH /v1/accounts/{id}`.
///
/// # Errors
/// As [`parse_account`]; a change of nothing is refused.
pub fn parse_account_change(body: &[u8]) -> Outcome<ChangeFields> {
    let tree = Tree::read(utf8(body)?).map_err(|error| of_serde(&error, ""))?;
    let is_empty = tree == Tree::Object(Vec::new());
    let mut errors = Vec::new();
    let mut fields = Fields::of(tree, String::new(), &mut errors);
    let change = ChangeFields {
        name: fields.text_change("name", NAME_CHARS_MAX).map(|name| name.map(Cow::into)),
        metadata: fields.metadata_change("metadata"),
        status: fields.name_change("status", &GIVEN_STATUSES),
    };
    fields.finish();
    if is_empty {
        let detail = "Name at least one of `name`, `metadata` and `status`.".into();
        errors.push(FieldError { pointer: String::new(), code: "invalid_value", detail });
    }
    if errors.is_empty() { Ok(change) } else { Err(Problem::of_fields(errors)) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn accounts_are_taken_or_told_what_is_wrong() {
        let table = [
            (r#"{"currency":"INR","type":"asset"}"#, ""),
            (
                r#"{"currency":"INR","type":"asset","code":1010,"balance_rule":"no_debit_balance","name":"x","external_id":"A","metadata":{}}"#,
                "",
            ),
            (r"{}", "validation_failed /currency=missing /type=missing"),
            (r#"{"currency":"inr","type":"assets"}"#, "validation_failed /currency=invalid_value /type=invalid_value"),
            (r#"{"currency":"","type":null}"#, "validation_failed /currency=invalid_value /type=missing"),
            (r#"{"currency":"INR","type":"asset","status":"open"}"#, "unknown_field /status=unknown_field"),
            (r#"{"currency":"INR","type":"asset","balance_rule":1}"#, "validation_failed /balance_rule=wrong_type"),
            (r#""x""#, "validation_failed =wrong_type /currency=missing /type=missing"),
            ("nul", "malformed_json"),
        ];
        for (body, expected) in table {
            let found = parse_account(body.as_bytes()).map_or_else(|problem| said(&problem), |_| String::new());
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn a_batch_of_accounts_names_the_item() {
        let body = br#"{"accounts":[{"currency":"INR","type":"asset"},{"currency":"INR"}]}"#;
        let problem = parse_accounts(body).unwrap_err();
        assert_eq!(said(&problem), "validation_failed /accounts/1/type=missing");
        assert_eq!(
            said(&parse_accounts(br#"{"accounts":[]}"#).unwrap_err()),
            "validation_failed /accounts=invalid_value"
        );
        assert_eq!(parse_accounts(br#"{"accounts":[{"currency":"JPY","type":"income"}]}"#).unwrap().len(), 1);
    }

    #[test]
    fn a_change_tells_removing_from_leaving() {
        let change = |body: &[u8]| parse_account_change(body).map_err(|problem| said(&problem));
        let nothing = ChangeFields { name: None, metadata: None, status: None };
        assert_eq!(change(br#"{"name":null}"#), Ok(ChangeFields { name: Some(None), ..nothing.clone() }));
        assert_eq!(change(br#"{"name":"N"}"#), Ok(ChangeFields { name: Some(Some("N".into())), ..nothing.clone() }));
        assert_eq!(
            change(br#"{"status":"frozen"}"#),
            Ok(ChangeFields { status: Some(Status::Frozen), ..nothing.clone() })
        );
        let cleared = ChangeFields { metadata: Some(Metadata::new()), ..nothing.clone() };
        assert_eq!(change(br#"{"metadata":null}"#), Ok(cleared), "null removes what can be absent");
        assert_eq!(change(br#"{"status":"control"}"#), Err("validation_failed /status=invalid_value".into()));
        assert_eq!(change(br#"{"status":null}"#), Err("validation_failed /status=invalid_value".into()));
        assert_eq!(change(b"{}"), Err("validation_failed =invalid_value".into()));
        assert_eq!(change(br#"{"currency":"INR"}"#), Err("unknown_field /currency=unknown_field".into()));
    }
}
