//! Media types: what a caller accepts, what it sends, what it prefers.

use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};

use super::compress::{CODINGS, Coding};
use super::json::BatchForm;
use super::problem::{Code, Outcome, Problem};
use super::router::Takes;

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The media type of protobuf messages.
pub const PROTOBUF: &str = "application/x-protobuf";

/// The media type of documents.
pub const PDF: &str = "application/pdf";

/// The first of `offers` that the caller likes best (RFC 9110, 12.5.1).
///
/// # Errors
/// `not_acceptable`.
pub fn accepted(headers: &HeaderMap, offers: &'static [&'static str]) -> Outcome<&'static str> {
    let default = offers[0];
    if !headers.contains_key(ACCEPT) {
        return Ok(default);
    }
    let mut best: Option<(u16, &'static str)> = None;
    for offer in offers {
        let mut weight: Option<(u8, u16)> = None;
        for value in headers.get_all(ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                // The most specific range decides, not the heaviest.
                if let Some(found) = weigh(range, offer)
                    && weight.is_none_or(|known| found.0 >= known.0)
                {
                    weight = Some(found);
                }
            }
        }
        let weight = weight.map_or(0, |(_, weight)| weight);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, offer));
        }
    }
    match best {
        Some((_, offer)) => Ok(offer),
        None => {
            let detail = format!("This route answers with {}.", offers.join(" or "));
            Err(Problem::new(Code::NotAcceptable, detail))
        }
    }
}

/// How specifically a range names the offer, and its weight in thousandths. `None` when it does not.
fn weigh(range: &str, offer: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(';');
    let name = parts.next()?.trim();
    let specific = if name.eq_ignore_ascii_case(offer) {
        2
    } else if name == "*/*" {
        0
    } else {
        let (kind, rest) = name.split_once('/')?;
        let same_kind = offer.split_once('/').is_some_and(|(offered, _)| offered.eq_ignore_ascii_case(kind));
        if rest != "*" || !same_kind {
            return None;
        }
        1
    };
    Some((specific, weight_of(parts)))
}

/// The weight among parameters, 1 when there is none.
fn weight_of<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let weight = parameters.find_map(|part| part.trim().strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('='));
    weight.map_or(1000, |text| parse_weight(text.trim()))
}

/// The content coding that the caller likes best; among equals, the one that serves best. `None`: as it is,
/// also for a caller who forbids even that: an answer that it may not be able to read beats none.
#[must_use]
pub fn accepted_coding(headers: &HeaderMap) -> Option<Coding> {
    let mut weights: [Option<u16>; CODINGS.len()] = [None; CODINGS.len()];
    let (mut others, mut plain) = (0, 0);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for part in value.to_str().unwrap_or_default().split(',') {
            let mut parts = part.split(';');
            let name = parts.next().unwrap_or_default().trim();
            let weight = weight_of(parts);
            match Coding::from_name(name) {
                Some(coding) => weights[coding as usize] = Some(weight),
                None if name == "*" => others = weight,
                None if name.eq_ignore_ascii_case("identity") => plain = weight,
                None => {}
            }
        }
    }
    let weigh = |coding: Coding| weights[coding as usize].unwrap_or(others);
    let best = CODINGS.iter().map(|(coding, _)| *coding).rev().max_by_key(|coding| weigh(*coding))?;
    (weigh(best) > 0 && weigh(best) >= plain).then_some(best)
}

/// A weight `0`, `1`, `0.5`, `0.123` in thousandths; anything else counts as 1.
fn parse_weight(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole != "0" || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 1000;
    }
    fraction.bytes().chain(std::iter::repeat(b'0')).take(3).fold(0, |sum, byte| sum * 10 + u16::from(byte - b'0'))
}

