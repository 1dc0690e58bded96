//! The commands. Data goes to stdout, progress and logs to stderr; exit status 0 well, 1 the
//! answer is bad, 2 wrong use, 3 could not run, 4 the storage failed in this boot.

pub mod ask;
pub mod bench;
pub mod budget;
pub mod clock;
pub mod config;
pub mod config_file;
pub mod demo;
pub mod demo_data;
pub mod doctor;
pub mod export;
mod exporter;
pub mod folder;
pub mod hooks;
pub mod import;
mod jobs;
pub mod keys;
pub mod listen;
pub mod measure;
pub mod probe;
pub mod process_limits;
mod runtimes;
pub mod serve;
pub mod service_manager;
pub mod trust;
pub mod verify;
pub mod verify_document;
mod workers;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Munim keeps the books of a lender: a double-entry ledger in memory, durable in a hash-chained
/// journal, served over HTTP by one process.
#[derive(Debug, Parser)]
#[command(name = "munim", version, about, long_about = None, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a data folder over HTTP.
    Serve(Box<serve::ServeArgs>),
    /// Build the demo books (a lending branch, and a branch's month) and serve them.
    Demo(demo::DemoArgs),
    /// Check everything in a data folder, changing no byte; or a document against the books.
    #[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
    Verify(verify::VerifyArgs),
    /// Post accounts and transfers from CSV or NDJSON files; running it twice posts nothing twice.
    Import(import::ImportArgs),
    /// Write all transfers as NDJSON, CSV or plain-text accounting.
    Export(export::ExportArgs),
    /// Measure this machine with Munim on it.
    Bench(bench::BenchArgs),
    /// Make, show, rotate and revoke API keys.
    Keys(keys::KeysArgs),
    /// Print what a server's requests may take and what they take; exit status 1 when a budget is broken.
    Budget(budget::BudgetArgs),
    /// Ask a server a few times, and show where the time of each request goes, on both sides.
    Probe(probe::ProbeArgs),
    /// List, show, retry and cancel what works after the answer.
    Jobs(jobs::JobsArgs),
    /// Look after the clock.
    Clock(clock::ClockArgs),
    /// Check this machine and a data folder: clock, disk, limits, file modes, network, TLS.
    Doctor(doctor::DoctorArgs),
    /// Show the settings and where each comes from.
    Config(config::ConfigArgs),
    /// Make the demo's CSV files anew from their seed.
    #[command(hide = true)]
    DemoData(demo_data::DemoDataArgs),
}

/// Wrong answer: verify found something, rows were rejected.
pub const EXIT_BAD: u8 = 1;
/// Wrong use: flags, environment or a settings file.
pub const EXIT_WRONG_USE: u8 = 2;
/// Could not run.
pub const EXIT_COULD_NOT_RUN: u8 = 3;
/// The storage failed in this boot and nobody has accepted that.
pub const EXIT_STORAGE_FAILED: u8 = 4;

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    let (cli, settings) = match config_file::parse::<Cli>(&line, Path::new(config_file::SYSTEM_FILE)) {
        Ok(parsed) => parsed,
        Err(error) => return error.say(),
    };
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Import(args) => match import::run(&args, &mut std::io::stdout(), &mut std::io::stderr()) {
            Ok(status) => ExitCode::from(status),
            Err(error) => fail(&error),
        },
        Command::Export(args) => export::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Keys(args) => keys::run(&args),
        Command::Budget(args) => budget::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Jobs(args) => jobs::run(&args),
        Command::Clock(args) => clock::run(&args),
        Command::Doctor(args) => doctor::run(&args, &settings),
        Command::Config(args) => config::run(&args, &settings),
        Command::DemoData(args) => match demo_data::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
    }
}

/// Says on stderr what went wrong, with its causes, and gives the exit status for it.
pub fn fail(error: &dyn std::error::Error) -> ExitCode {
    fail_as(error, EXIT_COULD_NOT_RUN)
}

/// [`fail`] with an exit status of the caller's.
pub fn fail_as(error: &dyn std::error::Error, status: u8) -> ExitCode {
    let mut text = format!("munim: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(status)
}
