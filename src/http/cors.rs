//! Which browsers' pages may ask us, and what every answer forbids browsers to do with it.
//!
//! Promise: without a list of origins (the default) no answer carries a header of CORS, and a browser
//! keeps every other site's pages away. With one, only an origin of the list is told that it may, never `*`,
//! and never with cookies: a caller shows its API key, or nothing.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;

/// Headers that a page may send.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, authorization, content-encoding, content-type, idempotency-key, if-match, if-none-match, prefer, \
     traceparent, x-request-id, x-request-timeout-ms",
);

/// Headers that a page may read.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "as-of-seq, etag, idempotent-replayed, link, location, ratelimit, ratelimit-policy, request-id, retry-after, \
     server-timing",
);

/// Seconds for which a browser remembers the answer to its question.
const MAX_AGE_S: u32 = 600;

/// A page loads its own style sheet and nothing else, and nobody frames it.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The origins whose pages may ask.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Origins as [`parse_origin`] took them.
    #[must_use]
    pub fn of(origins: &[String]) -> Origins {
        Origins(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect())
    }

    /// Adds the headers of CORS to the answer of a request, if its origin is on the list. `allow` is the
    /// path's methods for a browser's preflight.
    pub fn apply(&self, request: &Parts, allow: Option<&str>, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = request.headers.get(ORIGIN).filter(|origin| self.0.contains(origin)) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
        let is_preflight = request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if let Some(allow) = allow.filter(|_| is_preflight).and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S.into());
        }
    }
}

/// An origin as a browser writes it: scheme and host, a port where it is not the usual one, no path.
///
/// # Errors
/// A sentence for the operator.
pub fn parse_origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_host = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte))
    };
    if host.is_some_and(is_host) {
        return Ok(text.to_owned());
    }
    Err("an origin is http:// or https:// with a host in lower case, and no path: https://till.example".to_owned())
}

/// The headers that keep a browser from guessing, keeping and framing. `is_tls`: the connection is encrypted.
pub fn protect(path: &str, is_tls: bool, headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if path.starts_with("/v1") {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    } else if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
        headers.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    if is_tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn answered(origins: &[&str], origin: &str, is_preflight: bool) -> HeaderMap {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let mut request = Request::options("/v1/transfers").header(ORIGIN, origin);
        if is_preflight {
            request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut headers = HeaderMap::new();
        Origins::of(&origins).apply(&head, Some("GET, POST"), &mut headers);
        headers
    }

    #[test]
    fn only_listed_origins_are_told_that_they_may() {
        let said = answered(&["https://a.example"], "https://a.example", true);
        assert_eq!(said[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert_eq!(said[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        let plain = answered(&["https://a.example"], "https://a.example", false);
        assert!(!plain.contains_key(ACCESS_CONTROL_ALLOW_METHODS) && plain.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
        let other = answered(&["https://a.example"], "https://b.example", true);
        assert_eq!((other.len(), &other[VARY]), (1, &HeaderValue::from_static("Origin")));
        assert!(answered(&[], "https://a.example", true).is_empty(), "off by default");
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for good in ["https://till.example", "http://localhost:3000", "http://[::1]:80"] {
            assert!(parse_origin(good).is_ok(), "{good}");
        }
        for bad in ["*", "null", "https://", "till.example", "https://a.example/", "https://A.example", "ftp://a"] {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_protect_themselves() {
        let said = |path: &str, kind: &'static str, is_tls| {
            let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            protect(path, is_tls, &mut headers);
            headers
        };
        let api = said("/v1/accounts", "application/json", false);
        assert_eq!(
            (&api[CACHE_CONTROL], &api[X_CONTENT_TYPE_OPTIONS]),
            (&"no-store".parse().unwrap(), &"nosniff".parse().unwrap())
        );
        assert!(!api.contains_key(STRICT_TRANSPORT_SECURITY));
        let page = said("/docs", "text/html; charset=utf-8", true);
        assert!(page.contains_key(CONTENT_SECURITY_POLICY) && page.contains_key(STRICT_TRANSPORT_SECURITY));
        assert!(!page.contains_key(CACHE_CONTROL));
    }
}
