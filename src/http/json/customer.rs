//! Customers: making one, changing one.

use std::borrow::Cow;

use crate::config::NAME_CHARS_MAX;
use crate::domain::entry::Metadata;
use crate::domain::lending::customer::{CUSTOMER_KINDS, CustomerKind, is_bank_account, is_ifsc, is_pan};
use crate::domain::time::Day;
use crate::jobs::documents::fonts::undrawable;

use super::super::problem::{FieldError, Outcome, Problem};
use super::fields::Fields;
use super::order::object;

/// Characters of a telephone number.
const PHONE_CHARS_MAX: usize = 20;

/// Characters of an address for mail: what RFC 5321 allows of a path, less its brackets.
const EMAIL_CHARS_MAX: usize = 254;

/// Characters of a postal address.
const ADDRESS_CHARS_MAX: usize = 500;

/// A new customer, its secrets in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCustomerFields {
    /// What it is.
    pub kind: CustomerKind,
    /// The caller's own id.
    pub external_id: Option<Box<str>>,
    /// All else.
    pub fields: CustomerFields,
}

/// What can be said of a customer and changed; `None` says nothing, `Some(None)` removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerFields {
    /// Its name.
    pub name: Option<Box<str>>,
    /// Birth, or incorporation.
    pub born_on: Option<Option<Day>>,
    /// Its telephone number.
    pub phone: Option<Option<Box<str>>>,
    /// Its address for mail.
    pub email: Option<Option<Box<str>>>,
    /// Its address.
    pub address: Option<Option<Box<str>>>,
    /// Its PAN, in clear.
    pub pan: Option<Option<Box<str>>>,
    /// Its bank account's number, in clear.
    pub bank_account: Option<Option<Box<str>>>,
    /// The branch of that account.
    pub ifsc: Option<Option<Box<str>>>,
    /// All pairs.
    pub metadata: Option<Metadata>,
}

/// The body of `POST /v1/customers`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`.
pub fn parse_customer(body: &[u8]) -> Outcome<NewCustomerFields> {
    object(body, |fields| {
        fields.require("kind");
        let name = fields.filled_text("name", NAME_CHARS_MAX);
        check_drawable(fields, &name);
        let name = name.into();
        NewCustomerFields {
            kind: fields.name_of("kind", &CUSTOMER_KINDS).unwrap_or_default(),
            external_id: fields.external_id("external_id"),
            fields: CustomerFields { name: Some(name), ..changeable(fields) },
        }
    })
}

/// The body of `PATCH /v1/customers/{id}`.
///
/// # Errors
/// As [`parse_customer`]; a change of nothing is refused.
pub fn parse_customer_change(body: &[u8]) -> Outcome<CustomerFields> {
    let change = object(body, |fields| {
        let name = fields.text_change("name", NAME_CHARS_MAX);
        if name.as_ref().is_some_and(|name| name.as_ref().is_none_or(|name| name.trim().is_empty())) {
            fields.refuse("name", "invalid_value", "`name` cannot be empty; leave it out to keep it.");
        }
        let name = name.flatten();
        if let Some(name) = &name {
            check_drawable(fields, name);
        }
        CustomerFields { name: name.map(Cow::into), ..changeable(fields) }
    })?;
    if change == CustomerFields::default() {
        let detail = "Name at least one field to change.".into();
        return Err(Problem::of_fields(vec![FieldError { pointer: String::new(), code: "invalid_value", detail }]));
    }
    Ok(change)
}

/// A customer's name stands on what is handed to him: one that would be drawn with an empty box is refused here, not
/// found out at the counter.
fn check_drawable(fields: &mut Fields<'_, '_>, name: &str) {
    if let Some(character) = undrawable(name) {
        let number = character as u32;
        let shown = if character.is_control() { String::new() } else { format!("“{character}”, ") };
        let detail = format!(
            "`name` has the character {shown}U+{number:04X}, which no font of our documents has. They have Latin letters \
             (composed, not with combining marks) and the scripts of India."
        );
        fields.refuse("name", "invalid_value", detail);
    }
}

