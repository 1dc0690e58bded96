//! The gateway: the stages that every request goes through, in order, on one page.
//!
//! | stage | what | budget (single transfer, µs) |
//! |---|---|---|
//! | id | a number for the request, the clock starts | 0.1 |
//! | route | method and path → route; 404, 405 | 0.2 |
//! | opening | only while the books are being opened, after a restart: the request waits | 0 |
//! | auth | whose key; 401, and 429 for an address that has had too many | 0.5 |
//! | limit | rate and concurrency of the key and the address, and whether the key allows the route; 429, 403 | 0.3 |
//! | negotiate | `Accept` → media type; 406 | 0.2 |
//! | accept | the body, bounded in size, time and memory; 408, 413, then 415; a small one is inflated | 1 |
//! | idem | key and fingerprint; 400 | 1 |
//! | parse | body → command; 400, 422 | 1 |
//! | queue, decide, journal | the engine | 1 + 2 + one group commit |
//! | wake | from durable to this task running again | the scheduler's |
//! | render | view → bytes, headers | 1 |
//! | compress | above 1 KiB, as the caller likes it | none; 0.1 ms for 16 KiB, more on one of few threads |
//! | other | what no stage has measured; `conclude` shows it and hands the times on | 0.2 |
//!
//! Each stage is one call in [`Edge::answer`], its code in a file of its own. `OPTIONS` is answered by
//! the route table alone, since a browser asks it without credentials. Every stage is measured and
//! shown in `Server-Timing`.

mod call;
mod conclude;
mod deadline;
pub mod identity;
pub mod limit;
mod opening;
pub mod secrets;
pub mod token;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use bytes::Bytes;
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use crate::config::{ADDRESS_LIMIT, BATCH_BODY_BYTES_MAX, BODY_BYTES_MAX, LENDER_DEFAULT, RateLimit, STRANGER_LIMIT};
use crate::engine::Engine;
use crate::jobs::Jobs;
use crate::telemetry::alerts::{Alerts, default_rules};
use crate::telemetry::{Source, Telemetry, Tracer};

use super::body::{BodyBudget, Payload, Reserved, read_body};
use super::budget::plan;
use super::compress::{body_coding, compress, inflate};
use super::cors::{Origins, protect};
use super::hooks::{Exporter, Verifier};
use super::negotiate::{accepted, check_content_type};
use super::operations::Operations;
use super::peer::Peer;
use super::problem::{Code, Outcome, Problem};
use super::reply::Reply;
use super::request_id::RequestIds;
use super::resources;
use super::router::{Class, EVERY_METHOD, Found, Holes, Route, Takes, find, methods_of};
use super::stream::feed::Feed;
use super::timing::{Stage, Timing};

use deadline::deadline;
use identity::{Caller, Refusals};
use limit::{Admitted, Limits, Standing};
use opening::Opening;
use token::Tokens;

pub use call::{Call, KeyInputs, render_at};

/// The books behind the edge, once they are open.
#[derive(Clone, Debug)]
pub struct Books {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Proves the books.
    pub verifier: Arc<dyn Verifier>,
    /// Writes them out.
    pub exporter: Arc<dyn Exporter>,
    /// Tells the tokens of their API keys.
    pub tokens: Tokens,
    /// What works after the answer, where this process does that.
    pub jobs: Option<Jobs>,
}

impl Books {
    /// What works after the answer.
    ///
    /// # Errors
    /// `jobs_unavailable` where this process does none of it.
    pub fn jobs(&self) -> Outcome<&Jobs> {
        self.jobs
            .as_ref()
            .ok_or_else(|| Problem::new(Code::JobsUnavailable, "This process does no work after the answer."))
    }
}

