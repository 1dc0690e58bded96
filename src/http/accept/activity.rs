//! What happens on one connection, as its watchman sees it: requests begun, ended and cut, bytes written.
//!
//! Everything is counted by the tasks of one connection and looked at every few seconds: plain
//! relaxed atomics, of which no two connections share one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::sync::Notify;

use super::upgrade::Upgrade;

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
    /// Bytes came that are no whole request yet, as far as we know.
    is_heard: AtomicBool,
    /// A request has ended, and nothing was written since: its answer may lie in hyper's buffer, which
    /// holds an answer back while it has a part of the next request.
    is_owed: AtomicBool,
    is_leaving: AtomicBool,
    is_http2: AtomicBool,
    is_closed_idle: AtomicBool,
    /// The body of an answer has nothing to say yet …
    is_body_resting: AtomicBool,
    /// … and all that it said has left.
    is_rest_flushed: AtomicBool,
    /// Rung when the peer has taken back too much.
    abuse: Notify,
    /// What the connection becomes after its answer. Guards what is set and taken once.
    upgrade: Mutex<Option<Upgrade>>,
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
    /// All that was written has left.
    pub fn note_flushed(&self) {
        if self.is_body_resting.load(Relaxed) {
            self.is_rest_flushed.store(true, Relaxed);
        }
    }

    /// Whether an answer's body rests, everything has left, and the connection is to become something else then.
    pub fn is_handing_over(&self) -> bool {
        self.is_rest_flushed.load(Relaxed) && self.is_body_resting.load(Relaxed) && self.upgrade.lock().is_some()
    }

    /// A body was asked for its next part. Asked again while it rests (hyper looks twice), nothing of it can have come
    /// behind what had left.
    fn note_body(&self, is_resting: bool) {
        if self.is_body_resting.swap(is_resting, Relaxed) != is_resting {
            self.is_rest_flushed.store(false, Relaxed);
        }
    }

    /// What the connection becomes now that its answer is written, if it becomes anything.
    pub fn take_upgrade(&self) -> Option<Upgrade> {
        self.upgrade.lock().take()
    }

    /// The peer spoke HTTP/2.
    pub fn note_http2(&self) {
        self.is_http2.store(true, Relaxed);
    }

    /// Whether the peer spoke HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// Ends when the peer has taken back too much.
    pub async fn abused(&self) {
        self.abuse.notified().await;
    }

    /// Requests begun so far.
    pub fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// Bytes came from the peer.
    pub fn note_heard(&self) {
        self.is_heard.store(true, Relaxed);
    }

    /// Whether nothing runs, nothing waits to be written and no part of a request has come.
    pub fn is_silent(&self) -> bool {
        let is_waiting = |flag: &AtomicBool| flag.load(Relaxed);
        !self.is_running() && ![&self.is_heard, &self.is_owed, &self.is_write_blocked].into_iter().any(is_waiting)
    }

    /// Bytes left for the peer.
    pub fn note_written(&self, count: usize) {
        self.written.store(self.written.load(Relaxed) + count as u64, Relaxed);
        self.is_write_blocked.store(false, Relaxed);
        self.is_owed.store(false, Relaxed);
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
        activity.is_heard.store(false, Relaxed);
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
        self.activity.is_owed.store(true, Relaxed);
        // What came meanwhile was its body; should it have been the beginning of the next request,
        // that is put back when the connection is parked.
        self.activity.is_heard.store(false, Relaxed);
        if self.is_answered || !self.activity.is_http2() {
            return;
        }
        let cut = self.activity.cut.fetch_add(1, Relaxed) + 1;
        if cut > CUT_MAX && cut * 2 > self.activity.begun.load(Relaxed) {
            self.activity.abuse.notify_one();
        }
    }
}

/// A service whose requests are counted.
#[derive(Debug)]
pub struct Watched<S> {
    /// The service.
    pub service: S,
    /// Where they are counted.
    pub activity: Arc<Activity>,
}

impl<S, B> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<RunningBody<B>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let running = Running::begin(&self.activity);
        Answering { answer: self.service.call(request), running: Some(running) }
    }
}

pin_project! {
    /// A request at work. By hand, since an `async` block keeps a future that it was given twice: once
    /// as given and once as awaited, and this one is three kilobytes.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        answer: F,
        running: Option<Running>,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<RunningBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = match ready!(this.answer.poll(context)) {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let running = this.running.take().expect("a future is not polled after its end");
        if running.is_leaving() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // Also none: what an earlier answer on the connection could have become is over.
        *running.activity.upgrade.lock() = answer.extensions_mut().remove::<Upgrade>();
        let running = running.answered();
        Poll::Ready(Ok(answer.map(|body| RunningBody { body, running })))
    }
}

/// An answer's body that keeps its request counted until it is written: a long stream is not idleness.
#[derive(Debug)]
pub struct RunningBody<B> {
    /// The body.
    pub body: B,
    /// Its request.
    pub running: Running,
}

impl<B: Body + Unpin> Body for RunningBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.running.activity.note_body(frame.is_pending());
        frame
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
    fn nothing_is_silent_before_its_answer_has_left() {
        let activity = Arc::new(Activity::default());
        assert!(activity.is_silent());
        activity.note_heard();
        assert!(!activity.is_silent(), "a part of a header");
        let running = Running::begin(&activity);
        assert!(!activity.is_silent(), "a request runs");
        drop(running.answered());
        assert!(!activity.is_silent(), "its answer may lie in a buffer");
        activity.note_write_blocked();
        assert!(!activity.is_silent());
        activity.note_written(7);
        assert!(activity.is_silent());
    }

    #[test]
    fn a_connection_is_handed_over_when_its_body_rests_and_all_of_it_has_left() {
        let activity = Activity::default();
        *activity.upgrade.lock() = Some(Upgrade::to(|_, _| Box::pin(async {})));
        activity.note_flushed();
        assert!(!activity.is_handing_over(), "the body has not been asked");
        activity.note_body(true);
        assert!(!activity.is_handing_over(), "what it said before may wait to be written");
        activity.note_flushed();
        activity.note_body(true);
        assert!(activity.is_handing_over(), "asked twice, nothing came in between");
        activity.note_body(false);
        activity.note_body(true);
        assert!(!activity.is_handing_over(), "it said something since");
        activity.note_flushed();
        assert!(activity.is_handing_over());
        drop(activity.take_upgrade());
        assert!(!activity.is_handing_over(), "there is nothing to become");
    }

    #[test]
    fn an_answer_does_not_become_what_an_earlier_one_could_have() {
        let activity = Arc::new(Activity::default());
        let answer = |upgrade: Option<Upgrade>| {
            let mut response = Response::new(());
            upgrade.map(|upgrade| response.extensions_mut().insert(upgrade));
            let answer = std::future::ready(Ok::<_, Infallible>(response));
            let answering = std::pin::pin!(Answering { answer, running: Some(Running::begin(&activity)) });
            assert!(answering.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready());
        };
        answer(Some(Upgrade::to(|_, _| Box::pin(async {}))));
        assert!(activity.upgrade.lock().is_some());
        answer(None);
        assert!(activity.take_upgrade().is_none());
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
            let rung = std::pin::pin!(activity.abused());
            rung.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
        };
        assert!(is_rung(true, 0, CUT_MAX + 1));
        assert!(!is_rung(true, 0, CUT_MAX));
        assert!(!is_rung(true, 2 * CUT_MAX, CUT_MAX + 1));
        assert!(!is_rung(false, 0, 5 * CUT_MAX));
    }
}
