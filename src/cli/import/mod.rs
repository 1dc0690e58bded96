//! `munim import`: accounts and transfers from CSV and NDJSON files into a running server.
//!
//! Promise: running it twice posts nothing twice, an interrupted run goes on where it was by running it
//! again, and every row that is not in the books afterwards stands in a file of rejected rows with its
//! reason. A file that has grown posts only what is new. Memory is bounded by one batch, and by the ids of
//! rows that bring none (see [`row_ids`]).
//!
//! A refusal of the books is an answer too: while the keys live, the same file gets the same refusals.
//! Rows that may go through now (the account was opened, the money arrived) are imported from the file
//! of rejected rows.
//!
//! 1. [`source::survey`] reads the file through: its hash, its rows, and whether its structure holds. A
//!    broken file is refused here, before anything is posted.
//! 2. The file is read again, row by row, and cut into batches by its content alone.
//! 3. [`batch::Poster`] sends a batch after the other, in order, since later rows may need the money of
//!    earlier ones, and says what became of each row.
//! 4. [`rejects::RejectedFile`] keeps what was refused; the summary goes to standard output.

pub mod batch;
pub mod client;
mod csv_rows;
pub mod fields;
mod ndjson_rows;
mod present;
pub mod rejects;
pub mod row;
mod row_ids;
pub mod source;

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::trust::TrustArgs;
use batch::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, BatchError, Outcome, Poster};
use client::{Client, ClientError, Patience};
use fields::ItemKind;
use present::Books;
use rejects::RejectedFile;
use row::{FileError, Row};
use source::{Rows, Surveyed, survey};

/// Flags of `munim import`.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// Address of the server, e.g. <http://127.0.0.1:7070>.
    #[arg(long, env = "MUNIM_URL")]
    pub url: String,
    /// File with the bearer key, one line.
    #[arg(long, value_name = "FILE", env = "MUNIM_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// What to believe about the server.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The files hold accounts (else seen from the header or the first object).
    #[arg(long, conflicts_with = "transfers")]
    pub accounts: bool,
    /// The files hold transfers.
    #[arg(long)]
    pub transfers: bool,
    /// Name of these files' series. Rows without an external_id that say the same as rows imported before
    /// in the same series count as those rows, and are not posted again; in another series they are new.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub series: String,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// Go on trying for so many seconds when the server is away or busy.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub retry_for: u64,
    /// CSV (with a header) or NDJSON files, imported in this order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What became of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileSummary {
    /// As it was named.
    pub file: String,
    /// `accounts` or `transfers`.
    pub kind: &'static str,
    /// Rows read, malformed ones included.
    pub rows: u64,
    /// Rows that this run posted.
    pub posted: u64,
    /// Rows that were in the books already: from an earlier run.
    pub already_there: u64,
    /// Those of them that have no external id and say the same as a row imported before.
    pub already_there_by_content: u64,
    /// Rows that are not in the books.
    pub rejected: u64,
    /// Where the rejected rows are, if there are any.
    pub rejected_file: Option<String>,
}

/// Why a file was not imported to its end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The file of rejected rows.
    #[error("could not write {path}: {error}")]
    Rejects {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// Somebody wrote to it: what was posted may be a mixture.
    #[error("the file changed while it was imported")]
    Changed,
}

impl ImportError {
    /// Status for the shell: 2 wrong use, which a file of another kind is too; 3 could not run.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            ImportError::File(FileError::Broken(_)) | ImportError::Batch(BatchError::Client(ClientError::Usage(_))) => {
                2
            }
            _ => 3,
        }
    }
}

/// Imports all files; returns the status for the shell: 0 all rows are in the books, 1 some were
/// rejected, 2 wrong use or a file that is none to import, 3 the server cannot be reached or a file cannot be read.
///
/// # Errors
/// Only those of writing to `out` and `log`.
pub fn run(args: &ImportArgs, out: &mut dyn Write, log: &mut dyn Write) -> io::Result<u8> {
    let patience = Patience {
        first_wait: Duration::from_millis(100),
        wait_max: Duration::from_secs(5),
        give_up_after: Duration::from_secs(args.retry_for),
        answer_within: Duration::from_secs(60),
    };
    run_with(args, patience, out, log)
}

fn run_with(args: &ImportArgs, patience: Patience, out: &mut dyn Write, log: &mut dyn Write) -> io::Result<u8> {
    let mut client = match Client::new(&args.url, args.key_file.as_deref(), &args.trust, patience) {
        Ok(client) => client,
        Err(error) => {
            writeln!(log, "munim import: {error}")?;
            return Ok(2);
        }
    };
    let kind = match (args.accounts, args.transfers) {
        (true, _) => Some(ItemKind::Accounts),
        (_, true) => Some(ItemKind::Transfers),
        _ => None,
    };
    let mut status = 0;
    let mut summaries = Vec::new();
    for path in &args.files {
        let (summary, failure) = import_file(&mut client, path, kind, &args.series);
        status = status.max(u8::from(summary.rejected > 0));
        if summary.already_there_by_content > 0 {
            let rows = summary.already_there_by_content;
            let name = path.display();
            writeln!(
                log,
                "munim import: {name}: {rows} rows without an external_id say the same as rows imported before and \
                 were not posted again; if they are meant anew, import them with --series NAME"
            )?;
        }
        if !args.json {
            write_summary(out, &summary)?;
        }
        summaries.push(summary);
        if let Some(error) = failure {
            writeln!(log, "munim import: {}: {error}{}", path.display(), cause(&error))?;
            // Later files may rest on this one: transfers on accounts.
            status = error.exit_status();
            break;
        }
    }
    if args.json {
        serde_json::to_writer(&mut *out, &serde_json::json!({ "object": "import", "files": summaries }))?;
        writeln!(out)?;
    }
    Ok(status)
}

