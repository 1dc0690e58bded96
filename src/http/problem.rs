//! Refusals as RFC 9457 problem documents.
//!
//! Promise: every code that a client can meet stands in the one `match` of [`Code::facts`], with its
//! status, its title and whether trying the same request again can help. `detail` is a sentence for
//! the caller and a pure function of what was refused, so that a replay gives the same bytes;
//! internal causes go to the log, never into a document.

mod detail;
mod lending;

use std::borrow::Cow;

use crate::domain::ids::{IdKind, Seq, write_id};
use crate::domain::reject::{REJECT_CODES, Reject, RejectCode};
use crate::engine::view::{Stages, Unavailable};

pub use detail::reject_detail;

use super::gateway::limit::Standing;
use super::render::{write_number, write_text};

/// Result of everything that may end in a problem document.
pub type Outcome<T> = Result<T, Box<Problem>>;

/// Everything that a problem document can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The books refused something that the body names.
    Books(RejectCode),
    /// The body is no JSON.
    MalformedJson,
    /// The body is not the protobuf message of the route.
    MalformedProtobuf,
    /// The body ended early or broke the protocol.
    BodyUnreadable,
    /// A POST that moves money came without a key.
    IdempotencyKeyMissing,
    /// The key is no key.
    IdempotencyKeyMalformed,
    /// `If-Match` or `If-None-Match` is none of the forms.
    PreconditionMalformed,
    /// `X-Request-Timeout-Ms` is no number of milliseconds.
    TimeoutMalformed,
    /// The place lies behind the end of these books.
    PositionGone,
    /// A WebSocket was asked for without its handshake.
    UpgradeRequired,
    /// A path names an endpoint for webhooks that does not exist.
    WebhookEndpointNotFoundInPath,
    /// A path names a sync target that does not exist.
    SyncTargetNotFoundInPath,
    /// A path names an event that does not exist.
    EventNotFoundInPath,
    /// This process does no work after the answer.
    JobsUnavailable,
    /// A path names a job that does not exist.
    JobNotFoundInPath,
    /// The job is where that cannot be done.
    JobState,
    /// The request names no host, or more than one.
    HostMalformed,
    /// No token came, or one that is not accepted.
    Unauthenticated,
    /// The token's key does not allow it.
    Forbidden,
    /// No such path.
    RouteNotFound,
    /// A path names an account that does not exist.
    AccountNotFoundInPath,
    /// A path names a transfer that does not exist.
    TransferNotFoundInPath,
    /// No such voucher.
    EntryNotFound,
    /// No such operation, or it was forgotten.
    OperationNotFound,
    /// A path names an API key that does not exist.
    ApiKeyNotFoundInPath,
    /// A path names a customer that does not exist.
    CustomerNotFoundInPath,
    /// A path names a loan product, or a version of one, that does not exist.
    ProductNotFoundInPath,
    /// A path names a loan that does not exist.
    LoanNotFoundInPath,
    /// A path names an event that the loan does not have.
    LoanEventNotFoundInPath,
    /// A path names a day that has not ended, or none.
    DayNotEnded,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// `Accept` excludes what the route can give.
    NotAcceptable,
    /// The body took too long to arrive.
    BodyTimeout,
    /// The key's first request still runs.
    KeyInFlight,
    /// A verification runs already.
    VerificationRunning,
    /// A loan of which something is owed, or which is not closed.
    DuesRemain,
    /// The body is too large.
    BodyTooLarge,
    /// The body is of a type that the route does not take.
    UnsupportedMediaType,
    /// A field that no one asked for.
    UnknownField,
    /// Fields are missing, of the wrong type, too long or without sense.
    ValidationFailed,
    /// A query parameter that no one asked for.
    UnknownParameter,
    /// A query parameter is missing or without sense.
    InvalidParameter,
    /// The key was used for another request.
    KeyReused,
    /// The key or address asks too often.
    RateLimited,
    /// The key or address has too much in flight.
    ConcurrencyLimited,
    /// An internal fault; the log has the cause.
    InternalError,
    /// The journal takes nothing.
    JournalUnavailable,
    /// No space for the journal.
    JournalFull,
    /// The look-up tables cannot be read.
    StoreUnavailable,
    /// Whether it was done is unknown.
    OutcomeUnknown,
    /// Too much work is waiting.
    Overloaded,
    /// The work would not be done by the caller's deadline.
    DeadlineUnmeetable,
    /// The server shuts down.
    Draining,
    /// The server starts and does not know its books yet.
    Recovering,
}

