//! The load generator: one thread, many connections, closed or open loop.
//!
//! Promise: it measures the server and not itself. A closed loop sends a connection's next request
//! when its last is answered. An open loop sends at fixed moments and takes latency **from the moment
//! a request was due**, also when no connection was free then: no coordinated omission. Requests that
//! were due and could not even be sent by the end count with the latency they had by then.
//!
//! 1. Connect everything, start every closed loop.
//! 2. Wait for sockets or for the next due moment; answers first, then what is due.
//! 3. After the warm-up, forget what was counted and note the processor time of both processes.
//! 4. At the end send nothing more, wait for what is in flight (bounded), note processor time again.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::epoll::Poller;
use super::machine::{self, CpuTime};
use super::wire::{Answer, Connection, Sent, ask, find, json_number, json_text};

/// Broken connections after which a run is given up: a server that drops this many is broken.
const RECONNECTS_MAX: u64 = 100;
/// How long the last answers are waited for.
const DRAIN_TIME: Duration = Duration::from_secs(20);
/// One answer in so many has its Server-Timing read.
const STAGE_SAMPLING: u64 = 64;

/// What is asked, and what an answer means.
pub trait Source: Send {
    /// Appends one request to `out`; says how many units (transfers, or reads) it asks for.
    fn write_request(&mut self, out: &mut Vec<u8>) -> u64;

    /// Units that the answer achieved, or `None` when it is not what it should be.
    fn take_answer(&mut self, answer: &Answer<'_>, asked: u64) -> Option<u64>;

    /// Posts and voids of holds asked for so far; they are no units.
    fn settled(&self) -> u64 {
        0
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The next when the last is answered.
    Closed,
    /// So many a second over all connections, whatever the answers do.
    Open(f64),
}

/// Connections that share a source and a histogram. Two kinds of load at once are two runs on two threads:
/// else the time to write a batch would count as the latency of single transfers.
pub struct Group<'a> {
    /// For the report.
    pub name: &'a str,
    /// Makes the requests.
    pub source: &'a mut dyn Source,
    /// Connections, at least 1.
    pub connections: usize,
    /// Requests in flight on one connection, at least 1.
    pub pipeline: usize,
    /// Closed or open loop.
    pub pace: Pace,
}

/// When a run ends: once both are reached.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// Measured time.
    pub duration: Duration,
    /// Units, warm-up included.
    pub units: u64,
}

/// Where and how long.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The server.
    pub addr: SocketAddr,
    /// Its process, where it is known, for its processor time.
    pub server_pid: Option<u32>,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub until: Until,
}

/// What one group measured.
#[derive(Debug)]
pub struct Measured {
    /// As in [`Group`].
    pub name: String,
    /// Of what was not refused for want of capacity, nanoseconds.
    pub latency: Histogram<u64>,
    /// Of what was refused for want of capacity (429, 503), nanoseconds.
    pub refused: Histogram<u64>,
    /// Refusals in each whole second.
    pub refused_per_second: Vec<u64>,
    /// Answers as they should be.
    pub requests: u64,
    /// Units achieved.
    pub units: u64,
    /// Units in each whole second.
    pub per_second: Vec<u64>,
    /// Status and problem code of what should not have been, counted. Status 0: no answer.
    pub errors: BTreeMap<(u16, String), u64>,
    /// Sampled Server-Timing: nanoseconds in all and samples, by stage.
    pub stages: BTreeMap<String, (u64, u64)>,
}

/// What a run measured.
#[derive(Debug)]
pub struct Outcome {
    /// Rates and latencies.
    pub measured: Measured,
    /// Units of the whole run: warm-up, measured time and the answers after it.
    pub units_in_all: u64,
    /// Posts and voids of holds that were asked for beside those units.
    pub settled: u64,
    /// Measured time, up to the moment when nothing more was sent.
    pub elapsed: Duration,
    /// Processor time of this process in that span.
    pub generator_cpu: CpuTime,
    /// Processor time of the server, where its process is known.
    pub server_cpu: Option<CpuTime>,
    /// Memory allocations of the server meanwhile, where its binary counts them (`count-allocations`).
    pub server_allocations: Option<u64>,
}

