//! Settings: flag over environment over file over default, and where each one came from.
//!
//! Promise: whatever flag `munim serve` has is also `MUNIM_…` in the environment and a key of
//! `munim.toml`, without a second list that somebody would have to keep: the keys are read off clap's
//! own description of the command. A key that no flag has is refused with its line and the nearest
//! key that exists, and a value that is refused is named with its file and line.
//!
//! Steps of [`parse`]:
//! 1. every flag without a variable of its own gets one;
//! 2. a first look at the command line, errors ignored, says which command it is and which folder;
//! 3. the files are read: `--config FILE` alone, else `/etc/munim/munim.toml` and then
//!    `DIR/munim.toml`, which stands above it;
//! 4. what they say becomes clap's default, which clap already ranks below flag and environment;
//! 5. the command line is parsed for good, and each value's source is read off the result.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use toml_edit::{Document, Item, Value};

use super::fail_as;

/// The file of the whole machine; read where no `--config` is given.
pub const SYSTEM_FILE: &str = "/etc/munim/munim.toml";

/// Name of the file in a data folder.
pub const FOLDER_FILE: &str = "munim.toml";

/// Commands that take the settings of `serve`, as the words that call them.
const COMMANDS: [&[&str]; 3] = [&["serve"], &["doctor"], &["config", "print"]];

/// Flags that are no settings: they choose the file, the form of the answer, or print help.
const NO_SETTINGS: [&str; 4] = ["help", "version", "config", "json"];

/// Flags for one start alone: in a file they would hold for every start to come.
const NOT_IN_A_FILE: [&str; 1] = ["accept_storage_failure"];

/// How alike two words are (Jaro-Winkler, 0 to 1) for one to be offered for the other; clap's own threshold.
const ALIKE: f64 = 0.7;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment variable of this name.
    Env(String),
    /// A file and its line, from 1.
    File(PathBuf, usize),
    /// Nobody said anything.
    Default,
}

/// One setting of `serve`.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its key in the file: the flag's name with `_`.
    pub key: String,
    /// Its variable.
    pub env: String,
    /// Its values as text; none where it has no default.
    pub values: Vec<String>,
    /// Who said so.
    pub source: Source,
    /// Never printed.
    pub is_secret: bool,
}

/// Every setting, and the files that were looked for.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// In the order of `munim help serve`; empty for commands that take none.
    pub settings: Vec<Setting>,
    /// Path, and whether it is there; the later ones stand above the earlier.
    pub files: Vec<(PathBuf, bool)>,
}

impl Settings {
    /// The first value of a key; `None` where the key or its value does not exist.
    #[must_use]
    pub fn first(&self, key: &str) -> Option<&str> {
        self.all(key).first().map(String::as_str)
    }

    /// All values of a key.
    #[must_use]
    pub fn all(&self, key: &str) -> &[String] {
        self.settings.iter().find(|setting| setting.key == key).map_or(&[], |setting| &setting.values)
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line is wrong, or asks for help.
    #[error(transparent)]
    Line(#[from] clap::Error),
    /// A file cannot be read.
    #[error("could not read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// A file is not TOML, has a key that nothing has, or a value that does not fit.
    #[error("{}:{line}: {what}", .file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl ConfigError {
    /// Says it as clap says its own, and gives the exit status: 2, or 0 where help was asked for.
    #[must_use]
    pub fn say(&self) -> ExitCode {
        match self {
            ConfigError::Line(error) => {
                // Nobody is left to tell when the terminal is gone.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
            other => fail_as(other, super::EXIT_WRONG_USE),
        }
    }
}

/// A value of a file.
#[derive(Clone, Debug)]
struct FileValue {
    values: Vec<String>,
    file: PathBuf,
    line: usize,
}

/// Parses a command line with the environment and the files.
///
/// # Errors
/// [`ConfigError`].
pub fn parse<C: CommandFactory + FromArgMatches>(
    line: &[OsString],
    system_file: &Path,
) -> Result<(C, Settings), ConfigError> {
    let mut command = COMMANDS.iter().fold(C::command(), |command, path| at(command, path, &mut with_variables));
    let mut settings = Settings::default();
    let mut from_files = BTreeMap::new();
    // The first look fails only where help is asked for, which the last one answers.
    let look = command.clone().ignore_errors(true).try_get_matches_from(line);
    let called = look.as_ref().ok().and_then(called);
    if let (Ok(look), Some(path)) = (&look, called) {
        let described = describe(&command, path);
        from_files = read_files(inner(look, path), &described, system_file, &mut settings.files)?;
        command = at(command, path, &mut |command| with_defaults(command, &from_files));
    }
    let matches = command.clone().try_get_matches_from(line).map_err(|error| blame(error, &from_files))?;
    if let Some(path) = called {
        settings.settings = list(&describe(&command, path), inner(&matches, path), &from_files);
    }
    Ok((C::from_arg_matches(&matches)?, settings))
}

/// Changes the command that a path of words calls.
fn at(command: Command, path: &[&str], change: &mut dyn FnMut(Command) -> Command) -> Command {
    match path.split_first() {
        None => change(command),
        Some((first, rest)) if command.find_subcommand(first).is_some() => {
            command.mut_subcommand(first, |inside| at(inside, rest, change))
        }
        Some(_) => command,
    }
}

/// Which of [`COMMANDS`] was called.
fn called(matches: &ArgMatches) -> Option<&'static [&'static str]> {
    COMMANDS.into_iter().find(|path| {
        let mut matches = Some(matches);
        path.iter().all(|word| {
            matches = matches.and_then(|matches| matches.subcommand_matches(word));
            matches.is_some()
        })
    })
}

fn inner<'a>(matches: &'a ArgMatches, path: &[&str]) -> &'a ArgMatches {
    path.iter().fold(matches, |matches, word| matches.subcommand_matches(word).unwrap_or(matches))
}

