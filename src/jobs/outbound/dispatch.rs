//! The door of this folder: guard, breaker, bulkhead, names and client, put together.

use std::net::SocketAddr;
use std::sync::Arc;

use super::breaker::Outcome;
use super::client::{Answer, Call, Client};
use super::connect::{Connector, Io, TrustError, TrustSettings};
use super::destinations::{DestinationSettings, Destinations};
use super::dns::{DnsReading, Names, Source, SystemNames};
use super::failure::{CallError, Failure, Timings, status_outcome};
use super::guard::{Destination, Guard, GuardSettings, SettingError};
use tokio::time::Instant;

/// All that may be set about calls to others.
#[derive(Clone, Debug, Default)]
pub struct OutboundSettings {
    /// Where they may go.
    pub guard: GuardSettings,
    /// How many at a time, and when a destination is left alone.
    pub destinations: DestinationSettings,
    /// Whom to believe.
    pub trust: TrustSettings,
}

/// Why calls cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting of the guard.
    #[error(transparent)]
    Guard(#[from] SettingError),
    /// The authorities.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Makes calls to others; one for the whole process.
#[derive(Debug)]
pub struct Outbound {
    client: Client,
    destinations: Arc<Destinations>,
}

impl Outbound {
    /// With the system's names. Reads the authorities; resolves and opens nothing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(settings: OutboundSettings) -> Result<Outbound, OpenError> {
        Outbound::with_names(settings, Box::new(SystemNames::default()))
    }

    /// With names of the caller's.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn with_names(settings: OutboundSettings, names: Box<dyn Source>) -> Result<Outbound, OpenError> {
        let guard = Guard::new(settings.guard)?;
        let connector = Connector::open(guard, Arc::new(Names::new(names)), &settings.trust)?;
        let destinations = Destinations::new(settings.destinations);
        Ok(Outbound { client: Client::new(connector), destinations })
    }

    /// The rules about URLs, for whoever takes one from a caller.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        self.client.connector().guard()
    }

    /// The breakers: their states, their changes, and an operator's hand on them.
    #[must_use]
    pub fn destinations(&self) -> &Arc<Destinations> {
        &self.destinations
    }

    /// What was counted about names.
    #[must_use]
    pub fn names(&self) -> DnsReading {
        self.client.connector().names().reading()
    }

    /// Connections that wait for their next call.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.client.idle()
    }

    /// Opens a connection for a language that is not HTTP: a broker's. Encrypted where the destination is; guarded as
    /// calls are, but by no breaker: whoever keeps a connection waits between attempts by himself.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn dial(&self, destination: &Destination) -> Result<Box<dyn Io>, CallError> {
        self.client.connector().dial(destination).await
    }

    /// The addresses that a destination may be connected to at this moment, for whoever opens the connection himself.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn addresses(&self, destination: &Destination) -> Result<Vec<SocketAddr>, CallError> {
        self.client.connector().addresses_in_time(destination).await
    }

    /// Whom to believe, for whoever makes a connection secret himself.
    #[must_use]
    pub fn tls_for_brokers(&self) -> Arc<rustls::ClientConfig> {
        self.client.connector().tls_for_brokers()
    }

    /// Makes a call when the destination's breaker and bulkhead let it through, and tells them how it
    /// ended. Ends within the call's `total` deadline and the longest wait for a turn together. A call
    /// that is dropped on its way frees all that it held.
    ///
    /// # Errors
    /// [`Failure`]; whether it is worth another try says [`CallError::is_worth_retry`].
    pub async fn call(&self, call: &Call) -> Result<Answer, Failure> {
        let started = Instant::now();
        let refused = |error: CallError| Failure {
            error,
            timings: Timings { total: started.elapsed(), wait: started.elapsed(), ..Timings::default() },
        };
        let target = self.guard().check_url(&call.url).map_err(|error| refused(error.into()))?;
        let pass = self.destinations.enter(&target.destination).await.map_err(|error| refused(error.into()))?;
        let wait = started.elapsed();
        let mut answer = self.client.call(call).await;
        let outcome = match &answer {
            Ok(answer) => status_outcome(answer.status),
            Err(failure) => failure.error.outcome(),
        };
        pass.settle(outcome);
        let timings = match &mut answer {
            Ok(answer) => &mut answer.timings,
            Err(failure) => &mut failure.timings,
        };
        timings.wait = wait;
        timings.total = started.elapsed();
        debug_assert!(outcome != Outcome::Abandoned || answer.is_err(), "an answer says something");
        answer
    }
}

#[cfg(test)]
mod tests;
