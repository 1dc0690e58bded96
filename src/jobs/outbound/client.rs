//! One call: HTTP/1.1 to a destination, every stage with its deadline and its time.
//!
//! Promise: a call ends within `total`, whatever the receiver does, and holds at most 64 KiB of its headers
//! and 64 KiB of its body. What comes back is an answer with any status, or a failure that says of what
//! kind it is. Redirects are answers like others: they are never followed, since nobody has judged where to.
//!
//! 1. The URL is judged; headers that frame a message or belong to a connection are refused.
//! 2. An idle connection is taken, or a new one opened (`connect.rs`).
//! 3. The request goes out. Where an idle connection turns out to be closed and gives the request back
//!    unsent, it is sent once more over a new one; nothing that may have arrived is sent twice.
//! 4. The body is read up to its bound. If it stays out, ends early or is longer, the status stands and
//!    [`Answer::body_end`] says what happened: a receiver that said 200 has it.
//! 5. A connection whose answer was read to its end is kept for the next call.
//!
//! HTTP/1.1 only: with a call at a time on a connection HTTP/2 gains nothing, and its framing is one more
//! thing that a hostile receiver could play with.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, RETRY_AFTER, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, USER_AGENT,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};

use super::backoff;
use super::connect::{Connector, Deadlines};
use super::failure::{CallError, Failure, Stage, Timings};
use super::guard::{Destination, Host, Scheme, Target};
use super::pool::{Connection, Pool};
use crate::config::{OUTBOUND_BODY_BYTES_MAX, OUTBOUND_HEADER_BYTES_MAX, OUTBOUND_REQUEST_BYTES_MAX};

/// Header lines of an answer. Most have about twenty.
const HEADERS_MAX: usize = 100;

/// Who we say we are, unless the caller says otherwise.
const AGENT: &str = concat!("munim/", env!("CARGO_PKG_VERSION"));

/// A request that is to be made.
#[derive(Clone, Debug)]
pub struct Call {
    /// `POST`, mostly.
    pub method: Method,
    /// Where to; judged before each call.
    pub url: String,
    /// What stands above the body. `Host`, `Content-Length` and what belongs to a connection is ours.
    pub headers: HeaderMap,
    /// At most 8 MiB.
    pub body: Bytes,
    /// How long each stage may take.
    pub deadlines: Deadlines,
}

impl Call {
    /// A `POST` of JSON with the usual deadlines.
    #[must_use]
    pub fn post_json(url: &str, body: Bytes) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Call { method: Method::POST, url: url.to_owned(), headers, body, deadlines: Deadlines::default() }
    }
}

/// How the body of an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// All of it is here.
    Whole,
    /// It is longer than what is kept; the rest was not read.
    Cut,
    /// It did not come in time.
    Late,
    /// The connection ended within it.
    Broken,
}

/// What came back, whatever its status says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200 to 999.
    pub status: u16,
    /// At most 64 KiB, at most a hundred lines.
    pub headers: HeaderMap,
    /// The first 64 KiB.
    pub body: Bytes,
    /// Whether that is all.
    pub body_end: BodyEnd,
    /// Where the time went.
    pub timings: Timings,
}

impl Answer {
    /// 2xx: the receiver has it (Standard Webhooks, "Delivery success and failure").
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// 410: the receiver wants no more of this, ever.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.status == 410
    }

    /// What the receiver asks for with `Retry-After`; see [`backoff::retry_after`].
    #[must_use]
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        backoff::retry_after(self.headers.get(RETRY_AFTER)?.to_str().ok()?, now)
    }

    /// The beginning of the body as text of at most so many bytes, for lists of attempts. What is not
    /// UTF-8 or not printable is replaced: it is shown to people.
    #[must_use]
    pub fn snippet(&self, bytes_max: usize) -> String {
        let start = &self.body[..self.body.len().min(bytes_max)];
        let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
        let shown = String::from_utf8_lossy(start);
        // A character that the cut went through is left out.
        let shown = if self.body.len() > bytes_max { shown.trim_end_matches('\u{fffd}') } else { &shown };
        shown.chars().map(|c| if is_plain(c) { c } else { '\u{fffd}' }).collect()
    }
}

/// How far a call is; what is left of it when its time is over.
struct Progress {
    stage: Stage,
    timings: Timings,
}

/// Makes calls.
#[derive(Debug)]
pub struct Client {
    connector: Connector,
    pool: Arc<Pool>,
}

impl Client {
    /// Over a connector.
    #[must_use]
    pub fn new(connector: Connector) -> Client {
        Client { connector, pool: Arc::default() }
    }

