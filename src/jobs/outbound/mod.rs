//! Calls to others: webhooks, a third party's ledger, alerts.
//!
//! Promise: a call to a URL that somebody gave us reaches no address behind our own wall, ends in a known
//! time whatever the receiver does, and a receiver that is in trouble costs the others nothing. Nothing
//! here knows the ledger, and nothing is kept on disk: attempts and their moments are the queue's.
//!
//! Reading order: `guard` judges URLs and addresses; `dns` resolves and remembers; `breaker` is the state
//! machine and `destinations` holds one for each receiver, with its bulkhead; `connect`, `pool` and
//! `client` make one call, `failure` says what became of it; `dispatch` puts them together. `signature`
//! and `backoff` are for whoever has messages to deliver.
//!
//! How a webhook's delivery calls it, an attempt of the queue at a time:
//!
//! ```no_run
//! use std::time::SystemTime;
//!
//! use munim::jobs::outbound::backoff::webhook_delay;
//! use munim::jobs::outbound::client::Call;
//! use munim::jobs::outbound::dispatch::{Outbound, OutboundSettings};
//! use munim::jobs::outbound::signature::{ID_HEADER, SIGNATURE_HEADER, SigningKey, TIMESTAMP_HEADER, sign};
//! use rand::SeedableRng;
//! use rand::rngs::SmallRng;
//!
//! # async fn deliver(body: &'static [u8], attempts: usize) -> Result<(), Box<dyn std::error::Error>> {
//! let outbound = Outbound::open(OutboundSettings::default())?; // once for the process
//! let key = SigningKey::draw_hmac()?; // once for the endpoint; its `reveal()` is shown to the owner
//!
//! let now = SystemTime::now();
//! let now_s = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
//! let mut call = Call::post_json("https://hooks.example.com/munim", body.into());
//! call.headers.insert(ID_HEADER, "evt_4711".parse()?);
//! call.headers.insert(TIMESTAMP_HEADER, now_s.into());
//! call.headers.insert(SIGNATURE_HEADER, sign(&[&key], "evt_4711", now_s, body)?.parse()?);
//!
//! let retry_after = match outbound.call(&call).await {
//!     Ok(answer) if answer.is_success() => return Ok(()), // delivered
//!     Ok(answer) if answer.is_gone() => return Ok(()),    // 410: disable the endpoint
//!     Ok(answer) => answer.retry_after(now),              // any other status: again
//!     Err(failure) if failure.error.is_worth_retry() => None,
//!     Err(failure) => return Err(failure.into()),         // the URL itself is refused
//! };
//! let mut rng = SmallRng::seed_from_u64(now_s); // once for the process
//! match webhook_delay(attempts, retry_after, &mut rng) {
//!     Some(_delay) => {} // the queue tries again after it
//!     None => {}         // the schedule is at its end: a dead letter
//! }
//! # Ok(())
//! # }
//! ```

pub mod backoff;
pub mod breaker;
pub mod client;
pub mod connect;
pub mod destinations;
pub mod dispatch;
pub mod dns;
pub mod failure;
pub mod guard;
pub mod pool;
pub mod signature;
