//! Loan products: made, changed by versions, shown.

use hyper::StatusCode;

use crate::domain::ids::{IdKind, format_id, parse_id};
use crate::domain::lending::loan::contract::LoanTerms;
use crate::engine::command::{Command, ProductChange};
use crate::engine::readers::run_at;
use crate::engine::view::{AsOf, ProductView};

use super::super::gateway::Call;
use super::super::json;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render;
use super::super::reply::Reply;
use super::answer::{expected_version, not_modified, of_answer, unwritten, version_etag};
use super::with_names;

/// `POST /v1/loan_products`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let body = call.body.clone();
    let product = with_names(call, move |names| json::parse_product(&body, names)).await?;
    let answer = call.submit(Command::MakeProduct(Box::new(product)), origin).await?;
    of_answer(call, answer)
}

/// `PATCH /v1/loan_products/{id}`
pub async fn update(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let expected = expected_version(call)?;
    let origin = call.origin(dry_run)?;
    let fields = json::parse_product_change(&call.body)?;
    // For none it is a number that no product has: then the books refuse the command, and keep the refusal.
    let number = named(call).await?.unwrap_or(0);
    let json::ProductFields {
        name,
        terms,
        principal_min,
        principal_max,
        kfs_valid_days,
        disbursal_by_another,
        year_end_account,
        metadata,
    } = fields;
    let year_end_account = match year_end_account {
        None => None,
        Some(None) => Some(None),
        Some(Some(text)) => {
            let named = with_names(call, move |names| json::year_end_named(&text, names)).await?;
            Some(Some(named))
        }
    };
    let terms = match terms.is_empty() {
        true => None,
        // What the body leaves out of the terms' parts stays as it is.
        false => before(call, number).await?.map(|before| Box::new(terms.over(&before))),
    };
    let change = ProductChange {
        number,
        name,
        terms,
        principal_min,
        principal_max,
        kfs_valid_days,
        disbursal_by_another,
        year_end_account,
        metadata,
        expected,
    };
    let answer = call.submit(Command::ChangeProduct(Box::new(change)), origin).await?;
    of_answer(call, answer)
}

async fn before(call: &mut Call<'_>, number: u32) -> Outcome<Option<LoanTerms>> {
    let engine = &call.books()?.engine;
    let found = call.read(engine.product(number, None)).await?;
    Ok(found.map(|found| found.value.saved.facts.terms.clone()))
}

/// `GET /v1/loan_products/{id}`: as it is, or a version of it.
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["version"])?;
    let version = query.read("version", "a whole number from 1 on", |text| {
        text.parse().ok().filter(|version| *version > 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
    })?;
    let number = named(call).await?.ok_or_else(no_product)?;
    let engine = &call.books()?.engine;
    let found = call.read(engine.product(number, version)).await?.ok_or_else(no_product)?;
    let etag = found.value.last_seq.map(|seq| version_etag(found.value.saved.version, seq));
    if let Some(reply) = etag.as_deref().and_then(|etag| not_modified(call, etag, found.seq)) {
        return Ok(reply);
    }
    let mut reply = Reply::json(StatusCode::OK, render::product(&found.value).map_err(unwritten)?);
    reply.as_of = Some(found.seq);
    reply.etag = etag;
    Ok(reply)
}

/// `GET /v1/loan_products`: newest first.
pub async fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["limit", "starting_after"])?;
    let before = query.read("starting_after", "a prod_… id", number_of)?;
    let limit = query.limit()?;
    let engine = &call.books()?.engine;
    let mut place = call.place_for(limit).await?;
    let AsOf { value: page, seq } = call.read(engine.products(before, limit, &mut place)).await?;
    let (path, has_more) = (call.head.uri.path().to_owned(), page.has_more);
    let cursor = page.cursor.filter(|_| has_more).map(|number| format_id(IdKind::Product, number));
    let body = run_at(&mut place, move || render::product_page(&page.rows, has_more, &path)).await?;
    let mut reply = Reply::json(StatusCode::OK, body.map_err(unwritten)?);
    reply.as_of = Some(seq);
    reply.next = cursor.map(|cursor| query.next_page(call.head.uri.path(), &cursor));
    Ok(reply)
}

/// The answer to a command about a product.
pub fn reply_of(created: bool, view: &ProductView) -> Outcome<Reply> {
    let is_new = created && view.last_seq.is_some();
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut reply = Reply::json(status, render::product(view).map_err(unwritten)?);
    reply.etag = view.last_seq.map(|seq| version_etag(view.saved.version, seq));
    if is_new {
        reply.location = Some(format!("/v1/loan_products/{}", format_id(IdKind::Product, view.saved.number.into())));
    }
    Ok(reply)
}

async fn named(call: &Call<'_>) -> Outcome<Option<u32>> {
    let text = call.id();
    with_names(call, move |names| Ok(names.product(&text)?)).await
}

fn number_of(text: &str) -> Option<u32> {
    parse_id(IdKind::Product, text).and_then(|number| u32::try_from(number).ok())
}

fn no_product() -> Box<Problem> {
    Problem::new(Code::ProductNotFoundInPath, "No loan product, or no such version of it, has the id in the path.")
}