    /// What opens connections: its guard and its names.
    #[must_use]
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Connections that wait for their next call.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.pool.idle()
    }

    /// Makes a call. Ends within its `total` deadline.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call(&self, call: &Call) -> Result<Answer, Failure> {
        let started = Instant::now();
        let mut progress = Progress { stage: Stage::Resolve, timings: Timings::default() };
        let answer = timeout(call.deadlines.total, self.run(call, &mut progress)).await;
        let mut timings = progress.timings;
        timings.total = started.elapsed();
        match answer.unwrap_or(Err(CallError::TimedOut(progress.stage))) {
            Ok(answer) => Ok(Answer { timings, ..answer }),
            Err(error) => Err(Failure { error, timings }),
        }
    }

    async fn run(&self, call: &Call, progress: &mut Progress) -> Result<Answer, CallError> {
        let target = self.connector.guard().check_url(&call.url)?;
        let mut request = Some(request(call, &target)?);
        let mut idle = self.pool.take(&target.destination);
        loop {
            let is_reused = idle.is_some();
            progress.timings.is_reused = is_reused;
            let mut connection = match idle.take() {
                Some(connection) => connection,
                None => self.open(&target.destination, call, progress).await?,
            };
            progress.stage = Stage::Headers;
            let started = Instant::now();
            let message = request.take().expect("it is there until it is sent, and put back where it was not");
            let sent = timeout(call.deadlines.headers, send(&mut connection, message)).await;
            progress.timings.first_byte = started.elapsed();
            match sent.map_err(|_| CallError::TimedOut(Stage::Headers))? {
                Ok(response) => return Ok(self.read(response, connection, &target, call, progress).await),
                // An idle connection was closed before anything was sent: that is no attempt yet.
                Err((_, Some(unsent))) if is_reused => request = Some(unsent),
                Err((error, _)) => return Err(error),
            }
        }
    }

    async fn open(
        &self,
        destination: &Destination,
        call: &Call,
        progress: &mut Progress,
    ) -> Result<Connection, CallError> {
        let Progress { stage, timings } = progress;
        let io = self.connector.connect(destination, &call.deadlines, stage, timings).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(OUTBOUND_HEADER_BYTES_MAX).max_headers(HEADERS_MAX);
        let (sender, driver) = builder.handshake(TokioIo::new(io)).await.map_err(|error| read_error(&error))?;
        // Ends when the sender is dropped or the receiver closes; what it has to say, the call hears.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Connection { sender, opened_at: Instant::now() })
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        connection: Connection,
        target: &Target,
        call: &Call,
        progress: &mut Progress,
    ) -> Answer {
        progress.stage = Stage::Body;
        let started = Instant::now();
        let (head, body) = response.into_parts();
        // Of the whole, too, at most what is left: the status is known, and must not be lost to its deadline.
        let timings = &progress.timings;
        let spent = timings.resolve + timings.connect + timings.tls + timings.first_byte;
        let left = call.deadlines.total.saturating_sub(spent);
        let left = left.saturating_sub(left / HOME_PARTS);
        let (body, body_end) = collect(body, call.deadlines.body.min(left)).await;
        progress.timings.body = started.elapsed();
        if body_end == BodyEnd::Whole {
            self.pool.give(&target.destination, connection);
        }
        let timings = progress.timings;
        Answer { status: head.status.as_u16(), headers: head.headers, body, body_end, timings }
    }
}

/// Of the time that is left when the headers are in, one part in so many is for coming home; the body has the rest.
const HOME_PARTS: u32 = 10;

type Sent = Result<Response<Incoming>, (CallError, Option<Request<Full<Bytes>>>)>;

async fn send(connection: &mut Connection, message: Request<Full<Bytes>>) -> Sent {
    if let Err(error) = connection.sender.ready().await {
        return Err((read_error(&error), Some(message)));
    }
    connection.sender.try_send_request(message).await.map_err(|mut error| {
        let unsent = error.take_message();
        (read_error(error.error()), unsent)
    })
}

async fn collect(mut body: Incoming, allowed: Duration) -> (Bytes, BodyEnd) {
    let mut kept = BytesMut::new();
    let end = timeout(allowed, async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return BodyEnd::Broken };
            let Some(data) = frame.data_ref() else { continue };
            let room = OUTBOUND_BODY_BYTES_MAX - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return BodyEnd::Cut;
            }
        }
        BodyEnd::Whole
    });
    let end = end.await.unwrap_or(BodyEnd::Late);
    (kept.freeze(), end)
}

fn request(call: &Call, target: &Target) -> Result<Request<Full<Bytes>>, CallError> {
    let ours = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, EXPECT, TE, TRAILER];
    if ours.iter().any(|name| call.headers.contains_key(name)) {
        return Err(CallError::Request("a header is set that frames the message or belongs to the connection"));
    }
    if call.body.len() > OUTBOUND_REQUEST_BYTES_MAX {
        return Err(CallError::Request("the body is larger than 8 MiB"));
    }
    let host = HeaderValue::from_str(&authority(&target.destination))
        .map_err(|_| CallError::Request("the host cannot stand in a header"))?;
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = target.path.parse().map_err(|_| CallError::Request("the path cannot stand in a request"))?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in &call.headers {
        headers.insert(name, value.clone());
    }
    headers.insert(HOST, host);
    Ok(request)
}

/// For the header `Host`: the port only where it is not the scheme's own (RFC 9110, 7.2).
fn authority(destination: &Destination) -> String {
    let host = match &destination.host {
        Host::Name(name) => name.clone(),
        Host::Address(address) if address.is_ipv6() => format!("[{address}]"),
        Host::Address(address) => address.to_string(),
    };
    match (destination.scheme, destination.port) {
        (Scheme::Http, 80) | (Scheme::Https, 443) => host,
        (_, port) => format!("{host}:{port}"),
    }
}

fn read_error(error: &hyper::Error) -> CallError {
    if error.is_parse_too_large() {
        return CallError::TooLarge;
    }
    if error.is_parse() {
        return CallError::Protocol(error.to_string());
    }
    // A receiver may refuse TLS only after its handshake, by an alert in place of the answer.
    let mut cause = error.source();
    while let Some(inner) = cause {
        let is_tls =
            |io: &std::io::Error| io.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
        if inner.downcast_ref().is_some_and(is_tls) {
            return CallError::Tls(inner.to_string());
        }
        cause = inner.source();
    }
    CallError::Reset
}

#[cfg(test)]
pub(super) mod tests;
