//! `munim bench restarts`: no request is lost while the server is replaced under load.
//!
//! 1. A listening socket that stays ([`Holder`]), a server, its accounts.
//! 2. Clients, each its own connection and its next transfer when the last is answered. They never
//!    retry; they obey `Connection: close` and GOAWAY. Some speak HTTP/2.
//! 3. So many times: a pause, SIGTERM, wait for the end, start the next, wait for `READY=1`.
//! 4. What is counted:
//!    - **failed**: an answer that is no 201; no answer on a connection that was new; an answer that broke off;
//!    - **met a close**: a connection that had been used before ended at the very moment when the next
//!      request went out, before a byte of an answer. Such a request is sent once more with the same key,
//!      **only to see** whether the books have it: if they have, its answer was lost and it counts as failed;
//!    - **pause**: the longest that any request took, from the wish to send it to its answer.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::super::keys::files::ADMIN_FILE;
use super::credentials;
use super::facts::Facts;
use super::load::Source;
use super::server::DataFolder;
use super::setup::create_accounts;
use super::shape::Dice;
use super::source::{Keys, Singles};
use super::successor::Holder;
use super::wire::split_answer;
use super::{BenchArgs, BenchError, run_nonce};

/// Clients when `--connections` does not say.
const CLIENTS_DEFAULT: usize = 200;
/// One client in so many speaks HTTP/2.
const HTTP2_EACH: usize = 10;
/// Load before the first restart, between two, and after the last.
const BETWEEN: Duration = Duration::from_millis(700);

/// Runs it.
///
/// # Errors
/// It could not run; failed requests are in the report instead.
pub fn run(args: &BenchArgs) -> Result<Facts, BenchError> {
    if args.url.is_some() {
        return Err(BenchError::Usage("restarts end their servers, so they start their own: leave out --url"));
    }
    let nonce = run_nonce();
    let folder = DataFolder::open(args.data.as_deref(), nonce)?;
    let mut holder = Holder::listen(folder.path(), &args.server_arg)?;
    holder.start()?;
    let addr = holder.addr()?;
    credentials::read(&folder.path().join("books").join(ADMIN_FILE))?;
    let accounts = create_accounts(addr, args.accounts, &mut Keys::new(args.seed, nonce, "a"))?;
    let singles = Singles::new(Dice::new(args.seed, args.shape(), accounts), Keys::new(args.seed, nonce, "r"));
    let clients = args.connections.map_or(CLIENTS_DEFAULT, |count| count as usize);
    let is_over = Arc::new(AtomicBool::new(false));
    let load = Load { addr, clients, is_over: Arc::clone(&is_over) };
    let (tally, spans) = thread::scope(|scope| {
        let load = scope.spawn(move || load.run(singles));
        let restarted = restart(&mut holder, args.restarts);
        is_over.store(true, Ordering::Release);
        let tally = load.join().map_err(|_| BenchError::Server("the clients panicked".to_owned()))?;
        Ok::<_, BenchError>((tally?, restarted?))
    })?;
    Ok(report(args, clients, &tally, &spans))
}

/// How long ends and starts took.
#[derive(Debug, Default)]
struct Spans {
    ends: Vec<Duration>,
    starts: Vec<Duration>,
}

fn restart(holder: &mut Holder, times: u32) -> Result<Spans, BenchError> {
    let mut spans = Spans::default();
    thread::sleep(BETWEEN);
    for _ in 0..times {
        spans.ends.push(holder.stop()?);
        spans.starts.push(holder.start()?);
        thread::sleep(BETWEEN);
    }
    Ok(spans)
}

