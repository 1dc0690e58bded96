//! The accept loop: from a listening socket to requests, over HTTP/1.1 and HTTP/2, plain or by TLS.
//!
//! Promise: no peer can hold a connection without using it, and never more than `connections_max`
//! are held at once, nor more by one address of the network than its share. `axum::serve` sets no
//! timer (hyper's header timeout is then inert) and caps nothing, hence a loop of our own:
//!
//! 1. Take a permit, then accept. Without a permit nothing is accepted: excess connections wait in
//!    the kernel's backlog, which is bounded, and cost this process nothing.
//! 2. Hand the socket to a runtime: the current one ([`serve`]), or several in turn ([`serve_across`]),
//!    for one `current_thread` runtime per core.
//! 3. Serve it (`connection.rs`, which counts by `activity.rs` and closes by `socket.rs`).
//! 4. On shutdown: accept no more. A listening socket that others hold too (systemd, a successor)
//!    goes on queueing connections in the kernel. The future ends once every connection of this loop
//!    is gone.
//!
//! Slow bodies are the business of whoever reads the body; peers that do not read their answers are
//! cut by the kernel (`TCP_USER_TIMEOUT`) when they take nothing, by the watchman when they take little.

mod activity;
mod addresses;
mod connection;
pub mod socket;
pub mod upgrade;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::peer::Peer;
use super::tls::TlsFront;
use addresses::Addresses;
use connection::{Connection, Protocols, Spans};

/// What a peer may take. Clones share the caps, so several loops can run beside each other.
#[derive(Clone, Debug)]
pub struct AcceptLimits {
    /// Connections held at once, over all loops that share these limits. The default is 4,096: about
    /// 20 KiB each, 80 MiB, and well below the usual limit of open files of a service.
    pub connections: Arc<Semaphore>,
    /// Connections of one address of the network; loopback is not counted.
    pub addresses: Addresses,
    /// Time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Time for a request's header, and for the next request to begin.
    pub header_read_timeout: Duration,
    /// Silence after which a connection of HTTP/1.1 gives up its buffers.
    pub park_after: Duration,
    /// Time between shutdown and the close of connections that have no request: what is on its way
    /// to us at that moment arrives in it.
    pub idle_grace: Duration,
    /// Time that requests in flight get to finish after that.
    pub drain_timeout: Duration,
    /// Time that bytes of ours may stay unacknowledged before the kernel drops the connection.
    pub write_stall_timeout: Duration,
    /// Header bytes of an HTTP/1.1 request, and hyper's read buffer: at least 8,192.
    pub header_bytes_max: usize,
    /// Headers of an HTTP/1.1 request.
    pub headers_max: usize,
    /// HTTP/2 requests in flight on one connection.
    pub h2_streams_max: u32,
    /// HTTP/2 streams that a peer opened and reset before we took them (rapid reset).
    pub h2_pending_resets_max: usize,
}

/// Connections of one address when nothing else is said: a branch's whole network behind one router.
pub const ADDRESS_CONNECTIONS_MAX: u32 = 256;

impl Default for AcceptLimits {
    fn default() -> Self {
        AcceptLimits {
            connections: Arc::new(Semaphore::new(4096)),
            addresses: Addresses::each_at_most(ADDRESS_CONNECTIONS_MAX),
            handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(20),
            // An active peer of a branch speaks more often, and a timer of four a second costs nothing.
            park_after: Duration::from_millis(250),
            // A round trip over a bad mobile link, with room.
            idle_grace: Duration::from_millis(200),
            drain_timeout: Duration::from_secs(10),
            write_stall_timeout: Duration::from_secs(30),
            // Our longest legal header set (key 255, traceparent, bearer token, path with ids) is under 2 KiB.
            header_bytes_max: 16 * 1024,
            headers_max: 64,
            h2_streams_max: 256,
            h2_pending_resets_max: 20,
        }
    }
}

impl AcceptLimits {
    /// The defaults with another connection cap.
    #[must_use]
    pub fn with_connections_max(connections_max: usize) -> Self {
        AcceptLimits { connections: Arc::new(Semaphore::new(connections_max)), ..AcceptLimits::default() }
    }

    /// With another cap for each address of the network.
    #[must_use]
    pub fn with_address_connections_max(mut self, each_max: u32) -> Self {
        self.addresses = Addresses::each_at_most(each_max);
        self
    }

    fn spans(&self) -> Spans {
        Spans {
            handshake_timeout: self.handshake_timeout,
            header_read_timeout: self.header_read_timeout,
            park_after: self.park_after,
            idle_grace: self.idle_grace,
            drain_timeout: self.drain_timeout,
        }
    }
}

