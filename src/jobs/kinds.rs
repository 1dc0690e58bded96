//! The kinds of jobs that callers may ask for, and what each takes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::templates::is_name;

/// Sends a mail, perhaps with a document.
pub const EMAIL: &str = "email";

/// Makes a document and puts it into the folder of documents.
pub const DOCUMENT: &str = "document";

/// Makes the month's statements of all active loans.
pub const STATEMENTS: &str = "statements";

/// Kinds that callers may ask for.
pub const KINDS: [&str; 3] = [EMAIL, DOCUMENT, STATEMENTS];

/// Characters of a kind's name.
pub const KIND_CHARS_MAX: usize = 64;

/// Characters of a subject.
pub const SUBJECT_CHARS_MAX: usize = 200;
/// Characters of a text.
pub const TEXT_CHARS_MAX: usize = 4_000;

/// Fields that a template is given, and characters of one.
const FIELDS_MAX: usize = 32;
const FIELD_CHARS_MAX: usize = 200;

/// Which document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentWanted {
    /// `account_statement`, `loan_statement`, `loan_schedule`, `kfs`, `no_dues`, `receipt`, `day_slip`.
    pub document: String,
    /// Of what: an account, a loan, or a date.
    pub of: String,
    /// Which of it: the event of a receipt.
    pub event: Option<String>,
    /// First day.
    pub from: Option<String>,
    /// Last day.
    pub to: Option<String>,
}

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailWanted {
    /// To whom.
    pub to: String,
    /// Its subject, where no template gives it.
    pub subject: Option<String>,
    /// Its text, where no template gives it.
    pub text: Option<String>,
    /// The template that gives both.
    pub template: Option<String>,
    /// What the template may name.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// What is attached.
    pub attach: Option<DocumentWanted>,
}

/// A month's statements.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementsWanted {
    /// `YYYY-MM`.
    pub month: String,
}

/// Whether a kind takes these arguments: a pointer to what is wrong, and a sentence.
///
/// # Errors
/// What is wrong.
pub fn check_args(kind: &str, args: &Value) -> Result<(), (&'static str, String)> {
    let wrong = |error: serde_json::Error| ("/args", format!("A job of kind `{kind}` does not take that: {error}."));
    match kind {
        EMAIL => {
            let wanted: EmailWanted = serde_json::from_value(args.clone()).map_err(wrong)?;
            let (name, domain) = wanted.to.rsplit_once('@').unwrap_or(("", ""));
            let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            let is_address = wanted.to.len() <= 254 && is_plain(name) && is_plain(domain) && domain.contains('.');
            if !is_address || wanted.to.contains([',', ';', '<', '>', '"', '(', ')', '\\']) {
                return Err(("/args/to", "`to` is one address such as asha@example.in.".into()));
            }
            check_words(&wanted)?;
            wanted.attach.as_ref().map_or(Ok(()), |wanted| check_document(wanted, "/args/attach"))
        }
        DOCUMENT => {
            let wanted: DocumentWanted = serde_json::from_value(args.clone()).map_err(wrong)?;
            check_document(&wanted, "/args")
        }
        STATEMENTS => {
            let wanted: StatementsWanted = serde_json::from_value(args.clone()).map_err(wrong)?;
            let is_month = wanted.month.len() == 7 && month_of(&wanted.month).is_some();
            if is_month { Ok(()) } else { Err(("/args/month", "`month` is YYYY-MM.".into())) }
        }
        _ => Err(("/kind", format!("`kind` is one of {}.", KINDS.join(", ")))),
    }
}

/// A mail's subject and text, or the template that gives them.
fn check_words(wanted: &EmailWanted) -> Result<(), (&'static str, String)> {
    let EmailWanted { subject, text, template, fields, .. } = wanted;
    if let Some(template) = template {
        if subject.is_some() || text.is_some() {
            return Err(("/args/template", "A template gives `subject` and `text`: send it or them.".into()));
        }
        if !is_name(template) {
            return Err(("/args/template", "`template` is a name of small letters, digits and underscores.".into()));
        }
        let is_field = |(name, value): (&String, &String)| {
            is_name(name) && value.chars().count() <= FIELD_CHARS_MAX && !value.contains(char::is_control)
        };
        if fields.len() > FIELDS_MAX || !fields.iter().all(is_field) {
            let detail = format!("`fields` has at most {FIELDS_MAX} lines of at most {FIELD_CHARS_MAX} characters.");
            return Err(("/args/fields", detail));
        }
        return Ok(());
    }
    if !fields.is_empty() {
        return Err(("/args/fields", "`fields` are for a template.".into()));
    }
    let is_line =
        |text: &String| (1..=SUBJECT_CHARS_MAX).contains(&text.chars().count()) && !text.contains(char::is_control);
    if !subject.as_ref().is_some_and(is_line) {
        return Err(("/args/subject", format!("`subject` is one line of 1 to {SUBJECT_CHARS_MAX} characters.")));
    }
    // No mail may have them (RFC 5322, 2.3).
    let is_foreign = |letter: char| letter.is_control() && !matches!(letter, '\r' | '\n' | '\t');
    if text.as_ref().is_none_or(|text| text.chars().count() > TEXT_CHARS_MAX || text.contains(is_foreign)) {
        let detail = format!("`text` has at most {TEXT_CHARS_MAX} characters, and no control characters.");
        return Err(("/args/text", detail));
    }
    Ok(())
}

