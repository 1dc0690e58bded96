//! The business day as JSON, and the operation that ends one.

use std::fmt::Write as _;

use serde::Serialize;

use crate::domain::ids::{IdKind, format_id};
use crate::engine::view::{BusinessDay, DayEnd};

use super::moment_text;

#[derive(Serialize)]
struct ShownDay {
    object: &'static str,
    date: String,
    by_hand: bool,
    ended: Option<ShownEnded>,
    ending: Option<ShownEnding>,
    seal: Option<String>,
}

#[derive(Serialize)]
struct ShownEnded {
    date: String,
    seq: String,
}

#[derive(Serialize)]
struct ShownEnding {
    date: String,
    done: u32,
    of: u32,
}

/// A business day object.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn business_day(day: &BusinessDay) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&ShownDay {
        object: "business_day",
        date: day.date.to_string(),
        by_hand: day.by_hand,
        ended: day.ended.map(|(date, seq)| ShownEnded { date: date.to_string(), seq: seq.to_string() }),
        ending: day.ending.map(|(date, done, of)| ShownEnding { date: date.to_string(), done, of }),
        seal: day.seal.map(hex),
    })
}

fn hex(hash: [u8; 32]) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[derive(Serialize)]
struct ShownOperation {
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    kind: &'static str,
    status: &'static str,
    created_at: String,
    progress: ShownProgress,
    result: Option<ShownResult>,
    error: Option<&'static str>,
}

#[derive(Serialize)]
struct ShownProgress {
    done: u32,
    total: u32,
}

#[derive(Serialize)]
struct ShownResult {
    date: String,
    business_date: String,
    seq: Option<String>,
    seal: Option<String>,
}

/// The end of a business day as an operation. It does not fail: what stands in its way is the operator's to see, and
/// it goes on when that is out of it.
///
/// # Errors
/// None that can happen: the shape has string keys only.
pub fn day_end(end: &DayEnd) -> Result<Vec<u8>, serde_json::Error> {
    let (done, total) = end.looked_at;
    serde_json::to_vec(&ShownOperation {
        object: "operation",
        id: end.closed.map(|seq| format_id(IdKind::Operation, seq.0)),
        dry_run: end.closed.is_none(),
        kind: "day_end",
        status: if end.ended.is_some() { "succeeded" } else { "running" },
        created_at: moment_text(end.closed_at),
        progress: ShownProgress { done, total },
        result: end.ended.map(|by| ShownResult {
            date: end.date.to_string(),
            business_date: end.next.to_string(),
            seq: by.map(|(seq, _)| seq.to_string()),
            seal: by.map(|(_, hash)| hex(hash)),
        }),
        error: None,
    })
}
