//! Transfers: one by one, and what becomes of them.

use std::sync::Arc;

use hyper::StatusCode;

use crate::domain::ids::{AccountNo, IdKind, Seq, parse_id};
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::time::Day;
use crate::domain::transfer::{AccountRef, NewTransfer};
use crate::engine::command::{Command, NewJob, Origin};
use crate::engine::view::{AsOf, TransferFilter, TransferScope};

use super::super::fields::{Rows, Shape};
use super::super::gateway::{Call, render_at};
use super::super::json::{self, BatchForm};
use super::super::openapi::schemas;
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::reply::Reply;
use super::super::{proto, render};
use super::answer::{gives_protobuf, no_transfer, not_modified, of_answer, protobuf, transfer_etag, transfer_reply};
use super::expand::{self, ACCOUNTS_AND_TRANSFERS};
use super::jobs::check_born;
use super::{Names, with_names};

/// `POST /v1/transfers`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let (body, form) = (call.body.clone(), call.form);
    let parse = move |names: &Names<'_>| match form {
        BatchForm::Protobuf => Ok((proto::parse_transfer(&body, names)?, Vec::new())),
        _ => json::parse_transfer_with_jobs(&body, names),
    };
    let (transfer, jobs) = with_names(call, parse).await?;
    if jobs.is_empty() {
        let answer = call.submit(Command::Transfer(transfer), origin).await?;
        return of_answer(call, answer);
    }
    // In a box, like everything that is rare: its state would lie in every transfer's future.
    Box::pin(create_with_jobs(call, transfer, jobs, origin)).await
}

/// A transfer that bears jobs: both are durable with its answer, or neither is.
async fn create_with_jobs(
    call: &mut Call<'_>,
    transfer: NewTransfer,
    jobs: Vec<NewJob>,
    origin: Origin,
) -> Outcome<Reply> {
    check_born(call, &jobs)?;
    let queue = Arc::clone(&call.books()?.jobs()?.queue);
    let answer = call.submit(Command::TransferWithJobs(Box::new((transfer, jobs))), origin).await?;
    queue.wake();
    of_answer(call, answer)
}

/// `GET /v1/transfers/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    if call.head.uri.query().is_some() {
        return Box::pin(get_shaped(call)).await;
    }
    let engine = &call.books()?.engine;
    let seq = named(call).await?;
    let found = call.read(engine.transfer(seq)).await?.ok_or_else(no_transfer)?;
    let etag = transfer_etag(call, &found.value);
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, found.seq)) {
        return Ok(reply);
    }
    let mut reply = transfer_reply(call, StatusCode::OK, &found.value);
    reply.as_of = Some(found.seq);
    reply.etag = etag;
    Ok(reply)
}

/// `GET /v1/transfers/{id}?fields=&expand[]=`
async fn get_shaped(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["fields", "expand[]"])?;
    let shape = Shape::read(call, &query, &schemas::TRANSFER, Rows::Whole, ACCOUNTS_AND_TRANSFERS)?;
    let engine = &call.books()?.engine;
    let seq = named(call).await?;
    let found = call.read(engine.transfer(seq)).await?.ok_or_else(no_transfer)?;
    // With other objects inside, the transfer's own tag says too little.
    let etag = transfer_etag(call, &found.value).filter(|_| !shape.expands());
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, found.seq)) {
        return Ok(reply);
    }
    let objects = expand::of_transfers(call, &shape, std::slice::from_ref(&found.value), &mut None).await?;
    let mut reply = transfer_reply(call, StatusCode::OK, &found.value);
    reply.as_of = Some(found.seq.max(objects.seq));
    reply.etag = etag;
    shape.apply(&mut reply, &objects.texts);
    Ok(reply)
}

/// The transfer that the path names.
async fn named(call: &Call<'_>) -> Outcome<Seq> {
    let text = call.id();
    with_names(call, move |names| Ok(json::transfer_ref(&text, names)?)).await?.ok_or_else(no_transfer)
}

/// The transfer that the path of a command names. For none it is a seq that no entry has: then the books
/// refuse the command, and keep the refusal under its key as they keep every other.
async fn named_to_change(call: &Call<'_>) -> Outcome<Seq> {
    let text = call.id();
    let found = with_names(call, move |names| Ok(json::transfer_ref(&text, names)?)).await?;
    Ok(found.unwrap_or(Seq(u64::MAX)))
}

/// `POST /v1/transfers/{id}/post`
pub async fn post(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let amount = match call.form {
        BatchForm::Protobuf => proto::parse_post(&call.body)?,
        _ => json::parse_post(&call.body)?,
    };
    let transfer = named_to_change(call).await?;
    let answer = call.submit(Command::PostHold { transfer, amount }, origin).await?;
    of_answer(call, answer)
}

