//! Brings one target its events, in order.
//!
//! 1. A page of the journal behind the target's place becomes a batch of messages, bounded in events and bytes.
//! 2. The carrier sends them and waits for their acknowledgements; the place moves to the last of the first that
//!    were acknowledged, and past everything that is not for the target.
//! 3. What failed is sent again after a wait that doubles up to half a minute, spread at random; a connection that
//!    broke is opened again the same way.
//!
//! A batch is on its way at a time: a target that is slow is read no further for.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::watch;

use crate::config::{SYNC_BATCH_BYTES_MAX, SYNC_BATCH_EVENTS_MAX, SYNC_LOOK_ENTRIES};
use crate::domain::ids::{IdKind, Seq, format_id};
use crate::domain::objects::Collection;
use crate::engine::feed::{EventKind, Topic};

use super::super::outbound::backoff::Backoff;
use super::super::webhooks::courier::now_us;
use super::Syncs;
use super::carrier::{Carrier, Credentials, Failed, Message};
use super::target::Target;

/// How long nothing is looked at when nothing is known to come: a change of the target rings earlier.
const IDLE: Duration = Duration::from_secs(5);

/// Waits between attempts. A broker that restarts is back within seconds; half a minute asks nothing of one that is not.
const RETRY: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

/// Characters of an error that are kept and shown.
const ERROR_CHARS_MAX: usize = 300;

/// One target's, as a task.
pub struct Pump {
    syncs: Arc<Syncs>,
    target: Target,
    events: Topic,
    carrier: Option<Carrier>,
    failures: u32,
    /// Rung when objects change, or the process leaves.
    bell: watch::Receiver<u64>,
    rng: SmallRng,
}

/// A page of events as messages.
struct Batch {
    messages: Vec<Message>,
    /// Everything up to here was looked at.
    through: Seq,
}

impl Pump {
    /// For a target; begins where the file says, or where the target was made to begin.
    #[must_use]
    pub fn of(syncs: Arc<Syncs>, target: Target, bell: watch::Receiver<u64>) -> Pump {
        if syncs.places.position(target.number).is_none() {
            syncs.places.begin(target.number, Seq(target.body.after));
        }
        let rng = SmallRng::seed_from_u64(now_us().cast_unsigned() ^ u64::from(target.number));
        let events = target.body.events();
        Pump { syncs, target, events, carrier: None, failures: 0, bell, rng }
    }

    /// Works until the process leaves.
    pub async fn run(mut self) {
        while !self.syncs.is_leaving() {
            self.look_at_target().await;
            if !self.target.body.is_enabled {
                self.hang_up().await;
                self.rest(IDLE).await;
                continue;
            }
            match self.turn().await {
                Ok(true) => self.failures = 0,
                Ok(false) => self.await_more().await,
                Err(failed) => self.fail(failed).await,
            }
        }
        self.hang_up().await;
    }

    /// Another version may say something else, and be somewhere else.
    async fn look_at_target(&mut self) {
        let object = self.syncs.engine.core().objects().get(Collection::SyncTarget, self.target.number);
        let Some(target) = object.and_then(|object| Target::of(&object)) else { return };
        if target.version != self.target.version {
            self.hang_up().await;
            self.events = target.body.events();
            self.target = target;
            self.failures = 0;
        }
    }

    async fn hang_up(&mut self) {
        if let Some(carrier) = self.carrier.take() {
            carrier.close().await;
        }
        self.syncs.note(self.target.number, |seen| seen.is_connected = false);
    }

    /// Sends the next batch; whether there was anything to look at.
    async fn turn(&mut self) -> Result<bool, Failed> {
        let number = self.target.number;
        if self.carrier.as_ref().is_some_and(|carrier| !carrier.is_open()) {
            self.hang_up().await;
            return Err(Failed::because("the connection ended"));
        }
        if self.carrier.is_none() {
            self.connect().await?;
        }
        let position = self.syncs.places.position(number).unwrap_or_default();
        if position >= self.syncs.engine.core().journal().durable_seq() {
            return Ok(false);
        }
        let Batch { messages, through } = self.read_on(position).await?;
        if messages.is_empty() {
            self.syncs.places.advance(number, through, &[], now_us());
            return Ok(true);
        }
        let Some(carrier) = &mut self.carrier else { return Ok(true) };
        let sent = carrier.send(&self.syncs.outbound, &messages).await;
        let acknowledged = sent.acknowledged.min(messages.len());
        let reached = match acknowledged.checked_sub(1).map(|last| messages[last].seq) {
            _ if acknowledged == messages.len() => through,
            Some(seq) => seq,
            None => position,
        };
        self.syncs.places.advance(number, reached, &[], now_us());
        self.syncs.note(number, |seen| {
            seen.delivered += acknowledged as u64;
            seen.is_connected = sent.failed.is_none();
        });
        match sent.failed {
            Some(failed) => Err(failed),
            None => Ok(true),
        }
    }

