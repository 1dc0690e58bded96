//! Where a call may go: whoever can give us a URL must not make us knock at doors behind our own wall.
//!
//! Promise: no connection is opened to an address that [`Guard::check_address`] has not seen. A URL is
//! judged when it is given ([`Guard::check_url`]) and the address each time, after resolution, on the very
//! address that is then connected to: a name that changes its mind in between gains nothing.
//!
//! 1. A URL is `https` (`http` where a setting says so), without userinfo, of visible ASCII, with a host
//!    that is a plain name (other scripts in punycode) or a plain address: no `127.1`, no `0x7f000001`.
//! 2. An address is refused if it is of any kind that the public internet does not route
//!    (the special-purpose registries of RFC 6890 as they stand), unless a network of the setting holds it.
//! 3. An IPv6 address that carries an IPv4 one is judged by what it carries.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use hyper::Uri;

use crate::config::{OUTBOUND_ALLOW_MAX, OUTBOUND_URL_BYTES_MAX};

/// Ports that are called when a setting does not say otherwise: the web's own, and those that no system
/// service has. Below 1024 are SMTP, SSH and others that can be made to take HTTP for their own language.
pub const PORTS_DEFAULT: [RangeInclusive<u16>; 3] = [80..=80, 443..=443, 1024..=65_535];

/// Characters of a name, and of one of its labels (RFC 1035, 2.3.4).
const NAME_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

/// IPv4 networks that are refused, with what they are (RFC 6890 and its registry).
const REFUSED_V4: [(Ipv4Addr, u8, &str); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier's customers"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved or broadcast"),
];

/// IPv6 networks that are refused by name. What is neither here nor in `2000::/3` is refused, too: the
/// rest is not given out (RFC 4291, 2.4).
const REFUSED_V6: [(Ipv6Addr, u8, &str); 14] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "NAT64"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "NAT64"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discarded"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "for protocols"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "segment routing"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private (ULA)"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// Why a call is refused. No attempt will change it; the text is for whoever gave the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a URL, too long, or with characters that no URL has.
    #[error("not a URL of at most 2,048 visible ASCII characters without fragment")]
    Url,
    /// Neither `https` nor, where it is allowed, `http`.
    #[error("the URL must begin with {0}")]
    Scheme(&'static str),
    /// `user:password@`: it would be stored, shown and logged.
    #[error("the URL must not hold a user or a password")]
    Userinfo,
    /// No host, or none that is a plain name or address.
    #[error("the host must be a plain name (other scripts in punycode, xn--…) or a plain IP address")]
    Host,
    /// A port outside the setting.
    #[error("port {0} is not called")]
    Port(u16),
    /// An address that the public internet does not route, and no setting allows.
    #[error("the address {0} is not public: {1}")]
    Address(IpAddr, &'static str),
}

/// Why a setting is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not `address/prefix`, or with bits below the prefix.
    #[error("{0} is not a network such as 10.1.0.0/16")]
    Network(String),
    /// More than [`OUTBOUND_ALLOW_MAX`] networks.
    #[error("at most {OUTBOUND_ALLOW_MAX} networks can be allowed")]
    TooMany,
}

/// A network: an address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is in it. IPv4 and IPv6 are different worlds here.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(address) & mask == u32::from(first)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(address) & mask == u128::from(first)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Network, SettingError> {
        let wrong = || SettingError::Network(text.chars().take(64).collect());
        let (first, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let network = Network { first, prefix };
        let bits = if first.is_ipv4() { 32 } else { 128 };
        // 10.1.0.0/8 is a slip of the pen: 10.1.0.0/16 or 10.0.0.0/8 was meant.
        if prefix > bits || !network.holds(first) { Err(wrong()) } else { Ok(network) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// How a destination is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name, in small letters, without a full stop at its end.
    Name(String),
    /// An address, given as such.
    Address(IpAddr),
}

/// Whom a call goes to; calls to one destination share a breaker, a bulkhead and connections. Many receivers live
/// behind one host, and one that fails says nothing of the others: each path is a destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Its name or address.
    pub host: Host,
    /// From the URL, else 80 or 443.
    pub port: u16,
    /// A hash of the path, 0 for `/`. Paths of hooks are secrets, and this is shown.
    pub path_hash: u32,
}

