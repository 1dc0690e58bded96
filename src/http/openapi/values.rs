//! What a field's value is: as JSON schema, as an example, and in words.

use serde_json::{Map, Value as Json, json};

use crate::config::{
    API_KEY_SCOPES_MAX, EXTERNAL_ID_CHARS_MAX, METADATA_KEY_CHARS_MAX, METADATA_PAIRS_MAX, METADATA_VALUE_CHARS_MAX,
};

use super::partial;
use super::schemas::{Field, Kind, Need, Schema};

/// A reference to a schema of the document.
pub fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A whole object, or one of which `fields` has left members out.
pub fn either(whole: Json, partial: &str) -> Json {
    json!({ "anyOf": [whole, reference(partial)] })
}

/// A page of objects.
pub fn page(item: &Json) -> Json {
    json!({
        "type": "object",
        "required": ["object", "url", "has_more", "data"],
        "additionalProperties": false,
        "properties": {
            "object": { "const": "list" },
            "url": { "type": "string" },
            "has_more": { "type": "boolean" },
            "data": { "type": "array", "items": item },
        },
    })
}

/// An object as JSON schema; of a partial one nothing is required but `object`, and its rows are partial too.
pub fn object(schema: &Schema, is_partial: bool) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let has_rows = schema.fields.iter().any(|field| matches!(field.kind, Kind::List(..)));
    for field in schema.fields {
        let mut value = match field.kind {
            Kind::List(row, _) if is_partial => json!({ "type": "array", "items": partial_row(row) }),
            kind => schema_of(kind),
        };
        if schema.is_request && field.need == Need::Always && matches!(field.kind, Kind::List(..)) {
            value["minItems"] = 1.into();
        }
        let may_be_null = match field.need {
            Need::Always => false,
            Need::OrNull | Need::SometimesOrNull => true,
            Need::Sometimes => schema.is_request,
        };
        if may_be_null {
            value = json!({ "anyOf": [value, { "type": "null" }] });
        }
        value["description"] = field.about.into();
        properties.insert(field.name.into(), value);
        let is_kept = !is_partial || has_rows || field.name == "object";
        if matches!(field.need, Need::Always | Need::OrNull) && is_kept {
            required.push(field.name);
        }
    }
    let mut json = json!({
        "type": "object",
        "description": schema.about,
        "required": required,
        "additionalProperties": false,
        "properties": properties,
    });
    if schema.needs_one {
        json["minProperties"] = 1.into();
    }
    json
}

/// A row of which `fields` has left members out, in its place.
fn partial_row(row: &Schema) -> Json {
    let bare = Schema { about: "As `fields` asks.", ..*row };
    let mut json = object(&bare, true);
    json["title"] = partial(row.name).into();
    json
}

