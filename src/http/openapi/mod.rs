//! The OpenAPI 3.1 document, made from the tables that the edge works by.
//!
//! Promise: a route without a description fails a test, as does a field that a parser takes and a schema does
//! not name, and every change shows as a difference in `data/openapi.json`.
//!
//! Steps:
//! 1. every route of the table, with what [`operations`] says about it;
//! 2. its parameters, body and answers from [`schemas`], its refusals from the table of problems;
//! 3. the shared parts: schemas, headers, the key of the caller.

mod catalogue;
mod codes;
mod events;
mod jobs;
mod lending;
mod loan_bodies;
mod loan_operations;
mod loans;
pub mod operations;
mod reports;
mod requests;
pub mod schemas;
mod sync;
mod values;
mod webhooks;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::domain::money::Currency;

use super::problem::{Code, all_codes};
use super::router::{Class, ROUTES, Route, Takes};
use operations::{Gives, Parameter, Value, codes, describe};

pub use schemas::{Field, Kind, Need, Schema};
pub use values::{example_of, words_of};

/// The document as the binary serves it: no spaces for machines.
#[must_use]
pub fn served() -> String {
    document().to_string()
}

/// The document as the repository keeps it: a line for every fact.
#[must_use]
pub fn text() -> String {
    let mut text = format!("{:#}", document());
    text.push('\n');
    text
}

/// The document.
#[must_use]
pub fn document() -> Json {
    let mut paths: BTreeMap<&str, Map<String, Json>> = BTreeMap::new();
    let mut refusals = Refusals::default();
    for route in ROUTES {
        let operation = operation(route, &mut refusals);
        paths.entry(route.pattern).or_default().insert(route.method.to_lowercase(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Munim",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The books of a small lender: a durable double-entry ledger. Every GET answers HEAD, every path \
                            OPTIONS. Answers above 1 KiB are compressed as Accept-Encoding likes (zstd, gzip, br); bodies \
                            may be sent in gzip or zstd. Amounts are decimal strings. X-Request-Timeout-Ms is a deadline in \
                            milliseconds, 0 to 3600000: work that cannot finish in time is refused before it begins \
                            (503 deadline_unmeetable). Every refusal is a problem document.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "key": [] }],
        "tags": tags().into_iter().map(|tag| json!({ "name": tag })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": components(),
            "headers": headers(),
            "responses": refusals.0.into_iter().map(|(name, _, json)| (name, json)).collect::<Map<_, _>>(),
            "securitySchemes": { "key": {
                "type": "http", "scheme": "bearer", "bearerFormat": "mk_…",
                "description": "An API key. While no key exists, callers on loopback need none.",
            } },
        },
    })
}

/// The chapters, in the order of the routes.
#[must_use]
pub fn tags() -> Vec<&'static str> {
    let mut tags = Vec::new();
    for tag in ROUTES.iter().map(|route| describe(route.operation).tag) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// The names that a field of a table can have.
pub(super) fn names_of(fields: &[Field], name: &str) -> Vec<&'static str> {
    let kind = fields.iter().find(|field| field.name == name).map(|field| field.kind);
    if let Some(Kind::OneOf(names)) = kind { names() } else { Vec::new() }
}

/// Refusals that routes share, each once: its name, its status, itself.
#[derive(Default)]
struct Refusals(Vec<(String, u16, Json)>);

impl Refusals {
    /// A reference to a refusal, which gets the next free name of its status when it is new.
    fn reference(&mut self, status: u16, refusal: Json) -> Json {
        let known = self.0.iter().find(|(_, _, json)| *json == refusal).map(|(name, ..)| name.clone());
        let name = known.unwrap_or_else(|| {
            let number = self.0.iter().filter(|(_, known, _)| *known == status).count() + 1;
            let name = format!("Refused{status}-{number}");
            self.0.push((name.clone(), status, refusal));
            name
        });
        json!({ "$ref": format!("#/components/responses/{name}") })
    }
}

