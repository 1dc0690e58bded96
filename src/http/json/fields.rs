//! One object of a body, taken apart field by field.
//!
//! A reader takes the fields that it knows; what is left over is unknown. Errors are collected, not
//! returned, so that a caller sees all of them at once. `null` counts as absent, except where a
//! change has to tell "remove" from "leave" ([`Fields::text_change`]).

use std::borrow::Cow;

use crate::config::{EXTERNAL_ID_CHARS_MAX, METADATA_KEY_CHARS_MAX, METADATA_PAIRS_MAX, METADATA_VALUE_CHARS_MAX};
use crate::domain::entry::Metadata;
use crate::domain::money::{Currency, Decimal};
use crate::domain::time::Day;

use super::super::problem::FieldError;
use super::tree::Tree;

/// Errors told for one body: enough to see a pattern, and a bound on the answer.
pub const ERRORS_MAX: usize = 100;

/// The members of an object that nobody has asked for yet, and what was wrong so far.
#[derive(Debug)]
pub struct Fields<'a, 'e> {
    members: Vec<(Cow<'a, str>, Tree<'a>)>,
    base: String,
    errors: &'e mut Vec<FieldError>,
}

impl<'a, 'e> Fields<'a, 'e> {
    /// The members of `tree`; anything but an object is an error at `base`.
    pub fn of(tree: Tree<'a>, base: String, errors: &'e mut Vec<FieldError>) -> Fields<'a, 'e> {
        let mut fields = Fields { members: Vec::new(), base, errors };
        match tree {
            Tree::Object(members) => {
                for (key, value) in members {
                    if fields.members.iter().any(|(other, _)| *other == key) {
                        fields.refuse(&key, "duplicate", "The field stands twice.");
                    } else {
                        fields.members.push((key, value));
                    }
                }
            }
            other => {
                let detail = format!("An object was expected here, not {}.", other.kind());
                fields.push(fields.base.clone(), "wrong_type", detail.into());
            }
        }
        fields
    }

    /// Refuses a field.
    pub fn refuse(&mut self, name: &str, code: &'static str, detail: impl Into<Cow<'static, str>>) {
        // RFC 6901: `~` and `/` inside a name are escaped.
        let escaped = name.replace('~', "~0").replace('/', "~1");
        self.push(format!("{}/{escaped}", self.base), code, detail.into());
    }

    /// Refuses what lies deeper: `pointer` is from the root of this object on.
    pub fn refuse_at(&mut self, pointer: &str, code: &'static str, detail: impl Into<Cow<'static, str>>) {
        self.push(format!("{}{pointer}", self.base), code, detail.into());
    }

