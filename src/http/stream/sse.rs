//! Events as an answer that does not end: Server-Sent Events (WHATWG HTML, 9.2).
//!
//! `id` is the seq, so that a browser comes back with `Last-Event-ID` by itself. A quiet stream says every
//! fifteen seconds how far it has come: an `id` without data is kept by the client and shown to nobody. A stream
//! that is ended by the server is over for the client to open again, at the place that he has.
//!
//! It begins as the body of an answer ([`EventBody`]), which is all that it ever is over HTTP/2. Over HTTP/1.1 the
//! connection is taken from hyper as soon as the body rests ([`EventBody::goes_on_as`]): [`Stream`] goes on with the
//! body's chunks on the bare socket, which costs a follower less memory, and the feed can write there itself.

use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::config::{STREAM_BEAT, STREAM_OUTBOX_BYTES_MAX, STREAM_UNASKED_BYTES_MAX};

use super::super::accept::socket::Socket;
use super::super::accept::upgrade::{Leaving, Upgrade};
use super::super::render::write_number;
use super::feed::write_chunk;
use super::follower::{Follower, Next, Reading};
use super::pipe::{Pipe, Turn, turns};

/// How long a client waits before it comes back, milliseconds: one of many does not come with all others at once.
const RETRY: &str = "retry: 1000\n\n";

/// The end of a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A stream of events as the body of an answer.
pub struct EventBody {
    /// The first bytes, which tell the client that it is connected.
    greeting: Option<Bytes>,
    /// Guards who goes on with him: the body or a [`Stream`].
    follows: Arc<Mutex<Follows>>,
    beat: Beat,
}

/// Who follows: himself, or while he reads from the journal.
#[derive(Default)]
struct Follows {
    follower: Option<Follower>,
    reading: Option<Reading>,
}

impl Follows {
    /// What comes next; `None` where nobody follows here any more.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Next>> {
        if let Some(reading) = &mut self.reading {
            let (follower, next) = ready!(reading.as_mut().poll(context));
            (self.reading, self.follower) = (None, Some(follower));
            return Poll::Ready(Some(next));
        }
        Poll::Ready(self.follower.as_mut().map(Follower::look))
    }

    fn read_on(&mut self) {
        self.reading = self.follower.take().map(Follower::read_on);
    }
}

impl std::fmt::Debug for EventBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EventBody").finish_non_exhaustive()
    }
}

impl EventBody {
    /// The stream of a follower.
    #[must_use]
    pub fn of(follower: Follower) -> EventBody {
        let greeting = format!("{RETRY}id: {}\n\n", follower.at().0);
        let follows = Arc::new(Mutex::new(Follows { follower: Some(follower), reading: None }));
        EventBody { greeting: Some(greeting.into()), follows, beat: Beat::begin() }
    }

    /// What a connection of HTTP/1.1 becomes once this body rests and all of it has left.
    #[must_use]
    pub fn goes_on_as(&self) -> Upgrade {
        let follows = Arc::clone(&self.follows);
        Upgrade::to(move |socket, leaving| {
            let follows = std::mem::take(&mut *follows.lock());
            Box::pin(Stream::new(follows, socket, leaving).run())
        })
    }

    /// The next bytes, `None` at the end.
    pub fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(Ok(greeting)));
        }
        let mut follows = self.follows.lock();
        if let Some(follower) = &mut follows.follower {
            follower.take_back();
        }
        loop {
            // A stream that goes on without the body ends the body's part in it.
            let Some(next) = ready!(follows.next(context)) else { return Poll::Pending };
            match next {
                Next::Events(events) => {
                    self.beat.was_said(Instant::now());
                    return Poll::Ready(Some(Ok(events)));
                }
                Next::Lagged(from, to) => return Poll::Ready(Some(Ok(lagged(from.0, to.0).into()))),
                Next::Over => return Poll::Ready(None),
                Next::Behind => follows.read_on(),
                Next::Newest => {
                    let Some(follower) = &mut follows.follower else { return Poll::Pending };
                    if follower.rest(context, false).is_ready() {
                        follower.take_back();
                        continue;
                    }
                    let at = follower.at().0;
                    let is_due = self.beat.is_due(context);
                    return if is_due { Poll::Ready(Some(Ok(quiet(at).into()))) } else { Poll::Pending };
                }
            }
        }
    }
}

fn lagged(from: u64, to: u64) -> Vec<u8> {
    let mut out = b"event: lagged\ndata: {\"after\":\"".to_vec();
    write_number(&mut out, from);
    out.extend_from_slice(b"\",\"through\":\"");
    write_number(&mut out, to);
    out.extend_from_slice(b"\"}\n\n");
    out
}

fn quiet(at: u64) -> Vec<u8> {
    format!("id: {at}\n: quiet\n\n").into_bytes()
}

/// When a stream that says nothing has to say so.
struct Beat {
    said: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Beat {
    fn begin() -> Beat {
        Beat { said: Instant::now(), timer: Box::pin(tokio::time::sleep(STREAM_BEAT)) }
    }

    /// The stream said something. The timer is not set anew for it: it looks when it ends.
    fn was_said(&mut self, at: Instant) {
        self.said = self.said.max(at);
    }

    /// Whether it is time; if so the next beat begins.
    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let due = self.said + STREAM_BEAT;
            if due <= now {
                self.said = now;
                self.timer.as_mut().reset(now + STREAM_BEAT);
                return true;
            }
            self.timer.as_mut().reset(due);
        }
        false
    }
}

