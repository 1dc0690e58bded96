//! Accounts: open, look at, change, list.

use hyper::StatusCode;

use crate::domain::account::{AccountType, Status};
use crate::domain::ids::{AccountNo, account_id, parse_account_id};
use crate::domain::money::Currency;
use crate::domain::transfer::AccountRef;
use crate::engine::command::{AccountChange, Command};
use crate::engine::view::{AccountFilter, AccountView, AsOf};

use super::super::fields::{Rows, Shape};
use super::super::gateway::{Call, render_at};
use super::super::json;
use super::super::openapi::schemas;
use super::super::problem::Outcome;
use super::super::query::{At, parse_at};
use super::super::render;
use super::super::reply::Reply;
use super::answer::{account_etag, expected_version, no_account, not_modified, of_answer};
use super::expand::Objects;
use super::with_names;

/// `POST /v1/accounts`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let account = json::parse_account(&call.body)?;
    let answer = call.submit(Command::OpenAccount(Box::new(account)), origin).await?;
    of_answer(call, answer)
}

/// The account that the path names.
pub async fn named(call: &Call<'_>) -> Outcome<AccountNo> {
    let text = call.id();
    match with_names(call, move |names| Ok(json::account_ref(&text, names)?)).await? {
        AccountRef::No(no) => Ok(no),
        AccountRef::Unknown => Err(no_account()),
    }
}

/// The account that the path of a command names. For none it is a number that no account has: then the
/// books refuse the command, and keep the refusal under its key as they keep every other.
async fn named_to_change(call: &Call<'_>) -> Outcome<AccountNo> {
    let text = call.id();
    Ok(match with_names(call, move |names| Ok(json::account_ref(&text, names)?)).await? {
        AccountRef::No(no) => no,
        AccountRef::Unknown => AccountNo(u32::MAX),
    })
}

/// `GET /v1/accounts/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    get_now(call, None).await
}

async fn get_now(call: &mut Call<'_>, shape: Option<&Shape>) -> Outcome<Reply> {
    let no = named(call).await?;
    let engine = &call.books()?.engine;
    let found = call.read(engine.account(no)).await?.ok_or_else(no_account)?;
    let etag = account_etag(&found.value);
    if let Some(reply) = not_modified(call, &etag, found.seq) {
        return Ok(reply);
    }
    let mut reply = Reply::json(StatusCode::OK, render::account(&found.value));
    reply.as_of = Some(found.seq);
    reply.etag = Some(etag);
    if let Some(shape) = shape {
        shape.apply(&mut reply, &Objects::default().texts);
    }
    Ok(reply)
}

/// `GET /v1/accounts/{id}?at=`: as recorded by an instant, or by effective date at the end of a day.
pub async fn get_at(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["at", "fields"])?;
    let shape = Shape::read(call, &query, &schemas::ACCOUNT, Rows::Whole, &[])?;
    let expected = "a date YYYY-MM-DD, or an RFC 3339 instant with its offset";
    let Some(at) = query.read("at", expected, parse_at)? else {
        return get_now(call, Some(&shape)).await;
    };
    let no = named(call).await?;
    let text = query.text("at").unwrap_or_default();
    let engine = &call.books()?.engine;
    let (view, seq) = match at {
        At::Moment(moment) => {
            let past = call.read(engine.account_at(no, moment)).await?.ok_or_else(no_account)?;
            (past.value, past.seq)
        }
        At::Day(day) => {
            let past = call.read(engine.account_on(no, day)).await?.ok_or_else(no_account)?;
            let now = call.read(engine.account(no)).await?.ok_or_else(no_account)?;
            let account = past.value.over(&now.value.account);
            (AccountView { account, ..now.value }, past.seq.max(now.seq))
        }
    };
    let mut reply = Reply::json(StatusCode::OK, render::past_account(&view, text));
    reply.as_of = Some(seq);
    shape.apply(&mut reply, &Objects::default().texts);
    Ok(reply)
}

/// `PATCH /v1/accounts/{id}`
pub async fn update(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let expected = expected_version(call)?;
    let origin = call.origin(dry_run)?;
    let json::ChangeFields { name, metadata, status } = json::parse_account_change(&call.body)?;
    let change = AccountChange { account: named_to_change(call).await?, name, metadata, status, expected };
    let answer = call.submit(Command::ChangeAccount(Box::new(change)), origin).await?;
    of_answer(call, answer)
}

/// `GET /v1/accounts`
pub async fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["type", "code", "currency", "status", "limit", "starting_after", "fields"])?;
    let shape = Shape::read(call, &query, &schemas::ACCOUNT, Rows::In("data"), &[])?;
    let filter = AccountFilter {
        account_type: query.read("type", "asset, liability, equity, income or expense", AccountType::from_name)?,
        code: query.read("code", "a whole number", |text| text.parse().ok())?,
        currency: query.read("currency", "an ISO 4217 code in capitals", Currency::from_code)?,
        status: query.read("status", "open, frozen, closed or control", Status::from_name)?,
    };
    let before = query.read("starting_after", "an acct_… id", parse_account_id)?;
    let limit = query.limit()?;
    let engine = &call.books()?.engine;
    let mut place = call.place_for(limit).await?;
    let AsOf { value: page, seq } = call.read(engine.accounts(filter, before, limit, &mut place)).await?;
    let cursor = page.cursor.filter(|_| page.has_more).and_then(|number| u32::try_from(number).ok());
    let path = call.head.uri.path().to_owned();
    let render = move || {
        let mut reply = Reply::json(StatusCode::OK, render::account_page(&page, &path));
        shape.apply(&mut reply, &Objects::default().texts);
        reply
    };
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(seq);
    reply.next = cursor.map(|number| query.next_page(call.head.uri.path(), &account_id(AccountNo(number))));
    Ok(reply)
}
