//! A connection to a destination: resolved, judged, opened, and made secret.
//!
//! Promise: the address that is connected to is the one that the guard has just judged. The name is
//! resolved once; there is no second look-up between the judgement and the connection that could say
//! something else. Addresses that are refused are left out; if none is left, that is the failure.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::dns::Names;
use super::failure::{CallError, Stage, Timings};
use super::guard::{Destination, Guard, Host, Scheme};
use crate::config::OUTBOUND_ADDRESSES_MAX;

/// How long each stage of a call may take. The whole ends when `total` is over, in whatever stage it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Looking up the name.
    pub resolve: Duration,
    /// Opening the TCP connection, all addresses together.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// Sending the request and waiting for the whole of the answer's headers.
    pub headers: Duration,
    /// The answer's body.
    pub body: Duration,
    /// All of it.
    pub total: Duration,
}

impl Default for Deadlines {
    /// Within the 15 to 30 s that Standard Webhooks recommends for the receiver's answer.
    fn default() -> Deadlines {
        Deadlines {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            headers: Duration::from_secs(15),
            body: Duration::from_secs(5),
            total: Duration::from_secs(30),
        }
    }
}

/// Whom to believe about who they are.
#[derive(Clone, Debug)]
pub struct TrustSettings {
    /// The authorities that this machine trusts.
    pub is_system_trusted: bool,
    /// PEM file of authorities beside them.
    pub ca_file: Option<PathBuf>,
}

impl Default for TrustSettings {
    fn default() -> TrustSettings {
        TrustSettings { is_system_trusted: true, ca_file: None }
    }
}

/// Why calls over TLS cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file with authorities cannot be read.
    #[error("could not read the authorities of {path} for calls to other servers: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is none to believe: every call would fail.
    #[error(
        "there are no authorities to believe for calls to other servers: install the system's, or name a file of them"
    )]
    Nobody,
    /// The TLS library refuses its own defaults.
    #[error("could not set up TLS for calls to other servers")]
    Tls(#[source] rustls::Error),
}

/// Bytes both ways, in the clear or not.
pub trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

/// Opens connections.
pub struct Connector {
    guard: Guard,
    names: Arc<Names>,
    tls: TlsConnector,
    /// The same trust for other languages than HTTP: nothing is said about which it will be.
    tls_for_brokers: Arc<ClientConfig>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl Connector {
    /// Reads the authorities.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn open(guard: Guard, names: Arc<Names>, trust: &TrustSettings) -> Result<Connector, TrustError> {
        let mut roots = RootCertStore::empty();
        if trust.is_system_trusted {
            // A machine has a few that are broken; those that are not will do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if let Some(path) = &trust.ca_file {
            add_file(&mut roots, path).map_err(|why| TrustError::File { path: path.clone(), why })?;
        }
        if roots.is_empty() {
            return Err(TrustError::Nobody);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls_for_brokers = Arc::new(config.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Connector { guard, names, tls: TlsConnector::from(Arc::new(config)), tls_for_brokers })
    }

    /// The rules about where calls go.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Opens a connection, and notes how far it came and what that took.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn connect(
        &self,
        destination: &Destination,
        deadlines: &Deadlines,
        stage: &mut Stage,
        timings: &mut Timings,
    ) -> Result<Box<dyn Io>, CallError> {
        self.open_stream(destination, &self.tls, deadlines, stage, timings).await
    }

    /// As [`Connector::connect`] with the usual deadlines, for another language than HTTP.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn dial(&self, destination: &Destination) -> Result<Box<dyn Io>, CallError> {
        let (mut stage, mut timings) = (Stage::Resolve, Timings::default());
        let tls = TlsConnector::from(Arc::clone(&self.tls_for_brokers));
        self.open_stream(destination, &tls, &Deadlines::default(), &mut stage, &mut timings).await
    }

    /// What the guard lets through of what the name stands for at this moment, within the usual deadline.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn addresses_in_time(&self, destination: &Destination) -> Result<Vec<SocketAddr>, CallError> {
        let found = timeout(Deadlines::default().resolve, self.addresses(destination)).await;
        found.map_err(|_| CallError::TimedOut(Stage::Resolve))?
    }

    /// Whom to believe, in other languages than HTTP.
    #[must_use]
    pub fn tls_for_brokers(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls_for_brokers)
    }

    async fn open_stream(
        &self,
        destination: &Destination,
        tls: &TlsConnector,
        deadlines: &Deadlines,
        stage: &mut Stage,
        timings: &mut Timings,
    ) -> Result<Box<dyn Io>, CallError> {
        *stage = Stage::Resolve;
        let started = Instant::now();
        let addresses = timeout(deadlines.resolve, self.addresses(destination)).await;
        timings.resolve = started.elapsed();
        let addresses = addresses.map_err(|_| CallError::TimedOut(Stage::Resolve))??;

        *stage = Stage::Connect;
        let started = Instant::now();
        let socket = open(&addresses, deadlines.connect).await;
        timings.connect = started.elapsed();
        let socket = socket?;
        if destination.scheme == Scheme::Http {
            return Ok(Box::new(socket));
        }

        *stage = Stage::Tls;
        let started = Instant::now();
        let name = match &destination.host {
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|error| CallError::Tls(error.to_string()))?
            }
            Host::Address(address) => ServerName::from(*address),
        };
        let stream = timeout(deadlines.tls, tls.connect(name, socket)).await;
        timings.tls = started.elapsed();
        let stream = stream.map_err(|_| CallError::TimedOut(Stage::Tls))?;
        Ok(Box::new(stream.map_err(|error| read_tls_error(&error))?))
    }

    /// Where to connect: what the guard lets through of what the name stands for at this moment.
    async fn addresses(&self, destination: &Destination) -> Result<Vec<SocketAddr>, CallError> {
        let found: Arc<[IpAddr]> = match &destination.host {
            Host::Name(name) => self.names.resolve(name).await?,
            Host::Address(address) => Arc::new([*address]),
        };
        let mut refused = None;
        let mut addresses = Vec::with_capacity(OUTBOUND_ADDRESSES_MAX);
        for address in found.iter().take(OUTBOUND_ADDRESSES_MAX) {
            match self.guard.check_address(*address) {
                // An IPv4 address in IPv6 dress was judged as IPv4, and is connected to as that.
                Ok(()) => addresses.push(SocketAddr::new(address.to_canonical(), destination.port)),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(refused) if addresses.is_empty() => Err(refused.into()),
            _ => Ok(addresses),
        }
    }
}

/// Tries one address after the other; each has its part of the time that is left.
async fn open(addresses: &[SocketAddr], allowed: Duration) -> Result<TcpStream, CallError> {
    let started = Instant::now();
    let mut failed = CallError::TimedOut(Stage::Connect);
    for (place, address) in addresses.iter().enumerate() {
        let parts = u32::try_from(addresses.len() - place).unwrap_or(1);
        let part = allowed.saturating_sub(started.elapsed()) / parts;
        match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // A request is one write, and its answer is waited for.
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Ok(Err(error)) => failed = CallError::Connect(error.to_string()),
            Err(_) => failed = CallError::TimedOut(Stage::Connect),
        }
    }
    Err(failed)
}

fn read_tls_error(error: &io::Error) -> CallError {
    let is_cut = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    );
    if is_cut { CallError::Reset } else { CallError::Tls(error.to_string()) }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.len() == before { Err("it holds no certificate".to_owned()) } else { Ok(()) }
}
