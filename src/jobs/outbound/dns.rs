//! Names into addresses, kept for as long as their records say.
//!
//! Promise: a name is asked for once in its TTL (bounded both ways), a name without addresses once in ten
//! seconds; memory is bounded; how long each resolution took is known. `/etc/hosts` comes first.
//!
//! The system's `getaddrinfo` tells no TTL and holds a thread while it waits: hickory's resolver asks the
//! servers of `/etc/resolv.conf` itself. It reads both files once, so they are looked at every few seconds
//! and the resolver made anew when one has changed: on an edge box the network comes and goes.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::{OUTBOUND_ADDRESSES_MAX, OUTBOUND_NAME_NEGATIVE_TTL, OUTBOUND_NAME_TTL_MAX, OUTBOUND_NAMES_MAX};

/// Shortest life of an answer. A TTL of zero would ask again for each of a hundred calls at once.
const TTL_MIN: Duration = Duration::from_secs(1);

/// Life of what `/etc/hosts` says: it has no TTL, and the file is looked at again as often.
const FILES_LOOK_EVERY: Duration = Duration::from_secs(5);

/// The longest resolution that the histogram tells from a longer one: a minute, µs.
const HISTOGRAM_US_MAX: u64 = 60_000_000;

/// How long one server of `resolv.conf` is waited for, and how often it is asked again.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
const SERVER_ATTEMPTS: usize = 2;

/// The files that say how names are resolved.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its addresses, IPv4 first; at most [`OUTBOUND_ADDRESSES_MAX`], at least one.
    pub addresses: Vec<IpAddr>,
    /// How long that holds: the shortest of its records.
    pub ttl: Duration,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no such name, or it has no address. May be set up tomorrow.
    #[error("the name has no address")]
    NoSuchName,
    /// The servers did not answer, or answered with trouble of their own.
    #[error("the name could not be resolved: {0}")]
    Unavailable(String),
}

/// A resolution under way.
pub type LookUp<'a> = Pin<Box<dyn Future<Output = Result<Answer, ResolveError>> + Send + 'a>>;

/// Who is asked when the cache does not know: the system's servers, or a test's table.
pub trait Source: Send + Sync {
    /// Asks. The caller bounds how long it waits.
    fn look_up<'a>(&'a self, name: &'a str) -> LookUp<'a>;
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsReading {
    /// Names answered from memory.
    pub hits: u64,
    /// Names asked for.
    pub misses: u64,
    /// Of those, how many gave no address, or none before the caller gave up.
    pub failures: u64,
    /// Time of a resolution, µs: half are at most that.
    pub p50_us: u64,
    /// µs: all but one in a hundred are at most that.
    pub p99_us: u64,
    /// µs: the longest.
    pub max_us: u64,
}

#[derive(Clone)]
struct Kept {
    answer: Result<Arc<[IpAddr]>, ResolveError>,
    until: Instant,
}

/// Names, cached.
pub struct Names {
    source: Box<dyn Source>,
    kept: moka::sync::Cache<String, Kept>,
    /// Taken once a resolution, never on a hit.
    took_us: Mutex<Histogram<u64>>,
    hits: AtomicU64,
    misses: AtomicU64,
    failures: AtomicU64,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("reading", &self.reading()).finish_non_exhaustive()
    }
}

