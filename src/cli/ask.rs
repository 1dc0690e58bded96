//! One GET with a stopwatch: name, connection, TLS, first byte, body. For `probe` and `budget`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper::{HeaderMap, Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::trust::{Target, TrustArgs, read_key};

/// Greatest answer taken.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom to ask, and as whom.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// The server, as http://127.0.0.1:7070; `probe` asks for the path that it names.
    pub url: String,
    /// File with an API key, one line.
    #[arg(long, env = "MUNIM_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// What to believe about the server.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// One JSON document instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The arguments cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The server could not be asked.
    #[error("could not ask {url}: {cause}")]
    Unreachable {
        /// Whom.
        url: String,
        /// Why.
        cause: String,
    },
}

/// An answer with the client's side of its time.
#[derive(Clone, Debug)]
pub struct Asked {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
    /// From the name to its address.
    pub dns: Duration,
    /// From the address to a connection.
    pub connect: Duration,
    /// Until it is secret; `None` over plain HTTP.
    pub tls: Option<Duration>,
    /// From the request to the answer's head.
    pub first_byte: Duration,
    /// From there to the end.
    pub body_time: Duration,
}

/// Somebody who can be asked again and again.
pub struct Asker {
    runtime: tokio::runtime::Runtime,
    url: String,
    target: Target,
    bearer: Option<String>,
    /// Path and query of the URL.
    pub path: String,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Asker {
    /// Reads address, key and certificates.
    ///
    /// # Errors
    /// [`AskError::Usage`].
    pub fn new(args: &AskArgs) -> Result<Asker, AskError> {
        let url = &args.url;
        let uri: Uri = url.parse().map_err(|_| AskError::Usage(format!("{url} is no address")))?;
        let bearer = args.key_file.as_deref().map(read_key).transpose().map_err(AskError::Usage)?;
        let target = Target::read(url, &uri, &args.trust, bearer.is_some()).map_err(AskError::Usage)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Asker {
            runtime: runtime.map_err(|error| AskError::Usage(format!("no runtime: {error}")))?,
            url: url.clone(),
            target,
            bearer,
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }

    /// Asks for a path over a new connection.
    ///
    /// # Errors
    /// [`AskError::Unreachable`].
    pub fn get(&self, path: &str) -> Result<Asked, AskError> {
        let exchange = async { tokio::time::timeout(PATIENCE, self.exchange(path)).await };
        let done = self.runtime.block_on(exchange).unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        done.map_err(|cause| AskError::Unreachable { url: self.url.clone(), cause })
    }

    async fn exchange(&self, path: &str) -> Result<Asked, String> {
        let started = Instant::now();
        let found = tokio::net::lookup_host((self.target.host.as_str(), self.target.port)).await;
        let address: SocketAddr = found.map_err(|error| error.to_string())?.next().ok_or("the name has no address")?;
        let dns = started.elapsed();
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let connect = started.elapsed().saturating_sub(dns);
        let mut asked = match &self.target.tls {
            None => self.talk(stream, path).await?,
            Some((connector, name)) => {
                let before = Instant::now();
                let stream = connector.connect(name.clone(), stream).await.map_err(|error| error.to_string())?;
                let tls = before.elapsed();
                let mut asked = self.talk(stream, path).await?;
                asked.tls = Some(tls);
                asked
            }
        };
        (asked.dns, asked.connect) = (dns, connect);
        Ok(asked)
    }

    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Result<Asked, String> {
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let mut request = Request::get(path)
            .header(header::HOST, self.target.authority())
            .header(header::USER_AGENT, concat!("munim/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close");
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let talking = async {
            let started = Instant::now();
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let first_byte = started.elapsed();
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
            let body_time = started.elapsed().saturating_sub(first_byte);
            Ok(Asked {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
                dns: Duration::ZERO,
                connect: Duration::ZERO,
                tls: None,
                first_byte,
                body_time,
            })
        };
        // The connection is driven while the exchange runs; when it ends first, the exchange says why.
        let (mut talking, mut connection) = (std::pin::pin!(talking), std::pin::pin!(connection));
        tokio::select! {
            done = &mut talking => done,
            _ = &mut connection => talking.await,
        }
    }
}
