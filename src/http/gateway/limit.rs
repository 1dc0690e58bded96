//! The stage `limit`: how often, and how many at once, a key and an address may ask.
//!
//! Promise: whoever stays within `burst` at once and `rate_per_s` over time is never refused for his
//! rate; whoever exceeds it is refused with the exact time after which the next request is let in.
//!
//! Rates are GCRA (ITU-T I.371, the virtual scheduling form): one number per caller, the theoretical
//! arrival time `tat` of the next request.
//! 1. `tat' = max(tat, now) + T`, with `T = 1 / rate`.
//! 2. If `tat' − now > burst · T`, the request is refused and nothing changes; it would be let in
//!    after `tat' − now − burst · T`.
//! 3. Otherwise `tat'` is kept, and `(burst · T − (tat' − now)) / T` more are let in at once.
//!
//! Addresses are counted beside keys, so that one address with many keys, or with none, is bounded
//! too. Requests with no good token are counted by address once more, and more narrowly. Loopback is exempt: all of a machine's clients share that address. IPv6 is counted by /64,
//! which is what one customer gets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use parking_lot::RwLock;

use crate::config::{ADDRESS_LIMIT, ADDRESSES_MAX, RateLimit, STRANGER_LIMIT};
use crate::http::problem::{Code, Outcome, Problem};
use crate::http::render::write_number;

/// One caller's count.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Theoretical arrival time, nanoseconds since the edge started.
    tat_ns: AtomicU64,
    in_flight: AtomicU32,
}

/// What a bucket said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let in; so many more would be, and after so long the burst is whole again.
    Admitted { remaining: u32, full_after: Duration },
    /// Refused for the rate; let in after so long.
    TooFast(Duration),
    /// Refused for the number of requests in flight; by the rate so many would be let in, and the burst be
    /// whole after so long.
    TooMany { remaining: u32, full_after: Duration },
}

impl Bucket {
    /// Counts a request at `now_ns`. An admitted one is in flight until [`Bucket::leave`].
    fn enter(&self, now_ns: u64, limit: &RateLimit) -> Verdict {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= limit.concurrency {
            self.leave();
            return self.too_many(now_ns, limit);
        }
        let (step_ns, burst_ns) = spans(limit);
        let mut tat = self.tat_ns.load(Ordering::Relaxed);
        loop {
            let ahead_ns = tat.max(now_ns) + step_ns - now_ns;
            if ahead_ns > burst_ns {
                self.leave();
                return Verdict::TooFast(Duration::from_nanos(ahead_ns - burst_ns));
            }
            match self.tat_ns.compare_exchange_weak(tat, now_ns + ahead_ns, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    let remaining = u32::try_from((burst_ns - ahead_ns) / step_ns).unwrap_or(u32::MAX);
                    return Verdict::Admitted { remaining, full_after: Duration::from_nanos(ahead_ns) };
                }
                Err(newer) => tat = newer,
            }
        }
    }

    fn too_many(&self, now_ns: u64, limit: &RateLimit) -> Verdict {
        let (step_ns, burst_ns) = spans(limit);
        let ahead_ns = self.tat_ns.load(Ordering::Relaxed).saturating_sub(now_ns);
        let remaining = u32::try_from(burst_ns.saturating_sub(ahead_ns) / step_ns).unwrap_or(u32::MAX);
        Verdict::TooMany { remaining, full_after: Duration::from_nanos(ahead_ns) }
    }

    fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Nanoseconds between two requests of the rate, and of a whole burst.
fn spans(limit: &RateLimit) -> (u64, u64) {
    let step_ns = 1_000_000_000 / u64::from(limit.rate_per_s.max(1));
    (step_ns, step_ns * u64::from(limit.burst.max(1)))
}

/// A request that was let in: its buckets count it until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    key: Arc<Bucket>,
    address: Option<Arc<Bucket>>,
    /// What the answer says about the caller's standing.
    pub standing: Standing,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.key.leave();
        if let Some(address) = &self.address {
            address.leave();
        }
    }
}

/// A caller's standing, for the headers `RateLimit` and `RateLimit-Policy`
/// (draft-ietf-httpapi-ratelimit-headers, version 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    limit: RateLimit,
    remaining: u32,
    /// Whole seconds, rounded up.
    full_after_s: u32,
    free: u32,
}

