//! The ring of rendered events, and the thread that fills it.
//!
//! Each event is rendered once, whoever follows: a chunk is what one look at the journal brought. The thread
//! looks only while somebody follows. It is one thread beside those that serve, so that a flood of batches costs
//! followers their place in the ring and nobody his answer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::config::{FEED_CHUNK_ENTRIES, FEED_FOLLOWERS_MAX, FEED_RING_BYTES_MAX};
use crate::domain::ids::Seq;
use crate::engine::feed::{About, EventKinds, Topic};
use crate::engine::history::Reach;
use crate::engine::{Core, Engine};

use super::super::problem::{Code, Outcome, Problem};
use super::super::render::{write_event, write_number};

/// How often the thread looks whether anybody follows, when nothing happens.
const LOOK_ROUND: Duration = Duration::from_secs(1);

/// How far the ring reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Everything up to here is in the ring, or was.
    pub through: Seq,
    /// The process leaves, or nothing will be durable any more: nothing follows.
    pub is_over: bool,
}

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
    /// A text message of a server: `{"op":"event","event":…}`.
    WebSocket,
}

impl Chunk {
    /// The events after an entry that belong to a topic, framed. Shares the chunk's bytes where it is all of them.
    #[must_use]
    pub fn framed(&self, framing: Framing, after: Seq, topic: &Topic) -> Bytes {
        let cell = if framing == Framing::Sse { &self.sse } else { &self.websocket };
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
        for row in &self.rows {
            begins.push(bytes.len() as u32);
            let json = &self.json[row.begin as usize..row.end as usize];
            match framing {
                Framing::Sse => frame_sse(&mut bytes, row, json),
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
        Chunk { after, through: page.through, rows, json, sse: OnceLock::new(), websocket: OnceLock::new() }
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

/// What the followers share.
#[derive(Debug)]
pub struct Feed {
    engine: Arc<Engine>,
    /// Guards the ring; held to push, drop or find a chunk.
    ring: Mutex<Ring>,
    head: watch::Sender<Head>,
    followers: AtomicUsize,
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
            head: watch::Sender::new(Head { through, is_over: false }),
            followers: AtomicUsize::new(0),
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

    /// All streams end: whoever follows comes back elsewhere, at the place that he had reached.
    pub fn close(&self) {
        self.head.send_modify(|head| head.is_over = true);
        self.wanted.notify_all();
    }

    /// One more follows.
    ///
    /// # Errors
    /// `overloaded` when too many do.
    pub(super) fn join(self: &Arc<Self>) -> Outcome<watch::Receiver<Head>> {
        if self.followers.fetch_add(1, Ordering::AcqRel) >= FEED_FOLLOWERS_MAX {
            self.leave();
            return Err(Problem::new(Code::Overloaded, "Too many follow the books already."));
        }
        self.run();
        Ok(self.head.subscribe())
    }

    /// One less.
    pub(super) fn leave(&self) {
        self.followers.fetch_sub(1, Ordering::AcqRel);
    }

    /// The chunk with what comes after a place.
    #[must_use]
    pub fn find(&self, after: Seq) -> Found {
        let ring = self.ring.lock();
        let Some(first) = ring.chunks.front() else {
            let through = self.head.borrow().through;
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
        while self.followers() == 0 && !self.head.borrow().is_over {
            *self.ring.lock() = Ring::default();
            self.wanted.wait_for(&mut is_running, LOOK_ROUND);
            if self.followers() > 0 {
                // What happened while nobody followed is in the journal.
                let through = self.engine.core().journal().durable_seq();
                self.head.send_modify(|head| head.through = head.through.max(through));
            }
        }
        !self.head.borrow().is_over
    }

    /// Renders what has become durable after a place. Returns how far it came; `None` when it cannot go on.
    fn step(&self, after: Seq) -> Option<Seq> {
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
            ring.chunks.push_back(chunk);
            while ring.weight > FEED_RING_BYTES_MAX && ring.chunks.len() > 1 {
                let gone = ring.chunks.pop_front().map_or(0, |chunk| chunk.weight());
                ring.weight -= gone;
            }
        }
        self.head.send_modify(|head| head.through = page.through);
        Some(page.through)
    }
}

/// The thread. It holds the feed only while it works, so that one that is dropped ends it.
fn fill(feed: &Weak<Feed>) {
    while let Some(feed) = feed.upgrade() {
        if !feed.wait_for_followers() {
            break;
        }
        let after = feed.head.borrow().through;
        if feed.step(after).is_none() {
            feed.close();
            break;
        }
    }
}
