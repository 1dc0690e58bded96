//! Transfers: one by one, and what becomes of them.

use crate::domain::ids::{AccountNo, IdKind, Seq, format_id, parse_id};
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::time::Day;
use crate::domain::transfer::AccountRef;
use crate::engine::command::Command;
use crate::engine::view::{TransferFilter, TransferScope};

use super::super::gateway::Call;
use super::super::json;
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::render;
use super::super::reply::Reply;
use super::answer::{no_transfer, not_modified, of_answer, transfer_etag};
use super::with_names;

/// `POST /v1/transfers`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let body = call.body.clone();
    let transfer = with_names(call, move |names| json::parse_transfer(&body, names)).await?;
    let answer = call.submit(Command::Transfer(transfer), origin).await?;
    of_answer(call, answer)
}

/// `GET /v1/transfers/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let engine = &call.books()?.engine;
    let seq = named(call).await?;
    let found = call.read(engine.transfer(seq)).await?.ok_or_else(no_transfer)?;
    let etag = transfer_etag(&found.value);
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, found.seq)) {
        return Ok(reply);
    }
    let mut reply = Reply::json(hyper::StatusCode::OK, render::transfer(&found.value));
    reply.as_of = Some(found.seq);
    reply.etag = etag;
    Ok(reply)
}

/// The transfer that the path names.
async fn named(call: &Call<'_>) -> Outcome<Seq> {
    let text = call.id();
    with_names(call, move |names| Ok(json::transfer_ref(&text, names)?)).await?.ok_or_else(no_transfer)
}

/// `POST /v1/transfers/{id}/post`
pub async fn post(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let amount = json::parse_post(&call.body)?;
    let transfer = named(call).await?;
    let answer = call.submit(Command::PostHold { transfer, amount }, origin).await?;
    of_answer(call, answer)
}

/// `POST /v1/transfers/{id}/void`
pub async fn void(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    json::parse_empty(&call.body)?;
    let transfer = named(call).await?;
    let answer = call.submit(Command::VoidHold { transfer }, origin).await?;
    of_answer(call, answer)
}

/// `POST /v1/transfers/{id}/reverse`
pub async fn reverse(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let reason = Some(json::parse_reversal(&call.body)?);
    let transfer = named(call).await?;
    let answer = call.submit(Command::Reverse { transfer, reason }, origin).await?;
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
    let query = call.query(&["account", "date", "entry", "code", "limit", "starting_after"])?;
    let filter = Wanted::read(call, &query).await?.filter();
    let limit = query.limit()?;
    let before = query.read("starting_after", "a tr_… id", |text| parse_id(IdKind::Transfer, text).map(Seq))?;
    let engine = &call.books()?.engine;
    let found = call.read(engine.transfers(filter, before, limit)).await?;
    let mut reply = Reply::json(hyper::StatusCode::OK, render::transfer_page(&found.value, call.head.uri.path()));
    reply.as_of = Some(found.seq);
    if let Some(cursor) = found.value.cursor.filter(|_| found.value.has_more) {
        reply.next = Some(query.next_page(call.head.uri.path(), &format_id(IdKind::Transfer, cursor)));
    }
    Ok(reply)
}