fn cause(error: &ImportError) -> String {
    std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"))
}

fn write_summary(out: &mut dyn Write, summary: &FileSummary) -> io::Result<()> {
    let FileSummary { file, kind, rows, posted, already_there, rejected, rejected_file, .. } = summary;
    write!(out, "{file}: {rows} {kind}: {posted} posted, {already_there} already there, {rejected} rejected")?;
    match rejected_file {
        Some(path) => writeln!(out, ", see {path}"),
        None => writeln!(out),
    }
}

/// Imports one file. The summary says how far it came, also when it failed.
fn import_file(
    client: &mut Client,
    path: &Path,
    kind: Option<ItemKind>,
    series: &str,
) -> (FileSummary, Option<ImportError>) {
    let mut summary = FileSummary { file: path.display().to_string(), ..FileSummary::default() };
    let failure = survey(path, kind)
        .map_err(ImportError::from)
        .and_then(|mut surveyed| post_file(client, (path, series), &mut surveyed, &mut summary))
        .err();
    (summary, failure)
}

fn post_file(
    client: &mut Client,
    (path, series): (&Path, &str),
    surveyed: &mut Surveyed,
    summary: &mut FileSummary,
) -> Result<(), ImportError> {
    let Surveyed { file, hash, rows: row_count, kind } = surveyed;
    summary.kind = kind.collection();
    summary.rows = *row_count;
    let mut rows = Rows::open(&*file, Some(*kind), series)?;
    let mut rejects = RejectedFile::new(path, rows.format, rows.header());
    let mut books = Books::default();
    let mut poster = Poster { client, books: &mut books, kind: *kind, file_hash: *hash };
    let progress = progress_bar(*row_count, path);
    loop {
        let (batch, mut outcome, is_last) = next_batch(&mut rows)?;
        let row_count = (batch.len() + outcome.rejected.len()) as u64;
        let answered = poster.post(batch);
        let failure = match answered {
            Ok(answered) => {
                outcome.rejected.extend(answered.rejected);
                summary.posted += answered.posted;
                summary.already_there += answered.replayed + answered.present;
                summary.already_there_by_content += answered.present_by_content;
                None
            }
            Err(error) => Some(error),
        };
        outcome.rejected.sort_by_key(|row| row.number);
        summary.rejected += outcome.rejected.len() as u64;
        let rejects_path = rejects.path.display().to_string();
        let as_reject_error = |error| ImportError::Rejects { path: rejects_path.clone(), error };
        for row in &outcome.rejected {
            rejects.write(row).map_err(as_reject_error)?;
        }
        if rejects.finish().map_err(as_reject_error)? {
            summary.rejected_file = Some(rejects_path);
        }
        if let Some(error) = failure {
            return Err(error.into());
        }
        progress.inc(row_count);
        if is_last {
            break;
        }
    }
    progress.finish_and_clear();
    file.seek(SeekFrom::Start(0)).map_err(FileError::from)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut *file).map_err(FileError::from)?;
    if hasher.finalize() == *hash { Ok(()) } else { Err(ImportError::Changed) }
}

/// Rows up to the limits of a batch, both as sent and as kept; malformed ones apart, and whether the file ends here.
fn next_batch<R: Read>(rows: &mut Rows<R>) -> Result<(Vec<Row>, Outcome, bool), FileError> {
    let mut batch = Vec::new();
    let mut outcome = Outcome::default();
    let mut bytes = 0;
    while bytes < BATCH_BYTES_MAX && batch.len() + outcome.rejected.len() < BATCH_ROWS_MAX {
        match rows.next_row()? {
            None => return Ok((batch, outcome, true)),
            Some(Ok(row)) => {
                bytes += row.item.len() + 1 + row.source.weight();
                batch.push(row);
            }
            Some(Err(rejected)) => {
                // It is not sent, but kept until it is written.
                bytes += rejected.source.weight();
                outcome.rejected.push(rejected);
            }
        }
    }
    Ok((batch, outcome, false))
}

fn progress_bar(rows: u64, path: &Path) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} rows, {per_sec}, {eta} left")
        .expect("the template is written here");
    // Draws on standard error, and only where that is a terminal.
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    ProgressBar::new(rows).with_style(style).with_message(name)
}

#[cfg(test)]
mod tests;