/// What an operator decides about the edge.
#[derive(Clone, Debug, Default)]
pub struct EdgeOptions {
    /// Origins whose pages may ask, as [`super::cors::parse_origin`] takes them; none by default.
    pub cors_origins: Vec<String>,
    /// The lender's name on documents; [`LENDER_DEFAULT`] by default.
    pub lender: Option<String>,
    /// Requests with no good token that one address may send; [`STRANGER_LIMIT`] by default.
    pub stranger_limit: Option<RateLimit>,
}

/// The edge of one process.
#[derive(Debug)]
pub struct Edge {
    origins: Origins,
    lender: String,
    books: OnceLock<Books>,
    opening: Opening,
    is_draining: AtomicBool,
    started: Instant,
    request_ids: RequestIds,
    limits: Limits,
    /// What was refused for want of identity, rights or moderation.
    pub refusals: Refusals,
    batch_bodies: Arc<BodyBudget>,
    /// What is measured.
    pub telemetry: Arc<Telemetry>,
    /// What is watched. Guards the state of the rules; taken every ten seconds and by a scrape.
    pub alerts: Arc<Mutex<Alerts>>,
    /// Whoever else has something to show at `/metrics`. Guards the list; taken by a scrape.
    sources: Mutex<Vec<Arc<dyn Source>>>,
    /// Background operations.
    pub operations: Operations,
    /// What those who follow the books share, once they are open.
    feed: OnceLock<Arc<Feed>>,
    me: Weak<Edge>,
}

impl Edge {
    /// An edge without books: it answers health checks and refuses the rest until [`Edge::open`].
    #[must_use]
    pub fn new() -> Arc<Edge> {
        Edge::with(&EdgeOptions::default())
    }

    /// As [`Edge::new`], but as the operator decided.
    #[must_use]
    pub fn with(options: &EdgeOptions) -> Arc<Edge> {
        Edge::measured(options, Tracer::off(), Alerts::new(default_rules(), Vec::new()))
    }

    /// As [`Edge::with`], with traces and alert rules of the operator's choice.
    #[must_use]
    pub fn measured(options: &EdgeOptions, tracer: Tracer, alerts: Alerts) -> Arc<Edge> {
        Arc::new_cyclic(|me| Edge {
            me: Weak::clone(me),
            feed: OnceLock::new(),
            origins: Origins::of(&options.cors_origins),
            lender: options.lender.clone().unwrap_or_else(|| LENDER_DEFAULT.to_owned()),
            telemetry: Arc::new(Telemetry::new(plan(), tracer)),
            alerts: Arc::new(Mutex::new(alerts)),
            sources: Mutex::default(),
            books: OnceLock::new(),
            opening: Opening::default(),
            is_draining: AtomicBool::new(false),
            started: Instant::now(),
            request_ids: RequestIds::new(),
            limits: Limits::with(ADDRESS_LIMIT, options.stranger_limit.unwrap_or(STRANGER_LIMIT)),
            refusals: Refusals::default(),
            batch_bodies: Arc::default(),
            operations: Operations::default(),
        })
    }

    /// Recovery is over: the books can be asked.
    pub fn open(&self, books: Books) {
        self.feed.get_or_init(|| Feed::of(Arc::clone(&books.engine)));
        let is_first = self.books.set(books).is_ok();
        debug_assert!(is_first, "books are opened once");
        self.opening.open();
    }

    /// Until [`Edge::open`], requests wait so long for the books instead of being refused: for a
    /// server whose socket was handed on, and accepts while it starts.
    pub fn hold_requests_while_opening(&self, patience: Duration) {
        self.opening.hold(patience);
    }

    /// Shows more readings at `/metrics`, and to the alert rules.
    pub fn add_source(&self, source: Arc<dyn Source>) {
        self.sources.lock().push(source);
    }

    /// All that were added.
    pub(super) fn sources(&self) -> Vec<Arc<dyn Source>> {
        self.sources.lock().clone()
    }

