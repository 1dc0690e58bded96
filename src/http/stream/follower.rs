//! Somebody who follows: a topic and a place in the journal, which moves on.
//!
//! Where the place is in the ring, the ring gives; behind it, the journal does. Who was in the ring and fell
//! behind it is told once that he lags, and from where to where. Who has everything rests, and the feed comes to him.

use std::future::Future;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::config::{FEED_PAGE_ENTRIES, FEED_PAGE_EVENTS};
use crate::domain::ids::Seq;
use crate::engine::feed::Topic;

use super::super::gateway::identity::Caller;
use super::super::problem::Outcome;
use super::feed::{Chunk, Feed, Found, Framing, Listener};
use super::lane::Lane;

/// A place that moves on.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    listener: Arc<Listener>,
    topic: Topic,
    framing: Framing,
    /// Everything of the topic up to here was given.
    at: Seq,
    /// He has reached what is newest once: falling behind the ring is news from then on.
    was_live: bool,
    /// The lane may have moved him on.
    is_resting: bool,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// Framed events.
    Events(Bytes),
    /// He fell behind what is kept ready: events after the first and up to the second come from the journal.
    Lagged(Seq, Seq),
    /// Nothing follows here any more.
    Over,
    /// Nothing yet: he can rest.
    Newest,
    /// It has to be read from the journal first: [`Follower::read_on`].
    Behind,
}

/// A follower who reads from the journal: himself again, and what he found.
pub type Reading = Pin<Box<dyn Future<Output = (Follower, Next)> + Send>>;

/// What the feed did while he rested.
#[derive(Debug, Default)]
pub struct Rested {
    /// What has to be written before anything else.
    pub rest: Bytes,
    /// When something was written last, if anything was.
    pub wrote: Option<Instant>,
}

impl Follower {
    /// Follows a topic from behind an entry on.
    ///
    /// # Errors
    /// `overloaded` when too many follow.
    pub fn join(feed: &Arc<Feed>, caller: Caller, topic: Topic, after: Seq, framing: Framing) -> Outcome<Follower> {
        let listener = feed.join(Listener { lane: Lane::at(after), caller, topic, framing })?;
        let feed = Arc::clone(feed);
        Ok(Follower { feed, listener, topic, framing, at: after, was_live: false, is_resting: false })
    }

    /// Everything of the topic up to here was given.
    #[must_use]
    pub fn at(&self) -> Seq {
        self.at
    }

    /// He has a socket of his own from now on, of HTTP/1.1: while he rests the feed writes there itself.
    #[must_use]
    pub fn on(mut self, handle: Option<TcpStream>) -> Follower {
        self.take_back();
        let Listener { caller, topic, framing, .. } = &*self.listener;
        let framing = if *framing == Framing::Sse { Framing::SseChunked } else { *framing };
        let lane = Lane::at(self.at);
        lane.equip(handle);
        let listener = Listener { lane, caller: caller.clone(), topic: *topic, framing };
        self.listener = self.feed.replace(&self.listener, listener);
        self.framing = framing;
        self
    }

    /// What comes next, without waiting.
    pub fn look(&mut self) -> Next {
        debug_assert!(!self.is_resting, "he is taken back before he is asked");
        if self.feed.is_over() || !self.listener.caller.is_still_good(self.feed.engine().core()) {
            return Next::Over;
        }
        loop {
            match self.feed.find(self.at) {
                Found::Chunk(chunk) => {
                    self.was_live = true;
                    if let Some(events) = self.take(&chunk) {
                        return Next::Events(events);
                    }
                }
                Found::Newest => {
                    self.was_live = true;
                    return Next::Newest;
                }
                Found::Behind(begin) if std::mem::take(&mut self.was_live) => return Next::Lagged(self.at, begin),
                Found::Behind(_) => return Next::Behind,
            }
        }
    }

    /// Reads on from the journal, behind the ring.
    #[must_use]
    pub fn read_on(mut self) -> Reading {
        Box::pin(async move {
            loop {
                let (engine, topic) = (self.feed.engine(), self.topic);
                let page = engine.feed(self.at, topic, FEED_PAGE_EVENTS, FEED_PAGE_ENTRIES).await;
                let Ok(page) = page.inspect_err(|error| tracing::warn!(?error, "a stream of events ends")) else {
                    return (self, Next::Over);
                };
                let chunk = Chunk::render(engine.core(), self.at, &page);
                let next = self.take(&chunk).map_or_else(|| self.look(), Next::Events);
                if !matches!(next, Next::Behind) {
                    return (self, next);
                }
            }
        })
    }

    fn take(&mut self, chunk: &Chunk) -> Option<Bytes> {
        let events = chunk.framed(self.framing, self.at, &self.topic);
        self.at = chunk.through;
        (!events.is_empty()).then_some(events)
    }

    /// Rests, having everything: pending until the feed wakes him. `may_lend` where nothing of his waits to be sent:
    /// the feed then writes what comes itself, until he is [taken back](Follower::take_back).
    pub fn rest(&mut self, context: &Context<'_>, may_lend: bool) -> Poll<()> {
        self.is_resting = true;
        self.listener.lane.rest(self.at, context.waker(), may_lend);
        // The feed may have come by before it could see him.
        if self.feed.through() > self.at || self.feed.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ends his rest, if he rests. From here on nobody else writes.
    pub fn take_back(&mut self) -> Rested {
        if !std::mem::take(&mut self.is_resting) {
            return Rested::default();
        }
        let back = self.listener.lane.take_back();
        self.at = back.at;
        Rested { rest: back.rest, wrote: back.wrote }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.leave(&self.listener);
    }
}