/// All codes that are not refusals of the books: the table of the pages under `/problems`.
pub const EDGE_CODES: [Code; 53] = [
    Code::MalformedJson,
    Code::MalformedProtobuf,
    Code::BodyUnreadable,
    Code::IdempotencyKeyMissing,
    Code::IdempotencyKeyMalformed,
    Code::PreconditionMalformed,
    Code::PositionGone,
    Code::UpgradeRequired,
    Code::WebhookEndpointNotFoundInPath,
    Code::SyncTargetNotFoundInPath,
    Code::EventNotFoundInPath,
    Code::JobsUnavailable,
    Code::JobNotFoundInPath,
    Code::JobState,
    Code::TimeoutMalformed,
    Code::HostMalformed,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::RouteNotFound,
    Code::AccountNotFoundInPath,
    Code::TransferNotFoundInPath,
    Code::EntryNotFound,
    Code::OperationNotFound,
    Code::ApiKeyNotFoundInPath,
    Code::CustomerNotFoundInPath,
    Code::ProductNotFoundInPath,
    Code::LoanNotFoundInPath,
    Code::LoanEventNotFoundInPath,
    Code::DayNotEnded,
    Code::MethodNotAllowed,
    Code::NotAcceptable,
    Code::BodyTimeout,
    Code::KeyInFlight,
    Code::VerificationRunning,
    Code::DuesRemain,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::UnknownField,
    Code::ValidationFailed,
    Code::UnknownParameter,
    Code::InvalidParameter,
    Code::KeyReused,
    Code::RateLimited,
    Code::ConcurrencyLimited,
    Code::InternalError,
    Code::JournalUnavailable,
    Code::JournalFull,
    Code::StoreUnavailable,
    Code::OutcomeUnknown,
    Code::Overloaded,
    Code::DeadlineUnmeetable,
    Code::Draining,
    Code::Recovering,
];

/// Every code once: the refusals of the books first, then those of the edge.
pub fn all_codes() -> impl Iterator<Item = Code> {
    REJECT_CODES.iter().map(|(code, _)| Code::Books(*code)).chain(EDGE_CODES)
}

/// What is always true of a code.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Stable name.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Short human sentence, the same for every occurrence.
    pub title: &'static str,
    /// Whether the same request may succeed later without a change.
    pub retryable: bool,
}

