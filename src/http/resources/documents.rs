//! Documents: what other routes answer as JSON, as PDF or in the forms of banks; and letters that are only that.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::domain::ids::{IdKind, Seq, parse_id};
use crate::domain::reject::RejectCode;
use crate::domain::time::Day;
use crate::engine::readers::run_at;
use crate::engine::view::Unavailable;
use crate::jobs::documents::reference::Kind;

use super::super::documents::{Ask, DocumentError, Form, Subject, make, name_of};
use super::super::gateway::{Call, render_at};
use super::super::negotiate::PDF;
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::render::rupees_text;
use super::super::reply::Reply;
use super::answer::{no_account, not_modified};
use super::loans::{named, no_loan};

const XML: &str = "application/xml";
const TEXT: &str = "text/plain";

/// Values of `format`, with their media types.
const FORMATS: [(&str, &str); 5] =
    [("json", "application/json"), ("csv", "text/csv"), ("pdf", PDF), ("camt053", XML), ("mt940", TEXT)];

/// What belongs to pages of JSON and CSV alone.
const OF_PAGES: [&str; 4] = ["limit", "starting_after", "fields", "expand[]"];

/// The form of document that the caller wants, by `format` or else by `Accept`; `None` where it is none, and the other
/// media type stands in the call then.
pub fn form_of(call: &mut Call<'_>, query: &Query<'_>) -> Outcome<Option<Form>> {
    let known = FORMATS.iter().filter(|(_, media)| call.route.gives.contains(media));
    let names: Vec<&str> = known.clone().map(|(name, _)| *name).collect();
    let read = |text: &str| known.clone().find(|(name, _)| *name == text).map(|(_, media)| *media);
    if let Some(media) = query.read("format", &format!("one of {}", names.join(", ")), read)? {
        call.gives = media;
    }
    let form = match call.gives {
        PDF => Some(Form::Pdf),
        XML => Some(Form::Camt053),
        TEXT => Some(Form::Mt940),
        _ => None,
    };
    match form {
        None if query.text("as_of_seq").is_some() => {
            let detail = "`as_of_seq` is for documents: ask for `format=pdf`, or leave it out.";
            Err(Problem::of_parameter(Code::InvalidParameter, "as_of_seq", detail))
        }
        Some(_) => match OF_PAGES.into_iter().find(|name| query.texts(name).next().is_some()) {
            Some(name) => {
                let detail = format!("A document is whole: leave `{name}` out.");
                Err(Problem::of_parameter(Code::InvalidParameter, name, detail))
            }
            None => Ok(form),
        },
        None => Ok(None),
    }
}

/// What a query asks for of a document.
pub fn ask_of(query: &Query<'_>, kind: Kind, subject: Subject) -> Outcome<Ask> {
    let as_of = query.read("as_of_seq", "the number of an entry, from 1 on", |text| {
        text.parse().ok().filter(|seq| *seq > 0 && text.bytes().all(|byte| byte.is_ascii_digit())).map(Seq)
    })?;
    let version = query.read("version", "a version of the plan, from 1 on", |text| {
        text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
    })?;
    let (from, to) = (query.day("from")?, query.day("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::of_parameter(Code::InvalidParameter, "from", "`from` is not after `to`."));
    }
    Ok(Ask { kind, subject, version, from, to, as_of })
}

/// Answers with a document, made on a thread that may take its time.
pub async fn answer(call: &mut Call<'_>, ask: Ask, form: Form) -> Outcome<Reply> {
    let engine = &call.books()?.engine;
    let mut place = Some(call.read(engine.long_place()).await?);
    let (core, lender) = (Arc::clone(engine.core()), call.edge.lender().to_owned());
    let made = call.read(run_at(&mut place, move || make(&core, &ask, &lender, form))).await?;
    let made = made.map_err(|error| refusal(&ask, error))?;
    let seq = made.reference.seq;
    let hash = blake3::hash(&made.bytes).to_hex();
    let etag = format!("\"{seq}-{}\"", &hash[..16]);
    if let Some(reply) = not_modified(call, &etag, seq) {
        return Ok(reply);
    }
    let (media, extension) = match form {
        Form::Pdf => (PDF, "pdf"),
        Form::Camt053 => ("application/xml; charset=utf-8", "xml"),
        Form::Mt940 => ("text/plain; charset=us-ascii", "sta"),
    };
    let name = made.reference.file_name(extension);
    let render = move || Reply::of(StatusCode::OK, HeaderValue::from_static(media), made.bytes.into());
    let mut reply = render_at(place, render).await?;
    reply.file = Some((form == Form::Pdf, name));
    reply.as_of = Some(seq);
    reply.etag = Some(etag);
    Ok(reply)
}

fn refusal(ask: &Ask, error: DocumentError) -> Box<Problem> {
    let parameter = |name: &str, detail: String| Problem::of_parameter(Code::InvalidParameter, name, detail);
    match error {
        DocumentError::Read(error) => Unavailable::from(error).into(),
        DocumentError::JournalFailed => Unavailable::JournalUnavailable("the journal has failed".to_owned()).into(),
        DocumentError::NotFound if matches!(ask.subject, Subject::Account(_)) => no_account(),
        DocumentError::NotFound => no_loan(),
        DocumentError::NoEvent => no_event(),
        DocumentError::NoVersion => {
            parameter("version", "The plan has no such version; as JSON the answer lists those that there are.".into())
        }
        DocumentError::NoEntry => parameter("as_of_seq", "The books have no entry of this number.".into()),
        DocumentError::TooLong(lines) => {
            parameter("from", format!("The statement has more than {lines} lines: ask for a shorter period."))
        }
        DocumentError::DuesRemain { status, due } => {
            let detail = format!("The loan is {}, and ₹{} of it are owed.", name_of(status), rupees_text(due));
            Problem::new(Code::DuesRemain, detail)
        }
        DocumentError::DayNotEnded => no_slip(),
        DocumentError::Terms(error) => {
            let detail = format!("With the loan's terms and dates there is none: `{}` {}.", error.field, error.what);
            Problem::new(Code::Books(RejectCode::LoanTermsInvalid), detail)
        }
        DocumentError::Amount(error) => parameter("format", format!("{error}.")),
    }
}

fn no_slip() -> Box<Problem> {
    Problem::new(Code::DayNotEnded, "The path names a business day that has ended, as 2026-04-01.")
}

/// `GET /v1/loans/{id}/receipts/{event}`
pub async fn receipt(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["as_of_seq"])?;
    let loan = named(call).await?;
    let event = parse_id(IdKind::LoanEvent, &call.part_id()).map(Seq).ok_or_else(no_event)?;
    let ask = ask_of(&query, Kind::Receipt, Subject::LoanEvent(loan, event))?;
    answer(call, ask, Form::Pdf).await
}

fn no_event() -> Box<Problem> {
    Problem::new(Code::LoanEventNotFoundInPath, "The loan has no payment with the id in the path.")
}

/// `GET /v1/loans/{id}/no_dues`
pub async fn no_dues(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["as_of_seq"])?;
    let loan = named(call).await?;
    let ask = ask_of(&query, Kind::NoDues, Subject::Loan(loan))?;
    answer(call, ask, Form::Pdf).await
}

/// `GET /v1/business_day/{date}/slip`
pub async fn day_slip(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&[])?;
    let day = Day::parse(&call.id()).ok_or_else(no_slip)?;
    let ask = ask_of(&query, Kind::DaySlip, Subject::Day(day))?;
    answer(call, ask, Form::Pdf).await
}
