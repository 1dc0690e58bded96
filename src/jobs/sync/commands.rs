//! Payment commands from an AMQP queue.
//!
//! A message is a command, `{"key": …, "body": {a transfer}}`. It is acknowledged when what it did is durable, and left
//! where it is, unacknowledged, while nobody can say. What was not acknowledged comes again after any crash and finds
//! its first answer under its key. With `reply_to` the answer is published there first, as a WebSocket would show it.
//!
//! What is refused goes to the queue named for that, published and confirmed before the command is let go of. Without
//! one it is rejected and not queued again, so that the broker hands it to its dead-letter exchange; a classic queue of
//! RabbitMQ does that without waiting for its disk, and a broker killed soon after has lost the dead letter.
//!
//! So many commands run at once as are prefetched; their order is not kept: who needs one after the other waits for
//! the reply of the first.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{AMQP_PREFETCH, SYNC_ANSWER_PATIENCE};

use super::super::outbound::backoff::Backoff;
use super::super::webhooks::courier::now_us;
use super::amqp::{HEARTBEAT_S, PERSISTENT, said, short};
use super::carrier::Failed;

/// Waits between connections, and between attempts at a command that nobody can answer now.
const RETRY: Backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(15) };

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the books, durably.
    Done,
    /// It never will be.
    Refused,
    /// Nobody can say now: too many at once, a full disk, a key that is not good at the moment.
    Later,
}

/// The answer to a command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What is to become of the message.
    pub verdict: Verdict,
    /// For `reply_to`: `posted` or `refused`, as JSON.
    pub body: Vec<u8>,
}

/// An answer on its way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Whoever carries commands out: the edge.
pub trait Commands: Send + Sync + fmt::Debug {
    /// Carries out a command and answers when that is durable. Asked twice, it does it once.
    fn answer(&self, message: Bytes) -> Answering<'_>;
}

/// Where commands come from.
#[derive(Clone)]
pub struct CommandSource {
    uri: AMQPUri,
    queue: ShortString,
    /// Where refused commands go, other than to the dead-letter exchange.
    refused: Option<ShortString>,
}

impl fmt::Debug for CommandSource {
    /// Never the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSource").field("queue", &self.queue.as_str()).finish_non_exhaustive()
    }
}

impl CommandSource {
    /// From a URL (`amqp://user:password@host:port/virtual-host`, or `amqps`), a queue's name, and the name of the queue
    /// that refused commands go to.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of(url: &str, queue: &str, refused: Option<&str>) -> Result<CommandSource, String> {
        let mut uri: AMQPUri = url.parse()?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.connection_timeout.get_or_insert(SYNC_ANSWER_PATIENCE.as_millis() as u64);
        if queue.is_empty() || refused == Some("") {
            return Err("the queue has no name".into());
        }
        if refused == Some(queue) {
            return Err("refused commands would come again for ever: their queue is another".into());
        }
        let named = |name: &str| short(name).map_err(|failed| failed.why);
        Ok(CommandSource { uri, queue: named(queue)?, refused: refused.map(named).transpose()? })
    }

    /// Takes commands until the task is aborted: what is not acknowledged then comes again.
    pub async fn run(self, commands: Arc<dyn Commands>) {
        let mut rng = SmallRng::seed_from_u64(now_us().cast_unsigned());
        let mut failures = 0_u32;
        loop {
            let began = tokio::time::Instant::now();
            let failed = self.consume(&commands).await;
            // A connection that held for a while begins the count anew.
            failures = if began.elapsed() > RETRY.cap { 1 } else { failures.saturating_add(1) };
            let queue = self.queue.as_str();
            if failures == 1 {
                tracing::warn!(queue, why = failed.why, "no commands come from the queue: it is tried again");
            } else {
                tracing::debug!(queue, why = failed.why, failures, "still no commands");
            }
            tokio::time::sleep(RETRY.delay(failures, None, &mut rng)).await;
        }
    }

    /// One connection, to its end.
    async fn consume(&self, commands: &Arc<dyn Commands>) -> Failed {
        let Ok(opened) = timeout(SYNC_ANSWER_PATIENCE, self.open()).await else {
            return Failed::because("the broker does not answer");
        };
        // The connection lives as long as its handle.
        let (_connection, channel, mut consumer) = match opened {
            Ok(opened) => opened,
            Err(failed) => return failed,
        };
        tracing::info!(queue = self.queue.as_str(), "payment commands are taken from the queue");
        let broker = Broker { channel, refused: self.refused.clone() };
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                delivery = poll_fn(|context| Pin::new(&mut consumer).poll_next(context)) => match delivery {
                    Some(Ok(delivery)) => {
                        running.spawn(carry_out(delivery, broker.clone(), Arc::clone(commands)));
                    }
                    Some(Err(error)) => return said(error),
                    None => return Failed::because("the broker ended it: is the queue still there?"),
                },
                Some(ended) = running.join_next(), if !running.is_empty() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(failed)) => return failed,
                    Err(_) => return Failed::because("a command broke off"),
                },
            }
        }
    }

    async fn open(&self) -> Result<(Connection, Channel, lapin::Consumer), Failed> {
        let properties = ConnectionProperties::default().with_connection_name("munim commands".into());
        let connection = Connection::connect_uri(self.uri.clone(), properties).await.map_err(said)?;
        let channel = connection.create_channel().await.map_err(said)?;
        channel.basic_qos(AMQP_PREFETCH, BasicQosOptions::default()).await.map_err(said)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(said)?;
        let (tag, options) = (short("munim")?, BasicConsumeOptions::default());
        let consumer = channel.basic_consume(self.queue.clone(), tag, options, FieldTable::default()).await;
        Ok((connection, channel, consumer.map_err(said)?))
    }
}

