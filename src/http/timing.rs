//! `Server-Timing`: where the time of one request went.
//!
//! Promise: every stage that a request goes through is measured by its own clock reading and shown
//! in the order in which it happened, in milliseconds with three decimals. `total` is measured from
//! start to end by itself; what it has and the stages do not is shown as `other`, so that a gap
//! cannot hide. Stages are rounded together: what is shown adds up to the total, to the microsecond.

use std::time::Instant;

use crate::engine::view::Stages;

use super::budget::{UNROUTED, route_number};
use super::render::write_number;
use super::router::Route;

/// A stage of a request, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the head to the last byte of the body.
    Accept,
    /// Who asks, and whether he may.
    Auth,
    /// Counting the request against the limits of its key and address.
    Limit,
    /// Key and fingerprint.
    Idem,
    /// From bytes to a command.
    Parse,
    /// In the engine, before a decision: lanes, waits for others. From [`Stages`].
    Queue,
    /// Under the locks. From [`Stages`].
    Decide,
    /// Until everything that the answer reveals is on disk. From [`Stages`].
    Journal,
    /// A query of the books, waiting for durability included.
    Read,
    /// From durable to this task running again: what the scheduler takes.
    Wake,
    /// From the answer to bytes.
    Render,
    /// From bytes to fewer bytes.
    Compress,
    /// What no stage has measured.
    Other,
}

/// Names of all stages, by number.
pub const STAGE_NAMES: &[&str; 13] = &[
    "accept", "auth", "limit", "idem", "parse", "queue", "decide", "journal", "read", "wake", "render", "compress",
    "other",
];

/// The stages of one request so far.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    started: Instant,
    last: Instant,
    spent_ns: [u64; STAGE_NAMES.len()],
    route: usize,
}

impl Timing {
    /// Starts the clock of a request.
    #[must_use]
    pub fn start() -> Timing {
        let now = Instant::now();
        Timing { started: now, last: now, spent_ns: [0; STAGE_NAMES.len()], route: UNROUTED }
    }

    /// The request goes here.
    pub fn set_route(&mut self, route: &Route) {
        self.route = route_number(route);
    }

    /// When the request began.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Everything since the last call belongs to `stage`.
    pub fn mark(&mut self, stage: Stage) {
        let now = Instant::now();
        self.spent_ns[stage as usize] += nanos(self.last, now);
        self.last = now;
    }

    /// Everything since the last call was the engine's, except what it cannot see: the wake-up.
    pub fn mark_engine(&mut self, stages: &Stages) {
        let now = Instant::now();
        let inside_us = u64::from(stages.queue_us) + u64::from(stages.decide_us) + u64::from(stages.journal_us);
        self.spent_ns[Stage::Wake as usize] += nanos(self.last, now).saturating_sub(inside_us * 1000);
        self.last = now;
    }

    /// Moves time that another thread has spent on `stage` out of the engine's queue.
    pub fn take_from_queue(&mut self, stage: Stage, spent_us: u32, stages: &mut Stages) {
        let spent_us = spent_us.min(stages.queue_us);
        stages.queue_us -= spent_us;
        self.spent_ns[stage as usize] += u64::from(spent_us) * 1000;
    }

    /// Ends the clock: `total` is now. The engine says its own share.
    #[must_use]
    pub fn finish(&self, engine: Option<&Stages>) -> Finished {
        self.finish_at(Instant::now(), engine)
    }

    fn finish_at(&self, now: Instant, engine: Option<&Stages>) -> Finished {
        let total_ns = nanos(self.started, now);
        let mut stages_ns = self.spent_ns;
        if let Some(engine) = engine {
            stages_ns[Stage::Queue as usize] += u64::from(engine.queue_us) * 1000;
            stages_ns[Stage::Decide as usize] += u64::from(engine.decide_us) * 1000;
            stages_ns[Stage::Journal as usize] += u64::from(engine.journal_us) * 1000;
        }
        let mut left_ns = total_ns;
        for spent_ns in &mut stages_ns {
            // The engine's clock and ours may differ by its rounding; what is shown never exceeds the whole.
            *spent_ns = (*spent_ns).min(left_ns);
            left_ns -= *spent_ns;
        }
        stages_ns[Stage::Other as usize] += left_ns;
        Finished { route: self.route, stages_ns, total_ns, group: engine.map(|engine| engine.group) }
    }
}

/// A request's time, all of it.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Number of its route: see [`route_number`].
    pub route: usize,
    /// By number of the stage; they add up to the total.
    pub stages_ns: [u64; STAGE_NAMES.len()],
    /// From start to end.
    pub total_ns: u64,
    /// Records in its group commit, when it went through the engine.
    group: Option<u32>,
}

