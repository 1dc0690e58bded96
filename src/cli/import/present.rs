//! Whether the books already hold what a row says, when they refuse its external id as taken.
//!
//! An id made of what the row says needs no look: the same id is the same row. An id of the caller's may have been
//! used for something else, and that must not be reported as done: every field that the row states, and that
//! nothing can change once it is in the books, is compared with what the server answers under that id. One
//! small request a row, only in this case.

use std::collections::HashMap;

use serde_json::Value;

use super::batch::BatchError;
use super::client::{Call, Client};
use super::fields::ItemKind;
use super::row::Row;

/// Accounts remembered by name; beyond that it starts anew, so that memory stays bounded.
const ACCOUNT_IDS_MAX: usize = 100_000;

/// What may have changed in the books since a row was imported says nothing about who posted it: `PATCH` changes an
/// account's name and metadata, and a hold is posted, voided or runs out. A hold that is posted after its
/// period was closed gets the date of its posting.
fn is_lasting(kind: ItemKind, name: &str, wanted: &Value) -> bool {
    match (kind, name) {
        (_, "external_id")
        | (ItemKind::Accounts, "name" | "metadata")
        | (ItemKind::Transfers, "pending" | "expires_in_s") => false,
        (ItemKind::Transfers, "effective_date") => wanted["pending"] != true,
        _ => true,
    }
}

/// Looks into the server's books.
#[derive(Debug, Default)]
pub struct Books {
    account_ids: HashMap<String, String>,
}

impl Books {
    /// What differs between a row and the books, for a person; `None` when they hold the same.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn difference(&mut self, client: &mut Client, kind: ItemKind, row: &Row) -> Result<Option<String>, BatchError> {
        if row.is_id_made {
            return Ok(None);
        }
        let Some(held) = get(client, kind.collection(), &format!("ext:{}", row.external_id))? else {
            return Ok(Some("the id is taken, and what holds it cannot be read".to_owned()));
        };
        let wanted: Value =
            serde_json::from_slice(&row.item).map_err(|error| BatchError::Garbled(error.to_string()))?;
        for (name, value) in wanted.as_object().into_iter().flatten() {
            if !is_lasting(kind, name, &wanted) {
                continue;
            }
            let is_same = match (name.as_str(), value.as_str()) {
                ("debit_account" | "credit_account", Some(account)) => {
                    held[name].as_str() == self.account_id(client, account)?.as_deref()
                }
                ("amount", Some(amount)) => held[name].as_str().is_some_and(|other| plain(other) == plain(amount)),
                _ => held[name] == *value,
            };
            if !is_same {
                return Ok(Some(format!("the id is taken by something else: {name} is {} there", held[name])));
            }
        }
        Ok(None)
    }

    fn account_id(&mut self, client: &mut Client, account: &str) -> Result<Option<String>, BatchError> {
        if !account.starts_with("ext:") {
            return Ok(Some(account.to_owned()));
        }
        if let Some(id) = self.account_ids.get(account) {
            return Ok(Some(id.clone()));
        }
        let held = get(client, "accounts", account)?;
        let id = held.and_then(|held| held["id"].as_str().map(str::to_owned));
        if let Some(id) = &id {
            if self.account_ids.len() >= ACCOUNT_IDS_MAX {
                self.account_ids.clear();
            }
            self.account_ids.insert(account.to_owned(), id.clone());
        }
        Ok(id)
    }
}

/// One object of the server's, or `None` when it answers anything but 200.
fn get(client: &mut Client, collection: &str, id: &str) -> Result<Option<Value>, BatchError> {
    let mut path = format!("/v1/{collection}/");
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    let answer = client.call(Call { path: &path, post: None })?;
    Ok(if answer.status == 200 { serde_json::from_slice(&answer.body).ok() } else { None })
}

/// A decimal without the zeros that end its fraction.
fn plain(amount: &str) -> &str {
    if amount.contains('.') { amount.trim_end_matches('0').trim_end_matches('.') } else { amount }
}
