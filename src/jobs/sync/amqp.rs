//! AMQP 0.9.1 (RabbitMQ) with publisher confirms: a message is the peer's when the broker has confirmed it, which for
//! a persistent message in a durable queue is when it is on the broker's disk.
//!
//! A message that no queue gets is returned, since it is published as mandatory, and counts as not acknowledged:
//! nothing is lost to an exchange that nobody has bound yet. The socket is opened at an address that the guard has
//! judged right before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_rs::traits::Reactor;
use async_rs::{Tokio, TokioRuntime};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::tcp::RustlsConnector;
use lapin::types::ShortString;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::config::SYNC_ANSWER_PATIENCE;

use super::super::outbound::dispatch::Outbound;
use super::super::outbound::guard::{Destination, Host, Scheme};
use super::carrier::{Credentials, Failed, Message, ONE, Sent};
use super::target::{Place, Target};

/// Seconds between signs of life; a broker that gives none for twice as long is gone.
pub const HEARTBEAT_S: u16 = 10;

/// A message that survives the broker (AMQP 0.9.1, `delivery-mode`).
pub const PERSISTENT: u8 = 2;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection to a broker.
pub struct Publisher {
    connection: Connection,
    channel: Channel,
    exchange: ShortString,
    /// The event's kind where there is none.
    routing_key: Option<ShortString>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Connects, and asks for confirms.
    ///
    /// # Errors
    /// What was wrong.
    pub async fn open(
        outbound: &Outbound,
        place: &Place,
        target: &Target,
        who: Credentials,
    ) -> Result<Publisher, Failed> {
        let opened = timeout(SYNC_ANSWER_PATIENCE, async {
            let connection = connect(outbound, place, who).await?;
            let channel = connection.create_channel().await.map_err(said)?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(said)?;
            Ok((connection, channel))
        });
        let (connection, channel) = opened.await.map_err(|_| Failed::because("the broker does not answer"))??;
        let exchange = short(target.body.exchange.as_deref().unwrap_or_default())?;
        let routing_key = target.body.routing_key.as_deref().map(short).transpose()?;
        Ok(Publisher { connection, channel, exchange, routing_key })
    }

    /// Publishes all of them, then waits for one confirm after the other.
    pub async fn send(&mut self, messages: &[Message]) -> Sent {
        let mut confirms = Vec::with_capacity(messages.len());
        let mut broken = None;
        for message in messages {
            match timeout(SYNC_ANSWER_PATIENCE, self.publish(message)).await {
                Ok(Ok(confirm)) => confirms.push(confirm),
                Ok(Err(failed)) => broken = Some(failed),
                Err(_) => broken = Some(Failed::because("the broker takes nothing more")),
            }
            if broken.is_some() {
                break;
            }
        }
        let mut acknowledged = 0;
        for confirm in confirms {
            let failed = match timeout(SYNC_ANSWER_PATIENCE, confirm).await {
                Ok(Ok(Confirmation::Ack(None))) => {
                    acknowledged += 1;
                    continue;
                }
                Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => {
                    Failed::because("the broker returned it: no queue is bound for it")
                }
                Ok(Ok(Confirmation::Nack(None))) => Failed::because("the broker could not keep it"),
                Ok(Ok(Confirmation::NotRequested)) => Failed::because("the broker confirms nothing"),
                Ok(Err(error)) => said(error),
                Err(_) => Failed::because("the broker confirms nothing in time"),
            };
            return Sent { acknowledged, failed: Some(failed) };
        }
        Sent { acknowledged, failed: broken }
    }

    async fn publish(&self, message: &Message) -> Result<lapin::PublisherConfirm, Failed> {
        let key = match &self.routing_key {
            Some(key) => key.clone(),
            None => short(message.kind)?,
        };
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(short(&message.id)?)
            .with_type(short(message.kind)?)
            .with_content_type(short(ONE)?)
            .with_app_id(short("munim")?);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        self.channel.basic_publish(self.exchange.clone(), key, options, &message.body, properties).await.map_err(said)
    }

    /// Whether the broker is there still, as far as signs of life say.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Says goodbye.
    pub async fn close(self) {
        if self.is_open() {
            // Whoever does not let go is let go of.
            let _ = timeout(GOODBYE, self.connection.close(200, ShortString::from("bye"))).await;
        }
    }
}

/// A text of AMQP's short kind: at most 255 bytes.
///
/// # Errors
/// It is longer.
pub fn short(text: &str) -> Result<ShortString, Failed> {
    if text.len() > 255 {
        return Err(Failed::because("a name has more than 255 bytes"));
    }
    Ok(ShortString::from(text))
}

/// What the library says.
pub fn said(error: lapin::Error) -> Failed {
    Failed::because(error.to_string())
}

async fn connect(outbound: &Outbound, place: &Place, who: Credentials) -> Result<Connection, Failed> {
    let Destination { scheme, host, port, .. } = &place.destination;
    let addresses = outbound.addresses(&place.destination).await;
    let addresses = addresses.map_err(|error| Failed::because(error.to_string()))?;
    let host = match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    };
    let tls = (*scheme == Scheme::Https).then(|| RustlsConnector::from(outbound.tls_for_brokers()));
    let uri = AMQPUri {
        scheme: if tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            // What brokers have before anybody sets one up, from their own machine only.
            userinfo: AMQPUserInfo {
                username: who.username.unwrap_or_else(|| "guest".into()),
                password: who.password.unwrap_or_else(|| "guest".into()),
            },
            host,
            port: *port,
        },
        vhost: place.virtual_host.clone(),
        query: AMQPQueryString { heartbeat: Some(HEARTBEAT_S), ..AMQPQueryString::default() },
    };
    let addresses: Arc<[SocketAddr]> = addresses.into();
    let open = move |uri: AMQPUri, runtime: TokioRuntime| {
        let (addresses, tls) = (Arc::clone(&addresses), tls.clone());
        async move { open_one(&addresses, tls.as_ref(), &uri.authority.host, &runtime).await.map_err(Into::into) }
    };
    let properties = ConnectionProperties::default().with_connection_name("munim".into());
    Connection::connector(uri, TokioRuntime::tokio_current(), open, properties).await.map_err(said)
}

/// Tries one address after the other.
async fn open_one(
    addresses: &[SocketAddr],
    tls: Option<&RustlsConnector>,
    host: &str,
    runtime: &TokioRuntime,
) -> std::io::Result<AsyncTcpStream<<Tokio as Reactor>::TcpStream>> {
    let mut failed = std::io::Error::other("the name has no address");
    for address in addresses {
        match runtime.tcp_connect_addr(*address).await {
            Ok(socket) => {
                let stream = AsyncTcpStream::Plain(socket);
                return match tls {
                    Some(tls) => stream.into_rustls(tls, host).await,
                    None => Ok(stream),
                };
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
