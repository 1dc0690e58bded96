//! `munim doctor`: is this machine fit to keep books, and is this folder fit to be served?
//!
//! Promise: changes nothing but a small file that it makes in the data folder to measure the disk, and
//! removes again. Each line says what was found; where that is not well, why it matters and what to do.
//! Nothing that cannot be found out is called well: it is a warning that says so.
//!
//! What is checked, one file each: the clock and the books (`clock`), the disk (`disk`), the folder's
//! files and who holds it (`files`), what the kernel allows (`limits`), sockets (`network`), TLS (`tls`).

mod clock;
mod disk;
mod files;
mod limits;
mod network;
mod syscalls;
mod tls;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::EXIT_BAD;
use super::config_file::Settings;
use super::serve::ServeArgs;

/// Arguments of `munim doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// The flags of `serve`: what is checked is what they would use.
    #[command(flatten)]
    serve: Box<ServeArgs>,
}

/// How a check came out, from well to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    Warn,
    Bad,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Bad => "bad",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    /// What was found.
    what: String,
    /// Why it matters.
    why: &'static str,
    /// What to do; empty where all is well.
    todo: String,
}

impl Finding {
    fn ok(check: &'static str, why: &'static str, what: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, what: what.into(), why, todo: String::new() }
    }

    fn warn(check: &'static str, why: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Warn, what: what.into(), why, todo: todo.into() }
    }

    fn bad(check: &'static str, why: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Bad, what: what.into(), why, todo: todo.into() }
    }
}

/// Where the kernel tells about itself; a test has a tree of its own.
#[derive(Clone, Debug)]
struct Machine {
    proc: PathBuf,
    sys: PathBuf,
}

impl Machine {
    fn this() -> Machine {
        Machine { proc: "/proc".into(), sys: "/sys".into() }
    }

    /// A file under /proc, without the line end.
    fn proc(&self, path: impl AsRef<Path>) -> Option<String> {
        read(&self.proc.join(path))
    }

    /// A file under /sys, without the line end.
    fn sys(&self, path: impl AsRef<Path>) -> Option<String> {
        read(&self.sys.join(path))
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// What is examined.
#[derive(Debug)]
struct Subject<'a> {
    machine: Machine,
    settings: &'a Settings,
    /// The data folder.
    data: PathBuf,
    /// The folder itself, or the nearest one above it that exists.
    place: PathBuf,
    /// The process that holds the folder, if one does and shows itself.
    holder: Option<u32>,
}

impl<'a> Subject<'a> {
    fn of(settings: &'a Settings, machine: Machine) -> Subject<'a> {
        let data = PathBuf::from(settings.first("data").unwrap_or("munim-data"));
        let whole = std::path::absolute(&data).unwrap_or_else(|_| data.clone());
        let place = whole.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("/"));
        let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
        let holder = files::holder(&machine, &data);
        Subject { machine, settings, data, place, holder }
    }

    /// A setting that is a number; 0 where there is none.
    fn number(&self, key: &str) -> u64 {
        self.settings.first(key).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// The folder under /proc of the process whose limits count: the server's, else our own.
    fn process(&self) -> String {
        self.holder.map_or_else(|| "self".to_owned(), |pid| pid.to_string())
    }
}

/// Examines; exit status 0 when nothing is bad, 1 when something is.
#[must_use]
pub fn run(args: &DoctorArgs, settings: &Settings) -> ExitCode {
    // Opening the books may warn in a log of its own; that belongs to stderr, in the form that was asked for.
    crate::telemetry::start_log(args.serve.log_format);
    let findings = examine(&Subject::of(settings, Machine::this()));
    let text = if args.json { as_json(&findings) } else { as_text(&findings) };
    // A closed stdout is no reason to say another exit status.
    let _ = writeln!(std::io::stdout(), "{text}");
    if worst(&findings) == Verdict::Bad { ExitCode::from(EXIT_BAD) } else { ExitCode::SUCCESS }
}

/// Every check, in the order in which they are shown.
fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    let checks: [fn(&Subject<'_>) -> Vec<Finding>; 6] =
        [clock::check, disk::check, files::check, limits::check, network::check, tls::check];
    checks.iter().flat_map(|check| check(subject)).collect()
}

fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
}

fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

fn as_text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!("{:<4}  {:width$}  {}\n", finding.verdict.name(), finding.check, finding.what));
        if finding.verdict > Verdict::Ok {
            text.push_str(&format!("      why: {}\n      do:  {}\n", finding.why, finding.todo));
        }
    }
    let count = |verdict| count(findings, verdict);
    text + &format!("{} ok, {} to look at, {} bad", count(Verdict::Ok), count(Verdict::Warn), count(Verdict::Bad))
}

fn as_json(findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let todo = Some(&finding.todo).filter(|todo| !todo.is_empty());
        json!({"check": finding.check, "verdict": finding.verdict.name(), "what": finding.what, "why": finding.why, "do": todo})
    };
    let checks: Vec<_> = findings.iter().map(one).collect();
    json!({
        "object": "examination", "verdict": worst(findings).name(), "ok": count(findings, Verdict::Ok),
        "warn": count(findings, Verdict::Warn), "bad": count(findings, Verdict::Bad), "checks": checks,
    })
    .to_string()
}

#[cfg(test)]
mod tests;
