//! Endpoints for webhooks: set up, tried, looked at, and sent again what they missed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::config::WEBHOOK_OVERLAP_US;
use crate::domain::ids::{IdKind, Moment, Seq, account_id, format_id, parse_id};
use crate::domain::objects::Collection;
use crate::engine::command::{Command, ObjectChange};
use crate::engine::feed::{EventKind, EventKinds, Topic};
use crate::engine::history::Reach;
use crate::engine::objects::Object;
use crate::engine::view::Unavailable;
use crate::jobs::outbound::signature::SigningKey;
use crate::jobs::webhooks::Webhooks;
use crate::jobs::webhooks::endpoint::{Endpoint, EndpointBody, EndpointStatus, SECRETS_MAX, SealedSecret};
use crate::jobs::webhooks::ledger::{Attempt, Owed};

use super::super::gateway::Call;
use super::super::json::{self, EndpointChange, Signing};
use super::super::problem::{Code, FieldError, Outcome, Problem};
use super::super::render::moment_text;
use super::super::reply::Reply;
use super::super::stream::lent::WEBHOOK_SECRET;
use super::answer::{expected_of, of_answer, version_etag};

/// `POST /v1/webhook_endpoints`: the one answer that shows the secret, and its repetitions under one key.
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    let new = json::parse_new_endpoint(&call.body)?;
    let books = call.books()?;
    let newest = books.engine.core().journal().durable_seq();
    let after = match new.after.map(Seq) {
        Some(after) if after > newest => return Err(invalid("/after", format!("These books end at {newest}."))),
        after => after.unwrap_or(newest),
    };
    let secret = draw(call, new.signing)?;
    let mut body = EndpointBody::new(new.url.clone(), after, secret);
    let change = EndpointChange { url: Some(new.url), ..new.rest };
    apply(call, &mut body, change).await?;
    let change =
        ObjectChange { collection: Collection::WebhookEndpoint, number: None, expected: None, body: body.write() };
    let answer = call.submit(Command::SaveObject(Box::new(change)), origin).await?;
    webhooks(call)?.ring();
    of_answer(call, answer)
}

/// `PATCH /v1/webhook_endpoints/{id}`
pub async fn update(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    let change = json::parse_endpoint_change(&call.body)?;
    let object = object_named(call)?;
    let expected = expected_of(call, &object)?;
    let endpoint = understood(&object)?;
    let mut body = endpoint.body.clone();
    apply(call, &mut body, change).await?;
    save(call, origin, &endpoint, expected, &body).await
}

/// `POST /v1/webhook_endpoints/{id}/rotate`
pub async fn rotate(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    json::parse_empty(&call.body)?;
    let endpoint = named(call)?;
    let mut body = endpoint.body.clone();
    let now = call.books()?.engine.core().clock().now();
    let is_public = body.secrets.first().is_some_and(|secret| secret.public.is_some());
    let fresh = draw(call, if is_public { Signing::Ed25519 } else { Signing::Hmac })?;
    body.secrets.retain(|secret| secret.until.is_none_or(|until| now.0 < until));
    if let Some(old) = body.secrets.first_mut() {
        old.until = Some(now.0 + WEBHOOK_OVERLAP_US);
    }
    body.secrets.insert(0, fresh);
    body.secrets.truncate(SECRETS_MAX);
    save(call, origin, &endpoint, endpoint.version, &body).await
}

async fn save(
    call: &mut Call<'_>,
    origin: crate::engine::command::Origin,
    endpoint: &Endpoint,
    expected: u32,
    body: &EndpointBody,
) -> Outcome<Reply> {
    let change = ObjectChange {
        collection: Collection::WebhookEndpoint,
        number: Some(endpoint.number),
        expected: Some(expected),
        body: body.write(),
    };
    let answer = call.submit(Command::SaveObject(Box::new(change)), origin).await?;
    webhooks(call)?.ring();
    of_answer(call, answer)
}

/// `GET /v1/webhook_endpoints/{id}`
pub fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let object = object_named(call)?;
    let mut shown = shown(&object, None);
    shown["delivery"] = standing(webhooks(call)?, object.saved.number);
    let mut reply = Reply::json(StatusCode::OK, shown.to_string().into_bytes());
    reply.as_of = Some(object.last_seq);
    reply.etag = Some(version_etag(object.saved.version, object.last_seq));
    Ok(reply)
}

