//! `munim bench websockets`: single transfers, many in flight on each of some WebSockets, each with a key and an
//! answer of its own.
//!
//! Promise: as of every bench, an answer that is not `posted` is an error and no work; a latency is from the write
//! of its command to the read of its answer, which are matched by the command's own id. Frames are masked with
//! zeros: the server unmasks them as any others, the generator is spared the work.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::credentials;
use super::epoll::Poller;
use super::facts::Facts;
use super::machine::{cpu_time, resident_bytes};
use super::server::{DataFolder, ServerProcess};
use super::setup::create_accounts;
use super::shape::Dice;
use super::source::{Keys, Reply};
use super::{BenchArgs, BenchError, run_nonce};

const READY_TIME: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);
/// Commands in flight on a connection when `--pipeline` does not say.
const PIPELINE_DEFAULT: u32 = 32;
/// Bytes of answers read at once.
const READ_BYTES: usize = 256 * 1024;

/// A connection and its commands in flight.
struct Socket {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    inbox: Vec<u8>,
    filled: usize,
    /// When each command in flight was written, by its id modulo their number.
    begun: Vec<Instant>,
    next: u64,
}

/// Runs it on a server of its own.
///
/// # Errors
/// It could not run.
pub fn run(args: &BenchArgs) -> Result<Facts, BenchError> {
    let nonce = run_nonce();
    let folder = DataFolder::open(args.data.as_deref(), nonce)?;
    let server = ServerProcess::serve(&folder.path().join("books"), &args.server_arg)?;
    server.wait_ready(READY_TIME)?;
    let accounts = create_accounts(server.addr(), args.accounts, &mut Keys::new(args.seed, nonce, "a"))?;
    let mut load = Load {
        dice: Dice::new(args.seed, args.shape(), accounts),
        keys: Keys::new(args.seed, nonce, "w"),
        is_minimal: args.reply == Reply::Minimal,
        latency: Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|_| BenchError::Usage("no histogram"))?,
        answered: 0,
        errors: 0,
        first_error: None,
    };
    let pipeline = if args.pipeline == 1 { PIPELINE_DEFAULT } else { args.pipeline } as usize;
    let failed = |source| BenchError::io("keep up the load", source);
    let mut sockets: Vec<Socket> = Vec::new();
    let mut poller = Poller::new().map_err(failed)?;
    for place in 0..args.connections() {
        let socket = Socket::open(server.addr(), pipeline).map_err(failed)?;
        poller.add(&socket.stream, place as u64).map_err(failed)?;
        sockets.push(socket);
    }
    load.go(&mut poller, &mut sockets, Duration::from_secs_f64(args.warm_up), true).map_err(failed)?;
    let (memory, cpu) = (resident_bytes(server.pid()), cpu_time(server.pid()));
    load.latency.reset();
    load.answered = 0;
    let begun = Instant::now();
    load.go(&mut poller, &mut sockets, Duration::from_secs_f64(args.duration), false).map_err(failed)?;
    let elapsed = begun.elapsed().as_secs_f64();
    let mut facts = Facts::new("transfers over WebSockets, one a command");
    facts.note("websockets", args.connections() as f64, "");
    facts.note("in flight on each", pipeline as f64, "");
    facts.note("rate", load.answered as f64 / elapsed, "/s");
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        facts.note(name, load.latency.value_at_quantile(quantile) as f64 / 1000.0, "µs");
    }
    if let (Some(before), Some(after)) = (cpu, cpu_time(server.pid())) {
        let spent = after.since(before);
        facts.note(
            "server CPU",
            (spent.user + spent.system).as_secs_f64() * 1e6 / load.answered.max(1) as f64,
            "µs each",
        );
    }
    if let (Some(before), Some(after)) = (memory, resident_bytes(server.pid())) {
        facts.note("server memory grew by", (after as f64 - before as f64) / 1_048_576.0, "MiB");
    }
    facts.note("errors", load.errors as f64, "");
    if let Some(error) = load.first_error {
        facts.fault(format!("an answer was not `posted`: {error}"));
    }
    Ok(facts)
}

/// What is sent, and what came of it.
struct Load {
    dice: Dice,
    keys: Keys,
    is_minimal: bool,
    latency: Histogram<u64>,
    answered: u64,
    errors: u64,
    first_error: Option<String>,
}

