//! `munim bench followers`: half of them by SSE and half by WebSocket, one in ten reading slowly, while transfers are
//! posted at a fixed rate.
//!
//! Promise: every follower that reads sees every entry once and in order, which is checked by its seq; a latency is
//! from the moment that the books gave the transfer, before it was durable, to the read of its event: more than from
//! its commit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::credentials;
use super::epoll::Poller;
use super::facts::Facts;
use super::load::{self, Group, Pace, Setting, Until};
use super::machine::resident_bytes;
use super::server::{DataFolder, ServerProcess};
use super::setup::create_accounts;
use super::shape::Dice;
use super::source::{Keys, Singles};
use super::websocket::{self, frame_at};
use super::wire::find;
use super::{BenchArgs, BenchError, run_nonce};

const READY_TIME: Duration = Duration::from_secs(60);
/// Followers of both kinds when `--connections` does not say.
const FOLLOWERS_DEFAULT: u32 = 2_000;
/// Transfers a second when `--rate` does not say: each is written two thousand times.
const RATE_DEFAULT: f64 = 50.0;
/// One follower in so many is slow …
const SLOW_ONE_IN: usize = 10;
/// … and reads so much a second.
const SLOW_BYTES: usize = 1_024;
/// What issue 5 asks of those who are not slow.
const P99_MAX_US: f64 = 20_000.0;

/// Somebody who follows.
struct Reader {
    stream: TcpStream,
    is_websocket: bool,
    is_slow: bool,
    inbox: Vec<u8>,
    /// The seq seen last; 0 before the first.
    last: u64,
    seen: u64,
    lagged: u64,
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
    let failed = |source| BenchError::io("follow", source);
    let before = resident_bytes(server.pid());
    let count = args.connections.unwrap_or(FOLLOWERS_DEFAULT) as usize;
    let mut poller = Poller::new().map_err(failed)?;
    let mut readers = Vec::with_capacity(count);
    for place in 0..count {
        let reader = Reader::open(server.addr(), place).map_err(failed)?;
        if !reader.is_slow {
            poller.add(&reader.stream, place as u64).map_err(failed)?;
        }
        readers.push(reader);
    }
    let connected = resident_bytes(server.pid());
    let is_over = Arc::new(AtomicBool::new(false));
    let mut singles = Singles::new(Dice::new(args.seed, args.shape(), accounts), Keys::new(args.seed, nonce, "f"));
    let rate = args.rate.unwrap_or(RATE_DEFAULT);
    let setting = Setting {
        addr: server.addr(),
        server_pid: Some(server.pid()),
        warm_up: Duration::from_secs_f64(args.warm_up),
        until: Until { duration: Duration::from_secs_f64(args.duration), units: 0 },
    };
    let mut latency: Histogram<u64> =
        Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|_| BenchError::Usage("no histogram"))?;
    let (outcome, broken) = thread::scope(|scope| {
        let poster = scope.spawn(|| {
            let group =
                Group { name: "posts", source: &mut singles, connections: 8, pipeline: 1, pace: Pace::Open(rate) };
            let outcome = load::run(setting, group, &mut |_| {});
            is_over.store(true, Ordering::Release);
            outcome
        });
        let broken = read_all(&mut poller, &mut readers, &is_over, &mut latency);
        (poster.join(), broken)
    });
    let outcome = outcome.map_err(|_| BenchError::Server("the poster broke off".into()))?.map_err(failed)?;
    let broken = broken.map_err(failed)?;
    let memory = before.zip(connected).zip(resident_bytes(server.pid()));
    Ok(report(&readers, &outcome, &latency, memory, broken))
}

/// Memory before anybody followed, when all did, and at the end, bytes.
type Memory = Option<((u64, u64), u64)>;

fn report(
    readers: &[Reader],
    outcome: &load::Outcome,
    latency: &Histogram<u64>,
    memory: Memory,
    broken: Option<String>,
) -> Facts {
    let count = readers.len();
    let fast = || readers.iter().filter(|reader| !reader.is_slow);
    let mut facts = Facts::new("followers");
    facts.note("followers", count as f64, "");
    facts.note("of them slow", (count - fast().count()) as f64, "");
    facts.note("posted", outcome.units_in_all as f64, "");
    facts.note("events read", readers.iter().map(|reader| reader.seen).sum::<u64>() as f64, "");
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        facts.note(format!("decision to client, {name}"), latency.value_at_quantile(quantile) as f64, "µs");
    }
    facts.note("post, p99", outcome.measured.latency.value_at_quantile(0.99) as f64 / 1000.0, "µs");
    facts.note("told that they lag", readers.iter().map(|reader| reader.lagged).sum::<u64>() as f64, "");
    if let Some(((before, connected), after)) = memory {
        facts.note("a follower costs", (connected.saturating_sub(before)) as f64 / 1024.0 / count as f64, "KiB");
        facts.note("server memory grew by", after.saturating_sub(connected) as f64 / 1_048_576.0, "MiB");
    }
    if let Some(what) = broken {
        facts.fault(what);
    }
    let (least, most) =
        fast().fold((u64::MAX, 0), |(least, most), reader| (least.min(reader.last), most.max(reader.last)));
    if least != most {
        facts.fault(format!("some saw the books to seq {least}, others to {most}"));
    }
    if latency.value_at_quantile(0.99) as f64 > P99_MAX_US {
        facts.fault("p99 is above 20 ms");
    }
    facts
}

