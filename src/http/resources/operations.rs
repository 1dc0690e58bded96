//! Background operations.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;

use crate::domain::ids::{IdKind, Moment, Seq, format_id, parse_id};
use crate::engine::view::AsOf;

use super::super::gateway::Call;
use super::super::json;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render;
use super::super::reply::Reply;
use super::answer::unwritten;

/// `POST /v1/verifications`
pub fn verify(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    json::parse_empty(&call.body)?;
    let key = call.origin(false)?.key;
    let verifier = Arc::clone(&call.books()?.verifier);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Moment(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    call.check_deadline()?;
    let started = call.edge.operations.start_verification((call.request, now), key, verifier)?;
    let (operation, is_replayed) = started;
    let mut reply = Reply::json(StatusCode::ACCEPTED, operation.render());
    reply.replayed = is_replayed;
    reply.location = Some(format!("/v1/operations/{}", format_id(IdKind::Operation, operation.id)));
    Ok(reply)
}

/// `GET /v1/operations/{id}`
///
/// The end of a day is found by its place in the journal, for ever; a verification belongs to this process.
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let id = parse_id(IdKind::Operation, &call.id());
    let Some(operation) = id.and_then(|id| call.edge.operations.find(id)) else {
        return day_end(call, id).await;
    };
    let mut reply = Reply::json(StatusCode::OK, operation.render());
    // After the body: a result that it shows has its seq.
    reply.as_of = operation.as_of();
    Ok(reply)
}

async fn day_end(call: &mut Call<'_>, id: Option<u64>) -> Outcome<Reply> {
    let none = || {
        let detail =
            "No operation has this id. Verifications are forgotten when the server restarts, ends of days never.";
        Problem::new(Code::OperationNotFound, detail)
    };
    let closed = Seq(id.ok_or_else(none)?);
    let engine = &call.books()?.engine;
    let AsOf { value: end, seq } = call.read(engine.day_end(closed)).await?.ok_or_else(none)?;
    let mut reply = Reply::json(StatusCode::OK, render::day_end(&end).map_err(unwritten)?);
    reply.as_of = Some(seq);
    Ok(reply)
}
