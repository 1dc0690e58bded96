//! Calls to receivers that answer, hang, break off, drip, flood, redirect, and speak TLS; over real sockets.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_rustls::TlsAcceptor;

use super::super::connect::{TrustError, TrustSettings};
use super::super::dns::{Answer as Found, LookUp, Names, ResolveError, Source};
use super::super::guard::{Guard, GuardSettings, Refused};
use super::*;

/// A receiver on loopback, and how many connections it has taken.
pub struct Receiver {
    pub port: u16,
    pub taken: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Does the same with each connection.
    pub async fn start<F, Done>(handle: F) -> Receiver
    where
        F: Fn(TcpStream) -> Done + Send + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(handle(stream));
            }
        });
        Receiver { port, taken, task }
    }

    /// Gives the same answer to each request, for as long as the caller keeps the connection.
    pub async fn saying(answer: &'static str) -> Receiver {
        Receiver::start(move |stream| say(stream, answer)).await
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/in?a=1", self.port)
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    while read_request(&mut stream).await.is_some() {
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One request, with its body; `None` when the caller has gone.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
        if text.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.to_lowercase().split_once("content-length: ").map_or(0, |(_, rest)| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    });
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// Keeps a connection until the caller closes it.
async fn keep(mut stream: TcpStream) {
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await.is_ok_and(|bytes| bytes > 0) {}
}

/// Names of the tests: `hooks.example` and `other.example` are wherever the test says.
pub struct Fixed {
    pub addresses: Vec<IpAddr>,
    pub asked: Arc<AtomicUsize>,
}

impl Source for Fixed {
    fn look_up<'a>(&'a self, name: &'a str) -> LookUp<'a> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match name {
                "hooks.example" | "other.example" => {
                    Ok(Found { addresses: self.addresses.clone(), ttl: Duration::from_secs(60) })
                }
                "slow.example" => std::future::pending().await,
                _ => Err(ResolveError::NoSuchName),
            }
        })
    }
}

pub fn guard_settings() -> GuardSettings {
    let allowed = vec!["127.0.0.0/8".parse().unwrap()];
    GuardSettings { allow_http: true, allowed, ..GuardSettings::default() }
}

fn client_for(addresses: &[&str], trust: &TrustSettings) -> (Client, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let names = Arc::new(Names::new(Box::new(Fixed { addresses, asked: Arc::clone(&asked) })));
    let connector = Connector::open(Guard::new(guard_settings()).unwrap(), names, trust).unwrap();
    (Client::new(connector), asked)
}

/// A client that trusts an authority nobody else knows: tests need no certificates of the system.
fn client() -> Client {
    let (authority, _) = authority_and_acceptor();
    client_for(&["127.0.0.1"], &trust(authority.path())).0
}

fn trust(ca_file: &Path) -> TrustSettings {
    TrustSettings { is_system_trusted: false, ca_file: Some(ca_file.to_owned()) }
}

fn post(url: &str) -> Call {
    Call::post_json(url, Bytes::from_static(b"{\"a\":1}"))
}

/// Half a second for what is tested to be late; all else may take its time on a busy machine.
fn late(url: &str, shorten: impl Fn(&mut Deadlines, Duration)) -> Call {
    let mut call = post(url);
    let long = Duration::from_secs(60);
    call.deadlines = Deadlines { resolve: long, connect: long, tls: long, headers: long, body: long, total: long };
    shorten(&mut call.deadlines, Duration::from_millis(500));
    call
}

