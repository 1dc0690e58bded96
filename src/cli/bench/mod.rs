//! `munim bench`: load from a process of its own, and what the machine allows beside it.
//!
//! Promise: every figure names what it was measured on and stands beside its floor; a run with an
//! unexpected answer ends with exit status 1, one that could not run with 3.

mod connections;
mod credentials;
mod dayend;
mod epoll;
mod facts;
mod floor;
mod followers;
mod load;
mod machine;
mod recovery;
mod report;
mod restarts;
mod scenario;
mod server;
mod setup;
mod shape;
mod source;
#[cfg(test)]
mod stub;
mod successor;
mod websocket;
mod wire;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use connections::ConnectionsKind;
use load::Pace;
use shape::Shape;
use source::Reply;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchKind {
    /// One transfer a request.
    Transfers,
    /// Independent batches.
    Batch,
    /// Accounts, statements, balances at a date, transfers, one after the other.
    Read,
    /// Batches at full speed beside single transfers.
    Mixed,
    /// What the server can do, then more than that by an open loop, then half of it.
    Overload,
    /// Load, kill -9, start again, verify.
    Recovery,
    /// Loans, the ends of their days, and what happens beside them.
    Dayend,
    /// What connections cost that are idle, or slow on purpose.
    Connections,
    /// Single transfers over WebSockets, many in flight on each.
    Websockets,
    /// Followers of events, some of them slow, while transfers are posted.
    Followers,
    /// Restarts under load, the socket handed on: nothing may fail.
    Restarts,
    /// An HTTP echo by our accept loop, and append + fdatasync.
    Floor,
    /// The echo itself.
    #[value(hide = true)]
    FloorServer,
}

impl BenchKind {
    fn name(self) -> &'static str {
        match self {
            BenchKind::Transfers => "transfers",
            BenchKind::Batch => "batch",
            BenchKind::Read => "read",
            BenchKind::Mixed => "mixed",
            BenchKind::Overload => "overload",
            BenchKind::Recovery => "recovery",
            BenchKind::Dayend => "dayend",
            BenchKind::Connections => "connections",
            BenchKind::Websockets => "websockets",
            BenchKind::Followers => "followers",
            BenchKind::Restarts => "restarts",
            BenchKind::Floor => "floor",
            BenchKind::FloorServer => "floor-server",
        }
    }
}

/// Arguments of `munim bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// What to measure.
    #[arg(value_enum)]
    pub kind: BenchKind,
    /// Which, for `connections`.
    #[arg(value_enum)]
    pub which: Option<ConnectionsKind>,
    /// Measure this server (http://host:port) instead of starting one.
    #[arg(long, conflicts_with = "server_arg")]
    pub url: Option<String>,
    /// File with the bearer key for --url, one line.
    #[arg(long, requires = "url", value_name = "FILE", env = "MUNIM_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Process of the server at --url, for its memory and processor time.
    #[arg(long, requires = "url")]
    pub server_pid: Option<u32>,
    /// Empty data folder for the server that is started, kept afterwards [default: a temporary one here].
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// One more argument for the server that is started, as --server-arg=--shards=1; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub server_arg: Vec<String>,
    /// Connections [default: 64; batch: 4; overload: 2000; restarts: 200; connections idle: 10,000].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub connections: Option<u32>,
    /// How often `restarts` restarts.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub restarts: u32,
    /// Longest pause that `restarts` forgives, milliseconds; a longer one makes the exit status 1. None by
    /// default: on a shared machine it says more about the neighbours.
    #[arg(long, value_name = "MS")]
    pub pause_max_ms: Option<u64>,
    /// Connections that send batches in `mixed`.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub batch_connections: u32,
    /// Requests in flight on one connection [websockets: 32 where it is 1].
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub pipeline: u32,
    /// `transfers`: jobs that each transfer bears, a JSON array as in POST /v1/transfers.
    #[arg(long, value_name = "JSON", value_parser = jobs)]
    pub jobs: Option<Arc<str>>,
    /// Seconds measured (each kind of read for itself).
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// Seconds not counted before them.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Go on beyond the duration until so many transfers were made; in `recovery` how many are loaded.
    #[arg(long, default_value_t = 0)]
    pub transfers: u64,
    /// Accounts to create.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=20_000_000))]
    pub accounts: u32,
    /// Loans of `dayend`.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=20_000_000))]
    pub loans: u32,
    /// How transfers are spread over them [default: spread; read: zipf].
    #[arg(long, value_enum)]
    pub shape: Option<Shape>,
    /// Open loop: requests a second, latency from when each was due [default: closed loop].
    #[arg(long)]
    pub rate: Option<f64>,
    /// In `overload`, how many times the capacity is offered; --rate offers that many a second instead.
    #[arg(long, default_value_t = 3.0)]
    pub factor: f64,
    /// In `overload`, connections whose closed loop finds the capacity: at most what the server lets in at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub capacity_connections: u32,
    /// Items in a batch.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Reply asked for from a batch.
    #[arg(long, value_enum, default_value = "minimal")]
    pub reply: Reply,
    /// Transfers made by batches before anything is measured.
    #[arg(long, default_value_t = 0)]
    pub prefill: u64,
    /// Drop the system's page cache before each load is measured (needs root).
    #[arg(long)]
    pub drop_page_cache: bool,
    /// Seed of the bodies; keys also carry a nonce of the run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Leave out the floor (three seconds each, before and after).
    #[arg(long)]
    pub no_floor: bool,
    /// One JSON document instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Where the echo listens.
    #[arg(long, hide = true, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
}

