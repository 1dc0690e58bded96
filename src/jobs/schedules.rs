//! A file of schedules: jobs by the calendar, as an operator writes them down.
//!
//! ```toml
//! [[schedule]]
//! name = "month-end statements"
//! cron = "0 2 1 * *"
//! kind = "statements"
//! args = { month = "{last_month}" }
//! ```
//!
//! Promise: what could not run is refused before anything is served, by the rules that callers' jobs are held to.
//! Words in braces ([`DATES`]) stand for dates, counted from the day of the firing.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::kinds::check_args;
use super::queue::{DATES, Order, Schedule, ScheduleError, dated, firings};
use crate::config::JOB_PRIORITY_MAX;
use crate::domain::ids::Moment;

/// Of a schedule that names none: behind what people ask for.
const PRIORITY_DEFAULT: u8 = 3;

/// Why a file of schedules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchedulesError {
    /// It cannot be read.
    #[error("schedules in {0:?}: {1}")]
    File(PathBuf, std::io::Error),
    /// It is not written as schedules are.
    #[error("schedules in {0:?}: {1}")]
    Form(PathBuf, Box<toml::de::Error>),
    /// One of them asks for what no job does.
    #[error("schedules in {path:?}: {name:?}: {why}")]
    Job {
        /// The file.
        path: PathBuf,
        /// The schedule's name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Its expression, its name, its bounds.
    #[error("schedules in {0:?}: {1}")]
    Schedule(PathBuf, ScheduleError),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    schedule: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    cron: String,
    kind: String,
    #[serde(default = "nothing")]
    args: serde_json::Value,
    priority: Option<u8>,
}

fn nothing() -> serde_json::Value {
    serde_json::json!({})
}

/// Reads a file of schedules, which are meant in the books' time zone.
///
/// # Errors
/// [`SchedulesError`].
pub fn read(path: &Path, zone: &TimeZone) -> Result<Vec<Schedule>, SchedulesError> {
    let text = std::fs::read_to_string(path).map_err(|error| SchedulesError::File(path.to_owned(), error))?;
    let written: Written =
        toml::from_str(&text).map_err(|error| SchedulesError::Form(path.to_owned(), Box::new(error)))?;
    let today = Timestamp::now().to_zoned(zone.clone()).date();
    let mut schedules = Vec::new();
    for Row { name, cron, kind, args, priority } in written.schedule {
        let wrong = |why: String| SchedulesError::Job { path: path.to_owned(), name: name.clone(), why };
        if priority.is_some_and(|priority| priority > JOB_PRIORITY_MAX) {
            return Err(wrong(format!("`priority` is 0 to {JOB_PRIORITY_MAX}")));
        }
        let args = serde_json::to_vec(&args).map_err(|error| wrong(error.to_string()))?;
        check_dated(&kind, &dated(&args, today)).map_err(wrong)?;
        let order = Order { kind, args, priority: priority.unwrap_or(PRIORITY_DEFAULT), run_at: None };
        schedules.push(Schedule { name, cron, order });
    }
    // Names and expressions, as the queue takes them.
    firings(&schedules, zone, Moment(0), 0).map_err(|error| SchedulesError::Schedule(path.to_owned(), error))?;
    Ok(schedules)
}

/// Whether a kind takes arguments whose dates are filled in.
fn check_dated(kind: &str, args: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(args);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let left = text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).find(|word| is_word(word));
    if let Some(word) = left {
        let known: Vec<String> = DATES.iter().map(|(name, _)| format!("{{{name}}}")).collect();
        return Err(format!("{{{word}}} stands for no date; these do: {}", known.join(", ")));
    }
    let args = serde_json::from_slice(args).map_err(|error| error.to_string())?;
    check_args(kind, &args).map_err(|(pointer, detail)| format!("{pointer}: {detail}"))
}

/// What a schedule asks for, as it would on a day.
#[must_use]
pub fn on_day(schedule: &Schedule, day: Date) -> String {
    String::from_utf8_lossy(&dated(&schedule.order.args, day)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Vec<Schedule>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schedules.toml");
        std::fs::write(&path, text).unwrap();
        read(&path, &TimeZone::UTC).map_err(|error| error.to_string())
    }

    fn one(rest: &str) -> String {
        format!("[[schedule]]\nname = \"one\"\n{rest}")
    }

    #[test]
    fn the_file_that_ships_is_good() {
        let schedules = said(include_str!("../../data/schedules.toml")).unwrap();
        assert!(schedules.len() >= 3);
        let day = jiff::civil::date(2027, 3, 1);
        assert_eq!(on_day(&schedules[0], day), r#"{"month":"2027-02"}"#);
    }

    #[test]
    fn what_is_no_schedule_is_told_by_its_name() {
        assert_eq!(said("").unwrap().len(), 0);
        let good = r#"cron = "0 2 1 * *"
kind = "statements"
args = { month = "{last_month}" }"#;
        assert_eq!(said(&one(good)).unwrap()[0].order.priority, PRIORITY_DEFAULT);
        for (from, to, part) in [
            ("0 2 1 * *", "0 2 1 *", "no cron expression"),
            ("statements", "fly", "`kind` is one of"),
            ("{last_month}", "{next_month}", "{next_month} stands for no date; these do: {today}"),
            ("{last_month}", "soon", "`month` is YYYY-MM"),
            ("args", "arguments", "unknown field"),
            ("cron", "priority = 10\ncron", "`priority` is 0 to 9"),
        ] {
            let error = said(&one(&good.replace(from, to))).unwrap_err();
            assert!(error.contains(part), "{to}: {error}");
        }
        let twice = format!("{0}\n{0}", one(good));
        assert!(said(&twice).unwrap_err().contains("there twice"));
        assert!(read(Path::new("/nowhere/at/all"), &TimeZone::UTC).is_err());
    }
}