impl Names {
    /// A cache in front of a source.
    #[must_use]
    pub fn new(source: Box<dyn Source>) -> Names {
        Names {
            source,
            kept: moka::sync::Cache::builder()
                .max_capacity(OUTBOUND_NAMES_MAX)
                .eviction_policy(moka::policy::EvictionPolicy::lru())
                // What is over is asked for anew anyhow; this only frees the memory.
                .time_to_live(OUTBOUND_NAME_TTL_MAX)
                .build(),
            took_us: Mutex::new(
                Histogram::new_with_bounds(1, HISTOGRAM_US_MAX, 3).expect("one minute in three digits is in bounds"),
            ),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// The addresses of a name, at most [`OUTBOUND_ADDRESSES_MAX`]. The caller bounds the wait; a wait
    /// that is cut is measured, and leaves nothing in the cache.
    ///
    /// # Errors
    /// [`ResolveError`], remembered for [`OUTBOUND_NAME_NEGATIVE_TTL`].
    pub async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, ResolveError> {
        let started = Instant::now();
        if let Some(kept) = self.kept.get(name).filter(|kept| started < kept.until) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return kept.answer;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let mut measured = Measured { names: self, started, is_failure: true };
        let answer = self.source.look_up(name).await;
        let now = Instant::now();
        let (answer, life) = match answer {
            Ok(Answer { addresses, ttl }) if !addresses.is_empty() => {
                let kept: Arc<[IpAddr]> = addresses.into_iter().take(OUTBOUND_ADDRESSES_MAX).collect();
                (Ok(kept), ttl.clamp(TTL_MIN, OUTBOUND_NAME_TTL_MAX))
            }
            Ok(_) => (Err(ResolveError::NoSuchName), OUTBOUND_NAME_NEGATIVE_TTL),
            Err(error) => (Err(error), OUTBOUND_NAME_NEGATIVE_TTL),
        };
        measured.is_failure = answer.is_err();
        drop(measured);
        self.kept.insert(name.to_owned(), Kept { answer: answer.clone(), until: now + life });
        answer
    }

    /// What was counted, for metrics.
    #[must_use]
    pub fn reading(&self) -> DnsReading {
        let took = self.took_us.lock();
        DnsReading {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            p50_us: took.value_at_quantile(0.5),
            p99_us: took.value_at_quantile(0.99),
            max_us: took.max(),
        }
    }

    /// The histogram itself, µs, for whoever exports all of it.
    #[must_use]
    pub fn took_us(&self) -> Histogram<u64> {
        self.took_us.lock().clone()
    }
}

/// A resolution under the watch: counted when it is dropped, so that one that its caller gave up, which is
/// the slowest of all, is in the histogram too.
struct Measured<'a> {
    names: &'a Names,
    started: Instant,
    is_failure: bool,
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.names.took_us.lock().saturating_record(us.max(1));
        if self.is_failure {
            self.names.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The servers of `/etc/resolv.conf`, and `/etc/hosts`.
pub struct SystemNames {
    /// Guards the pointer to the resolver; never held over an await.
    current: Mutex<Current>,
    /// Servers that stand in place of those of `resolv.conf`.
    config: Option<ResolverConfig>,
}

struct Current {
    tools: Option<Tools>,
    stamps: [Option<SystemTime>; 2],
    looked_at: Instant,
}

/// What was made of the files.
#[derive(Clone)]
struct Tools {
    resolver: TokioResolver,
    hosts: Arc<Hosts>,
}

impl fmt::Debug for SystemNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemNames").finish_non_exhaustive()
    }
}

impl Default for SystemNames {
    fn default() -> SystemNames {
        SystemNames::new(None)
    }
}

impl SystemNames {
    /// The system's servers, or the given ones. The files are read at the first look-up, so that a machine
    /// without a network starts all the same.
    #[must_use]
    pub fn new(config: Option<ResolverConfig>) -> SystemNames {
        let current = Current { tools: None, stamps: [None; 2], looked_at: Instant::now() };
        SystemNames { current: Mutex::new(current), config }
    }