/// Documents that a job may make.
pub const DOCUMENTS: [&str; 7] =
    ["account_statement", "loan_statement", "loan_schedule", "kfs", "no_dues", "receipt", "day_slip"];

fn check_document(wanted: &DocumentWanted, base: &'static str) -> Result<(), (&'static str, String)> {
    if !DOCUMENTS.contains(&wanted.document.as_str()) {
        return Err((base, format!("`document` is one of {}.", DOCUMENTS.join(", "))));
    }
    let days = [&wanted.from, &wanted.to];
    if days.into_iter().flatten().any(|day| crate::domain::time::Day::parse(day).is_none()) {
        return Err((base, "`from` and `to` are dates YYYY-MM-DD.".into()));
    }
    if wanted.of.is_empty() || wanted.of.len() > 80 {
        return Err((base, "`of` names an account, a loan or a date.".into()));
    }
    Ok(())
}

/// First and last day of a month `YYYY-MM`.
#[must_use]
pub fn month_of(text: &str) -> Option<(crate::domain::time::Day, crate::domain::time::Day)> {
    use crate::domain::time::Day;
    let first = Day::parse(&format!("{text}-01"))?;
    let last = (28..=31).rev().find_map(|day| Day::parse(&format!("{text}-{day}")))?;
    Some((first, last))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_taken_or_told_what_is_wrong() {
        let mail = |to: &str| json!({"to": to, "subject": "Receipt", "text": "Thank you."});
        let said = |kind: &str, args: Value| check_args(kind, &args).map_or_else(|(pointer, _)| pointer, |()| "");
        assert_eq!(said(EMAIL, mail("asha@example.in")), "");
        for to in ["", "asha", "asha@", "@example.in", "a b@example.in", "asha@localhost", "a@b.c,d@e.f", "a@b.c\r\nx"]
        {
            assert_eq!(said(EMAIL, mail(to)), "/args/to", "{to}");
        }
        assert_eq!(said(EMAIL, json!({"to": "a@b.in", "subject": "x\r\nBcc: y", "text": ""})), "/args/subject");
        assert_eq!(said(EMAIL, json!({"to": "a@b.in", "subject": "x\u{7}", "text": ""})), "/args/subject");
        assert_eq!(said(EMAIL, json!({"to": "a@b.in", "subject": "x", "text": "a\u{0}b"})), "/args/text");
        assert_eq!(said(EMAIL, json!({"to": "a@b.in", "subject": "x", "text": "a\tb\r\nc"})), "");
        assert_eq!(said(EMAIL, json!({"to": "a@b.in"})), "/args/subject");
        assert_eq!(said(EMAIL, json!({"to": "a@b.in", "subject": "x"})), "/args/text");
        assert_eq!(
            said(EMAIL, json!({"to": "a@b.in", "subject": "x", "text": "", "fields": {"a": "b"}})),
            "/args/fields"
        );
        let out_of = |template: &str, fields: Value| json!({"to": "a@b.in", "template": template, "fields": fields});
        assert_eq!(said(EMAIL, out_of("no_dues", json!({"name": "Asha"}))), "");
        assert_eq!(said(EMAIL, out_of("../x", json!({}))), "/args/template");
        assert_eq!(said(EMAIL, out_of("no_dues", json!({"name": "Asha\r\nBcc: x"}))), "/args/fields");
        assert_eq!(said(EMAIL, json!({"to": "a@b.in", "template": "kfs", "text": ""})), "/args/template");
        assert_eq!(said(DOCUMENT, json!({"document": "kfs", "of": "loan_1"})), "");
        assert_eq!(said(DOCUMENT, json!({"document": "deed", "of": "loan_1"})), "/args");
        assert_eq!(said(STATEMENTS, json!({"month": "2026-02"})), "");
        assert_eq!(said(STATEMENTS, json!({"month": "2026-13"})), "/args/month");
        assert_eq!(said("fly", json!({})), "/kind");
        let (first, last) = month_of("2028-02").unwrap();
        assert_eq!((first.to_string(), last.to_string()), ("2028-02-01".into(), "2028-02-29".into()));
    }
}
