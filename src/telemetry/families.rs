//! Every metric on one page: name, kind, unit and what it says.
//!
//! Names carry their unit; labels are few and bounded: `route` is an operation id, `class` the
//! hundreds of a status, `cache` and `lane` are names of ours. Nothing that a caller chooses is a label.

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the start.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Facts as labels.
    Info,
}

impl Kind {
    /// As OpenMetrics has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Without the endings that its kind brings (`_total`, `_bucket` …).
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its unit, the end of its name; empty where it counts things.
    pub unit: &'static str,
    /// A sentence.
    pub help: &'static str,
}

/// A value of a metric now.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Of which.
    pub family: &'static Family,
    /// Labels by name.
    pub labels: Vec<(&'static str, String)>,
    /// How much.
    pub value: f64,
}

impl Reading {
    /// A value without labels.
    #[must_use]
    pub fn of(family: &'static Family, value: f64) -> Reading {
        Reading { family, labels: Vec::new(), value }
    }

    /// A count without labels.
    #[must_use]
    pub fn count(family: &'static Family, value: u64) -> Reading {
        Reading::of(family, value as f64)
    }

    /// A value with one label.
    #[must_use]
    pub fn labelled(family: &'static Family, name: &'static str, label: &str, value: f64) -> Reading {
        Reading { family, labels: vec![(name, label.to_owned())], value }
    }
}

macro_rules! families {
    ($($constant:ident $name:literal $kind:ident $unit:literal $help:literal;)*) => {
        $(
            /// The metric:
            #[doc = $help]
            pub static $constant: Family =
                Family { name: $name, kind: Kind::$kind, unit: $unit, help: $help };
        )*

        /// All of them, in the order in which they are written.
        pub static FAMILIES: &[&Family] = &[$(&$constant),*];
    };
}

