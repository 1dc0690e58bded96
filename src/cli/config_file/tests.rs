//! Precedence, sources and the complaints of files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
#[command(name = "munim")]
struct Line {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, clap::Subcommand)]
enum Commands {
    Serve(Flags),
}

/// A command of its own, so that the environment of the tests cannot reach it.
#[derive(Debug, clap::Args)]
struct Flags {
    #[arg(long, env = "MUNIM_UNSET_DATA", default_value = "nowhere-at-all")]
    data: PathBuf,
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long, env = "MUNIM_UNSET_SHARDS", value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: Option<u16>,
    #[arg(long, env = "PATH")]
    search: Option<String>,
    #[arg(long)]
    origin: Vec<String>,
    #[arg(long)]
    is_quiet: bool,
    #[arg(long)]
    accept_storage_failure: bool,
    #[arg(long)]
    hook_secret: Option<String>,
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(system: &str, own: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("system.toml"), system).unwrap();
        std::fs::create_dir(folder.path().join("books")).unwrap();
        std::fs::write(folder.path().join("books").join(FOLDER_FILE), own).unwrap();
        Place { folder }
    }

    fn books(&self) -> String {
        self.folder.path().join("books").to_str().unwrap().to_owned()
    }

    fn parse(&self, flags: &[&str]) -> Result<(Flags, Settings), ConfigError> {
        let line: Vec<OsString> = ["munim", "serve"].iter().chain(flags).map(Into::into).collect();
        let (line, settings) = parse::<Line>(&line, &self.folder.path().join("system.toml"))?;
        let Commands::Serve(flags) = line.command;
        Ok((flags, settings))
    }

    fn refusal(&self, flags: &[&str]) -> String {
        let text = self.parse(flags).unwrap_err().to_string();
        text.replace(self.folder.path().to_str().unwrap(), "PLACE")
    }
}

fn source(settings: &Settings, key: &str) -> Source {
    settings.settings.iter().find(|setting| setting.key == key).unwrap().source.clone()
}

#[test]
fn a_flag_stands_above_the_folders_file_and_that_above_the_machines() {
    let place = Place::new("shards = 2\nis_quiet = true\n", "# ours\nshards = 4\n");
    let (flags, settings) = place.parse(&["--data", &place.books()]).unwrap();
    assert_eq!((flags.shards, flags.is_quiet), (Some(4), true));
    let own = Path::new(&place.books()).join(FOLDER_FILE);
    assert_eq!(source(&settings, "shards"), Source::File(own, 2));
    assert_eq!(source(&settings, "is_quiet"), Source::File(place.folder.path().join("system.toml"), 2));
    assert_eq!(source(&settings, "data"), Source::Flag);
    assert_eq!(source(&settings, "hook_secret"), Source::Default);
    let (flags, settings) = place.parse(&["--data", &place.books(), "--shards", "8"]).unwrap();
    assert_eq!((flags.shards, source(&settings, "shards")), (Some(8), Source::Flag));
}

#[test]
fn the_environment_stands_above_a_file() {
    let place = Place::new("search = \"of the file\"\n", "");
    let (flags, settings) = place.parse(&[]).unwrap();
    assert_eq!(flags.search, std::env::var("PATH").ok());
    assert_eq!(source(&settings, "search"), Source::Env("PATH".into()));
}

#[test]
fn a_named_file_is_the_only_one() {
    let place = Place::new("shards = 2\n", "shards = 4\n");
    let named = place.folder.path().join("named.toml");
    std::fs::write(&named, "origin = [\"a\", \"b\"]\n").unwrap();
    let (flags, settings) = place.parse(&["--data", &place.books(), "--config", named.to_str().unwrap()]).unwrap();
    assert_eq!((flags.shards, flags.origin), (None, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(settings.files, [(named, true)]);
    let missing = place.refusal(&["--config", "/nonexistent/munim.toml"]);
    assert_eq!(missing, "could not read /nonexistent/munim.toml");
}

#[test]
fn the_machines_file_may_say_where_the_folder_is() {
    let place = Place::new("", "shards = 4\n");
    let system = format!("data = {:?}\n", place.books());
    std::fs::write(place.folder.path().join("system.toml"), system).unwrap();
    let (flags, settings) = place.parse(&[]).unwrap();
    assert_eq!((flags.data, flags.shards), (PathBuf::from(place.books()), Some(4)));
    assert!(settings.files.iter().all(|(_, is_there)| *is_there));
}

#[test]
fn a_file_that_is_wrong_is_refused_with_its_line() {
    let table = [
        ("\nshard = 2\n", "PLACE/system.toml:2: there is no setting `shard`; the nearest is `shards`"),
        ("is-quiet = true\n", "PLACE/system.toml:1: there is no setting `is-quiet`; the nearest is `is_quiet`"),
        ("zzz = 2\n", "PLACE/system.toml:1: there is no setting `zzz`; `munim config print` lists them"),
        ("[qqq]\nshards = 2\n", "PLACE/system.toml:1: there is no setting `qqq`; `munim config print` lists them"),
        ("\n\nshards = 0\n", "PLACE/system.toml:3: `shards` cannot be `0`: 0 is not in 1..=256"),
        ("shards = [1]\n", "PLACE/system.toml:1: `shards` takes one value, not a list"),
        ("shards = 2026-11-21\n", "PLACE/system.toml:1: `shards` must be a text, a number, true or false"),
        (
            "accept_storage_failure = true\n",
            "PLACE/system.toml:1: `accept_storage_failure` is for one start: give it as a flag",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(Place::new(text, "").refusal(&[]), expected, "{text}");
    }
    assert!(Place::new("\nshards = \n", "").refusal(&[]).starts_with("PLACE/system.toml:2: "));
    let own = Place::new("", "data = \"elsewhere\"\n");
    assert!(own.refusal(&["--data", &own.books()]).contains("munim.toml:1: `data` cannot stand"));
}

#[test]
fn a_wrong_flag_is_not_blamed_on_a_file() {
    let place = Place::new("shards = 4\n", "");
    assert!(matches!(place.parse(&["--shards", "0"]), Err(ConfigError::Line(_))));
}

#[test]
fn secrets_are_known_by_their_names() {
    let place = Place::new("hook_secret = \"s3cr3t\"\n", "");
    let (_, settings) = place.parse(&[]).unwrap();
    let secret: Vec<_> = settings.settings.iter().filter(|setting| setting.is_secret).map(|s| &s.key).collect();
    assert_eq!(secret, ["hook_secret"]);
}