impl Code {
    /// The table of statuses and titles.
    #[must_use]
    pub fn facts(self) -> Facts {
        let (name, status, title) = match self {
            Code::Books(code) => (code.name(), books_status(code), books_title(code)),
            Code::MalformedJson => ("malformed_json", 400, "The body is not JSON"),
            Code::MalformedProtobuf => ("malformed_protobuf", 400, "The body is not the protobuf message"),
            Code::BodyUnreadable => ("body_unreadable", 400, "The body could not be read"),
            Code::IdempotencyKeyMissing => ("idempotency_key_missing", 400, "Idempotency-Key is required here"),
            Code::IdempotencyKeyMalformed => ("idempotency_key_malformed", 400, "Idempotency-Key is malformed"),
            Code::PositionGone => ("position_gone", 410, "The place is not of these books"),
            Code::WebhookEndpointNotFoundInPath => {
                ("webhook_endpoint_not_found", 404, "The webhook endpoint does not exist")
            }
            Code::SyncTargetNotFoundInPath => ("sync_target_not_found", 404, "The sync target does not exist"),
            Code::EventNotFoundInPath => ("event_not_found", 404, "The event does not exist"),
            Code::JobNotFoundInPath => ("job_not_found", 404, "The job does not exist"),
            Code::JobState => ("job_state", 409, "The job does not allow that now"),
            Code::JobsUnavailable => ("jobs_unavailable", 503, "No work is done after the answer here"),
            Code::UpgradeRequired => ("upgrade_required", 426, "This path is a WebSocket"),
            Code::PreconditionMalformed => ("precondition_malformed", 400, "The precondition is malformed"),
            Code::TimeoutMalformed => ("timeout_malformed", 400, "X-Request-Timeout-Ms is malformed"),
            Code::HostMalformed => ("host_malformed", 400, "Host is missing or stands more than once"),
            Code::Unauthenticated => ("unauthenticated", 401, "The request has no valid API key"),
            Code::Forbidden => ("forbidden", 403, "The API key does not allow this"),
            Code::RouteNotFound => ("route_not_found", 404, "There is nothing at this path"),
            Code::AccountNotFoundInPath => ("account_not_found", 404, "An account does not exist"),
            Code::TransferNotFoundInPath => ("transfer_not_found", 404, "The transfer does not exist"),
            Code::EntryNotFound => ("entry_not_found", 404, "The entry does not exist"),
            Code::OperationNotFound => ("operation_not_found", 404, "The operation does not exist"),
            Code::ApiKeyNotFoundInPath => ("api_key_not_found", 404, "The API key does not exist"),
            Code::CustomerNotFoundInPath => ("customer_not_found", 404, "The customer does not exist"),
            Code::ProductNotFoundInPath => ("loan_product_not_found", 404, "The loan product does not exist"),
            Code::LoanNotFoundInPath => ("loan_not_found", 404, "The loan does not exist"),
            Code::LoanEventNotFoundInPath => ("loan_event_not_found", 404, "The loan has no such event"),
            Code::DayNotEnded => ("day_not_ended", 404, "The business day has not ended"),
            Code::MethodNotAllowed => ("method_not_allowed", 405, "The method is not allowed at this path"),
            Code::NotAcceptable => ("not_acceptable", 406, "No acceptable representation exists"),
            Code::BodyTimeout => ("body_timeout", 408, "The body took too long to arrive"),
            Code::KeyInFlight => ("idempotency_key_in_flight", 409, "The first request with this key still runs"),
            Code::VerificationRunning => ("verification_running", 409, "A verification is running already"),
            Code::DuesRemain => ("dues_remain", 409, "The loan is not closed, or something is owed"),
            Code::BodyTooLarge => ("body_too_large", 413, "The body is too large"),
            Code::UnsupportedMediaType => ("unsupported_media_type", 415, "The body's media type is not taken here"),
            Code::UnknownField => ("unknown_field", 422, "The body has a field that is not known"),
            Code::ValidationFailed => ("validation_failed", 422, "The body is not what the route takes"),
            Code::UnknownParameter => ("unknown_parameter", 422, "A query parameter is not known"),
            Code::InvalidParameter => ("invalid_parameter", 422, "A query parameter is missing or invalid"),
            Code::KeyReused => ("idempotency_key_reused", 422, "The key was used for another request"),
            Code::RateLimited => ("rate_limited", 429, "Requests come too fast"),
            Code::ConcurrencyLimited => ("concurrency_limited", 429, "Too many requests are in flight"),
            Code::InternalError => ("internal_error", 500, "Something is wrong on our side"),
            Code::JournalUnavailable => ("journal_unavailable", 503, "The journal takes nothing"),
            Code::JournalFull => ("journal_full", 503, "The disk is full"),
            Code::StoreUnavailable => ("store_unavailable", 503, "The look-up tables cannot be read"),
            Code::OutcomeUnknown => ("outcome_unknown", 503, "Whether it was done is not known"),
            Code::Overloaded => ("overloaded", 503, "Too much work is waiting"),
            Code::DeadlineUnmeetable => ("deadline_unmeetable", 503, "The work would not be done in time"),
            Code::Draining => ("draining", 503, "The server is shutting down"),
            Code::Recovering => ("recovering", 503, "The server is reading its journal"),
        };
        let waits = matches!(self, Code::KeyInFlight | Code::BodyTimeout | Code::VerificationRunning);
        Facts { name, status, title, retryable: matches!(status, 429 | 503) || waits }
    }

    /// Whether it tells something about the books, be it that something is not in them: the answer says then
    /// as of which seq.
    #[must_use]
    pub fn is_about_the_books(self) -> bool {
        matches!(
            self,
            Code::Books(_)
                | Code::AccountNotFoundInPath
                | Code::TransferNotFoundInPath
                | Code::EntryNotFound
                | Code::ApiKeyNotFoundInPath
                | Code::CustomerNotFoundInPath
                | Code::ProductNotFoundInPath
                | Code::LoanNotFoundInPath
                | Code::LoanEventNotFoundInPath
                | Code::DuesRemain
                | Code::DayNotEnded
        )
    }

