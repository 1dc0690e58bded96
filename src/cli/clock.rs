//! What an operator asks of a running server: to take the clock's word, to verify itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::import::client::{Answer, Call, Client, Patience, Problem};
use super::trust::TrustArgs;
use super::{EXIT_BAD, EXIT_COULD_NOT_RUN, fail};

/// Arguments of `munim clock`.
#[derive(Clone, Debug, Args)]
pub struct ClockArgs {
    #[command(subcommand)]
    command: ClockCommand,
}

/// What to do with the clock.
#[derive(Clone, Debug, Subcommand)]
enum ClockCommand {
    /// Take the wall clock's word after a jump: holds expire and the business day rolls again.
    Accept {
        /// Address of the server.
        #[arg(long, env = "MUNIM_URL", default_value = "http://127.0.0.1:7070")]
        url: String,
        /// File with the bearer key, one line.
        #[arg(long, value_name = "FILE", env = "MUNIM_KEY_FILE")]
        key_file: Option<PathBuf>,
        #[command(flatten)]
        trust: TrustArgs,
    },
}

/// Does it.
#[must_use]
pub fn run(args: &ClockArgs) -> ExitCode {
    let ClockCommand::Accept { url, key_file, trust } = &args.command;
    let answer = match post(url, key_file.as_deref(), trust, "/v1/clock/accept") {
        Ok((_, answer)) => answer,
        Err(error) => return fail(&error),
    };
    if answer.status != 200 {
        return refused(&answer);
    }
    let _ = writeln!(std::io::stdout(), "{}", String::from_utf8_lossy(&answer.body));
    ExitCode::SUCCESS
}

/// The server did not do it: there is no answer that could be bad, so that it is "could not run".
pub(super) fn refused(answer: &Answer) -> ExitCode {
    let Problem { code, detail, .. } = answer.problem();
    let _ = writeln!(std::io::stderr(), "munim: the server refused with status {} {code}: {detail}", answer.status);
    ExitCode::from(EXIT_COULD_NOT_RUN)
}

/// `munim verify --url`: starts a verification on the server and follows it.
#[must_use]
pub fn verify_through(url: &str, key_file: Option<&Path>, trust: &TrustArgs, json: bool) -> ExitCode {
    let (mut client, started) = match post(url, key_file, trust, "/v1/verifications") {
        Ok(started) => started,
        Err(error) => return fail(&error),
    };
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_string();
    let operation: Value = serde_json::from_slice(&started.body).unwrap_or_default();
    if started.status != 202 {
        return refused(&started);
    }
    let path = format!("/v1/operations/{}", text(&operation, "id"));
    let bar = indicatif::ProgressBar::new_spinner();
    let mut asked = Instant::now();
    loop {
        let answer = match client.call(Call { path: &path, post: None }) {
            Ok(answer) => answer,
            Err(error) => return fail(&error),
        };
        let operation: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        bar.set_message(format!("{} {}", text(&operation, "status"), operation["progress"]));
        if operation["status"] != "running" && operation["status"] != "queued" {
            bar.finish_and_clear();
            let ok = operation["result"]["ok"] == true;
            let _ = if json {
                writeln!(std::io::stdout(), "{}", operation["result"])
            } else {
                let verdict = if ok { "the books are whole" } else { "THE BOOKS ARE NOT WHOLE" };
                writeln!(std::io::stdout(), "{verdict}: {}", operation["result"])
            };
            return if ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_BAD) };
        }
        // Asked four times a second: a verification lasts seconds to minutes.
        std::thread::sleep(Duration::from_millis(250).saturating_sub(asked.elapsed()));
        asked = Instant::now();
    }
}

/// Somebody to ask a server by, who waits as long as an operator does.
///
/// # Errors
/// The address or the key file cannot be used.
pub(super) fn client(
    url: &str,
    key_file: Option<&Path>,
    trust: &TrustArgs,
) -> Result<Client, super::import::client::ClientError> {
    let patience = Patience {
        first_wait: Duration::from_millis(100),
        wait_max: Duration::from_secs(1),
        give_up_after: Duration::from_secs(5),
        answer_within: Duration::from_secs(30),
    };
    Client::new(url, key_file, trust, patience)
}

fn post(
    url: &str,
    key_file: Option<&Path>,
    trust: &TrustArgs,
    path: &str,
) -> Result<(Client, Answer), super::import::client::ClientError> {
    let mut client = client(url, key_file, trust)?;
    // A key of its own for each call of the command: a lost answer is asked for again under it.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let key = format!("munim-{}-{}", std::process::id(), since.as_nanos());
    let answer = client.call(Call { path, post: Some((&key, &Bytes::from_static(b"{}"))) })?;
    Ok((client, answer))
}
