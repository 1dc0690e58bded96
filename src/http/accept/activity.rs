//! What happens on one connection, as its watchman sees it: requests begun, ended and cut, bytes written.
//!
//! Everything is counted by the tasks of one connection and looked at every few seconds: plain
//! relaxed atomics, of which no two connections share one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

/// Requests that a peer may take back on one HTTP/2 connection (rapid reset: open, reset, repeat)
/// before it is cut, if they are also more than half of all. A browser or a client with a timeout
/// takes back a few; nobody who wants answers takes back a hundred and most of them.
const CUT_MAX: u64 = 100;

/// Bytes of answers that a peer must take in the watchman's span (20 s) while we have more for it:
/// 4 KiB/s. A phone at the edge of its network does better.
pub const WRITE_BYTES_MIN: u64 = 80 * 1024;

/// Counters of one connection.
#[derive(Debug, Default)]
pub struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    /// Ended without an answer: the peer reset the stream.
    cut: AtomicU64,
    written: AtomicU64,
    is_write_blocked: AtomicBool,
    is_leaving: AtomicBool,
    is_http2: AtomicBool,
    is_closed_idle: AtomicBool,
    /// Rung when the peer has taken back too much.
    pub abused: Notify,
}

/// What the watchman saw at his last round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    begun: u64,
    written: u64,
    was_blocked: bool,
    idle_rounds: u32,
}

/// What he has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing.
    Fine,
    /// Nothing went on for a whole round: ask the peer to go.
    Idle,
    /// It was asked and did not go, or it does not take its answer: cut it.
    Useless,
}

impl Activity {
    /// The peer spoke HTTP/2.
    pub fn note_http2(&self) {
        self.is_http2.store(true, Relaxed);
    }

    /// Whether the peer spoke HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// Bytes left for the peer.
    pub fn note_written(&self, count: usize) {
        self.written.store(self.written.load(Relaxed) + count as u64, Relaxed);
        self.is_write_blocked.store(false, Relaxed);
    }

    /// The kernel takes no more for the peer.
    pub fn note_write_blocked(&self) {
        self.is_write_blocked.store(true, Relaxed);
    }

    /// From now on every answer of HTTP/1.1 says `Connection: close`.
    pub fn leave(&self) {
        self.is_leaving.store(true, Relaxed);
    }

    /// Whether [`Activity::leave`] was called.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Relaxed)
    }

    /// Notes that we close the connection, and whether nothing was running on it.
    pub fn close(&self) {
        self.is_closed_idle.store(!self.is_running(), Relaxed);
    }

    /// Whether nothing ran when we closed the connection.
    pub fn was_closed_idle(&self) -> bool {
        self.is_closed_idle.load(Relaxed)
    }

    fn is_running(&self) -> bool {
        self.begun.load(Relaxed) != self.ended.load(Relaxed)
    }

    /// The watchman's round.
    pub fn look(&self, round: &mut Round) -> Finding {
        let (begun, written) = (self.begun.load(Relaxed), self.written.load(Relaxed));
        let is_blocked = self.is_write_blocked.load(Relaxed);
        let is_idle = begun == round.begun && !self.is_running();
        let is_stalled = is_blocked && round.was_blocked && written - round.written < WRITE_BYTES_MIN;
        let idle_rounds = if is_idle { round.idle_rounds + 1 } else { 0 };
        *round = Round { begun, written, was_blocked: is_blocked, idle_rounds };
        match idle_rounds {
            _ if is_stalled => Finding::Useless,
            0 => Finding::Fine,
            1 => Finding::Idle,
            _ => Finding::Useless,
        }
    }
}

/// Counts one request; dropped when it is answered to its last byte, or when its peer reset it.
#[derive(Debug)]
pub struct Running {
    activity: Arc<Activity>,
    is_answered: bool,
}

impl Running {
    /// A request begins.
    pub fn begin(activity: &Arc<Activity>) -> Running {
        activity.begun.fetch_add(1, Relaxed);
        Running { activity: Arc::clone(activity), is_answered: false }
    }

    /// Whether its answer has to say `Connection: close`, by the state of now.
    pub fn is_leaving(&self) -> bool {
        self.activity.is_leaving() && !self.activity.is_http2()
    }

    /// Its answer is ready; what is left is to write it.
    pub fn answered(mut self) -> Running {
        self.is_answered = true;
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.activity.ended.fetch_add(1, Relaxed);
        if self.is_answered || !self.activity.is_http2() {
            return;
        }
        let cut = self.activity.cut.fetch_add(1, Relaxed) + 1;
        if cut > CUT_MAX && cut * 2 > self.activity.begun.load(Relaxed) {
            self.activity.abused.notify_one();
        }
    }
}

/// An answer's body that keeps its request counted until it is written: a long stream is not idleness.
#[derive(Debug)]
pub struct RunningBody<B> {
    /// The body.
    pub body: B,
    /// Its request.
    pub _running: Running,
}

impl<B: Body + Unpin> Body for RunningBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_asked_then_cut_and_a_busy_one_left_alone() {
        let activity = Arc::new(Activity::default());
        let mut round = Round::default();
        let running = Running::begin(&activity);
        assert_eq!(activity.look(&mut round), Finding::Fine);
        assert_eq!(activity.look(&mut round), Finding::Fine, "a request runs");
        drop(running.answered());
        assert_eq!(activity.look(&mut round), Finding::Idle);
        assert_eq!(activity.look(&mut round), Finding::Useless);
        drop(Running::begin(&activity));
        assert_eq!(activity.look(&mut round), Finding::Fine, "one came and went in between");
    }

    #[test]
    fn a_peer_that_does_not_take_its_answer_is_cut() {
        let activity = Arc::new(Activity::default());
        let mut round = Round::default();
        let _running = Running::begin(&activity);
        activity.note_write_blocked();
        assert_eq!(activity.look(&mut round), Finding::Fine, "it may just have begun");
        activity.note_written(WRITE_BYTES_MIN as usize);
        activity.note_write_blocked();
        assert_eq!(activity.look(&mut round), Finding::Fine, "slow, not dead");
        activity.note_written(10);
        activity.note_write_blocked();
        assert_eq!(activity.look(&mut round), Finding::Useless);
    }

    #[test]
    fn only_http2_peers_that_take_most_back_are_abusive() {
        let is_rung = |is_http2: bool, answered: u64, cut: u64| {
            let activity = Arc::new(Activity::default());
            activity.is_http2.store(is_http2, Relaxed);
            (0..answered).for_each(|_| drop(Running::begin(&activity).answered()));
            (0..cut).for_each(|_| drop(Running::begin(&activity)));
            let rung = std::pin::pin!(activity.abused.notified());
            rung.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
        };
        assert!(is_rung(true, 0, CUT_MAX + 1));
        assert!(!is_rung(true, 0, CUT_MAX));
        assert!(!is_rung(true, 2 * CUT_MAX, CUT_MAX + 1));
        assert!(!is_rung(false, 0, 5 * CUT_MAX));
    }
}