    /// Seconds for `Retry-After`, where the contract asks for it. A full disk is looked at every 5 s.
    #[must_use]
    pub fn retry_after_s(self) -> Option<u32> {
        match self {
            Code::JournalFull => Some(5),
            Code::KeyInFlight | Code::VerificationRunning => Some(1),
            _ => matches!(self.facts().status, 429 | 503).then_some(1),
        }
    }
}

fn books_title(code: RejectCode) -> &'static str {
    use RejectCode as R;
    match code {
        R::AmountMalformed => "The amount is not a plain decimal string",
        R::AmountZero => "The amount is zero",
        R::SameAccount => "Debit and credit are the same account",
        R::AccountNotFound => "An account does not exist",
        R::CurrencyMismatch => "The accounts have different currencies",
        R::AmountScale => "The amount does not fit the currency",
        R::AccountClosed => "An account is closed",
        R::AccountFrozen => "An account is frozen",
        R::ExternalIdExists => "The external id was used before",
        R::PeriodClosed => "The effective date lies in a closed period",
        R::InsufficientFunds => "A balance rule refuses the result",
        R::BalanceOverflow => "A total would grow too large",
        R::TransferNotFound => "The transfer does not exist",
        R::TransferNotPending => "The transfer is not pending",
        R::TransferNotPosted => "The transfer is not posted",
        R::AlreadyReversed => "The transfer was reversed before",
        R::AmountExceedsPending => "More was asked for than was held",
        R::AccountNotEmpty => "The account is not empty",
        R::PeriodInvalid => "The period cannot be closed or opened like this",
        R::VersionMismatch => "It has changed meanwhile",
        R::BatchRefused => "An item of the atomic batch was refused",
        R::AmountLimitExceeded => "The amount is above the limit of the key",
        R::ApiKeyNotFound => "The API key does not exist",
        R::ApiKeyRevoked => "The API key was revoked before",
        R::LastAdminKey => "The last admin key cannot be revoked",
        R::TooManyApiKeys => "There are too many API keys",
        R::SameIdentity => "Nobody approves what he made himself",
        R::CustomerNotFound => "The customer does not exist",
        other => lending::title(other),
    }
}

/// 422, but 403 where it is the caller who may not, 409 where a state is in conflict, 412 for a precondition.
fn books_status(code: RejectCode) -> u16 {
    match code {
        RejectCode::ExternalIdExists
        | RejectCode::TransferNotPending
        | RejectCode::AccountNotEmpty
        | RejectCode::ApiKeyRevoked
        | RejectCode::LastAdminKey
        | RejectCode::TooManyApiKeys
        | RejectCode::TooManyProducts
        | RejectCode::TooManyLoans
        | RejectCode::PaymentReferenceExists
        | RejectCode::BusinessDayInvalid
        | RejectCode::LoanNotApplied
        | RejectCode::LoanNotApproved
        | RejectCode::LoanNotActive
        | RejectCode::LoanNotWrittenOff
        | RejectCode::LoanAlreadyRepaid
        | RejectCode::KfsNotIssued
        | RejectCode::KfsVersion
        | RejectCode::KfsNotAccepted
        | RejectCode::KfsExpired => 409,
        RejectCode::AmountLimitExceeded | RejectCode::SameIdentity => 403,
        RejectCode::VersionMismatch => 412,
        _ => 422,
    }
}

/// One field, item or parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the body, or the name of a query parameter.
    pub pointer: String,
    /// Stable name.
    pub code: &'static str,
    /// A sentence.
    pub detail: Cow<'static, str>,
}