fn operation(route: &Route, refusals: &mut Refusals) -> Json {
    let about = describe(route.operation);
    let mut parameters: Vec<Json> = Vec::new();
    for hole in route.pattern.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(hole, _)| hole) {
        parameters.push(json!({
            "name": hole, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 },
        }));
    }
    parameters.extend(about.parameters.iter().map(query_parameter));
    parameters.extend(header_parameters(route));
    let mut operation = json!({
        "operationId": route.operation_id,
        "tags": [about.tag],
        "summary": about.summary,
        "parameters": parameters,
        "responses": responses(route, refusals),
    });
    if !about.about.is_empty() {
        operation["description"] = about.about.into();
    }
    if !route.pattern.starts_with("/v1") {
        operation["security"] = json!([]);
    }
    if let Some(body) = about.body {
        operation["requestBody"] = request_body(route, body, about.messages.0);
    }
    operation
}

fn query_parameter(parameter: &Parameter) -> Json {
    let names = |names: Vec<&str>| json!({ "type": "string", "enum": names });
    let schema = match parameter.kind {
        Value::Flag => json!({ "type": "boolean" }),
        Value::Date => values::schema_of(Kind::Date),
        Value::At => json!({ "type": "string", "examples": ["2026-11-21", "2026-11-21T10:00:00Z"] }),
        Value::Limit => json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 50 }),
        Value::Seq => json!({ "type": "integer", "minimum": 0 }),
        Value::Whole => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Value::Cursor | Value::Account => json!({ "type": "string", "minLength": 1 }),
        Value::Entry => values::schema_of(Kind::Id("je_")),
        Value::Named(prefix) => values::schema_of(Kind::Named(prefix)),
        Value::OneOf(known) => names(known()),
        Value::Currency => values::schema_of(Kind::Currency),
        Value::Text(like) => json!({ "type": "string", "examples": [like] }),
        Value::Fields(row) => {
            let known = names(row.fields.iter().map(|field| field.name).collect());
            json!({ "type": "array", "minItems": 1, "items": known })
        }
        Value::Expand(known) => json!({ "type": "array", "items": names(known.to_vec()) }),
    };
    let mut json = json!({ "name": parameter.name, "in": "query", "description": parameter.about, "schema": schema });
    if matches!(parameter.kind, Value::Fields(_)) {
        json["style"] = "form".into();
        json["explode"] = false.into();
    }
    json
}

/// Headers of a request that change what happens.
fn header_parameters(route: &Route) -> Vec<Json> {
    let header = |name: &str, required: bool, about: &str, schema: Json| json!({ "name": name, "in": "header", "required": required, "description": about, "schema": schema });
    let mut headers = Vec::new();
    if matches!(route.class, Class::Money | Class::Change) {
        let about = "Of your own choice; the same one again when you retry. Optional with `dry_run`.";
        let schema = json!({ "type": "string", "pattern": "^[!#-~]{1,255}$" });
        headers.push(header("Idempotency-Key", route.class == Class::Money, about, schema));
    }
    if route.takes == Takes::Batch {
        let schema = json!({ "type": "string", "enum": ["return=minimal", "return=representation"] });
        headers.push(header(
            "Prefer",
            false,
            "`return=minimal` answers only counts, first and last id, and the refused.",
            schema,
        ));
    }
    if route.method == "PATCH" {
        let schema = json!({ "type": "string", "pattern": "^(\\*|\"[0-9]{1,9}(-[0-9]{1,18})?\")$" });
        headers.push(header("If-Match", false, "The `ETag` that you saw, or `\"<version>\"`.", schema));
    }
    if has_etag(route) {
        let schema = json!({ "type": "string" });
        headers.push(header("If-None-Match", false, "The `ETag` of what you have.", schema));
    }
    headers
}

fn has_etag(route: &Route) -> bool {
    use super::resources::Operation as Op;
    let pages = [Op::GetOpenapi, Op::GetDocs, Op::GetDocsStyle, Op::GetProto];
    let objects = [
        Op::GetAccount,
        Op::GetTransfer,
        Op::GetStatement,
        Op::GetLoanProduct,
        Op::GetLoan,
        Op::GetKfs,
        Op::GetLoanSchedule,
        Op::GetLoanStatement,
        Op::GetReceipt,
        Op::GetNoDues,
        Op::GetDaySlip,
        Op::ExplainLoan,
    ];
    objects.contains(&route.operation) || pages.contains(&route.operation)
}

