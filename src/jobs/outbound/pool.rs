//! Connections that wait for their next call.
//!
//! Promise: bounded, for each destination and in all; a connection idles for 30 s at most and is used for
//! five minutes at most, so that its address is looked up and judged anew now and then.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::guard::Destination;
use crate::config::{
    OUTBOUND_CONNECTION_AGE_MAX, OUTBOUND_IDLE_MAX, OUTBOUND_IDLE_PER_DESTINATION_MAX, OUTBOUND_IDLE_TIME_MAX,
};

/// A connection, ready for a call.
pub struct Connection {
    /// Where requests go in.
    pub sender: SendRequest<Full<Bytes>>,
    /// When it was opened.
    pub opened_at: Instant,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_good(&self, now: Instant) -> bool {
        !self.connection.sender.is_closed()
            && now.duration_since(self.since) < OUTBOUND_IDLE_TIME_MAX
            && now.duration_since(self.connection.opened_at) < OUTBOUND_CONNECTION_AGE_MAX
    }
}

#[derive(Default)]
struct Shelf {
    idle: HashMap<Destination, Vec<Idle>>,
    count: usize,
    /// A task is on its way that will look through all of it.
    is_sweep_planned: bool,
}

impl Shelf {
    fn sweep(&mut self, now: Instant) {
        self.idle.retain(|_, idle| {
            idle.retain(|one| one.is_good(now));
            !idle.is_empty()
        });
        self.count = self.idle.values().map(Vec::len).sum();
    }
}

/// All idle connections.
#[derive(Default)]
pub struct Pool {
    /// Held to take or give one; never over an await.
    shelf: Mutex<Shelf>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle()).finish()
    }
}

impl Pool {
    /// The newest connection to a destination that is still good.
    #[must_use]
    pub fn take(&self, destination: &Destination) -> Option<Connection> {
        let now = Instant::now();
        let mut shelf = self.shelf.lock();
        let Shelf { idle, count, .. } = &mut *shelf;
        let waiting = idle.get_mut(destination)?;
        let mut found = None;
        while found.is_none()
            && let Some(one) = waiting.pop()
        {
            *count -= 1;
            found = one.is_good(now).then_some(one.connection);
        }
        if waiting.is_empty() {
            idle.remove(destination);
        }
        found
    }

    /// Takes a connection back, if it can be used again and there is room.
    pub fn give(self: &Arc<Self>, destination: &Destination, connection: Connection) {
        let now = Instant::now();
        let one = Idle { connection, since: now };
        if !one.is_good(now) {
            return;
        }
        let mut shelf = self.shelf.lock();
        if shelf.count >= OUTBOUND_IDLE_MAX {
            shelf.sweep(now);
        }
        let there = shelf.idle.get(destination).map_or(0, Vec::len);
        if shelf.count >= OUTBOUND_IDLE_MAX || there >= OUTBOUND_IDLE_PER_DESTINATION_MAX {
            return;
        }
        shelf.idle.entry(destination.clone()).or_default().push(one);
        shelf.count += 1;
        if !shelf.is_sweep_planned {
            shelf.is_sweep_planned = true;
            let pool = Arc::downgrade(self);
            tokio::spawn(async move {
                loop {
                    sleep(OUTBOUND_IDLE_TIME_MAX).await;
                    let Some(pool) = pool.upgrade() else { return };
                    let mut shelf = pool.shelf.lock();
                    shelf.sweep(Instant::now());
                    if shelf.count == 0 {
                        shelf.is_sweep_planned = false;
                        return;
                    }
                }
            });
        }
    }

    /// How many wait and are still good.
    #[must_use]
    pub fn idle(&self) -> usize {
        let now = Instant::now();
        self.shelf.lock().idle.values().flatten().filter(|one| one.is_good(now)).count()
    }
}
