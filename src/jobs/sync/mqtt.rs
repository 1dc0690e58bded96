//! MQTT 5 at `QoS` 1: a message is the peer's when its PUBACK is here.
//!
//! Each connection is a session of its own: what was not acknowledged when one broke is sent again by the pump, and
//! not by the library, so that one place knows what is owed. The socket is opened by the door of all calls to
//! others, at an address that the guard has judged, and made secret there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{PubAckReason, PublishProperties};
use rumqttc::{
    AsyncClient, Broker, ConnectionError, Event, EventLoop, Incoming, MqttOptions, PublishNotice, PublishNoticeError,
    PublishOptions, PublishResult, SessionMode,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{SYNC_ANSWER_PATIENCE, SYNC_BATCH_BYTES_MAX, SYNC_BATCH_EVENTS_MAX};

use super::super::outbound::dispatch::Outbound;
use super::carrier::{Credentials, Failed, Message, ONE, Sent};
use super::target::{Place, Target};

/// Seconds between signs of life.
const KEEP_ALIVE_S: u16 = 20;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection to a broker.
pub struct Publisher {
    client: AsyncClient,
    topic: String,
    is_open: Arc<AtomicBool>,
    /// What ended the connection, once it has.
    ended: Arc<parking_lot::Mutex<Option<String>>>,
    running: JoinHandle<()>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Connects and waits for the broker's word.
    ///
    /// # Errors
    /// What was wrong.
    pub async fn open(
        outbound: &Outbound,
        place: &Place,
        target: &Target,
        who: Credentials,
    ) -> Result<Publisher, Failed> {
        let topic = target.body.topic.clone().ok_or_else(|| Failed::because("it names no topic"))?;
        let stream = outbound.dial(&place.destination).await;
        let stream = stream.map_err(|error| Failed::because(error.to_string()))?;
        // A second connection with the same client id ends the first: each process has its own.
        let drawn = getrandom::u32().map_err(|error| Failed::because(error.to_string()))?;
        let client_id = format!("munim-{}-{drawn:08x}", target.number);
        let mut options = MqttOptions::new(client_id, Broker::tcp("broker", place.destination.port));
        options.set_session_mode(SessionMode::Clean).set_keep_alive(KEEP_ALIVE_S);
        let bytes_max = u32::try_from(SYNC_BATCH_BYTES_MAX).unwrap_or(u32::MAX);
        options.set_max_packet_size(Some(bytes_max));
        match (who.username, who.password) {
            (Some(user), Some(password)) => {
                options.set_credentials(user, password);
            }
            (Some(user), None) => {
                options.set_username(user);
            }
            (None, _) => {}
        }
        // The socket that is there is handed over, once: a second connection is a second `open`.
        let stream = Arc::new(parking_lot::Mutex::new(Some(stream)));
        options.set_socket_connector(move |_, _| {
            let stream = stream.lock().take();
            async move { stream.ok_or_else(|| std::io::Error::other("the connection ended")) }
        });
        let built = AsyncClient::builder(options).capacity(SYNC_BATCH_EVENTS_MAX).try_build();
        let (client, events) = built.map_err(|error| Failed::because(error.to_string()))?;
        let (is_open, ended) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (greeted, greeting) = oneshot::channel();
        let running = tokio::spawn(drive(events, greeted, Arc::clone(&is_open), Arc::clone(&ended)));
        let publisher = Publisher { client, topic, is_open, ended, running };
        match timeout(SYNC_ANSWER_PATIENCE, greeting).await {
            Ok(Ok(())) => Ok(publisher),
            Ok(Err(_)) => Err(publisher.why("it ended the connection")),
            Err(_) => Err(Failed::because("the broker does not answer")),
        }
    }

    /// Publishes all of them, then waits for one PUBACK after the other.
    pub async fn send(&mut self, messages: &[Message]) -> Sent {
        let mut notices = Vec::with_capacity(messages.len());
        for message in messages {
            match timeout(SYNC_ANSWER_PATIENCE, self.publish(message)).await {
                Ok(Ok(notice)) => notices.push(notice),
                // What was published before it is waited for below, and what is wrong is told there or next time.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        let mut acknowledged = 0;
        for notice in notices {
            let failed = match timeout(SYNC_ANSWER_PATIENCE, notice.wait_async()).await {
                Ok(answer) => match judged(answer) {
                    Ok(()) => {
                        acknowledged += 1;
                        continue;
                    }
                    Err(why) => self.why(&why),
                },
                Err(_) => Failed::because("the broker acknowledges nothing"),
            };
            return Sent { acknowledged, failed: Some(failed) };
        }
        let failed = (acknowledged < messages.len()).then(|| self.why("the broker takes nothing more"));
        Sent { acknowledged, failed }
    }

    async fn publish(&self, message: &Message) -> Result<PublishNotice, String> {
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            content_type: Some(ONE.to_owned()),
            user_properties: vec![("id".into(), message.id.clone()), ("type".into(), message.kind.into())],
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
        let sent = self.client.publish_tracked(self.topic.clone(), message.body.clone(), options).await;
        sent.map_err(|error| error.to_string())
    }

    /// What ended the connection, if something did.
    fn why(&self, otherwise: &str) -> Failed {
        Failed::because(self.ended.lock().clone().unwrap_or_else(|| otherwise.to_owned()))
    }

    /// Whether the broker is there still, as far as signs of life say.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        if self.is_open() && self.client.disconnect().await.is_ok() {
            // Whoever does not let go is let go of.
            let _ = timeout(GOODBYE, &mut self.running).await;
        }
        self.running.abort();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A PUBACK that says that somebody will get it. 0x10 says that nobody subscribes: the broker has dropped it.
fn judged(answer: Result<PublishResult, PublishNoticeError>) -> Result<(), String> {
    match answer {
        Ok(PublishResult::Qos1(ack)) => match ack.reason {
            PubAckReason::Success => Ok(()),
            PubAckReason::NoMatchingSubscribers => Err("nobody subscribes to the topic: the broker dropped it".into()),
            reason => Err(format!("the broker refuses it: {reason:?}")),
        },
        Ok(other) => Err(format!("the broker answered something else: {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Keeps a connection going until it ends; it is not opened again here.
async fn drive(
    mut events: EventLoop,
    greeted: oneshot::Sender<()>,
    is_open: Arc<AtomicBool>,
    ended: Arc<parking_lot::Mutex<Option<String>>>,
) {
    let mut greeted = Some(greeted);
    let why = loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                is_open.store(true, Ordering::Release);
                if let Some(greeted) = greeted.take() {
                    // Whoever opened it may have gone.
                    let _ = greeted.send(());
                }
            }
            Ok(_) => {}
            Err(ConnectionError::RequestsDone) => break "closed".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    *ended.lock() = Some(why);
    is_open.store(false, Ordering::Release);
}
