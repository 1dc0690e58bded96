//! Sampled requests as OTLP/HTTP JSON, sent by a thread of its own.
//!
//! Promise: a request never waits for a collector. Spans go to a bounded queue; what does not fit,
//! and what the collector does not take, is dropped and counted. One request is one server span with
//! a child for each stage, in the order in which a request meets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::trace::{Trace, hex};

/// Spans that may wait: at a thousandth of 50,000 requests a second, twenty seconds of them.
const WAITING_MAX: usize = 1_024;

/// Requests in one message to the collector.
const BATCH_MAX: usize = 128;

/// How long spans are gathered before they are sent.
const GATHER: Duration = Duration::from_secs(1);

/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One sampled request.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its trace.
    pub trace: Trace,
    /// Its route's name.
    pub name: &'static str,
    /// HTTP method.
    pub method: Box<str>,
    /// HTTP status.
    pub status: u16,
    /// Its id as the caller saw it.
    pub request_id: Box<str>,
    /// Nanoseconds since 1970 at its start.
    pub start_ns: u64,
    /// From start to end, nanoseconds.
    pub total_ns: u64,
    /// Names of the stages.
    pub stages: &'static [&'static str],
    /// Their times by place, nanoseconds.
    pub stages_ns: Box<[u64]>,
}

impl Span {
    /// The request and its stages, as OTLP has them.
    fn to_json(&self, out: &mut Vec<Value>) {
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let trace_id = self.trace.trace_hex();
        out.push(json!({
            "traceId": trace_id,
            "spanId": hex(&self.trace.span_id),
            "parentSpanId": self.trace.parent_id.map_or_else(String::new, |id| hex(&id)),
            "name": self.name,
            "kind": 2,
            "startTimeUnixNano": self.start_ns.to_string(),
            "endTimeUnixNano": (self.start_ns + self.total_ns).to_string(),
            "attributes": [
                text("http.request.method", &self.method),
                text("http.route", self.name),
                {"key": "http.response.status_code", "value": {"intValue": self.status.to_string()}},
                text("munim.request_id", &self.request_id),
            ],
            "status": {"code": if self.status >= 500 { 2 } else { 0 }},
        }));
        let mut start_ns = self.start_ns;
        let own = u64::from_be_bytes(self.trace.span_id);
        for (place, (name, ns)) in self.stages.iter().zip(&self.stages_ns).enumerate().filter(|(_, (_, ns))| **ns > 0) {
            // Stage numbers are odd steps away from the request's own, which is odd: never zero, never the same.
            let span_id = own.wrapping_add(2 * (place as u64 + 1)).to_be_bytes();
            out.push(json!({
                "traceId": trace_id,
                "spanId": hex(&span_id),
                "parentSpanId": hex(&self.trace.span_id),
                "name": name,
                "kind": 1,
                "startTimeUnixNano": start_ns.to_string(),
                "endTimeUnixNano": (start_ns + ns).to_string(),
            }));
            start_ns += ns;
        }
    }
}

/// One message to the collector.
#[must_use]
pub fn message(spans: &[Span]) -> Value {
    let mut all = Vec::new();
    spans.iter().for_each(|span| span.to_json(&mut all));
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "munim"}},
            {"key": "service.version", "value": {"stringValue": env!("CARGO_PKG_VERSION")}},
        ]},
        "scopeSpans": [{"scope": {"name": "munim"}, "spans": all}],
    }]})
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    host: String,
    port: u16,
    path: String,
}

impl std::str::FromStr for Export {
    type Err = String;

    /// `http://host:4318`, with `/v1/traces` unless it names a path.
    fn from_str(text: &str) -> Result<Export, String> {
        let uri: Uri = text.parse().map_err(|_| format!("{text} is no address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("{text} is not http://: put a collector of this machine in between"));
        }
        let host = uri.host().ok_or_else(|| format!("{text} names no host"))?;
        let path = if uri.path().len() > 1 { uri.path() } else { "/v1/traces" };
        Ok(Export { host: host.to_owned(), port: uri.port_u16().unwrap_or(4318), path: path.to_owned() })
    }
}

impl Export {
    async fn send(&self, body: Bytes) -> Result<(), String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| said(&error))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
        let request = Request::post(&self.path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| said(&error))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
            let status = answer.status();
            // Read to its end, within reason, so that the collector is not cut off.
            let _ = Limited::new(answer.into_body(), 64 * 1024).collect().await;
            if status.is_success() { Ok(()) } else { Err(format!("the collector answered {status}")) }
        };
        // The connection is driven while the exchange runs; when it ends first, the exchange says why.
        let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
        tokio::select! {
            done = &mut exchange => done,
            _ = &mut connection => exchange.await,
        }
    }
}

