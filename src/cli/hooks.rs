//! What the edge offers and others do: verification and export of a running engine.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::domain::ids::Seq;
use crate::engine::view::Unavailable;
use crate::engine::{Core, Engine};
use crate::http::Books;
use crate::http::gateway::token::Tokens;
use crate::http::hooks::{self, ExportParts, ExportQuery, Exporter, Progress, Verifier};
use crate::reconcile::export::books::{self, ExportFormat};
use crate::reconcile::verify::{Expected, verify};

/// Parts of an export between its writer and its reader: 16 of 64 KiB.
const EXPORT_PARTS: usize = 16;

/// An engine with everything that the edge wants of it.
#[must_use]
pub fn books(engine: &Arc<Engine>, tokens: Tokens) -> Books {
    let core = Arc::clone(engine.core());
    Books {
        engine: Arc::clone(engine),
        verifier: Arc::new(LiveVerifier { core: Arc::clone(&core) }),
        exporter: Arc::new(LiveExporter { core }),
        tokens,
    }
}

/// Verifies memory against the journal while requests go on.
#[derive(Debug)]
struct LiveVerifier {
    core: Arc<Core>,
}

impl Verifier for LiveVerifier {
    fn verify(&self, progress: &dyn Fn(Progress)) -> Result<hooks::VerifyReport, String> {
        // Rows first, then everything that they show must be durable, then the walk.
        let expected = Expected::from_memory(&self.core);
        let total = self.core.journal().appended_seq();
        if !self.core.watermark().wait_blocking(total) {
            return Err("The journal has failed; restart the server and verify the folder.".into());
        }
        let report = verify(self.core.journal(), &expected, &mut |seq| {
            progress(Progress { done: seq.0, total: total.0 });
        });
        let detail = if report.ok {
            format!("{} accounts agree with the journal and the chain is whole.", report.compared)
        } else {
            report.problems.join("; ")
        };
        Ok(hooks::VerifyReport {
            ok: report.ok,
            first_bad_seq: report.first_bad_seq.map(|seq| seq.0),
            detail,
            entries: report.entries,
            took_ms: (report.seconds * 1000.0) as u64,
        })
    }
}

/// Exports what is durable, on a thread of its own.
#[derive(Debug)]
struct LiveExporter {
    core: Arc<Core>,
}

impl Exporter for LiveExporter {
    fn export(&self, query: ExportQuery) -> Result<(Seq, ExportParts), Unavailable> {
        let (sender, parts) = mpsc::channel(EXPORT_PARTS);
        let core = Arc::clone(&self.core);
        let format = match query.format {
            hooks::ExportFormat::Ndjson => ExportFormat::Ndjson,
            hooks::ExportFormat::Csv => ExportFormat::Csv,
            hooks::ExportFormat::Ledger => ExportFormat::Ledger,
        };
        let query = books::ExportQuery { format, from: query.from, to: query.to };
        let seq = core.journal().durable_seq();
        let run = move || {
            let done = books::export(&core, &query, &mut |piece| {
                sender.blocking_send(Ok(Bytes::copy_from_slice(piece))).is_ok()
            });
            match done {
                Ok(_) | Err(books::ExportError::Gone) => {}
                Err(error) => {
                    tracing::error!(%error, "an export ended early");
                    // A broken chunked body tells the reader that it is not complete.
                    let _ = sender.blocking_send(Err(std::io::Error::other("the export ended early")));
                }
            }
        };
        let started = std::thread::Builder::new().name("export".into()).spawn(run);
        started.map_err(|_| Unavailable::Overloaded("export"))?;
        Ok((seq, parts))
    }
}
