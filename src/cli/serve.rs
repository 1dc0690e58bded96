//! `munim serve`: one data folder, one address.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::disk::DelayDisk;
use crate::engine::Engine;
use crate::engine::clock::SystemTimeSource;
use crate::http::server;

use super::folder::{EngineArgs, FolderError, open_to_write};
use super::{EXIT_STORAGE_FAILED, fail};

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
    /// The engine.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Serves until SIGTERM or SIGINT.
#[must_use]
pub fn run(args: &ServeArgs) -> ExitCode {
    crate::telemetry::start_log(args.log_format);
    let engine = match start(&args.data, &args.engine, args.accept_storage_failure) {
        Ok(engine) => engine,
        Err(error @ FolderError::StorageFailed { .. }) => {
            let _ = fail(&error);
            return ExitCode::from(EXIT_STORAGE_FAILED);
        }
        Err(error) => return fail(&error),
    };
    let said = |address: SocketAddr| {
        let _ = writeln!(std::io::stdout(), "listening on http://{address}");
        let _ = std::io::stdout().flush();
    };
    serve(&engine, args.listen, args, said)
}

/// Opens a folder and starts its engine.
///
/// # Errors
/// [`FolderError`].
pub fn start(folder: &Path, args: &EngineArgs, accept_storage_failure: bool) -> Result<Arc<Engine>, FolderError> {
    let disk = open_to_write(folder, accept_storage_failure)?;
    let delay = std::time::Duration::from_millis(args.sync_delay_ms);
    let disk = if delay.is_zero() { disk } else { Arc::new(DelayDisk::over(disk, delay)) };
    let options = args.options(folder)?;
    let started = std::time::Instant::now();
    let engine = Engine::start(&disk, &options, Box::new(SystemTimeSource::running(args.clock_speed)))
        .map_err(|source| FolderError::Open { folder: folder.to_path_buf(), source: Box::new(source) })?;
    let report = engine.recovery;
    tracing::info!(
        recovery.ms = started.elapsed().as_millis() as u64,
        recovery.checkpoint_seq = report.checkpoint_seq.0,
        recovery.replayed = report.replayed,
        recovery.rebuilt_store = report.rebuilt_store,
        "the books are open"
    );
    Ok(engine)
}

/// Serves an engine until a signal, then drains and shuts down.
pub fn serve(engine: &Arc<Engine>, listen: SocketAddr, args: &ServeArgs, said: impl FnOnce(SocketAddr)) -> ExitCode {
    let workers = args.workers.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let options = server::ServerOptions { workers, connections_max: args.connections_max as usize };
    let served = server::run(engine, listen, &options, said);
    engine.shut_down();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}
