//! Webhooks: the journal's events, brought to endpoints that owners have set up (Standard Webhooks 1.0).
//!
//! - [`endpoint`]: what an owner has set up; the books keep it;
//! - [`ledger`]: where each endpoint is in the journal, and what it is owed; a file of its own;
//! - [`courier`]: brings one endpoint its events.
//!
//! Promise: every event of an endpoint's topic arrives at least once, with the same id each time, or is a dead
//! letter that somebody can see and send again; an endpoint in trouble costs the others, and the books, nothing.

pub mod courier;
pub mod endpoint;
pub mod ledger;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::domain::ids::Seq;
use crate::domain::objects::Collection;
use crate::engine::Core;
use crate::engine::Engine;
use crate::engine::feed::EventKind;
use crate::engine::history::Located;

use super::outbound::breaker::State;
use super::outbound::dispatch::Outbound;
use courier::{Courier, Ended, now_us};
use endpoint::Endpoint;
use ledger::{Attempt, Due, Ledger, LedgerError, Owed, Standing};

/// What this folder is lent by the edge: how events are written, and how what is sealed is opened.
pub trait Hooks: Send + Sync + std::fmt::Debug {
    /// Appends an event as JSON.
    fn write_event(&self, core: &Core, located: &Located, kind: EventKind, out: &mut Vec<u8>);

    /// Appends an event that never happened, to try an endpoint with.
    fn write_test(&self, core: &Core, id: &str, out: &mut Vec<u8>);

    /// Opens a secret.
    fn unseal(&self, sealed: &str) -> Option<String>;
}

/// How often somebody looks whether an endpoint was made.
const ROUND: Duration = Duration::from_millis(500);

/// All webhooks of a process.
#[derive(Debug)]
pub struct Webhooks {
    engine: Arc<Engine>,
    outbound: Arc<Outbound>,
    hooks: Arc<dyn Hooks>,
    ledger: Ledger,
    bell: watch::Sender<u64>,
    leaves: AtomicBool,
    /// Guards which endpoints have a courier.
    couriers: Mutex<BTreeMap<u32, tokio::task::JoinHandle<()>>>,
}

impl Webhooks {
    /// Opens the file of deliveries and starts bringing events, on the tasks of a runtime.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn start(
        engine: Arc<Engine>,
        outbound: Arc<Outbound>,
        hooks: Arc<dyn Hooks>,
        path: Option<&Path>,
        runtime: &Handle,
    ) -> Result<Arc<Webhooks>, LedgerError> {
        let webhooks = Arc::new(Webhooks {
            engine,
            outbound,
            hooks,
            ledger: Ledger::open(path)?,
            bell: watch::Sender::new(0),
            leaves: AtomicBool::new(false),
            couriers: Mutex::default(),
        });
        runtime.spawn(look_after(Arc::downgrade(&webhooks), runtime.clone()));
        runtime.spawn(hurry(Arc::downgrade(&webhooks)));
        Ok(webhooks)
    }

    /// Whether the process leaves.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    /// Ends all couriers and writes down where they are.
    pub fn close(&self) {
        self.leaves.store(true, Ordering::Release);
        self.ring();
        for (_, courier) in std::mem::take(&mut *self.couriers.lock()) {
            courier.abort();
        }
        self.ledger.close();
    }

    /// Something about the endpoints has changed.
    pub fn ring(&self) {
        self.bell.send_modify(|count| *count += 1);
    }

    /// How an endpoint stands with us.
    #[must_use]
    pub fn standing(&self, endpoint: u32) -> Standing {
        self.ledger.standing(endpoint)
    }

    /// What is owed to it, the newest first.
    #[must_use]
    pub fn owed(&self, endpoint: u32, below: Option<Seq>, max: usize) -> Vec<(Seq, Owed)> {
        self.ledger.owed(endpoint, below, max)
    }

    /// The last attempts, the newest first.
    #[must_use]
    pub fn attempts(&self, endpoint: u32) -> Vec<Attempt> {
        self.ledger.attempts(endpoint)
    }

    /// An event of the books is sent (again), at once and with all its attempts before it.
    pub fn resend(&self, endpoint: u32, seq: Seq) {
        self.ledger.owe(endpoint, seq, now_us());
        self.ring();
    }

    /// Everything after an entry is sent again.
    pub fn replay(&self, endpoint: u32, after: Seq) {
        self.ledger.begin(endpoint, after);
        self.ring();
    }

    /// Sends an event that never happened, once, and says how that went.
    pub async fn test(&self, endpoint: &Endpoint, id: &str) -> Attempt {
        let keys: Vec<_> = endpoint
            .body
            .secrets
            .iter()
            .filter_map(|secret| {
                let text = self.hooks.unseal(&secret.sealed)?;
                Some((secret.until, super::outbound::signature::SigningKey::parse(&text).ok()?))
            })
            .collect();
        let mut body = Vec::with_capacity(512);
        self.hooks.write_test(self.engine.core(), id, &mut body);
        let due = Due { seq: Seq::NONE, attempts: 0, turn: 0 };
        match self.attempt(endpoint, &keys, id, due, body.into()).await {
            Ended::Taken(attempt) | Ended::Failed(attempt, ..) | Ended::Gone(attempt, _) => attempt,
            Ended::NotMade(..) | Ended::NoPass(..) => Attempt {
                turn: 0,
                seq: Seq::NONE,
                at: now_us(),
                attempt: 0,
                status: 0,
                took_us: 0,
                error: "the call was not made: the receiver is left alone or busy".into(),
                said: String::new(),
            },
        }
    }
}