/// `GET /v1/webhook_endpoints`
pub fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let books = call.books()?;
    let webhooks = webhooks(call)?;
    let rows: Vec<Value> = books
        .engine
        .core()
        .objects()
        .all(Collection::WebhookEndpoint)
        .iter()
        .map(|object| {
            let mut shown = shown(object, None);
            shown["delivery"] = standing(webhooks, object.saved.number);
            shown
        })
        .collect();
    let body = json!({"object": "list", "url": call.head.uri.path(), "has_more": false, "data": rows});
    let mut reply = Reply::json(StatusCode::OK, body.to_string().into_bytes());
    reply.as_of = Some(books.engine.core().journal().durable_seq());
    Ok(reply)
}

/// `GET /v1/webhook_endpoints/{id}/deliveries`: what it is owed, the newest first.
pub fn deliveries(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["limit", "starting_after"])?;
    let before = query.read("starting_after", "an evt_… id", |text| parse_id(IdKind::LoanEvent, text))?;
    let limit = query.limit()?;
    let object = object_named(call)?;
    let mut rows = webhooks(call)?.owed(object.saved.number, before.map(Seq), limit + 1);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|(seq, _)| format_id(IdKind::LoanEvent, seq.0));
    let data: Vec<Value> = rows.iter().map(|(seq, owed)| shown_owed(*seq, owed)).collect();
    let path = call.head.uri.path();
    let body = json!({"object": "list", "url": path, "has_more": has_more, "data": data});
    let mut reply = Reply::json(StatusCode::OK, body.to_string().into_bytes());
    reply.next = next.map(|cursor| query.next_page(path, &cursor));
    Ok(reply)
}

/// `GET /v1/webhook_endpoints/{id}/attempts`: the last ones of this process, the newest first.
pub fn attempts(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let object = object_named(call)?;
    let data: Vec<Value> = webhooks(call)?.attempts(object.saved.number).iter().map(shown_attempt).collect();
    let body = json!({"object": "list", "url": call.head.uri.path(), "has_more": false, "data": data});
    Ok(Reply::json(StatusCode::OK, body.to_string().into_bytes()))
}

/// `POST /v1/webhook_endpoints/{id}/deliveries/{event}/resend`
pub async fn resend(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    json::parse_empty(&call.body)?;
    let object = object_named(call)?;
    let not_found = || Problem::new(Code::EventNotFoundInPath, "The books have no such event.");
    let seq =
        parse_id(IdKind::LoanEvent, &call.part_id()).map(Seq).filter(|seq| *seq != Seq::NONE).ok_or_else(not_found)?;
    let engine = Arc::clone(&call.books()?.engine);
    let found = engine.on_disk(move |core| core.entry(seq)).await?.map_err(Unavailable::from)?;
    if found.and_then(|located| EventKind::of(&located.entry)).is_none() {
        return Err(not_found());
    }
    webhooks(call)?.resend(object.saved.number, seq);
    accepted(call, object.saved.number)
}

/// `POST /v1/webhook_endpoints/{id}/replay`
pub fn replay(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let after = Seq(json::parse_replay(&call.body)?);
    let object = object_named(call)?;
    let newest = call.books()?.engine.core().journal().durable_seq();
    if after > newest {
        return Err(invalid("/after", format!("These books end at {newest}.")));
    }
    webhooks(call)?.replay(object.saved.number, after);
    accepted(call, object.saved.number)
}

/// `POST /v1/webhook_endpoints/{id}/test`: an event that never happened, once.
pub async fn test(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    json::parse_empty(&call.body)?;
    let endpoint = named(call)?;
    let webhooks = Arc::clone(webhooks(call)?);
    let id = format!("test_{:016x}", call.request);
    let attempt = webhooks.test(&endpoint, &id).await;
    let mut shown = shown_attempt(&attempt);
    shown["event"] = json!(id);
    Ok(Reply::json(StatusCode::OK, shown.to_string().into_bytes()))
}

