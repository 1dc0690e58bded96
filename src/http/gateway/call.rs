//! One request on its way: what a handler may ask about it, and its way into the engine.

use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::request::Parts;

use crate::engine::command::{Command, Origin};
use crate::engine::view::{Answer, Unavailable};

use super::super::idempotency::{Asked, LOCAL_OWNER, idempotency_key};
use super::super::json::BatchForm;
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::{Query, percent_decode};
use super::super::router::{Class, Route};
use super::super::timing::{Stage, Timing};
use super::{Books, Edge};

/// One request, after its body was read.
#[derive(Debug)]
pub struct Call<'r> {
    /// The edge that it came to.
    pub edge: &'r Edge,
    /// Method, address and headers.
    pub head: &'r Parts,
    /// Its route.
    pub route: &'static Route,
    /// The segment that fills the route's hole, percent-encoded.
    pub hole: Option<&'r str>,
    /// The raw body.
    pub body: Bytes,
    /// The shape of a batch body.
    pub form: BatchForm,
    /// The media type to answer with.
    pub gives: &'static str,
    /// Its number.
    pub request: u64,
    /// When its answer must be on its way.
    pub deadline: Option<Instant>,
    /// Its clock.
    pub timing: &'r mut Timing,
}

/// What an idempotency key is made of, for a thread that the request itself cannot go to.
#[derive(Debug)]
pub struct KeyInputs {
    headers: HeaderMap,
    path: String,
    query: String,
    route: &'static Route,
    request: u64,
    deadline: Option<Instant>,
    dry_run: bool,
}

impl<'r> Call<'r> {
    /// The books.
    ///
    /// # Errors
    /// `recovering` while they are not open.
    pub fn books(&self) -> Outcome<&'r Books> {
        let recovering = || Problem::new(Code::Recovering, "Nothing was done. Send the request again a little later.");
        self.edge.books().ok_or_else(recovering)
    }

    /// The query parameters, of which the route takes these.
    ///
    /// # Errors
    /// `unknown_parameter`, `invalid_parameter`.
    pub fn query(&self, known: &[&str]) -> Outcome<Query<'r>> {
        Query::parse(self.head.uri.query(), known)
    }

    /// The id in the path, decoded. One that cannot be decoded names nothing, like any other nonsense.
    #[must_use]
    pub fn id(&self) -> String {
        let hole = self.hole.unwrap_or_default();
        percent_decode(hole).unwrap_or_default().into_owned()
    }

    /// Whom the command comes from, with its key. Ends the stage `idem`.
    ///
    /// # Errors
    /// `idempotency_key_missing` where money moves, `idempotency_key_malformed`.
    pub fn origin(&mut self, dry_run: bool) -> Outcome<Origin> {
        let uri = &self.head.uri;
        let place = Place { path: uri.path(), query: uri.query().unwrap_or_default() };
        let origin = origin(&self.head.headers, &place, self.route, &self.body, self.request, dry_run);
        self.timing.mark(Stage::Idem);
        Ok(Origin { deadline: self.deadline, ..origin? })
    }

    /// What [`Call::origin`] needs, to take along to another thread.
    #[must_use]
    pub fn key_inputs(&self, dry_run: bool) -> KeyInputs {
        KeyInputs {
            headers: self.head.headers.clone(),
            path: self.head.uri.path().to_owned(),
            query: self.head.uri.query().unwrap_or_default().to_owned(),
            route: self.route,
            request: self.request,
            deadline: self.deadline,
            dry_run,
        }
    }

    /// Sends a command into the engine and waits until its answer may leave. Ends the stage `parse`.
    ///
    /// # Errors
    /// What [`Unavailable`] becomes.
    pub async fn submit(&mut self, command: Command, origin: Origin) -> Outcome<Answer> {
        self.timing.mark(Stage::Parse);
        let answer = self.books()?.engine.submit(command, origin).await;
        match answer {
            Ok(answer) => {
                self.timing.mark_engine(&answer.stages);
                Ok(answer)
            }
            Err(cause) => {
                // The engine says nothing about what it did not do: all of it was waiting.
                self.timing.mark(Stage::Queue);
                Err(cause.into())
            }
        }
    }

    /// Asks the books. Ends the stages `parse` and `read`.
    ///
    /// # Errors
    /// What [`Unavailable`] becomes.
    pub async fn read<T>(&mut self, question: impl Future<Output = Result<T, Unavailable>>) -> Outcome<T> {
        self.timing.mark(Stage::Parse);
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Unavailable::DeadlineUnmeetable.into());
        }
        let value = question.await;
        self.timing.mark(Stage::Read);
        Ok(value?)
    }
}

impl KeyInputs {
    /// As [`Call::origin`].
    ///
    /// # Errors
    /// As [`Call::origin`].
    pub fn origin(&self, body: &[u8]) -> Outcome<Origin> {
        let place = Place { path: &self.path, query: &self.query };
        let origin = origin(&self.headers, &place, self.route, body, self.request, self.dry_run)?;
        Ok(Origin { deadline: self.deadline, ..origin })
    }
}

struct Place<'a> {
    path: &'a str,
    query: &'a str,
}

fn origin(
    headers: &HeaderMap,
    place: &Place<'_>,
    route: &'static Route,
    body: &[u8],
    request: u64,
    dry_run: bool,
) -> Outcome<Origin> {
    let key = if dry_run {
        None
    } else {
        let Place { path, query } = *place;
        let asked = Asked { method: route.method, route: route.pattern, path, query, body };
        let key = idempotency_key(headers, LOCAL_OWNER, &asked)?;
        if key.is_none() && route.class == Class::Money {
            let detail = "Send an Idempotency-Key of your own choice, and the same one again when you retry.";
            return Err(Problem::new(Code::IdempotencyKeyMissing, detail));
        }
        key
    };
    Ok(Origin { owner: LOCAL_OWNER, request, key, dry_run, deadline: None })
}
