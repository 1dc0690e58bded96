//! TLS in front of a listening socket: certificates from files, renewed while running.
//!
//! Promise: a new certificate serves new connections within seconds of its files being replaced, and a
//! pair that does not fit together never replaces one that does. Open connections keep what they have.
//!
//! 1. Certificate chain, key and (optionally) the authorities of client certificates are read from PEM.
//! 2. TLS 1.3 and 1.2 by rustls; ALPN `h2`, then `http/1.1`; session tickets, so that a client that
//!    comes back saves a round trip. The ticket keys are made anew with every certificate: a client
//!    whose authority was taken away cannot return on an old ticket.
//! 3. A task looks at the files every few seconds, off the request path ([`watch_files`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Where a server's identity lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: our certificate first, then those that lead to its authority.
    pub cert: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
    /// PEM: authorities whose client certificates are believed; without it none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of that kind.
    #[error("could not read {0} as PEM")]
    Pem(PathBuf, #[source] pem::Error),
    /// A file holds nothing.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// Certificate and key do not fit, or neither is one.
    #[error("could not use the certificate with its key")]
    Pair(#[source] rustls::Error),
    /// The authorities of clients cannot be used.
    #[error("could not use the authorities of client certificates: {0}")]
    ClientCa(String),
    /// Files cannot be made.
    #[error("could not write {0}")]
    Write(PathBuf, #[source] io::Error),
    /// A certificate of our own cannot be made.
    #[error("could not make a certificate")]
    Make(#[source] rcgen::Error),
}

/// What a look at the files found.
#[derive(Debug)]
pub enum Look {
    /// Nothing new.
    Same,
    /// A new pair, in use from now on.
    Renewed,
    /// Something new that cannot be used; what was there stays.
    Unusable(TlsError),
}

/// TLS in front of a listening socket.
pub struct TlsFront {
    files: TlsFiles,
    /// Guards the pointer only; taken once a connection and once a renewal.
    current: RwLock<Arc<ServerConfig>>,
    /// Only the task that looks at the files takes it.
    seen: Mutex<Vec<Stamp>>,
    fingerprint: RwLock<String>,
}

/// What tells a file from its successor.
type Stamp = Option<(SystemTime, u64)>;

impl std::fmt::Debug for TlsFront {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsFront").field("files", &self.files).finish_non_exhaustive()
    }
}

impl TlsFront {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(files: TlsFiles) -> Result<Arc<TlsFront>, TlsError> {
        let seen = stamps(&files);
        let (config, fingerprint) = read(&files)?;
        Ok(Arc::new(TlsFront {
            files,
            current: RwLock::new(config),
            seen: Mutex::new(seen),
            fingerprint: RwLock::new(fingerprint),
        }))
    }

    /// SHA-256 of our certificate, as `openssl x509 -fingerprint -sha256` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.fingerprint.read().clone()
    }

    /// Reads the files again if one of them is another than at the last look. A file is looked at, not
    /// awaited: of a pair that is replaced one after the other the first look may see half, which is
    /// unusable, and the next look the rest.
    pub fn look(&self) -> Look {
        let mut seen = self.seen.lock();
        let now = stamps(&self.files);
        if *seen == now {
            return Look::Same;
        }
        *seen = now;
        match read(&self.files) {
            Ok((config, fingerprint)) => {
                *self.current.write() = config;
                *self.fingerprint.write() = fingerprint;
                Look::Renewed
            }
            Err(error) => Look::Unusable(error),
        }
    }

    /// Shakes hands; the fingerprint of the peer's certificate beside the stream, if it showed one.
    ///
    /// # Errors
    /// The peer vanished or speaks no TLS of ours.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Option<[u8; 32]>)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.read()));
        let stream = acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(sha256);
        Ok((stream, certificate))
    }
}

/// Looks at the files for ever, every `pause`.
pub async fn watch_files(front: Arc<TlsFront>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let looked = Arc::clone(&front);
        let Ok(found) = tokio::task::spawn_blocking(move || looked.look()).await else { return };
        match found {
            Look::Same => {}
            Look::Renewed => tracing::info!(tls.fingerprint = front.fingerprint(), "the TLS certificate was renewed"),
            Look::Unusable(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the new TLS files cannot be used; the certificate from before stays");
            }
        }
    }
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten().map(stamp).collect()
}

fn read(files: &TlsFiles) -> Result<(Arc<ServerConfig>, String), TlsError> {
    let chain = certificates(&files.cert)?;
    let fingerprint = shown(&sha256(&chain[0]));
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::Pem(files.key.clone(), error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| TlsError::ClientCa(error.to_string()))?;
            }
            // A client without a certificate may still come with a key: who must have both is decided there.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsError::ClientCa(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(TlsError::Pair)?;
    Ok((Arc::new(config), fingerprint))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| TlsError::Pem(path.to_owned(), error);
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let found = found.map_err(unreadable)?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}

