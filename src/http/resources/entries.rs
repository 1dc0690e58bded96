//! Vouchers (all transfers of one command) and statements (all lines of one account).

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::config::VOUCHER_ROWS_MAX;
use crate::domain::ids::{IdKind, Seq, parse_id};
use crate::engine::statement::StatementQuery;
use crate::engine::view::{TransferFilter, TransferScope, TransferStatus};

use super::super::fields::{Rows, Shape};
use super::super::gateway::Call;
use super::super::openapi::schemas;
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::render;
use super::super::reply::Reply;
use super::accounts::named;
use super::answer::{no_account, not_modified, typed_etag, version_etag};
use super::expand::{self, ACCOUNTS_AND_TRANSFERS};

/// `GET /v1/entries/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["fields", "expand[]"])?;
    let shape = Shape::read(call, &query, &schemas::TRANSFER, Rows::In("transfers"), ACCOUNTS_AND_TRANSFERS)?;
    let no_entry = || Problem::new(Code::EntryNotFound, "No entry has the id in the path.");
    let first = parse_id(IdKind::JournalEntry, &call.id()).map(Seq).ok_or_else(no_entry)?;
    let filter = TransferFilter { scope: TransferScope::Voucher(first), code: None };
    let engine = &call.books()?.engine;
    let mut found = call.read(engine.transfers(filter, None, VOUCHER_ROWS_MAX)).await?;
    let rows = &mut found.value.rows;
    if rows.is_empty() {
        return Err(no_entry());
    }
    rows.sort_by_key(|row| row.seq);
    let objects = expand::of_transfers(call, &shape, rows).await?;
    let mut reply = Reply::json(StatusCode::OK, render::voucher(first, rows));
    reply.as_of = Some(found.seq.max(objects.seq));
    shape.apply(&mut reply, &objects.texts);
    Ok(reply)
}

/// `GET /v1/accounts/{id}/entries`
pub async fn statement(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["from", "to", "limit", "starting_after", "fields", "expand[]"])?;
    let shape = Shape::read(call, &query, &schemas::STATEMENT_LINE, Rows::In("data"), &["account", "transfer"])?;
    let asked = StatementQuery {
        from: query.day("from")?,
        to: query.day("to")?,
        before: cursor(call, &query).await?,
        limit: query.limit()?,
    };
    if asked.from.zip(asked.to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::of_parameter(Code::InvalidParameter, "from", "`from` is not after `to`."));
    }
    let no = named(call)?;
    let engine = &call.books()?.engine;
    let found = call.read(engine.statement(no, asked)).await?.ok_or_else(no_account)?;
    let etag = typed_etag(call, version_etag(found.value.version, found.value.last_seq));
    // With other objects inside, the account's own tag says too little.
    let etag = Some(etag).filter(|_| !shape.expands());
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, found.seq)) {
        return Ok(reply);
    }
    let objects = expand::of_statement(call, &shape, &found.value).await?;
    let mut reply = if call.gives == "text/csv" {
        let csv = HeaderValue::from_static("text/csv; charset=utf-8");
        Reply::of(StatusCode::OK, csv, render::statement_csv(&found.value).into())
    } else {
        Reply::json(StatusCode::OK, render::statement(&found.value))
    };
    reply.as_of = Some(found.seq.max(objects.seq));
    reply.etag = etag;
    shape.apply(&mut reply, &objects.texts);
    if let Some(last) = found.value.lines.last().filter(|_| found.value.has_more) {
        reply.next = Some(query.next_page(call.head.uri.path(), &last.seq.to_string()));
    }
    Ok(reply)
}

/// The line after which a page starts: its `seq`, or its transfer where that says the same. A posted
/// hold's line stands at the posting, not at the hold, and only its `seq` can tell which one is meant.
async fn cursor(call: &mut Call<'_>, query: &Query<'_>) -> Outcome<Option<Seq>> {
    let expected = "the `seq` or the `transfer` of a line";
    let cursor = query.read("starting_after", expected, |text| match parse_id(IdKind::Transfer, text) {
        Some(seq) => Some((Seq(seq), true)),
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => Some((Seq(text.parse().ok()?), false)),
        None => None,
    })?;
    let Some((seq, is_transfer)) = cursor else { return Ok(None) };
    if is_transfer {
        let engine = &call.books()?.engine;
        let found = call.read(engine.transfer(seq)).await?;
        let is_line = found
            .is_some_and(|found| found.value.status == TransferStatus::Posted && found.value.resolved_at.is_none());
        if !is_line {
            let detail = "This transfer is no line by itself; name the `seq` of the last line instead.";
            return Err(Problem::of_parameter(Code::InvalidParameter, "starting_after", detail));
        }
    }
    Ok(Some(seq))
}