    /// What the files say, read anew when one of them has changed.
    fn tools(&self) -> Result<Tools, ResolveError> {
        let mut current = self.current.lock();
        let now = Instant::now();
        let is_due = now.duration_since(current.looked_at) >= FILES_LOOK_EVERY;
        if let Some(tools) = &current.tools
            && !is_due
        {
            return Ok(tools.clone());
        }
        let changed_at = |path: &str| Path::new(path).metadata().and_then(|file| file.modified()).ok();
        let stamps = FILES.map(changed_at);
        current.looked_at = now;
        if let Some(tools) = &current.tools
            && stamps == current.stamps
        {
            return Ok(tools.clone());
        }
        let resolver = build(self.config.clone()).map_err(|error| ResolveError::Unavailable(error.to_string()))?;
        let tools = Tools { resolver, hosts: Arc::new(Hosts::from_system().unwrap_or_default()) };
        current.stamps = stamps;
        current.tools = Some(tools.clone());
        Ok(tools)
    }
}

fn build(config: Option<ResolverConfig>) -> Result<TokioResolver, NetError> {
    let mut builder = match config {
        Some(config) => TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()),
        None => TokioResolver::builder_tokio()?,
    };
    let options = builder.options_mut();
    options.timeout = SERVER_TIMEOUT;
    options.attempts = SERVER_ATTEMPTS;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // We look there ourselves: an entry has no TTL, and may be gone when the file is read again.
    options.use_hosts_file = ResolveHosts::Never;
    // The cache is ours, with the bounds above.
    options.cache_size = 0;
    builder.build()
}

impl Source for SystemNames {
    fn look_up<'a>(&'a self, name: &'a str) -> LookUp<'a> {
        Box::pin(async move {
            let Tools { resolver, hosts } = self.tools()?;
            // The full stop at the end keeps the search list of resolv.conf out: a receiver's name is whole.
            let whole = Name::from_ascii(format!("{name}.")).map_err(|_| ResolveError::NoSuchName)?;
            let listed = [RecordType::A, RecordType::AAAA]
                .into_iter()
                .filter_map(|kind| hosts.lookup_static_host(&Query::query(whole.clone(), kind)));
            let listed: Vec<IpAddr> = listed.flat_map(|found| addresses(found.answers())).collect();
            if !listed.is_empty() {
                return Ok(Answer { addresses: listed, ttl: FILES_LOOK_EVERY });
            }
            let found = resolver.lookup_ip(whole).await.map_err(read_error)?;
            let records = found.as_lookup().answers();
            let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
            let mut addresses = addresses(records);
            addresses.sort_by_key(IpAddr::is_ipv6);
            Ok(Answer { addresses, ttl: Duration::from_secs(u64::from(ttl)) })
        })
    }
}

