//! API keys as JSON: everything but their hashes.

use crate::domain::access::ApiKey;
use crate::domain::ids::{IdKind, Moment};

use super::{write_list, write_list_head, write_number, write_quoted_id, write_quoted_moment, write_text};

/// An API key object as the answer to a command; with its token in the one answer that shows it. What the clock
/// decides is not said: a kept reply has the same bytes later.
#[must_use]
pub fn api_key(key: &ApiKey, token: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(640);
    write_api_key(&mut out, key, status(key), token);
    out
}

/// An API key object as it is now, for whoever looks: no such answer is kept.
#[must_use]
pub fn api_key_at(key: &ApiKey, now: Moment) -> Vec<u8> {
    let mut out = Vec::with_capacity(640);
    write_api_key(&mut out, key, status_at(key, now), None);
    out
}

/// A page of API keys as they are now.
#[must_use]
pub fn api_key_page<'k>(keys: impl IntoIterator<Item = &'k ApiKey>, now: Moment, has_more: bool, url: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    write_list_head(&mut out, url, has_more);
    write_list(&mut out, keys, |out, key| write_api_key(out, key, status_at(key, now), None));
    out.push(b'}');
    out
}

fn status(key: &ApiKey) -> &'static str {
    if key.revoked_at.is_some() { "revoked" } else { "active" }
}

fn status_at(key: &ApiKey, now: Moment) -> &'static str {
    match status(key) {
        "active" if !key.is_usable(now) => "expired",
        other => other,
    }
}

fn write_api_key(out: &mut Vec<u8>, key: &ApiKey, status: &str, token: Option<&str>) {
    let terms = &key.terms;
    out.extend_from_slice(b"{\"object\":\"api_key\",\"id\":");
    write_quoted_id(out, IdKind::ApiKey, key.number);
    if let Some(token) = token {
        out.extend_from_slice(b",\"token\":");
        write_text(out, token);
    }
    out.extend_from_slice(b",\"name\":");
    write_text(out, &terms.name);
    out.extend_from_slice(b",\"role\":");
    write_text(out, terms.role.name());
    out.extend_from_slice(b",\"scopes\":");
    write_list(out, &terms.scopes, |out, scope| write_text(out, scope));
    out.extend_from_slice(b",\"amount_limit\":");
    write_optional(out, terms.amount_limit, |out, limit| {
        out.push(b'"');
        write_number(out, limit);
        out.push(b'"');
    });
    let limits = terms.limits;
    for (name, limit) in
        [("rate_per_s", limits.rate_per_s), ("burst", limits.burst), ("concurrency", limits.concurrency)]
    {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        write_optional(out, (limit > 0).then_some(limit), |out, limit| write_number(out, u64::from(limit)));
    }
    out.extend_from_slice(b",\"certificate_sha256\":");
    write_optional(out, terms.certificate, |out, fingerprint| write_text(out, &hex(&fingerprint)));
    out.extend_from_slice(b",\"status\":");
    write_text(out, status);
    out.extend_from_slice(b",\"created_at\":");
    write_quoted_moment(out, key.made_at);
    out.extend_from_slice(b",\"created_by\":");
    write_optional(out, (key.made_by > 0).then_some(key.made_by), |out, by| write_quoted_id(out, IdKind::ApiKey, by));
    let moments: [(&str, Option<Moment>); 4] = [
        ("expires_at", terms.expires_at),
        ("rotated_at", key.rotated_at),
        ("old_token_until", key.old.map(|(_, until)| until)),
        ("revoked_at", key.revoked_at),
    ];
    for (name, moment) in moments {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        write_optional(out, moment, write_quoted_moment);
    }
    out.push(b'}');
}

fn write_optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::{KeyLimits, KeyTerms, Role};
    use crate::domain::ids::Seq;

    #[test]
    fn a_key_is_shown_without_its_hashes() {
        let key = ApiKey {
            number: 2,
            made_by: 1,
            terms: KeyTerms {
                name: "Till \"3\"".into(),
                role: Role::Cashier,
                scopes: vec!["transfers:write".into()],
                amount_limit: Some(50_000),
                limits: KeyLimits { rate_per_s: 0, burst: 5, concurrency: 0 },
                expires_at: None,
                certificate: Some([0xab; 32]),
            },
            hash: [1; 32],
            old: None,
            made_at: Moment(0),
            rotated_at: None,
            revoked_at: None,
            last_seq: Seq(1),
        };
        let text = String::from_utf8(api_key(&key, Some("mk_1"))).unwrap();
        let expected = format!(
            concat!(
                r#"{{"object":"api_key","id":"key_0000000000002","token":"mk_1","name":"Till \"3\"","role":"cashier","#,
                r#""scopes":["transfers:write"],"amount_limit":"50000","rate_per_s":null,"burst":5,"concurrency":null,"#,
                r#""certificate_sha256":"{}","status":"active","created_at":"1970-01-01T00:00:00.000000Z","#,
                r#""created_by":"key_0000000000001","expires_at":null,"rotated_at":null,"old_token_until":null,"#,
                r#""revoked_at":null}}"#
            ),
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
    }
}