impl Standing {
    /// `"rate";q=…;w=…, "concurrency";q=…;qu="concurrent-requests"`: the quota of a window, and the second limit.
    #[must_use]
    pub fn policy(&self) -> Vec<u8> {
        let RateLimit { rate_per_s, burst, concurrency } = self.limit;
        let mut out = Vec::with_capacity(72);
        out.extend_from_slice(b"\"rate\";q=");
        write_number(&mut out, u64::from(burst));
        out.extend_from_slice(b";w=");
        write_number(&mut out, u64::from(burst.div_ceil(rate_per_s.max(1))));
        out.extend_from_slice(b", \"concurrency\";q=");
        write_number(&mut out, u64::from(concurrency));
        out.extend_from_slice(b";qu=\"concurrent-requests\"");
        out
    }

    /// `"rate";r=…;t=…, "concurrency";r=…`: what is left of both.
    #[must_use]
    pub fn standing(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.extend_from_slice(b"\"rate\";r=");
        write_number(&mut out, u64::from(self.remaining));
        out.extend_from_slice(b";t=");
        write_number(&mut out, u64::from(self.full_after_s));
        out.extend_from_slice(b", \"concurrency\";r=");
        write_number(&mut out, u64::from(self.free));
        out
    }
}

/// All counts of the edge.
#[derive(Debug)]
pub struct Limits {
    started: Instant,
    /// By API key number; as many as there are keys.
    keys: RwLock<HashMap<u64, Arc<Bucket>>>,
    /// By address; the longest unseen go first.
    addresses: Cache<IpAddr, Arc<Bucket>>,
    /// What one address may do.
    per_address: RateLimit,
    /// Requests with no good token, by address.
    strangers: Cache<IpAddr, Arc<Bucket>>,
    /// How many of them one address may send.
    per_stranger: RateLimit,
}

/// Who is refused for them.
const STRANGER: &str = "This address";

impl Limits {
    /// No counts yet.
    #[must_use]
    pub fn new() -> Limits {
        Limits::with(ADDRESS_LIMIT, STRANGER_LIMIT)
    }

    /// As [`Limits::new`], with other limits for one address: for its requests, and for those of them that
    /// have no good token.
    #[must_use]
    pub fn with(per_address: RateLimit, per_stranger: RateLimit) -> Limits {
        let (addresses, strangers) = (by_address(), by_address());
        Limits { started: Instant::now(), keys: RwLock::default(), addresses, per_address, strangers, per_stranger }
    }

    /// Counts a request of the key `owner` from an address; `None` is exempt from its limit.
    ///
    /// # Errors
    /// `rate_limited`, `concurrency_limited`, both with `Retry-After`; nothing is counted then.
    pub fn enter(&self, owner: u64, limit: &RateLimit, address: Option<IpAddr>) -> Outcome<Admitted> {
        let now_ns = self.now_ns();
        let address = address.map(|ip| self.addresses.get_with(whole(ip), Arc::default));
        if let Some(bucket) = &address {
            refuse_unless_admitted(bucket.enter(now_ns, &self.per_address), "This address")?;
        }
        let key = self.bucket(owner);
        let verdict = key.enter(now_ns, limit);
        match refuse_unless_admitted(verdict, "This key") {
            Ok((remaining, full_after)) => {
                let in_flight = key.in_flight.load(Ordering::Relaxed);
                let standing = Standing {
                    limit: *limit,
                    remaining,
                    full_after_s: u32::try_from(seconds_up(full_after)).unwrap_or(u32::MAX),
                    free: limit.concurrency.saturating_sub(in_flight),
                };
                Ok(Admitted { key, address, standing })
            }
            Err(mut problem) => {
                if let Some(bucket) = &address {
                    bucket.leave();
                }
                let (remaining, full_after_s) = match verdict {
                    Verdict::TooMany { remaining, full_after } => {
                        let is_whole = full_after.is_zero();
                        (
                            remaining,
                            if is_whole { 0 } else { u32::try_from(seconds_up(full_after)).unwrap_or(u32::MAX) },
                        )
                    }
                    _ => (0, problem.retry_after_s.unwrap_or_default()),
                };
                let free = limit.concurrency.saturating_sub(key.in_flight.load(Ordering::Relaxed));
                problem.standing = Some(Standing { limit: *limit, remaining, full_after_s, free });
                Err(problem)
            }
        }
    }