/// Where answers and refusals go.
#[derive(Clone)]
struct Broker {
    channel: Channel,
    refused: Option<ShortString>,
}

impl Broker {
    /// Publishes to a queue and waits until the broker has it. `Ok(false)`: there is no such queue.
    async fn publish(&self, to: &ShortString, body: &[u8], properties: BasicProperties) -> Result<bool, Failed> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent = self.channel.basic_publish(ShortString::default(), to.clone(), options, body, properties);
        match sent.await.map_err(said)?.await.map_err(said)? {
            Confirmation::Ack(returned) => Ok(returned.is_none()),
            Confirmation::Nack(Some(_)) => Ok(false),
            Confirmation::Nack(None) => Err(Failed::because("the broker could not keep an answer")),
            Confirmation::NotRequested => Err(Failed::because("the broker confirms nothing")),
        }
    }

    /// Lets go of a refused command, which then is somewhere else.
    async fn refuse(&self, delivery: &Delivery, command: &[u8], answer: &[u8]) -> Result<(), Failed> {
        let Some(to) = &self.refused else {
            let rejected = delivery.acker.reject(BasicRejectOptions { requeue: false }).await;
            return rejected.map(drop).map_err(said);
        };
        let mut headers = delivery.properties.headers().clone().unwrap_or_default();
        headers.insert("munim-queue".into(), AMQPValue::LongString(delivery.routing_key.as_str().into()));
        headers.insert("munim-answer".into(), AMQPValue::LongString(answer.into()));
        let properties = delivery.properties.clone().with_delivery_mode(PERSISTENT).with_headers(headers);
        if !self.publish(to, command, properties).await? {
            return Err(Failed::because(format!("refused commands cannot be put aside: no queue is named {to}")));
        }
        delivery.acker.ack(BasicAckOptions::default()).await.map(drop).map_err(said)
    }
}

/// One command: carried out, answered, acknowledged, in this order.
async fn carry_out(mut delivery: Delivery, broker: Broker, commands: Arc<dyn Commands>) -> Result<(), Failed> {
    let message = Bytes::from(std::mem::take(&mut delivery.data));
    let mut rng = SmallRng::seed_from_u64(delivery.delivery_tag ^ now_us().cast_unsigned());
    let mut attempts = 0_u32;
    let answer = loop {
        let answer = commands.answer(message.clone()).await;
        if answer.verdict != Verdict::Later {
            break answer;
        }
        attempts = attempts.saturating_add(1);
        tokio::time::sleep(RETRY.delay(attempts, None, &mut rng)).await;
        if !broker.channel.status().connected() {
            return Err(Failed::because("the connection ended"));
        }
    };
    if let Some(to) = delivery.properties.reply_to() {
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(short("application/json")?)
            .with_app_id(short("munim")?);
        let asked = delivery.properties.correlation_id().as_ref().or(delivery.properties.message_id().as_ref());
        if let Some(asked) = asked {
            properties = properties.with_correlation_id(asked.clone());
        }
        // Nobody need be waiting any more: then the broker gives it back, and that is no failure.
        let _is_there = broker.publish(to, &answer.body, properties).await?;
    }
    match answer.verdict {
        Verdict::Done => delivery.acker.ack(BasicAckOptions::default()).await.map(drop).map_err(said),
        _ => broker.refuse(&delivery, &message, &answer.body).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_url_and_a_queue_and_shows_no_password() {
        let source = CommandSource::of("amqps://till:geheim@mq.example:9000/books", "payments", Some("bad")).unwrap();
        assert_eq!((source.uri.authority.port, source.uri.vhost.as_str()), (9000, "books"));
        assert!(!format!("{source:?}").contains("geheim"));
        for (url, queue) in [("http://mq.example", "q"), ("mq.example", "q"), ("", "q"), ("amqp://mq.example", "")] {
            assert!(CommandSource::of(url, queue, None).is_err(), "{url} {queue}");
        }
        for (queue, refused) in [("q".repeat(256), None), ("q".into(), Some("q")), ("q".into(), Some(""))] {
            assert!(CommandSource::of("amqp://mq.example", &queue, refused).is_err(), "{queue} {refused:?}");
        }
    }
}