/// Reads until the poster is done and the last events have come; what broke, if anything did.
fn read_all(
    poller: &mut Poller,
    readers: &mut [Reader],
    is_over: &AtomicBool,
    latency: &mut Histogram<u64>,
) -> io::Result<Option<String>> {
    let mut next_slow = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    let mut quiet_since = None;
    let mut broken = None;
    loop {
        let count = poller.wait(Duration::from_millis(100))?;
        for event in 0..count {
            let reader = &mut readers[poller.token(event) as usize];
            if let Err(what) = reader.read(&mut buffer, usize::MAX, latency) {
                broken.get_or_insert(what);
            }
        }
        if Instant::now() >= next_slow {
            next_slow = Instant::now() + Duration::from_secs(1);
            let mut nobodys: Histogram<u64> = latency.clone();
            for reader in readers.iter_mut().filter(|reader| reader.is_slow) {
                if let Err(what) = reader.read(&mut buffer, SLOW_BYTES, &mut nobodys) {
                    broken.get_or_insert(what);
                }
            }
        }
        if count > 0 || !is_over.load(Ordering::Acquire) {
            quiet_since = None;
        } else if quiet_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(500) {
            return Ok(broken);
        }
    }
}

impl Reader {
    fn open(addr: SocketAddr, place: usize) -> io::Result<Reader> {
        let is_websocket = place % 2 == 1;
        let is_slow = place % (2 * SLOW_ONE_IN) < 2;
        let stream = if is_websocket {
            let mut stream = websocket::open(addr)?;
            let text = b"{\"op\":\"subscribe\"}";
            stream.write_all(&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0])?;
            stream.write_all(text)?;
            stream
        } else {
            let mut stream = TcpStream::connect(addr)?;
            let request = format!("GET /v1/events/stream HTTP/1.1\r\nhost: munim\r\n{}\r\n", credentials::line());
            stream.write_all(request.as_bytes())?;
            stream
        };
        stream.set_nonblocking(true)?;
        Ok(Reader { stream, is_websocket, is_slow, inbox: Vec::new(), last: 0, seen: 0, lagged: 0 })
    }

    /// Reads what there is, up to a bound.
    fn read(&mut self, buffer: &mut [u8], bytes_max: usize, latency: &mut Histogram<u64>) -> Result<(), String> {
        let mut taken = 0;
        while taken < bytes_max {
            let want = buffer.len().min(bytes_max - taken);
            match self.stream.read(&mut buffer[..want]) {
                Ok(0) => return Err("a stream ended".into()),
                Ok(count) => {
                    taken += count;
                    self.inbox.extend_from_slice(&buffer[..count]);
                    // Less than there was room for: that was all, and what comes later is told anew.
                    if count < want {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("a stream broke: {error}")),
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let inbox = std::mem::take(&mut self.inbox);
        let mut at = 0;
        if self.is_websocket {
            while let Some((text, next)) = frame_at(&inbox, at) {
                self.take(&inbox[text], now_us, latency)?;
                at = next;
            }
        } else {
            // Chunks of the transfer coding stand between whole events, never inside one.
            while let Some(end) = find(&inbox[at..], b"\n\n") {
                self.take(&inbox[at..at + end], now_us, latency)?;
                at += end + 2;
            }
        }
        self.inbox = inbox[at..].to_vec();
        Ok(())
    }

    fn take(&mut self, text: &[u8], now_us: u64, latency: &mut Histogram<u64>) -> Result<(), String> {
        if find(text, b"lagged").is_some() && find(text, b"\"sequence\"").is_none() {
            self.lagged += 1;
            return Ok(());
        }
        let Some(place) = find(text, b"\"sequence\":\"") else { return Ok(()) };
        let digits = &text[place + 12..];
        let seq = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0u64, |n, byte| n * 10 + u64::from(byte - b'0'));
        if self.last != 0 && seq != self.last + 1 {
            return Err(format!("after seq {} came {seq}", self.last));
        }
        self.last = seq;
        self.seen += 1;
        if let Some(moment) = find(text, b"\"time\":\"").and_then(|place| text.get(place + 8..place + 35)) {
            let moment = std::str::from_utf8(moment).ok().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            if let Some(moment) = moment {
                let moment_us = u64::try_from(moment.as_microsecond()).unwrap_or_default();
                latency.saturating_record(now_us.saturating_sub(moment_us));
            }
        }
        Ok(())
    }
}
