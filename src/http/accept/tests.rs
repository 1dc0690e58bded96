//! The accept loop against real sockets.

use std::io::{Read, Write};
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::super::self_signed::make_once;
use super::super::tls::TlsFront;
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
        let served = tokio::spawn(serve_across(listener, handles, move |_| service, AcceptLimits::default(), stopped));
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

/// A grace so long that only what ends it early can end a test.
fn long_grace() -> AcceptLimits {
    AcceptLimits { idle_grace: Duration::from_mins(5), ..AcceptLimits::default() }
}

#[tokio::test]
async fn after_shutdown_an_idle_connection_gets_its_answer_and_is_told_to_close() {
    let server = Server::start(long_grace()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    assert!(!read_answer(&mut stream).await.contains("connection: close"));
    server.stop.send(true).unwrap();
    // Nobody says when the connection's task has heard of it: the answer that says so comes soon.
    let mut answers = Vec::new();
    while !answers.last().is_some_and(|answer: &String| answer.contains("connection: close")) {
        stream.write_all(GET).await.unwrap();
        answers.push(read_answer(&mut stream).await);
        assert!(answers.len() < 10_000, "never told to close");
    }
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the server ends its side, without a reset");
    drop(stream);
    server.served.await.unwrap();
}

#[tokio::test]
async fn after_shutdown_an_http2_peer_is_told_to_go_and_what_runs_is_answered() {
    let server = Server::start(long_grace()).await;
    let mut stream = raw_http2(&server).await;
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &get_held())).await.unwrap();
    server.arrived.notified().await;
    server.stop.send(true).unwrap();
    let kinds = read_frames(&mut stream, GOAWAY).await;
    assert!(!kinds.contains(&DATA), "it is not answered yet: {kinds:?}");
    server.release.notify_one();
    assert!(read_frames(&mut stream, DATA).await.contains(&HEADERS));
    drop(stream);
    server.served.await.unwrap();
}

/// Kinds of the frames up to the first of this one. A ping is answered, as the end of a connection waits for it.
async fn read_frames(stream: &mut TcpStream, last: u8) -> Vec<u8> {
    let mut kinds = Vec::new();
    while kinds.last() != Some(&last) {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == PING && head[4] == 0 {
            stream.write_all(&frame(PING, 1, 0, &payload)).await.unwrap();
        }
        kinds.push(head[3]);
    }
    kinds
}

#[tokio::test]
async fn an_answer_is_not_lost_when_the_peer_has_sent_more_than_is_read() {
    let server = Server::start(long_grace()).await;
    let mut stream = server.connect().await;
    let first = b"GET /held HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(first).await.unwrap();
    server.arrived.notified().await;
    // More than one read of the server's takes, so that a part stays unread when it closes.
    stream.write_all(&GET.repeat(4_000)).await.unwrap();
    server.release.notify_one();
    assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "an end, not a reset");
}

#[tokio::test]
async fn the_peer_is_known_to_the_service() {
    let listener = Listener { socket: TcpListener::bind("127.0.0.1:0").await.unwrap(), tls: None };
    let addr = listener.socket.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let make = |peer: Arc<Peer>| {
        service_fn(move |_: Request<Incoming>| {
            let text = format!("{} {} {} ok", peer.ip, peer.is_loopback, peer.is_tls);
            async {
                Ok::<_, Infallible>(
                    Response::builder().header("peer", text).body(Full::new(Bytes::from("ok"))).unwrap(),
                )
            }
        })
    };
    tokio::spawn(serve_across(listener, vec![Handle::current()], make, AcceptLimits::default(), stopped));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(GET).await.unwrap();
    assert!(read_answer(&mut stream).await.contains("peer: 127.0.0.1 true false ok"));
}

/// TLS decrypts what comes together with the end of the handshake before anybody asks for it: the socket
/// has nothing more to say then.
#[tokio::test]
async fn a_request_that_comes_with_the_end_of_the_handshake_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let files = make_once(folder.path(), &["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.cert).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let front = Some(TlsFront::open(files).unwrap());
    let listener = Listener { socket: TcpListener::bind("127.0.0.1:0").await.unwrap(), tls: front };
    let addr = listener.socket.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let make = |_: Arc<Peer>| {
        service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        })
    };
    tokio::spawn(serve_across(listener, vec![Handle::current()], make, quick_limits(), stopped));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut text = Vec::new();
    let mut is_asked = false;
    while !text.ends_with(b"\r\n\r\nok") {
        if !tls.is_handshaking() && !is_asked {
            tls.writer().write_all(GET).unwrap();
            is_asked = true;
        }
        // The last words of the handshake and the request are one write, and one read of the server.
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out).unwrap();
        }
        stream.write_all(&out).await.unwrap();
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.unwrap();
        assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&text));
        tls.read_tls(&mut &part[..count]).unwrap();
        tls.process_new_packets().unwrap();
        // There may be nothing yet.
        let _ = tls.reader().read_to_end(&mut text);
    }
}

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://x/held`, in HPACK: three indexed fields, two literal ones.
fn get_held() -> Vec<u8> {
    // :method GET, :scheme http, then :path and :authority as literals that are not indexed.
    let mut block = vec![0x82, 0x86, 0x04, 5];
    block.extend_from_slice(b"/held");
    block.extend_from_slice(&[0x01, 1, b'x']);
    block
}