impl Finished {
    /// The header's value.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let (mut sum_ns, mut shown_us) = (0, 0);
        for (place, spent_ns) in self.stages_ns.iter().enumerate() {
            sum_ns += spent_ns;
            let us = (sum_ns + 500) / 1000 - shown_us;
            shown_us += us;
            let is_engine = (Stage::Queue as usize..=Stage::Journal as usize).contains(&place);
            let is_shown = match place {
                _ if is_engine => self.group.is_some() || *spent_ns > 0,
                _ if place == Stage::Other as usize => us > 0,
                _ => *spent_ns > 0,
            };
            if !is_shown {
                continue;
            }
            out.extend_from_slice(STAGE_NAMES[place].as_bytes());
            if let Some(group) = self.group.filter(|group| *group > 0 && place == Stage::Journal as usize) {
                out.extend_from_slice(b";desc=\"batch=");
                write_number(&mut out, u64::from(group));
                out.push(b'"');
            }
            write_duration(&mut out, us);
        }
        out.extend_from_slice(b"total");
        write_duration(&mut out, (self.total_ns + 500) / 1000);
        out.truncate(out.len() - 2);
        out
    }
}

/// `;dur=1.234, `
fn write_duration(out: &mut Vec<u8>, us: u64) {
    out.extend_from_slice(b";dur=");
    write_number(out, us / 1000);
    out.push(b'.');
    let rest = us % 1000;
    out.extend([rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8));
    out.extend_from_slice(b", ");
}

fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stages_are_shown_in_order_with_three_decimals() {
        let mut timing = Timing::start();
        timing.spent_ns[Stage::Accept as usize] = 1_234_567;
        timing.spent_ns[Stage::Idem as usize] = 20_400;
        timing.spent_ns[Stage::Wake as usize] = 1_600;
        timing.spent_ns[Stage::Render as usize] = 999_500;
        let engine = Stages { queue_us: 5, decide_us: 12, journal_us: 50_001, group: 37 };
        let end = timing.started + Duration::from_nanos(52_300_000);
        let text = String::from_utf8(timing.finish_at(end, Some(&engine)).header()).unwrap();
        assert_eq!(
            text,
            "accept;dur=1.235, idem;dur=0.020, queue;dur=0.005, decide;dur=0.012, \
             journal;desc=\"batch=37\";dur=50.001, wake;dur=0.002, render;dur=0.999, other;dur=0.026, total;dur=52.300"
        );
        let bare = String::from_utf8(timing.finish(None).header()).unwrap();
        assert!(!bare.contains("journal"), "{bare}");
    }

    #[test]
    fn what_the_engine_does_not_see_is_the_wake_up() {
        let mut timing = Timing::start();
        timing.mark_engine(&Stages { queue_us: u32::MAX, decide_us: u32::MAX, journal_us: u32::MAX, group: 0 });
        assert_eq!(timing.spent_ns[Stage::Wake as usize], 0, "never negative");
    }

    /// Microseconds of the stages shown, and of the total.
    fn shown(header: &[u8]) -> (u64, u64) {
        let text = std::str::from_utf8(header).unwrap();
        let us = |part: &str| part.rsplit_once("dur=").unwrap().1.replace('.', "").parse::<u64>().unwrap();
        let (stages, total) = text.rsplit_once(", ").unwrap_or(("", text));
        (stages.split(", ").filter(|part| !part.is_empty()).map(us).sum(), us(total))
    }

    proptest! {
        #[test]
        fn stages_add_up_to_the_total(
            spent in proptest::array::uniform13(0u64..5_000_000),
            engine in proptest::option::of((0u32..5_000, 0u32..5_000, 0u32..5_000, 0u32..100)),
            more_ns in 0u64..3_000_000,
            shorter in any::<bool>(),
        ) {
            let mut timing = Timing::start();
            timing.spent_ns = spent;
            let engine = engine.map(|(queue_us, decide_us, journal_us, group)| {
                Stages { queue_us, decide_us, journal_us, group }
            });
            let measured: u64 = spent.iter().sum();
            let total_ns = if shorter { measured / 2 } else { measured + more_ns };
            let finished = timing.finish_at(timing.started + Duration::from_nanos(total_ns), engine.as_ref());
            prop_assert_eq!(finished.stages_ns.iter().sum::<u64>(), total_ns);
            let (stages_us, total_us) = shown(&finished.header());
            prop_assert_eq!(stages_us, total_us);
        }
    }
}