/// Runs the group against the server; `progress` is called about once a second with the measured time.
///
/// # Errors
/// No connection can be made, or more than 100 broke.
pub fn run(setting: Setting, group: Group<'_>, progress: &mut dyn FnMut(Duration)) -> io::Result<Outcome> {
    let mut load = Load::connect(setting, group)?;
    load.start()?;
    load.run_until_the_end(progress)?;
    Ok(load.finish())
}

struct Load<'a> {
    setting: Setting,
    poller: Poller,
    connections: Vec<Connection>,
    group: Group<'a>,
    measured: Measured,
    /// Open loop: when the next request is due.
    due: Instant,
    /// Open loop: between two requests.
    interval: Duration,
    /// Open loop: connections with room for a request.
    free: VecDeque<usize>,
    measured_from: Instant,
    measuring: bool,
    sending: bool,
    units_in_all: u64,
    answers: u64,
    reconnects: u64,
    cpu_before: (CpuTime, Option<CpuTime>),
    /// Set when sending stops.
    cpu_used: (CpuTime, Option<CpuTime>),
    /// Allocations of the server at the start, where its binary counts them, and while measuring.
    allocations_before: Option<u64>,
    allocations_used: Option<u64>,
    elapsed: Duration,
}

impl<'a> Load<'a> {
    fn connect(setting: Setting, group: Group<'a>) -> io::Result<Self> {
        let poller = Poller::new()?;
        let mut connections = Vec::with_capacity(group.connections);
        for index in 0..group.connections {
            let connection = Connection::open(setting.addr)?;
            poller.add(connection.socket(), index as u64)?;
            connections.push(connection);
        }
        let interval = match group.pace {
            Pace::Closed => Duration::ZERO,
            Pace::Open(rate) => Duration::from_secs_f64(1.0 / rate),
        };
        let now = Instant::now();
        Ok(Load {
            setting,
            poller,
            measured: Measured::new(group.name),
            due: now,
            interval,
            free: (0..connections.len()).collect(),
            connections,
            group,
            measured_from: now + setting.warm_up,
            measuring: false,
            sending: true,
            units_in_all: 0,
            answers: 0,
            reconnects: 0,
            cpu_before: <_>::default(),
            cpu_used: <_>::default(),
            allocations_before: setting.server_pid.and_then(|_| allocations(setting.addr)),
            allocations_used: None,
            elapsed: Duration::ZERO,
        })
    }

    fn start(&mut self) -> io::Result<()> {
        if self.group.pace == Pace::Closed {
            for index in 0..self.connections.len() {
                for _ in 0..self.group.pipeline {
                    self.send(index, None)?;
                }
            }
        }
        Ok(())
    }

    fn run_until_the_end(&mut self, progress: &mut dyn FnMut(Duration)) -> io::Result<()> {
        let mut told = Instant::now();
        loop {
            let now = Instant::now();
            if self.sending {
                self.turn_phases(now);
                if now.duration_since(told) >= Duration::from_secs(1) {
                    told = now;
                    progress(now.saturating_duration_since(self.measured_from));
                }
            }
            if self.sending {
                self.send_what_is_due(now)?;
            } else if self.connections.iter().all(|connection| connection.in_flight.is_empty())
                || now.duration_since(self.measured_from) > self.elapsed + DRAIN_TIME
            {
                return Ok(());
            }
            let count = self.poller.wait(self.time_to_wait(now))?;
            for event in 0..count {
                let index = usize::try_from(self.poller.token(event)).expect("tokens are indices");
                if let Err(error) = self.serve(index) {
                    self.replace(index, &error)?;
                }
            }
        }
    }

    /// Warm-up to measuring, measuring to draining.
    fn turn_phases(&mut self, now: Instant) {
        if !self.measuring && now >= self.measured_from {
            self.measuring = true;
            self.measured_from = now;
            self.measured = Measured::new(self.group.name);
            self.cpu_before = self.cpu_now();
            self.allocations_before = self.allocations_now();
        }
        let until = self.setting.until;
        let elapsed = now.saturating_duration_since(self.measured_from);
        if self.measuring && elapsed >= until.duration && self.units_in_all >= until.units {
            self.sending = false;
            self.elapsed = elapsed;
            let (generator, server) = self.cpu_now();
            let since = |now: Option<CpuTime>, before: Option<CpuTime>| Some(now?.since(before?));
            let made = |now: u64, before: u64| now.saturating_sub(before);
            self.allocations_used =
                self.allocations_now().zip(self.allocations_before).map(|(now, before)| made(now, before));
            self.cpu_used = (generator.since(self.cpu_before.0), since(server, self.cpu_before.1));
        }
    }