fn changeable(fields: &mut Fields<'_, '_>) -> CustomerFields {
    CustomerFields {
        name: None,
        born_on: fields.day_change("born_on"),
        phone: text(fields, "phone", PHONE_CHARS_MAX),
        email: text(fields, "email", EMAIL_CHARS_MAX),
        address: text(fields, "address", ADDRESS_CHARS_MAX),
        pan: shaped(fields, "pan", is_pan, "a PAN such as ABCDE1234F"),
        bank_account: shaped(fields, "bank_account", is_bank_account, "the number of a bank account: 9 to 18 digits"),
        ifsc: shaped(fields, "ifsc", is_ifsc, "an IFSC such as HDFC0001234"),
        metadata: fields.metadata_change("metadata"),
    }
}

fn text(fields: &mut Fields<'_, '_>, name: &str, chars_max: usize) -> Option<Option<Box<str>>> {
    fields.text_change(name, chars_max).map(|text| text.map(Cow::into))
}

fn shaped(
    fields: &mut Fields<'_, '_>,
    name: &str,
    is_one: impl Fn(&str) -> bool,
    what: &str,
) -> Option<Option<Box<str>>> {
    let value = text(fields, name, 32);
    if let Some(Some(text)) = &value
        && !is_one(text)
    {
        fields.refuse(name, "invalid_value", format!("`{name}` is {what}."));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn a_customer_is_taken_or_told_what_is_wrong() {
        let full = r#"{"kind":"individual","name":"Asha","external_id":"C-1","born_on":"1990-02-28","phone":"+91 98",
            "email":"a@b.in","address":"Pune","pan":"ABCDE1234F","bank_account":"123456789","ifsc":"HDFC0001234",
            "metadata":{"k":"v"}}"#;
        let new = parse_customer(full.as_bytes()).unwrap();
        assert_eq!((new.kind, new.external_id.as_deref()), (CustomerKind::Individual, Some("C-1")));
        assert_eq!(new.fields.pan, Some(Some("ABCDE1234F".into())));
        for (body, expected) in [
            ("{}", "validation_failed /kind=missing /name=missing"),
            (r#"{"kind":"king","name":""}"#, "validation_failed /name=invalid_value /kind=invalid_value"),
            (r#"{"kind":"business","name":"李 & Co"}"#, "validation_failed /name=invalid_value"),
            (r#"{"kind":"business","name":"a\u0301"}"#, "validation_failed /name=invalid_value"),
            (r#"{"kind":"individual","name":"रवि कुमार"}"#, "taken"),
            (r#"{"kind":"individual","name":"முருகன்"}"#, "taken"),
            (r#"{"kind":"business","name":"x","pan":"abc"}"#, "validation_failed /pan=invalid_value"),
            (r#"{"kind":"business","name":"x","ifsc":"X"}"#, "validation_failed /ifsc=invalid_value"),
            (r#"{"kind":"business","name":"x","bank_account":"1"}"#, "validation_failed /bank_account=invalid_value"),
            (r#"{"kind":"business","name":"x","born_on":"1.1.2000"}"#, "validation_failed /born_on=invalid_value"),
            (r#"{"kind":"business","name":"x","colour":"red"}"#, "unknown_field /colour=unknown_field"),
        ] {
            let found = parse_customer(body.as_bytes()).map_or_else(|problem| said(&problem), |_| "taken".into());
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn a_change_tells_removing_from_leaving() {
        let change = parse_customer_change(br#"{"pan":null,"phone":"5","born_on":null}"#).unwrap();
        assert_eq!((change.pan, change.email, change.born_on), (Some(None), None, Some(None)));
        assert_eq!(change.phone, Some(Some("5".into())));
        for (body, expected) in [
            ("{}", "validation_failed =invalid_value"),
            (r#"{"name":null}"#, "validation_failed /name=invalid_value"),
            (r#"{"name":""}"#, "validation_failed /name=invalid_value"),
            (r#"{"name":"Émile محمد"}"#, "validation_failed /name=invalid_value"),
            (r#"{"kind":"business"}"#, "unknown_field /kind=unknown_field"),
            (r#"{"external_id":"x"}"#, "unknown_field /external_id=unknown_field"),
        ] {
            let found =
                parse_customer_change(body.as_bytes()).map_or_else(|problem| said(&problem), |_| "taken".into());
            assert_eq!(found, expected, "{body}");
        }
    }
}
