//! From protobuf bytes to engine commands.
//!
//! Steps for a transfer, alone or in a batch:
//! 1. decode the message; of a batch one item at a time, so that memory is bounded by the body and not by
//!    how small an item can be written;
//! 2. go the JSON parser's fast way with it; what that does not take, go its slow way as a tree, which
//!    explains every field.

use std::borrow::Cow;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::config::{BATCH_ITEMS_MAX, METADATA_PAIRS_MAX, METADATA_VALUE_CHARS_MAX};
use crate::domain::money::Decimal;
use crate::domain::transfer::NewTransfer;
use crate::engine::command::{Batch, BatchItem};

use super::super::json::tree::Tree;
use super::super::json::wire::{Amount, Pairs, Text, Wire};
use super::super::json::{self, Resolver};
use super::super::problem::{Code, FieldError, Outcome, Problem};
use super::messages::{self, ItemOperation, Mode};

/// The message `NewTransfer`.
///
/// # Errors
/// `malformed_protobuf`, `validation_failed`, or what the resolver says.
pub fn parse_transfer(body: &[u8], resolver: &impl Resolver) -> Outcome<NewTransfer> {
    let message: messages::NewTransfer = decode(body)?;
    if let Some(wire) = wire_of(&message)
        && let Some(transfer) = json::fast_transfer(wire, resolver)?
    {
        return Ok(transfer);
    }
    json::transfer_of(tree_of(&message), resolver)
}

/// The message `NewBatch`; `minimal` is set by the caller.
///
/// # Errors
/// As [`parse_transfer`].
pub fn parse_batch(body: &[u8], resolver: &impl Resolver) -> Outcome<Batch> {
    let mut rest = body;
    let mut errors = Vec::new();
    let mut items = Vec::new();
    let mut mode = 0;
    while !rest.is_empty() && errors.len() < json::ERRORS_MAX {
        let (tag, wire_type) = decode_key(&mut rest).map_err(malformed)?;
        match (tag, wire_type) {
            (1, WireType::Varint) => mode = decode_varint(&mut rest).map_err(malformed)?,
            (2, WireType::LengthDelimited) => {
                let length = usize::try_from(decode_varint(&mut rest).map_err(malformed)?).unwrap_or(usize::MAX);
                let (item, after) = rest.split_at_checked(length).ok_or_else(cut)?;
                rest = after;
                if items.len() == BATCH_ITEMS_MAX {
                    return Err(json::too_many());
                }
                items.push(item_of(decode(item)?, items.len(), resolver, &mut errors)?);
            }
            (1 | 2, _) => return Err(cut()),
            _ => skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(malformed)?,
        }
    }
    let mode = i32::try_from(mode).ok().and_then(|mode| Mode::try_from(mode).ok());
    if mode.is_none() {
        let detail = "`mode` is MODE_ATOMIC or MODE_INDEPENDENT.".into();
        errors.push(FieldError { pointer: "/mode".into(), code: "invalid_value", detail });
    }
    if !errors.is_empty() {
        return Err(Problem::of_fields(errors));
    }
    if items.is_empty() {
        return Err(json::no_items());
    }
    Ok(Batch { atomic: mode == Some(Mode::Atomic), minimal: false, items })
}

/// The message `Post`: all of the hold (`None`), or this much; `Some(None)` is no plain decimal.
///
/// # Errors
/// `malformed_protobuf`, `unknown_field` for a hold named twice.
pub fn parse_post(body: &[u8]) -> Outcome<Option<Option<Decimal>>> {
    let message: messages::Post = decode(body)?;
    check_nameless(message.transfer.as_ref())?;
    Ok(message.amount.map(|amount| Decimal::parse(&amount)))
}

/// The message `Void`.
///
/// # Errors
/// As [`parse_post`].
pub fn parse_empty(body: &[u8]) -> Outcome<()> {
    let message: messages::Void = decode(body)?;
    check_nameless(message.transfer.as_ref())
}

/// The path names the hold; a second name could be another one.
fn check_nameless(transfer: Option<&String>) -> Outcome<()> {
    if transfer.is_none() {
        return Ok(());
    }
    let detail = "`transfer` is not a field here: the path names it.".into();
    Err(Problem::of_fields(vec![FieldError { pointer: "/transfer".into(), code: "unknown_field", detail }]))
}

/// The message `Reverse`: its reason.
///
/// # Errors
/// `malformed_protobuf`, `validation_failed`.
pub fn parse_reversal(body: &[u8]) -> Outcome<Box<str>> {
    let message: messages::Reverse = decode(body)?;
    let members = message.reason.iter().map(|reason| ("reason".into(), text(reason))).collect();
    json::reversal_of(Tree::Object(members))
}

