//! Every JSON answer that any test gets is held against the description of its route: each member is
//! known, each that is promised is there, and each is what the table says.

use munim::http::openapi::operations::{Gives, codes, describe};
use munim::http::openapi::{Kind, Need, Schema, schemas};
use munim::http::router::{Found, Route, find};
use serde_json::Value;

use crate::http_edge::Said;

/// Panics when an answer is not what the description of its route says.
pub fn check(method: &str, path: &str, said: &Said) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let Found::Route(route, _) = find(method, path) else { return };
    let place = format!("{method} {path}");
    let status = said.status.as_u16();
    match said.header("content-type") {
        _ if said.body.is_empty() => {}
        "application/problem+json" => check_problem(route, &said.json(), &place),
        media => {
            assert!(
                describe(route.operation).statuses.contains(&status),
                "{place}: {status} is not in the description"
            );
            let media = media.split(';').next().unwrap_or_default();
            assert!(route.gives.contains(&media), "{place}: {media} is not in the description");
            let is_json = ["application/json", "application/health+json"].contains(&media);
            if is_json && said.header("content-encoding").is_empty() && !query.contains("fields") {
                check_gives(describe(route.operation).gives, &said.json(), &place);
            }
        }
    }
}

fn check_problem(route: &Route, json: &Value, place: &str) {
    let code = json["code"].as_str().expect("a code");
    let known = codes(route).into_iter().map(munim::http::problem::Code::facts);
    let is_known = known.into_iter().any(|facts| facts.name == code && json["status"] == facts.status);
    assert!(is_known, "{place}: {code} with {} is not in the description", json["status"]);
    for error in json["errors"].as_array().into_iter().flatten() {
        check_object(error, &schemas::FIELD_ERROR, place);
    }
}

fn check_gives(gives: Gives, json: &Value, place: &str) {
    match gives {
        Gives::One(schema) => check_object(json, schema, place),
        Gives::Page(row) => {
            for item in json["data"].as_array().unwrap_or_else(|| panic!("{place}: no rows")) {
                check_object(item, row, place);
            }
        }
        Gives::Text | Gives::Json => {}
    }
}

pub fn check_object(json: &Value, schema: &Schema, place: &str) {
    let object = json.as_object().unwrap_or_else(|| panic!("{place}: {} is no object", schema.name));
    for name in object.keys() {
        let is_known = schema.fields.iter().any(|field| field.name == name);
        assert!(is_known, "{place}: {} has no field {name}", schema.name);
    }
    for field in schema.fields {
        let place = format!("{place}: {}.{}", schema.name, field.name);
        match (object.get(field.name), field.need) {
            (None, Need::Sometimes | Need::SometimesOrNull)
            | (Some(Value::Null), Need::OrNull | Need::SometimesOrNull) => {}
            (None, _) => panic!("{place} is missing"),
            (Some(Value::Null), _) => panic!("{place} is null"),
            (Some(value), _) => check_value(value, field.kind, &place),
        }
    }
}

fn check_value(value: &Value, kind: Kind, place: &str) {
    let text = || value.as_str().unwrap_or_else(|| panic!("{place} is no text: {value}"));
    let is_decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let fits = match kind {
        Kind::Text(max) => text().chars().count() <= max,
        Kind::Filled(max) => (1..=max).contains(&text().chars().count()),
        Kind::Exactly(known) => text() == known,
        Kind::OneOf(names) => names().contains(&text()),
        Kind::Id(prefix) => text().starts_with(prefix) && text().len() == prefix.len() + 13,
        Kind::AccountId if value.is_object() => return check_object(value, &schemas::ACCOUNT, place),
        Kind::TransferId if value.is_object() => return check_object(value, &schemas::TRANSFER, place),
        Kind::AccountId => text().starts_with("acct_"),
        Kind::TransferId => text().starts_with("tr_"),
        Kind::ExternalId | Kind::AccountName | Kind::TransferName | Kind::Named(_) => !text().is_empty(),
        Kind::Any | Kind::Like(_) => value.is_object(),
        Kind::Anys => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
        Kind::Order(names) => {
            let mut found: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let mut names = names();
            found.sort_unstable();
            names.sort_unstable();
            found == names
        }
        Kind::Amount => is_decimal(text()),
        Kind::SignedAmount => is_decimal(text().strip_prefix('-').unwrap_or(text())),
        Kind::Currency => text().len() == 3,
        Kind::Date => text().len() == 10,
        Kind::Instant => text().len() == 27 && text().ends_with('Z'),
        Kind::Seq | Kind::Digits => text().parse::<u64>().is_ok(),
        Kind::Fingerprint => text().len() == 64 && text().bytes().all(|byte| byte.is_ascii_hexdigit()),
        Kind::Scopes => value.as_array().is_some_and(|scopes| scopes.iter().all(Value::is_string)),
        Kind::Dates(_) => value.as_array().is_some_and(|dates| dates.iter().all(Value::is_string)),
        Kind::Whole { min, max } => value.as_i64().is_some_and(|number| (min..=max).contains(&number)),
        Kind::Flag => value.is_boolean(),
        Kind::Texts(_) => value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string)),
        Kind::Number => value.is_number(),
        Kind::True => *value == Value::Bool(true),
        Kind::Metadata => value.as_object().is_some_and(|pairs| pairs.values().all(Value::is_string)),
        Kind::Object(schema) => return check_object(value, schema, place),
        Kind::AnyOf(several) => {
            let has_all = |schema: &&&Schema| {
                schema.fields.iter().all(|field| field.need == Need::Sometimes || value.get(field.name).is_some())
            };
            let schema = several.iter().find(has_all).unwrap_or_else(|| panic!("{place} is none of {several:?}"));
            return check_object(value, schema, place);
        }
        Kind::List(schema, max) => {
            let rows = value.as_array().unwrap_or_else(|| panic!("{place} is no list"));
            rows.iter().for_each(|row| check_object(row, schema, place));
            rows.len() <= max
        }
        Kind::ListOf(..) => panic!("{place}: only requests have such a list"),
    };
    assert!(fits, "{place} is not {kind:?}: {value}");
}