    async fn connect(&mut self) -> Result<(), Failed> {
        let body = &self.target.body;
        let password = match &body.sealed_password {
            None => None,
            Some(sealed) => {
                let no_key = || Failed::because("its password does not open: is it another folder's?");
                Some(self.syncs.hooks.unseal(sealed).ok_or_else(no_key)?)
            }
        };
        let who = Credentials { username: body.username.clone(), password };
        let carrier = Carrier::open(&self.syncs.outbound, &self.target, who).await?;
        // Calls are not connected before one of them was answered.
        if !matches!(carrier, Carrier::Http(_)) {
            self.syncs.note(self.target.number, |seen| seen.is_connected = true);
            tracing::info!(sync.target = self.target.number, kind = body.kind.name(), "a sync target is connected");
        }
        self.carrier = Some(carrier);
        Ok(())
    }

    async fn read_on(&self, position: Seq) -> Result<Batch, Failed> {
        let engine = &self.syncs.engine;
        let page = engine.feed(position, self.events, SYNC_BATCH_EVENTS_MAX, SYNC_LOOK_ENTRIES).await;
        let page = page.map_err(|error| Failed::because(format!("the journal could not be read: {error:?}")))?;
        let mut batch = Batch { messages: Vec::with_capacity(page.events.len()), through: page.through };
        let mut bytes = 0;
        for located in &page.events {
            let Some(kind) = EventKind::of(&located.entry) else { continue };
            let mut body = Vec::with_capacity(1024);
            self.syncs.hooks.write_event(engine.core(), located, kind, &mut body);
            bytes += body.len();
            if bytes > SYNC_BATCH_BYTES_MAX && !batch.messages.is_empty() {
                // The rest is for the next batch.
                batch.through = Seq(located.seq.0 - 1);
                break;
            }
            let id = format_id(IdKind::LoanEvent, located.seq.0);
            batch.messages.push(Message { seq: located.seq, id, kind: kind.name(), body: body.into() });
        }
        Ok(batch)
    }

    /// Notes what was wrong and waits.
    async fn fail(&mut self, failed: Failed) {
        // What broke is opened anew: nobody knows what is still on its way in it.
        self.hang_up().await;
        self.failures = self.failures.saturating_add(1);
        let wait = RETRY.delay(self.failures, failed.retry_after, &mut self.rng);
        let why: String = failed.why.chars().take(ERROR_CHARS_MAX).collect();
        if self.failures == 1 {
            tracing::warn!(
                sync.target = self.target.number,
                why,
                "a sync target does not take its events: it is tried again"
            );
        } else {
            tracing::debug!(sync.target = self.target.number, why, failures = self.failures, "still not");
        }
        self.syncs.note(self.target.number, |seen| {
            seen.failed += 1;
            seen.last_error = Some((now_us(), why));
        });
        self.rest(wait).await;
    }

    /// Until something is durable, the target changes, or it is time to look whether the connection is still there.
    async fn await_more(&mut self) {
        let engine = Arc::clone(&self.syncs.engine);
        let position = self.syncs.places.position(self.target.number).unwrap_or_default();
        tokio::select! {
            grown = engine.grown_beyond(position) => {
                if grown.is_err() {
                    // Nothing will be durable any more.
                    tokio::time::sleep(IDLE).await;
                }
            }
            _ = self.bell.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
        }
    }

    /// Until the time is up or the bell rings for this target: another version, or the end.
    async fn rest(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                rung = self.bell.changed() => {
                    let object = self.syncs.engine.core().objects().get(Collection::SyncTarget, self.target.number);
                    let is_other = object.is_some_and(|object| object.saved.version != self.target.version);
                    if rung.is_err() || is_other || self.syncs.is_leaving() {
                        return;
                    }
                }
            }
        }
    }
}
