//! Mails out of templates: those that ship with the binary, and an operator's, which stand before them.
//!
//! A template is a text whose first line is `Subject: …` and whose second is empty; the rest is the mail. In it stand
//! Jinja's `{{ name }}`, `{% if … %}` and filters. What it names and nobody gave is an error, and never a gap in a
//! letter; how long it may run is bounded.
//!
//! What it may name: `lender`; of the document that is attached `of`, `from`, `to`; and the job's own `fields`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use super::kinds::{EmailWanted, SUBJECT_CHARS_MAX, TEXT_CHARS_MAX};

/// The templates that ship, by name.
const SHIPPED: [(&str, &str); 7] = [
    ("receipt", include_str!("../../data/mail/receipt.txt")),
    ("account_statement", include_str!("../../data/mail/account_statement.txt")),
    ("loan_statement", include_str!("../../data/mail/loan_statement.txt")),
    ("loan_schedule", include_str!("../../data/mail/loan_schedule.txt")),
    ("kfs", include_str!("../../data/mail/kfs.txt")),
    ("no_dues", include_str!("../../data/mail/no_dues.txt")),
    ("due_reminder", include_str!("../../data/mail/due_reminder.txt")),
];

/// Steps that a template may take: some thousand lines of output.
const FUEL: u64 = 100_000;

/// An operator's templates.
const OWN_MAX: usize = 100;

/// Bytes of one.
const OWN_BYTES_MAX: u64 = 64 * 1024;

/// Why templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The folder.
    #[error("the folder of templates {0:?}: {1}")]
    Folder(PathBuf, std::io::Error),
    /// One of them.
    #[error("the template {0:?}: {1}")]
    Template(PathBuf, String),
    /// Too many.
    #[error("{0:?} has more than {OWN_MAX} templates")]
    TooMany(PathBuf),
}

/// All templates.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    lender: String,
}

/// A mail without its head.
#[derive(Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its subject, one line.
    pub subject: String,
    /// Its text.
    pub text: String,
}

impl Templates {
    /// Those that ship, for a lender of this name.
    #[must_use]
    pub fn shipped(lender: &str) -> Templates {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        for (name, source) in SHIPPED {
            environment.add_template(name, source).expect("the templates that ship are tested");
        }
        Templates { environment, lender: lender.to_owned() }
    }

    /// With those of a folder, `NAME.txt` each.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn with_folder(mut self, folder: &Path) -> Result<Templates, TemplateError> {
        let wrong = |error| TemplateError::Folder(folder.to_owned(), error);
        let mut count = 0;
        for entry in std::fs::read_dir(folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let Some(name) = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            if path.extension().is_none_or(|extension| extension != "txt") {
                continue;
            }
            count += 1;
            if count > OWN_MAX {
                return Err(TemplateError::TooMany(folder.to_owned()));
            }
            let unusable = |why: String| TemplateError::Template(path.clone(), why);
            if !is_name(&name) {
                return Err(unusable("a name is small letters, digits and underscores".into()));
            }
            let size = std::fs::metadata(&path).map_err(|error| unusable(error.to_string()))?.len();
            if size > OWN_BYTES_MAX {
                return Err(unusable(format!("it has {size} bytes, {OWN_BYTES_MAX} are allowed")));
            }
            let source = std::fs::read_to_string(&path).map_err(|error| unusable(error.to_string()))?;
            if !source.starts_with("Subject: ") || source.lines().nth(1).is_none_or(|second| !second.trim().is_empty())
            {
                return Err(unusable("its first line is `Subject: …`, and its second is empty".into()));
            }
            self.environment.add_template_owned(name, source).map_err(|error| unusable(error.to_string()))?;
        }
        Ok(self)
    }

    /// What a mail says: as it was given, or out of its template.
    ///
    /// # Errors
    /// There is no such template, or it names what nobody gave.
    pub fn letter(&self, wanted: &EmailWanted) -> Result<Letter, String> {
        let Some(name) = &wanted.template else {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            return Ok(Letter { subject: part(&wanted.subject), text: part(&wanted.text) });
        };
        let template = self.environment.get_template(name).map_err(|_| {
            let known: Vec<&str> = self.environment.templates().map(|(name, _)| name).collect();
            format!("there is no template {name}; there are {}", known.join(", "))
        })?;
        let mut fields: BTreeMap<&str, &str> = BTreeMap::from([("lender", self.lender.as_str())]);
        if let Some(attached) = &wanted.attach {
            fields.insert("of", &attached.of);
            fields.extend(attached.from.as_deref().map(|from| ("from", from)));
            fields.extend(attached.to.as_deref().map(|to| ("to", to)));
        }
        fields.extend(wanted.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let written = template.render(Value::from_pairs(fields.clone())).map_err(|error| match error.kind() {
            ErrorKind::UndefinedError => {
                let named = template.undeclared_variables(false);
                let missing: Vec<String> =
                    named.into_iter().filter(|name| !fields.contains_key(name.as_str())).collect();
                format!("the template {name} names what the job's `fields` do not give, of {}", missing.join(", "))
            }
            _ => format!("the template {name}: {error}"),
        })?;
        let (subject, text) = written.split_once('\n').unwrap_or((&written, ""));
        let subject = subject.strip_prefix("Subject: ").unwrap_or(subject).trim().to_owned();
        let text = text.trim_start_matches(['\r', '\n']).to_owned();
        if subject.is_empty() || subject.chars().count() > SUBJECT_CHARS_MAX || text.chars().count() > TEXT_CHARS_MAX {
            return Err(format!("the template {name} gives no subject, or too long a mail"));
        }
        Ok(Letter { subject, text })
    }
}