    /// Asked only of a server that was found to count.
    fn allocations_now(&self) -> Option<u64> {
        self.allocations_before.and_then(|_| allocations(self.setting.addr))
    }

    fn cpu_now(&self) -> (CpuTime, Option<CpuTime>) {
        let own = machine::cpu_time(std::process::id()).unwrap_or_default();
        (own, self.setting.server_pid.and_then(machine::cpu_time))
    }

    fn time_to_wait(&self, now: Instant) -> Duration {
        let mut wait = Duration::from_millis(100);
        if self.sending {
            if !self.measuring {
                wait = wait.min(self.measured_from.saturating_duration_since(now));
            }
            // With no free connection the next send waits for an answer, not for the clock.
            if self.group.pace != Pace::Closed && !self.free.is_empty() {
                wait = wait.min(self.due.saturating_duration_since(now));
            }
        }
        wait
    }

    fn send_what_is_due(&mut self, now: Instant) -> io::Result<()> {
        if self.group.pace == Pace::Closed {
            return Ok(());
        }
        while self.due <= now
            && let Some(index) = self.free.pop_front()
        {
            let due = self.due;
            self.due += self.interval;
            self.send(index, Some(due))?;
            if self.connections[index].in_flight.len() < self.group.pipeline && !self.free.contains(&index) {
                self.free.push_back(index);
            }
        }
        Ok(())
    }

    /// Writes one request on a connection. Its latency counts from `due`, or from now.
    fn send(&mut self, index: usize, due: Option<Instant>) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let units = self.group.source.write_request(connection.out());
        let at = due.unwrap_or_else(Instant::now);
        connection.in_flight.push_back(Sent { at, units });
        match connection.flush() {
            Ok(()) => Ok(()),
            Err(error) => self.replace(index, &error),
        }
    }

    /// Takes all answers that have arrived on a connection, and sends what follows them.
    fn serve(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.flush()?;
        connection.fill()?;
        let now = Instant::now();
        let mut answered = 0;
        loop {
            let oldest = connection.in_flight.front().copied();
            let Some(answer) = connection.next_answer()? else { break };
            let sent = oldest.ok_or_else(|| io::Error::other("an answer that nobody asked for"))?;
            answered += 1;
            self.answers += 1;
            let achieved = self.group.source.take_answer(&answer, sent.units);
            self.measured.note(&answer, achieved, now - sent.at, self.answers.is_multiple_of(STAGE_SAMPLING));
            let is_refused = achieved.is_none() && is_want_of_capacity(answer.status);
            let achieved = achieved.unwrap_or(0);
            self.units_in_all += achieved;
            if self.measuring && self.sending {
                let since_start = now.saturating_duration_since(self.measured_from);
                self.measured.note_second(since_start, achieved);
                count_second(&mut self.measured.refused_per_second, since_start, u64::from(is_refused));
            }
            connection.in_flight.pop_front();
        }
        match self.group.pace {
            Pace::Closed if self.sending => {
                for _ in 0..answered {
                    self.send(index, None)?;
                }
            }
            Pace::Open(_) if answered > 0 && !self.free.contains(&index) => self.free.push_back(index),
            _ => {}
        }
        Ok(())
    }

    /// Counts what was lost with a broken connection and opens another in its place.
    fn replace(&mut self, index: usize, error: &io::Error) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let lost = connection.in_flight.len() as u64;
        if lost > 0 {
            *self.measured.errors.entry((0, format!("connection lost: {error}"))).or_default() += lost;
        }
        self.reconnects += 1;
        if self.reconnects > RECONNECTS_MAX {
            return Err(io::Error::new(error.kind(), format!("more than {RECONNECTS_MAX} connections broke: {error}")));
        }
        *connection = Connection::open(self.setting.addr)?;
        self.poller.add(connection.socket(), index as u64)?;
        match self.group.pace {
            Pace::Closed if self.sending => {
                for _ in 0..self.group.pipeline {
                    self.send(index, None)?;
                }
            }
            Pace::Open(_) if !self.free.contains(&index) => self.free.push_back(index),
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        let end = self.measured_from + self.elapsed;
        for sent in self.connections.iter().flat_map(|connection| &connection.in_flight) {
            *self.measured.errors.entry((0, "no answer".to_owned())).or_default() += 1;
            self.measured.latency.saturating_record(nanos(sent.at.elapsed()));
        }
        while self.interval > Duration::ZERO && self.due < end {
            self.measured.latency.saturating_record(nanos(end - self.due));
            self.due += self.interval;
        }
        Outcome {
            measured: self.measured,
            units_in_all: self.units_in_all,
            settled: self.group.source.settled(),
            elapsed: self.elapsed,
            generator_cpu: self.cpu_used.0,
            server_cpu: self.cpu_used.1,
            server_allocations: self.allocations_used,
        }
    }
}

