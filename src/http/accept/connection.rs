//! One connection from its first byte to its last.
//!
//! 1. With TLS, the handshake, in bounded time. Then who the peer is ([`Peer`]), once for all requests.
//! 2. Hyper serves it. A watchman looks every `header_read_timeout`: a connection that neither began
//!    nor ran a request for such a span is asked to go, then cut (that covers what hyper's own clock
//!    does not: a peer that dawdles before its protocol is known, and an idle HTTP/2 one); so is one
//!    that does not take its answer. A peer of HTTP/2 that takes back most of its requests is cut at once.
//! 3. When the server leaves: HTTP/2 is told by GOAWAY. HTTP/1.1 has no such word before an answer, so
//!    its next answer says `Connection: close`, and a connection without one is closed only after
//!    `idle_grace`: a request that is on its way at this moment is answered, not met by a close.
//! 4. What still runs then may finish within `drain_timeout`.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::Response;
use hyper::Version;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::super::peer::Peer;
use super::super::tls::TlsFront;
use super::activity::{Activity, Finding, Round, Running, RunningBody};
use super::addresses::Place;
use super::socket::{Socket, Transport};

/// Something of a connection that is not gone yet; the loop's receiver ends with the last of them.
pub type Alive = mpsc::Sender<Infallible>;

/// How long a connection may take for each part of its life.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// TLS, from the accept to the last byte of the handshake.
    pub handshake_timeout: Duration,
    /// A header; also the watchman's round.
    pub header_read_timeout: Duration,
    /// From the server's leave to the close of connections without requests.
    pub idle_grace: Duration,
    /// Then, for what runs.
    pub drain_timeout: Duration,
}

/// What one connection carries beside its socket and its service.
pub struct Connection {
    /// HTTP/1.1 or HTTP/2, by the first bytes.
    pub builder: Arc<auto::Builder<TokioExecutor>>,
    /// TLS, where the listener has it.
    pub tls: Option<Arc<TlsFront>>,
    /// Where the peer is.
    pub address: SocketAddr,
    /// How long it may take.
    pub spans: Spans,
    /// Says `true` when the server leaves.
    pub shutdown: watch::Receiver<bool>,
    /// Its place among all, and among those of its address.
    pub _places: (OwnedSemaphorePermit, Place),
    /// Keeps the loop until it is gone.
    pub alive: Alive,
}

impl Connection {
    /// Serves one socket to its end; `make` gives the service for a peer.
    pub async fn run<M, S, B>(mut self, stream: TcpStream, make: M)
    where
        M: Fn(Arc<Peer>) -> S,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut peer = Peer::plain(self.address);
        let transport = match self.tls.take() {
            None => Transport::Plain(stream),
            // In a box: its state would lie in every plain connection too.
            Some(front) => match Box::pin(self.shake_hands(&front, stream, &mut peer)).await {
                Some(transport) => transport,
                None => return,
            },
        };
        let service = make(Arc::new(peer));
        let activity = Arc::new(Activity::default());
        let socket = Socket::new(transport, Arc::clone(&activity), self.alive.clone());
        let counted = Arc::clone(&activity);
        let watched = service_fn(move |request: Request<Incoming>| {
            if request.version() == Version::HTTP_2 {
                counted.note_http2();
            }
            let running = Running::begin(&counted);
            let answer = service.call(request);
            async move {
                let mut answer = answer.await?;
                if running.is_leaving() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                let running = running.answered();
                Ok::<_, Infallible>(answer.map(|body| RunningBody { body, _running: running }))
            }
        });
        let mut served = pin!(self.builder.serve_connection(TokioIo::new(socket), watched));
        let mut round = Round::default();
        loop {
            tokio::select! {
                biased;
                ended = served.as_mut() => return note_end(ended),
                _ = self.shutdown.wait_for(|stop| *stop) => break,
                () = activity.abused.notified() => {
                    tracing::info!(address = %self.address, "cut a connection that takes back most of its requests");
                    return;
                }
                () = tokio::time::sleep(self.spans.header_read_timeout) => match activity.look(&mut round) {
                    Finding::Fine => {}
                    Finding::Idle => {
                        activity.close();
                        served.as_mut().graceful_shutdown();
                    }
                    Finding::Useless => return,
                },
            }
        }
        activity.leave();
        if !activity.is_http2()
            && let Ok(ended) = tokio::time::timeout(self.spans.idle_grace, served.as_mut()).await
        {
            return note_end(ended);
        }
        activity.close();
        served.as_mut().graceful_shutdown();
        if let Ok(ended) = tokio::time::timeout(self.spans.drain_timeout, served).await {
            note_end(ended);
        } else {
            let drain_timeout = self.spans.drain_timeout;
            tracing::warn!(?drain_timeout, "cut a connection whose requests did not finish in time");
        }
    }

    /// Step 1. `None` when the peer dawdles, vanishes, or speaks no TLS of ours.
    async fn shake_hands(&mut self, front: &TlsFront, stream: TcpStream, peer: &mut Peer) -> Option<Transport> {
        let idle_grace = self.spans.idle_grace;
        let is_over = async {
            let _ = self.shutdown.wait_for(|stop| *stop).await;
            tokio::time::sleep(idle_grace).await;
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.spans.handshake_timeout, front.accept(stream)) => shaken,
            () = is_over => return None,
        };
        match shaken {
            Ok(Ok((stream, certificate))) => {
                peer.is_tls = true;
                peer.certificate = certificate;
                Some(Transport::Tls(Box::new(stream)))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => None,
        }
    }
}

/// A connection ends with an error when the peer breaks the protocol, dawdles or vanishes: all in a
/// day's work, and nobody here can act on it.
fn note_end(ended: Result<(), Box<dyn StdError + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
}
