//! `X-Request-Timeout-Ms`: how long the caller will wait.
//!
//! The deadline counts from the request's first byte here. Work that would miss it is refused before it
//! begins; work that began is finished, and its answer is sent however late: nothing is half done.

use std::time::{Duration, Instant};

use hyper::HeaderMap;

use crate::config::REQUEST_TIMEOUT_MS_MAX;
use crate::http::problem::{Code, Outcome, Problem};

/// When the answer must be on its way; `None` when the caller did not say.
///
/// # Errors
/// `timeout_malformed`.
pub(super) fn deadline(headers: &HeaderMap, started: Instant) -> Outcome<Option<Instant>> {
    let Some(value) = headers.get("x-request-timeout-ms") else { return Ok(None) };
    let digits = value.to_str().unwrap_or_default();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse::<u64>() {
        Ok(ms) if is_number && ms <= REQUEST_TIMEOUT_MS_MAX => Ok(Some(started + Duration::from_millis(ms))),
        _ => Err(Problem::new(
            Code::TimeoutMalformed,
            format!("Write X-Request-Timeout-Ms as whole milliseconds from 0 to {REQUEST_TIMEOUT_MS_MAX}."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_whole_milliseconds_from_the_start_of_the_request() {
        let started = Instant::now();
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([("x-request-timeout-ms".parse().unwrap(), text.parse().unwrap())]);
            deadline(&headers, started).map_err(|problem| problem.code)
        };
        assert_eq!(read("250"), Ok(Some(started + Duration::from_millis(250))));
        assert_eq!(read("0"), Ok(Some(started)));
        for bad in ["", "-1", "+5", "1.5", "1e3", "soon", "99999999999999999999", "3600001"] {
            assert_eq!(read(bad), Err(Code::TimeoutMalformed), "{bad}");
        }
        assert!(deadline(&HeaderMap::new(), started).unwrap().is_none());
    }
}
