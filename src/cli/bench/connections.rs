//! `munim bench connections idle|slow`: what connections cost that do nothing, or harm.
//!
//! - **idle**: each of 10,000 connections makes one transfer and is then kept without a word; the
//!   server's memory before and after, divided by their number.
//! - **slow**: 1,000 peers send a header at one byte a second and 1,000 more ask for a long list and take
//!   one byte of it a second. Rounds without and with them follow each other; the medians of the others'
//!   p99 are compared.
//!
//! (Many connections that all post are `munim bench transfers --connections 5000`.)

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::credentials;
use super::facts::Facts;
use super::load::{self, Group, Pace, Setting, Source, Until};
use super::machine::resident_bytes;
use super::server::{DataFolder, ServerProcess};
use super::setup::create_accounts;
use super::shape::{Accounts, Dice};
use super::source::{Keys, Singles};
use super::{BenchArgs, BenchError, run_nonce};

/// Which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConnectionsKind {
    /// 10,000 that have made a transfer each and are quiet.
    Idle,
    /// 1,000 slow senders of headers and 1,000 slow readers, beside others.
    Slow,
}

/// Connections kept idle when `--connections` does not say.
const IDLE_DEFAULT: u32 = 10_000;
/// Answered before the next are opened: fewer than wait in any kernel's backlog.
const AT_ONCE: usize = 256;
/// What an idle connection may cost.
const IDLE_BYTES_MAX: f64 = 20.0 * 1024.0;
/// Attackers of each kind.
const SLOW_EACH: usize = 1_000;
/// Rounds of `slow`, each without and with attackers.
const ROUNDS: usize = 5;
/// How much worse the others' p99 may become, and what is not told from noise.
const WORSE_MAX: f64 = 1.2;
const NOISE_US: f64 = 500.0;
const PATIENCE: Duration = Duration::from_secs(20);
const READY_TIME: Duration = Duration::from_secs(60);

/// Runs one of them on a server of its own.
///
/// # Errors
/// It could not run.
pub fn run(args: &BenchArgs, kind: ConnectionsKind) -> Result<Facts, BenchError> {
    if args.url.is_some() {
        return Err(BenchError::Usage("connections start a server of their own: leave out --url"));
    }
    let nonce = run_nonce();
    let folder = DataFolder::open(args.data.as_deref(), nonce)?;
    let server = ServerProcess::serve(&folder.path().join("books"), &args.server_arg)?;
    server.wait_ready(READY_TIME)?;
    let accounts = create_accounts(server.addr(), args.accounts, &mut Keys::new(args.seed, nonce, "a"))?;
    let dice = || Dice::new(args.seed, args.shape(), Accounts::clone(&accounts));
    let singles = |stream: &str| Singles::new(dice(), Keys::new(args.seed, nonce, stream));
    match kind {
        ConnectionsKind::Idle => idle(args, &server, singles),
        ConnectionsKind::Slow => slow(args, &server, singles),
    }
}

fn idle(args: &BenchArgs, server: &ServerProcess, singles: impl Fn(&str) -> Singles) -> Result<Facts, BenchError> {
    let count = args.connections.unwrap_or(IDLE_DEFAULT) as usize;
    // Caches, threads and the allocator grow to their size before anything is measured.
    others(args, server, &mut singles("w"), Duration::from_secs(2))?;
    let resident = || resident_bytes(server.pid()).ok_or(BenchError::Usage("this system does not show memory"));
    let before = resident()?;
    let mut source = singles("i");
    let mut kept: Vec<TcpStream> = Vec::with_capacity(count);
    while kept.len() < count {
        let from = kept.len();
        for _ in 0..AT_ONCE.min(count - from) {
            let mut request = Vec::new();
            source.write_request(&mut request);
            kept.push(post(server.addr(), &request).map_err(|error| BenchError::io("open a connection", error))?);
        }
        for stream in &mut kept[from..] {
            take_answer(stream).map_err(|error| BenchError::io("get an answer", error))?;
        }
    }
    let after = resident()?;
    let each = after.saturating_sub(before) as f64 / count as f64;
    let mut facts = Facts::new("idle connections");
    facts.note("connections", count as f64, "");
    facts.note("resident before", before as f64 / 1024.0, "KiB");
    facts.note("resident after", after as f64 / 1024.0, "KiB");
    facts.note("each", each / 1024.0, "KiB");
    if each > IDLE_BYTES_MAX {
        facts.fault("an idle connection costs more than 20 KiB");
    }
    // They must still be connections, or their memory says nothing.
    let dead = kept.iter().filter(|stream| is_closed(stream)).count();
    if dead > 0 {
        facts.fault(format!("{dead} of them were closed meanwhile"));
    }
    Ok(facts)
}

fn post(addr: SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    Ok(stream)
}

/// Reads one answer of which only the beginning matters; the rest is taken as far as it has come.
fn take_answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes)?;
    if bytes[..count].starts_with(b"HTTP/1.1 201") {
        Ok(())
    } else {
        Err(io::Error::new(ErrorKind::InvalidData, String::from_utf8_lossy(&bytes[..count]).into_owned()))
    }
}

fn is_closed(stream: &TcpStream) -> bool {
    let mut byte = [0];
    stream.set_nonblocking(true).is_err() || matches!(stream.peek(&mut byte), Ok(0))
}

