//! `munim bench recovery`: what a power cut costs.
//!
//! 1. Load transfers by batches.
//! 2. kill -9 while batches are still coming in.
//! 3. Start again: time from the start of the process to `/readyz` 200.
//! 4. The first and the last acknowledged transfer must be there.
//! 5. kill -9 again, `munim verify` over the whole folder: its exit status and its rate.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::credentials;
use super::load::{self, Group, Pace, Setting, Until};
use super::machine::{Machine, allocated_bytes, filesystem_of};
use super::report::{RecoveryFigures, Report};
use super::server::{DataFolder, ServerProcess};
use super::setup::{create_accounts, prefill};
use super::shape::Dice;
use super::source::{Batches, Keys, Reply, TransferRun};
use super::wire::ask;
use super::{BenchArgs, BenchError, run_nonce};
use crate::domain::ids::{IdKind, format_id};

/// Transfers loaded when `--transfers` does not say.
const TRANSFERS_DEFAULT: u64 = 1_000_000;
/// Start-up after a kill: far above the two seconds that are asked for, so that a failure has a figure.
const READY_TIME: Duration = Duration::from_secs(300);

/// Runs it on a server of its own.
///
/// # Errors
/// It could not run; lost transfers and a verify that finds something are in the report instead.
pub fn run(args: &BenchArgs) -> Result<Report, BenchError> {
    if args.url.is_some() {
        return Err(BenchError::Usage("recovery kills its server, so it starts one of its own: leave out --url"));
    }
    let nonce = run_nonce();
    let folder = DataFolder::open(args.data.as_deref(), nonce)?;
    let books = folder.path().join("books");
    let mut report = Report::new(args, Machine::look(), filesystem_of(folder.path()));
    let server = ServerProcess::serve(&books, &args.server_arg)?;
    server.wait_ready(READY_TIME)?;
    let accounts = create_accounts(server.addr(), args.accounts, &mut Keys::new(args.seed, nonce, "a"))?;
    let dice = Dice::new(args.seed, args.shape(), accounts);
    let mut source = Batches::new(dice, Keys::new(args.seed, nonce, "b"), args.batch, Reply::Minimal);
    let wanted = if args.transfers == 0 { TRANSFERS_DEFAULT } else { args.transfers };
    prefill(server.addr(), &mut source, wanted)?;
    kill_under_load(server, &mut source);
    let acknowledged: u64 = source.made.iter().map(|run| u64::from(run.count)).sum();
    let bytes = allocated_bytes(&books);

    let server = ServerProcess::serve(&books, &args.server_arg)?;
    let ready = server.wait_ready(READY_TIME)?;
    // The last batch that was answered is the one most at risk; the first shows that history is whole.
    let probes = [source.made.first(), source.made.last()];
    let mut lost = 0;
    for run in probes.into_iter().flatten() {
        lost += u64::from(!is_there(&server, last_of(*run))?);
    }
    server.kill();

    let begun = Instant::now();
    let program = std::env::current_exe().map_err(|source| BenchError::io("find this program", source))?;
    let status = Command::new(program)
        .args(["verify", "--data"])
        .arg(&books)
        .stdout(Stdio::null())
        .status()
        .map_err(|source| BenchError::io("start verify", source))?;
    report.recovery = Some(RecoveryFigures {
        transfers: acknowledged,
        bytes,
        ready,
        acknowledged_lost: lost,
        verify: begun.elapsed(),
        verify_status: status.code().unwrap_or(-1),
    });
    Ok(report)
}

fn last_of(run: TransferRun) -> u64 {
    run.first + u64::from(run.count.max(1)) - 1
}

fn is_there(server: &ServerProcess, transfer: u64) -> Result<bool, BenchError> {
    let id = format_id(IdKind::Transfer, transfer);
    let key = credentials::line();
    let request = format!("GET /v1/transfers/{id} HTTP/1.1\r\nhost: munim\r\n{key}connection: close\r\n\r\n");
    let (status, _) = ask(server.addr(), request.as_bytes(), Duration::from_secs(10))
        .map_err(|source| BenchError::io("read a transfer after recovery", source))?;
    Ok(status == 200)
}

/// Keeps batches coming and kills the server between them: the load ends by its broken connections.
fn kill_under_load(server: ServerProcess, source: &mut Batches) {
    let addr = server.addr();
    let until = Until { duration: Duration::from_secs(3600), units: 0 };
    let setting = Setting { addr, server_pid: None, warm_up: Duration::ZERO, until };
    let mut server = Some(server);
    let group = Group { name: "until the kill", source, connections: 4, pipeline: 1, pace: Pace::Closed };
    // The error is the point of it: nobody listens any more.
    let _ = load::run(setting, group, &mut |_| {
        if let Some(server) = server.take() {
            server.kill();
        }
    });
}
