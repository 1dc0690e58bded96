//! `GET /metrics`: everything that is counted, as OpenMetrics; and what the edge and the books add to it.

use std::sync::{Arc, Weak};

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::domain::ids::{IdKind, format_id};
use crate::domain::objects::Collection;
use crate::engine::Engine;
use crate::jobs::Jobs;
use crate::jobs::queue::STATUSES;
use crate::telemetry::Source;
use crate::telemetry::families::{self, Reading};
use crate::telemetry::openmetrics::{Exposition, OPENMETRICS};

use super::super::gateway::{Call, Edge};
use super::super::problem::Outcome;
use super::super::reply::Reply;

/// Media type of the same text for a person.
const PLAIN: &str = "text/plain; charset=utf-8";

/// `GET /metrics`
///
/// # Errors
/// `unknown_parameter`.
pub fn get(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let is_plain = call.gives == "text/plain";
    let mut exposition = Exposition::new(!is_plain);
    let mut readings = readings(call.edge);
    readings.extend(call.edge.alerts.lock().readings());
    call.edge.telemetry.expose(readings, &mut exposition);
    let media_type = HeaderValue::from_static(if is_plain { PLAIN } else { OPENMETRICS });
    Ok(Reply::of(StatusCode::OK, media_type, exposition.finish().into_bytes().into()))
}

/// The edge, for the alert rules; it keeps nothing alive.
#[derive(Debug)]
pub struct EdgeSource(Weak<Edge>);

impl EdgeSource {
    /// What this edge shows.
    #[must_use]
    pub fn of(edge: &Arc<Edge>) -> Arc<EdgeSource> {
        Arc::new(EdgeSource(Arc::downgrade(edge)))
    }
}

impl Source for EdgeSource {
    fn readings(&self) -> Vec<Reading> {
        self.0.upgrade().map_or_else(Vec::new, |edge| readings(&edge))
    }
}

/// What the edge, its sources and the books say now.
fn readings(edge: &Edge) -> Vec<Reading> {
    let books = edge.books();
    let is_ready = books.is_some_and(|books| books.engine.status().trouble.is_none()) && !edge.is_draining();
    let mut readings = vec![
        Reading::labelled(&families::BUILD, "version", env!("CARGO_PKG_VERSION"), 1.0),
        Reading::count(&families::UPTIME, edge.uptime_s()),
        Reading::count(&families::READY, u64::from(is_ready)),
    ];
    if let Some(feed) = edge.feed() {
        readings.push(Reading::count(&families::FOLLOWERS, feed.followers() as u64));
    }
    for source in edge.sources() {
        readings.extend(source.readings());
    }
    if let Some(books) = books {
        add_engine(&books.engine, &mut readings);
        if let Some(jobs) = &books.jobs {
            add_jobs(&books.engine, jobs, &mut readings);
        }
    }
    readings
}

/// Endpoints are bounded, and so are destinations that are not at rest: labels stay few.
fn add_jobs(engine: &Engine, jobs: &Jobs, readings: &mut Vec<Reading>) {
    let durable = engine.core().journal().durable_seq();
    for object in engine.core().objects().all(Collection::WebhookEndpoint) {
        let standing = jobs.webhooks.standing(object.saved.number);
        let id = format_id(IdKind::WebhookEndpoint, u64::from(object.saved.number));
        for (family, count) in [
            (&families::WEBHOOK_WAITING, standing.owed as u64),
            (&families::WEBHOOK_DEAD, standing.dead as u64),
            (&families::WEBHOOK_LAG, durable.0.saturating_sub(standing.position.0)),
            (&families::WEBHOOK_DELIVERED, standing.taken),
            (&families::WEBHOOK_FAILED, standing.failed),
        ] {
            readings.push(Reading::labelled(family, "endpoint", &id, count as f64));
        }
    }
    for standing in jobs.outbound.destinations().standings().into_iter().take(DESTINATIONS_SHOWN_MAX) {
        let destination = standing.destination.to_string();
        let state = f64::from(standing.state.gauge());
        readings.push(Reading::labelled(&families::BREAKER_STATE, "destination", &destination, state));
    }
    let Ok(stats) = jobs.queue.stats() else { return };
    readings.push(Reading::of(&families::JOBS_AGE, stats.oldest_wait_us as f64 / 1e6));
    for kind in &stats.kinds {
        for (status, count) in STATUSES.iter().zip(kind.counts) {
            let labels = vec![("kind", kind.kind.clone()), ("status", status.name().to_owned())];
            readings.push(Reading { family: &families::JOBS, labels, value: count as f64 });
        }
    }
}

/// Destinations whose breakers are shown.
const DESTINATIONS_SHOWN_MAX: usize = 256;

fn add_engine(engine: &Engine, readings: &mut Vec<Reading>) {
    let status = engine.status();
    let (appended, durable, checkpoint) = (status.appended_seq.0, status.durable_seq.0, status.checkpoint_seq.0);
    for (family, count) in [
        (&families::APPENDED_SEQ, appended),
        (&families::DURABLE_SEQ, durable),
        (&families::DURABLE_LAG, appended.saturating_sub(durable)),
        (&families::CHECKPOINT_LAG, durable.saturating_sub(checkpoint)),
        (&families::CHECKPOINTS, status.checkpoints),
        (&families::SEGMENTS, status.segments as u64),
        (&families::SEGMENT_ROLLS, status.segment_rolls),
        (&families::GROUP_RECORDS, u64::from(engine.core().watermark().group())),
        (&families::CLOCK_SUSPECT, u64::from(status.clock_suspect)),
        (&families::ACCOUNTS, status.accounts),
        (&families::HOLDS, status.holds),
        (&families::SCRUB_BLOCKS, status.scrub.blocks),
        (&families::SCRUB_DAMAGE, u64::from(status.scrub.damage.is_some())),
        (&families::CACHE_WARMED, engine.core().warmed()),
    ] {
        readings.push(Reading::count(family, count));
    }
    // Work is refused in a drain, but not by the journal, and nobody must be called for it.
    if let Some((code, _)) = status.trouble.as_ref().filter(|(code, _)| *code != "draining") {
        readings.push(Reading::labelled(&families::JOURNAL_TROUBLE, "code", code, 1.0));
    }
    for lane in engine.lane_loads() {
        readings.push(Reading::labelled(&families::LANE_BUSY, "lane", lane.name, lane.busy as f64));
        readings.push(Reading::labelled(&families::LANE_CAPACITY, "lane", lane.name, lane.capacity as f64));
        readings.push(Reading::labelled(&families::LANE_WAIT, "lane", lane.name, lane.wait.as_secs_f64()));
        if lane.name == "interactive" {
            readings.push(Reading::labelled(&families::LANE_REFUSED, "lane", lane.name, lane.refused as f64));
        }
    }
    let long = engine.long_load();
    readings.push(Reading::labelled(&families::LANE_BUSY, "lane", "long_answers", long.inside as f64));
    readings.push(Reading::labelled(&families::LANE_CAPACITY, "lane", "long_answers", long.inside_max as f64));
    for cache in engine.core().cache_states() {
        for (family, count) in [
            (&families::CACHE_HITS, cache.hits),
            (&families::CACHE_MISSES, cache.misses),
            (&families::CACHE_EVICTIONS, cache.evictions),
            (&families::CACHE_ENTRIES, cache.entries),
            (&families::CACHE_WEIGHT, cache.weight_bytes),
            (&families::CACHE_CAPACITY, cache.capacity_bytes),
        ] {
            readings.push(Reading::labelled(family, "cache", cache.name, count as f64));
        }
    }
}
