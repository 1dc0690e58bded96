//! `Server-Timing`: where the time of one request went.
//!
//! Promise: every stage that a request goes through is measured by its own clock reading and shown
//! in the order in which it happened, in milliseconds with three decimals; `total` is measured from
//! start to end by itself, so that a gap between the stages cannot hide.

use std::time::Instant;

use crate::engine::view::Stages;

use super::render::write_number;

/// A stage of the edge. The engine's own stages (`queue`, `decide`, `journal`) come from [`Stages`].
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
    /// A query of the books, waiting for durability included.
    Read,
    /// From durable to this task running again: what the scheduler takes.
    Wake,
    /// From the answer to bytes.
    Render,
    /// From bytes to fewer bytes.
    Compress,
}

const STAGES: [(Stage, &str); 9] = [
    (Stage::Accept, "accept"),
    (Stage::Auth, "auth"),
    (Stage::Limit, "limit"),
    (Stage::Idem, "idem"),
    (Stage::Parse, "parse"),
    (Stage::Read, "read"),
    (Stage::Wake, "wake"),
    (Stage::Render, "render"),
    (Stage::Compress, "compress"),
];

/// The stages of one request so far.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    started: Instant,
    last: Instant,
    spent_ns: [u64; STAGES.len()],
}

impl Timing {
    /// Starts the clock of a request.
    #[must_use]
    pub fn start() -> Timing {
        let now = Instant::now();
        Timing { started: now, last: now, spent_ns: [0; STAGES.len()] }
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

    /// The header's value. Ends the clock: `total` is now.
    #[must_use]
    pub fn header(&self, engine: Option<&Stages>) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        for (stage, name) in STAGES {
            if stage == Stage::Wake
                && let Some(engine) = engine
            {
                write_stage(&mut out, "queue", u64::from(engine.queue_us) * 1000);
                write_stage(&mut out, "decide", u64::from(engine.decide_us) * 1000);
                out.extend_from_slice(b"journal");
                if engine.group > 0 {
                    out.extend_from_slice(b";desc=\"batch=");
                    write_number(&mut out, u64::from(engine.group));
                    out.push(b'"');
                }
                write_duration(&mut out, u64::from(engine.journal_us) * 1000);
            }
            let spent_ns = self.spent_ns[stage as usize];
            if spent_ns > 0 {
                write_stage(&mut out, name, spent_ns);
            }
        }
        out.extend_from_slice(b"total");
        write_duration(&mut out, nanos(self.started, Instant::now()));
        out.truncate(out.len() - 2);
        out
    }
}

fn write_stage(out: &mut Vec<u8>, name: &str, spent_ns: u64) {
    out.extend_from_slice(name.as_bytes());
    write_duration(out, spent_ns);
}

/// `;dur=1.234, `
fn write_duration(out: &mut Vec<u8>, spent_ns: u64) {
    let us = (spent_ns + 500) / 1000;
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
    use super::*;

    #[test]
    fn stages_are_shown_in_order_with_three_decimals() {
        let mut timing = Timing::start();
        timing.spent_ns = [1_234_567, 2_000, 0, 20_400, 0, 0, 1_600, 999_500, 1_000];
        let engine = Stages { queue_us: 5, decide_us: 12, journal_us: 50_001, group: 37 };
        let text = String::from_utf8(timing.header(Some(&engine))).unwrap();
        let (stages, total) = text.rsplit_once(", ").unwrap();
        assert_eq!(
            stages,
            "accept;dur=1.235, auth;dur=0.002, idem;dur=0.020, queue;dur=0.005, decide;dur=0.012, \
             journal;desc=\"batch=37\";dur=50.001, wake;dur=0.002, render;dur=1.000, compress;dur=0.001"
        );
        assert!(total.starts_with("total;dur="), "{total}");
        let bare = String::from_utf8(timing.header(None)).unwrap();
        assert!(!bare.contains("journal"), "{bare}");
    }

    #[test]
    fn what_the_engine_does_not_see_is_the_wake_up() {
        let mut timing = Timing::start();
        timing.mark_engine(&Stages { queue_us: u32::MAX, decide_us: u32::MAX, journal_us: u32::MAX, group: 0 });
        assert_eq!(timing.spent_ns[Stage::Wake as usize], 0, "never negative");
    }
}
