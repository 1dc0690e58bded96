//! `munim serve`: one data folder, one address.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::disk::{DelayDisk, Disk};
use crate::engine::Engine;
use crate::engine::clock::SystemTimeSource;
use crate::http::accept::AcceptLimits;

use super::folder::{EngineArgs, FolderError, open_to_write};
use super::measure::{self, MeasureArgs};
use super::{EXIT_STORAGE_FAILED, fail, hooks};

/// Arguments of `munim serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The data folder; made where it is missing.
    #[arg(long, env = "MUNIM_DATA", default_value = "munim-data")]
    pub data: PathBuf,
    /// The address to listen on; loopback only. Port 0 takes a free one.
    #[arg(long, env = "MUNIM_LISTEN", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,
    /// Start although the storage failed earlier in this boot; run `munim verify` first.
    #[arg(long)]
    pub accept_storage_failure: bool,
    /// Threads that serve connections (default: the number of cores).
    #[arg(long, env = "MUNIM_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Connections served at once.
    #[arg(long, env = "MUNIM_CONNECTIONS_MAX", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 16_384)]
    pub connections_max: u32,
    /// Log as text or JSON lines, on stderr.
    #[arg(long, env = "MUNIM_LOG_FORMAT", default_value = "text")]
    pub log_format: crate::telemetry::LogFormat,
    /// Traces and alerts.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// The engine.
    #[command(flatten)]
    pub engine: EngineArgs,
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
    /// The address cannot be listened on.
    #[error("could not listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
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
    // Locked before anything listens: a second server on the folder must not answer first.
    let disk = open_to_write(&args.data, args.accept_storage_failure)?;
    let runtimes = Runtimes::start(workers)?;
    let (closing, closed) = watch::channel(false);
    let edge = measure::edge(&args.measure)?;
    let listen = |source| ServeError::Listen(args.listen, source);
    let listener = runtimes.main().block_on(TcpListener::bind(args.listen)).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let limits = AcceptLimits::with_connections_max(args.connections_max as usize);
    let _measuring = measure::start(&edge, &limits, runtimes.main().handle(), workers)?;
    let serving = crate::http::serve(listener, runtimes.handles(), Arc::clone(&edge), limits, closed);
    let mut serving = runtimes.main().spawn(serving);
    let engine = match open_engine(disk, args) {
        Ok(engine) => engine,
        Err(error) => {
            runtimes.end();
            return Err(error.into());
        }
    };
    edge.open(hooks::books(&engine));
    // Nobody may be reading; that is no reason not to serve.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}").and_then(|()| std::io::stdout().flush());
    let core = Arc::clone(engine.core());
    std::thread::Builder::new().name("warm".into()).spawn(move || core.warm())?;
    let for_ready = Arc::clone(&engine);
    std::thread::Builder::new().name("ready".into()).spawn(move || ready(&for_ready, address))?;
    let ended = runtimes.main().block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            ended = &mut serving => return Ok::<_, std::io::Error>(Some(ended)),
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
            () = stop.0.notified() => {}
        }
        tracing::info!("draining: no new connections, requests in flight are finished");
        edge.drain();
        // Every receiver is gone only when serving has ended by itself.
        let _ = closing.send(true);
        Ok(Some((&mut serving).await))
    });
    engine.shut_down();
    runtimes.end();
    match ended? {
        Some(Ok(served)) => Ok(served?),
        Some(Err(error)) => Err(ServeError::Start(std::io::Error::other(error))),
        None => Ok(()),
    }
}

fn open_engine(disk: Arc<dyn Disk>, args: &ServeArgs) -> Result<Arc<Engine>, FolderError> {
    let delay = std::time::Duration::from_millis(args.engine.sync_delay_ms);
    let disk = if delay.is_zero() { disk } else { Arc::new(DelayDisk::over(disk, delay)) };
    let options = args.engine.options(&args.data)?;
    let started = std::time::Instant::now();
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

/// Threads for reads that wait for the disk, for each thread that serves connections.
const BLOCKING_THREADS_PER_WORKER: usize = 4;

/// The threads that serve connections.
struct Runtimes {
    main: tokio::runtime::Runtime,
}

impl Runtimes {
    fn start(workers: usize) -> std::io::Result<Runtimes> {
        let main = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            // Reads that miss the cache wait here for the disk; more threads than this only take turns.
            .max_blocking_threads((workers * BLOCKING_THREADS_PER_WORKER).max(8))
            .enable_all()
            .build()?;
        Ok(Runtimes { main })
    }

    fn main(&self) -> &tokio::runtime::Runtime {
        &self.main
    }

    fn handles(&self) -> Vec<tokio::runtime::Handle> {
        vec![self.main.handle().clone()]
    }

    fn end(self) {
        self.main.shutdown_timeout(std::time::Duration::from_secs(5));
    }
}