fn request_body(route: &Route, body: &Schema, message: &str) -> Json {
    let mut content = Map::new();
    let json_body = json!({ "schema": values::reference(body.name), "example": example_of(body) });
    content.insert("application/json".into(), json_body);
    if route.takes == Takes::Batch {
        let schema = json!({ "type": "string", "description": "One item of `transfers` a line." });
        content.insert("application/x-ndjson".into(), json!({ "schema": schema }));
    }
    if matches!(route.takes, Takes::Batch | Takes::Message | Takes::MessageOrNothing) {
        content.insert(super::negotiate::PROTOBUF.into(), protobuf(message));
    }
    let is_required = !matches!(route.takes, Takes::JsonOrNothing | Takes::MessageOrNothing);
    json!({ "required": is_required, "content": content })
}

fn protobuf(message: &str) -> Json {
    let about = format!("The message munim.v1.{message} of /proto/munim.v1.proto.");
    json!({ "schema": { "type": "string", "contentMediaType": super::negotiate::PROTOBUF, "description": about } })
}

fn responses(route: &Route, refusals: &mut Refusals) -> Json {
    let about = describe(route.operation);
    let mut responses: BTreeMap<String, Json> = BTreeMap::new();
    for status in about.statuses {
        let mut headers = shared_headers(route);
        if has_etag(route) {
            headers.insert("ETag".into(), header_reference("ETag"));
        }
        if matches!(about.gives, Gives::Page(_)) || about.parameters.iter().any(|known| known.name == "starting_after")
        {
            headers.insert("Link".into(), header_reference("Link"));
        }
        if [201, 202].contains(status) {
            headers.insert("Location".into(), header_reference("Location"));
        }
        let said = match status {
            201 => "Made.",
            202 => "Begun; `Location` says where to look.",
            503 => "Not yet, or no more.",
            _ => "Done.",
        };
        responses.insert(
            status.to_string(),
            json!({ "description": said, "headers": headers, "content": content(route, about.gives, about.messages.1) }),
        );
    }
    if has_etag(route) {
        let headers = json!({ "ETag": header_reference("ETag"), "Request-Id": header_reference("Request-Id") });
        responses.insert("304".into(), json!({ "description": "You have it already.", "headers": headers }));
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes(route) {
        by_status.entry(code.facts().status).or_default().push(code);
    }
    for (status, codes) in by_status {
        let problem = problem(route, status, &codes);
        match responses.get_mut(&status.to_string()) {
            // A health check that fails and a problem have one status.
            Some(known) => {
                known["content"]["application/problem+json"] = problem["content"]["application/problem+json"].clone();
            }
            None => {
                responses.insert(status.to_string(), refusals.reference(status, problem));
            }
        }
    }
    json!(responses)
}

fn content(route: &Route, gives: Gives, message: &str) -> Json {
    let has_fields = takes_fields(route);
    let mut content = Map::new();
    for media in route.gives {
        let body = match (*media, gives) {
            ("application/json" | "application/health+json", Gives::One(schema)) => {
                let whole = values::reference(schema.name);
                let schema_json = match has_fields {
                    false => whole,
                    true => values::either(whole, &partial(schema.name)),
                };
                json!({ "schema": schema_json, "example": example_of(schema) })
            }
            ("application/json", Gives::Page(row)) => {
                let whole = values::reference(row.name);
                let item = if has_fields { values::either(whole, &partial(row.name)) } else { whole };
                let example = json!({
                    "object": "list", "url": route.pattern, "has_more": false, "data": [example_of(row)],
                });
                json!({ "schema": values::page(&item), "example": example })
            }
            ("application/json", _) => json!({ "schema": { "type": "object" } }),
            (super::negotiate::PROTOBUF, _) => protobuf(message),
            _ => json!({ "schema": { "type": "string" } }),
        };
        content.insert((*media).into(), body);
    }
    json!(content)
}

fn takes_fields(route: &Route) -> bool {
    describe(route.operation).parameters.iter().any(|known| matches!(known.kind, Value::Fields(_)))
}

/// The name of a schema of which `fields` may have left members out.
fn partial(name: &str) -> String {
    format!("{name}Partial")
}

fn problem(route: &Route, status: u16, codes: &[Code]) -> Json {
    let mut names: Vec<&str> = codes.iter().map(|code| code.facts().name).collect();
    names.dedup();
    let said: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}.", code.facts().name, code.facts().title)).collect();
    let mut headers = shared_headers(route);
    if codes.iter().any(|code| code.retry_after_s().is_some()) {
        headers.insert("Retry-After".into(), header_reference("Retry-After"));
    }
    let first = codes.first().map(|code| code.facts());
    let schema = json!({ "allOf": [values::reference("Problem"), { "properties": { "code": { "enum": names } } }] });
    let example = first.map(|facts| {
        json!({
            "type": format!("/problems/{}", facts.name), "title": facts.title, "status": status, "detail": "…",
            "instance": "/v1/transfers", "code": facts.name, "request_id": "req_0000000000001", "retryable": facts.retryable,
        })
    });
    json!({
        "description": said.join(" "),
        "headers": headers,
        "content": { "application/problem+json": { "schema": schema, "example": example } },
    })
}

