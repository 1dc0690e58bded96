//! `munim keys`: API keys, of a folder that no server holds (`--data`) or through a server (`--url`).
//!
//! A token goes to stdout, alone on a line, so that `munim keys create … > till.key` is a key file;
//! what else there is to say goes to stderr. With `--json` stdout has the whole object.

pub mod files;
pub mod offline;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::domain::access::ApiKey;
use crate::domain::ids::{IdKind, parse_id};
use crate::engine::command::{Command, NewApiKey};
use crate::http::gateway::token::Secret;
use crate::http::{json as bodies, render};

use super::folder::{FolderError, require_books};
use super::import::client::{Call, Client, ClientError, Patience};
use super::trust::TrustArgs;
use super::{EXIT_BAD, fail};
use files::KeyFileError;
use offline::Desk;

/// Arguments of `munim keys`.
#[derive(Clone, Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

/// What to do with keys.
#[derive(Clone, Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and print its token, once.
    Create(CreateArgs),
    /// Show all keys, revoked ones too.
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give a key another token and print it, once.
    Rotate {
        #[command(flatten)]
        place: Place,
        /// The key's id, `key_…`.
        key: String,
        /// Seconds that the old token stays good.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=crate::config::KEY_OVERLAP_SECONDS_MAX))]
        overlap: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a key, at once.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The key's id, `key_…`.
        key: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Whose keys.
#[derive(Clone, Debug, Args)]
struct Place {
    /// The data folder; no server may hold it.
    #[arg(long, env = "MUNIM_DATA", default_value = "munim-data")]
    data: PathBuf,
    /// Ask this running server instead, e.g. <http://127.0.0.1:7070>.
    #[arg(long)]
    url: Option<String>,
    /// File with the bearer key for --url, one line.
    #[arg(long, value_name = "FILE", env = "MUNIM_KEY_FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Arguments of `munim keys create`.
#[derive(Clone, Debug, Args)]
struct CreateArgs {
    #[command(flatten)]
    place: Place,
    /// Whose key it is, or which program's.
    #[arg(long)]
    name: String,
    /// cashier, officer, manager, auditor, admin or system.
    #[arg(long)]
    role: String,
    /// `*`, `<resource>:read`, `<resource>:write` or an operation's id; may be repeated [default: *].
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Greatest single amount, in whole units of its currency.
    #[arg(long, value_name = "UNITS")]
    amount_limit: Option<u64>,
    /// Requests a second.
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Requests at once after a pause.
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// Requests in flight.
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// The instant from which it is no key any more, e.g. 2027-03-31T18:30:00Z.
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<String>,
    /// SHA-256 fingerprint of the client certificate without which it is no key.
    #[arg(long, value_name = "HEX")]
    certificate: Option<String>,
    /// Make books in the folder if it has none.
    #[arg(long, conflicts_with = "url")]
    new_books: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file of the keys.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The server cannot be reached, or the address is none.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The books or the server said no.
    #[error("{code}: {detail}")]
    Refused {
        /// Stable code.
        code: String,
        /// A sentence.
        detail: String,
    },
    /// The journal did not take it.
    #[error("could not write to the books: {0}")]
    Unwritten(String),
    /// The system has no randomness.
    #[error("could not draw a secret")]
    Random(#[source] std::io::Error),
}

/// Does it. Exit status 0 done, 1 refused, 3 could not run.
#[must_use]
pub fn run(args: &KeysArgs) -> ExitCode {
    let done = match &args.command {
        KeysCommand::Create(create) => say_key(create.make(), create.json),
        KeysCommand::List { place, json } => say_list(place.list(), *json),
        KeysCommand::Rotate { place, key, overlap, json } => say_key(place.rotate(key, *overlap), *json),
        KeysCommand::Revoke { place, key, json } => say_key(place.revoke(key), *json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ KeysError::Refused { .. }) => {
            let _ = fail(&error);
            ExitCode::from(EXIT_BAD)
        }
        Err(error) => fail(&error),
    }
}

impl CreateArgs {
    /// As the API takes it.
    fn body(&self) -> Vec<u8> {
        let mut body = json!({ "name": self.name, "role": self.role });
        let scopes = (!self.scopes.is_empty()).then(|| json!(self.scopes));
        let fields = [
            ("scopes", scopes),
            ("amount_limit", self.amount_limit.map(|limit| json!(limit.to_string()))),
            ("rate_per_s", self.rate.map(Value::from)),
            ("burst", self.burst.map(Value::from)),
            ("concurrency", self.concurrency.map(Value::from)),
            ("expires_at", self.expires_at.clone().map(Value::from)),
            ("certificate_sha256", self.certificate.clone().map(Value::from)),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        body.to_string().into_bytes()
    }

    fn make(&self) -> Result<Value, KeysError> {
        let body = self.body();
        if self.place.url.is_some() {
            return self.place.post("/v1/api_keys", body);
        }
        let terms = bodies::parse_new_key(&body).map_err(|problem| refused(&problem))?;
        if !self.new_books {
            require_books(&self.place.data)?;
        }
        let mut desk = Desk::open(&self.place.data)?;
        let secret = Secret::draw().map_err(KeysError::Random)?;
        let hash = desk.tokens.hash(&secret);
        let key = desk.submit(&Command::MakeApiKey(Box::new(NewApiKey { terms, hash })))?;
        Ok(shown(&key, Some(&secret)))
    }
}

impl Place {
    fn rotate(&self, id: &str, overlap_s: i64) -> Result<Value, KeysError> {
        if self.url.is_some() {
            let body = json!({ "overlap_s": overlap_s }).to_string();
            return self.post(&format!("/v1/api_keys/{id}/rotate"), body.into_bytes());
        }
        let number = number_of(id)?;
        require_books(&self.data)?;
        let mut desk = Desk::open(&self.data)?;
        let secret = Secret::draw().map_err(KeysError::Random)?;
        let hash = desk.tokens.hash(&secret);
        let key = desk.submit(&Command::RotateApiKey { number, hash, overlap_us: overlap_s * 1_000_000 })?;
        Ok(shown(&key, Some(&secret)))
    }

    fn revoke(&self, id: &str) -> Result<Value, KeysError> {
        if self.url.is_some() {
            return self.post(&format!("/v1/api_keys/{id}/revoke"), b"{}".to_vec());
        }
        let number = number_of(id)?;
        require_books(&self.data)?;
        let key = Desk::open(&self.data)?.submit(&Command::RevokeApiKey { number })?;
        Ok(shown(&key, None))
    }

    /// All keys, oldest first.
    fn list(&self) -> Result<Vec<Value>, KeysError> {
        let Some(url) = &self.url else {
            let (keys, now) = offline::list(&self.data)?;
            let shown = |key| serde_json::from_slice(&render::api_key_at(key, now)).unwrap_or_default();
            return Ok(keys.iter().map(shown).collect());
        };
        let mut client = self.client(url)?;
        let mut keys: Vec<Value> = Vec::new();
        let mut path = "/v1/api_keys?limit=1000".to_owned();
        loop {
            let answer = client.call(Call { path: &path, post: None })?;
            let page = read(answer.status, &answer.body)?;
            keys.extend(page["data"].as_array().into_iter().flatten().cloned());
            match keys.last().and_then(|key| key["id"].as_str()) {
                Some(last) if page["has_more"] == true => {
                    path = format!("/v1/api_keys?limit=1000&starting_after={last}");
                }
                _ => break,
            }
        }
        keys.reverse();
        Ok(keys)
    }

    fn client(&self, url: &str) -> Result<Client, KeysError> {
        let patience = Patience {
            first_wait: Duration::from_millis(100),
            wait_max: Duration::from_secs(1),
            give_up_after: Duration::from_secs(5),
            answer_within: Duration::from_secs(30),
        };
        Ok(Client::new(url, self.key_file.as_deref(), &self.trust, patience)?)
    }

    fn post(&self, path: &str, body: Vec<u8>) -> Result<Value, KeysError> {
        let url = self.url.as_deref().unwrap_or_default();
        // A repetition after a broken connection must not make a second key, and must show the same token.
        let nonce = getrandom::u64().map_err(|error| KeysError::Random(std::io::Error::other(error)))?;
        let key = format!("munim-keys-{nonce:016x}");
        let answer = self.client(url)?.call(Call { path, post: Some((&key, &Bytes::from(body))) })?;
        read(answer.status, &answer.body)
    }
}

/// An answer of the server, or its refusal.
fn read(status: u16, body: &[u8]) -> Result<Value, KeysError> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    if (200..300).contains(&status) {
        return Ok(value);
    }
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Err(KeysError::Refused { code: text("code"), detail: text("detail") })
}

fn refused(problem: &crate::http::problem::Problem) -> KeysError {
    KeysError::Refused { code: problem.code.facts().name.into(), detail: problem.detail.clone().into_owned() }
}

fn number_of(id: &str) -> Result<u64, KeysError> {
    let no_id = || KeysError::Refused { code: "api_key_not_found".into(), detail: format!("{id} is no key_… id.") };
    parse_id(IdKind::ApiKey, id).ok_or_else(no_id)
}

/// The object that the API would show.
fn shown(key: &ApiKey, secret: Option<&Secret>) -> Value {
    let token = secret.map(|secret| secret.token_of(key.number));
    serde_json::from_slice(&render::api_key(key, token.as_deref())).unwrap_or_default()
}

fn say_key(key: Result<Value, KeysError>, json: bool) -> Result<(), KeysError> {
    let key = key?;
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    // Nobody may be reading; what was done is done.
    if json {
        let _ = writeln!(std::io::stdout(), "{key}");
        return Ok(());
    }
    let _ = writeln!(std::io::stderr(), "{} {} ({}), {}", text("id"), text("name"), text("role"), text("status"));
    if let Some(token) = key["token"].as_str() {
        let _ = writeln!(std::io::stderr(), "its token is shown this once:");
        let _ = writeln!(std::io::stdout(), "{token}");
    }
    Ok(())
}

fn say_list(keys: Result<Vec<Value>, KeysError>, json: bool) -> Result<(), KeysError> {
    let keys = keys?;
    let mut out = std::io::stdout().lock();
    if json {
        let _ = writeln!(out, "{}", json!({ "object": "list", "has_more": false, "data": keys }));
        return Ok(());
    }
    for key in &keys {
        let text = |name: &str| key[name].as_str().unwrap_or("-");
        let scopes: Vec<&str> = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let _ = writeln!(
            out,
            "{}  {:<8} {:<8} expires {:<27} limit {:<10} {}  {}",
            text("id"),
            text("role"),
            text("status"),
            text("expires_at"),
            text("amount_limit"),
            scopes.join(","),
            text("name"),
        );
    }
    Ok(())
}
