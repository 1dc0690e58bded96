//! One connection from its first byte to its last.
//!
//! 1. With TLS, the handshake, in bounded time. Then who the peer is ([`Peer`]), once for all requests.
//! 2. HTTP/1.1 or HTTP/2: by ALPN, or by the first four bytes. Until they come the connection is parked.
//! 3. **Parked** means: no HTTP state at all, only the socket and its place in the poller. Hyper's
//!    state with its buffers is some 25 KiB; it is made when bytes arrive (two allocations of 8 KiB) and
//!    dropped when nothing was said for `park_after`. So ten thousand idle connections are cheap,
//!    and busy ones never notice.
//! 4. A connection that says nothing for `header_read_timeout` is closed, whatever it stopped at; so
//!    is one that does not take its answer, and a peer of HTTP/2 that takes back most of its requests.
//! 5. When the server leaves: HTTP/2 is told by GOAWAY. HTTP/1.1 has no such word before an answer, so
//!    its next answer says `Connection: close`, and a connection without one is closed only after
//!    `idle_grace`: a request that is on its way at this moment is answered, not met by a close.
//!    What still runs then may finish within `drain_timeout`.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::Response;
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::Instant;

use super::super::peer::Peer;
use super::super::tls::TlsFront;
use super::activity::{Activity, Finding, Round, Watched};
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
    /// Silence after which a connection of HTTP/1.1 is parked.
    pub park_after: Duration,
    /// From the server's leave to the close of connections without requests.
    pub idle_grace: Duration,
    /// Then, for what runs.
    pub drain_timeout: Duration,
}

/// What HTTP/2 begins with; no method of HTTP/1.1 is called so.
const HTTP2_BEGINS: &[u8; 4] = b"PRI ";

/// How HTTP is spoken.
#[derive(Debug)]
pub struct Protocols {
    /// HTTP/1.1.
    pub http1: http1::Builder,
    /// HTTP/2.
    pub http2: http2::Builder<TokioExecutor>,
}

