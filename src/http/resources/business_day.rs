//! The business day: opened, closed, looked at.

use hyper::StatusCode;

use crate::domain::ids::{IdKind, Moment, Seq, format_id};
use crate::domain::time::Day;
use crate::engine::command::Command;
use crate::engine::view::{AsOf, BusinessDay, DayEnd};

use super::super::gateway::Call;
use super::super::json;
use super::super::problem::Outcome;
use super::super::render;
use super::super::reply::Reply;
use super::Operation;
use super::answer::{of_answer, unwritten};

/// `GET /v1/business_day`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let engine = &call.books()?.engine;
    let AsOf { value: day, seq } = call.read(engine.business_day()).await?;
    let mut reply = Reply::json(StatusCode::OK, render::business_day(&day).map_err(unwritten)?);
    reply.as_of = Some(seq);
    Ok(reply)
}

/// `POST /v1/business_day/open`
pub async fn open(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let (date, reason) = json::parse_day_opening(&call.body)?;
    let answer = call.submit(Command::OpenDay { date, reason }, origin).await?;
    of_answer(call, answer)
}

/// `POST /v1/business_day/close`: begun; the day's end runs on, as an operation.
pub async fn close(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    json::parse_empty(&call.body)?;
    let answer = call.submit(Command::CloseDay, origin).await?;
    of_answer(call, answer)
}

/// The answer to a command about the day. That to a closing is the operation as it began, for a replay too: its id is
/// the entry that closed the day, so that it is found as long as the journal is there.
pub fn reply_of(call: &Call<'_>, day: &BusinessDay, recorded: Option<(Seq, Moment)>) -> Outcome<Reply> {
    if call.route.operation != Operation::CloseBusinessDay {
        return Ok(Reply::json(StatusCode::OK, render::business_day(day).map_err(unwritten)?));
    }
    let date = Day(day.date.0.saturating_sub(1));
    let begun = DayEnd {
        closed: recorded.map(|(seq, _)| seq),
        closed_at: recorded.map_or(Moment::default(), |(_, moment)| moment),
        date,
        next: day.date,
        // Without loans there is nothing to end.
        ended: day.ending.is_none().then_some(None),
        looked_at: day.ending.map_or((0, 0), |(first, done, of)| (if first == date { done } else { 0 }, of)),
    };
    let status = if begun.closed.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut reply = Reply::json(status, render::day_end(&begun).map_err(unwritten)?);
    reply.location = begun.closed.map(|seq| format!("/v1/operations/{}", format_id(IdKind::Operation, seq.0)));
    Ok(reply)
}
