//! One way to a peer: it takes messages in order and says how many of the first the peer has acknowledged.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use crate::domain::ids::Seq;

use super::super::outbound::client::Call;
use super::super::outbound::dispatch::Outbound;
use super::target::{Target, TargetKind, place_of};

/// The media type of several events in one body (CloudEvents 1.0, HTTP binding 3.3).
const BATCH: HeaderValue = HeaderValue::from_static("application/cloudevents-batch+json");

/// The media type of one event (CloudEvents 1.0, structured mode).
#[cfg(feature = "bridges")]
pub const ONE: &str = "application/cloudevents+json; charset=utf-8";

/// Characters of what a peer said that are kept.
const SAID_BYTES_MAX: usize = 200;

/// An event on its way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its entry.
    pub seq: Seq,
    /// Its id, the same each time: what a receiver counts by.
    pub id: String,
    /// Its kind.
    pub kind: &'static str,
    /// CloudEvents JSON, as webhooks have it.
    pub body: Bytes,
}

/// What became of messages that were handed to a carrier.
#[derive(Debug)]
pub struct Sent {
    /// So many of the first are acknowledged.
    pub acknowledged: usize,
    /// What was wrong with the next one; the rest may or may not have arrived.
    pub failed: Option<Failed>,
}

/// Why a carrier cannot go on.
#[derive(Debug)]
pub struct Failed {
    /// For people.
    pub why: String,
    /// The wait that the peer asked for.
    pub retry_after: Option<Duration>,
}

impl Failed {
    /// Without a wait that was asked for.
    #[must_use]
    pub fn because(why: impl Into<String>) -> Failed {
        Failed { why: why.into(), retry_after: None }
    }
}

/// Whoever we are at a peer.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user; a token alone has none.
    pub username: Option<String>,
    /// What proves it.
    pub password: Option<String>,
}

impl std::fmt::Debug for Credentials {
    /// Never the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A way to a peer that is open.
#[derive(Debug)]
pub enum Carrier {
    /// Calls; nothing stays open that would have to be looked after.
    Http(HttpWay),
    /// A connection to a broker.
    #[cfg(feature = "bridges")]
    Amqp(Box<super::amqp::Publisher>),
    /// A connection to a broker.
    #[cfg(feature = "bridges")]
    Mqtt(Box<super::mqtt::Publisher>),
}

impl Carrier {
    /// Opens a way to a target.
    ///
    /// # Errors
    /// What was wrong.
    #[cfg_attr(not(feature = "bridges"), expect(clippy::unused_async, reason = "a broker is awaited"))]
    pub async fn open(outbound: &Outbound, target: &Target, who: Credentials) -> Result<Carrier, Failed> {
        let body = &target.body;
        if let Err((_, why)) = body.check() {
            return Err(Failed::because(why));
        }
        let place = place_of(outbound.guard(), body.kind, &body.url);
        let place = place.map_err(|why| Failed::because(format!("it is not called: {why}")))?;
        match body.kind {
            TargetKind::Http => HttpWay::to(&body.url, &who).map(Carrier::Http),
            #[cfg(feature = "bridges")]
            TargetKind::Amqp => {
                let publisher = super::amqp::Publisher::open(outbound, &place, target, who).await?;
                Ok(Carrier::Amqp(Box::new(publisher)))
            }
            #[cfg(feature = "bridges")]
            TargetKind::Mqtt => {
                let publisher = super::mqtt::Publisher::open(outbound, &place, target, who).await?;
                Ok(Carrier::Mqtt(Box::new(publisher)))
            }
            #[cfg(not(feature = "bridges"))]
            TargetKind::Amqp | TargetKind::Mqtt => {
                // `check` has refused it; the place was judged for nothing.
                let _ = place;
                Err(Failed::because("it was not built"))
            }
        }
    }

    /// Sends messages in order and waits for their acknowledgements, at most a known time.
    pub async fn send(&mut self, outbound: &Outbound, messages: &[Message]) -> Sent {
        match self {
            Carrier::Http(way) => way.send(outbound, messages).await,
            #[cfg(feature = "bridges")]
            Carrier::Amqp(publisher) => publisher.send(messages).await,
            #[cfg(feature = "bridges")]
            Carrier::Mqtt(publisher) => publisher.send(messages).await,
        }
    }

