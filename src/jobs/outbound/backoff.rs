//! When to try again.
//!
//! Promise: a delay depends on nothing but the number of attempts, what the receiver asked for, and the
//! randomness that is handed in; none is longer than its cap.
//!
//! 1. A webhook follows the schedule of Standard Webhooks 1.0, over three days, with up to a tenth more
//!    at random, so that what failed together does not come back together. Where order is kept and all others
//!    wait behind, every five minutes after its first steps, and as long in all.
//! 2. Other calls wait a random part of `base × 2^failures`, up to a cap ("full jitter").
//! 3. `Retry-After` makes either longer, never shorter: a receiver may ask for peace, not for haste.

use std::time::{Duration, SystemTime};

use rand::Rng;

use crate::config::OUTBOUND_RETRY_AFTER_MAX;

/// Delays before each attempt of a webhook, counted from the failure of the one before
/// (Standard Webhooks 1.0, "Deliverability and reliability"): 75 hours, 35 minutes and 5 seconds in all.
pub const WEBHOOK_DELAYS: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
    Duration::from_secs(14 * 3_600),
    Duration::from_secs(20 * 3_600),
    Duration::from_secs(24 * 3_600),
];

/// The longest delay where others wait behind: the last of the schedule's that a receiver who is well again may be
/// kept waiting for. Its breaker cannot tell: one event at a time makes three failures in half an hour.
const ORDERED_DELAY_MAX: Duration = Duration::from_secs(5 * 60);

/// Attempts of an event that others wait behind: as many as take as long as [`WEBHOOK_DELAYS`] in all.
const ORDERED_ATTEMPTS_MAX: usize = 909;

/// Of a webhook's delay, one part in so many may be added at random.
const WEBHOOK_JITTER_PARTS: u32 = 10;

/// The wait before a webhook's next attempt; `None` when the schedule is at its end.
/// `attempts` is how many were made, so that 0 gives the first attempt, at once.
#[must_use]
pub fn webhook_delay(attempts: usize, retry_after: Option<Duration>, rng: &mut impl Rng) -> Option<Duration> {
    let planned = *WEBHOOK_DELAYS.get(attempts)?;
    Some(at_least(spread(planned, rng), retry_after))
}

/// The same where order is kept and all later events wait for this one: as the schedule begins, then every five
/// minutes until it would have ended.
#[must_use]
pub fn ordered_webhook_delay(attempts: usize, retry_after: Option<Duration>, rng: &mut impl Rng) -> Option<Duration> {
    let is_over = attempts >= ORDERED_ATTEMPTS_MAX;
    let planned = WEBHOOK_DELAYS.get(attempts).map_or(ORDERED_DELAY_MAX, |delay| (*delay).min(ORDERED_DELAY_MAX));
    (!is_over).then(|| at_least(spread(planned, rng), retry_after))
}

fn spread(planned: Duration, rng: &mut impl Rng) -> Duration {
    planned + rng.random_range(Duration::ZERO..=planned / WEBHOOK_JITTER_PARTS)
}

/// Exponential backoff with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The greatest wait after the first failure.
    pub base: Duration,
    /// The greatest wait ever, `Retry-After` excepted.
    pub cap: Duration,
}

impl Backoff {
    /// The greatest wait after so many failures in a row (1 for the first): doubles up to the cap.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).and_then(|factor| self.base.checked_mul(factor));
        doubled.map_or(self.cap, |delay| delay.min(self.cap))
    }

    /// A wait between nothing and [`Backoff::ceiling`], each as likely as the other.
    #[must_use]
    pub fn delay(&self, failures: u32, retry_after: Option<Duration>, rng: &mut impl Rng) -> Duration {
        at_least(rng.random_range(Duration::ZERO..=self.ceiling(failures)), retry_after)
    }
}

/// What a receiver asks for with `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in any of the three
/// forms of HTTP; a date that is over asks for nothing. At most [`OUTBOUND_RETRY_AFTER_MAX`]: nobody can
/// put us off for ever. `None` for what is neither.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 has is still a number of seconds, and a great one.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(OUTBOUND_RETRY_AFTER_MAX));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO).min(OUTBOUND_RETRY_AFTER_MAX))
}

fn at_least(delay: Duration, asked: Option<Duration>) -> Duration {
    delay.max(asked.unwrap_or(Duration::ZERO).min(OUTBOUND_RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_schedule_is_the_specifications() {
        let total: Duration = WEBHOOK_DELAYS.iter().sum();
        assert_eq!(total, s(75 * 3_600 + 35 * 60 + 5), "the last row of its table");
        let mut rng = SmallRng::seed_from_u64(7);
        for (attempts, planned) in WEBHOOK_DELAYS.into_iter().enumerate() {
            for _ in 0..200 {
                let delay = webhook_delay(attempts, None, &mut rng).unwrap();
                assert!(delay >= planned && delay <= planned + planned / 10, "{attempts}: {delay:?}");
            }
        }
        assert_eq!(webhook_delay(10, Some(s(1)), &mut rng), None);
        assert_eq!(webhook_delay(1, Some(s(900)), &mut rng), Some(s(900)));
        assert!(webhook_delay(2, Some(s(1)), &mut rng).unwrap() >= s(300), "asking for haste is not heard");
    }

    #[test]
    fn where_order_is_kept_nobody_waits_longer_than_five_minutes_and_as_long_in_all() {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut total = Duration::ZERO;
        let mut attempts = 0;
        while let Some(delay) = ordered_webhook_delay(attempts, None, &mut rng) {
            let planned = [s(0), s(5)].get(attempts).copied().unwrap_or(s(300));
            assert!(delay >= planned && delay <= planned + planned / 10, "{attempts}: {delay:?}");
            total += planned;
            attempts += 1;
        }
        assert_eq!(total, WEBHOOK_DELAYS.iter().sum::<Duration>());
        assert_eq!(ordered_webhook_delay(3, Some(s(900)), &mut rng), Some(s(900)), "it may ask for peace");
    }

    #[test]
    fn backoff_doubles_up_to_its_cap_and_spreads_over_all_of_it() {
        let backoff = Backoff { base: s(2), cap: s(60) };
        let ceilings: Vec<u64> =
            [0, 1, 2, 3, 5, 6, 32, u32::MAX].iter().map(|n| backoff.ceiling(*n).as_secs()).collect();
        assert_eq!(ceilings, [2, 2, 4, 8, 32, 60, 60, 60]);
        let mut rng = SmallRng::seed_from_u64(11);
        let delays: Vec<Duration> = (0..1_000).map(|_| backoff.delay(4, None, &mut rng)).collect();
        assert!(delays.iter().all(|delay| *delay <= s(16)));
        let low = delays.iter().filter(|delay| **delay < s(8)).count();
        assert!((400..600).contains(&low), "{low} of 1,000 are in the lower half");
        assert_eq!(backoff.delay(1, Some(s(120)), &mut rng), s(120));
        assert_eq!(backoff.delay(1, Some(s(u64::MAX)), &mut rng), OUTBOUND_RETRY_AFTER_MAX);
    }

    #[test]
    fn retry_after_is_seconds_or_any_date_of_http_and_capped() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999999999999999", Some(86_400)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(86_400)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), expected.map(s), "{value}");
        }
    }
}