impl Load {
    /// A closed loop: each answer is followed by the next command on its connection.
    fn go(&mut self, poller: &mut Poller, sockets: &mut [Socket], span: Duration, is_first: bool) -> io::Result<()> {
        if is_first {
            for socket in &mut *sockets {
                for _ in 0..socket.begun.len() {
                    self.write_command(socket);
                }
                socket.flush()?;
            }
        }
        let until = Instant::now() + span;
        while Instant::now() < until {
            let count = poller.wait(Duration::from_millis(100))?;
            for event in 0..count {
                let socket = &mut sockets[poller.token(event) as usize];
                self.take_answers(socket)?;
                socket.flush()?;
            }
        }
        Ok(())
    }

    fn write_command(&mut self, socket: &mut Socket) {
        let id = socket.next;
        socket.next += 1;
        let place = (id % socket.begun.len() as u64) as usize;
        socket.begun[place] = Instant::now();
        // A frame of 126 to 65,535 bytes, masked with zeros.
        let begin = socket.out.len();
        socket.out.extend_from_slice(&[0x81, 0x80 | 0x7e, 0, 0, 0, 0, 0, 0]);
        socket.out.extend_from_slice(b"{\"op\":\"post\",\"id\":");
        let _ = write!(socket.out, "{id}");
        socket.out.extend_from_slice(b",\"key\":\"");
        self.keys.write(&mut socket.out);
        socket.out.extend_from_slice(if self.is_minimal {
            b"\",\"return\":\"minimal\",\"body\":".as_slice()
        } else {
            b"\",\"body\":"
        });
        self.dice.write_transfer(&mut socket.out, false);
        socket.out.push(b'}');
        let length = (socket.out.len() - begin - 8) as u16;
        socket.out[begin + 2..begin + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn take_answers(&mut self, socket: &mut Socket) -> io::Result<()> {
        loop {
            match socket.stream.read(&mut socket.inbox[socket.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => socket.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            let now = Instant::now();
            let mut at = 0;
            while let Some((text, next)) = frame_at(&socket.inbox[..socket.filled], at) {
                at = next;
                let text = socket.inbox[text].to_owned();
                self.take_answer(socket, &text, now);
            }
            socket.inbox.copy_within(at..socket.filled, 0);
            socket.filled -= at;
        }
    }

    fn take_answer(&mut self, socket: &mut Socket, text: &[u8], now: Instant) {
        const POSTED: &[u8] = b"{\"op\":\"posted\",\"id\":";
        let Some(rest) = text.strip_prefix(POSTED) else {
            self.errors += 1;
            self.first_error.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
            self.write_command(socket);
            return;
        };
        let id = rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0u64, |id, byte| id * 10 + u64::from(byte - b'0'));
        let begun = socket.begun[(id % socket.begun.len() as u64) as usize];
        self.latency
            .saturating_record(u64::try_from(now.saturating_duration_since(begun).as_nanos()).unwrap_or(u64::MAX));
        self.answered += 1;
        self.write_command(socket);
    }
}

/// Where the payload of the frame at a place lies, and where the next one begins; `None` when it is not all there.
pub fn frame_at(bytes: &[u8], at: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let head = bytes.get(at..at + 2)?;
    let (length, begin) = match head[1] {
        short @ 0..126 => (usize::from(short), at + 2),
        126 => (usize::from(u16::from_be_bytes(bytes.get(at + 2..at + 4)?.try_into().ok()?)), at + 4),
        _ => (usize::try_from(u64::from_be_bytes(bytes.get(at + 2..at + 10)?.try_into().ok()?)).ok()?, at + 10),
    };
    let end = begin.checked_add(length)?;
    (end <= bytes.len()).then_some((begin..end, end))
}

/// Opens a WebSocket at the server.
///
/// # Errors
/// No connection, or no WebSocket at its end.
pub fn open(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nhost: munim\r\n{}upgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         sec-websocket-protocol: munim.v1\r\n\r\n",
        credentials::line()
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16_384 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(io::Error::new(ErrorKind::InvalidData, String::from_utf8_lossy(&head).into_owned()));
    }
    Ok(stream)
}

impl Socket {
    fn open(addr: SocketAddr, pipeline: usize) -> io::Result<Socket> {
        let stream = open(addr)?;
        stream.set_nonblocking(true)?;
        Ok(Socket {
            stream,
            out: Vec::new(),
            sent: 0,
            inbox: vec![0; READ_BYTES],
            filled: 0,
            begun: vec![Instant::now(); pipeline],
            next: 0,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}
