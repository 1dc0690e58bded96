//! What the history of a loan says: schedule, statement, explanation, key facts, receipts; and what would end it.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::json;

use crate::domain::ids::{IdKind, Seq, format_id, parse_id};
use crate::domain::lending::financial_year::FinancialYear;
use crate::domain::lending::loan::quotes::{Quote, cooling_off, foreclosure};
use crate::domain::lending::loan::state::LoanStatus;
use crate::domain::reject::{Reject, RejectCode};
use crate::engine::readers::{Place, run_at};
use crate::engine::view::{AsOf, LoanEventView, LoanHistory};
use crate::jobs::documents::reference::Kind;

use super::super::documents::Subject;
use super::super::gateway::{Call, render_at};
use super::super::lending::certificate::certificate;
use super::super::lending::explain::{FIGURES, explanation};
use super::super::lending::key_facts::key_facts;
use super::super::lending::names::is_receipt;
use super::super::lending::schedule::schedule;
use super::super::lending::statement::{statement as lines_of, statement_csv, statement_json};
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::render::product::plain;
use super::super::render::{loan_event_page, rupees_text};
use super::super::reply::Reply;
use super::answer::{not_modified, typed_etag, unwritten};
use super::documents;
use super::loans::{etag, named, no_loan};

/// A loan's history, with the place on which it was read: what follows is made there, too.
async fn history(call: &mut Call<'_>) -> Outcome<(AsOf<LoanHistory>, Option<Place>)> {
    let number = named(call).await?;
    let engine = &call.books()?.engine;
    let mut place = Some(call.read(engine.long_place()).await?);
    let found = call.read(engine.loan_history(number, &mut place)).await?.ok_or_else(no_loan)?;
    Ok((found, place))
}

/// Answers with what is made of a history; it changes with the loan and the business date.
async fn from_history(
    call: &mut Call<'_>,
    make: impl FnOnce(&LoanHistory) -> Outcome<Vec<u8>> + Send + 'static,
) -> Outcome<Reply> {
    let (AsOf { value: history, seq }, mut place) = history(call).await?;
    let etag = etag(&history.view);
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, seq)) {
        return Ok(reply);
    }
    let body = run_at(&mut place, move || make(&history)).await??;
    let mut reply = render_at(place, move || Reply::json(StatusCode::OK, body)).await?;
    reply.as_of = Some(seq);
    reply.etag = etag;
    Ok(reply)
}

/// The document of a loan, where the caller wants one.
async fn document(call: &mut Call<'_>, query: &Query<'_>, kind: Kind) -> Outcome<Option<Reply>> {
    let Some(form) = documents::form_of(call, query)? else { return Ok(None) };
    let ask = documents::ask_of(query, kind, Subject::Loan(named(call).await?))?;
    documents::answer(call, ask, form).await.map(Some)
}

/// `GET /v1/loans/{id}/schedule`
pub async fn get_schedule(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["version", "format", "as_of_seq"])?;
    if let Some(document) = document(call, &query, Kind::Schedule).await? {
        return Ok(document);
    }
    let version = query.read("version", "a version of the plan, from 1 on", |text| {
        text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
    })?;
    from_history(call, move |history| match schedule(history, version) {
        Some(body) => body.map_err(unwritten),
        None => {
            let detail = "The plan has no such version; without `version` the answer lists those that there are.";
            Err(Problem::of_parameter(Code::InvalidParameter, "version", detail))
        }
    })
    .await
}

/// `GET /v1/loans/{id}/statement`
pub async fn get_statement(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["from", "to", "format", "as_of_seq"])?;
    if let Some(document) = document(call, &query, Kind::LoanStatement).await? {
        return Ok(document);
    }
    let (from, to) = (query.day("from")?, query.day("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::of_parameter(Code::InvalidParameter, "from", "`from` is not after `to`."));
    }
    let (AsOf { value: history, seq }, mut place) = history(call).await?;
    let etag = etag(&history.view).map(|etag| typed_etag(call, etag));
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, seq)) {
        return Ok(reply);
    }
    let is_csv = call.gives == "text/csv";
    let body = run_at(&mut place, move || {
        let statement = lines_of(&history, from, to);
        if is_csv { Ok(statement_csv(&statement)) } else { statement_json(&statement) }
    });
    let body = body.await?.map_err(unwritten)?;
    let content_type = if is_csv { "text/csv; charset=utf-8" } else { "application/json" };
    let render = move || Reply::of(StatusCode::OK, HeaderValue::from_static(content_type), body.into());
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(seq);
    reply.etag = etag;
    Ok(reply)
}

/// `GET /v1/loans/{id}/explain`
pub async fn explain(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["figure"])?;
    let expected = format!("one of {}", FIGURES.join(", "));
    let figure = query.read("figure", &expected, |text| FIGURES.iter().find(|known| **known == text).copied())?;
    from_history(call, move |history| explanation(history, figure).map_err(unwritten)).await
}