/// Spans that wait for the exporter.
#[derive(Debug)]
pub struct SpanQueue {
    sender: Sender<Span>,
    receiver: Receiver<Span>,
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl SpanQueue {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<SpanQueue> {
        let (sender, receiver) = bounded(WAITING_MAX);
        let count = || AtomicU64::new(0);
        Arc::new(SpanQueue { sender, receiver, exported: count(), dropped: count(), failed: count() })
    }

    /// Takes a span, or drops it.
    pub fn push(&self, span: Span) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.sender.try_send(span) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests exported, dropped for want of room, and not taken by the collector.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("exported", read(&self.exported)), ("dropped", read(&self.dropped)), ("failed", read(&self.failed))]
    }

    /// Sends what comes, on a thread of its own.
    pub(super) fn start(self: &Arc<Self>, export: Export) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let queue = Arc::clone(self);
        let run = move || loop {
            // The queue holds a sender itself: it never ends.
            let Some(batch) = queue.gather() else { return };
            runtime.block_on(queue.export(&export, &batch));
        };
        std::thread::Builder::new().name("otlp".into()).spawn(run).map(drop)
    }

    /// Waits for a span, then for more of them until a second is over or the message is full.
    fn gather(&self) -> Option<Vec<Span>> {
        let mut batch = vec![self.receiver.recv().ok()?];
        let end = Instant::now() + GATHER;
        while batch.len() < BATCH_MAX
            && let Ok(span) = self.receiver.recv_deadline(end)
        {
            batch.push(span);
        }
        Some(batch)
    }

    async fn export(&self, export: &Export, batch: &[Span]) {
        let body = Bytes::from(message(batch).to_string());
        let sent = tokio::time::timeout(PATIENCE, export.send(body)).await;
        match sent.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))) {
            Ok(()) => self.exported.fetch_add(batch.len() as u64, Ordering::Relaxed),
            Err(cause) => {
                let before = self.failed.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if before == 0 {
                    tracing::warn!(cause, "the trace collector does not take spans; further failures are only counted");
                }
                before
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        Span {
            trace: Trace { trace_id: [1; 16], span_id: [3; 8], parent_id: None, is_sampled: true },
            name: "create_transfer",
            method: "POST".into(),
            status: 201,
            request_id: "req_1".into(),
            start_ns: 1_000,
            total_ns: 500,
            stages: &["accept", "idem", "journal"],
            stages_ns: [100, 0, 400].into(),
        }
    }

    #[test]
    fn a_request_is_a_span_with_its_stages_below() {
        let message = message(&[span()]);
        let spans = message["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        let brief: Vec<String> = spans
            .iter()
            .map(|span| format!("{} {}-{}", span["name"], span["startTimeUnixNano"], span["endTimeUnixNano"]))
            .collect();
        let expected =
            ["\"create_transfer\" \"1000\"-\"1500\"", "\"accept\" \"1000\"-\"1100\"", "\"journal\" \"1100\"-\"1500\""];
        assert_eq!(brief, expected);
        assert_eq!(spans[1]["parentSpanId"], spans[0]["spanId"]);
        assert_ne!(spans[1]["spanId"], spans[2]["spanId"]);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let queue = SpanQueue::new();
        (0..WAITING_MAX + 3).for_each(|_| queue.push(span()));
        assert_eq!(queue.counts()[1], ("dropped", 3));
        assert_eq!(queue.gather().unwrap().len(), BATCH_MAX);
    }

    #[test]
    fn an_endpoint_is_an_http_address() {
        let export: Export = "http://127.0.0.1:4318".parse().unwrap();
        assert_eq!((export.port, export.path.as_str()), (4318, "/v1/traces"));
        assert_eq!("http://c:9/x".parse::<Export>().unwrap().path, "/x");
        assert!("https://c:9".parse::<Export>().is_err());
        assert!("c".parse::<Export>().is_err());
    }

    #[tokio::test]
    async fn spans_reach_a_collector_and_a_silent_one_loses_them() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let export: Export = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let collector = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&seen).contains("create_transfer") {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            String::from_utf8_lossy(&seen).into_owned()
        };
        let queue = SpanQueue::new();
        let batch = [span()];
        let (seen, ()) = tokio::join!(collector, queue.export(&export, &batch));
        assert!(seen.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{seen}");
        assert_eq!(queue.counts()[0], ("exported", 1));
        drop(listener);
        queue.export(&export, &[span()]).await;
        assert_eq!(queue.counts()[2], ("failed", 1));
    }
}