fn slow(args: &BenchArgs, server: &ServerProcess, singles: impl Fn(&str) -> Singles) -> Result<Facts, BenchError> {
    let mut source = singles("s");
    let duration = Duration::from_secs_f64(args.duration.min(10.0));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut facts = Facts::new("slow peers");
    for round in 0..ROUNDS {
        let p99 = others(args, server, &mut source, duration)?;
        facts.note(format!("round {round}: p99 alone"), p99, "us");
        alone.push(p99);
        let (p99, held) = under_attack(server.addr(), || others(args, server, &mut source, duration))?;
        facts.note(format!("round {round}: p99 beside slow peers"), p99, "us");
        facts.note(format!("round {round}: slow peers connected at the end"), held as f64, "");
        beside.push(p99);
    }
    let (alone, beside) = (median(&mut alone), median(&mut beside));
    facts.note("median p99 alone", alone, "us");
    facts.note("median p99 beside slow peers", beside, "us");
    facts.note("ratio", beside / alone, "");
    facts.note("server's memory at the end", resident_bytes(server.pid()).unwrap_or(0) as f64 / 1024.0, "KiB");
    if beside > alone * WORSE_MAX && beside > alone + NOISE_US {
        facts.fault("slow peers make the others slow");
    }
    Ok(facts)
}

/// The p99 of those who behave, microseconds.
fn others(
    args: &BenchArgs,
    server: &ServerProcess,
    source: &mut Singles,
    duration: Duration,
) -> Result<f64, BenchError> {
    let until = Until { duration, units: 0 };
    let warm_up = Duration::from_secs_f64(args.warm_up);
    let setting = Setting { addr: server.addr(), server_pid: Some(server.pid()), warm_up, until };
    let pace = args.rate.map_or(Pace::Closed, Pace::Open);
    let connections = if args.kind == super::BenchKind::Connections { 64 } else { args.connections() };
    let group = Group { name: "others", source, connections, pipeline: 1, pace };
    let outcome = load::run(setting, group, &mut |_| {}).map_err(|error| BenchError::io("keep up the load", error))?;
    if let Some(((status, code), count)) = outcome.measured.errors.first_key_value() {
        return Err(BenchError::Server(format!("{count} answers to those who behave were {status} {code}")));
    }
    Ok(outcome.measured.latency.value_at_quantile(0.99) as f64 / 1000.0)
}

/// Runs `measure` while slow peers are connected; how many were so at its end.
fn under_attack(addr: SocketAddr, measure: impl FnOnce() -> Result<f64, BenchError>) -> Result<(f64, u64), BenchError> {
    let (is_over, connected) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let attack = scope.spawn(|| attack(addr, &is_over, &connected));
        let started = Instant::now();
        while connected.load(Ordering::Acquire) < 2 * SLOW_EACH as u64 && started.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        let measured = measure();
        is_over.store(true, Ordering::Release);
        let held = attack.join().map_err(|_| BenchError::Server("the attack panicked".to_owned()))?;
        Ok((measured?, held))
    })
}

/// Keeps the slow peers connected, a byte a second each, until told to stop; how many there were then.
fn attack(addr: SocketAddr, is_over: &AtomicBool, connected: &AtomicU64) -> u64 {
    let kinds = [Slowness::Header, Slowness::Reader];
    let mut peers: Vec<Slow> =
        (0..2 * SLOW_EACH).map(|place| Slow { kind: kinds[place % 2], stream: None, bytes: 0 }).collect();
    let turn = peers.len().div_ceil(10);
    while !is_over.load(Ordering::Acquire) {
        for part in peers.chunks_mut(turn) {
            let begun = Instant::now();
            part.iter_mut().for_each(|peer| peer.go_on(addr));
            thread::sleep(Duration::from_millis(100).saturating_sub(begun.elapsed()));
        }
        // A reader harms by what it leaves at the server: it counts once its answer is there. (That a
        // thousand long lists at once are work is another matter, and not one of slowness.)
        connected.store(peers.iter().filter(|peer| peer.bytes > 1).count() as u64, Ordering::Release);
    }
    peers.iter().filter(|peer| peer.stream.as_ref().is_some_and(|stream| !is_closed(stream))).count() as u64
}

#[derive(Clone, Copy, Debug)]
enum Slowness {
    Header,
    Reader,
}

struct Slow {
    kind: Slowness,
    stream: Option<TcpStream>,
    /// Sent or read on it.
    bytes: usize,
}

/// A header that never ends.
const HEADER: &[u8] = b"GET /v1/status HTTP/1.1\r\nhost: munim\r\nx-slow: ";
/// A thousand accounts: some 400 KiB.
const LONG_LIST: &str = "GET /v1/accounts?limit=1000 HTTP/1.1\r\nhost: munim\r\n";

impl Slow {
    /// One byte more; a connection that was cut is opened again.
    fn go_on(&mut self, addr: SocketAddr) {
        let done = match (&mut self.stream, self.kind) {
            (None, _) => {
                self.stream = self.open(addr).ok();
                return;
            }
            (Some(stream), Slowness::Header) => {
                let byte = HEADER.get(self.bytes).copied().unwrap_or(b'x');
                stream.write(&[byte])
            }
            (Some(stream), Slowness::Reader) => stream.read(&mut [0]),
        };
        match done {
            Ok(count @ 1..) => self.bytes += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => self.stream = None,
        }
    }

    fn open(&mut self, addr: SocketAddr) -> io::Result<TcpStream> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
        // The least that the kernel allows, so that the answer waits at the server and not here.
        socket.set_recv_buffer_size(1024)?;
        socket.connect_timeout(&addr.into(), PATIENCE)?;
        let mut stream = TcpStream::from(socket);
        self.bytes = 0;
        if matches!(self.kind, Slowness::Reader) {
            stream.write_all(format!("{LONG_LIST}{}\r\n", credentials::line()).as_bytes())?;
        }
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
