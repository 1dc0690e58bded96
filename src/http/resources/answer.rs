//! From the engine's answer to the edge's: statuses, headers and bytes, the same for first and replay.

use hyper::StatusCode;
use hyper::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};

use crate::config::SHORT_ROWS_MAX;
use crate::domain::ids::{IdKind, Seq, account_id, format_id};
use crate::domain::reject::{Reject, RejectCode};
use crate::engine::objects::Object;
use crate::engine::view::{AccountView, Answer, Reply as Said, TransferView};

use super::super::compress::{with_suffix, without_coding};
use super::super::gateway::{Call, render_at};
use super::super::negotiate::PROTOBUF;
use super::super::problem::{Code, FieldError, Outcome, Problem, reject_detail};
use super::super::reply::Reply;
use super::super::{proto, render};

/// Renders the answer to a command. Where the path named the object, its absence is a 404.
pub fn of_answer(call: &Call<'_>, answer: Answer) -> Outcome<Reply> {
    let mut reply = match answer.reply {
        Said::Transfer { view, created } => {
            let mut reply = transfer_reply(call, status(created && view.seq.is_some()), &view);
            reply.etag = transfer_etag(call, &view);
            if created {
                reply.location = view.seq.map(|seq| format!("/v1/transfers/{}", format_id(IdKind::Transfer, seq.0)));
            }
            reply
        }
        Said::Account { view, created } => {
            let mut reply = Reply::json(status(created && view.no.is_some()), render::account(&view));
            reply.etag = view.no.map(|_| account_etag(&view));
            if created {
                reply.location = view.no.map(|no| format!("/v1/accounts/{}", account_id(no)));
            }
            reply
        }
        ref said @ (Said::Accounts(_) | Said::Batch(_)) => batch_reply(said, gives_protobuf(call)),
        Said::Periods(periods) => Reply::json(StatusCode::OK, render::periods(&periods)),
        Said::ClockAccepted => Reply::json(StatusCode::OK, b"{\"object\":\"clock\",\"accepted\":true}".to_vec()),
        Said::ApiKey { ref key, created } => {
            let mut reply = Reply::json(status(created), render::api_key(key, None));
            if created {
                reply.location = Some(format!("/v1/api_keys/{}", format_id(IdKind::ApiKey, key.number)));
            }
            reply
        }
        Said::Customer { ref view, created } => super::customers::reply_of(call, created, view)?,
        Said::Product { ref view, created } => super::products::reply_of(created, view)?,
        Said::Loan { ref view, ref event, created } => super::loans::reply_of(call, created, view, event)?,
        Said::BusinessDay { ref day, recorded } => super::business_day::reply_of(call, day, recorded)?,
        Said::Object { ref object, created } => super::objects::reply_of(call, object, created)?,
        Said::Jobs(ref jobs) => super::objects::jobs_reply(jobs),
        Said::Noted => Reply::json(StatusCode::OK, b"{}".to_vec()),
        Said::Refused(reject) => return Err(kept(refusal(call, reject), &answer)),
        Said::BatchRefused(ref rejected) => {
            let mut problem = Problem::of_reject(Reject::of(RejectCode::BatchRefused));
            problem.errors = rejected.iter().map(item_error).collect();
            return Err(kept(problem, &answer));
        }
    };
    reply.as_of = Some(answer.as_of);
    reply.replayed = answer.replayed;
    reply.stages = Some(answer.stages);
    Ok(reply)
}

/// As [`of_answer`], for a batch: one of many items is rendered on a thread of its own. What is done is
/// never refused: it waits for its place.
pub async fn of_batch(call: &Call<'_>, mut answer: Answer) -> Outcome<Reply> {
    let items = match &answer.reply {
        Said::Accounts(batch) | Said::Batch(batch) => batch.items as usize,
        _ => 0,
    };
    if items <= SHORT_ROWS_MAX {
        return of_answer(call, answer);
    }
    let place = call.books()?.engine.long_place_for_done().await;
    let said = std::mem::replace(&mut answer.reply, Said::Noted);
    let is_protobuf = gives_protobuf(call);
    let mut reply = render_at(Some(place), move || batch_reply(&said, is_protobuf)).await?;
    reply.as_of = Some(answer.as_of);
    reply.replayed = answer.replayed;
    reply.stages = Some(answer.stages);
    Ok(reply)
}

