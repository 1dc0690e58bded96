//! The ring of rendered events, and the thread that fills it.
//!
//! Each event is rendered once, whoever follows: a chunk is what one look at the journal brought. The thread
//! looks only while somebody follows, and writes to those who rest itself ([`super::lane`]). It is one thread beside
//! those that serve, so that a flood of batches costs followers their place in the ring and nobody his answer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::config::{FEED_CHUNK_ENTRIES, FEED_FOLLOWERS_MAX, FEED_RING_BYTES_MAX};
use crate::domain::ids::Seq;
use crate::engine::feed::{About, EventKinds, Topic};
use crate::engine::history::Reach;
use crate::engine::{Core, Engine};

use super::super::gateway::identity::Caller;
use super::super::problem::{Code, Outcome, Problem};
use super::super::render::{write_event, write_number};
use super::lane::Lane;

/// So many followers are told by one thread; where more follow, others help: telling one is a system call of some 9 µs.
const FOLLOWERS_A_HAND: usize = 1_000;

/// After so many others may use the processor: whoever posts passes four threads on his way, and each of them would
/// wait for the end of a time slice of three milliseconds.
const TOLD_BEFORE_YIELD: usize = 16;

/// How often the thread looks whether anybody follows, when nothing happens.
const LOOK_ROUND: Duration = Duration::from_secs(1);

/// Where an event lies in the text of its chunk.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its seq.
    pub seq: Seq,
    /// What it is about.
    pub about: About,
    /// Where its JSON begins …
    pub begin: u32,
    /// … and ends.
    pub end: u32,
}

/// Events of a stretch of the journal, rendered.
#[derive(Debug)]
pub struct Chunk {
    /// The stretch begins behind this entry …
    pub after: Seq,
    /// … and ends with this one.
    pub through: Seq,
    /// Its events, ascending.
    pub rows: Vec<Row>,
    /// Their JSON, one behind the other.
    json: Vec<u8>,
    sse: OnceLock<Framed>,
    sse_chunked: OnceLock<Framed>,
    websocket: OnceLock<Framed>,
}

/// The events of a chunk as a protocol frames them, and where each begins; one more for the end.
#[derive(Debug)]
struct Framed {
    bytes: Bytes,
    begins: Vec<u32>,
}

/// How events are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `id`, `event`, `data` and an empty line.
    Sse,
    /// The same, each event a chunk of HTTP/1.1's transfer coding (RFC 9112, 7.1).
    SseChunked,
    /// A text message of a server: `{"op":"event","event":…}`.
    WebSocket,
}

impl Chunk {
    /// The events after an entry that belong to a topic, framed. Shares the chunk's bytes where it is all of them.
    #[must_use]
    pub fn framed(&self, framing: Framing, after: Seq, topic: &Topic) -> Bytes {
        let cell = match framing {
            Framing::Sse => &self.sse,
            Framing::SseChunked => &self.sse_chunked,
            Framing::WebSocket => &self.websocket,
        };
        let framed = cell.get_or_init(|| self.frame(framing));
        let first = self.rows.partition_point(|row| row.seq <= after);
        let wanted = self.rows[first..].iter().filter(|row| topic.has(&row.about)).count();
        if wanted == self.rows.len() - first {
            return framed.bytes.slice(framed.begins[first] as usize..);
        }
        let mut out = Vec::new();
        for (place, row) in self.rows.iter().enumerate().skip(first) {
            if topic.has(&row.about) {
                out.extend_from_slice(&framed.bytes[framed.begins[place] as usize..framed.begins[place + 1] as usize]);
            }
        }
        out.into()
    }