/// Memory allocations of a server since its start, if it counts them.
fn allocations(addr: SocketAddr) -> Option<u64> {
    let key = super::credentials::line();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: munim\r\n{key}connection: close\r\n\r\n");
    let (_, text) = ask(addr, request.as_bytes(), Duration::from_secs(2)).ok()?;
    json_number(&text, b"munim_allocations_total ")
}

impl Measured {
    fn new(name: &str) -> Self {
        let empty = || Histogram::new_with_bounds(100, 120_000_000_000, 3).expect("bounds in order, digits below 5");
        Measured {
            name: name.to_owned(),
            latency: empty(),
            refused: empty(),
            refused_per_second: Vec::new(),
            requests: 0,
            units: 0,
            per_second: Vec::new(),
            errors: BTreeMap::new(),
            stages: BTreeMap::new(),
        }
    }

    fn note(&mut self, answer: &Answer<'_>, achieved: Option<u64>, latency: Duration, sample_stages: bool) {
        let is_refused = achieved.is_none() && is_want_of_capacity(answer.status);
        if is_refused { &mut self.refused } else { &mut self.latency }.saturating_record(nanos(latency));
        match achieved {
            Some(_) => self.requests += 1,
            None => {
                let code = json_text(answer.body, b"\"code\":\"").unwrap_or("unexpected answer").to_owned();
                *self.errors.entry((answer.status, code)).or_default() += 1;
            }
        }
        if sample_stages && let Some(timing) = answer.header(b"server-timing:") {
            for (stage, took) in server_timing(timing) {
                let sum = self.stages.entry(stage.to_owned()).or_default();
                *sum = (sum.0 + nanos(took), sum.1 + 1);
            }
        }
    }

    /// Units count when their answer came before sending stopped: the rate's numerator and
    /// denominator end at the same moment.
    fn note_second(&mut self, since_start: Duration, units: u64) {
        self.units += units;
        count_second(&mut self.per_second, since_start, units);
    }
}

/// 429 and 503 say that the server has no capacity now; anything else is no answer to load.
fn is_want_of_capacity(status: u16) -> bool {
    matches!(status, 429 | 503)
}

