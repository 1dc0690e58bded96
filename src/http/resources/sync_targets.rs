//! Targets of ledger sync: set up, changed, looked at.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::domain::ids::{AccountNo, IdKind, Moment, Seq, account_id, format_id, parse_id};
use crate::domain::objects::Collection;
use crate::engine::command::{Command, ObjectChange};
use crate::engine::objects::Object;
use crate::jobs::sync::Syncs;
use crate::jobs::sync::target::{Target, TargetBody, place_of};

use super::super::gateway::Call;
use super::super::json::{self, EndpointChange, TargetChange};
use super::super::problem::{Code, Outcome, Problem};
use super::super::render::moment_text;
use super::super::reply::Reply;
use super::super::stream::lent::WEBHOOK_SECRET;
use super::answer::{expected_of, of_answer, version_etag};
use super::webhooks::{account_named, check_topic, invalid, loan_named};

/// `POST /v1/sync_targets`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    let new = json::parse_new_target(&call.body)?;
    let newest = call.books()?.engine.core().journal().durable_seq();
    let after = match new.after.map(Seq) {
        Some(after) if after > newest => return Err(invalid("/after", format!("These books end at {newest}."))),
        after => after.unwrap_or(newest),
    };
    let mut body = TargetBody::new(new.kind, new.url.clone(), after);
    let common = EndpointChange { url: Some(new.url), ..new.rest.common };
    apply(call, &mut body, TargetChange { common, ..new.rest }).await?;
    let change = ObjectChange { collection: Collection::SyncTarget, number: None, expected: None, body: body.write() };
    let answer = call.submit(Command::SaveObject(Box::new(change)), origin).await?;
    syncs(call)?.ring();
    of_answer(call, answer)
}

/// `PATCH /v1/sync_targets/{id}`
pub async fn update(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    let wanted = json::parse_target_change(&call.body)?;
    let object = object_named(call)?;
    let expected = expected_of(call, &object)?;
    let target = understood(&object)?;
    let mut body = target.body;
    apply(call, &mut body, wanted).await?;
    let change = ObjectChange {
        collection: Collection::SyncTarget,
        number: Some(target.number),
        expected: Some(expected),
        body: body.write(),
    };
    let answer = call.submit(Command::SaveObject(Box::new(change)), origin).await?;
    syncs(call)?.ring();
    of_answer(call, answer)
}

/// `GET /v1/sync_targets/{id}`
pub fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let object = object_named(call)?;
    let shown = with_standing(syncs(call)?, &object)?;
    let mut reply = Reply::json(StatusCode::OK, shown.to_string().into_bytes());
    reply.as_of = Some(object.last_seq);
    reply.etag = Some(version_etag(object.saved.version, object.last_seq));
    Ok(reply)
}

/// `GET /v1/sync_targets`
pub fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let (books, syncs) = (call.books()?, syncs(call)?);
    let objects = books.engine.core().objects().all(Collection::SyncTarget);
    let rows: Vec<Value> = objects.iter().map(|object| with_standing(syncs, object)).collect::<Outcome<_>>()?;
    let body = json!({"object": "list", "url": call.head.uri.path(), "has_more": false, "data": rows});
    let mut reply = Reply::json(StatusCode::OK, body.to_string().into_bytes());
    reply.as_of = Some(books.engine.core().journal().durable_seq());
    Ok(reply)
}

/// The answer to a command about a target, the same for its repetitions: as it was saved then.
pub fn reply_of(object: &Object, created: bool) -> Outcome<Reply> {
    let shown = shown(object, &understood(object)?.body);
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut reply = Reply::json(status, shown.to_string().into_bytes());
    reply.etag = Some(version_etag(object.saved.version, object.last_seq));
    if created {
        let id = format_id(IdKind::SyncTarget, u64::from(object.saved.number));
        reply.location = Some(format!("/v1/sync_targets/{id}"));
    }
    Ok(reply)
}