    fn frame(&self, framing: Framing) -> Framed {
        let mut bytes = Vec::with_capacity(self.json.len() + self.rows.len() * 64);
        let mut begins = Vec::with_capacity(self.rows.len() + 1);
        let mut event = Vec::new();
        for row in &self.rows {
            begins.push(bytes.len() as u32);
            let json = &self.json[row.begin as usize..row.end as usize];
            match framing {
                Framing::Sse => frame_sse(&mut bytes, row, json),
                Framing::SseChunked => {
                    event.clear();
                    frame_sse(&mut event, row, json);
                    write_chunk(&mut bytes, &event);
                }
                Framing::WebSocket => frame_websocket(&mut bytes, json),
            }
        }
        begins.push(bytes.len() as u32);
        Framed { bytes: bytes.into(), begins }
    }

    /// Renders a stretch of the journal.
    #[must_use]
    pub fn render(core: &Core, after: Seq, page: &crate::engine::feed::FeedPage) -> Chunk {
        let mut json = Vec::with_capacity(page.events.len() * 640);
        let mut rows = Vec::with_capacity(page.events.len());
        for located in &page.events {
            let Some(about) = About::of(&located.entry) else { continue };
            let begin = json.len() as u32;
            write_event(&mut json, core, located, about.kind);
            rows.push(Row { seq: located.seq, about, begin, end: json.len() as u32 });
        }
        let (sse, sse_chunked, websocket) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Chunk { after, through: page.through, rows, json, sse, sse_chunked, websocket }
    }

    /// The events as a JSON list holds them.
    pub fn objects(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| &self.json[row.begin as usize..row.end as usize])
    }

    fn weight(&self) -> usize {
        // As if framed once: most rings serve one kind of follower.
        self.json.len() * 2 + self.rows.len() * (size_of::<Row>() + 8)
    }
}

