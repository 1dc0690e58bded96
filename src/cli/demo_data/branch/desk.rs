//! The counter: requests of the branch's people to the server, each under the key of a role.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::super::import::client::{Call, Client, Patience};
use super::super::super::keys::files::{ADMIN_FILE, write_private};
use super::super::super::trust::TrustArgs;

/// Who asks. Who has approved a loan is never who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Takes applications and payments, pays out.
    Officer = 0,
    /// Approves, declines, waives, ends days.
    Manager = 1,
}

/// Names of the keys' roles, by [`Who`].
const ROLES: [&str; 2] = ["officer", "manager"];

/// A client for each role.
pub struct Desk {
    clients: [Client; 2],
    /// Requests that were answered.
    pub answered: u64,
    /// Those of them that the server had answered before.
    pub replayed: u64,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("answered", &self.answered).finish_non_exhaustive()
    }
}

impl Desk {
    /// Opens it; the keys are there ([`make_keys`]).
    ///
    /// # Errors
    /// A key file cannot be used.
    pub fn open(folder: &Path, address: SocketAddr) -> io::Result<Desk> {
        let clients =
            [client(address, &key_file(folder, Who::Officer))?, client(address, &key_file(folder, Who::Manager))?];
        Ok(Desk { clients, answered: 0, replayed: 0 })
    }

    /// Posts, and gives the answer.
    ///
    /// # Errors
    /// The server is away, or refuses: nothing that the branch does is to be refused.
    pub fn post(&mut self, who: Who, path: &str, key: &str, body: &Value) -> io::Result<Value> {
        let key = format!("demo-{key}");
        let (answer, is_replayed) = post(&mut self.clients[who as usize], path, &key, body)?;
        self.answered += 1;
        self.replayed += u64::from(is_replayed);
        Ok(answer)
    }

    /// Reads.
    ///
    /// # Errors
    /// As [`Desk::post`].
    pub fn get(&mut self, path: &str) -> io::Result<Value> {
        let answer = self.clients[Who::Manager as usize].call(Call { path, post: None }).map_err(io::Error::other)?;
        read(path, "", answer.status, &answer.body)
    }
}

/// Makes the keys of the branch where they are not there yet.
///
/// # Errors
/// The server refuses, or a file cannot be written.
pub fn make_keys(folder: &Path, address: SocketAddr) -> io::Result<()> {
    for who in [Who::Officer, Who::Manager] {
        let path = key_file(folder, who);
        if path.exists() {
            continue;
        }
        let role = ROLES[who as usize];
        let mut admin = client(address, &folder.join(ADMIN_FILE))?;
        let body = json!({"name": format!("Branch 12: {role}"), "role": role});
        let (made, _) = post(&mut admin, "/v1/api_keys", &format!("demo-key-{role}"), &body)?;
        let token = made["token"].as_str().ok_or_else(|| io::Error::other("the server made a key without a token"))?;
        write_private(&path, &format!("{token}\n")).map_err(io::Error::other)?;
    }
    Ok(())
}

fn key_file(folder: &Path, who: Who) -> PathBuf {
    folder.join(format!("demo-{}.key", ROLES[who as usize]))
}

fn client(address: SocketAddr, key_file: &Path) -> io::Result<Client> {
    let patience = Patience {
        first_wait: Duration::from_millis(20),
        wait_max: Duration::from_secs(1),
        give_up_after: Duration::from_secs(30),
        answer_within: Duration::from_secs(60),
    };
    // It is this process that listens, whatever its address.
    let trust = TrustArgs { insecure_http: true, ..TrustArgs::default() };
    Client::new(&format!("http://{address}"), Some(key_file), &trust, patience).map_err(io::Error::other)
}

fn post(client: &mut Client, path: &str, key: &str, body: &Value) -> io::Result<(Value, bool)> {
    let text = body.to_string();
    let bytes = Bytes::from(text.clone());
    let answer = client.call(Call { path, post: Some((key, &bytes)) }).map_err(io::Error::other)?;
    Ok((read(path, &text, answer.status, &answer.body)?, answer.is_replayed))
}

fn read(path: &str, asked: &str, status: u16, body: &[u8]) -> io::Result<Value> {
    if (200..300).contains(&status) {
        return serde_json::from_slice(body).map_err(io::Error::other);
    }
    let said = String::from_utf8_lossy(body);
    Err(io::Error::other(format!("the demo's server answered {status} to {path} {asked}: {said}")))
}
