//! What a route can refuse with.

use super::super::problem::{Code, EDGE_CODES};
use super::super::resources::Operation;
use super::super::router::{Class, Route, Takes};
use super::operations::{Description, describe};
use crate::domain::reject::RejectCode as R;

/// Everything that a route can refuse with, each code once, in the order of their tables.
#[must_use]
pub fn codes(route: &Route) -> Vec<Code> {
    let Description { refusals, also, parameters, body, .. } = describe(route.operation);
    let mut codes: Vec<Code> = refusals.iter().map(|code| Code::Books(*code)).collect();
    if route.class == Class::Money {
        codes.push(Code::Books(R::AmountLimitExceeded));
    }
    let is_api = !route.is_public();
    let is_command = matches!(route.class, Class::Money | Class::Change);
    let has_books = is_api && route.operation != Operation::GetOperation;
    codes.extend(EDGE_CODES.into_iter().filter(|code| match code {
        // Every body is read, also one that nobody asked for.
        Code::BodyUnreadable
        | Code::BodyTimeout
        | Code::BodyTooLarge
        | Code::NotAcceptable
        | Code::InternalError
        | Code::Overloaded
        | Code::TimeoutMalformed
        | Code::HostMalformed => true,
        Code::ConcurrencyLimited => route.class != Class::Process,
        Code::MalformedJson | Code::UnknownField | Code::ValidationFailed | Code::UnsupportedMediaType => {
            body.is_some()
        }
        Code::MalformedProtobuf => matches!(route.takes, Takes::Message | Takes::MessageOrNothing | Takes::Batch),
        Code::IdempotencyKeyMissing => route.class == Class::Money,
        Code::IdempotencyKeyMalformed | Code::KeyInFlight | Code::KeyReused | Code::OutcomeUnknown => is_command,
        // Known keys are limited where it is about the books, whoever guesses everywhere.
        Code::UnknownParameter | Code::RateLimited => is_api,
        Code::InvalidParameter => is_api || !parameters.is_empty(),
        Code::JournalUnavailable | Code::JournalFull | Code::DeadlineUnmeetable | Code::Draining | Code::Recovering => {
            has_books
        }
        // Who may ask, and how often, is asked before what.
        other => also.contains(other) || (is_api && matches!(other.facts().status, 401 | 403)),
    }));
    codes
}
