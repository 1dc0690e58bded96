//! What the edge offers but others do: proving the books, and writing them out.

use std::fmt;
use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::domain::time::Day;
use crate::engine::view::Unavailable;

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries checked.
    pub done: u64,
    /// Entries to check; 0 while unknown.
    pub total: u64,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The books prove themselves.
    pub ok: bool,
    /// The first seq that differs.
    pub first_bad_seq: Option<u64>,
    /// What was found, in a sentence.
    pub detail: String,
    /// Entries checked.
    pub entries: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// Proves the books of a running server.
pub trait Verifier: Send + Sync + fmt::Debug {
    /// Checks everything, on the calling thread, telling `progress` now and then.
    ///
    /// # Errors
    /// A sentence for the caller when the check itself could not run; causes go to the log.
    fn verify(&self, progress: &dyn Fn(Progress)) -> Result<VerifyReport, String>;
}

/// A form of the exported books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values.
    Csv,
    /// Plain-text accounting.
    Ledger,
}

/// What to export: transfers with effective dates in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportQuery {
    /// How.
    pub format: ExportFormat,
    /// First effective date.
    pub from: Option<Day>,
    /// Last effective date.
    pub to: Option<Day>,
}

/// Parts of an export as they are written; the channel is bounded, so that a slow reader slows the writer.
pub type ExportParts = mpsc::Receiver<io::Result<Bytes>>;

/// Writes the books out.
pub trait Exporter: Send + Sync + fmt::Debug {
    /// Starts an export on a thread of its own; dropping the receiver ends it. Shows only what is
    /// durable; the seq is the greatest one in it.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn export(&self, query: ExportQuery) -> Result<(crate::domain::ids::Seq, ExportParts), Unavailable>;
}
