//! `munim demo`: the books of two branches, served, with requests to try.
//!
//! 1. A lending branch: business days from long ago, each with its applications, payments and end, asked for one by
//!    one through the API (`demo_data/branch`). The books stand on the day after the last of them, and stay there:
//!    their days end by hand.
//! 2. A branch's month of transfers, from `data/demo/`, imported as any file is.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde_json::Value;

use crate::domain::money::format_minor;
use crate::engine::Engine;

use super::demo_data::branch::Size;
use super::demo_data::branch::days;
use super::demo_data::branch::desk::Desk;
use super::demo_data::{DEMO_ACCOUNTS_CSV, DEMO_TRANSFERS_CSV};
use super::import::{self, ImportArgs};
use super::keys::files::ADMIN_FILE;
use super::serve::{self, ServeArgs, Stop};
use super::trust::TrustArgs;
use super::{EXIT_BAD, fail};

/// What is logged: eighteen months in a minute would bury the rest, and load a machine until budgets alert.
const LOG: &str = "warn,munim::telemetry::alerts=off";

/// Classes of loans as the API names them, best first.
const CLASSES: [&str; 5] = ["standard", "sma_0", "sma_1", "sma_2", "npa"];

/// The first loan of a late payer: the third borrower of any branch.
const TRIED: &str = "L12-00003-1";

/// The loan that was written off: the first borrower's.
const LOST: &str = "L12-00001-1";

/// Arguments of `munim demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Where the demo's books lie; made where they are missing.
    #[arg(long, env = "MUNIM_DATA", default_value = "munim-demo")]
    data: PathBuf,
    /// The address to listen on; loopback only. Port 0 takes a free one.
    #[arg(long, env = "MUNIM_LISTEN", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Borrowers of the lending branch.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99_999), default_value_t = 2_000)]
    borrowers: u32,
    /// Months of the lending branch, up to the end of October 2026.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=120), default_value_t = 18)]
    months: u32,
    /// Only build the books, then stop.
    #[arg(long)]
    load_only: bool,
}

/// Builds the demo's books (a second run finds them there) and serves them.
#[must_use]
pub fn run(args: &DemoArgs) -> ExitCode {
    let serve_args = match serve_args(args) {
        Ok(serve_args) => serve_args,
        Err(error) => return fail(&error),
    };
    crate::telemetry::start_log_at(serve_args.log_format, LOG);
    let stop = Stop::default();
    let is_complete = Arc::new(AtomicBool::new(false));
    let (folder, load_only, size) = (args.data.clone(), args.load_only, args.size());
    let (stopping, completed) = (stop.clone(), Arc::clone(&is_complete));
    let served = serve::serve(&serve_args, &stop, move |engine, address| {
        let loaded = lend(&folder, address, size)
            // The month is loaded the way any books are: by importing files through the API.
            .and_then(|()| load(&folder, address))
            .and_then(|()| say(engine, &folder, address, load_only));
        completed.store(loaded.is_ok(), Ordering::Release);
        if let Err(error) = &loaded {
            let _ = fail(error);
        }
        if load_only || loaded.is_err() {
            stopping.stop();
        }
    });
    match served {
        Err(error) => fail(&error),
        Ok(()) if is_complete.load(Ordering::Acquire) => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(EXIT_BAD),
    }
}

fn serve_args(args: &DemoArgs) -> Result<ServeArgs, clap::Error> {
    #[derive(clap::Parser)]
    struct Defaults {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let mut serve_args = <Defaults as clap::Parser>::try_parse_from(["munim"])?.serve;
    serve_args.data.clone_from(&args.data);
    serve_args.engine.first_day = Some(args.size().first_day());
    serve_args.listen = if args.load_only { SocketAddr::from(([127, 0, 0, 1], 0)) } else { args.listen };
    Ok(serve_args)
}

impl DemoArgs {
    fn size(&self) -> Size {
        Size { borrowers: self.borrowers, months: self.months }
    }
}

fn lend(folder: &Path, address: SocketAddr, size: Size) -> io::Result<()> {
    let mut out = io::stdout();
    match days::build(folder, address, size)? {
        None => writeln!(out, "lending branch: already there"),
        Some(days::Built { days, requests, replayed, took }) => {
            let (borrowers, first) = (size.borrowers, size.first_day());
            let again = if replayed > 0 { format!(", {replayed} of them answered before") } else { String::new() };
            let seconds = took.as_secs_f64();
            writeln!(
                out,
                "lending branch: {borrowers} borrowers, {days} business days from {first} on, {requests} requests{again}, in {seconds:.1} s"
            )
        }
    }
}

fn load(folder: &Path, address: SocketAddr) -> io::Result<()> {
    let files = [("demo-accounts.csv", DEMO_ACCOUNTS_CSV), ("demo-transfers.csv", DEMO_TRANSFERS_CSV)];
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        paths.push(path);
    }
    let args = ImportArgs {
        series: String::new(),
        url: format!("http://{address}"),
        key_file: Some(folder.join(ADMIN_FILE)),
        // It is this process that listens, whatever its address.
        trust: TrustArgs { insecure_http: true, ..TrustArgs::default() },
        accounts: false,
        transfers: false,
        json: false,
        retry_for: 60,
        files: paths,
    };
    let status = import::run(&args, &mut io::stdout(), &mut io::stderr())?;
    if status == 0 { Ok(()) } else { Err(io::Error::other("the demo's files were not imported completely")) }
}