/// The settings' flags of a command, in its order.
fn describe(command: &Command, path: &[&str]) -> Vec<Arg> {
    let inside = path.iter().fold(command, |command, word| command.find_subcommand(word).unwrap_or(command));
    inside.get_arguments().filter(|arg| is_setting(arg)).cloned().collect()
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| !NO_SETTINGS.contains(&long))
}

/// The key of a flag in the file.
fn key_of(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().replace('-', "_")
}

fn with_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        if !is_setting(&arg) {
            return arg;
        }
        let variable = format!("MUNIM_{}", key_of(&arg).to_uppercase());
        let has_variable = arg.get_env().is_some();
        // A switch is set by `1`, `yes` and `on` too, as people write them in unit files.
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let arg = if has_variable { arg } else { arg.env(variable) };
        if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg }
    })
}

fn with_defaults(command: Command, from_files: &BTreeMap<String, FileValue>) -> Command {
    command.mut_args(|arg| match from_files.get(&key_of(&arg)) {
        Some(value) if is_setting(&arg) => arg.required(false).default_values(value.values.clone()),
        _ => arg,
    })
}

/// Reads the files that hold for a command line.
fn read_files(
    look: &ArgMatches,
    described: &[Arg],
    system_file: &Path,
    files: &mut Vec<(PathBuf, bool)>,
) -> Result<BTreeMap<String, FileValue>, ConfigError> {
    let mut found = BTreeMap::new();
    if let Some(file) = raw(look, "config").first() {
        let file = PathBuf::from(file);
        let text = std::fs::read_to_string(&file).map_err(|source| ConfigError::Read(file.clone(), source))?;
        found.extend(read(&text, &file, described)?);
        files.push((file, true));
        return Ok(found);
    }
    let mut take = |file: PathBuf| -> Result<BTreeMap<String, FileValue>, ConfigError> {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(source) => return Err(ConfigError::Read(file, source)),
        };
        let values = text.as_deref().map_or_else(|| Ok(BTreeMap::new()), |text| read(text, &file, described))?;
        files.push((file, text.is_some()));
        Ok(values)
    };
    found.extend(take(system_file.to_owned())?);
    let is_said = matches!(look.value_source("data"), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
    let by_file = found.get("data").and_then(|value| value.values.first()).filter(|_| !is_said);
    let Some(folder) = by_file.map(PathBuf::from).or_else(|| raw(look, "data").first().map(PathBuf::from)) else {
        return Ok(found);
    };
    let own = take(folder.join(FOLDER_FILE))?;
    if let Some(value) = own.get("data") {
        let what = "`data` cannot stand in the data folder's own file: the file is found through it".to_owned();
        return Err(ConfigError::File { file: value.file.clone(), line: value.line, what });
    }
    found.extend(own);
    Ok(found)
}

