//! Loans: worked out, asked for, acted on, shown.

use std::sync::Arc;

use hyper::StatusCode;

use crate::domain::ids::{IdKind, Seq, format_id, parse_id};
use crate::domain::lending::calculation::calculate;
use crate::domain::reject::{Reject, RejectCode};
use crate::engine::command::Command;
use crate::engine::readers::run_at;
use crate::engine::view::{AsOf, LoanEventView, LoanFilter, LoanView};

use super::super::gateway::Call;
use super::super::json;
use super::super::lending::names::{CLASSES, LOAN_STATUSES, value_in};
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::render;
use super::super::reply::Reply;
use super::answer::{not_modified, of_answer, unwritten};
use super::jobs::check_born;
use super::{Operation, with_names};

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

/// `POST /v1/loans`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let body = call.body.clone();
    let application = with_names(call, move |names| json::parse_application(&body, names)).await?;
    let answer = call.submit(Command::Apply(Box::new(application)), origin).await?;
    of_answer(call, answer)
}

/// Every other command about a loan: what is asked stands in the path, and in the body the rest.
pub async fn act(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let (operation, body, text) = (call.route.operation, call.body.clone(), call.id());
    // What is no event's id names seq 0, which no event has; a loan that is none has number 0. So the books refuse
    // the command, and keep the refusal.
    let event = parse_id(IdKind::LoanEvent, &call.part_id()).map_or(Seq::NONE, Seq);
    let action = with_names(call, move |names| {
        let mut action = json::parse_loan_order(operation, (0, event), &body, names)?;
        action.loan = names.loan(&text)?.unwrap_or(0);
        Ok(action)
    });
    let action = action.await?;
    if action.jobs.is_empty() {
        let answer = call.submit(Command::ActOnLoan(Box::new(action)), origin).await?;
        return of_answer(call, answer);
    }
    check_born(call, &action.jobs)?;
    let queue = Arc::clone(&call.books()?.jobs()?.queue);
    let answer = call.submit(Command::ActOnLoan(Box::new(action)), origin).await?;
    queue.wake();
    of_answer(call, answer)
}

/// The answer to a command about a loan: the receipt where money came or went or what is owed changed, else the loan.
pub fn reply_of(call: &Call<'_>, created: bool, view: &LoanView, event: &LoanEventView) -> Outcome<Reply> {
    use Operation as Op;
    let is_about_loan = matches!(
        call.route.operation,
        Op::CreateLoan
            | Op::ApproveLoan
            | Op::DeclineLoan
            | Op::IssueKfs
            | Op::AcceptKfs
            | Op::CloseLoan
            | Op::PauseLoan
            | Op::WatchLoan
    );
    let is_new = created && view.last_seq.is_some() && call.route.operation == Op::CreateLoan;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let body = if is_about_loan { render::loan(view) } else { render::loan_event(event, view) };
    let mut reply = Reply::json(status, body.map_err(unwritten)?);
    if is_about_loan {
        reply.etag = etag(view);
    }
    if is_new {
        reply.location = view.loan.map(|number| format!("/v1/loans/{}", format_id(IdKind::Loan, number.into())));
    }
    Ok(reply)
}

/// `GET /v1/loans/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let number = named(call).await?;
    let engine = &call.books()?.engine;
    let found = call.read(engine.loan(number)).await?.ok_or_else(no_loan)?;
    let etag = etag(&found.value);
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, found.seq)) {
        return Ok(reply);
    }
    let mut reply = Reply::json(StatusCode::OK, render::loan(&found.value).map_err(unwritten)?);
    reply.as_of = Some(found.seq);
    reply.etag = etag;
    Ok(reply)
}

/// `GET /v1/loans`: newest first.
pub async fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["customer", "product", "status", "class", "limit", "starting_after"])?;
    let filter = filter(call, &query).await?;
    let before = query.read("starting_after", "a loan_… id", number_of)?;
    let limit = query.limit()?;
    let engine = &call.books()?.engine;
    let mut place = call.place_for(limit).await?;
    let AsOf { value: page, seq } = call.read(engine.loans(filter, before, limit, &mut place)).await?;
    let (path, has_more) = (call.head.uri.path().to_owned(), page.has_more);
    let cursor = page.cursor.filter(|_| has_more).map(|number| format_id(IdKind::Loan, number));
    let body = run_at(&mut place, move || render::loan_page(&page.rows, has_more, &path)).await?;
    let mut reply = Reply::json(StatusCode::OK, body.map_err(unwritten)?);
    reply.as_of = Some(seq);
    reply.next = cursor.map(|cursor| query.next_page(call.head.uri.path(), &cursor));
    Ok(reply)
}

async fn filter(call: &Call<'_>, query: &Query<'_>) -> Outcome<LoanFilter> {
    let names: Vec<&str> = LOAN_STATUSES.iter().skip(1).map(|(_, name)| *name).collect();
    let status = query
        .read("status", &names.join(", "), |name| value_in(&LOAN_STATUSES, name).filter(|_| names.contains(&name)))?;
    let names: Vec<&str> = CLASSES.iter().map(|(_, name)| *name).collect();
    let class_from = query.read("class", &names.join(", "), |name| value_in(&CLASSES, name))?;
    let customer = query.text("customer").map(str::to_owned);
    let product = query.text("product").map(str::to_owned);
    let (customer, product) = with_names(call, move |names| {
        let customer = match &customer {
            None => None,
            Some(text) => Some(names.customer(text)?.ok_or_else(|| unknown(RejectCode::CustomerNotFound))?),
        };
        let product = match &product {
            None => None,
            Some(text) => Some(names.product(text)?.ok_or_else(|| unknown(RejectCode::ProductNotFound))?),
        };
        Ok((customer, product))
    })
    .await?;
    Ok(LoanFilter { customer, product, status, class_from, has_dues: false })
}

fn unknown(code: RejectCode) -> Box<Problem> {
    Problem::of_reject(Reject::of(code))
}

/// A loan changes by its events and with the business date.
pub fn etag(view: &LoanView) -> Option<String> {
    view.last_seq.map(|seq| format!("\"{seq}-{}\"", view.today))
}

/// The loan that the path names.
pub async fn named(call: &Call<'_>) -> Outcome<u32> {
    let text = call.id();
    with_names(call, move |names| Ok(names.loan(&text)?)).await?.ok_or_else(no_loan)
}

fn number_of(text: &str) -> Option<u32> {
    parse_id(IdKind::Loan, text).and_then(|number| u32::try_from(number).ok())
}

/// `loan_not_found` for an id in the path.
pub fn no_loan() -> Box<Problem> {
    Problem::new(Code::LoanNotFoundInPath, "No loan has the id in the path.")
}
