//! What `munim serve` measures beside the requests themselves: flags of traces and alert rules, the
//! open connections, and the tasks and threads that watch.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::http::accept::AcceptLimits;
use crate::http::resources::metrics::EdgeSource;
use crate::http::{Edge, EdgeOptions};
use crate::telemetry::alerts::{Alerts, Hook, default_rules, parse_rules};
use crate::telemetry::families::{self, Reading};
use crate::telemetry::otlp::{Export, SpanQueue};
use crate::telemetry::{Source, Tracer, Upkeep, watch_worker};

use super::serve::ServeError;

/// Traces and alerts.
#[derive(Clone, Debug, Args)]
pub struct MeasureArgs {
    /// Send sampled traces to this OpenTelemetry collector, as http://127.0.0.1:4318.
    #[arg(long, env = "MUNIM_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Export>,
    /// Share of the requests whose trace is sent, 0 to 1; a caller's own `traceparent` may ask for more.
    #[arg(long, env = "MUNIM_TRACE_SAMPLE", default_value_t = 0.001, value_parser = share)]
    pub trace_sample: f64,
    /// TOML file of alert rules in place of the ones that ship with the binary.
    #[arg(long, env = "MUNIM_ALERT_RULES")]
    pub alert_rules: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text} is not between 0 and 1")) }
}

/// An edge that measures as the flags say, and tells the hooks of alerts.
///
/// # Errors
/// The file of alert rules cannot be used, or no thread could be started.
pub fn edge(args: &MeasureArgs, options: &EdgeOptions, hooks: Vec<Box<dyn Hook>>) -> Result<Arc<Edge>, ServeError> {
    let rules = match &args.alert_rules {
        None => default_rules(),
        Some(path) => {
            let wrong = |error: String| ServeError::Measure(format!("could not use {}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            parse_rules(&text).map_err(wrong)?
        }
    };
    let tracer = Tracer::new(args.trace_sample, args.otlp_endpoint.is_some().then(SpanQueue::new));
    if let Some(endpoint) = &args.otlp_endpoint {
        tracer.start_export(endpoint.clone())?;
    }
    Ok(Edge::measured(options, tracer, Alerts::new(rules, hooks)))
}

/// Open connections.
#[derive(Debug)]
struct Connections {
    permits: Arc<Semaphore>,
    max: usize,
}

impl Source for Connections {
    fn readings(&self) -> Vec<Reading> {
        let open = self.max.saturating_sub(self.permits.available_permits());
        vec![Reading::count(&families::CONNECTIONS, open as u64)]
    }
}

/// Starts whatever watches; it ends when the result is dropped, the tasks with their runtimes, of which each has one.
///
/// # Errors
/// No thread could be started.
pub fn start(edge: &Arc<Edge>, limits: &AcceptLimits, runtimes: &[Handle]) -> Result<Upkeep, ServeError> {
    let permits = Arc::clone(&limits.connections);
    edge.add_source(Arc::new(Connections { max: permits.available_permits(), permits }));
    for runtime in runtimes {
        runtime.spawn(watch_worker(Arc::clone(&edge.telemetry.stalls)));
    }
    Ok(Upkeep::start(Arc::clone(&edge.telemetry), EdgeSource::of(edge), Arc::clone(&edge.alerts))?)
}
