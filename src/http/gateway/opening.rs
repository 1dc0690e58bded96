//! Requests that come while the books are being opened.
//!
//! Promise: where a restart hands its listening socket on, a request that came between two processes
//! is answered late, not refused. It waits with its body still in the socket, in bounded number and
//! for a bounded time; beyond either it is told `recovering`. Health checks never wait.

use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::super::resources::Operation;

/// Requests that wait at once: of a kilobyte or two each, and more than a restart of a second meets.
const WAITING_MAX: usize = 16_384;

/// The door to books that are not open yet.
#[derive(Debug, Default)]
pub struct Opening {
    /// Unset: nobody waits.
    patience: OnceLock<Duration>,
    opened: Notify,
    waiting: AtomicUsize,
}

impl Opening {
    /// From now on requests wait so long; the first caller decides.
    pub fn hold(&self, patience: Duration) {
        let _ = self.patience.set(patience);
    }

    /// The books are open: everybody may go on.
    pub fn open(&self) {
        self.opened.notify_waiters();
    }

    /// Waits until `is_open` says so, if this operation waits at all. What it found is for the caller
    /// to look at.
    pub async fn wait(&self, operation: Operation, is_open: impl Fn() -> bool) {
        let Some(patience) = self.patience.get() else { return };
        if is_about_the_process(operation) {
            return;
        }
        let waiting = Waiting::enter(&self.waiting);
        if waiting.place >= WAITING_MAX {
            return;
        }
        let mut opened = pin!(self.opened.notified());
        // Listens first and looks then: an opening in between is not missed.
        opened.as_mut().enable();
        if !is_open() {
            let _ = tokio::time::timeout(*patience, opened).await;
        }
    }
}

/// What is answered from the process alone, books or not.
fn is_about_the_process(operation: Operation) -> bool {
    use Operation::{GetLivez, GetProblem, GetReadyz, GetStartupz, ListProblems};
    matches!(operation, GetLivez | GetReadyz | GetStartupz | GetProblem | ListProblems)
}

struct Waiting<'a> {
    count: &'a AtomicUsize,
    place: usize,
}

impl Waiting<'_> {
    fn enter(count: &AtomicUsize) -> Waiting<'_> {
        Waiting { place: count.fetch_add(1, Ordering::AcqRel), count }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn requests_wait_until_the_books_are_open_and_health_checks_do_not() {
        let opening = Opening::default();
        let is_open = AtomicBool::new(false);
        let look = || is_open.load(Ordering::Acquire);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        let poll = |operation, context: &mut Context<'_>| pin!(opening.wait(operation, look)).poll(context).is_ready();
        assert!(poll(Operation::CreateTransfer, &mut context), "nobody asked for waiting");
        opening.hold(Duration::from_mins(1));
        assert!(!poll(Operation::CreateTransfer, &mut context));
        assert!(poll(Operation::GetReadyz, &mut context));
        let mut waits = Box::pin(opening.wait(Operation::GetAccount, look));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        assert_eq!(opening.waiting.load(Ordering::Acquire), 1);
        is_open.store(true, Ordering::Release);
        opening.open();
        assert!(waits.as_mut().poll(&mut context).is_ready());
        drop(waits);
        assert_eq!(opening.waiting.load(Ordering::Acquire), 0);
        assert!(poll(Operation::CreateTransfer, &mut context), "open: nobody waits");
    }

    #[test]
    fn patience_ends() {
        let opening = Opening::default();
        opening.hold(Duration::ZERO);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(opening.wait(Operation::CreateTransfer, || false));
    }
}
