//! A WebSocket (RFC 6455): commands one behind the other, each answered when it is durable, and events.
//!
//! A command goes the way that a request goes (limit, key, parse, decide) and waits, without a task of its own,
//! in the session's queue until the journal has it. What needs the disk or another's command to become durable
//! is left to the engine's ordinary way, and what comes behind it waits.
//!
//! One poll: leave? → what was left to the engine → messages of the client, a bounded number → answers that are
//! durable → events → send. Whatever is full stops what fills it: a client that does not read is not read from.

pub mod message;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::time::Sleep;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, Utf8Bytes, WebSocket};

use crate::config::{
    BODY_BYTES_MAX, WEBSOCKET_IN_FLIGHT_MAX, WEBSOCKET_OUTBOX_BYTES_MAX, WEBSOCKET_READ_BYTES, WEBSOCKET_SILENCE,
    WEBSOCKET_TURN_MESSAGES,
};
use crate::domain::ids::Seq;
use crate::engine::Engine;
use crate::engine::admission::Place;
use crate::engine::command::{Command, Origin};
use crate::engine::history::Reach;
use crate::engine::submit::{Pending, Said};
use crate::engine::view::{Answer, Reply, Stages, Unavailable};

use super::super::accept::socket::Socket;
use super::super::accept::upgrade::Leaving;
use super::super::gateway::Edge;
use super::super::gateway::identity::Caller;
use super::super::gateway::limit::Admitted;
use super::super::idempotency::{Asked as Fingerprinted, key_beside};
use super::super::peer::Peer;
use super::super::problem::{Code, Outcome, Problem};
use super::super::resources::events::{begin, topic_of_texts};
use super::super::resources::transfer_named;
use super::super::router::{Found, Route, find};
use super::super::timing::{Stage, Timing};
use super::feed::Framing;
use super::follower::{Follower, Next, Reading};
use super::pipe::{Pipe, Turn, turns};

use message::{Asked, ClientId, Post, Subscribe};

/// The transfer's way in, whose rights, keys and budget a command has.
const TRANSFERS: &str = "/v1/transfers";

type Left = Pin<Box<dyn Future<Output = (Sent, Outcome<Answer>)> + Send>>;
type Wish = Pin<Box<dyn Future<Output = (ClientId, Outcome<Follower>)> + Send>>;

/// A command that was sent and is not answered.
#[derive(Debug)]
struct Sent {
    id: ClientId,
    request: u64,
    is_minimal: bool,
    timing: Timing,
    /// Counts it against its key until it is answered.
    _admitted: Admitted,
}

/// A command that is decided, and not durable yet.
#[derive(Debug)]
struct Decided {
    sent: Sent,
    reply: Reply,
    as_of: Seq,
    since: Instant,
    stages: Stages,
    _place: Place,
}

/// One WebSocket.
pub struct Session {
    edge: Arc<Edge>,
    engine: Arc<Engine>,
    caller: Caller,
    peer: Arc<Peer>,
    route: &'static Route,
    headers: HeaderMap,
    protocol: WebSocket<Pipe>,
    /// In the order of their seqs.
    queue: VecDeque<Decided>,
    /// What is registered with the watermark to be called back for.
    awaited: Seq,
    left: Option<Left>,
    wish: Option<Wish>,
    /// Who follows for this session, while he does not read from the journal.
    follower: Option<Follower>,
    reading: Option<Reading>,
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    beat: Pin<Box<Sleep>>,
    /// The client has said something since the last beat.
    was_heard: bool,
    is_asked: bool,
    /// Nothing is read any more.
    is_ending: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

impl Session {
    /// A session on a socket that has just been upgraded.
    #[must_use]
    pub fn new(
        edge: Arc<Edge>,
        engine: Arc<Engine>,
        caller: Caller,
        peer: Arc<Peer>,
        socket: Socket,
        mut leaving: Leaving,
    ) -> Session {
        let config = WebSocketConfig::default()
            .read_buffer_size(WEBSOCKET_READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(BODY_BYTES_MAX))
            .max_frame_size(Some(BODY_BYTES_MAX));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let Found::Route(route, _) = find("POST", TRANSFERS) else {
            unreachable!("transfers are posted at their path")
        };
        Session {
            edge,
            engine,
            caller,
            peer,
            route,
            headers,
            protocol: WebSocket::from_raw_socket(Pipe::around(socket), Role::Server, Some(config)),
            queue: VecDeque::new(),
            awaited: Seq::NONE,
            left: None,
            wish: None,
            follower: None,
            reading: None,
            leaving: Box::pin(async move {
                // A sender that is gone has no server any more.
                let _ = leaving.wait_for(|leaves| *leaves).await;
            }),
            beat: Box::pin(tokio::time::sleep(WEBSOCKET_SILENCE)),
            was_heard: true,
            is_asked: false,
            is_ending: false,
        }
    }

