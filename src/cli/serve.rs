//! `munim serve`: one data folder, its sockets, from start to drain.
//!
//! A start:
//! 1. the folder's lock (`--wait-for-lock`), the sockets (`listen.rs`), both before anybody is answered;
//! 2. sockets are served at once: health checks are answered, and where the socket was handed over,
//!    or the lock waited for, other requests wait for the books;
//! 3. the books are opened, the first API key is made if there never was one, the waiting requests go
//!    on, the service manager is told.
//!
//! An end, by SIGTERM, SIGINT or a [`Stop`]; a second signal hurries it on to step 4:
//! 1. `readyz` fails, so that balancers look elsewhere, for `--drain-delay-ms`;
//! 2. still serving, a checkpoint, if many entries came since the last: the successor replays what
//!    no checkpoint holds, and that would be its clients' pause;
//! 3. no more connections are accepted (they queue for the successor), answers say `Connection: close`
//!    or GOAWAY, idle connections are closed last (`http/accept/connection.rs`);
//! 4. when the last connection is gone the engine closes its files.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::config::{LENDER_CHARS_MAX, LENDER_DEFAULT};
use crate::disk::{DelayDisk, Disk, LOCK_NAME};
use crate::engine::Engine;
use crate::engine::clock::SystemTimeSource;
use crate::http::accept::AcceptLimits;
use crate::http::gateway::token::Tokens;
use crate::http::tls::watch_files;
use crate::http::{Edge, EdgeOptions};
use crate::jobs::alerts::{Heard, listen};
use crate::jobs::documents::fonts::undrawable;

use super::folder::{EngineArgs, FolderError, open_to_write};
use super::keys::files::{KeyFileError, make_first_key, tokens_of};
use super::listen::{ListenArgs, ListenError, Sockets, plain};
use super::measure::{self, MeasureArgs};
use super::runtimes::Runtimes;
use super::workers::{Folder, WorkArgs, WorkError, Workers};
use super::{EXIT_STORAGE_FAILED, fail, hooks, process_limits, service_manager};

/// How often the files of a certificate are looked at.
const TLS_FILES_EVERY: Duration = Duration::from_secs(3);

/// How long a request that came between two processes waits for the books: a million accounts open
/// in about a second, and clients seldom wait longer than this.
const OPENING_PATIENCE: Duration = Duration::from_secs(30);

/// Entries that the successor would replay in about 10 ms: below this a checkpoint at the end costs
/// more than it saves.
const ENTRIES_LEFT_TO_REPLAY: u64 = 30_000;

/// How long the checkpoint at the end may keep the rest of the end waiting.
const LAST_CHECKPOINT_TIME: Duration = Duration::from_secs(10);

