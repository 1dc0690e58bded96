//! Exports of a running engine: few at once, each on a thread of its own, none for a reader who takes nothing.
//!
//! Promise: a body that is not the whole export breaks off; it never ends like one that is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::config::{EXPORT_PATIENCE, EXPORTS_MAX};
use crate::domain::ids::Seq;
use crate::engine::Core;
use crate::engine::view::Unavailable;
use crate::http::hooks::{self, ExportParts, ExportQuery, Exporter};
use crate::reconcile::export::books::{self, ExportError, ExportFormat};

/// Parts of an export between its writer and its reader: 16 of 64 KiB.
const EXPORT_PARTS: usize = 16;

/// Exports what is durable.
#[derive(Debug)]
pub struct LiveExporter {
    core: Arc<Core>,
    /// One for each export whose thread runs.
    places: Arc<Semaphore>,
    patience: Duration,
}

impl LiveExporter {
    /// Of these books.
    #[must_use]
    pub fn new(core: Arc<Core>) -> LiveExporter {
        LiveExporter { core, places: Arc::new(Semaphore::new(EXPORTS_MAX)), patience: EXPORT_PATIENCE }
    }
}

impl Exporter for LiveExporter {
    fn export(&self, query: ExportQuery) -> Result<(Seq, ExportParts), Unavailable> {
        let overloaded = || Unavailable::Overloaded("export");
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| overloaded())?;
        // One more, for the last word of an export that breaks off.
        let (sender, parts) = mpsc::channel(EXPORT_PARTS + 1);
        let last_word = sender.clone().try_reserve_owned().expect("a new channel has room");
        let mut ending = Ending(Some(last_word));
        let core = Arc::clone(&self.core);
        let format = match query.format {
            hooks::ExportFormat::Ndjson => ExportFormat::Ndjson,
            hooks::ExportFormat::Csv => ExportFormat::Csv,
            hooks::ExportFormat::Ledger => ExportFormat::Ledger,
        };
        let query = books::ExportQuery { format, from: query.from, to: query.to };
        let seq = core.journal().durable_seq();
        let (runtime, patience) = (Handle::current(), self.patience);
        let run = move || {
            // Given back when this thread ends, however it ends.
            let _place = place;
            let done = books::export(&core, &query, seq, &mut |piece| {
                if piece.is_empty() {
                    return !sender.is_closed();
                }
                let sent = sender.send(Ok(Bytes::copy_from_slice(piece)));
                runtime.block_on(async { tokio::time::timeout(patience, sent).await.is_ok_and(|sent| sent.is_ok()) })
            });
            match done {
                Ok(_) => ending.is_well(),
                Err(ExportError::Gone) if sender.is_closed() => {}
                Err(ExportError::Gone) => {
                    tracing::warn!(patience.s = patience.as_secs(), "an export ended early: its reader takes nothing");
                }
                Err(error) => tracing::error!(%error, "an export ended early"),
            }
        };
        std::thread::Builder::new().name("export".into()).spawn(run).map_err(|_| overloaded())?;
        Ok((seq, parts))
    }
}

/// The last word of an export, unless it ends well: a broken chunked body tells the reader that it is not
/// complete. Kept apart, so that it finds room where the reader takes nothing, and is said by a panic, too.
#[derive(Debug)]
struct Ending(Option<mpsc::OwnedPermit<std::io::Result<Bytes>>>);

impl Ending {
    fn is_well(&mut self) {
        self.0 = None;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(last_word) = self.0.take() {
            last_word.send(Err(std::io::Error::other("the export ended early")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, FolderDisk};
    use crate::engine::clock::SystemTimeSource;
    use crate::engine::{Engine, EngineOptions};

    /// Books whose ledger is long enough to fill every part between writer and reader, in texts of its accounts.
    fn long_books(folder: &std::path::Path) -> Arc<Engine> {
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder).unwrap());
        Engine::start(&disk, &EngineOptions::default(), Box::new(SystemTimeSource::default())).unwrap()
    }

    async fn fill(engine: &Arc<Engine>) {
        use crate::domain::account::{AccountType, BalanceRule};
        use crate::domain::money::Currency;
        use crate::engine::command::{Command, NewAccount, Origin};
        let account = NewAccount {
            external_id: None,
            name: Some("x".repeat(200).into()),
            currency: Currency::INR,
            account_type: AccountType::Asset,
            code: 0,
            balance_rule: BalanceRule::None,
            metadata: Vec::new(),
        };
        engine.submit(Command::OpenAccounts(vec![account; 9_000]), Origin::default()).await.unwrap();
    }

    const LEDGER: ExportQuery = ExportQuery { format: hooks::ExportFormat::Ledger, from: None, to: None };

    async fn read_whole(mut parts: ExportParts) -> Result<usize, std::io::Error> {
        let mut bytes = 0;
        while let Some(part) = parts.recv().await {
            bytes += part?.len();
        }
        Ok(bytes)
    }

    /// Waits until all places are free, which the end of the threads makes them.
    async fn all_free(exporter: &LiveExporter) {
        let all = exporter.places.acquire_many(u32::try_from(EXPORTS_MAX).unwrap());
        drop(tokio::time::timeout(Duration::from_secs(20), all).await.expect("places are given back").unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn exports_are_few_at_once_and_one_whose_caller_went_away_frees_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let engine = long_books(folder.path());
        fill(&engine).await;
        let exporter = LiveExporter::new(Arc::clone(engine.core()));
        let mut held: Vec<ExportParts> = (0..EXPORTS_MAX).map(|_| exporter.export(LEDGER).unwrap().1).collect();
        assert!(matches!(exporter.export(LEDGER), Err(Unavailable::Overloaded(_))));
        drop(held.pop());
        let again = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                match exporter.export(LEDGER) {
                    Ok((_, parts)) => return parts,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let again = again.await.expect("the place is free");
        drop(held);
        assert!(read_whole(again).await.unwrap() > EXPORT_PARTS * 64 * 1024);
        all_free(&exporter).await;
        engine.shut_down();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reader_who_takes_nothing_is_cut_and_sees_that_it_is_not_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let engine = long_books(folder.path());
        fill(&engine).await;
        let patience = Duration::from_millis(1);
        let exporter = LiveExporter { patience, ..LiveExporter::new(Arc::clone(engine.core())) };
        let (_, parts) = exporter.export(LEDGER).unwrap();
        all_free(&exporter).await;
        assert_eq!(read_whole(parts).await.unwrap_err().to_string(), "the export ended early");
        engine.shut_down();
    }
}
