//! What is durable, and who waits for it. Nobody else compares seqs with the durable one.
//!
//! Promise: a wait ends when everything up to its seq has survived fsync, or with a failure; it
//! never ends because time passed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::ids::Seq;

/// The durable seq and those who wait for it.
#[derive(Debug, Default)]
pub struct Watermark {
    durable: AtomicU64,
    failed: AtomicBool,
    /// Records in the newest commit, for `Server-Timing`.
    group: AtomicU32,
    /// Guards the list of waiters; held for a push or a sweep, never while waking.
    waiters: Mutex<Vec<(Seq, Waker)>>,
}

/// A thread that waits.
struct Thread(std::thread::Thread);

impl std::task::Wake for Thread {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

/// The journal failed while somebody waited: the outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalFailed;

impl Watermark {
    /// Starts with everything up to `durable` on disk.
    #[must_use]
    pub fn new(durable: Seq) -> Watermark {
        Watermark { durable: AtomicU64::new(durable.0), ..Watermark::default() }
    }

    /// Everything up to here survived fsync.
    #[must_use]
    pub fn durable(&self) -> Seq {
        Seq(self.durable.load(Ordering::Acquire))
    }

    /// Whether everything up to `seq` survived fsync.
    #[must_use]
    pub fn covers(&self, seq: Seq) -> bool {
        seq <= self.durable()
    }

    /// Records in the newest commit.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.group.load(Ordering::Relaxed)
    }

    /// The writer says that everything up to `seq` survived fsync.
    pub fn advance(&self, seq: Seq, group: u32) {
        self.group.store(group, Ordering::Relaxed);
        let before = self.durable.swap(seq.0, Ordering::AcqRel);
        assert!(before <= seq.0, "what was durable stays durable");
        let mut ready = Vec::new();
        {
            let mut waiters = self.waiters.lock();
            let mut place = 0;
            while place < waiters.len() {
                if waiters[place].0 <= seq {
                    ready.push(waiters.swap_remove(place).1);
                } else {
                    place += 1;
                }
            }
        }
        ready.into_iter().for_each(Waker::wake);
    }

    /// The journal failed: every wait for what is not durable ends now, for ever.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        let all = std::mem::take(&mut *self.waiters.lock());
        all.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Waits on a thread that may; false when it never will be durable.
    pub fn wait_blocking(&self, seq: Seq) -> bool {
        let waker = Waker::from(std::sync::Arc::new(Thread(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut wait = self.wait(seq);
        loop {
            match Pin::new(&mut wait).poll(&mut context) {
                Poll::Ready(done) => return done.is_ok(),
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// As [`Watermark::wait_blocking`], for at most so long; `None` when the time is up.
    pub fn wait_blocking_for(&self, seq: Seq, time: Duration) -> Option<bool> {
        let until = Instant::now() + time;
        let waker = Waker::from(std::sync::Arc::new(Thread(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut wait = self.wait(seq);
        loop {
            match Pin::new(&mut wait).poll(&mut context) {
                Poll::Ready(done) => return Some(done.is_ok()),
                Poll::Pending => std::thread::park_timeout(until.checked_duration_since(Instant::now())?),
            }
        }
    }

    /// Waits until everything up to `seq` is durable.
    pub fn wait(&self, seq: Seq) -> Wait<'_> {
        Wait { watermark: self, seq }
    }

    fn check(&self, seq: Seq) -> Poll<Result<(), JournalFailed>> {
        // Durable first: what is on disk may be revealed even after a failure.
        if self.covers(seq) {
            return Poll::Ready(Ok(()));
        }
        if self.failed.load(Ordering::Acquire) { Poll::Ready(Err(JournalFailed)) } else { Poll::Pending }
    }
}

/// A wait for a seq. Dropping it leaves a waker behind that the next commit sweeps away.
#[derive(Debug)]
#[must_use = "a wait does nothing unless it is awaited"]
pub struct Wait<'a> {
    watermark: &'a Watermark,
    seq: Seq,
}

impl Future for Wait<'_> {
    type Output = Result<(), JournalFailed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ready = self.watermark.check(self.seq);
        if ready.is_ready() {
            return ready;
        }
        self.watermark.waiters.lock().push((self.seq, context.waker().clone()));
        // Looked at again after registering: a commit in between has not seen the waker.
        self.watermark.check(self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    struct Counter(AtomicUsize);
    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_wait_ends_when_its_seq_is_durable_and_not_before() {
        let watermark = Watermark::new(Seq(5));
        let wakes = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let mut early = watermark.wait(Seq(5));
        let mut late = watermark.wait(Seq(7));
        assert_eq!(Pin::new(&mut early).poll(&mut context), Poll::Ready(Ok(())));
        assert_eq!(Pin::new(&mut late).poll(&mut context), Poll::Pending);
        watermark.advance(Seq(6), 1);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        assert_eq!(Pin::new(&mut late).poll(&mut context), Poll::Pending);
        watermark.advance(Seq(7), 1);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 2, "both registrations are woken");
        assert_eq!(Pin::new(&mut late).poll(&mut context), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_failure_ends_waits_for_what_is_not_durable_and_only_those() {
        let watermark = Watermark::new(Seq(5));
        watermark.fail();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(Pin::new(&mut watermark.wait(Seq(5))).poll(&mut context), Poll::Ready(Ok(())));
        assert_eq!(Pin::new(&mut watermark.wait(Seq(6))).poll(&mut context), Poll::Ready(Err(JournalFailed)));
    }
}
