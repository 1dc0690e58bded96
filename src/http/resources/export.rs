//! The books, written out while they are read.

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::super::body::Payload;
use super::super::gateway::Call;
use super::super::hooks::{ExportFormat, ExportQuery};
use super::super::problem::{Code, Outcome, Problem};
use super::super::reply::Reply;

/// `GET /v1/export`: the parameter decides the format, else `Accept`, else NDJSON.
pub fn export(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["format", "from", "to"])?;
    let named = query.read("format", "ndjson, csv or ledger", |format| match format {
        "ndjson" => Some(ExportFormat::Ndjson),
        "csv" => Some(ExportFormat::Csv),
        "ledger" => Some(ExportFormat::Ledger),
        _ => None,
    })?;
    let format = named.unwrap_or(match call.gives {
        "text/csv" => ExportFormat::Csv,
        "text/plain" => ExportFormat::Ledger,
        _ => ExportFormat::Ndjson,
    });
    let (from, to) = (query.day("from")?, query.day("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::of_parameter(Code::InvalidParameter, "from", "`from` is not after `to`."));
    }
    let books = call.books()?;
    call.check_deadline()?;
    let (seq, parts) = books.exporter.export(ExportQuery { format, from, to })?;
    let content_type = HeaderValue::from_static(match format {
        ExportFormat::Ndjson => "application/x-ndjson",
        ExportFormat::Csv => "text/csv; charset=utf-8",
        ExportFormat::Ledger => "text/plain; charset=utf-8",
    });
    let mut reply = Reply::of(StatusCode::OK, content_type, Payload::Parts(parts));
    reply.as_of = Some(seq);
    Ok(reply)
}
