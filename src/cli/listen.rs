//! The sockets that are served: handed over by the service manager, or made here; and their TLS.
//!
//! 1. With `LISTEN_FDS` for this process (systemd's socket activation, or whoever does as it does) its
//!    sockets are served, all of them, and `--listen` is not looked at. Such a socket queues
//!    connections in the kernel while there is no process: a restart refuses nobody.
//! 2. Else `--listen` is bound, with the largest backlog that the kernel gives.
//! 3. Each socket gets TLS or not: with `--tls-cert` or `--tls-self-signed` all do (but loopback stays
//!    plain with `--plain-loopback`); without either those beyond loopback get a certificate of our
//!    own, unless `--insecure-http` says that something else encrypts.

#![expect(unsafe_code, reason = "a socket that was handed over is a number until somebody owns it")]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use socket2::{Domain, Protocol, Socket, Type};

use crate::http::accept::{ADDRESS_CONNECTIONS_MAX, Listener};
use crate::http::self_signed::make_once;
use crate::http::server::Plain;
use crate::http::tls::{TlsError, TlsFiles, TlsFront};

/// More than any kernel gives; it takes its own maximum (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

/// How sockets are served.
#[derive(Clone, Debug, Args)]
pub struct ListenArgs {
    /// Certificate chain (PEM), our own first; read again when the file changes.
    #[arg(long, env = "MUNIM_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of that certificate (PEM).
    #[arg(long, env = "MUNIM_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities (PEM) whose client certificates are believed; clients without one are let in too.
    #[arg(long, env = "MUNIM_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Speak TLS with a certificate of our own, made once in DATA/tls.
    #[arg(long, env = "MUNIM_TLS_SELF_SIGNED", conflicts_with = "tls_cert")]
    pub tls_self_signed: bool,
    /// Names or addresses in that certificate besides localhost and the address listened on.
    #[arg(long, env = "MUNIM_TLS_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub tls_names: Vec<String>,
    /// Speak plain HTTP on loopback addresses although others speak TLS.
    #[arg(long, env = "MUNIM_PLAIN_LOOPBACK")]
    pub plain_loopback: bool,
    /// Speak plain HTTP beyond loopback: where something in front encrypts.
    #[arg(long, env = "MUNIM_INSECURE_HTTP", conflicts_with_all = ["tls_cert", "tls_self_signed"])]
    pub insecure_http: bool,
    /// Connections served at once.
    #[arg(long, env = "MUNIM_CONNECTIONS_MAX", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 16_384)]
    pub connections_max: u32,
    /// Connections of one address of the network at once; loopback is not counted.
    #[arg(long, env = "MUNIM_ADDRESS_CONNECTIONS_MAX", value_parser = clap::value_parser!(u32).range(1..), default_value_t = ADDRESS_CONNECTIONS_MAX)]
    pub address_connections_max: u32,
}

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("could not listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// A socket that was handed over is none that can be served.
    #[error("could not use the sockets that were handed over (LISTEN_FDS)")]
    HandedOver(#[source] io::Error),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The sockets of this process, before anything is accepted.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<TcpListener>,
    /// They were made by somebody who keeps them when this process ends.
    pub are_handed_over: bool,
}

impl Sockets {
    /// Those that were handed over, else one at `address`.
    ///
    /// # Errors
    /// [`ListenError::Bind`], [`ListenError::HandedOver`].
    pub fn take(address: SocketAddr) -> Result<Sockets, ListenError> {
        let handed = handed_over().map_err(ListenError::HandedOver)?;
        if !handed.is_empty() {
            return Ok(Sockets { sockets: handed, are_handed_over: true });
        }
        let socket = bind(address).map_err(|error| ListenError::Bind(address, error))?;
        Ok(Sockets { sockets: vec![socket], are_handed_over: false })
    }

    /// Gives each socket its TLS and registers it with the current runtime. A certificate of our own
    /// lies in `data`/tls. Beside the listeners: what is to be watched for renewal, and the
    /// addresses as a client writes them.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn open(self, args: &ListenArgs, data: &Path) -> Result<Open, ListenError> {
        let mut open = Open { listeners: Vec::new(), front: None, urls: Vec::new(), first: ([0, 0, 0, 0], 0).into() };
        for socket in self.sockets {
            let address = socket.local_addr().map_err(ListenError::HandedOver)?;
            let is_local = address.ip().to_canonical().is_loopback();
            let is_asked_for = args.tls_cert.is_some() || args.tls_self_signed;
            let wants_tls = if is_local { is_asked_for && !args.plain_loopback } else { !args.insecure_http };
            let tls = if wants_tls { Some(open.front(args, data, address)?) } else { None };
            let scheme = if wants_tls { "https" } else { "http" };
            if open.urls.is_empty() {
                open.first = address;
            }
            open.urls.push(format!("{scheme}://{address}"));
            let socket = tokio::net::TcpListener::from_std(socket).map_err(ListenError::HandedOver)?;
            open.listeners.push(Listener { socket, tls });
        }
        Ok(open)
    }
}

