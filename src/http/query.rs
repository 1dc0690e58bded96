//! Query parameters: each is known, stands once (but `name[]`) and makes sense, or the request is refused.

use std::borrow::Cow;

use crate::config::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};
use crate::domain::ids::Moment;
use crate::domain::time::Day;

use super::problem::{Code, Outcome, Problem};

/// The parameters of one request.
#[derive(Debug)]
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads the parameters and refuses what is not in `known`. A plus sign is a plus sign: no
    /// parameter of ours holds spaces, but instants hold offsets.
    ///
    /// # Errors
    /// `unknown_parameter`, `invalid_parameter`.
    pub fn parse(query: Option<&'a str>, known: &[&str]) -> Outcome<Query<'a>> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (Some(name), Some(value)) = (percent_decode(name), percent_decode(value)) else {
                return Err(Problem::of_parameter(
                    Code::InvalidParameter,
                    "",
                    "The query is not percent-encoded UTF-8.",
                ));
            };
            if !known.contains(&name.as_ref()) {
                let detail = if known.is_empty() {
                    "This route takes no query parameters.".to_owned()
                } else {
                    format!("This route takes {}.", known.join(", "))
                };
                let shown: String = name.chars().take(64).collect();
                return Err(Problem::of_parameter(Code::UnknownParameter, &shown, detail));
            }
            if !name.ends_with("[]") && pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::of_parameter(Code::InvalidParameter, &name, format!("`{name}` stands twice.")));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs })
    }

    /// A parameter as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// All values of a parameter that may stand several times: `name[]`.
    pub fn texts<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// A parameter read by `read`; `expected` ends the sentence "`name` is …".
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn read<T>(&self, name: &str, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Outcome<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::of_parameter(Code::InvalidParameter, name, format!("`{name}` is {expected}."))),
        }
    }

    /// A date.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn day(&self, name: &str) -> Outcome<Option<Day>> {
        self.read(name, "a date YYYY-MM-DD from 1970 to 2149", Day::parse)
    }

    /// `true` or `false`; false when absent.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn flag(&self, name: &str) -> Outcome<bool> {
        let flag = self.read(name, "true or false", |text| match text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }

    /// Rows of a page.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn limit(&self) -> Outcome<usize> {
        let expected = "from 1 to 1000";
        const _: () = assert!(LIST_LIMIT_MAX == 1000, "the sentence says 1000");
        let limit = self.read("limit", expected, |text| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|limit| is_plain && (1..=LIST_LIMIT_MAX).contains(limit))
        })?;
        Ok(limit.unwrap_or(LIST_LIMIT_DEFAULT))
    }

    /// The query of the next page: the same, but after `cursor`.
    #[must_use]
    pub fn next_page(&self, path: &str, cursor: &str) -> String {
        self.next_page_by(path, "starting_after", cursor)
    }

    /// As [`Query::next_page`], where the parameter that moves on has another name.
    #[must_use]
    pub fn next_page_by(&self, path: &str, parameter: &str, cursor: &str) -> String {
        let mut url = format!("{path}?");
        for (name, value) in self.pairs.iter().filter(|(name, _)| name != parameter) {
            url.push_str(&percent_encode(name));
            url.push('=');
            url.push_str(&percent_encode(value));
            url.push('&');
        }
        url.push_str(parameter);
        url.push('=');
        url.push_str(cursor);
        url
    }
}

/// A point in the past: an instant, or the end of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// As recorded by then.
    Moment(Moment),
    /// By effective date, end of that day.
    Day(Day),
}

/// Reads `?at=`: a date, or an RFC 3339 instant with its offset.
#[must_use]
pub fn parse_at(text: &str) -> Option<At> {
    if let Some(day) = Day::parse(text) {
        return Some(At::Day(day));
    }
    // The library takes more than RFC 3339 (brackets, spaces, weeks); the shape is checked here.
    let bytes = text.as_bytes();
    let is_shaped = bytes.len() >= 20
        && matches!(bytes[10], b'T' | b't')
        && !text.contains(['[', ' '])
        && Day::parse(text.get(..10)?).is_some();
    let instant: jiff::Timestamp = if is_shaped { text.parse().ok()? } else { return None };
    Some(At::Moment(Moment(instant.as_microsecond())))
}

/// Undoes percent-encoding. `None` for a broken escape or for what is not UTF-8.
#[must_use]
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Percent-encodes everything but RFC 3986's unreserved characters and the colon.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: &[&str] = &["limit", "starting_after", "on", "dry_run"];

    #[test]
    fn parameters_are_known_single_and_sensible() {
        let say = |query: &'static str| {
            let read = || -> Outcome<String> {
                let query = Query::parse(Some(query), KNOWN)?;
                Ok(format!(
                    "{} {:?} {}",
                    query.limit()?,
                    query.day("on")?.map(|day| day.to_string()),
                    query.flag("dry_run")?
                ))
            };
            read().unwrap_or_else(|problem| format!("{} {}", problem.code.facts().name, problem.errors[0].pointer))
        };
        for (query, expected) in [
            ("", "50 None false"),
            ("limit=1&on=2026-01-31&dry_run=true", "1 Some(\"2026-01-31\") true"),
            ("limit=1000&&", "1000 None false"),
            ("limit=0", "invalid_parameter limit"),
            ("limit=1001", "invalid_parameter limit"),
            ("limit=+5", "invalid_parameter limit"),
            ("limit", "invalid_parameter limit"),
            ("limit=5&limit=5", "invalid_parameter limit"),
            ("l%69mit=7", "7 None false"),
            ("on=2026-02-30", "invalid_parameter on"),
            ("dry_run=1", "invalid_parameter dry_run"),
            ("size=5", "unknown_parameter size"),
            ("limit=%zz", "invalid_parameter "),
            ("limit=%ff", "invalid_parameter "),
        ] {
            assert_eq!(say(query), expected, "{query}");
        }
    }

    #[test]
    fn the_past_is_a_date_or_an_instant() {
        for (text, expected) in [
            ("2026-11-21", Some(At::Day(Day(20_778)))),
            ("2026-11-21T04:34:50.123456Z", Some(At::Moment(Moment(1_795_235_690_123_456)))),
            ("2026-11-21T10:04:50.123456+05:30", Some(At::Moment(Moment(1_795_235_690_123_456)))),
            ("2026-11-21T04:34:50", None),
            ("2026-11-21 04:34:50Z", None),
            ("2026-11-21T04:34:50+05:30[Asia/Kolkata]", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_at(text), expected, "{text}");
        }
    }

    #[test]
    fn the_next_page_asks_the_same_after_the_last_row() {
        let query = Query::parse(Some("limit=2&starting_after=x&on=2026-01-31"), KNOWN).unwrap();
        assert_eq!(query.next_page("/v1/x", "tr_1"), "/v1/x?limit=2&on=2026-01-31&starting_after=tr_1");
    }

    proptest! {
        #[test]
        fn percent_encoding_is_undone(text in any::<String>()) {
            let encoded = percent_encode(&text);
            prop_assert_eq!(percent_decode(&encoded).unwrap(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = percent_decode(&text);
            let _ = parse_at(&text);
            let _ = Query::parse(Some(&text), KNOWN);
        }
    }
}
