//! `munim config print`: every setting, its value, and who said so.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::config_file::{Setting, Settings, Source};
use super::serve::ServeArgs;

/// Arguments of `munim config`.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

/// What to do with the settings.
#[derive(Clone, Debug, Subcommand)]
enum ConfigCommand {
    /// Print what `munim serve` would use with the same flags here: value and source of each setting.
    Print {
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
        /// The flags of `serve`.
        #[command(flatten)]
        serve: Box<ServeArgs>,
    },
}

/// Stands for a secret's value.
const MASK: &str = "********";

/// Prints them.
#[must_use]
pub fn run(args: &ConfigArgs, settings: &Settings) -> ExitCode {
    let ConfigCommand::Print { json, .. } = &args.command;
    let text = if *json { as_json(settings) } else { as_table(settings) };
    // A closed stdout is the reader's wish.
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn shown(setting: &Setting) -> Vec<String> {
    let mask = |value: &String| if setting.is_secret { MASK.to_owned() } else { without_password(value) };
    setting.values.iter().map(mask).collect()
}

/// A URL may carry a password before its host: `https://user:password@host/`.
fn without_password(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:{MASK}@{host}{}", &rest[authority.len()..])
        }
        None => value.to_owned(),
    }
}

fn said_by(source: &Source) -> String {
    match source {
        Source::Flag => "flag".to_owned(),
        Source::Env(name) => format!("env {name}"),
        Source::File(file, line) => format!("file {}:{line}", file.display()),
        Source::Default => "default".to_owned(),
    }
}

fn as_table(settings: &Settings) -> String {
    let mut text = String::new();
    for (file, is_there) in &settings.files {
        text.push_str(&format!("# {}: {}\n", file.display(), if *is_there { "read" } else { "not there" }));
    }
    let rows: Vec<[String; 3]> = settings
        .settings
        .iter()
        .map(|setting| {
            let value = if setting.values.is_empty() { "-".to_owned() } else { shown(setting).join(", ") };
            [setting.key.clone(), value, said_by(&setting.source)]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(0), width(1));
    let lines: Vec<_> =
        rows.iter().map(|[key, value, source]| format!("{key:keys$}  {value:values$}  {source}")).collect();
    text + &lines.join("\n")
}

fn as_json(settings: &Settings) -> String {
    let files: Vec<_> = settings
        .files
        .iter()
        .map(|(file, is_there)| json!({"path": file.to_string_lossy(), "found": is_there}))
        .collect();
    let rows: Vec<_> = settings
        .settings
        .iter()
        .map(|setting| {
            let mut values: Vec<_> = shown(setting).into_iter().map(serde_json::Value::from).collect();
            let value = match values.len() {
                0 => serde_json::Value::Null,
                1 => values.remove(0),
                _ => serde_json::Value::from(values),
            };
            let (source, file, line) = match &setting.source {
                Source::Flag => ("flag", None, None),
                Source::Env(_) => ("env", None, None),
                Source::File(file, line) => ("file", Some(file.to_string_lossy().into_owned()), Some(*line)),
                Source::Default => ("default", None, None),
            };
            json!({
                "key": setting.key, "env": setting.env, "value": value, "masked": setting.is_secret,
                "source": source, "file": file, "line": line,
            })
        })
        .collect();
    json!({"object": "config", "files": files, "settings": rows}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let setting = |key: &str, values: &[&str], source, is_secret| Setting {
            key: key.to_owned(),
            env: format!("MUNIM_{}", key.to_uppercase()),
            values: values.iter().map(|&value| value.to_owned()).collect(),
            source,
            is_secret,
        };
        Settings {
            settings: vec![
                setting("listen", &["127.0.0.1:7070"], Source::Flag, false),
                setting("hook_secret", &["s3cr3t"], Source::Env("MUNIM_HOOK_SECRET".into()), true),
                setting("otlp", &["http://me:s3cr3t@collector:4318/v1"], Source::File("m.toml".into(), 3), false),
                setting("shards", &[], Source::Default, false),
            ],
            files: vec![("m.toml".into(), true)],
        }
    }

    #[test]
    fn every_setting_is_printed_with_its_source_and_no_secret() {
        let expected = "# m.toml: read\n\
            listen       127.0.0.1:7070                         flag\n\
            hook_secret  ********                               env MUNIM_HOOK_SECRET\n\
            otlp         http://me:********@collector:4318/v1  file m.toml:3\n\
            shards       -                                      default";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&as_table(&settings())), squeezed(expected));
        let document = as_json(&settings());
        assert!(!document.contains("s3cr3t"), "{document}");
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["settings"][2]["line"], 3);
        assert_eq!(document["settings"][3]["value"], serde_json::Value::Null);
    }
}