/// Gives every endpoint its courier.
async fn look_after(webhooks: Weak<Webhooks>, runtime: Handle) {
    loop {
        let mut bell = {
            let Some(webhooks) = webhooks.upgrade().filter(|webhooks| !webhooks.is_leaving()) else { return };
            let objects = webhooks.engine.core().objects().all(Collection::WebhookEndpoint);
            let mut couriers = webhooks.couriers.lock();
            for object in objects {
                let number = object.saved.number;
                let is_there = couriers.get(&number).is_some_and(|courier| !courier.is_finished());
                let Some(endpoint) = Endpoint::of(&object).filter(|_| !is_there) else { continue };
                let courier = Courier::of(Arc::clone(&webhooks), endpoint, webhooks.bell.subscribe());
                couriers.insert(number, runtime.spawn(courier.run()));
            }
            webhooks.bell.subscribe()
        };
        // Whatever rings is looked at at once; what does not (a change by another way) within a round.
        let _ = tokio::time::timeout(ROUND, bell.changed()).await;
    }
}

/// A receiver whose breaker closes is well again: what waits for it need not wait for its hour.
async fn hurry(webhooks: Weak<Webhooks>) {
    let Some(mut changes) = webhooks.upgrade().map(|webhooks| webhooks.outbound.destinations().subscribe()) else {
        return;
    };
    loop {
        let change = match changes.recv().await {
            Ok(event) => Some(event),
            // Who closed meanwhile is not known: whoever is not left alone may be well.
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => None,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        let Some(webhooks) = webhooks.upgrade() else { return };
        if change.as_ref().is_some_and(|event| !matches!(event.change.to, State::Closed)) {
            continue;
        }
        for object in webhooks.engine.core().objects().all(Collection::WebhookEndpoint) {
            let Some(endpoint) = Endpoint::of(&object) else { continue };
            let Ok(target) = webhooks.outbound.guard().check_url(&endpoint.body.url) else { continue };
            let is_well = match &change {
                Some(event) => event.destination == target.destination,
                None => webhooks.outbound.destinations().left_alone(&target.destination).is_none(),
            };
            if is_well {
                webhooks.ledger.hurry(endpoint.number, now_us());
            }
        }
        webhooks.ring();
    }
}
