//! Movement reports: how loans moved through a span of days that are over.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::domain::ids::Seq;
use crate::engine::loans::past::Basis;
use crate::engine::readers::run_at;
use crate::engine::view::AsOf;

use super::super::gateway::{Call, render_at};
use super::super::lending::movements::{Kind, Movements};
use super::super::problem::{Code, Outcome, Problem};
use super::super::reply::Reply;
use super::Operation;
use super::answer::unwritten;
use super::reports::{basis, basis_name, check_loans, check_over, span_of};

/// `GET /v1/reports/npa_movement` and `GET /v1/reports/portfolio_movement`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["from", "to", "as"])?;
    let basis = basis(&query)?.unwrap_or(Basis::Recorded);
    let Some(span) = span_of(&query, None)? else {
        return Err(Problem::of_parameter(Code::InvalidParameter, "from", "`from` and `to` say which days."));
    };
    let kind = if call.route.operation == Operation::GetNpaMovement { Kind::Npa } else { Kind::Portfolio };
    let engine = Arc::clone(&call.books()?.engine);
    let day = call.read(engine.business_day()).await?.value;
    check_over(span.1, day.date, day.ending.map(|(ending, _, _)| ending), "to")?;
    check_loans(&engine)?;
    let mut place = Some(call.read(engine.long_place()).await?);
    let (mut all, mut after, mut seq) = (Movements::default(), 0, Seq::NONE);
    loop {
        let AsOf { value: (found, next), seq: as_of } =
            call.read(engine.loan_movements(span, basis, after, &mut place)).await?;
        all.add(&found);
        seq = seq.max(as_of);
        match next {
            Some(next) if next > after => after = next,
            _ => break,
        }
    }
    let is_csv = call.gives == "text/csv";
    let body =
        run_at(&mut place, move || if is_csv { Ok(all.csv(kind)) } else { all.json(kind, span, basis_name(basis)) });
    let body = body.await?.map_err(unwritten)?;
    let content_type = if is_csv { "text/csv; charset=utf-8" } else { "application/json" };
    let render = move || Reply::of(StatusCode::OK, HeaderValue::from_static(content_type), body.into());
    let mut reply = render_at(place, render).await?;
    reply.as_of = Some(seq);
    Ok(reply)
}
