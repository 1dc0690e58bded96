//! The accept loop: from a listening socket to requests, over HTTP/1.1 and HTTP/2 with prior knowledge.
//!
//! Promise: no peer can hold a connection without using it, and never more than `connections_max`
//! are held at once. `axum::serve` sets no timer (hyper's header timeout is then inert) and caps
//! nothing, hence a loop of our own:
//!
//! 1. Take a permit, then accept. Without a permit nothing is accepted: excess connections wait in
//!    the kernel's backlog, which is bounded, and cost this process nothing.
//! 2. Hand the socket to a runtime: the current one ([`serve`]), or several in turn ([`serve_across`]),
//!    for one `current_thread` runtime per core.
//! 3. Serve it. Hyper cuts a header that takes longer than `header_read_timeout` (its clock also
//!    runs between two requests, so it is the keep-alive limit of HTTP/1.1 too). A connection that
//!    neither began nor ran a request for such a span is closed by us: that covers what hyper's
//!    clock does not, a peer that dawdles before its protocol is known and an idle HTTP/2 one.
//! 4. On shutdown: accept no more, let requests in flight finish, cut what is left after
//!    `drain_timeout`. The future ends once every connection of this loop is gone.
//!
//! Slow bodies are the business of whoever reads the body; peers that do not read their answers are
//! cut by the kernel (`TCP_USER_TIMEOUT`).

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// What a peer may take. Clones share the connection cap, so several loops can run on one listener.
#[derive(Clone, Debug)]
pub struct AcceptLimits {
    /// Connections held at once, over all loops that share these limits. The default is 4,096: about
    /// 20 KiB each, 80 MiB, and well below the usual limit of open files of a service.
    pub connections: Arc<Semaphore>,
    /// Time for a request's header, and for the next request to begin.
    pub header_read_timeout: Duration,
    /// Time that requests in flight get to finish after shutdown was asked for.
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

impl Default for AcceptLimits {
    fn default() -> Self {
        AcceptLimits {
            connections: Arc::new(Semaphore::new(4096)),
            header_read_timeout: Duration::from_secs(20),
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
}

/// Serves `listener` on the current runtime until `shutdown` says `true` (or its sender is gone) and
/// the last connection has ended. Several may run at once on clones of one listener, one per runtime.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: AcceptLimits, shutdown: watch::Receiver<bool>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    serve_across(listener, vec![Handle::current()], service, limits, shutdown).await;
}

/// As [`serve`], but gives the connections to `runtimes` in turn: an even spread, which several loops
/// racing on one listener do not give (the kernel wakes the last sleeper first).
///
/// # Panics
/// If `runtimes` is empty.
pub async fn serve_across<S, B>(
    listener: TcpListener,
    runtimes: Vec<Handle>,
    service: S,
    limits: AcceptLimits,
    mut shutdown: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    assert!(!runtimes.is_empty(), "a connection needs a runtime to live on");
    let builder = Arc::new(protocol_builder(&limits));
    // Every connection holds a sender; the receiver ends when the last of them is gone.
    let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
    let mut turn = 0;
    while let Some((stream, permit)) = next_connection(&listener, &limits, &mut shutdown).await {
        let connection = Connection {
            builder: builder.clone(),
            header_read_timeout: limits.header_read_timeout,
            drain_timeout: limits.drain_timeout,
            shutdown: shutdown.clone(),
            _permit: permit,
            _alive: alive.clone(),
        };
        let runtime = &runtimes[turn];
        turn = (turn + 1) % runtimes.len();
        if runtime.id() == Handle::current().id() {
            runtime.spawn(connection.run(stream, service.clone()));
        } else {
            spawn_elsewhere(runtime, stream, connection, service.clone());
        }
    }
    // Later connections are refused by the kernel rather than left waiting for nobody.
    drop(listener);
    drop(alive);
    let _ = all_gone.recv().await;
}

/// Moves the socket out of this runtime's poller and into another's.
fn spawn_elsewhere<S, B>(runtime: &Handle, stream: TcpStream, connection: Connection, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    match stream.into_std() {
        Ok(stream) => {
            runtime.spawn(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => connection.run(stream, service).await,
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
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return None,
            accepted = accept_with_permit(listener, limits) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                if let Err(error) = set_socket_options(&stream, limits) {
                    // The peer is already gone: nothing was promised to it.
                    tracing::debug!(%error, "could not set the options of a new connection");
                    continue;
                }
                return Some((stream, permit));
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
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = limits.connections.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

fn is_one_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn set_socket_options(stream: &TcpStream, limits: &AcceptLimits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(limits.write_stall_timeout))
}

fn protocol_builder(limits: &AcceptLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .keep_alive(true)
        .max_buf_size(limits.header_bytes_max.max(8192))
        .max_headers(limits.headers_max)
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.h2_pending_resets_max)
        // Batches of 8 MiB: with hyper's 64 KiB a body would stop for a round trip 128 times.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(limits.header_read_timeout)
        .keep_alive_timeout(limits.header_read_timeout);
    builder
}

/// What one connection carries beside its socket and its service.
struct Connection {
    builder: Arc<auto::Builder<TokioExecutor>>,
    header_read_timeout: Duration,
    drain_timeout: Duration,
    shutdown: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
    _alive: mpsc::Sender<Infallible>,
}

impl Connection {
    /// Serves one socket to its end.
    async fn run<S, B>(mut self, stream: TcpStream, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let activity = Arc::new(Activity::default());
        let counted = activity.clone();
        let watched = service_fn(move |request| {
            let running = Running::begin(counted.clone());
            let answer = service.call(request);
            async move {
                let answer = answer.await;
                answer.map(|answer| answer.map(|body| RunningBody { body, _running: running }))
            }
        });
        let mut served = pin!(self.builder.serve_connection(TokioIo::new(stream), watched));
        let mut begun_before = 0;
        let mut idle_spans = 0;
        loop {
            tokio::select! {
                biased;
                ended = served.as_mut() => return note_end(ended),
                _ = self.shutdown.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(self.header_read_timeout) => {
                    let begun = activity.begun.load(Ordering::Relaxed);
                    let idle = begun == begun_before && begun == activity.ended.load(Ordering::Relaxed);
                    begun_before = begun;
                    idle_spans = if idle { idle_spans + 1 } else { 0 };
                    match idle_spans {
                        0 => {}
                        1 => served.as_mut().graceful_shutdown(),
                        // It was asked to go and did not.
                        _ => return,
                    }
                }
            }
        }
        served.as_mut().graceful_shutdown();
        if let Ok(ended) = tokio::time::timeout(self.drain_timeout, served).await {
            note_end(ended);
        } else {
            tracing::warn!(drain_timeout = ?self.drain_timeout, "cut a connection whose requests did not finish in time");
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

/// Requests of one connection.
#[derive(Debug, Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Counts one request; dropped when it is answered to its last byte, or when its peer reset it.
struct Running(Arc<Activity>);

impl Running {
    fn begin(activity: Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Running(activity)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// An answer's body that keeps its request counted until it is written: a long stream is not idleness.
struct RunningBody<B> {
    body: B,
    _running: Running,
}

impl<B: Body + Unpin> Body for RunningBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// A server that answers "ok", at `/held` only after `release`.
    struct Server {
        addr: SocketAddr,
        stop: watch::Sender<bool>,
        arrived: Arc<Notify>,
        release: Arc<Notify>,
        served: JoinHandle<()>,
    }

    impl Server {
        async fn start(limits: AcceptLimits) -> Server {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let (stop, stopped) = watch::channel(false);
            let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (arrived_in, release_in) = (arrived.clone(), release.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (arrived, release) = (arrived_in.clone(), release_in.clone());
                async move {
                    if request.uri().path() == "/held" {
                        arrived.notify_one();
                        release.notified().await;
                    }
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
                }
            });
            let served = tokio::spawn(serve(listener, service, limits, stopped));
            Server { addr, stop, arrived, release, served }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.addr).await.unwrap()
        }
    }

    /// Reads one "ok" answer.
    async fn read_answer(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\nok") {
            let mut part = [0; 256];
            let count = stream.read(&mut part).await.unwrap();
            assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&part[..count]);
        }
        String::from_utf8(text).unwrap()
    }

    fn quick_limits() -> AcceptLimits {
        AcceptLimits { header_read_timeout: Duration::from_millis(200), ..AcceptLimits::default() }
    }

    async fn assert_closed_by_the_server(mut stream: TcpStream) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        // A reset is a close too: bytes of ours may lie unread on the other side.
        let _ = end.expect("the server kept a peer that says nothing");
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&rest));
    }

