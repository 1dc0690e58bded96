//! Vouchers (all transfers of one command) and statements (all lines of one account).

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::config::{SHORT_ROWS_MAX, VOUCHER_ROWS_MAX};
use crate::domain::ids::{IdKind, Seq, parse_id};
use crate::engine::statement::{After, StatementQuery};
use crate::engine::view::{AsOf, Page, TransferFilter, TransferScope};
use crate::jobs::documents::reference::Kind;

use super::super::documents::Subject;
use super::super::fields::{Rows, Shape};
use super::super::gateway::{Call, render_at};
use super::super::openapi::schemas;
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::render;
use super::super::reply::Reply;
use super::accounts::named;
use super::answer::{no_account, not_modified, typed_etag, version_etag};
use super::documents;
use super::expand::{self, ACCOUNTS_AND_TRANSFERS};

/// `GET /v1/entries/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["fields", "expand[]"])?;
    let shape = Shape::read(call, &query, &schemas::TRANSFER, Rows::In("transfers"), ACCOUNTS_AND_TRANSFERS)?;
    let no_entry = || Problem::new(Code::EntryNotFound, "No entry has the id in the path.");
    let first = parse_id(IdKind::JournalEntry, &call.id()).map(Seq).ok_or_else(no_entry)?;
    let filter = TransferFilter::of(TransferScope::Voucher(first));
    let engine = &call.books()?.engine;
    let mut place = None;
    let mut found = call.read(engine.transfers(filter, None, SHORT_ROWS_MAX, &mut place)).await?;
    if found.value.has_more {
        // The voucher of a batch: once more, all of it, where there is time.
        place = call.place_for(VOUCHER_ROWS_MAX).await?;
        found = call.read(engine.transfers(filter, None, VOUCHER_ROWS_MAX, &mut place)).await?;
    }
    let AsOf { value: Page { mut rows, .. }, seq } = found;
    if rows.is_empty() {
        return Err(no_entry());
    }
    let objects = expand::of_transfers(call, &shape, &rows, &mut place).await?;
    let as_of = seq.max(objects.seq);
    let render = move || {
        rows.sort_by_key(|row| row.seq);
        let mut reply = Reply::json(StatusCode::OK, render::voucher(first, &rows));
        shape.apply(&mut reply, &objects.texts);
        reply
    };
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(as_of);
    Ok(reply)
}

/// `GET /v1/accounts/{id}/entries`
pub async fn statement(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["from", "to", "format", "as_of_seq", "limit", "starting_after", "fields", "expand[]"])?;
    if let Some(form) = documents::form_of(call, &query)? {
        let no = named(call).await?;
        let ask = documents::ask_of(&query, Kind::Statement, Subject::Account(no))?;
        return documents::answer(call, ask, form).await;
    }
    let shape = Shape::read(call, &query, &schemas::STATEMENT_LINE, Rows::In("data"), &["account", "transfer"])?;
    let limit = query.limit()?;
    let asked =
        StatementQuery { from: query.day("from")?, to: query.day("to")?, after: cursor(call, &query).await?, limit };
    if asked.from.zip(asked.to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::of_parameter(Code::InvalidParameter, "from", "`from` is not after `to`."));
    }
    let no = named(call).await?;
    let engine = &call.books()?.engine;
    let mut place = call.place_for(limit).await?;
    let found = call.read(engine.statement(no, asked, &mut place)).await?.ok_or_else(no_account)?;
    let etag = typed_etag(call, version_etag(found.value.version, found.value.last_seq));
    // With other objects inside, the account's own tag says too little.
    let etag = Some(etag).filter(|_| !shape.expands());
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, found.seq)) {
        return Ok(reply);
    }
    let AsOf { value: statement, seq } = found;
    let objects = expand::of_statement(call, &shape, &statement, &mut place).await?;
    let (as_of, next, is_csv) = (seq.max(objects.seq), statement.next, call.gives == "text/csv");
    let render = move || {
        let mut reply = if is_csv {
            let csv = HeaderValue::from_static("text/csv; charset=utf-8");
            Reply::of(StatusCode::OK, csv, render::statement_csv(&statement).into())
        } else {
            Reply::json(StatusCode::OK, render::statement(&statement))
        };
        shape.apply(&mut reply, &objects.texts);
        reply
    };
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(as_of);
    reply.etag = etag;
    let cursor = |after| match after {
        After::Line(seq) => seq.to_string(),
        After::Booked(seq) => format!("{BOOKED}{seq}"),
    };
    reply.next = next.map(|after| query.next_page(call.head.uri.path(), &cursor(after)));
    Ok(reply)
}

/// What a cursor begins with that names no line but where a walk ended; only `Link` makes it.
const BOOKED: char = '~';

/// The line after which a page starts: its transfer, or its `seq` as in `Link`. A posted hold's line stands
/// at the posting.
async fn cursor(call: &mut Call<'_>, query: &Query<'_>) -> Outcome<Option<After>> {
    let expected = "the `transfer` of a line, or what `Link` said";
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).map(Seq);
    let cursor = query.read("starting_after", expected, |text| {
        let by_place = match text.strip_prefix(BOOKED) {
            Some(rest) => number(rest).map(After::Booked),
            None => number(text).map(After::Line),
        };
        by_place.map(Ok).or_else(|| parse_id(IdKind::Transfer, text).map(|seq| Err(Seq(seq))))
    })?;
    let transfer = match cursor {
        None => return Ok(None),
        Some(Ok(after)) => return Ok(Some(after)),
        Some(Err(transfer)) => transfer,
    };
    let engine = &call.books()?.engine;
    let Some(line) = call.read(engine.line_of(transfer)).await? else {
        let detail = "This transfer is no line of a statement: nothing was posted by it.";
        return Err(Problem::of_parameter(Code::InvalidParameter, "starting_after", detail));
    };
    Ok(Some(After::Line(line)))
}
