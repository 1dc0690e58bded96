//! Batches of transfers: one JSON object, or one item a line (NDJSON).
//!
//! Promise: memory is bounded by the body, the number of items by [`BATCH_ITEMS_MAX`], and the
//! answer by the number of errors told. Each item goes the fast way; the first one that does not
//! sends the whole body the slow way, which keeps items as raw text and looks at one at a time.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::BATCH_ITEMS_MAX;
use crate::engine::command::{Batch, BatchItem};
use crate::engine::view::Unavailable;

use super::super::problem::{FieldError, Outcome, Problem};
use super::fields::ERRORS_MAX;
use super::transfer::{fast_item, slow_item};
use super::tree::Tree;
use super::wire::{Text, Wire};
use super::{Resolver, malformed, of_serde, utf8};

/// Shape of a batch body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchForm {
    /// `{"mode":…,"transfers":[…]}`
    Json,
    /// One item a line; the mode comes from the query.
    Lines {
        /// One refusal refuses all.
        atomic: bool,
    },
    /// The message `NewBatch`, which another parser reads.
    Protobuf,
}

/// The body of `POST /v1/transfers/batch`; `minimal` is set by the caller. A missing mode is `independent`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`, or what the resolver says.
pub fn parse_batch(body: &[u8], form: BatchForm, resolver: &impl Resolver) -> Outcome<Batch> {
    debug_assert_ne!(form, BatchForm::Protobuf, "the protobuf parser reads protobuf");
    let text = utf8(body)?;
    let (atomic, items) = match form {
        BatchForm::Lines { atomic } => (atomic, lines(text, resolver)?),
        BatchForm::Json | BatchForm::Protobuf => match fast(text, resolver)? {
            Some(read) => read,
            None => slow(text, resolver)?,
        },
    };
    if items.is_empty() {
        return Err(no_items());
    }
    Ok(Batch { atomic, minimal: false, items })
}

/// A batch of nothing.
pub fn no_items() -> Box<Problem> {
    of_count("A batch has at least one item.")
}

fn of_count(detail: &'static str) -> Box<Problem> {
    Problem::of_fields(vec![FieldError { pointer: "/transfers".into(), code: "invalid_value", detail: detail.into() }])
}

/// A batch of more than [`BATCH_ITEMS_MAX`].
pub fn too_many() -> Box<Problem> {
    of_count("A batch has at most 10000 items.")
}

const _: () = assert!(BATCH_ITEMS_MAX == 10_000, "the sentence of `too_many` says 10000");

/// `None` when the slow way should look.
fn fast(text: &str, resolver: &impl Resolver) -> Result<Option<(bool, Vec<BatchItem>)>, Unavailable> {
    let trouble = RefCell::new(None);
    let mut input = serde_json::Deserializer::from_str(text);
    let read = BatchSeed { resolver, trouble: &trouble, bytes: text.len() }.deserialize(&mut input);
    let read = read.and_then(|batch| input.end().map(|()| batch));
    match trouble.into_inner() {
        Some(cause) => Err(cause),
        None => Ok(read.ok()),
    }
}

/// Reads the batch object; what the resolver could not do is left in `trouble`.
struct BatchSeed<'r, R> {
    resolver: &'r R,
    trouble: &'r RefCell<Option<Unavailable>>,
    bytes: usize,
}