fn report(args: &BenchArgs, clients: usize, tally: &Tally, spans: &Spans) -> Facts {
    let mut facts = Facts::new("restarts under load");
    let longest = |spans: &[Duration]| millis(spans.iter().max().copied().unwrap_or_default());
    let seconds = tally.elapsed.as_secs_f64().max(1e-9);
    facts.note("accounts", f64::from(args.accounts), "");
    facts.note("clients", clients as f64, "");
    facts.note("restarts", spans.starts.len() as f64, "");
    facts.note("answered", tally.answered as f64, "");
    facts.note("answered a second, restarts included", tally.answered as f64 / seconds, "/s");
    facts.note("failed", tally.failed.len() as f64, "");
    facts.note("met the close of an idle connection", tally.met_a_close as f64, "");
    facts.note("connections told to close", tally.told_to_close as f64, "");
    facts.note("longest pause", millis(tally.longest), "ms");
    facts.note("longest end (SIGTERM to exit)", longest(&spans.ends), "ms");
    facts.note("longest start (exec to READY=1)", longest(&spans.starts), "ms");
    if !tally.failed.is_empty() {
        let first = &tally.failed[..tally.failed.len().min(5)];
        facts.fault(format!("{} requests failed: {}", tally.failed.len(), first.join("; ")));
    }
    if args.pause_max_ms.is_some_and(|most| tally.longest > Duration::from_millis(most)) {
        facts.fault(format!("a request took {} ms", millis(tally.longest).round()));
    }
    facts
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

/// What all clients of one thread count.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    failed: Vec<String>,
    met_a_close: u64,
    told_to_close: u64,
    longest: Duration,
    elapsed: Duration,
}

struct Load {
    addr: SocketAddr,
    clients: usize,
    is_over: Arc<AtomicBool>,
}

impl Load {
    fn run(self, singles: Singles) -> Result<Tally, BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| BenchError::io("start the clients", error))?;
        let shared = Rc::new(Shared { load: self, singles: RefCell::new(singles), tally: RefCell::default() });
        let begun = Instant::now();
        let set = LocalSet::new();
        for number in 0..shared.load.clients {
            let shared = Rc::clone(&shared);
            set.spawn_local(async move {
                let is_http2 = number % HTTP2_EACH == HTTP2_EACH - 1;
                let mut wire = if is_http2 { Wire::Http2(None) } else { Wire::Http1(None) };
                while !shared.load.is_over.load(Ordering::Acquire) {
                    shared.one(&mut wire).await;
                }
            });
        }
        runtime.block_on(set);
        let mut tally = shared.tally.take();
        tally.elapsed = begun.elapsed();
        Ok(tally)
    }
}

struct Shared {
    load: Load,
    singles: RefCell<Singles>,
    tally: RefCell<Tally>,
}

/// How one exchange ended.
enum Ended {
    Answered {
        status: u16,
        is_replay: bool,
        closes: bool,
    },
    /// A used connection was found closed, before a byte of an answer.
    MetAClose,
    Broke(String),
}

impl Shared {
    /// One transfer of one client.
    async fn one(&self, wire: &mut Wire) {
        let mut request = Vec::new();
        self.singles.borrow_mut().write_request(&mut request);
        let begun = Instant::now();
        let ended = wire.exchange(self.load.addr, &request).await;
        let took = begun.elapsed();
        if matches!(ended, Ended::MetAClose) {
            // Only to see: the client of this bench has given the request up.
            let looked = wire.exchange(self.load.addr, &request).await;
            let mut tally = self.tally.borrow_mut();
            match looked {
                Ended::Answered { status: 201, is_replay: false, .. } => tally.met_a_close += 1,
                Ended::Answered { status: 201, .. } => tally.failed.push("done, and its answer lost".to_owned()),
                Ended::Answered { status, .. } => tally.failed.push(format!("status {status} after a close")),
                Ended::MetAClose => tally.failed.push("a new connection was closed".to_owned()),
                Ended::Broke(why) => tally.failed.push(format!("after a close: {why}")),
            }
            return;
        }
        let mut tally = self.tally.borrow_mut();
        tally.longest = tally.longest.max(took);
        match ended {
            Ended::Answered { status: 201, closes, .. } => {
                tally.answered += 1;
                tally.told_to_close += u64::from(closes);
            }
            Ended::Answered { status, .. } => tally.failed.push(format!("status {status}")),
            Ended::Broke(why) => tally.failed.push(why),
            Ended::MetAClose => {}
        }
    }
}

/// A client's connection: `None` before the first request and after a close.
enum Wire {
    Http1(Option<TcpStream>),
    Http2(Option<http2::SendRequest<Full<bytes::Bytes>>>),
}

impl Wire {
    async fn exchange(&mut self, addr: SocketAddr, request: &[u8]) -> Ended {
        match self {
            Wire::Http1(kept) => exchange_http1(kept, addr, request).await,
            Wire::Http2(kept) => exchange_http2(kept, addr, request).await,
        }
    }
}