/// A stream on a socket of its own, behind the head of its answer and its first chunk.
struct Stream {
    pipe: Pipe,
    follows: Follows,
    /// He knows that this is his socket: what he gives is in chunks.
    is_settled: bool,
    beat: Beat,
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Bytes that the client sent, who has nothing to say here.
    unasked: usize,
    /// The client has taken nothing of what waits for him since the last beat.
    is_stuck: bool,
    is_ending: bool,
}

impl Stream {
    fn new(follows: Follows, socket: Socket, mut leaving: Leaving) -> Stream {
        let mut stream = Stream {
            pipe: Pipe::around(socket),
            follows,
            is_settled: false,
            beat: Beat::begin(),
            leaving: Box::pin(async move {
                // A sender that is gone has no server any more.
                let _ = leaving.wait_for(|leaves| *leaves).await;
            }),
            unasked: 0,
            is_stuck: false,
            is_ending: false,
        };
        stream.settle();
        stream
    }

    /// Whoever follows has a socket of his own from now on, unless he still reads what the body wanted.
    fn settle(&mut self) {
        if !self.is_settled
            && let Some(follower) = self.follows.follower.take()
        {
            self.follows.follower = Some(follower.on(self.pipe.second_handle()));
            self.is_settled = true;
        }
    }

    /// Serves it to its end.
    async fn run(mut self) {
        poll_fn(|context| self.poll(context)).await;
        // What broke needs no goodbye.
        let _ = poll_fn(|context| self.pipe.end(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.pipe.watch(context);
        turns(context, |context| self.turn(context))
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Turn {
        if let Some(follower) = &mut self.follows.follower {
            let rested = follower.take_back();
            self.pipe.push(&rested.rest);
            if let Some(wrote) = rested.wrote {
                self.beat.was_said(wrote.into());
            }
        }
        if !self.is_ending && self.leaving.as_mut().poll(context).is_ready() {
            self.end();
        }
        if !self.listen() {
            return Turn::Over;
        }
        let mut has_moved = self.events(context);
        match self.pipe.send() {
            Ok(sent) => {
                has_moved |= sent;
                if sent {
                    self.is_stuck = false;
                    self.beat.was_said(Instant::now());
                }
            }
            Err(_) => return Turn::Over,
        }
        if self.is_ending && self.pipe.waiting() == 0 {
            return Turn::Over;
        }
        if has_moved {
            return Turn::More;
        }
        if self.beat.is_due(context) {
            return self.pulse();
        }
        let waiting = self.pipe.waiting();
        if self.is_ending || waiting >= STREAM_OUTBOX_BYTES_MAX {
            // The socket calls back, or the beat: there is more for him than may wait, and to look for it is in vain.
            return Turn::Wait;
        }
        let is_empty = waiting == 0;
        let follower = self.follows.follower.as_mut();
        let rests = follower.is_none_or(|follower| follower.rest(context, is_empty).is_pending());
        if rests { Turn::Wait } else { Turn::More }
    }

    /// A beat without a word: says so, unless there are words that the client does not take; then he has one more beat.
    fn pulse(&mut self) -> Turn {
        if self.pipe.waiting() > 0 {
            if std::mem::replace(&mut self.is_stuck, true) {
                return Turn::Over;
            }
            // Looks at the timer again, which is set anew.
            return Turn::More;
        }
        self.pipe.rest();
        if let Some(follower) = &self.follows.follower {
            self.say(&quiet(follower.at().0));
        }
        Turn::More
    }

    fn say(&mut self, text: &[u8]) {
        let mut out = Vec::with_capacity(text.len() + 16);
        write_chunk(&mut out, text);
        self.pipe.push(&out);
    }

    fn end(&mut self) {
        self.is_ending = true;
        self.follows = Follows::default();
        self.pipe.push(LAST_CHUNK);
    }

    /// What the client says is nobody's; that he leaves is heard. False when the connection is over.
    fn listen(&mut self) -> bool {
        let mut unread = [0; 256];
        loop {
            match self.pipe.read(&mut unread) {
                Ok(count @ 1..) if self.unasked + count <= STREAM_UNASKED_BYTES_MAX => self.unasked += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                _ => return false,
            }
        }
    }

    /// Puts what comes next behind what waits: whether there was anything.
    fn events(&mut self, context: &mut Context<'_>) -> bool {
        let mut has_moved = false;
        while !self.is_ending && self.pipe.waiting() < STREAM_OUTBOX_BYTES_MAX {
            let was_settled = self.is_settled;
            let Poll::Ready(next) = self.follows.next(context) else { break };
            self.settle();
            match next {
                Some(Next::Events(events)) => {
                    if was_settled {
                        self.pipe.push(&events);
                    } else {
                        self.say(&events);
                    }
                }
                Some(Next::Lagged(from, to)) => self.say(&lagged(from.0, to.0)),
                Some(Next::Behind) => self.follows.read_on(),
                Some(Next::Newest) => break,
                Some(Next::Over) | None => self.end(),
            }
            has_moved = true;
        }
        has_moved
    }
}