async fn apply(call: &Call<'_>, body: &mut TargetBody, change: TargetChange) -> Outcome<()> {
    let EndpointChange { url, description, types, account, loan, is_enabled, ordered: _ } = change.common;
    if let Some(url) = url {
        body.url = url;
    }
    for (field, wanted) in [
        (&mut body.description, description),
        (&mut body.username, change.username),
        (&mut body.exchange, change.exchange),
        (&mut body.routing_key, change.routing_key),
        (&mut body.topic, change.topic),
    ] {
        if let Some(wanted) = wanted {
            *field = wanted;
        }
    }
    if let Some(password) = change.password {
        body.sealed_password = password.map(|password| seal(call, &password)).transpose()?;
    }
    if let Some(types) = types {
        body.types = types;
    }
    if let Some(is_enabled) = is_enabled {
        body.is_enabled = is_enabled;
    }
    if let Some(account) = account {
        body.account = account_named(call, account).await?;
    }
    if let Some(loan) = loan {
        body.loan = loan_named(call, loan).await?;
    }
    check_topic(&body.events())?;
    body.check().map_err(|(field, detail)| invalid(&format!("/{field}"), detail))?;
    let guard = call.books()?.jobs()?.outbound.guard();
    let place = place_of(guard, body.kind, &body.url);
    place.map(drop).map_err(|why| invalid("/url", format!("It is not called: {why}.")))
}

fn seal(call: &Call<'_>, password: &str) -> Outcome<String> {
    let sealed = call.books()?.tokens.secrets().seal(WEBHOOK_SECRET, password);
    let sealed = sealed.map_err(|cause| {
        tracing::error!(%cause, "a password could not be sealed");
        Problem::new(Code::InternalError, "The system has no randomness. Nothing was done.")
    })?;
    Ok(STANDARD.encode(sealed))
}

fn shown(object: &Object, body: &TargetBody) -> Value {
    json!({
        "object": "sync_target",
        "id": format_id(IdKind::SyncTarget, u64::from(object.saved.number)),
        "version": object.saved.version,
        "created_at": moment_text(object.saved.created_at),
        "kind": body.kind.name(),
        "url": body.url,
        "username": body.username,
        "has_password": body.sealed_password.is_some(),
        "exchange": body.exchange,
        "routing_key": body.routing_key,
        "topic": body.topic,
        "description": body.description,
        "types": body.types,
        "account": body.account.map(|no| account_id(AccountNo(no))),
        "loan": body.loan.map(|number| format_id(IdKind::Loan, u64::from(number))),
        "status": if body.is_enabled { "enabled" } else { "disabled" },
    })
}

fn with_standing(syncs: &Syncs, object: &Object) -> Outcome<Value> {
    let target = understood(object)?;
    let mut shown = shown(object, &target.body);
    let standing = syncs.standing(&target);
    let (failed_at, error) = standing.last_error.map_or((None, None), |(at, why)| (Some(Moment(at)), Some(why)));
    shown["standing"] = json!({
        "position": standing.position.0.to_string(),
        "lag": standing.lag,
        "connected": standing.is_connected,
        "delivered": standing.delivered,
        "failed": standing.failed,
        "last_error": error,
        "last_error_at": failed_at.map(moment_text),
    });
    Ok(shown)
}

fn syncs<'c>(call: &Call<'c>) -> Outcome<&'c Arc<Syncs>> {
    Ok(&call.books()?.jobs()?.syncs)
}

fn object_named(call: &Call<'_>) -> Outcome<Arc<Object>> {
    let number = parse_id(IdKind::SyncTarget, &call.id()).and_then(|number| u32::try_from(number).ok());
    let objects = call.books()?.engine.core().objects();
    let object = number.and_then(|number| objects.get(Collection::SyncTarget, number));
    object.ok_or_else(|| Problem::new(Code::SyncTargetNotFoundInPath, "No sync target has this id."))
}

fn understood(object: &Object) -> Outcome<Target> {
    Target::of(object).ok_or_else(|| Problem::new(Code::InternalError, "The target is not understood."))
}