async fn exchange_http1(kept: &mut Option<TcpStream>, addr: SocketAddr, request: &[u8]) -> Ended {
    let (mut stream, is_used) = match kept.take() {
        Some(stream) => (stream, true),
        None => match connect(addr).await {
            Ok(stream) => (stream, false),
            Err(error) => return Ended::Broke(format!("could not connect: {error}")),
        },
    };
    let mut bytes = Vec::with_capacity(1024);
    if let Err(error) = stream.write_all(request).await {
        return if is_used { Ended::MetAClose } else { Ended::Broke(format!("could not send: {error}")) };
    }
    loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) if bytes.is_empty() && is_used => return Ended::MetAClose,
            Ok(0) => return Ended::Broke("the connection ended within an answer, or before it".to_owned()),
            Err(error) => return Ended::Broke(format!("no whole answer: {error}")),
            Ok(_) => {}
        }
        match split_answer(&bytes) {
            Ok(None) => {}
            Ok(Some((answer, _))) => {
                let closes = answer.header(b"connection:") == Some(b"close");
                let is_replay = answer.header(b"idempotent-replayed:") == Some(b"true");
                if !closes {
                    *kept = Some(stream);
                }
                return Ended::Answered { status: answer.status, is_replay, closes };
            }
            Err(error) => return Ended::Broke(error.to_string()),
        }
    }
}

async fn exchange_http2(
    kept: &mut Option<http2::SendRequest<Full<bytes::Bytes>>>,
    addr: SocketAddr,
    request: &[u8],
) -> Ended {
    // A connection that was told to go is not ready any more, which is how GOAWAY is obeyed.
    let mut closed_before = false;
    let (mut sender, is_used) = loop {
        let (mut sender, is_used) = match kept.take() {
            Some(sender) => (sender, true),
            None => match connect_http2(addr).await {
                Ok(sender) => (sender, false),
                Err(error) => return Ended::Broke(format!("could not connect: {error}")),
            },
        };
        match sender.ready().await {
            Ok(()) => break (sender, is_used),
            Err(_) if is_used => closed_before = true,
            Err(error) => return Ended::Broke(format!("a new connection of HTTP/2 is not ready: {error}")),
        }
    };
    let sent = match as_http2(request) {
        Ok(request) => sender.send_request(request).await,
        Err(error) => return Ended::Broke(error.to_string()),
    };
    match sent {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            if let Err(error) = body.collect().await {
                return Ended::Broke(format!("an answer of HTTP/2 broke off: {error}"));
            }
            let is_replay = head.headers.get("idempotent-replayed").is_some_and(|value| value == "true");
            *kept = Some(sender);
            Ended::Answered { status: head.status.as_u16(), is_replay, closes: closed_before }
        }
        Err(_) if is_used => Ended::MetAClose,
        Err(error) => Ended::Broke(format!("no answer of HTTP/2: {error}")),
    }
}

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connect_http2(addr: SocketAddr) -> Result<http2::SendRequest<Full<bytes::Bytes>>, String> {
    let stream = connect(addr).await.map_err(|error| error.to_string())?;
    let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// The same request for HTTP/2.
fn as_http2(request: &[u8]) -> io::Result<hyper::Request<Full<bytes::Bytes>>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a request of ours is malformed");
    let head_end = request.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(malformed)?;
    let head = std::str::from_utf8(&request[..head_end]).map_err(|_| malformed())?;
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or_else(malformed)?;
    let mut built = hyper::Request::post(format!("http://munim{path}"));
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name != "host" && name != "content-length" {
            built = built.header(name, value);
        }
    }
    built.body(Full::new(request[head_end + 4..].to_vec().into())).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_sends_the_same_request() {
        let request = as_http2(
            b"POST /v1/transfers HTTP/1.1\r\nhost: x\r\nidempotency-key: k\r\ncontent-length: 00000002\r\n\r\n{}",
        );
        let request = request.unwrap();
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/transfers"));
        assert_eq!(request.headers()["idempotency-key"], "k");
        assert_eq!(request.headers().len(), 1);
    }
}