    #[tokio::test]
    async fn a_slow_header_is_cut_at_whatever_byte_it_stops() {
        let server = Server::start(quick_limits()).await;
        // Nothing at all, a byte that both protocols begin with, an unfinished header of either.
        for start in [&b""[..], b"P", b"GET / HTTP/1.1\r\nhost: x\r\n", b"PRI * HTTP/2.0\r\n\r\nSM"] {
            let mut stream = server.connect().await;
            stream.write_all(start).await.unwrap();
            assert_closed_by_the_server(stream).await;
        }
    }

    #[tokio::test]
    async fn a_connection_serves_many_requests_and_is_cut_when_idle() {
        let server = Server::start(quick_limits()).await;
        let mut stream = server.connect().await;
        for _ in 0..3 {
            stream.write_all(GET).await.unwrap();
            assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        }
        assert_closed_by_the_server(stream).await;
    }

    #[tokio::test]
    async fn connections_beyond_the_cap_wait_until_one_ends() {
        let limits = AcceptLimits::with_connections_max(1);
        let server = Server::start(limits.clone()).await;
        let mut first = server.connect().await;
        first.write_all(GET).await.unwrap();
        read_answer(&mut first).await;
        let mut second = server.connect().await;
        second.write_all(GET).await.unwrap();
        assert_eq!(limits.connections.available_permits(), 0);
        let mut byte = [0];
        assert!(second.try_read(&mut byte).is_err(), "the second was served above the cap");
        first.write_all(GET).await.unwrap();
        read_answer(&mut first).await;
        drop(first);
        assert!(read_answer(&mut second).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn shutdown_refuses_new_connections_and_finishes_requests_in_flight() {
        let server = Server::start(AcceptLimits::default()).await;
        let mut idle = server.connect().await;
        idle.write_all(GET).await.unwrap();
        read_answer(&mut idle).await;
        let mut busy = server.connect().await;
        busy.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        server.arrived.notified().await;
        server.stop.send(true).unwrap();
        // The idle one ends at once, which also shows that the shutdown was noticed.
        assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
        assert!(!server.served.is_finished());
        server.release.notify_one();
        assert!(read_answer(&mut busy).await.contains("connection: close"));
        server.served.await.unwrap();
        assert!(TcpStream::connect(server.addr).await.is_err());
    }

    #[tokio::test]
    async fn shutdown_cuts_what_does_not_finish_in_time() {
        let limits = AcceptLimits { drain_timeout: Duration::from_millis(30), ..AcceptLimits::default() };
        let server = Server::start(limits).await;
        let mut busy = server.connect().await;
        busy.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        server.arrived.notified().await;
        server.stop.send(true).unwrap();
        server.served.await.unwrap();
        assert_closed_by_the_server(busy).await;
    }

    #[tokio::test]
    async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
        let server = Server::start(AcceptLimits::default()).await;
        let io = TokioIo::new(server.connect().await);
        let (mut client, connection) =
            hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io).await.unwrap();
        let driven = tokio::spawn(connection);
        let request = || Request::get("http://x/").body(Full::default()).unwrap();
        let (one, two) = (client.send_request(request()), client.send_request(request()));
        for answer in [one.await.unwrap(), two.await.unwrap()] {
            assert_eq!(answer.version(), hyper::Version::HTTP_2);
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        }
        drop(client);
        driven.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_idle_http2_connection_is_asked_to_go() {
        let server = Server::start(quick_limits()).await;
        let io = TokioIo::new(server.connect().await);
        let (client, connection) =
            hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
        assert!(ended.is_ok(), "the server kept an idle HTTP/2 connection");
        drop(client);
    }

    #[test]
    fn connections_are_spread_over_the_runtimes_in_turn() {
        let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (main, other) = (build(), build());
        let handles = vec![main.handle().clone(), other.handle().clone()];
        main.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let (stop, stopped) = watch::channel(false);
            let service = service_fn(|_: Request<Incoming>| async {
                let name = format!("{:?} ok", Handle::current().id());
                Ok::<_, Infallible>(
                    Response::builder().header("runtime", name).body(Full::new(Bytes::from_static(b"ok"))).unwrap(),
                )
            });
            let served = tokio::spawn(serve_across(listener, handles, service, AcceptLimits::default(), stopped));
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..4 {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(GET).await.unwrap();
                let answer = read_answer(&mut stream).await;
                seen.extend(answer.lines().find(|line| line.starts_with("runtime")).map(str::to_owned));
            }
            assert_eq!(seen.len(), 2);
            stop.send(true).unwrap();
            served.await.unwrap();
        });
        other.shutdown_background();
    }
}
