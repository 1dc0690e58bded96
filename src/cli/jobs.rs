//! `munim jobs`: what works after the answer, seen and steered from a terminal.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use crate::domain::ids::Moment;
use crate::jobs::queue::firings;
use crate::jobs::schedules;

use super::clock::{client, refused};
use super::fail;
use super::import::client::{Answer, Call, ClientError};
use super::trust::TrustArgs;

/// Arguments of `munim jobs`.
#[derive(Clone, Debug, Args)]
pub struct JobsArgs {
    #[command(subcommand)]
    command: JobsCommand,
    /// Address of the server.
    #[arg(long, env = "MUNIM_URL", default_value = "http://127.0.0.1:7070", global = true)]
    url: String,
    /// File with the bearer key, one line.
    #[arg(long, value_name = "FILE", env = "MUNIM_KEY_FILE", global = true)]
    key_file: Option<PathBuf>,
    /// The server's answers as they came, instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    trust: TrustArgs,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
enum JobsCommand {
    /// List jobs, the newest first.
    List {
        /// queued, running, done, dead or cancelled.
        #[arg(long)]
        status: Option<String>,
        /// Of this kind.
        #[arg(long)]
        kind: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Show a job.
    Show {
        /// Its id, job_….
        id: String,
    },
    /// Bring a job back from the dead, with all its attempts before it.
    Retry {
        /// Its id, job_….
        id: String,
    },
    /// Show what a file of schedules asks for, and when: for `munim serve --schedules FILE`. No server is asked.
    Schedules {
        /// The file (TOML).
        file: PathBuf,
        /// The books' time zone.
        #[arg(long, env = "MUNIM_ZONE", default_value = "Asia/Kolkata")]
        zone: String,
        /// So many firings of each.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
        firings: u8,
    },
    /// Cancel a job: at once if it waits; else its worker is asked to stop.
    Cancel {
        /// Its id, job_….
        id: String,
    },
}

/// Does it.
#[must_use]
pub fn run(args: &JobsArgs) -> ExitCode {
    if let JobsCommand::Schedules { file, zone, firings } = &args.command {
        return match calendar(file, zone, usize::from(*firings)) {
            Ok(shown) => {
                let _ = writeln!(std::io::stdout(), "{shown}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&*error),
        };
    }
    let answer = match ask(args) {
        Ok(answer) => answer,
        Err(error) => return fail(&error),
    };
    if !(200..300).contains(&answer.status) {
        return refused(&answer);
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let shown = match (&args.command, args.json) {
        (_, true) => text,
        (JobsCommand::List { .. }, false) => table(&value),
        _ => format!("{value:#}"),
    };
    // Nobody may be reading; that is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{shown}");
    ExitCode::SUCCESS
}

fn ask(args: &JobsArgs) -> Result<Answer, ClientError> {
    let mut client = client(&args.url, args.key_file.as_deref(), &args.trust)?;
    let (path, is_post) = match &args.command {
        // Answered before: no server knows of the file.
        JobsCommand::Schedules { .. } => (String::new(), false),
        JobsCommand::List { status, kind, limit } => {
            let mut path = format!("/v1/jobs?limit={limit}");
            for (name, value) in [("status", status), ("kind", kind)] {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", crate::http::query::percent_encode(value)));
                }
            }
            (path, false)
        }
        JobsCommand::Show { id } => (format!("/v1/jobs/{}", crate::http::query::percent_encode(id)), false),
        JobsCommand::Retry { id } => (format!("/v1/jobs/{}/retry", crate::http::query::percent_encode(id)), true),
        JobsCommand::Cancel { id } => (format!("/v1/jobs/{}/cancel", crate::http::query::percent_encode(id)), true),
    };
    let key = format!("cli-{}-{path}", crate::jobs::webhooks::courier::now_us());
    let empty = Bytes::from_static(b"{}");
    client.call(Call { path: &path, post: is_post.then_some((key.as_str(), &empty)) })
}

/// A line a firing, in the order of the file.
fn calendar(file: &Path, zone: &str, count: usize) -> Result<String, Box<dyn Error>> {
    let zone = crate::engine::clock::zone(zone)?;
    let list = schedules::read(file, &zone)?;
    let mut out = format!("{:<42} {:<20} {:<26} {}", "schedule", "cron", "fires", "job");
    let now = Moment(Timestamp::now().as_microsecond());
    for (schedule, moments) in list.iter().zip(firings(&list, &zone, now, count)?) {
        if moments.is_empty() {
            out.push_str(&format!("\n{:<42} {:<20} never", schedule.name, schedule.cron));
        }
        for moment in moments {
            let at = Timestamp::from_microsecond(moment.0)?.to_zoned(zone.clone());
            let shown = at.strftime("%Y-%m-%d %H:%M %:z");
            let job = schedules::on_day(schedule, at.date());
            let kind = &schedule.order.kind;
            out.push_str(&format!("\n{:<42} {:<20} {shown:<26} {kind} {job}", schedule.name, schedule.cron));
        }
    }
    Ok(out)
}

fn table(list: &Value) -> String {
    let mut out =
        format!("{:<18} {:<12} {:<10} {:>8}  {:<27} {}", "job", "kind", "status", "attempts", "run at", "last error");
    for job in list["data"].as_array().into_iter().flatten() {
        let text = |name: &str| job[name].as_str().unwrap_or("");
        let error: String = text("last_error").chars().take(60).collect();
        out.push_str(&format!(
            "\n{:<18} {:<12} {:<10} {:>8}  {:<27} {error}",
            text("id"),
            text("kind"),
            text("status"),
            job["attempts"],
            text("run_at"),
        ));
    }
    if list["has_more"] == true {
        out.push_str("\n(there are more)");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_a_line_a_job() {
        let job =
            json!({"id": "job_1", "kind": "email", "status": "dead", "attempts": 12, "run_at": "x", "last_error": "y"});
        let list = json!({"has_more": true, "data": [job.clone(), job]});
        assert_eq!(table(&list).lines().count(), 4);
    }
}
