//! Customers: made, changed and shown; secrets sealed on the way in, masked on the way out for those who need not know.

use hyper::StatusCode;

use crate::domain::access::Role;
use crate::domain::ids::{IdKind, format_id, parse_id};
use crate::domain::lending::customer::{CustomerFacts, Sealed, masked};
use crate::engine::command::{Command, CustomerChange, NewCustomer};
use crate::engine::readers::run_at;
use crate::engine::view::{AsOf, CustomerView};

use super::super::gateway::Call;
use super::super::gateway::secrets::Secrets;
use super::super::json;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render;
use super::super::render::{ShownCustomer, ShownSecrets};
use super::super::reply::Reply;
use super::answer::{expected_version, not_modified, of_answer, unwritten, version_etag};
use super::with_names;

/// Names of the secret fields, to which each sealing is bound.
const PAN: &str = "pan";
const BANK_ACCOUNT: &str = "bank_account";

/// `POST /v1/customers`
pub async fn create(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let origin = call.origin(dry_run)?;
    let json::NewCustomerFields { kind, external_id, fields } = json::parse_customer(&call.body)?;
    let secrets = call.books()?.tokens.secrets();
    let change = change_of(fields, &secrets)?;
    let facts = change.applied_to(&CustomerFacts { kind, external_id, ..CustomerFacts::default() });
    let answer = call.submit(Command::MakeCustomer(Box::new(NewCustomer { facts })), origin).await?;
    of_answer(call, answer)
}

/// `PATCH /v1/customers/{id}`
pub async fn update(call: &mut Call<'_>) -> Outcome<Reply> {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let expected = expected_version(call)?;
    let origin = call.origin(dry_run)?;
    let fields = json::parse_customer_change(&call.body)?;
    let secrets = call.books()?.tokens.secrets();
    let change = change_of(fields, &secrets)?;
    // For none it is a number that no customer has: then the books refuse the command, and keep the refusal.
    let number = named(call).await?.unwrap_or(0);
    let change = CustomerChange { number, expected, ..change };
    let answer = call.submit(Command::ChangeCustomer(Box::new(change)), origin).await?;
    of_answer(call, answer)
}

/// `GET /v1/customers/{id}`
pub async fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let number = named(call).await?.ok_or_else(no_customer)?;
    let engine = &call.books()?.engine;
    let found = call.read(engine.customer(number)).await?.ok_or_else(no_customer)?;
    let etag = version_etag(found.value.saved.version, found.seq);
    if let Some(reply) = not_modified(call, &etag, found.seq) {
        return Ok(reply);
    }
    let shown = shown(call, found.value)?;
    let mut reply = Reply::json(StatusCode::OK, render::customer(&shown).map_err(unwritten)?);
    reply.as_of = Some(found.seq);
    reply.etag = Some(etag);
    Ok(reply)
}

/// `GET /v1/customers`: newest first.
pub async fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["limit", "starting_after"])?;
    let number_of = |text: &str| parse_id(IdKind::Customer, text).and_then(|number| u32::try_from(number).ok());
    let before = query.read("starting_after", "a cust_… id", number_of)?;
    let limit = query.limit()?;
    let engine = &call.books()?.engine;
    let mut place = call.place_for(limit).await?;
    let AsOf { value: page, seq } = call.read(engine.customers(before, limit, &mut place)).await?;
    let rows = page.rows.into_iter().map(|view| shown(call, view)).collect::<Outcome<Vec<ShownCustomer>>>()?;
    let path = call.head.uri.path().to_owned();
    let has_more = page.has_more;
    let body = run_at(&mut place, move || render::customer_page(&rows, has_more, &path)).await?;
    let mut reply = Reply::json(StatusCode::OK, body.map_err(unwritten)?);
    reply.as_of = Some(seq);
    let cursor = page.cursor.filter(|_| has_more).map(|number| format_id(IdKind::Customer, number));
    reply.next = cursor.map(|cursor| query.next_page(call.head.uri.path(), &cursor));
    Ok(reply)
}

/// The answer to a command about a customer.
pub fn reply_of(call: &Call<'_>, created: bool, view: &CustomerView) -> Outcome<Reply> {
    let is_new = created && view.last_seq.is_some();
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let shown = shown(call, view.clone())?;
    let mut reply = Reply::json(status, render::customer(&shown).map_err(unwritten)?);
    reply.etag = view.last_seq.map(|seq| version_etag(view.saved.version, seq));
    if is_new {
        reply.location = Some(format!("/v1/customers/{}", format_id(IdKind::Customer, u64::from(view.saved.number))));
    }
    Ok(reply)
}

async fn named(call: &Call<'_>) -> Outcome<Option<u32>> {
    let text = call.id().clone();
    with_names(call, move |names| Ok(names.customer(&text)?)).await
}

fn no_customer() -> Box<Problem> {
    Problem::new(Code::CustomerNotFoundInPath, "No customer has the id in the path.")
}

/// A change with its secrets sealed.
fn change_of(fields: json::CustomerFields, secrets: &Secrets) -> Outcome<CustomerChange> {
    let json::CustomerFields { name, born_on, phone, email, address, pan, bank_account, ifsc, metadata } = fields;
    let sealed = |field: &str, text: Option<Option<Box<str>>>| -> Outcome<Option<Option<Sealed>>> {
        let Some(text) = text else { return Ok(None) };
        let Some(text) = text else { return Ok(Some(None)) };
        let sealed = secrets.seal(field, &text);
        let no_luck = |error| Problem::new(Code::InternalError, format!("`{field}` could not be sealed: {error}."));
        sealed.map(|sealed| Some(Some(sealed))).map_err(no_luck)
    };
    Ok(CustomerChange {
        number: 0,
        name,
        born_on,
        phone,
        email,
        address,
        pan: sealed(PAN, pan)?,
        bank_account: sealed(BANK_ACCOUNT, bank_account)?,
        ifsc,
        metadata,
        expected: None,
    })
}

/// A customer with its secrets as this caller may see them: a cashier sees the last four characters.
fn shown(call: &Call<'_>, view: CustomerView) -> Outcome<ShownCustomer> {
    let secrets = call.books()?.tokens.secrets();
    let sees_all = call.caller.key.as_ref().is_none_or(|key| key.terms.role != Role::Cashier);
    let open = |field: &str, sealed: &Option<Sealed>| -> Outcome<Option<String>> {
        let Some(sealed) = sealed else { return Ok(None) };
        let text = secrets.open(field, sealed).ok_or_else(|| {
            let detail =
                "A customer's secrets were sealed with another `keys.secret`. Put back the file of these books.";
            Problem::new(Code::InternalError, detail)
        })?;
        Ok(Some(if sees_all { text } else { masked(&text) }))
    };
    let facts = &view.saved.facts;
    let secrets = ShownSecrets { pan: open(PAN, &facts.pan)?, bank_account: open(BANK_ACCOUNT, &facts.bank_account)? };
    Ok((view, secrets))
}