    /// Whether it is still open, as far as one can know without sending.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Carrier::Http(_) => true,
            #[cfg(feature = "bridges")]
            Carrier::Amqp(publisher) => publisher.is_open(),
            #[cfg(feature = "bridges")]
            Carrier::Mqtt(publisher) => publisher.is_open(),
        }
    }

    /// Ends it in the peer's own way, where it has one.
    #[cfg_attr(not(feature = "bridges"), expect(clippy::unused_async, reason = "a broker is awaited"))]
    pub async fn close(self) {
        match self {
            Carrier::Http(_) => {}
            #[cfg(feature = "bridges")]
            Carrier::Amqp(publisher) => publisher.close().await,
            #[cfg(feature = "bridges")]
            Carrier::Mqtt(publisher) => publisher.close().await,
        }
    }
}

/// Calls to a URL.
#[derive(Debug)]
pub struct HttpWay {
    url: String,
    authorization: Option<HeaderValue>,
}

impl HttpWay {
    /// With `Basic` where there is a user, else with the password as a bearer token.
    fn to(url: &str, who: &Credentials) -> Result<HttpWay, Failed> {
        let said = match who {
            Credentials { username: Some(user), password } => {
                let pair = format!("{user}:{}", password.as_deref().unwrap_or_default());
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            Credentials { username: None, password: Some(token) } => Some(format!("Bearer {token}")),
            Credentials { username: None, password: None } => None,
        };
        let header = |text: String| {
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| Failed::because("the password has characters that no header can have"))?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(HttpWay { url: url.to_owned(), authorization: said.map(header).transpose()? })
    }

    /// All of them in one call: 2xx says that the receiver has them all, anything else that it may have none.
    async fn send(&self, outbound: &Outbound, messages: &[Message]) -> Sent {
        let mut call = Call::post_json(&self.url, batch(messages));
        call.headers.insert(CONTENT_TYPE, BATCH);
        if let Some(authorization) = &self.authorization {
            call.headers.insert(AUTHORIZATION, authorization.clone());
        }
        let failed = match outbound.call(&call).await {
            Ok(answer) if answer.is_success() => return Sent { acknowledged: messages.len(), failed: None },
            Ok(answer) => Failed {
                why: format!("it answered {}: {}", answer.status, answer.snippet(SAID_BYTES_MAX)),
                retry_after: answer.retry_after(SystemTime::now()),
            },
            Err(failure) => Failed::because(failure.to_string()),
        };
        Sent { acknowledged: 0, failed: Some(failed) }
    }
}

fn batch(messages: &[Message]) -> Bytes {
    let mut body = BytesMut::with_capacity(messages.iter().map(|message| message.body.len() + 1).sum::<usize>() + 2);
    for (place, message) in messages.iter().enumerate() {
        body.put_u8(if place == 0 { b'[' } else { b',' });
        body.put_slice(&message.body);
    }
    body.put_u8(b']');
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_an_array_of_the_events_as_they_are() {
        let message = |seq: u64| Message {
            seq: Seq(seq),
            id: format!("evt_{seq}"),
            kind: "transfer.posted",
            body: format!("{{\"id\":\"evt_{seq}\"}}").into(),
        };
        assert_eq!(batch(&[message(1)]), r#"[{"id":"evt_1"}]"#);
        assert_eq!(batch(&[message(1), message(2)]), r#"[{"id":"evt_1"},{"id":"evt_2"}]"#);
    }

    #[test]
    fn a_user_is_basic_and_a_token_alone_is_a_bearer() {
        let shown = |username: Option<&str>, password: Option<&str>| {
            let who = Credentials { username: username.map(Into::into), password: password.map(Into::into) };
            let way = HttpWay::to("https://a.example/", &who).map_err(|failed| failed.why);
            way.map(|way| way.authorization.map(|value| value.to_str().unwrap().to_owned()))
        };
        assert_eq!(shown(Some("a"), Some("b")), Ok(Some("Basic YTpi".into())));
        assert_eq!(shown(None, Some("b")), Ok(Some("Bearer b".into())));
        assert_eq!(shown(None, None), Ok(None));
        assert!(shown(None, Some("a\nb")).is_err());
        let who = Credentials { username: Some("a".into()), password: Some("geheim".into()) };
        assert!(!format!("{who:?}").contains("geheim"));
    }
}
