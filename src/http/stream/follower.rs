//! Somebody who follows: a topic and a place in the journal, which moves on.
//!
//! Where the place is in the ring, the ring gives; behind it, the journal does. Who was in the ring and fell
//! behind it is told once that he lags, and from where to where.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::config::{FEED_PAGE_ENTRIES, FEED_PAGE_EVENTS};
use crate::domain::ids::Seq;
use crate::engine::feed::Topic;

use super::super::gateway::identity::Caller;
use super::super::problem::Outcome;
use super::feed::{Chunk, Feed, Found, Framing, Head};

/// A place that moves on.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    head: watch::Receiver<Head>,
    /// Who asked: a key that is revoked ends its streams.
    caller: Caller,
    topic: Topic,
    framing: Framing,
    /// Everything of the topic up to here was given.
    at: Seq,
    /// He has reached what is newest once: falling behind the ring is news from then on.
    was_live: bool,
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
}

impl Follower {
    /// Follows a topic from behind an entry on.
    ///
    /// # Errors
    /// `overloaded` when too many follow.
    pub fn join(feed: &Arc<Feed>, caller: Caller, topic: Topic, after: Seq, framing: Framing) -> Outcome<Follower> {
        let head = feed.join()?;
        Ok(Follower { feed: Arc::clone(feed), head, caller, topic, framing, at: after, was_live: false })
    }

    /// Everything of the topic up to here was given.
    #[must_use]
    pub fn at(&self) -> Seq {
        self.at
    }

    /// Waits for what comes next. Nothing is lost when it is dropped before it ends.
    pub async fn next(&mut self) -> Next {
        loop {
            let head = *self.head.borrow_and_update();
            if head.is_over || !self.may_follow() {
                return Next::Over;
            }
            match self.feed.find(self.at) {
                Found::Chunk(chunk) => {
                    self.was_live = true;
                    let events = chunk.framed(self.framing, self.at, &self.topic);
                    self.at = chunk.through;
                    if !events.is_empty() {
                        return Next::Events(events);
                    }
                }
                Found::Newest => {
                    self.was_live = true;
                    // A sender that is gone has no process any more.
                    if self.head.changed().await.is_err() {
                        return Next::Over;
                    }
                }
                Found::Behind(begin) if std::mem::take(&mut self.was_live) => return Next::Lagged(self.at, begin),
                Found::Behind(_) => {
                    let (engine, topic) = (self.feed.engine(), self.topic);
                    let page = engine.feed(self.at, topic, FEED_PAGE_EVENTS, FEED_PAGE_ENTRIES).await;
                    let Ok(page) = page.inspect_err(|error| tracing::warn!(?error, "a stream of events ends")) else {
                        return Next::Over;
                    };
                    let chunk = Chunk::render(engine.core(), self.at, &page);
                    let events = chunk.framed(self.framing, self.at, &self.topic);
                    self.at = chunk.through;
                    if !events.is_empty() {
                        return Next::Events(events);
                    }
                }
            }
        }
    }

    fn may_follow(&self) -> bool {
        let core = self.feed.engine().core();
        self.caller.is_still_good(core)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.leave();
    }
}