impl fmt::Display for Destination {
    /// As it stands at the head of a URL, the port always; behind `#` the hash of a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.scheme == Scheme::Https { "https://" } else { "http://" })?;
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
        }?;
        if self.path_hash == 0 { Ok(()) } else { write!(f, "#{:08x}", self.path_hash) }
    }
}

/// A URL that may be called, as far as a URL alone can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whom.
    pub destination: Destination,
    /// What, for the request line: path and query, `/` at least.
    pub path: String,
}

/// The rules, from the settings.
#[derive(Clone, Debug)]
pub struct Guard {
    allow_http: bool,
    ports: Vec<RangeInclusive<u16>>,
    allowed: Vec<Network>,
}

/// What may be set.
#[derive(Clone, Debug)]
pub struct GuardSettings {
    /// Whether `http://` is called at all.
    pub allow_http: bool,
    /// Ports that are called; see [`PORTS_DEFAULT`].
    pub ports: Vec<RangeInclusive<u16>>,
    /// Networks that are called although they are not public.
    pub allowed: Vec<Network>,
}

impl Default for GuardSettings {
    fn default() -> GuardSettings {
        GuardSettings { allow_http: false, ports: PORTS_DEFAULT.to_vec(), allowed: Vec::new() }
    }
}

impl Guard {
    /// From the settings.
    ///
    /// # Errors
    /// [`SettingError::TooMany`].
    pub fn new(settings: GuardSettings) -> Result<Guard, SettingError> {
        let GuardSettings { allow_http, ports, allowed } = settings;
        if allowed.len() > OUTBOUND_ALLOW_MAX {
            return Err(SettingError::TooMany);
        }
        Ok(Guard { allow_http, ports, allowed })
    }

    /// Judges a URL: when an endpoint is made, so that its owner hears of it, and before each call.
    /// Opens and resolves nothing.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_url(&self, url: &str) -> Result<Target, Refused> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>');
        if url.len() > OUTBOUND_URL_BYTES_MAX {
            return Err(Refused::Url);
        }
        if !url.bytes().all(is_plain) {
            return Err(if url.is_ascii() { Refused::Url } else { Refused::Host });
        }
        let uri: Uri = url.parse().map_err(|_| Refused::Url)?;
        let schemes = if self.allow_http { "https:// or http://" } else { "https://" };
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") if self.allow_http => Scheme::Http,
            _ => return Err(Refused::Scheme(schemes)),
        };
        let authority = uri.authority().ok_or(Refused::Host)?;
        if authority.as_str().contains('@') {
            return Err(Refused::Userinfo);
        }
        let host = read_host(authority.host())?;
        let port = match (authority.port(), scheme) {
            (Some(port), _) => port.as_u16(),
            // `https://host:` has an authority that ends in a colon, and `https://host:99999` one that is no port.
            (None, _) if authority.as_str() != authority.host() => return Err(Refused::Url),
            (None, Scheme::Https) => 443,
            (None, Scheme::Http) => 80,
        };
        if !self.ports.iter().any(|range| range.contains(&port)) {
            return Err(Refused::Port(port));
        }
        if let Host::Address(address) = host {
            self.check_address(address)?;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let path_hash = hash_of(path.split('?').next().unwrap_or_default());
        Ok(Target { destination: Destination { scheme, host, port, path_hash }, path })
    }

    /// Judges an address, right before it is connected to.
    ///
    /// # Errors
    /// [`Refused::Address`].
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        let is_allowed = self.allowed.iter().any(|network| network.holds(address));
        if let IpAddr::V6(v6) = address
            && let Some(inner) = carried(v6)
        {
            // Allowing a translator allows no more than what it translates to.
            return if is_allowed { self.check_address(IpAddr::V4(inner)) } else { refuse(address) };
        }
        if is_allowed { Ok(()) } else { refuse(address) }
    }
}

