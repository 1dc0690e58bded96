//! API keys: making one, rotating one.

use crate::config::{API_KEY_SCOPES_MAX, EXTERNAL_ID_CHARS_MAX, KEY_OVERLAP_SECONDS_MAX, NAME_CHARS_MAX};
use crate::domain::access::{KeyLimits, KeyTerms, ROLES, Role, SCOPE_ALL};
use crate::domain::ids::Moment;

use super::super::problem::Outcome;
use super::super::query::{At, parse_at};
use super::super::router::is_scope;
use super::fields::Fields;
use super::order::object;

/// Greatest limit of a key, requests: far above what the machine can do.
const LIMIT_MAX: i64 = 1_000_000;

/// The body of `POST /v1/api_keys`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`.
pub fn parse_new_key(body: &[u8]) -> Outcome<KeyTerms> {
    object(body, |fields| {
        let name = fields.filled_text("name", NAME_CHARS_MAX).into();
        fields.require("role");
        let role = fields.name_of("role", &ROLES).unwrap_or(Role::Auditor);
        KeyTerms {
            name,
            role,
            scopes: scopes(fields),
            amount_limit: amount_limit(fields),
            limits: KeyLimits {
                rate_per_s: limit(fields, "rate_per_s"),
                burst: limit(fields, "burst"),
                concurrency: limit(fields, "concurrency"),
            },
            expires_at: expiry(fields),
            certificate: certificate(fields),
        }
    })
}

/// The body of `/rotate`: for how many seconds the old token stays good, 0 when absent.
///
/// # Errors
/// As [`parse_new_key`].
pub fn parse_rotation(body: &[u8]) -> Outcome<i64> {
    object(body, |fields| fields.whole("overlap_s", 0..=KEY_OVERLAP_SECONDS_MAX).unwrap_or(0))
}

fn scopes(fields: &mut Fields<'_, '_>) -> Vec<Box<str>> {
    let Some(texts) = fields.texts("scopes", API_KEY_SCOPES_MAX, EXTERNAL_ID_CHARS_MAX) else {
        return vec![SCOPE_ALL.into()];
    };
    if texts.is_empty() {
        fields.refuse("scopes", "invalid_value", "`scopes` is empty: such a key could do nothing.");
    }
    if let Some(unknown) = texts.iter().find(|scope| !is_scope(scope)) {
        let shown: String = unknown.chars().take(64).collect();
        let detail =
            format!("`{shown}` is no scope: write `*`, `<resource>:read`, `<resource>:write` or an operation's id.");
        fields.refuse("scopes", "invalid_value", detail);
    }
    texts
}

fn amount_limit(fields: &mut Fields<'_, '_>) -> Option<u64> {
    let text = fields.text("amount_limit", 20)?;
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|_| is_plain);
    if limit.is_none() {
        fields.refuse(
            "amount_limit",
            "invalid_value",
            "`amount_limit` is a string of digits: whole units of any currency.",
        );
    }
    limit
}

fn limit(fields: &mut Fields<'_, '_>, name: &str) -> u32 {
    let number = fields.whole(name, 1..=LIMIT_MAX).unwrap_or(0);
    u32::try_from(number).expect("the range was checked")
}

fn expiry(fields: &mut Fields<'_, '_>) -> Option<Moment> {
    let text = fields.text("expires_at", 40)?;
    match parse_at(&text) {
        Some(At::Moment(moment)) => Some(moment),
        _ => {
            fields.refuse("expires_at", "invalid_value", "`expires_at` is an instant such as 2027-03-31T18:30:00Z.");
            None
        }
    }
}

fn certificate(fields: &mut Fields<'_, '_>) -> Option<[u8; 32]> {
    let text = fields.text("certificate_sha256", 95)?;
    let fingerprint = parse_fingerprint(&text);
    if fingerprint.is_none() {
        let detail = "`certificate_sha256` is 64 hexadecimal digits, with or without colons between the bytes.";
        fields.refuse("certificate_sha256", "invalid_value", detail);
    }
    fingerprint
}

/// A SHA-256 fingerprint as `openssl x509 -fingerprint -sha256` prints it, or without its colons.
fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let mut fingerprint = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in fingerprint.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn a_new_key_is_taken_or_told_what_is_wrong() {
        let hex = "AB:".repeat(31) + "cd";
        let full = format!(
            r#"{{"name":"Till 3","role":"cashier","scopes":["transfers:write","get_account"],"amount_limit":"50000",
            "rate_per_s":10,"burst":20,"concurrency":2,"expires_at":"2027-03-31T18:30:00Z","certificate_sha256":"{hex}"}}"#
        );
        let terms = parse_new_key(full.as_bytes()).unwrap();
        assert_eq!((terms.role, terms.amount_limit, terms.limits.burst), (Role::Cashier, Some(50_000), 20));
        assert_eq!(terms.certificate.map(|bytes| (bytes[0], bytes[31])), Some((0xab, 0xcd)));
        assert_eq!(terms.expires_at, Some(Moment(1_806_517_800_000_000)));
        let bare = parse_new_key(br#"{"name":"x","role":"auditor"}"#).unwrap();
        assert_eq!((&*bare.scopes[0], bare.scopes.len(), bare.expires_at), ("*", 1, None));
        for (body, expected) in [
            ("{}", "validation_failed /name=missing /role=missing"),
            (r#"{"name":"","role":"king"}"#, "validation_failed /name=invalid_value /role=invalid_value"),
            (r#"{"name":"x","role":"admin","scopes":[]}"#, "validation_failed /scopes=invalid_value"),
            (r#"{"name":"x","role":"admin","scopes":["loanz:read"]}"#, "validation_failed /scopes=invalid_value"),
            (r#"{"name":"x","role":"admin","scopes":[1]}"#, "validation_failed /scopes=wrong_type"),
            (r#"{"name":"x","role":"admin","amount_limit":5}"#, "validation_failed /amount_limit=wrong_type"),
            (r#"{"name":"x","role":"admin","amount_limit":"5.0"}"#, "validation_failed /amount_limit=invalid_value"),
            (r#"{"name":"x","role":"admin","burst":0}"#, "validation_failed /burst=invalid_value"),
            (r#"{"name":"x","role":"admin","expires_at":"2027-01-01"}"#, "validation_failed /expires_at=invalid_value"),
            (
                r#"{"name":"x","role":"admin","certificate_sha256":"ab"}"#,
                "validation_failed /certificate_sha256=invalid_value",
            ),
            (r#"{"name":"x","role":"admin","token":"mk_1"}"#, "unknown_field /token=unknown_field"),
        ] {
            assert_eq!(said(&parse_new_key(body.as_bytes()).unwrap_err()), expected, "{body}");
        }
    }

    #[test]
    fn an_overlap_is_bounded() {
        assert_eq!(parse_rotation(b"").unwrap(), 0);
        assert_eq!(parse_rotation(br#"{"overlap_s":3600}"#).unwrap(), 3_600);
        assert!(parse_rotation(br#"{"overlap_s":-1}"#).is_err());
        assert!(parse_rotation(br#"{"overlap_s":2592001}"#).is_err());
    }
}