fn batch_reply(said: &Said, is_protobuf: bool) -> Reply {
    match said {
        Said::Batch(batch) if is_protobuf => protobuf(StatusCode::OK, proto::transfers_batch(batch)),
        Said::Batch(batch) => Reply::json(StatusCode::OK, render::transfers_batch(batch)),
        Said::Accounts(batch) => Reply::json(StatusCode::OK, render::accounts_batch(batch)),
        _ => unreachable!("only batches are answered as batches"),
    }
}

/// Whether the caller likes protobuf best.
pub fn gives_protobuf(call: &Call<'_>) -> bool {
    call.gives == PROTOBUF
}

/// An answer in protobuf.
pub fn protobuf(status: StatusCode, body: Vec<u8>) -> Reply {
    Reply::of(status, HeaderValue::from_static(PROTOBUF), body.into())
}

/// A transfer in the format that the caller likes best.
pub fn transfer_reply(call: &Call<'_>, status: StatusCode, view: &TransferView) -> Reply {
    if gives_protobuf(call) {
        protobuf(status, proto::transfer(view))
    } else {
        Reply::json(status, render::transfer(view))
    }
}

fn status(is_created: bool) -> StatusCode {
    if is_created { StatusCode::CREATED } else { StatusCode::OK }
}

/// A refusal that the books keep: it shows the request that was refused first.
fn kept(mut problem: Box<Problem>, answer: &Answer) -> Box<Problem> {
    problem.first_request = Some(answer.request);
    problem.as_of = Some(answer.as_of);
    problem.replayed = answer.replayed;
    problem.stages = Some(answer.stages);
    problem
}

/// What the path names and what the body names may not exist both; only the first is a 404.
fn refusal(call: &Call<'_>, reject: Reject) -> Box<Problem> {
    let is_path = call.route.pattern.contains('{');
    let resource = call.route.need().resource;
    let code = match reject.code {
        RejectCode::TransferNotFound if is_path => Code::TransferNotFoundInPath,
        RejectCode::AccountNotFound if is_path && resource == "accounts" => Code::AccountNotFoundInPath,
        RejectCode::ApiKeyNotFound if is_path => Code::ApiKeyNotFoundInPath,
        RejectCode::CustomerNotFound if is_path && resource == "customers" => Code::CustomerNotFoundInPath,
        RejectCode::ProductNotFound if is_path && resource == "loan_products" => Code::ProductNotFoundInPath,
        RejectCode::LoanNotFound if is_path => Code::LoanNotFoundInPath,
        RejectCode::LoanEventNotFound if call.holes.second.is_some() => Code::LoanEventNotFoundInPath,
        _ => return Problem::of_reject(reject),
    };
    Problem::new(code, reject_detail(reject))
}

/// An answer that could not be written: nothing that a caller could cause.
pub fn unwritten(error: serde_json::Error) -> Box<Problem> {
    Problem::new(Code::InternalError, format!("The answer could not be written: {error}."))
}

fn item_error((index, reject): &(u32, Reject)) -> FieldError {
    FieldError { pointer: format!("/transfers/{index}"), code: reject.code.name(), detail: reject_detail(*reject) }
}

/// `account_not_found` for an id in the path.
pub fn no_account() -> Box<Problem> {
    Problem::new(Code::AccountNotFoundInPath, "No account has the id in the path.")
}

/// `transfer_not_found` for an id in the path.
pub fn no_transfer() -> Box<Problem> {
    Problem::new(Code::TransferNotFoundInPath, "No transfer has the id in the path.")
}

/// `"<version>-<last_seq>"`
pub fn account_etag(view: &AccountView) -> String {
    version_etag(view.account.version, view.account.last_seq)
}

/// `"<version>-<last_seq>"`
pub fn version_etag(version: u32, last_seq: Seq) -> String {
    format!("\"{version}-{last_seq}\"")
}

/// A transfer changes by its status and by its reversal, nothing else. `None` for a dry run.
pub fn transfer_etag(call: &Call<'_>, view: &TransferView) -> Option<String> {
    view.seq?;
    let etag = match view.reversed_by {
        None => format!("\"{}\"", view.status.name()),
        Some(by) => format!("\"{}-{by}\"", view.status.name()),
    };
    Some(typed_etag(call, etag))
}

/// The tag of a state in the media type of the answer: other bytes under one address need another tag.
pub fn typed_etag(call: &Call<'_>, etag: String) -> String {
    match call.gives {
        PROTOBUF => with_suffix(&etag, "pb"),
        "text/csv" => with_suffix(&etag, "csv"),
        _ => etag,
    }
}