fn authority_and_acceptor() -> (tempfile::NamedTempFile, TlsAcceptor) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["hooks.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (authority, TlsAcceptor::from(Arc::new(config)))
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Seen: yes\r\n\r\nok";

#[tokio::test]
async fn a_request_goes_out_as_it_should_and_its_connection_is_used_again() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let receiver = Receiver::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                tell.send(request).unwrap();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let client = client();
    let mut call = post(&receiver.url());
    call.headers.insert("webhook-id", HeaderValue::from_static("evt_1"));
    let first = client.call(&call).await.unwrap();
    assert_eq!((first.status, &first.body[..], &first.body_end), (200, &b"ok"[..], &BodyEnd::Whole));
    assert_eq!(first.headers["x-seen"], "yes");
    assert!(first.is_success() && !first.timings.is_reused);
    let Timings { connect, first_byte, total, .. } = first.timings;
    assert!(connect > Duration::ZERO && first_byte > Duration::ZERO && total >= connect + first_byte);
    let request = told.recv().await.unwrap();
    let mut lines: Vec<&str> = request.split("\r\n").collect();
    lines.sort_unstable();
    let host = format!("host: 127.0.0.1:{}", receiver.port);
    let agent = format!("user-agent: {AGENT}");
    let mut expected = vec![
        "POST /in?a=1 HTTP/1.1",
        "content-type: application/json",
        "webhook-id: evt_1",
        host.as_str(),
        agent.as_str(),
        "content-length: 7",
        "",
        "{\"a\":1}",
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let second = client.call(&call).await.unwrap();
    assert!(second.timings.is_reused && second.timings.connect == Duration::ZERO);
    assert_eq!(receiver.taken(), 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_when_its_stage_is_over() {
    let receiver = Receiver::start(keep).await;
    let client = client();
    let secret = receiver.url().replace("http://", "https://");
    let slow_name = format!("http://slow.example:{}/", receiver.port);
    let table: [(&str, fn(&mut Deadlines, Duration), Stage); 5] = [
        (&receiver.url(), |deadlines, short| deadlines.headers = short, Stage::Headers),
        (&receiver.url(), |deadlines, short| deadlines.total = short, Stage::Headers),
        (&secret, |deadlines, short| deadlines.tls = short, Stage::Tls),
        (&slow_name, |deadlines, short| deadlines.resolve = short, Stage::Resolve),
        (&slow_name, |deadlines, short| deadlines.total = short, Stage::Resolve),
    ];
    for (url, shorten, stage) in table {
        let failure = client.call(&late(url, shorten)).await.unwrap_err();
        assert_eq!(failure.error, CallError::TimedOut(stage), "{url}");
        assert!(failure.timings.total >= Duration::from_millis(490), "{failure:?}");
        assert!(failure.error.is_worth_retry());
    }
    assert_eq!(client.idle(), 0, "none of these connections is used again");
}

#[tokio::test]
async fn headers_that_drip_do_not_hold_a_call() {
    let receiver = Receiver::start(|mut stream| async move {
        let mut beat = interval(Duration::from_millis(20));
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-Drip: ").await.unwrap();
        while stream.write_all(b"a").await.is_ok() {
            beat.tick().await;
        }
    })
    .await;
    let failure = client().call(&late(&receiver.url(), |all, short| all.headers = short)).await.unwrap_err();
    assert_eq!(failure.error, CallError::TimedOut(Stage::Headers));
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_failure_of_its_kind() {
    let reset = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let closed = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    let half = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await.unwrap();
    })
    .await;
    let client = client();
    for receiver in [&reset, &closed, &half] {
        let failure = client.call(&post(&receiver.url())).await.unwrap_err();
        assert_eq!(failure.error, CallError::Reset);
        assert_eq!(receiver.taken(), 1, "what may have arrived is not sent twice");
    }
    // A port that is taken, but not listened at: nobody else gets it while the test runs.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = deaf.local_addr().unwrap().port();
    let failure = client.call(&post(&format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
    assert_eq!(failure.error.kind(), "connect");
    let other = Receiver::saying("SSH-2.0-OpenSSH_9.2\r\n").await;
    let failure = client.call(&post(&other.url())).await.unwrap_err();
    assert_eq!(failure.error.kind(), "protocol", "{failure:?}");
    let failure = client.call(&post("http://nobody.example/")).await.unwrap_err();
    assert_eq!(failure.error, CallError::Resolve(ResolveError::NoSuchName));
}

#[tokio::test]
async fn every_status_is_an_answer() {
    let client = client();
    for (answer, status, retry_after_s) in [
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", 500, None),
        ("HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", 503, Some(120)),
        ("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 410, None),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, None),
    ] {
        let receiver = Receiver::saying(answer).await;
        let answer = client.call(&post(&receiver.url())).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.retry_after(SystemTime::now()), retry_after_s.map(Duration::from_secs));
        assert_eq!((answer.is_success(), answer.is_gone()), (status == 204, status == 410));
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let receiver = Receiver::saying(
        "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let answer = client().call(&post(&receiver.url())).await.unwrap();
    assert_eq!((answer.status, answer.is_success(), receiver.taken()), (302, false, 1));
}

#[tokio::test]
async fn a_name_that_points_behind_our_wall_reaches_nobody() {
    let receiver = Receiver::saying(OK).await;
    let (authority, _) = authority_and_acceptor();
    let url = format!("http://hooks.example:{}/", receiver.port);
    for addresses in [&["169.254.169.254"][..], &["10.0.0.1", "::1"], &["::ffff:192.168.1.1"], &["0.0.0.0"]] {
        let (client, _) = client_for(addresses, &trust(authority.path()));
        let failure = client.call(&post(&url)).await.unwrap_err();
        assert!(matches!(failure.error, CallError::Refused(Refused::Address(..))), "{addresses:?}: {failure:?}");
        assert!(!failure.error.is_worth_retry());
    }
    assert_eq!(receiver.taken(), 0);
    // Of several, those that are allowed are tried; and the name is asked for once, so that no second
    // answer can stand between judgement and connection.
    let (client, asked) = client_for(&["169.254.169.254", "127.0.0.1"], &trust(authority.path()));
    assert_eq!(client.call(&post(&url)).await.unwrap().status, 200);
    assert_eq!((receiver.taken(), asked.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn a_flood_is_cut_and_the_status_stands() {
    let client = client();
    let flood = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let answer = client.call(&post(&flood.url())).await.unwrap();
    assert_eq!((answer.status, answer.body.len(), answer.body_end.clone()), (200, 65_536, BodyEnd::Cut));
    assert_eq!(answer.snippet(5), "xxxxx");
    let exact = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {OUTBOUND_BODY_BYTES_MAX}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; OUTBOUND_BODY_BYTES_MAX]).await.unwrap();
        keep(stream).await;
    })
    .await;
    let answer = client.call(&post(&exact.url())).await.unwrap();
    assert_eq!((answer.body.len(), answer.body_end), (65_536, BodyEnd::Whole));
    let headers = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(b"X-Flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await.is_ok() {}
    })
    .await;
    let failure = client.call(&post(&headers.url())).await.unwrap_err();
    assert_eq!(failure.error, CallError::TooLarge);
}

#[tokio::test]
async fn a_body_that_stays_out_or_breaks_off_takes_nothing_from_the_status() {
    let client = client();
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun";
    let hanging = Receiver::saying(start).await;
    for shorten in [|all: &mut Deadlines, short| all.body = short, |all: &mut Deadlines, short| all.total = short * 4] {
        let answer = client.call(&late(&hanging.url(), shorten)).await.unwrap();
        assert_eq!((answer.status, &answer.body[..], answer.body_end), (200, &b"begun"[..], BodyEnd::Late));
    }
    let broken = Receiver::start(move |mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(start.as_bytes()).await.unwrap();
    })
    .await;
    let answer = client.call(&post(&broken.url())).await.unwrap();
    assert_eq!((answer.is_success(), answer.body_end), (true, BodyEnd::Broken));
    assert_eq!(client.idle(), 0);
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_no_attempt() {
    let receiver = Receiver::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let client = client();
    for calls in 1..=3 {
        assert_eq!(client.call(&post(&receiver.url())).await.unwrap().status, 200);
        assert_eq!(receiver.taken(), calls);
        while client.idle() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn idle_connections_are_bounded() {
    // Nobody is answered before all have come, so that each needs a connection of its own.
    let together = Arc::new(Barrier::new(8));
    let receiver = Receiver::start(move |mut stream| {
        let together = Arc::clone(&together);
        async move {
            read_request(&mut stream).await;
            together.wait().await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            keep(stream).await;
        }
    })
    .await;
    let client = Arc::new(client());
    let begin = |_| {
        let (client, call) = (Arc::clone(&client), late(&receiver.url(), |_, _| {}));
        tokio::spawn(async move { client.call(&call).await.unwrap().status })
    };
    let calls: Vec<_> = (0..8).map(begin).collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!((receiver.taken(), client.idle()), (8, 4));
}

#[tokio::test]
async fn tls_believes_its_authority_and_nobody_else() {
    let (authority, acceptor) = authority_and_acceptor();
    let receiver = Receiver::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                say(stream, OK).await;
            }
        }
    })
    .await;
    let url = format!("https://hooks.example:{}/", receiver.port);
    let (client, _) = client_for(&["127.0.0.1"], &trust(authority.path()));
    let answer = client.call(&post(&url)).await.unwrap();
    assert!(answer.is_success() && answer.timings.tls > Duration::ZERO);
    assert!(client.call(&post(&url)).await.unwrap().timings.is_reused);
    let by_address = format!("https://127.0.0.1:{}/", receiver.port);
    assert!(client.call(&post(&by_address)).await.unwrap().is_success());
    let (stranger, _) = authority_and_acceptor();
    let (doubter, _) = client_for(&["127.0.0.1"], &trust(stranger.path()));
    let failure = doubter.call(&post(&url)).await.unwrap_err();
    assert_eq!((failure.error.kind(), failure.error.is_worth_retry()), ("tls", true));
    let other_name = url.replace("hooks", "other");
    let failure = client.call(&post(&other_name)).await.unwrap_err();
    assert_eq!(failure.error.kind(), "tls", "the certificate is another's: {failure:?}");
    let plain = Receiver::start(|mut stream| async move {
        stream.write_all(OK.as_bytes()).await.unwrap();
        keep(stream).await;
    })
    .await;
    let failure = client.call(&post(&plain.url().replace("http:", "https:"))).await.unwrap_err();
    assert_eq!(failure.error.kind(), "tls", "whoever speaks no TLS: {failure:?}");
}

#[test]
fn settings_that_would_make_every_call_fail_are_refused() {
    let open = |trust: &TrustSettings| {
        let names = Arc::new(Names::new(Box::new(Fixed { addresses: Vec::new(), asked: Arc::default() })));
        Connector::open(Guard::new(GuardSettings::default()).unwrap(), names, trust).map(|_| ()).unwrap_err()
    };
    let nobody = TrustSettings { is_system_trusted: false, ca_file: None };
    assert!(matches!(open(&nobody), TrustError::Nobody));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let refused = open(&trust(empty.path())).to_string();
    assert!(refused.contains(empty.path().to_str().unwrap()) && refused.contains("no certificate"), "{refused}");
    assert!(matches!(open(&trust(Path::new("/nowhere/ca.pem"))), TrustError::File { .. }));
}

#[tokio::test]
async fn requests_that_cannot_be_sent_are_refused_before_anything_is_opened() {
    let receiver = Receiver::saying(OK).await;
    let client = client();
    for name in ["host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"] {
        let mut call = post(&receiver.url());
        call.headers.insert(name, HeaderValue::from_static("1"));
        let failure = client.call(&call).await.unwrap_err();
        assert_eq!(failure.error.kind(), "bad_request", "{name}");
    }
    let mut call = post(&receiver.url());
    call.body = vec![b'x'; OUTBOUND_REQUEST_BYTES_MAX + 1].into();
    assert_eq!(client.call(&call).await.unwrap_err().error.kind(), "bad_request");
    let failure = client.call(&post("ftp://a.example/")).await.unwrap_err();
    assert_eq!((failure.error.kind(), failure.error.is_worth_retry()), ("refused", false));
    assert_eq!(receiver.taken(), 0);
}

#[test]
fn a_snippet_is_fit_to_be_shown() {
    let answer = |body: &'static [u8]| Answer {
        status: 200,
        headers: HeaderMap::new(),
        body: Bytes::from_static(body),
        body_end: BodyEnd::Whole,
        timings: Timings::default(),
    };
    assert_eq!(answer(b"fine\n\tok").snippet(100), "fine\n\tok");
    assert_eq!(answer(b"\x1b[31mred\x00\xff").snippet(100), "\u{fffd}[31mred\u{fffd}\u{fffd}");
    assert_eq!(answer("aए".as_bytes()).snippet(2), "a");
}
