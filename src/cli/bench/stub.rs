//! A server for the generator's tests: answers as the ledger would, from nothing.
//!
//! It keeps no books: ids are counted up, every read is answered with an empty object. It can refuse
//! every n-th request, and hold the first one for a while.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::domain::ids::{IdKind, format_id};
use crate::http::accept::{AcceptLimits, serve};

/// A running stub; it ends when dropped.
pub struct Stub {
    _runtime: Runtime,
    addr: SocketAddr,
    _stop: watch::Sender<bool>,
    asked: Arc<AtomicU64>,
}

impl Stub {
    /// Refuses every `refuse_every`-th request; answers the first only after `first_delay`.
    pub fn start(refuse_every: u64, first_delay: Duration) -> Stub {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let asked = Arc::new(AtomicU64::new(0));
        let counted = asked.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                if number == 1 {
                    // A stall is what this stands for, so it has a length; nothing waits for it blindly.
                    let _ = tokio::time::timeout(first_delay, pending::<()>()).await;
                }
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let refuse = number.is_multiple_of(refuse_every);
                let (status, text) =
                    if refuse { refusal() } else { answer(&parts.method, parts.uri.path(), number, &body) };
                let response = Response::builder().status(status).header("Server-Timing", "parse;dur=0.5, total;dur=2");
                Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap())
            }
        });
        runtime.spawn(serve(listener, service, AcceptLimits::default(), stopped));
        Stub { _runtime: runtime, addr, _stop: stop, asked }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Requests so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn refusal() -> (u16, String) {
    (422, r#"{"type":"/problems/x","code":"insufficient_funds"}"#.to_owned())
}

fn answer(method: &Method, path: &str, number: u64, body: &[u8]) -> (u16, String) {
    let items = |name: &str| {
        let value: Value = serde_json::from_slice(body).unwrap();
        value[name].as_array().unwrap().len()
    };
    match (method, path) {
        (&Method::POST, "/v1/transfers") => (201, r#"{"object":"transfer"}"#.to_owned()),
        (&Method::POST, "/v1/transfers/batch") => {
            let first = format_id(IdKind::Transfer, number * 1_000_000);
            (200, format!(r#"{{"posted":{},"rejected":0,"first_id":"{first}"}}"#, items("transfers")))
        }
        (&Method::POST, "/v1/accounts/batch") => {
            let ids = (1..=items("accounts") as u64)
                .map(|place| format!(r#"{{"id":"{}"}}"#, format_id(IdKind::Account, number * 1_000_000 + place)));
            (200, format!(r#"{{"data":[{}]}}"#, ids.collect::<Vec<_>>().join(",")))
        }
        (&Method::GET, path)
            if path == "/readyz" || path.starts_with("/v1/accounts/acct_") || path.starts_with("/v1/transfers/tr_") =>
        {
            (200, "{}".to_owned())
        }
        _ => (404, r#"{"code":"not_found"}"#.to_owned()),
    }
}