impl<'de, R: Resolver> DeserializeSeed<'de> for BatchSeed<'_, R> {
    type Value = (bool, Vec<BatchItem>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, R: Resolver> Visitor<'de> for BatchSeed<'_, R> {
    type Value = (bool, Vec<BatchItem>);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a batch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Self::Value, A::Error> {
        let (mut atomic, mut items) = (None, None);
        while let Some(key) = input.next_key::<Text<'de>>()? {
            match key.0.as_ref() {
                "mode" if atomic.is_none() => atomic = Some(is_atomic(&input.next_value::<Text<'de>>()?)?),
                "transfers" if items.is_none() => items = Some(input.next_value_seed(ItemsSeed(&self))?),
                _ => return Err(A::Error::custom("unknown or duplicate field")),
            }
        }
        let items = items.ok_or_else(|| A::Error::custom("no items"))?;
        Ok((atomic.unwrap_or(false), items))
    }
}

fn is_atomic<E: Error>(mode: &Text<'_>) -> Result<bool, E> {
    match mode.0.as_ref() {
        "atomic" => Ok(true),
        "independent" => Ok(false),
        _ => Err(E::custom("unknown mode")),
    }
}

struct ItemsSeed<'s, 'r, R>(&'s BatchSeed<'r, R>);

impl<'de, R: Resolver> DeserializeSeed<'de> for ItemsSeed<'_, '_, R> {
    type Value = Vec<BatchItem>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

/// Bytes of the shortest useful item; only to reserve memory once.
const ITEM_BYTES_MIN: usize = 80;

impl<'de, R: Resolver> Visitor<'de> for ItemsSeed<'_, '_, R> {
    type Value = Vec<BatchItem>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::with_capacity(BATCH_ITEMS_MAX.min(self.0.bytes / ITEM_BYTES_MIN));
        while let Some(wire) = input.next_element::<Wire<'de>>()? {
            let item = fast_item(wire, self.0.resolver).map_err(|cause| {
                *self.0.trouble.borrow_mut() = Some(cause);
                A::Error::custom("the resolver is unavailable")
            })?;
            match item {
                Some(item) if items.len() < BATCH_ITEMS_MAX => items.push(item),
                _ => return Err(A::Error::custom("look closer")),
            }
        }
        Ok(items)
    }
}

/// The members of an object with their values unread, duplicates included.
struct RawMembers<'a>(Vec<(Text<'a>, &'a RawValue)>);

/// Members of a batch object that are worth telling apart.
const MEMBERS_MAX: usize = 64;

impl<'de: 'a, 'a> Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawMembers<'a>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = RawMembers<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<RawMembers<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = input.next_entry()? {
                    if members.len() < MEMBERS_MAX {
                        members.push(member);
                    }
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Items of a list with their values unread; one more than a batch may have, to see that it has too many.
struct RawItems<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for RawItems<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawItems<'a>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = RawItems<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<RawItems<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = input.next_element()? {
                    if items.len() <= BATCH_ITEMS_MAX {
                        items.push(item);
                    }
                }
                Ok(RawItems(items))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// The raw items of the member `list` of a batch object, and its other members. Every other member
/// must be in `others`; what is not, stands twice or is missing is told.
pub(super) fn raw_items<'a>(
    text: &'a str,
    list: &str,
    others: &[&str],
    errors: &mut Vec<FieldError>,
) -> Outcome<(Vec<&'a RawValue>, Vec<(Text<'a>, &'a RawValue)>)> {
    let RawMembers(members) = serde_json::from_str(text).map_err(|error| of_serde(&error, ""))?;
    let (mut items, mut rest): (Option<RawItems<'a>>, Vec<(Text<'a>, &'a RawValue)>) = (None, Vec::new());
    for (key, value) in members {
        let is_twice = (key.0 == list && items.is_some()) || rest.iter().any(|(other, _)| *other == key);
        let pointer = || format!("/{}", key.0.chars().take(64).collect::<String>());
        if is_twice {
            errors.push(FieldError { pointer: pointer(), code: "duplicate", detail: "The field stands twice.".into() });
        } else if key.0 == list {
            items = Some(serde_json::from_str(value.get()).map_err(|error| of_serde(&error, &pointer()))?);
        } else if others.contains(&key.0.as_ref()) {
            rest.push((key, value));
        } else {
            let detail = "There is no such field here.".into();
            errors.push(FieldError { pointer: pointer(), code: "unknown_field", detail });
        }
    }
    if items.is_none() {
        let detail = format!("`{list}` is required.").into();
        errors.push(FieldError { pointer: format!("/{list}"), code: "missing", detail });
    }
    Ok((items.map(|items| items.0).unwrap_or_default(), rest))
}

fn slow(text: &str, resolver: &impl Resolver) -> Outcome<(bool, Vec<BatchItem>)> {
    let mut errors = Vec::new();
    let (raw, members) = raw_items(text, "transfers", &["mode"], &mut errors)?;
    let mut atomic = false;
    for (_, value) in members {
        match serde_json::from_str::<Option<Text<'_>>>(value.get()).map(|mode| mode.map(|mode| mode.0)) {
            Ok(None) => {}
            Ok(Some(mode)) if mode == "atomic" => atomic = true,
            Ok(Some(mode)) if mode == "independent" => {}
            _ => {
                let detail = "`mode` is atomic or independent.".into();
                errors.push(FieldError { pointer: "/mode".into(), code: "invalid_value", detail });
            }
        }
    }
    if raw.len() > BATCH_ITEMS_MAX {
        return Err(too_many());
    }
    let mut items = Vec::with_capacity(raw.len());
    for (index, value) in raw.into_iter().enumerate() {
        let pointer = format!("/transfers/{index}");
        let tree = Tree::read(value.get()).map_err(|error| of_serde(&error, &pointer))?;
        items.push(slow_item(tree, pointer, resolver, &mut errors)?);
        if errors.len() >= ERRORS_MAX {
            break;
        }
    }
    if errors.is_empty() { Ok((atomic, items)) } else { Err(Problem::of_fields(errors)) }
}

