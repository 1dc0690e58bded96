//! Logs. Nothing of the books is logged: no names, texts, tokens or bodies.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("log format {other:?} is neither text nor json")),
        }
    }
}

/// Starts logging to stderr: `info` and up, or what `MUNIM_LOG` says (as in `munim=debug`).
/// A second call changes nothing.
pub fn start_log(format: LogFormat) {
    // The library for AMQP calls a broker that is away an error; whoever uses it says the same as a warning, once.
    start_log_at(format, "info,lapin=off");
}

/// [`start_log`] of a command whose log is nobody's business until something goes wrong: `directives` stand where
/// `MUNIM_LOG` says nothing.
pub fn start_log_at(format: LogFormat, directives: &str) {
    let filter = EnvFilter::try_from_env("MUNIM_LOG").unwrap_or_else(|_| EnvFilter::new(directives));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for people at a terminal; in a file they break up the words that somebody searches for.
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    // Fails only when a log was started before, and then that one goes on.
    let _ = match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