fn accepted(call: &Call<'_>, number: u32) -> Outcome<Reply> {
    let body = standing(webhooks(call)?, number);
    let mut reply = Reply::json(StatusCode::ACCEPTED, body.to_string().into_bytes());
    reply.location = Some(format!("/v1/webhook_endpoints/{}", format_id(IdKind::WebhookEndpoint, u64::from(number))));
    Ok(reply)
}

/// The answer to a command about an endpoint, the same for its repetitions: as it was saved then.
pub fn reply_of(call: &Call<'_>, object: &Object, created: bool) -> Outcome<Reply> {
    let body = EndpointBody::read(&object.saved.body);
    let body = body.ok_or_else(|| Problem::new(Code::InternalError, "The endpoint is not understood."))?;
    // Shown where it was made: a version whose first secret is not the one of the version before.
    let is_rotation = call.route.operation_id == "rotate_webhook_secret";
    let secret = if created || is_rotation {
        let sealed = body.secrets.first().and_then(|secret| STANDARD.decode(&secret.sealed).ok());
        let secrets = call.books()?.tokens.secrets();
        sealed.and_then(|sealed| secrets.open(WEBHOOK_SECRET, &sealed))
    } else {
        None
    };
    let shown = shown(object, secret);
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut reply = Reply::json(status, shown.to_string().into_bytes());
    reply.etag = Some(version_etag(object.saved.version, object.last_seq));
    if created {
        let id = format_id(IdKind::WebhookEndpoint, u64::from(object.saved.number));
        reply.location = Some(format!("/v1/webhook_endpoints/{id}"));
    }
    Ok(reply)
}

fn shown(object: &Object, secret: Option<String>) -> Value {
    let mut shown = json!({
        "object": "webhook_endpoint",
        "id": format_id(IdKind::WebhookEndpoint, u64::from(object.saved.number)),
        "version": object.saved.version,
        "created_at": moment_text(object.saved.created_at),
    });
    if let Some(body) = EndpointBody::read(&object.saved.body) {
        shown["url"] = json!(body.url);
        shown["description"] = json!(body.description);
        shown["types"] = json!(body.types);
        shown["account"] = json!(body.account.map(|no| account_id(crate::domain::ids::AccountNo(no))));
        shown["loan"] = json!(body.loan.map(|number| format_id(IdKind::Loan, u64::from(number))));
        shown["ordered"] = json!(body.ordered);
        shown["status"] = json!(body.status.name());
        shown["public_key"] = json!(body.secrets.first().and_then(|secret| secret.public.clone()));
        shown["old_secret_until"] =
            json!(body.secrets.iter().filter_map(|secret| secret.until).max().map(|until| moment_text(Moment(until))));
    }
    if let Some(secret) = secret {
        shown["secret"] = json!(secret);
    }
    shown
}

fn standing(webhooks: &Webhooks, number: u32) -> Value {
    let standing = webhooks.standing(number);
    json!({
        "position": standing.position.0.to_string(),
        "waiting": standing.owed,
        "dead": standing.dead,
        "delivered": standing.taken,
        "failed": standing.failed,
        "last_attempt": standing.last.as_ref().map(shown_attempt),
    })
}

fn shown_owed(seq: Seq, owed: &Owed) -> Value {
    json!({
        "object": "webhook_delivery",
        "event": format_id(IdKind::LoanEvent, seq.0),
        "status": if owed.is_dead { "dead" } else { "waiting" },
        "attempts": owed.attempts,
        "next_attempt_at": (!owed.is_dead).then(|| moment_text(Moment(owed.next_at))),
        "last_attempt_at": (owed.last_at > 0).then(|| moment_text(Moment(owed.last_at))),
        "last_status": (owed.status > 0).then_some(owed.status),
        "error": (!owed.error.is_empty()).then_some(&owed.error),
    })
}

fn shown_attempt(attempt: &Attempt) -> Value {
    json!({
        "object": "webhook_attempt",
        "event": format_id(IdKind::LoanEvent, attempt.seq.0),
        "attempt": attempt.attempt,
        "at": moment_text(Moment(attempt.at)),
        "delivered": attempt.error.is_empty(),
        "status": (attempt.status > 0).then_some(attempt.status),
        "took_ms": attempt.took_us as f64 / 1000.0,
        "error": (!attempt.error.is_empty()).then_some(&attempt.error),
        "said": (!attempt.said.is_empty()).then_some(&attempt.said),
    })
}

