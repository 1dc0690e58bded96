//! `GET /v1/reports/month_end`: what a month came to.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::domain::lending::financial_year::month;
use crate::engine::readers::run_at;
use crate::engine::view::AsOf;

use super::super::gateway::{Call, render_at};
use super::super::lending::month_end::{month_end, month_end_csv};
use super::super::problem::{Code, Outcome, Problem};
use super::super::reply::Reply;
use super::answer::unwritten;

/// Shows what the close of a month's last day has kept.
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["month"])?;
    let expected = "a month YYYY-MM whose last day was ended with its totals";
    let refuse = || Problem::of_parameter(Code::InvalidParameter, "month", format!("`month` is {expected}."));
    let span = query.read("month", expected, month)?.ok_or_else(refuse)?;
    let engine = Arc::clone(&call.books()?.engine);
    let mut place = Some(call.read(engine.long_place()).await?);
    let found = call.read(engine.month_end(span, &mut place)).await?.ok_or_else(refuse)?;
    let AsOf { value: shown, seq } = found;
    let is_csv = call.gives == "text/csv";
    let body = run_at(&mut place, move || if is_csv { Ok(month_end_csv(&shown)) } else { month_end(&shown, span.0) });
    let body = body.await?.map_err(unwritten)?;
    let content_type = if is_csv { "text/csv; charset=utf-8" } else { "application/json" };
    let render = move || Reply::of(StatusCode::OK, HeaderValue::from_static(content_type), body.into());
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(seq);
    Ok(reply)
}