    /// From now on `/readyz` says that this process goes away.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        if let Some(feed) = self.feed.get() {
            feed.close();
        }
    }

    /// What those who follow the books share; `None` while the books are not open.
    #[must_use]
    pub fn feed(&self) -> Option<&Arc<Feed>> {
        self.feed.get()
    }

    /// This edge, for what outlives a request.
    ///
    /// # Panics
    /// Never: whoever holds a reference keeps it alive.
    #[must_use]
    pub fn shared(&self) -> Arc<Edge> {
        self.me.upgrade().expect("an edge lives in an Arc")
    }

    /// Whether [`Edge::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// The number of the next request, or of a command that is none of HTTP's.
    pub fn next_request(&self) -> u64 {
        self.request_ids.next()
    }

    /// Counts a command beside HTTP as a request of this route, and asks whether its key allows it.
    ///
    /// # Errors
    /// `rate_limited`, `concurrency_limited`, `forbidden`.
    pub fn admit(&self, route: &Route, caller: &Caller, peer: &Peer) -> Outcome<Admitted> {
        let address = (!peer.is_loopback).then_some(peer.ip);
        let admitted = self.limits.enter(caller.owner, &caller.limit(), address)?;
        caller.check(route)?;
        Ok(admitted)
    }

    /// A refusal beside HTTP goes where HTTP's go.
    pub fn note_refusal(&self, problem: &Problem, peer: &Arc<Peer>, request: u64) {
        self.refusals.note(problem, peer, request, self.uptime_s());
    }

    /// Seconds since the start.
    #[must_use]
    pub fn uptime_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// The lender's name on documents.
    #[must_use]
    pub fn lender(&self) -> &str {
        &self.lender
    }

    /// The books, once they are open.
    #[must_use]
    pub fn books(&self) -> Option<&Books> {
        self.books.get()
    }

    /// Answers a request of `peer`, whatever it is.
    pub async fn handle<B>(self: Arc<Edge>, request: Request<B>, peer: &Arc<Peer>) -> Response<Payload>
    where
        B: Body<Data = Bytes>,
    {
        let mut timing = Timing::start();
        let id = self.request_ids.next();
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let mut standing = None;
        let mut reply = match self.answer(&head, body, peer, id, &mut timing, &mut standing).await {
            Ok(reply) => reply,
            Err(problem) => {
                standing = standing.or(problem.standing);
                self.refusals.note(&problem, peer, id, self.uptime_s());
                Reply::problem(&problem, path, id)
            }
        };
        if let Err(problem) = compress(&mut reply, &head.headers, &mut timing).await {
            reply = Reply::problem(&problem, path, id);
        }
        self.leave((&head, peer, id), reply, &mut timing, standing.as_ref())
    }

    /// Answers what is no request by HTTP's own rules, which whoever stands before the edge has looked at.
    pub fn refuse(&self, head: &Parts, peer: &Arc<Peer>, problem: &Problem) -> Response<Payload> {
        let mut timing = Timing::start();
        let id = self.request_ids.next();
        self.refusals.note(problem, peer, id, self.uptime_s());
        let reply = Reply::problem(problem, head.uri.path(), id);
        self.leave((head, peer, id), reply, &mut timing, None)
    }

    /// The way out, the same for every answer.
    fn leave(
        &self,
        (head, peer, id): (&Parts, &Peer, u64),
        mut reply: Reply,
        timing: &mut Timing,
        standing: Option<&Standing>,
    ) -> Response<Payload> {
        if head.method == Method::HEAD {
            reply.drop_body();
        }
        let allow = if head.method == Method::OPTIONS { reply.allow.clone() } else { None };
        let engine = reply.stages;
        let mut response = reply.into_response(id, timing, standing);
        protect(head.uri.path(), peer.is_tls, response.headers_mut());
        self.origins.apply(head, allow.as_deref(), response.headers_mut());
        self.conclude(head, id, timing, engine.as_ref(), &mut response);
        response
    }

    async fn answer<B>(
        &self,
        head: &Parts,
        body: B,
        peer: &Arc<Peer>,
        id: u64,
        timing: &mut Timing,
        standing: &mut Option<Standing>,
    ) -> Outcome<Reply>
    where
        B: Body<Data = Bytes>,
    {
        if head.method == Method::OPTIONS {
            return options(head.uri.path());
        }
        let (route, holes) = routed(head)?;
        timing.set_route(route);
        if self.books.get().is_none() {
            // In a box: it happens once in a process's life, and would lie in every request's future.
            Box::pin(self.opening.wait(route.operation, || self.books.get().is_some())).await;
        }
        let caller = self.identify(&head.headers, route, peer)?;
        timing.mark(Stage::Auth);
        let address = (!peer.is_loopback).then_some(peer.ip);
        let _admitted = self.limit(route, &caller, address, standing)?;
        // After the limit: also a request that lacks the right is one.
        if let Err(problem) = caller.check(route) {
            // In a box, like everything that is rare: its state would lie in every request's future.
            Box::pin(self.audit(&caller, route, &problem, id)).await;
            return Err(problem);
        }
        timing.mark(Stage::Limit);
        let deadline = deadline(&head.headers, timing.started())?;
        let gives = accepted(&head.headers, route.gives)?;
        let is_batch = matches!(route.takes, Takes::Batch | Takes::JsonBatch);
        let mut reserved = is_batch.then(|| Reserved::of(&self.batch_bodies));
        let bytes_max = if is_batch { BATCH_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
        let body = read_body(body, bytes_max, reserved.as_mut()).await?;
        let form = check_content_type(&head.headers, route.takes, &body)?;
        let coding = if route.takes == Takes::Nothing { None } else { body_coding(&head.headers)? };
        // A batch is inflated where it is parsed, on a batch thread.
        let (body, raw) = match coding {
            Some(coding) if !is_batch => (Bytes::from(inflate(coding, &body, bytes_max)?), Some(body)),
            _ => (body, None),
        };
        timing.mark(Stage::Accept);
        let mut call = Call {
            edge: self,
            caller,
            peer,
            head,
            route,
            holes,
            body,
            raw,
            coding,
            form,
            gives,
            request: id,
            deadline,
            timing,
        };
        let mut answered = resources::dispatch(&mut call).await;
        match &mut answered {
            Ok(reply) => reply.varies_by_type = route.gives.len() > 1 && route.method == "GET",
            Err(problem) => Box::pin(self.audit(&call.caller, route, problem, id)).await,
        }
        answered
    }

    /// The stage `limit`. What is about the process is not counted: a monitor must get through when nobody else does.
    fn limit(
        &self,
        route: &Route,
        caller: &Caller,
        address: Option<IpAddr>,
        standing: &mut Option<Standing>,
    ) -> Outcome<Option<Admitted>> {
        if route.class == Class::Process {
            return Ok(None);
        }
        let admitted = self.limits.enter(caller.owner, &caller.limit(), address)?;
        *standing = Some(admitted.standing);
        Ok(Some(admitted))
    }
}

/// What a path can do; `*` asks about the server.
fn options(path: &str) -> Outcome<Reply> {
    let allow = if path == "*" { Some(EVERY_METHOD.to_owned()) } else { methods_of(path) };
    allow.map(Reply::options).ok_or_else(nowhere)
}

/// The route of a request, and what fills its holes.
fn routed(head: &Parts) -> Outcome<(&'static Route, Holes<'_>)> {
    match find(head.method.as_str(), head.uri.path()) {
        Found::Route(route, holes) => Ok((route, holes)),
        Found::Nowhere => Err(nowhere()),
        Found::OtherMethods(allow) => {
            let mut problem = Problem::new(Code::MethodNotAllowed, format!("This path takes {allow}."));
            problem.allow = Some(allow);
            Err(problem)
        }
    }
}

fn nowhere() -> Box<Problem> {
    Problem::new(Code::RouteNotFound, "See /docs for what exists.")
}