    /// Whether anything in the whole body was refused so far.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    fn push(&mut self, pointer: String, code: &'static str, detail: Cow<'static, str>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError { pointer, code, detail });
        }
    }

    fn wrong_type(&mut self, name: &str, expected: &str, found: &Tree<'_>) {
        self.refuse(name, "wrong_type", format!("`{name}` is {expected}, not {}.", found.kind()));
    }

    /// Whether the field stands there with a value.
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(key, value)| key == name && *value != Tree::Null)
    }

    /// Whether a field is there and `null`.
    pub fn is_null(&self, name: &str) -> bool {
        self.members.iter().any(|(key, value)| key == name && *value == Tree::Null)
    }

    /// Forgets a field that is there without a value.
    pub fn skip_null(&mut self, name: &str) {
        self.members.retain(|(key, value)| key != name || *value != Tree::Null);
    }

    fn take(&mut self, name: &str) -> Option<Tree<'a>> {
        let place = self.members.iter().position(|(key, _)| key == name)?;
        Some(self.members.swap_remove(place).1)
    }

    fn take_value(&mut self, name: &str) -> Option<Tree<'a>> {
        self.take(name).filter(|tree| *tree != Tree::Null)
    }

    /// Says so when a field is missing.
    pub fn require(&mut self, name: &str) {
        if !self.has(name) {
            self.skip_null(name);
            self.refuse(name, "missing", format!("`{name}` is required."));
        }
    }

    /// A string of at most `chars_max` characters.
    pub fn text(&mut self, name: &str, chars_max: usize) -> Option<Cow<'a, str>> {
        match self.take_value(name)? {
            Tree::Text(text) if is_at_most(&text, chars_max) => Some(text),
            Tree::Text(_) => {
                self.refuse(name, "too_long", format!("`{name}` has more than {chars_max} characters."));
                None
            }
            other => {
                self.wrong_type(name, "a string", &other);
                None
            }
        }
    }

    /// As [`Fields::text`], and the field must stand there. Without it the answer is an empty text.
    pub fn required_text(&mut self, name: &str, chars_max: usize) -> Cow<'a, str> {
        self.require(name);
        self.text(name, chars_max).unwrap_or_default()
    }

    /// A text to change: absent (`None`), `null` (`Some(None)`) or a string.
    pub fn text_change(&mut self, name: &str, chars_max: usize) -> Option<Option<Cow<'a, str>>> {
        let is_null = self.is_null(name);
        let text = self.text(name, chars_max);
        if is_null { Some(None) } else { text.map(Some) }
    }

    /// A text of at least one and at most so many characters.
    pub fn filled_text(&mut self, name: &str, chars_max: usize) -> Cow<'a, str> {
        let errors = self.errors.len();
        let text = self.required_text(name, chars_max);
        if text.trim().is_empty() && self.errors.len() == errors {
            self.refuse(name, "invalid_value", format!("`{name}` is empty."));
        }
        text
    }

    /// One of a few names.
    pub fn name_of<T>(&mut self, name: &str, known: &[(T, &'static str)]) -> Option<T>
    where
        T: Copy,
    {
        let text = self.text(name, 64)?;
        let found = known.iter().find(|(_, known)| *known == text).map(|(value, _)| *value);
        if found.is_none() {
            let names: Vec<&str> = known.iter().map(|(_, name)| *name).collect();
            self.refuse(name, "invalid_value", format!("`{name}` is one of {}.", names.join(", ")));
        }
        found
    }

    /// One of a few names to change to: absent or a name, since there is nothing that `null` could mean.
    pub fn name_change<T>(&mut self, name: &str, known: &[(T, &'static str)]) -> Option<T>
    where
        T: Copy,
    {
        if self.is_null(name) {
            self.skip_null(name);
            self.refuse(name, "invalid_value", format!("`{name}` cannot be null; leave it out to keep it."));
        }
        self.name_of(name, known)
    }

    /// A list of at most so many strings of at most so many characters each; `None` when absent.
    pub fn texts(&mut self, name: &str, count_max: usize, chars_max: usize) -> Option<Vec<Box<str>>> {
        let items = match self.take_value(name)? {
            Tree::List(items) => items,
            other => {
                self.wrong_type(name, "a list of strings", &other);
                return None;
            }
        };
        if items.len() > count_max {
            self.refuse(name, "too_long", format!("`{name}` has more than {count_max} entries."));
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Tree::Text(text) if is_at_most(&text, chars_max) => texts.push(text.into()),
                Tree::Text(_) => {
                    self.refuse(
                        name,
                        "too_long",
                        format!("An entry of `{name}` has more than {chars_max} characters."),
                    );
                    return None;
                }
                other => {
                    self.wrong_type(name, "a list of strings", &other);
                    return None;
                }
            }
        }
        Some(texts)
    }

    /// An external id.
    pub fn external_id(&mut self, name: &str) -> Option<Box<str>> {
        let text = self.text(name, EXTERNAL_ID_CHARS_MAX)?;
        if is_external_id(&text) {
            return Some(text.into());
        }
        self.refuse(name, "invalid_value", format!("`{name}` is 1 to 64 visible ASCII characters."));
        None
    }

    /// A whole number in a range.
    pub fn whole(&mut self, name: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        match self.take_value(name)? {
            Tree::Whole(number) => {
                let found = i64::try_from(number).ok().filter(|number| range.contains(number));
                if found.is_none() {
                    let detail = format!("`{name}` is from {} to {}.", range.start(), range.end());
                    self.refuse(name, "invalid_value", detail);
                }
                found
            }
            other => {
                self.wrong_type(name, "a whole number", &other);
                None
            }
        }
    }

    /// A caller's code: 0 when absent.
    pub fn code(&mut self, name: &str) -> u32 {
        let number = self.whole(name, 0..=i64::from(u32::MAX)).unwrap_or(0);
        u32::try_from(number).expect("the range was checked")
    }

    /// A flag; false when absent.
    pub fn flag(&mut self, name: &str) -> bool {
        match self.take_value(name) {
            None => false,
            Some(Tree::Bool(value)) => value,
            Some(other) => {
                self.wrong_type(name, "true or false", &other);
                false
            }
        }
    }

    /// A business date.
    pub fn day(&mut self, name: &str) -> Option<Day> {
        let text = self.text(name, 10)?;
        let day = Day::parse(&text);
        if day.is_none() {
            self.refuse(name, "invalid_value", format!("`{name}` is a date YYYY-MM-DD from 1970 to 2149."));
        }
        day
    }

    /// A business date to change: absent (`None`), `null` (`Some(None)`) or a date.
    pub fn day_change(&mut self, name: &str) -> Option<Option<Day>> {
        let is_null = self.is_null(name);
        let day = self.day(name);
        if is_null { Some(None) } else { day.map(Some) }
    }

    /// An amount: `None` when absent; `Some(None)` when it is a number or no plain decimal, which
    /// the books refuse, not we.
    pub fn amount(&mut self, name: &str) -> Option<Option<Decimal>> {
        match self.take_value(name)? {
            Tree::Text(text) => Some(Decimal::parse(&text)),
            Tree::Whole(_) | Tree::Number => Some(None),
            other => {
                self.wrong_type(name, "a decimal string", &other);
                None
            }
        }
    }

    /// An amount in rupees as paise; refused here, since lending knows its currency.
    pub fn paise(&mut self, name: &str) -> Option<i64> {
        let Some(decimal) = self.amount(name)? else {
            let detail = format!(
                "`{name}` is a decimal in a string such as \"1250.50\": at most 19 digits and at most one point."
            );
            self.refuse(name, "amount_malformed", detail);
            return None;
        };
        let paise = decimal.minor(Currency::INR).ok().and_then(|paise| i64::try_from(paise).ok());
        if paise.is_none() {
            let detail = format!("`{name}` has more than two decimals, or too many digits. Nothing is rounded here.");
            self.refuse(name, "amount_scale", detail);
        }
        paise
    }

    /// As [`Fields::paise`], and the field must stand there. Without it the answer is zero.
    pub fn required_paise(&mut self, name: &str) -> i64 {
        self.require(name);
        self.paise(name).unwrap_or_default()
    }

    /// A business date that must stand there.
    pub fn required_day(&mut self, name: &str) -> Day {
        self.require(name);
        self.day(name).unwrap_or_default()
    }

    /// A plain decimal of at most 28 digits, in a string; zero or more.
    pub fn decimal(&mut self, name: &str) -> Option<rust_decimal::Decimal> {
        let text = self.text(name, 32)?;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && text.starts_with(|first: char| first.is_ascii_digit())
            && text.ends_with(|last: char| last.is_ascii_digit());
        let decimal = rust_decimal::Decimal::from_str_exact(&text).ok().filter(|_| is_plain);
        if decimal.is_none() {
            let detail = format!("`{name}` is a decimal in a string, such as \"12.5\", of at most 28 digits.");
            self.refuse(name, "invalid_value", detail);
        }
        decimal
    }

    /// An object of any members, whole numbers and texts; `None` when absent.
    pub fn json(&mut self, name: &str) -> Option<serde_json::Value> {
        let tree = self.take_value(name)?;
        let is_object = matches!(tree, Tree::Object(_));
        let value = tree.to_json().filter(|_| is_object);
        if value.is_none() {
            self.refuse(
                name,
                "wrong_type",
                format!("`{name}` is an object; its numbers are whole, its names each stand once."),
            );
        }
        value
    }

    /// An object, read by `read`; `None` when absent.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> Option<T> {
        let tree = self.take_value(name)?;
        let mut fields = Fields::of(tree, format!("{}/{name}", self.base), self.errors);
        let value = read(&mut fields);
        fields.finish();
        Some(value)
    }

    /// A list of at most so many objects, each read by `read`; empty when absent.
    pub fn objects<T>(
        &mut self,
        name: &str,
        count_max: usize,
        mut read: impl FnMut(&mut Fields<'_, '_>) -> T,
    ) -> Vec<T> {
        let items = match self.take_value(name) {
            None => return Vec::new(),
            Some(Tree::List(items)) if items.len() <= count_max => items,
            Some(Tree::List(_)) => {
                self.refuse(name, "too_long", format!("`{name}` has more than {count_max} entries."));
                return Vec::new();
            }
            Some(other) => {
                self.wrong_type(name, "a list of objects", &other);
                return Vec::new();
            }
        };
        let mut values = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            let mut fields = Fields::of(item, format!("{}/{name}/{place}", self.base), self.errors);
            values.push(read(&mut fields));
            fields.finish();
        }
        values
    }

    /// Metadata, sorted by key; `None` when absent.
    pub fn metadata(&mut self, name: &str) -> Option<Metadata> {
        let members = match self.take_value(name)? {
            Tree::Object(members) => members,
            other => {
                self.wrong_type(name, "an object of strings", &other);
                return None;
            }
        };
        if members.len() > METADATA_PAIRS_MAX {
            self.refuse(name, "too_long", format!("`{name}` has more than {METADATA_PAIRS_MAX} entries."));
        }
        let mut pairs = Metadata::new();
        for (key, value) in members {
            let fits = matches!(&value, Tree::Text(text) if is_at_most(text, METADATA_VALUE_CHARS_MAX));
            match value {
                Tree::Text(value) if fits && is_metadata_key(&key) => pairs.push((key.into(), value.into())),
                _ => {
                    let detail = format!(
                        "Metadata keys have 1 to {METADATA_KEY_CHARS_MAX} characters, values are strings of at most \
                         {METADATA_VALUE_CHARS_MAX}."
                    );
                    self.refuse(name, "invalid_value", detail);
                }
            }
        }
        if !sort_metadata(&mut pairs) {
            self.refuse(name, "duplicate", format!("A key of `{name}` stands twice."));
        }
        Some(pairs)
    }

    /// Metadata to change to: absent (`None`), `null` or an object; `null` removes all pairs.
    pub fn metadata_change(&mut self, name: &str) -> Option<Metadata> {
        let is_null = self.is_null(name);
        let metadata = self.metadata(name);
        if is_null { Some(Metadata::new()) } else { metadata }
    }

    /// Everything that was not taken is unknown.
    pub fn finish(mut self) {
        for (key, _) in std::mem::take(&mut self.members) {
            let shown: String = key.chars().take(64).collect();
            self.refuse(&shown, "unknown_field", format!("`{shown}` is not a field here."));
        }
    }
}

/// Whether a text has at most so many characters. Bytes bound characters: most texts are not counted.
pub fn is_at_most(text: &str, chars_max: usize) -> bool {
    text.len() <= chars_max || text.chars().count() <= chars_max
}

/// Whether a text can be an external id.
pub fn is_external_id(text: &str) -> bool {
    (1..=EXTERNAL_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text can be a metadata key.
pub fn is_metadata_key(text: &str) -> bool {
    !text.is_empty() && is_at_most(text, METADATA_KEY_CHARS_MAX)
}

/// Sorts by key; false when a key stands twice.
pub fn sort_metadata(pairs: &mut Metadata) -> bool {
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.windows(2).all(|pair| pair[0].0 != pair[1].0)
}
