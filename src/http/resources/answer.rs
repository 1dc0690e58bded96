//! From the engine's answer to the edge's: statuses, headers and bytes, the same for first and replay.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue, IF_NONE_MATCH};

use crate::domain::ids::{IdKind, Seq, account_id, format_id};
use crate::domain::reject::{Reject, RejectCode};
use crate::engine::view::{AccountView, Answer, Reply as Said, TransferView};

use super::super::compress::{with_suffix, without_coding};
use super::super::gateway::Call;
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
        Said::Accounts(batch) => Reply::json(StatusCode::OK, render::accounts_batch(&batch)),
        Said::Batch(batch) if gives_protobuf(call) => protobuf(StatusCode::OK, proto::transfers_batch(&batch)),
        Said::Batch(batch) => Reply::json(StatusCode::OK, render::transfers_batch(&batch)),
        Said::Periods(periods) => Reply::json(StatusCode::OK, render::periods(&periods)),
        Said::ClockAccepted => Reply::json(StatusCode::OK, b"{\"object\":\"clock\",\"accepted\":true}".to_vec()),
        Said::ApiKey { ref key, created } => {
            let mut reply = Reply::json(status(created), render::api_key(key, None));
            if created {
                reply.location = Some(format!("/v1/api_keys/{}", format_id(IdKind::ApiKey, key.number)));
            }
            reply
        }
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

fn refusal(call: &Call<'_>, reject: Reject) -> Box<Problem> {
    let is_path = call.route.pattern.contains('{');
    match reject.code {
        RejectCode::TransferNotFound if is_path => Problem::new(Code::TransferNotFoundInPath, reject_detail(reject)),
        RejectCode::AccountNotFound if is_path => Problem::new(Code::AccountNotFoundInPath, reject_detail(reject)),
        RejectCode::ApiKeyNotFound if is_path => Problem::new(Code::ApiKeyNotFoundInPath, reject_detail(reject)),
        _ => Problem::of_reject(reject),
    }
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

/// `If-Match`: the version that the caller saw, and the last seq if it named one; `*` asks nothing.
pub fn expected_version(call: &Call<'_>) -> Outcome<Option<(u32, Option<Seq>)>> {
    const IF_MATCH: HeaderName = hyper::header::IF_MATCH;
    let mut values = call.head.headers.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" && values.next().is_none() {
        return Ok(None);
    }
    let expected = parse_version(&without_coding(text)).filter(|_| values.next().is_none());
    expected.map(Some).ok_or_else(|| {
        let detail: Cow<'static, str> = "If-Match is one entity tag: \"<version>\" or \"<version>-<last_seq>\".".into();
        Problem::new(Code::PreconditionMalformed, detail)
    })
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
}
