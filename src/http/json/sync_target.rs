//! Targets of ledger sync, as callers set them up.

use crate::config::{OUTBOUND_URL_BYTES_MAX, SYNC_CREDENTIAL_BYTES_MAX, SYNC_NAME_BYTES_MAX};
use crate::jobs::sync::target::{TARGET_KINDS, TargetKind};

use super::super::problem::Outcome;
use super::fields::Fields;
use super::order::object;
use super::webhook::{EndpointChange, WANTED, rest};

/// A new target. Names of accounts and loans are looked up later.
#[derive(Debug)]
pub struct NewTarget {
    /// How it is spoken to.
    pub kind: TargetKind,
    /// Where it is.
    pub url: String,
    /// Behind this entry; what comes next when absent.
    pub after: Option<u64>,
    /// The rest.
    pub rest: TargetChange,
}

/// A change of a target; `None` leaves a part as it is, `Some(None)` removes it.
#[derive(Default)]
pub struct TargetChange {
    /// What targets and endpoints for webhooks have in common.
    pub common: EndpointChange,
    /// Who we are there.
    pub username: Option<Option<String>>,
    /// How we prove it.
    pub password: Option<Option<String>>,
    /// AMQP: where to publish.
    pub exchange: Option<Option<String>>,
    /// AMQP: under which key.
    pub routing_key: Option<Option<String>>,
    /// MQTT: where to publish.
    pub topic: Option<Option<String>>,
}

impl std::fmt::Debug for TargetChange {
    /// Never the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetChange").field("common", &self.common).finish_non_exhaustive()
    }
}

/// The body of `POST /v1/sync_targets`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`.
pub fn parse_new_target(body: &[u8]) -> Outcome<NewTarget> {
    object(body, |fields| {
        fields.require("kind");
        let kind = fields.name_of("kind", &TARGET_KINDS).unwrap_or(TargetKind::Http);
        let url = fields.filled_text("url", OUTBOUND_URL_BYTES_MAX).into();
        let after = fields.whole("after", 0..=i64::MAX).map(i64::unsigned_abs);
        NewTarget { kind, url, after, rest: change(fields) }
    })
}

/// The body of `PATCH /v1/sync_targets/{id}`.
///
/// # Errors
/// As [`parse_new_target`].
pub fn parse_target_change(body: &[u8]) -> Outcome<TargetChange> {
    object(body, |fields| {
        let url = fields.has("url").then(|| fields.filled_text("url", OUTBOUND_URL_BYTES_MAX).into());
        let is_enabled = fields.name_of("status", &WANTED);
        let change = change(fields);
        TargetChange { common: EndpointChange { url, is_enabled, ..change.common }, ..change }
    })
}

fn change(fields: &mut Fields<'_, '_>) -> TargetChange {
    TargetChange {
        common: EndpointChange { ordered: None, ..rest(fields, false) },
        username: credential(fields, "username"),
        password: credential(fields, "password"),
        exchange: named(fields, "exchange", SYNC_NAME_BYTES_MAX),
        routing_key: named(fields, "routing_key", SYNC_NAME_BYTES_MAX),
        topic: named(fields, "topic", SYNC_NAME_BYTES_MAX),
    }
}

/// What a header can carry: control characters would fail for ever, and a colon ends a name (RFC 7617, 2).
fn credential(fields: &mut Fields<'_, '_>, name: &str) -> Option<Option<String>> {
    let text = named(fields, name, SYNC_CREDENTIAL_BYTES_MAX)?;
    let is_wrong = |text: &String| text.contains(char::is_control) || (name == "username" && text.contains(':'));
    if text.as_ref().is_some_and(is_wrong) {
        let detail = format!("`{name}` has no control characters, and a username no colon.");
        fields.refuse(name, "invalid_value", detail);
    }
    Some(text)
}

/// A text of at least one character and at most so many bytes, or `null`.
fn named(fields: &mut Fields<'_, '_>, name: &str, bytes_max: usize) -> Option<Option<String>> {
    let text = fields.text_change(name, bytes_max)?;
    if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > bytes_max) {
        fields.refuse(name, "invalid_value", format!("`{name}` has 1 to {bytes_max} bytes."));
    }
    Some(text.map(Into::into))
}
