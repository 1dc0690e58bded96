//! Brings one endpoint its events.
//!
//! 1. New events, from behind its position on, become owed and are called out, up to a number at once; an endpoint
//!    that asked for order is called one event at a time, and none before the one before it was taken or died.
//! 2. What failed is tried again by Standard Webhooks' schedule. A receiver whose breaker is open, or that is busy,
//!    is not called at all for that time, which costs no attempt.
//! 3. When the breaker closes, all that waits is tried at once.
//! 4. 410 disables the endpoint, by a command like any other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::{FEED_PAGE_EVENTS, WEBHOOK_CALLS_MAX, WEBHOOK_LOOK_ENTRIES, WEBHOOK_OWED_MAX};
use crate::domain::ids::{IdKind, Moment, Seq, format_id};
use crate::domain::objects::Collection;
use crate::engine::command::{Command, ObjectChange, Origin};
use crate::engine::feed::{EventKind, Topic};

use super::super::outbound::backoff::{ordered_webhook_delay, webhook_delay};
use super::super::outbound::client::Call;
use super::super::outbound::destinations::NoPass;
use super::super::outbound::failure::CallError;
use super::super::outbound::signature::{ID_HEADER, SIGNATURE_HEADER, SigningKey, TIMESTAMP_HEADER, sign};
use super::Webhooks;
use super::endpoint::{Endpoint, EndpointStatus};
use super::ledger::{Attempt, Due};

/// How long nothing is looked at when nothing is known to come: a change of the endpoint rings earlier.
const IDLE: Duration = Duration::from_secs(5);
/// Until a call that was not let through is tried again, where nobody says when.
const BUSY: Duration = Duration::from_secs(1);
/// Characters of what a receiver said that are kept.
const SAID_BYTES_MAX: usize = 200;

/// How a call ended.
#[derive(Debug)]
pub enum Ended {
    /// The receiver has it.
    Taken(Attempt),
    /// It does not; with the wait that it asked for, and whether it can ever be otherwise.
    Failed(Attempt, Option<Duration>, Worth),
    /// The receiver wants no more of anything.
    Gone(Attempt, u32),
    /// The call was not made: the event could not be read.
    NotMade(Due),
    /// The call was not made: the receiver is left alone or busy, and may be called then.
    NoPass(Due, Duration),
}

/// Whether another attempt can end otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It can.
    Again,
    /// Only another URL would change it.
    Never,
}

/// One endpoint's, as a task.
pub struct Courier {
    webhooks: Arc<Webhooks>,
    endpoint: Endpoint,
    topic: Topic,
    keys: Arc<Vec<(Option<i64>, SigningKey)>>,
    running: BTreeSet<Seq>,
    calls: JoinSet<Ended>,
    /// The receiver had no room for a call: none is made before. By the clock that no one sets.
    paused_until: Option<Instant>,
    /// Rung when objects change, or the process leaves.
    bell: watch::Receiver<u64>,
    rng: SmallRng,
}