/// Sockets that are ready to be served.
#[derive(Debug)]
pub struct Open {
    /// The sockets.
    pub listeners: Vec<Listener>,
    /// The TLS that they share.
    pub front: Option<Arc<TlsFront>>,
    /// Their addresses, with the scheme.
    pub urls: Vec<String>,
    /// The first address.
    pub first: SocketAddr,
}

impl Open {
    fn front(&mut self, args: &ListenArgs, data: &Path, address: SocketAddr) -> Result<Arc<TlsFront>, TlsError> {
        if let Some(front) = &self.front {
            return Ok(Arc::clone(front));
        }
        let files = match (&args.tls_cert, &args.tls_key) {
            (Some(cert), Some(key)) => TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: None },
            _ => make_once(&data.join("tls"), &own_names(args, address))?,
        };
        let front = TlsFront::open(TlsFiles { client_ca: args.tls_client_ca.clone(), ..files })?;
        tracing::info!(tls.fingerprint = front.fingerprint(), "TLS; the fingerprint is SHA-256 of the certificate");
        self.front = Some(Arc::clone(&front));
        Ok(front)
    }
}

/// Who may be spoken to in the clear.
#[must_use]
pub fn plain(args: &ListenArgs) -> Plain {
    if args.insecure_http { Plain::Everywhere } else { Plain::Loopback }
}

/// What a client may call this machine: its host name, and the address unless that is "any".
fn own_names(args: &ListenArgs, address: SocketAddr) -> Vec<String> {
    let mut names = args.tls_names.clone();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if !host.is_empty() && host != "(none)" {
        names.push(host.to_owned());
    }
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_canonical().to_string());
    }
    names
}

/// A socket that listens, with the largest backlog that the kernel gives.
///
/// # Errors
/// The address cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart does not wait for connections of the process before to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The sockets meant for this very process (`LISTEN_PID`), in order; none without activation.
fn handed_over() -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    for number in sd_notify::listen_fds()? {
        // SAFETY: the service manager opened this number for us, and this function, which is called
        // once in a process's life, is the only one that takes it.
        let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(number) });
        let is_served = socket.r#type()? == Type::STREAM && socket.local_addr()?.as_socket().is_some();
        if !is_served {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "one of them is no TCP socket"));
        }
        socket.set_nonblocking(true)?;
        // What we start (a verify, a child) shall not hold it.
        socket.set_cloexec(true)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: ListenArgs,
    }

    /// The address's URL without its port.
    fn scheme_of(address: &str, flags: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let args = CommandLine::try_parse_from(["munim"].iter().chain(flags)).unwrap().args;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _inside = runtime.enter();
        let sockets = Sockets { sockets: vec![bind(address.parse().unwrap()).unwrap()], are_handed_over: false };
        let open = sockets.open(&args, folder.path()).unwrap();
        assert_eq!(open.listeners[0].tls.is_some(), open.urls[0].starts_with("https:"));
        assert_eq!(open.front.is_some(), folder.path().join("tls/key.pem").exists());
        open.urls[0].rsplit_once(':').unwrap().0.to_owned()
    }

    #[test]
    fn beyond_loopback_everything_is_encrypted_unless_said_otherwise() {
        for (address, flags, url) in [
            ("127.0.0.1:0", &[][..], "http://127.0.0.1"),
            ("0.0.0.0:0", &[], "https://0.0.0.0"),
            ("0.0.0.0:0", &["--insecure-http"], "http://0.0.0.0"),
            ("127.0.0.1:0", &["--tls-self-signed"], "https://127.0.0.1"),
            ("127.0.0.1:0", &["--tls-self-signed", "--plain-loopback"], "http://127.0.0.1"),
            ("0.0.0.0:0", &["--tls-self-signed", "--plain-loopback"], "https://0.0.0.0"),
        ] {
            assert_eq!(scheme_of(address, flags), url, "{flags:?}");
        }
    }

    #[test]
    fn half_a_pair_and_contradictions_are_wrong_use() {
        for flags in [&["--tls-cert=a"][..], &["--tls-key=a"], &["--insecure-http", "--tls-self-signed"]] {
            assert!(CommandLine::try_parse_from(["munim"].iter().chain(flags)).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let held = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        assert!(matches!(Sockets::take(address), Err(ListenError::Bind(named, _)) if named == address));
    }
}