families! {
    BUILD "munim_build" Info "" "The binary that runs.";
    UPTIME "munim_uptime_seconds" Gauge "seconds" "Time since the start.";
    READY "munim_ready" Gauge "" "1 while new work is taken.";

    REQUESTS "munim_http_requests" Counter "" "Requests answered, by route and by the hundreds of the status.";
    REQUEST_SECONDS "munim_http_request_duration_seconds" Histogram "seconds" "Time from the head of a request to the head of its answer, by route.";
    STAGE_SECONDS "munim_http_stage_duration_seconds" Histogram "seconds" "Time of one stage of a request, by route and stage.";
    OVER_BUDGET "munim_http_over_budget" Counter "" "Requests that took longer than the budget of their route.";
    REFUSALS "munim_http_refusals" Counter "" "Requests refused with 401, 403, 429 or 503.";
    BURN "munim_slo_burn_ratio" Gauge "ratio" "How many times faster than allowed the error budget of a route is used, by window.";
    CONNECTIONS "munim_http_connections" Gauge "" "Connections open now.";

    APPENDED_SEQ "munim_journal_appended_seq" Gauge "" "Greatest seq handed to the journal's writer.";
    DURABLE_SEQ "munim_journal_durable_seq" Gauge "" "Greatest seq that survived fsync.";
    DURABLE_LAG "munim_journal_durable_lag_entries" Gauge "entries" "Entries appended and not yet durable.";
    CHECKPOINT_LAG "munim_checkpoint_lag_entries" Gauge "entries" "Durable entries that a restart would replay.";
    CHECKPOINTS "munim_checkpoints" Counter "" "Checkpoints written.";
    SEGMENTS "munim_journal_segments" Gauge "" "Journal segments, sealed ones included.";
    SEGMENT_ROLLS "munim_journal_segment_rolls" Counter "" "Segments completed.";
    GROUP_RECORDS "munim_journal_group_records" Gauge "records" "Records in the newest group commit.";
    JOURNAL_TROUBLE "munim_journal_trouble" Gauge "" "1 for the reason why new work is refused, by code.";
    CLOCK_SUSPECT "munim_clock_suspect" Gauge "" "1 while a jump of the wall clock is not adopted.";
    LANE_BUSY "munim_lane_busy" Gauge "" "Commands, or long answers, inside a lane.";
    LANE_CAPACITY "munim_lane_capacity" Gauge "" "Commands, or long answers, that a lane takes before it refuses.";
    LANE_WAIT "munim_lane_wait_seconds" Gauge "seconds" "Wait that one more command has to expect in a lane.";
    LANE_REFUSED "munim_lane_refused" Counter "" "Commands refused at the door of the interactive lane.";
    ACCOUNTS "munim_accounts" Gauge "" "Accounts in the books.";
    HOLDS "munim_holds_open" Gauge "" "Holds that are neither posted, voided nor expired.";
    SCRUB_BLOCKS "munim_scrub_blocks" Counter "" "Blocks of sealed segments that were read again to find rot.";
    SCRUB_DAMAGE "munim_scrub_damage" Gauge "" "1 when a sealed segment is damaged.";

    FOLLOWERS "munim_feed_followers" Gauge "" "Streams of events that are open, by SSE and WebSocket together.";
    WEBHOOK_WAITING "munim_webhook_waiting" Gauge "" "Events that an endpoint has not taken and that are tried again.";
    WEBHOOK_DEAD "munim_webhook_dead" Gauge "" "Events that an endpoint has not taken and that are tried no more.";
    WEBHOOK_LAG "munim_webhook_lag_entries" Gauge "entries" "Durable entries that were not looked at for an endpoint yet.";
    WEBHOOK_DELIVERED "munim_webhook_delivered" Counter "" "Events that an endpoint has taken.";
    WEBHOOK_FAILED "munim_webhook_failed" Counter "" "Attempts that an endpoint did not take.";
    BREAKER_STATE "munim_breaker_state" Gauge "" "0 closed, 1 half-open, 2 open, by destination.";
    JOBS "munim_jobs" Gauge "" "Jobs by kind and status.";
    JOBS_AGE "munim_jobs_oldest_wait_seconds" Gauge "seconds" "How long the oldest due job has been due.";

    CACHE_HITS "munim_cache_hits" Counter "" "Look-ups that a cache answered.";
    CACHE_MISSES "munim_cache_misses" Counter "" "Look-ups that it did not.";
    CACHE_EVICTIONS "munim_cache_evictions" Counter "" "Entries that left for want of space or use.";
    CACHE_ENTRIES "munim_cache_entries" Gauge "" "Entries in a cache.";
    CACHE_WEIGHT "munim_cache_weight_bytes" Gauge "bytes" "Bytes in a cache.";
    CACHE_CAPACITY "munim_cache_capacity_bytes" Gauge "bytes" "Bytes that a cache may hold.";
    CACHE_WARMED "munim_cache_warmed" Counter "" "Entries read ahead after the start, since they were hot before it.";

    STALLS "munim_runtime_stalls" Counter "" "Wake-ups of the runtime that came over 20 ms late.";
    STALL_WORST "munim_runtime_stall_worst_seconds" Gauge "seconds" "The latest wake-up of the last minute.";
    SPANS "munim_trace_spans" Counter "" "Spans of sampled requests, by what became of them.";
    ALLOCATIONS "munim_allocations" Counter "" "Memory allocations; only in a binary that counts them.";
    ALERTS_FIRING "munim_alerts_firing" Gauge "" "1 for each alert that fires.";

    CPU_SECONDS "process_cpu_seconds" Counter "seconds" "Processor time, user and system.";
    RESIDENT_BYTES "process_resident_memory_bytes" Gauge "bytes" "Resident memory.";
    OPEN_FDS "process_open_fds" Gauge "" "Open file descriptors.";
    MAX_FDS "process_max_fds" Gauge "" "File descriptors that may be open.";
    START_TIME "process_start_time_seconds" Gauge "seconds" "When the process started, seconds since 1970.";
    THREADS "process_threads" Gauge "" "Threads.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_end_in_their_unit() {
        let names: HashSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len());
        for family in FAMILIES {
            let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(family.name.chars().all(is_fine), "{}", family.name);
            assert!(family.unit.is_empty() || family.name.ends_with(&format!("_{}", family.unit)), "{}", family.name);
            assert!(!family.name.ends_with("_total"), "{}: the ending comes with the kind", family.name);
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
    }
}
