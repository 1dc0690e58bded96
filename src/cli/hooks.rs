//! What the edge offers and others do: verification and export of a running engine.

use std::sync::Arc;

use crate::engine::{Core, Engine};
use crate::http::Books;
use crate::http::gateway::token::Tokens;
use crate::http::hooks::{self, Progress, Verifier};
use crate::jobs::Jobs;
use crate::reconcile::verify::{Expected, verify};

use super::exporter::LiveExporter;

/// An engine with everything that the edge wants of it.
#[must_use]
pub fn books(engine: &Arc<Engine>, tokens: Tokens, jobs: Option<Jobs>) -> Books {
    let core = Arc::clone(engine.core());
    Books {
        engine: Arc::clone(engine),
        verifier: Arc::new(LiveVerifier { core: Arc::clone(&core) }),
        exporter: Arc::new(LiveExporter::new(core)),
        tokens,
        jobs,
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
        let expected = Expected::from_memory(&self.core).map_err(|error| {
            tracing::error!(%error, "could not read the store for a verification");
            "The store could not be read; see the log.".to_owned()
        })?;
        let total = self.core.journal().appended_seq();
        if !self.core.watermark().wait_blocking(total) {
            return Err("The journal has failed; restart the server and verify the folder.".into());
        }
        let report = verify(self.core.journal(), &expected, &mut |seq| {
            progress(Progress { done: seq.0, total: total.0 });
        });
        let detail = if report.ok {
            format!("{} accounts agree with the journal and the chain is whole.", report.accounts)
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
