//! Where the time of one answer goes inside the engine.

use super::view::Stages;

/// Measures the stages of one answer.
pub(super) struct StageClock {
    /// So far.
    pub(super) stages: Stages,
    last: std::time::Instant,
}

impl StageClock {
    /// Starts now.
    pub(super) fn start() -> StageClock {
        StageClock { stages: Stages::default(), last: std::time::Instant::now() }
    }

    /// Hands the microseconds since the last call to `add`.
    pub(super) fn lap(&mut self, add: impl FnOnce(&mut Stages, u32)) {
        let us = micros(self.last);
        self.last = std::time::Instant::now();
        add(&mut self.stages, us);
    }
}

/// Whole microseconds since an instant.
pub(super) fn micros(since: std::time::Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