/// What a file says, by key.
fn read(text: &str, file: &Path, described: &[Arg]) -> Result<BTreeMap<String, FileValue>, ConfigError> {
    let line_of = |place: Option<usize>| text[..place.unwrap_or(0).min(text.len())].matches('\n').count() + 1;
    let wrong = |line, what| ConfigError::File { file: file.to_owned(), line, what };
    let document = Document::parse(text)
        .map_err(|error| wrong(line_of(error.span().map(|span| span.start)), error.message().to_owned()))?;
    let mut found = BTreeMap::new();
    for (key, item) in document.as_table() {
        let span = document.as_table().key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
        let line = line_of(span.map(|span| span.start));
        let Some(arg) = described.iter().find(|arg| key_of(arg) == key) else {
            return Err(wrong(line, unknown(key, described)));
        };
        if NOT_IN_A_FILE.contains(&key) {
            return Err(wrong(line, format!("`{key}` is for one start: give it as a flag")));
        }
        let values = values_of(item, arg).map_err(|what| wrong(line, format!("`{key}` {what}")))?;
        found.insert(key.to_owned(), FileValue { values, file: file.to_owned(), line });
    }
    Ok(found)
}

fn unknown(key: &str, described: &[Arg]) -> String {
    let alike = |known: &String| strsim::jaro_winkler(key, known);
    let nearest = described.iter().map(key_of).filter(|known| alike(known) > ALIKE);
    match nearest.max_by(|one, other| alike(one).total_cmp(&alike(other))) {
        Some(nearest) => format!("there is no setting `{key}`; the nearest is `{nearest}`"),
        None => format!("there is no setting `{key}`; `munim config print` lists them"),
    }
}

fn values_of(item: &Item, arg: &Arg) -> Result<Vec<String>, &'static str> {
    let is_many = matches!(arg.get_action(), ArgAction::Append)
        || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
        || arg.get_value_delimiter().is_some();
    match item.as_value() {
        Some(Value::Array(array)) if is_many => array.iter().map(scalar).collect(),
        Some(Value::Array(_)) => Err("takes one value, not a list"),
        Some(value) => Ok(vec![scalar(value)?]),
        None => Err("must be a value, not a table"),
    }
}

fn scalar(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.value().clone()),
        Value::Integer(number) => Ok(number.value().to_string()),
        Value::Float(number) => Ok(number.value().to_string()),
        Value::Boolean(truth) => Ok(truth.value().to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => Err("must be a text, a number, true or false"),
    }
}

/// Names file and line where clap refused a value that a file gave.
fn blame(error: clap::Error, from_files: &BTreeMap<String, FileValue>) -> ConfigError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    if !matches!(error.kind(), ClapErrorKind::ValueValidation | ClapErrorKind::InvalidValue) {
        return error.into();
    }
    let (Some(flag), Some(value)) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) else {
        return error.into();
    };
    // clap writes the flag as `--shards <SHARDS>`.
    let key = flag.split_whitespace().next().unwrap_or_default().trim_start_matches("--").replace('-', "_");
    let Some(found) = from_files.get(&key).filter(|found| found.values.contains(&value)) else {
        return error.into();
    };
    let reason = match (std::error::Error::source(&error), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(ContextValue::Strings(valid))) => format!("it is one of {}", valid.join(", ")),
        _ => "it is no such value".to_owned(),
    };
    let what = format!("`{key}` cannot be `{value}`: {reason}");
    ConfigError::File { file: found.file.clone(), line: found.line, what }
}

fn raw(matches: &ArgMatches, id: &str) -> Vec<String> {
    let values = matches.try_get_raw(id).ok().flatten();
    values.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect()
}

fn list(described: &[Arg], matches: &ArgMatches, from_files: &BTreeMap<String, FileValue>) -> Vec<Setting> {
    let setting = |arg: &Arg| {
        let (key, id) = (key_of(arg), arg.get_id().as_str());
        let env = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let source = match (matches.value_source(id), from_files.get(&key)) {
            (Some(ValueSource::CommandLine), _) => Source::Flag,
            (Some(ValueSource::EnvVariable), _) => Source::Env(env.clone()),
            (_, Some(value)) => Source::File(value.file.clone(), value.line),
            _ => Source::Default,
        };
        Setting { is_secret: is_secret(arg, &key), values: raw(matches, id), key, env, source }
    };
    described.iter().map(setting).collect()
}

/// Words in a key whose value nobody should see over a shoulder. Paths of files are no secrets.
const SECRET_WORDS: [&str; 5] = ["secret", "password", "passphrase", "token", "headers"];

fn is_secret(arg: &Arg, key: &str) -> bool {
    let is_file = ["_file", "_path", "_dir"].iter().any(|end| key.ends_with(end));
    arg.is_hide_env_values_set()
        || (!is_file && SECRET_WORDS.iter().any(|word| key.split('_').any(|part| part == *word)))
}

#[cfg(test)]
mod tests;
