//! Idempotency keys: what makes two requests "the same".
//!
//! The **hash** says whose key it is: owner, method, route and the key's text. The **fingerprint**
//! says what was asked: concrete path, query, the headers that shape the answer, and the raw body.
//! Both are 128 bits of blake3 over length-prefixed parts, so that no part can pose as another.

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName};

use crate::config::IDEMPOTENCY_KEY_CHARS_MAX;
use crate::engine::command::IdempotencyKey;

use super::problem::{Code, Outcome, Problem};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The owner of the keys of those who need no API key.
pub const LOCAL_OWNER: u64 = 0;

/// What a fingerprint covers beside the headers.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// The route's pattern, e.g. `/v1/transfers/{id}/post`.
    pub route: &'a str,
    /// The concrete path.
    pub path: &'a str,
    /// The query without its question mark; empty when there is none.
    pub query: &'a str,
    /// The raw body.
    pub body: &'a [u8],
}

/// The key of a request, or `None` when it has none.
///
/// # Errors
/// `idempotency_key_malformed`.
pub fn idempotency_key(headers: &HeaderMap, owner: u64, asked: &Asked<'_>) -> Outcome<Option<IdempotencyKey>> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = parse_key(value.as_bytes()).filter(|_| values.next().is_none());
    let key = key.ok_or_else(|| {
        let detail = "Send one key of 1 to 255 visible ASCII characters, bare or in double quotes.";
        Problem::new(Code::IdempotencyKeyMalformed, detail)
    })?;
    Ok(Some(identity_of(key, headers, owner, asked)))
}

/// As [`idempotency_key`], for a key that comes beside a body and not in a header; `None` when it is no key.
#[must_use]
pub fn key_beside(key: &str, headers: &HeaderMap, owner: u64, asked: &Asked<'_>) -> Option<IdempotencyKey> {
    let fits = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| identity_of(key.as_bytes(), headers, owner, asked))
}

fn identity_of(key: &[u8], headers: &HeaderMap, owner: u64, asked: &Asked<'_>) -> IdempotencyKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&owner.to_le_bytes());
    for part in [asked.method.as_bytes(), asked.route.as_bytes(), key] {
        add_part(&mut hasher, part);
    }
    let hash = first_half(&hasher);
    hasher.reset();
    add_part(&mut hasher, asked.path.as_bytes());
    add_part(&mut hasher, asked.query.as_bytes());
    for name in [CONTENT_TYPE, ACCEPT, PREFER] {
        let mut count = 0u64;
        for value in headers.get_all(&name) {
            add_part(&mut hasher, value.as_bytes());
            count += 1;
        }
        hasher.update(&count.to_le_bytes());
    }
    add_part(&mut hasher, asked.body);
    IdempotencyKey { hash, fingerprint: first_half(&hasher) }
}

/// The key inside a header value: visible ASCII, optionally as a quoted string of RFC 9651.
fn parse_key(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let bare = match value.strip_prefix(b"\"") {
        // An escape would give one key two spellings: refused. A lone quote is no quoted string.
        Some(rest) => {
            rest.strip_suffix(b"\"").filter(|inner| !inner.iter().any(|byte| matches!(byte, b'"' | b'\\')))?
        }
        None => value,
    };
    let fits = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&bare.len());
    (fits && bare.iter().all(u8::is_ascii_graphic)).then_some(bare)
}

fn add_part(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

fn first_half(hasher: &blake3::Hasher) -> [u8; 16] {
    let hash = hasher.finalize();
    let (half, _) = hash.as_bytes().split_first_chunk().expect("a blake3 hash has 32 bytes");
    *half
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> =
        Asked { method: "POST", route: "/v1/transfers", path: "/v1/transfers", query: "", body: b"{}" };

    fn key_of(pairs: &[(&'static str, &str)], asked: &Asked<'_>) -> Option<IdempotencyKey> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        idempotency_key(&headers, LOCAL_OWNER, asked).unwrap_or_else(|problem| panic!("{:?}", problem.code))
    }

    #[test]
    fn keys_are_visible_ascii_bare_or_quoted() {
        let long = "k".repeat(255);
        let quoted_long = format!("\"{long}\"");
        let table: &[(&str, Option<&str>)] = &[
            ("abc", Some("abc")),
            ("\"abc\"", Some("abc")),
            (" abc ", Some("abc")),
            ("a;b=1,c", Some("a;b=1,c")),
            (&long, Some(&long)),
            (&quoted_long, Some(&long)),
            ("", None),
            ("\"\"", None),
            ("\"", None),
            ("\"abc", None),
            ("\"a\\\"b\"", None),
            ("a b", None),
            ("a\tb", None),
            ("\u{e4}", None),
        ];
        for (value, key) in table {
            assert_eq!(parse_key(value.as_bytes()), key.map(str::as_bytes), "{value}");
        }
        assert_eq!(parse_key("k".repeat(256).as_bytes()), None);
    }

    #[test]
    fn the_hash_tells_keys_apart_and_the_fingerprint_requests() {
        let first = key_of(&[("idempotency-key", "k")], &ASKED).unwrap();
        assert_eq!(key_of(&[("idempotency-key", "\"k\"")], &ASKED), Some(first));
        assert_eq!(key_of(&[], &ASKED), None);
        let other_key = key_of(&[("idempotency-key", "l")], &ASKED).unwrap();
        assert_ne!(other_key.hash, first.hash);
        assert_eq!(other_key.fingerprint, first.fingerprint);
        let same_key: Vec<IdempotencyKey> = [
            key_of(&[("idempotency-key", "k"), ("accept", "*/*")], &ASKED),
            key_of(&[("idempotency-key", "k"), ("prefer", "*/*")], &ASKED),
            key_of(&[("idempotency-key", "k"), ("content-type", "*/*")], &ASKED),
            key_of(&[("idempotency-key", "k")], &Asked { body: b"{} ", ..ASKED }),
            key_of(&[("idempotency-key", "k")], &Asked { query: "a", ..ASKED }),
            key_of(&[("idempotency-key", "k")], &Asked { path: "/v1/transfers?", ..ASKED }),
        ]
        .into_iter()
        .flatten()
        .collect();
        for (place, key) in same_key.iter().enumerate() {
            assert_eq!(key.hash, first.hash);
            assert_ne!(key.fingerprint, first.fingerprint);
            assert!(!same_key[..place].contains(key), "fingerprints differ among themselves");
        }
        let other_route = key_of(&[("idempotency-key", "k")], &Asked { route: "/v1/transfers/batch", ..ASKED });
        assert_ne!(other_route.unwrap().hash, first.hash);
    }

    #[test]
    fn two_keys_in_one_request_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(IDEMPOTENCY_KEY, "a".parse().unwrap());
        headers.append(IDEMPOTENCY_KEY, "b".parse().unwrap());
        assert!(idempotency_key(&headers, LOCAL_OWNER, &ASKED).is_err());
    }
}