/// Now, microseconds since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Courier {
    /// For an endpoint; begins where the file says, or where the endpoint was made to begin.
    pub fn of(webhooks: Arc<Webhooks>, endpoint: Endpoint, bell: watch::Receiver<u64>) -> Courier {
        if webhooks.ledger.position(endpoint.number).is_none() {
            webhooks.ledger.begin(endpoint.number, Seq(endpoint.body.after));
        }
        let keys = Arc::new(webhooks.keys_of(&endpoint));
        let topic = endpoint.body.topic();
        let rng = SmallRng::seed_from_u64(now_us().cast_unsigned() ^ u64::from(endpoint.number));
        let (running, calls) = (BTreeSet::new(), JoinSet::new());
        Courier { webhooks, endpoint, topic, keys, running, calls, paused_until: None, bell, rng }
    }

    /// Works until the process leaves.
    pub async fn run(mut self) {
        while !self.webhooks.is_leaving() {
            self.look_at_endpoint();
            if self.endpoint.body.status != EndpointStatus::Enabled {
                self.rest(IDLE).await;
                continue;
            }
            let has_read = self.read_on().await;
            let next = self.call_out();
            if has_read && self.running.len() < self.calls_max() {
                continue;
            }
            self.rest(next).await;
        }
        // What is on its way is owed, and sent again by the next process: the receiver knows it by its id.
        self.calls.abort_all();
    }

    fn calls_max(&self) -> usize {
        if self.endpoint.body.ordered { 1 } else { WEBHOOK_CALLS_MAX }
    }

    /// Another version may say something else.
    fn look_at_endpoint(&mut self) {
        let core = self.webhooks.engine.core();
        let object = core.objects().get(Collection::WebhookEndpoint, self.endpoint.number);
        let Some(endpoint) = object.and_then(|object| Endpoint::of(&object)) else { return };
        if endpoint.version != self.endpoint.version {
            self.keys = Arc::new(self.webhooks.keys_of(&endpoint));
            self.topic = endpoint.body.topic();
            self.endpoint = endpoint;
        }
    }

    /// Owes it what has happened since; whether there was anything.
    async fn read_on(&mut self) -> bool {
        let (webhooks, number) = (Arc::clone(&self.webhooks), self.endpoint.number);
        let standing = webhooks.ledger.standing(number);
        let waits = self.endpoint.body.ordered && standing.owed > 0;
        if waits || standing.owed >= WEBHOOK_OWED_MAX {
            return false;
        }
        let engine = &webhooks.engine;
        if standing.position >= engine.core().journal().durable_seq() {
            return false;
        }
        let events_max = if self.endpoint.body.ordered { 1 } else { FEED_PAGE_EVENTS };
        let page = engine.feed(standing.position, self.topic, events_max, WEBHOOK_LOOK_ENTRIES).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(endpoint = number, ?error, "events for a webhook could not be read");
                tokio::time::sleep(BUSY).await;
                return false;
            }
        };
        // It may have begun again elsewhere meanwhile.
        if webhooks.ledger.position(number) == Some(standing.position) {
            let events: Vec<Seq> = page.events.iter().map(|located| located.seq).collect();
            webhooks.ledger.advance(number, page.through, &events, now_us());
        }
        true
    }

    /// Calls out what is due; how long until something else is.
    fn call_out(&mut self) -> Duration {
        // Nothing is read, written and signed for a receiver that is left alone; its breaker's closing rings the bell.
        if let Some(wait) = self.webhooks.left_alone(&self.endpoint) {
            return wait.clamp(Duration::from_millis(1), IDLE);
        }
        let wait = self.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if !wait.is_zero() {
            return wait;
        }
        let now = now_us();
        let room = self.calls_max().saturating_sub(self.running.len());
        let (ledger, number) = (&self.webhooks.ledger, self.endpoint.number);
        let (due, next) = if self.endpoint.body.ordered {
            let (due, next) = ledger.oldest_due(number, &self.running, now);
            (due.into_iter().collect(), next)
        } else {
            ledger.due(number, &self.running, now, room)
        };
        for due in due.into_iter().take(room) {
            self.running.insert(due.seq);
            let (webhooks, endpoint, keys) =
                (Arc::clone(&self.webhooks), self.endpoint.clone(), Arc::clone(&self.keys));
            self.calls.spawn(async move { webhooks.deliver(&endpoint, &keys, due).await });
        }
        let until = next.map_or(IDLE, |next| Duration::from_micros(u64::try_from(next - now).unwrap_or(0)));
        until.clamp(Duration::from_millis(1), IDLE)
    }

    /// Until something happens: a call ends, something is durable, the endpoint changes, or the time is up.
    async fn rest(&mut self, time: Duration) {
        let engine = Arc::clone(&self.webhooks.engine);
        let position = self.webhooks.ledger.position(self.endpoint.number).unwrap_or_default();
        let is_enabled = self.endpoint.body.status == EndpointStatus::Enabled;
        let wants_more =
            is_enabled && self.running.len() < self.calls_max() && position >= engine.core().journal().durable_seq();
        tokio::select! {
            Some(ended) = self.calls.join_next(), if !self.calls.is_empty() => {
                if let Ok(ended) = ended {
                    self.settle(ended).await;
                }
            }
            grown = engine.grown_beyond(position), if wants_more => {
                if grown.is_err() {
                    // Nothing will be durable any more; what is owed may still go out.
                    tokio::time::sleep(time).await;
                }
            }
            _ = self.bell.changed() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    async fn settle(&mut self, ended: Ended) {
        let number = self.endpoint.number;
        let ledger = &self.webhooks.ledger;
        let now = now_us();
        match ended {
            Ended::Taken(attempt) => {
                self.running.remove(&attempt.seq);
                self.paused_until = None;
                ledger.taken(number, attempt);
            }
            Ended::NotMade(due) => {
                self.running.remove(&due.seq);
                ledger.put_off(number, due.seq, due.turn, now.saturating_add(micros(BUSY)));
            }
            Ended::NoPass(due, wait) => {
                self.running.remove(&due.seq);
                // All that it is owed would fare the same: trying each costs as much as sending it.
                self.paused_until = Some(Instant::now() + wait.clamp(Duration::from_millis(50), BUSY));
            }
            Ended::Failed(attempt, retry_after, worth) => {
                self.running.remove(&attempt.seq);
                let wait = match worth {
                    Worth::Again if self.endpoint.body.ordered => {
                        ordered_webhook_delay(usize::from(attempt.attempt), retry_after, &mut self.rng)
                    }
                    Worth::Again => webhook_delay(usize::from(attempt.attempt), retry_after, &mut self.rng),
                    Worth::Never => None,
                };
                ledger.failed(number, attempt, wait.map(|wait| now.saturating_add(micros(wait))));
            }
            Ended::Gone(attempt, version) => {
                self.running.remove(&attempt.seq);
                ledger.failed(number, attempt, Some(now));
                // Of several that were on their way the first one says it; a place that was changed since said nothing.
                self.look_at_endpoint();
                if version == self.endpoint.version {
                    self.disable().await;
                }
            }
        }
    }

    /// 410: nothing more is sent, which is a change like any other.
    async fn disable(&mut self) {
        let mut body = self.endpoint.body.clone();
        body.status = EndpointStatus::Gone;
        let change = ObjectChange {
            collection: Collection::WebhookEndpoint,
            number: Some(self.endpoint.number),
            expected: Some(self.endpoint.version),
            body: body.write(),
        };
        let saved = self.webhooks.engine.submit(Command::SaveObject(Box::new(change)), Origin::default()).await;
        match saved {
            Ok(_) => tracing::warn!(
                endpoint = self.endpoint.number,
                "a webhook endpoint is gone (410): it is sent nothing more"
            ),
            Err(error) => tracing::warn!(
                endpoint = self.endpoint.number,
                ?error,
                "a webhook endpoint that is gone could not be disabled"
            ),
        }
        self.look_at_endpoint();
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl Webhooks {
    /// The keys of an endpoint, each with the moment until which it signs.
    fn keys_of(&self, endpoint: &Endpoint) -> Vec<(Option<i64>, SigningKey)> {
        let key = |secret: &super::endpoint::SealedSecret| {
            let text = self.hooks.unseal(&secret.sealed)?;
            Some((secret.until, SigningKey::parse(&text).ok()?))
        };
        let keys: Vec<_> = endpoint.body.secrets.iter().filter_map(key).collect();
        if keys.len() < endpoint.body.secrets.len() {
            tracing::error!(
                endpoint = endpoint.number,
                "a secret of a webhook endpoint does not open: is it another folder's?"
            );
        }
        keys
    }

    /// How long an endpoint's breaker lets nothing through; `None` when it may.
    fn left_alone(&self, endpoint: &Endpoint) -> Option<Duration> {
        let target = self.outbound.guard().check_url(&endpoint.body.url).ok()?;
        self.outbound.destinations().left_alone(&target.destination)
    }

    /// One attempt with an event of the books.
    async fn deliver(&self, endpoint: &Endpoint, keys: &[(Option<i64>, SigningKey)], due: Due) -> Ended {
        let read = self.engine.feed(Seq(due.seq.0 - 1), Topic::of(crate::engine::feed::EventKinds::all()), 1, 1).await;
        let event = read.ok().and_then(|page| page.events.into_iter().next());
        let Some((located, kind)) = event
            .and_then(|located| Some((EventKind::of(&located.entry)?, located)))
            .map(|(kind, located)| (located, kind))
        else {
            return Ended::NotMade(due);
        };
        let mut body = Vec::with_capacity(1024);
        self.hooks.write_event(self.engine.core(), &located, kind, &mut body);
        self.attempt(endpoint, keys, &format_id(IdKind::LoanEvent, due.seq.0), due, body.into()).await
    }

    /// One attempt.
    pub(super) async fn attempt(
        &self,
        endpoint: &Endpoint,
        keys: &[(Option<i64>, SigningKey)],
        id: &str,
        due: Due,
        body: Bytes,
    ) -> Ended {
        let at = now_us();
        let mut attempt = Attempt {
            seq: due.seq,
            turn: due.turn,
            at,
            attempt: due.attempts.saturating_add(1),
            status: 0,
            took_us: 0,
            error: String::new(),
            said: String::new(),
        };
        let signing: Vec<&SigningKey> =
            keys.iter().filter(|(until, _)| until.is_none_or(|until| at < until)).map(|(_, key)| key).collect();
        let seconds = u64::try_from(at / 1_000_000).unwrap_or_default();
        let mut call = Call::post_json(&endpoint.body.url, body.clone());
        let signed = sign(&signing, id, seconds, &body).ok().and_then(|signature| signature.parse().ok());
        let (Some(signature), Ok(id)) = (signed, id.parse()) else {
            attempt.error = "it could not be signed".into();
            return Ended::Failed(attempt, None, Worth::Again);
        };
        call.headers.insert(ID_HEADER, id);
        call.headers.insert(TIMESTAMP_HEADER, seconds.into());
        call.headers.insert(SIGNATURE_HEADER, signature);
        let answer = self.outbound.call(&call).await;
        attempt.took_us = u64::try_from(now_us() - at).unwrap_or_default();
        match answer {
            Ok(answer) => {
                attempt.status = answer.status;
                attempt.said = answer.snippet(SAID_BYTES_MAX);
                if answer.is_success() {
                    return Ended::Taken(attempt);
                }
                attempt.error = format!("it answered {}", answer.status);
                if answer.is_gone() {
                    return Ended::Gone(attempt, endpoint.version);
                }
                let retry_after = answer.retry_after(SystemTime::now());
                Ended::Failed(attempt, retry_after, Worth::Again)
            }
            Err(failure) => match failure.error {
                CallError::NoPass(NoPass::Open(Some(wait))) => Ended::NoPass(due, wait),
                CallError::NoPass(_) => Ended::NoPass(due, BUSY),
                error => {
                    let worth = if error.is_worth_retry() { Worth::Again } else { Worth::Never };
                    attempt.error = error.to_string().chars().take(SAID_BYTES_MAX).collect();
                    Ended::Failed(attempt, None, worth)
                }
            },
        }
    }

    /// The moment of the books.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.engine.core().clock().now()
    }
}
