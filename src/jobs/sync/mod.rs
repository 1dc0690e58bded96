//! Ledger sync: the journal's events, pushed to peers over HTTP, AMQP or MQTT.
//!
//! - [`target`]: what an operator has set up; the books keep it;
//! - [`carrier`]: one way to a peer, and what counts as its acknowledgement;
//! - [`pump`]: brings one target its events, in order;
//! - `amqp`, `mqtt`: brokers (cargo feature `bridges`);
//! - `commands`: the way back, payment commands from a queue (the same feature).
//!
//! A target is a **place** in the journal: what stands before it was acknowledged. Nothing is written for an event.
//!
//! Promise: a place moves only by an acknowledgement (HTTP 2xx, AMQP publisher confirm, MQTT PUBACK), so that after
//! any crash, here or there, what is not known to have arrived is sent again with the same id: at least once to
//! send, once to count. A peer that is away costs one sleeping task.

#[cfg(feature = "bridges")]
pub mod amqp;
pub mod carrier;
#[cfg(feature = "bridges")]
pub mod commands;
#[cfg(feature = "bridges")]
pub mod mqtt;
pub mod pump;
pub mod target;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::domain::ids::Seq;
use crate::domain::objects::Collection;
use crate::engine::Engine;

use super::outbound::dispatch::Outbound;
use super::webhooks::Hooks;
use super::webhooks::ledger::{Ledger, LedgerError};
use pump::Pump;
use target::Target;

/// How often somebody looks whether a target was made.
const ROUND: Duration = Duration::from_millis(500);

/// A target as it stands with us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to here was acknowledged, or is not for it.
    pub position: Seq,
    /// Entries of the journal between there and its end; not all of them need be for the target.
    pub lag: u64,
    /// Acknowledged since the process began.
    pub delivered: u64,
    /// Attempts that failed since the process began: to connect, or to have a batch acknowledged.
    pub failed: u64,
    /// Whether the last one worked, and what it left is still there.
    pub is_connected: bool,
    /// What was wrong with the last one that failed, and when, in microseconds since 1970.
    pub last_error: Option<(i64, String)>,
}

/// What a pump has seen; the place is the ledger's.
#[derive(Clone, Debug, Default)]
struct Seen {
    delivered: u64,
    failed: u64,
    is_connected: bool,
    last_error: Option<(i64, String)>,
}

/// All targets of a process.
#[derive(Debug)]
pub struct Syncs {
    engine: Arc<Engine>,
    outbound: Arc<Outbound>,
    hooks: Arc<dyn Hooks>,
    /// Places of targets. The webhooks' file has the same form; nothing is ever owed in this one.
    places: Ledger,
    bell: watch::Sender<u64>,
    leaves: AtomicBool,
    /// Guards what was seen of each target; held to look or to note.
    seen: Mutex<BTreeMap<u32, Seen>>,
    /// Guards which targets have a pump.
    pumps: Mutex<BTreeMap<u32, JoinHandle<()>>>,
}

impl Syncs {
    /// Opens the file of places and starts pushing, on the tasks of a runtime. Without a path the places end with
    /// the process.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn start(
        engine: Arc<Engine>,
        outbound: Arc<Outbound>,
        hooks: Arc<dyn Hooks>,
        path: Option<&Path>,
        runtime: &Handle,
    ) -> Result<Arc<Syncs>, LedgerError> {
        let syncs = Arc::new(Syncs {
            engine,
            outbound,
            hooks,
            places: Ledger::open(path)?,
            bell: watch::Sender::new(0),
            leaves: AtomicBool::new(false),
            seen: Mutex::default(),
            pumps: Mutex::default(),
        });
        runtime.spawn(look_after(Arc::downgrade(&syncs), runtime.clone()));
        Ok(syncs)
    }

    /// Whether the process leaves.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    /// Ends all pumps and writes down where they are; what is on its way is sent again by the next process.
    pub fn close(&self) {
        self.leaves.store(true, Ordering::Release);
        self.ring();
        for (_, pump) in std::mem::take(&mut *self.pumps.lock()) {
            pump.abort();
        }
        self.places.close();
    }

    /// Something about the targets has changed.
    pub fn ring(&self) {
        self.bell.send_modify(|count| *count += 1);
    }

    /// How a target stands with us.
    #[must_use]
    pub fn standing(&self, target: &Target) -> Standing {
        let position = self.places.position(target.number).unwrap_or(Seq(target.body.after));
        let newest = self.engine.core().journal().durable_seq();
        let seen = self.seen.lock().get(&target.number).cloned().unwrap_or_default();
        Standing {
            position,
            lag: newest.0.saturating_sub(position.0),
            delivered: seen.delivered,
            failed: seen.failed,
            is_connected: seen.is_connected,
            last_error: seen.last_error,
        }
    }

    fn note(&self, number: u32, note: impl FnOnce(&mut Seen)) {
        note(self.seen.lock().entry(number).or_default());
    }
}

/// Gives every target its pump.
async fn look_after(syncs: Weak<Syncs>, runtime: Handle) {
    loop {
        let mut bell = {
            let Some(syncs) = syncs.upgrade().filter(|syncs| !syncs.is_leaving()) else { return };
            let objects = syncs.engine.core().objects().all(Collection::SyncTarget);
            let mut pumps = syncs.pumps.lock();
            for object in objects {
                let number = object.saved.number;
                let is_there = pumps.get(&number).is_some_and(|pump| !pump.is_finished());
                let Some(target) = Target::of(&object).filter(|_| !is_there) else { continue };
                let pump = Pump::of(Arc::clone(&syncs), target, syncs.bell.subscribe());
                pumps.insert(number, runtime.spawn(pump.run()));
            }
            syncs.bell.subscribe()
        };
        // Whatever rings is looked at at once; what does not (a change by another way) within a round.
        let _ = tokio::time::timeout(ROUND, bell.changed()).await;
    }
}