/// 304 when the caller has this representation already.
pub fn not_modified(call: &Call<'_>, etag: &str, as_of: Seq) -> Option<Reply> {
    let values = call.head.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    // Weak comparison, as RFC 9110 wants it here.
    // The caller may have it compressed; then the tag says so, and is said again.
    let same = tags.find(|tag| *tag == "*" || without_coding(tag.strip_prefix("W/").unwrap_or(tag)) == etag)?;
    let shown = if same == "*" { etag } else { same.strip_prefix("W/").unwrap_or(same) };
    Some(Reply::not_modified(shown.to_owned(), as_of))
}

/// `If-Match`: the versions of which one must be the account's, each with the last seq where it is named;
/// `*` asks nothing. Tags that are not ours, and weak ones, match nothing (RFC 9110, 13.1.1).
pub fn expected_version(call: &Call<'_>) -> Outcome<Option<Vec<(u32, Option<Seq>)>>> {
    let values: Vec<&str> =
        call.head.headers.get_all(IF_MATCH).iter().map(|value| value.to_str().unwrap_or("?").trim()).collect();
    match values[..] {
        [] | ["*"] => Ok(None),
        _ => match values.iter().map(|value| parse_tags(value)).collect::<Option<Vec<_>>>() {
            Some(tags) => {
                let tags = tags.into_iter().flatten();
                Ok(Some(tags.filter_map(|tag| parse_version(&without_coding(tag))).collect()))
            }
            None => {
                let detail = "If-Match is a list of entity tags: \"<version>\" or \"<version>-<last_seq>\".";
                Err(Problem::new(Code::PreconditionMalformed, detail))
            }
        },
    }
}

/// `If-Match` of an object that is saved whole: the version that must be there. That which was read, so that who was
/// faster is not undone; where the header asks for others, one of those, which the books refuse.
pub fn expected_of(call: &Call<'_>, object: &Object) -> Outcome<u32> {
    let version = object.saved.version;
    let Some(asked) = expected_version(call)? else { return Ok(version) };
    let is_this =
        |(wanted, seq): &(u32, Option<Seq>)| *wanted == version && seq.is_none_or(|seq| seq == object.last_seq);
    if asked.iter().any(is_this) {
        return Ok(version);
    }
    // Of the version that is there with another seq nobody can have heard: 0 is no version.
    Ok(asked.iter().map(|(wanted, _)| *wanted).find(|wanted| *wanted != version).unwrap_or(0))
}

/// The entity tags of a list, as they stand there; `None` where it is none. A tag may hold commas.
fn parse_tags(list: &str) -> Option<Vec<&str>> {
    let mut tags = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let opaque = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let length = opaque.find('"')?;
        let is_plain = opaque[..length].bytes().all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte));
        let end = rest.len() - opaque.len() + length + 1;
        let (tag, after) = rest.split_at(end);
        rest = after.trim_start_matches([' ', '\t']);
        if !is_plain || !(rest.is_empty() || rest.starts_with(',')) {
            return None;
        }
        tags.push(tag);
    }
}

fn parse_version(text: &str) -> Option<(u32, Option<Seq>)> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inner.split_once('-') {
        None if plain(inner) => Some((inner.parse().ok()?, None)),
        Some((version, seq)) if plain(version) && plain(seq) => {
            Some((version.parse().ok()?, Some(Seq(seq.parse().ok()?))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_both_forms() {
        for (text, expected) in [
            ("\"3\"", Some((3, None))),
            ("\"3-184\"", Some((3, Some(Seq(184))))),
            ("3", None),
            ("W/\"3\"", None),
            ("\"\"", None),
            ("\"-3\"", None),
            ("\"3-\"", None),
            ("\"4294967296\"", None),
            ("\"+3\"", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn a_list_of_tags_is_read_whole_or_not_at_all() {
        for (list, expected) in [
            ("\"3\"", Some(vec!["\"3\""])),
            ("\"3\" , W/\"4-5\",\"a,b\"", Some(vec!["\"3\"", "W/\"4-5\"", "\"a,b\""])),
            (",\"3\",,", Some(vec!["\"3\""])),
            ("", None),
            (",", None),
            ("3", None),
            ("\"3", None),
            ("\"3\" \"4\"", None),
            ("\"3 4\"", None),
            ("*, \"3\"", None),
        ] {
            assert_eq!(parse_tags(list), expected, "{list}");
        }
    }
}