impl BenchArgs {
    fn shape(&self) -> Shape {
        self.shape.unwrap_or(if self.kind == BenchKind::Read { Shape::Zipf } else { Shape::Spread })
    }

    fn connections(&self) -> usize {
        let default = match self.kind {
            BenchKind::Batch => 4,
            BenchKind::Overload => 2000,
            _ => 64,
        };
        self.connections.unwrap_or(default) as usize
    }

    fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Closed, Pace::Open)
    }

    /// Refuses what clap cannot: durations and rates that are no positive numbers.
    fn check(&self) -> Result<(), BenchError> {
        let day = 86_400.0;
        let fine = (0.0..=day).contains(&self.duration)
            && (0.0..=day).contains(&self.warm_up)
            && (0.01..=1_000.0).contains(&self.factor)
            && self.rate.is_none_or(|rate| (0.001..=10_000_000.0).contains(&rate));
        if fine { Ok(()) } else { Err(BenchError::Usage("a duration, warm-up or rate is out of range")) }
    }
}

/// Why a bench could not run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The operating system refused.
    #[error("could not {doing}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The server under test did not do its part.
    #[error("could not use the server: {0}")]
    Server(String),
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(&'static str),
}

impl BenchError {
    fn io(doing: &'static str, source: io::Error) -> Self {
        BenchError::Io { doing, source }
    }
}

/// Runs the bench. Exit status: 0 well, 1 an answer was not as it should be, 2 wrong use, 3 could not run.
#[must_use]
pub fn run(args: BenchArgs) -> ExitCode {
    // Best effort: who has fewer files than connections is told by the connection that fails.
    let _ = super::process_limits::raise_open_files();
    let said = |bad: bool, text: String| Some((bad, text));
    let of_report = |report: report::Report| {
        said(report.is_bad(), if args.json { format!("{:#}\n", report.to_json()) } else { report.to_table() })
    };
    let of_facts = |facts: facts::Facts| {
        said(facts.is_bad(), if args.json { format!("{:#}\n", facts.to_json()) } else { facts.to_table() })
    };
    let outcome = args.check().and_then(|()| match (args.kind, args.which) {
        (BenchKind::FloorServer, _) => floor::serve_echo(args.listen).map(|()| None),
        (BenchKind::Recovery, _) => recovery::run(&args).map(of_report),
        (BenchKind::Dayend, _) => dayend::run(&args).map(of_facts),
        (BenchKind::Websockets, _) => websocket::run(&args).map(of_facts),
        (BenchKind::Followers, _) => followers::run(&args).map(of_facts),
        (BenchKind::Restarts, _) => restarts::run(&args).map(of_facts),
        (BenchKind::Connections, Some(which)) => connections::run(&args, which).map(of_facts),
        (BenchKind::Connections, None) => Err(BenchError::Usage("say which: connections idle, connections slow")),
        _ => scenario::run(&args).map(of_report),
    });
    match outcome {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some((is_bad, text))) => {
            if let Err(error) = io::stdout().write_all(text.as_bytes()) {
                eprintln!("could not write the report: {error}");
                return ExitCode::from(3);
            }
            if is_bad { ExitCode::from(1) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            eprintln!("{error}{cause}");
            ExitCode::from(if matches!(error, BenchError::Usage(_)) { 2 } else { 3 })
        }
    }
}

fn jobs(text: &str) -> Result<Arc<str>, String> {
    let jobs: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|error| format!("no JSON array: {error}"))?;
    if jobs.is_empty() { Err("an array of at least one job".into()) } else { Ok(text.into()) }
}

/// A number that no other run has.
fn run_nonce() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let nanos = u64::try_from(now.as_nanos() & u128::from(u64::MAX)).expect("64 bits");
    nanos.rotate_left(20) ^ u64::from(std::process::id())
}