/// Arguments of `munim serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The data folder; made where it is missing.
    #[arg(long, env = "MUNIM_DATA", default_value = "munim-data")]
    pub data: PathBuf,
    /// The address to listen on, unless sockets are handed over (LISTEN_FDS). Port 0 takes a free one.
    #[arg(long, env = "MUNIM_LISTEN", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,
    /// The sockets.
    #[command(flatten)]
    pub sockets: ListenArgs,
    /// Wait so many seconds for another server to let go of the folder.
    #[arg(long, env = "MUNIM_WAIT_FOR_LOCK", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400), default_value_t = 0)]
    pub wait_for_lock: u64,
    /// Milliseconds of failing `readyz` before connections are turned away: give a balancer the time
    /// of two of its checks. None is needed where the socket is handed on.
    #[arg(long, env = "MUNIM_DRAIN_DELAY_MS", value_parser = clap::value_parser!(u64).range(..=600_000), default_value_t = 0)]
    pub drain_delay_ms: u64,
    /// Milliseconds that idle connections of HTTP/1.1 stay open after that, for requests on their way.
    #[arg(long, env = "MUNIM_IDLE_GRACE_MS", value_parser = clap::value_parser!(u64).range(..=60_000), default_value_t = 200)]
    pub idle_grace_ms: u64,
    /// Seconds that requests in flight get to finish at the end.
    #[arg(long, env = "MUNIM_DRAIN_SECONDS", value_parser = clap::value_parser!(u64).range(..=3600), default_value_t = 10)]
    pub drain_seconds: u64,
    /// Start although the storage failed earlier in this boot; run `munim verify` first.
    #[arg(long)]
    pub accept_storage_failure: bool,
    /// Threads that serve connections (default: the number of cores).
    #[arg(long, env = "MUNIM_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// An origin whose pages may ask this server from a browser, such as https://till.example; several by
    /// commas, none by default.
    #[arg(long = "cors-origin", env = "MUNIM_CORS_ORIGIN", value_delimiter = ',', value_parser = crate::http::cors::parse_origin)]
    pub cors_origins: Vec<String>,
    /// The lender's name, as it stands on documents.
    #[arg(long, env = "MUNIM_LENDER_NAME", value_name = "NAME", value_parser = lender_name, default_value = LENDER_DEFAULT)]
    pub lender_name: String,
    /// Log as text or JSON lines, on stderr.
    #[arg(long, env = "MUNIM_LOG_FORMAT", default_value = "text")]
    pub log_format: crate::telemetry::LogFormat,
    /// Settings file, instead of /etc/munim/munim.toml and DIR/munim.toml. Read before anything else (`config_file`).
    #[arg(long, env = "MUNIM_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Traces and alerts.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// What works after the answer.
    #[command(flatten)]
    pub work: WorkArgs,
    /// The engine.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// A name that documents can show.
///
/// # Errors
/// A sentence about what is wrong with it.
pub fn lender_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match undrawable(name) {
        Some(character) => Err(format!("no font of ours has {character:?}")),
        None if name.is_empty() => Err("it is empty".to_owned()),
        None if name.chars().count() > LENDER_CHARS_MAX => {
            Err(format!("it has more than {LENDER_CHARS_MAX} characters"))
        }
        None => Ok(name.to_owned()),
    }
}

/// Serves until SIGTERM or SIGINT.
#[must_use]
pub fn run(args: &ServeArgs) -> ExitCode {
    crate::telemetry::start_log(args.log_format);
    match serve(args, &Stop::default(), |_, _| {}) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ServeError::Folder(error)) => {
            let is_storage = matches!(error, FolderError::StorageFailed { .. });
            let status = fail(&error);
            if is_storage { ExitCode::from(EXIT_STORAGE_FAILED) } else { status }
        }
        Err(error) => fail(&error),
    }
}