/// What one connection carries beside its socket and its service.
pub struct Connection {
    /// How HTTP is spoken.
    pub protocols: Arc<Protocols>,
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
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
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
        let activity = Arc::new(Activity::default());
        let watched = Watched { service: make(Arc::new(peer)), activity: Arc::clone(&activity) };
        let socket = Socket::new(transport, Arc::clone(&activity), self.alive.clone());
        match self.speaks_http2(&socket).await {
            Some(true) => self.run_http2(socket, watched).await,
            Some(false) => self.run_http1(socket, watched).await,
            None => {}
        }
    }

    /// Step 2. `None` when nothing that tells came in time, or the peer vanished.
    async fn speaks_http2(&mut self, socket: &Socket) -> Option<bool> {
        if let Some(is_http2) = socket.agreed_on_http2() {
            return Some(is_http2);
        }
        let telling = async {
            let mut pause = Duration::from_millis(1);
            loop {
                let mut first = [0; HTTP2_BEGINS.len()];
                let count = socket.peek(&mut first).await.ok()?;
                match first[..count] {
                    // Its end is for whoever speaks HTTP/1.1 to find.
                    [] => return Some(false),
                    _ if first == *HTTP2_BEGINS => return Some(true),
                    _ if !HTTP2_BEGINS.starts_with(&first[..count]) => return Some(false),
                    // Bytes that are there make no noise a second time: look again, ever less often.
                    _ => tokio::time::sleep(pause).await,
                }
                pause = (pause * 2).min(Duration::from_millis(500));
            }
        };
        let is_over = grace_is_over(&mut self.shutdown, self.spans.idle_grace);
        tokio::select! {
            biased;
            told = tokio::time::timeout(self.spans.header_read_timeout, telling) => told.ok().flatten(),
            () = is_over => None,
        }
    }

    /// Steps 3 to 5 for HTTP/1.1.
    async fn run_http1<S, B>(&mut self, mut socket: Socket, watched: Watched<S>)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        B: Body + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut until = Instant::now() + self.spans.header_read_timeout;
        let mut is_leaving = false;
        loop {
            tokio::select! {
                biased;
                ready = socket.readable() => if ready.is_err() { return },
                () = left(&mut self.shutdown), if !is_leaving => {
                    is_leaving = true;
                    watched.activity.leave();
                    until = Instant::now() + self.spans.idle_grace;
                    continue;
                }
                () = tokio::time::sleep_until(until) => return socket.end().await,
            }
            let io = TokioIo::new(socket);
            // In a box, which is gone while the connection is parked.
            let served = Box::new(self.protocols.http1.serve_connection(io, &watched));
            match self.serve_http1(served, &watched.activity, is_leaving.then_some(until)).await {
                Some(idle) => socket = idle,
                None => return,
            }
            until = Instant::now() + self.spans.header_read_timeout.saturating_sub(self.spans.park_after);
        }
    }

    /// Serves until the connection ends (`None`) or says nothing any more. `leave_at`: the server
    /// leaves, and idle connections are closed then.
    async fn serve_http1<S, B>(
        &mut self,
        mut served: Box<http1::Connection<TokioIo<Socket>, &Watched<S>>>,
        activity: &Activity,
        mut leave_at: Option<Instant>,
    ) -> Option<Socket>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        B: Body + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut round = Round::default();
        let mut next_round = Instant::now() + self.spans.header_read_timeout;
        loop {
            // After the server's leave nothing is parked: there is only one thing left to wait for.
            let next_look = leave_at.unwrap_or_else(|| Instant::now() + self.spans.park_after);
            let begun = activity.begun();
            // Ends with the connection, or where it is handed over in the middle of an answer.
            let ended = poll_fn(|context| match Pin::new(served.as_mut()).poll(context) {
                Poll::Pending if activity.is_handing_over() => Poll::Ready(Ok(())),
                polled => polled,
            });
            tokio::select! {
                biased;
                ended = ended => {
                    let is_well = ended.is_ok();
                    note_end(ended);
                    if let Some(upgrade) = activity.take_upgrade().filter(|_| is_well) {
                        let parts = served.into_parts();
                        let mut socket = parts.io.into_inner();
                        socket.put_back(parts.read_buf);
                        if let Some(serving) = upgrade.begin(socket, self.shutdown.clone()) {
                            serving.await;
                        }
                    }
                    return None;
                }
                () = left(&mut self.shutdown), if leave_at.is_none() => {
                    activity.leave();
                    leave_at = Some(Instant::now() + self.spans.idle_grace);
                }
                () = tokio::time::sleep_until(next_look) => {
                    if leave_at.is_some() {
                        activity.close();
                        Pin::new(served.as_mut()).graceful_shutdown();
                        self.drain(served).await;
                        return None;
                    }
                    if activity.is_silent() && activity.begun() == begun {
                        let parts = served.into_parts();
                        let mut socket = parts.io.into_inner();
                        socket.put_back(parts.read_buf);
                        return Some(socket);
                    }
                    if Instant::now() >= next_round {
                        next_round = Instant::now() + self.spans.header_read_timeout;
                        if activity.look(&mut round) == Finding::Useless {
                            return None;
                        }
                    }
                }
            }
        }
    }

    /// Steps 4 and 5 for HTTP/2.
    async fn run_http2<S, B>(&mut self, socket: Socket, watched: Watched<S>)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let activity = Arc::clone(&watched.activity);
        activity.note_http2();
        let io = TokioIo::new(socket);
        // In a box: the state of HTTP/2 would lie in every connection of HTTP/1.1 too.
        let mut served = Box::pin(self.protocols.http2.serve_connection(io, watched));
        let mut round = Round::default();
        loop {
            tokio::select! {
                biased;
                ended = served.as_mut() => return note_end(ended),
                () = left(&mut self.shutdown) => break,
                () = activity.abused() => {
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
        activity.close();
        served.as_mut().graceful_shutdown();
        self.drain(served).await;
    }

    /// What still runs may finish.
    async fn drain(&self, served: impl Future<Output = hyper::Result<()>>) {
        let drain_timeout = self.spans.drain_timeout;
        match tokio::time::timeout(drain_timeout, pin!(served)).await {
            Ok(ended) => note_end(ended),
            Err(_) => tracing::warn!(?drain_timeout, "cut a connection whose requests did not finish in time"),
        }
    }

    /// Step 1. `None` when the peer dawdles, vanishes, or speaks no TLS of ours.
    async fn shake_hands(&mut self, front: &TlsFront, stream: TcpStream, peer: &mut Peer) -> Option<Transport> {
        let is_over = grace_is_over(&mut self.shutdown, self.spans.idle_grace);
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
fn note_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Ends when the server has left and the grace for those who had said nothing is over.
async fn grace_is_over(shutdown: &mut watch::Receiver<bool>, idle_grace: Duration) {
    left(shutdown).await;
    tokio::time::sleep(idle_grace).await;
}

/// Ends when the server leaves.
async fn left(shutdown: &mut watch::Receiver<bool>) {
    // A sender that is gone has no server any more.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
