//! Background operations.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;

use crate::domain::ids::{IdKind, Moment, format_id, parse_id};

use super::super::gateway::Call;
use super::super::json;
use super::super::problem::{Code, Outcome, Problem};
use super::super::reply::Reply;

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
pub fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let operation = parse_id(IdKind::Operation, &call.id()).and_then(|id| call.edge.operations.find(id));
    let operation = operation.ok_or_else(|| {
        Problem::new(Code::OperationNotFound, "No operation has this id. They are forgotten when the server restarts.")
    })?;
    let mut reply = Reply::json(StatusCode::OK, operation.render());
    // After the body: a result that it shows has its seq.
    reply.as_of = operation.as_of();
    Ok(reply)
}
