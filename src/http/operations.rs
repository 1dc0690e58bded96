//! Background operations: started by a POST, watched by a GET, bounded in number, gone with the process.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::config::OPERATIONS_MAX;
use crate::domain::ids::{IdKind, Moment, Seq, write_id};
use crate::engine::command::IdempotencyKey;
use crate::engine::view::Unavailable;

use super::hooks::{Progress, Verifier, VerifyReport};
use super::problem::{Code, Outcome, Problem};
use super::render::{write_moment, write_number, write_text, write_text_or_null};

/// A verification that runs or ran.
#[derive(Debug)]
pub struct Operation {
    /// Its number, shown as `op_…`.
    pub id: u64,
    created_at: Moment,
    /// The idempotency key of whoever started it.
    key: Option<IdempotencyKey>,
    done: AtomicU64,
    total: AtomicU64,
    result: OnceLock<Result<VerifyReport, String>>,
}

/// The operations of this process.
#[derive(Debug, Default)]
pub struct Operations {
    /// Oldest first. Guards only the list: held for a push or a look-up, never while something runs.
    list: Mutex<VecDeque<Arc<Operation>>>,
}

impl Operations {
    /// Starts a verification on a thread of its own; or finds the one that was started under the same key,
    /// as long as it is remembered, and says so.
    ///
    /// # Errors
    /// `verification_running` when one is: it reads the whole journal, and two would only be slower;
    /// `idempotency_key_reused` when the key came with another request.
    pub fn start_verification(
        &self,
        (id, now): (u64, Moment),
        key: Option<IdempotencyKey>,
        verifier: Arc<dyn Verifier>,
    ) -> Outcome<(Arc<Operation>, bool)> {
        let operation = Arc::new(Operation {
            id,
            created_at: now,
            key,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            result: OnceLock::new(),
        });
        {
            let mut list = self.lock();
            if let Some(earlier) = under_key(&list, key.as_ref())? {
                return Ok((earlier, true));
            }
            if let Some(running) = list.iter().find(|operation| operation.result.get().is_none()) {
                let id = crate::domain::ids::format_id(IdKind::Operation, running.id);
                return Err(Problem::new(Code::VerificationRunning, format!("Wait for {id} to finish.")));
            }
            if list.len() == OPERATIONS_MAX {
                list.pop_front();
            }
            list.push_back(Arc::clone(&operation));
        }
        let running = Arc::clone(&operation);
        let work = move || {
            let run = std::panic::AssertUnwindSafe(|| verifier.verify(&|progress| running.note(progress)));
            let result = std::panic::catch_unwind(run).unwrap_or_else(|_| {
                tracing::error!(operation.id = running.id, "a verification panicked");
                Err("The verification broke off. The operator's log says why.".to_owned())
            });
            // Only this thread sets it.
            let _ = running.result.set(result);
        };
        if let Err(error) = std::thread::Builder::new().name("verify".into()).spawn(work) {
            tracing::warn!(%error, "could not start the verification's thread");
            let _ = operation.result.set(Err("No thread could be started.".to_owned()));
        }
        Ok((operation, false))
    }