/// `POST /v1/transfers/{id}/void`
pub async fn void(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    match call.form {
        BatchForm::Protobuf => proto::parse_empty(&call.body)?,
        _ => json::parse_empty(&call.body)?,
    }
    let transfer = named_to_change(call).await?;
    let answer = call.submit(Command::VoidHold { transfer }, origin).await?;
    of_answer(call, answer)
}

/// `POST /v1/transfers/{id}/reverse`
pub async fn reverse(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let reason = match call.form {
        BatchForm::Protobuf => proto::parse_reversal(&call.body)?,
        _ => json::parse_reversal(&call.body)?,
    };
    let transfer = named_to_change(call).await?;
    let answer = call.submit(Command::Reverse { transfer, reason: Some(reason) }, origin).await?;
    of_answer(call, answer)
}

/// What a list of transfers is about.
struct Wanted {
    account: Option<AccountNo>,
    date: Option<Day>,
    entry: Option<Seq>,
    code: Option<u32>,
}

impl Wanted {
    async fn read(call: &Call<'_>, query: &Query<'_>) -> Outcome<Wanted> {
        let account = match query.text("account").map(str::to_owned) {
            None => None,
            Some(text) => match with_names(call, move |names| Ok(json::account_ref(&text, names)?)).await? {
                AccountRef::No(no) => Some(no),
                AccountRef::Unknown => return Err(Problem::of_reject(Reject::of(RejectCode::AccountNotFound))),
            },
        };
        let wanted = Wanted {
            account,
            date: query.day("date")?,
            entry: query.read("entry", "a je_… id", |text| parse_id(IdKind::JournalEntry, text).map(Seq))?,
            code: query.read("code", "a whole number", |text| text.parse().ok())?,
        };
        if wanted.account.is_none() && wanted.date.is_none() && wanted.entry.is_none() {
            let detail = "Name an `account`, a `date` or an `entry`: the list of all transfers is the export.";
            return Err(Problem::of_parameter(Code::InvalidParameter, "account", detail));
        }
        Ok(wanted)
    }

    /// The narrowest set that the engine can walk; the rest is filtered row by row.
    fn filter(&self) -> TransferFilter {
        let scope = match (self.entry, self.account, self.date) {
            (Some(entry), _, _) => TransferScope::Voucher(entry),
            (None, Some(account), _) => TransferScope::Account(account),
            (None, None, Some(date)) => TransferScope::Date(date),
            (None, None, None) => unreachable!("reading refuses a list of everything"),
        };
        TransferFilter { scope, code: self.code, account: self.account, date: self.date }
    }
}

/// `GET /v1/transfers`
pub async fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["account", "date", "entry", "code", "limit", "starting_after", "fields", "expand[]"])?;
    let shape = Shape::read(call, &query, &schemas::TRANSFER, Rows::In("data"), ACCOUNTS_AND_TRANSFERS)?;
    let filter = Wanted::read(call, &query).await?.filter();
    let limit = query.limit()?;
    let before = before(call, &query, filter.scope).await?;
    let engine = &call.books()?.engine;
    let mut place = call.place_for(limit).await?;
    let AsOf { value: page, seq } = call.read(engine.transfers(filter, before, limit, &mut place)).await?;
    let objects = expand::of_transfers(call, &shape, &page.rows, &mut place).await?;
    let as_of = seq.max(objects.seq);
    let cursor = page.cursor.filter(|_| page.has_more);
    let (path, is_protobuf) = (call.head.uri.path().to_owned(), gives_protobuf(call));
    let render = move || {
        let mut reply = if is_protobuf {
            protobuf(StatusCode::OK, proto::transfer_page(&page, &path))
        } else {
            Reply::json(StatusCode::OK, render::transfer_page(&page, &path))
        };
        shape.apply(&mut reply, &objects.texts);
        reply
    };
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(as_of);
    reply.next = cursor.map(|cursor| query.next_page(call.head.uri.path(), &cursor.to_string()));
    Ok(reply)
}

/// The place after which a page starts: a transfer, or a seq as in `Link`. In the list of a day a hold may
/// stand at its posting.
async fn before(call: &mut Call<'_>, query: &Query<'_>, scope: TransferScope) -> Outcome<Option<Seq>> {
    let expected = "a tr_… id, or what `Link` said";
    let cursor = query.read("starting_after", expected, |text| match parse_id(IdKind::Transfer, text) {
        Some(seq) => Some((Seq(seq), true)),
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => Some((Seq(text.parse().ok()?), false)),
        None => None,
    })?;
    let engine = &call.books()?.engine;
    Ok(match (cursor, scope) {
        (Some((transfer, true)), TransferScope::Date(day)) => Some(call.read(engine.place_on(day, transfer)).await?),
        (cursor, _) => cursor.map(|(seq, _)| seq),
    })
}