fn frame_sse(out: &mut Vec<u8>, row: &Row, json: &[u8]) {
    out.extend_from_slice(b"id: ");
    write_number(out, row.seq.0);
    out.extend_from_slice(b"\nevent: ");
    out.extend_from_slice(row.about.kind.name().as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}

/// A chunk of HTTP/1.1's transfer coding.
pub(super) fn write_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

const WEBSOCKET_HEAD: &[u8] = b"{\"op\":\"event\",\"event\":";

/// A text frame, unmasked as a server's are (RFC 6455, 5.2): the same bytes for all.
fn frame_websocket(out: &mut Vec<u8>, json: &[u8]) {
    let length = WEBSOCKET_HEAD.len() + json.len() + 1;
    out.push(0x81);
    match u16::try_from(length) {
        Ok(short) if short < 126 => out.push(short as u8),
        Ok(middle) => {
            out.push(126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        Err(_) => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(WEBSOCKET_HEAD);
    out.extend_from_slice(json);
    out.push(b'}');
}

/// One who follows, as the feed knows him.
#[derive(Debug)]
pub struct Listener {
    /// How he hears of what comes.
    pub lane: Lane,
    /// Who asked: a key that is revoked ends its streams.
    pub caller: Caller,
    /// What he follows …
    pub topic: Topic,
    /// … and how it is framed for him.
    pub framing: Framing,
}

/// What the followers share.
#[derive(Debug)]
pub struct Feed {
    engine: Arc<Engine>,
    /// Guards the ring; held to push, drop or find a chunk.
    ring: Mutex<Ring>,
    /// Everything up to here is in the ring, or was. Stored before anybody is told, and read again by whoever has said
    /// that he rests: one of both sees the other.
    through: AtomicU64,
    /// The process leaves, or nothing will be durable any more: nothing follows.
    is_over: AtomicBool,
    followers: AtomicUsize,
    /// Threads that tell them at once, at most.
    hands: usize,
    /// Guards who is told; held to copy, join or leave, never to write.
    listeners: Mutex<Vec<Arc<Listener>>>,
    /// Guards whether the thread runs.
    is_running: Mutex<bool>,
    wanted: Condvar,
}

#[derive(Debug, Default)]
struct Ring {
    chunks: VecDeque<Arc<Chunk>>,
    weight: usize,
}

/// What the ring knows about a place.
#[derive(Debug)]
pub enum Found {
    /// The chunk that holds what comes next.
    Chunk(Arc<Chunk>),
    /// Nothing comes yet.
    Newest,
    /// The ring begins later, behind this entry.
    Behind(Seq),
}

impl Feed {
    /// A feed of these books; nothing runs until somebody follows.
    #[must_use]
    pub fn of(engine: Arc<Engine>) -> Arc<Feed> {
        let through = engine.core().journal().durable_seq();
        Arc::new(Feed {
            engine,
            ring: Mutex::default(),
            through: AtomicU64::new(through.0),
            is_over: AtomicBool::new(false),
            followers: AtomicUsize::new(0),
            hands: thread::available_parallelism().map_or(1, usize::from),
            listeners: Mutex::default(),
            is_running: Mutex::new(false),
            wanted: Condvar::new(),
        })
    }

    /// The books.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// How many follow.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// Everything up to here is in the ring, or was.
    #[must_use]
    pub fn through(&self) -> Seq {
        Seq(self.through.load(Ordering::SeqCst))
    }

    /// Nothing follows any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// All streams end: whoever follows comes back elsewhere, at the place that he had reached.
    pub fn close(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.wanted.notify_all();
        self.wake_all();
    }

    fn wake_all(&self) {
        let all = self.listeners.lock().clone();
        all.iter().for_each(|listener| listener.lane.wake());
    }

    /// One more follows.
    ///
    /// # Errors
    /// `overloaded` when too many do.
    pub(super) fn join(self: &Arc<Self>, listener: Listener) -> Outcome<Arc<Listener>> {
        if self.followers.fetch_add(1, Ordering::AcqRel) >= FEED_FOLLOWERS_MAX {
            self.followers.fetch_sub(1, Ordering::AcqRel);
            return Err(Problem::new(Code::Overloaded, "Too many follow the books already."));
        }
        let listener = Arc::new(listener);
        self.listeners.lock().push(Arc::clone(&listener));
        self.run();
        Ok(listener)
    }

    /// One who follows already is known otherwise from now on.
    pub(super) fn replace(&self, known: &Arc<Listener>, listener: Listener) -> Arc<Listener> {
        known.lane.close();
        let listener = Arc::new(listener);
        let mut listeners = self.listeners.lock();
        if let Some(place) = listeners.iter_mut().find(|other| Arc::ptr_eq(other, known)) {
            *place = Arc::clone(&listener);
        }
        listener
    }

    /// One less.
    pub(super) fn leave(&self, listener: &Arc<Listener>) {
        listener.lane.close();
        let mut listeners = self.listeners.lock();
        if let Some(place) = listeners.iter().position(|other| Arc::ptr_eq(other, listener)) {
            listeners.swap_remove(place);
            self.followers.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The chunk with what comes after a place.
    #[must_use]
    pub fn find(&self, after: Seq) -> Found {
        let ring = self.ring.lock();
        let Some(first) = ring.chunks.front() else {
            let through = self.through();
            return if after >= through { Found::Newest } else { Found::Behind(through) };
        };
        if after < first.after {
            return Found::Behind(first.after);
        }
        let place = ring.chunks.partition_point(|chunk| chunk.through <= after);
        ring.chunks.get(place).map_or(Found::Newest, |chunk| Found::Chunk(Arc::clone(chunk)))
    }

    /// Starts the thread, or wakes it up.
    fn run(self: &Arc<Self>) {
        let mut is_running = self.is_running.lock();
        if *is_running {
            self.wanted.notify_all();
            return;
        }
        let feed = Arc::downgrade(self);
        let spawned = thread::Builder::new().name("feed".into()).spawn(move || fill(&feed));
        match spawned {
            Ok(_) => *is_running = true,
            // Followers read the journal themselves once something wakes them: the next who joins tries again.
            Err(error) => tracing::error!(%error, "the thread that renders events could not be started"),
        }
    }

    /// Waits until somebody follows; false when nothing will follow any more. What nobody follows is not kept.
    fn wait_for_followers(&self) -> bool {
        let mut is_running = self.is_running.lock();
        while self.followers() == 0 && !self.is_over() {
            *self.ring.lock() = Ring::default();
            self.wanted.wait_for(&mut is_running, LOOK_ROUND);
            if self.followers() > 0 {
                // What happened while nobody followed is in the journal.
                let through = self.engine.core().journal().durable_seq();
                self.through.fetch_max(through.0, Ordering::SeqCst);
                self.wake_all();
            }
        }
        !self.is_over()
    }

    /// Renders what has become durable after a place, and tells those who follow. `told` is room for them. Returns how
    /// far it came; `None` when it cannot go on.
    fn step(&self, after: Seq, told: &mut Vec<Arc<Listener>>) -> Option<Seq> {
        let core = self.engine.core();
        match core.watermark().wait_blocking_for(after.next(), LOOK_ROUND) {
            Some(true) => {}
            Some(false) => return None,
            // To see whether anybody follows still.
            None => return Some(after),
        }
        let topic = Topic::of(EventKinds::all());
        let page = core.feed(after, &topic, usize::MAX, FEED_CHUNK_ENTRIES, Reach::Disk);
        let page = page
            .inspect_err(|error| tracing::error!(?error, "events could not be read: all who follow are sent away"))
            .ok()?;
        let chunk = Arc::new(Chunk::render(core, after, &page));
        {
            let mut ring = self.ring.lock();
            ring.weight += chunk.weight();
            ring.chunks.push_back(Arc::clone(&chunk));
            while ring.weight > FEED_RING_BYTES_MAX && ring.chunks.len() > 1 {
                let gone = ring.chunks.pop_front().map_or(0, |chunk| chunk.weight());
                ring.weight -= gone;
            }
        }
        self.through.store(page.through.0, Ordering::SeqCst);
        told.extend(self.listeners.lock().iter().cloned());
        // Another is first each time.
        let first = page.through.0 as usize % told.len().max(1);
        told.rotate_left(first);
        let hands = told.len().div_ceil(FOLLOWERS_A_HAND).clamp(1, self.hands);
        thread::scope(|scope| {
            let mut shares = told.chunks(told.len().div_ceil(hands).max(1));
            let own = shares.next().unwrap_or_default();
            for share in shares {
                let spawned = thread::Builder::new().spawn_scoped(scope, || tell(core, &chunk, share));
                if spawned.is_err() {
                    // No thread can be had: it takes longer, and nobody is left out.
                    tell(core, &chunk, share);
                }
            }
            tell(core, &chunk, own);
        });
        told.clear();
        Some(page.through)
    }
}

/// Tells some of those who follow.
fn tell(core: &Core, chunk: &Chunk, told: &[Arc<Listener>]) {
    let now = Instant::now();
    for (place, listener) in told.iter().enumerate() {
        if place % TOLD_BEFORE_YIELD == TOLD_BEFORE_YIELD - 1 {
            thread::yield_now();
        }
        let Listener { lane, caller, topic, framing } = &**listener;
        if caller.is_still_good(core) {
            lane.offer((chunk.after, chunk.through), now, |after| chunk.framed(*framing, after, topic));
        } else {
            lane.wake();
        }
    }
}

/// Ends all streams when it is dropped.
struct Closes<'a>(&'a Weak<Feed>);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        if let Some(feed) = self.0.upgrade() {
            feed.close();
        }
    }
}

/// The thread. It holds the feed only while it works, so that one that is dropped ends it.
fn fill(feed: &Weak<Feed>) {
    // Whatever ends it, a panic too: nobody waits for what does not come any more.
    let _closes = Closes(feed);
    let mut told = Vec::new();
    while let Some(feed) = feed.upgrade() {
        if !feed.wait_for_followers() {
            break;
        }
        if feed.step(feed.through(), &mut told).is_none() {
            feed.close();
            break;
        }
    }
}