/// `GET /v1/loans/{id}/interest_certificate`
pub async fn get_certificate(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["fy"])?;
    let expected = "a financial year that has begun, like 2026-27";
    let refuse = move || Problem::of_parameter(Code::InvalidParameter, "fy", format!("`fy` is {expected}."));
    let fy = query.read("fy", expected, FinancialYear::parse)?.ok_or_else(refuse)?;
    from_history(call, move |history| {
        if fy.first() > history.view.today {
            return Err(refuse());
        }
        certificate(history, fy).map_err(unwritten)
    })
    .await
}

/// `GET /v1/loans/{id}/kfs`
pub async fn get_kfs(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["format", "as_of_seq"])?;
    if let Some(document) = document(call, &query, Kind::KeyFacts).await? {
        return Ok(document);
    }
    from_history(call, |history| {
        let made = key_facts(history).map_err(|error| {
            let detail = format!("With the loan's terms and dates there is none: `{}` {}.", error.field, error.what);
            Problem::new(Code::Books(RejectCode::LoanTermsInvalid), detail)
        })?;
        made.map_err(unwritten)
    })
    .await
}

/// `GET /v1/loans/{id}/repayments`: receipts, newest first.
pub async fn list_repayments(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["limit", "starting_after"])?;
    let before = query.read("starting_after", "an evt_… id", |text| parse_id(IdKind::LoanEvent, text).map(Seq))?;
    let limit = query.limit()?;
    let (AsOf { value: history, seq }, mut place) = history(call).await?;
    let path = call.head.uri.path().to_owned();
    let made = run_at(&mut place, move || {
        let mut rows: Vec<LoanEventView> = history.events.into_iter().map(|step| step.event).collect();
        rows.retain(|row| is_receipt(&row.posted.event) && before.is_none_or(|before| row.seq < Some(before)));
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.seq));
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let cursor = rows.last().and_then(|row| row.seq).filter(|_| has_more);
        loan_event_page(&rows, has_more, &path).map(|body| (body, cursor))
    });
    let (body, cursor) = made.await?.map_err(unwritten)?;
    let mut reply = render_at(place, move || Reply::json(StatusCode::OK, body)).await?;
    reply.as_of = Some(seq);
    let cursor = cursor.map(|seq| format_id(IdKind::LoanEvent, seq.0));
    reply.next = cursor.map(|cursor| query.next_page(call.head.uri.path(), &cursor));
    Ok(reply)
}

/// `GET /v1/loans/{id}/foreclosure_quote`
pub async fn get_quote(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["on"])?;
    let on = query.day("on")?;
    let number = named(call).await?;
    let engine = &call.books()?.engine;
    let AsOf { value: view, seq } = call.read(engine.loan(number)).await?.ok_or_else(no_loan)?;
    let on = on.unwrap_or(view.today);
    if on < view.today {
        let detail = format!("A quote is for the business date, {}, or a later day.", view.today);
        return Err(Problem::of_parameter(Code::InvalidParameter, "on", detail));
    }
    if view.state.status != LoanStatus::Active {
        let mut problem = Problem::of_reject(Reject::of(RejectCode::LoanNotActive));
        problem.as_of = Some(seq);
        return Err(problem);
    }
    let (state, terms) = (&view.state, &view.terms);
    let quote = foreclosure(state, terms, on);
    let leaving = cooling_off(state, terms, on).map(|quote| quote_json(&quote));
    let mut json = quote_json(&quote);
    for (name, value) in [
        ("object", json!("foreclosure_quote")),
        ("loan", json!(format_id(IdKind::Loan, number.into()))),
        ("on", json!(on.to_string())),
        ("valid_through", json!(on.to_string())),
        ("charge_pct", json!(plain(terms.foreclosure_charge_pct))),
        ("charge_gst_pct", json!(plain(terms.charge_gst_pct))),
        ("charge_is_on", json!(rupees_text(state.not_due()))),
        ("cooling_off", json!(leaving)),
    ] {
        json[name] = value;
    }
    let mut reply = Reply::json(StatusCode::OK, serde_json::to_vec(&json).map_err(unwritten)?);
    reply.as_of = Some(seq);
    Ok(reply)
}

fn quote_json(quote: &Quote) -> serde_json::Value {
    json!({
        "principal": rupees_text(quote.principal),
        "interest": rupees_text(quote.interest),
        "fees": rupees_text(quote.fees),
        "penal": rupees_text(quote.penal),
        "charge": rupees_text(quote.charge),
        "gst": rupees_text(quote.gst),
        "advance": rupees_text(quote.advance),
        "total": rupees_text(quote.total),
        "per_day_interest": rupees_text(quote.per_day_interest),
    })
}