fn addresses(records: &[Record]) -> Vec<IpAddr> {
    records.iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn read_error(error: NetError) -> ResolveError {
    if error.is_no_records_found() { ResolveError::NoSuchName } else { ResolveError::Unavailable(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
    use tokio::net::UdpSocket;
    use tokio::time::{advance, timeout};

    use super::*;

    /// Answers in turn, and says how long each is good for.
    struct Table {
        answers: Mutex<Vec<Result<Answer, ResolveError>>>,
        took: Duration,
    }

    impl Source for Table {
        fn look_up<'a>(&'a self, _: &'a str) -> LookUp<'a> {
            Box::pin(async {
                advance(self.took).await;
                self.answers.lock().pop().expect("the test asks no more often than the table answers")
            })
        }
    }

    fn good(last: u8, ttl_s: u64) -> Answer {
        let addresses = vec![IpAddr::from([192, 0, 2, last])];
        Answer { addresses, ttl: Duration::from_secs(ttl_s) }
    }

    fn names(mut answers: Vec<Result<Answer, ResolveError>>) -> Names {
        answers.reverse();
        Names::new(Box::new(Table { answers: Mutex::new(answers), took: Duration::from_millis(20) }))
    }

    async fn last(names: &Names) -> Result<u8, ResolveError> {
        names.resolve("a.example").await.map(|addresses| match addresses[0] {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(_) => 0,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_lives_as_long_as_its_ttl_within_bounds() {
        let names = names(vec![Ok(good(1, 60)), Ok(good(2, 0)), Ok(good(3, 1_000_000)), Ok(good(4, 60))]);
        assert_eq!(last(&names).await, Ok(1));
        advance(Duration::from_secs(59)).await;
        assert_eq!(last(&names).await, Ok(1));
        advance(Duration::from_secs(1)).await;
        assert_eq!(last(&names).await, Ok(2));
        advance(Duration::from_millis(999)).await;
        assert_eq!(last(&names).await, Ok(2), "a TTL of zero is a second");
        advance(Duration::from_millis(1)).await;
        assert_eq!(last(&names).await, Ok(3));
        advance(OUTBOUND_NAME_TTL_MAX.checked_sub(Duration::from_secs(1)).unwrap()).await;
        assert_eq!(last(&names).await, Ok(3));
        advance(Duration::from_secs(1)).await;
        assert_eq!(last(&names).await, Ok(4), "eleven days are an hour");
        let reading = names.reading();
        assert_eq!((reading.hits, reading.misses, reading.failures), (3, 4, 0));
        assert!((19_900..21_000).contains(&reading.p50_us), "{reading:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_addresses_is_asked_for_again_after_ten_seconds() {
        let down = Err(ResolveError::Unavailable("no server answers".to_owned()));
        let none = Ok(Answer { addresses: Vec::new(), ttl: Duration::from_secs(900) });
        let names = names(vec![Err(ResolveError::NoSuchName), down.clone(), none, Ok(good(1, 60))]);
        for expected in [Err(ResolveError::NoSuchName), down.map(|_| 0), Err(ResolveError::NoSuchName)] {
            assert_eq!(last(&names).await, expected);
            advance(Duration::from_secs(9)).await;
            assert_eq!(last(&names).await, expected, "it is remembered");
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(last(&names).await, Ok(1));
        assert_eq!(names.reading().failures, 3);
    }

    struct Silent;

    impl Source for Silent {
        fn look_up<'a>(&'a self, _: &'a str) -> LookUp<'a> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolution_that_was_given_up_is_measured() {
        let names = Names::new(Box::new(Silent));
        for _ in 0..2 {
            assert!(timeout(Duration::from_secs(5), names.resolve("a.example")).await.is_err());
        }
        let reading = names.reading();
        assert_eq!((reading.misses, reading.failures), (2, 2));
        assert!((4_990_000..5_020_000).contains(&reading.max_us), "{reading:?}");
    }

    /// A server that knows one name: `a.example` is 192.0.2.7 and 192.0.2.8, the second for 30 s; all
    /// else does not exist. RFC 1035, 4.1.
    async fn serve(socket: UdpSocket) {
        let mut packet = [0; 512];
        loop {
            let (bytes, from) = socket.recv_from(&mut packet).await.unwrap();
            let question_end = 12 + packet[12..bytes].iter().position(|byte| *byte == 0).unwrap() + 5;
            let question = packet[12..question_end].to_vec();
            let is_known = question.to_ascii_lowercase().starts_with(b"\x01a\x07example\0");
            let is_a = question[question.len() - 4..] == [0, 1, 0, 1];
            let records: &[(u8, u8)] = if is_known && is_a { &[(7, 90), (8, 30)] } else { &[] };
            let code = if is_known { 0 } else { 3 };
            let mut answer = packet[..2].to_vec();
            answer.extend([0x84 | (packet[2] & 1), 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
            answer.extend(question);
            for (last, ttl_s) in records {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, *ttl_s, 0, 4, 192, 0, 2, *last]);
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_server_is_asked_and_the_shortest_ttl_counts() {
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let server = tokio::spawn(serve(socket));
        let mut name_server = NameServerConfig::udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        name_server.connections = vec![connection];
        let source = SystemNames::new(Some(ResolverConfig::from_parts(None, Vec::new(), vec![name_server])));
        let mut answer = source.look_up("a.example").await.unwrap();
        answer.addresses.sort();
        let expected = vec![IpAddr::from([192, 0, 2, 7]), IpAddr::from([192, 0, 2, 8])];
        assert_eq!(answer, Answer { addresses: expected, ttl: Duration::from_secs(30) });
        assert_eq!(source.look_up("b.example").await, Err(ResolveError::NoSuchName));
        // Of the hosts file: every machine has that line.
        let here = source.look_up("localhost").await.unwrap();
        assert!(here.addresses.iter().all(IpAddr::is_loopback) && here.ttl == FILES_LOOK_EVERY, "{here:?}");
        server.abort();
    }
}