async fn raw_http2(server: &Server) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Writes until the server has had enough; whether that came before the end of `pieces`.
async fn is_cut_off(stream: TcpStream, pieces: impl Iterator<Item = Vec<u8>>) -> bool {
    let (mut read, mut write) = stream.into_split();
    // Its frames are read, or it could not send; the end is what counts.
    let closed = tokio::spawn(async move {
        let mut bytes = [0; 4096];
        while let Ok(1..) = read.read(&mut bytes).await {}
    });
    for piece in pieces {
        if write.write_all(&piece).await.is_err() {
            return true;
        }
        if closed.is_finished() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(5), closed).await.is_ok()
}

#[tokio::test]
async fn a_rapid_reset_is_cut_off() {
    let server = Server::start(AcceptLimits::default()).await;
    let stream = raw_http2(&server).await;
    let pieces = (0..200_000u32).map(|number| {
        let id = 2 * number + 1;
        let open = frame(HEADERS, END_STREAM | END_HEADERS, id, &get_held());
        [open, frame(RST_STREAM, 0, id, &8u32.to_be_bytes())].concat()
    });
    assert!(is_cut_off(stream, pieces).await, "200,000 resets were taken");
}

#[tokio::test]
async fn a_reset_of_what_already_runs_is_cut_off_too() {
    let server = Server::start(AcceptLimits::default()).await;
    let mut stream = raw_http2(&server).await;
    let mut ends = 0;
    for number in 0..1_000u32 {
        let id = 2 * number + 1;
        if stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &get_held())).await.is_err() {
            break;
        }
        // Each is at work before it is taken back, so that no limit on waiting ones helps.
        if tokio::time::timeout(Duration::from_secs(5), server.arrived.notified()).await.is_err() {
            break;
        }
        if stream.write_all(&frame(RST_STREAM, 0, id, &8u32.to_be_bytes())).await.is_err() {
            break;
        }
        ends += 1;
    }
    assert!((100..300).contains(&ends), "{ends} were taken back before the end");
}

#[tokio::test]
async fn a_flood_of_continuations_is_cut_off() {
    let server = Server::start(AcceptLimits::default()).await;
    let stream = raw_http2(&server).await;
    // A header of which more and more comes, and never the end: 16 KiB are allowed.
    let begin = frame(HEADERS, END_STREAM, 1, &get_held());
    let more = (0..100_000u32).map(|number| {
        let mut block = vec![0x00, 8];
        block.extend_from_slice(format!("x{number:07}").as_bytes());
        block.push(100);
        block.extend_from_slice(&[b'y'; 100]);
        frame(CONTINUATION, 0, 1, &block)
    });
    assert!(is_cut_off(stream, std::iter::once(begin).chain(more)).await, "10 MB of header were taken");
}

#[tokio::test]
async fn a_header_that_is_too_large_or_has_too_many_lines_is_refused() {
    let server = Server::start(AcceptLimits::default()).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(17 * 1024));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(65));
    for header in [long, many] {
        let mut stream = server.connect().await;
        // The server may answer and close before the last byte is out.
        let _ = stream.write_all(header.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    }
}

/// Parked at every breath.
fn parking_limits() -> AcceptLimits {
    AcceptLimits { park_after: Duration::ZERO, ..AcceptLimits::default() }
}

/// The server has had its turn: it has answered somebody else meanwhile.
async fn until_it_has_looked(server: &Server) {
    let mut other = server.connect().await;
    for _ in 0..5 {
        other.write_all(GET).await.unwrap();
        read_answer(&mut other).await;
    }
}

#[tokio::test]
async fn a_parked_connection_goes_on_as_if_nothing_had_been() {
    let server = Server::start(parking_limits()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(GET).await.unwrap();
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        until_it_has_looked(&server).await;
    }
    // Half a request, silence, the other half.
    let (half, rest) = GET.split_at(9);
    stream.write_all(half).await.unwrap();
    until_it_has_looked(&server).await;
    stream.write_all(rest).await.unwrap();
    assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    // A whole request and a half in one write: hyper holds the answer back until it has the rest.
    stream.write_all(&[GET, half].concat()).await.unwrap();
    until_it_has_looked(&server).await;
    stream.write_all(rest).await.unwrap();
    let mut answers = String::new();
    while answers.matches("\r\n\r\nok").count() < 2 {
        let mut part = [0; 512];
        let count = stream.read(&mut part).await.unwrap();
        assert_ne!(count, 0, "closed after {answers:?}");
        answers.push_str(std::str::from_utf8(&part[..count]).unwrap());
    }
}

#[tokio::test]
async fn a_request_that_runs_long_is_not_parked() {
    let server = Server::start(parking_limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.arrived.notified().await;
    until_it_has_looked(&server).await;
    server.release.notify_one();
    assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
}