fn decode<M: Message + Default>(body: &[u8]) -> Outcome<M> {
    M::decode(body).map_err(malformed)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn malformed(error: prost::DecodeError) -> Box<Problem> {
    Problem::new(Code::MalformedProtobuf, format!("The body is not the message of this route: {error}."))
}

fn cut() -> Box<Problem> {
    Problem::new(Code::MalformedProtobuf, "The body is not the message of this route: a field has no proper end.")
}

/// One item of a batch as a command; errors go to `errors`.
fn item_of(
    message: messages::BatchItem,
    index: usize,
    resolver: &impl Resolver,
    errors: &mut Vec<FieldError>,
) -> Outcome<BatchItem> {
    let operation = message.operation.unwrap_or_else(|| ItemOperation::Transfer(messages::NewTransfer::default()));
    let (wire, tree) = match &operation {
        ItemOperation::Transfer(transfer) => (wire_of(transfer), None),
        ItemOperation::Post(post) => {
            let amount = post.amount.as_deref().map(|amount| Amount(Decimal::parse(amount)));
            let wire = Wire { op: Some(said("post")), transfer: borrowed(&post.transfer), amount, ..Wire::default() };
            (Some(wire), Some(order_of("post", &post.transfer, &post.amount)))
        }
        ItemOperation::Void(void) => {
            let wire = Wire { op: Some(said("void")), transfer: borrowed(&void.transfer), ..Wire::default() };
            (Some(wire), Some(order_of("void", &void.transfer, &None)))
        }
    };
    if let Some(wire) = wire
        && let Some(item) = json::fast_item(wire, resolver)?
    {
        return Ok(item);
    }
    let tree = match (&operation, tree) {
        (ItemOperation::Transfer(transfer), _) => tree_of(transfer),
        (_, Some(tree)) => tree,
        (_, None) => Tree::Null,
    };
    Ok(json::slow_item(tree, format!("/transfers/{index}"), resolver, errors)?)
}

fn said(word: &'static str) -> Text<'static> {
    Text(Cow::Borrowed(word))
}

fn borrowed(text: &Option<String>) -> Option<Text<'_>> {
    text.as_deref().map(|text| Text(Cow::Borrowed(text)))
}

/// The message as the JSON parser's fast way reads texts; `None` when its metadata or its code is out of bounds.
fn wire_of(message: &messages::NewTransfer) -> Option<Wire<'_>> {
    let fits = |(key, value): (&String, &String)| {
        json::is_metadata_key(key) && json::is_at_most(value, METADATA_VALUE_CHARS_MAX)
    };
    if message.metadata.len() > METADATA_PAIRS_MAX || !message.metadata.iter().all(fits) {
        return None;
    }
    let code = message.code.map(u32::try_from).transpose().ok()?;
    let pairs = || message.metadata.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect();
    Some(Wire {
        op: None,
        transfer: None,
        debit_account: borrowed(&message.debit_account),
        credit_account: borrowed(&message.credit_account),
        amount: message.amount.as_deref().map(|amount| Amount(Decimal::parse(amount))),
        code,
        external_id: borrowed(&message.external_id),
        effective_date: borrowed(&message.effective_date),
        description: borrowed(&message.description),
        metadata: (!message.metadata.is_empty()).then(|| Pairs(pairs())),
        pending: message.pending,
        expires_in_s: message.expires_in_s,
    })
}

fn text(text: &str) -> Tree<'_> {
    Tree::Text(Cow::Borrowed(text))
}

/// The message as the JSON parser's slow way reads objects.
fn tree_of(message: &messages::NewTransfer) -> Tree<'_> {
    let mut members: Vec<(Cow<'_, str>, Tree<'_>)> = Vec::new();
    for (name, value) in [
        ("debit_account", &message.debit_account),
        ("credit_account", &message.credit_account),
        ("amount", &message.amount),
        ("external_id", &message.external_id),
        ("effective_date", &message.effective_date),
        ("description", &message.description),
    ] {
        members.extend(value.as_deref().map(|value| (name.into(), text(value))));
    }
    members.extend(message.code.map(|code| ("code".into(), Tree::Whole(code.into()))));
    members.extend(message.pending.map(|pending| ("pending".into(), Tree::Bool(pending))));
    members.extend(message.expires_in_s.map(|seconds| ("expires_in_s".into(), Tree::Whole(seconds.into()))));
    if !message.metadata.is_empty() {
        let pairs = message.metadata.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), text(value))).collect();
        members.push(("metadata".into(), Tree::Object(pairs)));
    }
    Tree::Object(members)
}

fn order_of<'a>(op: &'static str, transfer: &'a Option<String>, amount: &'a Option<String>) -> Tree<'a> {
    let mut members: Vec<(Cow<'_, str>, Tree<'_>)> = vec![("op".into(), text(op))];
    for (name, value) in [("transfer", transfer), ("amount", amount)] {
        members.extend(value.as_deref().map(|value| (name.into(), text(value))));
    }
    Tree::Object(members)
}