fn hash_of(path: &str) -> u32 {
    if path == "/" {
        return 0;
    }
    let hash = blake3::hash(path.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d]).max(1)
}

/// The IPv4 address that a well-known translator would send to (RFC 6052, 2.1).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

fn refuse(address: IpAddr) -> Result<(), Refused> {
    let why = match address {
        IpAddr::V4(_) => {
            let is_in = |(first, prefix, _): &&(Ipv4Addr, u8, &str)| {
                Network { first: IpAddr::V4(*first), prefix: *prefix }.holds(address)
            };
            REFUSED_V4.iter().find(is_in).map(|(_, _, why)| *why)
        }
        IpAddr::V6(v6) => {
            let is_in = |(first, prefix, _): &&(Ipv6Addr, u8, &str)| {
                Network { first: IpAddr::V6(*first), prefix: *prefix }.holds(address)
            };
            let is_global = v6.segments()[0] & 0xe000 == 0x2000;
            let unassigned = if is_global { None } else { Some("not given out") };
            REFUSED_V6.iter().find(is_in).map(|(_, _, why)| *why).or(unassigned)
        }
    };
    why.map_or(Ok(()), |why| Err(Refused::Address(address, why)))
}

/// A plain address, or a name of letters, digits and hyphens. A last label that is a number is an
/// address in one of the old notations, which resolvers read in different ways.
fn read_host(host: &str) -> Result<Host, Refused> {
    if let Some(inside) = host.strip_prefix('[') {
        let inside = inside.strip_suffix(']').ok_or(Refused::Host)?;
        return inside.parse().map(|address| Host::Address(IpAddr::V6(address))).map_err(|_| Refused::Host);
    }
    if let Ok(address) = host.parse() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if name.len() > NAME_CHARS_MAX || is_number || !name.split('.').all(is_label) {
        return Err(Refused::Host);
    }
    Ok(Host::Name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow_http: bool, allowed: &[&str]) -> Guard {
        let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
        Guard::new(GuardSettings { allow_http, allowed, ..GuardSettings::default() }).unwrap()
    }

    #[test]
    fn urls_are_read_as_the_table_says() {
        let strict = guard(false, &[]);
        let good = |url: &str| strict.check_url(url).map(|target| format!("{} {}", target.destination, target.path));
        for (url, expected) in [
            ("https://hooks.example.com/in?a=1", "https://hooks.example.com:443#7c3b129a /in?a=1"),
            ("https://HOOKS.Example.com.", "https://hooks.example.com:443 /"),
            ("https://hooks.example.com?a", "https://hooks.example.com:443 /?a"),
            ("HTTPS://a.example:8443/", "https://a.example:8443 /"),
            ("https://8.8.8.8/", "https://8.8.8.8:443 /"),
            ("https://[2606:4700::1111]:8443/", "https://[2606:4700::1111]:8443 /"),
            ("https://xn--p1b6ci4b4b3a.example/", "https://xn--p1b6ci4b4b3a.example:443 /"),
        ] {
            assert_eq!(good(url).as_deref(), Ok(expected), "{url}");
        }
        let long = format!("https://a.example/{}", "a".repeat(OUTBOUND_URL_BYTES_MAX));
        let label = format!("https://{}.example/", "a".repeat(64));
        let userinfo = format!("https://user{}@a.example/", ":secret");
        let mut wrong = Vec::new();
        for (url, expected) in [
            ("", Refused::Url),
            ("/in", Refused::Scheme("https://")),
            ("a.example", Refused::Scheme("https://")),
            ("http://a.example/", Refused::Scheme("https://")),
            ("ftp://a.example/", Refused::Scheme("https://")),
            ("file:///etc/passwd", Refused::Url),
            (userinfo.as_str(), Refused::Userinfo),
            ("https://a.example@169.254.169.254/", Refused::Userinfo),
            ("https://a.example/#fragment", Refused::Url),
            ("https://a.example\\@b.example/", Refused::Url),
            ("https://a.example/ b", Refused::Url),
            ("https://a.example/\r\nHost: b", Refused::Url),
            (long.as_str(), Refused::Url),
            (label.as_str(), Refused::Host),
            ("https://हिन्दी.example/", Refused::Host),
            ("https://a..example/", Refused::Host),
            ("https://-a.example/", Refused::Host),
            ("https://127.1/", Refused::Host),
            ("https://2130706433/", Refused::Host),
            ("https://0x7f.0x1/", Refused::Host),
            ("https://0177.0.0.1/", Refused::Host),
            ("https://[fe80::1%25eth0]/", Refused::Host),
            ("https://a.example:22/", Refused::Port(22)),
            ("https://a.example:0/", Refused::Port(0)),
            ("https://a.example:/", Refused::Url),
            ("https://a.example:99999/", Refused::Url),
            ("https://127.0.0.1/", Refused::Address("127.0.0.1".parse().unwrap(), "loopback")),
            ("https://[::1]/", Refused::Address("::1".parse().unwrap(), "loopback")),
            ("https://[::ffff:10.0.0.1]/", Refused::Address("10.0.0.1".parse().unwrap(), "private")),
        ] {
            let found = good(url);
            if found != Err(expected) {
                wrong.push(format!("{url}: {found:?}"));
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        let plain = guard(true, &[]).check_url("http://a.example/").unwrap();
        assert_eq!((plain.destination.scheme, plain.destination.port), (Scheme::Http, 80));
    }

    #[test]
    fn every_address_that_is_not_public_is_refused() {
        let strict = guard(false, &[]);
        let refused = "0.0.0.0 0.1.2.3 10.255.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 \
            172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 \
            198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 \
            ::ffff:169.254.169.254 ::7f00:1 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 \
            2001:2::1 2001:10::1 2001:db8::1 2002:7f00:1::1 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 \
            fe80::1 febf::1 fec0::1 ff02::1 ::ffff:0:7f00:1";
        for address in refused.split_whitespace() {
            let address: IpAddr = address.parse().unwrap();
            let answer = strict.check_address(address);
            assert!(matches!(answer, Err(Refused::Address(..))), "{address} goes through");
        }
        let public = "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 \
            172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 198.17.255.255 198.20.0.0 223.255.255.255 \
            ::ffff:8.8.8.8 2001:200::1 2400:cb00::1 2606:4700::1111 3ffe::1";
        for address in public.split_whitespace() {
            assert_eq!(strict.check_address(address.parse().unwrap()), Ok(()), "{address}");
        }
    }

    #[test]
    fn a_setting_lets_through_its_network_and_nothing_else() {
        let loose = guard(false, &["10.1.0.0/16", "127.0.0.0/8", "fd00::/8", "64:ff9b::/96"]);
        for (address, is_open) in [
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.0.1", true),
            ("127.0.0.1", true),
            ("fd12::1", true),
            ("fc00::1", false),
            ("64:ff9b::808:808", true),
            ("64:ff9b::a01:1", true),
            ("64:ff9b::c0a8:101", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(loose.check_address(address.parse().unwrap()).is_ok(), is_open, "{address}");
        }
        assert!(guard(false, &["0.0.0.0/0", "::/0"]).check_address("127.0.0.1".parse().unwrap()).is_ok());
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "10.1.0.0/8", "::1/129", "fd00::1/8", "a/8", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        assert_eq!("10.1.0.0/16".parse::<Network>().unwrap().to_string(), "10.1.0.0/16");
        let many = vec!["10.1.0.0/16".parse().unwrap(); OUTBOUND_ALLOW_MAX + 1];
        let settings = GuardSettings { allowed: many, ..GuardSettings::default() };
        assert_eq!(Guard::new(settings).map(|_| ()), Err(SettingError::TooMany));
    }
}
