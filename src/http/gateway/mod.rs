//! The gateway: the stages that every request goes through, in order, on one page.
//!
//! | stage | what | budget (single transfer, µs) |
//! |---|---|---|
//! | id | a number for the request, the clock starts | 0.1 |
//! | route | method and path → route; 404, 405 | 0.2 |
//! | negotiate | `Accept` → media type; 406 | 0.2 |
//! | accept | the body, bounded in size, time and memory; 408, 413, then 415 | 1 |
//! | idem | key and fingerprint; 400 | 1 |
//! | parse | body → command; 400, 422 | 1 |
//! | queue, decide, journal | the engine | 1 + 2 + one group commit |
//! | wake | from durable to this task running again | the scheduler's |
//! | render | view → bytes, headers | 1 |
//! | other | what no stage has measured; `conclude` shows it and hands the times on | 0.2 |
//!
//! Authentication and limits will stand between route and negotiate, compression after render; each
//! is one call in [`Edge::answer`]. Every stage is measured and shown in `Server-Timing`.

mod call;
mod conclude;
mod deadline;
pub mod limit;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use bytes::Bytes;
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{Request, Response};

use crate::config::{BATCH_BODY_BYTES_MAX, BODY_BYTES_MAX, KEY_LIMIT, RateLimit};
use crate::engine::Engine;
use crate::telemetry::alerts::{Alerts, default_rules};
use crate::telemetry::{Source, Telemetry, Tracer};

use super::body::{BodyBudget, Payload, Reserved, read_body};
use super::budget::plan;
use super::hooks::{Exporter, Verifier};
use super::idempotency::LOCAL_OWNER;
use super::negotiate::{accepted, check_content_type};
use super::operations::Operations;
use super::problem::{Code, Outcome, Problem};
use super::reply::Reply;
use super::request_id::RequestIds;
use super::resources;
use super::router::{Class, Found, Route, Takes, find};
use super::timing::{Stage, Timing};

use deadline::deadline;
use limit::{Admitted, Limits, Standing};

pub use call::{Call, KeyInputs};

/// The books behind the edge, once they are open.
#[derive(Clone, Debug)]
pub struct Books {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Proves the books.
    pub verifier: Arc<dyn Verifier>,
    /// Writes them out.
    pub exporter: Arc<dyn Exporter>,
}

/// The edge of one process.
#[derive(Debug)]
pub struct Edge {
    books: OnceLock<Books>,
    is_draining: AtomicBool,
    started: Instant,
    request_ids: RequestIds,
    limits: Limits,
    batch_bodies: Arc<BodyBudget>,
    /// What is measured.
    pub telemetry: Arc<Telemetry>,
    /// What is watched. Guards the state of the rules; taken every ten seconds and by a scrape.
    pub alerts: Arc<Mutex<Alerts>>,
    /// Whoever else has something to show at `/metrics`. Guards the list; taken by a scrape.
    sources: Mutex<Vec<Arc<dyn Source>>>,
    /// Background operations.
    pub operations: Operations,
}

impl Edge {
    /// An edge without books: it answers health checks and refuses the rest until [`Edge::open`].
    #[must_use]
    pub fn new() -> Arc<Edge> {
        Edge::measured(Tracer::off(), Alerts::new(default_rules(), Vec::new()))
    }

    /// As [`Edge::new`], with traces and alert rules of the operator's choice.
    #[must_use]
    pub fn measured(tracer: Tracer, alerts: Alerts) -> Arc<Edge> {
        Arc::new(Edge {
            telemetry: Arc::new(Telemetry::new(plan(), tracer)),
            alerts: Arc::new(Mutex::new(alerts)),
            sources: Mutex::default(),
            books: OnceLock::new(),
            is_draining: AtomicBool::new(false),
            started: Instant::now(),
            request_ids: RequestIds::new(),
            limits: Limits::new(),
            batch_bodies: Arc::default(),
            operations: Operations::default(),
        })
    }

    /// Recovery is over: the books can be asked.
    pub fn open(&self, books: Books) {
        let is_first = self.books.set(books).is_ok();
        debug_assert!(is_first, "books are opened once");
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
    }

    /// Whether [`Edge::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Seconds since the start.
    #[must_use]
    pub fn uptime_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// The books, once they are open.
    #[must_use]
    pub fn books(&self) -> Option<&Books> {
        self.books.get()
    }

    /// Answers a request, whatever it is.
    pub async fn handle<B>(self: Arc<Edge>, request: Request<B>) -> Response<Payload>
    where
        B: Body<Data = Bytes>,
    {
        let mut timing = Timing::start();
        let id = self.request_ids.next();
        let (head, body) = request.into_parts();
        let mut standing = None;
        let reply = match self.answer(&head, body, id, &mut timing, &mut standing).await {
            Ok(reply) => reply,
            Err(problem) => {
                standing = standing.or(problem.standing);
                Reply::problem(&problem, head.uri.path(), id)
            }
        };
        let engine = reply.stages;
        let mut response = reply.into_response(id, &mut timing, standing.as_ref());
        self.conclude(&head, id, &timing, engine.as_ref(), &mut response);
        response
    }

    async fn answer<B>(
        &self,
        head: &Parts,
        body: B,
        id: u64,
        timing: &mut Timing,
        standing: &mut Option<Standing>,
    ) -> Outcome<Reply>
    where
        B: Body<Data = Bytes>,
    {
        let (route, hole) = match find(head.method.as_str(), head.uri.path()) {
            Found::Route(route, hole) => (route, hole),
            Found::Nowhere => {
                return Err(Problem::new(Code::RouteNotFound, "See /v1 in the documentation for what exists."));
            }
            Found::OtherMethods(allow) => {
                let mut problem = Problem::new(Code::MethodNotAllowed, format!("This path takes {allow}."));
                problem.allow = Some(allow);
                return Err(problem);
            }
        };
        timing.set_route(route);
        let _admitted = self.limit(route, LOCAL_OWNER, &KEY_LIMIT, None, standing)?;
        timing.mark(Stage::Limit);
        let deadline = deadline(&head.headers, timing.started())?;
        let gives = accepted(&head.headers, route.gives)?;
        let is_batch = matches!(route.takes, Takes::Batch | Takes::JsonBatch);
        let mut reserved = is_batch.then(|| Reserved::of(&self.batch_bodies));
        let bytes_max = if is_batch { BATCH_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
        let body = read_body(body, bytes_max, reserved.as_mut()).await?;
        let form = check_content_type(&head.headers, route.takes, &body)?;
        timing.mark(Stage::Accept);
        let mut call = Call { edge: self, head, route, hole, body, form, gives, request: id, deadline, timing };
        resources::dispatch(&mut call).await
    }

    /// The stage `limit`. What is about the process is not counted: a monitor must get through when nobody else does.
    fn limit(
        &self,
        route: &Route,
        owner: u64,
        limit: &RateLimit,
        address: Option<IpAddr>,
        standing: &mut Option<Standing>,
    ) -> Outcome<Option<Admitted>> {
        if route.class == Class::Process {
            return Ok(None);
        }
        let admitted = self.limits.enter(owner, limit, address)?;
        *standing = Some(admitted.standing);
        Ok(Some(admitted))
    }
}
