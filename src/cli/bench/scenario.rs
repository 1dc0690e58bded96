//! The measured runs: transfers, batch, mixed, read, floor.
//!
//! 1. The floor: echo and disk, with no other server running.
//! 2. A server (or --url), its accounts, its history.
//! 3. The load, with memory and disk noted before and after.
//! 4. The server is killed, and the floor is measured again: the machines are shared, and a neighbour
//!    that came in between shows as two floors that differ.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::floor::{DiskFloor, measure_disk};
use super::load::{self, Group, Outcome, Pace, Setting, Source, Until};
use super::machine::{Machine, allocated_bytes, filesystem_of, resident_bytes};
use super::report::{DiskUse, Figure, Floors, Report};
use super::server::{DataFolder, ServerProcess, address_of, wait_ready};
use super::setup::{create_accounts, prefill, progress_bar};
use super::shape::{Accounts, Dice};
use super::source::{Batches, Echoed, Keys, ReadKind, Reads, Reply, Singles, TransferRun};
use super::{BenchArgs, BenchError, BenchKind, run_nonce};

/// How long each floor is measured.
const FLOOR_TIME: Duration = Duration::from_secs(3);
const FLOOR_WARM_UP: Duration = Duration::from_millis(300);
/// How long a server may take to become ready.
const READY_TIME: Duration = Duration::from_secs(120);
/// Days back that balances are asked for.
const PAST_DAYS: i64 = 30;

/// Runs what `args` ask for.
///
/// # Errors
/// It could not run; an answer that is not as it should be is in the report instead.
pub fn run(args: &BenchArgs) -> Result<Report, BenchError> {
    let bench = Bench { args, nonce: run_nonce() };
    let own_folder = match (&args.url, args.kind) {
        (None, _) | (_, BenchKind::Floor) => Some(DataFolder::open(args.data.as_deref(), bench.nonce)?),
        (Some(_), _) => None,
    };
    let folder = own_folder.as_ref().map_or(Path::new("."), DataFolder::path);
    let mut report = Report::new(args, Machine::look(), filesystem_of(folder));
    if args.kind == BenchKind::Floor {
        report.floors_before = Some(bench.floors(folder)?);
        return Ok(report);
    }
    if !args.no_floor {
        report.floors_before = Some(bench.floors(folder)?);
    }
    match &args.url {
        Some(url) => {
            let addr = address_of(url)?;
            wait_ready(addr, Instant::now(), READY_TIME)?;
            bench.measure(addr, args.server_pid, None, &mut report)?;
        }
        None => {
            let server = ServerProcess::serve(&folder.join("books"), &args.server_arg)?;
            server.wait_ready(READY_TIME)?;
            bench.measure(server.addr(), Some(server.pid()), Some(folder), &mut report)?;
            server.kill();
        }
    }
    if !args.no_floor {
        report.floors_after = Some(bench.floors(folder)?);
    }
    Ok(report)
}

struct Bench<'a> {
    args: &'a BenchArgs,
    nonce: u64,
}

