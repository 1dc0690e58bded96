//! The accept loop against real sockets.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

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
        let listener = Listener { socket: TcpListener::bind("127.0.0.1:0").await.unwrap(), tls: None };
        let addr = listener.socket.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let service = service_fn(|_: Request<Incoming>| async {
            let name = format!("{:?} ok", Handle::current().id());
            Ok::<_, Infallible>(
                Response::builder().header("runtime", name).body(Full::new(Bytes::from_static(b"ok"))).unwrap(),
            )
        });
        let served =
            tokio::spawn(serve_across(listener, handles, move |_| service.clone(), AcceptLimits::default(), stopped));
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
