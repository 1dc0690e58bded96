//! The end of every request: its time goes to its caller, to the measurements, to the trace that it
//! belongs to, and to the log where somebody wants to see every request.

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;

use crate::domain::ids::{IdKind, format_id};
use crate::engine::view::Stages;
use crate::telemetry::otlp::Span;
use crate::telemetry::trace::{Trace, unix_ns};
use crate::telemetry::{Detail, Observation};

use super::super::body::Payload;
use super::super::timing::{Finished, STAGE_NAMES, Timing};
use super::Edge;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a caller's own request id that are kept.
const CLIENT_ID_CHARS_MAX: usize = 128;

impl Edge {
    /// Ends a request's clock and tells everybody. `engine` is the engine's share.
    pub(super) fn conclude(
        &self,
        head: &Parts,
        request: u64,
        timing: &Timing,
        engine: Option<&Stages>,
        response: &mut Response<Payload>,
    ) {
        let trace = self.telemetry.tracer.begin(request, head.headers.get(TRACEPARENT).map(HeaderValue::as_bytes));
        let finished = timing.finish(engine);
        let timing_value = HeaderValue::from_maybe_shared(Bytes::from(finished.header()));
        let headers = response.headers_mut();
        headers.insert(SERVER_TIMING, timing_value.expect("stages and numbers are visible ASCII"));
        if let Some(trace) = &trace {
            let value = HeaderValue::from_bytes(&trace.header());
            headers.insert(TRACEPARENT, value.expect("hex digits and dashes are visible ASCII"));
        }
        let status = response.status().as_u16();
        let Finished { route, stages_ns, total_ns, .. } = &finished;
        let seen = Observation { route: *route, status, stages_ns, total_ns: *total_ns, request };
        self.telemetry.observe(&seen, || detail(head, request, trace.as_ref()));
        if let Some(trace) = trace.filter(|trace| trace.is_sampled) {
            self.telemetry.tracer.end(self.span(head, &seen, trace));
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            let detail = detail(head, request, trace.as_ref());
            tracing::debug!(
                route = self.telemetry.plan().routes[*route].name,
                request.id = detail.request_id.as_ref(),
                request.client_id = detail.client_request_id.as_deref(),
                trace.id = detail.trace_id.as_deref(),
                status,
                total_us = total_ns / 1000,
                "a request was answered"
            );
        }
    }

    /// The time of a command beside HTTP, as that of a request of its route.
    pub fn observe(&self, timing: &Timing, status: u16, request: u64, engine: Option<&Stages>) {
        let Finished { route, stages_ns, total_ns, .. } = &timing.finish(engine);
        let seen = Observation { route: *route, status, stages_ns, total_ns: *total_ns, request };
        self.telemetry.observe(&seen, || Detail {
            request_id: format_id(IdKind::Request, request).into(),
            client_request_id: None,
            trace_id: None,
        });
    }

    fn span(&self, head: &Parts, seen: &Observation<'_>, trace: Trace) -> Span {
        Span {
            trace,
            name: self.telemetry.plan().routes[seen.route].name,
            method: head.method.as_str().into(),
            status: seen.status,
            request_id: format_id(IdKind::Request, seen.request).into(),
            start_ns: unix_ns(Duration::from_nanos(seen.total_ns)),
            total_ns: seen.total_ns,
            stages: STAGE_NAMES,
            stages_ns: seen.stages_ns.into(),
        }
    }
}

fn detail(head: &Parts, request: u64, trace: Option<&Trace>) -> Detail {
    let client = head.headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    // It is shown to people, in logs and in `/v1/latency`: an id, never markup or an expression.
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(&byte);
    let is_fit = |id: &&str| id.len() <= CLIENT_ID_CHARS_MAX && id.bytes().all(is_id);
    Detail {
        request_id: format_id(IdKind::Request, request).into(),
        client_request_id: client.filter(is_fit).map(Into::into),
        trace_id: trace.map(|trace| trace.trace_hex().into()),
    }
}