impl Bench<'_> {
    /// Accounts, history, load; notes all of it in the report.
    fn measure(
        &self,
        addr: SocketAddr,
        pid: Option<u32>,
        folder: Option<&Path>,
        report: &mut Report,
    ) -> Result<(), BenchError> {
        let args = self.args;
        let accounts = create_accounts(addr, args.accounts, &mut self.keys("a"))?;
        let mut history = self.batches(&accounts, "p", Reply::Minimal);
        // Reads need something to read.
        let wanted = if args.kind == BenchKind::Read { args.prefill.max(u64::from(args.batch)) } else { args.prefill };
        if wanted > 0 {
            prefill(addr, &mut history, wanted)?;
        }
        report.resident_start = pid.and_then(resident_bytes);
        let bytes_before = folder.map(allocated_bytes);
        let setting = self.setting(addr, pid);
        let outcomes = match args.kind {
            BenchKind::Read => self.run_reads(setting, &accounts, &history.made)?,
            BenchKind::Mixed => self.run_mixed(setting, &accounts)?,
            BenchKind::Batch => vec![self.run_batches(setting, &accounts, args.connections(), args.pace(), true)?],
            _ => vec![self.run_singles(setting, &accounts)?],
        };
        report.resident_end = pid.and_then(resident_bytes);
        let transfers = outcomes.iter().map(|outcome| outcome.units_in_all).sum();
        if args.kind != BenchKind::Read {
            report.disk = folder
                .zip(bytes_before)
                .map(|(folder, before)| DiskUse { transfers, bytes: allocated_bytes(folder).saturating_sub(before) });
        }
        report.figures = outcomes.into_iter().map(Figure::of).collect();
        Ok(())
    }

    fn setting(&self, addr: SocketAddr, server_pid: Option<u32>) -> Setting {
        let duration = Duration::from_secs_f64(self.args.duration);
        let units = if self.args.kind == BenchKind::Read { 0 } else { self.args.transfers };
        let warm_up = Duration::from_secs_f64(self.args.warm_up);
        Setting { addr, server_pid, warm_up, until: Until { duration, units } }
    }

    fn keys(&self, stream: &str) -> Keys {
        Keys::new(self.args.seed, self.nonce, stream)
    }

    fn dice(&self, accounts: &Accounts, stream: u64) -> Dice {
        Dice::new(self.args.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream, self.args.shape(), accounts.clone())
    }

    fn singles(&self, accounts: &Accounts) -> Singles {
        Singles { dice: self.dice(accounts, 1), keys: self.keys("s") }
    }

    fn batches(&self, accounts: &Accounts, stream: &str, reply: Reply) -> Batches {
        Batches::new(self.dice(accounts, 2), self.keys(stream), self.args.batch, reply)
    }

    fn run_singles(&self, setting: Setting, accounts: &Accounts) -> Result<Outcome, BenchError> {
        let mut source = self.singles(accounts);
        self.load(setting, "transfers, one a request", &mut source, self.args.connections(), self.args.pace(), true)
    }

    fn run_batches(
        &self,
        setting: Setting,
        accounts: &Accounts,
        connections: usize,
        pace: Pace,
        show_progress: bool,
    ) -> Result<Outcome, BenchError> {
        let mut source = self.batches(accounts, "b", self.args.reply);
        self.load(setting, "transfers in batches", &mut source, connections, pace, show_progress)
    }

    /// Batches at full speed on a thread of their own, singles at the asked pace on this one.
    fn run_mixed(&self, setting: Setting, accounts: &Accounts) -> Result<Vec<Outcome>, BenchError> {
        let connections = self.args.batch_connections as usize;
        thread::scope(|scope| {
            let batches = scope.spawn(|| self.run_batches(setting, accounts, connections, Pace::Closed, false));
            let singles = self.run_singles(setting, accounts);
            let batches = batches.join().map_err(|_| BenchError::Server("the batch generator panicked".to_owned()))?;
            Ok(vec![singles?, batches?])
        })
    }

    fn run_reads(
        &self,
        setting: Setting,
        accounts: &Accounts,
        made: &[TransferRun],
    ) -> Result<Vec<Outcome>, BenchError> {
        let days = past_days();
        let read = |kind: ReadKind| {
            let mut source = Reads { kind, dice: self.dice(accounts, 3), made, days: &days };
            self.load(setting, kind.name(), &mut source, self.args.connections(), self.args.pace(), true)
        };
        ReadKind::ALL.into_iter().map(read).collect()
    }

    fn load(
        &self,
        setting: Setting,
        name: &'static str,
        source: &mut dyn Source,
        connections: usize,
        pace: Pace,
        show_progress: bool,
    ) -> Result<Outcome, BenchError> {
        let bar = show_progress.then(|| progress_bar(setting.until.duration.as_secs(), name));
        let group = Group { name, source, connections, pipeline: self.args.pipeline as usize, pace };
        let outcome = load::run(setting, group, &mut |elapsed| {
            if let Some(bar) = &bar {
                bar.set_position(elapsed.as_secs());
            }
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        outcome.map_err(|source| BenchError::io("keep up the load", source))
    }

    /// Echo and disk.
    fn floors(&self, folder: &Path) -> Result<Floors, BenchError> {
        let disk: DiskFloor = measure_disk(folder, FLOOR_TIME)?;
        let echo_server = ServerProcess::start(["bench", "floor-server"].map(Into::into).into())?;
        let setting = Setting {
            addr: echo_server.addr(),
            server_pid: Some(echo_server.pid()),
            warm_up: FLOOR_WARM_UP,
            until: Until { duration: FLOOR_TIME, units: 0 },
        };
        // The echo knows no accounts: any numbers make bodies of the same size.
        let accounts = Accounts::Dense { first: 1, count: self.args.accounts };
        let connections = self.args.connections();
        let mut source: Box<dyn Source> = match self.args.kind {
            BenchKind::Batch => Box::new(Echoed(self.batches(&accounts, "e", Reply::Minimal))),
            BenchKind::Read => {
                Box::new(Echoed(Reads { kind: ReadKind::Account, dice: self.dice(&accounts, 3), made: &[], days: &[] }))
            }
            _ => Box::new(Echoed(self.singles(&accounts))),
        };
        let echo = self.load(setting, "HTTP echo", source.as_mut(), connections, self.args.pace(), true)?;
        echo_server.kill();
        Ok(Floors { disk, echo: Figure::of(echo) })
    }
}

/// The last thirty days, `YYYY-MM-DD`, in UTC: a day more or less does not matter here.
fn past_days() -> Vec<String> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let before = |days: i64| today.checked_sub(jiff::Span::new().days(days)).ok().map(|day| day.to_string());
    (1..=PAST_DAYS).filter_map(before).collect()
}