fn count_second(per_second: &mut Vec<u64>, since_start: Duration, count: u64) {
    let second = usize::try_from(since_start.as_secs()).unwrap_or(usize::MAX);
    if second >= per_second.len() {
        per_second.resize(second + 1, 0);
    }
    per_second[second] += count;
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Stages and durations of a Server-Timing value; entries without `dur` are left out.
fn server_timing(value: &[u8]) -> impl Iterator<Item = (&str, Duration)> {
    value.split(|byte| *byte == b',').filter_map(|entry| {
        let name = entry.split(|byte| *byte == b';').next()?.trim_ascii();
        let from = find(entry, b"dur=")? + 4;
        let rest = &entry[from..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let millis: f64 = std::str::from_utf8(&rest[..length]).ok()?.parse().ok()?;
        Some((std::str::from_utf8(name).ok()?, Duration::try_from_secs_f64(millis / 1e3).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::shape::{Accounts, Dice, Shape};
    use crate::cli::bench::source::{Batches, Keys, Reply, Singles};
    use crate::cli::bench::stub::Stub;

    fn dice(shape: Shape) -> Dice {
        Dice::new(1, shape, Accounts::from_numbers((1..=50).collect()))
    }

    fn singles() -> Singles {
        Singles::new(dice(Shape::Spread), Keys::new(1, 2, "s"))
    }

    fn run_against(stub: &Stub, source: &mut dyn Source, pace: Pace, millis: u64, units: u64) -> Outcome {
        let until = Until { duration: Duration::from_millis(millis), units };
        let setting = Setting { addr: stub.addr(), server_pid: None, warm_up: Duration::ZERO, until };
        run(setting, Group { name: "test", source, connections: 4, pipeline: 2, pace }, &mut |_| {}).unwrap()
    }

    #[test]
    fn a_closed_loop_counts_every_answer_once() {
        let stub = Stub::start(u64::MAX, Duration::ZERO);
        let outcome = run_against(&stub, &mut singles(), Pace::Closed, 0, 500);
        assert!(outcome.measured.errors.is_empty(), "{:?}", outcome.measured.errors);
        assert!(outcome.units_in_all >= 500);
        assert_eq!(outcome.measured.latency.len(), outcome.measured.requests);
        assert_eq!(outcome.units_in_all, stub.asked());
        assert_eq!(outcome.measured.stages["total"].0, outcome.measured.stages["total"].1 * 2_000_000);
    }

    #[test]
    fn batches_larger_than_every_buffer_go_through() {
        let stub = Stub::start(u64::MAX, Duration::ZERO);
        let mut source = Batches::new(dice(Shape::Holds), Keys::new(1, 2, "b"), 8_000, Reply::Minimal);
        let outcome = run_against(&stub, &mut source, Pace::Closed, 0, 60_000);
        assert!(outcome.measured.errors.is_empty(), "{:?}", outcome.measured.errors);
        let made: u64 = source.made.iter().map(|run| u64::from(run.count)).sum();
        assert_eq!(made, outcome.units_in_all);
        assert!(outcome.settled > 0);
    }

    #[test]
    fn refusals_are_counted_by_status_and_code_and_are_no_work() {
        let stub = Stub::start(10, Duration::ZERO);
        let outcome = run_against(&stub, &mut singles(), Pace::Closed, 0, 90);
        let refused = outcome.measured.errors[&(422, "insufficient_funds".to_owned())];
        assert_eq!(refused, stub.asked() / 10);
        assert_eq!(outcome.units_in_all + refused, stub.asked());
    }

    #[test]
    fn an_open_loop_charges_a_stall_to_every_request_that_was_due_in_it() {
        // One connection with one place, so that everybody waits behind the first.
        let stub = Stub::start(u64::MAX, Duration::from_millis(200));
        let until = Until { duration: Duration::from_millis(400), units: 0 };
        let setting = Setting { addr: stub.addr(), server_pid: None, warm_up: Duration::ZERO, until };
        let mut source = singles();
        let group = Group { name: "test", source: &mut source, connections: 1, pipeline: 1, pace: Pace::Open(500.0) };
        let measured = run(setting, group, &mut |_| {}).unwrap().measured;
        // 200 were due, 100 of them in the stall: the k-th of those waited 200 ms - 2k ms at least.
        assert!(measured.latency.len() >= 195, "{}", measured.latency.len());
        let late = measured.latency.len() - measured.latency.count_between(0, 50_000_000);
        assert!(late >= 70, "{late} of {} were charged with the stall", measured.latency.len());
    }

    #[test]
    fn a_server_that_is_gone_ends_the_run() {
        let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let until = Until { duration: Duration::ZERO, units: 1 };
        let setting = Setting { addr, server_pid: None, warm_up: Duration::ZERO, until };
        let group = Group { name: "test", source: &mut singles(), connections: 1, pipeline: 1, pace: Pace::Closed };
        assert!(run(setting, group, &mut |_| {}).is_err());
    }

    #[test]
    fn server_timing_is_read_with_and_without_descriptions() {
        let value = br#"accept;dur=0.25, journal;desc="batch=37";dur=1.5, idle, total;dur=3"#;
        let stages: Vec<_> = server_timing(value).collect();
        assert_eq!(stages.len(), 3);
        assert_eq!(stages[1], ("journal", Duration::from_micros(1500)));
    }
}