fn sha256(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn shown(digest: &[u8; 32]) -> String {
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, Connection};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::super::self_signed::make_once;
    use super::*;

    /// A client that believes exactly the certificate in `cert`.
    fn client(cert: &Path, own: Option<&TlsFiles>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        certificates(cert).unwrap().into_iter().for_each(|certificate| roots.add(certificate).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
                builder.with_client_auth_cert(certificates(&files.cert).unwrap(), key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    /// Shakes hands once over loopback: what was agreed, and the client's fingerprint at the server.
    async fn shake(
        front: &Arc<TlsFront>,
        client: Arc<ClientConfig>,
    ) -> io::Result<(Option<Vec<u8>>, Option<[u8; 32]>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let front = Arc::clone(front);
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let (mut stream, certificate) = front.accept(stream).await?;
            stream.write_all(b"!").await?;
            io::Result::Ok(certificate)
        });
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(client).connect(name, stream).await?;
        stream.read_u8().await?;
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok((agreed, server.await.unwrap()?))
    }

    #[tokio::test]
    async fn http2_is_preferred_and_http1_is_spoken() {
        let folder = tempfile::tempdir().unwrap();
        let files = make_once(folder.path(), &[]).unwrap();
        let front = TlsFront::open(files.clone()).unwrap();
        for (offered, agreed) in [(&[&b"http/1.1"[..], b"h2"][..], &b"h2"[..]), (&[b"http/1.1"], b"http/1.1")] {
            let (alpn, certificate) = shake(&front, client(&files.cert, None, offered)).await.unwrap();
            assert_eq!(alpn.as_deref(), Some(agreed));
            assert_eq!(certificate, None);
        }
    }

    #[tokio::test]
    async fn a_replaced_pair_is_taken_and_a_broken_one_is_not() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = make_once(one.path(), &[]).unwrap();
        let other = make_once(two.path(), &[]).unwrap();
        let front = TlsFront::open(files.clone()).unwrap();
        let before = front.fingerprint();
        assert!(matches!(front.look(), Look::Same));
        let first_client = client(&files.cert, None, &[]);
        // The certificate of one with the key of the other.
        fs::write(&files.cert, fs::read(&other.cert).unwrap()).unwrap();
        touch(&files.cert, 1);
        assert!(matches!(front.look(), Look::Unusable(TlsError::Pair(_))));
        assert_eq!(front.fingerprint(), before);
        assert!(shake(&front, Arc::clone(&first_client)).await.is_ok(), "the old pair still serves");
        fs::write(&files.key, fs::read(&other.key).unwrap()).unwrap();
        touch(&files.key, 2);
        assert!(matches!(front.look(), Look::Renewed));
        assert_ne!(front.fingerprint(), before);
        assert!(shake(&front, client(&other.cert, None, &[])).await.is_ok());
        assert!(shake(&front, first_client).await.is_err(), "nobody has the old certificate any more");
    }

    fn touch(path: &Path, seconds: u64) {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[tokio::test]
    async fn a_client_certificate_is_optional_and_its_fingerprint_known() {
        let (ours, theirs, strangers) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = make_once(ours.path(), &[]).unwrap();
        let known = make_once(theirs.path(), &[]).unwrap();
        let stranger = make_once(strangers.path(), &[]).unwrap();
        let front = TlsFront::open(TlsFiles { client_ca: Some(known.cert.clone()), ..files.clone() }).unwrap();
        let (_, certificate) = shake(&front, client(&files.cert, None, &[])).await.unwrap();
        assert_eq!(certificate, None);
        let (_, certificate) = shake(&front, client(&files.cert, Some(&known), &[])).await.unwrap();
        assert_eq!(certificate, Some(sha256(&certificates(&known.cert).unwrap()[0])));
        assert!(shake(&front, client(&files.cert, Some(&stranger), &[])).await.is_err());
    }

    #[test]
    fn a_client_that_comes_back_resumes_by_its_ticket() {
        let folder = tempfile::tempdir().unwrap();
        let files = make_once(folder.path(), &[]).unwrap();
        let front = TlsFront::open(files.clone()).unwrap();
        let config = client(&files.cert, None, &[]);
        let kind = || {
            let name = ServerName::try_from("localhost").unwrap();
            let mut here: Connection = ClientConnection::new(Arc::clone(&config), name).unwrap().into();
            let server = rustls::ServerConnection::new(Arc::clone(&front.current.read())).unwrap();
            let mut there: Connection = server.into();
            for _ in 0..4 {
                let mut wire = Vec::new();
                while here.wants_write() {
                    here.write_tls(&mut wire).unwrap();
                }
                there.read_tls(&mut &wire[..]).unwrap();
                there.process_new_packets().unwrap();
                let mut wire = Vec::new();
                while there.wants_write() {
                    there.write_tls(&mut wire).unwrap();
                }
                here.read_tls(&mut &wire[..]).unwrap();
                here.process_new_packets().unwrap();
            }
            here.handshake_kind()
        };
        assert_eq!(kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(kind(), Some(rustls::HandshakeKind::Resumed));
    }

    #[test]
    fn files_that_are_none_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = make_once(folder.path(), &[]).unwrap();
        let missing = TlsFiles { key: folder.path().join("nowhere.pem"), ..files.clone() };
        assert!(matches!(TlsFront::open(missing), Err(TlsError::Pem(path, _)) if path.ends_with("nowhere.pem")));
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        assert!(matches!(TlsFront::open(TlsFiles { cert: empty, ..files }), Err(TlsError::Empty(_))));
    }
}