fn say(engine: &Engine, folder: &Path, address: SocketAddr, load_only: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    say_balance(engine, &mut out)?;
    say_portfolio(folder, address, &mut out)?;
    if !load_only {
        say_what_to_try(folder, address, &mut out)?;
    }
    out.flush()
}

fn say_balance(engine: &Engine, out: &mut impl Write) -> io::Result<()> {
    let balance = engine.core().trial_balance(None, None).value;
    writeln!(out, "\nTrial balance\n{:>6}  {:<10} {:>20} {:>20}", "code", "type", "debits", "credits")?;
    let (mut debits, mut credits) = (0u128, 0u128);
    let amount = |sum: u128, currency| format_minor(i128::try_from(sum).unwrap_or(i128::MAX), currency);
    for (key, totals) in &balance {
        let kind = key.account_type.name();
        let (left, right) = (amount(totals.debits, key.currency), amount(totals.credits, key.currency));
        writeln!(out, "{:>6}  {kind:<10} {left:>20} {right:>20}", key.code)?;
        debits += totals.debits;
        credits += totals.credits;
    }
    let currency = balance.first().map_or(crate::domain::money::Currency::INR, |(key, _)| key.currency);
    let (left, right) = (amount(debits, currency), amount(credits, currency));
    writeln!(out, "{:>6}  {:<10} {left:>20} {right:>20}\n", "total", "")?;
    if debits == credits { Ok(()) } else { Err(io::Error::other("the trial balance does not balance")) }
}

/// The loans that are active, by class.
fn say_portfolio(folder: &Path, address: SocketAddr, out: &mut impl Write) -> io::Result<()> {
    let report = Desk::open(folder, address)?.get("/v1/reports/portfolio")?;
    let paise = |text: &Value| text.as_str().and_then(|text| text.replace('.', "").parse::<i128>().ok()).unwrap_or(0);
    let mut classes: Vec<(&str, u64, i128, i128)> = Vec::new();
    for class in CLASSES {
        let rows = report["data"].as_array().into_iter().flatten().filter(|row| row["class"] == class);
        let sums = rows.fold((class, 0, 0, 0), |sums, row| {
            let (outstanding, due) = (paise(&row["principal_outstanding"]), paise(&row["total_due"]));
            (class, sums.1 + row["loans"].as_u64().unwrap_or(0), sums.2 + outstanding, sums.3 + due)
        });
        classes.push(sums);
    }
    let on = report["on"].as_str().unwrap_or_default();
    writeln!(out, "Portfolio on {on}\n{:<10} {:>7} {:>20} {:>20}", "class", "loans", "outstanding", "due")?;
    let inr = crate::domain::money::Currency::INR;
    for (class, loans, outstanding, due) in classes {
        let (outstanding, due) = (format_minor(outstanding, inr), format_minor(due, inr));
        writeln!(out, "{class:<10} {loans:>7} {outstanding:>20} {due:>20}")?;
    }
    let totals = &report["totals"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (outstanding, due) = (text(&totals["principal_outstanding"]), text(&totals["total_due"]));
    writeln!(out, "{:<10} {:>7} {outstanding:>20} {due:>20}", "total", totals["loans"])?;
    let at_risk = ["par_30", "par_60", "par_90"].map(|days| text(&report[days]["pct"]));
    let [over_30, over_60, over_90] = at_risk;
    writeln!(out, "at risk: {over_30} % over 30 days, {over_60} % over 60, {over_90} % over 90\n")
}

fn say_what_to_try(folder: &Path, address: SocketAddr, out: &mut impl Write) -> io::Result<()> {
    let key = format!("-H \"Authorization: Bearer $(cat '{}')\"", folder.join(ADMIN_FILE).display());
    let json = "-H 'Content-Type: application/json'";
    writeln!(out, "listening on http://{address}\n\nTry:")?;
    writeln!(out, "  curl -s 'http://{address}/v1/accounts/ext:DRAWER-1' {key}")?;
    writeln!(
        out,
        "  curl -s -X POST 'http://{address}/v1/transfers' {key} \\\n    {json} -H \"Idempotency-Key: demo-$(date +%s%N)\" \\\n    -d '{{\"debit_account\":\"ext:DRAWER-1\",\"credit_account\":\"ext:LN-0001\",\"amount\":\"1250.50\",\"description\":\"EMI in cash\"}}'"
    )?;
    writeln!(out, "  curl -s 'http://{address}/v1/accounts/ext:DRAWER-1/entries?limit=3' {key}")?;
    writeln!(out, "\nLending; {TRIED} is late now and then, {LOST} was written off:")?;
    writeln!(out, "  curl -s 'http://{address}/v1/loans/ext:{TRIED}' {key}")?;
    writeln!(out, "  curl -s 'http://{address}/v1/loans/ext:{TRIED}/statement' {key} -H 'Accept: text/csv'")?;
    writeln!(out, "  curl -s 'http://{address}/v1/loans/ext:{LOST}/explain' {key}")?;
    writeln!(out, "  curl -s 'http://{address}/v1/reports/npa?limit=5' {key}")?;
    writeln!(
        out,
        "  curl -s -X POST 'http://{address}/v1/business_day/close' {key} -H \"Idempotency-Key: close-$(date +%s%N)\"\n\nCtrl-C stops."
    )
}
