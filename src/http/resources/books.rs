//! The books as a whole: periods, trial balance, clock.

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::domain::money::Currency;
use crate::engine::command::Command;
use crate::engine::view::AsOf;

use super::super::fields::{Rows, Shape};
use super::super::gateway::{Call, render_at};
use super::super::json;
use super::super::openapi::schemas;
use super::super::problem::Outcome;
use super::super::render;
use super::super::reply::Reply;
use super::answer::of_answer;
use super::expand::Objects;

/// `GET /v1/periods`
pub async fn list_periods(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["fields"])?;
    let shape = Shape::read(call, &query, &schemas::PERIOD_EVENT, Rows::In("data"), &[])?;
    let engine = &call.books()?.engine;
    let found = call.read(engine.periods()).await?;
    let mut reply = Reply::json(StatusCode::OK, render::periods(&found.value));
    shape.apply(&mut reply, &Objects::default().texts);
    reply.as_of = Some(found.seq);
    Ok(reply)
}

/// `POST /v1/periods/close`
pub async fn close_period(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let through = json::parse_period_close(&call.body)?;
    let answer = call.submit(Command::ClosePeriod { through }, origin).await?;
    of_answer(call, answer)
}

/// `POST /v1/periods/reopen`
pub async fn reopen_period(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let json::PeriodReopening { through, reason } = json::parse_period_reopen(&call.body)?;
    let answer = call.submit(Command::ReopenPeriod { through, reason }, origin).await?;
    of_answer(call, answer)
}

/// `GET /v1/reports/trial_balance`
pub async fn trial_balance(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["on", "currency"])?;
    let on = query.day("on")?;
    let currency = query.read("currency", "an ISO 4217 code in capitals", Currency::from_code)?;
    let engine = &call.books()?.engine;
    // However few its rows, it adds up the days of every shard, under all their locks.
    let mut place = Some(call.read(engine.long_place()).await?);
    let AsOf { value: balance, seq } = call.read(engine.trial_balance(on, currency, &mut place)).await?;
    let is_csv = call.gives == "text/csv";
    let render = move || {
        if is_csv {
            let csv = HeaderValue::from_static("text/csv; charset=utf-8");
            return Reply::of(StatusCode::OK, csv, render::trial_balance_csv(&balance).into());
        }
        Reply::json(StatusCode::OK, render::trial_balance(&balance, on))
    };
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(seq);
    Ok(reply)
}

/// `POST /v1/clock/accept`
pub async fn accept_clock(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let origin = call.origin(false)?;
    json::parse_empty(&call.body)?;
    let answer = call.submit(Command::AcceptClock, origin).await?;
    of_answer(call, answer)
}