/// A problem, before it is bytes.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What it is.
    pub code: Code,
    /// What to do about it.
    pub detail: Cow<'static, str>,
    /// Fields or items, in order.
    pub errors: Vec<FieldError>,
    /// The request that was refused first, when this is a kept reply.
    pub first_request: Option<u64>,
    /// The greatest seq that the refusal reveals.
    pub as_of: Option<Seq>,
    /// The refusal is that of an earlier request with the same key.
    pub replayed: bool,
    /// Methods for `Allow`.
    pub allow: Option<String>,
    /// Codings for `Accept-Encoding`, when it was the body's that is not taken.
    pub accept_encoding: Option<&'static str>,
    /// `WWW-Authenticate`.
    pub authenticate: Option<&'static str>,
    /// Seconds for `Retry-After`, where they are known better than [`Code::retry_after_s`] does.
    pub retry_after_s: Option<u32>,
    /// How the caller stands with his limits.
    pub standing: Option<Standing>,
    /// The engine's share of the time.
    pub stages: Option<Stages>,
}

impl Problem {
    /// A problem with its sentence.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Box<Problem> {
        Box::new(Problem {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            first_request: None,
            as_of: None,
            replayed: false,
            allow: None,
            accept_encoding: None,
            authenticate: None,
            retry_after_s: None,
            standing: None,
            stages: None,
        })
    }

    /// A problem of a body, told field by field. `unknown_field` wins: it is the surest sign of a typing error.
    #[must_use]
    pub fn of_fields(errors: Vec<FieldError>) -> Box<Problem> {
        let is_unknown = errors.iter().any(|error| error.code == "unknown_field");
        let code = if is_unknown { Code::UnknownField } else { Code::ValidationFailed };
        let detail = errors.first().map_or_else(
            || Cow::Borrowed("The body does not have the shape that this route takes."),
            |first| Cow::Owned(format!("{} See `errors` for each field.", first.detail)),
        );
        let mut problem = Problem::new(code, detail);
        problem.errors = errors;
        problem
    }

    /// A refusal of the books about something that the body names.
    #[must_use]
    pub fn of_reject(reject: Reject) -> Box<Problem> {
        Problem::new(Code::Books(reject.code), reject_detail(reject))
    }

    /// A query parameter that is wrong.
    #[must_use]
    pub fn of_parameter(code: Code, name: &str, detail: impl Into<Cow<'static, str>>) -> Box<Problem> {
        let detail = detail.into();
        let mut problem = Problem::new(code, detail.clone());
        problem.errors.push(FieldError { pointer: name.to_owned(), code: code.facts().name, detail });
        problem
    }

    /// The document. `request` is the one being answered; a kept reply shows the first one instead.
    #[must_use]
    pub fn render(&self, instance: &str, request: u64) -> Vec<u8> {
        let facts = self.code.facts();
        let mut out = Vec::with_capacity(384 + self.errors.len() * 96);
        out.extend_from_slice(b"{\"type\":\"/problems/");
        out.extend_from_slice(facts.name.as_bytes());
        out.extend_from_slice(b"\",\"title\":");
        write_text(&mut out, facts.title);
        out.extend_from_slice(b",\"status\":");
        write_number(&mut out, u64::from(facts.status));
        out.extend_from_slice(b",\"detail\":");
        write_text(&mut out, &self.detail);
        out.extend_from_slice(b",\"instance\":");
        write_text(&mut out, instance);
        out.extend_from_slice(b",\"code\":\"");
        out.extend_from_slice(facts.name.as_bytes());
        out.extend_from_slice(b"\",\"request_id\":\"");
        write_id(&mut out, IdKind::Request, self.first_request.unwrap_or(request));
        out.extend_from_slice(b"\",\"retryable\":");
        out.extend_from_slice(if facts.retryable { b"true" } else { b"false" });
        if !self.errors.is_empty() {
            out.extend_from_slice(b",\"errors\":[");
            for (place, error) in self.errors.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(b"{\"pointer\":");
                write_text(&mut out, &error.pointer);
                out.extend_from_slice(b",\"code\":");
                write_text(&mut out, error.code);
                out.extend_from_slice(b",\"detail\":");
                write_text(&mut out, &error.detail);
                out.push(b'}');
            }
            out.push(b']');
        }
        out.push(b'}');
        out
    }
}

