//! The books as a whole: periods, trial balance, clock.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::domain::money::Currency;
use crate::engine::command::Command;
use crate::engine::loans::past::Basis;
use crate::engine::view::AsOf;

use super::super::fields::{Rows, Shape};
use super::super::gateway::{Call, render_at};
use super::super::json;
use super::super::openapi::schemas;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render;
use super::super::reply::Reply;
use super::answer::of_answer;
use super::expand::Objects;
use super::reports::{basis, basis_name, check_over};

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
    let query = call.query(&["on", "as", "currency"])?;
    let (on, basis) = (query.day("on")?, basis(&query)?);
    let currency = query.read("currency", "an ISO 4217 code in capitals", Currency::from_code)?;
    let engine = &call.books()?.engine;
    // However few its rows, it adds up the days of every shard, under all their locks.
    let mut place = Some(call.read(engine.long_place()).await?);
    // What was sealed is not rewritten: a day with a seal is shown as it was then.
    let is_sealed = on.is_some_and(|on| engine.core().loans().with_day(|day| day.end_of(on)).is_some());
    let basis = basis.unwrap_or(if is_sealed { Basis::Recorded } else { Basis::Corrected });
    let AsOf { value: balance, seq } = match (basis, on) {
        (Basis::Recorded, Some(on)) => {
            let engine = Arc::clone(engine);
            let day = call.read(engine.business_day()).await?.value;
            check_over(on, day.date, day.ending.map(|(ending, _, _)| ending), "on")?;
            let AsOf { value, seq } = call.read(engine.sealed_trial_balance(on, currency, &mut place)).await?;
            let value = value.ok_or_else(|| {
                let detail = "More than two million entries were recorded since that day was sealed, and all of them would \
                              be gone through. With `as=corrected` the day is shown as it is known now.";
                Problem::of_parameter(Code::InvalidParameter, "as", detail)
            })?;
            AsOf { value, seq }
        }
        _ => call.read(engine.trial_balance(on, currency, &mut place)).await?,
    };
    let is_csv = call.gives == "text/csv";
    let render = move || {
        if is_csv {
            let csv = HeaderValue::from_static("text/csv; charset=utf-8");
            return Reply::of(StatusCode::OK, csv, render::trial_balance_csv(&balance).into());
        }
        Reply::json(StatusCode::OK, render::trial_balance(&balance, on, basis_name(basis)))
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
