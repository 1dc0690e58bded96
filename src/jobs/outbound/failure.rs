//! What can become of a call: where its time went, and what kind of failure ended it.

use std::time::Duration;

use super::breaker::Outcome;
use super::destinations::NoPass;
use super::dns::ResolveError;
use super::guard::Refused;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The name is being looked up.
    Resolve,
    /// The TCP connection is being opened.
    Connect,
    /// The TLS handshake runs.
    Tls,
    /// The request is on its way, or the receiver thinks.
    Headers,
    /// The answer's body comes.
    Body,
}

impl Stage {
    /// In a word, for lists of attempts and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Stage::Resolve => "resolve",
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Headers => "headers",
            Stage::Body => "body",
        }
    }
}

/// Where a call's time went. A stage that it did not come to, or did not need, took nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for its turn at the destination.
    pub wait: Duration,
    /// Looking up the name; next to nothing from the cache.
    pub resolve: Duration,
    /// Opening the TCP connection, all addresses tried.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// From the request's first byte out to the answer's headers in.
    pub first_byte: Duration,
    /// The answer's body, as far as it was read.
    pub body: Duration,
    /// All of it.
    pub total: Duration,
    /// Whether an idle connection was taken, so that nothing had to be opened.
    pub is_reused: bool,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The URL, or the address behind it, is not one that we call.
    #[error("the call is refused: {0}")]
    Refused(#[from] Refused),
    /// The caller's request cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Request(&'static str),
    /// The destination is left alone, or busy.
    #[error("the call was not begun: {0}")]
    NoPass(#[from] NoPass),
    /// The name has no address.
    #[error("could not resolve the name: {0}")]
    Resolve(#[from] ResolveError),
    /// Nobody takes the connection.
    #[error("could not connect: {0}")]
    Connect(String),
    /// The receiver does not prove who it is, or speaks no TLS.
    #[error("could not agree on TLS: {0}")]
    Tls(String),
    /// A stage took longer than its deadline, or the call as a whole ended in it.
    #[error("no answer in time: {} took too long", .0.word())]
    TimedOut(Stage),
    /// The connection ended before the answer.
    #[error("the connection ended before the answer")]
    Reset,
    /// What came is not HTTP/1.1.
    #[error("the answer is not HTTP: {0}")]
    Protocol(String),
    /// The answer's headers are larger than 64 KiB.
    #[error("the headers of the answer are too large")]
    TooLarge,
}

impl CallError {
    /// Whether a later attempt of the same call can end otherwise. What an owner may put right tomorrow (a
    /// name, a certificate) is worth it; what only another URL or another request would change is not.
    /// An address that is refused may be another one tomorrow, but whoever pointed a name at our own
    /// network is not asked again.
    #[must_use]
    pub fn is_worth_retry(&self) -> bool {
        !matches!(self, CallError::Refused(_) | CallError::Request(_))
    }

    /// In a word, for lists of attempts and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            CallError::Refused(_) => "refused",
            CallError::Request(_) => "bad_request",
            CallError::NoPass(NoPass::Open(_)) => "breaker_open",
            CallError::NoPass(_) => "destination_busy",
            CallError::Resolve(_) => "resolve",
            CallError::Connect(_) => "connect",
            CallError::Tls(_) => "tls",
            CallError::TimedOut(Stage::Resolve) => "timeout_resolve",
            CallError::TimedOut(Stage::Connect) => "timeout_connect",
            CallError::TimedOut(Stage::Tls) => "timeout_tls",
            CallError::TimedOut(Stage::Headers) => "timeout_headers",
            CallError::TimedOut(Stage::Body) => "timeout_body",
            CallError::Reset => "reset",
            CallError::Protocol(_) => "protocol",
            CallError::TooLarge => "too_large",
        }
    }

    /// What it says about the destination. A refusal of ours says nothing.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            CallError::Refused(_) | CallError::Request(_) | CallError::NoPass(_) => Outcome::Abandoned,
            _ => Outcome::Failure,
        }
    }
}

/// A call without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Why.
    pub error: CallError,
    /// Where the time went until then.
    pub timings: Timings,
}

/// What a status says about the destination: 5xx, 408 and 429 that it is in trouble or wants peace; all
/// else, 404 and 410 too, that it is well.
#[must_use]
pub fn status_outcome(status: u16) -> Outcome {
    if matches!(status, 408 | 429 | 500..=599) { Outcome::Failure } else { Outcome::Success }
}