fn header_reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// Headers that every answer of a route can have.
fn shared_headers(route: &Route) -> Map<String, Json> {
    let mut names = vec!["Request-Id", "Server-Timing"];
    if route.pattern.starts_with("/v1") {
        names.extend(["As-Of-Seq", "RateLimit", "RateLimit-Policy"]);
    }
    if matches!(route.class, Class::Money | Class::Change) {
        names.push("Idempotent-Replayed");
    }
    names.into_iter().map(|name| (name.to_owned(), header_reference(name))).collect()
}

fn headers() -> Json {
    let header = |about: &str, schema: Json| json!({ "description": about, "schema": schema });
    let text = || json!({ "type": "string" });
    json!({
        "Request-Id": header("This request's own id, for the log.", json!({ "type": "string", "pattern": "^req_[0-9a-z]{13}$" })),
        "Server-Timing": header("The stages that the request went through, in order, in milliseconds.", text()),
        "As-Of-Seq": header("The greatest seq that the answer reveals; everything up to it is on disk.", text()),
        "RateLimit": header("What is left of the caller's quota.", text()),
        "RateLimit-Policy": header("The caller's quotas.", text()),
        "Retry-After": header("Seconds to wait before the next try.", json!({ "type": "integer" })),
        "Idempotent-Replayed": header("`true`: this is the answer of an earlier request with the same key.", text()),
        "ETag": header("The state of the resource, for If-None-Match and If-Match.", text()),
        "Link": header("`rel=\"next\"`: the next page.", text()),
        "Location": header("Where the new object is.", text()),
    })
}

fn components() -> Json {
    let mut schemas = Map::new();
    for schema in schemas::SCHEMAS {
        schemas.insert(schema.name.into(), values::object(schema, false));
    }
    for route in ROUTES {
        let about = describe(route.operation);
        if let (true, Gives::One(schema) | Gives::Page(schema)) = (takes_fields(route), about.gives) {
            schemas.insert(partial(schema.name), values::object(schema, true));
        }
    }
    let codes: Vec<&str> = (0..=u8::MAX).filter_map(Currency::from_place).map(Currency::code).collect();
    schemas.insert("Currency".into(), json!({ "type": "string", "description": "ISO 4217.", "enum": codes }));
    let mut names: Vec<&str> = all_codes().map(|code| code.facts().name).collect();
    names.sort_unstable();
    names.dedup();
    schemas.insert(
        "Problem".into(),
        json!({
            "type": "object",
            "description": "A refusal (RFC 9457). `type` is the address of a page that explains it.",
            "required": ["type", "title", "status", "detail", "instance", "code", "request_id", "retryable"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
                "instance": { "type": "string" },
                "code": { "type": "string", "enum": names },
                "request_id": { "type": "string" },
                "retryable": { "type": "boolean", "description": "The same request may succeed later without a change." },
                "errors": { "type": "array", "items": values::reference("FieldError") },
            },
        }),
    );
    json!(schemas)
}

#[cfg(test)]
mod tests;
