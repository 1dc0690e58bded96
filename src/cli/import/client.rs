//! A small blocking HTTP/1.1 client: one kept connection, patient with a server that is away or busy.
//!
//! 1. A request goes out on the open connection, or on a new one.
//! 2. No connection, a broken one, no answer in time, 429, 503, a key in flight, or a problem that calls
//!    itself retryable: wait and send **the same bytes under the same key** again, until the patience is used up.
//! 3. A certificate that is not believed ends it at once. Any other answer is the caller's.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::Error as TlsError;

use super::super::trust::{Target, TrustArgs, read_key};

/// Greatest answer taken: 5,000 results of about 500 bytes, with room.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long to go on after the first failure of a request, and how to wait in between.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The first wait; each following one is twice as long.
    pub first_wait: Duration,
    /// No single wait is longer, whatever `Retry-After` says.
    pub wait_max: Duration,
    /// Then the server counts as unreachable.
    pub give_up_after: Duration,
    /// For the answer to one attempt.
    pub answer_within: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address or the key file cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Whoever answers there is not who was to be asked: that is the same at every try.
    #[error(
        "could not believe {url}: {cause}; --ca-file names a certificate to believe, such as DATA/tls/cert.pem of the server"
    )]
    Untrusted {
        /// Whom.
        url: String,
        /// What is wrong with its certificate.
        cause: String,
    },
    /// The patience is used up.
    #[error("could not reach {url} after {attempts} attempts: {last}")]
    Unreachable {
        /// Whom.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong the last time.
        last: String,
    },
}

/// An answer that is not worth a retry.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Whether the server remembered it from an earlier request with this key.
    pub is_replayed: bool,
    /// As it came.
    pub body: Bytes,
}

/// The parts of an RFC 9457 problem that matter here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Stable code.
    pub code: String,
    /// For a person.
    pub detail: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl Answer {
    /// The body as a problem; empty fields where it is none.
    #[must_use]
    pub fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A client of one server.
pub struct Client {
    url: String,
    target: Target,
    path_prefix: String,
    bearer: Option<String>,
    patience: Patience,
    runtime: tokio::runtime::Runtime,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What is sent: method, path below the base address, and for a POST its key and body.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// From `/v1/…`.
    pub path: &'a str,
    /// `None` for a GET; an empty key is none.
    pub post: Option<(&'a str, &'a Bytes)>,
}

enum Attempt {
    Answered(Answer),
    Untrusted(String),
    TryAgain { why: String, after: Option<Duration> },
}

impl Client {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Usage`] for an address that is not `http[s]://host[:port]`, an unusable key file, or
    /// one that would be shown to whoever listens.
    pub fn new(
        url: &str,
        key_file: Option<&Path>,
        trust: &TrustArgs,
        patience: Patience,
    ) -> Result<Client, ClientError> {
        let uri: Uri = url.parse().map_err(|_| ClientError::Usage(format!("{url} is no URL")))?;
        if uri.query().is_some() {
            return Err(ClientError::Usage(format!("{url} is not of the form http[s]://host:port")));
        }
        let bearer = key_file.map(read_key).transpose().map_err(ClientError::Usage)?;
        let target = Target::read(url, &uri, trust, bearer.is_some()).map_err(ClientError::Usage)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ClientError::Usage(format!("could not start the client: {error}")))?;
        Ok(Client {
            url: url.to_owned(),
            target,
            path_prefix: uri.path().trim_end_matches('/').to_owned(),
            bearer,
            patience,
            runtime,
            connection: None,
        })
    }

    /// Sends a request until there is an answer.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the patience is used up, [`ClientError::Untrusted`].
    pub fn call(&mut self, call: Call<'_>) -> Result<Answer, ClientError> {
        let started = Instant::now();
        let mut wait = self.patience.first_wait;
        for attempts in 1.. {
            let (why, after) = match self.attempt(call) {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Untrusted(cause) => return Err(ClientError::Untrusted { url: self.url.clone(), cause }),
                Attempt::TryAgain { why, after } => (why, after),
            };
            if started.elapsed() >= self.patience.give_up_after {
                return Err(ClientError::Unreachable { url: self.url.clone(), attempts, last: why });
            }
            let this_wait = after.unwrap_or(wait).min(self.patience.wait_max);
            // The timer must be made where the runtime is, hence inside the block.
            self.runtime.block_on(async { tokio::time::sleep(this_wait).await });
            wait = (wait * 2).min(self.patience.wait_max);
        }
        unreachable!("the loop ends by an answer or by the patience")
    }

    fn attempt(&mut self, call: Call<'_>) -> Attempt {
        let mut connection = self.connection.take();
        let request = self.request(call);
        let exchange = async {
            let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
                Some(sender) => sender,
                None => connect(&self.target).await?,
            };
            let request = request.map_err(broken)?;
            sender.ready().await.map_err(broken)?;
            let response = sender.send_request(request).await.map_err(broken)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(broken)?;
            Ok::<_, Attempt>((sender, parts, body.to_bytes()))
        };
        let answer_within = self.patience.answer_within;
        let outcome = self.runtime.block_on(async { tokio::time::timeout(answer_within, exchange).await });
        let (sender, parts, body) = match outcome {
            Ok(Ok(done)) => done,
            Ok(Err(failed)) => return failed,
            Err(_) => return Attempt::TryAgain { why: format!("no answer in {answer_within:?}"), after: None },
        };
        self.connection = Some(sender);
        let is_replayed = parts.headers.get("idempotent-replayed").is_some_and(|value| value == "true");
        let answer = Answer { status: parts.status.as_u16(), is_replayed, body };
        if !is_worth_a_retry(&answer) {
            return Attempt::Answered(answer);
        }
        let after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let why = format!("{} {}", parts.status, answer.problem().code);
        Attempt::TryAgain { why, after: after.map(Duration::from_secs) }
    }

    fn request(&self, call: Call<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .uri(format!("{}{}", self.path_prefix, call.path))
            .header(header::HOST, self.target.authority())
            .header(header::USER_AGENT, concat!("munim-import/", env!("CARGO_PKG_VERSION")));
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let Some((key, body)) = call.post else {
            return request.method(Method::GET).body(Full::default());
        };
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        request
            .method(Method::POST)
            .header(header::CONTENT_TYPE, "application/json")
            .header("prefer", "return=minimal")
            .body(Full::new(body.clone()))
    }
}

async fn connect(target: &Target) -> Result<SendRequest<Full<Bytes>>, Attempt> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    match &target.tls {
        None => talk(stream).await,
        Some((connector, name)) => talk(connector.connect(name.clone(), stream).await.map_err(unshaken)?).await,
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, Attempt> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its error reaches the sender as well, which reports it.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

/// What may be whole at the next try.
fn broken(error: impl std::fmt::Display) -> Attempt {
    Attempt::TryAgain { why: error.to_string(), after: None }
}

/// A handshake that failed: for a certificate of somebody else's, or because the connection broke.
fn unshaken(error: std::io::Error) -> Attempt {
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(TlsError::InvalidCertificate(_)) => Attempt::Untrusted(error.to_string()),
        _ => broken(error),
    }
}

fn is_worth_a_retry(answer: &Answer) -> bool {
    match answer.status {
        408 | 429 | 502 | 503 | 504 => true,
        409 => answer.problem().code == "idempotency_key_in_flight",
        500.. => answer.problem().retryable,
        _ => false,
    }
}
