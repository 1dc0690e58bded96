//! How a follower who has everything hears of what comes: the feed writes to his socket itself, or wakes him up.
//!
//! Two thousand tasks that are woken for one event are two thousand turns of the scheduler, as many looks into the ring
//! and timers set anew: more than the system calls that write it. So whoever follows on a plain socket lends the feed
//! a second handle of it while he rests, and the feed's own thread writes there, without waiting. What the socket does
//! not take at once is handed back to the follower, who goes on as ever; whoever has no such socket (TLS, HTTP/2) is woken.
//!
//! Exactly one writes at any time: the feed while the lane is lent, the follower after he has taken it back.

use std::io::Write;
use std::net::TcpStream;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::domain::ids::Seq;

/// What a follower and the feed share.
#[derive(Debug)]
pub struct Lane {
    /// Held by the feed while it writes: a system call that does not wait.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Everything of the topic up to here was written or handed back.
    at: Seq,
    /// Of the follower's socket, which does not block.
    handle: Option<TcpStream>,
    is_lent: bool,
    /// What the socket did not take.
    rest: Bytes,
    /// When something was written last.
    wrote: Option<Instant>,
    waker: Option<Waker>,
}

/// A lane that was taken back.
#[derive(Debug)]
pub struct TakenBack {
    /// Everything of the topic up to here was written, but for `rest`.
    pub at: Seq,
    /// What has to be written first.
    pub rest: Bytes,
    /// When something was written last, if anything was.
    pub wrote: Option<Instant>,
}

impl Lane {
    /// A lane of a follower who is at a place.
    #[must_use]
    pub fn at(at: Seq) -> Lane {
        let state = State { at, handle: None, is_lent: false, rest: Bytes::new(), wrote: None, waker: None };
        Lane { state: Mutex::new(state) }
    }

    /// Gives the lane a handle of the follower's socket, which can be lent from then on.
    pub fn equip(&self, handle: Option<TcpStream>) {
        self.state.lock().handle = handle;
    }

    /// The follower rests at a place: he is written to where he can be, or woken.
    pub fn rest(&self, at: Seq, waker: &Waker, may_lend: bool) {
        let mut state = self.state.lock();
        state.at = at;
        state.is_lent = may_lend && state.handle.is_some();
        if state.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
    }

    /// The follower writes himself again.
    pub fn take_back(&self) -> TakenBack {
        let mut state = self.state.lock();
        state.is_lent = false;
        TakenBack { at: state.at, rest: std::mem::take(&mut state.rest), wrote: state.wrote.take() }
    }

    /// The feed has more, up to `through`: writes what `framed` gives for what comes after a place, or wakes up.
    /// `after` is where the news begin: whoever is not there yet has to read on by himself.
    pub fn offer(&self, (after, through): (Seq, Seq), now: Instant, framed: impl FnOnce(Seq) -> Bytes) {
        let waker = {
            let mut state = self.state.lock();
            if state.is_lent && state.at >= after {
                if state.at >= through {
                    return;
                }
                let bytes = framed(state.at);
                let handle = state.handle.as_mut().filter(|_| !bytes.is_empty());
                // What fails for good fails again when the follower tries.
                let written = handle.map_or(0, |handle| handle.write(&bytes).unwrap_or(0));
                state.at = through;
                if written > 0 {
                    state.wrote = Some(now);
                }
                if written == bytes.len() {
                    return;
                }
                state.rest = bytes.slice(written..);
            }
            state.is_lent = false;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes the follower up, whatever there is.
    pub fn wake(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.is_lent = false;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nobody follows here any more.
    pub fn close(&self) {
        let mut state = self.state.lock();
        (state.is_lent, state.handle, state.waker) = (false, None, None);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::super::pipe::tests::Count;
    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    #[test]
    fn who_rests_on_a_socket_is_written_to_and_nobody_else_is() {
        let (near, mut far) = pair();
        let (lane, count, now) = (Lane::at(Seq(5)), Arc::new(Count::default()), Instant::now());
        let waker = Waker::from(Arc::clone(&count));
        let woken = || count.0.load(Ordering::Relaxed);
        // Without a socket he is woken, once.
        lane.rest(Seq(5), &waker, true);
        lane.offer((Seq(5), Seq(6)), now, |_| unreachable!("nothing is written"));
        lane.offer((Seq(6), Seq(7)), now, |_| unreachable!("nothing is written"));
        assert_eq!((woken(), lane.take_back().at), (1, Seq(5)));
        // With one he is written to, and not woken.
        lane.equip(Some(near));
        lane.rest(Seq(5), &waker, true);
        lane.offer((Seq(5), Seq(7)), now, |after| Bytes::from(format!("after {after}")));
        lane.offer((Seq(5), Seq(7)), now, |_| unreachable!("he has it"));
        // Nothing of his topic: his place moves on.
        lane.offer((Seq(7), Seq(9)), now, |_| Bytes::new());
        let mut said = [0; 7];
        far.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"after 5");
        let back = lane.take_back();
        assert_eq!((woken(), back.at, back.rest.len(), back.wrote), (1, Seq(9), 0, Some(now)));
        // Taken back, he writes himself; and he who is not where the news begin reads on by himself.
        lane.offer((Seq(9), Seq(10)), now, |_| unreachable!("it is not lent"));
        lane.rest(Seq(9), &waker, true);
        lane.offer((Seq(10), Seq(11)), now, |_| unreachable!("he has not seen 10"));
        assert_eq!((woken(), lane.take_back().at), (3, Seq(9)));
    }

    #[test]
    fn what_a_full_socket_does_not_take_is_handed_back() {
        let (near, mut far) = pair();
        let (lane, count, now) = (Lane::at(Seq(1)), Arc::new(Count::default()), Instant::now());
        lane.equip(Some(near));
        let waker = Waker::from(Arc::clone(&count));
        let text: Bytes = (0..8_000_000u32).map(|place| (place % 251) as u8).collect::<Vec<u8>>().into();
        lane.rest(Seq(1), &waker, true);
        lane.offer((Seq(1), Seq(2)), now, |_| text.clone());
        let back = lane.take_back();
        assert!(!back.rest.is_empty() && count.0.load(Ordering::Relaxed) == 1, "no socket holds eight megabytes");
        assert_eq!(back.at, Seq(2), "what comes next comes behind the rest");
        let mut said = vec![0; text.len() - back.rest.len()];
        far.read_exact(&mut said).unwrap();
        assert!(said == text[..said.len()] && back.rest == text[said.len()..]);
    }
}