/// A listening socket and what is spoken on it.
#[derive(Debug)]
pub struct Listener {
    /// Where connections come from.
    pub socket: TcpListener,
    /// TLS, or plain HTTP.
    pub tls: Option<Arc<TlsFront>>,
}

/// Serves `listener` on the current runtime, plain, until `shutdown` says `true` (or its sender is
/// gone) and the last connection has ended.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: AcceptLimits, shutdown: watch::Receiver<bool>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let listener = Listener { socket: listener, tls: None };
    serve_across(listener, vec![Handle::current()], move |_| service.clone(), limits, shutdown).await;
}

/// As [`serve`], but knows TLS, asks `make` for the service of each peer, and gives the connections to
/// `runtimes` in turn: an even spread, which several loops racing on one listener do not give (the
/// kernel wakes the last sleeper first).
///
/// # Panics
/// If `runtimes` is empty.
pub async fn serve_across<M, S, B>(
    listener: Listener,
    runtimes: Vec<Handle>,
    make: M,
    limits: AcceptLimits,
    mut shutdown: watch::Receiver<bool>,
) where
    M: Fn(Arc<Peer>) -> S + Clone + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    assert!(!runtimes.is_empty(), "a connection needs a runtime to live on");
    let protocols = Arc::new(protocols(&limits));
    // Every connection holds a sender; the receiver ends when the last of them is gone.
    let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
    let mut turn = 0;
    while let Some((stream, address, permit)) = next_connection(&listener.socket, &limits, &mut shutdown).await {
        let Some(place) = limits.addresses.take(address.ip()) else {
            tracing::debug!(address = %address.ip(), "closed a connection: its address holds its share");
            continue;
        };
        let connection = Connection {
            protocols: Arc::clone(&protocols),
            tls: listener.tls.clone(),
            address,
            spans: limits.spans(),
            shutdown: shutdown.clone(),
            _places: (permit, place),
            alive: alive.clone(),
        };
        let runtime = &runtimes[turn];
        turn = (turn + 1) % runtimes.len();
        if runtime.id() == Handle::current().id() {
            runtime.spawn(connection.run(stream, make.clone()));
        } else {
            spawn_elsewhere(runtime, stream, connection, make.clone());
        }
    }
    // Later connections are refused by the kernel rather than left waiting for nobody, unless
    // somebody else holds the socket too: then they wait for him.
    drop(listener);
    drop(alive);
    let _ = all_gone.recv().await;
}

/// Moves the socket out of this runtime's poller and into another's.
fn spawn_elsewhere<M, S, B>(runtime: &Handle, stream: TcpStream, connection: Connection, make: M)
where
    M: Fn(Arc<Peer>) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    match stream.into_std() {
        Ok(stream) => {
            runtime.spawn(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => connection.run(stream, make).await,
                    Err(error) => tracing::warn!(%error, "could not register a connection with its runtime"),
                }
            });
        }
        Err(error) => tracing::warn!(%error, "could not hand a connection to its runtime"),
    }
}

/// The next socket with its permit, or `None` once shutdown is asked for.
async fn next_connection(
    listener: &TcpListener,
    limits: &AcceptLimits,
    shutdown: &mut watch::Receiver<bool>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return None,
            accepted = accept_with_permit(listener, limits) => accepted,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                if let Err(error) = set_socket_options(&stream, limits) {
                    // The peer is already gone: nothing was promised to it.
                    tracing::debug!(%error, "could not set the options of a new connection");
                    continue;
                }
                return Some((stream, address, permit));
            }
            Err(error) if is_one_peers_fault(&error) => {}
            Err(error) => {
                // Out of files or memory: it passes when connections end, so wait instead of spinning.
                tracing::warn!(%error, "could not accept a connection");
                tokio::select! {
                    _ = shutdown.wait_for(|stop| *stop) => return None,
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
        }
    }
}

async fn accept_with_permit(
    listener: &TcpListener,
    limits: &AcceptLimits,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = limits.connections.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}

fn is_one_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn set_socket_options(stream: &TcpStream, limits: &AcceptLimits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(limits.write_stall_timeout))
}

fn protocols(limits: &AcceptLimits) -> Protocols {
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .keep_alive(true)
        .max_buf_size(limits.header_bytes_max.max(8192))
        .max_headers(limits.headers_max);
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.h2_pending_resets_max)
        // Batches of 8 MiB: with hyper's 64 KiB a body would stop for a round trip 128 times.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(limits.header_read_timeout)
        .keep_alive_timeout(limits.header_read_timeout);
    Protocols { http1, http2 }
}

#[cfg(test)]
mod tests;
