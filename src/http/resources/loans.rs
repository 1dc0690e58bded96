//! Loans.

use hyper::StatusCode;

use crate::domain::lending::calculation::calculate;

use super::super::gateway::Call;
use super::super::json;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render;
use super::super::reply::Reply;

/// Rows up to which a calculation is made here, below a millisecond; longer ones on a thread of their own.
const ROWS_HERE: u32 = 60;

/// `POST /v1/loan_calculations`: terms in, schedule and figures out; the books are not asked.
pub async fn calculate_loan(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let terms = json::parse_loan_terms(&call.body)?;
    let is_short = terms.instalments.is_some_and(|rows| rows <= ROWS_HERE)
        && terms.prepayments.len() + terms.rate_resets.len() <= ROWS_HERE as usize / 10;
    let answer = move || {
        let made = calculate(&terms).map_err(|error| json::loan_refused(&error))?;
        render::loan_calculation(&terms, &made)
            .map_err(|error| Problem::new(Code::InternalError, format!("The answer could not be written: {error}.")))
    };
    let body = if is_short { answer()? } else { call.books()?.engine.on_disk(move |_| answer()).await?? };
    Ok(Reply::json(StatusCode::OK, body))
}
