//! The measured runs: transfers, batch, mixed, read, floor.
//!
//! 1. The floor: echo and disk, with no other server running.
//! 2. A server (or --url), its accounts, its history.
//! 3. The load, with memory and disk noted before and after.
//! 4. The server is killed, and the floor is measured again: the machines are shared, and a neighbour
//!    that came in between shows as two floors that differ.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::credentials;
use super::floor::measure_disk;
use super::load::{self, Group, Outcome, Pace, Setting, Source, Until};
use super::machine::{Machine, filesystem_of, resident_bytes, written_bytes};
use super::report::{DiskUse, Figure, Floors, Report};
use super::server::{DataFolder, ServerProcess, address_of, wait_ready};
use super::setup::{create_accounts, prefill, progress_bar};
use super::shape::{Accounts, Dice};
use super::source::{Batches, Echoed, Keys, ReadKind, Reads, Reply, Singles, TransferRun};
use super::{BenchArgs, BenchError, BenchKind, run_nonce};

/// How long each floor is measured.
const FLOOR_TIME: Duration = Duration::from_secs(3);
const FLOOR_WARM_UP: Duration = Duration::from_millis(300);
/// More connections than this only add memory to an echo of whole batches.
const BATCH_ECHO_CONNECTIONS_MAX: usize = 16;
/// How long a server may take to become ready.
const READY_TIME: Duration = Duration::from_secs(120);
/// Name of the figure of batches.
pub const BATCHES_NAME: &str = "transfers in batches";
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
        report.figures.push(bench.echo(BenchKind::Batch)?);
        return Ok(report);
    }
    if !args.no_floor {
        report.floors_before = Some(bench.floors(folder)?);
    }
    match &args.url {
        Some(url) => {
            let addr = address_of(url)?;
            if let Some(path) = &args.key_file {
                credentials::read(path)?;
            }
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
        let bytes_before = folder.map(written_bytes);
        let setting = self.setting(addr, pid);
        self.drop_page_cache()?;
        let outcomes = match args.kind {
            BenchKind::Read => self.run_reads(setting, &accounts, &history.made)?,
            BenchKind::Mixed => self.run_mixed(setting, &accounts)?,
            BenchKind::Overload => self.run_overload(setting, &accounts)?,
            BenchKind::Batch => vec![self.run_batches(setting, &accounts, args.connections(), args.pace(), true)?],
            _ => vec![self.run_singles(setting, &accounts)?],
        };
        report.resident_end = pid.and_then(resident_bytes);
        let transfers = outcomes.iter().map(|outcome| outcome.units_in_all).sum();
        if args.kind != BenchKind::Read {
            report.disk = folder
                .zip(bytes_before)
                .map(|(folder, before)| DiskUse { transfers, bytes: written_bytes(folder).saturating_sub(before) });
        }
        let figures = outcomes.into_iter().map(Figure::of);
        report.figures = match args.kind {
            BenchKind::Mixed => figures.map(Figure::without_cpu).collect(),
            _ => figures.collect(),
        };
        Ok(())
    }

    fn setting(&self, addr: SocketAddr, server_pid: Option<u32>) -> Setting {
        let duration = Duration::from_secs_f64(self.args.duration);
        // Reads make none, and in a mix the singles would go on long after the batches.
        let units = match self.args.kind {
            BenchKind::Read | BenchKind::Mixed | BenchKind::Overload => 0,
            _ => self.args.transfers,
        };
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
        Singles { jobs: self.args.jobs.clone(), ..Singles::new(self.dice(accounts, 1), self.keys("s")) }
    }

    fn batches(&self, accounts: &Accounts, stream: &str, reply: Reply) -> Batches {
        Batches::new(self.dice(accounts, 2), self.keys(stream), self.args.batch, reply)
    }

    fn drop_page_cache(&self) -> Result<(), BenchError> {
        if !self.args.drop_page_cache {
            return Ok(());
        }
        fs::write("/proc/sys/vm/drop_caches", "1").map_err(|source| BenchError::io("drop the page cache", source))
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
        self.load(setting, BATCHES_NAME, &mut source, connections, pace, show_progress)
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

    /// The capacity by a closed loop, then more than that by an open one, then half of it: does it go on as if
    /// nothing had been?
    fn run_overload(&self, setting: Setting, accounts: &Accounts) -> Result<Vec<Outcome>, BenchError> {
        let mut source = self.singles(accounts);
        let closed = self.args.capacity_connections as usize;
        let capacity = self.load(setting, "capacity, closed loop", &mut source, closed, Pace::Closed, true)?;
        let rate = capacity.measured.units as f64 / capacity.elapsed.as_secs_f64().max(1e-9);
        let offered = self.args.rate.unwrap_or(rate * self.args.factor).max(1.0);
        let connections = self.args.connections();
        let overload = self.load(setting, "overload", &mut source, connections, Pace::Open(offered), true)?;
        // Its first second counts: that is when it has not recovered yet.
        let after = Setting { warm_up: Duration::ZERO, ..setting };
        let after = self.load(after, "half the capacity", &mut source, connections, Pace::Open(rate / 2.0), true)?;
        Ok(vec![capacity, overload, after])
    }

    fn run_reads(
        &self,
        setting: Setting,
        accounts: &Accounts,
        made: &[TransferRun],
    ) -> Result<Vec<Outcome>, BenchError> {
        let days = past_days();
        let read = |kind: ReadKind| {
            self.drop_page_cache()?;
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

    /// Disk, and the echo of what this bench sends.
    fn floors(&self, folder: &Path) -> Result<Floors, BenchError> {
        Ok(Floors { disk: measure_disk(folder, FLOOR_TIME)?, echo: self.echo(self.args.kind)? })
    }

    /// The echo of a kind's requests, by a process of its own.
    fn echo(&self, kind: BenchKind) -> Result<Figure, BenchError> {
        let server = ServerProcess::start(["bench", "floor-server"].map(Into::into).into())?;
        let setting = Setting {
            addr: server.addr(),
            server_pid: Some(server.pid()),
            warm_up: FLOOR_WARM_UP,
            until: Until { duration: FLOOR_TIME, units: 0 },
        };
        // The echo knows no accounts: any numbers make bodies of the same size.
        let accounts = Accounts::Dense { first: 1, count: self.args.accounts };
        let (mut name, mut connections) = ("HTTP echo", self.args.connections());
        let mut source: Box<dyn Source> = match kind {
            BenchKind::Batch => {
                name = "HTTP echo of batches";
                connections = connections.min(BATCH_ECHO_CONNECTIONS_MAX);
                Box::new(Echoed(self.batches(&accounts, "e", Reply::Minimal)))
            }
            BenchKind::Read => {
                let dice = self.dice(&accounts, 3);
                Box::new(Echoed(Reads { kind: ReadKind::Account, dice, made: &[], days: &[] }))
            }
            _ => Box::new(Echoed(self.singles(&accounts))),
        };
        // An overload is measured against its own capacity; its echo is that of singles.
        let pace = if kind == BenchKind::Overload { Pace::Closed } else { self.args.pace() };
        let outcome = self.load(setting, name, source.as_mut(), connections, pace, true)?;
        server.kill();
        Ok(Figure::of(outcome))
    }
}

/// The last thirty days, `YYYY-MM-DD`, in UTC: a day more or less does not matter here.
fn past_days() -> Vec<String> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let before = |days: i64| today.checked_sub(jiff::Span::new().days(days)).ok().map(|day| day.to_string());
    (1..=PAST_DAYS).filter_map(before).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::bench::stub::Stub;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: BenchArgs,
    }

    /// Runs a kind against a stub for a moment.
    fn report_of(kind: &str, stub: &Stub, more: &[&str]) -> Report {
        let url = format!("http://{}", stub.addr());
        let start = ["munim", kind, "--url", &url, "--no-floor", "--duration=0.05", "--warm-up=0", "--connections=2"];
        let args = CommandLine::try_parse_from(start.iter().chain(more)).unwrap().args;
        run(&args).unwrap()
    }

    #[test]
    fn every_kind_measures_what_its_name_says() {
        let stub = Stub::start(u64::MAX, Duration::ZERO);
        for (kind, figures) in [("transfers", 1), ("batch", 1), ("mixed", 2), ("read", 5), ("overload", 3)] {
            for shape in ["spread", "hot", "zipf", "holds"] {
                let report = report_of(kind, &stub, &["--accounts=20", "--batch=26", "--shape", shape]);
                assert!(!report.is_bad(), "{kind} {shape}: {}", report.to_table());
                assert_eq!(report.figures.len(), figures, "{kind}");
                let json = report.to_json();
                assert_eq!(json["config"]["shape"], shape);
                for figure in json["figures"].as_array().unwrap() {
                    assert!(figure["per_second"].as_f64().unwrap() > 0.0, "{kind}: {figure}");
                }
            }
        }
    }

    #[test]
    fn a_run_with_refusals_is_bad_and_says_which() {
        let stub = Stub::start(7, Duration::ZERO);
        let report = report_of("transfers", &stub, &["--accounts=20", "--transfers=50"]);
        assert!(report.is_bad());
        assert!(report.to_table().contains("422 insufficient_funds"), "{}", report.to_table());
        assert_eq!(report.to_json()["figures"][0]["errors"][0]["code"], "insufficient_funds");
    }

    #[test]
    fn recovery_refuses_a_server_that_it_may_not_kill() {
        let args = CommandLine::try_parse_from(["munim", "recovery", "--url", "http://127.0.0.1:1"]).unwrap().args;
        assert!(matches!(crate::cli::bench::recovery::run(&args), Err(BenchError::Usage(_))));
    }

    #[test]
    fn balances_are_asked_for_on_thirty_past_days() {
        let days = past_days();
        assert_eq!(days.len(), 30);
        assert!(days.iter().all(|day| day.len() == 10));
        assert!(days.is_sorted_by(|later, earlier| later > earlier));
    }
}
