//! One request on its way: what a handler may ask about it, and its way into the engine.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::request::Parts;

use crate::config::SHORT_ROWS_MAX;
use crate::engine::command::{Command, Origin};
use crate::engine::readers::{Place, run_at};
use crate::engine::view::{Answer, Unavailable};

use super::super::compress::Coding;
use super::super::idempotency::{Asked, idempotency_key};
use super::super::json::BatchForm;
use super::super::peer::Peer;
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::{Query, percent_decode};
use super::super::reply::Reply;
use super::super::router::{Class, Holes, Route};
use super::super::timing::{Stage, Timing};
use super::identity::Caller;
use super::{Books, Edge};

/// One request, after its body was read.
#[derive(Debug)]
pub struct Call<'r> {
    /// The edge that it came to.
    pub edge: &'r Edge,
    /// Who asks.
    pub caller: Caller,
    /// The other end of its connection.
    pub peer: &'r Arc<Peer>,
    /// Method, address and headers.
    pub head: &'r Parts,
    /// Its route.
    pub route: &'static Route,
    /// The segments that fill the route's holes, percent-encoded.
    pub holes: Holes<'r>,
    /// The body; that of a batch still in its coding.
    pub body: Bytes,
    /// The body as it was sent, where [`Call::body`] was inflated.
    pub raw: Option<Bytes>,
    /// The coding in which the body was sent.
    pub coding: Option<Coding>,
    /// The format of the body.
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
    origin: Origin,
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
        percent_decode(self.holes.first.unwrap_or_default()).unwrap_or_default().into_owned()
    }

    /// The second id in the path, likewise.
    #[must_use]
    pub fn part_id(&self) -> String {
        percent_decode(self.holes.second.unwrap_or_default()).unwrap_or_default().into_owned()
    }

    /// Whom the command comes from, with its key. Ends the stage `idem`.
    ///
    /// # Errors
    /// `idempotency_key_missing` where money moves, `idempotency_key_malformed`.
    pub fn origin(&mut self, dry_run: bool) -> Outcome<Origin> {
        let uri = &self.head.uri;
        let target = Target { path: uri.path(), query: uri.query().unwrap_or_default() };
        let body = self.raw.as_ref().unwrap_or(&self.body);
        let origin = with_key(self.unkeyed(dry_run), &self.head.headers, &target, self.route, body);
        self.timing.mark(Stage::Idem);
        origin
    }

    /// What [`Call::origin`] needs, to take along to another thread.
    #[must_use]
    pub fn key_inputs(&self, dry_run: bool) -> KeyInputs {
        KeyInputs {
            headers: self.head.headers.clone(),
            path: self.head.uri.path().to_owned(),
            query: self.head.uri.query().unwrap_or_default().to_owned(),
            route: self.route,
            origin: self.unkeyed(dry_run),
        }
    }

    /// Whom the command comes from; its key is still to be read.
    fn unkeyed(&self, dry_run: bool) -> Origin {
        let (owner, amount_limit) = (self.caller.owner, self.caller.amount_limit());
        Origin { owner, request: self.request, key: None, dry_run, deadline: self.deadline, amount_limit }
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
        self.check_deadline()?;
        let value = question.await;
        self.timing.mark(Stage::Read);
        Ok(value?)
    }

    /// Before work begins that cannot be given up half way: whether its caller still waits for it.
    ///
    /// # Errors
    /// `deadline_unmeetable`.
    pub fn check_deadline(&self) -> Outcome<()> {
        let is_past = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if is_past { Err(Unavailable::DeadlineUnmeetable.into()) } else { Ok(()) }
    }

    /// A place for an answer of so many rows, if they are many: it is made there, not on an async worker.
    ///
    /// # Errors
    /// `overloaded` when too many long answers wait.
    pub async fn place_for(&mut self, rows: usize) -> Outcome<Option<Place>> {
        if rows <= SHORT_ROWS_MAX {
            return Ok(None);
        }
        let engine = &self.books()?.engine;
        self.read(engine.long_place()).await.map(Some)
    }
}

/// Makes the bytes of an answer: at its place, if it is long, which then goes along until they are
/// compressed.
///
/// # Errors
/// What [`Unavailable`] becomes.
pub async fn render_at(mut place: Option<Place>, render: impl FnOnce() -> Reply + Send + 'static) -> Outcome<Reply> {
    let mut reply = run_at(&mut place, render).await?;
    reply.place = place;
    Ok(reply)
}

impl KeyInputs {
    /// As [`Call::origin`].
    ///
    /// # Errors
    /// As [`Call::origin`].
    pub fn origin(&self, body: &[u8]) -> Outcome<Origin> {
        let target = Target { path: &self.path, query: &self.query };
        with_key(self.origin, &self.headers, &target, self.route, body)
    }
}

struct Target<'a> {
    path: &'a str,
    query: &'a str,
}

/// Reads the idempotency key of a command, unless nothing is to happen.
fn with_key(
    origin: Origin,
    headers: &HeaderMap,
    target: &Target<'_>,
    route: &'static Route,
    body: &[u8],
) -> Outcome<Origin> {
    if origin.dry_run {
        return Ok(origin);
    }
    let Target { path, query } = *target;
    let asked = Asked { method: route.method, route: route.pattern, path, query, body };
    let key = idempotency_key(headers, origin.owner, &asked)?;
    if key.is_none() && route.class == Class::Money {
        let detail = "Send an Idempotency-Key of your own choice, and the same one again when you retry.";
        return Err(Problem::new(Code::IdempotencyKeyMissing, detail));
    }
    Ok(Origin { key, ..origin })
}
