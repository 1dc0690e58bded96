//! A server for tests: idempotency keys, external ids, a few refusals, and faults on request.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// What goes wrong with the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing; the place of a good request in a list of faults.
    None,
    /// Done, but the connection breaks before the answer.
    LoseAnswer,
    /// The connection breaks before anything is done.
    CloseFirst,
    /// 503.
    Busy,
    /// 429.
    TooMany,
    /// 409 for a key in flight.
    InFlight,
    /// 403.
    Forbidden,
    /// Every connection breaks from here on.
    Down,
}

#[derive(Default)]
struct State {
    items: BTreeMap<String, Value>,
    order: Vec<String>,
    answers: BTreeMap<String, (Bytes, String)>,
    batch_sizes: Vec<usize>,
    last_body: String,
    faults: VecDeque<Fault>,
}

/// Runs on a thread of its own until the test ends.
pub struct TestServer {
    /// Where it listens.
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl TestServer {
    pub fn start() -> TestServer {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        listener.set_nonblocking(true).expect("tokio wants it so");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, shared));
        });
        TestServer { url, state }
    }

    pub fn inject(&self, faults: &[Fault]) {
        self.state.lock().faults.extend(faults);
    }

    pub fn inject_after(&self, good: usize, fault: Fault) {
        self.inject(&vec![Fault::None; good]);
        self.inject(&[fault]);
    }

    pub fn repair(&self) {
        self.state.lock().faults.clear();
    }

    pub fn forget_keys(&self) {
        self.state.lock().answers.clear();
    }

    /// Changes a field of what is held, as a PATCH or a posting would.
    pub fn change(&self, id: &str, field: &str, value: Value) {
        self.state.lock().items.get_mut(id).expect("it is held")[field] = value;
    }

    pub fn held(&self) -> usize {
        self.state.lock().items.len()
    }

    pub fn order(&self) -> Vec<String> {
        self.state.lock().order.clone()
    }

    pub fn batch_sizes(&self) -> Vec<usize> {
        self.state.lock().batch_sizes.clone()
    }

    pub fn last_body(&self) -> String {
        self.state.lock().last_body.clone()
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is running");
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &state));
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

/// An error here makes hyper close the connection without an answer.
type Answered = Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>>;

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Answered {
    let path = request.uri().path().to_owned();
    let key = request.headers().get("idempotency-key").map(|key| key.to_str().expect("text").to_owned());
    let body = request.into_body().collect().await?.to_bytes();
    let mut state = state.lock();
    let fault = match state.faults.front() {
        Some(Fault::Down) => Fault::Down,
        _ => state.faults.pop_front().unwrap_or(Fault::None),
    };
    match fault {
        Fault::CloseFirst | Fault::Down => return Err("closed".into()),
        Fault::Busy => return Ok(reply(503, &json!({ "code": "overloaded", "retryable": true }))?),
        Fault::TooMany => return Ok(reply(429, &json!({ "code": "rate_limited" }))?),
        Fault::InFlight => return Ok(reply(409, &json!({ "code": "idempotency_key_in_flight" }))?),
        Fault::Forbidden => return Ok(reply(403, &json!({ "code": "permission_missing" }))?),
        Fault::None | Fault::LoseAnswer => {}
    }
    let Some(key) = key else { return Ok(state.get(&path)?) };
    let (status, replayed, text) = state.post(&key, &body);
    if fault == Fault::LoseAnswer {
        return Err("closed".into());
    }
    let mut response = Response::builder().status(status);
    if replayed {
        response = response.header("idempotent-replayed", "true");
    }
    Ok(response.body(Full::from(text))?)
}

fn reply(status: u16, body: &Value) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    Response::builder().status(status).body(Full::from(body.to_string()))
}

impl State {
    fn get(&self, path: &str) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
        let id = path.rsplit("ext:").next().unwrap_or_default();
        match (path.starts_with("/v1/accounts/"), self.items.get(id)) {
            (true, item) => {
                let mut account = item.cloned().unwrap_or_else(|| json!({}));
                account["id"] = format!("acct_{id}").into();
                reply(200, &account)
            }
            (false, Some(item)) => reply(200, item),
            (false, None) => reply(404, &json!({ "code": "not_found" })),
        }
    }

    fn post(&mut self, key: &str, body: &Bytes) -> (u16, bool, String) {
        if let Some((first_body, text)) = self.answers.get(key) {
            let is_same = first_body == body;
            return if is_same { (200, true, text.clone()) } else { (422, false, problem("idempotency_key_reused")) };
        }
        self.last_body = String::from_utf8(body.to_vec()).expect("text");
        let request: Value = serde_json::from_slice(body).expect("JSON");
        let items = request.get("transfers").or(request.get("accounts")).and_then(Value::as_array).expect("items");
        if items.iter().any(|item| item["description"] == "poison") {
            return (400, false, problem("malformed"));
        }
        if items.iter().any(|item| item["description"] == "too much for the key") {
            // Not kept, as the real one does not keep it.
            return (403, false, problem("amount_limit_exceeded"));
        }
        self.batch_sizes.push(items.len());
        let mut results = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let id = item["external_id"].as_str().expect("an external id").to_owned();
            if item["amount"] == "13.1313" {
                let detail = "no money for 13.1313";
                results.push(json!({ "index": index, "code": "insufficient_funds", "detail": detail }));
            } else if self.items.contains_key(&id) {
                results.push(json!({ "index": index, "code": "external_id_exists", "detail": "taken" }));
            } else {
                let mut held = item.clone();
                for side in ["debit_account", "credit_account"] {
                    if let Some(name) = item[side].as_str() {
                        held[side] = name.replace("ext:", "acct_").into();
                    }
                }
                self.items.insert(id.clone(), held);
                self.order.push(id);
            }
        }
        let posted = items.len() - results.len();
        let text = json!({ "object": "batch", "posted": posted, "rejected": results.len(), "results": results });
        self.answers.insert(key.to_owned(), (body.clone(), text.to_string()));
        (200, false, text.to_string())
    }
}

fn problem(code: &str) -> String {
    json!({ "code": code, "detail": "refused" }).to_string()
}