/// Whether a template may be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(args: serde_json::Value) -> EmailWanted {
        serde_json::from_value(args).unwrap()
    }

    #[test]
    fn each_that_ships_writes_a_letter_and_says_what_it_lacks() {
        let templates = Templates::shipped("Lakshmi Finance");
        for (name, _) in SHIPPED {
            let fields = json!({"of": "loan_1", "amount": "1,200.00", "due_date": "2026-12-05", "name": "Asha Rao"});
            let letter =
                templates.letter(&wanted(json!({"to": "a@b.in", "template": name, "fields": fields}))).unwrap();
            assert!(letter.subject.ends_with("– Lakshmi Finance"), "{letter:?}");
            assert!(
                letter.text.starts_with("Dear Asha Rao,\n\n") && letter.text.ends_with("Lakshmi Finance"),
                "{letter:?}"
            );
            let lacking = templates.letter(&wanted(json!({"to": "a@b.in", "template": name}))).unwrap_err();
            assert!(lacking.contains("`fields`") && lacking.contains("of"), "{lacking}");
        }
        let attach = json!({"document": "loan_statement", "of": "ext:L-1", "from": "2026-04-01", "to": "2027-03-31"});
        let letter = templates.letter(&wanted(json!({"to": "a@b.in", "template": "loan_statement", "attach": attach})));
        let letter = letter.unwrap();
        assert!(letter.text.contains("loan ext:L-1 from 2026-04-01 to 2027-03-31."), "{letter:?}");
        assert!(letter.text.starts_with("Dear customer,"), "{letter:?}");
        let unknown = templates.letter(&wanted(json!({"to": "a@b.in", "template": "x"}))).unwrap_err();
        assert!(unknown.contains("there is no template x") && unknown.contains("no_dues"), "{unknown}");
    }

    #[test]
    fn an_operators_stand_before_them_and_what_is_no_template_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let open = || Templates::shipped("L").with_folder(folder.path());
        write("no_dues.txt", "Subject: {{ of }}\n\nAll {{ name|upper }}.\n");
        write("readme.md", "not one");
        let fields = json!({"of": "loan_1", "name": "asha"});
        let mail = wanted(json!({"to": "a@b.in", "template": "no_dues", "fields": fields}));
        let letter = open().unwrap().letter(&mail).unwrap();
        assert_eq!((letter.subject.as_str(), letter.text.as_str()), ("loan_1", "All ASHA."));
        // One that never ends is ended.
        write(
            "no_dues.txt",
            "Subject: x\n\n{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        );
        assert!(open().unwrap().letter(&mail).unwrap_err().contains("fuel"));
        for (name, text, says) in [
            ("no_dues.txt", "Dear customer", "first line"),
            ("no_dues.txt", "Subject: x\ny", "second is empty"),
            ("no_dues.txt", "Subject: {{ x\n\n", "template"),
            ("No.txt", "Subject: x\n\n", "small letters"),
        ] {
            write(name, text);
            let said = open().unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
        assert!(Templates::shipped("L").with_folder(&folder.path().join("none")).is_err());
    }
}
