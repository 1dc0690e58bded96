//! Rows as requests, and what the answers say about each row.
//!
//! Promise: sending the same rows of the same file again, in this run or in a later one, posts nothing
//! twice. Three things stand behind it, each enough for its time:
//! 1. Batches are cut by the file's content alone, and a batch's key is made of the file's hash, its
//!    first row and its body: a second run gets the stored answers.
//! 2. Every row has an external id, its own or one made of what it says: after the keys have expired, or
//!    in a file that has grown meanwhile, the books still refuse it as `external_id_exists`.
//! 3. Such a refusal counts as done only if the books hold the same thing under that id (see `present`).

use bytes::Bytes;
use serde::Deserialize;

use super::client::{Answer, Call, Client, ClientError, Problem};
use super::fields::ItemKind;
use super::present::Books;
use super::row::{Rejected, Row};

/// Rows of one request. Half of what the server takes.
pub const BATCH_ROWS_MAX: usize = 5_000;

/// Bytes of one request's items. Half of what the server takes; it also bounds the importer's memory.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why an import ends early. What was posted stays posted; running it again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// No answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An answer that concerns the whole import: no permission, no such route, a broken server.
    #[error("the server refused with status {status} {code}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem's code, or nothing.
        code: String,
        /// The problem's detail, or nothing.
        detail: String,
    },
    /// An answer that is no answer to a batch.
    #[error("could not understand the server's answer: {0}")]
    Garbled(String),
}

/// What became of rows.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Posted by this request.
    pub posted: u64,
    /// Posted by an earlier request with the same key.
    pub replayed: u64,
    /// In the books already under their external id.
    pub present: u64,
    /// Those of them whose id was made of what they say.
    pub present_by_content: u64,
    /// Refused, in order of the file.
    pub rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Reply {
    posted: Option<u64>,
    results: Vec<ItemReply>,
}

#[derive(Deserialize)]
struct ItemReply {
    index: usize,
    code: Option<String>,
    detail: Option<String>,
}

/// Posts rows to one server on behalf of one file.
pub struct Poster<'a> {
    /// Where to.
    pub client: &'a mut Client,
    /// For the comparison of what is in the books already.
    pub books: &'a mut Books,
    /// What the rows are.
    pub kind: ItemKind,
    /// Of the file.
    pub file_hash: blake3::Hash,
}

impl Poster<'_> {
    /// Posts rows in their order. A body that the server refuses for one of its rows (malformed, or above the key's
    /// amount limit) is halved until such rows stand alone: one bad row never holds up the others.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn post(&mut self, rows: Vec<Row>) -> Result<Outcome, BatchError> {
        let mut outcome = Outcome::default();
        let mut parts = vec![rows];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let body = body(self.kind, &part);
            let key = self.key(part[0].number, &body);
            let path = format!("/v1/{}/batch", self.kind.collection());
            let answer = self.client.call(Call { path: &path, post: Some((&key, &body)) })?;
            let problem = if is_success(answer.status) { Problem::default() } else { answer.problem() };
            match answer.status {
                status if is_success(status) => self.settle(part, &answer, &mut outcome)?,
                status if is_about_a_row(status, &problem.code) => {
                    if part.len() > 1 {
                        let rest = part.split_off(part.len() / 2);
                        parts.push(rest);
                        parts.push(part);
                    } else {
                        let code = if problem.code.is_empty() { "refused".to_owned() } else { problem.code };
                        outcome.rejected.extend(part.into_iter().map(|row| rejected(row, &code, &problem.detail)));
                    }
                }
                status => {
                    let Problem { code, detail, .. } = problem;
                    return Err(BatchError::Refused { status, code, detail });
                }
            }
        }
        Ok(outcome)
    }

    fn key(&self, first_row: u64, body: &Bytes) -> String {
        let body_hash = blake3::hash(body);
        format!("import-{}-{first_row}-{}", &self.file_hash.to_hex()[..24], &body_hash.to_hex()[..16])
    }

    fn settle(&mut self, rows: Vec<Row>, answer: &Answer, outcome: &mut Outcome) -> Result<(), BatchError> {
        let reply: Reply =
            serde_json::from_slice(&answer.body).map_err(|error| BatchError::Garbled(error.to_string()))?;
        let mut refusals: Vec<Option<(String, String)>> = vec![None; rows.len()];
        for item in reply.results {
            let Some(code) = item.code else { continue };
            let place = refusals.get_mut(item.index);
            let place = place.ok_or_else(|| BatchError::Garbled(format!("no row has index {}", item.index)))?;
            *place = Some((code, item.detail.unwrap_or_default()));
        }
        let accepted = refusals.iter().filter(|refusal| refusal.is_none()).count() as u64;
        if let Some(posted) = reply.posted.filter(|posted| *posted != accepted) {
            return Err(BatchError::Garbled(format!("{posted} posted, but {accepted} not refused")));
        }
        if answer.is_replayed {
            outcome.replayed += accepted;
        } else {
            outcome.posted += accepted;
        }
        for (row, refusal) in rows.into_iter().zip(refusals) {
            let Some((code, detail)) = refusal else { continue };
            if code != "external_id_exists" {
                outcome.rejected.push(rejected(row, &code, &detail));
                continue;
            }
            match self.books.difference(self.client, self.kind, &row)? {
                None => {
                    outcome.present += 1;
                    outcome.present_by_content += u64::from(row.is_id_made);
                }
                Some(difference) => outcome.rejected.push(rejected(row, &code, &difference)),
            }
        }
        Ok(())
    }
}

/// Whether a refusal of a whole body may be for the sake of one row, so that its halves are worth a try.
fn is_about_a_row(status: u16, code: &str) -> bool {
    match status {
        400 | 413 | 422 => !code.starts_with("idempotency_key_"),
        // Of one amount; every other 403 is about the key and concerns the whole import.
        403 => code == "amount_limit_exceeded",
        _ => false,
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn rejected(row: Row, code: &str, detail: &str) -> Rejected {
    Rejected {
        number: row.number,
        code: code.to_owned(),
        detail: detail.to_owned(),
        external_id: Some(row.external_id),
        source: row.source,
    }
}

fn body(kind: ItemKind, rows: &[Row]) -> Bytes {
    let mut body = Vec::with_capacity(rows.iter().map(|row| row.item.len() + 1).sum::<usize>() + 64);
    body.extend_from_slice(match kind {
        ItemKind::Accounts => b"{\"accounts\":[".as_slice(),
        ItemKind::Transfers => b"{\"mode\":\"independent\",\"transfers\":[".as_slice(),
    });
    for (place, row) in rows.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&row.item);
    }
    body.extend_from_slice(b"]}");
    Bytes::from(body)
}