impl From<Unavailable> for Box<Problem> {
    fn from(cause: Unavailable) -> Box<Problem> {
        let (code, detail) = match &cause {
            Unavailable::JournalUnavailable(_) => (
                Code::JournalUnavailable,
                "Nothing was done. The operator has to look at the journal before work goes on.",
            ),
            Unavailable::JournalFull => {
                (Code::JournalFull, "Nothing was done. Work goes on by itself once the disk has space again.")
            }
            Unavailable::OutcomeUnknown => (
                Code::OutcomeUnknown,
                "The journal failed while this request was in flight. Send it again with the same Idempotency-Key: \
                 that settles it.",
            ),
            Unavailable::Overloaded(_) => {
                (Code::Overloaded, "Nothing was done. Send the request again a little later.")
            }
            Unavailable::DeadlineUnmeetable => (
                Code::DeadlineUnmeetable,
                "Nothing was done: it would have taken longer than X-Request-Timeout-Ms allows. Send it later, or allow more.",
            ),
            Unavailable::KeyReused => (
                Code::KeyReused,
                "This Idempotency-Key belongs to a request with another path, query, header or body. Use a new key.",
            ),
            Unavailable::KeyInFlight => (
                Code::KeyInFlight,
                "The first request with this Idempotency-Key has not finished. Send this one again.",
            ),
            Unavailable::ShuttingDown => {
                (Code::Draining, "Nothing was done. Send the request again once the server is back.")
            }
            Unavailable::NoSuchPlace => {
                let detail = "`starting_after` names no place in this list; take it from the page before.";
                return Problem::of_parameter(Code::InvalidParameter, "starting_after", detail);
            }
            Unavailable::StoreUnreadable(_) => (
                Code::StoreUnavailable,
                "Nothing was done. Send the request again a little later. If it stays so, restart the server: look-up tables that \
                 are damaged are rebuilt from the journal.",
            ),
            Unavailable::BrokenOff => (
                Code::InternalError,
                "Nothing was done: reading the request met a fault. The operator's log says more.",
            ),
            Unavailable::HistoryUnreadable(_) => {
                (Code::InternalError, "A part of the history could not be read. The operator's log says why.")
            }
        };
        if matches!(cause, Unavailable::HistoryUnreadable(_) | Unavailable::StoreUnreadable(_) | Unavailable::BrokenOff)
        {
            tracing::error!(%cause, "a request could not be answered");
        }
        Problem::new(code, detail)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::ids::AccountNo;

    #[test]
    fn every_code_has_one_name_and_a_status_of_the_contract() {
        let mut names = HashSet::new();
        for code in all_codes() {
            let facts = code.facts();
            assert!(
                [400, 401, 403, 404, 405, 406, 408, 409, 410, 412, 413, 415, 422, 426, 429, 500, 503]
                    .contains(&facts.status),
                "{code:?}"
            );
            // Two codes of the books have a twin for the case that the path names the object.
            assert!(names.insert((facts.name, facts.status)), "{code:?}");
            assert!(!facts.title.ends_with('.'), "{code:?}");
        }
    }

    #[test]
    fn every_refusal_says_something_to_do() {
        for (code, _) in REJECT_CODES {
            for reject in [Reject::of(code), Reject::by(code, AccountNo(6))] {
                let detail = reject_detail(reject);
                assert!(detail.ends_with('.') || detail.ends_with('"'), "{detail}");
            }
        }
        assert_eq!(
            reject_detail(Reject::by(RejectCode::AccountFrozen, AccountNo(6))),
            "Account acct_0000000000007 is frozen. Only voids and expiries work on it."
        );
    }

    #[test]
    fn a_problem_is_a_document_of_rfc_9457() {
        let mut problem = Problem::of_fields(vec![FieldError {
            pointer: "/amo\"unt".into(),
            code: "unknown_field",
            detail: "No such field.".into(),
        }]);
        problem.first_request = Some(1);
        let text = String::from_utf8(problem.render("/v1/transfers", 2)).unwrap();
        let expected = concat!(
            r#"{"type":"/problems/unknown_field","title":"The body has a field that is not known","status":422,"#,
            r#""detail":"No such field. See `errors` for each field.","instance":"/v1/transfers","code":"unknown_field","#,
            r#""request_id":"req_0000000000001","retryable":false,"#,
            r#""errors":[{"pointer":"/amo\"unt","code":"unknown_field","detail":"No such field."}]}"#
        );
        assert_eq!(text, expected);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}
