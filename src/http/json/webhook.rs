//! Endpoints for webhooks, as callers set them up.

use crate::config::{DESCRIPTION_CHARS_MAX, EVENT_PATTERNS_MAX, OUTBOUND_URL_BYTES_MAX};
use crate::engine::feed::EventKinds;

use super::super::problem::Outcome;
use super::fields::Fields;
use super::order::object;

/// How an endpoint's messages are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// HMAC-SHA256 with a shared secret.
    Hmac,
    /// ed25519: the receiver needs only the public half.
    Ed25519,
}

/// Ways to sign, by their names.
pub const SIGNINGS: [(Signing, &str); 2] = [(Signing::Hmac, "hmac"), (Signing::Ed25519, "ed25519")];

/// Whether an endpoint is sent anything, by names.
pub const WANTED: [(bool, &str); 2] = [(true, "enabled"), (false, "disabled")];

/// A new endpoint. Names of accounts and loans are looked up later.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    /// Where to.
    pub url: String,
    /// How.
    pub signing: Signing,
    /// Behind this entry; what comes next when absent.
    pub after: Option<u64>,
    /// The rest.
    pub rest: EndpointChange,
}

/// A change of an endpoint; `None` leaves a part as it is, `Some(None)` removes it.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    /// Where to.
    pub url: Option<String>,
    /// For people.
    pub description: Option<Option<String>>,
    /// Kinds and patterns.
    pub types: Option<Option<Vec<String>>>,
    /// Name of an account.
    pub account: Option<Option<String>>,
    /// Name of a loan.
    pub loan: Option<Option<String>>,
    /// One at a time.
    pub ordered: Option<bool>,
    /// Whether anything is sent.
    pub is_enabled: Option<bool>,
}

/// The body of `POST /v1/webhook_endpoints`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`.
pub fn parse_new_endpoint(body: &[u8]) -> Outcome<NewEndpoint> {
    object(body, |fields| {
        let url = fields.filled_text("url", OUTBOUND_URL_BYTES_MAX).into();
        let signing = fields.name_of("signing", &SIGNINGS).unwrap_or(Signing::Hmac);
        let after = fields.whole("after", 0..=i64::MAX).map(i64::unsigned_abs);
        NewEndpoint { url, signing, after, rest: rest(fields, true) }
    })
}

/// The body of `PATCH /v1/webhook_endpoints/{id}`.
///
/// # Errors
/// As [`parse_new_endpoint`].
pub fn parse_endpoint_change(body: &[u8]) -> Outcome<EndpointChange> {
    object(body, |fields| {
        let url = fields.has("url").then(|| fields.filled_text("url", OUTBOUND_URL_BYTES_MAX).into());
        let is_enabled = fields.name_of("status", &WANTED);
        EndpointChange { url, is_enabled, ..rest(fields, true) }
    })
}

/// What can be changed alike in endpoints and in targets of ledger sync; the latter are always in order.
pub fn rest(fields: &mut Fields<'_, '_>, has_order: bool) -> EndpointChange {
    let owned = |text: Option<Option<std::borrow::Cow<'_, str>>>| text.map(|text| text.map(Into::into));
    let types = if fields.has("types") {
        let names = fields.texts("types", EVENT_PATTERNS_MAX, 64).unwrap_or_default();
        if let Some(unknown) = names.iter().find(|name| EventKinds::named(name).is_none()) {
            let shown: String = unknown.chars().take(64).collect();
            fields.refuse("types", "invalid_value", format!("No event is called `{shown}`; `loan.*` is all of loans."));
        }
        Some(Some(names.into_iter().map(String::from).collect()))
    } else {
        let is_null = fields.is_null("types");
        fields.skip_null("types");
        is_null.then_some(None)
    };
    EndpointChange {
        url: None,
        description: owned(fields.text_change("description", DESCRIPTION_CHARS_MAX)),
        types,
        account: owned(fields.text_change("account", 80)),
        loan: owned(fields.text_change("loan", 80)),
        ordered: (has_order && fields.has("ordered")).then(|| fields.flag("ordered")),
        is_enabled: None,
    }
}

/// The body of `/replay`: behind which entry.
///
/// # Errors
/// As [`parse_new_endpoint`].
pub fn parse_replay(body: &[u8]) -> Outcome<u64> {
    object(body, |fields| {
        fields.require("after");
        fields.whole("after", 0..=i64::MAX).unwrap_or_default().unsigned_abs()
    })
}