    /// Counts a request with no good token against its address.
    ///
    /// # Errors
    /// `rate_limited` when there were too many. Whoever has a good token is never refused for those of others
    /// behind the same router: 256 bits are not guessed, it is only the work and the log that are bounded.
    pub fn count_stranger(&self, address: Option<IpAddr>) -> Outcome<()> {
        let Some(ip) = address else { return Ok(()) };
        let bucket = self.strangers.get_with(whole(ip), Arc::default);
        let verdict = bucket.enter(self.now_ns(), &self.per_stranger);
        if let Verdict::Admitted { .. } = verdict {
            bucket.leave();
        }
        refuse_unless_admitted(verdict, STRANGER).map(drop)
    }

    /// Nanoseconds since the edge started.
    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn bucket(&self, owner: u64) -> Arc<Bucket> {
        if let Some(bucket) = self.keys.read().get(&owner) {
            return Arc::clone(bucket);
        }
        Arc::clone(self.keys.write().entry(owner).or_default())
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new()
    }
}

fn by_address() -> Cache<IpAddr, Arc<Bucket>> {
    Cache::builder()
        .max_capacity(ADDRESSES_MAX)
        .eviction_policy(moka::policy::EvictionPolicy::lru())
        .time_to_idle(Duration::from_secs(600))
        .build()
}

fn refuse_unless_admitted(verdict: Verdict, who: &str) -> Outcome<(u32, Duration)> {
    match verdict {
        Verdict::Admitted { remaining, full_after } => Ok((remaining, full_after)),
        Verdict::TooFast(after) => {
            let detail = format!("{who} asks faster than it may. Nothing was done; `Retry-After` says when to go on.");
            let mut problem = Problem::new(Code::RateLimited, detail);
            problem.retry_after_s = Some(u32::try_from(seconds_up(after)).unwrap_or(u32::MAX));
            Err(problem)
        }
        Verdict::TooMany { .. } => {
            let detail = format!("{who} has too many requests in flight. Nothing was done; wait for one to end.");
            Err(Problem::new(Code::ConcurrencyLimited, detail))
        }
    }
}

/// Whole seconds, never zero.
fn seconds_up(span: Duration) -> u64 {
    (span.as_secs() + u64::from(span.subsec_nanos() > 0)).max(1)
}

