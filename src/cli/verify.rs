//! `munim verify`: the whole journal, recomputed, against the store or the running server.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::reconcile::verify::{Expected, VerifyReport, verify};

use super::folder::{FolderError, open_to_look};
use super::trust::TrustArgs;
use super::verify_document::{self, DocumentArgs};
use super::{EXIT_BAD, fail};

/// What can be verified beside the whole books.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Compare a document with what the books say.
    Document(DocumentArgs),
}

/// Arguments of `munim verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Something else than the whole books.
    #[command(subcommand)]
    pub what: Option<What>,
    /// The data folder; no server may hold it.
    #[arg(long, env = "MUNIM_DATA", required_unless_present = "url", conflicts_with = "url")]
    pub data: Option<PathBuf>,
    /// A running server, which verifies itself.
    #[arg(long)]
    pub url: Option<String>,
    /// File with the bearer key for --url, one line.
    #[arg(long, value_name = "FILE", env = "MUNIM_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// What to believe about the server.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Verifies; exit status 0 when everything holds, 1 when not, 3 when it could not look.
#[must_use]
pub fn run(args: &VerifyArgs) -> ExitCode {
    if let Some(What::Document(args)) = &args.what {
        return verify_document::run(args);
    }
    if let Some(url) = &args.url {
        return super::clock::verify_through(url, args.key_file.as_deref(), &args.trust, args.json);
    }
    let folder = args.data.clone().unwrap_or_default();
    let started = std::time::Instant::now();
    let parts = match open_to_look(&folder) {
        Ok(parts) => parts,
        Err(error @ FolderError::NoJournal(_)) => return unopened(args, &error),
        Err(FolderError::Open { source, .. }) if !is_forbidden(&source) => return unopened(args, &source),
        Err(error) => return fail(&error),
    };
    let core = parts.core;
    let expected = match Expected::from_store(core.store()) {
        Ok(expected) => expected,
        Err(error) if error.wants_rebuild() => return unopened(args, &error),
        Err(error) => return fail(&error),
    };
    let bar = indicatif::ProgressBar::new(core.journal().durable_seq().0);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} entries {per_sec} {eta}") {
        bar.set_style(style);
    }
    let mut report = verify(core.journal(), &expected, &mut |seq| bar.set_position(seq.0));
    bar.finish_and_clear();
    if parts.report.rebuilt_store {
        report.problems.push("store.redb is damaged (the journal is not): the next start rebuilds it".into());
        report.ok = false;
    }
    report.seconds = started.elapsed().as_secs_f64();
    say(&report, args.json)
}

/// Whether the system does not let us read: that says nothing about the books.
fn is_forbidden(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut io = causes.filter_map(|error| error.downcast_ref::<std::io::Error>());
    io.any(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// A journal that cannot even be opened is a bad answer, not a failure to look.
fn unopened(args: &VerifyArgs, error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let report = VerifyReport { problems: vec![text], problem_count: 1, ..VerifyReport::default() };
    say(&report, args.json)
}

fn say(report: &VerifyReport, json: bool) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let head = report.chain_head.map(|(seq, hash)| (seq.0, blake3::Hash::from(hash).to_hex().to_string()));
    let rate = report.entries as f64 / report.seconds.max(1e-9);
    // A closed stdout is no reason to say another exit status.
    let _ = if json {
        let document = serde_json::json!({
            "ok": report.ok,
            "entries": report.entries,
            "accounts": report.accounts,
            "compared": report.compared,
            "first_bad_seq": report.first_bad_seq.map(|seq| seq.0.to_string()),
            "problems": report.problems,
            "problem_count": report.problem_count,
            "chain_head": head.as_ref().map(|(seq, hash)| serde_json::json!({"seq": seq.to_string(), "hash": hash})),
            "seconds": report.seconds,
            "entries_per_second": rate,
        });
        writeln!(out, "{document}")
    } else {
        let verdict = if report.ok { "the books are whole" } else { "THE BOOKS ARE NOT WHOLE" };
        let mut text = format!(
            "{verdict}: {} entries, {} accounts, {} rows compared, {:.1} s ({:.1} million entries/s)",
            report.entries,
            report.accounts,
            report.compared,
            report.seconds,
            rate / 1e6
        );
        if let Some((seq, hash)) = head {
            text.push_str(&format!("\nchain head: seq {seq} {hash}"));
        }
        if let Some(seq) = report.first_bad_seq {
            text.push_str(&format!("\nfirst bad seq: {seq}"));
        }
        for problem in &report.problems {
            text.push_str(&format!("\n- {problem}"));
        }
        writeln!(out, "{text}")
    };
    if report.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_BAD) }
}