    /// The operation with this number, while it is remembered.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Arc<Operation>> {
        self.lock().iter().find(|operation| operation.id == id).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Operation>>> {
        self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The operation that was started under this key.
fn under_key(list: &VecDeque<Arc<Operation>>, key: Option<&IdempotencyKey>) -> Outcome<Option<Arc<Operation>>> {
    let Some(key) = key else { return Ok(None) };
    let is_under = |operation: &&Arc<Operation>| operation.key.is_some_and(|own| own.hash == key.hash);
    match list.iter().find(is_under) {
        Some(earlier) if earlier.key.is_some_and(|own| own.fingerprint != key.fingerprint) => {
            Err(Unavailable::KeyReused.into())
        }
        found => Ok(found.cloned()),
    }
}

impl Operation {
    fn note(&self, progress: Progress) {
        self.done.store(progress.done, Ordering::Relaxed);
        self.total.store(progress.total, Ordering::Relaxed);
    }

    /// The greatest seq that its result tells about; `None` before there is one.
    #[must_use]
    pub fn as_of(&self) -> Option<Seq> {
        // Seqs have no gaps: the last entry's is their number.
        self.result.get()?.as_ref().ok().map(|report| Seq(report.entries))
    }

    /// The operation as JSON.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(384);
        let result = self.result.get();
        let status = match result {
            None => "running",
            Some(Ok(_)) => "succeeded",
            Some(Err(_)) => "failed",
        };
        out.extend_from_slice(b"{\"object\":\"operation\",\"id\":\"");
        write_id(&mut out, IdKind::Operation, self.id);
        out.extend_from_slice(b"\",\"kind\":\"verification\",\"status\":");
        write_text(&mut out, status);
        out.extend_from_slice(b",\"created_at\":\"");
        write_moment(&mut out, self.created_at);
        out.extend_from_slice(b"\",\"progress\":{\"done\":");
        let (mut done, mut total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        if let Some(Ok(report)) = result {
            // Entries were added while it ran: the last word on how many there were is the result's.
            (done, total) = (report.entries, report.entries);
        }
        write_number(&mut out, done);
        out.extend_from_slice(b",\"total\":");
        write_number(&mut out, total);
        out.extend_from_slice(b"},\"result\":");
        match result {
            Some(Ok(report)) => write_report(&mut out, report),
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"error\":");
        write_text_or_null(&mut out, result.and_then(|result| result.as_ref().err()).map(String::as_str));
        out.push(b'}');
        out
    }
}

fn write_report(out: &mut Vec<u8>, report: &VerifyReport) {
    out.extend_from_slice(b"{\"ok\":");
    out.extend_from_slice(if report.ok { b"true" } else { b"false" });
    out.extend_from_slice(b",\"first_bad_seq\":");
    write_text_or_null(out, report.first_bad_seq.map(|seq| seq.to_string()).as_deref());
    out.extend_from_slice(b",\"detail\":");
    write_text(out, &report.detail);
    out.extend_from_slice(b",\"entries\":");
    write_number(out, report.entries);
    out.extend_from_slice(b",\"took_ms\":");
    write_number(out, report.took_ms);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Waits for its word.
    #[derive(Debug)]
    struct Held(Mutex<mpsc::Receiver<Result<VerifyReport, String>>>);

    impl Verifier for Held {
        fn verify(&self, progress: &dyn Fn(Progress)) -> Result<VerifyReport, String> {
            progress(Progress { done: 3, total: 9 });
            self.0.lock().unwrap().recv().expect("the test sends")
        }
    }

    fn finished(operation: &Operation) -> serde_json::Value {
        while operation.result.get().is_none() {
            std::thread::yield_now();
        }
        serde_json::from_slice(&operation.render()).unwrap()
    }

    #[test]
    fn one_verification_runs_at_a_time_and_is_remembered() {
        let operations = Operations::default();
        let start = |id| {
            let (sender, receiver) = mpsc::channel();
            let verifier = Arc::new(Held(Mutex::new(receiver)));
            let started = operations.start_verification((id, Moment(0)), None, verifier);
            (sender, started.map(|(operation, _)| operation))
        };
        let (sender, first) = start(1);
        assert_eq!(start(2).1.unwrap_err().code, Code::VerificationRunning);
        let report = VerifyReport { ok: false, first_bad_seq: Some(7), detail: "x".into(), entries: 9, took_ms: 1 };
        sender.send(Ok(report)).unwrap();
        let first = first.unwrap();
        assert_eq!(first.as_of(), None);
        let json = finished(&first);
        assert_eq!((&json["status"], &json["result"]["first_bad_seq"]), (&"succeeded".into(), &"7".into()));
        assert_eq!((first.as_of(), &json["result"]["entries"]), (Some(Seq(9)), &9.into()));
        assert_eq!(json["progress"], serde_json::json!({"done": 9, "total": 9}), "what is finished is done");
        for id in 2..=OPERATIONS_MAX as u64 + 1 {
            let (sender, operation) = start(id);
            sender.send(Err("no".into())).unwrap();
            assert_eq!(finished(&operation.unwrap())["status"], "failed");
        }
        assert!(operations.find(1).is_none(), "the oldest made room");
        assert!(operations.find(2).is_some());
    }

    #[test]
    fn a_verification_is_started_once_under_a_key() {
        let operations = Operations::default();
        let start = |id, hash, print| {
            let (sender, receiver) = mpsc::channel();
            sender.send(Err("no".into())).unwrap();
            let key = Some(IdempotencyKey { hash: [hash; 16], fingerprint: [print; 16] });
            let started = operations.start_verification((id, Moment(0)), key, Arc::new(Held(Mutex::new(receiver))));
            started.map(|(operation, is_replayed)| {
                finished(&operation);
                (operation.id, is_replayed)
            })
        };
        assert_eq!(start(1, 1, 1).unwrap(), (1, false));
        assert_eq!(start(2, 1, 1).unwrap(), (1, true));
        assert_eq!(start(3, 1, 2).unwrap_err().code, Code::KeyReused);
        assert_eq!(start(4, 2, 1).unwrap(), (4, false));
    }
}