/// Items one a line; empty lines are skipped, pointers are by item.
fn lines(text: &str, resolver: &impl Resolver) -> Outcome<Vec<BatchItem>> {
    let mut items = Vec::new();
    let mut errors = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if items.len() == BATCH_ITEMS_MAX {
            return Err(too_many());
        }
        let wire = serde_json::from_str::<Wire<'_>>(line).ok();
        let item = if let Some(item) = wire.map(|wire| fast_item(wire, resolver)).transpose()?.flatten() {
            item
        } else {
            let pointer = format!("/transfers/{}", items.len());
            let tree = Tree::read(line).map_err(|error| {
                if error.is_data() {
                    of_serde(&error, &pointer)
                } else {
                    malformed(format!("Line {number} of the body is not JSON at column {}.", error.column()))
                }
            })?;
            slow_item(tree, pointer, resolver, &mut errors)?
        };
        items.push(item);
        if errors.len() >= ERRORS_MAX {
            break;
        }
    }
    if errors.is_empty() { Ok(items) } else { Err(Problem::of_fields(errors)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{Known, said};
    use super::*;

    const ITEM: &str =
        r#"{"debit_account":"acct_0000000000001","credit_account":"acct_0000000000002","amount":"1.50"}"#;

    fn batch(body: &str) -> String {
        match parse_batch(body.as_bytes(), BatchForm::Json, &Known::default()) {
            Ok(batch) => format!("{} {}", if batch.atomic { "atomic" } else { "independent" }, batch.items.len()),
            Err(problem) => said(&problem),
        }
    }

    #[test]
    fn batches_are_taken_or_told_what_is_wrong() {
        let table: &[(String, &str)] = &[
            (format!(r#"{{"mode":"atomic","transfers":[{ITEM},{ITEM}]}}"#), "atomic 2"),
            (format!(r#"{{"transfers":[{ITEM}],"mode":"independent"}}"#), "independent 1"),
            (format!(r#"{{"transfers":[{ITEM}],"mode":null}}"#), "independent 1"),
            (
                r#"{"transfers":[{"op":"post","transfer":"tr_0000000000001"},{"op":"void","transfer":"x"}]}"#.into(),
                "independent 2",
            ),
            (r#"{"transfers":[{"op":"post","transfer":"tr_0000000000001","amount":"1"}]}"#.into(), "independent 1"),
            (r#"{"transfers":[]}"#.into(), "validation_failed /transfers=invalid_value"),
            (r"{}".into(), "validation_failed /transfers=missing"),
            (r"[]".into(), "validation_failed =wrong_type"),
            (r#"{"transfers":{}}"#.into(), "validation_failed /transfers=wrong_type"),
            (format!(r#"{{"mode":"some","transfers":[{ITEM}]}}"#), "validation_failed /mode=invalid_value"),
            (format!(r#"{{"mode":1,"transfers":[{ITEM}]}}"#), "validation_failed /mode=invalid_value"),
            (format!(r#"{{"transfers":[{ITEM}],"transfers":[]}}"#), "validation_failed /transfers=duplicate"),
            (format!(r#"{{"items":[{ITEM}]}}"#), "unknown_field /items=unknown_field /transfers=missing"),
            (
                format!(r#"{{"transfers":[{ITEM},{{"op":"void","transfer":"x","amount":"1"}}]}}"#),
                "unknown_field /transfers/1/amount=unknown_field",
            ),
            (
                format!(r#"{{"transfers":[{ITEM},{{"op":"hold"}}]}}"#),
                "validation_failed /transfers/1/op=invalid_value /transfers/1/transfer=missing",
            ),
            (
                format!(r#"{{"transfers":[{ITEM},7]}}"#),
                "validation_failed /transfers/1=wrong_type /transfers/1/debit_account=missing /transfers/1/credit_account=missing /transfers/1/amount=missing",
            ),
            (format!(r#"{{"transfers":[{ITEM},]}}"#), "malformed_json"),
            (format!(r#"{{"transfers":[{ITEM}]"#), "malformed_json"),
        ];
        for (body, expected) in table {
            assert_eq!(&batch(body), expected, "{body}");
        }
    }

    #[test]
    fn a_batch_is_bounded() {
        let body = |count: usize| format!(r#"{{"transfers":[{}]}}"#, vec![ITEM; count].join(","));
        assert_eq!(batch(&body(10_000)), "independent 10000");
        assert_eq!(batch(&body(10_001)), "validation_failed /transfers=invalid_value");
        let lines = vec![ITEM; 10_001].join("\n");
        let problem = parse_batch(lines.as_bytes(), BatchForm::Lines { atomic: false }, &Known::default()).unwrap_err();
        assert_eq!(said(&problem), "validation_failed /transfers=invalid_value");
        let wrong = format!(r#"{{"transfers":[{}]}}"#, vec!["1"; 9_000].join(","));
        let problem = parse_batch(wrong.as_bytes(), BatchForm::Json, &Known::default()).unwrap_err();
        assert!(problem.errors.len() <= ERRORS_MAX);
    }

    #[test]
    fn lines_carry_the_same_items() {
        let body = format!("{ITEM}\r\n\n{ITEM}");
        let batch = parse_batch(body.as_bytes(), BatchForm::Lines { atomic: true }, &Known::default()).unwrap();
        assert_eq!((batch.atomic, batch.items.len()), (true, 2));
        for (body, expected) in [
            (format!("{ITEM}\n{{"), "malformed_json"),
            (
                format!("{ITEM}\n{{\"x\":1}}"),
                "unknown_field /transfers/1/debit_account=missing /transfers/1/credit_account=missing /transfers/1/amount=missing /transfers/1/x=unknown_field",
            ),
            (String::new(), "validation_failed /transfers=invalid_value"),
        ] {
            let problem =
                parse_batch(body.as_bytes(), BatchForm::Lines { atomic: true }, &Known::default()).unwrap_err();
            assert_eq!(said(&problem), expected);
        }
    }

    #[test]
    fn a_resolver_that_cannot_is_heard() {
        let broken = Known { is_broken: true, ..Known::default() };
        let body = r#"{"transfers":[{"debit_account":"ext:A","credit_account":"b","amount":"1"}]}"#;
        let problem = parse_batch(body.as_bytes(), BatchForm::Json, &broken).unwrap_err();
        assert_eq!(said(&problem), "draining");
    }

    proptest! {
        #[test]
        fn the_slow_way_reads_what_the_fast_way_reads(count in 1usize..5, atomic: bool, break_at in 0usize..600) {
            let mode = if atomic { "atomic" } else { "independent" };
            let mut text = format!(r#"{{"mode":"{mode}","transfers":[{}]}}"#, vec![ITEM; count].join(","));
            let known = Known::default();
            let (is_atomic, items) = slow(&text, &known).unwrap();
            prop_assert_eq!(is_atomic, atomic);
            let (_, fast_items) = fast(&text, &known).unwrap().expect("plain items go the fast way");
            prop_assert_eq!(format!("{items:?}"), format!("{fast_items:?}"));
            // Cut anywhere: refused, never a panic.
            if break_at < text.len() {
                text.truncate(break_at);
                prop_assert_eq!(batch(&text), "malformed_json");
            }
        }
    }
}
