//! `munim export`: all transfers of a data folder as text on stdout.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::domain::time::Day;
use crate::reconcile::export::books::{ExportFormat, ExportQuery, export};

use super::folder::open_to_look;
use super::{EXIT_WRONG_USE, fail};

/// Arguments of `munim export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The data folder; no server may hold it (a server has `GET /v1/export`).
    #[arg(long, env = "MUNIM_DATA")]
    pub data: PathBuf,
    /// ndjson, csv, or ledger (plain-text accounting for hledger and ledger).
    #[arg(long, default_value = "ndjson")]
    pub format: ExportFormat,
    /// First effective date, YYYY-MM-DD.
    #[arg(long, value_parser = day)]
    pub from: Option<Day>,
    /// Last effective date, YYYY-MM-DD.
    #[arg(long, value_parser = day)]
    pub to: Option<Day>,
}

fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| format!("{text:?} is no date of the form YYYY-MM-DD"))
}

/// Exports; nothing in the folder is changed.
#[must_use]
pub fn run(args: &ExportArgs) -> ExitCode {
    if args.from.zip(args.to).is_some_and(|(from, to)| from > to) {
        let _ = writeln!(std::io::stderr(), "munim: --from is after --to: there is no day between them");
        return ExitCode::from(EXIT_WRONG_USE);
    }
    let parts = match open_to_look(&args.data) {
        Ok(parts) => parts,
        Err(error) => return fail(&error),
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let query = ExportQuery { format: args.format, from: args.from, to: args.to };
    let mut broken = None;
    let through = parts.core.journal().durable_seq();
    let done = export(&parts.core, &query, through, &mut |piece| match out.write_all(piece) {
        Ok(()) => true,
        Err(error) => {
            broken = Some(error);
            false
        }
    });
    match (done, broken) {
        // `munim export | head` is no error.
        (_, Some(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        (_, Some(error)) => fail(&error),
        (Err(error), None) => fail(&error),
        (Ok(count), None) => match out.flush() {
            Ok(()) => {
                let _ = writeln!(std::io::stderr(), "{count} transfers");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
    }
}
