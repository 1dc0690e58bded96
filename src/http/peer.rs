//! Who is at the other end of a connection: made once when it begins, shared by all its requests.

use std::net::{IpAddr, SocketAddr};

/// The other end of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; one of version 4 that came by a socket of version 6 is shown as version 4.
    pub ip: IpAddr,
    /// It is a process of this machine.
    pub is_loopback: bool,
    /// The connection is encrypted.
    pub is_tls: bool,
    /// SHA-256 of the DER form of the certificate that it showed and that `--tls-client-ca` vouches
    /// for, as `openssl x509 -fingerprint -sha256` prints it.
    pub certificate: Option<[u8; 32]>,
}

impl Peer {
    /// A peer that speaks plain HTTP from `address`.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Peer {
        let ip = address.ip().to_canonical();
        Peer { ip, is_loopback: ip.is_loopback(), is_tls: false, certificate: None }
    }

    /// A process of this machine, for tests that go to the edge without a socket.
    #[must_use]
    pub fn local() -> Peer {
        Peer::plain(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_every_guise() {
        for (address, is_loopback) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
            ("[::ffff:10.0.0.1]:1", false),
            ("[fe80::1]:1", false),
        ] {
            assert_eq!(Peer::plain(address.parse().unwrap()).is_loopback, is_loopback, "{address}");
        }
    }
}