    /// Serves it to its end.
    pub async fn run(mut self) {
        poll_fn(|context| self.poll(context)).await;
        // What broke needs no goodbye.
        let _ = poll_fn(|context| self.protocol.get_mut().end(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.protocol.get_mut().watch(context);
        turns(context, |context| self.turn(context))
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Turn {
        self.take_back();
        let mut has_moved = false;
        if !self.is_ending && self.leaving.as_mut().poll(context).is_ready() {
            self.end(CloseCode::Away, "the server leaves; come back");
            has_moved = true;
        }
        has_moved |= self.poll_left(context);
        match self.read() {
            Ok(moved) => has_moved |= moved,
            Err(()) => return Turn::Over,
        }
        has_moved |= self.answer(context);
        has_moved |= self.poll_events(context);
        match self.protocol.get_mut().send() {
            Ok(sent) => has_moved |= sent,
            Err(_) => return Turn::Over,
        }
        if self.is_ending && self.queue.is_empty() && self.left.is_none() && self.protocol.get_mut().waiting() == 0 {
            return Turn::Over;
        }
        if has_moved {
            return Turn::More;
        }
        if self.beat.as_mut().poll(context).is_ready() {
            return self.pulse();
        }
        if self.rests(context) { Turn::Wait } else { Turn::More }
    }

    /// Asks a silent client whether it lives; one that was asked and is silent still is gone.
    fn pulse(&mut self) -> Turn {
        if self.is_ending || (self.is_asked && !self.was_heard) {
            return Turn::Over;
        }
        if !self.caller.is_still_good(self.engine.core()) {
            self.end(CloseCode::Policy, "the API key is no key any more");
        }
        self.is_asked = !self.was_heard;
        if self.is_asked {
            // It goes into the outbox, which takes everything.
            let _ = self.protocol.write(Message::Ping(Default::default()));
        }
        self.protocol.get_mut().rest();
        self.was_heard = false;
        self.beat.as_mut().reset(tokio::time::Instant::now() + WEBSOCKET_SILENCE);
        Turn::More
    }

    fn end(&mut self, code: CloseCode, reason: &'static str) {
        self.is_ending = true;
        self.stop_following();
        self.wish = None;
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        // What is answered still goes before it only if it waits already: the rest is settled by its key.
        let _ = self.protocol.close(Some(frame));
    }

    fn is_full(&self) -> bool {
        self.queue.len() >= WEBSOCKET_IN_FLIGHT_MAX || self.protocol.get_ref().waiting() >= WEBSOCKET_OUTBOX_BYTES_MAX
    }

    /// Takes messages of the client: whether there were any; an error when the connection is over.
    fn read(&mut self) -> Result<bool, ()> {
        let mut taken = 0;
        let mut is_good = None;
        while taken < WEBSOCKET_TURN_MESSAGES
            && !self.is_ending
            && self.left.is_none()
            && self.wish.is_none()
            && !self.is_full()
        {
            let message = match self.protocol.read() {
                Ok(message) => message,
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(tungstenite::Error::Capacity(_)) => {
                    self.end(CloseCode::Size, "a message is too long");
                    return Ok(true);
                }
                Err(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => {
                    self.end(CloseCode::Protocol, "that is no WebSocket");
                    return Ok(true);
                }
                // Closed by the client, answered by the library; or the connection broke.
                Err(_) => {
                    self.is_ending = true;
                    self.stop_following();
                    self.wish = None;
                    return if self.queue.is_empty() && self.protocol.get_ref().waiting() == 0 {
                        Err(())
                    } else {
                        Ok(true)
                    };
                }
            };
            taken += 1;
            self.was_heard = true;
            let Message::Text(text) = message else {
                if message.is_binary() {
                    self.end(CloseCode::Unsupported, "messages are text");
                }
                continue;
            };
            // Once for all messages that came together.
            if !*is_good.get_or_insert_with(|| self.caller.is_still_good(self.engine.core())) {
                self.end(CloseCode::Policy, "the API key is no key any more");
                return Ok(true);
            }
            self.take(&text);
        }
        Ok(taken > 0)
    }

    fn take(&mut self, text: &str) {
        let timing = Timing::start();
        let (id, asked) = message::read(text);
        match asked {
            Ok(Asked::Post(post)) => self.post(id, &post, timing),
            Ok(Asked::Subscribe(wish)) => self.subscribe(id, wish),
            Ok(Asked::Unsubscribe) => {
                self.stop_following();
                self.wish = None;
                let seen = self.engine.core().journal().durable_seq();
                self.say(|out| message::told(out, "unsubscribed", &id, seen, None));
            }
            Err(problem) => self.refuse(&id, &problem, self.edge.next_request()),
        }
    }

    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::with_capacity(768);
        write(&mut out);
        self.protocol.get_mut().push_text(&out);
    }

    fn refuse(&mut self, id: &ClientId, problem: &Problem, request: u64) {
        self.edge.note_refusal(problem, &self.peer, request);
        self.say(|out| message::refused(out, id, problem, request, "/v1/ws"));
    }

    fn post(&mut self, id: ClientId, post: &Post<'_>, mut timing: Timing) {
        timing.set_route(self.route);
        let request = self.edge.next_request();
        let admitted = self.edge.admit(self.route, &self.caller, &self.peer);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(problem) => return self.refuse(&id, &problem, request),
        };
        timing.mark(Stage::Limit);
        let sent = Sent { id, request, is_minimal: post.is_minimal, timing, _admitted: admitted };
        if let Err(refused) = self.begin(sent, post) {
            let (sent, problem) = *refused;
            self.finish(&sent, problem.code.facts().status, None);
            self.refuse(&sent.id, &problem, request);
        }
    }

    /// A command up to its decision.
    fn begin(&mut self, mut sent: Sent, post: &Post<'_>) -> Result<(), Box<(Sent, Box<Problem>)>> {
        let body = post.body.as_bytes();
        let asked = Fingerprinted { method: "POST", route: TRANSFERS, path: TRANSFERS, query: "", body };
        let Some(key) = key_beside(&post.key, &self.headers, self.caller.owner, &asked) else {
            let detail = "`key` has 1 to 255 visible ASCII characters.";
            return Err(Box::new((sent, Problem::new(Code::IdempotencyKeyMalformed, detail))));
        };
        sent.timing.mark(Stage::Idem);
        let origin = Origin {
            owner: self.caller.owner,
            request: sent.request,
            key: Some(key),
            dry_run: false,
            deadline: None,
            amount_limit: self.caller.amount_limit(),
        };
        let core = self.engine.core();
        let parsed = match transfer_named(core, Reach::Memory, body) {
            Ok(parsed) => parsed,
            Err(problem) => return Err(Box::new((sent, problem))),
        };
        sent.timing.mark(Stage::Parse);
        let Some(transfer) = parsed else {
            self.leave_unread(sent, origin, post.body.to_owned());
            return Ok(());
        };
        let place = match self.engine.lanes().interactive().enter(None) {
            Ok(place) => place,
            Err(cause) => return Err(Box::new((sent, cause.into()))),
        };
        let command = Command::Transfer(transfer);
        match core.execute(&command, &origin, Reach::Memory) {
            Ok(Pending { said: Said::Now(reply), as_of, .. }) => {
                sent.timing.mark(Stage::Decide);
                let since = Instant::now();
                let stages = Stages::default();
                self.queue.push_back(Decided { sent, reply, as_of, since, stages, _place: place });
            }
            // Said before, or not to be said from memory: nothing was done.
            Ok(_) | Err(_) => {
                drop(place);
                self.leave(sent, origin, command);
            }
        }
        Ok(())
    }

    /// Leaves a command to the engine's ordinary way.
    fn leave(&mut self, sent: Sent, origin: Origin, command: Command) {
        let engine = Arc::clone(&self.engine);
        self.left = Some(Box::pin(async move { (sent, engine.submit(command, origin).await.map_err(Into::into)) }));
    }

    /// As [`Session::leave`], where a name must be looked up on disk first.
    fn leave_unread(&mut self, sent: Sent, origin: Origin, body: String) {
        let engine = Arc::clone(&self.engine);
        self.left = Some(Box::pin(async move {
            let answered = async {
                let read = engine.on_disk(move |core| transfer_named(core, Reach::Disk, body.as_bytes())).await??;
                let unread = || Unavailable::HistoryUnreadable("a name cannot be looked up".into());
                let transfer = read.ok_or_else(unread)?;
                Ok(engine.submit(Command::Transfer(transfer), origin).await?)
            };
            let answered = answered.await;
            (sent, answered)
        }));
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> bool {
        let Some(left) = &mut self.left else { return false };
        let Poll::Ready((mut sent, answer)) = left.as_mut().poll(context) else { return false };
        self.left = None;
        match answer {
            Ok(answer) => {
                sent.timing.mark_engine(&answer.stages);
                let (as_of, replayed, stages) = (answer.as_of, answer.replayed, answer.stages);
                self.tell(&sent, answer.reply, as_of, replayed, &stages);
            }
            Err(problem) => {
                self.finish(&sent, problem.code.facts().status, None);
                self.refuse(&sent.id, &problem, sent.request);
            }
        }
        true
    }

    /// Answers what has become durable.
    fn answer(&mut self, context: &mut Context<'_>) -> bool {
        let mut has_moved = false;
        loop {
            let Some(first) = self.queue.front() else { return has_moved };
            let as_of = first.as_of;
            let engine = Arc::clone(&self.engine);
            let watermark = engine.core().watermark();
            if !watermark.covers(as_of) {
                if self.awaited == as_of {
                    return has_moved;
                }
                match Pin::new(&mut watermark.wait(as_of)).poll(context) {
                    Poll::Pending => {
                        self.awaited = as_of;
                        return has_moved;
                    }
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return self.fail(),
                }
            }
            has_moved = true;
            let group = watermark.group();
            let Some(mut decided) = self.queue.pop_front() else { return has_moved };
            decided.stages.journal_us = u32::try_from(decided.since.elapsed().as_micros()).unwrap_or(u32::MAX);
            decided.stages.group = group;
            decided.sent.timing.mark_engine(&decided.stages);
            let Decided { sent, reply, as_of, stages, .. } = decided;
            self.tell(&sent, reply, as_of, false, &stages);
        }
    }

    /// The journal failed: nobody knows what became of what is not durable.
    fn fail(&mut self) -> bool {
        for Decided { sent, .. } in std::mem::take(&mut self.queue) {
            let problem: Box<Problem> = Unavailable::OutcomeUnknown.into();
            self.finish(&sent, problem.code.facts().status, None);
            self.refuse(&sent.id, &problem, sent.request);
        }
        self.end(CloseCode::Error, "the journal failed");
        true
    }

    fn tell(&mut self, sent: &Sent, reply: Reply, as_of: Seq, replayed: bool, stages: &Stages) {
        match reply {
            Reply::Transfer { view, .. } => {
                self.say(|out| message::posted(out, &sent.id, &view, as_of, replayed, sent.is_minimal));
                self.finish(sent, 201, Some(stages));
            }
            Reply::Refused(reject) => {
                let mut problem = Problem::of_reject(reject);
                problem.as_of = Some(as_of);
                self.finish(sent, problem.code.facts().status, Some(stages));
                self.refuse(&sent.id, &problem, sent.request);
            }
            other => tracing::error!(?other, "a transfer was answered by something else"),
        }
    }

    /// The command's time goes where a request's goes.
    fn finish(&self, sent: &Sent, status: u16, stages: Option<&Stages>) {
        let mut timing = sent.timing;
        timing.mark(Stage::Render);
        self.edge.observe(&timing, status, sent.request, stages);
    }

    fn subscribe(&mut self, id: ClientId, wish: Subscribe) {
        let Some(feed) = self.edge.feed().cloned() else { return };
        let (engine, caller) = (Arc::clone(&self.engine), self.caller.clone());
        // One follows at a time: a second wish takes the place of the first.
        self.stop_following();
        self.wish = Some(Box::pin(async move {
            let followed = async {
                let Subscribe { types, account, loan, after } = wish;
                let topic = topic_of_texts(&engine, &caller, types, account, loan).await?;
                let after = begin(after, engine.core().journal().durable_seq())?;
                Follower::join(&feed, caller, topic, after, Framing::WebSocket)
            };
            let followed = followed.await;
            (id, followed)
        }));
    }

    fn poll_events(&mut self, context: &mut Context<'_>) -> bool {
        let mut has_moved = false;
        if let Some(wish) = &mut self.wish
            && let Poll::Ready((id, followed)) = wish.as_mut().poll(context)
        {
            self.wish = None;
            has_moved = true;
            match followed {
                Ok(follower) => {
                    let after = follower.at();
                    self.say(|out| message::told(out, "subscribed", &id, after, None));
                    let handle = self.protocol.get_ref().second_handle();
                    self.follower = Some(follower.on(handle));
                }
                Err(problem) => self.refuse(&id, &problem, self.edge.next_request()),
            }
        }
        while !self.is_ending && self.protocol.get_ref().waiting() < WEBSOCKET_OUTBOX_BYTES_MAX {
            let next = match (&mut self.reading, &mut self.follower) {
                (Some(reading), _) => match reading.as_mut().poll(context) {
                    Poll::Pending => break,
                    Poll::Ready((follower, next)) => {
                        (self.reading, self.follower) = (None, Some(follower));
                        next
                    }
                },
                (None, Some(follower)) => follower.look(),
                (None, None) => break,
            };
            match next {
                Next::Events(frames) => self.protocol.get_mut().push(&frames),
                Next::Lagged(from, to) => {
                    self.say(|out| message::told(out, "lagged", &ClientId::none(), from, Some(to)));
                }
                Next::Over => self.end(CloseCode::Away, "nothing follows here; come back"),
                Next::Newest => break,
                Next::Behind => self.reading = self.follower.take().map(Follower::read_on),
            }
            has_moved = true;
        }
        has_moved
    }

    /// From here on the session writes itself: what the feed could not send goes first.
    fn take_back(&mut self) {
        if let Some(follower) = &mut self.follower {
            let rested = follower.take_back();
            self.protocol.get_mut().push(&rested.rest);
        }
    }

    /// Whether whoever follows for this session rests: the feed writes to him, if nothing waits to be sent before.
    fn rests(&mut self, context: &Context<'_>) -> bool {
        let waiting = self.protocol.get_ref().waiting();
        if self.is_ending || waiting >= WEBSOCKET_OUTBOX_BYTES_MAX {
            // The socket calls back, or the beat: to look for more is in vain until then.
            return true;
        }
        let is_empty = waiting == 0;
        self.follower.as_mut().is_none_or(|follower| follower.rest(context, is_empty).is_pending())
    }

    fn stop_following(&mut self) {
        self.follower = None;
        self.reading = None;
    }
}