async fn apply(call: &Call<'_>, body: &mut EndpointBody, change: EndpointChange) -> Outcome<()> {
    if let Some(url) = change.url {
        let jobs = call.books()?.jobs()?;
        if let Err(refused) = jobs.outbound.guard().check_url(&url) {
            return Err(invalid("/url", format!("It is not called: {refused}.")));
        }
        body.url = url;
    }
    if let Some(description) = change.description {
        body.description = description;
    }
    if let Some(types) = change.types {
        body.types = types;
    }
    if let Some(ordered) = change.ordered {
        body.ordered = ordered;
    }
    if let Some(is_enabled) = change.is_enabled {
        body.status = if is_enabled { EndpointStatus::Enabled } else { EndpointStatus::Disabled };
    }
    if let Some(account) = change.account {
        body.account = account_named(call, account).await?;
    }
    if let Some(loan) = change.loan {
        body.loan = loan_named(call, loan).await?;
    }
    check_topic(&body.topic())
}

/// What wants nothing would be sent nothing, for ever.
pub(super) fn check_topic(topic: &Topic) -> Outcome<()> {
    if topic.kinds == EventKinds::NONE {
        let detail = "None of these is ever sent: name at least one kind, and none about keys. `null` is all of them.";
        return Err(invalid("/types", detail.into()));
    }
    Ok(())
}

/// The number of an account that a field names.
pub(super) async fn account_named(call: &Call<'_>, name: Option<String>) -> Outcome<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    let found = call.books()?.engine.on_disk(move |core| core.resolve_account(&name, Reach::Disk)).await?;
    let found = found.map_err(Unavailable::from)?;
    Ok(Some(found.ok_or_else(|| invalid("/account", "No account is called that.".into()))?.0))
}

/// The number of a loan that a field names.
pub(super) async fn loan_named(call: &Call<'_>, name: Option<String>) -> Outcome<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    let found = call.books()?.engine.on_disk(move |core| core.resolve_loan(&name, Reach::Disk)).await?;
    let found = found.map_err(Unavailable::from)?;
    Ok(Some(found.ok_or_else(|| invalid("/loan", "No loan is called that.".into()))?))
}

/// A new secret, sealed for the books.
fn draw(call: &Call<'_>, signing: Signing) -> Outcome<SealedSecret> {
    let no_randomness = |cause: &dyn std::fmt::Display| {
        tracing::error!(%cause, "a secret could not be drawn");
        Problem::new(Code::InternalError, "The system has no randomness. Nothing was done.")
    };
    let key = match signing {
        Signing::Hmac => SigningKey::draw_hmac(),
        Signing::Ed25519 => SigningKey::draw_ed25519(),
    };
    let key = key.map_err(|cause| no_randomness(&cause))?;
    let sealed = call.books()?.tokens.secrets().seal(WEBHOOK_SECRET, &key.reveal());
    let sealed = sealed.map_err(|cause| no_randomness(&cause))?;
    Ok(SealedSecret { sealed: STANDARD.encode(sealed), public: key.public_text(), until: None })
}

/// A field is not what it should be.
pub(super) fn invalid(pointer: &str, detail: String) -> Box<Problem> {
    Problem::of_fields(vec![FieldError { pointer: pointer.into(), code: "invalid_value", detail: detail.into() }])
}

fn webhooks<'c>(call: &Call<'c>) -> Outcome<&'c Arc<Webhooks>> {
    Ok(&call.books()?.jobs()?.webhooks)
}

fn object_named(call: &Call<'_>) -> Outcome<Arc<Object>> {
    let number = parse_id(IdKind::WebhookEndpoint, &call.id()).and_then(|number| u32::try_from(number).ok());
    let objects = call.books()?.engine.core().objects();
    let object = number.and_then(|number| objects.get(Collection::WebhookEndpoint, number));
    object.ok_or_else(|| Problem::new(Code::WebhookEndpointNotFoundInPath, "No webhook endpoint has this id."))
}

fn named(call: &Call<'_>) -> Outcome<Endpoint> {
    understood(&*object_named(call)?)
}

fn understood(object: &Object) -> Outcome<Endpoint> {
    Endpoint::of(object).ok_or_else(|| Problem::new(Code::InternalError, "The endpoint is not understood."))
}