/// Why a folder is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The API keys cannot be used.
    #[error(transparent)]
    Keys(KeyFileError),
    /// Nothing can be done after the answer.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// There is nothing to listen on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address is not one that is served.
    #[error(transparent)]
    Address(#[from] crate::http::ServeError),
    /// Traces or alert rules are not what they should be.
    #[error("{0}")]
    Measure(String),
    /// A thread or a signal handler could not be set up.
    #[error("could not start serving")]
    Start(#[from] std::io::Error),
}

/// Asks a running server of this process to stop, as a signal would.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Notify>);

impl Stop {
    /// Stops it.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

/// Serves a folder until a signal or `stop`. The address answers health checks while the books are
/// being opened; `ready` is called, on a thread of its own, once they are.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    args: &ServeArgs,
    stop: &Stop,
    ready: impl FnOnce(&Arc<Engine>, SocketAddr) + Send + 'static,
) -> Result<(), ServeError> {
    let workers = args.workers.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    raise_limits();
    // Locked before anything listens: a second server on the folder must not answer first.
    let is_new = !args.data.exists();
    let disk = lock(args)?;
    let runtimes = Runtimes::start(workers)?;
    let inside = runtimes.main().enter();
    let (closing, closed) = watch::channel(false);
    let options = args.edge_options();
    let (ear, heard) = listen();
    let edge = measure::edge(&args.measure, &options, vec![Box::new(ear)])?;
    let sockets = Sockets::take(args.listen).inspect_err(|_| leave_no_trace(args, is_new))?;
    // Their clients waited in a queue, or at a balancer, for one server to follow the other.
    if sockets.are_handed_over || args.wait_for_lock > 0 {
        edge.hold_requests_while_opening(OPENING_PATIENCE);
    }
    let open = sockets.open(&args.sockets, &args.data)?;
    let plain = plain(&args.sockets);
    let limits = args.limits();
    let _measuring = measure::start(&edge, &limits, &runtimes.handles())?;
    let serving = crate::http::serve(open.listeners, plain, runtimes.handles(), Arc::clone(&edge), limits, closed);
    let mut serving = tokio::spawn(serving);
    let asking = tokio::spawn(service_manager::ask_for_time("opening the books"));
    let (engine, tokens, workers) = match open_all(disk, &edge, heard, args) {
        Ok(opened) => opened,
        Err(error) => {
            drop(inside);
            runtimes.end();
            return Err(error);
        }
    };
    asking.abort();
    // Before anybody is told that we listen: a signal that comes then is a drain, and not the end.
    let mut signals = Signals::listen()?;
    edge.open(hooks::books(&engine, tokens, Some(workers.jobs.clone())));
    for url in &open.urls {
        // Nobody may be reading; that is no reason not to serve.
        let _ = writeln!(std::io::stdout(), "listening on {url}").and_then(|()| std::io::stdout().flush());
    }
    service_manager::ready(&open.urls);
    tokio::spawn(service_manager::feed_watchdog(Arc::clone(&engine), runtimes.handles()));
    if let Some(front) = open.front {
        tokio::spawn(watch_files(front, TLS_FILES_EVERY));
    }
    let core = Arc::clone(engine.core());
    std::thread::Builder::new().name("warm".into()).spawn(move || core.warm())?;
    let for_ready = Arc::clone(&engine);
    std::thread::Builder::new().name("ready".into()).spawn(move || ready(&for_ready, open.first))?;
    let ended = runtimes.main().block_on(async {
        tokio::select! {
            ended = &mut serving => return ended,
            () = signals.next() => {}
            () = stop.0.notified() => {}
        }
        drain(args, &edge, &engine, &mut signals).await;
        // Every receiver is gone only when serving has ended by itself.
        let _ = closing.send(true);
        finish(&mut serving, &mut signals).await
    });
    workers.end();
    engine.shut_down();
    drop(inside);
    runtimes.end();
    match ended {
        Ok(served) => Ok(served?),
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => Err(ServeError::Start(std::io::Error::other(error))),
    }
}

fn raise_limits() {
    match process_limits::raise_open_files() {
        Ok(files) => tracing::debug!(files, "files and connections that this process may hold"),
        Err(error) => tracing::warn!(%error, "could not raise the number of open files"),
    }
}

/// The books, and what works after the answer; nothing is left open where one of them is not.
fn open_all(
    disk: Arc<dyn Disk>,
    edge: &Arc<Edge>,
    heard: Heard,
    args: &ServeArgs,
) -> Result<(Arc<Engine>, Tokens, Workers), ServeError> {
    let zone = args.engine.options(&args.data)?.zone;
    let folder = Folder { data: &args.data, disk: Arc::clone(&disk), lender: &args.lender_name, zone };
    let (engine, tokens) = open_books(disk, args)?;
    let workers = Workers::start(&engine, edge, &tokens, folder, heard, &args.work);
    let workers = workers.inspect_err(|_| engine.shut_down())?;
    Ok((engine, tokens, workers))
}

impl ServeArgs {
    fn edge_options(&self) -> EdgeOptions {
        EdgeOptions {
            cors_origins: self.cors_origins.clone(),
            lender: Some(self.lender_name.clone()),
            ..EdgeOptions::default()
        }
    }

    fn limits(&self) -> AcceptLimits {
        let mut limits = AcceptLimits::with_connections_max(self.sockets.connections_max as usize)
            .with_address_connections_max(self.sockets.address_connections_max);
        limits.idle_grace = Duration::from_millis(self.idle_grace_ms);
        limits.drain_timeout = Duration::from_secs(self.drain_seconds);
        limits
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Steps 1 and 2 of the end.
async fn drain(args: &ServeArgs, edge: &Edge, engine: &Arc<Engine>, signals: &mut Signals) {
    tracing::info!("draining: requests in flight are finished, new connections are left to others");
    edge.drain();
    service_manager::stopping();
    tokio::spawn(service_manager::ask_for_time("finishing requests in flight"));
    let calm = async {
        tokio::time::sleep(Duration::from_millis(args.drain_delay_ms)).await;
        if engine.core().entries_since_checkpoint() > ENTRIES_LEFT_TO_REPLAY {
            let engine = Arc::clone(engine);
            let checkpoint = tokio::task::spawn_blocking(move || engine.core().checkpoint_now());
            // A checkpoint that takes longer goes on; the engine waits for it when it closes.
            let _ = tokio::time::timeout(LAST_CHECKPOINT_TIME, checkpoint).await;
        }
    };
    tokio::select! {
        () = calm => {}
        () = signals.next() => tracing::info!("asked again: not waiting any longer"),
    }
}

/// Step 3: until the last connection is gone, or somebody asks again.
async fn finish(
    serving: &mut JoinHandle<Result<(), crate::http::ServeError>>,
    signals: &mut Signals,
) -> Result<Result<(), crate::http::ServeError>, tokio::task::JoinError> {
    tokio::select! {
        biased;
        ended = &mut *serving => return ended,
        () = signals.next() => tracing::warn!("asked again: connections are cut"),
    }
    serving.abort();
    serving.await
}

/// Removes a folder that was made for a server that cannot listen: it holds nothing but the lock.
fn leave_no_trace(args: &ServeArgs, is_new: bool) {
    if is_new {
        // What cannot be removed is in nobody's way.
        let _ = std::fs::remove_file(args.data.join(LOCK_NAME));
        let _ = std::fs::remove_dir(&args.data);
    }
}

/// The folder's lock; waits for it as long as it may.
fn lock(args: &ServeArgs) -> Result<Arc<dyn Disk>, FolderError> {
    let until = Instant::now() + Duration::from_secs(args.wait_for_lock);
    loop {
        match open_to_write(&args.data, args.accept_storage_failure) {
            Err(FolderError::Held(_)) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            locked => return locked,
        }
    }
}

/// The engine and the tokens of its keys; books that never had a key have one after it.
fn open_books(disk: Arc<dyn Disk>, args: &ServeArgs) -> Result<(Arc<Engine>, Tokens), ServeError> {
    let engine = open_engine(disk, args)?;
    let with_keys = || {
        let tokens = tokens_of(&args.data, engine.core())?;
        if let Some(path) = make_first_key(&args.data, engine.core(), &tokens)? {
            tracing::info!(path = %path.display(), "made the first API key, an admin's: its token is in this file");
        }
        Ok(tokens)
    };
    match with_keys() {
        Ok(tokens) => Ok((engine, tokens)),
        Err(error) => {
            engine.shut_down();
            Err(ServeError::Keys(error))
        }
    }
}

fn open_engine(disk: Arc<dyn Disk>, args: &ServeArgs) -> Result<Arc<Engine>, FolderError> {
    let delay = Duration::from_millis(args.engine.sync_delay_ms);
    let disk = if delay.is_zero() { disk } else { Arc::new(DelayDisk::over(disk, delay)) };
    let options = args.engine.options(&args.data)?;
    let started = Instant::now();
    let time = Box::new(SystemTimeSource::running(args.engine.clock_speed));
    let engine = Engine::start(&disk, &options, time)
        .map_err(|source| FolderError::Open { folder: args.data.clone(), source: Box::new(source) })?;
    let report = engine.recovery;
    tracing::info!(
        recovery.ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        recovery.checkpoint_seq = report.checkpoint_seq.0,
        recovery.replayed = report.replayed,
        recovery.rebuilt_store = report.rebuilt_store,
        "the books are open"
    );
    Ok(engine)
}