/// A value as JSON schema.
pub fn schema_of(kind: Kind) -> Json {
    let id = |prefix: &str| json!({ "type": "string", "pattern": format!("^{prefix}[0-9a-hjkmnp-tv-z]{{13}}$") });
    match kind {
        Kind::Text(usize::MAX) => json!({ "type": "string" }),
        Kind::Text(max) => json!({ "type": "string", "maxLength": max }),
        Kind::Filled(max) => json!({ "type": "string", "minLength": 1, "maxLength": max }),
        Kind::Exactly(text) => json!({ "const": text }),
        Kind::OneOf(names) => json!({ "type": "string", "enum": names() }),
        Kind::AccountName | Kind::TransferName => json!({ "type": "string", "maxLength": 256 }),
        Kind::Id(prefix) => id(prefix),
        Kind::Named(_) => json!({ "type": "string", "minLength": 1, "maxLength": 256 }),
        Kind::Order(names) => {
            let names = names();
            json!({ "type": "array", "minItems": names.len(), "maxItems": names.len(), "uniqueItems": true,
                    "items": { "enum": names } })
        }
        Kind::Any | Kind::Like(_) => json!({ "type": "object" }),
        Kind::Anys => json!({ "type": "array", "items": { "type": "object" } }),
        Kind::AccountId => json!({ "anyOf": [id("acct_"), reference("Account")] }),
        Kind::TransferId => json!({ "anyOf": [id("tr_"), reference("Transfer")] }),
        Kind::ExternalId => json!({ "type": "string", "pattern": format!("^[!-~]{{1,{EXTERNAL_ID_CHARS_MAX}}}$") }),
        Kind::Amount => json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)(\\.[0-9]+)?$" }),
        Kind::SignedAmount => json!({ "type": "string", "pattern": "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?$" }),
        Kind::Currency => reference("Currency"),
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::Instant => json!({ "type": "string", "format": "date-time" }),
        Kind::Seq => json!({ "type": "string", "pattern": "^[0-9]+$" }),
        Kind::Whole { min, max: i64::MAX } => json!({ "type": "integer", "minimum": min }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Scopes => json!({
            "type": "array",
            "minItems": 1,
            "maxItems": API_KEY_SCOPES_MAX,
            "items": { "type": "string", "maxLength": EXTERNAL_ID_CHARS_MAX },
        }),
        Kind::Texts(max) => {
            json!({ "type": "array", "maxItems": max, "items": { "type": "string", "minLength": 1, "maxLength": 64 } })
        }
        Kind::Number => json!({ "type": "number", "minimum": 0 }),
        Kind::Dates(max) => {
            json!({ "type": "array", "maxItems": max, "items": { "type": "string", "format": "date" } })
        }
        Kind::Digits => json!({ "type": "string", "pattern": "^[0-9]{1,20}$" }),
        Kind::Fingerprint => json!({ "type": "string", "pattern": "^([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}$" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::True => json!({ "const": true }),
        Kind::Metadata => json!({
            "type": "object",
            "maxProperties": METADATA_PAIRS_MAX,
            "propertyNames": { "minLength": 1, "maxLength": METADATA_KEY_CHARS_MAX },
            "additionalProperties": { "type": "string", "maxLength": METADATA_VALUE_CHARS_MAX },
        }),
        Kind::Object(schema) => reference(schema.name),
        Kind::AnyOf(several) => {
            let any: Vec<Json> = several.iter().map(|schema| reference(schema.name)).collect();
            json!({ "anyOf": any })
        }
        Kind::List(schema, usize::MAX) => json!({ "type": "array", "items": reference(schema.name) }),
        Kind::List(schema, max) => json!({ "type": "array", "maxItems": max, "items": reference(schema.name) }),
        Kind::ListOf(several, max) => {
            let items: Vec<Json> = several.iter().map(|schema| reference(schema.name)).collect();
            json!({ "type": "array", "minItems": 1, "maxItems": max, "items": { "anyOf": items } })
        }
    }
}

/// An example of an object: what is always there, or the first field where nothing is.
#[must_use]
pub fn example_of(schema: &Schema) -> Json {
    let is_shown = |field: &&Field| {
        matches!(field.need, Need::Always | Need::OrNull) || ["id", "instalments", "reference"].contains(&field.name)
    };
    let mut shown: Vec<&Field> = schema.fields.iter().filter(is_shown).collect();
    if shown.is_empty() {
        shown.extend(schema.fields.first());
    }
    json!(shown.into_iter().map(|field| (field.name.to_owned(), example_value(field))).collect::<Map<_, _>>())
}

fn example_value(field: &Field) -> Json {
    match field.kind {
        Kind::Text(_) | Kind::Filled(_) => match field.name {
            "reason" => "typing error".into(),
            "name" => "Drawer 1".into(),
            "version" => env!("CARGO_PKG_VERSION").into(),
            "hash" => "0".repeat(64).into(),
            "error" | "trouble" | "scrub_damage" => Json::Null,
            _ => "…".into(),
        },
        Kind::Exactly(text) => text.into(),
        Kind::OneOf(names) => names().first().copied().into(),
        Kind::AccountName if field.name.starts_with("credit") => "ext:SALES-1".into(),
        Kind::AccountName => "ext:CASH-1".into(),
        Kind::Order(names) => json!(names()),
        Kind::Anys => json!([{}]),
        Kind::Id(prefix) | Kind::Named(prefix) => format!("{prefix}0000000000007").into(),
        Kind::AccountId if field.name.starts_with("credit") => "acct_0000000000002".into(),
        Kind::AccountId => "acct_0000000000001".into(),
        Kind::TransferName | Kind::TransferId => "tr_0000000000007".into(),
        Kind::ExternalId => "CASH-1".into(),
        Kind::Amount | Kind::SignedAmount if field.name.ends_with("_pct") => "15".into(),
        Kind::Amount | Kind::SignedAmount => "1250.50".into(),
        Kind::Currency => "INR".into(),
        Kind::Date => "2026-10-31".into(),
        Kind::Instant => "2026-11-21T04:34:50.123456Z".into(),
        Kind::Seq => "7".into(),
        Kind::Whole { min, .. } => min.into(),
        Kind::Scopes => json!(["transfers:write"]),
        Kind::Dates(_) => json!(["2026-10-31"]),
        Kind::Digits => "50000".into(),
        Kind::Fingerprint => "ab".repeat(32).into(),
        Kind::Flag => false.into(),
        Kind::Texts(_) => json!(["transfer.posted", "loan.*"]),
        Kind::Number => json!(1.25),
        Kind::True => true.into(),
        Kind::Metadata | Kind::Any => json!({}),
        Kind::Like(example) => example(),
        Kind::Object(schema) => example_of(schema),
        Kind::List(schema, _) => json!([example_of(schema)]),
        Kind::AnyOf(several) => several.first().map_or_else(|| json!({}), |schema| example_of(schema)),
        Kind::ListOf(several, _) => several.iter().take(1).map(|schema| example_of(schema)).collect(),
    }
}

/// A value in words, for people.
#[must_use]
pub fn words_of(kind: Kind) -> String {
    match kind {
        Kind::Text(usize::MAX) => "text".into(),
        Kind::Text(max) => format!("text, at most {max} characters"),
        Kind::Filled(max) => format!("text, 1 to {max} characters"),
        Kind::Exactly(text) => format!("\"{text}\""),
        Kind::OneOf(names) => names().join(", "),
        Kind::AccountName => "acct_… or ext:…".into(),
        Kind::TransferName => "tr_… or ext:…".into(),
        Kind::Id(prefix) => format!("{prefix}…"),
        Kind::Named(prefix) => format!("{prefix}… or ext:…"),
        Kind::Order(names) => format!("list of {}, each once", names().join(", ")),
        Kind::Any | Kind::Like(_) => "object".into(),
        Kind::Anys => "list of objects".into(),
        Kind::AccountId => "acct_…, or the account".into(),
        Kind::TransferId => "tr_…, or the transfer".into(),
        Kind::ExternalId => format!("1 to {EXTERNAL_ID_CHARS_MAX} visible ASCII characters"),
        Kind::Amount => "decimal string".into(),
        Kind::SignedAmount => "decimal string, may be negative".into(),
        Kind::Currency => "ISO 4217 code".into(),
        Kind::Date => "YYYY-MM-DD".into(),
        Kind::Instant => "RFC 3339, UTC, microseconds".into(),
        Kind::Seq => "whole number as a string".into(),
        Kind::Whole { min, max: i64::MAX } => format!("whole number from {min}"),
        Kind::Whole { min, max } => format!("whole number from {min} to {max}"),
        Kind::Scopes => format!("list of scopes, at most {API_KEY_SCOPES_MAX}"),
        Kind::Dates(max) => format!("list of YYYY-MM-DD, at most {max}"),
        Kind::Digits => "string of digits".into(),
        Kind::Fingerprint => "SHA-256, 64 hexadecimal digits, colons allowed".into(),
        Kind::Flag => "true or false".into(),
        Kind::Texts(max) => format!("list of names, at most {max}"),
        Kind::Number => "number".into(),
        Kind::True => "true".into(),
        Kind::Metadata => {
            format!(
                "object of strings: {METADATA_PAIRS_MAX} entries, keys {METADATA_KEY_CHARS_MAX}, values {METADATA_VALUE_CHARS_MAX}"
            )
        }
        Kind::Object(schema) => schema.name.into(),
        Kind::AnyOf(several) => several.iter().map(|schema| schema.name).collect::<Vec<_>>().join(" or "),
        Kind::List(schema, usize::MAX) => format!("list of {}", schema.name),
        Kind::List(schema, max) => format!("list of {}, at most {max}", schema.name),
        Kind::ListOf(several, max) => {
            let names: Vec<&str> = several.iter().map(|schema| schema.name).collect();
            format!("list of {}, at most {max}", names.join(" or "))
        }
    }
}