/// The part of an address that belongs to one subscriber.
fn whole(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: RateLimit = RateLimit { rate_per_s: 10, burst: 5, concurrency: 3 };

    fn enter_and_leave(bucket: &Bucket, now_ns: u64) -> Verdict {
        let verdict = bucket.enter(now_ns, &LIMIT);
        if matches!(verdict, Verdict::Admitted { .. }) {
            bucket.leave();
        }
        verdict
    }

    #[test]
    fn a_burst_is_let_in_at_once_and_the_next_one_is_told_exactly_when() {
        let bucket = Bucket::default();
        for left in (0..5).rev() {
            let verdict = enter_and_leave(&bucket, 1_000);
            assert!(matches!(verdict, Verdict::Admitted { remaining, .. } if remaining == left), "{verdict:?}");
        }
        assert_eq!(enter_and_leave(&bucket, 1_000), Verdict::TooFast(Duration::from_millis(100)));
        assert!(matches!(enter_and_leave(&bucket, 100_000_999), Verdict::TooFast(_)));
        assert!(matches!(enter_and_leave(&bucket, 100_001_000), Verdict::Admitted { remaining: 0, .. }));
    }

    #[test]
    fn requests_in_flight_are_bounded_and_a_refused_one_takes_no_place() {
        let bucket = Bucket::default();
        for _ in 0..3 {
            assert!(matches!(bucket.enter(0, &LIMIT), Verdict::Admitted { .. }));
        }
        let full_after = Duration::from_millis(300);
        assert_eq!(bucket.enter(0, &LIMIT), Verdict::TooMany { remaining: 2, full_after }, "3 of 5 were used");
        let after_a_pause = bucket.enter(1_000_000_000, &LIMIT);
        assert_eq!(after_a_pause, Verdict::TooMany { remaining: 5, full_after: Duration::ZERO });
        bucket.leave();
        assert!(matches!(bucket.enter(0, &LIMIT), Verdict::Admitted { .. }));
    }

    #[test]
    fn a_refusal_says_why_and_when_and_a_dropped_request_is_no_longer_counted() {
        let limits = Limits::with(RateLimit { rate_per_s: 1, burst: 2, concurrency: 9 }, STRANGER_LIMIT);
        let address = Some("192.0.2.7".parse().unwrap());
        drop(limits.enter(1, &LIMIT, address).unwrap());
        drop(limits.enter(2, &LIMIT, address).unwrap());
        let problem = limits.enter(3, &LIMIT, address).unwrap_err();
        assert_eq!((problem.code, problem.retry_after_s), (Code::RateLimited, Some(1)));
        // Another customer is not touched, nor is the machine itself.
        assert!(limits.enter(3, &LIMIT, Some("192.0.2.8".parse().unwrap())).is_ok());
        let held: Vec<Admitted> = (0..3).map(|_| limits.enter(4, &LIMIT, None).unwrap()).collect();
        let problem = limits.enter(4, &LIMIT, None).unwrap_err();
        assert_eq!(problem.code, Code::ConcurrencyLimited);
        let standing = problem.standing.unwrap();
        assert_eq!((standing.remaining, standing.free), (2, 0), "the rate is not what is used up");
        assert_eq!(held[2].standing.free, 0);
        drop(held);
        assert!(limits.enter(4, &LIMIT, None).is_ok());
    }

    #[test]
    fn whoever_guesses_is_limited_by_address() {
        let limits = Limits::with(ADDRESS_LIMIT, RateLimit { rate_per_s: 1, burst: 3, concurrency: 9 });
        let (guesser, other) = (Some("192.0.2.7".parse().unwrap()), Some("192.0.2.8".parse().unwrap()));
        (0..3).for_each(|_| limits.count_stranger(guesser).unwrap());
        let problem = limits.count_stranger(guesser).unwrap_err();
        assert_eq!((problem.code, problem.retry_after_s), (Code::RateLimited, Some(1)));
        limits.count_stranger(other).unwrap();
        (0..9).for_each(|_| limits.count_stranger(None).unwrap());
        assert!(limits.enter(1, &LIMIT, guesser).is_ok(), "known callers have a count of their own");
    }

    #[test]
    fn the_headers_have_the_form_of_the_draft() {
        let standing = Standing { limit: LIMIT, remaining: 4, full_after_s: 1, free: 2 };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(standing.policy()), "\"rate\";q=5;w=1, \"concurrency\";q=3;qu=\"concurrent-requests\"");
        assert_eq!(text(standing.standing()), "\"rate\";r=4;t=1, \"concurrency\";r=2");
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_address() {
        let parse = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert_eq!(whole(parse("2001:db8:1:2::7")), whole(parse("2001:db8:1:2:ffff::1")));
        assert_ne!(whole(parse("2001:db8:1:2::7")), whole(parse("2001:db8:1:3::7")));
        assert_eq!(whole(parse("::ffff:192.0.2.7")), parse("192.0.2.7"));
    }

    proptest! {
        /// A naive model that keeps every admitted instant: in any span of `t` at most burst + rate · t are let in.
        #[test]
        fn no_window_lets_in_more_than_burst_and_rate(gaps in prop::collection::vec(0u64..300_000_000, 1..200)) {
            let bucket = Bucket::default();
            let (mut now, mut admitted) = (0u64, Vec::new());
            for gap in gaps {
                now += gap;
                if matches!(enter_and_leave(&bucket, now), Verdict::Admitted { .. }) {
                    admitted.push(now);
                }
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let allowed = 5 + (to - from) / 100_000_000;
                    prop_assert!((last - first + 1) as u64 <= allowed + 1 && (last - first) as u64 <= allowed);
                }
            }
        }
    }
}
