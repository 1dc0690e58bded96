//! Whom a command talks to, and whom it shows its key: `http` on this machine, else `https`.
//!
//! Promise: a key goes over a wire in the clear only where `--insecure-http` says so. A server with a
//! certificate of its own is pinned by `--ca-file DATA/tls/cert.pem`: that one and no other is believed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hyper::Uri;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};

/// Where Debian keeps the certificates that it trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What is believed about a server.
#[derive(Clone, Debug, Default, Args)]
pub struct TrustArgs {
    /// PEM file of the certificates to trust, in place of the system's: an authority's, or the server's own.
    #[arg(long, alias = "ca", value_name = "FILE", conflicts_with = "insecure")]
    pub ca_file: Option<PathBuf>,
    /// Take any certificate: for a server that signed its own.
    #[arg(long)]
    pub insecure: bool,
    /// Send the key over plain HTTP to another machine: where something else encrypts.
    #[arg(long)]
    pub insecure_http: bool,
}

/// A server's address, read.
pub struct Target {
    /// A name or an address, without brackets.
    pub host: String,
    /// From the URL, else 80 or 443.
    pub port: u16,
    /// How to make the connection secret; `None` for plain HTTP.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Target {
    /// Reads the address, and the certificates if it asks for TLS.
    ///
    /// # Errors
    /// A sentence about what cannot be used; also where a key would be shown to whoever listens.
    pub fn read(url: &str, uri: &Uri, trust: &TrustArgs, has_key: bool) -> Result<Target, String> {
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{url} begins with neither http:// nor https://")),
        };
        let no_host = || format!("{url} names no host");
        let host = uri.host().ok_or_else(no_host)?.trim_matches(['[', ']']).to_owned();
        if !is_tls && has_key && !trust.insecure_http && !is_here(&host) {
            return Err(format!(
                "{url} would show the key to whoever listens on the way: use https://, or --insecure-http where something else encrypts"
            ));
        }
        let tls = if is_tls {
            let no_name = |_| format!("{url} names no host that a certificate can");
            Some((trust.connector()?, ServerName::try_from(host.clone()).map_err(no_name)?))
        } else {
            None
        };
        Ok(Target { host, port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }), tls })
    }

    /// For the header `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        let Target { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Whether what is sent to a host never leaves this machine (RFC 6761, 6.3, for the name).
fn is_here(host: &str) -> bool {
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    host.parse().is_ok_and(is_loopback) || host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

impl TrustArgs {
    fn connector(&self) -> Result<TlsConnector, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone { provider })).with_no_client_auth()
        } else {
            let path = self.ca_file.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS));
            builder.with_root_certificates(roots(path)?).with_no_client_auth()
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("could not read {}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(format!("{} holds no certificate", path.display())) } else { Ok(roots) }
}

/// Reads a file with one key.
///
/// # Errors
/// A sentence about what cannot be used.
pub fn read_key(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("could not read {}: {error}", path.display()))?;
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{} is not one line with a key", path.display()));
    }
    Ok(key.to_owned())
}

/// Takes any certificate, but not a broken signature: `--insecure` was asked for.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, trust: &TrustArgs, has_key: bool) -> Result<Target, String> {
        Target::read(url, &url.parse().unwrap(), trust, has_key)
    }

    #[test]
    fn a_key_leaves_the_machine_in_the_clear_only_where_it_was_said() {
        let careful = TrustArgs::default();
        for url in ["http://127.0.0.1:7070", "http://[::1]:7070", "http://localhost", "http://LOCALHOST.:1"] {
            assert!(read(url, &careful, true).is_ok(), "{url}");
        }
        let loose = TrustArgs { insecure_http: true, ..TrustArgs::default() };
        for url in ["http://10.0.0.9:7070", "http://books.branch", "http://localhost.example", "http://[2001:db8::1]"] {
            let refused = read(url, &careful, true).map(|_| ()).unwrap_err();
            assert!(refused.contains(url) && refused.contains("--insecure-http"), "{refused}");
            assert!(read(url, &careful, false).is_ok(), "{url}: there is nothing to show");
            assert!(read(url, &loose, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn an_address_is_read_whole() {
        let insecure = TrustArgs { insecure: true, ..TrustArgs::default() };
        let target = read("https://[::1]", &insecure, true).unwrap();
        assert_eq!((target.authority().as_str(), target.tls.is_some()), ("[::1]:443", true));
        assert_eq!(read("http://x", &insecure, false).unwrap().authority(), "x:80");
        assert!(read("ftp://x", &insecure, false).is_err());
    }

    #[test]
    fn a_file_without_a_certificate_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "").unwrap();
        let trust = TrustArgs { ca_file: Some(path.clone()), ..TrustArgs::default() };
        let refused = read("https://x", &trust, false).map(|_| ()).unwrap_err();
        assert!(refused.contains("ca.pem"), "{refused}");
    }
}
