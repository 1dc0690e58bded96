//! API keys: made, rotated, revoked and shown, by those who may.

use std::sync::Arc;

use hyper::StatusCode;

use crate::domain::access::{ApiKey, KeyTerms};
use crate::domain::ids::{IdKind, Moment, format_id, parse_id};
use crate::engine::command::{Command, NewApiKey, Origin};
use crate::engine::keyring::HeldKey;
use crate::engine::view::{Answer, Reply as Said};

use super::super::gateway::token::Secret;
use super::super::gateway::{Books, Call, render_at};
use super::super::json;
use super::super::problem::{Code, FieldError, Outcome, Problem};
use super::super::render;
use super::super::reply::Reply;
use super::answer::of_answer;

/// `POST /v1/api_keys`: the one answer that shows the token, and its repetitions under one idempotency key.
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    let terms = json::parse_new_key(&call.body)?;
    check_expiry(&terms, call.books()?.engine.core().clock().now())?;
    call.caller.check_gives(&terms)?;
    let (secret, hash) = secret_for(call.books()?, &origin)?;
    let command = Command::MakeApiKey(Box::new(NewApiKey { terms, hash }));
    let answer = call.submit(command, origin).await?;
    with_token(call, answer, &secret)
}

/// A key that is none from the beginning is a slip of whoever wrote its terms.
///
/// # Errors
/// `validation_failed`.
pub fn check_expiry(terms: &KeyTerms, now: Moment) -> Outcome<()> {
    if terms.expires_at.is_none_or(|at| at > now) {
        return Ok(());
    }
    let detail = "`expires_at` has passed: it would be no key.";
    Err(Problem::of_fields(vec![FieldError {
        pointer: "/expires_at".into(),
        code: "invalid_value",
        detail: detail.into(),
    }]))
}

/// `POST /v1/api_keys/{id}/rotate`
pub async fn rotate(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    let overlap_us = json::parse_rotation(&call.body)? * 1_000_000;
    let number = named_to_change(call);
    // The new token is the caller's to see: it must not open more than his own does.
    if let Some(key) = call.books()?.engine.core().keyring().get(number) {
        call.caller.check_gives(&key.terms)?;
    }
    let (secret, hash) = secret_for(call.books()?, &origin)?;
    let answer = call.submit(Command::RotateApiKey { number, hash, overlap_us }, origin).await?;
    with_token(call, answer, &secret)
}

/// `POST /v1/api_keys/{id}/revoke`
pub async fn revoke(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    json::parse_empty(&call.body)?;
    let number = named_to_change(call);
    // Nobody ends what he could not make, be it the key above his own. His own he may always give up.
    if number != call.caller.owner
        && let Some(key) = call.books()?.engine.core().keyring().get(number)
    {
        call.caller.check_gives(&key.terms)?;
    }
    let answer = call.submit(Command::RevokeApiKey { number }, origin).await?;
    of_answer(call, answer)
}

/// `GET /v1/api_keys/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let number = named(call)?;
    let engine = &call.books()?.engine;
    let found = call.read(engine.api_key(number)).await?;
    let key = found.value.ok_or_else(no_key)?;
    let now = engine.core().clock().now();
    let mut reply = Reply::json(StatusCode::OK, render::api_key_at(&key, now));
    reply.as_of = Some(found.seq);
    Ok(reply)
}

/// `GET /v1/api_keys`: newest first.
pub async fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["limit", "starting_after"])?;
    let before = query.read("starting_after", "a key_… id", |text| parse_id(IdKind::ApiKey, text))?;
    let limit = query.limit()?;
    let engine = &call.books()?.engine;
    let place = call.place_for(limit).await?;
    let found = call.read(engine.api_keys()).await?;
    let older = found.value.iter().rev().filter(|key| before.is_none_or(|before| key.number < before));
    let mut rows: Vec<Arc<HeldKey>> = older.take(limit + 1).cloned().collect();
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let path = call.head.uri.path();
    let next = rows.last().filter(|_| has_more).map(|key| format_id(IdKind::ApiKey, key.number));
    let url = path.to_owned();
    let now = engine.core().clock().now();
    let render = move || {
        let keys = rows.iter().map(|key| -> &ApiKey { key });
        Reply::json(StatusCode::OK, render::api_key_page(keys, now, has_more, &url))
    };
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(found.seq);
    reply.next = next.map(|cursor| query.next_page(path, &cursor));
    Ok(reply)
}

/// The key that the path of a command names. For none it is a number that no key has: then the books refuse
/// the command, and keep the refusal under its key as they keep every other.
fn named_to_change(call: &Call<'_>) -> u64 {
    parse_id(IdKind::ApiKey, &call.id()).unwrap_or(u64::MAX)
}

fn named(call: &Call<'_>) -> Outcome<u64> {
    parse_id(IdKind::ApiKey, &call.id()).ok_or_else(no_key)
}

fn no_key() -> Box<Problem> {
    Problem::new(Code::ApiKeyNotFoundInPath, "No API key has the id in the path.")
}

/// The secret of the token that a request asks for, and the hash to keep.
fn secret_for(books: &Books, origin: &Origin) -> Outcome<(Secret, [u8; 32])> {
    let drawn = origin.key.as_ref().map_or_else(Secret::draw, |key| Ok(books.tokens.derive(key)));
    let secret = drawn.map_err(|error| {
        tracing::error!(%error, "the system has no randomness for an API key");
        Problem::new(Code::InternalError, "Nothing was done: no secret could be drawn.")
    })?;
    let hash = books.tokens.hash(&secret);
    Ok((secret, hash))
}

fn with_token(call: &Call<'_>, answer: Answer, secret: &Secret) -> Outcome<Reply> {
    let key = if let Said::ApiKey { key, .. } = &answer.reply { Some(key.clone()) } else { None };
    let mut reply = of_answer(call, answer)?;
    if let Some(key) = key {
        reply.body = render::api_key(&key, Some(&secret.token_of(key.number))).into();
    }
    Ok(reply)
}
