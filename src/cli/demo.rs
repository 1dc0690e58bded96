//! `munim demo`: a branch's books from `data/demo/`, served, with three requests to try.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use crate::domain::money::format_minor;
use crate::engine::Engine;

use super::demo_data::{DEMO_ACCOUNTS_CSV, DEMO_TRANSFERS_CSV};
use super::import::{self, ImportArgs};
use super::keys::files::ADMIN_FILE;
use super::serve::{self, ServeArgs, Stop};
use super::trust::TrustArgs;
use super::{EXIT_BAD, fail};

/// Arguments of `munim demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Where the demo's books lie; made where they are missing.
    #[arg(long, env = "MUNIM_DATA", default_value = "munim-demo")]
    data: PathBuf,
    /// The address to listen on; loopback only. Port 0 takes a free one.
    #[arg(long, env = "MUNIM_LISTEN", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
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
    crate::telemetry::start_log(serve_args.log_format);
    let stop = Stop::default();
    let is_complete = Arc::new(AtomicBool::new(false));
    let (folder, load_only) = (args.data.clone(), args.load_only);
    let (stopping, completed) = (stop.clone(), Arc::clone(&is_complete));
    let served = serve::serve(&serve_args, &stop, move |engine, address| {
        // The demo is loaded the way any books are: by importing files through the API.
        let loaded = load(&folder, address).and_then(|()| say(engine, &folder, address, load_only));
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
    serve_args.listen = if args.load_only { SocketAddr::from(([127, 0, 0, 1], 0)) } else { args.listen };
    Ok(serve_args)
}

fn load(folder: &Path, address: SocketAddr) -> std::io::Result<()> {
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
    let status = import::run(&args, &mut std::io::stdout(), &mut std::io::stderr())?;
    if status == 0 { Ok(()) } else { Err(std::io::Error::other("the demo's files were not imported completely")) }
}

fn say(engine: &Engine, folder: &Path, address: SocketAddr, load_only: bool) -> std::io::Result<()> {
    let balance = engine.core().trial_balance(None, None).value;
    let mut out = std::io::stdout().lock();
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
    if !load_only {
        let key = format!("-H \"Authorization: Bearer $(cat '{}')\"", folder.join(ADMIN_FILE).display());
        writeln!(out, "listening on http://{address}\n\nTry:")?;
        writeln!(out, "  curl -s 'http://{address}/v1/accounts/ext:DRAWER-1' {key}")?;
        writeln!(
            out,
            "  curl -s -X POST 'http://{address}/v1/transfers' {key} \\\n    -H 'Content-Type: application/json' -H \"Idempotency-Key: demo-$(date +%s%N)\" \\\n    -d '{{\"debit_account\":\"ext:DRAWER-1\",\"credit_account\":\"ext:LN-0001\",\"amount\":\"1250.50\",\"description\":\"EMI in cash\"}}'"
        )?;
        writeln!(out, "  curl -s 'http://{address}/v1/accounts/ext:DRAWER-1/entries?limit=3' {key}\n\nCtrl-C stops.")?;
    }
    out.flush()
}