/// Checks the body's media type against what the route takes; the form of a batch.
///
/// # Errors
/// `unsupported_media_type`.
pub fn check_content_type(headers: &HeaderMap, takes: Takes, body: &[u8]) -> Outcome<BatchForm> {
    let value = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let (name, charset) = match value {
        None => ("", None),
        Some(value) => {
            let (name, rest) = value.split_once(';').unwrap_or((value, ""));
            (name.trim(), rest.trim().split_once('=').filter(|(key, _)| key.trim().eq_ignore_ascii_case("charset")))
        }
    };
    let is_utf8 = charset.is_none_or(|(_, charset)| charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"));
    let is_json = is_utf8 && name.eq_ignore_ascii_case("application/json");
    let is_lines = is_utf8 && name.eq_ignore_ascii_case("application/x-ndjson");
    let is_protobuf = name.eq_ignore_ascii_case(PROTOBUF);
    match takes {
        Takes::Nothing => Ok(BatchForm::Json),
        Takes::Message | Takes::MessageOrNothing | Takes::Batch if is_protobuf => Ok(BatchForm::Protobuf),
        Takes::JsonOrNothing | Takes::MessageOrNothing if is_json || body.is_empty() => Ok(BatchForm::Json),
        Takes::Json | Takes::Message | Takes::JsonBatch | Takes::Batch if is_json => Ok(BatchForm::Json),
        Takes::Batch if is_lines => Ok(BatchForm::Lines { atomic: false }),
        Takes::Batch => {
            Err(unsupported("Send application/json or application/x-ndjson in UTF-8, or application/x-protobuf."))
        }
        Takes::Message | Takes::MessageOrNothing => {
            Err(unsupported("Send application/json in UTF-8, or application/x-protobuf."))
        }
        Takes::Json | Takes::JsonBatch | Takes::JsonOrNothing => Err(unsupported("Send application/json, in UTF-8.")),
    }
}

fn unsupported(detail: &'static str) -> Box<Problem> {
    Problem::new(Code::UnsupportedMediaType, detail)
}

/// Whether the caller wants a short answer: `Prefer: return=minimal` (RFC 7240).
#[must_use]
pub fn prefers_minimal(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim().eq_ignore_ascii_case("return") && value.trim().trim_matches('"').eq_ignore_ascii_case("minimal")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: &[&str] = &["application/json", "text/csv"];

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_callers_liking_decides() {
        for (accept, expected) in [
            ("*/*", Some("application/json")),
            ("application/json", Some("application/json")),
            ("Application/JSON; charset=utf-8", Some("application/json")),
            ("text/csv", Some("text/csv")),
            ("text/*", Some("text/csv")),
            ("text/csv, application/json;q=0.5", Some("text/csv")),
            ("text/csv;q=0.1, */*;q=0.2", Some("application/json")),
            ("application/json;q=0, */*", Some("text/csv")),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=0.000, text/csv;q=0", None),
            ("garbage", None),
            ("", None),
        ] {
            assert_eq!(accepted(&headers(ACCEPT, accept), OFFERS).ok(), expected, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new(), OFFERS).ok(), Some("application/json"));
    }

    #[test]
    fn the_best_liked_coding_is_taken() {
        for (accept, expected) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, br", Some(Coding::Gzip)),
            ("br", Some(Coding::Brotli)),
            ("x-gzip", Some(Coding::Gzip)),
            ("gzip;q=0.5, br;q=0.8", Some(Coding::Brotli)),
            ("zstd;q=0, *", Some(Coding::Gzip)),
            ("*;q=0.1, identity;q=0.5", None),
            ("gzip;q=0.5, identity", None),
            ("gzip, identity", Some(Coding::Gzip)),
            ("gzip; Q = 0", None),
            ("identity;q=0", None),
            ("deflate", None),
            ("", None),
        ] {
            assert_eq!(accepted_coding(&headers(ACCEPT_ENCODING, accept)), expected, "{accept}");
        }
        assert_eq!(accepted_coding(&HeaderMap::new()), None);
    }

    #[test]
    fn bodies_say_what_they_are() {
        let takes =
            |takes, value: &str, body: &[u8]| check_content_type(&headers(CONTENT_TYPE, value), takes, body).ok();
        for json in ["application/json", "application/json; charset=utf-8", "Application/Json;charset=\"UTF-8\""] {
            assert_eq!(takes(Takes::Json, json, b"{}"), Some(BatchForm::Json), "{json}");
        }
        for other in ["text/json", "application/json; charset=latin-1", "application/x-ndjson", "", "application/xml"] {
            assert_eq!(takes(Takes::Json, other, b"{}"), None, "{other}");
        }
        assert_eq!(takes(Takes::Batch, "application/x-ndjson", b"{}"), Some(BatchForm::Lines { atomic: false }));
        assert_eq!(takes(Takes::JsonBatch, "application/x-ndjson", b"{}"), None);
        assert_eq!(takes(Takes::Message, "application/x-protobuf", b""), Some(BatchForm::Protobuf));
        assert_eq!(takes(Takes::Json, "application/x-protobuf", b""), None);
        assert!(check_content_type(&HeaderMap::new(), Takes::Json, b"{}").is_err());
        assert!(check_content_type(&HeaderMap::new(), Takes::JsonOrNothing, b"").is_ok());
        assert!(check_content_type(&HeaderMap::new(), Takes::JsonOrNothing, b"{}").is_err());
    }

    #[test]
    fn a_short_answer_can_be_preferred() {
        for (value, expected) in [
            ("return=minimal", true),
            ("respond-async, Return=\"minimal\"", true),
            ("return=representation", false),
            ("minimal", false),
        ] {
            assert_eq!(prefers_minimal(&headers(PREFER, value)), expected, "{value}");
        }
    }
}
